//! Reads what a person wrote — manifest, Compose file, `.env`, configs, templates, seeds — and checks
//! everything that could otherwise only fail on site. No image is touched before this has passed.

use anyhow::Result;
use manifest_schema::compose::{FileUse, NamedFile, Text, model::Project};
use manifest_schema::limits;
use manifest_schema::manifest::{self, ConfigSpec, Manifest, SeedSpec};
use manifest_schema::site::{self, Values, Written};
use manifest_schema::yaml::{Place, Sources};
use manifest_schema::{BundlePath, Diagnostic, Diagnostics, ImageRef, Platform, ServiceName, render};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::carried::{self, ComposeFile};
use crate::sources::Wanted;

/// Everything people wrote, read and checked.
#[derive(Debug)]
pub struct Inputs {
    /// Folder of the manifest.
    pub folder: PathBuf,
    /// The manifest's file as messages name it.
    pub manifest_shown: String,
    /// The manifest.
    pub manifest: Manifest,
    /// Its text.
    pub manifest_text: String,
    /// The first Compose file's text.
    pub compose_text: String,
    /// The texts that the project was read from, as messages show them.
    pub sources: Sources,
    /// Text of `.env` beside the Compose file.
    pub env_text: Option<String>,
    /// The project as it is with the defaults.
    pub project: Project,
    /// Files that the Compose file names.
    pub compose_files: Vec<ComposeFile>,
    /// Configs and templates with their content.
    pub configs: Vec<(ConfigSpec, Vec<u8>)>,
    /// Seeds and where they lie.
    pub seeds: Vec<(SeedSpec, PathBuf)>,
    /// What should be looked at, but stops nothing.
    pub warnings: Vec<Diagnostic>,
}

