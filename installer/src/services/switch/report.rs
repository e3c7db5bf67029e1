//! The outcome of a switch, by replica.

use crate::services::Replica;
use crate::services::failure::ServiceFailure;
use crate::services::health::Outcome;
use serde::Serialize;
use std::collections::BTreeMap;

/// The changes that a switch made, by replica.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SwitchReport {
    /// Untouched.
    pub unchanged: Vec<Replica>,
    /// Made for the first time.
    pub created: Vec<Replica>,
    /// Replaced by a new container.
    pub replaced: Vec<Replica>,
    /// Unchanged, but kept restarting or were unhealthy, and were made anew.
    pub renewed: Vec<Replica>,
    /// Unchanged, but did not run, and were started.
    pub started: Vec<Replica>,
    /// Unchanged, and restarted after a service they depend on was replaced.
    pub restarted: Vec<Replica>,
    /// No longer in the project, and stopped.
    pub stopped: Vec<Replica>,
    /// How each that was waited for is up.
    pub outcomes: BTreeMap<Replica, Outcome>,
    /// Were not well before, were not changed, and did not come up.
    pub not_up: Vec<ServiceFailure>,
}

impl SwitchReport {
    /// At least one replica was changed.
    #[must_use]
    pub fn changed(&self) -> bool {
        let Self { unchanged: _, created, replaced, renewed, started, restarted, stopped, .. } = self;
        [created, replaced, renewed, started, restarted, stopped].iter().any(|list| !list.is_empty())
    }
}
