//! OCI image layouts, as folders and inside archives (OCI image-spec 1.1, image-layout.md,
//! image-index.md, manifest.md).
//!
//! An index may nest indexes, list platforms whose blobs are absent (Engine 28 and later save such),
//! and list things that are no images (attestations, signatures). Every document is checked against
//! the digest that led to it; every layer blob against its size.

use super::OriginalManifest;
use super::candidate::{Absent, Candidate, Content, content};
use super::documents::{self, Described, Listed, Manifest};
use super::store::Store;
use anyhow::{Context, bail};
use manifest_schema::oci::{Descriptor, media_type};
use manifest_schema::{Digest, Platform};
use std::sync::Arc;

/// Nesting of indexes: buildx needs two.
const MAX_DEPTH: usize = 8;

/// Descriptors looked at in one layout: indexes that list each other would never end otherwise.
const MAX_DESCRIPTORS: usize = 4096;

/// The images of a layout; `None` where there is no `index.json`.
pub(super) fn read(store: &Store) -> anyhow::Result<Option<Vec<Candidate>>> {
    let Some(bytes) = store.document("index.json")? else { return Ok(None) };
    let index = documents::index(&bytes)
        .with_context(|| format!("index.json of {} is not an OCI image index", store.label()))?;
    let mut walk = Walk { store, seen: 0, found: Vec::new(), artifact: None };
    for listed in &index {
        let group = listed.descriptor.as_ref().map_or_else(|why| Digest::of(why.as_bytes()), |it| it.digest);
        walk.entry(listed, &Offer { names: listed.names.clone(), group, indexes: Vec::new() })?;
    }
    if walk.found.is_empty()
        && let Some((what, offer)) = walk.artifact.take()
    {
        let why = format!("{} holds {what}, and no image", store.label());
        walk.push(None, &offer, None, Err(anyhow::anyhow!(why)));
    }
    Ok(Some(walk.found))
}

/// The names by which images are offered, and the indexes above them.
#[derive(Clone)]
struct Offer {
    names: Vec<String>,
    group: Digest,
    indexes: Vec<Arc<OriginalManifest>>,
}

struct Walk<'a> {
    store: &'a Store,
    seen: usize,
    found: Vec<Candidate>,
    /// The first artifact, and its names.
    artifact: Option<(String, Offer)>,
}

impl Walk<'_> {
    /// Looks at an entry of an index. One that cannot be used is a flawed image, and spoils no other.
    fn entry(&mut self, listed: &Listed, offer: &Offer) -> anyhow::Result<()> {
        let label = self.store.label();
        self.seen += 1;
        if self.seen > MAX_DESCRIPTORS {
            bail!("the indexes of {label} list more than {MAX_DESCRIPTORS} manifests");
        }
        if offer.indexes.len() > MAX_DEPTH {
            bail!("the indexes of {label} are nested more than {MAX_DEPTH} deep");
        }
        if listed.is_attestation {
            return Ok(());
        }
        let document = match self.document(listed) {
            Ok(document) => document,
            Err(error) => {
                self.push(listed.platform.clone(), offer, None, Err(error));
                return Ok(());
            }
        };
        if matches!(document.media_type.as_str(), media_type::INDEX | media_type::DOCKER_LIST) {
            let index = documents::index(&document.bytes).with_context(|| {
                format!("blob `{}` of {label} is not an image index", blob_name(&document.digest))
            });
            let mut below = offer.clone();
            below.indexes.push(Arc::new(document));
            match index {
                Ok(index) => index.iter().try_for_each(|child| self.entry(child, &below))?,
                Err(error) => self.push(None, offer, None, Err(error)),
            }
            return Ok(());
        }
        let manifest = documents::manifest(&document.bytes).with_context(|| {
            format!("blob `{}` of {label} is not an image manifest", blob_name(&document.digest))
        });
        match manifest {
            Ok(Described::Image(manifest)) => {
                let read = self.image(&manifest);
                // Engines choose by the index too; a configuration that says otherwise is warned of.
                let platform = listed.platform.clone();
                let platform = platform
                    .or_else(|| read.as_ref().ok().and_then(|content| content.config_platform.clone()));
                self.push(platform, offer, Some(document), read);
            }
            // Nothing to be said of, beside an image.
            Ok(Described::Artifact(what)) => {
                self.artifact = self.artifact.take().or(Some((what, offer.clone())))
            }
            Err(error) => self.push(listed.platform.clone(), offer, None, Err(error)),
        }
        Ok(())
    }

    fn push(
        &mut self,
        platform: Option<Platform>,
        offer: &Offer,
        original: Option<OriginalManifest>,
        content: anyhow::Result<Content>,
    ) {
        let Offer { names, group, indexes } = offer.clone();
        let (content, label) = (content.map_err(Into::into), self.store.label());
        self.found.push(Candidate { names, group, platform, original, indexes, content, label });
    }

    /// The document that an entry means, as the digest has it.
    fn document(&self, listed: &Listed) -> anyhow::Result<OriginalManifest> {
        let label = self.store.label();
        let descriptor = listed.usable().with_context(|| format!("an entry of an index of {label}"))?;
        let name = blob_name(&descriptor.digest);
        let bytes = self.store.document(&name)?.ok_or_else(|| {
            Absent(format!(
                "manifest {} is absent from {label}{}",
                descriptor.digest,
                self.store.why_absent()
            ))
        })?;
        let digest = Digest::of(&bytes);
        if digest != descriptor.digest {
            bail!("blob `{name}` of {label} is damaged: its digest is {digest}");
        }
        Ok(OriginalManifest { media_type: media_type_of(descriptor, &bytes), digest, bytes })
    }

    fn image(&self, manifest: &Manifest) -> anyhow::Result<Content> {
        let label = self.store.label();
        let layer = |index: usize| {
            let listed = manifest.layers.get(index).context("a layer without a descriptor")?;
            let layer = listed.usable().with_context(|| format!("layer {index} in a manifest of {label}"))?;
            let name = blob_name(&layer.digest);
            let stored = self.store.stored(&name)?.ok_or_else(|| {
                let why = listed.elsewhere.as_ref().map_or_else(
                    || self.store.why_absent().to_owned(),
                    |url| format!(": it is a foreign layer, kept at {url}"),
                );
                Absent(format!("layer {} is absent from {label}{why}", layer.digest))
            })?;
            if stored.bytes != layer.size {
                bail!(
                    "layer {} of {label} has {} bytes, its manifest says {}",
                    layer.digest,
                    stored.bytes,
                    layer.size
                );
            }
            Ok((stored, Some(layer.digest)))
        };
        let config = manifest.config.usable();
        let config = config.with_context(|| format!("the configuration in a manifest of {label}"))?;
        content(self.store, &blob_name(&config.digest), manifest.layers.len(), layer)
    }
}

/// Path of a blob in a layout.
pub(super) fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// The media type of a document: what it says itself, else what its shape says, since descriptors
/// written by hand are often wrong.
pub(super) fn media_type_of(descriptor: &Descriptor, bytes: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Shape {
        media_type: Option<String>,
        manifests: Option<serde::de::IgnoredAny>,
    }
    match serde_json::from_slice::<Shape>(bytes) {
        Ok(Shape { media_type: Some(own), .. }) => own,
        Ok(Shape { manifests: Some(_), .. }) => media_type::INDEX.to_owned(),
        Ok(_) if descriptor.media_type == media_type::DOCKER_MANIFEST => {
            media_type::DOCKER_MANIFEST.to_owned()
        }
        _ => media_type::MANIFEST.to_owned(),
    }
}
