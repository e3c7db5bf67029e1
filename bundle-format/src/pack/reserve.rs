//! How much room to leave at the start of a bundle for what is known only at its end.
//!
//! HEAD lists every frame and comes first, so that a bundle can be checked while it streams; but
//! frames are written before they can be listed. So the number of frames is bounded beforehand
//! from the sizes of the inputs. The bound depends on the inputs alone, never on the machine:
//! what is left over is zeros inside HEAD, the same zeros on every build.

use crate::head;
use crate::index::{self, Extension};
use crate::tarball;
use manifest_schema::limits::{FRAME_BYTES, SIGNATURE_ROOM};

/// A compressed layer of unknown size is taken to unpack to this many times its size, …
const EXPANSION: u64 = 24;
/// … and beside that all of them together may exceed it by this many frames (2 GiB).
const EXPANSION_SLACK_FRAMES: u64 = 256;

/// Counts what will be packed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reserve {
    frames: u64,
    small_bytes: u64,
    expanding: bool,
    metadata_bytes: u64,
    extra_bytes: u64,
}

impl Reserve {
    /// A blob of `content_bytes` with frames of its own.
    pub fn add_own(&mut self, content_bytes: u64) {
        // Its frames, the header's, and one that its start may cut short.
        self.frames = self.frames.saturating_add(content_bytes / FRAME_BYTES as u64 + 3);
    }

    /// A blob whose content is only known to arrive compressed, in `stored_bytes`.
    pub fn add_compressed(&mut self, stored_bytes: u64) {
        self.expanding = true;
        self.add_own(stored_bytes.saturating_mul(EXPANSION));
    }

    /// A file of `content_bytes`, of whatever size, with a name of `path_bytes`.
    pub fn add_file(&mut self, content_bytes: u64, path_bytes: usize) {
        if content_bytes >= crate::frame::OWN_FRAMES_BYTES {
            self.add_own(content_bytes);
        }
        let entry = tarball::BLOCK_BYTES * 4 + path_bytes as u64;
        self.small_bytes = self.small_bytes.saturating_add(content_bytes.saturating_add(entry));
    }

    /// The index will have this extension.
    pub fn add_extension(&mut self, extension: &Extension) {
        self.extra_bytes = self.extra_bytes.saturating_add(extension.encode().len() as u64);
    }

    /// The metadata will take up to `compressed_bytes` in the file.
    pub const fn set_metadata(&mut self, compressed_bytes: u64) {
        self.metadata_bytes = compressed_bytes;
    }

    /// Adds `bytes`, after a first attempt fell short by that many.
    pub const fn widen(&mut self, bytes: u64) {
        self.extra_bytes = self.extra_bytes.saturating_add(bytes);
    }

    /// The least that HEAD's content will take.
    pub(crate) const fn head_bytes(&self) -> u64 {
        self.bytes().saturating_sub(self.metadata_bytes)
    }

    /// Bytes of HEAD's content and the metadata frames together.
    pub(crate) const fn bytes(&self) -> u64 {
        let metadata_frames = 1 + self.metadata_bytes / FRAME_BYTES as u64;
        let slack = if self.expanding { EXPANSION_SLACK_FRAMES } else { 0 };
        let frames = self
            .frames
            .saturating_add(self.small_bytes / FRAME_BYTES as u64)
            .saturating_add(2 + metadata_frames + slack);
        frames
            .saturating_mul(index::ENTRY_BYTES as u64)
            .saturating_add(index::HEADER_BYTES as u64 + head::FIXED_BYTES + SIGNATURE_ROOM as u64)
            .saturating_add(self.metadata_bytes)
            .saturating_add(self.extra_bytes)
    }
}
