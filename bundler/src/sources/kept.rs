//! The folder `images/` beside the manifest: archives people put there, and images that earlier
//! builds took from the engine or a registry and kept.
//!
//! Invariants: files people put there are never written to. What Ferry keeps is marked by
//! its name, appears whole or not at all, and two references never share a name.

use super::candidate::Candidate;
use super::store::Store;
use super::{docker_archive, oci_layout};
use crate::cancel::Cancel;
use crate::read::compression::Lifted;
use anyhow::{Context, bail};
use manifest_schema::Digest;
use std::path::{Path, PathBuf};

/// Ends the name of an archive saved from the engine.
const FROM_ENGINE: &str = ".from-engine.tar";
/// Ends the name of a layout pulled from a registry.
const FROM_REGISTRY: &str = ".from-registry";

/// Where the image `name` of the engine is kept.
pub(super) fn engine_archive(images: &Path, name: &str) -> PathBuf {
    images.join(format!("{}{FROM_ENGINE}", file_stem(name)))
}

/// Where the image `name` of a registry is kept.
pub(super) fn registry_layout(images: &Path, name: &str) -> PathBuf {
    images.join(format!("{}{FROM_REGISTRY}", file_stem(name)))
}

/// True for these, and for paths below them.
pub(super) fn is_kept(path: &Path) -> bool {
    path.components().any(|part| {
        let name = part.as_os_str().to_string_lossy();
        name.ends_with(FROM_ENGINE) || name.ends_with(FROM_REGISTRY)
    })
}

/// A file name that no other reference has: `+` and `@` cannot stand where they are put.
fn file_stem(name: &str) -> String {
    let stem: String = name
        .chars()
        .map(|c| match c {
            '/' => '+',
            ':' => '@',
            c if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@') => c,
            _ => '~',
        })
        .collect();
    if stem.len() <= 200 && !stem.contains('~') && !stem.starts_with('.') {
        return stem;
    }
    format!(
        "{}-{}",
        stem.trim_start_matches('.').chars().take(100).collect::<String>(),
        Digest::of(name.as_bytes()).short()
    )
}

/// The archives and layouts that people put into `images/`, by name.
pub(super) fn put_there_by_people(images: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = match images.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be listed", images.display())),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("{} cannot be listed", images.display()))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let hidden = name.starts_with('.') || name.ends_with(FROM_ENGINE) || name.ends_with(FROM_REGISTRY);
        let archive = [".tar", ".tar.gz", ".tgz", ".tar.zst"].iter().any(|ending| name.ends_with(ending));
        if !hidden && (if path.is_dir() { path.join("index.json").is_file() } else { archive }) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// All images of an archive or layout. In an archive that is both, as Engine 25 and later write
/// them, the OCI side knows the manifests and `manifest.json` the names.
pub(super) fn read_images(path: &Path, lifted: Lifted, cancel: &Cancel) -> anyhow::Result<Vec<Candidate>> {
    let store = Store::open(path, lifted, cancel)?;
    let layout = oci_layout::read(&store)?;
    let archive = if matches!(store, Store::Archive(..)) { docker_archive::read(&store)? } else { None };
    if layout.is_none() && archive.is_none() {
        bail!("{} is not an image archive: {}", path.display(), store.instead());
    }
    let mut images = layout.unwrap_or_default();
    for candidate in archive.unwrap_or_default() {
        let id = candidate.content.as_ref().ok().map(|content| content.config_digest);
        let same = |other: &&mut Candidate| {
            id.is_some() && other.content.as_ref().ok().map(|content| content.config_digest) == id
        };
        match images.iter_mut().find(same) {
            Some(known) => known.names.extend(candidate.names),
            None => images.push(candidate),
        }
    }
    Ok(images)
}

/// The hidden name under which `path` is written before it is whole.
pub(super) fn partial(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.partial"))
}
