//! Writes a `.fz`: `pack → seal → describe → sign`, each a value that the next one needs.
//!
//! The caller says what goes in, in order; each byte is read once and written once. Small things
//! share frames. A blob with frames of its own begins and ends exactly at frame boundaries, so that
//! the run of frames is a zstd file of that blob. The tar header before such a blob stands in a
//! stored frame, whose size is known beforehand, and is filled in at the end: a layer that arrives
//! as gzip need not be measured first.

mod metadata;
mod pipeline;
mod reserve;
mod sealed;

pub use self::metadata::{Metadata, MetadataFile};
pub use self::reserve::Reserve;
pub use self::sealed::{Described, Packed, Sealed};

use self::pipeline::Pipeline;
use crate::error::{FormatError, Result};
use crate::frame::{self, EMPTY_FRAME, SKIPPABLE_HEADER_BYTES};
use crate::tarball::{self, Kind};
use manifest_schema::limits::{self, FRAME_BYTES};
use manifest_schema::release::{FileEntry, Span};
use manifest_schema::{BundlePath, Digest};
use std::io::{Read, Seek, Write};

/// Bytes of the file before HEAD's content.
const PREFIX_BYTES: u64 = (EMPTY_FRAME.len() + SKIPPABLE_HEADER_BYTES) as u64;

/// Bytes read from an input at a time: small enough to stay in the cache while it is copied.
const READ_BYTES: usize = 256 << 10;

/// How to pack.
#[derive(Debug, Clone, Copy)]
pub struct PackOptions {
    /// zstd level, 1 to 19.
    pub level: i32,
    /// Threads that compress. Does not change the bytes.
    pub threads: usize,
}

/// A blob with frames of its own; [`Sealed::compressed`] knows its compressed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnBlob {
    /// SHA-256 of the content.
    pub digest: Digest,
    /// Where the content lies.
    pub span: Span,
    number: usize,
}

/// Writes a bundle into a seekable output.
pub struct Packer<W> {
    pipeline: Pipeline<W>,
    level: i32,
    payload_start: u64,
    /// Content offset of the next byte, from the start of the data frames.
    position: u64,
    /// Content of the shared frame that is being filled.
    shared: Vec<u8>,
    /// The tar header of each blob with frames of its own: the content of the holes, in their order.
    headers: Vec<Vec<u8>>,
    own_blobs: usize,
}