/// The host's name while building.
const HOSTNAME: &str = "host";

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

    let compose_folder = folder.join(manifest.compose_folder());
    let mut compose = Vec::new();
    for path in &manifest.compose {
        let file = folder.join(path.as_str());
        let text = read_text(&file).map_err(|mistake| {
            Diagnostics::from(mistake.hint(format!("the manifest {shown} names it as `compose`")))
        })?;
        compose.push((file.display().to_string(), text));
    }
    let env_file = compose_folder.join(".env");
    let env_text =
        if env_file.is_file() { Some(read_text(&env_file).map_err(Diagnostics::from)?) } else { None };
    let load = |name: &str| {
        let name: BundlePath = name.parse().ok()?;
        std::fs::read(compose_folder.join(name.as_str())).ok()
    };
    let names = site::names(&manifest, &default_values(&manifest), HOSTNAME);
    let texts: Vec<Text<'_>> = compose.iter().map(|(file, text)| Text { file, text }).collect();
    let env_shown = env_file.display().to_string();
    let dotenv = env_text.as_ref().map(|text| Text { file: &env_shown, text });
    let mut parsed =
        Written { manifest: &manifest, compose: &texts, dotenv, load: &load }.project(&names)?;
    parsed.files.extend(manifest.override_files().map(|path| NamedFile {
        path: path.to_owned(),
        place: Place::default(),
        used_by: "`compose`".to_owned(),
        kind: FileUse::Compose,
    }));
    let compose_text = compose.swap_remove(0).1;
    for name in &parsed.left_out {
        let message =
            format!("service `{name}` has profiles; it is not started on site and its image is left out");
        parsed.warnings.push(Diagnostic::new(parsed.sources.file(0), message));
    }

    let configs = read_configs((&manifest, &shown, &manifest_text), &names, &folder, &mut found);
    let seeds = check_seeds(&manifest, &shown, &manifest_text, &folder, &parsed.project, &mut found);
    let mut warnings = parsed.warnings;
    let around = carried::Around {
        manifest: &manifest,
        project: &parsed.project,
        sources: &parsed.sources,
        folder: &compose_folder,
    };
    let compose_files = carried::find(&parsed.files, &around, &mut found, &mut warnings);
    carried::check_places(
        (&manifest, &shown, &manifest_text),
        &parsed.files,
        &compose_files,
        &around,
        &mut found,
    );
    check_platforms(&manifest, &parsed.sources, &parsed.project, &mut found);
    warnings.extend(unused_images(&manifest, &shown, &manifest_text, &parsed.project));
    found.or_ok(())?;
    Ok(Inputs {
        folder,
        manifest_shown: shown,
        manifest,
        manifest_text,
        compose_text,
        sources: parsed.sources,
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

/// The values a template sees at build: defaults, and stand-ins for what is only known on site.
#[must_use]
pub fn default_values(manifest: &Manifest) -> Values {
    let value = |variable: &manifest::Variable| variable.default.clone().unwrap_or_else(|| stand_in(variable));
    manifest.variables.iter().map(|(name, variable)| (name.clone(), value(variable))).collect()
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
    manifest: (&Manifest, &str, &str),
    names: &Values,
    folder: &Path,
    found: &mut Diagnostics,
) -> Vec<(ConfigSpec, Vec<u8>)> {
    let (manifest, shown, text) = manifest;
    let mut configs = Vec::new();
    for config in &manifest.configs {
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
        if render::is_template(&config.from) {
            match std::str::from_utf8(&content) {
                Ok(template) => {
                    if let Err(mistake) = render::render(&file.display().to_string(), template, names) {
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
            let compose = manifest.compose.first().map_or("compose.yaml", |path| path.as_str());
            found.push(at(format!("there is no volume `{}` in {compose}", seed.volume)).hint(
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

/// A service that names its platform gets the image for it, and must be able to run on every host that the
/// bundle is for.
fn check_platforms(manifest: &Manifest, sources: &Sources, project: &Project, found: &mut Diagnostics) {
    let platforms = &manifest.requires.platforms;
    let mut named: BTreeMap<ImageRef, (&Platform, &ServiceName)> = BTreeMap::new();
    for (name, service) in &project.services {
        let Some(platform) = &service.platform else { continue };
        let at = |message: String| sources.mistake(&service.place.line(), message);
        if let Some(other) = platforms.iter().find(|other| !other.accepts(platform)) {
            let message = if platforms.iter().any(|other| other.accepts(platform)) {
                format!(
                    "service `{name}` is for {platform}, but the bundle is also for {other}, where it cannot start"
                )
            } else {
                format!("service `{name}` is for {platform}, but the bundle is for {other}")
            };
            found.push(at(message).hint(format!(
                "delete `platform`, or build a bundle with `requires: {{ arch: [{}] }}` alone",
                platform.as_str().trim_start_matches("linux/")
            )));
        }
        let Ok(reference) = service.image.parse::<ImageRef>() else { continue };
        let (first, other) = *named.entry(reference).or_insert((platform, name));
        if first != platform {
            let message = format!(
                "services `{other}` and `{name}` want the image {} for {first} and for {platform}",
                service.image
            );
            found.push(at(message).hint("name the same platform in both, or give one image another name"));
        }
    }
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
            let wanted = wanted.entry(reference.clone()).or_insert_with(|| Wanted {
                reference,
                platform: None,
                source: named.map(|image| image.source.clone()),
                place: match named {
                    Some(image) => (self.manifest_shown.clone(), image.line),
                    None => (self.sources.file(service.place.source).to_owned(), service.place.line),
                },
                preserve: pinned || named.is_some_and(|image| image.preserve),
            });
            if wanted.platform.is_none() {
                wanted.platform.clone_from(&service.platform);
            }
        }
        wanted.into_values().collect()
    }

    /// Mistakes that know their lines, with the lines themselves.
    #[must_use]
    pub fn shown_in(&self, mistakes: Diagnostics) -> Diagnostics {
        self.sources.complete(mistakes.in_text(&self.manifest_shown, &self.manifest_text))
    }

    /// The platforms to pack images for.
    #[must_use]
    pub fn platforms(&self) -> &[Platform] {
        &self.manifest.requires.platforms
    }
}
