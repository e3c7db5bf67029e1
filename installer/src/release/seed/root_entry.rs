//! The entry of a seed's own root (`./`), taken out of the tar while it passes by.
//!
//! Engines disagree about that entry: Docker passes over it, Podman applies it at once. Here it is read, left out of
//! what the engine gets, and applied last, when everything else is on the disk. Invariants: every other byte passes as
//! it is, no more than one entry's headers are held, and what is no tar passes untouched, for the engine to judge
//! (POSIX.1-2017, pax, "ustar Interchange Format" and "pax Extended Header"; GNU tar manual, "Basic Tar Format").

use crate::engine::volumes::FolderOwner;
use bytes::{Bytes, BytesMut};

const BLOCK_BYTES: usize = 512;

/// Largest extended header that is looked into: Go's reader, which the engine has, stops there too.
const MAX_EXTENSION_BYTES: u64 = 1 << 20;

/// Looks at the headers of a tar in whatever pieces it comes.
#[derive(Debug, Default)]
pub(super) struct RootEntry {
    /// Headers of an entry that is not known whole yet.
    held: BytesMut,
    /// Bytes at the end of `held` that are no whole block yet.
    partial: usize,
    /// Bytes of an extension that still go to `held`, and where they begin there.
    extension: Option<Extension>,
    /// Bytes of content that still pass.
    passing: u64,
    /// Blocks of an old GNU sparse map follow.
    sparse_map: bool,
    /// Nothing is looked at any more.
    ended: bool,
    pax: Pax,
    found: Option<FolderOwner>,
}

#[derive(Debug, Clone, Copy)]
struct Extension {
    left: u64,
    begin: usize,
    bytes: usize,
    kind: ExtensionKind,
}

#[derive(Debug, Clone, Copy)]
enum ExtensionKind {
    Pax,
    LongName,
    LongLink,
}

/// The members of a pax header that concern owner and size.
#[derive(Debug, Default)]
struct Pax {
    uid: Option<u64>,
    gid: Option<u64>,
    size: Option<u64>,
    path: Option<Vec<u8>>,
}

impl RootEntry {
    /// Owner and mode of the root, where the tar has named them so far.
    #[must_use]
    pub(super) fn found(&self) -> Option<FolderOwner> {
        self.found
    }

    /// Takes the next piece, and gives what passes of it.
    pub(super) fn pass(&mut self, mut bytes: Bytes) -> Vec<Bytes> {
        let mut passed = Vec::new();
        while !bytes.is_empty() {
            if self.ended {
                passed.push(bytes.split_off(0));
            } else if self.passing > 0 {
                let step = usize::try_from(self.passing).unwrap_or(usize::MAX).min(bytes.len());
                self.passing -= step as u64;
                passed.push(bytes.split_to(step));
            } else if let Some(extension) = self.extension.as_mut() {
                let step = usize::try_from(extension.left).unwrap_or(usize::MAX).min(bytes.len());
                extension.left -= step as u64;
                self.held.extend_from_slice(&bytes.split_to(step));
                if extension.left == 0 {
                    self.end_extension();
                }
            } else {
                let step = (BLOCK_BYTES - self.partial).min(bytes.len());
                self.partial += step;
                self.held.extend_from_slice(&bytes.split_to(step));
                if self.partial == BLOCK_BYTES {
                    self.partial = 0;
                    let block: Vec<u8> = self.held.iter().rev().take(BLOCK_BYTES).rev().copied().collect();
                    passed.extend(self.block(&block));
                }
            }
        }
        passed
    }

    /// Gives what is held when the tar ends.
    pub(super) fn end(&mut self) -> Bytes {
        self.held.split().freeze()
    }

