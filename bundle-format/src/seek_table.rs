//! SEEK: the seek table of zstd's seekable format, version 0.1.0
//! (facebook/zstd, `contrib/seekable_format/zstd_seekable_compression_format.md`).
//!
//! It follows from the index alone, so a reader makes it again and compares; it is there for
//! other programs. It counts every frame before it: the empty one and HEAD too, with content size
//! 0, since such readers add up sizes from the start of the file.

use crate::error::{FormatError, Result};
use crate::frame::{EMPTY_FRAME, SKIPPABLE_HEADER_BYTES, skippable_header};
use crate::index::Index;

const SKIPPABLE_MAGIC: u32 = 0x184D_2A5E;
const SEEKABLE_MAGIC: u32 = 0x8F92_EAB1;
const FOOTER_BYTES: usize = 9;

/// Bytes of the SEEK frame for `index`.
#[must_use]
pub fn encoded_bytes(index: &Index) -> u64 {
    let entries = index.frames().len() as u64 + 2;
    (SKIPPABLE_HEADER_BYTES + FOOTER_BYTES) as u64 + entries * 8
}

/// The whole SEEK frame for `index`.
///
/// # Errors
/// When there are more frames than the seekable format counts.
pub fn encode(index: &Index) -> Result<Vec<u8>> {
    let too_many = || FormatError::inconsistent("more frames than a seek table counts");
    let entries = u32::try_from(index.frames().len() + 2).map_err(|_| too_many())?;
    let content = encoded_bytes(index) - SKIPPABLE_HEADER_BYTES as u64;
    let content = u32::try_from(content).map_err(|_| too_many())?;
    let mut bytes = Vec::with_capacity(content as usize + SKIPPABLE_HEADER_BYTES);
    bytes.extend_from_slice(&skippable_header(SKIPPABLE_MAGIC, content));
    let mut entry = |compressed: u32, content: u32| {
        bytes.extend_from_slice(&compressed.to_le_bytes());
        bytes.extend_from_slice(&content.to_le_bytes());
    };
    entry(EMPTY_FRAME.len() as u32, 0);
    entry(index.head_bytes.checked_add(SKIPPABLE_HEADER_BYTES as u32).ok_or_else(too_many)?, 0);
    for frame in index.frames() {
        entry(frame.compressed_bytes, frame.content_bytes);
    }
    bytes.extend_from_slice(&entries.to_le_bytes());
    bytes.push(0); // Seek_Table_Descriptor: no checksums.
    bytes.extend_from_slice(&SEEKABLE_MAGIC.to_le_bytes());
    Ok(bytes)
}
