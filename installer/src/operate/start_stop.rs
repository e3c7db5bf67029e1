//! Stopping and starting the services of a project in the order that their labels give.

use crate::engine::containers::ContainerFacts;
use crate::engine::{Engine, label};
use crate::services::ailment::{self, Ailment};
use crate::services::health::{Outcome, Patience};
use crate::services::parking::Standing;
use crate::services::sequence::{Member, SequenceError, Work, bring_up, in_reverse};
use crate::services::{Replica, hooks};
use manifest_schema::ProjectName;
use manifest_schema::progress::Progress;
use std::collections::{BTreeMap, BTreeSet};
use tokio_util::sync::CancellationToken;

/// Stops every service gracefully, dependents first. Returns the services that ran.
///
/// # Errors
/// When the engine fails, or `cancel` is called; what has been stopped by then stays so.
pub async fn stop(
    engine: &Engine,
    project: &ProjectName,
    progress: &dyn Progress,
    cancel: &CancellationToken,
) -> Result<Vec<String>, SequenceError> {
    let standing = Standing::read(engine, project.as_str()).await?;
    // After a change that was cut off, replaced ones may still serve.
    let containers: Vec<ContainerFacts> = standing.current().chain(standing.parked()).cloned().collect();
    let running: BTreeSet<String> = containers
        .iter()
        .filter(|container| container.runs())
        .filter_map(|container| container.labels.get(label::SERVICE).cloned())
        .collect();
    let stopping = in_reverse(&containers, |container| {
        Box::pin(async move {
            if !container.runs() {
                return Ok(());
            }
            let service = container.labels.get(label::SERVICE).map_or("", String::as_str);
            progress.detail(&format!("stopping {service}"));
            hooks::stop(engine, container, progress).await
        })
    });
    tokio::select! {
        biased;
        () = cancel.cancelled() => return Err(SequenceError::Cancelled),
        stopped = stopping => stopped?,
    }
    Ok(running.into_iter().collect())
}

/// Starts every service that does not run, in order, and waits until all are up. Jobs that have done
/// their work are not run again: those that others wait for, and those named by `done`.
///
/// # Errors
/// When a service does not come up, the engine fails, or `cancel` is called.
pub async fn start(
    engine: &Engine,
    project: &ProjectName,
    done: &BTreeSet<String>,
    patience: &Patience,
    progress: &dyn Progress,
    cancel: &CancellationToken,
) -> Result<BTreeMap<Replica, Outcome>, SequenceError> {
    let standing = Standing::read(engine, project.as_str()).await?;
    let mut members = Vec::new();
    for container in standing.current() {
        let work = match ailment::of(engine, &standing, container, done).await? {
            None => Work::Keep,
            Some(Ailment::Stopped | Ailment::Paused | Ailment::Missing) => Work::Start,
            Some(Ailment::Restarting | Ailment::Unhealthy | Ailment::Unproved) => Work::Verify,
        };
        members.extend(Member::new(&container.id, &container.labels, work));
    }
    Ok(bring_up(engine, project.as_str(), &members, None, patience, progress, cancel).await?.outcomes)
}
