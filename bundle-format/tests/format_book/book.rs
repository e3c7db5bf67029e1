//! A reader of `.fz` files written from FORMAT.md, and bundles to read with it.
//!
//! It uses no part of our reader: only offsets, zstd's library and SHA-256. What it expects to be
//! true it asserts: it reads good bundles only.

use bundle_format::index::Extension;
use bundle_format::pack::{Metadata, MetadataFile};
use bundle_format::signature::NAMESPACE;
use bundle_format::tarball::Kind;
use bundle_format::{Bundle, FormatError, PackOptions, Packer, Reserve, Trust};
use manifest_schema::Digest;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use ssh_key::{HashAlg, LineEnding, PrivateKey};
use std::io::Cursor;

/// Size in the file, size of the content.
pub(crate) type Sizes = (usize, usize);

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

pub(crate) struct Frame {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) content: usize,
    pub(crate) content_start: usize,
    pub(crate) digest: Vec<u8>,
}

pub(crate) struct Book {
    pub(crate) head: Vec<u8>,
    /// Offset of the zeros of HEAD.
    pub(crate) head_used: usize,
    pub(crate) index: Vec<u8>,
    pub(crate) signatures: Vec<Vec<u8>>,
    pub(crate) metadata_frames: usize,
    /// Of an index of version 2 (section 12).
    pub(crate) extension: Vec<u8>,
    pub(crate) json_bytes: usize,
    pub(crate) json_digest: Vec<u8>,
    pub(crate) frames: Vec<Frame>,
}

impl Book {
    /// Sections 1 to 3.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let head_bytes = u32_at(bytes, 13) as usize;
        let head = bytes[17..17 + head_bytes].to_vec();
        let index_bytes = u32_at(&head, 8) as usize;
        let index = head[12..12 + index_bytes].to_vec();
        let mut at = 16 + index_bytes;
        let mut signatures = Vec::new();
        for _ in 0..u32_at(&head, 12 + index_bytes) {
            let size = u32_at(&head, at) as usize;
            signatures.push(head[at + 4..at + 4 + size].to_vec());
            at += 4 + size;
        }
        let (mut start, mut content_start) = (17 + head_bytes, 0);
        let mut frames = Vec::new();
        let extension = if u32_at(&index, 8) == 2 { u32_at(&index, 28) as usize } else { 0 };
        for n in 0..u64_at(&index, 16) as usize {
            let entry = 72 + extension + 40 * n;
            let (size, content) = (u32_at(&index, entry) as usize, u32_at(&index, entry + 4) as usize);
            let digest = index[entry + 8..entry + 40].to_vec();
            frames.push(Frame { start, end: start + size, content, content_start, digest });
            start += size;
            content_start += content;
        }
        Self {
            head,
            head_used: at,
            metadata_frames: u32_at(&index, 24) as usize,
            extension: index[72..72 + extension].to_vec(),
            json_bytes: u64_at(&index, 32) as usize,
            json_digest: index[40..72].to_vec(),
            index,
            signatures,
            frames,
        }
    }

    pub(crate) fn payload_end(&self) -> usize {
        self.frames.last().unwrap().end
    }

    pub(crate) fn data_start(&self) -> usize {
        self.frames[self.metadata_frames].content_start
    }
}

/// True for a stored frame (section 4.6).
pub(crate) fn is_stored(frame: &[u8]) -> bool {
    let size = frame.len().wrapping_sub(12);
    frame[..5] == [0x28, 0xb5, 0x2f, 0xfd, 0xa0]
        && u32_at(frame, 5) as usize == size
        && u32::from_le_bytes([frame[9], frame[10], frame[11], 0]) as usize == 1 + 8 * size
}

pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) target: String,
    pub(crate) kind: u8,
    pub(crate) mode: u64,
    pub(crate) owner: u64,
    pub(crate) group: u64,
    pub(crate) time: u64,
    pub(crate) size: usize,
    /// Of its first header, of its content, and of what follows its padding.
    pub(crate) start: usize,
    pub(crate) content: usize,
    pub(crate) end: usize,
}

