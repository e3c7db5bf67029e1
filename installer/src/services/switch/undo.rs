//! The rollback of a switch.

use super::SwitchError;
use crate::engine::containers::{ContainerFacts, RunState};
use crate::engine::label;
use crate::engine::{Engine, EngineError};
use crate::services::failure::ServiceFailure;
use crate::services::health::Patience;
use crate::services::parking::{Part, Standing, is_half_parked, part, rename, restore_policy};
use crate::services::sequence::{Member, SequenceError, Work, bring_up, dependencies, in_reverse};
use crate::services::{Replica, hooks, seed_helper};
use manifest_schema::ProjectName;
use manifest_schema::progress::Progress;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use tokio_util::sync::CancellationToken;

/// Most looks at the engine: the second one usually finds nothing.
const PASSES: usize = 3;

/// The outcome of an undo.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct UndoReport {
    /// Containers of the attempt that were removed.
    pub removed: Vec<String>,
    /// Services that were put back.
    pub restored: Vec<String>,
    /// Networks and volumes of the attempt that were removed.
    pub resources: Vec<String>,
    /// Volumes of the attempt that were kept.
    pub kept_volumes: Vec<String>,
    /// Services that were put back, but do not come up.
    pub failures: Vec<ServiceFailure>,
}

/// The fate of the volumes that an attempt has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Volumes {
    /// They are removed: they hold nothing but what the attempt put there.
    Remove,
    /// They stay: services may have run on them for longer than anybody knows.
    Keep,
}

/// Removes what `attempt` has created, restores replaced containers and starts those that ran before.
/// Can be repeated at any point; where nothing was begun, it does nothing.
///
/// A restored service that does not come up is reported, and the others go on.
///
/// # Errors
/// When the engine fails.
pub async fn undo(
    engine: &Engine,
    project: &ProjectName,
    attempt: &str,
    volumes: Volumes,
    patience: &Patience,
    progress: &dyn Progress,
) -> Result<UndoReport, SwitchError> {
    let undo = Undo { engine, project, attempt, volumes, patience, progress };
    let mut report = UndoReport::default();
    // A killed process can leave a call under way in the engine, whose outcome shows only now.
    for _ in 0..PASSES {
        if !undo.pass(&mut report).await? {
            break;
        }
    }
    undo.remove_resources(&mut report).await?;
    Ok(report)
}

/// One attempt that is undone.
#[derive(Clone, Copy)]
struct Undo<'a> {
    engine: &'a Engine,
    project: &'a ProjectName,
    attempt: &'a str,
    volumes: Volumes,
    patience: &'a Patience,
    progress: &'a dyn Progress,
}

