//! FORMAT.md, sections 1 to 6: what stands where.

use super::book::{self, Book, Content, Sizes, error, open, u32_at};
use bundle_format::FormatError;
use bundle_format::check;
use bundle_format::head::Head;
use manifest_schema::progress::Silent;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

#[test]
fn the_file_is_four_parts_without_gaps() {
    let bytes = book::pack(&Content::default());
    let book = Book::read(&bytes);
    assert_eq!(bytes[..9], [0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 1, 0, 0]);
    assert_eq!(u32_at(&bytes, 9), 0x184D_2A50);
    assert_eq!(u32_at(&bytes, 13) as usize, book.head.len());
    let mut at = 17 + book.head.len();
    let mut tar = Vec::new();
    for frame in &book.frames {
        assert_eq!(frame.start, at);
        let own = &bytes[frame.start..frame.end];
        // Alone, whole, and with its content's size in its header.
        let content = zstd::bulk::decompress(own, 16 << 20).unwrap();
        assert_eq!(zstd::zstd_safe::get_frame_content_size(own).unwrap(), Some(content.len() as u64));
        assert_eq!(zstd::zstd_safe::find_frame_compressed_size(own).unwrap(), own.len());
        assert_eq!(content.len(), frame.content);
        tar.extend(content);
        at = frame.end;
    }
    assert_eq!(u32_at(&bytes, at), 0x184D_2A5E);
    assert_eq!(at + 8 + u32_at(&bytes, at + 4) as usize, bytes.len());
    assert_eq!(tar, zstd::decode_all(bytes.as_slice()).unwrap());
    assert_eq!(book::entries(&tar).last().unwrap().end + 1024, tar.len());
    assert!(tar[tar.len() - 1024..].iter().all(|byte| *byte == 0));
}

#[test]
fn metadata_comes_first_in_frames_of_its_own() {
    let bytes = book::pack(&Content::default());
    let book = Book::read(&bytes);
    let tar = zstd::decode_all(bytes.as_slice()).unwrap();
    assert!(book.metadata_frames >= 1 && book.metadata_frames < book.frames.len());
    let data_start: usize = book.frames[..book.metadata_frames].iter().map(|frame| frame.content).sum();
    let entries = book::entries(&tar);
    let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names[..2], ["ferry.json", "oci-layout"]);
    // The last metadata entry ends, and the first of the data begins, exactly between two frames.
    assert_eq!(entries[1].end, data_start);
    assert_eq!(entries[2].start, data_start);
    assert_eq!((entries[0].start, entries[0].content), (0, 512));
    assert_eq!(book.json_bytes, entries[0].size);
    assert_eq!(book.json_digest, Sha256::digest(&tar[512..512 + entries[0].size]).as_slice());
}

#[test]
fn head_holds_index_signatures_and_zeros() {
    let bytes = book::pack(&Content::default());
    let book = Book::read(&bytes);
    assert_eq!(&book.head[..8], b"FERRYFZ\n");
    assert_eq!(u32_at(&book.head, 8) as usize, book.index.len());
    assert_eq!(&book.head[12..12 + book.index.len()], book.index);
    assert_eq!(book.signatures.len(), 1);
    assert!(book.signatures[0].starts_with(b"-----BEGIN SSH SIGNATURE-----\n"));
    assert!(book.head[book.head_used..].iter().all(|byte| *byte == 0));
    let room = book.head.len() - (16 + book.index.len());
    assert!(room >= 8 << 10, "{room}");
}

#[test]
fn other_signatures_change_no_byte_outside_head() {
    let bytes = book::pack(&Content::default());
    let book = Book::read(&bytes);
    let head = Head::read(&mut bytes.as_slice()).unwrap();
    let more = vec![book::sign(&book::key(7), &head.index), head.signatures[0].clone()];
    let changed = Head { signatures: more, ..head }.encode().unwrap();
    assert_eq!(changed.len(), 17 + book.head.len());
    let mut whole = changed;
    whole.extend_from_slice(&bytes[17 + book.head.len()..]);
    assert_eq!(Book::read(&whole).index, book.index);
    open(whole).unwrap();
}

