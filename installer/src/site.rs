//! The release as it is on this host: variables answered, templates rendered, the Compose file read.
//! Pure but for reading the bundle: what is rendered here is written later, in one go.

use crate::host::{self, ProductDir};
use anyhow::{Context, Result};
use bundle_format::{Bundle, ReadAt};
use manifest_schema::compose::{Text, model::FileObject, model::Project};
use manifest_schema::manifest::{self, Given, Manifest, Variable, VariableKind};
use manifest_schema::release::{FileEntry, Release};
use manifest_schema::site::{self, Written};
use manifest_schema::{BundlePath, Diagnostic, Diagnostics, Digest, limits};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub use manifest_schema::site::Values;

/// A file of the release folder, ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedFile {
    /// Content.
    pub content: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
}

/// The release on this host.
#[derive(Debug, Clone)]
pub struct Site {
    /// The project.
    pub project: Project,
    /// All Compose files as one, filled in, for people and for `docker compose`.
    pub compose: String,
    /// All answers, defaults and generated secrets.
    pub values: Values,
    /// Values that are never shown.
    pub hidden: Vec<String>,
    /// Files that are never shown: those of the Compose file's secrets.
    pub secret_files: BTreeSet<String>,
    /// Small files of the release folder by path: rendered configs, and the files that the Compose
    /// file names. Artifacts are not among them.
    pub files: BTreeMap<BundlePath, RenderedFile>,
    /// Content of Compose `configs` and `secrets` by key.
    pub configs: BTreeMap<String, Vec<u8>>,
    /// See `configs`.
    pub secrets: BTreeMap<String, Vec<u8>>,
}

/// A config or secret that whoever runs the host provides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct External {
    /// Where it has to lie.
    pub path: PathBuf,
    /// Its content, where it is there.
    pub content: Option<Vec<u8>>,
}

/// Looks an external config or secret up: `kind` is `config` or `secret`.
///
/// # Errors
/// When it is there and cannot be read.
pub fn external(product: &ProductDir, kind: &str, name: &str) -> Result<External> {
    let path = product.external().join(format!("{kind}s")).join(name);
    let content = host::read_bounded(&path, limits::MAX_RENDERED_BYTES as u64)?;
    Ok(External { path, content })
}

/// The name of the Compose file that goes over those of every release.
pub const OVERRIDE: &str = "override.yaml";

/// What the host brings to a release, beside answers.
pub struct HostProvides<'a> {
    /// Looks up external configs and secrets.
    pub external: &'a dyn Fn(&str, &str) -> Result<External>,
    /// The site's own Compose file: where it lies, and its text.
    pub over: Option<(String, String)>,
}

/// The site's own Compose file, where there is one.
///
/// # Errors
/// When it cannot be read.
pub fn override_file(product: &ProductDir) -> Result<Option<(String, String)>> {
    let path = product.file(OVERRIDE);
    let Some(bytes) = host::read_bounded(&path, limits::MAX_YAML_BYTES as u64)? else { return Ok(None) };
    let shown = path.display().to_string();
    let text = String::from_utf8(bytes).with_context(|| format!("{shown} is not UTF-8 text"))?;
    Ok(Some((shown, text)))
}

/// Evaluates the release of `bundle` with the answers in `given`, then those in `remembered`.
///
/// # Errors
/// Mistakes in values and templates as [`Diagnostics`]; otherwise what is wrong with the bundle.
pub fn evaluate<S: ReadAt>(
    bundle: &Bundle<S>,
    given: &Given,
    remembered: &Values,
    hostname: &str,
    host: &HostProvides<'_>,
    random: &mut dyn FnMut(usize) -> String,
) -> Result<Site> {
    let external = host.external;
    let release = bundle.release();
    let text = |file: &FileEntry| text_of(bundle, file);
    let manifest = manifest(bundle)?;
    let values = manifest::resolve(&manifest.variables, given, remembered, random)?;
    let mut files = carried_files(bundle, release)?;
    let load = |name: &str| {
        let path: BundlePath = name.parse().ok()?;
        files.get(&path).map(|file| file.content.clone())
    };
    let mut compose = vec![text(&release.compose)?];
    for name in manifest.override_files() {
        let content = load(name).with_context(|| format!("the Compose file {name} is not in the bundle"))?;
        compose.push(String::from_utf8(content).with_context(|| format!("{name} is not UTF-8 text"))?);
    }
    let mut configs = Vec::new();
    for config in &release.configs {
        configs.push(bundle.small_file(&config.file, limits::MAX_RENDERED_BYTES as u64)?);
    }
    let mut templates = BTreeMap::new();
    for file in &release.templates {
        let path = file.path.as_str();
        templates.insert(path.strip_prefix("templates/").unwrap_or(path).to_owned(), text(file)?);
    }
    let dotenv = release.env_file.as_ref().map(text).transpose()?;
    let written = Written {
        manifest: &manifest,
        shown_root: "",
        compose: &compose,
        dotenv: dotenv.as_deref(),
        configs: &configs,
        load: &load,
        template: &|name| templates.get(name).cloned(),
        over: host.over.as_ref().map(|(file, text)| Text { file, text }),
    };
    let made = written.make(&site::names(&manifest, &values, hostname))?;
    let (project, compose) = (made.parsed.project, made.parsed.merged);
    for (config, content) in release.configs.iter().zip(made.configs) {
        files.insert(config.to.clone(), RenderedFile { content, mode: config.mode & 0o777 });
    }
    let configs = objects(&project.configs, &files, "config", external)?;
    let secrets = objects(&project.secrets, &files, "secret", external)?;
    // Also the values that they have now.
    let is_secret = |(_, variable): &(&String, &Variable)| variable.kind == VariableKind::Secret;
    let hidden = manifest
        .variables
        .iter()
        .filter(is_secret)
        .flat_map(|(name, _)| [values.get(name), remembered.get(name)])
        .filter_map(|value| value?.as_str().filter(|text| !text.is_empty()).map(str::to_owned))
        .collect();
    let secret_files = project
        .secrets
        .values()
        .filter_map(|object| match object {
            FileObject::File(path) => Some(path.clone()),
            _ => None,
        })
        .collect();
    Ok(Site { project, compose, hidden, secret_files, values, files, configs, secrets })
}

