//! Images through the engine's load call, for engines that cannot pull from our loopback address: an archive that is
//! a Docker image archive and an OCI layout in one.

use super::confirm::confirm_all;

use super::plan::{Import, ImportPlan};
use super::read_failure::ReadFailure;
use super::registry::not_taken;
use crate::engine::ImageStore;
use crate::engine::inventory::Inventory;
use anyhow::Result;
use bundle_format::read_ahead::ReadAhead;
use bundle_format::tarball::{self, Kind};
use bundle_format::{Bundle, ReadAt};
use bytes::Bytes;
use manifest_schema::oci::{ArchiveImage, Descriptor, Index};
use manifest_schema::release::{Image, Manifests, Span};
use manifest_schema::{BundlePath, Digest};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One piece of the archive for the load call.
enum Piece {
    Bytes(Vec<u8>),
    Content(Span),
}

pub(super) async fn load_all<S: ReadAt + 'static>(import: &Import<'_, S>) -> Result<()> {
    let Import { engine, plan, inventory, progress, .. } = *import;
    progress.detail("through the load call");
    // Layers that the engine holds below the same layers need not be sent, except to the containerd
    // store, which takes such an archive and then has a broken image.
    let partial = engine.facts().store != ImageStore::Containerd;
    let held = if partial { held_prefixes(&plan.missing, inventory) } else { BTreeSet::new() };
    let partial = partial && !held.is_empty();
    let first = load(import, &held).await;
    let whole = match first {
        Ok(()) if partial => confirm_all(engine, plan).await.is_err(),
        Err(_) if partial => true,
        other => return other,
    };
    if whole {
        load(import, &BTreeSet::new()).await?;
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

async fn load<S: ReadAt + 'static>(import: &Import<'_, S>, leave_out: &BTreeSet<Digest>) -> Result<()> {
    let Import { engine, bundle, plan, progress, .. } = *import;
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
    let loaded = broken.ends(engine.load(body, &mut |_| {})).await?;
    loaded.map_err(|error| not_taken(error, broken.failure()))
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
        let name = plan.name_of(image);
        let tag = name.tag();
        index.manifests.push(Descriptor {
            media_type: entry.media_type.clone(),
            digest: entry.digest,
            size: entry.content.len() as u64,
            platform: None,
            annotations: BTreeMap::from([
                (
                    "io.containerd.image.name".to_owned(),
                    format!("{}/{}:{tag}", image.reference.domain(), image.reference.path()),
                ),
                ("org.opencontainers.image.ref.name".to_owned(), tag.to_owned()),
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
