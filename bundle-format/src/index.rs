//! The signed index: for each frame its compressed size, content size and SHA-256 (FORMAT.md,
//! section 3). Decoded only from bytes whose signature was checked.

use crate::error::{FormatError, Result};
use crate::frame::{EMPTY_FRAME, SKIPPABLE_HEADER_BYTES};
use manifest_schema::{Digest, limits};

/// The format version written and read.
pub const VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"FZINDEX\0";
/// Bytes of the index before its entries.
pub(crate) const HEADER_BYTES: usize = 72;
/// Bytes of one entry.
pub(crate) const ENTRY_BYTES: usize = 40;

/// One zstd frame of the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameEntry {
    /// Bytes in the file.
    pub compressed_bytes: u32,
    /// Bytes of content.
    pub content_bytes: u32,
    /// SHA-256 of the bytes in the file.
    pub digest: Digest,
}

/// The index, with the offsets that follow from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Content bytes of the HEAD frame.
    pub head_bytes: u32,
    /// How many frames, from the first, hold metadata (`ferry.json` and its companions).
    pub metadata_frames: u32,
    /// SHA-256 of `ferry.json`.
    pub release_digest: Digest,
    /// Size of `ferry.json` in bytes; it starts at content offset 512, after its tar header.
    pub release_bytes: u64,
    frames: Vec<FrameEntry>,
    /// Offset in the file of each frame, and of the end of the last.
    file_offsets: Vec<u64>,
    /// Content offset of each frame counted from the first metadata frame, and the end of the last.
    content_offsets: Vec<u64>,
}

impl Index {
    /// An index over `frames`.
    ///
    /// # Errors
    /// When a frame is larger than a reader would accept, or sums leave 64 bits.
    pub fn new(
        head_bytes: u32,
        metadata_frames: u32,
        release_digest: Digest,
        release_bytes: u64,
        frames: Vec<FrameEntry>,
    ) -> Result<Self> {
        let overflow = || FormatError::inconsistent("the frames' sizes leave 64 bits");
        let too_large = frames.iter().position(|frame| {
            frame.content_bytes > limits::MAX_FRAME_BYTES
                || frame.compressed_bytes > limits::MAX_COMPRESSED_FRAME_BYTES
                || frame.content_bytes == 0
                || frame.compressed_bytes == 0
        });
        if let Some(number) = too_large {
            return Err(FormatError::inconsistent(format!("frame {number} has an impossible size")));
        }
        if metadata_frames == 0 || metadata_frames as usize > frames.len() {
            return Err(FormatError::inconsistent("the index names no metadata frames"));
        }
        let first = EMPTY_FRAME.len() + SKIPPABLE_HEADER_BYTES;
        let mut file = (first as u64).checked_add(u64::from(head_bytes)).ok_or_else(overflow)?;
        let mut content = 0_u64;
        let mut file_offsets = Vec::with_capacity(frames.len() + 1);
        let mut content_offsets = Vec::with_capacity(frames.len() + 1);
        for frame in &frames {
            file_offsets.push(file);
            content_offsets.push(content);
            file = file.checked_add(u64::from(frame.compressed_bytes)).ok_or_else(overflow)?;
            content = content.checked_add(u64::from(frame.content_bytes)).ok_or_else(overflow)?;
        }
        file_offsets.push(file);
        content_offsets.push(content);
        Ok(Self {
            head_bytes,
            metadata_frames,
            release_digest,
            release_bytes,
            frames,
            file_offsets,
            content_offsets,
        })
    }