    /// Judges the block at the end of `held`.
    fn block(&mut self, block: &[u8]) -> Option<Bytes> {
        if self.sparse_map {
            self.sparse_map = block.get(504).is_some_and(|more| *more != 0);
            return Some(self.release());
        }
        let header = tar::Header::from_byte_slice(block);
        let size = header.entry_size();
        let (true, Ok(size)) = (has_checksum(block), size) else {
            // The end, or no tar.
            self.ended = true;
            return Some(self.release());
        };
        let kind = header.entry_type();
        let extension = match kind {
            tar::EntryType::XHeader => Some(ExtensionKind::Pax),
            tar::EntryType::GNULongName => Some(ExtensionKind::LongName),
            tar::EntryType::GNULongLink => Some(ExtensionKind::LongLink),
            _ => None,
        };
        if let Some(kind) = extension {
            if size > MAX_EXTENSION_BYTES {
                self.ended = true;
                return Some(self.release());
            }
            let left = padded(size);
            let bytes = usize::try_from(size).unwrap_or_default();
            self.extension = Some(Extension { left, begin: self.held.len(), bytes, kind });
            if left == 0 {
                self.end_extension();
            }
            return None;
        }
        let pax = std::mem::take(&mut self.pax);
        let name = pax.path.unwrap_or_else(|| header.path_bytes().into_owned());
        if is_root(&name) && (kind.is_dir() || (kind.is_file() && name.ends_with(b"/"))) {
            let owner = |of_pax: Option<u64>, of_header: std::io::Result<u64>| of_pax.or(of_header.ok());
            if let (Some(uid), Some(gid), Ok(mode)) =
                (owner(pax.uid, header.uid()), owner(pax.gid, header.gid()), header.mode())
            {
                // Without set-user-ID, which means nothing on a folder, and marks one that is being filled.
                self.found = Some(FolderOwner { uid, gid, mode: mode & 0o3777 });
            }
            self.held.clear();
            return None;
        }
        // These have no content, whatever their size says; Go's and GNU's readers agree.
        let has_content = !matches!(block.get(156), Some(b'1'..=b'6'));
        self.passing = if has_content { padded(pax.size.unwrap_or(size)) } else { 0 };
        self.sparse_map = kind.is_gnu_sparse() && block.get(482).is_some_and(|more| *more != 0);
        Some(self.release())
    }

    fn end_extension(&mut self) {
        let Some(Extension { begin, bytes, kind, .. }) = self.extension.take() else { return };
        let content = self.held.get(begin..begin + bytes).unwrap_or_default();
        match kind {
            ExtensionKind::Pax => self.pax.read(content),
            ExtensionKind::LongName => {
                self.pax.path = content.split(|byte| *byte == 0).next().map(<[u8]>::to_vec);
            }
            ExtensionKind::LongLink => {}
        }
    }

    fn release(&mut self) -> Bytes {
        self.held.split().freeze()
    }
}

impl Pax {
    /// Reads the records `LENGTH KEY=VALUE\n`; what is malformed is left to the engine.
    fn read(&mut self, content: &[u8]) {
        for record in tar::PaxExtensions::new(content).map_while(std::io::Result::ok) {
            let number = || record.value().ok().and_then(|value| value.parse().ok());
            match record.key_bytes() {
                b"uid" => self.uid = number(),
                b"gid" => self.gid = number(),
                b"size" => self.size = number(),
                b"path" => self.path = Some(record.value_bytes().to_vec()),
                _ => {}
            }
        }
    }
}

/// `./`, `.`, `/` and the like.
fn is_root(name: &[u8]) -> bool {
    !name.is_empty() && name.split(|byte| *byte == b'/').all(|part| part.is_empty() || part == b".")
}

const fn padded(size: u64) -> u64 {
    match size.checked_next_multiple_of(BLOCK_BYTES as u64) {
        Some(padded) => padded,
        None => u64::MAX,
    }
}