/// The entries of a tar in GNU's format.
pub(crate) fn entries(tar: &[u8]) -> Vec<Entry> {
    let text = |field: &[u8]| {
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
        String::from_utf8(field[..end].to_vec()).unwrap()
    };
    let number = |field: &[u8]| match text(field).trim() {
        "" => 0,
        digits => u64::from_str_radix(digits, 8).unwrap(),
    };
    let (mut entries, mut at) = (Vec::new(), 0);
    let (mut start, mut long_name, mut long_target) = (None, None, None);
    while tar[at..at + 512].iter().any(|byte| *byte != 0) {
        let header = &tar[at..at + 512];
        let sum: u64 = header
            .iter()
            .enumerate()
            .map(|(n, b)| if (148..156).contains(&n) { 32 } else { u64::from(*b) })
            .sum();
        assert_eq!(number(&header[148..156]), sum, "checksum of the header at {at}");
        let size = number(&header[124..136]) as usize;
        let (content, end) = (at + 512, at + 512 + size.div_ceil(512) * 512);
        let begin = *start.get_or_insert(at);
        at = end;
        match header[156] {
            b'L' => long_name = Some(text(&tar[content..content + size])),
            b'K' => long_target = Some(text(&tar[content..content + size])),
            kind => {
                entries.push(Entry {
                    name: long_name.take().unwrap_or_else(|| text(&header[..100])),
                    target: long_target.take().unwrap_or_else(|| text(&header[157..257])),
                    kind,
                    mode: number(&header[100..108]),
                    owner: number(&header[108..116]),
                    group: number(&header[116..124]),
                    time: number(&header[136..148]),
                    size,
                    start: begin,
                    content,
                    end,
                });
                start = None;
            }
        }
    }
    entries
}

pub(crate) fn key(seed: u8) -> PrivateKey {
    PrivateKey::from(ssh_key::private::Ed25519Keypair::from_seed(&[seed; 32]))
}

pub(crate) fn sign(key: &PrivateKey, index: &[u8]) -> Vec<u8> {
    key.sign(NAMESPACE, HashAlg::Sha512, index).unwrap().to_pem(LineEnding::LF).unwrap().into_bytes()
}

pub(crate) fn trust() -> Trust {
    Trust::Keys(vec![key(1).public_key().key_data().clone()])
}

/// Content that compresses, and differs from place to place.
pub(crate) fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 58) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

/// Contents of a bundle to pack.
pub(crate) struct Content {
    pub(crate) level: i32,
    pub(crate) files: Vec<(String, Vec<u8>)>,
    pub(crate) executable: bool,
    pub(crate) link: Option<String>,
    pub(crate) layers: Vec<Vec<u8>>,
    /// `ferry.yaml`.
    pub(crate) manifest: Vec<u8>,
    /// True for an index of version 2; `None`: as `ferry.json` has.
    pub(crate) index_2: Option<bool>,
}

impl Default for Content {
    fn default() -> Self {
        let layers = vec![noise(2000, 3)];
        let (files, manifest) = (Vec::new(), b"hello".to_vec());
        Self { level: 3, files, executable: false, link: None, layers, manifest, index_2: None }
    }
}

/// A bundle of version 2 that needs these features.
pub(crate) fn pack_2(needs: &[(&str, &str)], edit: impl FnOnce(&mut Value)) -> Vec<u8> {
    pack_described(&Content::default(), |json| {
        json["ferry"] = json!(2);
        json["needs"] = needs.iter().map(|(name, fz)| json!({ "feature": name, "fz": fz })).collect();
        edit(json);
    })
}

pub(crate) fn pack(content: &Content) -> Vec<u8> {
    pack_described(content, |_| {})
}

