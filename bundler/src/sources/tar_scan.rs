//! Finds the members of a tar by its headers alone (POSIX.1-2017, pax, "ustar Interchange Format"
//! and "pax Extended Header"; GNU tar manual, "Basic Tar Format").
//!
//! Why not a library: we want offsets, read nothing into memory that a header announces, and refuse
//! what two readers could understand differently. Invariants: no allocation follows a
//! number in the file beyond the ceilings here, arithmetic on sizes is checked, and a cut-off file
//! is an error.

use crate::cancel::Cancel;
use crate::read::compression::HEAD_BYTES;
use anyhow::{Context, bail};
use manifest_schema::limits::{MAX_ARCHIVE_ENTRIES, MAX_IMAGE_JSON_BYTES, MAX_PATH_BYTES};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};

const BLOCK: u64 = 512;

/// Largest pax header or GNU long name: Go's reader has the same ceiling.
const MAX_EXTENSION_BYTES: u64 = 1 << 20;

/// Names and link targets of one archive together: a million members of 64 bytes.
const MAX_NAMES_BYTES: usize = 64 << 20;

/// Documents kept in memory while scanning a compressed archive, in total.
const MAX_KEPT_BYTES: u64 = 32 << 20;

/// One member of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// Name without `./` and without a trailing slash.
    pub(super) name: String,
    pub(super) kind: MemberKind,
    /// Where its data starts, in bytes of the uncompressed archive.
    pub(super) offset: u64,
    /// Bytes of its data.
    pub(super) size: u64,
    /// Its first bytes, as many as there are.
    pub(super) head: Vec<u8>,
}

/// The kind of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MemberKind {
    File,
    Folder,
    /// Target as written.
    Symlink(String),
    /// Target as written, from the archive's root.
    HardLink(String),
    /// Devices and the like, which no image archive needs.
    Other,
}

/// The result of a scan.
pub(super) struct Scan {
    pub(super) members: Vec<Member>,
    /// Content of members that look like JSON, by their index, where that was asked for.
    pub(super) kept: HashMap<usize, Vec<u8>>,
    /// True where tar's end marker was seen.
    pub(super) complete: bool,
}

/// Bytes that can be passed over.
pub(super) trait Skip: Read {
    /// Passes over `bytes`, all of which must exist.
    fn skip(&mut self, bytes: u64) -> io::Result<()>;
}

/// A plain file: data is passed over by seeking.
pub(super) struct Seekable {
    reader: BufReader<File>,
    left: u64,
}

impl Seekable {
    pub(super) fn new(file: File, bytes: u64) -> Self {
        Self { reader: BufReader::with_capacity(4 << 10, file), left: bytes }
    }
}

impl Read for Seekable {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.left = self.left.saturating_sub(count as u64);
        Ok(count)
    }
}

impl Skip for Seekable {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        self.left = self.left.checked_sub(bytes).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.reader.seek_relative(i64::try_from(bytes).map_err(|_| io::ErrorKind::UnexpectedEof)?)
    }
}

/// A stream: data is read and dropped.
pub(super) struct Streamed<R>(pub(super) R);

impl<R: Read> Read for Streamed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read> Skip for Streamed<R> {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        skip_by_reading(&mut self.0, bytes)
    }
}

/// Reads `bytes` and drops them.
pub(super) fn skip_by_reading(reader: &mut impl Read, bytes: u64) -> io::Result<()> {
    let mut scratch = vec![0; usize::try_from(bytes.min(128 << 10)).unwrap_or(128 << 10)];
    let mut left = bytes;
    while left > 0 {
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(scratch.len());
        let count = reader.read(scratch.get_mut(..want).unwrap_or_default())?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        left -= count as u64;
    }
    Ok(())
}

