//! The work of a switch on each replica, from the actual and the desired state.

use super::{SwitchError, SwitchReport, foreign_containers, resources};
use crate::engine::containers::{ContainerFacts, RunState};
use crate::engine::label;
use crate::engine::{Engine, EngineError};
use crate::services::Replica;
use crate::services::parking::Standing;
use crate::services::target::{ServiceTarget, Target};
use serde::Serialize;
use std::collections::BTreeMap;

/// The change of a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Nothing: it serves as it is.
    Unchanged,
    /// It was started by this attempt, which was interrupted: its health is waited for.
    Unverified,
    /// Unchanged, but it does not run: it is started.
    Start,
    /// Unchanged, but restarted after a service it depends on.
    Restart,
    /// Made for the first time.
    Create,
    /// Its definition, image or files changed.
    Replace,
}

/// The work of a switch.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    pub(super) changes: BTreeMap<Replica, Change>,
    /// Unfinished containers of an interrupted attempt.
    pub(super) worthless: Vec<ContainerFacts>,
    /// Containers to be put aside (again).
    pub(super) parked: Vec<ContainerFacts>,
    /// Containers that stay and are stopped before they are started again.
    pub(super) stopped_first: Vec<ContainerFacts>,
    /// Replicas that are no longer wanted.
    orphans: Vec<Replica>,
}

impl Plan {
    /// Services that get a new container, in the order in which they start.
    pub(super) fn made<'a>(&'a self, target: &'a Target) -> impl Iterator<Item = &'a ServiceTarget> {
        target.services.iter().filter(|service| {
            matches!(self.changes.get(&service.replica), Some(Change::Create | Change::Replace))
        })
    }

    pub(super) fn does_anything(&self) -> bool {
        self.changes.values().any(|change| *change != Change::Unchanged)
            || !self.worthless.is_empty()
            || !self.orphans.is_empty()
    }

    pub(super) fn report(&self) -> SwitchReport {
        let mut report = SwitchReport { stopped: self.orphans.clone(), ..Default::default() };
        for (replica, change) in &self.changes {
            let list = match change {
                Change::Unchanged => &mut report.unchanged,
                Change::Unverified | Change::Start => &mut report.started,
                Change::Restart => &mut report.restarted,
                Change::Create => &mut report.created,
                Change::Replace => &mut report.replaced,
            };
            list.push(replica.clone());
        }
        report
    }
}

/// The changes that a switch would make.
#[derive(Debug, Clone, Default)]
pub struct Comparison {
    /// By replica.
    pub changes: BTreeMap<Replica, Change>,
    /// Replicas that it would stop for good.
    pub stopped: Vec<Replica>,
}

/// Compares the actual state with `target`: the changes, and the obstacles to them. Changes nothing.
///
/// # Errors
/// When the engine fails.
pub async fn compare(
    engine: &Engine,
    target: &Target,
) -> Result<(Comparison, Vec<SwitchError>), SwitchError> {
    let standing = Standing::read(engine, target.project.as_str()).await?;
    let plan = decide(engine, target, &standing).await?;
    let mut obstacles = resources::obstacles(engine, target).await?;
    obstacles.extend(foreign_containers(engine, target, &plan, &standing).await?);
    Ok((Comparison { changes: plan.changes, stopped: plan.orphans }, obstacles))
}

pub(super) async fn decide(
    engine: &Engine,
    target: &Target,
    standing: &Standing,
) -> Result<Plan, EngineError> {
    let mut plan = Plan::default();
    for service in &target.services {
        let replica = &service.replica;
        let own = standing.replicas.get(replica).cloned().unwrap_or_default();
        plan.worthless.extend(own.new);
        plan.parked.extend(own.others);
        let replaced_again = |other: &String| {
            let of_other = |replica: &Replica| replica.service().as_str() == other;
            plan.changes.iter().any(|(replica, change)| of_other(replica) && *change == Change::Replace)
        };
        let wanted = |container: &&ContainerFacts| {
            container.labels.get(label::CONFIG_HASH).is_some_and(|hash| hash == service.config_hash())
                && container.name == service.container.name
                && container.state != RunState::Removing
                && !service.shares.iter().any(replaced_again)
        };
        let attempted = !own.parked.is_empty();
        let change = match own.current.as_ref().filter(wanted) {
            Some(current) => {
                let change = unchanged(engine, target, standing, current, attempted).await?;
                let restart = service.restart_after.iter().any(replaced_again) && change == Change::Unchanged;
                if restart {
                    plan.stopped_first.push(current.clone());
                }
                if restart { Change::Restart } else { change }
            }
            None => {
                match own.current {
                    // Its predecessor is parked: this one comes from an attempt that was not finished.
                    Some(current) if attempted => plan.worthless.push(current),
                    Some(current) => plan.parked.push(current),
                    None => {}
                }
                let predecessor = attempted
                    || plan.parked.iter().any(|old| Replica::of(&old.labels).as_ref() == Some(replica));
                if predecessor { Change::Replace } else { Change::Create }
            }
        };
        // Whatever is parked must be stopped and stay so, also when that was interrupted.
        plan.parked.extend(own.parked);
        plan.changes.insert(replica.clone(), change);
    }
    for (replica, own) in &standing.replicas {
        if target.replica(replica).is_none() {
            if own.current.is_some() || !own.others.is_empty() {
                plan.orphans.push(replica.clone());
            }
            plan.worthless.extend(own.new.iter().cloned());
            plan.parked.extend(own.current.iter().chain(&own.others).chain(&own.parked).cloned());
        }
    }
    Ok(plan)
}

/// The change of a container whose definition is the desired one.
async fn unchanged(
    engine: &Engine,
    target: &Target,
    standing: &Standing,
    current: &ContainerFacts,
    attempted: bool,
) -> Result<Change, EngineError> {
    let own = current.labels.get(label::ATTEMPT).is_some_and(|attempt| *attempt == target.attempt);
    let serves = if own || attempted { Change::Unverified } else { Change::Unchanged };
    Ok(match current.state {
        RunState::Running | RunState::Restarting | RunState::Paused => serves,
        RunState::Created | RunState::Removing => Change::Start,
        RunState::Exited => {
            if standing.is_done(engine, current, &target.done).await? {
                serves
            } else {
                Change::Start
            }
        }
    })
}
