//! Files that appear whole or not at all: written without a name, synced, named, and the folder synced.
//!
//! Invariants: a process may die at any instruction, and the power may go. The name then leads to the old content or
//! to the new one, never to a part. While it is written, a file has no name (`O_TMPFILE`, open(2)), so a killed process
//! leaves nothing. Where the file system has no such files, and for the moment before an older file is replaced, it is
//! named `.new-NAME-RANDOM` and locked; the next file of that NAME removes those that nobody locks.

use crate::writing;
use anyhow::{Context, Result};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tempfile::{NamedTempFile, TempPath};

/// The beginning of every temporary name.
pub const PREFIX: &str = ".new-";

/// The longest part of a file's name that goes into its temporary one, in bytes: names end at 255.
const MAX_NAME_PART_BYTES: usize = 100;

/// A file on its way: it is gone unless [`WholeFile::finish`] gives it its name.
#[derive(Debug)]
pub struct WholeFile {
    file: File,
    /// `None`: it has no name yet.
    temporary: Option<TempPath>,
    path: PathBuf,
}

impl WholeFile {
    /// Begins the file `path`, empty and with mode 0600. What killed processes left of it is removed.
    ///
    /// # Errors
    /// When its folder cannot be written.
    pub fn begin(path: &Path) -> Result<Self> {
        remove_leftovers(path);
        let (file, temporary) = match unnamed(folder_of(path)) {
            Some(file) => (file, None),
            None => {
                let (file, temporary) =
                    named(path).map_err(|error| writing::failed(path, None, error))?.into_parts();
                (file, Some(temporary))
            }
        };
        // Others see by it that somebody writes. A file system without locks shows every file as written.
        let _ = file.try_lock();
        Ok(Self { file, temporary, path: path.to_owned() })
    }

    /// The file, to be written and locked.
    #[must_use]
    pub fn as_file(&self) -> &File {
        &self.file
    }

    /// The file, to be written and sought in.
    #[must_use]
    pub fn as_file_mut(&mut self) -> &mut File {
        &mut self.file
    }

    /// Gives the file its name, with the permission bits `mode` where the system has such. An older file of that
    /// name is replaced.
    ///
    /// # Errors
    /// When writing fails; the older file is then still there.
    pub fn finish(self, mode: u32) -> Result<File> {
        self.named(mode, true)
    }

    /// As [`WholeFile::finish`], but an older file of that name stays.
    ///
    /// # Errors
    /// When writing fails, or there is one; the cause then is an [`io::Error`] that says so.
    pub fn finish_new(self, mode: u32) -> Result<File> {
        self.named(mode, false)
    }

    fn named(self, mode: u32, replaces: bool) -> Result<File> {
        let Self { file, temporary, path } = self;
        let failed = |error: io::Error| writing::failed(&path, None, error);
        set_mode(&file, mode).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        let temporary = match temporary {
            Some(temporary) => Some(temporary),
            None => link(&file, &path, replaces).map_err(failed)?,
        };
        if let Some(temporary) = temporary {
            let persisted =
                if replaces { temporary.persist(&path) } else { temporary.persist_noclobber(&path) };
            // The error of `persist` holds the file, which would stay as long as it.
            persisted.map_err(|unnamed| unnamed.error).map_err(failed)?;
        }
        sync_folder(folder_of(&path))?;
        Ok(file)
    }
}

/// A file with a temporary name.
fn named(path: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new().prefix(&prefix(path)).tempfile_in(folder_of(path))
}

/// A file without a name; `None` where the file system or the system has none, or no way to name it later.
#[cfg(target_os = "linux")]
fn unnamed(folder: &Path) -> Option<File> {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = File::from(openat(CWD, folder, flags, Mode::RUSR | Mode::WUSR).ok()?);
    by_number(&file).exists().then_some(file)
}

#[cfg(not(target_os = "linux"))]
fn unnamed(_: &Path) -> Option<File> {
    None
}

/// Names a file that has none: at once where the name is free, else beside it, to be renamed where it `replaces`.
#[cfg(target_os = "linux")]
fn link(file: &File, path: &Path, replaces: bool) -> io::Result<Option<TempPath>> {
    use rustix::fs::{AtFlags, CWD, linkat};
    let to = |path: &Path| Ok(linkat(CWD, by_number(file), CWD, path, AtFlags::SYMLINK_FOLLOW)?);
    match to(path) {
        Err(error) if replaces && io::Error::kind(&error) == io::ErrorKind::AlreadyExists => {
            let beside = tempfile::Builder::new().prefix(&prefix(path)).make_in(folder_of(path), to)?;
            Ok(Some(beside.into_temp_path()))
        }
        named => named.map(|()| None),
    }
}

#[cfg(not(target_os = "linux"))]
fn link(_: &File, _: &Path, _: bool) -> io::Result<Option<TempPath>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The path by which an open file can be named (proc(5), `/proc/pid/fd`).
#[cfg(target_os = "linux")]
fn by_number(file: &File) -> PathBuf {
    use std::os::fd::AsRawFd;
    Path::new("/proc/self/fd").join(file.as_raw_fd().to_string())
}

/// The beginning of the temporary names of `path`.
fn prefix(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let end = name.floor_char_boundary(MAX_NAME_PART_BYTES);
    format!("{PREFIX}{}-", name.get(..end).unwrap_or_default())
}

