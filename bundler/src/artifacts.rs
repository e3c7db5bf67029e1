//! Build artifacts: files, folders, packages, archives and paths of git repositories, turned into a
//! plan of tar entries before anything is packed.
//!
//! Invariants: equal files give equal plans, whatever the machine's owners, times, modes or
//! directory order; a symbolic link never leads out of its artifact; no two artifacts want the same
//! path; and what is packed is what was planned, or the build fails.

mod binds;
mod folder;
pub(crate) mod git;
mod places;
pub(crate) mod seed;

use crate::cancel::Cancel;
use crate::inputs::Inputs;
use crate::inputs::mentions::Mentions;
use crate::read::exactly::Exactly;
use crate::read::folder::{LEADS_OUT, leads_out};
use anyhow::{Context, bail};
use ferry_terminal::human;
use manifest_schema::manifest::{ArtifactFrom, ArtifactSpec};
use manifest_schema::release::ArtifactKind;
use manifest_schema::{BundlePath, Diagnostics};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// One artifact as it will be packed.
#[derive(Debug)]
pub(crate) struct ArtifactPlan {
    /// `from` as written in the manifest.
    pub from: String,
    /// Path below `artifacts/`.
    pub to: BundlePath,
    pub kind: ArtifactKind,
    /// For git: the full commit id.
    pub commit: Option<String>,
    /// Its entries, sorted by their paths' bytes, so that folders come before what they hold.
    pub entries: Vec<PlannedEntry>,
    /// 1-based line in the manifest.
    pub line: usize,
}

#[derive(Debug)]
pub(crate) struct PlannedEntry {
    /// Path below `artifacts/`.
    pub path: BundlePath,
    pub kind: EntryKind,
}

#[derive(Debug)]
pub(crate) enum EntryKind {
    File {
        source: Content,
        /// Its size in bytes.
        size: u64,
        /// True for mode 0755, false for 0644.
        executable: bool,
    },
    /// A folder, mode 0755.
    Folder,
    /// A symbolic link that stays inside the artifact.
    Symlink {
        /// As it is written in the link.
        target: String,
    },
}

/// Where a file's content lies.
#[derive(Debug)]
pub(crate) enum Content {
    /// A file of this size in bytes.
    Path(PathBuf, u64),
    /// An object of a git repository.
    Git(git::Blob),
}

impl PlannedEntry {
    /// The file's content: exactly as many bytes as were planned; nothing for what is no file.
    ///
    /// # Errors
    /// When the file is gone or is another one.
    pub(crate) fn open(&self) -> anyhow::Result<Box<dyn Read + Send>> {
        match &self.kind {
            EntryKind::File { source, .. } => source.open(),
            _ => Ok(Box::new(io::empty())),
        }
    }
}

impl Content {
    /// The content: exactly as many bytes as were planned. Reading fails where the file has shrunk
    /// or grown since.
    ///
    /// # Errors
    /// When the file is gone or is another one.
    pub(crate) fn open(&self) -> anyhow::Result<Box<dyn Read + Send>> {
        match self {
            Self::Git(blob) => blob.open(),
            Self::Path(path, size) => {
                let file =
                    File::open(path).with_context(|| format!("{} cannot be opened", path.display()))?;
                let metadata = file.metadata()?;
                if !metadata.is_file() || metadata.len() != *size {
                    bail!("{} changed after the build began", path.display());
                }
                let what = path.display().to_string();
                Ok(Box::new(NotGrown {
                    inner: Exactly::new(file.try_clone()?, *size, what.clone()),
                    file,
                    what,
                }))
            }
        }
    }
}

/// Looks behind the last planned byte.
struct NotGrown {
    inner: Exactly<File>,
    file: File,
    what: String,
}

impl Read for NotGrown {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        // Both handles share one position, which now stands at the planned end.
        if count == 0 && !buffer.is_empty() && self.file.read(&mut [0; 1])? > 0 {
            return Err(io::Error::other(format!("{} grew while it was read", self.what)));
        }
        Ok(count)
    }
}

