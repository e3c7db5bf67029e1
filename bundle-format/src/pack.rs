//! Writes a `.fz`.
//!
//! The caller says what goes in, in order; each byte is read once and written once. Small things
//! share frames. A blob with frames of its own begins and ends exactly at frame boundaries, so that
//! the run of frames is a zstd file of that blob. The tar header before such a blob stands in a
//! stored frame, whose size is known beforehand, and is filled in at the end: a layer that arrives
//! as gzip need not be measured first.

use crate::error::{FormatError, Result};
use crate::frame::{self, EMPTY_FRAME, FrameCompressor, SKIPPABLE_HEADER_BYTES};
use crate::head::{self, Head};
use crate::index::{FrameEntry, Index};
use crate::pipeline::{Pipeline, Written};
use crate::reserve::Reserve;
use crate::seek_table;
use crate::tarball::{self, Kind};
use manifest_schema::limits::{self, FRAME_BYTES, SIGNATURE_ROOM};
use manifest_schema::release::{FileEntry, Span};
use manifest_schema::{BundlePath, Digest};
use std::io::{Read, Seek, SeekFrom, Write};

/// Bytes read from an input at a time: small enough to stay in the cache while it is copied.
const READ_BYTES: usize = 256 << 10;

/// How to pack.
#[derive(Debug, Clone, Copy)]
pub struct PackOptions {
    /// zstd level, 1 to 19.
    pub level: i32,
    /// Threads that compress. Does not change the bytes.
    pub threads: usize,
}

/// A blob with frames of its own, as far as it is known while packing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnBlob {
    /// SHA-256 of the content.
    pub digest: Digest,
    /// Where the content lies.
    pub span: Span,
    /// Which of [`Frames::blobs`] tells its compressed bytes.
    pub number: usize,
}

/// What is known once all data is packed.
#[derive(Debug, Clone)]
pub struct Frames {
    /// SHA-256 and size of the compressed bytes of each blob with frames of its own.
    pub blobs: Vec<(Digest, u64)>,
}

/// One metadata file, written last but standing first.
#[derive(Debug, Clone)]
pub struct MetadataFile {
    /// Path in the payload's tar. The first must be `ferry.json`.
    pub path: BundlePath,
    /// Content.
    pub content: Vec<u8>,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packed {
    /// SHA-256 of the signed index: the bundle's identity.
    pub index_digest: Digest,
    /// Size of the file.
    pub file_bytes: u64,
    /// Size of the payload's tar.
    pub content_bytes: u64,
    /// Number of frames.
    pub frames: usize,
}

struct StoredFrame {
    frame: usize,
    content: Vec<u8>,
}

/// Writes a bundle into a seekable output.
pub struct Packer<W> {
    pipeline: Pipeline<W>,
    level: i32,
    payload_start: u64,
    /// Content offset of the next byte, from the start of the data frames.
    position: u64,
    /// Frames handed out so far.
    frame_count: usize,
    /// Content of the shared frame that is being filled.
    shared: Vec<u8>,
    stored: Vec<StoredFrame>,
    own_blobs: usize,
}

impl<W: Write + Seek + Send + 'static> Packer<W> {
    /// Starts packing into `output`, leaving room as `reserve` says.
    ///
    /// # Errors
    /// When zstd refuses the level, or the bundle would have more frames than a reader accepts.
    pub fn new(output: W, options: PackOptions, reserve: Reserve) -> Result<Self> {
        check_head(reserve.head_bytes())?;
        let prefix = (EMPTY_FRAME.len() + SKIPPABLE_HEADER_BYTES) as u64;
        let payload_start = prefix.saturating_add(reserve.bytes());
        Ok(Self {
            pipeline: Pipeline::start(output, payload_start, options.level, options.threads)?,
            level: options.level,
            payload_start,
            position: 0,
            frame_count: 0,
            shared: Vec::new(),
            stored: Vec::new(),
            own_blobs: 0,
        })
    }

