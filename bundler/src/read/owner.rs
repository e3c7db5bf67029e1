//! Owner and mode of a member of a tar.

use std::io::{self, Read};

/// Owner and mode of a file or folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    /// Permission bits, `0o7777` at most.
    pub(crate) mode: u32,
}

impl Default for Owner {
    /// A new volume's.
    fn default() -> Self {
        Self { uid: 0, gid: 0, mode: 0o755 }
    }
}

impl Owner {
    /// Owner and mode of `entry`; extended headers count before the entry's own (POSIX, pax).
    ///
    /// # Errors
    /// When a number is none.
    pub(crate) fn of(entry: &mut tar::Entry<'_, impl Read>) -> io::Result<Self> {
        let (mut uid, mut gid) = (entry.header().uid()?, entry.header().gid()?);
        let mode = entry.header().mode()? & 0o7777;
        for record in entry.pax_extensions()?.into_iter().flatten().flatten() {
            let number = record.value().ok().and_then(|value| value.parse().ok());
            match (record.key(), number) {
                (Ok("uid"), Some(number)) => uid = number,
                (Ok("gid"), Some(number)) => gid = number,
                _ => {}
            }
        }
        Ok(Self { uid, gid, mode })
    }
}
