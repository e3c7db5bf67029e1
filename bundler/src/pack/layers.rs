//! The layers of all images, each once.

use crate::inputs::Inputs;
use crate::pack::describe;
use crate::sources::{FoundImage, LayerSource};
use manifest_schema::Digest;
use std::collections::BTreeSet;

/// A layer to pack, with how it is stored.
pub(super) struct PlannedLayer<'a> {
    pub(super) digest: Digest,
    pub(super) source: &'a LayerSource,
    /// Carried as stored, byte for byte.
    pub(super) as_stored: bool,
    /// The first image that needs it.
    pub(super) image: String,
}

/// Every layer of `images` once, in the order in which they are read best.
pub(super) fn unique_layers<'a>(inputs: &Inputs, images: &'a [FoundImage]) -> Vec<PlannedLayer<'a>> {
    let mut seen = BTreeSet::new();
    let mut layers = Vec::new();
    for image in images {
        let as_stored = describe::keeps_bytes(inputs, image);
        for source in &image.layers {
            let digest =
                if as_stored { source.stored_digest.unwrap_or(source.diff_id) } else { source.diff_id };
            if seen.insert(digest) {
                layers.push(PlannedLayer { digest, source, as_stored, image: image.reference.to_string() });
            }
        }
    }
    layers.sort_by_key(|layer| layer.source.order());
    layers
}

impl PlannedLayer<'_> {
    /// Bytes in the payload, where they are known before it is read.
    pub(super) fn known_bytes(&self) -> Option<u64> {
        if self.as_stored { Some(self.source.stored_bytes) } else { self.source.content_bytes() }
    }
}
