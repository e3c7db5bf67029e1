//! Why a bundle was refused. Each class has one variant, so that callers can give each its exit
//! code and hint.

use manifest_schema::feature::Missing;
use manifest_schema::release::ReleaseError;
use std::io;

/// Why a bundle could not be written, opened or read.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The medium failed.
    #[error("{doing}")]
    Io {
        /// The work, as in `reading frame 3 at offset 812`.
        doing: String,
        /// The cause.
        source: io::Error,
    },
    /// The bundle could not be written.
    #[error("{doing}")]
    Output {
        /// The work, as in `writing the bundle at offset 812`.
        doing: String,
        /// The cause.
        source: io::Error,
    },
    /// Not a `.fz` at all.
    #[error("this is not a Ferry bundle: {0}")]
    Foreign(String),
    /// A `.fz` of a version this program does not read.
    #[error("the bundle has format version {found}; this program reads versions 1 and {newest}")]
    Version {
        /// The version found.
        found: u32,
        /// The newest that this program reads.
        newest: u32,
    },
    /// A `.fz` that needs features which this reader lacks.
    #[error("the bundle needs what this program does not have: {0}")]
    Needs(Missing),
    /// Ends before it should, or goes on after it.
    #[error("the bundle is {found} bytes long, but {expected} were signed")]
    Length {
        /// Bytes found.
        found: u64,
        /// Bytes that the signed index adds up to.
        expected: u64,
    },
    /// Bytes differ from what was signed.
    #[error("{what} is damaged (offset {offset})")]
    Damaged {
        /// Frame and content.
        what: String,
        /// Offset in the file, in bytes.
        offset: u64,
    },
    /// No signature that is valid: the bundle was damaged or changed.
    #[error("{0}")]
    Unsigned(&'static str),
    /// Signed by nobody who is trusted here.
    #[error("{0}")]
    Untrusted(String),
    /// Signed, but contradicting itself: a fault in the program that wrote it.
    #[error("the bundle contradicts itself: {0}")]
    Inconsistent(String),
    /// `ferry.json` cannot be used.
    #[error(transparent)]
    Release(ReleaseError),
    /// The space set aside for the head does not suffice: pack again with more.
    #[error("the head needs {missing} bytes more than reserved")]
    ReserveTooSmall {
        /// How many bytes more.
        missing: u64,
    },
    /// An input is not as it was announced.
    #[error("{0}")]
    Input(String),
    /// The inputs make a bundle that no reader would accept.
    #[error("{0}")]
    Limit(String),
    /// A fault in this program: the bundle that it was writing is not to be used.
    #[error("a fault in this program: {0}")]
    Fault(&'static str),
}

impl From<ReleaseError> for FormatError {
    fn from(error: ReleaseError) -> Self {
        match error {
            ReleaseError::Needs(missing) => Self::Needs(missing),
            error => Self::Release(error),
        }
    }
}

impl FormatError {
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }

    pub(crate) fn output(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Output { doing, source }
    }

    pub(crate) fn inconsistent(what: impl Into<String>) -> Self {
        Self::Inconsistent(what.into())
    }
}

/// The result of everything in this crate.
pub(crate) type Result<T> = std::result::Result<T, FormatError>;
