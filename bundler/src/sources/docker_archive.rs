//! Archives as `docker save` and `podman save` write them: a `manifest.json` that names a
//! configuration and layer tars for each image (Docker image spec v1.2, "Combined Image JSON").
//!
//! Engine 20.10 writes `<id>/layer.tar`, where a repeated layer is a symbolic link; Podman writes
//! `<digest>.tar`; Engine 25 and later write `blobs/sha256/<digest>` and an OCI layout beside it.

use super::candidate::{Absent, Candidate, claimed_digest, content};
use super::documents::{self, ArchiveImage};
use super::store::Store;
use crate::read::compression::Compression;
use anyhow::Context;
use manifest_schema::Digest;

/// The images that `manifest.json` lists; `None` where there is no such member.
pub(super) fn read(store: &Store) -> anyhow::Result<Option<Vec<Candidate>>> {
    let Some(manifest) = store.document("manifest.json")? else { return Ok(None) };
    let images = documents::archive_images(&manifest).with_context(|| {
        format!("manifest.json of {} does not list images as `docker save` does", store.label())
    })?;
    Ok(Some(images.iter().map(|image| candidate(store, image)).collect()))
}

fn candidate(store: &Store, image: &ArchiveImage) -> Candidate {
    let layer = |index: usize| {
        let name = image.layers.get(index).context("a layer without a name")?;
        let stored = store.stored(name)?.ok_or_else(|| {
            Absent(format!("layer `{name}` is absent from {}{}", store.label(), store.why_absent()))
        })?;
        // A blob under its digest is stored under that digest; other names say nothing certain.
        let digest = (stored.compression != Compression::None && name.starts_with("blobs/sha256/"))
            .then(|| claimed_digest(name))
            .flatten();
        Ok((stored, digest))
    };
    let config = image.config.as_deref();
    let read = config
        .with_context(|| format!("manifest.json of {} names an image without a configuration", store.label()))
        .and_then(|config| content(store, config, image.layers.len(), layer));
    Candidate {
        names: image.names.clone(),
        group: read.as_ref().map_or_else(
            |_| Digest::of(config.unwrap_or_default().as_bytes()),
            |content| content.config_digest,
        ),
        platform: read.as_ref().ok().and_then(|content| content.config_platform.clone()),
        original: None,
        indexes: Vec::new(),
        content: read.map_err(Into::into),
        label: store.label(),
    }
}
