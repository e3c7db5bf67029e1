//! FORMAT.md, section 12: version 2.

use super::book::{self, Book, Content, error, open, u32_at};
use bundle_format::{FormatError, Trust, UnverifiedBundle, check};
use manifest_schema::feature::{FEATURES, Feature, SEED_OWNER, SERIAL};
use manifest_schema::progress::Silent;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const NEEDS_SERIAL: &[(&str, &str)] = &[("serial", "0.2.0")];

#[test]
fn an_index_of_version_2_has_an_extension_before_its_entries() {
    let bytes = book::pack_2(&[], |_| {});
    let book = Book::read(&bytes);
    let index = &book.index;
    assert_eq!((u32_at(index, 8), u32_at(index, 28)), (2, 12));
    assert_eq!(book.extension, br#"{"needs":[]}"#);
    assert_eq!(index.len(), 72 + 12 + 40 * book.frames.len());
    for frame in &book.frames {
        assert_eq!(Sha256::digest(&bytes[frame.start..frame.end]).as_slice(), frame.digest);
    }
    let bundle = open(bytes.clone()).unwrap();
    assert_eq!(bundle.verified().id().as_bytes(), Sha256::digest(index).as_slice());
    assert!(check::check(&bundle, 1, &Silent, &|| false).unwrap().is_empty());
    // The rest of the file is that of version 1.
    assert_eq!(zstd::decode_all(bytes.as_slice()).unwrap()[512..522], *br#"{"ferry":2"#);
    assert!(book.head.len() - (16 + index.len()) >= 8 << 10);
    for edit in [
        |index: &mut Vec<u8>| index[28] += 1,
        |index: &mut Vec<u8>| index[28] -= 1,
        |index: &mut Vec<u8>| index[28..32].fill(0),
        |index: &mut Vec<u8>| index[28..32].fill(0xff),
        |index: &mut Vec<u8>| index[72] = b'[',
        |index: &mut Vec<u8>| index.truncate(index.len() - 40),
        |index: &mut Vec<u8>| index[24..28].fill(0),
    ] {
        let found = error(book::with_index(&bytes, edit));
        assert!(matches!(found, FormatError::Inconsistent(_)), "{found}");
    }
}

#[test]
fn index_and_ferry_json_have_the_same_version() {
    let mixed = |ferry: u32| {
        let content = Content { index_2: Some(ferry == 1), ..Content::default() };
        error(book::pack_described(&content, |json| {
            json["ferry"] = json!(ferry);
            if ferry == 2 {
                json["needs"] = json!([]);
            }
        }))
    };
    for (ferry, index) in [(1, 2), (2, 1)] {
        let says = format!(
            "the bundle contradicts itself: its index has version {index}, and its ferry.json version {ferry}"
        );
        assert_eq!(mixed(ferry).to_string(), says);
    }
}

#[test]
fn members_and_the_features_that_they_need_stand_together() {
    open(book::pack_2(&[], |_| {})).unwrap();
    open(book::pack_2(&[("seed-owner", "0.2.0")], |_| {})).unwrap();
    let serial = open(book::pack_2(NEEDS_SERIAL, |json| json["serial"] = json!((1_u64 << 53) - 1))).unwrap();
    assert_eq!(serial.release().serial, Some((1 << 53) - 1));
    assert!(serial.release().needs(SERIAL) && !serial.release().needs(SEED_OWNER));
    type Edit = fn(&mut Value);
    let with_serial: [(&str, Edit); 5] = [
        ("a feature without its member", |_| {}),
        ("0", |json| json["serial"] = json!(0)),
        ("2^53", |json| json["serial"] = json!(1_u64 << 53)),
        ("a text", |json| json["serial"] = json!("7")),
        ("null", |json| json["serial"] = Value::Null),
    ];
    for (what, edit) in with_serial {
        assert!(matches!(error(book::pack_2(NEEDS_SERIAL, edit)), FormatError::Release(_)), "{what}");
    }
    let without: [(&str, Edit); 5] = [
        ("a member without its feature", |json| json["serial"] = json!(7)),
        ("an unknown member", |json| json["later"] = json!(7)),
        ("no needs", |json| drop(json.as_object_mut().unwrap().remove("needs"))),
        ("needs that are null", |json| json["needs"] = Value::Null),
        ("another member of a need", |json| {
            json["needs"] = json!([{ "feature": "seed-owner", "fz": "0.2.0", "why": "x" }]);
        }),
    ];
    for (what, edit) in without {
        assert!(matches!(error(book::pack_2(&[], edit)), FormatError::Release(_)), "{what}");
    }
    // Members of version 2 are unknown in version 1.
    let in_version_1: [Edit; 3] = [
        |json| json["needs"] = json!([]),
        |json| json["serial"] = json!(7),
        |json| {
            json["needs"] = json!([{ "feature": "serial", "fz": "0.2.0" }]);
            json["serial"] = json!(7);
        },
    ];
    for edit in in_version_1 {
        assert!(matches!(error(book::pack_described(&Content::default(), edit)), FormatError::Release(_)));
    }
}

#[test]
fn needs_are_sorted_bounded_and_well_spelt() {
    let refused = |needs: &[(&str, &str)]| {
        let found = error(book::pack_2(needs, |_| {}));
        assert!(matches!(found, FormatError::Release(_)), "{needs:?}: {found}");
    };
    refused(&[("serial", "0.2.0"), ("seed-owner", "0.2.0")]);
    refused(&[("seed-owner", "0.2.0"), ("seed-owner", "0.2.0")]);
    for name in ["", "Serial", "7", "-a", "a b", "a\nerror: all is well", &"a".repeat(33)] {
        refused(&[(name, "0.2.0")]);
    }
    for fz in ["", "0.2", "0.2.0.0", "00.2.0", "0.2.0\nhint: none", "v0.2.0", "4294967296.0.0"] {
        refused(&[("later", fz)]);
    }
    let names: Vec<String> = (10..43).map(|n| format!("later-{n}")).collect();
    let needs: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "9.0.0")).collect();
    refused(&needs);
    assert!(
        matches!(error(book::pack_2(&needs[1..], |_| {})), FormatError::Needs(missing) if missing.needs.len() == 32)
    );
}

