//! The texts that a bundle carries, read back as the build read them from the folder of the manifest: manifest, Compose
//! files, templates, `.env`, and the files that Compose files name.

use crate::bundle::Bundle;
use crate::error::FormatError;
use crate::read_at::ReadAt;
use manifest_schema::compose::{Reserved, Text};
use manifest_schema::feature::COMPOSE_2;
use manifest_schema::manifest::Manifest;
use manifest_schema::release::FileEntry;
use manifest_schema::render::Renderer;
use manifest_schema::site::{Made, Values, Written};
use manifest_schema::{BundlePath, Diagnostics, limits};
use std::collections::BTreeMap;

/// A file that a Compose file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// The bytes.
    pub content: Vec<u8>,
    /// It may be run.
    pub executable: bool,
}

/// Everything that is rendered on site.
#[derive(Debug, Clone)]
pub struct Texts {
    /// `ferry.yaml`.
    pub manifest: Manifest,
    /// The Compose files that the manifest names, in its order.
    pub compose: Vec<String>,
    /// `.env` beside the first of them.
    pub dotenv: Option<String>,
    /// The content of the manifest's `configs`, in its order.
    pub configs: Vec<Vec<u8>>,
    /// Templates that others name, by their paths from the manifest's folder.
    pub templates: BTreeMap<String, String>,
    /// Files that the Compose files name, by their paths from the folder of the first one.
    pub files: BTreeMap<BundlePath, Carried>,
    /// The level of `docs/COMPOSE.md` by which they are read.
    level: u8,
}

/// The texts of a bundle cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TextsError {
    /// The bundle cannot be read, or contradicts itself.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The manifest has mistakes.
    #[error(transparent)]
    Manifest(#[from] Diagnostics),
}

impl Texts {
    /// The texts of `bundle`, each checked against its digest.
    ///
    /// # Errors
    /// When one cannot be read, is too large, or is no UTF-8 text; when the manifest has mistakes.
    pub fn read<S: ReadAt>(bundle: &Bundle<S>) -> Result<Self, TextsError> {
        let release = bundle.release();
        let manifest = manifest(bundle)?;
        let mut files = BTreeMap::new();
        for named in &release.compose_files {
            let path = named.file.path.as_str();
            let path: BundlePath =
                path.strip_prefix("compose/").unwrap_or(path).parse().map_err(|error| {
                    FormatError::inconsistent(format!("the name of {}: {error}", named.file.path))
                })?;
            let content = bundle.small_file(&named.file, limits::MAX_RENDERED_BYTES as u64)?;
            files.insert(path, Carried { content, executable: named.executable });
        }
        let mut compose = vec![text(bundle, &release.compose)?];
        for name in manifest.override_files() {
            let file = name.parse().ok().and_then(|path: BundlePath| files.get(&path));
            let file = file.ok_or_else(|| {
                FormatError::inconsistent(format!("the Compose file {name} is not in the bundle"))
            })?;
            compose.push(utf8(name, file.content.clone())?);
        }
        let mut configs = Vec::new();
        for config in &release.configs {
            configs.push(bundle.small_file(&config.file, limits::MAX_RENDERED_BYTES as u64)?);
        }
        let mut templates = BTreeMap::new();
        for file in &release.templates {
            let path = file.path.as_str();
            templates.insert(path.strip_prefix("templates/").unwrap_or(path).to_owned(), text(bundle, file)?);
        }
        let dotenv = release.env_file.as_ref().map(|file| text(bundle, file)).transpose()?;
        // Older builds knew no level 2, whatever they wrote.
        let level = if release.needs(COMPOSE_2) { 2 } else { 1 };
        Ok(Self { manifest, compose, dotenv, configs, templates, files, level })
    }

    /// The release with these `names` (see `site::names`): with a Compose file of the site's own over the texts, and with
    /// `reserved` labels and names refused or left out.
    ///
    /// # Errors
    /// As [`Written::make`].
    pub fn make(
        &self,
        over: Option<Text<'_>>,
        reserved: Reserved,
        renderer: &dyn Renderer,
        names: &Values,
    ) -> Result<Made, Diagnostics> {
        let load = |name: &str| {
            let path: BundlePath = name.parse().ok()?;
            self.files.get(&path).map(|file| file.content.clone())
        };
        let written = Written {
            manifest: &self.manifest,
            shown_root: "",
            compose: &self.compose,
            dotenv: self.dotenv.as_deref(),
            configs: &self.configs,
            load: &load,
            template: &|name| self.templates.get(name).cloned(),
            over,
            reserved,
            level: self.level,
            renderer,
        };
        written.make(names)
    }
}

/// The manifest that `bundle` carries.
///
/// # Errors
/// When it cannot be read, or has mistakes.
pub fn manifest<S: ReadAt>(bundle: &Bundle<S>) -> Result<Manifest, TextsError> {
    let release = bundle.release();
    let manifest = Manifest::parse("ferry.yaml", &text(bundle, &release.manifest)?)?;
    let uses = manifest.features().into_iter().find(|feature| !release.needs(*feature));
    if manifest.ferry > i64::from(release.ferry) || manifest.serial != release.serial || uses.is_some() {
        let text = "ferry.yaml has keys of version 2 that ferry.json does not speak of";
        return Err(FormatError::inconsistent(text).into());
    }
    Ok(manifest)
}

fn text<S: ReadAt>(bundle: &Bundle<S>, file: &FileEntry) -> Result<String, FormatError> {
    utf8(file.path.as_str(), bundle.small_file(file, limits::MAX_YAML_BYTES as u64)?)
}

fn utf8(name: &str, bytes: Vec<u8>) -> Result<String, FormatError> {
    String::from_utf8(bytes).map_err(|_| FormatError::inconsistent(format!("{name} is not UTF-8 text")))
}
