//! A picture of a host, to compare: an install that was refused must not have changed it.

use crate::host::Host;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

/// Things that the engine holds or that lie in Ferry's folder, each with what it is.
pub type Snapshot = BTreeMap<String, String>;

/// Takes the picture.
///
/// # Panics
/// When the engine does not answer.
#[track_caller]
#[must_use]
pub fn take(host: &Host) -> Snapshot {
    let mut all = Snapshot::new();
    let lists: [(&str, &[&str]); 4] = [
        ("container", &["ps", "--all", "--no-trunc", "--format", "{{.ID}} {{.Names}} {{.State}} {{.Image}}"]),
        (
            "image",
            &[
                "images",
                "--all",
                "--no-trunc",
                "--digests",
                "--format",
                "{{.ID}} {{.Repository}}:{{.Tag}} {{.Digest}}",
            ],
        ),
        ("volume", &["volume", "ls", "--format", "{{.Name}} {{.Driver}}"]),
        ("network", &["network", "ls", "--no-trunc", "--format", "{{.ID}} {{.Name}}"]),
    ];
    for (kind, arguments) in lists {
        for line in host.docker_text(arguments).lines() {
            all.insert(format!("{kind} {line}"), String::new());
        }
    }
    all.extend(files(&host.root));
    all
}

/// Every file, folder and link below `folder`: mode, owner, and content or target.
///
/// # Panics
/// When something cannot be read.
#[track_caller]
#[must_use]
pub fn files(folder: &Path) -> Snapshot {
    let mut found = Snapshot::new();
    if folder.exists() {
        walk(folder, folder, &mut found);
    }
    found
}

fn walk(top: &Path, path: &Path, found: &mut Snapshot) {
    let metadata = fs::symlink_metadata(path).unwrap();
    let mode = metadata.permissions().mode() & 0o7777;
    let owner = format!("{mode:o} {}:{}", metadata.uid(), metadata.gid());
    let what = if metadata.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            walk(top, &entry.unwrap().path(), found);
        }
        format!("folder {owner}")
    } else if metadata.is_symlink() {
        format!("link to {}", fs::read_link(path).unwrap().display())
    } else {
        format!("file {owner} {}", sha256(&fs::read(path).unwrap()))
    };
    let name = path.strip_prefix(top).unwrap().display().to_string();
    found.insert(format!("file /{name}"), what);
}

/// SHA-256 in hexadecimal.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The differences, for messages.
#[must_use]
pub fn difference(before: &Snapshot, after: &Snapshot) -> String {
    let mut text = String::new();
    for (name, what) in before {
        match after.get(name) {
            None => text.push_str(&format!("- {name} {what}\n")),
            Some(now) if now != what => text.push_str(&format!("~ {name}: {what} -> {now}\n")),
            Some(_) => {}
        }
    }
    for (name, what) in after.iter().filter(|(name, _)| !before.contains_key(*name)) {
        text.push_str(&format!("+ {name} {what}\n"));
    }
    text
}

/// Demands that nothing has changed.
///
/// # Panics
/// When something has.
#[track_caller]
pub fn assert_unchanged(before: &Snapshot, after: &Snapshot, what: &str) {
    assert!(before == after, "{what} has changed the host:\n{}", difference(before, after));
}
