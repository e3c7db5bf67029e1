//! The parts of a bundle, in the order in which a reader meets them: head and signatures before any trust, then index and
//! `ferry.json`.

use bundle_format::fuzzing::{FrameCompressor, SKIPPABLE_HEADER_BYTES, seek_table as seek};
use bundle_format::head::Head;
use bundle_format::index::{Extension, FrameEntry, Index};
use bundle_format::signature::{NAMESPACE, valid_signers};
use bundle_format::{Trust, UnverifiedBundle};
use manifest_schema::release::{FileEntry, Release};
use manifest_schema::{Digest, Platform, limits};
use ssh_key::private::{Ed25519Keypair, PrivateKey};
use ssh_key::{HashAlg, LineEnding};
use std::sync::OnceLock;

/// Reads a bundle's head, at once and in pieces.
pub fn head(data: &[u8]) -> bool {
    let read = Head::read(&mut &*data);
    let slowly = Head::read(&mut Drip(data, 0));
    let head = match (read, slowly) {
        (Ok(head), Ok(slowly)) => {
            assert_eq!(head, slowly, "the pieces in which a head arrives change it");
            head
        }
        (Err(error), Err(_)) => {
            assert!(!error.to_string().is_empty());
            return false;
        }
        (read, slowly) => {
            assert_eq!(read.is_ok(), slowly.is_ok(), "the pieces in which a head arrives decide");
            return false;
        }
    };
    assert!(head.content_bytes <= limits::MAX_HEAD_BYTES);
    assert!(head.index.len() <= limits::MAX_INDEX_BYTES as usize);
    assert!(head.signatures.len() <= limits::MAX_SIGNATURES);
    let longest = limits::MAX_SIGNATURE_BYTES as usize;
    assert!(head.signatures.iter().all(|signature| (1..=longest).contains(&signature.len())));
    let encoded = head.encode();
    assert!(
        encoded.is_ok_and(|encoded| data.starts_with(&encoded)),
        "a head that was read is written otherwise"
    );
    true
}

/// One byte at a time where the format's fields begin, as a slow pipe gives them.
struct Drip<'a>(&'a [u8], usize);

impl std::io::Read for Drip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = if self.1 < 48 { 1 } else { usize::MAX };
        let count = most.min(buffer.len()).min(self.0.len());
        let (now, rest) = self.0.split_at(count);
        for (place, byte) in buffer.iter_mut().zip(now) {
            *place = *byte;
        }
        (self.0, self.1) = (rest, self.1 + count);
        Ok(count)
    }
}

/// Decodes an index and looks up frames in it.
pub fn index(data: &[u8]) -> bool {
    let index = match Index::decode(data) {
        Ok(index) => index,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return false;
        }
    };
    let written = index.encode();
    if index.version() == 1 {
        assert!(written == data, "an index that was read is written otherwise");
    } else {
        // An extension may have spaces.
        assert!(
            Index::decode(&written).is_ok_and(|again| again == index),
            "another index when it is written"
        );
    }
    offsets(&index);
    true
}

/// The offsets of an index are the sums of its sizes, and each byte of content lies in the frame that is found.
fn offsets(index: &Index) {
    let frames = index.frames();
    assert!(frames.len() <= u32::MAX as usize && !frames.is_empty());
    assert!((1..=frames.len()).contains(&(index.metadata_frames as usize)));
    let mut file = 17 + u64::from(index.head_bytes);
    let mut content = 0;
    for (number, frame) in frames.iter().enumerate() {
        assert!((1..=limits::MAX_COMPRESSED_FRAME_BYTES).contains(&frame.compressed_bytes));
        assert!((1..=limits::MAX_FRAME_BYTES).contains(&frame.content_bytes));
        assert_eq!((index.file_offset(number), index.content_offset(number)), (Some(file), Some(content)));
        let last = content + u64::from(frame.content_bytes) - 1;
        assert_eq!((index.frame_at(content), index.frame_at(last)), (Some(number), Some(number)));
        file += u64::from(frame.compressed_bytes);
        content = last + 1;
    }
    assert_eq!((index.payload_end(), index.content_bytes()), (file, content));
    assert_eq!(index.frame_at(content), None);
    assert!(index.data_start() <= content && index.data_start() > 0);
}

