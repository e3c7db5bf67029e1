//! Wishes of services that Podman's Docker-compatible API cannot be told, by what Podman 4.3 answers to them.

use super::Finding;
use crate::engine::EngineKind;
use ferry_terminal::human;
use manifest_schema::compose::model::{Project, Service};

const OTHER: &str = "take it out in override.yaml, or install on a Docker Engine";

/// Services that this engine would refuse at their start, after others were replaced.
#[must_use]
pub(crate) fn check_podman(kind: EngineKind, project: &Project) -> Vec<Finding> {
    if kind != EngineKind::Podman {
        return Vec::new();
    }
    let services = project.services.iter();
    let findings = services.flat_map(|(name, service)| {
        refused(service)
            .into_iter()
            .map(move |(what, fix)| Finding::new(format!("service {name} {}", human::printable(&what)), fix))
    });
    findings.collect()
}

fn refused(service: &Service) -> Vec<(String, &'static str)> {
    let mut found = Vec::new();
    // It takes the content for a path.
    if service.security_opt.iter().any(|option| option.starts_with("seccomp={")) {
        found.push((
            "brings a seccomp profile, which Podman takes from its own command alone".to_owned(),
            OTHER,
        ));
    }
    let among = service.ports.iter().find_map(|port| port.among);
    if let Some((first, last)) = among {
        let what =
            format!("leaves the choice of a port among {first}-{last} to the engine, and Podman makes none");
        found.push((what, "name one port in override.yaml, or install on a Docker Engine"));
    }
    found
}
