//! Access to the host that a project asks for, beyond a container of its own: computed from the rendered model,
//! so that it can be shown before the first start, compared between releases, and held against a policy.
//!
//! Invariant: each member of [`Service`], [`Volume`] and [`Network`] that reaches out of a container is
//! read here. `every_member_is_judged` in the tests fails for a new member that nobody has judged.

use super::{MountSource, Network, Project, Service, Volume};
use crate::ServiceName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Component, Path, PathBuf};

/// The kind of an access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PermissionKind {
    /// The socket of an engine: whoever has it is root on the host. The value is a path.
    EngineSocket,
    /// `privileged`, of a service or of a hook.
    Privileged,
    /// A namespace of the host or of a foreign container: `network=host`.
    Namespace,
    /// A Linux capability that Docker does not give by default: `CAP_SYS_ADMIN`.
    Capability,
    /// A security option that takes a protection away: `seccomp=unconfined`.
    SecurityOption,
    /// A device of the host, a rule for devices, or a request to a device's driver: `/dev/ttyUSB0:rwm`.
    Device,
    /// A file or folder of the host: `/etc/localtime:ro`.
    HostPath,
    /// A volume whose driver is told more than a name: `media: type=nfs, device=:/export`.
    VolumeOptions,
    /// A volume that is not the product's own, by its name in the engine.
    ForeignVolume,
    /// A network that is not the product's own, by its name in the engine.
    ForeignNetwork,
    /// A network whose driver is not `bridge`, or is told where to connect: `field: macvlan, parent=eth0`.
    NetworkOptions,
    /// A runtime, parent cgroup or kernel parameter: `runtime=nvidia`.
    Runtime,
    /// A published port: `127.0.0.1:8080/tcp`.
    Port,
}

impl PermissionKind {
    /// The kind in a sentence of a line: `host path`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::EngineSocket => "engine socket",
            Self::Privileged => "privileged",
            Self::Namespace => "namespace",
            Self::Capability => "capability",
            Self::SecurityOption => "security option",
            Self::Device => "device",
            Self::HostPath => "host path",
            Self::VolumeOptions => "volume options",
            Self::ForeignVolume => "foreign volume",
            Self::ForeignNetwork => "foreign network",
            Self::NetworkOptions => "network options",
            Self::Runtime => "runtime",
            Self::Port => "port",
        }
    }
}

/// An access to the host, and the services that ask for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permission {
    /// The kind.
    pub kind: PermissionKind,
    /// The thing, in one text. Equal accesses have equal texts.
    pub value: String,
    /// The services, in order. Empty where nobody but the project itself asks.
    pub services: Vec<ServiceName>,
}

impl Permission {
    /// The path on the host, where the access is to one.
    #[must_use]
    pub fn host_path(&self) -> Option<&Path> {
        match self.kind {
            PermissionKind::HostPath => self.value.rsplit_once(':').map(|(path, _)| Path::new(path)),
            PermissionKind::EngineSocket => Some(Path::new(&self.value)),
            _ => None,
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.word(), self.value)
    }
}

/// Every access that `project` asks for, each once, ordered by kind and value.
#[must_use]
pub fn permissions(project: &Project) -> Vec<Permission> {
    let mut found: BTreeMap<(PermissionKind, String), Vec<ServiceName>> = BTreeMap::new();
    for (name, service) in &project.services {
        for access in of_service(service) {
            let services = found.entry(access).or_default();
            if services.last() != Some(name) {
                services.push(name.clone());
            }
        }
    }
    let users = |used: &dyn Fn(&Service) -> bool| -> Vec<ServiceName> {
        let users = project.services.iter().filter(|(_, service)| used(service));
        users.map(|(name, _)| name.clone()).collect()
    };
    for (key, volume) in &project.volumes {
        let mounts = |service: &Service| {
            service
                .mounts
                .iter()
                .any(|mount| matches!(&mount.source, MountSource::Volume(used) if used == key))
        };
        found.extend(of_volume(key, volume).into_iter().map(|access| (access, users(&mounts))));
    }
    for (key, network) in &project.networks {
        let attached = |service: &Service| service.networks.contains_key(key);
        found.extend(of_network(key, network).into_iter().map(|access| (access, users(&attached))));
    }
    found.into_iter().map(|((kind, value), services)| Permission { kind, value, services }).collect()
}

type Access = (PermissionKind, String);

