//! Errors of a switch, with their class and hint.

use crate::engine::EngineError;
use crate::services::failure::ServiceFailure;
use crate::services::sequence::SequenceError;
use ferry_terminal::{Class, Failure, failure, human};

/// Why a switch did not happen.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// A service did not come up.
    #[error(transparent)]
    Service(Box<ServiceFailure>),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Something of this name exists that does not belong to the project.
    #[error("a {kind} named {name} exists, but does not belong to project {project}")]
    Foreign {
        /// `network`, `volume`, `container`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The project.
        project: String,
    },
    /// Something external that the project needs does not exist.
    #[error("the external {kind} {name} does not exist")]
    MissingExternal {
        /// `network`, `volume`, `container`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// It was called off.
    #[error("cancelled")]
    Cancelled,
}

impl SwitchError {
    /// The way to mend it without a network.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Service(failure) => failure.hint.clone(),
            Self::Engine(error) => error.hint(),
            Self::Foreign { kind, name, .. } => Some(format!(
                "look at it with `docker {kind} inspect {name}`; rename or remove it if nobody needs it"
            )),
            Self::MissingExternal { kind, name } => {
                Some(format!("create it first: `docker {kind} create {name}`"))
            }
            Self::Cancelled => None,
        }
    }

    /// This error as a failure, with its class, the last words of a service that failed, and its hint.
    #[must_use]
    pub fn into_failure(self) -> anyhow::Error {
        let hint = self.hint();
        let failure = match &self {
            SwitchError::Cancelled => Failure::new(Class::Cancelled, "stopped by Ctrl-C"),
            SwitchError::Service(service) => {
                let mut fact = format!("service {}: {}", service.replica, service.reason);
                if let Some(code) = service.exit_code.filter(|_| !service.reason.has_exit_code()) {
                    fact.push_str(&format!(" (exit code {code})"));
                }
                for (title, lines) in [
                    ("its last health checks", &service.health_log),
                    ("its last log lines", &service.last_logs),
                ] {
                    if !lines.is_empty() {
                        fact.push_str(&format!("\n  {title}:"));
                        for line in lines {
                            fact.push_str(&format!("\n    | {}", human::printable(line)));
                        }
                    }
                }
                Failure::new(Class::Health, fact)
            }
            SwitchError::Engine(engine) => Failure::new(engine.class(), failure::chain(engine)),
            other => Failure::new(Class::Preflight, other.to_string()),
        };
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
        .into()
    }
}

impl From<SequenceError> for SwitchError {
    fn from(error: SequenceError) -> Self {
        match error {
            SequenceError::Service(failure) => Self::Service(failure),
            SequenceError::Engine(error) => Self::Engine(error),
            SequenceError::Cancelled => Self::Cancelled,
        }
    }
}
