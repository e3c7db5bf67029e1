//! The Compose model after parsing, interpolation and checking: what the installer works from.
//! Member names follow the Compose Specification.

mod config_hash;
mod file_names;
mod left_out;
mod named_file;
mod needs;
mod permissions;
mod resources;

pub use config_hash::config_hash;
pub use file_names::names_a_file;
pub use named_file::{FileUse, NamedFile};
pub use needs::{Need, needs};
pub use permissions::{Permission, PermissionKind, permissions};
pub use resources::{Blkio, DeviceRequest, Resources};

use crate::yaml::Place;
use crate::{Platform, ServiceName};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The name that Docker gives to an interface's name among the options of a driver.
pub(super) const INTERFACE_NAME: &str = "com.docker.network.endpoint.ifname";

/// The driver of requests for devices of the host's CDI files.
pub(super) const CDI: &str = "cdi";

/// The fate of labels and container names in a Compose file that are Ferry's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserved {
    /// They are mistakes.
    Refused,
    /// They are left out, in a release that a host already has: those of the site's own file still are mistakes.
    Dropped,
}

/// A whole project. The project's name is the bundle's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// Services by name.
    pub services: BTreeMap<ServiceName, Service>,
    /// Networks by key; `default` is present whenever a service uses it.
    pub networks: BTreeMap<String, Network>,
    /// Named volumes by key.
    pub volumes: BTreeMap<String, Volume>,
    /// Configs by key.
    pub configs: BTreeMap<String, FileObject>,
    /// Secrets by key.
    pub secrets: BTreeMap<String, FileObject>,
}

/// One service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Image reference as written (familiar or full).
    pub image: String,
    /// `platform`.
    pub platform: Option<Platform>,
    /// `container_name`; otherwise `project-service-1`.
    pub container_name: Option<String>,
    /// `command` in exec form (a string is split as a shell splits it). `None`: the image's.
    pub command: Option<Vec<String>>,
    /// `entrypoint`; `Some(vec![])` clears the image's.
    pub entrypoint: Option<Vec<String>>,
    /// `environment`, merged over `env_file`.
    pub environment: BTreeMap<String, String>,
    /// Names in `environment` without a value: the container has none of them, whatever its image says.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub without: BTreeSet<String>,
    /// `ports`.
    pub ports: Vec<Port>,
    /// `expose`, `3000` or `3000/udp`.
    pub expose: Vec<String>,
    /// `volumes`.
    pub mounts: Vec<Mount>,
    /// `tmpfs`: path to mount options (may be empty).
    pub tmpfs: BTreeMap<String, String>,
    /// `networks`: key to attachment. Empty when `network_mode` is set.
    pub networks: BTreeMap<String, NetworkAttachment>,
    /// `network_mode`: `none`, `host`, `service:name`, `container:name`, or a network that is on the host already.
    pub network_mode: Option<String>,
    /// `depends_on`.
    pub depends_on: BTreeMap<ServiceName, Dependency>,
    /// `healthcheck`.
    pub healthcheck: Option<HealthCheck>,
    /// `restart`.
    pub restart: Restart,
    /// `labels`.
    pub labels: BTreeMap<String, String>,
    /// `logging`.
    pub logging: Option<Logging>,
    /// `configs`.
    pub configs: Vec<FileMount>,
    /// `secrets`.
    pub secrets: Vec<FileMount>,
    /// Limits from `mem_limit`, `cpus`, `pids_limit`, `deploy.resources` and the like.
    pub resources: Resources,
    /// `user`.
    pub user: Option<String>,
    /// `group_add`.
    pub group_add: Vec<String>,
    /// `working_dir`.
    pub working_dir: Option<String>,
    /// `hostname`.
    pub hostname: Option<String>,
    /// `domainname`.
    pub domainname: Option<String>,
    /// `extra_hosts` as `name:address`.
    pub extra_hosts: Vec<String>,
    /// `dns`.
    pub dns: Vec<String>,
    /// `dns_search`.
    pub dns_search: Vec<String>,
    /// `dns_opt`.
    pub dns_opt: Vec<String>,
    /// `init`.
    pub init: Option<bool>,
    /// `read_only`.
    pub read_only: bool,
    /// `privileged`.
    pub privileged: bool,
    /// `tty`.
    pub tty: bool,
    /// `stdin_open`.
    pub stdin_open: bool,
    /// `cap_add`.
    pub cap_add: Vec<String>,
    /// `cap_drop`.
    pub cap_drop: Vec<String>,
    /// `security_opt`.
    pub security_opt: Vec<String>,
    /// `sysctls`.
    pub sysctls: BTreeMap<String, String>,
    /// `ulimits`: name to (soft, hard).
    pub ulimits: BTreeMap<String, (i64, i64)>,
    /// `devices` as (host path, container path, cgroup permissions).
    pub devices: Vec<(String, String, String)>,
    /// `shm_size` in bytes.
    pub shm_bytes: Option<u64>,
    /// `ipc`.
    pub ipc: Option<String>,
    /// `pid`.
    pub pid: Option<String>,
    /// `userns_mode`.
    pub userns_mode: Option<String>,
    /// `stop_signal`.
    pub stop_signal: Option<String>,
    /// `stop_grace_period`; Compose's default is 10 s.
    pub stop_grace_period: Option<Duration>,
    /// `profiles`.
    pub profiles: Vec<String>,
    /// `scale` and `deploy.replicas`: how many containers, 1 where nothing is written. Not part of the config
    /// hash: another number changes none of those that run.
    #[serde(skip)]
    pub replicas: Option<u16>,
    /// `cgroup`: `host` or `private`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// `uts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uts: Option<String>,
    /// `runtime`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// `storage_opt`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub storage_opt: BTreeMap<String, String>,
    /// `volumes_from`: a service, and whether its volumes are read-only here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes_from: BTreeMap<ServiceName, bool>,
    /// `post_start`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub post_start: Vec<Hook>,
    /// `pre_stop`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pre_stop: Vec<Hook>,
    /// Where the service is written, for messages; not part of the config hash.
    #[serde(skip)]
    pub place: Place,
}

