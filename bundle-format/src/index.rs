//! The signed index: for each frame its compressed size, content size and SHA-256 (FORMAT.md,
//! section 3). Decoded only from bytes whose signature was checked.
//!
//! Version 2 has an extension before the entries, one JSON object, which says what a reader needs (section 12). It is read
//! before anything behind it is.

use crate::error::{FormatError, Result};
use crate::frame::{EMPTY_FRAME, SKIPPABLE_HEADER_BYTES};
use manifest_schema::feature::{self, FEATURES, Feature, Need};
use manifest_schema::{Digest, limits};
use serde::{Deserialize, Serialize};

/// The newest format version written and read. A bundle that needs nothing new is version 1.
pub const VERSION: u32 = 2;

const MAGIC: &[u8; 8] = b"FZINDEX\0";
/// Bytes of the index before its entries, without an extension.
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

/// The part of an index that version 1 does not have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extension {
    /// Features that a reader of the index must have, by name.
    pub needs: Vec<Need>,
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
    /// In version 2.
    extension: Option<Extension>,
    frames: Vec<FrameEntry>,
    /// Offset in the file of each frame, and of the end of the last.
    file_offsets: Vec<u64>,
    /// Content offset of each frame counted from the first metadata frame, and the end of the last.
    content_offsets: Vec<u64>,
}

impl Index {
    /// An index of version 1 over `frames`.
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
            extension: None,
            frames,
            file_offsets,
            content_offsets,
        })
    }

    /// The same as an index of version 2.
    #[must_use]
    pub fn with_extension(self, extension: Extension) -> Self {
        Self { extension: Some(extension), ..self }
    }

    /// 1 or 2.
    #[must_use]
    pub const fn version(&self) -> u32 {
        if self.extension.is_some() { 2 } else { 1 }
    }

    /// The bytes that are signed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let extension = self.extension.as_ref().map(Extension::encode).unwrap_or_default();
        let mut bytes = Vec::with_capacity(encoded_bytes(self.frames.len()) + extension.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.version().to_le_bytes());
        bytes.extend_from_slice(&self.head_bytes.to_le_bytes());
        bytes.extend_from_slice(&(self.frames.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&self.metadata_frames.to_le_bytes());
        bytes.extend_from_slice(&(extension.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&self.release_bytes.to_le_bytes());
        bytes.extend_from_slice(self.release_digest.as_bytes());
        bytes.extend_from_slice(&extension);
        for frame in &self.frames {
            bytes.extend_from_slice(&frame.compressed_bytes.to_le_bytes());
            bytes.extend_from_slice(&frame.content_bytes.to_le_bytes());
            bytes.extend_from_slice(frame.digest.as_bytes());
        }
        bytes
    }

    /// Reads an index with all features of this code. See [`Self::decode_with`].
    ///
    /// # Errors
    /// As [`Self::decode_with`].
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        Self::decode_with(bytes, FEATURES)
    }

    /// Reads an index from authenticated bytes, with the features that a reader has.
    ///
    /// # Errors
    /// When the version is unknown, a feature is needed that is not among `known`, the length does not fit the frame
    /// count, or a value is outside its bounds.
    pub fn decode_with(bytes: &[u8], known: &[Feature]) -> Result<Self> {
        let mut fields = Fields(bytes);
        if &fields.take::<8>()? != MAGIC {
            return Err(FormatError::inconsistent("the index does not begin with its magic number"));
        }
        let version = fields.u32()?;
        if !(1..=VERSION).contains(&version) {
            return Err(FormatError::Version { found: version, newest: VERSION });
        }
        let head_bytes = fields.u32()?;
        let frame_count = fields.u64()?;
        let metadata_frames = fields.u32()?;
        let extension_bytes = fields.u32()?;
        if version == 1 && extension_bytes != 0 {
            return Err(FormatError::inconsistent("the index's reserved field is not zero"));
        }
        let release_bytes = fields.u64()?;
        let release_digest = Digest::from_bytes(fields.take()?);
        if release_bytes > limits::MAX_RELEASE_JSON_BYTES {
            return Err(FormatError::inconsistent("ferry.json is larger than 16 MiB"));
        }
        let rest = frame_count
            .checked_mul(ENTRY_BYTES as u64)
            .and_then(|bytes| bytes.checked_add(u64::from(extension_bytes)));
        if rest != Some(fields.0.len() as u64) {
            return Err(FormatError::inconsistent("the index's length does not fit its frame count"));
        }
        let extension = match version {
            1 => None,
            _ => Some(Extension::decode(fields.bytes(extension_bytes)?, known)?),
        };
        let mut frames = Vec::with_capacity(fields.0.len() / ENTRY_BYTES);
        while !fields.0.is_empty() {
            frames.push(FrameEntry {
                compressed_bytes: fields.u32()?,
                content_bytes: fields.u32()?,
                digest: Digest::from_bytes(fields.take()?),
            });
        }
        let index = Self::new(head_bytes, metadata_frames, release_digest, release_bytes, frames)?;
        Ok(Self { extension, ..index })
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

impl Extension {
    /// The JSON object.
    #[must_use]
    pub(crate) fn encode(&self) -> Vec<u8> {
        // Texts and lists of them cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads the needs, and then all of it strictly.
    fn decode(bytes: &[u8], known: &[Feature]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Needs {
            needs: Vec<Need>,
        }
        let wrong = |why: String| FormatError::inconsistent(format!("the extension of the index: {why}"));
        if bytes.len() < 2 || bytes.len() > limits::MAX_EXTENSION_BYTES as usize {
            return Err(wrong(format!("it has {} bytes", bytes.len())));
        }
        let Needs { needs } = serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
        if let Some(missing) = feature::missing(&needs, known, None).map_err(wrong)? {
            return Err(FormatError::Needs(missing));
        }
        if let Some(need) = needs.first() {
            return Err(wrong(format!("`{}` is a feature of ferry.json", need.feature.as_str())));
        }
        serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))
    }
}

