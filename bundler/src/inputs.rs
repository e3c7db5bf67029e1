//! Reads what a person wrote — manifest, Compose file, `.env`, configs, templates, seeds — and checks
//! everything that could otherwise only fail on site. No image is touched before this has passed.

use anyhow::Result;
use manifest_schema::compose::{self, FileUse, NamedFile, model::Project};
use manifest_schema::limits;
use manifest_schema::manifest::{self, ConfigSpec, Manifest, SeedSpec};
use manifest_schema::{BundlePath, Diagnostic, Diagnostics, ImageRef, Platform, render};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::sources::Wanted;

/// Everything people wrote, read and checked.
#[derive(Debug)]
pub struct Inputs {
    /// Folder of the manifest.
    pub folder: PathBuf,
    /// The manifest's file as messages name it.
    pub manifest_shown: String,
    /// The Compose file as messages name it.
    pub compose_shown: String,
    /// The manifest.
    pub manifest: Manifest,
    /// Its text.
    pub manifest_text: String,
    /// The Compose file's text.
    pub compose_text: String,
    /// Text of `.env` beside the Compose file.
    pub env_text: Option<String>,
    /// The project as it is with the defaults.
    pub project: Project,
    /// Files that the Compose file names: path relative to the Compose file's folder, and where it lies.
    pub compose_files: Vec<(BundlePath, PathBuf)>,
    /// Configs and templates with their content.
    pub configs: Vec<(ConfigSpec, Vec<u8>)>,
    /// Seeds and where they lie.
    pub seeds: Vec<(SeedSpec, PathBuf)>,
    /// What should be looked at, but stops nothing.
    pub warnings: Vec<Diagnostic>,
}

/// Names that a config has at build and on site, beside the variables.
pub const BUILT_IN: &str = "ferry";

/// Reads and checks the manifest at `path` (a file, or a folder that holds `ferry.yaml`).
///
/// # Errors
/// All mistakes found, as [`Diagnostics`].
pub fn read(path: &Path) -> Result<Inputs> {
    let file = if path.is_dir() { path.join("ferry.yaml") } else { path.to_path_buf() };
    let shown = file.display().to_string();
    let folder = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let manifest_text = read_text(&file).map_err(|mistake| {
        Diagnostics::from(mistake.hint("run `ferry init` in the folder of your compose.yaml to make one"))
    })?;
    let manifest = Manifest::parse(&shown, &manifest_text)?;
    let mut found = Diagnostics::default();

    let compose_file = folder.join(manifest.compose.as_str());
    let compose_shown = compose_file.display().to_string();
    let compose_folder = compose_file.parent().map_or_else(|| folder.clone(), Path::to_path_buf);
    let compose_text = read_text(&compose_file).map_err(|mistake| {
        Diagnostics::from(mistake.hint(format!("the manifest {shown} names it as `compose`")))
    })?;
    let env_file = compose_folder.join(".env");
    let env_text =
        if env_file.is_file() { Some(read_text(&env_file).map_err(Diagnostics::from)?) } else { None };
    let mut env = match &env_text {
        Some(text) => compose::parse_dotenv(text).map_err(|found| renamed(found, &env_file))?,
        None => BTreeMap::new(),
    };
    // The product's name is the project's: what Compose calls it when interpolating.
    env.insert("COMPOSE_PROJECT_NAME".to_owned(), manifest.name.to_string());
    let load = |name: &str| {
        let name: BundlePath = name.parse().ok()?;
        std::fs::read(compose_folder.join(name.as_str())).ok()
    };
    let mut parsed = compose::parse(&compose_shown, &compose_text, &env, &load)?;
    for name in parsed.project.leave_out_profiles() {
        let message =
            format!("service `{name}` has profiles; it is not started on site and its image is left out");
        parsed.warnings.push(Diagnostic::new(&compose_shown, message));
    }

    let configs = read_configs(&manifest, &shown, &manifest_text, &folder, &mut found);
    let seeds = check_seeds(&manifest, &shown, &manifest_text, &folder, &parsed.project, &mut found);
    let compose_files =
        compose_files(&parsed.files, &manifest, &compose_shown, &compose_text, &compose_folder, &mut found);
    let mut warnings = parsed.warnings;
    warnings.extend(unused_images(&manifest, &shown, &manifest_text, &parsed.project));
    found.or_ok(())?;
    Ok(Inputs {
        folder,
        manifest_shown: shown,
        compose_shown,
        manifest,
        manifest_text,
        compose_text,
        env_text,
        project: parsed.project,
        compose_files,
        configs,
        seeds,
        warnings,
    })
}