#[test]
fn the_index_lists_every_frame_in_order() {
    let bytes = book::pack(&Content::default());
    let book = Book::read(&bytes);
    let index = &book.index;
    assert_eq!(&index[..8], b"FZINDEX\0");
    assert_eq!(u32_at(index, 8), 1);
    assert_eq!(u32_at(index, 12) as usize, book.head.len());
    assert_eq!(u32_at(index, 28), 0);
    assert_eq!(index.len(), 72 + 40 * book.frames.len());
    for frame in &book.frames {
        assert_eq!(Sha256::digest(&bytes[frame.start..frame.end]).as_slice(), frame.digest);
        assert!(frame.end > frame.start && frame.content > 0);
    }
    let bundle = open(bytes.clone()).unwrap();
    assert_eq!(bundle.verified().id().as_bytes(), Sha256::digest(index).as_slice());
}

#[test]
fn a_signed_index_that_breaks_the_book_is_refused() {
    let bytes = book::pack(&Content::default());
    let first = 72;
    type Edit = fn(&mut Vec<u8>);
    let edits: [(&str, Edit); 12] = [
        ("magic number", |index| index[0] ^= 1),
        ("H", |index| index[12] ^= 1),
        ("no metadata frames", |index| index[24..28].fill(0)),
        ("more metadata frames than frames", |index| index[24..28].fill(0x7f)),
        ("reserved", |index| index[28] = 1),
        ("an entry too few", |index| index.truncate(index.len() - 40)),
        ("a byte too many", |index| index.push(0)),
        ("N", |index| index[16] ^= 1),
        ("N that overflows", |index| index[16..24].fill(0xff)),
        ("a frame without bytes", |index| index[72..76].fill(0)),
        ("a frame without content", |index| index[76..80].fill(0)),
        ("ferry.json larger than the metadata", |index| index[34] = 1),
    ];
    assert!(open(book::with_index(&bytes, |_| {})).is_ok(), "an unchanged index is accepted");
    for (what, edit) in edits {
        let found = error(book::with_index(&bytes, edit));
        assert!(matches!(found, FormatError::Inconsistent(_)), "{what}: {found}");
    }
    // A frame with another content size than signed: the hash is right, the content is not.
    for wrong in [-1_i64, 1] {
        let changed = book::with_index(&bytes, |index| {
            let size = i64::from(u32_at(index, first + 4)) + wrong;
            index[first + 4..first + 8].copy_from_slice(&(size as u32).to_le_bytes());
        });
        assert!(open(changed).is_err());
    }
}

#[test]
fn every_byte_is_covered_by_the_signature_or_follows_from_it() {
    let content = Content { layers: vec![book::noise(3000, 5)], ..Content::default() };
    let bytes = book::pack(&content);
    let book = Book::read(&bytes);
    let signatures = 17 + 20 + book.index.len()..17 + book.head_used;
    let idle = || false;
    for at in (0..bytes.len()).filter(|at| !signatures.contains(at)) {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        let noticed = match open(changed) {
            Err(_) => true,
            Ok(bundle) => !check::check(&bundle, 1, &Silent, &idle).unwrap().is_empty(),
        };
        assert!(noticed, "byte {at}");
    }
}

#[test]
fn frames_are_cut_at_8_mib_and_carry_a_checksum() {
    let layer = book::noise((20 << 20) + 5, 1);
    let bytes = book::pack(&Content { layers: vec![layer], ..Content::default() });
    let book = Book::read(&bytes);
    let largest = book.frames.iter().map(|frame| frame.content).max().unwrap();
    assert_eq!(largest, 8 << 20);
    for frame in &book.frames {
        let descriptor = bytes[frame.start + 4];
        let stored = book::is_stored(&bytes[frame.start..frame.end]);
        assert_eq!(descriptor & 0b100 != 0, !stored, "content checksum flag");
        assert_eq!(descriptor & 0b11, 0, "no dictionary");
    }
}

