//! Pulls an image from a registry into an OCI image layout folder (OCI distribution-spec 1.1,
//! "Pulling manifests", "Pulling blobs"); [`super::distribution`] speaks with it.
//!
//! Invariants: every manifest and blob is checked against the digest that led to it before
//! it gets its name in the layout; `index.json` is written last, so that an interrupted pull is
//! continued and never taken for a whole one; plain HTTP is spoken with this machine only.

use super::credentials::credentials;
use super::daemon::runtime;
use super::distribution::{Patience, Refused, Repository};
use super::documents::{self, Described, Listed, Manifest};
use super::oci_layout::{blob_name, media_type_of};
use super::{ResolveOptions, kept};
use crate::cancel::Cancel;
use anyhow::{Context, bail};
use ferry_terminal::{whole_file, writing};
use manifest_schema::limits::{MAX_IMAGE_JSON_BYTES, MAX_LAYERS};
use manifest_schema::oci::{Descriptor, Index, media_type};
use manifest_schema::progress::Progress;
use manifest_schema::{Digest, ImageRef, Platform};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

/// Connections tried for one blob; each continues where the last one broke.
const ATTEMPTS: usize = 4;
/// Nesting of indexes.
const MAX_DEPTH: usize = 4;
/// Manifests and indexes of one image: a few platforms, a few variants.
const MAX_DOCUMENTS: usize = 64;

const ACCEPTED: &[&str] =
    &[media_type::INDEX, media_type::MANIFEST, media_type::DOCKER_LIST, media_type::DOCKER_MANIFEST];

/// Pulls `reference` for `platforms` into the layout folder `layout`. Blobs that lie there already
/// are not pulled again.
///
/// # Errors
/// When the registry does not answer, does not know the image, or sends what does not match.
pub(super) fn fetch(
    reference: &ImageRef,
    platforms: &[Platform],
    layout: &Path,
    options: &ResolveOptions,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> anyhow::Result<()> {
    let domain = reference.domain();
    let credentials = credentials(options.docker_config.as_deref(), domain)?;
    let repository = Repository::new(domain, reference.path(), credentials, Patience::USUAL)?;
    let pull = Pull { repository, reference, layout, progress };
    runtime()?.block_on(cancel.unless(pull.run(platforms)))
}

struct Pull<'a> {
    repository: Repository,
    reference: &'a ImageRef,
    layout: &'a Path,
    progress: &'a dyn Progress,
}

/// A manifest or index as pulled.
struct Document {
    descriptor: Descriptor,
    bytes: Vec<u8>,
}

