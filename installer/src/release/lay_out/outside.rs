//! Paths of the host, outside of Ferry's folder, that services mount.
//!
//! An engine makes a folder where the source of a bind is missing, also where a file is wanted, and does so again
//! whenever it starts the container. So it is told to make nothing where a file is wanted, and the host is not ready
//! without it. Missing folders are made here: recorded before, and taken back when the attempt is undone.

use super::owners;
use crate::engine::{EngineFacts, Users};
use anyhow::{Context as _, Result};
use ferry_terminal::writing;
use manifest_schema::compose::model::{Mount, MountSource, Project};
use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

/// Absolute binds of `project`, each with its path, and whether the engine may make a folder there.
fn binds(project: &Project) -> impl Iterator<Item = (&Mount, &str, bool)> {
    let mounts = project.services.values().flat_map(|service| &service.mounts);
    mounts.filter_map(|mount| match &mount.source {
        MountSource::Bind { path, create } if path.starts_with('/') => Some((mount, path.as_str(), *create)),
        _ => None,
    })
}

/// Absolute paths that are files on this host, or to be files by their names where nothing is there. Of an engine
/// elsewhere (`here` is false) names alone are known.
#[must_use]
pub(crate) fn files(project: &Project, here: bool) -> BTreeSet<String> {
    let is_file = |mount: &Mount, path: &str| match fs::metadata(path) {
        Ok(found) if here => !found.is_dir(),
        _ => mount.names_a_file(),
    };
    let files = binds(project).filter(|(mount, path, _)| is_file(mount, path));
    files.map(|(_, path, _)| path.to_owned()).collect()
}

/// Folders to be made before services start, and those above them that are missing. An engine without root, or with
/// users that cannot be told, makes its own.
#[must_use]
pub(crate) fn missing(project: &Project, facts: &EngineFacts) -> BTreeSet<PathBuf> {
    if !facts.local || !matches!(facts.users, Users::Same | Users::From { .. }) {
        return BTreeSet::new();
    }
    let absent = |path: &&Path| fs::symlink_metadata(path).is_err_and(|e| e.kind() == ErrorKind::NotFound);
    let wanted = binds(project).filter(|(mount, _, create)| *create && !mount.names_a_file());
    let parts = wanted.flat_map(|(_, path, _)| Path::new(path).ancestors().take_while(absent));
    parts.map(Path::to_path_buf).collect()
}

/// Makes the recorded folders, with the mode and owner that an engine would give them.
///
/// # Errors
/// When one cannot be made.
pub(crate) fn make(recorded: &BTreeSet<PathBuf>, project: &Project, users: Users) -> Result<()> {
    // Those above stand before those below.
    for path in recorded {
        match fs::create_dir(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            made => made.map_err(|error| writing::failed(path, None, error))?,
        }
        let giving = || format!("giving {} its owner", path.display());
        fs::set_permissions(path, Permissions::from_mode(0o755)).with_context(giving)?;
        let below = binds(project).find(|(_, bind, _)| Path::new(bind).starts_with(path));
        let owner = below.and_then(|(_, bind, _)| owners::of_bind(users, project, bind));
        if let Some((uid, gid)) = owner {
            chown(path, Some(uid), Some(gid)).with_context(giving)?;
        }
    }
    Ok(())
}

/// Removes the folders that an attempt has made, and returns those that hold something by now.
pub(crate) fn take_back<'p>(made: impl DoubleEndedIterator<Item = &'p PathBuf>) -> Vec<PathBuf> {
    let mut kept: Vec<PathBuf> = Vec::new();
    // Those below stand behind those above.
    for path in made.rev() {
        let failed = fs::remove_dir(path).is_err_and(|error| error.kind() != ErrorKind::NotFound);
        if failed && !kept.iter().any(|kept| kept.starts_with(path)) {
            kept.push(path.clone());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use manifest_schema::compose::model::Service;

    fn project(binds: &[(&str, &str)]) -> Project {
        let mounts = binds.iter().map(|(path, target)| Mount {
            source: MountSource::Bind { path: (*path).to_owned(), create: true },
            target: (*target).to_owned(),
            read_only: false,
            propagation: None,
            nocopy: false,
            subpath: None,
            recursive: None,
            selinux: None,
        });
        let service = Service { mounts: mounts.collect(), ..Service::default() };
        Project { services: [("s".parse().unwrap(), service)].into(), ..Project::default() }
    }

    #[test]
    fn what_is_there_tells_more_than_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        fs::write(at("file"), "x").unwrap();
        fs::create_dir(at("folder.conf")).unwrap();
        let (file, named) = (at("file"), at("folder.conf"));
        let (missing, zone, plain) = (at("missing.conf"), at("zone"), at("data"));
        let project = project(&[
            (&file, "/a"),
            (&named, "/b"),
            (&missing, "/c"),
            (&zone, "/etc/timezone"),
            (&plain, "/d"),
            ("relative.conf", "/e"),
        ]);
        let paths = |paths: &[&String]| paths.iter().map(|path| (*path).clone()).collect::<BTreeSet<_>>();
        assert_eq!(files(&project, true), paths(&[&file, &missing, &zone]));
        assert_eq!(files(&project, false), paths(&[&named, &missing, &zone]));
    }

    #[test]
    fn what_is_made_is_taken_back_unless_it_holds_something() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b/c");
        let made: BTreeSet<PathBuf> = deep.ancestors().take(3).map(Path::to_path_buf).collect();
        let project = project(&[(deep.to_str().unwrap(), "/x")]);
        make(&made, &project, Users::Same).unwrap();
        make(&made, &project, Users::Same).unwrap();
        assert_eq!(deep.metadata().unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(take_back(made.iter()), Vec::<PathBuf>::new());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        make(&made, &project, Users::Same).unwrap();
        fs::write(deep.join("data"), "x").unwrap();
        assert_eq!(take_back(made.iter()), std::slice::from_ref(&deep));
        assert!(deep.join("data").is_file());
        fs::remove_dir_all(folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("a/b"), "x").unwrap();
        assert!(make(&made, &project, Users::Same).is_err());
    }
}
