//! An image archive: a tar, plain or compressed as a whole, whose members are read where they lie.
//!
//! Nothing is unpacked. A plain archive is scanned by seeking and its members are ranges of the
//! file. A compressed one is gone through once to find its members; afterwards one reader moves
//! forward through it as members are opened in the order in which they lie, and starts again only
//! when someone asks for an earlier one.
//!
//! Invariants: links are followed inside the archive only and a bounded number of times,
//! and a name that occurs twice is never guessed about.

use super::tar_scan::{Member, MemberKind, Seekable, Streamed, clean, scan, skip_by_reading};
use crate::cancel::Cancel;
use crate::read::compression::{Compression, Lifted, decompress, sniff};
use crate::read::exactly::Exactly;
use crate::read::instead::{LOOK_BYTES, instead_of_an_archive};
use anyhow::{Context, bail};
use manifest_schema::limits::MAX_IMAGE_JSON_BYTES;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Links followed before they are called a circle. Docker's archives need one.
const MAX_LINKS: usize = 16;

pub(super) struct Archive {
    path: PathBuf,
    file_bytes: u64,
    compression: Compression,
    members: Vec<Member>,
    by_name: HashMap<String, Vec<usize>>,
    kept: HashMap<usize, Vec<u8>>,
    complete: bool,
    /// The reader of a compressed archive, while no member is being read.
    forward: Arc<Mutex<Option<Forward>>>,
    cancel: Cancel,
    lifted: Lifted,
}

/// A reader of a compressed archive's content and where it stands.
struct Forward {
    reader: Box<dyn Read + Send>,
    position: u64,
}

impl Archive {
    /// Scans the archive at `path`.
    pub(super) fn open(path: &Path, lifted: Lifted, cancel: &Cancel) -> anyhow::Result<Self> {
        Self::scan(path, lifted, cancel)
            .with_context(|| format!("{} cannot be read as an image archive", path.display()))
    }