/// Makes an index of sizes, writes its seek table, and reads that as the seekable format has it.
///
/// Four bytes are the head's size; every eight bytes after them a frame's compressed and content size.
pub fn seek_table(data: &[u8]) -> bool {
    let Some((head_bytes, sizes)) = data.split_first_chunk::<4>() else { return false };
    let digest = Digest::from_bytes([7; 32]);
    let (sizes, _) = sizes.as_chunks::<8>();
    let frames: Vec<FrameEntry> = sizes
        .iter()
        .map(|[a, b, c, d, e, f, g, h]| FrameEntry {
            compressed_bytes: u32::from_le_bytes([*a, *b, *c, *d]),
            content_bytes: u32::from_le_bytes([*e, *f, *g, *h]),
            digest,
        })
        .collect();
    let head_bytes = u32::from_le_bytes(*head_bytes);
    let Ok(index) = Index::new(head_bytes, 1, digest, 0, frames) else { return false };
    offsets(&index);
    let Ok(table) = seek::encode(&index) else {
        // Only the head's frame can be too large to be counted.
        assert!(head_bytes.checked_add(SKIPPABLE_HEADER_BYTES as u32).is_none());
        return false;
    };
    assert_eq!(table.len() as u64, seek::encoded_bytes(&index));
    let (words, footer) = table.as_chunks::<4>();
    let words: Vec<u32> = words.iter().map(|word| u32::from_le_bytes(*word)).collect();
    // The descriptor byte shifts the last magic number by one.
    let [magic, size, entries @ .., count, tail] = words.as_slice() else {
        unreachable!("a table without words")
    };
    assert_eq!((*magic, *size as usize), (0x184D_2A5E, table.len() - SKIPPABLE_HEADER_BYTES));
    assert_eq!((tail.to_le_bytes(), footer), ([0, 0xb1, 0xea, 0x92], &[0x8f][..]));
    assert_eq!((*count as usize, entries.len()), (index.frames().len() + 2, 2 * (index.frames().len() + 2)));
    let sum = |from: usize| entries.iter().skip(from).step_by(2).map(|size| u64::from(*size)).sum::<u64>();
    assert_eq!((sum(0), sum(1)), (index.payload_end(), index.content_bytes()));
    true
}

/// Reads `ferry.json`, and what it is written as.
pub fn ferry_json(data: &[u8]) -> bool {
    let release = match Release::parse(data) {
        Ok(release) => release,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return false;
        }
    };
    let written = serde_json::to_vec(&release);
    let again = written.as_deref().map(Release::parse);
    assert!(
        matches!(&again, Ok(Ok(again)) if *again == release),
        "ferry.json that was read is written otherwise: {again:?}"
    );
    for platform in &release.requires.platforms {
        for image in release.images_for(platform) {
            assert_eq!(image.blobs().len(), image.diff_ids.len());
            assert!(image.blobs().iter().all(|blob| release.layer(blob).is_some()));
        }
    }
    for place in release.configs.iter().map(|config| config.to.as_str()) {
        assert!(!place.starts_with('/') && place.split('/').all(|part| !matches!(part, "" | "." | "..")));
    }
    true
}

