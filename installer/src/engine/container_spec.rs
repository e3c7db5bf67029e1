//! A container to be created, in plain values: [`crate::services::spec`] computes them, tests compare them and
//! `--dry-run` can print. [`request`] turns it into the engine's own words.

mod request;

use super::networks::Attachment;
use super::{ImageId, ImageName};
use manifest_schema::compose::model;
pub(super) use request::restart_policy;
use std::collections::BTreeMap;
use std::time::Duration;

/// A container to be created.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerSpec {
    pub name: String,
    /// The image's ID.
    pub image: String,
    /// The name that lists show for the image, while it names this one.
    pub image_name: Option<ImageName>,
    /// Labels, Compose's among them.
    pub labels: BTreeMap<String, String>,
    /// `NAME=value`; a bare name takes the image's variable away, which Podman does not know: it would set its own.
    pub environment: Vec<String>,
    /// `None`: the image's.
    pub command: Option<Vec<String>>,
    /// `None`: the image's; empty: none.
    pub entrypoint: Option<Vec<String>>,
    pub exposed: Vec<String>,
    /// Published ports: `80/tcp` to (host address, host port), empty for the engine's choice.
    pub ports: BTreeMap<String, Vec<(String, String)>>,
    pub mounts: Vec<MountSpec>,
    /// tmpfs: path to options.
    pub tmpfs: BTreeMap<String, String>,
    /// `bridge`, `none`, `host`, `container:ID`, or the name of the first network.
    pub network_mode: Option<String>,
    /// Networks; the first is given on making the container, others are attached afterwards.
    pub networks: Vec<Attachment>,
    /// Health check; `None`: the image's.
    pub health: Option<HealthSpec>,
    /// `no`, `always`, `unless-stopped`, `on-failure[:n]`.
    pub restart: String,
    /// Log driver (`None`: the engine's default) and its options.
    pub logging: (Option<String>, BTreeMap<String, String>),
    pub resources: model::Resources,
    /// Name, soft and hard limit.
    pub ulimits: Vec<(String, i64, i64)>,
    pub sysctls: BTreeMap<String, String>,
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
    /// Host path, container path, permissions.
    pub devices: Vec<(String, String, String)>,
    pub extra_hosts: Vec<String>,
    pub dns: Vec<String>,
    /// DNS search domains.
    pub dns_search: Vec<String>,
    pub dns_options: Vec<String>,
    /// A small init as process 1; `None`: the engine's default.
    pub init: Option<bool>,
    /// User and group.
    pub user: Option<String>,
    pub groups: Vec<String>,
    pub working_dir: Option<String>,
    pub hostname: Option<String>,
    pub domainname: Option<String>,
    /// Root file system read-only.
    pub read_only: bool,
    pub privileged: bool,
    pub tty: bool,
    /// Standard input stays open.
    pub stdin_open: bool,
    pub security_options: Vec<String>,
    /// `/dev/shm` in bytes.
    pub shm_bytes: Option<u64>,
    pub ipc: Option<String>,
    pub pid: Option<String>,
    pub userns: Option<String>,
    pub uts: Option<String>,
    /// Cgroup namespace: `host`, `private`.
    pub cgroup: Option<String>,
    pub runtime: Option<String>,
    /// Options of the image store.
    pub storage_options: BTreeMap<String, String>,
    /// Services whose volumes are mounted too, and `rw` or `ro`; before the container is made, the other
    /// one's ID is put in front: `ID:ro`.
    pub volumes_from: BTreeMap<String, String>,
    /// Signal for a graceful stop.
    pub stop_signal: Option<String>,
    /// Time for a graceful stop.
    pub stop_timeout: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountSpec {
    /// The source of a mount.
    pub source: MountFrom,
    /// Absolute path in the container.
    pub target: String,
    pub read_only: bool,
}

/// The source of a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountFrom {
    /// A named volume; with `nocopy`, an empty one is not filled from the image.
    Volume {
        /// The volume's name in the engine.
        name: String,
        /// Do not fill it from the image.
        nocopy: bool,
        /// A folder of it; engines before 26 do not know it.
        subpath: Option<String>,
    },
    /// The files of an image, read-only; engines before 28 do not know it.
    Image {
        /// The image's ID.
        id: ImageId,
        /// A folder of it.
        subpath: Option<String>,
    },
    /// A new volume without a name.
    Anonymous,
    /// A path on the host.
    Bind {
        path: String,
        /// Make a folder there where nothing is.
        create: bool,
        /// `rprivate`, `rshared`, …
        propagation: Option<String>,
        /// Treatment of mounts below it: `enabled`, `disabled`, `writable`, `readonly`.
        recursive: Option<String>,
        /// Label for SELinux: `z`, shared, or `Z`, private.
        selinux: Option<String>,
    },
    Tmpfs {
        /// Size in bytes.
        size: Option<u64>,
        mode: Option<u32>,
    },
}

/// A health check as the engine takes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HealthSpec {
    /// `["CMD", …]`, `["CMD-SHELL", …]`, `["NONE"]`; empty: the image's.
    pub test: Vec<String>,
    pub interval: Option<Duration>,
    /// For one probe.
    pub timeout: Option<Duration>,
    /// Failures in a row until unhealthy.
    pub retries: Option<u32>,
    /// Failures in this time do not count.
    pub start_period: Option<Duration>,
    /// Between probes during the start period; only where the engine knows it.
    pub start_interval: Option<Duration>,
}

impl ContainerSpec {
    /// Hands volumes of a replaced container on: those without a name that the image or the service
    /// wants at the same path. So data written there survives an update, as with Compose.
    ///
    /// `old` are the replaced container's volumes as (path, name); `declared` the paths that the new
    /// image declares as volumes.
    pub fn inherit_volumes(&mut self, old: &[(String, String)], declared: &[String]) {
        for (target, name) in old {
            match self.mounts.iter_mut().find(|mount| &mount.target == target) {
                Some(mount) if mount.source == MountFrom::Anonymous => {
                    mount.source = MountFrom::Volume { name: name.clone(), nocopy: true, subpath: None };
                }
                Some(_) => {}
                None if declared.contains(target) && !self.tmpfs.contains_key(target) => {
                    self.mounts.push(MountSpec {
                        source: MountFrom::Volume { name: name.clone(), nocopy: true, subpath: None },
                        target: target.clone(),
                        read_only: false,
                    });
                }
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
