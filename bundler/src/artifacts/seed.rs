//! The first content of a named volume, as a tar.
//!
//! A tar file is carried as it is, so that owners and modes are kept (a database wants its own); a compressed one is
//! unpacked to the tar. A folder becomes a tar that says the same on every machine: sorted, modes 0755 and 0644, no
//! times, and one owner. The volume's own root is the entry `./`. It is added where a tar has none and the root does
//! not simply belong to root with 0755, and where the manifest says owner or mode. The last `./` of a tar counts: one that
//! is added to a tar which has its own stands at the end.

mod scan;

use self::scan::Scanned;
use super::{EntryKind, PlannedEntry, folder};
use crate::cancel::Cancel;
use crate::inputs::Inputs;
use crate::inputs::mentions::Mentions;
use crate::read::compression::{Compression, Lifted, decompress, sniff};
use crate::read::exactly::Exactly;
use crate::read::instead::{LOOK_BYTES, instead_of_an_archive};
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
    /// User and group that the manifest says.
    written: Option<(u64, u64)>,
    /// The tar without an added root; `None`: a folder, whose tar is made.
    tar: Option<Scanned>,
    lifted: Lifted,
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
        let planned = SeedPlan::new(spec, place, inputs.manifest.unpacked_bytes, cancel);
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
    pub(super) fn new(
        spec: &SeedSpec,
        place: &Path,
        lifted: Lifted,
        cancel: &Cancel,
    ) -> anyhow::Result<Self> {
        let tar = if place.is_dir() {
            // Its links and names are judged here.
            let _ = entries(place, cancel).with_context(|| format!("seed {}", place.display()))?;
            None
        } else {
            let scanned = scan::scan(open_tar(place, lifted, cancel)?);
            Some(scanned.with_context(|| format!("seed {}", place.display()))?)
        };
        let named = tar.and_then(|tar| tar.root);
        let (owner, written) = (Owner::default(), None);
        Ok(Self { spec: spec.clone(), place: place.to_owned(), named, owner, written, tar, lifted })
    }

    /// The owner where the seed names none, and the one that the manifest says, user and group.
    pub(crate) fn give_owner(&mut self, owner: Owner, written: Option<(u64, u64)>) {
        (self.owner, self.written) = (owner, written);
    }

    /// Owner and mode of the volume's root: as the manifest says, else as the tar does, else as suits the services.
    #[must_use]
    pub(crate) fn root(&self) -> Owner {
        let Owner { uid, gid, mode } = self.named.unwrap_or(self.owner);
        let (uid, gid) = self.written.unwrap_or((uid, gid));
        Owner { uid, gid, mode: self.spec.mode.unwrap_or(mode) }
    }

    /// The owner of a folder's members.
    fn members(&self) -> Owner {
        let (uid, gid) = self.written.unwrap_or((self.owner.uid, self.owner.gid));
        Owner { uid, gid, ..self.owner }
    }

    /// The manifest says something of the root.
    const fn is_written(&self) -> bool {
        self.written.is_some() || self.spec.mode.is_some()
    }

    /// The entry of the root at the tar's begin, where one is added there.
    fn first(&self) -> io::Result<Vec<u8>> {
        let adds = self.is_written() || self.owner != Owner::default();
        if adds && self.named.is_none() { self.root_header() } else { Ok(Vec::new()) }
    }

    /// The end of a tar that names its root otherwise than the manifest says.
    fn last(&self) -> io::Result<Option<Vec<u8>>> {
        if !self.is_written() || self.named.is_none() {
            return Ok(None);
        }
        let mut end = self.root_header()?;
        end.resize(end.len() + usize::try_from(END_BYTES).unwrap_or(1024), 0);
        Ok(Some(end))
    }

    fn root_header(&self) -> io::Result<Vec<u8>> {
        let root = self.root();
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
        let root = self.first()?.len() as u64;
        if let Some(tar) = self.tar {
            return Ok(match self.last()? {
                Some(end) => tar.members_bytes + end.len() as u64,
                None => root + tar.bytes,
            });
        }
        let mut bytes = root + END_BYTES;
        for entry in entries(&self.place, cancel)? {
            let size = if let EntryKind::File { size, .. } = entry.kind { size } else { 0 };
            bytes = bytes
                .checked_add(header(&entry, self.members())?.len() as u64)
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
        let root = io::Cursor::new(self.first()?);
        let Some(scanned) = self.tar else {
            let tar = FolderTar {
                waiting: entries(&self.place, cancel)?,
                owner: self.members(),
                current: Box::new(io::empty()),
                ended: false,
            };
            return Ok(Box::new(root.chain(tar)));
        };
        let tar = open_tar(&self.place, self.lifted, cancel)?;
        Ok(match self.last()? {
            Some(end) => {
                Box::new(OtherEnd { tar, members: scanned.members_bytes, end: io::Cursor::new(end) })
            }
            None => Box::new(root.chain(tar)),
        })
    }
}

/// The tar of a file.
fn open_tar(place: &Path, lifted: Lifted, cancel: &Cancel) -> anyhow::Result<Box<dyn Read + Send>> {
    let (file, compression) = open_file(place)?;
    let bytes = file.metadata()?.len();
    let what = format!("seed {}", place.display());
    Ok(decompress(cancel.reader(Exactly::new(file, bytes, what.clone())), compression, bytes, lifted, what)?)
}

/// A file that is a tar, compressed or not.
fn open_file(place: &Path) -> anyhow::Result<(File, Compression)> {
    let shown = place.display();
    if !place.metadata().with_context(|| format!("seed {shown} cannot be found"))?.is_file() {
        bail!("seed {shown} is neither a tar file nor a folder");
    }
    let mut file = File::open(place).with_context(|| format!("seed {shown} cannot be opened"))?;
    let mut head = Vec::new();
    (&mut file).take(LOOK_BYTES as u64).read_to_end(&mut head)?;
    file.seek(SeekFrom::Start(0))?;
    let compression = sniff(&head).with_context(|| format!("seed {shown}"))?;
    if compression == Compression::None && !scan::is_tar(&head) {
        match instead_of_an_archive(&head) {
            Some(what) => bail!("seed {shown} is not a tar file: {what}"),
            None => bail!("seed {shown} is not a tar file"),
        }
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

/// The members of a tar, and another end than its own.
struct OtherEnd {
    tar: Box<dyn Read + Send>,
    /// Bytes of them that are still to come.
    members: u64,
    end: io::Cursor<Vec<u8>>,
}

impl Read for OtherEnd {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.members == 0 || buffer.is_empty() {
            return self.end.read(buffer);
        }
        let read = (&mut self.tar).take(self.members).read(buffer)?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the tar became shorter meanwhile"));
        }
        self.members -= read as u64;
        if self.members == 0 {
            // What is wrong with its end is noticed there.
            io::copy(&mut self.tar, &mut io::sink())?;
        }
        Ok(read)
    }
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

#[cfg(test)]
mod tests;
