//! The end of packing, as types: a payload that is whole, a bundle that is described, and only then signatures.
//!
//! Invariants: every digest that is signed is that of bytes that were written. Nothing can be described
//! before it is sealed, or signed before it is described:
//!
//! ```compile_fail
//! # use bundle_format::pack::Sealed;
//! fn early(sealed: Sealed<std::fs::File>) {
//!     let _ = sealed.sign(vec![]);
//! }
//! ```

use super::metadata::{Compressed, Metadata};
use super::pipeline::{Written, WrittenFrame};
use super::{OwnBlob, PREFIX_BYTES, check_head, too_large};
use crate::error::{FormatError, Result};
use crate::frame;
use crate::head::{self, Head};
use crate::index::{FrameEntry, Index};
use crate::seek_table;
use manifest_schema::Digest;
use manifest_schema::limits::{self, SIGNATURE_ROOM};
use manifest_schema::release::ZstdBlob;
use std::io::{Seek, SeekFrom, Write};

/// A payload that is written whole; head and metadata are still to come.
pub struct Sealed<W> {
    output: W,
    frames: Vec<FrameEntry>,
    blobs: Vec<ZstdBlob>,
    payload_start: u64,
    payload_end: u64,
    level: i32,
}

/// A bundle with its index, to be signed.
pub struct Described<W> {
    output: W,
    index: Index,
    index_bytes: Vec<u8>,
    head_bytes: u32,
    metadata: Vec<u8>,
    payload_end: u64,
}

/// A bundle that is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packed {
    /// SHA-256 of the signed index: the bundle's identity.
    pub index_digest: Digest,
    /// Size of the file.
    pub file_bytes: u64,
    /// Size of the payload's tar.
    pub content_bytes: u64,
    /// Number of frames.
    pub frames: usize,
}

impl<W: Write + Seek> Sealed<W> {
    /// Fills the holes of `written` with `headers`.
    pub(super) fn new(
        written: Written<W>,
        headers: Vec<Vec<u8>>,
        payload_start: u64,
        level: i32,
    ) -> Result<Self> {
        let Written { mut output, frames: all, end, blobs, .. } = written;
        let mut headers = headers.into_iter();
        let mut frames = Vec::with_capacity(all.len());
        for frame in all {
            frames.push(match frame {
                WrittenFrame::Whole(entry) => entry,
                WrittenFrame::Hole { offset, frame_bytes, content_bytes } => {
                    let header = headers.next().ok_or(FormatError::Fault("a blob has no tar header"))?;
                    let bytes = frame::stored(&header)?;
                    if bytes.len() != frame_bytes as usize {
                        return Err(FormatError::Fault("a tar header changed its size"));
                    }
                    write_at(&mut output, offset, &bytes)?;
                    FrameEntry { compressed_bytes: frame_bytes, content_bytes, digest: Digest::of(&bytes) }
                }
            });
        }
        if headers.next().is_some() {
            return Err(FormatError::Fault("a tar header has no blob"));
        }
        let blobs = blobs.into_iter().map(|(digest, size)| ZstdBlob { digest, size }).collect();
        Ok(Self { output, frames, blobs, payload_start, payload_end: end, level })
    }

    /// The compressed bytes of `blob`: a zstd file of its content.
    ///
    /// # Errors
    /// [`FormatError::Fault`], when `blob` was packed into another bundle.
    pub fn compressed(&self, blob: &OwnBlob) -> Result<ZstdBlob> {
        self.blobs.get(blob.number).cloned().ok_or(FormatError::Fault("a blob was packed without frames"))
    }

    /// Makes the index over the payload and `metadata`.
    ///
    /// # Errors
    /// [`FormatError::ReserveTooSmall`], when the room that was set aside does not hold them, and
    /// [`FormatError::Limit`].
    pub fn describe(self, metadata: &Metadata) -> Result<Described<W>> {
        metadata.check()?;
        let Compressed { entries, bytes: metadata_bytes } = metadata.compress(self.level)?;
        let metadata_frames = entries.len() as u32;
        let too_small = |missing| FormatError::ReserveTooSmall { missing };
        let room = self.payload_start - PREFIX_BYTES;
        let head_bytes = room
            .checked_sub(metadata_bytes.len() as u64)
            .ok_or_else(|| too_small(metadata_bytes.len() as u64 - room + 4096))?;
        let head_bytes = check_head(head_bytes)?;
        let frames = entries.into_iter().chain(self.frames).collect();
        let release = &metadata.release;
        let index =
            Index::new(head_bytes, metadata_frames, Digest::of(release), release.len() as u64, frames)?;
        let index = match &metadata.extension {
            Some(extension) => index.with_extension(extension.clone()),
            None => index,
        };
        let index_bytes = index.encode();
        if index_bytes.len() > limits::MAX_INDEX_BYTES as usize {
            return Err(too_large());
        }
        // Signatures can be added later, without moving the payload.
        let needed = head::FIXED_BYTES + index_bytes.len() as u64 + u64::from(SIGNATURE_ROOM);
        if needed > u64::from(head_bytes) {
            return Err(too_small(needed - u64::from(head_bytes)));
        }
        Ok(Described {
            output: self.output,
            index,
            index_bytes,
            head_bytes,
            metadata: metadata_bytes,
            payload_end: self.payload_end,
        })
    }
}

impl<W: Write + Seek> Described<W> {
    /// The bytes to sign.
    #[must_use]
    pub fn index(&self) -> &[u8] {
        &self.index_bytes
    }

    /// Completes the file with `signatures` over [`Self::index`], armoured SSHSIG.
    ///
    /// # Errors
    /// When writing fails, and [`FormatError::Limit`].
    pub fn sign(self, signatures: Vec<Vec<u8>>) -> Result<(W, Packed)> {
        check_signatures(&signatures)?;
        let Self { mut output, index, index_bytes, head_bytes, metadata, payload_end } = self;
        let index_digest = Digest::of(&index_bytes);
        let head = Head { content_bytes: head_bytes, index: index_bytes, signatures }.encode()?;
        write_at(&mut output, 0, &head)?;
        write_at(&mut output, head.len() as u64, &metadata)?;
        let seek = seek_table::encode(&index)?;
        write_at(&mut output, payload_end, &seek)?;
        output.flush().map_err(FormatError::output("writing the bundle"))?;
        let packed = Packed {
            index_digest,
            file_bytes: payload_end + seek.len() as u64,
            content_bytes: index.content_bytes(),
            frames: index.frames().len(),
        };
        Ok((output, packed))
    }
}

fn write_at<W: Write + Seek>(output: &mut W, offset: u64, bytes: &[u8]) -> Result<()> {
    output
        .seek(SeekFrom::Start(offset))
        .and_then(|_| output.write_all(bytes))
        .map_err(FormatError::output(format!("writing the bundle at offset {offset}")))
}

fn check_signatures(signatures: &[Vec<u8>]) -> Result<()> {
    if signatures.len() > limits::MAX_SIGNATURES {
        let (found, most) = (signatures.len(), limits::MAX_SIGNATURES);
        return Err(FormatError::Limit(format!("{found} signatures; the limit is {most}")));
    }
    let largest = signatures.iter().map(Vec::len).max().unwrap_or_default();
    if largest > limits::MAX_SIGNATURE_BYTES as usize {
        let most = limits::MAX_SIGNATURE_BYTES;
        return Err(FormatError::Limit(format!("a signature has {largest} bytes; the limit is {most}")));
    }
    Ok(())
}
