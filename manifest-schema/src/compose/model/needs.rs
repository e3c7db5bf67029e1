//! Keys that need a newer engine. A bundle that uses one has to say so, so that an older host is refused before
//! anything is changed.

use super::{CDI, INTERFACE_NAME, MountSource, Project, Service};
use crate::ServiceName;

/// A key that needs a newer engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need<'p> {
    /// The service that uses it.
    pub service: &'p ServiceName,
    /// The key.
    pub key: &'static str,
    /// The first Docker Engine that knows it, by major and minor version.
    pub engine: (u32, u32),
}

/// Everything in `project` that Engine 20.10 does not know (Docker's list of API versions, 1.44 to 1.48).
#[must_use]
pub fn needs(project: &Project) -> Vec<Need<'_>> {
    let mut found = Vec::new();
    for (name, service) in &project.services {
        found.extend(of(service).into_iter().map(|(key, engine)| Need { service: name, key, engine }));
    }
    found
}

fn of(service: &Service) -> Vec<(&'static str, (u32, u32))> {
    let mut found = Vec::new();
    for mount in &service.mounts {
        match (&mount.source, &mount.subpath, mount.recursive.as_deref()) {
            (MountSource::Image(_), ..) => found.push(("a volume of type `image`", (28, 0))),
            (_, Some(_), _) => found.push(("`volume.subpath`", (26, 0))),
            (_, _, Some("writable" | "readonly")) => found.push(("`bind.recursive`", (25, 0))),
            _ => {}
        }
    }
    if service.resources.device_requests.iter().any(|request| request.driver.as_deref() == Some(CDI)) {
        found.push(("a CDI device", (25, 0)));
    }
    for attachment in service.networks.values() {
        if attachment.mac_address.is_some() {
            found.push(("`mac_address`", (25, 0)));
        }
        if attachment.gw_priority.is_some() {
            found.push(("`gw_priority`", (28, 0)));
        }
        if attachment.driver_opts.contains_key(INTERFACE_NAME) {
            found.push(("`interface_name`", (28, 0)));
        }
    }
    found
}
