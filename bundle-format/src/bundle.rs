//! Opens a `.fz`: bounds, then signature, then index, then each frame's hash, and only then
//! decompression. Each step hands out a type that the next needs, so that the order cannot be
//! got wrong:
//!
//! ```compile_fail
//! # fn f(bundle: bundle_format::UnverifiedBundle) {
//! // What a bundle holds cannot be asked before its signature was checked.
//! bundle.release();
//! # }
//! ```
//!
//! A stick can change between two reads: a frame is hashed each time it is read.

use crate::error::{FormatError, Result};
use crate::frame::FrameDecompressor;
use crate::head::Head;
use crate::index::{FrameEntry, Index};
use crate::read_at::{Cursor, ReadAt};
use crate::seek_table;
use crate::signature::{self, Signer, Trust};
use crate::tarball::BLOCK_BYTES;
use manifest_schema::Digest;
use manifest_schema::feature::{FEATURES, Feature};
use manifest_schema::release::{FileEntry, Layer, Release, Span};
use std::io::Read;
use std::ops::Range;

/// A bundle whose head was read within bounds; nothing in it is believed yet.
pub struct UnverifiedBundle {
    head: Head,
}

/// The head and the metadata, authenticated.
#[derive(Debug, Clone)]
pub struct Verified {
    index: Index,
    index_bytes: Vec<u8>,
    signatures: Vec<Vec<u8>>,
    release: Release,
    signers: Vec<Signer>,
}

/// An authenticated bundle together with the medium that holds it.
pub struct Bundle<S> {
    verified: Verified,
    source: S,
}

impl UnverifiedBundle {
    /// Reads the head from the start of a bundle: a file or a pipe.
    ///
    /// # Errors
    /// When the bytes are not those of a bundle, or outside their bounds.
    pub fn read(reader: &mut dyn Read) -> Result<Self> {
        Head::read(reader).map(|head| Self { head })
    }

    /// Everyone whose signature is valid, trusted or not: for a prompt that shows fingerprints.
    #[must_use]
    pub fn signers(&self) -> Vec<Signer> {
        signature::valid_signers(&self.head.index, &self.head.signatures)
    }

    /// The bytes that were signed.
    #[must_use]
    pub fn index_bytes(&self) -> &[u8] {
        &self.head.index
    }

    /// Checks the signature, reads the index, and reads `ferry.json` from `reader`, which stands
    /// just behind the head.
    ///
    /// # Errors
    /// [`FormatError::Unsigned`] or [`FormatError::Untrusted`] without a trusted signature, [`FormatError::Needs`] for
    /// features that this code lacks; otherwise what is damaged.
    pub fn verify(self, trust: &Trust, reader: &mut dyn Read) -> Result<Verified> {
        self.verify_with(trust, FEATURES, reader)
    }

    /// The same for a reader that has only the `known` features.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub fn verify_with(self, trust: &Trust, known: &[Feature], reader: &mut dyn Read) -> Result<Verified> {
        let signers = signature::verify(&self.head.index, &self.head.signatures, trust)?;
        let index = Index::decode_with(&self.head.index, known)?;
        if index.head_bytes != self.head.content_bytes {
            return Err(FormatError::inconsistent("the head is not as long as its index says"));
        }
        let release = read_release(&index, known, reader)?;
        if release.ferry != index.version() {
            let (of_index, of_release) = (index.version(), release.ferry);
            let text = format!("its index has version {of_index}, and its ferry.json version {of_release}");
            return Err(FormatError::Inconsistent(text));
        }
        check_spans(&index, &release)?;
        let Head { index: index_bytes, signatures, .. } = self.head;
        Ok(Verified { index, index_bytes, signatures, release, signers })
    }
}