impl ArtifactPlan {
    #[must_use]
    pub(crate) fn files(&self) -> u64 {
        self.entries.iter().filter(|entry| matches!(entry.kind, EntryKind::File { .. })).count() as u64
    }

    /// Bytes of all files.
    #[must_use]
    pub(crate) fn bytes(&self) -> u64 {
        let size =
            |entry: &PlannedEntry| if let EntryKind::File { size, .. } = entry.kind { size } else { 0 };
        self.entries.iter().map(size).fold(0, u64::saturating_add)
    }
}

/// Plans the artifacts of `inputs`: all their files are found, none is read.
///
/// # Errors
/// Lists every artifact that cannot be packed, and every mount that no artifact provides.
pub(crate) fn of(inputs: &Inputs, cancel: &Cancel) -> anyhow::Result<Vec<ArtifactPlan>> {
    let manifest = (inputs.manifest_shown.as_str(), inputs.manifest_text.as_str());
    let plans = plan(&inputs.manifest.artifacts, &inputs.folder, manifest, cancel);
    // What was not looked at is not missing.
    cancel.check()?;
    let plans = plans?;
    binds::check(inputs, &plans)?;
    Ok(plans)
}

/// Plans all artifacts. `folder` holds the manifest, which messages call `file` and which reads `text`.
///
/// # Errors
/// Lists every artifact that cannot be packed as it is.
fn plan(
    specs: &[ArtifactSpec],
    folder: &Path,
    (file, text): (&str, &str),
    cancel: &Cancel,
) -> Result<Vec<ArtifactPlan>, Diagnostics> {
    let mentions = Mentions::read(file, text);
    let mut plans = Vec::new();
    let mut wrong = Diagnostics::default();
    let at = |from: &str, line: usize, message: String| {
        // It quotes names of files.
        mentions.mistake("artifacts", from, line, human::printable(&message))
    };
    for spec in specs {
        match plan_one(spec, folder, cancel) {
            Ok(plan) => plans.push(plan),
            Err(error) => {
                let mistake = at(&spec.text, spec.line, format!("artifact `{}`: {error:#}", spec.text));
                let cause = error.root_cause().downcast_ref::<io::Error>();
                wrong.push(match cause.map(io::Error::kind) {
                    Some(io::ErrorKind::NotFound) => {
                        mistake.hint("paths in the manifest start at its own folder")
                    }
                    _ => mistake,
                });
            }
        }
    }
    for (from, line, message) in places::collisions(&plans) {
        wrong.push(at(&from, line, message).hint("give one of them another `to`"));
    }
    wrong.or_ok(plans)
}

fn plan_one(spec: &ArtifactSpec, folder: &Path, cancel: &Cancel) -> anyhow::Result<ArtifactPlan> {
    let (to, kind, commit, mut entries) = match &spec.from {
        ArtifactFrom::Path(path) => {
            if leads_out(folder, path) {
                bail!("{LEADS_OUT}; copy its target there, or write the target's own path");
            }
            let path = folder.join(path);
            let metadata = path.metadata().with_context(|| format!("{} cannot be found", path.display()))?;
            if metadata.is_dir() {
                let to = destination(spec, &path, false)?;
                let mut entries = folder::below(&path, cancel)?;
                for entry in &mut entries {
                    entry.path = to.join(entry.path.as_str())?;
                }
                entries.push(PlannedEntry { path: to.clone(), kind: EntryKind::Folder });
                (to, ArtifactKind::Folder, None, entries)
            } else {
                let (to, kind) = (destination(spec, &path, true)?, kind_of(&path)?);
                (to.clone(), kind, None, vec![folder::file(&path, &metadata, to)?])
            }
        }
        ArtifactFrom::Git { repository, reference, path } => {
            let repository = folder.join(repository);
            let path: Option<BundlePath> = path.as_deref().map(str::parse).transpose()?;
            let tree = git::tree(&repository, reference, path.as_ref(), cancel)?;
            let to = match &path {
                Some(path) => destination(spec, Path::new(path.as_str()), tree.single_file)?,
                None => destination(spec, &repository, false)?,
            };
            if tree.files.is_empty() {
                bail!("there is no file in it at `{reference}`");
            }
            (to.clone(), ArtifactKind::Git, Some(tree.commit.clone()), git_entries(tree, &to)?)
        }
    };
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(ArtifactPlan { from: spec.text.clone(), to, kind, commit, entries, line: spec.line })
}

