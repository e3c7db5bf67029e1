//! Brings the images into the engine: by pull from our own [`registry`], or, where the
//! engine cannot reach it, through its load call. Afterwards every image is inspected against the
//! signed diff IDs, because an engine can report success for a broken image.

use crate::engine::images::{ImageFacts, PullEvent, PullPhase};
use crate::engine::inventory::Inventory;
use crate::engine::{Engine, EngineError, EngineKind, ImageStore};
use crate::images::names::KeptName;
use crate::images::registry::{self, ReadFailure, Registry};
use anyhow::{Context, Result};
use bundle_format::read_ahead::ReadAhead;
use bundle_format::tarball::{self, Kind};
use bundle_format::{Bundle, ReadAt};
use bytes::Bytes;
use ferry_terminal::{Class, Failure};
use futures_util::StreamExt;
use manifest_schema::oci::{ArchiveImage, Index};
use manifest_schema::progress::Progress;
use manifest_schema::release::{Image, Manifests, Span};
use manifest_schema::{BundlePath, Digest, limits};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Images pulled at once where the store shares layers between concurrent pulls. The containerd store
/// does not: there one at a time is faster.
const PULLS_AT_ONCE: usize = 4;

/// What to bring.
#[derive(Debug, Clone, Default)]
pub struct ImportPlan {
    /// Images that the engine has, with its ID for them.
    pub present: Vec<(Image, String)>,
    /// Images that it lacks.
    pub missing: Vec<Image>,
    /// The name under which each is kept, by reference.
    pub names: BTreeMap<String, KeptName>,
    /// Whether layers go as zstd.
    pub zstd: bool,
    /// Bytes that will be sent, at most.
    pub bytes: u64,
    /// Bytes the images will take in the engine.
    pub unpacked_bytes: u64,
}

/// Whether the engine is given zstd layers.
#[must_use]
pub fn takes_zstd(engine: &Engine) -> bool {
    engine.facts().kind == EngineKind::Docker && engine.facts().reads_zstd_layers()
}

