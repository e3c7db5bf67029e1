//! `ferry lint`: everything that `ferry build` would refuse or warn of, and advice on what runs badly in a
//! server room although nothing forbids it.

use crate::artifacts::seed;
use crate::cancel::Cancel;
use crate::inputs::Inputs;
use crate::pack::owners;
use anyhow::Result;
use manifest_schema::compose::model::{
    Condition, HealthCheck, MountSource, Permission, PermissionKind, Restart, Service, permissions,
};
use manifest_schema::yaml::{Place, Sources};
use manifest_schema::{Diagnostic, ImageRef, ServiceName};
use std::collections::{BTreeMap, BTreeSet};

/// Advice on a release that can be built, each with its place and what to do.
#[must_use]
pub(crate) fn advice(inputs: &Inputs) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> = Vec::new();
    for rendering in &inputs.renderings {
        let parsed = &rendering.made.parsed;
        let jobs: BTreeSet<&ServiceName> = parsed
            .project
            .services
            .values()
            .flat_map(|service| &service.depends_on)
            .filter(|(_, wait)| wait.condition == Condition::ServiceCompletedSuccessfully)
            .map(|(name, _)| name)
            .collect();
        for (name, service) in &parsed.project.services {
            let told = About { name, service, sources: &parsed.sources };
            let mut of_service = told.image();
            if !jobs.contains(name) {
                of_service.extend(told.running());
            }
            of_service.extend(told.access());
            for (other, wait) in &service.depends_on {
                let checked = parsed.project.services.get(other).and_then(|other| other.healthcheck.as_ref());
                if wait.condition == Condition::ServiceStarted
                    && matches!(checked, Some(HealthCheck::Probe { .. }))
                {
                    of_service.push(told.say(
                        format!("does not wait until `{other}` is healthy, although that has a health check"),
                        format!("write `depends_on: {{ {other}: {{ condition: service_healthy }} }}`"),
                    ));
                }
            }
            for advice in of_service {
                if !found.contains(&advice) {
                    found.push(advice);
                }
            }
        }
    }
    found.extend(variables(inputs));
    found.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    found
}

/// Services that cannot write into the volumes that are seeded for them, as far as is known without their images.
///
/// # Errors
/// When a seed cannot be packed.
pub(crate) fn seeds(inputs: &Inputs, cancel: &Cancel) -> Result<Vec<Diagnostic>> {
    owners::settle(&mut seed::plan(inputs, cancel)?, inputs, &[], cancel)
}

/// All that a host has to have before the release can start, over all renderings, each once with the services that ask for it:
/// paths, devices, runtimes, and volumes, networks and containers of others. Bundles carry none of these.
#[must_use]
pub(crate) fn of_site(inputs: &Inputs) -> Vec<Permission> {
    let mut found: BTreeMap<(PermissionKind, String), BTreeSet<ServiceName>> = BTreeMap::new();
    for rendering in &inputs.renderings {
        for permission in permissions(&rendering.made.parsed.project) {
            if is_of_site(&permission) {
                found.entry((permission.kind, permission.value)).or_default().extend(permission.services);
            }
        }
    }
    let each = |((kind, value), services): ((_, _), BTreeSet<_>)| Permission {
        kind,
        value,
        services: services.into_iter().collect(),
    };
    found.into_iter().map(each).collect()
}

fn is_of_site(permission: &Permission) -> bool {
    match permission.kind {
        PermissionKind::EngineSocket
        | PermissionKind::HostPath
        | PermissionKind::Device
        | PermissionKind::ForeignVolume
        | PermissionKind::ForeignNetwork
        | PermissionKind::Runtime => true,
        PermissionKind::Namespace => permission.value.contains("=container:"),
        // Every engine has these, or makes them.
        PermissionKind::Privileged
        | PermissionKind::Capability
        | PermissionKind::SecurityOption
        | PermissionKind::VolumeOptions
        | PermissionKind::NetworkOptions
        | PermissionKind::Port => false,
    }
}

struct About<'a> {
    name: &'a ServiceName,
    service: &'a Service,
    sources: &'a Sources,
}

impl About<'_> {
    fn say(&self, fact: String, hint: impl Into<String>) -> Diagnostic {
        let place: Place = self.service.place.line();
        self.sources.mistake(&place, format!("service `{}` {fact}", self.name)).hint(hint)
    }

    /// An image whose name says nothing about its version.
    fn image(&self) -> Vec<Diagnostic> {
        let Ok(image) = self.service.image.parse::<ImageRef>() else { return Vec::new() };
        if image.digest().is_some() || image.tag() != Some("latest") {
            return Vec::new();
        }
        vec![self.say(
            "runs an image without a version: nobody on site can tell which it is".to_owned(),
            "name the version, as in `image: acme/api:2.4.0`",
        )]
    }

    /// Advice on keeping a service up.
    fn running(&self) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        if self.service.restart == Restart::No {
            found.push(self.say(
                "does not restart after a crash or a reboot".to_owned(),
                "write `restart: unless-stopped`",
            ));
        }
        match self.service.healthcheck {
            None => found.push(self.say(
                "has no `healthcheck`: unless its image has one, an install can only check that it keeps running"
                    .to_owned(),
                "write one, as in `healthcheck: { test: [CMD, /bin/check], interval: 10s }`",
            )),
            Some(HealthCheck::Disabled) => found.push(self.say(
                "has its health check disabled: an install can only check that it keeps running".to_owned(),
                "give it a `test` that fails when it does not serve",
            )),
            Some(HealthCheck::Probe { .. }) => {}
        }
        if self.service.resources.memory_bytes.is_none() {
            found.push(self.say(
                "has no memory limit: a leak takes all other services down with it".to_owned(),
                "write `mem_limit: 512m`, or what it needs",
            ));
        }
        found
    }

    /// Advice on services that own the host.
    fn access(&self) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        if self.service.privileged {
            found.push(self.say(
                "is privileged: it has root's power over the host".to_owned(),
                "name what it needs under `cap_add` and `devices`",
            ));
        }
        let socket = |path: &str| path.ends_with("/docker.sock") || path.ends_with("/podman.sock");
        for mount in &self.service.mounts {
            if let MountSource::Bind { path, .. } = &mount.source
                && socket(path)
            {
                found.push(self.say(
                    format!("mounts the engine's socket {path}: whoever breaks into it owns the host"),
                    "remove it, or put a proxy in front that allows only the calls it needs",
                ));
            }
        }
        found
    }
}

/// Questions that nobody on site could answer.
fn variables(inputs: &Inputs) -> Vec<Diagnostic> {
    let open = inputs.manifest.variables.iter().filter(|(_, variable)| {
        variable.default.is_none() && variable.generate.is_none() && variable.question().is_none()
    });
    open.map(|(name, variable)| {
        Diagnostic::new(
            &inputs.manifest_shown,
            format!("variable `{name}` is asked on site by its bare name"),
        )
        .at(&inputs.manifest_text, variable.line, 0)
        .hint("write `prompt: …`, and `help: …` with what a technician may not know")
    })
    .collect()
}
