//! Finding the engine and asking what it is.
//!
//! The address is tried by hand before bollard gets it, since a technician needs to know whether the
//! socket is missing, forbidden or dead, and bollard tells these apart only in its own words.

use super::address::{EngineAddress, Transport};
use super::{
    CALL_TIMEOUT, Engine, EngineError, EngineFacts, EngineKind, ImageStore, Result, Users, one_line,
};
use ferry_terminal::engine_client::{self, Address};
use manifest_schema::{Platform, oci};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Longest wait for a connection and for the engine's first answers.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

impl EngineAddress {
    /// Connects once, only to learn whether and why not.
    async fn knock(&self) -> Result<()> {
        let attempt = async {
            match self.transport() {
                Transport::Unix(path) => tokio::net::UnixStream::connect(path).await.map(drop),
                Transport::Tcp(host) => tokio::net::TcpStream::connect(host.as_str()).await.map(drop),
            }
        };
        let error = match tokio::time::timeout(CONNECT_TIMEOUT, attempt).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            Err(_) => return Err(EngineError::TimedOut { action: format!("connect at {self}") }),
        };
        Err(match (self.transport(), error.kind()) {
            (Transport::Unix(path), ErrorKind::NotFound) => {
                EngineError::SocketMissing { path: path.display().to_string() }
            }
            (Transport::Unix(path), ErrorKind::PermissionDenied) => {
                EngineError::PermissionDenied { path: path.display().to_string() }
            }
            (_, ErrorKind::ConnectionRefused) => EngineError::NotListening { address: self.clone() },
            _ => EngineError::Unreachable { address: self.clone(), source: error },
        })
    }
}

/// The sockets tried when no address is given.
fn usual_sockets(runtime_dir: Option<&Path>) -> Vec<PathBuf> {
    let mut paths = vec![PathBuf::from("/var/run/docker.sock"), PathBuf::from("/run/podman/podman.sock")];
    if let Some(dir) = runtime_dir {
        paths.push(dir.join("docker.sock"));
        paths.push(dir.join("podman/podman.sock"));
    }
    paths
}

impl Engine {
    /// Connects to the engine at `address`, or to the
    /// first of the usual sockets that exists: Docker's, Podman's, then those of the user. One that
    /// exists and does not answer is an error: with the next engine, an upgrade during an outage of
    /// Docker would start on Podman with empty volumes.
    ///
    /// # Errors
    /// When the socket is missing, forbidden or dead, or something else than an engine answers.
    pub async fn connect(address: Option<&EngineAddress>) -> Result<Self> {
        if let Some(address) = address {
            return Self::open(address).await;
        }
        let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        Self::first_of(&usual_sockets(runtime_dir.as_deref())).await
    }

    async fn first_of(paths: &[PathBuf]) -> Result<Self> {
        for (number, path) in paths.iter().enumerate() {
            match Self::open(&EngineAddress::unix(path.clone())).await {
                Ok(engine) => return Ok(engine),
                Err(EngineError::SocketMissing { .. }) => {}
                Err(error) => {
                    let other = paths.iter().skip(number + 1).find(|other| other.exists());
                    return Err(match other {
                        Some(other) => EngineError::NotTheOther {
                            other: EngineAddress::unix(other.clone()),
                            source: Box::new(error),
                        },
                        None => error,
                    });
                }
            }
        }
        Err(EngineError::NoEngine {
            tried: paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "),
        })
    }

    async fn open(address: &EngineAddress) -> Result<Self> {
        address.knock().await?;
        let stranger = |error: bollard::errors::Error| EngineError::NotAnEngine {
            address: address.clone(),
            message: one_line(&root_cause(&error)),
        };
        let server = match address.transport() {
            Transport::Unix(path) => Address::Unix(path.clone()),
            Transport::Tcp(host) => Address::Tcp(host.clone()),
        };
        let docker = engine_client::connect(server, CALL_TIMEOUT).map_err(stranger)?;
        let questions = async { tokio::try_join!(docker.version(), docker.info()) };
        let (version, info) = tokio::time::timeout(CONNECT_TIMEOUT, questions)
            .await
            .map_err(|_| EngineError::TimedOut { action: "describe itself".to_owned() })?
            .map_err(stranger)?;
        let facts = facts(address, version, info)?;
        Ok(Self { docker, facts: Arc::new(facts) })
    }
}

