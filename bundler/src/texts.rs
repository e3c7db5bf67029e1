//! The texts that people wrote, read once: manifest, Compose files, `.env`, configs and templates.

use crate::mentions::Mentions;
use anyhow::{Context, Result};
use manifest_schema::manifest::{ConfigSpec, Manifest};
use manifest_schema::render::Renderer;
use manifest_schema::site::{self, Made, Values, Written};
use manifest_schema::{BundlePath, Diagnostic, Diagnostics, ProjectName, limits, render, yaml};
use std::io::Read;
use std::path::{Component, Path, PathBuf};

/// What lies in the manifest's folder, as far as the release is made from it.
#[derive(Debug, Clone)]
pub struct Texts {
    /// Folder of the manifest.
    pub folder: PathBuf,
    /// The manifest's file as messages name it.
    pub shown: String,
    /// Its text.
    pub manifest_text: String,
    /// The manifest.
    pub manifest: Manifest,
    /// The Compose files that it names, in its order; at least one.
    pub compose: Vec<String>,
    /// `.env` beside the first of them.
    pub env_text: Option<String>,
    /// Configs and templates with their content.
    pub configs: Vec<(ConfigSpec, Vec<u8>)>,
}

impl Texts {
    /// Reads the manifest at `path` (a file, or a folder that holds `ferry.yaml`) and what it names.
    ///
    /// # Errors
    /// All mistakes found, as [`Diagnostics`].
    pub fn read(path: &Path) -> Result<Self> {
        let file = match path.is_dir() {
            // Nobody writes `./` before every name.
            true if path == Path::new(".") => PathBuf::from("ferry.yaml"),
            true => path.join("ferry.yaml"),
            false => path.to_path_buf(),
        };
        let shown = file.display().to_string();
        let folder = manifest_folder(path);
        let manifest_text = read_text(&file).map_err(|mistake| {
            Diagnostics::from(mistake.hint("run `ferry init` in the folder of your compose.yaml to make one"))
        })?;
        let manifest = Manifest::parse(&shown, &manifest_text)?;
        let mut found = Diagnostics::default();
        let mut compose = Vec::new();
        for path in &manifest.compose {
            match read_inside(&folder, path.as_str()) {
                Ok(text) => compose.push(text),
                Err(mistake) => {
                    found.push(mistake.hint(format!("the manifest {shown} names it as `compose`")))
                }
            }
        }
        let env_file = Path::new(manifest.compose_folder()).join(".env");
        let there = folder.join(&env_file).is_file();
        let env_text = match there.then(|| read_inside(&folder, &env_file.to_string_lossy())) {
            Some(Ok(text)) => Some(text),
            Some(Err(mistake)) => {
                found.push(mistake);
                None
            }
            None => None,
        };
        let mentions = Mentions::read(&shown, &manifest_text);
        let configs = read_configs(&manifest, &mentions, &folder, &mut found);
        found.or_ok(())?;
        Ok(Self { folder, shown, manifest_text, manifest, compose, env_text, configs })
    }

    /// The same under another product name.
    ///
    /// # Errors
    /// When the name in the manifest is not written on one line.
    pub fn rename(&mut self, name: &ProjectName) -> Result<()> {
        let root = yaml::parse(&self.shown, &self.manifest_text).map_err(Diagnostics::from)?;
        let place = root.get("name").map(|node| node.place).unwrap_or_default();
        let old = self.manifest.name.as_str();
        let mut lines: Vec<String> = self.manifest_text.split('\n').map(str::to_owned).collect();
        let line = place.line.checked_sub(1).and_then(|index| lines.get_mut(index));
        let renamed = line.and_then(|line| {
            let at = line.char_indices().nth(place.column.checked_sub(1)?)?.0;
            let (before, rest) = line.split_at(at);
            let written = [format!("\"{old}\""), format!("'{old}'"), old.to_owned()];
            let written = written.iter().find(|written| rest.starts_with(written.as_str()))?;
            let rest = rest.strip_prefix(written.as_str())?;
            *line = format!("{before}{name}{rest}");
            Some(())
        });
        renamed.with_context(|| format!("the `name` in {} is not written on one line", self.shown))?;
        self.manifest_text = lines.join("\n");
        self.manifest.name = name.clone();
        Ok(())
    }

    /// The release with these answers, on a host called `hostname`.
    ///
    /// # Errors
    /// All mistakes of templates and Compose files.
    pub fn make(
        &self,
        values: &Values,
        hostname: &str,
        renderer: &dyn Renderer,
    ) -> Result<Made, Diagnostics> {
        let contents: Vec<Vec<u8>> = self.configs.iter().map(|(_, content)| content.clone()).collect();
        let compose_folder = self.folder.join(self.manifest.compose_folder());
        let load = |name: &str| {
            let name: BundlePath = name.parse().ok()?;
            read_below(&compose_folder, name.as_str())
        };
        let template = |name: &str| String::from_utf8(read_below(&self.folder, name)?).ok();
        let written = Written {
            manifest: &self.manifest,
            shown_root: &shown_root(&self.folder),
            compose: &self.compose,
            dotenv: self.env_text.as_deref(),
            configs: &contents,
            load: &load,
            template: &template,
            over: None,
            renderer,
        };
        written.make(&site::names(&self.manifest, values, hostname))
    }
}

/// The folder of the manifest at `path`, a file or that folder.
pub(crate) fn manifest_folder(path: &Path) -> PathBuf {
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_path_buf() }
}