/// Reads a text file that a person wrote.
fn read_text(file: &Path) -> std::result::Result<String, Diagnostic> {
    let shown = file.display().to_string();
    let size = std::fs::metadata(file).map_err(|error| Diagnostic::new(&shown, plain(&error)))?.len();
    if size > limits::MAX_YAML_BYTES as u64 {
        return Err(Diagnostic::new(&shown, format!("it has {size} bytes; 4 MiB are the most")));
    }
    let bytes = std::fs::read(file).map_err(|error| Diagnostic::new(&shown, plain(&error)))?;
    String::from_utf8(bytes).map_err(|error| {
        Diagnostic::new(&shown, format!("it is not UTF-8 text (byte {})", error.utf8_error().valid_up_to()))
    })
}

fn plain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "it may not be read by this user".to_owned(),
        _ => format!("it cannot be read: {error}"),
    }
}

fn renamed(mut found: Diagnostics, file: &Path) -> Diagnostics {
    for mistake in &mut found.0 {
        mistake.file = file.display().to_string();
    }
    found
}

/// The values a template sees at build: defaults, and stand-ins for what is only known on site.
#[must_use]
pub fn default_values(manifest: &Manifest) -> BTreeMap<String, serde_json::Value> {
    let mut values: BTreeMap<String, serde_json::Value> = manifest
        .variables
        .iter()
        .map(|(name, variable)| {
            (name.clone(), variable.default.clone().unwrap_or_else(|| stand_in(variable)))
        })
        .collect();
    let host = serde_json::json!({ "name": manifest.name, "version": manifest.version, "hostname": "host" });
    values.insert(BUILT_IN.to_owned(), host);
    values
}

fn stand_in(variable: &manifest::Variable) -> serde_json::Value {
    use manifest::VariableKind as Kind;
    match variable.kind {
        Kind::Int | Kind::Port => 1.into(),
        Kind::Bool => false.into(),
        Kind::List => serde_json::Value::Array(Vec::new()),
        Kind::Map => serde_json::Value::Object(serde_json::Map::new()),
        Kind::Choice => variable.choices.first().cloned().into(),
        Kind::String | Kind::Path | Kind::Address | Kind::Secret => "x".into(),
    }
}

fn read_configs(
    manifest: &Manifest,
    shown: &str,
    text: &str,
    folder: &Path,
    found: &mut Diagnostics,
) -> Vec<(ConfigSpec, Vec<u8>)> {
    let values = default_values(manifest);
    let mut configs = Vec::new();
    let mut targets: BTreeMap<&BundlePath, usize> = BTreeMap::new();
    for config in &manifest.configs {
        if let Some(other) = targets.insert(&config.to, config.line) {
            found.push(
                Diagnostic::new(shown, format!("two configs are written to {}", config.to))
                    .at(text, config.line, 0)
                    .hint(format!("line {other} writes it too")),
            );
        }
        let file = folder.join(&config.from);
        let at = |message: String| Diagnostic::new(shown, message).at(text, config.line, 0);
        let size = std::fs::metadata(&file).map(|metadata| metadata.len()).unwrap_or_default();
        if size > limits::MAX_RENDERED_BYTES as u64 {
            let message = format!("the config {} has {size} bytes; carry it as an artifact", config.from);
            found.push(at(message));
            continue;
        }
        let content = match std::fs::read(&file) {
            Ok(content) => content,
            Err(error) => {
                let mistake = at(format!("the config {}: {}", config.from, plain(&error)));
                found.push(mistake.hint("paths in the manifest start at its own folder"));
                continue;
            }
        };
        if is_template(&config.from) {
            match std::str::from_utf8(&content) {
                Ok(template) => {
                    if let Err(mistake) = render::render(&file.display().to_string(), template, &values) {
                        found.push(mistake);
                    }
                }
                Err(_) => found.push(at(format!("the template {} is not UTF-8 text", config.from))),
            }
        }
        configs.push((config.clone(), content));
    }
    configs
}

/// Whether a config is a Jinja template: its name says so.
#[must_use]
pub fn is_template(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| {
        ["j2", "jinja", "jinja2"].iter().any(|known| extension.eq_ignore_ascii_case(known))
    })
}

fn check_seeds(
    manifest: &Manifest,
    shown: &str,
    text: &str,
    folder: &Path,
    project: &Project,
    found: &mut Diagnostics,
) -> Vec<(SeedSpec, PathBuf)> {
    let mut seeds = Vec::new();
    for seed in &manifest.seeds {
        let at = |message: String| Diagnostic::new(shown, message).at(text, seed.line, 0);
        if !project.volumes.contains_key(&seed.volume) {
            let known: Vec<&str> = project.volumes.keys().map(String::as_str).collect();
            found.push(at(format!("there is no volume `{}` in {}", seed.volume, manifest.compose)).hint(
                format!("volumes there: {}", if known.is_empty() { "none".into() } else { known.join(", ") }),
            ));
        }
        let path = folder.join(&seed.from);
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() || metadata.is_dir() => seeds.push((seed.clone(), path)),
            Ok(_) => found.push(at(format!("the seed {} is neither a tar file nor a folder", seed.from))),
            Err(error) => {
                let mistake = at(format!("the seed {}: {}", seed.from, plain(&error)));
                found.push(mistake.hint("paths in the manifest start at its own folder"));
            }
        }
    }
    seeds
}

