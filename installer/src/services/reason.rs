//! Why a service is not up, as a value: its exit code, hint and class do not depend on how it is worded.

use serde::Serialize;
use std::fmt;

/// The cause that kept a service from coming up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Its container does not exist any more.
    Gone,
    /// Its container is being removed.
    BeingRemoved,
    Exited {
        code: i64,
        /// How often it was restarted before.
        restarts: u64,
    },
    /// It ends again and again.
    Loops {
        /// Exit code of the last run.
        code: i64,
        /// How often it was restarted.
        restarts: u64,
    },
    /// It was restarted too often, and runs at the moment.
    Restarted {
        restarts: u64,
        /// In how many seconds.
        seconds: u64,
    },
    /// It is paused.
    Paused,
    /// It had to do its work and exit within this many seconds, and still runs.
    Unfinished { seconds: u64 },
    /// The engine calls it unhealthy at the deadline.
    Unhealthy {
        seconds: u64,
        /// How often it was restarted.
        restarts: u64,
    },
    /// Its health check has not passed at the deadline.
    NotHealthy {
        seconds: u64,
        /// How often it was restarted.
        restarts: u64,
    },
    /// It does not run at the deadline.
    NotStarted { seconds: u64 },
    /// The engine cannot start it, in the engine's words.
    Refused(String),
    /// A link lies where one of its folders is mounted from.
    Linked(String),
    /// A command after its start failed.
    PostStart(String),
}

impl Reason {
    /// The exit code is part of the text.
    #[must_use]
    pub const fn has_exit_code(&self) -> bool {
        matches!(self, Self::Exited { .. } | Self::Loops { .. })
    }

    /// It ends again and again, so that no single probe says why.
    #[must_use]
    pub const fn is_loop(&self) -> bool {
        matches!(self, Self::Loops { .. } | Self::Restarted { .. })
    }

    /// The engine's or a command's own words, which may name a cause.
    #[must_use]
    pub fn words(&self) -> Option<&str> {
        match self {
            Self::Refused(words) | Self::PostStart(words) => Some(words),
            _ => None,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let again =
            |restarts: u64| if restarts > 0 { format!(" after {restarts} restarts") } else { String::new() };
        match self {
            Self::Gone => f.write_str("is gone: its container was removed by somebody else"),
            Self::BeingRemoved => f.write_str("is being removed by somebody else"),
            Self::Exited { code, restarts } => {
                let early = if *code == 0 { " before it was healthy" } else { "" };
                write!(f, "exited with code {code}{}{early}", again(*restarts))
            }
            Self::Loops { code, restarts } => {
                write!(f, "keeps restarting: exited with code {code}{}", again(*restarts))
            }
            Self::Restarted { restarts, seconds } => {
                write!(f, "keeps restarting: {restarts} times in {seconds} s")
            }
            Self::Paused => f.write_str("is paused"),
            Self::Unfinished { seconds } => write!(f, "did not finish within {seconds} s"),
            Self::Unhealthy { seconds, restarts } => {
                write!(f, "is unhealthy after {seconds} s{}", again(*restarts))
            }
            Self::NotHealthy { seconds, restarts } => {
                write!(f, "did not become healthy within {seconds} s{}", again(*restarts))
            }
            Self::NotStarted { seconds } => write!(f, "did not start within {seconds} s"),
            Self::Refused(words) => write!(f, "could not be started: {words}"),
            Self::Linked(what) => write!(f, "was not started: {what}"),
            Self::PostStart(words) => write!(f, "failed after its start: {words}"),
        }
    }
}

impl Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