fn read_release(index: &Index, known: &[Feature], reader: &mut dyn Read) -> Result<Release> {
    let mut decompressor = FrameDecompressor::new()?;
    let end = BLOCK_BYTES
        .checked_add(index.release_bytes)
        .ok_or_else(|| FormatError::inconsistent("ferry.json"))?;
    if end > index.data_start() {
        return Err(FormatError::inconsistent("ferry.json does not lie in the metadata"));
    }
    let mut content = Vec::new();
    let mut frame_bytes = Vec::new();
    for (number, entry) in index.frames().iter().enumerate().take(index.metadata_frames as usize) {
        frame_bytes.clear();
        reader
            .take(u64::from(entry.compressed_bytes))
            .read_to_end(&mut frame_bytes)
            .map_err(FormatError::io("reading the bundle's metadata"))?;
        check_frame(index, number, entry, &frame_bytes)?;
        content.extend(decompressor.decompress(&frame_bytes, entry.content_bytes)?);
        if content.len() as u64 >= end {
            break;
        }
    }
    let json = content
        .get(BLOCK_BYTES as usize..end as usize)
        .ok_or_else(|| FormatError::inconsistent("ferry.json is cut short"))?;
    if Digest::of(json) != index.release_digest {
        return Err(FormatError::inconsistent("ferry.json is not the one that was signed"));
    }
    Ok(Release::parse_with(json, known)?)
}

fn check_frame(index: &Index, number: usize, entry: &FrameEntry, bytes: &[u8]) -> Result<()> {
    if bytes.len() == entry.compressed_bytes as usize && Digest::of(bytes) == entry.digest {
        return Ok(());
    }
    let offset = index.file_offset(number).unwrap_or_default();
    Err(FormatError::Damaged { what: format!("frame {number}"), offset })
}

/// Every span must lie in the data, and every layer in whole frames of its own.
fn check_spans(index: &Index, release: &Release) -> Result<()> {
    let data_bytes = index.content_bytes() - index.data_start();
    let inside = |what: &str, span: &Span| match span.offset.checked_add(span.size) {
        Some(end) if end <= data_bytes => Ok(()),
        _ => Err(FormatError::inconsistent(format!("{what} lies outside the payload"))),
    };
    let files = [&release.manifest, &release.compose].into_iter();
    let files = files.chain(&release.env_file).chain(release.compose_files.iter().map(|named| &named.file));
    let files = files.chain(release.images.iter().map(|image| &image.config));
    let files = files.chain(release.configs.iter().map(|config| &config.file)).chain(&release.templates);
    for file in files.chain(release.seeds.iter().map(|seed| &seed.file)) {
        inside(file.path.as_str(), &file.span)?;
    }
    for artifact in &release.artifacts {
        inside(&artifact.from, &artifact.entries)?;
    }
    for layer in &release.layers {
        inside("a layer", &layer.span)?;
        let Some(range) = whole_frames(index, layer.span) else {
            return Err(FormatError::inconsistent(format!(
                "layer {:?} does not fill its frames",
                layer.digest
            )));
        };
        let start = index.file_offset(range.start).unwrap_or_default();
        if index.file_offset(range.end).unwrap_or_default().checked_sub(start) != Some(layer.zstd.size) {
            return Err(FormatError::inconsistent(format!("layer {:?} has another zstd size", layer.digest)));
        }
    }
    Ok(())
}

/// The frames that `span` (counted from the data) fills exactly.
fn whole_frames(index: &Index, span: Span) -> Option<Range<usize>> {
    let start = index.data_start().checked_add(span.offset)?;
    let end = start.checked_add(span.size)?;
    if span.size == 0 {
        return Some(0..0);
    }
    let first = index.frame_at(start)?;
    let last = index.frame_at(end - 1)?;
    let fits = index.content_offset(first)? == start && index.content_offset(last + 1)? == end;
    fits.then_some(first..last + 1)
}

impl Verified {
    /// The contents as `ferry.json` lists them.
    #[must_use]
    pub const fn release(&self) -> &Release {
        &self.release
    }

    /// The signed index.
    #[must_use]
    pub const fn index(&self) -> &Index {
        &self.index
    }

    /// The index's bytes as they were signed.
    #[must_use]
    pub fn index_bytes(&self) -> &[u8] {
        &self.index_bytes
    }

    /// All signatures of the head, armoured, trusted or not.
    #[must_use]
    pub fn signatures(&self) -> &[Vec<u8>] {
        &self.signatures
    }

    /// SHA-256 of the signed index: the bundle's identity.
    #[must_use]
    pub fn id(&self) -> Digest {
        Digest::of(&self.index_bytes)
    }

    /// The trusted signers.
    #[must_use]
    pub fn signers(&self) -> &[Signer] {
        &self.signers
    }

    /// Fingerprints of the trusted signers, each `SHA256:…`.
    #[must_use]
    pub fn signed_by(&self) -> Vec<String> {
        self.signers.iter().map(|signer| signer.fingerprint().to_string()).collect()
    }

