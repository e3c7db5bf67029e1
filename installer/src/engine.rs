//! The engine, Docker or Podman, behind one type. Only this folder names bollard.
//!
//! Invariant: an answer of 200 is never taken for success where the engine can hide
//! an error behind it (pull, load), every call has an end in time, and every name that goes into a
//! request path is checked first. API: Docker Engine API 1.41 (Engine 20.10) and later; paths carry
//! no version, so the engine answers in its newest.

mod address;
mod connect;
pub(crate) mod container_spec;
pub mod containers;
mod create;
mod error;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod hint;
mod image_id;
mod image_name;
pub(crate) mod images;
pub(crate) mod inventory;
pub(crate) mod label;
pub(crate) mod logs;
pub(crate) mod networks;
mod podman;
pub mod volumes;

pub use address::EngineAddress;
use anyhow::Context as _;
use bollard::Docker;
pub use error::{EngineError, Result, classed};
pub(crate) use error::{failure, one_line};
use ferry_terminal::{Class, Failure, disk, human};
pub use image_id::ImageId;
pub use image_name::ImageName;
use manifest_schema::Platform;
use serde::Serialize;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Longest wait for the head of an answer to an ordinary call. A start behind a busy disk was seen
/// to take over 30 s.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(180);

/// Longest wait for calls that carry whole images or volumes.
pub(crate) const BULK_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// A connection to an engine. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    docker: Docker,
    facts: Arc<EngineFacts>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("facts", &self.facts).finish_non_exhaustive()
    }
}

/// The kind of engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// Docker Engine (moby).
    Docker,
    /// Podman's Docker-compatible API.
    Podman,
}

/// The kind of image store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageStore {
    /// Graph drivers (overlay2, …): an image's ID is its config's digest.
    GraphDriver,
    /// containerd's store: an image's ID is its manifest's digest.
    Containerd,
}

/// The host's users that the users in containers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Users {
    /// The same.
    Same,
    /// Those from this user and group on (`userns-remap`).
    From {
        /// The host's user that is root in containers.
        uid: u32,
        /// The host's group that is root's in containers.
        gid: u32,
    },
    /// Those of a user without root, whom the engine runs as.
    Rootless,
    /// Others, which cannot be told from here.
    Hidden,
}

/// The engine's facts about itself, asked once when connecting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EngineFacts {
    /// `unix:///var/run/docker.sock`.
    pub address: EngineAddress,
    /// It is reached through a socket file, and so runs on this host.
    pub local: bool,
    /// Docker or Podman.
    pub kind: EngineKind,
    /// Major and minor version, `(20, 10)`.
    pub version: (u32, u32),
    /// As the engine writes it, `20.10.24+dfsg1`.
    pub version_text: String,
    /// Newest API it speaks, `(1, 41)`.
    pub api: (u32, u32),
    /// Operating system and architecture.
    pub platform: Platform,
    /// Its image store.
    pub store: ImageStore,
    /// The folder of images and volumes on the engine's host.
    pub data_root: Option<PathBuf>,
    /// Its users on its host.
    pub users: Users,
    /// Memory of the engine's host in bytes.
    pub memory_bytes: Option<u64>,
}

impl EngineFacts {
    /// The engine itself can probe faster while a container starts (`start_interval`).
    #[must_use]
    pub fn has_start_interval(&self) -> bool {
        self.kind == EngineKind::Docker && self.api >= (1, 44)
    }

    /// The engine runs health checks by itself. Podman leaves it to systemd timers, which
    /// are missing on many hosts.
    #[must_use]
    pub fn runs_health_checks(&self) -> bool {
        self.kind == EngineKind::Docker
    }

    /// The engine reads layers compressed with zstd (moby from 23.0).
    #[must_use]
    pub fn reads_zstd_layers(&self) -> bool {
        self.kind == EngineKind::Podman || self.version >= (23, 0)
    }
}

