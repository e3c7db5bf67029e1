//! OCI image layouts, as folders and inside archives (OCI image-spec 1.1, image-layout.md,
//! image-index.md, manifest.md).
//!
//! An index may nest indexes, list platforms whose blobs are absent (Engine 28 and later save such),
//! and list things that are no images (attestations, signatures). Every document is checked against
//! the digest that led to it; every layer blob against its size.

use super::OriginalManifest;
use super::candidate::{Absent, Candidate, Flaw, content};
use super::store::Store;
use anyhow::{Context, bail};
use manifest_schema::Digest;
use manifest_schema::oci::{Descriptor, Index, Manifest, media_type};
use std::sync::Arc;

/// Annotations that name an image, the certain one first.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// The specification's own: a tag or a whole reference, as the tool liked.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Nesting of indexes: buildx needs two.
const MAX_DEPTH: usize = 8;

/// Descriptors looked at in one layout: indexes that list each other would never end otherwise.
const MAX_DESCRIPTORS: usize = 4096;

/// The images of a layout; `None` where there is no `index.json`.
pub(super) fn read(store: &Store) -> anyhow::Result<Option<Vec<Candidate>>> {
    let Some(bytes) = store.document("index.json")? else { return Ok(None) };
    let index: Index = serde_json::from_slice(&bytes)
        .with_context(|| format!("index.json of {} is not an OCI image index", store.label()))?;
    let mut walk = Walk { store, seen: 0, found: Vec::new() };
    for descriptor in &index.manifests {
        let names = names(descriptor);
        walk.descriptor(descriptor, &names, descriptor.digest, &[])?;
    }
    Ok(Some(walk.found))
}

fn names(descriptor: &Descriptor) -> Vec<String> {
    let annotation = |key| descriptor.annotations.get(key).cloned();
    annotation(CONTAINERD_NAME).or_else(|| annotation(REF_NAME)).into_iter().collect()
}

struct Walk<'a> {
    store: &'a Store,
    seen: usize,
    found: Vec<Candidate>,
}

impl Walk<'_> {
    fn descriptor(
        &mut self,
        descriptor: &Descriptor,
        names: &[String],
        group: Digest,
        above: &[Arc<OriginalManifest>],
    ) -> anyhow::Result<()> {
        let label = self.store.label();
        self.seen += 1;
        if self.seen > MAX_DESCRIPTORS {
            bail!("the indexes of {label} list more than {MAX_DESCRIPTORS} manifests");
        }
        if above.len() > MAX_DEPTH {
            bail!("the indexes of {label} are nested more than {MAX_DEPTH} deep");
        }
        if is_attestation(descriptor) {
            return Ok(());
        }
        let name = blob_name(&descriptor.digest);
        let Some(bytes) = self.store.document(&name)? else {
            self.found.push(Candidate {
                names: names.to_vec(),
                group,
                platform: descriptor.platform.as_ref().and_then(|platform| platform.platform()),
                original: None,
                indexes: above.to_vec(),
                content: Err(Flaw::Absent(format!(
                    "manifest {} is absent from {label}{}",
                    descriptor.digest,
                    self.store.why_absent()
                ))),
                label,
            });
            return Ok(());
        };
        let digest = Digest::of(&bytes);
        if digest != descriptor.digest {
            bail!("blob `{name}` of {label} is damaged: its digest is {digest}");
        }
        let document = OriginalManifest { media_type: media_type_of(descriptor, &bytes), digest, bytes };
        if matches!(document.media_type.as_str(), media_type::INDEX | media_type::DOCKER_LIST) {
            let index: Index = serde_json::from_slice(&document.bytes)
                .with_context(|| format!("blob `{name}` of {label} is not an image index"))?;
            let above = [above, &[Arc::new(document)]].concat();
            for child in &index.manifests {
                self.descriptor(child, names, group, &above)?;
            }
            return Ok(());
        }
        let manifest: Manifest = serde_json::from_slice(&document.bytes)
            .with_context(|| format!("blob `{name}` of {label} is not an image manifest"))?;
        if !is_image(&manifest) {
            return Ok(());
        }
        let layer = |index: usize| {
            let layer = manifest.layers.get(index).context("a layer without a descriptor")?;
            let name = blob_name(&layer.digest);
            let stored = self.store.stored(&name)?.ok_or_else(|| {
                Absent(format!("layer {} is absent from {label}{}", layer.digest, self.store.why_absent()))
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
        let read = content(self.store, &blob_name(&manifest.config.digest), manifest.layers.len(), layer);
        let listed = descriptor.platform.as_ref().and_then(|platform| platform.platform());
        self.found.push(Candidate {
            names: names.to_vec(),
            group,
            // Engines choose by the index too; a configuration that says otherwise is warned of.
            platform: listed
                .or_else(|| read.as_ref().ok().and_then(|content| content.config_platform.clone())),
            original: Some(document),
            indexes: above.to_vec(),
            content: read.map_err(Into::into),
            label,
        });
        Ok(())
    }
}

/// Path of a blob in a layout.
pub(super) fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Provenance and SBOMs that buildx puts beside images.
pub(super) fn is_attestation(descriptor: &Descriptor) -> bool {
    descriptor.annotations.contains_key("vnd.docker.reference.type")
        || descriptor
            .platform
            .as_ref()
            .is_some_and(|platform| platform.os == "unknown" || platform.architecture == "unknown")
}

/// True for the manifest of an image, false for that of a signature, chart or other artifact.
fn is_image(manifest: &Manifest) -> bool {
    matches!(
        manifest.config.media_type.as_str(),
        "" | media_type::CONFIG | "application/vnd.docker.container.image.v1+json"
    )
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