    fn scan(path: &Path, lifted: Lifted, cancel: &Cancel) -> anyhow::Result<Self> {
        // Looked at before it is opened: opening a pipe would wait.
        if !path.metadata()?.is_file() {
            bail!("it is not a file");
        }
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        let file_bytes = metadata.len();
        let mut head = Vec::new();
        (&mut file).take(LOOK_BYTES as u64).read_to_end(&mut head)?;
        if head.is_empty() {
            bail!("it is empty");
        }
        if let Some(what) = instead_of_an_archive(&head) {
            bail!("{what}");
        }
        file.seek(SeekFrom::Start(0))?;
        let compression = sniff(&head)?;
        let found = match compression {
            Compression::None => scan(&mut Seekable::new(file, file_bytes), false, cancel)?,
            _ => {
                let content =
                    decompress(cancel.reader(file), compression, file_bytes, lifted, "it".to_owned())?;
                scan(&mut Streamed(content), true, cancel)?
            }
        };
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, member) in found.members.iter().enumerate() {
            if member.kind != MemberKind::Folder {
                by_name.entry(member.name.clone()).or_default().push(index);
            }
        }
        Ok(Self {
            path: path.to_owned(),
            file_bytes,
            compression,
            members: found.members,
            by_name,
            kept: found.kept,
            complete: found.complete,
            forward: Arc::default(),
            cancel: cancel.clone(),
            lifted,
        })
    }

    /// Where the archive lies.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The words behind "member X is absent" where the reason is plain.
    pub(super) const fn why_absent(&self) -> &'static str {
        if self.complete { "" } else { "; the archive has no end marker, so it was probably cut off" }
    }

    /// The kind of archive that this is where it holds no image, by the names in it, and the way out.
    pub(super) fn instead(&self) -> Option<String> {
        let names = || self.members.iter().map(|member| member.name.as_str());
        let has = |name: &str| names().any(|other| other == name);
        let below = |file: &str| {
            names().find_map(|name| name.strip_suffix(file).filter(|folder| folder.matches('/').count() == 1))
        };
        if let Some(folder) = below("manifest.json").or_else(|| below("index.json")) {
            return Some(format!(
                "the image lies in its folder `{folder}`: pack what is in that folder, without it"
            ));
        }
        if below("Chart.yaml").is_some() {
            return Some("it is a Helm chart, and no image".to_owned());
        }
        if has("repositories") {
            let text =
                "it was saved by Docker 1.9 or earlier: load it into an engine of today, and save it again";
            return Some(text.to_owned());
        }
        if has("etc") && (has("bin") || has("usr")) || has("etc/passwd") {
            let text = "it holds a root file system, as `docker export` writes it: save the image with `docker save`";
            return Some(text.to_owned());
        }
        None
    }

    /// The file that `name` means, links followed; `None` where there is no such member.
    pub(super) fn find(&self, name: &str) -> anyhow::Result<Option<&Member>> {
        let label = self.path.display();
        let mut at = clean(name).with_context(|| format!("member `{name}` leaves {label}"))?;
        for step in 0..MAX_LINKS {
            let indices = self.by_name.get(&at).map(Vec::as_slice).unwrap_or_default();
            let member = match indices {
                [] if step == 0 => return Ok(None),
                [] => bail!(
                    "member `{name}` of {label} is a link to `{at}`, which is absent{}",
                    self.why_absent()
                ),
                [index] => self.members.get(*index).context("a member vanished")?,
                _ => bail!(
                    "member `{at}` occurs {} times in {label}: which one is meant is ambiguous",
                    indices.len()
                ),
            };
            let (base, target) = match &member.kind {
                MemberKind::File => return Ok(Some(member)),
                MemberKind::Symlink(target) => (at.rsplit_once('/').map_or("", |(folder, _)| folder), target),
                MemberKind::HardLink(target) => ("", target),
                MemberKind::Folder | MemberKind::Other => bail!("member `{at}` of {label} is not a file"),
            };
            if target.starts_with('/') {
                bail!("member `{at}` of {label} is a link to `{target}`, which leaves the archive");
            }
            at = clean(&format!(
                "{}{target}",
                if base.is_empty() { String::new() } else { format!("{base}/") }
            ))
            .with_context(|| {
                format!("member `{at}` of {label} is a link to `{target}`, which leaves the archive")
            })?;
        }
        bail!("the links from member `{name}` of {label} form a loop")
    }

    /// A small document, whole.
    pub(super) fn document(self: &Arc<Self>, name: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let Some(member) = self.find(name)? else { return Ok(None) };
        if member.size > MAX_IMAGE_JSON_BYTES {
            bail!(
                "member `{name}` of {} has {} bytes; documents are read up to {MAX_IMAGE_JSON_BYTES}",
                self.path.display(),
                member.size
            );
        }
        if let Some(kept) =
            self.members.iter().position(|other| std::ptr::eq(other, member)).and_then(|i| self.kept.get(&i))
        {
            return Ok(Some(kept.clone()));
        }
        let mut content = Vec::new();
        self.open_range(member.offset, member.size, name)?.read_to_end(&mut content)?;
        Ok(Some(content))
    }

    /// The `size` bytes at `offset` of the content; `name` is for errors.
    pub(super) fn open_range(
        self: &Arc<Self>,
        offset: u64,
        size: u64,
        name: &str,
    ) -> anyhow::Result<Box<dyn Read + Send>> {
        let what = format!("member `{name}` of {}", self.path.display());
        let open = || -> anyhow::Result<File> {
            let file = File::open(&self.path)?;
            if file.metadata()?.len() != self.file_bytes {
                bail!("it changed while it was used");
            }
            Ok(file)
        };
        let open = || open().with_context(|| format!("{} cannot be opened", self.path.display()));
        if self.compression == Compression::None {
            let mut file = open()?;
            file.seek(SeekFrom::Start(offset))?;
            return Ok(Box::new(Exactly::new(file, size, what)));
        }
        let waiting = self.forward.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut forward = match waiting.filter(|forward| forward.position <= offset) {
            Some(forward) => forward,
            None => Forward {
                reader: decompress(
                    self.cancel.reader(open()?),
                    self.compression,
                    self.file_bytes,
                    self.lifted,
                    self.path.display().to_string(),
                )?,
                position: 0,
            },
        };
        skip_by_reading(&mut forward.reader, offset - forward.position).with_context(|| what.clone())?;
        forward.position = offset;
        let lent = Lent { forward: Some(forward), home: Arc::clone(&self.forward) };
        Ok(Box::new(Exactly::new(lent, size, what)))
    }
}

/// The shared reader, lent to one member; it goes home when the member is dropped.
struct Lent {
    forward: Option<Forward>,
    home: Arc<Mutex<Option<Forward>>>,
}

impl Read for Lent {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(forward) = &mut self.forward else { return Err(io::Error::other("an earlier read failed")) };
        let result = forward.reader.read(buffer);
        match &result {
            Ok(count) => forward.position += *count as u64,
            // After an error its position is unknown: the next member starts a new reader.
            Err(_) => self.forward = None,
        }
        result
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(forward) = self.forward.take() {
            *self.home.lock().unwrap_or_else(PoisonError::into_inner) = Some(forward);
        }
    }
}
