//! The address of an engine, parsed once. State files and messages have it as text: `unix:///path`,
//! `tcp://address:port`.
//!
//! ```compile_fail
//! // An address cannot be made without being checked.
//! let address = installer::engine::EngineAddress("ssh://root@host".to_owned());
//! ```

use super::EngineError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The socket of an engine on this host, or the TCP address of one without TLS.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EngineAddress(Transport);

/// How an engine is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Transport {
    Unix(PathBuf),
    Tcp(String),
}

impl EngineAddress {
    pub(super) const fn unix(path: PathBuf) -> Self {
        Self(Transport::Unix(path))
    }

    pub(super) const fn transport(&self) -> &Transport {
        &self.0
    }

    /// Both lead to the same engine. `/var/run` is a link to `/run` on most hosts.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let resolved = |address: &Self| match &address.0 {
            Transport::Unix(path) => std::fs::canonicalize(path).map_or_else(|_| address.clone(), Self::unix),
            Transport::Tcp(_) => address.clone(),
        };
        resolved(self) == resolved(other)
    }
}

impl FromStr for EngineAddress {
    type Err = EngineError;

    /// Reads `unix:///path`, `/path`, `tcp://address:port` and `http://address:port`.
    fn from_str(text: &str) -> Result<Self, EngineError> {
        let unsupported =
            |why| Err(EngineError::Unsupported { address: text.chars().take(200).collect(), why });
        if let Some(path) = text.strip_prefix("unix://") {
            return if path.starts_with('/') {
                Ok(Self::unix(path.into()))
            } else {
                unsupported("a socket's path must be absolute, as in unix:///var/run/docker.sock")
            };
        }
        if text.starts_with('/') {
            return Ok(Self::unix(text.into()));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return unsupported("write unix:///path/of/the/socket or tcp://address:port");
        };
        match scheme {
            "tcp" | "http" => {
                let host = rest.trim_end_matches('/');
                let (name, port) = host.rsplit_once(':').unwrap_or((host, ""));
                if name.is_empty()
                    || port.parse::<u16>().is_err()
                    || !host.bytes().all(|b| b.is_ascii_alphanumeric() || b".:-[]_".contains(&b))
                {
                    return unsupported("write tcp://address:port");
                }
                Ok(Self(Transport::Tcp(host.to_owned())))
            }
            "ssh" => unsupported("engines behind ssh are not supported"),
            "https" => unsupported("engines behind TLS are not supported"),
            "npipe" => unsupported("Windows pipes are not supported"),
            _ => unsupported("only unix:// and tcp:// addresses are supported"),
        }
    }
}

impl fmt::Display for EngineAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Transport::Unix(path) => write!(f, "unix://{}", path.display()),
            Transport::Tcp(host) => write!(f, "tcp://{host}"),
        }
    }
}

manifest_schema::text_form!(EngineAddress);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (text, written) in [
            ("unix:///x/y.sock", "unix:///x/y.sock"),
            ("/x/y.sock", "unix:///x/y.sock"),
            ("tcp://127.0.0.1:2375/", "tcp://127.0.0.1:2375"),
            ("http://[::1]:2375", "tcp://[::1]:2375"),
        ] {
            let address: EngineAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), written);
            let json = serde_json::to_string(&address).unwrap();
            assert_eq!(json, format!("{written:?}"));
            assert_eq!(serde_json::from_str::<EngineAddress>(&json).unwrap(), address);
        }
        for bad in [
            "unix://x",
            "docker",
            "ssh://root@host",
            "https://h:1",
            "tcp://h",
            "tcp://:1",
            "tcp://a/b:1",
            "fd://",
            "npipe:////./pipe/x",
            "tcp://h:99999",
        ] {
            assert!(matches!(bad.parse::<EngineAddress>(), Err(EngineError::Unsupported { .. })), "{bad}");
            assert!(serde_json::from_value::<EngineAddress>(bad.into()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_link_to_a_socket_is_the_same_engine() {
        let folder = tempfile::tempdir().unwrap();
        let (socket, link) = (folder.path().join("docker.sock"), folder.path().join("link.sock"));
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        std::os::unix::fs::symlink(&socket, &link).unwrap();
        let address = |path: &PathBuf| EngineAddress::unix(path.clone());
        assert!(address(&socket).is_same(&address(&link)));
        assert!(!address(&socket).is_same(&address(&folder.path().join("podman.sock"))));
        assert!(!address(&socket).is_same(&"tcp://127.0.0.1:2375".parse().unwrap()));
    }
}
