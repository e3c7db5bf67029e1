//! Owners of what is laid out, on an engine that gives containers other users of the host than their own.
//!
//! Such an engine makes root in a container a user of the host without rights, to whom files of the host's root are
//! closed. So what containers get belongs to the users that the engine makes of the wanted ones. A service with
//! `userns_mode: host` has the host's own users; a file that it shares with others belongs to those.

use super::HostPaths;
use crate::engine::Users;
use crate::services::spec::Placed;
use anyhow::{Context, Result};
use manifest_schema::compose::model::{FileMount, MountSource, Project, Service};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::lchown;
use std::path::Path;

/// User and group of the host that root is in those containers that mount the relative bind `path`; `None` where it
/// is the host's root.
pub(super) fn of_bind(users: Users, project: &Project, path: &str) -> Option<(u32, u32)> {
    let mounts = |service: &Service| {
        let mut sources = service.mounts.iter().map(|mount| &mount.source);
        sources.any(|source| matches!(source, MountSource::Bind { path: own, .. } if own == path))
    };
    root(users, project.services.values().filter(|service| mounts(service)))
}

/// User and group of the host for a config or secret that services mount as `mounts` say; `None` leaves one as it is.
fn of_file<'p>(
    users: Users,
    mounts: impl Iterator<Item = (&'p Service, &'p FileMount)>,
) -> (Option<u32>, Option<u32>) {
    let (services, mounts): (Vec<&Service>, Vec<&FileMount>) = mounts.unzip();
    let number = |text: &Option<String>| text.as_ref().and_then(|text| text.parse::<u32>().ok());
    // All mounts of a file name the same owner.
    let (uid, gid) = mounts.first().map_or((None, None), |mount| (number(&mount.uid), number(&mount.gid)));
    match root(users, services.into_iter()) {
        Some((first_uid, first_gid)) => {
            (first_uid.checked_add(uid.unwrap_or_default()), first_gid.checked_add(gid.unwrap_or_default()))
        }
        None => (uid, gid),
    }
}

/// Gives what the release's folder holds for services to its owners. Can be repeated.
///
/// # Errors
/// When an owner cannot be set.
pub(super) fn give(users: Users, project: &Project, paths: &HostPaths) -> Result<()> {
    type Mounts = fn(&Service) -> &[FileMount];
    let kinds: [(&BTreeMap<String, Placed>, Mounts); 2] =
        [(&paths.configs, |service| &service.configs), (&paths.secrets, |service| &service.secrets)];
    for (placed, mounts) in kinds {
        for (key, file) in placed {
            let services = project.services.values();
            let uses = services.flat_map(|service| mounts(service).iter().map(move |mount| (service, mount)));
            let (uid, gid) = of_file(users, uses.filter(|(_, mount)| mount.source == *key));
            if uid.is_some() || gid.is_some() {
                lchown(&file.path, uid, gid).with_context(|| giving(&file.path))?;
            }
        }
    }
    for (path, placed) in paths.binds.iter().filter(|(_, placed)| placed.digest.is_some()) {
        give_all(&placed.path, of_bind(users, project, path))?;
    }
    Ok(())
}

fn giving(path: &Path) -> String {
    format!("giving {} its owner", path.display())
}

fn root<'p>(users: Users, services: impl Iterator<Item = &'p Service>) -> Option<(u32, u32)> {
    let mut services = services;
    let shifted = services.any(|service| service.userns_mode.as_deref() != Some("host"));
    match users {
        Users::From { uid, gid } if shifted => Some((uid, gid)),
        _ => None,
    }
}

/// Gives `path`, and all below it, to `owner`. Links are given away themselves, and not followed.
///
/// # Errors
/// When an owner cannot be set.
fn give_all(path: &Path, owner: Option<(u32, u32)>) -> Result<()> {
    let Some((uid, gid)) = owner else { return Ok(()) };
    let giving = || giving(path);
    lchown(path, Some(uid), Some(gid)).with_context(giving)?;
    if path.symlink_metadata().with_context(giving)?.is_dir() {
        for entry in fs::read_dir(path).with_context(giving)? {
            give_all(&entry.with_context(giving)?.path(), owner)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use manifest_schema::compose::model::Mount;

    #[test]
    fn files_belong_to_the_users_that_the_engine_makes_of_the_wanted_ones() {
        let file = |uid: Option<&str>| FileMount {
            source: "key".to_owned(),
            target: "/run/secrets/key".to_owned(),
            uid: uid.map(str::to_owned),
            gid: None,
            mode: None,
        };
        let bind = Mount {
            source: MountSource::Bind { path: "d".to_owned(), create: true },
            target: "/d".to_owned(),
            read_only: false,
            propagation: None,
            nocopy: false,
            subpath: None,
            recursive: None,
            selinux: None,
        };
        let project = |modes: &[Option<&str>]| {
            let services = modes.iter().enumerate().map(|(n, mode)| {
                let service = Service {
                    userns_mode: mode.map(str::to_owned),
                    mounts: vec![bind.clone()],
                    secrets: vec![file(None)],
                    ..Service::default()
                };
                (format!("s{n}").parse().unwrap(), service)
            });
            Project { services: services.collect(), ..Project::default() }
        };
        let owner = |users, project: &Project, mount: &FileMount| {
            of_file(users, project.services.values().map(|service| (service, mount)))
        };
        let from = Users::From { uid: 100_000, gid: 200_000 };
        let (mapped, own, mixed) =
            (project(&[None]), project(&[Some("host")]), project(&[Some("host"), None]));
        for project in [&mapped, &mixed] {
            assert_eq!(of_bind(from, project, "d"), Some((100_000, 200_000)));
            assert_eq!(owner(from, project, &file(None)), (Some(100_000), Some(200_000)));
            assert_eq!(owner(from, project, &file(Some("7"))), (Some(100_007), Some(200_000)));
        }
        assert_eq!(of_bind(from, &own, "d"), None);
        assert_eq!(owner(from, &own, &file(Some("7"))), (Some(7), None));
        for users in [Users::Same, Users::Rootless, Users::Hidden] {
            assert_eq!(of_bind(users, &mapped, "d"), None);
            assert_eq!(owner(users, &mapped, &file(None)), (None, None));
        }
    }
}
