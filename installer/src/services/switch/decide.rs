//! The work of a switch on each replica, from the actual and the desired state.

use super::{Look, SwitchError, SwitchReport, look, resources};
use crate::engine::containers::{ContainerFacts, RunState};
use crate::engine::label;
use crate::engine::{Engine, EngineError};
use crate::services::Replica;
use crate::services::ailment::{self, Ailment};
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
    /// Unchanged, but it keeps restarting or is unhealthy: it is made anew.
    Renew,
    /// Unchanged, but restarted after a service it depends on.
    Restart,
    /// Made for the first time.
    Create,
    /// Its definition, image or files changed.
    Replace,
}

impl Change {
    /// A new container is made.
    const fn makes(self) -> bool {
        matches!(self, Self::Create | Self::Replace | Self::Renew)
    }

    /// A container takes the place of another.
    const fn replaces(self) -> bool {
        matches!(self, Self::Replace | Self::Renew)
    }
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
    /// Ailments of replicas whose definition is the desired one.
    ailments: BTreeMap<Replica, Ailment>,
}

impl Plan {
    /// Services that get a new container, in the order in which they start.
    pub(super) fn made<'a>(&'a self, target: &'a Target) -> impl Iterator<Item = &'a ServiceTarget> {
        target
            .services
            .iter()
            .filter(|service| self.changes.get(&service.replica).is_some_and(|change| change.makes()))
    }

    /// Something is changed beside replicas that were not well.
    fn is_an_update(&self) -> bool {
        !self.orphans.is_empty()
            || self.changes.values().any(|change| matches!(change, Change::Create | Change::Replace))
    }

    /// A replica that is no worse when it does not come up: it was not well before, and an update for others must
    /// not wait for its cure. Where there is no update, its failure is the answer.
    pub(super) fn may_fail(&self, service: &ServiceTarget) -> bool {
        // One that restarts with others may have been stopped by a switch that was cut off.
        self.is_an_update()
            && self.ailments.contains_key(&service.replica)
            && (service.restart_after.is_empty()
                || self.changes.get(&service.replica) != Some(&Change::Start))
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
                Change::Renew => &mut report.renewed,
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
    /// Ailments of replicas that are what they should be otherwise.
    pub ailments: BTreeMap<Replica, Ailment>,
}

/// Compares the actual state with `target`: the changes, and the obstacles to them. Changes nothing.
///
/// # Errors
/// When the engine fails.
pub async fn compare(
    engine: &Engine,
    target: &Target,
) -> Result<(Comparison, Vec<SwitchError>), SwitchError> {
    let Look { plan, foreign, .. } = look(engine, target).await?;
    let mut obstacles = resources::obstacles(engine, target).await?;
    obstacles.extend(foreign);
    let Plan { changes, orphans: stopped, ailments, .. } = plan;
    Ok((Comparison { changes, stopped, ailments }, obstacles))
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
            plan.changes.iter().any(|(replica, change)| of_other(replica) && change.replaces())
        };
        let wanted = |container: &&ContainerFacts| {
            container.labels.get(label::CONFIG_HASH).is_some_and(|hash| hash == service.config_hash())
                && container.name == service.container.name
                // One that was never started holds nothing; an engine that was killed in its start may not be
                // able to start it.
                && container.state != RunState::Created
                && !service.shares.iter().any(replaced_again)
        };
        let attempted = !own.parked.is_empty();
        let change = match own.current.as_ref().filter(wanted) {
            Some(current) => {
                let (change, ailment) = unchanged(engine, target, standing, current, attempted).await?;
                plan.ailments.extend(ailment.map(|ailment| (replica.clone(), ailment)));
                if change == Change::Renew {
                    plan.parked.push(current.clone());
                }
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
                    Some(current) if current.state == RunState::Created && is_ferrys(&current) => {
                        plan.worthless.push(current);
                    }
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

fn is_ferrys(container: &ContainerFacts) -> bool {
    container.labels.contains_key(label::ATTEMPT)
}

/// The change of a container whose definition is the desired one, and what is wrong with it.
async fn unchanged(
    engine: &Engine,
    target: &Target,
    standing: &Standing,
    current: &ContainerFacts,
    attempted: bool,
) -> Result<(Change, Option<Ailment>), EngineError> {
    let own = current.labels.get(label::ATTEMPT).is_some_and(|attempt| *attempt == target.attempt);
    let started = matches!(current.state, RunState::Running | RunState::Restarting);
    if (own || attempted) && started {
        return Ok((Change::Unverified, None));
    }
    let ailment = ailment::of(engine, standing, current, &target.done).await?;
    let change = match ailment {
        None if own || attempted => Change::Unverified,
        None => Change::Unchanged,
        Some(Ailment::Unproved) => Change::Unverified,
        Some(Ailment::Restarting | Ailment::Unhealthy) => Change::Renew,
        Some(Ailment::Stopped | Ailment::Paused | Ailment::Missing) => Change::Start,
    };
    // What this attempt itself has started was never well.
    Ok((change, ailment.filter(|_| !own && !attempted)))
}