    /// Content offset of the next byte, counted from the start of the data frames.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Packs a small file whose content is at hand.
    ///
    /// # Errors
    /// When writing fails.
    pub fn small_file(&mut self, path: &BundlePath, content: &[u8]) -> Result<FileEntry> {
        self.file(path, content.len() as u64, false, &mut &*content)
    }

    /// Packs a file of exactly `size` bytes.
    ///
    /// # Errors
    /// When reading or writing fails, or the file has another size.
    pub fn file(
        &mut self,
        path: &BundlePath,
        size: u64,
        executable: bool,
        content: &mut dyn Read,
    ) -> Result<FileEntry> {
        if size >= frame::OWN_FRAMES_BYTES {
            let blob = self.own(path, Some(size), executable, content)?;
            return Ok(FileEntry { path: path.clone(), digest: blob.digest, span: blob.span });
        }
        self.share(&tarball::header(path, Kind::File { size, executable })?)?;
        let offset = self.position;
        let mut bytes = Vec::new();
        content.take(size + 1).read_to_end(&mut bytes).map_err(FormatError::io(format!("reading {path}")))?;
        check_size(path, size, bytes.len() as u64)?;
        self.share(&bytes)?;
        self.share(&vec![0; tarball::padding(size)])?;
        Ok(FileEntry { path: path.clone(), digest: Digest::of(&bytes), span: Span { offset, size } })
    }

    /// Packs a folder or a symbolic link.
    ///
    /// # Errors
    /// When writing fails.
    pub fn entry(&mut self, path: &BundlePath, kind: Kind<'_>) -> Result<()> {
        self.share(&tarball::header(path, kind)?)
    }

    /// Packs a blob into frames of its own; `size` where it is known, to be held to it.
    ///
    /// # Errors
    /// When reading or writing fails, or the size is another.
    pub fn own(
        &mut self,
        path: &BundlePath,
        size: Option<u64>,
        executable: bool,
        content: &mut dyn Read,
    ) -> Result<OwnBlob> {
        // What others share goes first, so that the header's frame is small and stored.
        self.flush_shared()?;
        let draft = tarball::header(path, Kind::File { size: size.unwrap_or(0), executable })?;
        let stored = self.stored.len();
        let frame_bytes = (draft.len() + frame::STORED_OVERHEAD) as u32;
        self.pipeline.hole(frame_bytes, draft.len() as u32)?;
        self.position = self.advance(draft.len() as u64)?;
        self.stored.push(StoredFrame { frame: self.frame_count, content: draft });
        self.frame_count += 1;

        let offset = self.position;
        self.pipeline.blob_starts()?;
        let found = self.own_frames(path, content)?;
        let digest = self.pipeline.blob_ends()?;
        if let Some(size) = size {
            check_size(path, size, found)?;
        }
        if let Some(stored) = self.stored.get_mut(stored) {
            stored.content = tarball::header(path, Kind::File { size: found, executable })?;
        }
        self.share(&vec![0; tarball::padding(found)])?;
        let number = self.own_blobs;
        self.own_blobs += 1;
        Ok(OwnBlob { digest, span: Span { offset, size: found }, number })
    }

    fn own_frames(&mut self, path: &BundlePath, content: &mut dyn Read) -> Result<u64> {
        let mut total = 0_u64;
        loop {
            let mut buffer = self.pipeline.buffer();
            buffer.reserve_exact(FRAME_BYTES);
            while buffer.len() < FRAME_BYTES {
                let wanted = READ_BYTES.min(FRAME_BYTES - buffer.len()) as u64;
                let read = (&mut *content).take(wanted).read_to_end(&mut buffer);
                if read.map_err(FormatError::io(format!("reading {path}")))? == 0 {
                    break;
                }
            }
            if buffer.is_empty() {
                return Ok(total);
            }
            let last = buffer.len() < FRAME_BYTES;
            total = total.checked_add(buffer.len() as u64).ok_or_else(too_large)?;
            self.position = self.advance(buffer.len() as u64)?;
            self.pipeline.frame(buffer, true)?;
            self.frame_count += 1;
            if last {
                return Ok(total);
            }
        }
    }

