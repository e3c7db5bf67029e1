//! Where an image's documents and layer blobs lie: in an archive, or in a folder with an OCI image
//! layout. Both answer the same two questions: "give me this document" and "where is this blob".

use super::archive::Archive;
use crate::cancel::Cancel;
use crate::read::compression::{Compression, HEAD_BYTES, Lifted, sniff};
use crate::read::exactly::Exactly;
use anyhow::{Context, bail};
use manifest_schema::limits::MAX_IMAGE_JSON_BYTES;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Documents read from one archive or layout in total, each counted as often as it is named: a list can name one
/// of 8 MiB a hundred thousand times, and each image keeps its own. 4096 manifests and configurations of 16 KiB
/// fit.
const MAX_DOCUMENTS_BYTES: u64 = 128 << 20;

/// An archive or a folder, and the bytes of documents that were read from it.
#[derive(Clone)]
pub(super) enum Store {
    Archive(Arc<Archive>, Arc<AtomicU64>),
    Folder(Arc<PathBuf>, Arc<AtomicU64>),
}

/// Bytes at rest: how many, how compressed, and where.
#[derive(Clone)]
pub(super) struct Stored {
    pub(super) bytes: u64,
    pub(super) compression: Compression,
    pub(super) place: Place,
}

#[derive(Clone)]
pub(super) enum Place {
    Range { archive: Arc<Archive>, offset: u64, name: String },
    File(PathBuf),
}

impl Store {
    /// Opens an archive file, or a folder with an OCI image layout.
    pub(super) fn open(path: &Path, lifted: Lifted, cancel: &Cancel) -> anyhow::Result<Self> {
        let metadata = path.metadata().with_context(|| format!("{} cannot be opened", path.display()))?;
        if !metadata.is_dir() {
            return Ok(Self::Archive(Arc::new(Archive::open(path, lifted, cancel)?), Arc::default()));
        }
        if !path.join("index.json").is_file() {
            bail!("folder {} is not an OCI image layout: {}", path.display(), instead_of_a_layout(path));
        }
        Ok(Self::Folder(Arc::new(path.to_owned()), Arc::default()))
    }

    /// Its kind where it holds no image, and the way out where that is plain.
    pub(super) fn instead(&self) -> String {
        let known = if let Self::Archive(archive, _) = self { archive.instead() } else { None };
        let why = self.why_absent();
        known.unwrap_or_else(|| format!("it has neither manifest.json nor index.json{why}"))
    }

    /// The path, for messages.
    pub(super) fn label(&self) -> String {
        match self {
            Self::Archive(archive, _) => archive.path().display().to_string(),
            Self::Folder(folder, _) => folder.display().to_string(),
        }
    }

    /// The words behind "X is absent" where the reason is plain.
    pub(super) fn why_absent(&self) -> &'static str {
        match self {
            Self::Archive(archive, _) => archive.why_absent(),
            Self::Folder(..) => "",
        }
    }

    /// A small document, whole; `None` where it is absent.
    pub(super) fn document(&self, name: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let (Self::Archive(_, spent) | Self::Folder(_, spent)) = self;
        if spent.load(Ordering::Relaxed) > MAX_DOCUMENTS_BYTES {
            bail!(
                "the documents that {} names have more than {MAX_DOCUMENTS_BYTES} bytes together",
                self.label()
            );
        }
        let content = match self {
            Self::Archive(archive, _) => archive.document(name),
            Self::Folder(folder, _) => document_in(folder, name),
        }?;
        spent.fetch_add(content.as_ref().map_or(0, |content| content.len() as u64), Ordering::Relaxed);
        Ok(content)
    }

    /// Where a blob lies; `None` where it is absent.
    pub(super) fn stored(&self, name: &str) -> anyhow::Result<Option<Stored>> {
        let what = || format!("layer `{name}` of {}", self.label());
        match self {
            Self::Archive(archive, _) => {
                let Some(member) = archive.find(name)? else { return Ok(None) };
                Ok(Some(Stored {
                    bytes: member.size,
                    compression: sniff(&member.head).with_context(what)?,
                    place: Place::Range {
                        archive: Arc::clone(archive),
                        offset: member.offset,
                        name: member.name.clone(),
                    },
                }))
            }
            Self::Folder(folder, _) => {
                let path = folder.join(name);
                let Some((file, bytes)) = open_file(&path)? else { return Ok(None) };
                let mut head = Vec::new();
                file.take(HEAD_BYTES as u64).read_to_end(&mut head)?;
                let compression = sniff(&head).with_context(what)?;
                Ok(Some(Stored { bytes, compression, place: Place::File(path) }))
            }
        }
    }
}

impl Stored {
    /// The bytes as they are stored, exactly as many as were found.
    pub(super) fn open(&self) -> anyhow::Result<Box<dyn Read + Send>> {
        match &self.place {
            Place::Range { archive, offset, name } => archive.open_range(*offset, self.bytes, name),
            Place::File(path) => {
                let file =
                    File::open(path).with_context(|| format!("{} cannot be opened", path.display()))?;
                Ok(Box::new(Exactly::new(file, self.bytes, path.display().to_string())))
            }
        }
    }

    /// The place in words.
    pub(super) fn label(&self) -> String {
        match &self.place {
            Place::Range { archive, name, .. } => format!("layer `{name}` of {}", archive.path().display()),
            Place::File(path) => format!("layer {}", path.display()),
        }
    }
}

/// The kind of a folder that is no layout, and the way out.
fn instead_of_a_layout(folder: &Path) -> &'static str {
    let has = |name: &str| folder.join(name).is_file();
    if has("version") && has("manifest.json") {
        "it is one that skopeo writes for `dir:`; copy the image to `oci:` or `docker-archive:` instead"
    } else if has("manifest.json") {
        "it is an archive of `docker save` that was unpacked; name the archive itself"
    } else if has("Chart.yaml") {
        "it is a Helm chart, and no image"
    } else if has("Dockerfile") {
        "it is what an image is built from; build it, and save the image with `docker save`"
    } else {
        "it has no index.json"
    }
}

/// A document of a layout in a folder.
fn document_in(folder: &Path, name: &str) -> anyhow::Result<Option<Vec<u8>>> {
    let path = folder.join(name);
    let Some((file, _)) = open_file(&path)? else { return Ok(None) };
    let mut content = Vec::new();
    file.take(MAX_IMAGE_JSON_BYTES + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_IMAGE_JSON_BYTES {
        bail!("{} has more than {MAX_IMAGE_JSON_BYTES} bytes, too many for a document", path.display());
    }
    Ok(Some(content))
}

/// A regular file and its size, or `None` where there is none. A pipe is not opened: that would wait.
fn open_file(path: &Path) -> anyhow::Result<Option<(File, u64)>> {
    let metadata = match path.metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be opened", path.display())),
    };
    if !metadata.is_file() {
        bail!("{} is not a file", path.display());
    }
    let file = File::open(path).with_context(|| format!("{} cannot be opened", path.display()))?;
    Ok(Some((file, metadata.len())))
}
