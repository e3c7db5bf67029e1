//! A look through the tar of a seed: an engine would refuse on site what is refused here.

use crate::read::owner::Owner;
use anyhow::{Context, bail};
use std::io::{self, Read};

const BLOCK_BYTES: usize = 512;

/// `head`, the first block of a file, begins a tar of any age: tar's oldest format has no magic, but its checksum.
pub(super) fn is_tar(head: &[u8]) -> bool {
    let sum = |(at, byte): (usize, &u8)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) };
    let own = || tar::Header::from_byte_slice(head).cksum().ok();
    head.len() == BLOCK_BYTES
        && (head.iter().all(|byte| *byte == 0) || own() == Some(head.iter().enumerate().map(sum).sum()))
}

/// The findings of a look through a tar.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scanned {
    /// Owner and mode of the tar's own root, where it names it.
    pub(super) root: Option<Owner>,
    /// Bytes of its members, without the blocks of zeros that end it.
    pub(super) members_bytes: u64,
    /// Its length in bytes.
    pub(super) bytes: u64,
}

/// Looks through the tar of a seed.
///
/// # Errors
/// When it is damaged, or a member or link leads out of the volume.
pub(super) fn scan(tar: impl Read) -> anyhow::Result<Scanned> {
    let mut root = None;
    let mut archive = tar::Archive::new(Counted { inner: tar, bytes: 0, at_end: false });
    for entry in archive.entries().context("it cannot be read")? {
        let mut entry = entry.context("it is no tar, or a damaged one")?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let kind = entry.header().entry_type();
        // Behind a leading slash, names start at the volume all the same.
        let Some(depth) = depth(0, &name) else {
            bail!("its member `{name}` leads out of the volume; pack the folder again, from inside it");
        };
        if depth == 0 && kind.is_dir() {
            root = Some(Owner::of(&mut entry)?);
            continue;
        }
        if !kind.is_symlink() && !kind.is_hard_link() {
            continue;
        }
        let target = String::from_utf8_lossy(&entry.link_name_bytes().unwrap_or_default()).into_owned();
        // A hard link starts at the root, and a symbolic one beside itself. An absolute one is taken as it is.
        let start = if kind.is_symlink() { depth.saturating_sub(1) } else { 0 };
        if !target.starts_with('/') && self::depth(start, &target).is_none() {
            bail!(
                "its link `{name}` leads to `{target}`, out of the volume, which no engine unpacks; \
                 delete it, or make it an absolute one"
            );
        }
    }
    let mut tar = archive.into_inner();
    // The reader stops behind the first block of zeros, or where there is none at the end.
    let members_bytes = if tar.at_end { tar.bytes } else { tar.bytes.saturating_sub(BLOCK_BYTES as u64) };
    io::copy(&mut tar, &mut io::sink()).context("it cannot be read to its end")?;
    Ok(Scanned { root, members_bytes, bytes: tar.bytes })
}

/// Counts what is read.
struct Counted<R> {
    inner: R,
    bytes: u64,
    /// Its end was read.
    at_end: bool,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes += read as u64;
        self.at_end |= read == 0 && !buffer.is_empty();
        Ok(read)
    }
}

/// The depth of `path`, beginning `start` folders deep; `None` where it goes above the root.
fn depth(start: usize, path: &str) -> Option<usize> {
    path.split('/').try_fold(start, |depth, part| match part {
        "" | "." => Some(depth),
        ".." => depth.checked_sub(1),
        _ => Some(depth + 1),
    })
}
