//! `ferry build`: one signed `site.fz` from a manifest.
//!
//! Read and check everything that people wrote, find every image, plan every artifact, and only then pack.

use crate::artifacts::{self, seed};
use crate::cancel::Cancel;
use crate::inputs;
use crate::inputs::texts::Texts;
use crate::pack::{self, Job, own_key, owners};
use crate::signing::SigningKey;
use crate::sources::{self, FoundImage, ResolveOptions};
use anyhow::Result;
use bundle_format::PackOptions;
use ferry_terminal::{Class, Failure, human};
use manifest_schema::progress::Progress;
use manifest_schema::render::Renderer;
use manifest_schema::{Digest, ProjectName, limits};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// A build to make, checked.
pub struct Request {
    /// The manifest, or the folder that holds it.
    pub manifest: PathBuf,
    /// The bundle to write; `None`: `<name>-<version>.fz` in the current folder.
    pub output: Option<PathBuf>,
    /// Keys that sign.
    pub keys: Vec<SigningKey>,
    /// Level and threads.
    pub pack: PackOptions,
    /// How images are looked for.
    pub resolve: ResolveOptions,
    /// Another product name than the manifest's.
    pub rename: Option<ProjectName>,
    /// Renders templates.
    pub renderer: &'static dyn Renderer,
}

/// A bundle that was built.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// The bundle.
    pub output: PathBuf,
    /// Product and version.
    pub name: String,
    /// Version.
    pub version: String,
    /// SHA-256 of the signed index.
    pub id: Digest,
    /// Size of the bundle.
    pub file_bytes: u64,
    /// Size of the payload.
    pub content_bytes: u64,
    /// Images packed.
    pub images: usize,
    /// Layers packed, each once.
    pub layers: usize,
    /// Layers that images name, counted each time.
    pub layer_references: usize,
    /// Content bytes that were not stored again because a layer is shared.
    pub shared_bytes: u64,
    /// Artifacts packed.
    pub artifacts: usize,
    /// Fingerprints of the keys that signed.
    pub signed_by: Vec<String>,
}

/// Builds the bundle.
///
/// # Errors
/// Mistakes in the inputs as [`manifest_schema::Diagnostics`]; otherwise what could not be read,
/// written or signed.
pub fn build(request: &Request, progress: &dyn Progress, cancel: &Cancel) -> Result<Summary> {
    if request.keys.len() > limits::MAX_SIGNATURES {
        let fact = format!("{} keys; the limit is {}", request.keys.len(), limits::MAX_SIGNATURES);
        return Err(Failure::new(Class::Usage, fact).hint("sign with fewer of them").into());
    }
    let mut texts = Texts::read_all(&request.manifest)?;
    if let Some(name) = &request.rename {
        texts.rename(name)?;
    }
    let inputs = inputs::from_texts(texts, request.renderer)?;
    for warning in &inputs.warnings {
        progress.warn(&warning.to_string());
    }
    let output = request
        .output
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("{}-{}.fz", inputs.manifest.name, inputs.manifest.version)));
    pack::overwrites_a_bundle_only(&output)?;
    progress.begin("finding", None);
    let resolve =
        ResolveOptions { unpacked_bytes: inputs.manifest.unpacked_bytes, ..request.resolve.clone() };
    let images =
        sources::resolve(&inputs.wanted(), inputs.platforms(), &inputs.folder, &resolve, progress, cancel)
            .map_err(|mistakes| inputs.shown_in(mistakes))?;
    for warning in too_many_layers(&images) {
        progress.warn(&warning);
    }
    progress.detail("artifacts");
    let artifacts = artifacts::of(&inputs, cancel)?;
    own_key::is_not_carried(&inputs, &artifacts, &request.keys)?;
    progress.detail("seeds of volumes");
    let mut seeds = seed::plan(&inputs, cancel)?;
    for warning in owners::settle(&mut seeds, &inputs, &images, cancel)? {
        progress.warn(&warning.to_string());
    }
    progress.end(&format!(
        "{}, {}",
        human::count(images.len(), "image"),
        human::count(artifacts.len(), "artifact")
    ));

    let job = Job {
        inputs: &inputs,
        images: &images,
        artifacts: &artifacts,
        seeds: &seeds,
        keys: &request.keys,
        options: request.pack,
        progress,
        cancel,
    };
    let (packed, release) = job.pack(&output)?;
    let references = images.iter().map(|image| image.layers.len()).sum();
    let mut shared_bytes = 0;
    for image in &release.images {
        shared_bytes +=
            image.blobs().iter().filter_map(|blob| release.layer(blob)).map(|l| l.span.size).sum::<u64>();
    }
    shared_bytes -= release.layers.iter().map(|layer| layer.span.size).sum::<u64>();
    Ok(Summary {
        output,
        name: release.name.to_string(),
        version: release.version.clone(),
        id: packed.index_digest,
        file_bytes: packed.file_bytes,
        content_bytes: packed.content_bytes,
        images: release.images.len(),
        layers: release.layers.len(),
        layer_references: references,
        shared_bytes,
        artifacts: release.artifacts.len(),
        signed_by: request.keys.iter().map(|key| key.fingerprint().to_string()).collect(),
    })
}

/// Images that some engines refuse. No version of Docker excludes such a store: an upgraded host keeps its own.
fn too_many_layers(images: &[FoundImage]) -> BTreeSet<String> {
    let deep = images.iter().filter(|image| image.diff_ids.len() > limits::GRAPH_DRIVER_LAYERS);
    deep.map(|image| {
        format!(
            "image {} has {} layers: Docker with overlay2 takes {}, only its containerd store and Podman take more; \
             merge some, as with `COPY --from` in a last stage",
            image.reference,
            image.diff_ids.len(),
            limits::GRAPH_DRIVER_LAYERS
        )
    })
    .collect()
}