impl Service {
    /// The network of the host that it lives in, by its name: `network_mode: plant_lan`.
    #[must_use]
    pub fn network_of_host(&self) -> Option<&str> {
        let is_other =
            |mode: &&str| !matches!(*mode, "none" | "host" | "bridge" | "default") && !mode.contains(':');
        self.network_mode.as_deref().filter(is_other)
    }

    /// Containers of the host that it shares a namespace with, by name: `container:vpn`.
    pub fn containers_of_host(&self) -> impl Iterator<Item = &str> {
        let modes = [&self.network_mode, &self.ipc, &self.pid];
        modes.into_iter().flatten().filter_map(|mode| mode.strip_prefix("container:"))
    }

    /// How many containers it has.
    #[must_use]
    pub fn containers(&self) -> u16 {
        self.replicas.unwrap_or(1)
    }
}

/// A command that is run in a container after its start or before its stop.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// The command and its arguments.
    pub command: Vec<String>,
    /// User, where it is not the container's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// With all privileges.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub privileged: bool,
    /// Working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Environment beside the container's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
}

/// A published port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Port in the container.
    pub target: u16,
    /// Port on the host; `None`: the engine chooses.
    pub published: Option<u16>,
    /// First and last port of the host among which the engine chooses; `None`: among all that it has for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub among: Option<(u16, u16)>,
    /// Address on the host; `None`: all.
    pub host_ip: Option<String>,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
}

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The source of the mount.
    pub source: MountSource,
    /// Absolute path in the container.
    pub target: String,
    /// `read_only`.
    pub read_only: bool,
    /// `bind.propagation`.
    pub propagation: Option<String>,
    /// `volume.nocopy`.
    pub nocopy: bool,
    /// `volume.subpath` or `image.subpath`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subpath: Option<String>,
    /// `bind.recursive`: `enabled`, `disabled`, `writable`, `readonly`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recursive: Option<String>,
    /// `bind.selinux`: `z` or `Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selinux: Option<String>,
}

impl Mount {
    /// The name of its source, or of its place in the container, is one that people give to files.
    #[must_use]
    pub fn names_a_file(&self) -> bool {
        let source = matches!(&self.source, MountSource::Bind { path, .. } if names_a_file(path));
        source || names_a_file(&self.target)
    }
}

/// The source of a mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountSource {
    /// A named volume, by its key in `volumes`.
    Volume(String),
    /// An anonymous volume.
    Anonymous,
    /// The files of an image, by its reference as written.
    Image(String),
    /// A path on the host. Relative ones (`./config/nginx.conf`) are kept as written, without `./`,
    /// and mean the release folder.
    Bind {
        /// Absolute, or relative to the release folder.
        path: String,
        /// `bind.create_host_path`.
        create: bool,
    },
    /// A tmpfs.
    Tmpfs {
        /// `tmpfs.size` in bytes.
        size: Option<u64>,
        /// `tmpfs.mode`.
        mode: Option<u32>,
    },
}

