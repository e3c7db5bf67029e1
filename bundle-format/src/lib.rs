//! The `.fz` container: a signed, seekable, zstd-compressed OCI image archive.
//!
//! ```text
//! | 9-byte empty zstd frame | HEAD: skippable frame | zstd frames: one tar | SEEK: skippable frame |
//! ```
//!
//! `FORMAT.md` beside this crate is its book. Only `Read`, `Write` and positional reads are used:
//! no path, no terminal, no engine. Invariants:
//!
//! - Bytes are authenticated before anything parses or decompresses them, at every read.
//! - Equal inputs give equal bytes, whatever the thread count, path, time or machine.
//! - Memory is bounded by frames in flight, never by the size of a bundle or blob.

pub mod allowed_signers;
pub mod bundle;
pub mod check;
mod error;
pub mod frame;
pub mod head;
pub mod index;
pub mod layer;
pub mod pack;
pub mod read_ahead;
mod read_at;
#[doc(hidden)]
pub mod seek_table;
pub mod signature;
pub mod slim;
pub mod tarball;
pub mod texts;

/// Parts of the format, reachable for the fuzz targets.
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::frame::{FrameCompressor, SKIPPABLE_HEADER_BYTES};
    pub use crate::seek_table;
}

pub use bundle::{Bundle, UnverifiedBundle, Verified};
pub use error::FormatError;
pub use pack::{PackOptions, Packer, Reserve};
pub use read_at::{Part, ReadAt};
pub use signature::{Signer, Trust};
