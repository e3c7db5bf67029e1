//! The import plan: images of a release that the engine has, and those that it lacks. Pure data.

use super::names;
use super::registry;
use crate::engine::images::ImageFacts;
use crate::engine::inventory::Inventory;
use crate::engine::{Engine, EngineKind, ImageId, ImageName, ImageStore};
use bundle_format::{Bundle, ReadAt};
use manifest_schema::progress::Progress;
use manifest_schema::release::{Image, Manifests};
use manifest_schema::{Digest, limits};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The images to import.
#[derive(Debug, Clone, Default)]
pub(crate) struct ImportPlan {
    /// Images that the engine has, with its ID for them.
    pub present: Vec<(Image, ImageId)>,
    /// Images that it lacks.
    pub missing: Vec<Image>,
    /// The name of each in the engine, by reference.
    pub names: BTreeMap<String, ImageName>,
    /// Layers go as zstd.
    pub zstd: bool,
    /// Bytes that will be sent, at most.
    pub bytes: u64,
    /// Bytes the images will take in the engine.
    pub unpacked_bytes: u64,
}

/// The engine is given zstd layers.
#[must_use]
pub(crate) fn takes_zstd(engine: &Engine) -> bool {
    engine.facts().kind == EngineKind::Docker && engine.facts().reads_zstd_layers()
}

/// Compares the release's images with what the engine has. `owns` tells which names this product has given.
#[must_use]
pub(crate) fn plan<S: ReadAt>(
    bundle: &Bundle<S>,
    images: &[&Image],
    inventory: &Inventory,
    zstd: bool,
    owns: impl Fn(&ImageName, ImageId) -> bool,
) -> ImportPlan {
    let (mut plan, mut layers) = (ImportPlan { zstd, ..ImportPlan::default() }, BTreeSet::new());
    for image in images {
        let found = find(bundle, inventory, image);
        let id = found.map(|facts| facts.id);
        plan.names.insert(image.reference.to_string(), names::choose(image, id, inventory, &owns));
        match found {
            Some(facts) => plan.present.push(((*image).clone(), facts.id)),
            None => {
                layers.extend(image.blobs().iter().zip(&image.diff_ids));
                plan.missing.push((*image).clone());
            }
        }
    }
    let held = inventory.layers();
    for (blob, diff_id) in layers {
        if let Some(layer) = bundle.release().layer(blob).filter(|_| !held.contains(diff_id)) {
            let image = plan.missing.iter().find(|image| image.blobs().contains(blob));
            let preserved = image.is_some_and(|image| matches!(image.manifests, Manifests::Preserved { .. }));
            plan.bytes += registry::served_bytes(layer, zstd && !preserved);
            plan.unpacked_bytes += layer.span.size;
        }
    }
    plan
}

/// The engine's own image for `image`: the same layers, and the same configuration or manifest by digest. The
/// containerd store names images by manifests, which differ with the compression of the layers: there a
/// configuration that says the same is the same.
fn find<'a, S: ReadAt>(
    bundle: &Bundle<S>,
    inventory: &'a Inventory,
    image: &Image,
) -> Option<&'a ImageFacts> {
    let ids = ids(image);
    let mut alike = inventory.images.iter().filter(|facts| facts.diff_ids == image.diff_ids);
    if let Some(same) = alike.clone().find(|facts| ids.contains(&facts.id)) {
        return Some(same);
    }
    // A preserved manifest is imported byte for byte.
    if alike.clone().next().is_none() || matches!(image.manifests, Manifests::Preserved { .. }) {
        return None;
    }
    let config = bundle.small_file(&image.config, limits::MAX_IMAGE_JSON_BYTES).ok()?;
    alike.find(|facts| facts.has_config(&config))
}

/// IDs an engine may give the image: the configuration's digest on graph-driver stores, a
/// manifest's on the containerd store.
pub(super) fn ids(image: &Image) -> Vec<ImageId> {
    let mut ids = vec![image.config.digest];
    match &image.manifests {
        Manifests::Repacked { tar, zstd } => ids.extend([tar.digest, zstd.digest]),
        Manifests::Preserved { original, index, .. } => {
            ids.push(original.digest);
            ids.extend(index.as_ref().map(|index| index.digest));
        }
    }
    ids.into_iter().map(ImageId::from).collect()
}

/// Brings a release's images into an engine.
#[derive(Clone, Copy)]
pub(crate) struct Import<'a, S> {
    pub engine: &'a Engine,
    pub bundle: &'a Arc<Bundle<S>>,
    /// The images to import.
    pub plan: &'a ImportPlan,
    /// The engine's images when the plan was made.
    pub inventory: &'a Inventory,
    /// Where it is shown.
    pub progress: &'a Arc<dyn Progress>,
}

impl ImportPlan {
    /// All images of the release for this engine.
    pub(crate) fn images(&self) -> impl Iterator<Item = &Image> {
        self.present.iter().map(|(image, _)| image).chain(&self.missing)
    }

    /// The name of `image` in the engine.
    #[must_use]
    pub(crate) fn name_of(&self, image: &Image) -> ImageName {
        let name = self.names.get(&image.reference.to_string()).cloned();
        name.unwrap_or_else(|| ImageName::usual(&image.reference))
    }

    /// The engine's ID of each image once all are there, by reference. Of images that are still
    /// missing it is what the engine will call them, by its kind of store.
    #[must_use]
    pub(crate) fn expected_ids(&self, store: ImageStore) -> BTreeMap<String, ImageId> {
        let present = self.present.iter().map(|(image, id)| (image.reference.to_string(), *id));
        let missing = self.missing.iter().map(|image| {
            let id = if store == ImageStore::Containerd {
                pulled_manifest(image, self.zstd)
            } else {
                image.config.digest
            };
            (image.reference.to_string(), ImageId::from(id))
        });
        present.chain(missing).collect()
    }
}

/// The manifest that is pulled for `image`.
pub(super) fn pulled_manifest(image: &Image, zstd: bool) -> Digest {
    match &image.manifests {
        Manifests::Repacked { zstd: entry, .. } if zstd => entry.digest,
        Manifests::Repacked { tar, .. } => tar.digest,
        Manifests::Preserved { original, index, .. } => index.as_ref().unwrap_or(original).digest,
    }
}