/// The innermost cause: the outer ones say "error in the client".
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

fn facts(
    address: &EngineAddress,
    version: bollard::models::SystemVersion,
    info: bollard::models::SystemInfo,
) -> Result<EngineFacts> {
    let components = version.components.unwrap_or_default();
    let podman = components.iter().any(|part| part.name.to_ascii_lowercase().contains("podman"));
    let version_text = version.version.unwrap_or_default();
    let pairs = info.driver_status.unwrap_or_default();
    let containerd = pairs.iter().any(|pair| {
        matches!(pair.as_slice(), [key, value] if key == "driver-type" && value == "io.containerd.snapshotter.v1")
    });
    let users = users(&info.security_options.unwrap_or_default(), info.docker_root_dir.as_deref());
    let os = version.os.or(info.os_type).unwrap_or_else(|| "linux".to_owned());
    let machine = info.architecture.unwrap_or_default();
    let platform =
        platform(&os, version.arch.as_deref(), &machine).ok_or_else(|| EngineError::NotAnEngine {
            address: address.clone(),
            message: format!("it names no architecture (`{}`)", one_line(&machine)),
        })?;
    Ok(EngineFacts {
        address: address.clone(),
        local: matches!(address.transport(), Transport::Unix(_)),
        kind: if podman { EngineKind::Podman } else { EngineKind::Docker },
        version: two_numbers(&version_text),
        version_text,
        api: two_numbers(version.api_version.as_deref().unwrap_or("1.24")),
        platform,
        store: if containerd { ImageStore::Containerd } else { ImageStore::GraphDriver },
        data_root: info.docker_root_dir.filter(|dir| !dir.is_empty()).map(PathBuf::from),
        users,
        memory_bytes: info.mem_total.and_then(|bytes| u64::try_from(bytes).ok()).filter(|bytes| *bytes > 0),
    })
}

/// The users of an engine with these options. One that maps them keeps its data in a folder of the first ones,
/// `/var/lib/docker/UID.GID`.
fn users(options: &[String], data_root: Option<&str>) -> Users {
    let has = |name: &str| options.iter().any(|option| option.split(',').any(|part| part == name));
    if has("name=rootless") {
        return Users::Rootless;
    }
    if !has("name=userns") {
        return Users::Same;
    }
    let ids = data_root.and_then(|root| {
        let (uid, gid) = Path::new(root).file_name()?.to_str()?.split_once('.')?;
        Some((uid.parse().ok()?, gid.parse().ok()?))
    });
    ids.map_or(Users::Hidden, |(uid, gid)| Users::From { uid, gid })
}

/// The engine's platform: that of `machine` (`uname -m`), which knows variants, where it is one of `arch`; else `arch`.
fn platform(os: &str, arch: Option<&str>, machine: &str) -> Option<Platform> {
    let of_machine = oci::platform(os, machine, None);
    match arch.filter(|arch| !arch.is_empty()) {
        Some(arch) if of_machine.as_ref().is_none_or(|found| found.architecture() != arch) => {
            oci::platform(os, arch, None)
        }
        _ => of_machine,
    }
}