    /// The bytes that are signed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(encoded_bytes(self.frames.len()));
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.head_bytes.to_le_bytes());
        bytes.extend_from_slice(&(self.frames.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&self.metadata_frames.to_le_bytes());
        bytes.extend_from_slice(&0_u32.to_le_bytes());
        bytes.extend_from_slice(&self.release_bytes.to_le_bytes());
        bytes.extend_from_slice(self.release_digest.as_bytes());
        for frame in &self.frames {
            bytes.extend_from_slice(&frame.compressed_bytes.to_le_bytes());
            bytes.extend_from_slice(&frame.content_bytes.to_le_bytes());
            bytes.extend_from_slice(frame.digest.as_bytes());
        }
        bytes
    }

    /// Reads an index from authenticated bytes.
    ///
    /// # Errors
    /// When the version is unknown, the length does not fit the frame count, or a value is
    /// outside its bounds.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut fields = Fields(bytes);
        if &fields.take::<8>()? != MAGIC {
            return Err(FormatError::inconsistent("the index does not begin with its magic number"));
        }
        let version = fields.u32()?;
        if version != VERSION {
            return Err(FormatError::Version { found: version, newest: VERSION });
        }
        let head_bytes = fields.u32()?;
        let frame_count = fields.u64()?;
        let metadata_frames = fields.u32()?;
        if fields.u32()? != 0 {
            return Err(FormatError::inconsistent("the index's reserved field is not zero"));
        }
        let release_bytes = fields.u64()?;
        let release_digest = Digest::from_bytes(fields.take()?);
        if release_bytes > limits::MAX_RELEASE_JSON_BYTES {
            return Err(FormatError::inconsistent("ferry.json is larger than 16 MiB"));
        }
        if frame_count.checked_mul(ENTRY_BYTES as u64) != Some(fields.0.len() as u64) {
            return Err(FormatError::inconsistent("the index's length does not fit its frame count"));
        }
        let mut frames = Vec::with_capacity(fields.0.len() / ENTRY_BYTES);
        while !fields.0.is_empty() {
            frames.push(FrameEntry {
                compressed_bytes: fields.u32()?,
                content_bytes: fields.u32()?,
                digest: Digest::from_bytes(fields.take()?),
            });
        }
        Self::new(head_bytes, metadata_frames, release_digest, release_bytes, frames)
    }

    /// All frames, metadata first.
    #[must_use]
    pub fn frames(&self) -> &[FrameEntry] {
        &self.frames
    }

    /// Offset in the file of frame `number`; of the end of the payload for `number == len`.
    #[must_use]
    pub fn file_offset(&self, number: usize) -> Option<u64> {
        self.file_offsets.get(number).copied()
    }

    /// Content offset of frame `number`, counted from the start of the payload.
    #[must_use]
    pub fn content_offset(&self, number: usize) -> Option<u64> {
        self.content_offsets.get(number).copied()
    }

    /// Offset in the file where the payload ends and SEEK begins.
    #[must_use]
    pub fn payload_end(&self) -> u64 {
        self.file_offsets.last().copied().unwrap_or_default()
    }

    /// Content bytes of the whole payload: the tar's size.
    #[must_use]
    pub fn content_bytes(&self) -> u64 {
        self.content_offsets.last().copied().unwrap_or_default()
    }

    /// Content offset at which the data frames begin; spans in `ferry.json` count from here.
    #[must_use]
    pub fn data_start(&self) -> u64 {
        self.content_offsets.get(self.metadata_frames as usize).copied().unwrap_or_default()
    }

    /// The number of the frame that holds content offset `offset` (from the payload's start).
    #[must_use]
    pub fn frame_at(&self, offset: u64) -> Option<usize> {
        if offset >= self.content_bytes() {
            return None;
        }
        Some(self.content_offsets.partition_point(|start| *start <= offset) - 1)
    }
}

/// Bytes of an index over `frames` frames.
#[must_use]
pub(crate) const fn encoded_bytes(frames: usize) -> usize {
    HEADER_BYTES + frames * ENTRY_BYTES
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (field, rest) = self
            .0
            .split_first_chunk::<N>()
            .ok_or_else(|| FormatError::inconsistent("the index is cut short"))?;
        self.0 = rest;
        Ok(*field)
    }
    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.take()?))
    }
    fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.take()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(compressed: u32, content: u32) -> FrameEntry {
        FrameEntry { compressed_bytes: compressed, content_bytes: content, digest: Digest::of(b"x") }
    }

    #[test]
    fn index_round_trips_and_finds_frames() {
        let frames = vec![frame(100, 600), frame(50, 4096), frame(7, 1)];
        let index = Index::new(500, 1, Digest::of(b"json"), 44, frames).unwrap();
        assert_eq!(Index::decode(&index.encode()).unwrap(), index);
        assert_eq!(index.encode().len(), encoded_bytes(3));
        assert_eq!(index.file_offset(0), Some(517));
        assert_eq!(index.payload_end(), 517 + 157);
        assert_eq!(index.data_start(), 600);
        assert_eq!(
            [0, 599, 600, 4695, 4696, 4697].map(|o| index.frame_at(o)),
            [Some(0), Some(0), Some(1), Some(1), Some(2), None]
        );
    }

    #[test]
    fn a_later_version_is_named() {
        let index = Index::new(500, 1, Digest::of(b""), 1, vec![frame(1, 1)]).unwrap();
        let mut bytes = index.encode();
        bytes[8] = 9;
        assert!(matches!(Index::decode(&bytes), Err(FormatError::Version { found: 9, .. })));
    }

    proptest! {
        #[test]
        fn decode_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Index::decode(&bytes);
        }

        #[test]
        fn decode_of_a_changed_index_never_panics(at in 0..152_usize, value: u8) {
            let index = Index::new(500, 1, Digest::of(b""), 1, vec![frame(1, 1), frame(9, 10)]).unwrap();
            let mut bytes = index.encode();
            bytes[at] = value;
            let _ = Index::decode(&bytes);
        }
    }
}