impl Pull<'_> {
    async fn run(&self, platforms: &[Platform]) -> anyhow::Result<()> {
        let top = self.manifest(None).await?;
        let mut manifests = Vec::new();
        let mut documents = vec![];
        self.walk(&top, platforms, &mut manifests, &mut documents).await?;
        let mut wanted: BTreeMap<Digest, u64> = BTreeMap::new();
        for manifest in &manifests {
            if manifest.layers.len() > MAX_LAYERS {
                bail!("an image has {} layers; a bundle takes {MAX_LAYERS}", manifest.layers.len());
            }
            if manifest.config.usable()?.size > MAX_IMAGE_JSON_BYTES {
                bail!("an image configuration has {} bytes, too many", manifest.config.usable()?.size);
            }
            for blob in std::iter::once(&manifest.config).chain(&manifest.layers) {
                let blob = blob.usable()?;
                wanted.insert(blob.digest, blob.size);
            }
        }
        // Only now: a registry that is away leaves nothing.
        let blobs = self.layout.join("blobs/sha256");
        std::fs::create_dir_all(&blobs).with_context(|| format!("{} cannot be made", blobs.display()))?;
        for document in &documents {
            self.write(&blob_name(&document.descriptor.digest), &document.bytes)?;
        }
        let total: u64 = wanted.values().fold(0, |sum, size| sum.saturating_add(*size));
        self.progress.begin(&format!("pulling {}", self.reference), Some(total));
        for (digest, size) in &wanted {
            self.blob(digest, *size).await.with_context(|| format!("blob {digest}"))?;
        }
        let mut entry = top.descriptor.clone();
        entry.annotations.insert("io.containerd.image.name".to_owned(), self.reference.canonical());
        let index = Index {
            schema_version: 2,
            media_type: Some(media_type::INDEX.to_owned()),
            manifests: vec![entry],
        };
        self.write("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        self.write("index.json", &serde_json::to_vec(&index)?)?;
        let known: BTreeSet<Digest> = wanted
            .keys()
            .copied()
            .chain(documents.iter().map(|document| document.descriptor.digest))
            .collect();
        self.sweep(&known);
        self.progress.end(&format!("pulled {}, {total} bytes", self.reference));
        Ok(())
    }

    /// Collects the documents and the manifests for `platforms` from an index, or from a manifest,
    /// whose platform its configuration tells later.
    async fn walk(
        &self,
        top: &Document,
        platforms: &[Platform],
        manifests: &mut Vec<Manifest>,
        documents: &mut Vec<Document>,
    ) -> anyhow::Result<()> {
        let mut waiting = vec![(0, top.descriptor.clone(), top.bytes.clone())];
        let mut offered: BTreeSet<Platform> = BTreeSet::new();
        // A manifest without a listed platform tells its own later, in its configuration.
        let mut unlisted = false;
        while let Some((depth, descriptor, bytes)) = waiting.pop() {
            if depth > MAX_DEPTH {
                bail!("its indexes are nested more than {MAX_DEPTH} deep");
            }
            let media_type = media_type_of(&descriptor, &bytes);
            if !ACCEPTED.contains(&media_type.as_str()) {
                bail!("`{}` is of media type {media_type}, which is no image", self.reference);
            }
            if matches!(media_type.as_str(), media_type::INDEX | media_type::DOCKER_LIST) {
                let index = documents::index(&bytes).context("its index is malformed")?;
                for child in index.iter().filter(|child| !child.is_attestation) {
                    let fits = match &child.platform {
                        Some(platform) => {
                            let fits = platforms.iter().any(|asked| asked.accepts(platform));
                            offered.insert(platform.clone());
                            fits
                        }
                        // One that cannot be used may be for another platform.
                        None => child.descriptor.is_ok(),
                    };
                    if !fits {
                        continue;
                    }
                    if waiting.len() + documents.len() > MAX_DOCUMENTS {
                        bail!("its index lists more than {MAX_DOCUMENTS} images for {}", list(platforms));
                    }
                    let document = self.manifest(Some(child)).await?;
                    unlisted |= child.platform.is_none();
                    waiting.push((depth + 1, document.descriptor, document.bytes));
                }
            } else {
                unlisted |= depth == 0;
                match documents::manifest(&bytes).context("its manifest is malformed")? {
                    Described::Image(manifest) => manifests.push(*manifest),
                    Described::Artifact(what) if depth == 0 => bail!("it is {what}, and no image"),
                    Described::Artifact(_) => {}
                }
            }
            documents.push(Document { descriptor, bytes });
        }
        let absent: Vec<Platform> =
            platforms.iter().filter(|asked| !offered.iter().any(|one| asked.accepts(one))).cloned().collect();
        if !unlisted && !absent.is_empty() {
            let offered: Vec<Platform> = offered.into_iter().collect();
            bail!("it has the image for {}, not for {}", list(&offered), list(&absent));
        }
        Ok(())
    }

    /// The manifest at the reference, or the one that `child` names.
    async fn manifest(&self, child: Option<&Listed>) -> anyhow::Result<Document> {
        let child = child.map(Listed::usable).transpose().context("an entry of its index")?;
        let digest = child.map(|child| child.digest).or(self.reference.digest().copied());
        let target = match digest {
            Some(digest) => digest.to_string(),
            None => self.reference.tag().unwrap_or("latest").to_owned(),
        };
        if let Some(child) = child.filter(|child| child.size > MAX_IMAGE_JSON_BYTES) {
            bail!("its index lists a manifest of {} bytes, more than {MAX_IMAGE_JSON_BYTES}", child.size);
        }
        let bytes = self.repository.manifest(&target, ACCEPTED).await?;
        let found = Digest::of(&bytes);
        if let Some(digest) = digest.filter(|digest| digest != &found) {
            bail!("it sent a manifest with digest {found} for {digest}");
        }
        let mut descriptor = child.cloned().unwrap_or(Descriptor {
            media_type: String::new(),
            digest: found,
            size: bytes.len() as u64,
            platform: None,
            annotations: BTreeMap::new(),
        });
        descriptor.media_type = media_type_of(&descriptor, &bytes);
        Ok(Document { descriptor, bytes })
    }

    /// Pulls one blob, continuing what an earlier attempt or an earlier run left.
    async fn blob(&self, digest: &Digest, size: u64) -> anyhow::Result<()> {
        let path = self.layout.join(blob_name(digest));
        // Blobs got their names only after their digest was checked, but a disk can lose bytes later.
        if path.metadata().is_ok_and(|metadata| metadata.len() == size) {
            let mut hash = Sha256::new();
            let read = File::open(&path).and_then(|mut file| hash_file(&mut file, &mut hash));
            if read.is_ok() && &Digest::from_bytes(hash.finalize().into()) == digest {
                self.progress.advance(size);
                return Ok(());
            }
        }
        let partial = kept::partial(&path);
        let mut last = None;
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(Duration::from_millis(300 << attempt)).await;
            }
            match self.continue_blob(digest, size, &partial).await {
                Ok(file) => return whole_file::rename(&file, &partial, &path),
                Err(Interrupted::Final(error)) => return Err(error),
                Err(Interrupted::Again(error)) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| anyhow::anyhow!("it was not sent")))
    }

    async fn continue_blob(&self, digest: &Digest, size: u64, partial: &Path) -> Result<File, Interrupted> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(partial)
            .with_context(|| format!("{} cannot be written", partial.display()))?;
        let mut hash = Sha256::new();
        let mut have = hash_file(&mut file, &mut hash).context("a partial blob cannot be read")?;
        if have > size {
            file.set_len(0).context("a partial blob cannot be emptied")?;
            (hash, have) = (Sha256::new(), 0);
        }
        let mut continued = have > 0;
        if have < size {
            let mut blob = self.repository.blob(digest, have).await?;
            if !blob.continues {
                file.set_len(0).context("a partial blob cannot be emptied")?;
                (hash, have, continued) = (Sha256::new(), 0, false);
            }
            while let Some(chunk) = blob.chunk().await? {
                have = have.saturating_add(chunk.len() as u64);
                if have > size {
                    let _ = file.set_len(0);
                    return Err(Interrupted::Final(anyhow::anyhow!(
                        "it sent more than the {size} bytes announced"
                    )));
                }
                hash.update(&chunk);
                file.write_all(&chunk).map_err(|error| writing::failed(partial, Some(size), error))?;
                self.progress.advance(chunk.len() as u64);
            }
        }
        if have < size {
            return Err(Interrupted::Again(anyhow::anyhow!(
                "the connection ended after {have} of {size} bytes"
            )));
        }
        let found = Digest::from_bytes(hash.finalize().into());
        if &found != digest {
            let _ = file.set_len(0);
            let error = anyhow::anyhow!("what it sent has digest {found}");
            // The first part may have been damaged on our disk since an earlier run.
            return Err(if continued { Interrupted::Again(error) } else { Interrupted::Final(error) });
        }
        Ok(file)
    }

    /// Writes a small file of the layout, whole or not at all.
    fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        whole_file::write(&self.layout.join(name), bytes, 0o644)
    }

    /// Removes blobs of an earlier pull that nothing refers to any more.
    fn sweep(&self, known: &BTreeSet<Digest>) {
        let Ok(entries) = self.layout.join("blobs/sha256").read_dir() else { return };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let digest = format!("sha256:{name}").parse::<Digest>();
            if digest.is_ok_and(|digest| !known.contains(&digest)) {
                // A blob too many does no harm.
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

/// Why a blob is not there yet.
enum Interrupted {
    /// Trying again may help.
    Again(anyhow::Error),
    /// It will not.
    Final(anyhow::Error),
}

impl From<anyhow::Error> for Interrupted {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast_ref() {
            Some(Refused::Passing(_)) => Self::Again(error),
            _ => Self::Final(error),
        }
    }
}

fn hash_file(file: &mut File, hash: &mut Sha256) -> io::Result<u64> {
    let mut buffer = vec![0; 128 << 10];
    let mut total = 0;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(total);
        }
        hash.update(buffer.get(..count).unwrap_or_default());
        total += count as u64;
    }
}

fn list(platforms: &[Platform]) -> String {
    platforms.iter().map(Platform::as_str).collect::<Vec<_>>().join(", ")
}
