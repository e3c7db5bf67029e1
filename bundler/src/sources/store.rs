//! Where an image's documents and layer blobs lie: in an archive, or in a folder with an OCI image
//! layout. Both answer the same two questions: "give me this document" and "where is this blob".

use super::archive::Archive;
use crate::cancel::Cancel;
use crate::read::compression::{Compression, HEAD_BYTES, sniff};
use crate::read::exactly::Exactly;
use anyhow::{Context, bail};
use manifest_schema::limits::MAX_IMAGE_JSON_BYTES;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An archive or a folder.
#[derive(Clone)]
pub(super) enum Store {
    Archive(Arc<Archive>),
    Folder(Arc<PathBuf>),
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
    pub(super) fn open(path: &Path, cancel: &Cancel) -> anyhow::Result<Self> {
        let metadata = path.metadata().with_context(|| format!("{} cannot be opened", path.display()))?;
        if !metadata.is_dir() {
            return Ok(Self::Archive(Arc::new(Archive::open(path, cancel)?)));
        }
        if !path.join("index.json").is_file() {
            bail!("folder {} is not an OCI image layout: it has no index.json", path.display());
        }
        Ok(Self::Folder(Arc::new(path.to_owned())))
    }

    /// The path, for messages.
    pub(super) fn label(&self) -> String {
        match self {
            Self::Archive(archive) => archive.path().display().to_string(),
            Self::Folder(folder) => folder.display().to_string(),
        }
    }

    /// The words behind "X is absent" where the reason is plain.
    pub(super) fn why_absent(&self) -> &'static str {
        match self {
            Self::Archive(archive) => archive.why_absent(),
            Self::Folder(_) => "",
        }
    }

    /// A small document, whole; `None` where it is absent.
    pub(super) fn document(&self, name: &str) -> anyhow::Result<Option<Vec<u8>>> {
        match self {
            Self::Archive(archive) => archive.document(name),
            Self::Folder(folder) => {
                let path = folder.join(name);
                let Some((file, _)) = open_file(&path)? else { return Ok(None) };
                let mut content = Vec::new();
                file.take(MAX_IMAGE_JSON_BYTES + 1).read_to_end(&mut content)?;
                if content.len() as u64 > MAX_IMAGE_JSON_BYTES {
                    bail!(
                        "{} has more than {MAX_IMAGE_JSON_BYTES} bytes, too many for a document",
                        path.display()
                    );
                }
                Ok(Some(content))
            }
        }
    }

    /// Where a blob lies; `None` where it is absent.
    pub(super) fn stored(&self, name: &str) -> anyhow::Result<Option<Stored>> {
        let what = || format!("layer `{name}` of {}", self.label());
        match self {
            Self::Archive(archive) => {
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
            Self::Folder(folder) => {
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