/// Bytes of an index of version 1 over `frames` frames.
#[must_use]
pub(crate) const fn encoded_bytes(frames: usize) -> usize {
    HEADER_BYTES + frames * ENTRY_BYTES
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (field, rest) = self
            .0
            .split_first_chunk::<N>()
            .ok_or_else(|| FormatError::inconsistent("the index is cut short"))?;
        self.0 = rest;
        Ok(*field)
    }
    fn bytes(&mut self, count: u32) -> Result<&'a [u8]> {
        let cut = || FormatError::inconsistent("the index is cut short");
        let (field, rest) = self.0.split_at_checked(count as usize).ok_or_else(cut)?;
        self.0 = rest;
        Ok(field)
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

    /// An index of version 2 over one frame, with this extension.
    fn with_json(json: &[u8]) -> Vec<u8> {
        let index = Index::new(500, 1, Digest::of(b""), 1, vec![frame(9, 10)]).unwrap();
        let mut bytes = index.with_extension(Extension::default()).encode();
        bytes[28..32].copy_from_slice(&u32::try_from(json.len()).unwrap().to_le_bytes());
        bytes.splice(72..84, json.iter().copied());
        bytes
    }

    #[test]
    fn an_index_of_version_2_has_an_extension() {
        let index = Index::new(500, 1, Digest::of(b""), 1, vec![frame(9, 10), frame(1, 1)]).unwrap();
        let index = index.with_extension(Extension::default());
        let bytes = index.encode();
        assert_eq!((index.version(), bytes.len()), (2, encoded_bytes(2) + 12));
        assert_eq!(&bytes[72..84], br#"{"needs":[]}"#);
        assert_eq!(Index::decode(&bytes).unwrap(), index);
        // X fits neither its bounds nor what is there.
        for wrong in [0_u32, 1, 11, 13, 12 + 40, u32::MAX] {
            let mut bytes = bytes.clone();
            bytes[28..32].copy_from_slice(&wrong.to_le_bytes());
            assert!(matches!(Index::decode(&bytes), Err(FormatError::Inconsistent(_))), "{wrong}");
        }
    }

    #[test]
    fn an_extension_is_read_for_its_needs_and_then_strictly() {
        let refused = |json: &[u8]| Index::decode(&with_json(json)).unwrap_err().to_string();
        for json in [
            &br#"{}"#[..],
            b"[]",
            b"  ",
            br#"{"needs":{}}"#,
            br#"{"needs":[]}x"#,
            br#"{"needs":[],"needs":[]}"#,
        ] {
            assert!(refused(json).contains("the extension of the index"), "{}", refused(json));
        }
        assert!(refused(br#"{"needs":[],"more":1}"#).contains("unknown field `more`"));
        // A member of a feature that is missing is no mistake: the feature is told.
        let encrypted = br#"{"needs":[{"feature":"encrypted","fz":"0.6.0"}],"encryption":{}}"#;
        assert_eq!(
            refused(encrypted),
            "the bundle needs what this program does not have: `encrypted` (since 0.6.0)"
        );
        let of_release = br#"{"needs":[{"feature":"serial","fz":"0.2.0"}]}"#;
        assert!(refused(of_release).contains("`serial` is a feature of ferry.json"));
        let padded =
            |bytes: usize| with_json(format!("{{\"needs\":[]}}{}", " ".repeat(bytes - 12)).as_bytes());
        assert!(Index::decode(&padded(64 << 10)).is_ok());
        assert!(matches!(Index::decode(&padded((64 << 10) + 1)), Err(FormatError::Inconsistent(_))));
    }

    proptest! {
        #[test]
        fn decode_of_any_extension_never_panics(json in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Index::decode(&with_json(&json));
        }

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