impl Engine {
    /// Brings what the engine has written onto the disk, where the engine and its files are this host's. A
    /// pull, a load and an upload end when the files are in the page cache.
    ///
    /// # Errors
    /// When the disk reports that it could not.
    pub async fn sync_data(&self) -> anyhow::Result<()> {
        if !self.facts.local {
            return Ok(());
        }
        // With containerd's store, layers lie in a folder of containerd's own.
        let containerd = (self.facts.store == ImageStore::Containerd).then(|| "/var/lib/containerd".into());
        let folders: Vec<PathBuf> = self.facts.data_root.iter().cloned().chain(containerd).collect();
        let synced = tokio::task::spawn_blocking(move || {
            // A user of the engine who is not root cannot enter its folder.
            folders
                .iter()
                .filter(|folder| folder.is_dir())
                .try_for_each(|folder| Ok::<_, std::io::Error>(rustix::fs::syncfs(File::open(folder)?)?))
        });
        synced.await?.context("syncing what the engine has written")
    }

    /// The engine's facts about itself when the connection was made.
    #[must_use]
    pub fn facts(&self) -> &EngineFacts {
        &self.facts
    }

    /// `error` with the folder of images and volumes, where the disk that holds it is what takes no more.
    #[must_use]
    pub fn naming_its_disk(&self, error: anyhow::Error) -> anyhow::Error {
        let is_disk = error.chain().any(|cause| {
            cause.downcast_ref::<EngineError>().is_some_and(|error| error.class() == Class::Files)
                || cause.downcast_ref::<Failure>().is_some_and(|failure| {
                    failure.class() == Class::Files && hint::is_full_disk(&failure.to_string())
                })
        });
        let Some(folder) = self.facts.data_root.as_deref().filter(|_| is_disk) else { return error };
        let room = disk::space(folder)
            .filter(|_| self.facts.local)
            .map(|(free, total)| format!(": {} of {} are free", human::bytes(free), human::bytes(total)));
        let fact = format!(
            "the engine's disk takes no more; it keeps images and volumes in {}{}",
            folder.display(),
            room.unwrap_or_default()
        );
        let hint = "free space there (`df -h`, `docker system df`), or move the engine to a larger disk, then run this again";
        Failure::new(Class::Files, fact).because(error).hint(hint).into()
    }

    /// The client with another limit on how long the head of an answer may take.
    fn patient(&self, limit: Duration) -> Docker {
        self.docker.clone().with_timeout(limit)
    }
}

/// Checks a container, network or volume name or ID (moby: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`), so that it
/// cannot leave its place in a request path.
pub(crate) fn checked<'a>(kind: &'static str, name: &'a str) -> Result<&'a str> {
    let mut bytes = name.bytes();
    let good = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        && name.len() <= 255;
    if good { Ok(name) } else { Err(EngineError::BadName { kind, name: name.chars().take(120).collect() }) }
}

/// Checks an image name, reference or ID for the same purpose.
pub(crate) fn checked_image(name: &str) -> Result<&str> {
    let good = !name.is_empty()
        && name.len() <= 512
        && !name.starts_with('/')
        && !name.split('/').any(|part| part.is_empty() || part == "." || part == "..")
        && name.bytes().all(|b| {
            b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'/' | b':' | b'@' | b'[' | b']')
        });
    if good {
        Ok(name)
    } else {
        Err(EngineError::BadName { kind: "image", name: name.chars().take(120).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_place_in_a_path() {
        for bad in ["", "../images", "a/b", "-x", "a b", "a?force=1", "a%2e", &"x".repeat(300)] {
            assert!(checked("container", bad).is_err(), "{bad}");
        }
        assert!(checked("container", "shop-web-1.old-0123456789ab").is_ok());
        for bad in ["", "/etc", "a/../b", "a//b", "a?x", "a b", "a#b", "a%2fb"] {
            assert!(checked_image(bad).is_err(), "{bad}");
        }
        let digest = format!("127.0.0.1:5000/x@sha256:{}", "0".repeat(64));
        for good in ["nginx", "acme/api:2.4.0", digest.as_str()] {
            assert!(checked_image(good).is_ok(), "{good}");
        }
    }
}
