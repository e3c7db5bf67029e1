//! The first content of a named volume, as a tar.
//!
//! A tar file is carried as it is, so that owners and modes are kept (a database wants its own); a compressed one is
//! unpacked to the tar. A folder becomes a tar that says the same on every machine: sorted, modes 0755 and 0644, no
//! times, and one owner. The volume's own root is the entry `./`. It is added where a tar has none and the root does
//! not simply belong to root with 0755.

mod scan;

use super::{EntryKind, PlannedEntry, folder};
use crate::cancel::Cancel;
use crate::inputs::Inputs;
use crate::inputs::mentions::Mentions;
use crate::read::compression::{Compression, decompress, sniff};
use crate::read::exactly::Exactly;
use crate::read::owner::Owner;
use anyhow::{Context, bail};
use ferry_terminal::human;
use manifest_schema::manifest::SeedSpec;
use manifest_schema::{BundlePath, Diagnostics};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// The end of a tar: two blocks of zeros.
const END_BYTES: u64 = 1024;

/// A seed as it will be packed.
#[derive(Debug)]
pub(crate) struct SeedPlan {
    pub(crate) spec: SeedSpec,
    place: PathBuf,
    /// The root's, where the tar itself names it.
    named: Option<Owner>,
    /// The root's otherwise, and that of a folder's files.
    owner: Owner,
    /// Bytes of the tar without an added root; `None`: a folder, whose tar is made.
    tar_bytes: Option<u64>,
}

/// Plans the seeds of `inputs`, which are read once for it.
///
/// # Errors
/// Lists every seed that is no tar, or that an engine would not unpack.
pub(crate) fn plan(inputs: &Inputs, cancel: &Cancel) -> anyhow::Result<Vec<SeedPlan>> {
    let mentions = Mentions::read(&inputs.manifest_shown, &inputs.manifest_text);
    let mut plans = Vec::new();
    let mut wrong = Diagnostics::default();
    for (spec, place) in &inputs.seeds {
        let planned = SeedPlan::new(spec, place, cancel);
        // What was not looked at is not wrong.
        cancel.check()?;
        match planned {
            Ok(plan) => plans.push(plan),
            Err(error) => {
                let message = human::printable(&format!("{error:#}"));
                wrong.push(mentions.mistake("volumes", &spec.from, spec.line, message));
            }
        }
    }
    Ok(wrong.or_ok(plans)?)
}

impl SeedPlan {
    pub(super) fn new(spec: &SeedSpec, place: &Path, cancel: &Cancel) -> anyhow::Result<Self> {
        let (named, tar_bytes) = if place.is_dir() {
            // Its links and names are judged here.
            let _ = entries(place, cancel).with_context(|| format!("seed {}", place.display()))?;
            (None, None)
        } else {
            let (named, bytes) =
                scan::scan(open_tar(place, cancel)?).with_context(|| format!("seed {}", place.display()))?;
            (named, Some(bytes))
        };
        Ok(Self { spec: spec.clone(), place: place.to_owned(), named, owner: Owner::default(), tar_bytes })
    }

    /// The owner where the seed names none.
    pub(crate) fn give_owner(&mut self, owner: Owner) {
        self.owner = owner;
    }

    /// Owner and mode of the volume's root.
    #[must_use]
    pub(crate) fn root(&self) -> Owner {
        self.named.unwrap_or(self.owner)
    }

    /// The entry of the root, where one is added.
    fn root_header(&self) -> io::Result<Vec<u8>> {
        let root = self.owner;
        if self.named.is_some() || root == Owner::default() {
            return Ok(Vec::new());
        }
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_path(".")?;
        owned(&mut header, root);
        header.set_mode(root.mode);
        header.set_size(0);
        header.set_cksum();
        Ok(header.as_bytes().to_vec())
    }

    /// Bytes that [`SeedPlan::open`] will deliver.
    ///
    /// # Errors
    /// As [`SeedPlan::open`].
    pub(crate) fn bytes(&self, cancel: &Cancel) -> anyhow::Result<u64> {
        let root = self.root_header()?.len() as u64;
        if let Some(tar) = self.tar_bytes {
            return Ok(root + tar);
        }
        let mut bytes = root + END_BYTES;
        for entry in entries(&self.place, cancel)? {
            let size = if let EntryKind::File { size, .. } = entry.kind { size } else { 0 };
            bytes = bytes
                .checked_add(header(&entry, self.owner)?.len() as u64)
                .and_then(|bytes| bytes.checked_add(size)?.checked_add(padding(size)))
                .context("the seed is too large")?;
        }
        Ok(bytes)
    }

    /// The tar.
    ///
    /// # Errors
    /// When the seed is neither a tar file nor a folder, or holds what a tar cannot carry; reading fails where it
    /// changes meanwhile.
    pub(crate) fn open(&self, cancel: &Cancel) -> anyhow::Result<Box<dyn Read + Send>> {
        let root = io::Cursor::new(self.root_header()?);
        if self.tar_bytes.is_none() {
            let tar = FolderTar {
                waiting: entries(&self.place, cancel)?,
                owner: self.owner,
                current: Box::new(io::empty()),
                ended: false,
            };
            return Ok(Box::new(root.chain(tar)));
        }
        Ok(Box::new(root.chain(open_tar(&self.place, cancel)?)))
    }
}

/// The tar of a file.
fn open_tar(place: &Path, cancel: &Cancel) -> anyhow::Result<Box<dyn Read + Send>> {
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
    if compression == Compression::None && !scan::is_tar(&head) {
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

fn owned(header: &mut tar::Header, owner: Owner) {
    header.set_uid(owner.uid);
    header.set_gid(owner.gid);
    header.set_mtime(0);
}

/// The header blocks of an entry, those of a long name included.
fn header(entry: &PlannedEntry, owner: Owner) -> io::Result<Vec<u8>> {
    let mut header = tar::Header::new_gnu();
    owned(&mut header, owner);
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
    owner: Owner,
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
                io::Cursor::new(header(&entry, self.owner)?)
                    .chain(content)
                    .chain(io::repeat(0).take(padding(size))),
            );
        }
    }
}