/// A bundle, signed by key 1, whose `ferry.json` was edited before it was signed.
pub(crate) fn pack_described(content: &Content, edit: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut reserve = Reserve::default();
    content.layers.iter().for_each(|layer| reserve.add_own(layer.len() as u64));
    content.files.iter().for_each(|(name, file)| reserve.add_file(file.len() as u64, name.len()));
    reserve.set_metadata(16 << 10);
    let options = PackOptions { level: content.level, threads: 2 };
    let mut packer = Packer::new(Cursor::new(Vec::new()), options, reserve).unwrap();
    let manifest = packer.small_file(&"ferry.yaml".parse().unwrap(), &content.manifest).unwrap();
    packer.entry(&"folder".parse().unwrap(), Kind::Folder).unwrap();
    if let Some(target) = &content.link {
        packer.entry(&"link".parse().unwrap(), Kind::Symlink { target }).unwrap();
    }
    for (name, file) in &content.files {
        let path = name.parse().unwrap();
        packer.file(&path, file.len() as u64, content.executable, &mut file.as_slice()).unwrap();
    }
    let mut layers = Vec::new();
    for layer in &content.layers {
        let path = format!("blobs/sha256/{}", Digest::of(layer).hex()).parse().unwrap();
        layers.push(packer.own(&path, None, false, &mut layer.as_slice()).unwrap());
    }
    let sealed = packer.seal().unwrap();
    let layers: Vec<Value> = layers
        .iter()
        .map(|blob| {
            let zstd = sealed.compressed(blob).unwrap();
            json!({ "digest": blob.digest, "span": blob.span, "zstd": zstd })
        })
        .collect();
    let entry = json!({ "media_type": "application/json", "digest": Digest::of(b"{ }"), "content": "{ }" });
    let image = json!({
        "reference": "acme/api:1",
        "platform": "linux/amd64",
        "config": manifest,
        "diff_ids": [layers[0]["digest"]],
        "manifests": { "kind": "repacked", "tar": entry, "zstd": entry },
        "source": "test",
    });
    let mut json = json!({
        "ferry": 1,
        "name": "site",
        "version": "1",
        "requires": { "platforms": ["linux/amd64"] },
        "manifest": manifest,
        "compose": manifest,
        "compose_files": [],
        "images": [image],
        "layers": layers,
        "artifacts": [],
        "configs": [],
        "seeds": [],
        "built_with": "test",
    });
    // What our own type writes, so that the members are those of the program.
    let release = manifest_schema::release::Release::parse(&serde_json::to_vec(&json).unwrap()).unwrap();
    json = serde_json::to_value(&release).unwrap();
    edit(&mut json);
    let layout = br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec();
    let metadata = Metadata {
        release: serde_json::to_vec(&json).unwrap(),
        companions: vec![MetadataFile { path: "oci-layout".parse().unwrap(), content: layout }],
        extension: content.index_2.unwrap_or(json["ferry"] == 2).then(Extension::default),
    };
    let described = sealed.describe(&metadata).unwrap();
    let signature = sign(&key(1), described.index());
    let (output, _) = described.sign(vec![signature]).unwrap();
    output.into_inner()
}

/// The same file with another index, signed again.
pub(crate) fn with_index(bytes: &[u8], edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let book = Book::read(bytes);
    let mut index = book.index.clone();
    edit(&mut index);
    let mut changed = bytes[..17].to_vec();
    changed.extend(head(&index, book.head.len()));
    changed.extend_from_slice(&bytes[17 + book.head.len()..]);
    changed
}

/// HEAD's content of `size` bytes (section 2), signed by key 1.
fn head(index: &[u8], size: usize) -> Vec<u8> {
    let signature = sign(&key(1), index);
    let mut head = b"FERRYFZ\n".to_vec();
    head.extend_from_slice(&(index.len() as u32).to_le_bytes());
    head.extend_from_slice(index);
    head.extend_from_slice(&1_u32.to_le_bytes());
    head.extend_from_slice(&(signature.len() as u32).to_le_bytes());
    head.extend(signature);
    assert!(head.len() <= size, "HEAD has no room");
    head.resize(size, 0);
    head
}

