//! Errors of calls to the engine, with their class and a hint that needs no network.

use super::{EngineAddress, hint};
use ferry_terminal::{Class, Failure, failure};

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
    #[error("{source}; the engine at {other} was not tried instead: the running release may be on the first")]
    NotTheOther {
        /// The address of the next engine.
        other: EngineAddress,
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
        address: EngineAddress,
    },
    /// The address cannot be reached.
    #[error("{address} cannot be reached")]
    Unreachable {
        /// The address as given.
        address: EngineAddress,
        /// The system's error.
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
        address: EngineAddress,
        /// The answer.
        message: String,
    },
    /// The engine did not answer in time.
    #[error("the engine did not answer in time when asked to {action}")]
    TimedOut {
        /// The request.
        action: String,
    },
    /// The engine answered with an error.
    #[error("the engine could not {action}: {message}")]
    Refused {
        /// The request.
        action: String,
        /// HTTP status.
        status: u16,
        /// The engine's own words.
        message: String,
    },
    /// The engine reported an error after it had begun to answer.
    #[error("the engine failed to {action}: {message}")]
    Failed {
        /// The request.
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
        /// The kind of thing that is named.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// The connection broke, or the answer could not be read.
    #[error("the connection to the engine failed when asked to {action}: {source}")]
    Transport {
        /// The request.
        action: String,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl EngineError {
    /// The way to mend it without a network.
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
                return hint::for_text(message).map(str::to_owned);
            }
            Self::CannotReachRegistry { .. } => "images are loaded through the engine's API instead",
            Self::BadName { .. } => "use letters, digits, `_`, `.` and `-`, beginning with a letter or digit",
            Self::Transport { .. } => {
                "the engine may have been restarted or have crashed: look at `journalctl -u docker`, then run this again"
            }
        };
        Some(hint.to_owned())
    }

    /// [`Class::Files`] where the engine's disk takes no more, else [`Class::Engine`].
    #[must_use]
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Refused { message, .. } | Self::Failed { message, .. } if hint::is_full_disk(message) => {
                Class::Files
            }
            _ => Class::Engine,
        }
    }

    /// This error about `from`, a name that nobody knows, as one about `to`.
    #[must_use]
    pub(crate) fn renamed(mut self, from: &str, to: &str) -> Self {
        match &mut self {
            Self::Refused { action, message, .. } | Self::Failed { action, message } => {
                (*action, *message) = (action.replace(from, to), message.replace(from, to));
            }
            Self::TimedOut { action } | Self::Transport { action, .. } => *action = action.replace(from, to),
            _ => {}
        }
        self
    }

    /// This error and its causes in one line, with its class and hint.
    #[must_use]
    pub fn into_failure(self) -> Failure {
        let failure = Failure::new(self.class(), failure::chain(&self));
        match self.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }

    /// The engine said that the thing does not exist.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// The engine said that the state does not allow it (a name taken, a container running
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

/// Gives an engine's error that no stage has classed its class and hint.
#[must_use]
pub fn classed(error: anyhow::Error) -> anyhow::Error {
    let is_classed = error.chain().any(|cause| cause.is::<Failure>());
    let found = error.chain().find_map(|cause| cause.downcast_ref::<EngineError>());
    let Some(found) = found.filter(|_| !is_classed) else { return error };
    let failure = Failure::new(found.class(), failure::chain(error.as_ref()));
    match found.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engines_words_are_one_line() {
        assert_eq!(one_line(" no space\r\n  left\x1b[2J\n"), "no space left\u{fffd}[2J");
    }
}