/// Compares the release's images with what the engine has. `owns` tells which names this product has given.
#[must_use]
pub fn plan<S: ReadAt>(
    bundle: &Bundle<S>,
    images: &[&Image],
    inventory: &Inventory,
    zstd: bool,
    owns: impl Fn(&str, &str) -> bool,
) -> ImportPlan {
    let (mut plan, mut layers) = (ImportPlan { zstd, ..ImportPlan::default() }, BTreeSet::new());
    for image in images {
        let found = find(bundle, inventory, image);
        let id = found.map(|facts| facts.id.as_str());
        plan.names.insert(image.reference.to_string(), KeptName::choose(image, id, inventory, &owns));
        match found {
            Some(facts) => plan.present.push(((*image).clone(), facts.id.clone())),
            None => {
                layers.extend(image.blobs().iter().zip(&image.diff_ids));
                plan.missing.push((*image).clone());
            }
        }
    }
    let held = inventory.layers();
    for (blob, diff_id) in layers {
        if let Some(layer) = bundle.release().layer(blob).filter(|_| !held.contains(diff_id)) {
            let kept = matches!(plan.missing.iter().find(|image| image.blobs().contains(blob)), Some(image) if matches!(image.manifests, Manifests::Preserved { .. }));
            plan.bytes += registry::served_bytes(layer, zstd && !kept);
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
    // Who wants the very bytes of a manifest gets them.
    if alike.clone().next().is_none() || matches!(image.manifests, Manifests::Preserved { .. }) {
        return None;
    }
    let config = bundle.small_file(&image.config, limits::MAX_IMAGE_JSON_BYTES).ok()?;
    alike.find(|facts| facts.has_config(&config))
}

/// IDs an engine may give the image: the configuration's digest on graph-driver stores, a
/// manifest's on the containerd store.
fn ids(image: &Image) -> Vec<String> {
    let mut ids = vec![image.config.digest];
    match &image.manifests {
        Manifests::Repacked { tar, zstd } => ids.extend([tar.digest, zstd.digest]),
        Manifests::Preserved { original, index, .. } => {
            ids.push(original.digest);
            ids.extend(index.as_ref().map(|index| index.digest));
        }
    }
    ids.iter().map(ToString::to_string).collect()
}

impl ImportPlan {
    /// All images of the release for this engine.
    pub fn images(&self) -> impl Iterator<Item = &Image> {
        self.present.iter().map(|(image, _)| image).chain(&self.missing)
    }

    /// The name under which `image` is kept in the engine.
    #[must_use]
    pub fn kept_name(&self, image: &Image) -> KeptName {
        self.names.get(&image.reference.to_string()).cloned().unwrap_or_else(|| KeptName::usual(image))
    }

    /// The engine's ID of each image once all are there, by reference. Of images that are still
    /// missing it is what the engine will call them, by its kind of store.
    #[must_use]
    pub fn expected_ids(&self, store: ImageStore) -> BTreeMap<String, String> {
        let present = self.present.iter().map(|(image, id)| (image.reference.to_string(), id.clone()));
        let missing = self.missing.iter().map(|image| {
            let id = if store == ImageStore::Containerd {
                pulled_manifest(image, self.zstd)
            } else {
                image.config.digest
            };
            (image.reference.to_string(), id.to_string())
        });
        present.chain(missing).collect()
    }
}

/// The manifest that is pulled for `image`.
fn pulled_manifest(image: &Image, zstd: bool) -> Digest {
    match &image.manifests {
        Manifests::Repacked { zstd: entry, .. } if zstd => entry.digest,
        Manifests::Repacked { tar, .. } => tar.digest,
        Manifests::Preserved { original, index, .. } => index.as_ref().unwrap_or(original).digest,
    }
}

/// Brings all missing images in, names all images, and returns the engine's ID of each.
///
/// # Errors
/// When the engine refuses, or what it has afterwards is not what was signed.
pub async fn import<S: ReadAt + 'static>(
    engine: &Engine,
    bundle: &Arc<Bundle<S>>,
    plan: &ImportPlan,
    inventory: &Inventory,
    progress: &Arc<dyn Progress>,
) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let present = plan.present.iter().map(|(image, id)| (image, Some(id)));
    for (image, id) in present.chain(plan.missing.iter().map(|image| (image, None))) {
        plan.kept_name(image).step_aside(engine, id, inventory).await?;
    }
    for (image, id) in &plan.present {
        plan.kept_name(image).ensure(engine, id, inventory).await?;
        forget_pulled_names(engine, id, inventory).await?;
        found.insert(image.reference.to_string(), id.clone());
    }
    if plan.missing.is_empty() {
        return Ok(found);
    }
    for image in &plan.missing {
        let (usual, kept) = (KeptName::usual(image), plan.kept_name(image));
        if kept != usual {
            progress.warn(&format!("{usual} is the name of another image here: this one is kept as {kept}"));
        }
    }
    progress.begin("importing", Some(plan.bytes));
    let pulled = match engine.facts().kind {
        EngineKind::Docker if engine.facts().local => pull_all(engine, bundle, plan, progress).await?,
        // Podman refuses registries without TLS, and a remote engine has another loopback address.
        _ => false,
    };
    if !pulled {
        load_all(engine, bundle, plan, inventory, progress).await?;
    }
    for image in &plan.missing {
        let facts = confirm(engine, image, plan).await?;
        plan.kept_name(image).ensure(engine, &facts.id, inventory).await?;
        found.insert(image.reference.to_string(), facts.id);
    }
    progress.end(&ferry_terminal::human::count(plan.missing.len(), "image"));
    Ok(found)
}

/// `false` when the engine cannot reach our loopback address, so that another way has to be taken.
async fn pull_all<S: ReadAt + 'static>(
    engine: &Engine,
    bundle: &Arc<Bundle<S>>,
    plan: &ImportPlan,
    progress: &Arc<dyn Progress>,
) -> Result<bool> {
    let registry = Registry::start(Arc::clone(bundle), Arc::clone(progress)).await?;
    let host = registry.host();
    let at_once = if engine.facts().store == ImageStore::Containerd { 1 } else { PULLS_AT_ONCE };
    let mut pulls = futures_util::stream::iter(&plan.missing)
        .map(|image| pull_one(engine, &host, image, plan, progress))
        .buffer_unordered(at_once);
    while let Some(result) = pulls.next().await {
        match result {
            Ok(()) => {}
            Err(EngineError::CannotReachRegistry { .. }) => return Ok(false),
            Err(error) => return Err(not_taken(error, registry.failure())),
        }
    }
    Ok(true)
}

/// The engine did not take the images: because the bundle could not be read, or for a reason of its own.
fn not_taken(error: EngineError, broken: Option<Failure>) -> anyhow::Error {
    if let Some(broken) = broken {
        return broken.into();
    }
    let hint = error.hint();
    let failure = Failure::new(Class::Engine, "the engine did not take the images").because(error);
    failure
        .hint(hint.unwrap_or_else(|| "run the same command again: what is there already is kept".to_owned()))
        .into()
}

