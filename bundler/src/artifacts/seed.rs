//! The first content of a named volume, as a tar.
//!
//! A tar file is carried as it is, so that owners and modes are kept (a database wants its own); a
//! compressed one is unpacked to the tar. A folder becomes a tar that says the same on every
//! machine: sorted, owned by root, modes 0755 and 0644, no times.

use super::{EntryKind, PlannedEntry, folder};
use crate::cancel::Cancel;
use crate::read::compression::{Compression, decompress, sniff};
use crate::read::exactly::Exactly;
use anyhow::{Context, bail};
use manifest_schema::BundlePath;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// The end of a tar: two blocks of zeros.
const END_BYTES: u64 = 1024;

/// Bytes that [`open_seed`] will deliver.
///
/// # Errors
/// As [`open_seed`].
pub(crate) fn seed_bytes(place: &Path, cancel: &Cancel) -> anyhow::Result<u64> {
    if !place.is_dir() {
        let (file, compression) = open_file(place)?;
        if compression == Compression::None {
            return Ok(file.metadata()?.len());
        }
        return Ok(io::copy(&mut open_seed(place, cancel)?, &mut io::sink())?);
    }
    let mut bytes = END_BYTES;
    for entry in entries(place, cancel)? {
        let size = if let EntryKind::File { size, .. } = entry.kind { size } else { 0 };
        bytes = bytes
            .checked_add(header(&entry)?.len() as u64)
            .and_then(|bytes| bytes.checked_add(size)?.checked_add(padding(size)))
            .context("the seed is too large")?;
    }
    Ok(bytes)
}

/// The tar of the seed at `place`: a tar file, or a folder.
///
/// # Errors
/// When it is neither, or holds what a tar cannot carry; reading fails where it changes meanwhile.
pub(crate) fn open_seed(place: &Path, cancel: &Cancel) -> anyhow::Result<Box<dyn Read + Send>> {
    if place.is_dir() {
        return Ok(Box::new(FolderTar {
            waiting: entries(place, cancel)?,
            current: Box::new(io::empty()),
            ended: false,
        }));
    }
    let (file, compression) = open_file(place)?;
    let bytes = file.metadata()?.len();
    let what = format!("seed {}", place.display());
    Ok(decompress(cancel.reader(Exactly::new(file, bytes, what.clone())), compression, bytes, what)?)
}

/// A file that is a tar, compressed or not.
fn open_file(place: &Path) -> anyhow::Result<(File, Compression)> {
    let shown = place.display();
    if !place.metadata().with_context(|| format!("seed {shown} cannot be found"))?.is_file() {
        bail!("seed {shown} is neither a tar file nor a folder");
    }
    let mut file = File::open(place).with_context(|| format!("seed {shown} cannot be opened"))?;
    let mut head = Vec::new();
    (&mut file).take(512).read_to_end(&mut head)?;
    file.seek(SeekFrom::Start(0))?;
    let compression = sniff(&head).with_context(|| format!("seed {shown}"))?;
    let tar = head.get(257..262) == Some(b"ustar") || head.len() == 512 && head.iter().all(|byte| *byte == 0);
    if compression == Compression::None && !tar {
        bail!("seed {shown} is not a tar file");
    }
    Ok((file, compression))
}

fn entries(folder: &Path, cancel: &Cancel) -> anyhow::Result<VecDeque<PlannedEntry>> {
    let mut entries = folder::below(folder, cancel)?;
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(entries.into())
}

const fn padding(size: u64) -> u64 {
    (512 - size % 512) % 512
}

/// The header blocks of an entry, those of a long name included.
fn header(entry: &PlannedEntry) -> io::Result<Vec<u8>> {
    let mut header = tar::Header::new_gnu();
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    let path = |path: &BundlePath, slash: &str| format!("{path}{slash}");
    let mut builder = tar::Builder::new(Vec::new());
    match &entry.kind {
        EntryKind::File { size, executable, .. } => {
            header.set_entry_type(tar::EntryType::Regular);
            header.set_mode(if *executable { 0o755 } else { 0o644 });
            header.set_size(*size);
            // The content follows from its own reader; the header keeps its size.
            builder.append_data(&mut header, path(&entry.path, ""), io::empty())?;
        }
        EntryKind::Folder => {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(0o755);
            header.set_size(0);
            builder.append_data(&mut header, path(&entry.path, "/"), io::empty())?;
        }
        EntryKind::Symlink { target } => {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_mode(0o777);
            header.set_size(0);
            builder.append_link(&mut header, path(&entry.path, ""), target)?;
        }
    }
    let mut blocks = builder.into_inner()?;
    // The builder ends its archive; ours goes on.
    blocks.truncate(blocks.len().saturating_sub(usize::try_from(END_BYTES).unwrap_or(1024)));
    Ok(blocks)
}

/// A folder's tar, made while it is read.
struct FolderTar {
    waiting: VecDeque<PlannedEntry>,
    current: Box<dyn Read + Send>,
    ended: bool,
}

impl Read for FolderTar {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.current.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            let Some(entry) = self.waiting.pop_front() else {
                if self.ended {
                    return Ok(0);
                }
                self.ended = true;
                self.current = Box::new(io::repeat(0).take(END_BYTES));
                continue;
            };
            let size = if let EntryKind::File { size, .. } = entry.kind { size } else { 0 };
            let content = entry.open().map_err(io::Error::other)?;
            self.current = Box::new(
                io::Cursor::new(header(&entry)?).chain(content).chain(io::repeat(0).take(padding(size))),
            );
        }
    }
}