#[test]
fn large_contents_have_frames_of_their_own_behind_a_stored_header() {
    let content = Content {
        files: vec![
            ("small".into(), book::noise((1 << 20) - 1, 2)),
            ("large".into(), book::noise(1 << 20, 3)),
        ],
        layers: vec![book::noise(10, 4), Vec::new(), book::noise(9 << 20, 5)],
        ..Content::default()
    };
    let bytes = book::pack(&content);
    let book = Book::read(&bytes);
    let tar = zstd::decode_all(bytes.as_slice()).unwrap();
    let starts: Vec<usize> = book.frames.iter().map(|frame| frame.content_start).collect();
    for entry in book::entries(&tar) {
        let own = entry.name == "large" || entry.name.starts_with("blobs/sha256/");
        let header = book.frames.iter().find(|frame| frame.content_start == entry.start);
        let stored = header.is_some_and(|frame| book::is_stored(&bytes[frame.start..frame.end]));
        assert_eq!(stored, own, "{}", entry.name);
        if !own {
            continue;
        }
        let header = header.unwrap();
        assert_eq!(header.end - header.start, header.content + 12);
        assert_eq!(&bytes[header.start + 12..header.end], &tar[entry.start..entry.content]);
        let end = entry.content + entry.size;
        let frames: Vec<_> = book
            .frames
            .iter()
            .filter(|f| f.content_start >= entry.content && f.content_start < end)
            .collect();
        if entry.size == 0 {
            assert!(frames.is_empty());
            continue;
        }
        assert!(starts.contains(&entry.content));
        assert!(end == tar.len() || starts.contains(&end), "{} ends where a frame ends", entry.name);
        let blob = &bytes[frames[0].start..frames[frames.len() - 1].end];
        assert_eq!(zstd::decode_all(blob).unwrap(), tar[entry.content..end]);
    }
    // Small entries share: far fewer frames than entries.
    let many =
        Content { files: (0..200).map(|n| (format!("f{n}"), vec![1; 50])).collect(), ..Content::default() };
    assert!(Book::read(&book::pack(&many)).frames.len() < 10);
}

#[test]
fn tar_entries_are_plain_and_owned_by_nobody() {
    let long = "n/".repeat(60) + "end";
    let content = Content {
        files: vec![("n".repeat(99), vec![1]), ("n".repeat(100), vec![2]), (long.clone(), vec![3])],
        executable: true,
        link: Some("t".repeat(130)),
        ..Content::default()
    };
    let tar = zstd::decode_all(book::pack(&content).as_slice()).unwrap();
    let entries = book::entries(&tar);
    let find = |name: &str| entries.iter().find(|entry| entry.name == name).unwrap();
    for entry in &entries {
        assert_eq!((entry.owner, entry.group, entry.time), (0, 0, 0), "{}", entry.name);
        let mode = match entry.kind {
            b'0' if entry.name.starts_with('n') => 0o755,
            b'0' => 0o644,
            b'5' => 0o755,
            b'2' => 0o777,
            other => panic!("an entry of type {other}"),
        };
        assert_eq!(entry.mode, mode, "{}", entry.name);
    }
    assert_eq!(find("folder/").kind, b'5');
    assert_eq!(find("link").target, "t".repeat(130));
    // A long name costs one more header and its own block.
    assert_eq!(find(&"n".repeat(99)).content - find(&"n".repeat(99)).start, 512);
    assert_eq!(find(&"n".repeat(100)).content - find(&"n".repeat(100)).start, 3 * 512);
    assert_eq!(find(&long).content - find(&long).start, 3 * 512);
    assert_eq!(&tar[257..265], b"ustar  \0", "GNU's magic");
}