async fn pull_one(
    engine: &Engine,
    host: &str,
    image: &Image,
    plan: &ImportPlan,
    progress: &Arc<dyn Progress>,
) -> Result<(), EngineError> {
    progress.detail(&format!("image {}", image.reference));
    let manifest = pulled_manifest(image, plan.zstd);
    let repository = format!("{host}/{}", image.reference.path());
    let full = format!("{repository}@{manifest}");
    let mut told = |event: PullEvent| {
        if event.phase == PullPhase::Extracting {
            progress.detail(&format!("image {}: the engine unpacks it", image.reference));
        }
    };
    engine.pull(&repository, &manifest.to_string(), Some(&image.platform), &mut told).await?;
    // The name that only lived as long as our registry gives way to the image's own.
    if let Some(facts) = engine.inspect_image(&full).await? {
        let KeptName { repository, tag } = plan.kept_name(image);
        engine.tag(&facts.id, &repository, &tag).await?;
        engine.untag(&full).await?;
    }
    Ok(())
}

/// Takes names of a registry like ours away, whose process was killed before it could.
async fn forget_pulled_names(engine: &Engine, id: &str, inventory: &Inventory) -> Result<()> {
    let image = inventory.images.iter().find(|facts| facts.id == id);
    let names = image.into_iter().flat_map(|facts| &facts.repo_digests);
    for name in names.filter(|name| name.starts_with("127.0.0.1:")) {
        engine.untag(name).await.with_context(|| format!("taking the name {name} away"))?;
    }
    Ok(())
}

/// What the engine now has must be what was signed.
async fn confirm(engine: &Engine, image: &Image, plan: &ImportPlan) -> Result<ImageFacts> {
    let wrong = |fact: String| {
        Failure::new(Class::Engine, fact)
            .hint("check the engine's disk (`docker info`, `df`), remove the image and install again")
    };
    let mut seen = None;
    let names = ids(image).into_iter().chain([plan.kept_name(image).to_string()]);
    for candidate in names {
        if let Some(facts) = engine.inspect_image(&candidate).await? {
            if facts.diff_ids == image.diff_ids {
                return Ok(facts);
            }
            seen = Some(facts);
        }
    }
    Err(match seen {
        Some(facts) => wrong(format!(
            "image {} does not match the signed manifest: the engine has {} of its {} layers, or other ones",
            image.reference,
            facts.diff_ids.iter().filter(|id| image.diff_ids.contains(id)).count(),
            image.diff_ids.len()
        )),
        None => {
            wrong(format!("the engine reported success, but does not have the image {}", image.reference))
        }
    }
    .into())
}

/// One piece of the archive for the load call.
enum Piece {
    Bytes(Vec<u8>),
    Content(Span),
}

async fn load_all<S: ReadAt + 'static>(
    engine: &Engine,
    bundle: &Arc<Bundle<S>>,
    plan: &ImportPlan,
    inventory: &Inventory,
    progress: &Arc<dyn Progress>,
) -> Result<()> {
    progress.detail("through the load call");
    // Layers that the engine holds below the same layers need not be sent, except to the containerd
    // store, which takes such an archive and then has a broken image.
    let partial = engine.facts().store != ImageStore::Containerd;
    let held = if partial { held_prefixes(&plan.missing, inventory) } else { BTreeSet::new() };
    let partial = partial && !held.is_empty();
    let first = load(engine, bundle, plan, &held, progress).await;
    let whole = match first {
        Ok(()) if partial => confirm_all(engine, plan).await.is_err(),
        Err(_) if partial => true,
        other => return other,
    };
    if whole {
        load(engine, bundle, plan, &BTreeSet::new(), progress).await?;
    }
    Ok(())
}

async fn confirm_all(engine: &Engine, plan: &ImportPlan) -> Result<()> {
    for image in &plan.missing {
        confirm(engine, image, plan).await?;
    }
    Ok(())
}

/// Blobs that every missing image can do without: the engine has an image with the same layers from
/// the base up to this one.
fn held_prefixes(images: &[Image], inventory: &Inventory) -> BTreeSet<Digest> {
    let (mut held, mut needed) = (BTreeSet::new(), BTreeSet::new());
    for image in images {
        let common = inventory
            .images
            .iter()
            .map(|facts| facts.diff_ids.iter().zip(&image.diff_ids).take_while(|(a, b)| a == b).count())
            .max()
            .unwrap_or(0);
        for (position, blob) in image.blobs().iter().enumerate() {
            if position < common {
                held.insert(*blob)
            } else {
                needed.insert(*blob)
            };
        }
    }
    held.difference(&needed).copied().collect()
}

