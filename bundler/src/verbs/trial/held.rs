//! Which trials there are on this machine: each holds a lock on a file in its own temporary folder for as
//! long as its process lives.
//!
//! Invariants: a trial that lives is never removed by another, and one whose process was killed is
//! found by the next of the same name on the same engine. The file is locked before it gets its name, so
//! that nobody finds it unlocked while its owner lives.

use super::installer::Installer;
use anyhow::{Context, Result};
use ferry_terminal::{Class, Failure, WholeFile};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, TryLockError};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// The folders of trials begin with this.
pub(super) const PREFIX: &str = "ferry-try-";

/// In such a folder: who it belongs to.
const FILE: &str = "trial.json";

/// Nobody's trial needs more.
const MAX_BYTES: u64 = 64 * 1024;

/// Whose trial it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owner {
    /// The project on the engine.
    pub(super) project: String,
    /// The engine as it was named; `None`: the usual one.
    pub(super) engine: Option<String>,
}

/// A folder that is this process's own until this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    /// Its lock goes with the last process that has it.
    file: File,
}

impl Held {
    /// Takes `folder`, which is new.
    pub(super) fn new(folder: &Path, owner: &Owner) -> Result<Self> {
        let doing = || format!("writing into {}", folder.display());
        let mut file = WholeFile::begin(&folder.join(FILE))?;
        // Before it has its name: nobody sees it free.
        file.as_file().lock().with_context(doing)?;
        serde_json::to_writer(file.as_file_mut(), owner)?;
        Ok(Self { file: file.finish(0o600)? })
    }

    /// The same lock for another process, as its empty standard input: where this one is killed while that one
    /// changes the engine, the trial lives until that one ends.
    pub(super) fn shared(&self) -> Result<Stdio> {
        Ok(self.file.try_clone().context("sharing the trial's lock")?.into())
    }
}

/// A trial whose process was killed. Nobody else takes it while this is there.
#[derive(Debug)]
pub(super) struct Killed {
    folder: PathBuf,
    owner: Owner,
    _held: Held,
}

impl Killed {
    /// The folder that it left, for people.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Removes it from its engine, and its folder.
    pub(super) fn remove(self, program: &Path) -> Result<()> {
        let installer = Installer {
            program: program.to_owned(),
            root: self.folder.join("root"),
            engine: self.owner.engine.clone(),
        };
        installer.uninstall(&self.owner.project)?;
        fs::remove_dir_all(&self.folder).with_context(|| format!("removing {}", self.folder.display()))
    }
}

/// The trials of `owner`'s name and engine below `all` that were killed; `own` is the one that is to begin.
///
/// # Errors
/// When one of them runs.
pub(super) fn killed(all: &Path, own: &Path, owner: &Owner) -> Result<Vec<Killed>> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(all) else { return Ok(found) };
    for folder in entries.flatten().map(|entry| entry.path()) {
        let named = folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
        if !named || folder == own || !same_user(&folder, own) {
            continue;
        }
        let Some((file, other)) = read(&folder.join(FILE)).filter(|(_, other)| other == owner) else {
            continue;
        };
        match file.try_lock() {
            // One that ended meanwhile took its folder along.
            Ok(()) if folder.join(FILE).exists() => {
                found.push(Killed { folder, owner: other, _held: Held { file } });
            }
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let fact = format!("another trial called {} runs on this engine", owner.project);
                let hint = "stop that one with Ctrl-C (after a kill, wait until its installer ends), or name this one with --project-name NAME";
                return Err(Failure::new(Class::Preflight, fact).hint(hint).into());
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("locking {}", folder.join(FILE).display()));
            }
        }
    }
    Ok(found)
}

fn read(path: &Path) -> Option<(File, Owner)> {
    if !fs::symlink_metadata(path).ok()?.is_file() {
        return None;
    }
    let file = File::open(path).ok()?;
    let mut text = String::new();
    (&file).take(MAX_BYTES).read_to_string(&mut text).ok()?;
    Some((file, serde_json::from_str(&text).ok()?))
}

/// True where `other` is a folder of the user who owns `own`: we do not act upon what others write.
#[cfg(unix)]
fn same_user(other: &Path, own: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let user = |path: &Path| fs::symlink_metadata(path).ok().filter(fs::Metadata::is_dir).map(|it| it.uid());
    user(own).is_some() && user(own) == user(other)
}

#[cfg(not(unix))]
fn same_user(other: &Path, _: &Path) -> bool {
    fs::symlink_metadata(other).is_ok_and(|metadata| metadata.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(project: &str, engine: Option<&str>) -> Owner {
        Owner { project: project.to_owned(), engine: engine.map(str::to_owned) }
    }

    fn trial(all: &Path, name: &str, owner: &Owner) -> (PathBuf, Held) {
        let folder = all.join(format!("{PREFIX}{name}"));
        fs::create_dir(&folder).unwrap();
        let held = Held::new(&folder, owner).unwrap();
        (folder, held)
    }

    #[test]
    fn a_trial_that_runs_stands_in_the_way_and_one_that_was_killed_is_found() {
        let all = tempfile::tempdir().unwrap();
        let mine = owner("small-try", None);
        let (old, held) = trial(all.path(), "old", &mine);
        let (own, _own) = trial(all.path(), "own", &mine);
        let refused = killed(all.path(), &own, &mine).unwrap_err();
        assert_eq!(refused.to_string(), "another trial called small-try runs on this engine");
        // Another name, and another engine, are another trial.
        assert!(killed(all.path(), &own, &owner("small-two", None)).unwrap().is_empty());
        assert!(killed(all.path(), &own, &owner("small-try", Some("tcp://x:1"))).unwrap().is_empty());

        drop(held);
        let left = killed(all.path(), &own, &mine).unwrap();
        assert_eq!(left.iter().map(Killed::folder).collect::<Vec<_>>(), [old.as_path()]);
        // Two that begin do not both remove it.
        assert!(killed(all.path(), &own, &mine).is_err());
        // Nothing was installed: the installer is not asked.
        for killed in left {
            killed.remove(Path::new("/nonexistent/install")).unwrap();
        }
        assert!(!old.exists() && own.exists());

        // Its installer outlives it.
        let (old, held) = trial(all.path(), "old", &mine);
        let mut installer = std::process::Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(held.shared().unwrap())
            .spawn()
            .unwrap();
        drop(held);
        assert!(killed(all.path(), &own, &mine).is_err());
        drop(installer.stdin.take());
        installer.wait().unwrap();
        assert_eq!(killed(all.path(), &own, &mine).unwrap().len(), 1);
        assert!(old.exists());
    }

    #[test]
    fn what_is_no_trial_is_left_alone() {
        let all = tempfile::tempdir().unwrap();
        let mine = owner("small-try", None);
        let (own, _own) = trial(all.path(), "own", &mine);
        for (name, text) in [("ferry-try-x", "{}"), ("ferry-try-y", "[")] {
            fs::create_dir(all.path().join(name)).unwrap();
            fs::write(all.path().join(name).join(FILE), text).unwrap();
        }
        fs::create_dir(all.path().join("ferry-try-z")).unwrap();
        assert!(killed(all.path(), &own, &mine).unwrap().is_empty());
        assert_eq!(fs::read_dir(all.path()).unwrap().count(), 4);
    }
}
