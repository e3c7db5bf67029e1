//! Checks on the whole project: references, ports, names, circles.

use super::context::{Context, Mention, MountedFile, PublishedPort, Target};
use crate::compose::load::above;
use crate::compose::model::{Condition, FileMount, FileUse, HealthCheck, MountSource, Project, Service};
use crate::diagnostic::{nearest, shown};
use crate::{ServiceName, order};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Checks that every name which a service uses exists.
pub(in crate::compose) fn references(context: &mut Context<'_>, project: &Project) {
    let names = std::mem::take(&mut context.services);
    let services: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    // `default` is made when a service uses it.
    let networks: BTreeSet<&str> = project.networks.keys().map(String::as_str).chain(["default"]).collect();
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
        if reference.optional {
            let message = format!(
                "service `{}` would wait for `{}`, which does not exist; it starts without it",
                reference.from,
                shown(name)
            );
            context.r.warn(&reference.place, message, "delete this line, or add that service");
            continue;
        }
        let message =
            format!("service `{}` uses {kind} `{}`, which does not exist", reference.from, shown(name));
        if context.broken.iter().any(|(target, broken)| *target == reference.target && broken == name) {
            continue;
        }
        let own = (reference.target == Target::Service).then_some(reference.from.as_str());
        let main = context.r.sources().file(0).to_owned();
        let hint = match nearest(name, known.iter().copied().filter(|known| Some(*known) != own)) {
            Some(near) => format!("did you mean `{near}`?"),
            None if reference.target == Target::Service => "add that service, or delete this line".to_owned(),
            None if own == Some(name) => "delete this line".to_owned(),
            None if reference.place.source == 0 => format!("declare it under the top-level `{section}`"),
            // What is extended brings nothing along but the service.
            None => format!("declare it under the top-level `{section}` of {main}"),
        };
        context.r.error(&reference.place, message, hint);
    }
    context.services = names;
}

/// Checks that a condition which a service waits for can come true.
pub(in crate::compose) fn waits(context: &mut Context<'_>, project: &Project) {
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
        let place = service.place.line();
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

/// Checks that no port of the host is published twice.
pub(in crate::compose) fn ports(context: &mut Context<'_>, project: &Project) {
    let ports = std::mem::take(&mut context.ports);
    let mut by_number: HashMap<(u16, &str), Vec<&PublishedPort>> = HashMap::new();
    for entry in ports.iter().filter(|entry| is_kept(project, &entry.service)) {
        let Some(published) = entry.port.published else { continue };
        let others = by_number.entry((published, entry.port.protocol.as_str())).or_default();
        let twin =
            others.iter().find(|other| overlap(other.port.host_ip.as_deref(), entry.port.host_ip.as_deref()));
        if let Some(twin) = twin {
            let message = format!(
                "port {published}/{} is published twice: by service `{}` on {} and by service `{}` on line {}",
                entry.port.protocol,
                twin.service,
                context.r.sources().beside(&entry.place, &twin.place),
                entry.service,
                entry.place.line
            );
            let hint = if twin.service == entry.service {
                "keep one of them; an override file replaces the list whole with `ports: !override`"
            } else {
                "give one of them another port on the host"
            };
            context.r.error(&entry.place, message, hint);
        } else {
            others.push(entry);
        }
    }
}

/// True where both addresses of the host cannot be taken at once. No address is all of both families, `0.0.0.0` all
/// of IPv4, `::` all of IPv6.
fn overlap(a: Option<&str>, b: Option<&str>) -> bool {
    let (Some(a), Some(b)) = (a, b) else { return true };
    let all = |ip: &str| matches!(ip, "0.0.0.0" | "::");
    a == b || ((all(a) || all(b)) && a.contains(':') == b.contains(':'))
}

/// True for a service that is there, and not left out.
fn is_kept(project: &Project, name: &str) -> bool {
    name.parse::<ServiceName>().is_ok_and(|name| project.services.contains_key(&name))
}

/// Several containers of one service share neither a port of the host, nor a name, nor an address.
pub(in crate::compose) fn replicas(context: &mut Context<'_>, project: &Project) {
    for (name, service) in project.services.iter().filter(|(_, service)| service.containers() > 1) {
        let count = service.containers();
        let place = service.place.line();
        let mut refuse = |what: String, hint: &str| {
            context.r.error(&place, format!("service `{name}` has {count} containers, but {what}"), hint);
        };
        if let Some(port) = service.ports.iter().find_map(|port| port.published) {
            let hint = "put one service in front of them that has the port, or leave the host's port out";
            refuse(format!("port {port} of the host can be published once"), hint);
        }
        if service.container_name.is_some() {
            refuse("one `container_name`".to_owned(), "delete `container_name`");
        }
        if service
            .networks
            .values()
            .any(|network| network.ipv4_address.is_some() || network.mac_address.is_some())
        {
            refuse("one fixed address".to_owned(), "delete the address: they share the service's name");
        }
    }
}

/// No two containers have the same name.
pub(in crate::compose) fn container_names(context: &mut Context<'_>, project: &Project) {
    let own = context.env.get("COMPOSE_PROJECT_NAME");
    let mut names: BTreeMap<String, &ServiceName> = BTreeMap::new();
    if let Some(own) = own {
        for (name, service) in project.services.iter().filter(|(_, service)| service.container_name.is_none())
        {
            names.extend((1..=service.containers()).map(|number| (format!("{own}-{name}-{number}"), name)));
        }
    }
    for (name, service) in &project.services {
        let Some(container) = &service.container_name else { continue };
        if let Some(other) = names.insert(container.clone(), name) {
            let message =
                format!("services `{other}` and `{name}` have the same `container_name` `{container}`");
            context.r.error(&service.place.line(), message, "delete `container_name`, or give each its own");
        }
    }
}

/// No two things are mounted at one place of a container.
pub(in crate::compose) fn mount_points(context: &mut Context<'_>, project: &Project) {
    for (name, service) in &project.services {
        let mut seen = BTreeSet::new();
        let volumes = service.mounts.iter().map(|mount| &mount.target);
        let files = service.configs.iter().chain(&service.secrets).map(|file| &file.target);
        for target in volumes.chain(files).chain(service.tmpfs.keys()) {
            if !seen.insert(target.as_str()) {
                let message = format!("service `{name}` mounts two things at `{}`", shown(target));
                context.r.error(&service.place.line(), message, "give one of them another target");
            }
        }
    }
}

/// No relative bind lies below a folder that a container can write to: the container could put a link in its place,
/// and engines follow links as root.
pub(in crate::compose) fn nested_binds(context: &mut Context<'_>, project: &Project) {
    let writable = writable_binds(project);
    for (name, service) in &project.services {
        for path in relative_binds(service).map(|(path, _)| path) {
            let parents = path.match_indices('/').filter_map(|(end, _)| path.get(..end));
            let Some((above, writer)) = parents.filter_map(|above| writable.get_key_value(above)).next()
            else {
                continue;
            };
            let own = |mention: &&Mention| {
                mention.file.kind == FileUse::Bind
                    && mention.file.path == path
                    && mention.service.as_deref() == Some(name.as_str())
            };
            let place = context.files.iter().find(own).map_or(service.place.line(), |found| found.file.place);
            let as_written = |path: &str| shown(&above::written(context.folder, path));
            let (path, above) = (as_written(path), as_written(above));
            let message = format!(
                "service `{name}` mounts `{path}` below `{above}`, where service `{writer}` can put a link in its place"
            );
            let hint = format!(
                "mount `{above}` with `:ro` in service `{writer}`, or move `{path}` out of `{above}`"
            );
            context.r.error(&place, message, hint);
        }
    }
}

/// Relative binds of a service, each with `true` where it is read-only.
fn relative_binds(service: &Service) -> impl Iterator<Item = (&str, bool)> {
    service.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Bind { path, .. } if !path.starts_with('/') => Some((path.as_str(), mount.read_only)),
        _ => None,
    })
}