/// `20.10.24+dfsg1` as `(20, 10)`; what is not a number counts as 0.
fn two_numbers(text: &str) -> (u32, u32) {
    let mut numbers =
        text.trim_start_matches('v').split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_platforms() {
        assert_eq!(two_numbers("20.10.24+dfsg1"), (20, 10));
        assert_eq!(two_numbers("29.0.0-rc.1"), (29, 0));
        assert_eq!(two_numbers("unknown"), (0, 0));
        assert_eq!(platform("linux", Some("amd64"), "x86_64").unwrap().as_str(), "linux/amd64");
        assert_eq!(platform("linux", None, "aarch64").unwrap().as_str(), "linux/arm64");
        assert_eq!(platform("linux", Some("arm"), "armv7l").unwrap().as_str(), "linux/arm/v7");
        // A program of 32 bits on a kernel of 64.
        assert_eq!(platform("linux", Some("arm"), "aarch64").unwrap().as_str(), "linux/arm");
        assert_eq!(platform("linux", Some("arm64"), "").unwrap().as_str(), "linux/arm64");
        assert_eq!(platform("linux", None, "i686").unwrap().as_str(), "linux/386");
        assert!(platform("linux", None, "").is_none());
    }

    #[test]
    fn the_users_of_an_engine_are_told_by_its_options() {
        let of = |options: &[&str], root: &str| {
            users(&options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>(), Some(root))
        };
        let plain = ["name=seccomp,profile=default"];
        let mapped = ["name=seccomp,profile=default", "name=userns"];
        assert_eq!(of(&plain, "/var/lib/docker"), Users::Same);
        assert_eq!(of(&plain, "/srv/1000.1000"), Users::Same);
        assert_eq!(of(&mapped, "/var/lib/docker/100000.200000"), Users::From { uid: 100_000, gid: 200_000 });
        assert_eq!(of(&mapped, "/var/lib/docker"), Users::Hidden);
        assert_eq!(of(&mapped, "/var/lib/docker/a.b"), Users::Hidden);
        assert_eq!(users(&["name=userns".to_owned()], None), Users::Hidden);
        assert_eq!(
            of(&["name=seccomp", "name=rootless", "name=cgroupns"], "/home/a/docker"),
            Users::Rootless
        );
    }

    #[tokio::test]
    async fn a_missing_and_a_dead_socket_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("engine.sock");
        let host = EngineAddress::unix(path.clone());
        let missing = Engine::connect(Some(&host)).await.unwrap_err();
        assert!(matches!(missing, EngineError::SocketMissing { .. }), "{missing}");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let dead = Engine::connect(Some(&host)).await.unwrap_err();
        assert!(matches!(dead, EngineError::NotListening { .. }), "{dead}");
        assert!(dead.hint().unwrap().contains("systemctl"));
    }

    #[tokio::test]
    async fn an_engine_that_is_down_is_not_replaced_by_another() {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["missing.sock", "docker.sock", "podman.sock"].map(|name| dir.path().join(name));
        drop(std::os::unix::net::UnixListener::bind(&paths[1]).unwrap());
        let alone = Engine::first_of(&paths).await.unwrap_err();
        assert!(matches!(alone, EngineError::NotListening { .. }), "{alone}");
        let other = tokio::net::UnixListener::bind(&paths[2]).unwrap();
        let error = Engine::first_of(&paths).await.unwrap_err();
        assert!(matches!(error, EngineError::NotTheOther { .. }), "{error}");
        let text = ferry_terminal::failure::chain(&error) + &error.hint().unwrap();
        assert!(text.contains("docker.sock") && text.contains("--engine unix://"), "{text}");
        assert!(text.contains("podman.sock") && text.contains("systemctl start docker"), "{text}");
        // Nobody knocked there.
        assert!(futures_util::FutureExt::now_or_never(other.accept()).is_none());
        // What is missing is passed over.
        let none = Engine::first_of(&paths[..1]).await.unwrap_err();
        assert!(matches!(none, EngineError::NoEngine { .. }), "{none}");
    }

    #[tokio::test]
    async fn a_stranger_behind_the_socket_is_named() {
        use tokio::io::AsyncWriteExt as _;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("tcp://{}", listener.local_addr().unwrap()).parse().unwrap();
        let server = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await;
            }
        });
        let error = Engine::connect(Some(&address)).await.unwrap_err();
        server.abort();
        assert!(matches!(error, EngineError::NotAnEngine { .. }), "{error}");
    }
}
