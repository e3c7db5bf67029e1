//! Files that appear whole or not at all: written beside their names, synced, renamed, and the folder synced.
//!
//! Invariants: a process may die at any instruction, and the power may go. The name then leads to the
//! old content or to the new one, never to a part, and what lies beside it has a name that begins with `.new-`.

use anyhow::{Context, Result};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A file on its way: it is removed unless [`WholeFile::finish`] gives it its name.
#[derive(Debug)]
pub struct WholeFile {
    temporary: NamedTempFile,
    path: PathBuf,
}

impl WholeFile {
    /// Begins the file `path`, empty and with mode 0600.
    ///
    /// # Errors
    /// When its folder cannot be written.
    pub fn begin(path: &Path) -> Result<Self> {
        let temporary = tempfile::Builder::new().prefix(".new-").tempfile_in(folder_of(path));
        Ok(Self { temporary: temporary.with_context(|| writing(path))?, path: path.to_owned() })
    }

    /// The file, to be written and locked.
    #[must_use]
    pub fn as_file(&self) -> &File {
        self.temporary.as_file()
    }

    /// The file, to be written and sought in.
    #[must_use]
    pub fn as_file_mut(&mut self) -> &mut File {
        self.temporary.as_file_mut()
    }

    /// Gives the file its name, with the permission bits `mode` where the system has such. An older file of that
    /// name is replaced.
    ///
    /// # Errors
    /// When writing fails; the older file is then still there.
    pub fn finish(self, mode: u32) -> Result<File> {
        let doing = || writing(&self.path);
        set_mode(self.as_file(), mode).with_context(doing)?;
        self.as_file().sync_all().with_context(doing)?;
        // The error of `persist` holds the file, which would stay as long as it.
        let named = self.temporary.persist(&self.path).map_err(|failed| failed.error);
        let file = named.with_context(doing)?;
        sync_folder(folder_of(&self.path))?;
        Ok(file)
    }
}

/// Writes the file `path` with the permission bits `mode`.
///
/// # Errors
/// When writing fails; an older file of that name is then still there.
pub fn write(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let mut file = WholeFile::begin(path)?;
    file.as_file_mut().write_all(content).with_context(|| writing(path))?;
    file.finish(mode).map(|_| ())
}

/// Gives `file`, which was written as `from` so that a later run continues it, its name `to` in the same folder.
///
/// # Errors
/// When it cannot be synced or renamed.
pub fn rename(file: &File, from: &Path, to: &Path) -> Result<()> {
    file.sync_all().with_context(|| writing(from))?;
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

fn writing(path: &Path) -> String {
    format!("writing {}", path.display())
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
        assert!(names(folder.path()).iter().any(|name| name.starts_with(".new-")));
        drop(begun);
        assert_eq!(names(folder.path()), ["x"]);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        write(&path, b"newer", 0o644).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"newer");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(names(folder.path()), ["x"]);
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
