//! The outcome of a switch, by place.

use crate::services::health::Outcome;
use serde::Serialize;
use std::collections::BTreeMap;

/// What a switch did, by place: `web`, `web/2`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SwitchReport {
    /// Untouched.
    pub unchanged: Vec<String>,
    /// Made for the first time.
    pub created: Vec<String>,
    /// Replaced by a new container.
    pub replaced: Vec<String>,
    /// Unchanged, but did not run, and were started.
    pub started: Vec<String>,
    /// Unchanged, and restarted after a service they depend on was replaced.
    pub restarted: Vec<String>,
    /// No longer in the project, and stopped.
    pub stopped: Vec<String>,
    /// How each that was waited for is up.
    pub outcomes: BTreeMap<String, Outcome>,
}

impl SwitchReport {
    /// Whether anything was done.
    #[must_use]
    pub fn changed(&self) -> bool {
        let Self { unchanged: _, created, replaced, started, restarted, stopped, outcomes: _ } = self;
        [created, replaced, started, restarted, stopped].iter().any(|list| !list.is_empty())
    }
}