/// Relative binds that a container can write to, each with the first such service. `volumes_from` without `ro` counts,
/// also where the other service mounts a bind read-only: engines need not agree on what is written there.
fn writable_binds(project: &Project) -> BTreeMap<&str, &ServiceName> {
    let mut writable = BTreeMap::new();
    for (name, service) in &project.services {
        for (path, _) in relative_binds(service).filter(|(_, read_only)| !read_only) {
            writable.entry(path).or_insert(name);
        }
        let taken = service.volumes_from.iter().filter(|(_, read_only)| !**read_only);
        let mut next: Vec<&ServiceName> = taken.map(|(other, _)| other).collect();
        let mut seen = BTreeSet::new();
        while let Some(other) = next.pop() {
            let Some(service) = project.services.get(other).filter(|_| seen.insert(other)) else { continue };
            next.extend(service.volumes_from.keys());
            for (path, _) in relative_binds(service) {
                writable.entry(path).or_insert(name);
            }
        }
    }
    writable
}

/// A config or secret is one file on the host, with one owner and one mode.
pub(in crate::compose) fn mounted_files(context: &mut Context<'_>, project: &Project) {
    let mounted = std::mem::take(&mut context.mounted);
    let mut first: HashMap<(&str, &str), &MountedFile> = HashMap::new();
    for entry in mounted.iter().filter(|entry| is_kept(project, &entry.service)) {
        let (word, section) =
            if entry.kind == Target::Secret { ("secret", "secrets") } else { ("config", "configs") };
        let other = *first.entry((word, entry.mount.source.as_str())).or_insert(entry);
        if owner_and_mode(&other.mount) != owner_and_mode(&entry.mount) {
            let message = format!(
                "service `{}` wants {word} `{}` with another owner or mode than service `{}` on {}",
                entry.service,
                shown(&entry.mount.source),
                other.service,
                context.r.sources().beside(&entry.place, &other.place)
            );
            let hint = format!(
                "write the same `uid`, `gid` and `mode`, or make two entries under `{section}` with the same file"
            );
            context.r.error(&entry.place, message, hint);
        }
    }
}

/// With the defaults filled in.
fn owner_and_mode(mount: &FileMount) -> (&str, &str, u32) {
    (
        mount.uid.as_deref().unwrap_or("0"),
        mount.gid.as_deref().unwrap_or("0"),
        mount.mode.unwrap_or(0o444) & 0o777,
    )
}

/// Checks that no service waits for itself.
pub(in crate::compose) fn cycles(context: &mut Context<'_>, project: &Project) {
    let services: Vec<(&ServiceName, &Service)> = project.services.iter().collect();
    let position = |name: &ServiceName| services.binary_search_by(|(other, _)| (*other).cmp(name)).ok();
    let needs: Vec<Vec<usize>> = services
        .iter()
        .map(|(_, service)| service.depends_on.keys().filter_map(position).collect())
        .collect();
    let circle = order::circle(&needs, &order::ordered(&needs).stuck);
    let circle: Vec<_> = circle.into_iter().filter_map(|at| services.get(at)).collect();
    if let Some((_, first)) = circle.first() {
        let place = first.place.line();
        let names: Vec<&str> = circle.iter().map(|(name, _)| name.as_str()).collect();
        let message = format!("services wait for each other in a circle: {}", names.join(" → "));
        context.r.error(&place, message, "delete one `depends_on`");
    }
}