fn has_checksum(block: &[u8]) -> bool {
    let bytes = block.iter().enumerate();
    let sum: u32 = bytes.map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) }).sum();
    tar::Header::from_byte_slice(block).cksum().is_ok_and(|own| own == sum) && sum != 8 * 32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, kind: tar::EntryType, size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o6750);
        header.set_uid(70);
        header.set_gid(71);
        header.set_size(size);
        header.set_cksum();
        header
    }

    fn file(content: &[u8]) -> Vec<u8> {
        let mut blocks = header("./db", tar::EntryType::Regular, content.len() as u64).as_bytes().to_vec();
        blocks.extend_from_slice(content);
        blocks.resize(blocks.len().next_multiple_of(512), 0);
        blocks
    }

    fn pax(records: &str, kind: tar::EntryType) -> Vec<u8> {
        let mut blocks = header("x", kind, records.len() as u64).as_bytes().to_vec();
        blocks.extend_from_slice(records.as_bytes());
        blocks.resize(blocks.len().next_multiple_of(512), 0);
        blocks
    }

    fn passed(tar: &[u8], step: usize) -> (Vec<u8>, Option<FolderOwner>) {
        let mut root = RootEntry::default();
        let mut out: Vec<u8> =
            tar.chunks(step).flat_map(|chunk| root.pass(Bytes::copy_from_slice(chunk)).concat()).collect();
        out.extend_from_slice(&root.end());
        (out, root.found())
    }

    const OWNER: FolderOwner = FolderOwner { uid: 70, gid: 71, mode: 0o2750 };

    #[test]
    fn the_root_is_taken_out_and_everything_else_passes() {
        let end = vec![0; 1024];
        let dir = tar::EntryType::Directory;
        let sub = header("./sub/", dir, 0).as_bytes().to_vec();
        // Content that looks like a header.
        let inner = file(header("./", dir, 0).as_bytes());
        let long = pax(&"d".repeat(600), tar::EntryType::GNULongName);
        let rest = [inner, sub, long, file(b"long"), end].concat();
        for name in ["./", ".", "/", "././"] {
            let root = header(name, dir, 0).as_bytes().to_vec();
            for step in [1, 511, 512, 700, 1 << 20] {
                assert_eq!(passed(&[&root[..], &rest].concat(), step), (rest.clone(), Some(OWNER)), "{name}");
            }
        }
        assert_eq!(passed(&rest, 512), (rest.clone(), None));
        // In the middle, with extended headers of its own.
        let extended = pax("14 uid=200000\n30 mtime=1700000000.1234567\n", tar::EntryType::XHeader);
        let root = header("./", dir, 0).as_bytes().to_vec();
        let tar = [&file(b"x")[..], &extended, &root, &rest].concat();
        let (out, found) = passed(&tar, 333);
        assert_eq!(out, [file(b"x"), rest].concat());
        assert_eq!(found, Some(FolderOwner { uid: 200_000, ..OWNER }));
    }

    #[test]
    fn what_is_no_tar_passes_as_it_is() {
        let mut huge = header("x", tar::EntryType::XHeader, 1 << 40);
        huge.set_cksum();
        let cut = &file(b"content")[..600];
        for bytes in [&b"hello"[..], &[7; 2000], huge.as_bytes(), cut, &[0; 512], b""] {
            for step in [1, 512, 5000] {
                assert_eq!(passed(bytes, step), (bytes.to_vec(), None));
            }
        }
    }

    #[test]
    fn sparse_maps_are_content() {
        let mut sparse = header("./disk", tar::EntryType::GNUSparse, 512);
        sparse.as_mut_bytes()[482] = 1;
        sparse.set_cksum();
        let root = header("./", tar::EntryType::Directory, 0).as_bytes().to_vec();
        // A map that goes on once, and content that looks like a root.
        let mut map = vec![1; 512];
        map[504] = 0;
        let before = [&sparse.as_bytes()[..], &map, &root].concat();
        let (out, found) = passed(&[&before[..], &root, &file(b"x")].concat(), 100);
        assert_eq!(out, [before, file(b"x")].concat());
        assert_eq!(found, Some(OWNER));
    }
}