/// The same content in frames of up to 16 MiB: neighbours of 8 MiB become one. Written by hand from
/// sections 1 to 3 and 6; `ferry.json` gets the layer's new zstd size.
pub(crate) fn with_larger_frames(bytes: &[u8]) -> Vec<u8> {
    let book = Book::read(bytes);
    let mut contents: Vec<Vec<u8>> = Vec::new();
    for frame in &book.frames {
        let content = zstd::bulk::decompress(&bytes[frame.start..frame.end], frame.content).unwrap();
        match contents.last_mut() {
            Some(last) if last.len() == 8 << 20 && content.len() == 8 << 20 => last.extend(content),
            _ => contents.push(content),
        }
    }
    let compress = |content: &[u8]| zstd::bulk::compress(content, 3).unwrap();
    let mut frames: Vec<Vec<u8>> = contents.iter().map(|content| compress(content)).collect();
    // The layer begins in the frame of 16 MiB, and the one behind it is its rest.
    let first = contents.iter().position(|content| content.len() == 16 << 20).unwrap();
    let blob = [frames[first].as_slice(), &frames[first + 1]].concat();
    let mut json: Value = serde_json::from_slice(&contents[0][512..512 + book.json_bytes]).unwrap();
    json["layers"][0]["zstd"] = json!({ "digest": Digest::of(&blob), "size": blob.len() });
    let json = serde_json::to_vec(&json).unwrap();
    assert_eq!(json.len().div_ceil(512), book.json_bytes.div_ceil(512), "the tar header would move");
    let header_size = format!("{:011o}", json.len());
    contents[0][124..135].copy_from_slice(header_size.as_bytes());
    contents[0][148..156].fill(b' ');
    let sum: u64 = contents[0][..512].iter().map(|byte| u64::from(*byte)).sum();
    contents[0][148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let padded = json.len().div_ceil(512) * 512;
    contents[0][512..512 + padded].fill(0);
    contents[0][512..512 + json.len()].copy_from_slice(&json);
    frames[0] = compress(&contents[0]);

    let mut index = book.index[..72].to_vec();
    index[16..24].copy_from_slice(&(frames.len() as u64).to_le_bytes());
    index[32..40].copy_from_slice(&(json.len() as u64).to_le_bytes());
    index[40..72].copy_from_slice(&Sha256::digest(&json));
    let mut seek = Vec::new();
    let mut sizes = vec![(9, 0), (book.head.len() + 8, 0)];
    for (frame, content) in frames.iter().zip(&contents) {
        index.extend_from_slice(&(frame.len() as u32).to_le_bytes());
        index.extend_from_slice(&(content.len() as u32).to_le_bytes());
        index.extend_from_slice(&Sha256::digest(frame));
        sizes.push((frame.len(), content.len()));
    }
    seek.extend_from_slice(&0x184D_2A5E_u32.to_le_bytes());
    seek.extend_from_slice(&(8 * sizes.len() as u32 + 9).to_le_bytes());
    for (file, content) in &sizes {
        seek.extend_from_slice(&(*file as u32).to_le_bytes());
        seek.extend_from_slice(&(*content as u32).to_le_bytes());
    }
    seek.extend_from_slice(&(sizes.len() as u32).to_le_bytes());
    seek.push(0);
    seek.extend_from_slice(&0x8F92_EAB1_u32.to_le_bytes());

    let mut whole = bytes[..17].to_vec();
    whole.extend(head(&index, book.head.len()));
    frames.iter().for_each(|frame| whole.extend_from_slice(frame));
    whole.extend(seek);
    whole
}

pub(crate) fn open(bytes: Vec<u8>) -> Result<Bundle<Vec<u8>>, FormatError> {
    Bundle::open(bytes, &trust())
}

pub(crate) fn error(bytes: Vec<u8>) -> FormatError {
    open(bytes).err().expect("it must be refused")
}
