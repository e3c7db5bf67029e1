//! The zstd frames a `.fz` is made of (RFC 8878 section 3.1).
//!
//! Ferry writes three kinds: compressed frames, each made in one call with its content size and
//! checksum; skippable frames (section 3.1.2); and *stored* frames, whose single raw block makes
//! their size known before their content, so that a tar header can be filled in once the blob
//! behind it has been measured.

use crate::error::{FormatError, Result};
use manifest_schema::limits;
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::CParameter;

/// Files from this size on get frames of their own, as every layer does.
pub(crate) const OWN_FRAMES_BYTES: u64 = 1 << 20;

/// An empty zstd frame: magic number, frame header, one empty raw block. A file that begins with
/// it is zstd to `file`, tar and podman, which do not know skippable frames.
pub const EMPTY_FRAME: [u8; 9] = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x00, 0x01, 0x00, 0x00];

/// Magic number of the HEAD frame (any of `0x184D2A50..=0x184D2A5F` is skippable).
pub(crate) const HEAD_MAGIC: u32 = 0x184D_2A50;

/// Bytes of a skippable frame's header: magic number and content size, both little-endian `u32`.
pub const SKIPPABLE_HEADER_BYTES: usize = 8;

/// Bytes that a stored frame adds to its content.
pub(crate) const STORED_OVERHEAD: usize = 12;

/// Largest content of a stored frame: one block (RFC 8878 section 3.1.1.2.4).
pub const MAX_STORED_BYTES: usize = 128 << 10;

/// The header of a skippable frame with `content_bytes` of content.
#[must_use]
pub(crate) fn skippable_header(magic: u32, content_bytes: u32) -> [u8; SKIPPABLE_HEADER_BYTES] {
    let mut header = [0; SKIPPABLE_HEADER_BYTES];
    header[..4].copy_from_slice(&magic.to_le_bytes());
    header[4..].copy_from_slice(&content_bytes.to_le_bytes());
    header
}

/// A frame that holds `content` as one raw block: `content.len() + STORED_OVERHEAD` bytes.
///
/// # Errors
/// When the content does not fit in one block.
pub fn stored(content: &[u8]) -> Result<Vec<u8>> {
    let size = u32::try_from(content.len()).ok().filter(|_| content.len() <= MAX_STORED_BYTES);
    let size = size.ok_or_else(|| FormatError::inconsistent("a stored frame holds at most 128 KiB"))?;
    let mut frame = Vec::with_capacity(content.len() + STORED_OVERHEAD);
    frame.extend_from_slice(&0xFD2F_B528_u32.to_le_bytes());
    // Frame_Header_Descriptor: 4-byte content size, single segment, no checksum, no dictionary.
    frame.push(0b1010_0000);
    frame.extend_from_slice(&size.to_le_bytes());
    // Block_Header: last block, raw, its size.
    let block = 1 | (size << 3);
    frame.extend_from_slice(&block.to_le_bytes()[..3]);
    frame.extend_from_slice(content);
    Ok(frame)
}

/// Compresses frames, one call each: output depends on content and level alone.
pub struct FrameCompressor(Compressor<'static>);

impl FrameCompressor {
    /// `level` as zstd counts, 1 to 19.
    ///
    /// # Errors
    /// When zstd refuses the level.
    pub fn new(level: i32) -> Result<Self> {
        let make = || {
            let mut compressor = Compressor::new(level)?;
            compressor.set_parameter(CParameter::ChecksumFlag(true))?;
            compressor.set_parameter(CParameter::ContentSizeFlag(true))?;
            Ok(compressor)
        };
        make().map(Self).map_err(FormatError::io(format!("preparing zstd at level {level}")))
    }

    /// One whole frame of `content`.
    ///
    /// # Errors
    /// When zstd fails, which it does only out of memory.
    pub fn compress(&mut self, content: &[u8]) -> Result<Vec<u8>> {
        self.0.compress(content).map_err(FormatError::io("compressing a frame"))
    }
}

/// Decompresses frames whose content size is already known from the signed index.
pub(crate) struct FrameDecompressor(Decompressor<'static>);

impl FrameDecompressor {
    /// # Errors
    /// When zstd is out of memory.
    pub(crate) fn new() -> Result<Self> {
        Decompressor::new().map(Self).map_err(FormatError::io("preparing zstd"))
    }

    /// The content of one authenticated frame, which must be exactly `content_bytes` long.
    ///
    /// # Errors
    /// When the frame does not decompress to that size.
    pub(crate) fn decompress(&mut self, frame: &[u8], content_bytes: u32) -> Result<Vec<u8>> {
        let mut content = Vec::with_capacity(content_bytes.min(limits::MAX_FRAME_BYTES) as usize);
        let written = self.0.decompress_to_buffer(frame, &mut content);
        match written {
            Ok(written) if written == content_bytes as usize => Ok(content),
            Ok(written) => Err(FormatError::inconsistent(format!(
                "a frame holds {written} bytes where the index says {content_bytes}"
            ))),
            Err(source) => {
                Err(FormatError::Io { doing: "decompressing an authenticated frame".into(), source })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_frames_are_zstd_and_of_the_promised_size() {
        for size in [0, 1, 255, 256, 512, 1023, 70_000, MAX_STORED_BYTES] {
            let content = vec![7_u8; size];
            let frame = stored(&content).unwrap();
            assert_eq!(frame.len(), size + STORED_OVERHEAD);
            assert_eq!(zstd::decode_all(frame.as_slice()).unwrap(), content);
        }
        assert!(stored(&vec![0; MAX_STORED_BYTES + 1]).is_err());
    }

    #[test]
    fn the_empty_frame_is_an_empty_zstd_file() {
        assert_eq!(zstd::decode_all(EMPTY_FRAME.as_slice()).unwrap(), b"");
    }

    #[test]
    fn a_frame_of_another_size_is_refused() {
        let frame = FrameCompressor::new(3).unwrap().compress(&[1; 1000]).unwrap();
        let mut decompressor = FrameDecompressor::new().unwrap();
        assert_eq!(decompressor.decompress(&frame, 1000).unwrap(), [1; 1000]);
        assert!(decompressor.decompress(&frame, 999).is_err());
        assert!(decompressor.decompress(&frame, 1001).is_err());
    }
}
