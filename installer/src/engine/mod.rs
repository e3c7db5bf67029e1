//! The engine, Docker or Podman, behind one type. Only this folder names bollard.
//!
//! What must stay true here: an answer of 200 is never taken for success where the engine can hide
//! an error behind it (pull, load), every call has an end in time, and every name that goes into a
//! request path is checked first. API: Docker Engine API 1.41 (Engine 20.10) and later; paths carry
//! no version, so the engine answers in its newest.

pub mod connect;
pub mod container_spec;
pub mod containers;
pub mod events;
pub mod exec;
pub mod images;
pub mod inventory;
pub mod networks;
mod podman;
pub mod volumes;

use crate::host;
use bollard::Docker;
use manifest_schema::Platform;
use serde::Serialize;
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

/// Which engine answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// Docker Engine (moby).
    Docker,
    /// Podman's Docker-compatible API.
    Podman,
}

/// How the engine keeps images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageStore {
    /// Graph drivers (overlay2, …): an image's ID is its config's digest.
    GraphDriver,
    /// containerd's store: an image's ID is its manifest's digest.
    Containerd,
}

/// What the engine says about itself, asked once when connecting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EngineFacts {
    /// `unix:///var/run/docker.sock`.
    pub address: String,
    /// Whether it is reached through a socket file, and so runs on this host.
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
    /// How it keeps images.
    pub store: ImageStore,
    /// Where images and volumes lie on the engine's host.
    pub data_root: Option<PathBuf>,
    /// Memory of the engine's host in bytes.
    pub memory_bytes: Option<u64>,
}

impl EngineFacts {
    /// Whether the engine itself can probe faster while a container starts (`start_interval`).
    #[must_use]
    pub fn has_start_interval(&self) -> bool {
        self.kind == EngineKind::Docker && self.api >= (1, 44)
    }

    /// Whether the engine runs health checks by itself. Podman leaves it to systemd timers, which
    /// are missing on many hosts.
    #[must_use]
    pub fn runs_health_checks(&self) -> bool {
        self.kind == EngineKind::Docker
    }

    /// Whether the engine reads layers compressed with zstd (moby from 23.0).
    #[must_use]
    pub fn reads_zstd_layers(&self) -> bool {
        self.kind == EngineKind::Podman || self.version >= (23, 0)
    }
}