#[test]
fn spans_count_from_the_first_data_frame() {
    let content = Content { files: vec![("a".into(), b"one".to_vec())], ..Content::default() };
    let read = |padding: usize| {
        let bytes = book::pack_described(&content, |json| json["version"] = json!("v".repeat(padding)));
        let book = Book::read(&bytes);
        let tar = zstd::decode_all(bytes.as_slice()).unwrap();
        let json: Value = serde_json::from_slice(&tar[512..512 + book.json_bytes]).unwrap();
        let span = json["manifest"]["span"].clone();
        let at = book.data_start() + span["offset"].as_u64().unwrap() as usize;
        assert_eq!(&tar[at..at + span["size"].as_u64().unwrap() as usize], b"hello");
        (span, book.json_bytes)
    };
    let ((short, a), (long, b)) = (read(1), read(2000));
    assert!(b > a + 1900);
    assert_eq!(short, long);
}

/// Configs that are written to these places.
fn configs(json: &Value, to: &[&str]) -> Value {
    let one = |to: &&str| json!({ "file": json["manifest"], "from": "x", "to": to, "template": false, "mode": 420 });
    to.iter().map(one).collect()
}

#[test]
fn ferry_json_is_refused_when_it_breaks_the_book() {
    type Edit = fn(&mut Value);
    let edits: [(&str, Edit); 16] = [
        ("unknown member", |json| json["extra"] = json!(1)),
        ("unknown inner member", |json| json["manifest"]["extra"] = json!(1)),
        ("digest in capitals", |json| {
            let digest = json["layers"][0]["digest"].as_str().unwrap().to_uppercase();
            json["layers"][0]["digest"] = json!(digest);
        }),
        ("missing layer", |json| {
            json["images"][0]["diff_ids"][0] = json!(format!("sha256:{}", "0".repeat(64)))
        }),
        ("layer listed twice", |json| {
            let layer = json["layers"][0].clone();
            json["layers"].as_array_mut().unwrap().push(layer);
        }),
        ("other manifest", |json| json["images"][0]["manifests"]["tar"]["content"] = json!("{}")),
        ("span outside the data", |json| json["manifest"]["span"]["size"] = json!(1_u64 << 40)),
        ("span that leaves 64 bits", |json| {
            json["compose"]["span"] = json!({ "offset": u64::MAX, "size": 2 })
        }),
        ("layer that is not whole frames", |json| {
            let size = json["layers"][0]["span"]["size"].as_u64().unwrap();
            json["layers"][0]["span"]["size"] = json!(size - 1);
        }),
        ("layer with another zstd size", |json| json["layers"][0]["zstd"]["size"] = json!(1)),
        ("path with ..", |json| json["manifest"]["path"] = json!("a/../b")),
        ("absolute path", |json| json["manifest"]["path"] = json!("/etc/passwd")),
        ("null", |json| json["name"] = Value::Null),
        ("config where the installer writes", |json| json["configs"] = configs(json, &[".configs/x"])),
        ("config below a config", |json| json["configs"] = configs(json, &["a", "a/b"])),
        ("config below a file of the Compose file", |json| {
            json["configs"] = configs(json, &["ferry.yaml/x"]);
            json["compose_files"] = json!([{ "file": json["manifest"] }]);
        }),
    ];
    open(book::pack_described(&Content::default(), |_| {})).unwrap();
    let good: Edit = |json| {
        json["configs"] = configs(json, &["a/b", "a/c"]);
        json["compose_files"] = json!([{ "file": json["manifest"], "executable": true }]);
    };
    open(book::pack_described(&Content::default(), good)).unwrap();
    for (what, edit) in edits {
        let found = error(book::pack_described(&Content::default(), edit));
        let refused = matches!(found, FormatError::Release(_) | FormatError::Inconsistent(_));
        assert!(refused, "{what}: {found:?}");
    }
    let preserved = |blobs: Value| {
        error(book::pack_described(&Content::default(), |json| {
            let original = json["images"][0]["manifests"]["tar"].clone();
            json["images"][0]["manifests"] =
                json!({ "kind": "preserved", "original": original, "blobs": blobs });
        }))
    };
    assert!(matches!(preserved(json!([])), FormatError::Release(_)), "fewer blobs than diff IDs");
}

