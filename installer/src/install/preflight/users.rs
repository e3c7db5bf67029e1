//! Engines that give containers other users of the host than their own: what they refuse, and files that Ferry cannot
//! give to the users that they need.

use super::Finding;
use crate::engine::Users;
use crate::release::lay_out::HostPaths;
use ferry_terminal::human;
use manifest_schema::compose::model::{FileMount, MountSource, Project, Service};

const OTHER_ENGINE: &str = "install on an engine that runs as root, without mapping users";

/// Services that cannot be on an engine with these `users`, or would not reach what they mount from Ferry's folder.
#[must_use]
pub(crate) fn check_users(users: Users, project: &Project, binds: &HostPaths) -> Vec<Finding> {
    let services = project.services.iter();
    let mapped = services.filter(|(_, service)| service.userns_mode.as_deref() != Some("host"));
    let findings = mapped.filter_map(|(name, service)| {
        let (what, why, fix) = match users {
            Users::Same => return None,
            Users::From { .. } => (refused(service)?, "which this engine refuses, since it maps users", HOST),
            Users::Rootless => (
                from_ferry(service, binds)?,
                "which this engine cannot reach: it runs without root, and Ferry's folder is root's",
                OTHER_ENGINE,
            ),
            Users::Hidden => (
                needs_owner(service, binds)?,
                "which needs an owner, and this engine does not say how it maps users",
                OTHER_ENGINE,
            ),
        };
        Some(Finding::new(format!("service {name} wants {}, {why}", human::printable(&what)), fix))
    });
    findings.collect()
}

const HOST: &str =
    "give the service `userns_mode: host` in override.yaml, or install on an engine that does not map users";

/// A wish that engines with `userns-remap` fulfil for no container with mapped users.
fn refused(service: &Service) -> Option<String> {
    let of_host = |mode: &Option<String>| mode.as_deref() == Some("host");
    if service.privileged {
        Some("to be privileged".to_owned())
    } else if of_host(&service.network_mode) {
        Some("the host's network".to_owned())
    } else if of_host(&service.pid) {
        Some("the host's processes".to_owned())
    } else {
        None
    }
}

/// The first thing that the service mounts from Ferry's folder.
fn from_ferry(service: &Service, binds: &HostPaths) -> Option<String> {
    let relative = service.mounts.iter().find_map(|mount| match &mount.source {
        MountSource::Bind { path, .. } if binds.binds.contains_key(path) => Some(format!("./{path}")),
        _ => None,
    });
    relative.or_else(|| file(service, |_| true))
}

/// The first thing that Ferry would have to give to a user that the engine makes of another.
fn needs_owner(service: &Service, binds: &HostPaths) -> Option<String> {
    let writable = service.mounts.iter().find_map(|mount| match &mount.source {
        MountSource::Bind { path, .. } if !mount.read_only && binds.binds.contains_key(path) => {
            Some(format!("./{path}"))
        }
        _ => None,
    });
    let closed = |mount: &FileMount| {
        mount.uid.is_some() || mount.gid.is_some() || mount.mode.is_some_and(|mode| mode & 0o004 == 0)
    };
    writable.or_else(|| file(service, closed))
}

fn file(service: &Service, wanted: impl Fn(&FileMount) -> bool) -> Option<String> {
    let named = |kind: &str, files: &[FileMount]| {
        files.iter().find(|file| wanted(file)).map(|file| format!("the {kind} {}", file.source))
    };
    named("secret", &service.secrets).or_else(|| named("config", &service.configs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::spec::Placed;
    use manifest_schema::compose::model::Mount;

    fn file(mode: Option<u32>, uid: Option<&str>) -> FileMount {
        FileMount {
            source: "pw".to_owned(),
            target: "/run/secrets/pw".to_owned(),
            uid: uid.map(str::to_owned),
            gid: None,
            mode,
        }
    }

    fn bind(path: &str, read_only: bool) -> Service {
        let mount = Mount {
            source: MountSource::Bind { path: path.to_owned(), create: true },
            target: "/d".to_owned(),
            read_only,
            propagation: None,
            nocopy: false,
            subpath: None,
            recursive: None,
            selinux: None,
        };
        Service { mounts: vec![mount], ..Service::default() }
    }

    fn wanted(users: Users, service: &Service) -> Option<String> {
        let placed = Placed { path: "/f/d".into(), known_as: "/f/d".into(), digest: None };
        let binds = HostPaths { binds: [("d".to_owned(), placed)].into(), ..HostPaths::default() };
        let found = |service: &Service| {
            let services = [("s".parse().unwrap(), service.clone())].into();
            check_users(users, &Project { services, ..Project::default() }, &binds)
        };
        let host = Service { userns_mode: Some("host".to_owned()), ..service.clone() };
        assert_eq!(found(&host), [], "with the host's own users");
        let fact = found(service).pop()?.fact;
        Some(fact.strip_prefix("service s wants ").unwrap().split(',').next().unwrap().to_owned())
    }

    #[test]
    fn what_an_engine_cannot_give_is_found() {
        let secret = |mode, uid| Service { secrets: vec![file(mode, uid)], ..Service::default() };
        let (open, closed, owned) = (secret(None, None), secret(Some(0o400), None), secret(None, Some("7")));
        let (writable, carried, theirs) = (bind("d", false), bind("d", true), bind("/srv/d", false));
        let privileged = Service { privileged: true, ..Service::default() };
        let all = [&open, &closed, &owned, &writable, &carried, &theirs, &privileged];
        let told = |users| all.map(|service| wanted(users, service)).map(Option::unwrap_or_default);
        assert_eq!(told(Users::Same), [""; 7]);
        assert_eq!(told(Users::From { uid: 1, gid: 1 }), ["", "", "", "", "", "", "to be privileged"]);
        let (pw, d) = ("the secret pw", "./d");
        assert_eq!(told(Users::Rootless), [pw, pw, pw, d, d, "", ""]);
        assert_eq!(told(Users::Hidden), ["", pw, pw, d, "", "", ""]);
    }
}