/// Why a call to the engine did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No address was given and none of the usual sockets exists.
    #[error("no container engine found: none of {tried} exists")]
    NoEngine {
        /// The places that were tried.
        tried: String,
    },
    /// An engine is here and does not answer; that another one might is no reason to use that.
    #[error("{source}; the engine at {other} was not tried instead: what runs here may be on the first")]
    NotTheOther {
        /// The address of the next engine.
        other: String,
        /// Why the first does not answer.
        source: Box<Self>,
    },
    /// The socket file does not exist.
    #[error("the engine's socket {path} does not exist")]
    SocketMissing {
        /// The socket's path.
        path: String,
    },
    /// The socket file may not be used by this user.
    #[error("no permission to use the engine's socket {path}")]
    PermissionDenied {
        /// The socket's path.
        path: String,
    },
    /// The address exists, but no process listens there.
    #[error("nothing listens at {address}")]
    NotListening {
        /// The address as given.
        address: String,
    },
    /// The address cannot be reached.
    #[error("{address} cannot be reached")]
    Unreachable {
        /// The address as given.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// An address of a kind that is not spoken here.
    #[error("engine address {address} cannot be used: {why}")]
    Unsupported {
        /// The address as given.
        address: String,
        /// The reason.
        why: &'static str,
    },
    /// Something answers, but not as an engine does.
    #[error("what listens at {address} does not answer as a container engine: {message}")]
    NotAnEngine {
        /// The address as given.
        address: String,
        /// What came back.
        message: String,
    },
    /// The engine did not answer in time.
    #[error("the engine did not answer in time when asked to {action}")]
    TimedOut {
        /// What it was asked to do.
        action: String,
    },
    /// The engine answered with an error.
    #[error("the engine could not {action}: {message}")]
    Refused {
        /// What it was asked to do.
        action: String,
        /// HTTP status.
        status: u16,
        /// The engine's own words.
        message: String,
    },
    /// The engine reported an error after it had begun to answer.
    #[error("the engine failed to {action}: {message}")]
    Failed {
        /// What it was asked to do.
        action: String,
        /// The engine's own words.
        message: String,
    },
    /// The engine cannot reach the loopback registry that this process serves.
    #[error("the engine cannot reach the registry on this host's loopback address: {message}")]
    CannotReachRegistry {
        /// The engine's own words.
        message: String,
    },
    /// A name that must not go into a request.
    #[error("`{name}` cannot be used as the name of a {kind}")]
    BadName {
        /// What the name is for.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// The connection broke, or the answer could not be read.
    #[error("the connection to the engine failed when asked to {action}: {source}")]
    Transport {
        /// What it was asked to do.
        action: String,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl EngineError {
    /// What to do about it without a network.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NotTheOther { other, source } => {
                let first = source.hint().map(|hint| format!("{hint}; ")).unwrap_or_default();
                return Some(format!("{first}if the other engine is meant, name it with --engine {other}"));
            }
            Self::NoEngine { .. } => {
                "install Docker Engine or Podman, start it (`systemctl start docker`), or name its socket with --engine unix:///path"
            }
            Self::SocketMissing { .. } => {
                "start the engine (`systemctl start docker`, or `systemctl start podman.socket`), or name another socket with --engine unix:///path"
            }
            Self::PermissionDenied { .. } => {
                "run as root (`sudo ./install …`), or as a member of the group that owns the socket"
            }
            Self::NotListening { .. } => {
                "the engine is not running: `systemctl start docker`; `journalctl -u docker` says why it stopped"
            }
            Self::Unreachable { .. } => "check the address, and that this host has a route to it",
            Self::Unsupported { .. } => {
                "run this program on the engine's own host and use its socket, unix:///var/run/docker.sock"
            }
            Self::NotAnEngine { .. } => {
                "check the address; a port that speaks TLS (usually 2376) cannot be used, use the engine's socket instead"
            }
            Self::TimedOut { .. } => {
                "the engine hangs or its disk is very slow: look at `journalctl -u docker` and `dmesg`, then run this again"
            }
            Self::Refused { message, .. } | Self::Failed { message, .. } => {
                return crate::hint::for_text(message).map(str::to_owned);
            }
            Self::CannotReachRegistry { .. } => "images are loaded through the engine's API instead",
            Self::BadName { .. } => "use letters, digits, `_`, `.` and `-`, beginning with a letter or digit",
            Self::Transport { .. } => {
                "the engine may have been restarted or have crashed: look at `journalctl -u docker`, then run this again"
            }
        };
        Some(hint.to_owned())
    }

    /// Whether the engine said that the thing does not exist.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// Whether the engine said that the state does not allow it (a name taken, a container running
    /// or already being removed).
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { status: 409, .. })
    }
}

/// The result of a call to the engine.
pub type Result<T> = std::result::Result<T, EngineError>;

/// Puts bollard's errors into our words.
pub(crate) fn failure(action: impl Into<String>, error: bollard::errors::Error) -> EngineError {
    use bollard::errors::Error;
    let action = action.into();
    match error {
        Error::DockerResponseServerError { status_code, message } => {
            EngineError::Refused { action, status: status_code, message: one_line(&message) }
        }
        Error::DockerStreamError { error } => EngineError::Failed { action, message: one_line(&error) },
        Error::RequestTimeoutError => EngineError::TimedOut { action },
        other => EngineError::Transport { action, source: Box::new(other) },
    }
}

/// The engine's words as part of a line of ours: they may quote what an image or a bundle says.
pub(crate) fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    ferry_terminal::human::printable(&lines.join(" "))
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
                .try_for_each(|folder| host::sync_filesystem(folder))
        });
        synced.await?
    }

    /// What the engine said about itself when the connection was made.
    #[must_use]
    pub fn facts(&self) -> &EngineFacts {
        &self.facts
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
    fn an_engines_words_are_one_line() {
        assert_eq!(one_line(" no space\r\n  left\x1b[2J\n"), "no space left\u{fffd}[2J");
    }

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
