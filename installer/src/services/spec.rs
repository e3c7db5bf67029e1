//! The container specification of a Compose service. Pure: equal inputs give equal specifications, so
//! plans can be printed and compared, and the config hash tells whether a service has to be replaced.
//!
//! Follows the Compose Specification for the members of a service, and Docker Compose's labels, so
//! that `docker compose ps` and dashboards see an ordinary project.

mod config_hash;
mod placement;

use self::config_hash::ConfigHash;
pub use self::placement::{Placed, Placement};
use crate::engine::container_spec::{ContainerSpec, HealthSpec, MountFrom, MountSpec};
use crate::engine::label;
use crate::engine::networks::Attachment;
use crate::services::{Replica, hooks};
use manifest_schema::compose::model::{
    Condition, FileMount, HealthCheck, MountSource, Port, Project, Restart, Service,
};
use manifest_schema::{ProjectName, ServiceName};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};
use std::time::Duration;

/// Compose's default time for a graceful stop.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// A project that cannot be installed on this host. `ferry build` finds these mistakes too; here they stand
/// against a bundle that was made by something else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// The image was not brought into the engine.
    #[error("service {service}: no image for {image}")]
    NoImage {
        /// The service.
        service: ServiceName,
        /// The reference.
        image: String,
    },
    /// A key that the project does not define.
    #[error("service {service}: there is no {kind} `{key}`")]
    Undefined {
        /// The service.
        service: ServiceName,
        /// `network`, `volume`, `config`, `secret`, `service`, `file`.
        kind: &'static str,
        /// The key.
        key: String,
    },
    /// A relative path that leaves the release folder.
    #[error("service {service}: the path `{path}` leaves the release folder")]
    Outside {
        /// The service.
        service: ServiceName,
        /// The path.
        path: String,
    },
    /// A circle of dependencies.
    #[error("services depend on each other in a circle: {0}")]
    Cycle(String),
}

fn container_name(project: &ProjectName, replica: &Replica, service: &Service) -> String {
    let usual = || format!("{project}-{}-{}", replica.service(), replica.number());
    service.container_name.clone().unwrap_or_else(usual)
}

/// The name of a network or volume in the engine.
#[must_use]
pub fn resource_name(project: &ProjectName, key: &str, name: Option<&str>) -> String {
    name.map_or_else(|| format!("{project}_{key}"), str::to_owned)
}

