//! FORMAT.md, sections 7 to 11: signatures, reading, limits, stock tools, versions.

use super::book::{self, Book, Content, error, open};
use bundle_format::check;
use bundle_format::head::Head;
use bundle_format::{Bundle, FormatError, ReadAt, Trust, UnverifiedBundle};
use manifest_schema::limits;
use manifest_schema::progress::Silent;
use serde_json::{Value, json};
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::Mutex;

#[test]
fn a_key_that_signed_twice_counts_once() {
    let bytes = book::pack(&Content::default());
    let head = Head::read(&mut bytes.as_slice()).unwrap();
    let signature = head.signatures[0].clone();
    let mut twice = Head { signatures: vec![signature.clone(), signature], ..head }.encode().unwrap();
    twice.extend_from_slice(&bytes[twice.len()..]);
    assert_eq!(Book::read(&twice).signatures.len(), 2);
    assert_eq!(open(twice).unwrap().verified().signers().len(), 1);
}

#[test]
fn checks_are_made_in_the_order_of_the_book() {
    let bytes = book::pack(&Content::default());
    let book = Book::read(&bytes);
    let head_end = 17 + book.head.len();
    let spoil_metadata = |mut bytes: Vec<u8>| {
        bytes[head_end..head_end + 8].fill(0xee);
        bytes
    };
    let spoil_signature = |mut bytes: Vec<u8>| {
        let at = 17 + 16 + book.index.len() + 4 + 60;
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        bytes
    };
    // Each is wrong in its own step and in all later ones that can be wrong with it.
    let mut foreign = spoil_signature(spoil_metadata(bytes.clone()));
    foreign[4] ^= 1;
    assert!(matches!(error(foreign), FormatError::Foreign(_)));
    let mut sizes = spoil_signature(spoil_metadata(bytes.clone()));
    sizes[13..17].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(error(sizes), FormatError::Foreign(_)));
    let mut index = spoil_metadata(bytes.clone());
    index[17 + 12..17 + 12 + 72].fill(0xee);
    assert!(matches!(error(index), FormatError::Unsigned(_)), "the index is not read before its signature");
    let version = spoil_metadata(book::with_index(&bytes, |index| index[8] = 9));
    assert!(matches!(error(version), FormatError::Version { found: 9, .. }));
    let length = spoil_metadata(book::with_index(&bytes, |index| index[12] ^= 1));
    assert!(matches!(error(length), FormatError::Inconsistent(_)));
    let mut cut = spoil_metadata(bytes.clone());
    cut.push(0);
    assert!(matches!(error(cut), FormatError::Damaged { offset, .. } if offset == head_end as u64));
    let digest =
        book::with_index(&book::pack_described(&Content::default(), |json| *json = json!("?")), |index| {
            index[40] ^= 1;
        });
    assert!(
        matches!(error(digest), FormatError::Inconsistent(text) if text.contains("not the one that was signed"))
    );
    let mut contradicts = book::pack_described(&Content::default(), |json| json["ferry"] = json!(3));
    contradicts.push(0);
    assert!(matches!(error(contradicts), FormatError::Release(_)));
    let mut longer = bytes;
    longer.push(0);
    assert!(matches!(error(longer), FormatError::Length { .. }));
}

/// A medium whose bytes change after some reads.
struct Changing(Mutex<Vec<u8>>);

impl ReadAt for Changing {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        self.0.lock().unwrap().read_exact_at(buffer, offset)
    }
    fn size(&self) -> std::io::Result<u64> {
        self.0.lock().unwrap().size()
    }
}

#[test]
fn a_stick_that_changes_between_two_reads_is_noticed() {
    let bytes = book::pack(&Content::default());
    let frame = Book::read(&bytes).frames.len() - 1;
    let start = Book::read(&bytes).frames[frame].start;
    let bundle = Bundle::open(Changing(Mutex::new(bytes)), &book::trust()).unwrap();
    let mut buffer = Vec::new();
    bundle.read_frame(frame, &mut buffer).unwrap();
    bundle.source().0.lock().unwrap()[start + 6] ^= 1;
    let found = bundle.read_frame(frame, &mut buffer);
    assert!(matches!(found, Err(FormatError::Damaged { offset, .. }) if offset == start as u64), "{found:?}");
}

/// A pipe that notes how much was taken from it and how much it was asked for at once.
struct Pipe<'a> {
    left: &'a [u8],
    largest_request: usize,
}

impl Read for Pipe<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.largest_request = self.largest_request.max(buffer.len());
        self.left.read(buffer)
    }
}