    /// The frames that hold `span`, and how many content bytes of the first come before it.
    ///
    /// # Errors
    /// When the span lies outside the payload.
    pub fn frames_of(&self, span: Span) -> Result<(Range<usize>, u64)> {
        let index = &self.index;
        let outside = || FormatError::inconsistent("a span lies outside the payload");
        let start = index.data_start().checked_add(span.offset).ok_or_else(outside)?;
        let end = start.checked_add(span.size).ok_or_else(outside)?;
        if span.size == 0 {
            return Ok((0..0, 0));
        }
        let first = index.frame_at(start).ok_or_else(outside)?;
        let last = index.frame_at(end - 1).ok_or_else(outside)?;
        Ok((first..last + 1, start - index.content_offset(first).unwrap_or(start)))
    }

    /// Size of the whole file in bytes.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.index.payload_end() + seek_table::encoded_bytes(&self.index)
    }
}

impl<S: ReadAt> Bundle<S> {
    /// Opens the bundle in `source`.
    ///
    /// # Errors
    /// When it is foreign, untrusted, damaged in its head, or not as long as signed.
    pub fn open(source: S, trust: &Trust) -> Result<Self> {
        let verified = {
            let mut cursor = Cursor::new(&source).map_err(FormatError::io("opening the bundle"))?;
            UnverifiedBundle::read(&mut cursor)?.verify(trust, &mut cursor)?
        };
        Self::with_source(verified, source)
    }

    /// Joins what was verified with the medium. The medium need not be the one that was read:
    /// every frame is hashed against the signed index.
    ///
    /// # Errors
    /// When the medium is not as long as signed.
    pub fn with_source(verified: Verified, source: S) -> Result<Self> {
        let found = source.size().map_err(FormatError::io("measuring the bundle"))?;
        let expected = verified.file_bytes();
        if found != expected {
            return Err(FormatError::Length { found, expected });
        }
        Ok(Self { verified, source })
    }

    /// The head and the metadata.
    #[must_use]
    pub const fn verified(&self) -> &Verified {
        &self.verified
    }

    /// The same, without the medium.
    #[must_use]
    pub fn into_verified(self) -> Verified {
        self.verified
    }

    /// The contents as `ferry.json` lists them.
    #[must_use]
    pub const fn release(&self) -> &Release {
        &self.verified.release
    }

    /// The medium.
    #[must_use]
    pub const fn source(&self) -> &S {
        &self.source
    }

    /// Reads frame `number` into `buffer` and checks its hash.
    ///
    /// # Errors
    /// When the medium fails or the frame is not the one that was signed.
    pub fn read_frame(&self, number: usize, buffer: &mut Vec<u8>) -> Result<FrameEntry> {
        let index = &self.verified.index;
        let (Some(entry), Some(offset)) = (index.frames().get(number), index.file_offset(number)) else {
            return Err(FormatError::inconsistent(format!("there is no frame {number}")));
        };
        buffer.resize(entry.compressed_bytes as usize, 0);
        let read = self.source.read_exact_at(buffer, offset);
        read.map_err(FormatError::io(format!("reading frame {number} at offset {offset}")))?;
        check_frame(index, number, entry, buffer)
            .map_err(|_| FormatError::Damaged { what: self.describe_frame(number), offset })?;
        Ok(*entry)
    }

    /// `frame 214 (layer 3f1c… of acme/api:2.4.0)`.
    #[must_use]
    pub(crate) fn describe_frame(&self, number: usize) -> String {
        match self.holders(number).first() {
            Some(holder) => format!("frame {number} ({holder})"),
            None => format!("frame {number}"),
        }
    }

    /// See [`Verified::frames_of`].
    ///
    /// # Errors
    /// When the span lies outside the payload.
    pub fn frames_of(&self, span: Span) -> Result<(Range<usize>, u64)> {
        self.verified.frames_of(span)
    }

    /// The frames that are `layer`, whole: read as bytes they are one zstd file.
    ///
    /// # Errors
    /// When the layer does not fill its frames, which opening has ruled out.
    pub fn layer_frames(&self, layer: &Layer) -> Result<Range<usize>> {
        whole_frames(&self.verified.index, layer.span)
            .ok_or_else(|| FormatError::inconsistent("a layer does not fill its frames"))
    }