#[test]
fn a_reader_names_every_feature_that_it_lacks_before_it_reads_on() {
    // Members of those features, and members that no version could have, are not looked at.
    let needs = [("data-epoch", "0.3.0"), ("serial", "0.2.0"), ("update", "0.5.0")];
    let found = error(book::pack_2(&needs, |json| {
        json["serial"] = json!("not yet");
        json["data"] = json!({ "epoch": 3 });
        json["images"] = json!(7);
        json["version"] = Value::Null;
    }));
    let says = "the bundle needs what this program does not have: `data-epoch` (since 0.3.0), `update` (since 0.5.0)";
    assert_eq!(found.to_string(), says);
    let FormatError::Needs(missing) = found else { panic!("{found}") };
    assert_eq!((missing.newest().as_str(), missing.product.unwrap().as_str()), ("0.5.0", "site"));
    // A name that is no name of a product is not shown.
    let nameless = error(book::pack_2(&needs, |json| json["name"] = json!("a\nb")));
    assert!(matches!(nameless, FormatError::Needs(missing) if missing.product.is_none()));
    // Of the index, too: what stands behind its extension is not read.
    let bytes = book::with_index(&book::pack_2(&[], |_| {}), |index| {
        let extension = br#"{"needs":[{"feature":"encrypted","fz":"0.6.0"}],"encryption":7}"#;
        index.splice(72..84, extension.iter().copied());
        index[28] = extension.len() as u8;
        index[24..28].fill(0);
        let entries = index.len() - 72 - extension.len();
        index[72 + extension.len()..].copy_from_slice(&vec![0; entries]);
    });
    let says = "the bundle needs what this program does not have: `encrypted` (since 0.6.0)";
    assert_eq!(error(bytes).to_string(), says);
    // A reader with a list of its own lacks what is not on it.
    let read = |bytes: &[u8], known: &[Feature]| {
        let mut reader = bytes;
        let unverified = UnverifiedBundle::read(&mut reader).unwrap();
        unverified.verify_with(&Trust::AnyValid, known, &mut reader).map(drop)
    };
    let needs: Vec<(&str, &str)> = FEATURES.iter().map(|feature| (feature.name, feature.since)).collect();
    let bytes = book::pack_2(&needs, |json| json["serial"] = json!(1));
    read(&bytes, FEATURES).unwrap();
    for lacking in FEATURES {
        let others: Vec<Feature> = FEATURES.iter().copied().filter(|feature| feature != lacking).collect();
        let says = format!(
            "the bundle needs what this program does not have: `{}` (since {})",
            lacking.name, lacking.since
        );
        assert_eq!(read(&bytes, &others).unwrap_err().to_string(), says);
    }
}

