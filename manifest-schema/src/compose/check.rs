//! What can be seen only when the whole file is read: references, ports, names, circles.

use super::context::{Context, PublishedPort, Target};
use super::model::{Condition, HealthCheck, Project, Service};
use super::order;
use crate::ServiceName;
use crate::yaml::{nearest, shown};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Every name that a service uses exists.
pub(super) fn references(context: &mut Context<'_>, project: &Project) {
    let services: BTreeSet<&str> = project.services.keys().map(ServiceName::as_str).collect();
    let networks: BTreeSet<&str> = project.networks.keys().map(String::as_str).collect();
    let volumes: BTreeSet<&str> = project.volumes.keys().map(String::as_str).collect();
    let configs: BTreeSet<&str> = project.configs.keys().map(String::as_str).collect();
    let secrets: BTreeSet<&str> = project.secrets.keys().map(String::as_str).collect();
    for reference in std::mem::take(&mut context.references) {
        let name = reference.name.as_str();
        let (kind, section, known) = match reference.target {
            Target::Service => ("service", "services", &services),
            Target::Network => ("network", "networks", &networks),
            Target::Volume => ("volume", "volumes", &volumes),
            Target::Config => ("config", "configs", &configs),
            Target::Secret => ("secret", "secrets", &secrets),
        };
        if known.contains(name) || context.r.is_full() {
            continue;
        }
        let message =
            format!("service `{}` uses {kind} `{}`, which does not exist", reference.from, shown(name));
        let hint = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if reference.target == Target::Service => "add that service, or delete this line".to_owned(),
            None => format!("declare it under the top-level `{section}`"),
        };
        context.r.error(&reference.place, message, hint);
    }
    for (name, service) in &project.services {
        healthy_without_check(context, project, name, service);
    }
}

fn healthy_without_check(
    context: &mut Context<'_>,
    project: &Project,
    name: &ServiceName,
    service: &Service,
) {
    for (other, dependency) in &service.depends_on {
        if dependency.condition != Condition::ServiceHealthy {
            continue;
        }
        let Some(target) = project.services.get(other) else { continue };
        let place = (service.line, 0);
        match target.healthcheck {
            Some(HealthCheck::Disabled) => context.r.error(
                &place,
                format!("service `{name}` waits until `{other}` is healthy, but its health check is switched off"),
                format!("give `{other}` a `healthcheck`, or write `condition: service_started`"),
            ),
            None => context.r.warn(
                &place,
                format!("service `{name}` waits until `{other}` is healthy, but `{other}` has no `healthcheck` here"),
                "make sure that its image has one",
            ),
            Some(HealthCheck::Probe { .. }) => {}
        }
    }
}

/// No port of the host is published twice.
pub(super) fn ports(context: &mut Context<'_>, project: &Project) {
    let ports = std::mem::take(&mut context.ports);
    let mut by_number: HashMap<(u16, &str), Vec<&PublishedPort>> = HashMap::new();
    for entry in &ports {
        let Some(published) = entry.port.published else { continue };
        let others = by_number.entry((published, entry.port.protocol.as_str())).or_default();
        let twin = others.iter().find(|other| {
            overlap(other.port.host_ip.as_deref(), entry.port.host_ip.as_deref())
                && together(project, &other.service, &entry.service)
        });
        if let Some(twin) = twin {
            let message = format!(
                "port {published}/{} is published twice: by service `{}` on line {} and by service `{}` on line {}",
                entry.port.protocol, twin.service, twin.place.0, entry.service, entry.place.0
            );
            context.r.error(&entry.place, message, "give one of them another port on the host");
        } else {
            others.push(entry);
        }
    }
}

/// Whether two addresses of the host can be taken at once; all of them is one of them.
fn overlap(a: Option<&str>, b: Option<&str>) -> bool {
    let any = |ip: Option<&str>| ip.is_none_or(|ip| matches!(ip, "0.0.0.0" | "::"));
    any(a) || any(b) || a == b
}

/// Whether two services can run at the same time: not when each stands in other profiles.
fn together(project: &Project, a: &str, b: &str) -> bool {
    let profiles = |name: &str| {
        let service = name.parse::<ServiceName>().ok().and_then(|name| project.services.get(&name));
        service.map(|service| service.profiles.as_slice()).unwrap_or_default()
    };
    let (a, b) = (profiles(a), profiles(b));
    a.is_empty() || b.is_empty() || a.iter().any(|profile| b.contains(profile))
}

/// No two containers have the same name.
pub(super) fn container_names(context: &mut Context<'_>, project: &Project) {
    let mut names: BTreeMap<&str, &ServiceName> = BTreeMap::new();
    for (name, service) in &project.services {
        let Some(container) = service.container_name.as_deref() else { continue };
        if let Some(other) = names.insert(container, name) {
            let message =
                format!("services `{other}` and `{name}` have the same `container_name` `{container}`");
            context.r.error(&(service.line, 0), message, "delete `container_name`, or give each its own");
        }
    }
}

/// No service waits for itself.
pub(super) fn cycles(context: &mut Context<'_>, project: &Project) {
    if let Some(circle) = order::circle(project) {
        let line =
            circle.first().and_then(|name| project.services.get(*name)).map_or(0, |service| service.line);
        let names: Vec<&str> = circle.iter().map(|name| name.as_str()).collect();
        let message = format!("services wait for each other in a circle: {}", names.join(" → "));
        context.r.error(&(line, 0), message, "delete one `depends_on`");
    }
}