impl<W: Write + Seek + Send + 'static> Packer<W> {
    /// Starts packing into `output`, leaving room as `reserve` says.
    ///
    /// # Errors
    /// When zstd refuses the level, or the bundle would have more frames than a reader accepts.
    pub fn new(output: W, options: PackOptions, reserve: Reserve) -> Result<Self> {
        check_head(reserve.head_bytes())?;
        let payload_start = PREFIX_BYTES.saturating_add(reserve.bytes());
        Ok(Self {
            pipeline: Pipeline::start(output, payload_start, options.level, options.threads)?,
            level: options.level,
            payload_start,
            position: 0,
            shared: Vec::new(),
            headers: Vec::new(),
            own_blobs: 0,
        })
    }

    /// Content offset of the next byte, counted from the start of the data frames.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Packs a small file whose content is at hand.
    ///
    /// # Errors
    /// When writing fails.
    pub fn small_file(&mut self, path: &BundlePath, content: &[u8]) -> Result<FileEntry> {
        self.file(path, content.len() as u64, false, &mut &*content)
    }

    /// Packs a file of exactly `size` bytes.
    ///
    /// # Errors
    /// When reading or writing fails, or the file has another size.
    pub fn file(
        &mut self,
        path: &BundlePath,
        size: u64,
        executable: bool,
        content: &mut dyn Read,
    ) -> Result<FileEntry> {
        if size >= frame::OWN_FRAMES_BYTES {
            let blob = self.own(path, Some(size), executable, content)?;
            return Ok(FileEntry { path: path.clone(), digest: blob.digest, span: blob.span });
        }
        self.share(&tarball::header(path, Kind::File { size, executable })?)?;
        let offset = self.position;
        let mut bytes = Vec::new();
        content.take(size + 1).read_to_end(&mut bytes).map_err(FormatError::io(format!("reading {path}")))?;
        check_size(path, size, bytes.len() as u64)?;
        self.share(&bytes)?;
        self.share(&vec![0; tarball::padding(size)])?;
        Ok(FileEntry { path: path.clone(), digest: Digest::of(&bytes), span: Span { offset, size } })
    }

    /// Packs a folder or a symbolic link.
    ///
    /// # Errors
    /// When writing fails.
    pub fn entry(&mut self, path: &BundlePath, kind: Kind<'_>) -> Result<()> {
        self.share(&tarball::header(path, kind)?)
    }

    /// Packs a blob into frames of its own; `size` where it is known, to be held to it.
    ///
    /// # Errors
    /// When reading or writing fails, or the size is another.
    pub fn own(
        &mut self,
        path: &BundlePath,
        size: Option<u64>,
        executable: bool,
        content: &mut dyn Read,
    ) -> Result<OwnBlob> {
        // What others share goes first, so that the header's frame is small and stored.
        self.flush_shared()?;
        let draft = tarball::header(path, Kind::File { size: size.unwrap_or(0), executable })?;
        let frame_bytes = (draft.len() + frame::STORED_OVERHEAD) as u32;
        self.pipeline.hole(frame_bytes, draft.len() as u32)?;
        self.position = self.advance(draft.len() as u64)?;

        let offset = self.position;
        self.pipeline.blob_starts()?;
        let found = self.own_frames(path, content)?;
        let digest = self.pipeline.blob_ends()?;
        if let Some(size) = size {
            check_size(path, size, found)?;
        }
        self.headers.push(tarball::header(path, Kind::File { size: found, executable })?);
        self.share(&vec![0; tarball::padding(found)])?;
        let number = self.own_blobs;
        self.own_blobs += 1;
        Ok(OwnBlob { digest, span: Span { offset, size: found }, number })
    }

    fn own_frames(&mut self, path: &BundlePath, content: &mut dyn Read) -> Result<u64> {
        let mut total = 0_u64;
        loop {
            let mut buffer = self.pipeline.buffer();
            buffer.reserve_exact(FRAME_BYTES);
            while buffer.len() < FRAME_BYTES {
                let wanted = READ_BYTES.min(FRAME_BYTES - buffer.len()) as u64;
                let read = (&mut *content).take(wanted).read_to_end(&mut buffer);
                if read.map_err(FormatError::io(format!("reading {path}")))? == 0 {
                    break;
                }
            }
            if buffer.is_empty() {
                return Ok(total);
            }
            let last = buffer.len() < FRAME_BYTES;
            total = total.checked_add(buffer.len() as u64).ok_or_else(too_large)?;
            self.position = self.advance(buffer.len() as u64)?;
            self.pipeline.frame(buffer, true)?;
            if last {
                return Ok(total);
            }
        }
    }

    fn share(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.position = self.advance(bytes.len() as u64)?;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(FRAME_BYTES - self.shared.len()));
            self.shared.extend_from_slice(now);
            bytes = later;
            if self.shared.len() == FRAME_BYTES {
                self.flush_shared()?;
            }
        }
        Ok(())
    }

    fn flush_shared(&mut self) -> Result<()> {
        if self.shared.is_empty() {
            return Ok(());
        }
        let mut buffer = self.pipeline.buffer();
        std::mem::swap(&mut buffer, &mut self.shared);
        self.pipeline.frame(buffer, false)
    }

    fn advance(&self, bytes: u64) -> Result<u64> {
        self.position.checked_add(bytes).ok_or_else(too_large)
    }

    /// Ends the payload and waits until all of it is written.
    ///
    /// # Errors
    /// When writing fails. After a call that failed, an error in any case: what is sealed is whole.
    pub fn seal(mut self) -> Result<Sealed<W>> {
        self.share(&tarball::END)?;
        self.flush_shared()?;
        let written = self.pipeline.finish()?;
        Sealed::new(written, self.headers, self.payload_start, self.level)
    }
}

fn check_size(path: &BundlePath, announced: u64, found: u64) -> Result<()> {
    if announced == found {
        return Ok(());
    }
    let has = if found > announced {
        format!("more than {announced} bytes")
    } else {
        format!("only {found} of {announced} bytes")
    };
    Err(FormatError::Input(format!("{path} has {has}: it changed while it was packed")))
}

fn check_head(bytes: u64) -> Result<u32> {
    u32::try_from(bytes).ok().filter(|bytes| *bytes <= limits::MAX_HEAD_BYTES).ok_or_else(too_large)
}

fn too_large() -> FormatError {
    FormatError::Limit("the bundle would be larger than its format allows".into())
}