#[test]
fn from_a_pipe_nothing_behind_the_metadata_is_read() {
    let bytes = book::pack(&Content { layers: vec![book::noise(5 << 20, 8)], ..Content::default() });
    let book = Book::read(&bytes);
    let mut pipe = Pipe { left: &bytes, largest_request: 0 };
    UnverifiedBundle::read(&mut pipe).unwrap().verify(&Trust::AnyValid, &mut pipe).unwrap();
    let taken = bytes.len() - pipe.left.len();
    assert_eq!(taken, book.frames[book.metadata_frames - 1].end);
}

#[test]
fn a_size_that_lies_costs_no_memory() {
    let mut bytes = book::pack(&Content::default())[..17].to_vec();
    bytes[13..17].copy_from_slice(&limits::MAX_HEAD_BYTES.to_le_bytes());
    bytes.extend_from_slice(&[0; 100]);
    let mut pipe = Pipe { left: &bytes, largest_request: 0 };
    assert!(matches!(UnverifiedBundle::read(&mut pipe), Err(FormatError::Foreign(_))));
    assert!(pipe.largest_request < 1 << 20, "{} bytes asked for at once", pipe.largest_request);
}

#[test]
fn the_limits_are_those_of_the_book() {
    assert_eq!(limits::FRAME_BYTES, 8 << 20);
    assert_eq!(limits::MAX_FRAME_BYTES, 16 << 20);
    assert_eq!(limits::MAX_COMPRESSED_FRAME_BYTES, (16 << 20) + (64 << 10) + 64);
    assert_eq!(limits::MAX_INDEX_BYTES, 32 << 20);
    assert_eq!((limits::MAX_INDEX_BYTES as usize - 72) / 40, 838_859);
    assert_eq!(limits::MAX_HEAD_BYTES, 64 << 20);
    assert_eq!((limits::MAX_SIGNATURES, limits::MAX_SIGNATURE_BYTES), (32, 4 << 10));
    assert_eq!(limits::SIGNATURE_ROOM, 8 << 10);
    assert_eq!(limits::MAX_RELEASE_JSON_BYTES, 16 << 20);
    assert_eq!(bundle_format::frame::MAX_STORED_BYTES, 128 << 10);
    assert_eq!(limits::MAX_LAYERS, 128);
    assert_eq!(limits::MAX_PATH_BYTES, 3072);
    assert_eq!((limits::MAX_EXTENSION_BYTES, limits::MAX_NEEDS), (64 << 10, 32));
}

#[test]
fn what_passes_a_limit_is_refused() {
    let bytes = book::pack(&Content::default());
    let head = Head::read(&mut bytes.as_slice()).unwrap();
    let resigned = |signatures: Vec<Vec<u8>>| {
        let mut changed =
            Head { signatures, content_bytes: 64 << 10, index: head.index.clone() }.encode().unwrap();
        changed.extend_from_slice(&bytes[17 + head.content_bytes as usize..]);
        Head::read(&mut changed.as_slice())
    };
    assert!(resigned(vec![vec![7; 10]; 32]).is_ok());
    assert!(resigned(vec![vec![7; 10]; 33]).is_err());
    assert!(resigned(vec![vec![7; 4096]]).is_ok());
    assert!(resigned(vec![vec![7; 4097]]).is_err());
    let put = |at: usize, value: u32| {
        book::with_index(&bytes, move |index| index[at..at + 4].copy_from_slice(&value.to_le_bytes()))
    };
    for (at, value) in [(72, (16 << 20) + (64 << 10) + 65), (76, (16 << 20) + 1), (32, (16 << 20) + 1)] {
        let found = error(put(at, value));
        assert!(matches!(found, FormatError::Inconsistent(_)), "{found}");
    }
    let mut large = bytes.clone();
    large[17 + 8..17 + 12].copy_from_slice(&((32_u32 << 20) + 1).to_le_bytes());
    assert!(matches!(error(large), FormatError::Foreign(_)));
    let mut large = bytes.clone();
    large[13..17].copy_from_slice(&((64_u32 << 20) + 1).to_le_bytes());
    assert!(matches!(error(large), FormatError::Foreign(_)));
    let layers = |count: usize| {
        book::pack_described(&Content::default(), |json| {
            let diff_id = json["images"][0]["diff_ids"][0].clone();
            json["images"][0]["diff_ids"] = Value::Array(vec![diff_id; count]);
        })
    };
    open(layers(128)).unwrap();
    assert!(matches!(error(layers(129)), FormatError::Release(_)));
    let path = |path: String| {
        book::pack_described(&Content::default(), |json| json["manifest"]["path"] = json!(path))
    };
    open(path(format!("{}/{}", "p".repeat(255), "q/".repeat(1407) + "rr"))).unwrap();
    assert!(open(path(format!("{}/{}", "p".repeat(255), "q/".repeat(1407) + "rrr"))).is_err());
    assert!(open(path("p".repeat(256))).is_err());
}