/// The container of a replica of a service of `project`.
///
/// `network_mode`, `ipc` and `pid` of the form `service:x` are kept, since the other container's ID
/// is not known before it is made.
///
/// # Errors
/// When the service names something that the project or the placement lacks.
pub fn container_spec(
    project_name: &ProjectName,
    replica: &Replica,
    project: &Project,
    placement: &Placement,
) -> Result<ContainerSpec, SpecError> {
    let name = replica.service();
    let undefined =
        |kind, key: &str| SpecError::Undefined { service: name.clone(), kind, key: key.to_owned() };
    let service = project.services.get(name).ok_or_else(|| undefined("service", name.as_str()))?;
    let image = *placement
        .images
        .get(name)
        .ok_or_else(|| SpecError::NoImage { service: name.clone(), image: service.image.clone() })?;
    let container = container_name(project_name, replica, service);
    let mut hash = ConfigHash::new(service, image);

    let mut mounts = Vec::new();
    for mount in &service.mounts {
        let source = match &mount.source {
            MountSource::Volume(key) => {
                let volume = project.volumes.get(key).ok_or_else(|| undefined("volume", key))?;
                let real = resource_name(project_name, key, volume.name.as_deref());
                hash.add("volume", key, &real);
                MountFrom::Volume { name: real, nocopy: mount.nocopy, subpath: mount.subpath.clone() }
            }
            MountSource::Image(reference) => {
                let id = *placement
                    .mounted_images
                    .get(reference)
                    .ok_or_else(|| SpecError::NoImage { service: name.clone(), image: reference.clone() })?;
                hash.add("mounted image", reference, &id.to_string());
                MountFrom::Image { id, subpath: mount.subpath.clone() }
            }
            MountSource::Anonymous => MountFrom::Anonymous,
            MountSource::Bind { path, create } => MountFrom::Bind {
                path: bind_source(name, path, placement, &mut hash)?,
                // What Ferry has made, the engine need not make, and does not make through a link. A file it cannot make.
                create: *create
                    && !placement.host_files.contains(path)
                    && (path.starts_with('/') || !placement.is_here),
                propagation: mount.propagation.clone(),
                recursive: mount.recursive.clone(),
                selinux: mount.selinux.clone(),
            },
            MountSource::Tmpfs { size, mode } => MountFrom::Tmpfs { size: *size, mode: *mode },
        };
        mounts.push(MountSpec { source, target: mount.target.clone(), read_only: mount.read_only });
    }
    let files: [(&'static str, &[FileMount], &BTreeMap<String, Placed>); 2] =
        [("config", &service.configs, &placement.configs), ("secret", &service.secrets, &placement.secrets)];
    for (kind, wanted, placed) in files {
        for mount in wanted {
            let file = placed.get(&mount.source).ok_or_else(|| undefined(kind, &mount.source))?;
            hash.add_placed(kind, &mount.source, file);
            mounts.push(MountSpec {
                source: MountFrom::Bind {
                    path: text(&file.path),
                    create: false,
                    propagation: None,
                    recursive: None,
                    selinux: None,
                },
                target: mount.target.clone(),
                read_only: true,
            });
        }
    }

    let networks = attachments(name, service, &placement.networks, &container, &mut hash)?;
    let (exposed, ports) = ports(service);
    let restart = restart_text(&service.restart);
    let mut spec = ContainerSpec {
        image: image.to_string(),
        image_name: placement.image_names.get(name).cloned(),
        labels: service.labels.clone(),
        environment: service
            .environment
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .chain(service.without.iter().cloned())
            .collect(),
        command: service.command.clone(),
        entrypoint: service.entrypoint.clone(),
        exposed,
        ports,
        mounts,
        tmpfs: service.tmpfs.clone(),
        network_mode: service
            .network_mode
            .clone()
            .or_else(|| networks.first().map(|first| first.network.clone())),
        networks,
        health: service.healthcheck.as_ref().map(|check| health(check, placement.start_interval)),
        restart: restart.clone(),
        logging: logging(service),
        resources: service.resources.clone(),
        ulimits: service.ulimits.iter().map(|(name, (soft, hard))| (name.clone(), *soft, *hard)).collect(),
        sysctls: service.sysctls.clone(),
        cap_add: service.cap_add.clone(),
        cap_drop: service.cap_drop.clone(),
        devices: service.devices.clone(),
        extra_hosts: service.extra_hosts.clone(),
        dns: service.dns.clone(),
        dns_search: service.dns_search.clone(),
        dns_options: service.dns_opt.clone(),
        init: service.init,
        user: service.user.clone(),
        groups: service.group_add.clone(),
        working_dir: service.working_dir.clone(),
        hostname: service.hostname.clone(),
        domainname: service.domainname.clone(),
        read_only: service.read_only,
        privileged: service.privileged,
        tty: service.tty,
        stdin_open: service.stdin_open,
        security_options: service.security_opt.clone(),
        shm_bytes: service.shm_bytes,
        ipc: service.ipc.clone(),
        pid: service.pid.clone(),
        userns: service.userns_mode.clone(),
        uts: service.uts.clone(),
        cgroup: service.cgroup.clone(),
        runtime: service.runtime.clone(),
        storage_options: service.storage_opt.clone(),
        volumes_from: service
            .volumes_from
            .iter()
            .map(|(name, read_only)| (name.to_string(), (if *read_only { "ro" } else { "rw" }).to_owned()))
            .collect(),
        stop_signal: service.stop_signal.clone(),
        stop_timeout: service.stop_grace_period.unwrap_or(STOP_GRACE),
        name: container,
    };
    let of_release = hash.of_release;
    let config_hash = hash.finish();
    let mut labels = vec![
        (label::PROJECT, project_name.to_string()),
        (label::SERVICE, name.to_string()),
        (label::NUMBER, replica.number().to_string()),
        ("com.docker.compose.oneoff", "False".to_owned()),
        (label::CONFIG_HASH, config_hash),
        ("com.docker.compose.version", placement.version.clone()),
        (label::WORKING_DIR, placement.working_dir.clone()),
        ("com.docker.compose.project.config_files", placement.config_files.clone()),
        ("com.docker.compose.image", image.to_string()),
        (label::DEPENDS_ON, depends_on(service)),
        (label::RELEASE, placement.release.to_string()),
        (label::ATTEMPT, placement.attempt.clone()),
        (label::RESTART, restart),
    ];
    if let Some(HealthCheck::Probe { start_interval: Some(time), .. }) = &service.healthcheck {
        labels.push((label::START_INTERVAL, time.as_millis().to_string()));
    }
    let job = project.services.values().any(|other| {
        let wait = other.depends_on.get(name).map(|dependency| dependency.condition);
        wait == Some(Condition::ServiceCompletedSuccessfully)
    });
    if job {
        labels.push((label::JOB, "true".to_owned()));
    }
    for (key, hooks) in [(label::POST_START, &service.post_start), (label::PRE_STOP, &service.pre_stop)] {
        labels.extend(hooks::to_label(hooks).map(|value| (key, value)));
    }
    if of_release {
        labels.push((label::FOLDER, placement.folder.clone()));
    }
    spec.labels.extend(labels.into_iter().map(|(key, value)| (key.to_owned(), value)));
    Ok(spec)
}

/// The services that `service` shares a namespace or volumes with: they come first, and replacing them replaces
/// it too.
pub(crate) fn namespace_owners(service: &Service) -> BTreeSet<String> {
    [&service.network_mode, &service.ipc, &service.pid]
        .into_iter()
        .flatten()
        .filter_map(|mode| mode.strip_prefix("service:"))
        .map(str::to_owned)
        .chain(service.volumes_from.keys().map(ServiceName::to_string))
        .collect()
}

/// `depends_on` and the owners of shared namespaces, as Compose's label has them.
fn depends_on(service: &Service) -> String {
    let mut parts: BTreeMap<String, String> = service
        .depends_on
        .iter()
        .map(|(name, dependency)| {
            let condition = match dependency.condition {
                Condition::ServiceStarted => "service_started",
                Condition::ServiceHealthy => "service_healthy",
                Condition::ServiceCompletedSuccessfully => "service_completed_successfully",
            };
            (name.to_string(), format!("{name}:{condition}:{}", dependency.restart))
        })
        .collect();
    for owner in namespace_owners(service) {
        parts.entry(owner.clone()).or_insert_with(|| format!("{owner}:service_started:true"));
    }
    parts.into_values().collect::<Vec<_>>().join(",")
}

fn bind_source(
    service: &ServiceName,
    path: &str,
    placement: &Placement,
    hash: &mut ConfigHash,
) -> Result<String, SpecError> {
    if path.starts_with('/') {
        return Ok(path.to_owned());
    }
    let inside = |part: Component<'_>| matches!(part, Component::CurDir | Component::Normal(_));
    if !Path::new(path).components().all(inside) {
        return Err(SpecError::Outside { service: service.clone(), path: path.to_owned() });
    }
    let placed = placement.binds.get(path).ok_or_else(|| SpecError::Undefined {
        service: service.clone(),
        kind: "file",
        key: path.to_owned(),
    })?;
    hash.add_placed("bind", path, placed);
    Ok(text(&placed.path))
}

fn attachments(
    name: &ServiceName,
    service: &Service,
    networks: &BTreeMap<String, String>,
    container: &str,
    hash: &mut ConfigHash,
) -> Result<Vec<Attachment>, SpecError> {
    let mut wanted: Vec<_> = service.networks.iter().collect();
    wanted.sort_by_key(|(key, attachment)| (std::cmp::Reverse(attachment.priority), (*key).clone()));
    wanted
        .into_iter()
        .map(|(key, attachment)| {
            let real = networks.get(key).ok_or_else(|| SpecError::Undefined {
                service: name.clone(),
                kind: "network",
                key: key.clone(),
            })?;
            hash.add("network", key, real);
            let mut aliases = vec![name.to_string()];
            // The engines' own alias is lost or stale after a rename.
            for alias in std::iter::once(&container.to_owned()).chain(&attachment.aliases) {
                if !aliases.contains(alias) {
                    aliases.push(alias.clone());
                }
            }
            Ok(Attachment {
                network: real.clone(),
                aliases,
                ipv4: attachment.ipv4_address.clone(),
                ipv6: attachment.ipv6_address.clone(),
                link_local: attachment.link_local_ips.clone(),
                mac_address: attachment.mac_address.clone(),
                options: attachment.driver_opts.clone(),
                gateway_priority: attachment.gw_priority,
            })
        })
        .collect()
}

type PortBindings = BTreeMap<String, Vec<(String, String)>>;

fn ports(service: &Service) -> (Vec<String>, PortBindings) {
    let mut exposed = BTreeSet::new();
    let mut published = PortBindings::new();
    for Port { target, published: host, among, host_ip, protocol } in &service.ports {
        let key = format!("{target}/{protocol}");
        exposed.insert(key.clone());
        let host = match (host, among) {
            (Some(port), _) => port.to_string(),
            (None, Some((first, last))) => format!("{first}-{last}"),
            (None, None) => String::new(),
        };
        published.entry(key).or_default().push((host_ip.clone().unwrap_or_default(), host));
    }
    for port in &service.expose {
        exposed.insert(if port.contains('/') { port.clone() } else { format!("{port}/tcp") });
    }
    (exposed.into_iter().collect(), published)
}

fn health(check: &HealthCheck, engine_has_start_interval: bool) -> HealthSpec {
    match check {
        HealthCheck::Disabled => HealthSpec { test: vec!["NONE".to_owned()], ..Default::default() },
        HealthCheck::Probe { test, interval, timeout, retries, start_period, start_interval } => HealthSpec {
            test: test.clone().unwrap_or_default(),
            interval: *interval,
            timeout: *timeout,
            retries: *retries,
            start_period: *start_period,
            // An engine refuses it, or ignores it, where it does not know it or has no period for it.
            start_interval: start_interval.filter(|_| engine_has_start_interval && start_period.is_some()),
        },
    }
}

/// The service's log driver, or files that rotate: Docker's default grows until the disk is full.
fn logging(service: &Service) -> (Option<String>, BTreeMap<String, String>) {
    match &service.logging {
        Some(logging) => (logging.driver.clone(), logging.options.clone()),
        None => {
            let options = [("max-size", "10m"), ("max-file", "3")];
            let options = options.map(|(key, value)| (key.to_owned(), value.to_owned()));
            (Some("json-file".to_owned()), options.into_iter().collect())
        }
    }
}

fn restart_text(restart: &Restart) -> String {
    match restart {
        Restart::No => "no".to_owned(),
        Restart::Always => "always".to_owned(),
        Restart::UnlessStopped => "unless-stopped".to_owned(),
        Restart::OnFailure(None) => "on-failure".to_owned(),
        Restart::OnFailure(Some(count)) => format!("on-failure:{count}"),
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
#[path = "spec_tests.rs"]
mod tests;