/// A service's attachment to a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkAttachment {
    /// `aliases`, beside the service's name.
    pub aliases: Vec<String>,
    /// `ipv4_address`.
    pub ipv4_address: Option<String>,
    /// `ipv6_address`.
    pub ipv6_address: Option<String>,
    /// `priority`: higher is connected first.
    pub priority: i64,
    /// `link_local_ips`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub link_local_ips: Vec<String>,
    /// `mac_address`, of the network or of the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<String>,
    /// `driver_opts`; `interface_name` is one of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub driver_opts: BTreeMap<String, String>,
    /// `gw_priority`: the highest gives the default route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gw_priority: Option<i64>,
}

/// When a dependency is satisfied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// The container runs.
    ServiceStarted,
    /// Its health check passes.
    ServiceHealthy,
    /// It ran and exited with 0.
    ServiceCompletedSuccessfully,
}

/// One entry of `depends_on`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// The condition.
    pub condition: Condition,
    /// `restart`.
    pub restart: bool,
    /// `required`.
    pub required: bool,
}

/// A health check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HealthCheck {
    /// `disable: true` or `test: ["NONE"]`.
    Disabled,
    /// A probe.
    Probe {
        /// As Docker's API takes it: `["CMD", …]` or `["CMD-SHELL", …]`. `None`: the image's.
        test: Option<Vec<String>>,
        /// `interval`.
        interval: Option<Duration>,
        /// `timeout`.
        timeout: Option<Duration>,
        /// `retries`.
        retries: Option<u32>,
        /// `start_period`.
        start_period: Option<Duration>,
        /// `start_interval`.
        start_interval: Option<Duration>,
    },
}

/// Restart policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// `no`.
    #[default]
    No,
    /// `always`.
    Always,
    /// `unless-stopped`.
    UnlessStopped,
    /// `on-failure[:max]`.
    OnFailure(Option<u32>),
}

/// Log driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logging {
    /// `driver`; `None`: the engine's default.
    pub driver: Option<String>,
    /// `options`.
    pub options: BTreeMap<String, String>,
}

/// A config or secret mounted into a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMount {
    /// Key in `configs` or `secrets`.
    pub source: String,
    /// Absolute path in the container (`/run/secrets/<name>` or `/<name>` by default).
    pub target: String,
    /// `uid`.
    pub uid: Option<String>,
    /// `gid`.
    pub gid: Option<String>,
    /// `mode`.
    pub mode: Option<u32>,
}

/// Where a config or secret comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileObject {
    /// `file`: relative to the Compose file (without `./`).
    File(String),
    /// `content`.
    Content(String),
    /// `environment`: the variable's value, already looked up.
    Environment(String),
    /// `external`: a file of this name that the host's operator provides.
    External(String),
}

/// A network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// `name`; otherwise `project_key`.
    pub name: Option<String>,
    /// `driver`; `None`: bridge.
    pub driver: Option<String>,
    /// `driver_opts`.
    pub driver_opts: BTreeMap<String, String>,
    /// `external`.
    pub external: bool,
    /// `internal`.
    pub internal: bool,
    /// `attachable`.
    pub attachable: bool,
    /// `enable_ipv6`.
    pub enable_ipv6: bool,
    /// `labels`.
    pub labels: BTreeMap<String, String>,
    /// `ipam.driver`.
    pub ipam_driver: Option<String>,
    /// `ipam.options`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ipam_options: BTreeMap<String, String>,
    /// `ipam.config`.
    pub ipam: Vec<Subnet>,
}

/// A range of addresses of a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// `subnet`, `172.28.0.0/16`.
    pub subnet: Option<String>,
    /// `gateway`.
    pub gateway: Option<String>,
    /// `ip_range`.
    pub ip_range: Option<String>,
    /// `aux_addresses`: addresses that are somebody else's, by name.
    pub aux_addresses: BTreeMap<String, String>,
}

/// A named volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// `name`; otherwise `project_key`.
    pub name: Option<String>,
    /// `driver`; `None`: local.
    pub driver: Option<String>,
    /// `driver_opts`.
    pub driver_opts: BTreeMap<String, String>,
    /// `external`.
    pub external: bool,
    /// `labels`.
    pub labels: BTreeMap<String, String>,
}