fn of_service(service: &Service) -> Vec<Access> {
    let mut found = Vec::new();
    let mut ask = |kind, value: String| found.push((kind, value));
    if service.privileged {
        ask(PermissionKind::Privileged, "all capabilities and devices".to_owned());
    }
    if service.post_start.iter().chain(&service.pre_stop).any(|hook| hook.privileged) {
        ask(PermissionKind::Privileged, "a command beside the service".to_owned());
    }
    let namespaces = [
        ("network", &service.network_mode),
        ("pid", &service.pid),
        ("ipc", &service.ipc),
        ("uts", &service.uts),
        ("user", &service.userns_mode),
        ("cgroup", &service.cgroup),
    ];
    for (namespace, mode) in namespaces {
        if let Some(mode) = mode.as_deref().filter(|mode| reaches_out(mode)) {
            ask(PermissionKind::Namespace, format!("{namespace}={mode}"));
        }
    }
    if let Some(name) = service.network_of_host() {
        ask(PermissionKind::ForeignNetwork, name.to_owned());
    }
    for capability in &service.cap_add {
        let upper = capability.to_ascii_uppercase();
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if !OF_DOCKER.contains(&name) {
            let value = if name == "ALL" { "ALL".to_owned() } else { format!("CAP_{name}") };
            ask(PermissionKind::Capability, value);
        }
    }
    for option in &service.security_opt {
        // `no-new-privileges` only takes away.
        if !option.starts_with("no-new-privileges") {
            let is_profile = option.starts_with("seccomp={");
            let shown = if is_profile {
                "seccomp=a profile of its own".to_owned()
            } else {
                option.replacen(':', "=", 1)
            };
            ask(PermissionKind::SecurityOption, shown);
        }
    }
    for (host, _, rights) in &service.devices {
        ask(PermissionKind::Device, format!("{host}:{rights}"));
    }
    for rule in &service.resources.device_cgroup_rules {
        ask(PermissionKind::Device, format!("rule {rule}"));
    }
    for request in &service.resources.device_requests {
        let driver = request.driver.as_deref().unwrap_or("any driver");
        let what = if request.capabilities.is_empty() { &request.device_ids } else { &request.capabilities };
        ask(PermissionKind::Device, format!("{driver}: {}", what.join(",")));
    }
    for mount in &service.mounts {
        if let MountSource::Bind { path, .. } = &mount.source
            && path.starts_with('/')
        {
            let (kind, value) = of_path(path, mount.read_only);
            ask(kind, value);
        }
    }
    if let Some(runtime) = &service.runtime {
        ask(PermissionKind::Runtime, format!("runtime={runtime}"));
    }
    if let Some(parent) = &service.resources.cgroup_parent {
        ask(PermissionKind::Runtime, format!("cgroup_parent={parent}"));
    }
    for (name, value) in &service.sysctls {
        ask(PermissionKind::Runtime, format!("sysctl {name}={value}"));
    }
    for port in &service.ports {
        let number = match (port.published, port.among) {
            (Some(port), _) => port.to_string(),
            (None, Some((first, last))) => format!("{first}-{last}"),
            (None, None) => "any".to_owned(),
        };
        let address = port.host_ip.as_deref().map(|address| {
            if address.contains(':') { format!("[{address}]:") } else { format!("{address}:") }
        });
        let address = address.unwrap_or_default();
        ask(PermissionKind::Port, format!("{address}{number}/{}", port.protocol));
    }
    found
}

/// Capabilities that Docker gives to every container (Docker's default set, `man 7 capabilities`).
const OF_DOCKER: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// The mode means the host, or a container that the project does not name.
fn reaches_out(mode: &str) -> bool {
    mode == "host" || mode.starts_with("container:") || mode.starts_with("ns:")
}

/// A path of the host, or the socket of an engine.
fn of_path(path: &str, read_only: bool) -> Access {
    let path = plain(path);
    let socket = path.file_name().is_some_and(|name| SOCKETS.iter().any(|socket| name == *socket));
    let shown = path.display();
    if socket {
        // `ro` on a socket forbids nothing.
        (PermissionKind::EngineSocket, shown.to_string())
    } else {
        (PermissionKind::HostPath, format!("{shown}:{}", if read_only { "ro" } else { "rw" }))
    }
}

/// Sockets of container engines, wherever they lie.
const SOCKETS: [&str; 5] = ["docker.sock", "podman.sock", "containerd.sock", "crio.sock", "buildkitd.sock"];

/// An absolute path without `.`, `..` and repeated slashes. Links are not followed.
fn plain(path: &str) -> PathBuf {
    let mut plain = PathBuf::from("/");
    for part in Path::new(path).components() {
        match part {
            Component::Normal(part) => plain.push(part),
            Component::ParentDir => {
                plain.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    plain
}

fn of_volume(key: &str, volume: &Volume) -> Vec<Access> {
    let mut found = Vec::new();
    if volume.external {
        found.push((PermissionKind::ForeignVolume, volume.name.as_deref().unwrap_or(key).to_owned()));
    }
    let driver = volume.driver.as_deref().filter(|driver| *driver != "local");
    if driver.is_some() || !volume.driver_opts.is_empty() {
        found.push((PermissionKind::VolumeOptions, with_options(key, driver, &volume.driver_opts)));
    }
    // A `bind` of the local driver is a host path by another name.
    if let Some(device) = volume.driver_opts.get("device").filter(|device| device.starts_with('/')) {
        let options = volume.driver_opts.get("o").map_or("", String::as_str);
        found.push(of_path(device, options.split(',').any(|option| option == "ro")));
    }
    found
}

fn of_network(key: &str, network: &Network) -> Vec<Access> {
    if network.external {
        return vec![(PermissionKind::ForeignNetwork, network.name.as_deref().unwrap_or(key).to_owned())];
    }
    let driver = network.driver.as_deref().filter(|driver| *driver != "bridge");
    let names_interface = |option: &String| option == "parent" || option == "com.docker.network.bridge.name";
    if driver.is_some() || network.driver_opts.keys().any(names_interface) {
        return vec![(PermissionKind::NetworkOptions, with_options(key, driver, &network.driver_opts))];
    }
    Vec::new()
}

/// `media: nfs, device=:/export, o=addr=10.0.0.9`.
fn with_options(key: &str, driver: Option<&str>, options: &BTreeMap<String, String>) -> String {
    let options = options.iter().map(|(name, value)| format!("{name}={value}"));
    let parts: Vec<String> = driver.map(str::to_owned).into_iter().chain(options).collect();
    format!("{key}: {}", parts.join(", "))
}

#[cfg(test)]
#[path = "permissions_tests.rs"]
mod tests;