async fn load<S: ReadAt + 'static>(
    engine: &Engine,
    bundle: &Arc<Bundle<S>>,
    plan: &ImportPlan,
    leave_out: &BTreeSet<Digest>,
    progress: &Arc<dyn Progress>,
) -> Result<()> {
    let pieces = archive(bundle, plan, leave_out)?;
    let (sender, receiver) = tokio::sync::mpsc::channel::<std::io::Result<Bytes>>(1);
    let (bundle, watching) = (Arc::clone(bundle), Arc::clone(progress));
    let broken = ReadFailure::default();
    let noting = broken.clone();
    tokio::task::spawn_blocking(move || {
        for piece in pieces {
            let sent = match piece {
                Piece::Bytes(bytes) => sender.blocking_send(Ok(bytes.into())).is_ok(),
                Piece::Content(span) => match ReadAhead::content(&bundle, span, 2) {
                    Ok(mut frames) => frames.all(|content| {
                        let content = content.map_err(|error| noting.note(error));
                        watching.advance(content.as_ref().map_or(0, Vec::len) as u64);
                        let failed = content.is_err();
                        sender.blocking_send(content.map(Bytes::from)).is_ok() && !failed
                    }),
                    Err(error) => sender.blocking_send(Err(noting.note(error))).is_err(),
                },
            };
            if !sent {
                return;
            }
        }
    });
    let body = futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|item| (item, receiver))
    });
    engine.load(body, &mut |_| {}).await.map_err(|error| not_taken(error, broken.failure()))
}

/// An archive that is a Docker image archive and an OCI layout in one, with the layers as tar.
fn archive<S: ReadAt>(
    bundle: &Bundle<S>,
    plan: &ImportPlan,
    leave_out: &BTreeSet<Digest>,
) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let bytes = |pieces: &mut Vec<Piece>, path: &str, content: Vec<u8>| -> Result<()> {
        let size = content.len() as u64;
        let mut block = tarball::header(&path.parse()?, Kind::File { size, executable: false })?;
        block.extend(content);
        block.resize(block.len() + tarball::padding(size), 0);
        pieces.push(Piece::Bytes(block));
        Ok(())
    };
    let mut listed = Vec::new();
    let mut index = Index { schema_version: 2, media_type: None, manifests: Vec::new() };
    let mut blobs: BTreeMap<Digest, Piece> = BTreeMap::new();
    let mut sizes = BTreeMap::new();
    for image in &plan.missing {
        let entry = match &image.manifests {
            Manifests::Repacked { tar, .. } => tar,
            Manifests::Preserved { original, .. } => original,
        };
        let name = plan.kept_name(image);
        let tag = &name.tag;
        index.manifests.push(manifest_schema::oci::Descriptor {
            media_type: entry.media_type.clone(),
            digest: entry.digest,
            size: entry.content.len() as u64,
            platform: None,
            annotations: BTreeMap::from([
                (
                    "io.containerd.image.name".to_owned(),
                    format!("{}/{}:{tag}", image.reference.domain(), image.reference.path()),
                ),
                ("org.opencontainers.image.ref.name".to_owned(), tag.clone()),
            ]),
        });
        let path = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
        listed.push(ArchiveImage {
            config: path(&image.config.digest),
            repo_tags: Some(vec![name.to_string()]),
            layers: image.blobs().iter().map(path).collect(),
        });
        for (digest, span) in std::iter::once((image.config.digest, image.config.span))
            .chain(
                image
                    .blobs()
                    .iter()
                    .filter_map(|blob| bundle.release().layer(blob))
                    .map(|l| (l.digest, l.span)),
            )
            .filter(|(digest, _)| !leave_out.contains(digest))
        {
            sizes.insert(digest, span.size);
            blobs.insert(digest, Piece::Content(span));
        }
        sizes.insert(entry.digest, entry.content.len() as u64);
        blobs.insert(entry.digest, Piece::Bytes(entry.content.clone().into_bytes()));
    }
    bytes(&mut pieces, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec())?;
    bytes(&mut pieces, "index.json", serde_json::to_vec(&index)?)?;
    bytes(&mut pieces, "manifest.json", serde_json::to_vec(&listed)?)?;
    for (digest, piece) in blobs {
        let size = sizes.get(&digest).copied().unwrap_or_default();
        let path: BundlePath = format!("blobs/sha256/{}", digest.hex()).parse()?;
        pieces.push(Piece::Bytes(tarball::header(&path, Kind::File { size, executable: false })?));
        pieces.push(piece);
        pieces.push(Piece::Bytes(vec![0; tarball::padding(size)]));
    }
    pieces.push(Piece::Bytes(tarball::END.to_vec()));
    Ok(pieces)
}