impl Undo<'_> {
    /// One look at the containers, and the work that it asks for; `true` where there was any.
    async fn pass(&self, report: &mut UndoReport) -> Result<bool, SwitchError> {
        let Self { engine, project, volumes, progress, .. } = *self;
        let standing = Standing::read(engine, project.as_str()).await?;
        standing.bury(engine).await?;
        let of_attempt = |container: &ContainerFacts| self.is_of_attempt(&container.labels);
        let doomed: Vec<ContainerFacts> = standing
            .replicas
            .values()
            .flat_map(|replica| {
                let replaced = !replica.parked.is_empty();
                let successors =
                    replica.current.iter().filter(move |current| replaced || of_attempt(current));
                let others = replica.others.iter().filter(move |other| of_attempt(other));
                replica.new.iter().chain(successors).chain(others)
            })
            .cloned()
            .collect();
        in_reverse(&doomed, |container| {
            Box::pin(async move {
                progress.detail(&format!("removing {}", container.name));
                hooks::stop(engine, container, progress).await?;
                engine.remove_container(&container.id, volumes == Volumes::Remove).await
            })
        })
        .await?;
        let work = !doomed.is_empty() || standing.parked().next().is_some();
        report.removed.extend(doomed.into_iter().map(|container| container.name));

        self.put_back(&standing, report).await?;

        Ok(work)
    }

    /// Removes the networks and volumes that the attempt has made, where nothing uses them.
    async fn remove_resources(&self, report: &mut UndoReport) -> Result<(), SwitchError> {
        let Self { engine, project, volumes, .. } = *self;
        for helper in engine.containers(label::PROJECT, project.as_str()).await? {
            if seed_helper::is_helper(&helper, project.as_str()) && self.is_of_attempt(&helper.labels) {
                engine.remove_container(&helper.id, true).await?;
            }
        }
        for network in engine.networks(label::PROJECT, project.as_str()).await? {
            if self.is_of_attempt(&network.labels) && engine.remove_network(&network.name).await? {
                report.resources.push(network.name);
            }
        }
        for volume in engine.volumes(label::PROJECT, project.as_str()).await? {
            if !self.is_of_attempt(&volume.labels) {
                continue;
            }
            if volumes == Volumes::Keep {
                report.kept_volumes.push(volume.name);
            } else {
                match engine.remove_volume(&volume.name).await {
                    Ok(true) => report.resources.push(volume.name),
                    Ok(false) => {}
                    // Something else uses it by now.
                    Err(error) if error.is_conflict() => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// Restores the parked containers, and starts those that ran before.
    async fn put_back(&self, standing: &Standing, report: &mut UndoReport) -> Result<(), SwitchError> {
        let Self { engine, progress, .. } = *self;
        let parked: Vec<&ContainerFacts> = standing.parked().collect();
        for container in &parked {
            // One that still runs may be about to stop, by a call that a killed process has left behind.
            engine.stop(&container.id).await?;
            restore_policy(engine, container).await?;
        }
        let ran = |container: &&&ContainerFacts| part(container).0 == Part::Parked;
        let service =
            |container: &ContainerFacts| container.labels.get(label::SERVICE).cloned().unwrap_or_default();
        let restored: BTreeSet<String> =
            parked.iter().filter(ran).map(|container| service(container)).collect();
        let mut members: Vec<Member> = parked
            .iter()
            .filter(ran)
            .filter_map(|container| Member::new(&container.id, &container.labels, Work::Start))
            .collect();
        // Those that were left alone are part of the order, and some go with what they depend on.
        for container in standing.current() {
            let replica = Replica::of(&container.labels);
            if parked.iter().any(|other| Replica::of(&other.labels) == replica) {
                continue;
            }
            let mut after =
                dependencies(&container.labels).into_iter().filter(|(_, _, again)| *again).peekable();
            // A switch stops those that restart with others before it parks the others, so one that does not
            // run may have been stopped by it.
            let stopped = after.peek().is_some()
                && container.state == RunState::Exited
                && !container.labels.contains_key(label::JOB);
            let stopped = stopped || is_half_parked(engine, container).await?;
            let restarts = after.any(|(name, ..)| restored.contains(&name));
            if restarts {
                hooks::stop(engine, container, progress).await?;
            }
            let work = if restarts || stopped { Work::Start } else { Work::Keep };
            if engine.inspect(&container.id).await?.is_some() {
                members.extend(Member::new(&container.id, &container.labels, work));
            }
        }
        self.start_all(members, report).await?;
        // Only now: under its parked name a container is known as not put back yet.
        for container in &parked {
            let (_, own) = part(container);
            if rename(engine, container, own, progress).await? {
                restore_policy(engine, container).await?;
                engine.start(&container.id).await?;
            }
        }
        report.restored.extend(restored);
        Ok(())
    }

    /// Brings all up that can be brought up: after a failure the failed service no longer counts, and
    /// its dependents start without it.
    async fn start_all(&self, mut members: Vec<Member>, report: &mut UndoReport) -> Result<(), EngineError> {
        let Self { engine, project, patience, progress, .. } = *self;
        let never = CancellationToken::new();
        while members.iter().any(|member| member.work != Work::Keep) {
            match bring_up(engine, project.as_str(), &members, None, patience, progress, &never).await {
                Ok(_) | Err(SequenceError::Cancelled) => return Ok(()),
                Err(SequenceError::Engine(error)) => return Err(error),
                Err(SequenceError::Service(failure)) => {
                    progress.warn(&format!("{failure} (restored)"));
                    let before = members.len();
                    members.retain(|member| member.replica != failure.replica);
                    report.failures.push(*failure);
                    if members.len() == before {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn is_of_attempt(&self, labels: &BTreeMap<String, String>) -> bool {
        labels.get(label::ATTEMPT).is_some_and(|own| own == self.attempt)
    }
}