#[test]
fn ferry_json_leaves_out_what_has_no_value() {
    let bytes = book::pack(&Content::default());
    let book = Book::read(&bytes);
    let tar = zstd::decode_all(bytes.as_slice()).unwrap();
    let text = std::str::from_utf8(&tar[512..512 + book.json_bytes]).unwrap();
    assert!(!text.contains("null"), "{text}");
    let json: Value = serde_json::from_str(text).unwrap();
    for absent in ["env_file", "commit"] {
        assert!(json.get(absent).is_none());
    }
    assert_eq!(json["requires"], json!({ "platforms": ["linux/amd64"] }));
    let digest = json["layers"][0]["digest"].as_str().unwrap();
    let hex = digest.strip_prefix("sha256:").unwrap();
    assert!(hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{digest}");
}

#[test]
fn seek_counts_every_frame_before_it() {
    let bytes = book::pack(&Content::default());
    let book = Book::read(&bytes);
    let seek = &bytes[book.payload_end()..];
    let count = book.frames.len() + 2;
    assert_eq!(u32_at(seek, 0), 0x184D_2A5E);
    assert_eq!(u32_at(seek, 4) as usize, 8 * count + 9);
    assert_eq!(seek.len(), 8 + 8 * count + 9);
    let entry = |k: usize| (u32_at(seek, 8 + 8 * k) as usize, u32_at(seek, 12 + 8 * k) as usize);
    assert_eq!(entry(0), (9, 0));
    assert_eq!(entry(1), (book.head.len() + 8, 0));
    for (n, frame) in book.frames.iter().enumerate() {
        assert_eq!(entry(n + 2), (frame.end - frame.start, frame.content));
    }
    let footer = 8 + 8 * count;
    assert_eq!(u32_at(seek, footer) as usize, count);
    assert_eq!(seek[footer + 4], 0);
    assert_eq!(u32_at(seek, footer + 5), 0x8F92_EAB1);
}

#[test]
fn any_content_offset_is_found_through_the_seek_table_alone() {
    let layer = book::noise(9 << 20, 6);
    let bytes = book::pack(&Content { layers: vec![layer], ..Content::default() });
    let tar = zstd::decode_all(bytes.as_slice()).unwrap();
    let count = u32_at(&bytes, bytes.len() - 9) as usize;
    let table = bytes.len() - 9 - 8 * count;
    for wanted in [0, 511, 4096, 8 << 20, tar.len() - 1] {
        let (mut file, mut content) = (0, 0);
        let mut found = None;
        for k in 0..count {
            let sizes: Sizes =
                (u32_at(&bytes, table + 8 * k) as usize, u32_at(&bytes, table + 8 * k + 4) as usize);
            if wanted < content + sizes.1 {
                let frame = zstd::bulk::decompress(&bytes[file..file + sizes.0], sizes.1).unwrap();
                found = Some(frame[wanted - content]);
                break;
            }
            file += sizes.0;
            content += sizes.1;
        }
        assert_eq!(found, Some(tar[wanted]), "{wanted}");
    }
}

#[test]
fn a_full_check_makes_the_seek_table_again() {
    let bytes = book::pack(&Content::default());
    let start = Book::read(&bytes).payload_end();
    for at in start..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        // Reading does not need it …
        let bundle = open(changed).unwrap();
        // … and a full check compares it.
        let broken = check::check(&bundle, 1, &Silent, &|| false).unwrap();
        assert_eq!(broken.len(), 1);
        assert_eq!((broken[0].frame, broken[0].offset), (None, start as u64));
    }
}
