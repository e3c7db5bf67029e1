//! File systems that take no more, in words: full, over a quota, a file too large for them, mounted read-only. Only
//! this file reads the system's error for it, and for a medium that breaks.

use crate::human;
use std::io::{Error, ErrorKind};
use std::path::Path;

/// Why a file system takes no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Full,
    Quota,
    TooLarge,
    ReadOnly,
}

impl Refusal {
    fn of(error: &Error) -> Option<Self> {
        match error.kind() {
            ErrorKind::StorageFull => Some(Self::Full),
            ErrorKind::QuotaExceeded => Some(Self::Quota),
            ErrorKind::FileTooLarge => Some(Self::TooLarge),
            ErrorKind::ReadOnlyFilesystem => Some(Self::ReadOnly),
            _ => None,
        }
    }

    /// The refusal among the causes of `error`.
    pub(crate) fn in_causes(error: &anyhow::Error) -> Option<Self> {
        error.chain().find_map(|cause| Self::of(cause.downcast_ref::<Error>()?))
    }

    pub(crate) const fn hint(self) -> &'static str {
        match self {
            Self::Full => {
                "free space on that disk (`df -h` shows it), or use a larger one, then run this again"
            }
            Self::Quota => "free space of this user on that disk (`quota` shows it), then run this again",
            Self::TooLarge => {
                "the file system takes no larger file: FAT32 ends at 4 GiB, so format the stick with exFAT or ext4, or write to another disk; `ulimit -f` is a limit too"
            }
            Self::ReadOnly => "mount it writable, or name a folder on another disk, then run this again",
        }
    }

    pub(crate) fn fact(self, path: &Path, needed: Option<u64>) -> String {
        let room = space(path)
            .map(|(free, total)| format!("{} of {} are free there", human::bytes(free), human::bytes(total)));
        let needed = needed.map(|needed| format!("up to {} are to be written", human::bytes(needed)));
        let (why, known) = match self {
            Self::Full => ("the disk is full", [room, needed]),
            Self::Quota => ("the disk quota is used up", [needed, None]),
            Self::TooLarge => ("its file system takes no file that large", [needed, None]),
            Self::ReadOnly => ("its file system is mounted read-only", [None, None]),
        };
        let known: Vec<String> = known.into_iter().flatten().collect();
        let known = if known.is_empty() { String::new() } else { format!(": {}", known.join(", ")) };
        format!("{} cannot be written: {why}{known}", path.display())
    }
}

/// True for an error of a medium that is gone or breaks: a stick that was pulled out, a bad block.
#[must_use]
pub fn is_broken_medium(error: &Error) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        let broken = [
            Errno::IO,
            Errno::NODEV,
            Errno::NXIO,
            Errno::STALE,
            Errno::NOTCONN,
            Errno::TIMEDOUT,
            #[cfg(target_os = "linux")]
            Errno::NOMEDIUM,
            #[cfg(target_os = "linux")]
            Errno::REMOTEIO,
        ];
        error.raw_os_error().is_some_and(|code| broken.iter().any(|errno| errno.raw_os_error() == code))
    }
    #[cfg(not(unix))]
    error.raw_os_error().is_some()
}

/// Free bytes for this user, and all bytes, of the file system that holds the nearest folder above `path`.
#[must_use]
pub fn space(path: &Path) -> Option<(u64, u64)> {
    #[cfg(unix)]
    {
        let absolute = std::path::absolute(path).ok()?;
        let stat = absolute.ancestors().find_map(|folder| rustix::fs::statvfs(folder).ok())?;
        Some((stat.f_bavail.saturating_mul(stat.f_frsize), stat.f_blocks.saturating_mul(stat.f_frsize)))
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    #[test]
    fn a_medium_breaks_otherwise_than_a_disk_is_full() {
        assert!(is_broken_medium(&Error::from_raw_os_error(5)));
        for other in [ErrorKind::StorageFull, ErrorKind::PermissionDenied, ErrorKind::NotFound] {
            assert!(!is_broken_medium(&Error::from(other)), "{other}");
        }
        assert!(!is_broken_medium(&Error::from_raw_os_error(28)));
    }
}
