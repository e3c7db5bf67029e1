//! The inputs that make a trial out of date when they change: files, and the commits that refs of git artifacts mean.

use manifest_schema::manifest::{ArtifactFrom, ArtifactSpec};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// The state of all inputs at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Inputs {
    files: BTreeMap<PathBuf, (u64, Option<SystemTime>)>,
    commits: Vec<Vec<u8>>,
}

/// Folders deeper than this, and more files than this, are nobody's sources.
const MAX_DEPTH: usize = 16;
const MAX_FILES: usize = 100_000;

impl Inputs {
    /// The files below `folder`, the manifest's.
    pub(super) fn below(folder: &Path) -> Self {
        let mut found = Self::default();
        look(folder, 0, &mut found.files);
        found
    }

    /// And one file that may lie elsewhere.
    pub(super) fn file(&mut self, path: &Path) {
        if let Ok(metadata) = fs::metadata(path) {
            self.files.insert(path.to_owned(), (metadata.len(), metadata.modified().ok()));
        }
    }

    /// And what the refs of git artifacts mean.
    pub(super) fn commits(&mut self, artifacts: &[ArtifactSpec], folder: &Path) {
        for artifact in artifacts {
            if let ArtifactFrom::Git { repository, reference, .. } = &artifact.from {
                let commit = Command::new("git")
                    .arg("-C")
                    .arg(folder.join(repository))
                    .args(["rev-parse", "--verify", "--quiet", "--end-of-options"])
                    .arg(format!("{reference}^{{commit}}"))
                    .output()
                    .map(|output| output.stdout)
                    .unwrap_or_default();
                self.commits.push(commit);
            }
        }
    }
}

fn look(folder: &Path, depth: usize, files: &mut BTreeMap<PathBuf, (u64, Option<SystemTime>)>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // What Ferry writes itself, and what git does.
        let own = name.starts_with('.') && name != ".env"
            || (depth == 0 && name == "images")
            || name.ends_with(".fz");
        let Ok(metadata) = entry.metadata() else { continue };
        if own || files.len() >= MAX_FILES {
            continue;
        }
        if metadata.is_dir() && depth < MAX_DEPTH {
            look(&entry.path(), depth + 1, files);
        } else if metadata.is_file() {
            files.insert(entry.path(), (metadata.len(), metadata.modified().ok()));
        }
    }
}