/// The manifest that `bundle` carries.
///
/// # Errors
/// When it cannot be read, or is none.
pub fn manifest<S: ReadAt>(bundle: &Bundle<S>) -> Result<Manifest> {
    Ok(Manifest::parse("ferry.yaml", &text_of(bundle, &bundle.release().manifest)?)?)
}

fn text_of<S: ReadAt>(bundle: &Bundle<S>, file: &FileEntry) -> Result<String> {
    let bytes = bundle.small_file(file, limits::MAX_YAML_BYTES as u64)?;
    String::from_utf8(bytes).with_context(|| format!("{} is not UTF-8 text", file.path))
}

/// The files that the Compose files name.
fn carried_files<S: ReadAt>(
    bundle: &Bundle<S>,
    release: &Release,
) -> Result<BTreeMap<BundlePath, RenderedFile>> {
    let mut files = BTreeMap::new();
    for named in &release.compose_files {
        let file = &named.file;
        let path: BundlePath =
            file.path.as_str().strip_prefix("compose/").unwrap_or(file.path.as_str()).parse()?;
        let content = bundle.small_file(file, limits::MAX_RENDERED_BYTES as u64)?;
        let mode = if named.executable { 0o755 } else { 0o644 };
        files.insert(path, RenderedFile { content, mode });
    }
    Ok(files)
}

fn objects(
    objects: &BTreeMap<String, FileObject>,
    files: &BTreeMap<BundlePath, RenderedFile>,
    kind: &str,
    external: &dyn Fn(&str, &str) -> Result<External>,
) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut missing = Diagnostics::default();
    for (key, object) in objects {
        let content = match object {
            FileObject::Content(text) | FileObject::Environment(text) => Some(text.clone().into_bytes()),
            FileObject::File(name) => name
                .parse()
                .ok()
                .and_then(|path: BundlePath| files.get(&path))
                .map(|file| file.content.clone()),
            FileObject::External(name) => {
                let External { path, content } = external(kind, name)?;
                if content.is_none() {
                    let message = format!("the external {kind} `{key}` is not on this host");
                    let hint = format!("put it into {} as root, with mode 0600", path.display());
                    missing.push(Diagnostic::new("compose.yaml", message).hint(hint));
                    continue;
                }
                content
            }
        };
        match content {
            Some(content) => {
                found.insert(key.clone(), content);
            }
            None => missing.push(Diagnostic::new(
                "compose.yaml",
                format!("the file of {kind} `{key}` is not in the bundle"),
            )),
        }
    }
    Ok(missing.or_ok(found)?)
}