    fn share(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.position = self.advance(bytes.len() as u64)?;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(FRAME_BYTES - self.shared.len()));
            self.shared.extend_from_slice(now);
            bytes = later;
            if self.shared.len() == FRAME_BYTES {
                self.flush_shared()?;
            }
        }
        Ok(())
    }

    fn flush_shared(&mut self) -> Result<()> {
        if self.shared.is_empty() {
            return Ok(());
        }
        let mut buffer = self.pipeline.buffer();
        std::mem::swap(&mut buffer, &mut self.shared);
        self.frame_count += 1;
        self.pipeline.frame(buffer, false)
    }

    fn advance(&self, bytes: u64) -> Result<u64> {
        self.position.checked_add(bytes).ok_or_else(too_large)
    }

    /// The error behind a failed call, where the writing thread knows it better.
    #[must_use]
    pub fn cause(self, fallback: FormatError) -> FormatError {
        match fallback {
            FormatError::Inconsistent(_) => self.pipeline.cause(fallback),
            other => other,
        }
    }

    /// Ends the payload, writes the metadata that `describe` makes, has the index signed by
    /// `sign` (armoured SSHSIG signatures), and completes the file.
    ///
    /// # Errors
    /// When writing or signing fails, or [`FormatError::ReserveTooSmall`].
    pub fn finish(
        mut self,
        describe: impl FnOnce(&Frames) -> Result<Vec<MetadataFile>>,
        sign: impl FnOnce(&[u8]) -> Result<Vec<Vec<u8>>>,
    ) -> Result<(W, Packed)> {
        self.share(&tarball::END)?;
        self.flush_shared()?;
        let Written { mut output, mut frames, offsets, blobs } = self.pipeline.finish()?;
        let data_end = offsets
            .last()
            .zip(frames.last())
            .map_or(self.payload_start, |(offset, frame)| offset + u64::from(frame.compressed_bytes));
        for stored in &self.stored {
            let bytes = frame::stored(&stored.content)?;
            if let (Some(entry), Some(offset)) = (frames.get_mut(stored.frame), offsets.get(stored.frame)) {
                if entry.compressed_bytes as usize != bytes.len() {
                    return Err(FormatError::inconsistent("a tar header changed its size"));
                }
                entry.digest = Digest::of(&bytes);
                write_at(&mut output, *offset, &bytes)?;
            }
        }

        let metadata = describe(&Frames { blobs })?;
        check_metadata(&metadata)?;
        let release = metadata.first().ok_or_else(|| FormatError::inconsistent("no ferry.json"))?;
        let (release_digest, release_bytes) = (Digest::of(&release.content), release.content.len() as u64);
        let (metadata_entries, metadata_bytes) = compress_metadata(&metadata, self.level)?;
        let metadata_frames = metadata_entries.len() as u32;
        let prefix = (EMPTY_FRAME.len() + SKIPPABLE_HEADER_BYTES) as u64;
        let room = self.payload_start - prefix;
        let too_small = |missing| FormatError::ReserveTooSmall { missing };
        let head_bytes = room
            .checked_sub(metadata_bytes.len() as u64)
            .ok_or_else(|| too_small(metadata_bytes.len() as u64 - room + 4096))?;
        let head_bytes = check_head(head_bytes)?;
        let all = metadata_entries.into_iter().chain(frames).collect();
        let index = Index::new(head_bytes, metadata_frames, release_digest, release_bytes, all)?;
        let index_bytes = index.encode();
        if index_bytes.len() > limits::MAX_INDEX_BYTES as usize {
            return Err(too_large());
        }
        // Signatures can be added later, without moving the payload.
        let needed = head::FIXED_BYTES + index_bytes.len() as u64 + u64::from(SIGNATURE_ROOM);
        if needed > u64::from(head_bytes) {
            return Err(too_small(needed - u64::from(head_bytes)));
        }
        let signatures = sign(&index_bytes)?;
        check_signatures(&signatures)?;
        let index_digest = Digest::of(&index_bytes);
        let head = Head { content_bytes: head_bytes, index: index_bytes, signatures }.encode()?;

        write_at(&mut output, 0, &head)?;
        write_at(&mut output, head.len() as u64, &metadata_bytes)?;
        let seek = seek_table::encode(&index)?;
        write_at(&mut output, data_end, &seek)?;
        output.flush().map_err(FormatError::io("writing the bundle"))?;
        Ok((
            output,
            Packed {
                index_digest,
                file_bytes: data_end + seek.len() as u64,
                content_bytes: index.content_bytes(),
                frames: index.frames().len(),
            },
        ))
    }
}