/// What messages put before a path that begins in `folder`.
pub(crate) fn shown_root(folder: &Path) -> String {
    match folder.display().to_string() {
        here if here == "." => String::new(),
        folder => format!("{}/", folder.trim_end_matches('/')),
    }
}

/// Reads a file below `folder` that a Compose file or template names. Links are followed as long as they lead
/// to an ordinary file below it: a repository that somebody cloned must not bring this machine's files along.
pub(crate) fn read_below(folder: &Path, name: &str) -> Option<Vec<u8>> {
    let file = below(folder, name)?;
    let mut bytes = Vec::new();
    let limit = limits::MAX_RENDERED_BYTES as u64;
    std::fs::File::open(file).ok()?.take(limit + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= limit).then_some(bytes)
}

/// The ordinary file that `name` means, where it lies below `folder`.
pub(crate) fn below(folder: &Path, name: &str) -> Option<PathBuf> {
    inside(folder, name).filter(|file| file.is_file())
}

/// What `name` means, where it lies below `folder`.
fn inside(folder: &Path, name: &str) -> Option<PathBuf> {
    let whole = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let place = whole.join(name).canonicalize().ok()?;
    place.starts_with(whole.canonicalize().ok()?).then_some(place)
}

/// Whether `name`, as it is written, stays in `folder`, and what is there does not: a link leads out. Who writes
/// `/etc/x` or `../x` means it.
pub(crate) fn leads_out(folder: &Path, name: &str) -> bool {
    let mut depth = 0_usize;
    for part in Path::new(name).components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return false,
            },
            Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    folder.join(name).exists() && inside(folder, name).is_none()
}

/// Reads a text file of the manifest's folder that a person wrote.
fn read_inside(folder: &Path, name: &str) -> std::result::Result<String, Diagnostic> {
    let file = folder.join(name);
    if leads_out(folder, name) {
        let shown = file.display().to_string();
        let shown = shown.strip_prefix("./").unwrap_or(&shown);
        return Err(Diagnostic::new(shown, LEADS_OUT).hint(PUT_IT_THERE));
    }
    read_text(&file)
}

/// What is wrong with a link to something that nobody sees in the folder.
pub(crate) const LEADS_OUT: &str = "it is a link that leads out of the folder";

/// What to do about it.
pub(crate) const PUT_IT_THERE: &str = "put the file itself there";

/// Reads a text file that a person wrote.
pub(crate) fn read_text(file: &Path) -> std::result::Result<String, Diagnostic> {
    let shown = file.display().to_string();
    // Nobody writes `./` before every name.
    let shown = shown.strip_prefix("./").unwrap_or(&shown).to_owned();
    let metadata = std::fs::metadata(file).map_err(|error| Diagnostic::new(&shown, plain(&error)))?;
    if !metadata.is_file() {
        return Err(Diagnostic::new(&shown, "it is not a file"));
    }
    let size = metadata.len();
    if size > limits::MAX_YAML_BYTES as u64 {
        return Err(Diagnostic::new(&shown, format!("it has {size} bytes; 4 MiB are the most")));
    }
    let bytes = std::fs::read(file).map_err(|error| Diagnostic::new(&shown, plain(&error)))?;
    manifest_schema::encoding::text(&shown, bytes)
}

/// An error of the file system in plain words.
pub(crate) fn plain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "it may not be read by this user".to_owned(),
        _ => format!("it cannot be read: {error}"),
    }
}

/// Reads an ordinary file of a config, as far as configs go and one byte more. What is no file, a pipe say, is
/// not opened: that would wait.
fn read_file(file: &Path) -> std::result::Result<Vec<u8>, String> {
    let metadata = std::fs::metadata(file).map_err(|error| plain(&error))?;
    if !metadata.is_file() {
        return Err("it is not a file".to_owned());
    }
    let mut content = Vec::new();
    let opened = std::fs::File::open(file).map_err(|error| plain(&error))?;
    let read = opened.take(limits::MAX_RENDERED_BYTES as u64 + 1).read_to_end(&mut content);
    read.map_err(|error| plain(&error))?;
    Ok(content)
}

fn read_configs(
    manifest: &Manifest,
    mentions: &Mentions,
    folder: &Path,
    found: &mut Diagnostics,
) -> Vec<(ConfigSpec, Vec<u8>)> {
    let mut configs = Vec::new();
    for config in &manifest.configs {
        let file = folder.join(&config.from);
        let at = |message: String| mentions.mistake("configs", &config.from, config.line, message);
        if leads_out(folder, &config.from) {
            found.push(at(format!("the config {}: {LEADS_OUT}", config.from)).hint(PUT_IT_THERE));
            continue;
        }
        let content = match read_file(&file) {
            Ok(content) if content.len() <= limits::MAX_RENDERED_BYTES => content,
            Ok(content) => {
                let size = std::fs::metadata(&file).map_or(content.len() as u64, |metadata| metadata.len());
                let message = format!("the config {} has {size} bytes; carry it as an artifact", config.from);
                found.push(at(message));
                continue;
            }
            Err(why) => {
                let mistake = at(format!("the config {}: {why}", config.from));
                found.push(mistake.hint("paths in the manifest start at its own folder"));
                continue;
            }
        };
        if render::is_template(&config.from)
            && let Err(mistake) = site::check_text(&file.display().to_string(), &content)
        {
            found.push(mistake);
            continue;
        }
        configs.push((config.clone(), content));
    }
    configs
}