/// Verifies a bundle around any `ferry.json`, with a true signature over it: what the owner of a trusted key can
/// write.
///
/// A first line of numbers gives the content sizes of the data frames; the rest is the document.
pub fn bundle(data: &[u8]) -> bool {
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (sizes, json) = data.split_at(at);
    let json = json.get(1..).unwrap_or_default();
    let Some(file) = around(&String::from_utf8_lossy(sizes), json) else { return false };
    let mut reader = file.as_slice();
    let Ok(unverified) = UnverifiedBundle::read(&mut reader) else { unreachable!("our own head is refused") };
    assert_eq!(unverified.signers().len(), 1, "a true signature is not valid");
    let Ok(verified) = unverified.verify(&Trust::AnyValid, &mut reader) else { return false };
    let release = verified.release();
    assert!(Release::parse(json).is_ok_and(|parsed| parsed == *release));
    let content = verified.index().content_bytes();
    let files: Vec<&FileEntry> = [&release.manifest, &release.compose]
        .into_iter()
        .chain(&release.env_file)
        .chain(release.configs.iter().map(|config| &config.file))
        .collect();
    let spans = files.into_iter().map(|file| file.span).chain(release.layers.iter().map(|layer| layer.span));
    for span in spans.chain(release.artifacts.iter().map(|artifact| artifact.entries)) {
        let Ok((frames, skip)) = verified.frames_of(span) else { unreachable!("a span that was checked") };
        assert!(frames.end <= verified.index().frames().len() && skip <= content);
        assert!(span.size == 0 || !frames.is_empty());
    }
    assert!(verified.file_bytes() > file.len() as u64);
    let host: Result<Platform, _> = "linux/amd64".parse();
    assert!(host.is_ok_and(|host| release.images_for(&host).len() <= release.images.len()));
    true
}

/// The beginning of a bundle, up to the last metadata frame.
fn around(sizes: &str, json: &[u8]) -> Option<Vec<u8>> {
    let mut content = vec![0; 512];
    content.extend(json);
    let content_bytes = u32::try_from(content.len()).ok()?;
    let metadata = FrameCompressor::new(1).and_then(|mut zstd| zstd.compress(&content)).ok()?;
    let first = FrameEntry {
        compressed_bytes: u32::try_from(metadata.len()).ok()?,
        content_bytes,
        digest: Digest::of(&metadata),
    };
    let data = sizes.split_whitespace().take(64).map_while(|size| size.parse().ok()).map(|content_bytes| {
        FrameEntry { compressed_bytes: 64, content_bytes, digest: Digest::from_bytes([0; 32]) }
    });
    let frames = std::iter::once(first).chain(data).collect();
    let head_bytes = 16 << 10;
    let index = Index::new(head_bytes, 1, Digest::of(json), json.len() as u64, frames).ok()?;
    // The document's version, which the index has too.
    let document: Option<serde_json::Value> = serde_json::from_slice(json).ok();
    let is_2 = document.is_some_and(|document| document.get("ferry").is_some_and(|version| version == 2));
    let index = if is_2 { index.with_extension(Extension::default()) } else { index }.encode();
    let signature = signature_over(&index)?;
    let mut file = Head { content_bytes: head_bytes, index, signatures: vec![signature] }.encode().ok()?;
    file.extend(metadata);
    Some(file)
}

fn signature_over(index: &[u8]) -> Option<Vec<u8>> {
    static KEY: OnceLock<Option<PrivateKey>> = OnceLock::new();
    let key = KEY.get_or_init(|| PrivateKey::new(Ed25519Keypair::from_seed(&[9; 32]).into(), "fuzz").ok());
    let signature = key.as_ref()?.sign(NAMESPACE, HashAlg::Sha512, index).ok()?;
    Some(signature.to_pem(LineEnding::LF).ok()?.into_bytes())
}

/// Checks a signature that nobody vouches for. The seeds hold true ones over `SIGNED`.
pub fn signature(data: &[u8]) -> bool {
    let signers = valid_signers(SIGNED, &[data.to_vec(), data.to_vec()]);
    assert!(signers.len() <= 1, "one key counts twice");
    assert!(signers.iter().all(|signer| signer.fingerprint().to_string().starts_with("SHA256:")));
    assert!(valid_signers(b"another index", &[data.to_vec()]).is_empty(), "it is valid for other bytes");
    !signers.is_empty()
}

/// The bytes that the seeds of [`signature`] sign.
const SIGNED: &[u8] = b"index";
