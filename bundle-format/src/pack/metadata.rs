//! The metadata of a bundle: written last, standing first, so that a reader of a stream knows what follows.

use crate::error::{FormatError, Result};
use crate::frame::FrameCompressor;
use crate::index::{Extension, FrameEntry};
use crate::tarball::{self, Kind};
use manifest_schema::limits::{self, FRAME_BYTES};
use manifest_schema::{BundlePath, Digest};

/// `ferry.json`, and the files that stand behind it.
#[derive(Debug, Clone)]
pub struct Metadata {
    /// The content of `ferry.json`.
    pub release: Vec<u8>,
    /// Further files, in their order.
    pub companions: Vec<MetadataFile>,
    /// Of a bundle of version 2; `None`: of version 1. It is the version of `release`.
    pub extension: Option<Extension>,
}

/// A file beside `ferry.json`.
#[derive(Debug, Clone)]
pub struct MetadataFile {
    /// Path in the payload's tar.
    pub path: BundlePath,
    /// Content.
    pub content: Vec<u8>,
}

/// Metadata as it lies in the file.
pub(super) struct Compressed {
    pub(super) entries: Vec<FrameEntry>,
    pub(super) bytes: Vec<u8>,
}

impl Metadata {
    /// Refuses metadata that no reader would accept.
    ///
    /// # Errors
    /// [`FormatError::Limit`].
    pub fn check(&self) -> Result<()> {
        let release = self.release.len() as u64;
        if release > limits::MAX_RELEASE_JSON_BYTES {
            return Err(FormatError::Limit(format!(
                "the description of the contents would have {release} bytes; the limit is {}",
                limits::MAX_RELEASE_JSON_BYTES
            )));
        }
        Ok(())
    }

    /// Bytes that it takes in the file at `level`.
    ///
    /// # Errors
    /// When zstd refuses the level.
    pub fn compressed_bytes(&self, level: i32) -> Result<u64> {
        self.compress(level).map(|compressed| compressed.bytes.len() as u64)
    }

    /// Its tar, without an end, in frames.
    pub(super) fn compress(&self, level: i32) -> Result<Compressed> {
        let release =
            ("ferry.json".parse().map_err(|_| FormatError::Fault("`ferry.json` is no path"))?, &self.release);
        let companions = self.companions.iter().map(|file| (file.path.clone(), &file.content));
        let mut tar = Vec::new();
        for (path, content) in std::iter::once(release).chain(companions) {
            let size = content.len() as u64;
            tar.extend(tarball::header(&path, Kind::File { size, executable: false })?);
            tar.extend_from_slice(content);
            tar.resize(tar.len() + tarball::padding(size), 0);
        }
        let mut compressor = FrameCompressor::new(level)?;
        let (mut entries, mut bytes) = (Vec::new(), Vec::new());
        for content in tar.chunks(FRAME_BYTES) {
            let frame = compressor.compress(content)?;
            entries.push(FrameEntry {
                compressed_bytes: frame.len() as u32,
                content_bytes: content.len() as u32,
                digest: Digest::of(&frame),
            });
            bytes.extend(frame);
        }
        Ok(Compressed { entries, bytes })
    }
}