/// Scans an archive from its first byte. With `keep_documents`, small members that look like JSON
/// are read on the way, so that a compressed archive is gone through once.
pub(super) fn scan(source: &mut impl Skip, keep_documents: bool, cancel: &Cancel) -> anyhow::Result<Scan> {
    let mut found = Scan { members: Vec::new(), kept: HashMap::new(), complete: false };
    let mut kept_bytes = 0_u64;
    let mut names_bytes = 0_usize;
    let mut position = 0_u64;
    let mut pending = Extensions::default();
    for _ in 0..MAX_ARCHIVE_ENTRIES {
        cancel.check()?;
        let Some(block) = read_block(source).with_context(|| cut_off(position, &found.members))? else {
            return Ok(found);
        };
        position += BLOCK;
        if block.iter().all(|byte| *byte == 0) {
            found.complete = true;
            return Ok(found);
        }
        let header = Header::parse(&block).with_context(|| format!("at byte {}", position - BLOCK))?;
        let size = pending.size.filter(|_| !header.is_extension()).unwrap_or(header.size);
        if header.is_extension() {
            if size > MAX_EXTENSION_BYTES {
                bail!("a name or extended header at byte {position} claims {size} bytes");
            }
            let mut content = vec![0; usize::try_from(size)?];
            source.read_exact(&mut content).with_context(|| cut_off(position, &found.members))?;
            source.skip(padding(size)).with_context(|| cut_off(position, &found.members))?;
            position += size + padding(size);
            pending.take_in(header.flag, &content).with_context(|| format!("at byte {position}"))?;
            continue;
        }
        let extensions = std::mem::take(&mut pending);
        let written = extensions.path.unwrap_or_else(|| header.name.clone());
        let name = clean(&written)
            .with_context(|| format!("member `{}` leaves the archive", written.escape_debug()))?;
        let link = extensions.link.unwrap_or_else(|| header.link.clone());
        let longest = written.len().max(link.len());
        if longest > MAX_PATH_BYTES {
            bail!("a name at byte {position} has {longest} bytes, more than {MAX_PATH_BYTES}");
        }
        names_bytes += name.len() + link.len();
        if names_bytes > MAX_NAMES_BYTES {
            bail!("the names of its members have more than {MAX_NAMES_BYTES} bytes");
        }
        let (kind, size) = match header.flag {
            b'0' | 0 | b'7' if written.ends_with('/') => (MemberKind::Folder, 0),
            b'0' | 0 | b'7' => (MemberKind::File, size),
            // These carry no data, whatever their size says; Go's and GNU's readers agree.
            b'1' => (MemberKind::HardLink(link), 0),
            b'2' => (MemberKind::Symlink(link), 0),
            b'3' | b'4' | b'6' => (MemberKind::Other, 0),
            b'5' => (MemberKind::Folder, 0),
            b'S' | b'M' => {
                bail!("member `{name}` is sparse or split over volumes, which image archives never are")
            }
            _ => (MemberKind::Other, size),
        };
        let whole = size
            .checked_add(padding(size))
            .and_then(|data| position.checked_add(data))
            .with_context(|| format!("member `{name}` claims {size} bytes"))?;
        let mut head = vec![0; usize::try_from(size)?.min(HEAD_BYTES)];
        source.read_exact(&mut head).with_context(|| cut_off(position, &found.members))?;
        let mut read = head.len() as u64;
        let looks_like_json =
            head.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|b| matches!(b, b'{' | b'['));
        if keep_documents
            && kind == MemberKind::File
            && looks_like_json
            && size <= MAX_IMAGE_JSON_BYTES.min(MAX_KEPT_BYTES - kept_bytes)
        {
            let mut content = head.clone();
            source.take(size - read).read_to_end(&mut content)?;
            if content.len() as u64 != size {
                bail!(cut_off(position, &found.members));
            }
            read = size;
            kept_bytes += size;
            found.kept.insert(found.members.len(), content);
        }
        source.skip(whole - position - read).with_context(|| cut_off(position, &found.members))?;
        found.members.push(Member { name, kind, offset: position, size, head });
        position = whole;
    }
    bail!("it has more than {MAX_ARCHIVE_ENTRIES} entries")
}

fn cut_off(position: u64, members: &[Member]) -> String {
    match members.last() {
        Some(last) => format!("the archive is cut off near byte {position}, after member `{}`", last.name),
        None => format!("the archive is cut off near byte {position}"),
    }
}

const fn padding(size: u64) -> u64 {
    (BLOCK - size % BLOCK) % BLOCK
}

/// The next header block, or `None` at the end of the stream.
fn read_block(source: &mut impl Read) -> anyhow::Result<Option<[u8; 512]>> {
    let mut block = [0; 512];
    let mut filled = 0;
    while filled < block.len() {
        match source.read(block.get_mut(filled..).unwrap_or_default()) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => bail!("a header of {filled} bytes"),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some(block))
}