/// The tar of `files`, without an end, compressed: entries for the index and the frames' bytes.
fn compress_metadata(files: &[MetadataFile], level: i32) -> Result<(Vec<FrameEntry>, Vec<u8>)> {
    let mut tar = Vec::new();
    for file in files {
        let size = file.content.len() as u64;
        tar.extend(tarball::header(&file.path, Kind::File { size, executable: false })?);
        tar.extend_from_slice(&file.content);
        tar.resize(tar.len() + tarball::padding(size), 0);
    }
    let mut compressor = FrameCompressor::new(level)?;
    let (mut entries, mut bytes) = (Vec::new(), Vec::new());
    for content in tar.chunks(FRAME_BYTES) {
        let frame = compressor.compress(content)?;
        entries.push(FrameEntry {
            compressed_bytes: frame.len() as u32,
            content_bytes: content.len() as u32,
            digest: Digest::of(&frame),
        });
        bytes.extend(frame);
    }
    Ok((entries, bytes))
}

/// Bytes that `files` take in the file as metadata at `level`.
///
/// # Errors
/// When zstd refuses the level.
pub fn metadata_bytes(files: &[MetadataFile], level: i32) -> Result<u64> {
    compress_metadata(files, level).map(|(_, bytes)| bytes.len() as u64)
}

fn write_at<W: Write + Seek>(output: &mut W, offset: u64, bytes: &[u8]) -> Result<()> {
    output
        .seek(SeekFrom::Start(offset))
        .and_then(|_| output.write_all(bytes))
        .map_err(FormatError::io(format!("writing the bundle at offset {offset}")))
}

fn check_size(path: &BundlePath, announced: u64, found: u64) -> Result<()> {
    if announced == found {
        return Ok(());
    }
    let found = if found > announced { "more".to_owned() } else { format!("only {found}") };
    Err(FormatError::Input(format!(
        "{path} was to have {announced} bytes and has {found}: it changed while it was packed"
    )))
}

/// Refuses metadata that no reader would accept.
///
/// # Errors
/// [`FormatError::Limit`].
pub fn check_metadata(files: &[MetadataFile]) -> Result<()> {
    let release = files.first().map_or(0, |file| file.content.len() as u64);
    if release > limits::MAX_RELEASE_JSON_BYTES {
        return Err(FormatError::Limit(format!(
            "the description of the contents would have {release} bytes; {} are the most",
            limits::MAX_RELEASE_JSON_BYTES
        )));
    }
    Ok(())
}

fn check_head(bytes: u64) -> Result<u32> {
    u32::try_from(bytes).ok().filter(|bytes| *bytes <= limits::MAX_HEAD_BYTES).ok_or_else(too_large)
}

fn check_signatures(signatures: &[Vec<u8>]) -> Result<()> {
    if signatures.len() > limits::MAX_SIGNATURES {
        let (found, most) = (signatures.len(), limits::MAX_SIGNATURES);
        return Err(FormatError::Limit(format!("{found} signatures; a bundle takes {most}")));
    }
    let largest = signatures.iter().map(Vec::len).max().unwrap_or_default();
    if largest > limits::MAX_SIGNATURE_BYTES as usize {
        let most = limits::MAX_SIGNATURE_BYTES;
        return Err(FormatError::Limit(format!("a signature has {largest} bytes; {most} are the most")));
    }
    Ok(())
}

fn too_large() -> FormatError {
    FormatError::Limit("the bundle would be larger than its format allows".into())
}