/// Rows of the table of features, below the sentence 12.9.
#[test]
fn the_features_of_the_book_are_those_of_the_reader() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("FORMAT.md")).unwrap();
    let rows = |text: &str| -> Vec<Vec<String>> {
        let lines =
            text.lines().skip_while(|line| !line.starts_with("| ")).take_while(|line| line.starts_with('|'));
        lines
            .skip(2)
            .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect())
            .collect()
    };
    let (_, after) = text.split_once("**12.9**").unwrap();
    let found: Vec<(String, String)> =
        rows(after).into_iter().map(|row| (row[0].clone(), row.last().unwrap().clone())).collect();
    let ours: Vec<(String, String)> =
        FEATURES.iter().map(|feature| (feature.name.to_owned(), feature.since.to_owned())).collect();
    assert_eq!(found, ours);
    // On paper, those that a release has shipped, or will with the next, say so.
    let paper = std::fs::read_to_string(root.join("../docs/FORMAT-2.md")).unwrap();
    let (_, after) = paper.split_once("## Names of features").unwrap();
    let since: Vec<(String, String)> = rows(after)
        .into_iter()
        .map(|row| (row[0].clone(), row.last().unwrap().clone()))
        .filter(|(_, since)| !since.is_empty())
        .collect();
    let mut sorted = since.clone();
    sorted.sort();
    assert_eq!(sorted, ours);
}

#[test]
fn a_manifest_says_nothing_that_ferry_json_does_not_speak_of() {
    use bundle_format::texts;
    let begin = "name: site\nversion: summer\ncompose: compose.yaml\n";
    let owner = "volumes: { v: { seed: s, owner: '1:1' } }\n";
    let read = |manifest: String, ferry: u32, serial: Option<u64>, needs: &[(&str, &str)]| {
        let content = Content { manifest: manifest.into_bytes(), ..Content::default() };
        let bytes = book::pack_described(&content, |json| {
            json["ferry"] = json!(ferry);
            if ferry == 2 {
                json["needs"] = needs.iter().map(|(name, fz)| json!({ "feature": name, "fz": fz })).collect();
            }
            if let Some(serial) = serial {
                json["serial"] = json!(serial);
            }
        });
        texts::manifest(&open(bytes).unwrap())
            .map(|manifest| manifest.ferry)
            .map_err(|error| error.to_string())
    };
    let seed_owner = &[("seed-owner", "0.2.0")];
    for (manifest, ferry, serial, needs) in [
        (format!("ferry: 1\n{begin}"), 1, None, &[][..]),
        (format!("ferry: 1\n{begin}"), 2, None, &[]),
        (format!("ferry: 2\n{begin}"), 2, None, &[]),
        (format!("ferry: 2\n{begin}serial: 7\n"), 2, Some(7), NEEDS_SERIAL),
        (format!("ferry: 2\n{begin}{owner}"), 2, None, seed_owner),
    ] {
        assert!(read(manifest.clone(), ferry, serial, needs).is_ok(), "{manifest}");
    }
    for (manifest, ferry, serial, needs) in [
        (format!("ferry: 2\n{begin}"), 1, None, &[][..]),
        (format!("ferry: 2\n{begin}serial: 7\n"), 2, None, &[]),
        (format!("ferry: 2\n{begin}serial: 7\n"), 2, Some(8), NEEDS_SERIAL),
        (format!("ferry: 2\n{begin}"), 2, Some(8), NEEDS_SERIAL),
        (format!("ferry: 2\n{begin}{owner}"), 2, None, &[]),
    ] {
        let found = read(manifest.clone(), ferry, serial, needs).unwrap_err();
        assert!(found.contains("that ferry.json does not speak of"), "{manifest}: {found}");
    }
}
