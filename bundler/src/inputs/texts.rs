//! The texts that people wrote, read once: manifest, Compose files, `.env`, configs and templates.

use super::mentions::Mentions;
use super::missing::{self, FROM_MANIFEST};
use crate::read::folder::{
    LEADS_OUT, PUT_IT_THERE, leads_out, manifest_folder, read_below, read_file, read_inside, read_text,
    shown_root,
};
use anyhow::{Context, Result};
use manifest_schema::compose::{self, Reserved};
use manifest_schema::manifest::{ConfigSpec, Manifest};
use manifest_schema::render::Renderer;
use manifest_schema::site::{self, Made, Values, Written};
use manifest_schema::{BundlePath, Diagnostic, Diagnostics, ProjectName, limits, render, yaml};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The files of the manifest's folder that the release is made from.
#[derive(Debug, Clone)]
pub(crate) struct Texts {
    pub folder: PathBuf,
    /// The manifest's file as messages name it.
    pub shown: String,
    pub manifest_text: String,
    pub manifest: Manifest,
    /// The Compose files that it names, in its order; at least one.
    pub compose: Vec<String>,
    /// `.env` beside the first of them.
    pub env_text: Option<String>,
    /// Configs and templates with their content.
    pub configs: Vec<(ConfigSpec, Vec<u8>)>,
    /// The product has another name than the manifest gives it.
    pub renamed: bool,
    /// Mistakes of what the manifest names; in the place of a config that cannot be read stands an empty one.
    pub mistakes: Diagnostics,
}

impl Texts {
    /// Reads the manifest at `path` (a file, or a folder that holds `ferry.yaml`) and what it names.
    ///
    /// # Errors
    /// All mistakes found, as [`Diagnostics`].
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let texts = Self::read_all(path)?;
        Ok(texts.mistakes.clone().or_ok(texts)?)
    }

    /// The same with mistakes in what the manifest names, where other mistakes can be found beside them.
    ///
    /// # Errors
    /// Mistakes of the manifest itself, and all others where a Compose file cannot be read.
    pub(crate) fn read_all(path: &Path) -> Result<Self> {
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
        let name = &manifest.name;
        if name.is_ferrys() {
            let message =
                format!("`{name}` is a folder of Ferry's own on every host, and no name for a product");
            let mistake = mentions.mistake("name", name.as_str(), 1, message);
            found.push(mistake.hint("give the product another name, like `plant-monitor`"));
        }
        let configs = read_configs(&manifest, &mentions, &folder, &mut found);
        if compose.len() < manifest.compose.len() {
            missing::add(&mut found, &manifest, &mentions, &folder);
            return Err(found.into());
        }
        let renamed = false;
        let mistakes = found;
        Ok(Self { folder, shown, manifest_text, manifest, compose, env_text, configs, renamed, mistakes })
    }

    /// The same under another product name.
    ///
    /// # Errors
    /// When the name in the manifest is not written on one line.
    pub(crate) fn rename(&mut self, name: &ProjectName) -> Result<()> {
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
        self.renamed = true;
        Ok(())
    }

    /// The release with these answers, on a host called `hostname`.
    ///
    /// # Errors
    /// All mistakes of templates and Compose files.
    pub(crate) fn make(
        &self,
        values: &Values,
        hostname: &str,
        renderer: &dyn Renderer,
    ) -> Result<Made, Diagnostics> {
        let contents: Vec<Vec<u8>> = self.configs.iter().map(|(_, content)| content.clone()).collect();
        let compose_folder = self.manifest.compose_folder();
        let unread = RefCell::new(BTreeSet::new());
        let load = |name: &str| {
            let name: BundlePath = name.parse().ok()?;
            let (folder, below) = match compose::below_manifest(name.as_str()) {
                Some(below) => (self.folder.clone(), below),
                None => (self.folder.join(compose_folder), name.as_str()),
            };
            let read = read_below(&folder, below);
            // What is there and cannot be read is not missing, whoever calls it optional.
            if read.is_none() && folder.join(below).symlink_metadata().is_ok() {
                unread.borrow_mut().insert(folder.join(below));
            }
            read
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
            reserved: Reserved::Refused,
            level: compose::LEVEL,
            renderer,
        };
        let made = written.make(&site::names(&self.manifest, values, hostname));
        let mut found = Diagnostics::default();
        for path in unread.into_inner() {
            let mistake = Diagnostic::new(path.display().to_string(), "it is there, and cannot be read");
            found.push(mistake.hint(UNREAD));
        }
        if found.0.is_empty() {
            return made;
        }
        found.0.extend(made.err().into_iter().flat_map(|mistakes| mistakes.0));
        Err(found)
    }
}

const UNREAD: &str = "it has to be an ordinary file of this user's, of a size that a text has, and no link that leads out of the folder";

fn read_configs(
    manifest: &Manifest,
    mentions: &Mentions,
    folder: &Path,
    found: &mut Diagnostics,
) -> Vec<(ConfigSpec, Vec<u8>)> {
    let read = manifest.configs.iter().map(|config| {
        let content = read_config(config, mentions, folder).unwrap_or_else(|mistake| {
            found.push(mistake);
            Vec::new()
        });
        (config.clone(), content)
    });
    read.collect()
}

fn read_config(config: &ConfigSpec, mentions: &Mentions, folder: &Path) -> Result<Vec<u8>, Diagnostic> {
    let file = folder.join(&config.from);
    let at = |message: String| mentions.mistake("configs", &config.from, config.line, message);
    if leads_out(folder, &config.from) {
        return Err(at(format!("the config {}: {LEADS_OUT}", config.from)).hint(PUT_IT_THERE));
    }
    let content = read_file(&file)
        .map_err(|why| at(format!("the config {}: {why}", config.from)).hint(FROM_MANIFEST))?;
    if content.len() > limits::MAX_RENDERED_BYTES {
        let size = std::fs::metadata(&file).map_or(content.len() as u64, |metadata| metadata.len());
        return Err(at(format!("the config {} has {size} bytes; carry it as an artifact", config.from)));
    }
    if render::is_template(&config.from) {
        site::check_text(&file.display().to_string(), &content)?;
    }
    Ok(content)
}
