//! A folder of the connected machine as planned entries.
//!
//! Invariants: nothing outside the folder is read, since links are kept as links, and what
//! cannot be carried (sockets, devices, pipes, names that are not text) is an error, never left out.

use super::{Content, EntryKind, PlannedEntry, places};
use crate::cancel::Cancel;
use anyhow::{Context, bail};
use manifest_schema::BundlePath;
use manifest_schema::limits::MAX_ARCHIVE_ENTRIES;
use std::fs::Metadata;
use std::path::{Path, PathBuf};

/// The entry of one file.
pub(super) fn file(path: &Path, metadata: &Metadata, to: BundlePath) -> anyhow::Result<PlannedEntry> {
    if !metadata.is_file() {
        bail!("{} is neither a file nor a folder", path.display());
    }
    let size = metadata.len();
    let source = Content::Path(path.to_owned(), size);
    Ok(PlannedEntry { path: to, kind: EntryKind::File { source, size, executable: executable(metadata) } })
}

#[cfg(unix)]
fn executable(metadata: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o111 != 0
}

/// Windows has no such bit.
#[cfg(not(unix))]
fn executable(_: &Metadata) -> bool {
    false
}

/// All that lies below `root`, by its path from there, in no order.
pub(super) fn below(root: &Path, cancel: &Cancel) -> anyhow::Result<Vec<PlannedEntry>> {
    let mut entries = Vec::new();
    let mut waiting: Vec<(PathBuf, String)> = vec![(root.to_owned(), String::new())];
    while let Some((folder, inside)) = waiting.pop() {
        let listing = folder.read_dir().with_context(|| format!("{} cannot be listed", folder.display()))?;
        for entry in listing {
            cancel.check()?;
            let path = entry.with_context(|| format!("{} cannot be listed", folder.display()))?.path();
            let name = path.file_name().unwrap_or_default();
            let name =
                name.to_str().with_context(|| format!("the name of {} is not UTF-8", path.display()))?;
            let inside = if inside.is_empty() { name.to_owned() } else { format!("{inside}/{name}") };
            let to: BundlePath = inside.parse()?;
            let metadata =
                path.symlink_metadata().with_context(|| format!("{} cannot be read", path.display()))?;
            if metadata.is_symlink() {
                let target =
                    path.read_link().with_context(|| format!("{} cannot be read", path.display()))?;
                let target = target
                    .to_str()
                    .with_context(|| format!("the target of {} is not UTF-8", path.display()))?;
                places::check_link(&inside, target)?;
                entries
                    .push(PlannedEntry { path: to, kind: EntryKind::Symlink { target: target.to_owned() } });
            } else if metadata.is_dir() {
                entries.push(PlannedEntry { path: to, kind: EntryKind::Folder });
                waiting.push((path, inside));
            } else {
                entries.push(file(&path, &metadata, to)?);
            }
            if entries.len() > MAX_ARCHIVE_ENTRIES {
                bail!(
                    "{} holds more than {MAX_ARCHIVE_ENTRIES} entries; pack it as an archive",
                    root.display()
                );
            }
        }
    }
    Ok(entries)
}