impl Site {
    /// Digest of what lies at `path` of the release folder, a file or a folder; `None` where nothing does.
    #[must_use]
    pub fn digest_at(&self, release: &Release, path: &str) -> Option<Digest> {
        let below =
            |name: &str| name == path || name.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        let mut listing = String::new();
        for (name, file) in self.files.iter().filter(|(name, _)| below(name.as_str())) {
            listing.push_str(&format!("{name}\t{:o}\t{}\n", file.mode, Digest::of(&file.content)));
        }
        for artifact in &release.artifacts {
            let name = format!("artifacts/{}", artifact.to);
            let inside =
                path.strip_prefix(&name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            if inside || below(&name) {
                listing.push_str(&format!("{name}\t{}\n", artifact.digest));
            }
        }
        (!listing.is_empty()).then(|| Digest::of(listing.as_bytes()))
    }
}

/// The answers remembered from the last install, and over them those of an attempt that is to be
/// finished: what it generated may be in use already.
///
/// # Errors
/// When a file is damaged.
pub fn remembered(product: &ProductDir, attempt: bool) -> Result<Values> {
    let mut values = read_values(&product.file(VALUES))?;
    if attempt {
        values.extend(read_values(&product.file(NEW_VALUES))?);
    }
    Ok(values)
}

/// Whether there is any answer to keep for a later install.
///
/// # Errors
/// When the file is damaged.
pub fn has_answers(product: &ProductDir) -> Result<bool> {
    Ok(!read_values(&product.file(VALUES))?.is_empty())
}

/// Keeps the answers of an attempt, apart from those of what runs.
///
/// # Errors
/// When they cannot be written.
pub fn keep_attempted(product: &ProductDir, values: &Values) -> Result<()> {
    // What is not asked for now may be again: the answer of an earlier time stays.
    let answered: BTreeMap<&String, &serde_json::Value> =
        values.iter().filter(|(_, value)| !value.is_null()).collect();
    host::write_whole(&product.file(NEW_VALUES), &serde_json::to_vec_pretty(&answered)?, 0o600)
}

/// Remembers answers that change nothing which runs.
///
/// # Errors
/// When they cannot be read or written.
pub fn remember(product: &ProductDir, values: &Values) -> Result<()> {
    let before = read_values(&product.file(VALUES))?;
    let mut after = before.clone();
    after.extend(
        values
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    if after == before {
        return Ok(());
    }
    host::write_whole(&product.file(VALUES), &serde_json::to_vec_pretty(&after)?, 0o600)
}

/// What becomes of the answers of an attempt that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// They are those of what runs now.
    Adopt,
    /// They go, but for those that nothing else answers: data that was made with them was kept.
    KeepNew,
    /// They go.
    Forget,
}

/// Ends the time of an attempt's answers. Can be repeated. No answer of an earlier release is ever
/// dropped: its data may still be there.
///
/// # Errors
/// When files cannot be read or written.
pub fn end_attempted(product: &ProductDir, answers: Answers) -> Result<()> {
    let new = product.file(NEW_VALUES);
    if !new.exists() {
        return Ok(());
    }
    let (attempted, kept) = (read_values(&new)?, read_values(&product.file(VALUES))?);
    let merged: Values = match answers {
        Answers::Adopt => kept.into_iter().chain(attempted).collect(),
        Answers::KeepNew => attempted.into_iter().chain(kept).collect(),
        Answers::Forget => kept,
    };
    if answers != Answers::Forget {
        host::write_whole(&product.file(VALUES), &serde_json::to_vec_pretty(&merged)?, 0o600)?;
    }
    std::fs::remove_file(&new).with_context(|| format!("removing {}", new.display()))
}

/// The name of the file with the answers of what runs.
pub const VALUES: &str = "values.json";
const NEW_VALUES: &str = "values.new.json";

fn read_values(path: &Path) -> Result<Values> {
    match host::read_bounded(path, limits::MAX_STATE_BYTES)? {
        Some(bytes) => {
            serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", path.display()))
        }
        None => Ok(Values::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Root;

    #[test]
    fn answers_of_what_runs_outlive_every_attempt() {
        let value = |text: &str| serde_json::Value::String(text.to_owned());
        let values = |pairs: &[(&str, &str)]| -> Values {
            pairs.iter().map(|(name, text)| ((*name).to_owned(), value(text))).collect()
        };
        for (answers, expected) in [
            (Answers::Adopt, values(&[("old", "1"), ("port", "2"), ("secret", "s")])),
            (Answers::KeepNew, values(&[("old", "1"), ("port", "1"), ("secret", "s")])),
            (Answers::Forget, values(&[("old", "1"), ("port", "1")])),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let product = Root::new(folder.path()).unwrap().product(&"site".parse().unwrap());
            let _lock = product.lock().unwrap();
            keep_attempted(&product, &values(&[("old", "1"), ("port", "1")])).unwrap();
            end_attempted(&product, Answers::Adopt).unwrap();
            keep_attempted(&product, &values(&[("port", "2"), ("secret", "s")])).unwrap();
            assert_eq!(remembered(&product, false).unwrap(), values(&[("old", "1"), ("port", "1")]));
            assert_eq!(remembered(&product, true).unwrap()["port"], value("2"));
            end_attempted(&product, answers).unwrap();
            end_attempted(&product, answers).unwrap();
            assert_eq!(remembered(&product, true).unwrap(), expected, "{answers:?}");
        }
    }
}