    /// The whole content of a small file, checked against its digest.
    ///
    /// # Errors
    /// When it is larger than `limit` bytes, cannot be read, or is not the one described.
    pub fn small_file(&self, file: &FileEntry, limit: u64) -> Result<Vec<u8>> {
        if file.span.size > limit {
            return Err(FormatError::inconsistent(format!("{} is larger than {limit} bytes", file.path)));
        }
        let mut content = Vec::new();
        SpanReader::new(self, file.span)?
            .read_to_end(&mut content)
            .map_err(FormatError::io(format!("reading {}", file.path)))?;
        if Digest::of(&content) != file.digest {
            return Err(FormatError::inconsistent(format!("{} has another digest", file.path)));
        }
        Ok(content)
    }

    /// The contents of frame `number`, for people: names of layers, artifacts and files.
    #[must_use]
    pub fn holders(&self, number: usize) -> Vec<String> {
        let (index, release) = (&self.verified.index, &self.verified.release);
        let (Some(from), Some(to)) = (index.content_offset(number), index.content_offset(number + 1)) else {
            return Vec::new();
        };
        if number < index.metadata_frames as usize {
            return vec!["ferry.json".to_owned()];
        }
        let (from, to) = (from - index.data_start(), to - index.data_start());
        let overlaps = |span: &Span| span.offset < to && span.offset.saturating_add(span.size) > from;
        let mut names = Vec::new();
        for layer in release.layers.iter().filter(|layer| overlaps(&layer.span)) {
            let users: Vec<String> = release
                .images
                .iter()
                .filter(|image| image.blobs().contains(&layer.digest))
                .map(|image| image.reference.to_string())
                .collect();
            names.push(format!("layer {} of {}", layer.digest.short(), users.join(", ")));
        }
        let artifacts = release.artifacts.iter().filter(|artifact| overlaps(&artifact.entries));
        names.extend(artifacts.map(|artifact| format!("artifact {}", artifact.to)));
        let files = [&release.manifest, &release.compose].into_iter();
        let files =
            files.chain(&release.env_file).chain(release.compose_files.iter().map(|named| &named.file));
        let files = files.chain(release.images.iter().map(|image| &image.config));
        let files = files.chain(release.configs.iter().map(|config| &config.file)).chain(&release.templates);
        let files = files.chain(release.seeds.iter().map(|seed| &seed.file));
        names.extend(files.filter(|file| overlaps(&file.span)).map(|file| file.path.to_string()));
        if names.is_empty() {
            names.push("tar headers".to_owned());
        }
        names
    }
}

/// Reads a span's content, one frame in memory at a time.
pub struct SpanReader<'a, S> {
    bundle: &'a Bundle<S>,
    frames: Range<usize>,
    skip: u64,
    left: u64,
    decompressor: FrameDecompressor,
    compressed: Vec<u8>,
    content: Vec<u8>,
    position: usize,
}

impl<'a, S: ReadAt> SpanReader<'a, S> {
    /// A reader of `span`.
    ///
    /// # Errors
    /// When the span lies outside the payload.
    pub fn new(bundle: &'a Bundle<S>, span: Span) -> Result<Self> {
        let (frames, skip) = bundle.frames_of(span)?;
        Ok(Self {
            bundle,
            frames,
            skip,
            left: span.size,
            decompressor: FrameDecompressor::new()?,
            compressed: Vec::new(),
            content: Vec::new(),
            position: 0,
        })
    }
}

impl<S: ReadAt> Read for SpanReader<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        if self.position >= self.content.len() {
            let Some(number) = self.frames.next() else {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            };
            let entry =
                self.bundle.read_frame(number, &mut self.compressed).map_err(std::io::Error::other)?;
            self.content = self
                .decompressor
                .decompress(&self.compressed, entry.content_bytes)
                .map_err(std::io::Error::other)?;
            self.position = std::mem::take(&mut self.skip) as usize;
        }
        let available = self.content.get(self.position..).unwrap_or_default();
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let count = available.len().min(buffer.len()).min(left);
        for (slot, byte) in buffer.iter_mut().zip(available.iter().take(count)) {
            *slot = *byte;
        }
        self.position += count;
        self.left -= count as u64;
        Ok(count)
    }
}