#[test]
fn only_versions_1_and_2_are_read() {
    let bytes = book::pack(&Content::default());
    for version in [0, 3, 255] {
        // What follows the version is nonsense: it is not looked at.
        let changed = book::with_index(&bytes, |index| {
            index[8] = version;
            index[12..].fill(0xff);
        });
        let found = error(changed);
        assert!(matches!(found, FormatError::Version { found, .. } if found == u32::from(version)));
        let says = format!("the bundle has format version {version}; this program reads versions 1 and 2");
        assert_eq!(found.to_string(), says);
    }
    for version in [0, 3] {
        let found = error(book::pack_described(&Content::default(), |json| {
            json["ferry"] = json!(version);
            json["a member of another version"] = json!(1);
        }));
        let says = format!("ferry.json has version {version}; this program reads versions 1 and 2");
        assert_eq!(found.to_string(), says);
    }
}

#[test]
fn what_needs_no_new_version_is_read() {
    let layer = book::noise(20 << 20, 9);
    // Another level.
    open(book::pack(&Content { level: 9, layers: vec![layer.clone()], ..Content::default() })).unwrap();
    // Frames of 16 MiB: put together by hand from a bundle with smaller ones.
    let bytes = book::with_larger_frames(&book::pack(&Content { layers: vec![layer], ..Content::default() }));
    assert_eq!(Book::read(&bytes).frames.iter().map(|frame| frame.content).max(), Some(16 << 20));
    let bundle = open(bytes).unwrap();
    assert!(check::check(&bundle, 2, &Silent, &|| false).unwrap().is_empty());
}

fn run(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let shown = format!("{command:?}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), input).unwrap();
    let stdin = Stdio::from(std::fs::File::open(file.path()).unwrap());
    let output = command.stdin(stdin).output().unwrap_or_else(|error| panic!("{shown}: {error}"));
    assert!(output.status.success(), "{shown}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn stock_tools_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("site.fz");
    let content = Content { files: vec![("a/b.txt".into(), b"text".to_vec())], ..Content::default() };
    let bytes = book::pack(&content);
    std::fs::write(&file, &bytes).unwrap();
    run(Command::new("zstd").arg("-t").arg(&file), b"");
    let tar = run(Command::new("zstd").arg("-dc").arg(&file), b"");
    assert_eq!(tar, zstd::decode_all(bytes.as_slice()).unwrap());
    let listed = String::from_utf8(run(Command::new("tar").arg("-tf").arg(&file), b"")).unwrap();
    let names: Vec<String> = book::entries(&tar).into_iter().map(|entry| entry.name).collect();
    assert_eq!(listed.lines().collect::<Vec<_>>(), names);
    run(Command::new("tar").arg("-xf").arg(&file).arg("-C").arg(folder.path()), b"");
    assert_eq!(std::fs::read(folder.path().join("a/b.txt")).unwrap(), b"text");
    // One blob's frames, cut out as `dd` does it.
    let book = Book::read(&bytes);
    let layer = book::entries(&tar).into_iter().find(|entry| entry.name.starts_with("blobs/")).unwrap();
    let end = layer.content + layer.size;
    let frames = book.frames.iter().filter(|f| f.content_start >= layer.content && f.content_start < end);
    let range = frames.fold((usize::MAX, 0), |(from, to), frame| (from.min(frame.start), to.max(frame.end)));
    let dd = format!("skip={} count={} iflag=skip_bytes,count_bytes status=none", range.0, range.1 - range.0);
    let blob = run(Command::new("dd").arg(format!("if={}", file.display())).args(dd.split(' ')), b"");
    assert_eq!(run(Command::new("zstd").arg("-dc"), &blob), tar[layer.content..end]);
}

#[test]
fn stock_ssh_keygen_checks_an_exported_index() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = book::pack(&Content::default());
    let book = Book::read(&bytes);
    let (signers, signature) = (folder.path().join("signers"), folder.path().join("index.sig"));
    let public = book::key(1).public_key().to_openssh().unwrap();
    std::fs::write(&signers, format!("release namespaces=\"ferry\" {public}\n")).unwrap();
    std::fs::write(&signature, &book.signatures[0]).unwrap();
    let mut verify = Command::new("ssh-keygen");
    verify
        .args(["-Y", "verify", "-I", "release", "-n", "ferry", "-f"])
        .arg(&signers)
        .arg("-s")
        .arg(&signature);
    let said = String::from_utf8(run(&mut verify, &book.index)).unwrap();
    assert!(said.starts_with("Good \"ferry\" signature for release"), "{said}");
}
