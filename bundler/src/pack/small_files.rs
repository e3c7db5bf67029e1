//! The small files of a bundle: what people wrote, as they wrote it.

use crate::inputs::Inputs;
use crate::pack::describe;
use anyhow::{Context, Result};
use bundle_format::pack::Packer;
use manifest_schema::release::{ComposeFile, ConfigFile, FileEntry};
use std::fs::File;

/// Where they lie now.
pub(super) struct Texts {
    pub(super) manifest: FileEntry,
    pub(super) compose: FileEntry,
    pub(super) env_file: Option<FileEntry>,
    pub(super) compose_files: Vec<ComposeFile>,
    pub(super) templates: Vec<FileEntry>,
    pub(super) configs: Vec<ConfigFile>,
}

/// Packs them, in an order that the inputs alone decide.
pub(super) fn pack(packer: &mut Packer<File>, inputs: &Inputs) -> Result<Texts> {
    let manifest = packer.small_file(&describe::MANIFEST_PATH.parse()?, inputs.manifest_text.as_bytes())?;
    let compose = packer.small_file(&describe::COMPOSE_PATH.parse()?, inputs.compose_text.as_bytes())?;
    let env_file = match &inputs.env_text {
        Some(text) => Some(packer.small_file(&describe::compose_path(".env")?, text.as_bytes())?),
        None => None,
    };
    let mut compose_files = Vec::new();
    for named in &inputs.compose_files {
        let path = describe::compose_path(named.path.as_str())?;
        let mut executable = named.executable;
        let file = match &env_file {
            // It exists already: `.env` is also somebody's `env_file`.
            Some(env_file) if env_file.path == path => {
                executable = false;
                env_file.clone()
            }
            _ => {
                let mut content =
                    File::open(&named.place).with_context(|| format!("opening {}", named.place.display()))?;
                packer
                    .file(&path, named.bytes, executable, &mut content)
                    .with_context(|| format!("packing {}", named.place.display()))?
            }
        };
        compose_files.push(ComposeFile { file, executable });
    }
    let mut templates = Vec::new();
    for (path, text) in &inputs.templates {
        templates.push(packer.small_file(&describe::template_path(path)?, text.as_bytes())?);
    }
    let mut configs = Vec::new();
    for (config, content) in &inputs.configs {
        let file = packer.small_file(&describe::config_path(&config.to)?, content)?;
        configs.push(describe::config_file(config, file));
    }
    Ok(Texts { manifest, compose, env_file, compose_files, templates, configs })
}
