//! Ceilings on outside data stand in `limits`, each with its reason.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::path::Path;

/// Constants named like ceilings that bound no outside data.
const OTHERS: [(&str, &str); 3] = [
    ("MAX_NAMES", "the names that a hint lists"),
    ("MAX_STORED_BYTES", "a block as RFC 8878 defines it"),
    ("MAX_LISTED", "the broken places that a report lists"),
];

/// Constants of a file that bound something, by their names, each with the line before it.
fn ceilings(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut before = "";
    for line in text.lines() {
        let declared = line.trim().split_once("const ").filter(|(visibility, _)| {
            visibility.is_empty() || (visibility.starts_with("pub") && !visibility.contains("fn"))
        });
        if let Some((name, _)) = declared.and_then(|(_, rest)| rest.split_once(':')) {
            let bounds = |word: &str| ["MAX", "MOST", "LIMIT", "CEILING", "FUEL"].contains(&word);
            if name.split('_').any(bounds) {
                found.push((name.to_owned(), before.to_owned()));
            }
        }
        before = line.trim();
    }
    found
}

fn each_source(folder: &Path, see: &mut dyn FnMut(&Path, &str)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            each_source(&path, see);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            see(&path, &fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn limits_holds_every_ceiling_of_what_both_programs_read() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut elsewhere, mut inside, mut others) = (Vec::new(), 0, 0);
    for folder in ["src", "../bundle-format/src"] {
        each_source(&root.join(folder), &mut |path, text| {
            for (name, before) in ceilings(text) {
                if path.ends_with("manifest-schema/src/limits.rs") {
                    assert!(before.starts_with("///"), "{name} has no reason");
                    inside += 1;
                } else if OTHERS.iter().any(|(other, _)| *other == name) {
                    others += 1;
                } else {
                    elsewhere.push(format!("{}: {name}", path.display()));
                }
            }
        });
    }
    assert_eq!(elsewhere, [""; 0]);
    assert!(inside > 35, "{inside}");
    assert_eq!(others, OTHERS.len(), "an exception stands nowhere");
}

#[test]
fn ceilings_of_one_program_have_a_reason_beside_their_readers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for folder in ["../bundler/src", "../installer/src"] {
        each_source(&root.join(folder), &mut |path, text| {
            for (name, before) in ceilings(text) {
                // Two of a kind may share one.
                let has_reason = before.starts_with("///") || before.contains("const ");
                assert!(has_reason, "{}: {name} has no reason", path.display());
                count += 1;
            }
        });
    }
    assert!(count > 15, "{count}");
}