/// Removes the files that killed processes left on their way to `path`. What cannot be removed stays for the next
/// time.
fn remove_leftovers(path: &Path) {
    let prefix = prefix(path);
    for entry in folder_of(path).read_dir().into_iter().flatten().flatten() {
        let name = entry.file_name();
        let random = name.to_str().and_then(|name| name.strip_prefix(&prefix));
        let is_one = random.is_some_and(|random| random.len() == 6 && !random.contains(['-', '.']));
        // A lock ends with its process.
        if is_one && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            let free = File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok());
            if free {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

/// Writes the file `path` with the permission bits `mode`.
///
/// # Errors
/// When writing fails; an older file of that name is then still there.
pub fn write(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    written(path, content)?.finish(mode).map(|_| ())
}

/// Writes the new file `path` with the permission bits `mode`.
///
/// # Errors
/// When writing fails, or there is a file of that name, which stays: see [`is_taken`].
pub fn write_new(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    written(path, content)?.finish_new(mode).map(|_| ())
}

fn written(path: &Path, content: &[u8]) -> Result<WholeFile> {
    let mut file = WholeFile::begin(path)?;
    let needed = Some(content.len() as u64);
    file.as_file_mut().write_all(content).map_err(|error| writing::failed(path, needed, error))?;
    Ok(file)
}

/// True where the name of a new file was taken.
#[must_use]
pub fn is_taken(error: &anyhow::Error) -> bool {
    let cause = error.root_cause().downcast_ref::<io::Error>();
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::AlreadyExists)
}

/// Gives `file`, which was written as `from` so that a later run continues it, its name `to` in the same folder.
///
/// # Errors
/// When it cannot be synced or renamed.
pub fn rename(file: &File, from: &Path, to: &Path) -> Result<()> {
    file.sync_all().map_err(|error| writing::failed(from, None, error))?;
    std::fs::rename(from, to).with_context(|| format!("renaming {} to {}", from.display(), to.display()))?;
    sync_folder(folder_of(to))
}

/// Makes renames in a folder last through a power cut.
///
/// # Errors
/// When the folder cannot be synced.
pub fn sync_folder(path: &Path) -> Result<()> {
    sync(path).with_context(|| format!("syncing {}", path.display()))
}

#[cfg(unix)]
fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Windows cannot open folders, and its renames are journalled.
#[cfg(not(unix))]
fn sync(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(_: &File, _: u32) -> io::Result<()> {
    Ok(())
}

/// The folder of `path`: for a bare name the one in which the program runs.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn names(folder: &Path) -> Vec<String> {
        folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_is_there_only_once_it_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        write(&path, b"old", 0o600).unwrap();
        let mut begun = WholeFile::begin(&path).unwrap();
        begun.as_file_mut().write_all(b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        drop(begun);
        assert_eq!(names(folder.path()), ["x"]);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        write(&path, b"newer", 0o644).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"newer");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(names(folder.path()), ["x"]);
    }

    #[test]
    fn a_new_file_replaces_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        write_new(&path, b"first", 0o600).unwrap();
        let (file, temporary) = named(&path).unwrap().into_parts();
        file.try_lock().unwrap();
        let named = WholeFile { file, temporary: Some(temporary), path: path.clone() };
        for error in [write_new(&path, b"second", 0o600).unwrap_err(), named.finish_new(0o600).unwrap_err()] {
            assert!(is_taken(&error), "{error:#}");
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        assert_eq!(names(folder.path()), ["x"]);
    }

    #[test]
    fn a_process_that_is_killed_while_it_writes_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        write(&path, b"old", 0o600).unwrap();
        let mut begun = WholeFile::begin(&path).unwrap();
        begun.as_file_mut().write_all(b"secret").unwrap();
        assert!(begun.temporary.is_none(), "{} has files without names", folder.path().display());
        // Nothing of it is cleaned up.
        std::mem::forget(begun);
        assert_eq!(names(folder.path()), ["x"]);
    }

    #[test]
    fn what_a_killed_process_left_under_a_name_goes_with_the_next_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let there = |name: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, b"secret").unwrap();
            path
        };
        let left = there(".new-x-Ab12Cd");
        let live = File::open(there(".new-x-Ef34Gh")).unwrap();
        live.lock().unwrap();
        // Of other files, and of people.
        let others =
            [there(".new-x-y-Ab12Cd"), there(".new-y-Ab12Cd"), there(".new-x"), there(".new-x-1234567")];
        write(&path, b"new", 0o600).unwrap();
        assert!(!left.exists());
        assert!(others.iter().all(|other| other.exists()), "{:?}", names(folder.path()));
        assert!(folder.path().join(".new-x-Ef34Gh").exists(), "somebody writes it");
        drop(live);
        write(&path, b"newer", 0o600).unwrap();
        assert!(!folder.path().join(".new-x-Ef34Gh").exists());
    }

    #[test]
    fn a_file_system_without_unnamed_files_gets_named_ones_that_are_locked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x".repeat(255));
        let temporary = named(&path).unwrap();
        assert!(temporary.path().file_name().unwrap().to_str().unwrap().starts_with(&prefix(&path)));
        let (file, temporary) = temporary.into_parts();
        file.try_lock().unwrap();
        write(&path, b"of another", 0o600).unwrap();
        assert!(temporary.exists());
        let whole = WholeFile { file, temporary: Some(temporary), path: path.clone() };
        whole.finish(0o600).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"");
        assert_eq!(names(folder.path()).len(), 1);
    }

    #[test]
    fn what_cannot_be_written_says_its_name_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::create_dir(&path).unwrap();
        // A folder is in the way.
        let error = write(&path, b"new", 0o600).unwrap_err();
        assert!(error.to_string().contains(&path.display().to_string()), "{error:#}");
        assert_eq!(names(folder.path()), ["x"]);
        assert!(write(&folder.path().join("gone/x"), b"new", 0o600).is_err());
    }
}