/// `name` relative to the archive's root, or `None` where it leaves it.
pub(super) fn clean(name: &str) -> Option<String> {
    if name.starts_with('/') {
        return None;
    }
    let mut parts = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The members of one 512-byte header that we need.
struct Header {
    name: String,
    link: String,
    size: u64,
    flag: u8,
}

impl Header {
    fn parse(block: &[u8; 512]) -> anyhow::Result<Self> {
        let field = |start: usize, length: usize| block.get(start..start + length).unwrap_or_default();
        let sum: u32 = block
            .iter()
            .enumerate()
            .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) })
            .sum();
        if number(field(148, 8)).ok() != Some(u64::from(sum)) {
            bail!("this is no tar header: its checksum does not match");
        }
        let mut name = text(field(0, 100));
        // The prefix exists in POSIX headers only; GNU's magic ends in spaces and means other things there.
        if field(257, 6) == b"ustar\0" {
            let prefix = text(field(345, 155));
            if !prefix.is_empty() {
                name = format!("{prefix}/{name}");
            }
        }
        let flag = block.get(156).copied().unwrap_or_default();
        Ok(Self { name, link: text(field(157, 100)), size: number(field(124, 12))?, flag })
    }

    const fn is_extension(&self) -> bool {
        matches!(self.flag, b'x' | b'X' | b'g' | b'L' | b'K')
    }
}

/// Up to the first NUL. Names that are not UTF-8 match no name we look for.
fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(field.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

/// Octal digits, or GNU's base-256 for what does not fit.
fn number(field: &[u8]) -> anyhow::Result<u64> {
    if let Some((first @ (0x80 | 0xff), rest)) = field.split_first().map(|(first, rest)| (*first, rest)) {
        if first == 0xff {
            bail!("a size is negative");
        }
        return rest.iter().try_fold(0_u64, |value, byte| {
            value.checked_mul(256).map(|value| value | u64::from(*byte)).context("a size exceeds 64 bits")
        });
    }
    let digits = text(field);
    let digits = digits.trim_matches(' ');
    if digits.is_empty() {
        return Ok(0);
    }
    if !digits.bytes().all(|byte| matches!(byte, b'0'..=b'7')) {
        bail!("a number in it is not octal");
    }
    Ok(u64::from_str_radix(digits, 8)?)
}

/// Extension headers about the member that follows.
#[derive(Default)]
struct Extensions {
    path: Option<String>,
    link: Option<String>,
    size: Option<u64>,
}

impl Extensions {
    fn take_in(&mut self, flag: u8, content: &[u8]) -> anyhow::Result<()> {
        match flag {
            b'L' => self.path = Some(text(content)),
            b'K' => self.link = Some(text(content)),
            flag => {
                for (key, value) in pax_records(content)? {
                    let global = flag == b'g';
                    match key {
                        "path" | "linkpath" | "size" if global => bail!("a global pax header sets `{key}`"),
                        "path" => self.path = Some(value.to_owned()),
                        "linkpath" => self.link = Some(value.to_owned()),
                        "size" => self.size = Some(value.parse().context("a pax size is not a number")?),
                        key if key.starts_with("GNU.sparse.") => {
                            bail!("a member is sparse, which image archives never are")
                        }
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }
}

/// The records `LENGTH KEY=VALUE\n` of a pax header. Records that are not UTF-8 are passed over:
/// only binary extended attributes are.
fn pax_records(mut content: &[u8]) -> anyhow::Result<Vec<(&str, &str)>> {
    let mut records = Vec::new();
    while !content.is_empty() {
        let malformed = || "a pax header is malformed";
        let digits = content.split(|byte| *byte == b' ').next().unwrap_or_default();
        let length: usize = std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| digits.parse().ok())
            .with_context(malformed)?;
        let (record, rest) = content.split_at_checked(length).with_context(malformed)?;
        let record = record
            .get(digits.len() + 1..)
            .and_then(|record| record.strip_suffix(b"\n"))
            .with_context(malformed)?;
        if let Ok(record) = std::str::from_utf8(record) {
            records.push(record.split_once('=').with_context(malformed)?);
        }
        content = rest;
    }
    Ok(records)
}
