//! The payload's tar entries: one fixed way of writing each, so that equal inputs give equal
//! bytes (POSIX.1-2017 pax, "ustar Interchange Format", with GNU's long names and base-256 sizes,
//! which GNU tar, Go and libarchive read).

use crate::error::{FormatError, Result};
use manifest_schema::BundlePath;
use tar::{EntryType, Header};

/// Tar's unit.
pub(crate) const BLOCK_BYTES: u64 = 512;

/// The kind of a tar entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind<'a> {
    /// A file of `size` bytes.
    File {
        /// Content bytes.
        size: u64,
        /// True for mode 0755, false for 0644.
        executable: bool,
    },
    /// A folder.
    Folder,
    /// A symbolic link.
    Symlink {
        /// Where it points.
        target: &'a str,
    },
}

/// The header blocks of one entry: owner 0, time 0, mode 0644, 0755 or 0777.
///
/// # Errors
/// When the name cannot be written.
pub fn header(path: &BundlePath, kind: Kind<'_>) -> Result<Vec<u8>> {
    let mut blocks = Vec::new();
    let (entry_type, mode, size) = match kind {
        Kind::File { size, executable } => (EntryType::Regular, if executable { 0o755 } else { 0o644 }, size),
        Kind::Folder => (EntryType::Directory, 0o755, 0),
        Kind::Symlink { .. } => (EntryType::Symlink, 0o777, 0),
    };
    let mut name = path.as_str().to_owned();
    if matches!(kind, Kind::Folder) {
        name.push('/');
    }
    let mut header = fresh(entry_type, mode, size);
    write_name(&mut blocks, &mut header, name.as_bytes(), EntryType::GNULongName)?;
    if let Kind::Symlink { target } = kind {
        write_name(&mut blocks, &mut header, target.as_bytes(), EntryType::GNULongLink)?;
    }
    header.set_cksum();
    blocks.extend_from_slice(header.as_bytes());
    Ok(blocks)
}

fn fresh(entry_type: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(entry_type);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header
}

/// Puts `name` into the header where it fits, else into a GNU long-name entry before it.
fn write_name(blocks: &mut Vec<u8>, header: &mut Header, name: &[u8], long: EntryType) -> Result<()> {
    let gnu =
        header.as_gnu_mut().ok_or_else(|| FormatError::inconsistent("a tar header without its fields"))?;
    let field = if long == EntryType::GNULongName { &mut gnu.name } else { &mut gnu.linkname };
    // One byte less than the field: every reader agrees on names that end in NUL.
    let fits = name.len() < field.len();
    let short = if fits { name } else { name.get(..field.len() - 1).unwrap_or(name) };
    for (slot, byte) in field.iter_mut().zip(short) {
        *slot = *byte;
    }
    if !fits {
        let mut extra = fresh(long, 0o644, name.len() as u64 + 1);
        if let Some(gnu) = extra.as_gnu_mut() {
            for (slot, byte) in gnu.name.iter_mut().zip(b"././@LongLink") {
                *slot = *byte;
            }
        }
        extra.set_cksum();
        blocks.extend_from_slice(extra.as_bytes());
        blocks.extend_from_slice(name);
        blocks.resize(blocks.len() + padding(name.len() as u64 + 1) + 1, 0);
    }
    Ok(())
}

/// Zero bytes that follow `size` bytes of content.
#[must_use]
pub fn padding(size: u64) -> usize {
    ((BLOCK_BYTES - size % BLOCK_BYTES) % BLOCK_BYTES) as usize
}

/// The two zero blocks that end a tar.
pub const END: [u8; 1024] = [0; 1024];

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn entries_are_read_back_by_the_tar_crate() {
        let long = format!("a/{}/{}", "d".repeat(120), "e".repeat(99));
        for name in ["x", "a/b c/ä", &"n".repeat(99), &"n".repeat(100), &"n".repeat(101), &long] {
            let path: BundlePath = name.parse().unwrap();
            let mut tar = header(&path, Kind::File { size: 3, executable: true }).unwrap();
            assert_eq!(tar.len() % 512, 0);
            tar.extend_from_slice(b"abc");
            tar.resize(tar.len() + padding(3), 0);
            let target = "t".repeat(150);
            tar.extend(header(&path.join("l").unwrap(), Kind::Symlink { target: &target }).unwrap());
            tar.extend_from_slice(&END);
            let mut archive = tar::Archive::new(tar.as_slice());
            let mut entries = archive.entries().unwrap();
            let mut file = entries.next().unwrap().unwrap();
            assert_eq!(file.path_bytes().as_ref(), name.as_bytes());
            assert_eq!(file.header().mode().unwrap(), 0o755);
            let mut content = String::new();
            file.read_to_string(&mut content).unwrap();
            assert_eq!(content, "abc");
            let link = entries.next().unwrap().unwrap();
            assert_eq!(link.link_name_bytes().unwrap().as_ref(), target.as_bytes());
            assert!(entries.next().is_none());
        }
    }

    #[test]
    fn sizes_past_8_gib_are_written_in_base_256() {
        let size = 9_u64 << 30;
        let tar = header(&"big".parse().unwrap(), Kind::File { size, executable: false }).unwrap();
        assert_eq!(tar.len(), 512);
        assert_eq!(tar[124], 0x80);
        assert_eq!(Header::from_byte_slice(&tar).entry_size().unwrap(), size);
    }
}