fn compose_files(
    named: &[NamedFile],
    manifest: &Manifest,
    shown: &str,
    text: &str,
    folder: &Path,
    found: &mut Diagnostics,
) -> Vec<(BundlePath, PathBuf)> {
    let mut files = BTreeMap::new();
    for file in named {
        let at = |message: String| Diagnostic::new(shown, message).at(text, file.line, 0);
        let path: BundlePath = match file.path.parse() {
            Ok(path) => path,
            Err(error) => {
                found.push(
                    at(format!("{}: {error}", file.used_by))
                        .hint("only files below the Compose file's folder can be carried"),
                );
                continue;
            }
        };
        // Configs and artifacts are laid out in the same release folder: they come from there.
        let provided = manifest.configs.iter().any(|config| covers(path.as_str(), config.to.as_str()))
            || path.as_str() == "artifacts"
            || path.as_str().starts_with("artifacts/");
        if provided {
            continue;
        }
        let place = folder.join(path.as_str());
        match std::fs::metadata(&place) {
            Ok(metadata) if metadata.is_file() => {
                files.insert(path, place);
            }
            Ok(metadata) if metadata.is_dir() && file.kind == FileUse::Bind => {
                if let Err(error) = collect(&path, &place, &mut files) {
                    found.push(at(format!("{}: {error}", file.used_by)));
                }
            }
            Ok(_) => found.push(at(format!("{} names {}, which is not a file", file.used_by, file.path))),
            Err(_) => found.push(
                at(format!("{} names {}, which is not there", file.used_by, file.path)).hint(format!(
                    "put the file beside {}, or let a `configs` entry of the manifest write it: `to: {}`",
                    manifest.compose, file.path
                )),
            ),
        }
    }
    files.into_iter().collect()
}

/// Whether a config written to `target` provides `path`, itself or as the folder around it.
fn covers(path: &str, target: &str) -> bool {
    target == path || target.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))
}

fn collect(path: &BundlePath, place: &Path, files: &mut BTreeMap<BundlePath, PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(place)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_str().ok_or_else(|| anyhow::anyhow!("a file name in {path} is not UTF-8"))?;
        let (child, place) = (path.join(name)?, entry.path());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect(&child, &place, files)?;
        } else if kind.is_file() {
            files.insert(child, place);
        } else {
            anyhow::bail!("{child} is neither a file nor a folder; carry it as an artifact");
        }
        if files.len() > limits::MAX_ARCHIVE_ENTRIES {
            anyhow::bail!("{path} holds more than a million files; carry it as an artifact");
        }
    }
    Ok(())
}

fn unused_images(manifest: &Manifest, shown: &str, text: &str, project: &Project) -> Vec<Diagnostic> {
    let used: BTreeSet<ImageRef> =
        project.services.values().filter_map(|service| service.image.parse().ok()).collect();
    let unused = manifest.images.iter().filter(|image| !used.contains(&image.reference));
    unused
        .map(|image| {
            Diagnostic::new(shown, format!("no service uses the image {}; it is left out", image.reference))
                .at(text, image.line, 0)
        })
        .collect()
}

impl Inputs {
    /// The images that the services need, each once, in the order of their names.
    #[must_use]
    pub fn wanted(&self) -> Vec<Wanted> {
        let mut wanted: BTreeMap<ImageRef, Wanted> = BTreeMap::new();
        for service in self.project.services.values() {
            let Ok(reference) = service.image.parse::<ImageRef>() else { continue };
            let named = self.manifest.images.iter().find(|image| image.reference == reference);
            let pinned = reference.digest().is_some();
            wanted.entry(reference.clone()).or_insert_with(|| Wanted {
                reference,
                source: named.map(|image| image.source.clone()),
                place: match named {
                    Some(image) => (self.manifest_shown.clone(), image.line),
                    None => (self.compose_shown.clone(), service.line),
                },
                preserve: pinned || named.is_some_and(|image| image.preserve),
            });
        }
        wanted.into_values().collect()
    }

    /// Mistakes that know their lines, with the lines themselves.
    #[must_use]
    pub fn shown_in(&self, mistakes: Diagnostics) -> Diagnostics {
        mistakes
            .in_text(&self.manifest_shown, &self.manifest_text)
            .in_text(&self.compose_shown, &self.compose_text)
    }

    /// The platforms to pack images for.
    #[must_use]
    pub fn platforms(&self) -> &[Platform] {
        &self.manifest.requires.platforms
    }
}