/// `to`, or the name of `path`; a single file keeps its name below a `to` that ends with `/`.
fn destination(spec: &ArtifactSpec, path: &Path, single_file: bool) -> anyhow::Result<BundlePath> {
    let below = spec.to_folder && single_file;
    if let Some(to) = spec.to.as_ref().filter(|_| !below) {
        return Ok(to.clone());
    }
    // `.` and `..` have names too: those of the folders they stand for.
    let real = if path.file_name().is_none() { path.canonicalize()? } else { path.to_owned() };
    let name = real.file_name().context("it has no name of its own; write where it goes as `to`")?;
    let name = name.to_str().with_context(|| format!("its name {} is not UTF-8", name.display()))?;
    Ok(match &spec.to {
        Some(to) => to.join(name)?,
        None => name.parse()?,
    })
}

/// The kind of a file by its name; where the name promises a format, the first bytes must agree.
fn kind_of(path: &Path) -> anyhow::Result<ArtifactKind> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let (kind, magics, promised): (_, &[&[u8]], _) = match name.as_str() {
        name if name.ends_with(".deb") => (ArtifactKind::Deb, &[b"!<arch>\n"], "a Debian package"),
        name if name.ends_with(".jar") => {
            (ArtifactKind::Jar, &[b"PK\x03\x04", b"PK\x05\x06"], "a Java archive")
        }
        name if name.ends_with(".zip") => {
            (ArtifactKind::Archive, &[b"PK\x03\x04", b"PK\x05\x06"], "a zip archive")
        }
        name if name.ends_with(".tar.gz") || name.ends_with(".tgz") => {
            (ArtifactKind::Archive, &[b"\x1f\x8b"], "a gzip archive")
        }
        name if [".tar", ".tar.zst", ".tar.xz", ".tar.bz2"].iter().any(|ending| name.ends_with(ending)) => {
            return Ok(ArtifactKind::Archive);
        }
        _ => return Ok(ArtifactKind::File),
    };
    if !path.metadata()?.is_file() {
        // What it is instead is told where its entry is made; opening a pipe would wait.
        return Ok(kind);
    }
    let mut head = Vec::new();
    File::open(path)
        .and_then(|file| file.take(8).read_to_end(&mut head))
        .with_context(|| format!("{} cannot be read", path.display()))?;
    if !magics.iter().any(|magic| head.starts_with(magic)) {
        bail!("{} is named like {promised}, but does not begin like one", path.display());
    }
    Ok(kind)
}

/// A tree's files and the folders that they lie in.
fn git_entries(tree: git::Tree, to: &BundlePath) -> anyhow::Result<Vec<PlannedEntry>> {
    let mut entries = Vec::new();
    let mut folders = std::collections::BTreeSet::new();
    if !tree.single_file {
        folders.insert(to.clone());
    }
    for file in tree.files {
        let kind = match file.kind {
            git::TreeFileKind::File { blob, size, executable } => {
                EntryKind::File { source: Content::Git(blob), size, executable }
            }
            git::TreeFileKind::Symlink(target) => {
                places::check_link(&file.path, &target)?;
                EntryKind::Symlink { target }
            }
        };
        let path = if file.path.is_empty() { to.clone() } else { to.join(&file.path)? };
        let mut above = file.path.as_str();
        while let Some((folder, _)) = above.rsplit_once('/') {
            folders.insert(to.join(folder)?);
            above = folder;
        }
        entries.push(PlannedEntry { path, kind });
    }
    entries.extend(folders.into_iter().map(|path| PlannedEntry { path, kind: EntryKind::Folder }));
    Ok(entries)
}

#[cfg(test)]
mod tests;
