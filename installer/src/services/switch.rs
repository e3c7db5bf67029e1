//! From the release that runs to the one that is wanted, replacing only what changed.
//!
//! ```text
//! prepare_networks_volumes → (seed) → switch → commit_cleanup
//!                                       └ on failure or call-off: undo
//! ```
//!
//! Invariant: until `commit_cleanup`, every replaced container still exists, parked (see
//! [`crate::services::parking`]), so that `undo` can put it back. All new containers are made before the first
//! old one is touched. Each of the four can be killed at any instant and run again, with the same
//! [`Target::attempt`]: it reads from the engine how far it came. After a failure the caller decides to
//! run `undo`; before a switch to another release, `undo` or `commit_cleanup` of the last one must
//! have ended, which `install` sees to.

mod decide;
mod error;
mod report;
mod resources;
mod undo;

pub use decide::{Change, Comparison, compare};
pub use error::SwitchError;
pub use report::SwitchReport;
pub use resources::{Prepared, prepare_networks_volumes};
pub use undo::{UndoReport, Volumes, undo};

use crate::engine::containers::ContainerFacts;
use crate::engine::label;
use crate::engine::{Engine, EngineError};
use crate::services::health::Patience;
use crate::services::parking::{Standing, park};
use crate::services::sequence::{Member, Remake, Work, bring_up, in_reverse};
use crate::services::target::{ServiceTarget, Target};
use crate::services::{Replica, hooks};
use futures_util::future::BoxFuture;
use manifest_schema::progress::Progress;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Replaces what changed, starts everything in order and waits until all is up. Replaced containers
/// and those of services that are no longer wanted stay parked.
///
/// # Errors
/// When a service does not come up, the engine fails, or `cancel` is called. Then `undo` puts things
/// back.
pub async fn switch(
    engine: &Engine,
    target: &Target,
    patience: &Patience,
    progress: &dyn Progress,
    cancel: &CancellationToken,
) -> Result<SwitchReport, SwitchError> {
    let project = target.project.as_str();
    let Look { standing, plan, foreign } = look(engine, target).await?;
    let mut report = plan.report();
    if !plan.does_anything() {
        return Ok(report);
    }
    if let Some(foreign) = foreign.into_iter().next() {
        return Err(foreign);
    }
    standing.bury(engine).await?;
    for leftover in &plan.worthless {
        progress.detail(&format!("removing the unfinished container {}", leftover.name));
        engine.stop(&leftover.id).await?;
        engine.remove_container(&leftover.id, true).await?;
    }

    // Everything new is made before anything old is touched: most mistakes show here.
    let mut new = BTreeMap::new();
    for service in plan.made(target) {
        if cancel.is_cancelled() {
            return Err(SwitchError::Cancelled);
        }
        let id = make(engine, service, &standing, &new, progress).await?;
        new.insert(service.replica.clone(), id);
    }

    let stops: Vec<ContainerFacts> = plan.parked.iter().chain(&plan.stopped_first).cloned().collect();
    let stopping = in_reverse(&stops, |container| {
        let stays = plan.stopped_first.iter().any(|other| other.id == container.id);
        Box::pin(async move {
            let service = container.labels.get(label::SERVICE).map_or("", String::as_str);
            progress.detail(&format!("stopping {service}"));
            if stays {
                hooks::stop(engine, container, progress).await
            } else {
                park(engine, container, progress).await
            }
        })
    });
    tokio::select! {
        biased;
        () = cancel.cancelled() => return Err(SwitchError::Cancelled),
        stopped = stopping => stopped?,
    }
    for service in plan.made(target) {
        if let Some(id) = new.get(&service.replica) {
            engine.rename(id, &service.container.name).await?;
        }
    }

    let members: Vec<Member> = target
        .services
        .iter()
        .filter_map(|service| {
            let replica = &service.replica;
            let (id, work) = match (new.get(replica), plan.changes.get(replica)?) {
                (Some(id), _) => (id.clone(), Work::Start),
                (None, change) => {
                    let current = standing.replicas.get(replica)?.current.as_ref()?;
                    let work = match change {
                        Change::Unchanged => Work::Keep,
                        Change::Unverified => Work::Verify,
                        _ => Work::Start,
                    };
                    (current.id.clone(), work)
                }
            };
            let member = Member::new(&id, &service.container.labels, work)?;
            Some(member.that_may_fail(plan.may_fail(service)))
        })
        .collect();
    let remake = MadeAgain { engine, target, standing: &standing, new: &new, progress };
    let up = bring_up(engine, project, &members, Some(&remake), patience, progress, cancel).await?;
    (report.outcomes, report.not_up) = (up.outcomes, up.not_up);
    Ok(report)
}

/// The actual state, and the way from it to the desired one.
struct Look {
    standing: Standing,
    plan: decide::Plan,
    /// Names that strangers hold.
    foreign: Vec<SwitchError>,
}

/// How often strangers are looked at before they are believed, and the time between.
const LOOKS: usize = 5;
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// Looks at the engine. It may still be making a container for a process of ours that was killed: that one stands in no
/// list at first and holds its name already, so that it seems to be a stranger's.
async fn look(engine: &Engine, target: &Target) -> Result<Look, EngineError> {
    let mut looks = 0;
    loop {
        let standing = Standing::read(engine, target.project.as_str()).await?;
        let plan = decide::decide(engine, target, &standing).await?;
        let foreign = foreign_containers(engine, target, &plan, &standing).await?;
        looks += 1;
        if foreign.is_empty() || looks == LOOKS {
            return Ok(Look { standing, plan, foreign });
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

/// Container names that are taken by strangers. Without this look it would only show after the old
/// containers have been parked.
async fn foreign_containers(
    engine: &Engine,
    target: &Target,
    plan: &decide::Plan,
    standing: &Standing,
) -> Result<Vec<SwitchError>, EngineError> {
    let own: BTreeSet<&str> = standing
        .current()
        .chain(standing.parked())
        .chain(standing.replicas.values().flat_map(|replica| &replica.new))
        .chain(&standing.dying)
        .map(|container| container.id.as_str())
        .collect();
    let mut foreign = Vec::new();
    for service in plan.made(target) {
        let name = &service.container.name;
        for name in [name.clone(), format!("{name}.new")] {
            let taken = engine.inspect(&name).await?;
            if taken.is_some_and(|found| found.name == name && !own.contains(found.id.as_str())) {
                let project = target.project.to_string();
                foreign.push(SwitchError::Foreign { kind: "container", name, project });
            }
        }
    }
    Ok(foreign)
}

/// Makes the new container of a service under its preliminary name.
async fn make(
    engine: &Engine,
    service: &ServiceTarget,
    standing: &Standing,
    new: &BTreeMap<Replica, String>,
    progress: &dyn Progress,
) -> Result<String, EngineError> {
    let mut spec = service.container.clone();
    progress.detail(&format!("creating {}", spec.name));
    let own = standing.replicas.get(&service.replica);
    let old = own.and_then(|own| own.parked.first().or(own.current.as_ref()));
    if let Some(old) = old
        && let Some(state) = engine.inspect(&old.id).await?
        && !state.volumes.is_empty()
    {
        let image = engine.inspect_image(&spec.image).await?;
        spec.inherit_volumes(&state.volumes, &image.map(|image| image.volumes).unwrap_or_default());
    }
    let first = |service: &str| {
        let replica = Replica::first(service.parse().ok()?);
        let current = || standing.replicas.get(&replica)?.current.as_ref().map(|current| &current.id);
        new.get(&replica).or_else(current)
    };
    for mode in [&mut spec.network_mode, &mut spec.ipc, &mut spec.pid] {
        if let Some(id) = mode.as_deref().and_then(|mode| mode.strip_prefix("service:")).and_then(first) {
            *mode = Some(format!("container:{id}"));
        }
    }
    for (owner, options) in &mut spec.volumes_from {
        if let Some(id) = first(owner) {
            *options = format!("{id}:{options}");
        }
    }
    spec.name.push_str(".new");
    let (id, warnings) = engine.create(&spec).await?;
    for warning in warnings {
        progress.warn(&format!(
            "service {}: {}",
            service.replica.service(),
            crate::services::failure::clean(&warning)
        ));
    }
    Ok(id)
}

/// A switch that can make its containers once more.
struct MadeAgain<'a> {
    engine: &'a Engine,
    target: &'a Target,
    standing: &'a Standing,
    new: &'a BTreeMap<Replica, String>,
    progress: &'a dyn Progress,
}

impl Remake for MadeAgain<'_> {
    fn remake<'a>(
        &'a self,
        replica: &'a Replica,
        old: &'a str,
    ) -> BoxFuture<'a, Result<String, EngineError>> {
        let Self { engine, target, standing, new, progress } = *self;
        Box::pin(async move {
            let Some(service) = target.replica(replica) else { return Ok(old.to_owned()) };
            // Made first, since it takes over the old one's volumes without a name.
            let id = make(engine, service, standing, new, progress).await?;
            engine.remove_container(old, false).await?;
            engine.rename(&id, &service.container.name).await?;
            Ok(id)
        })
    }
}

/// Ends a switch that succeeded: removes parked and unfinished containers, and the project's networks
/// that are not among `wanted`. Volumes always stay. Returns the names of what was removed. Can be
/// repeated at any point.
///
/// # Errors
/// When the engine fails.
pub async fn commit_cleanup(
    engine: &Engine,
    project: &str,
    wanted: &BTreeSet<String>,
    progress: &dyn Progress,
) -> Result<Vec<String>, SwitchError> {
    let standing = Standing::read(engine, project).await?;
    standing.bury(engine).await?;
    let mut removed = Vec::new();
    let unfinished = standing.replicas.values().flat_map(|replica| &replica.new);
    for container in standing.parked().chain(unfinished) {
        progress.detail(&format!("removing the replaced container {}", container.name));
        // Their unnamed volumes belong to their successors now, or are all that is left of a
        // service's data.
        engine.remove_container(&container.id, false).await?;
        removed.push(container.name.clone());
    }
    for network in engine.networks(label::PROJECT, project).await? {
        if !wanted.contains(&network.name) && engine.remove_network(&network.name).await? {
            removed.push(network.name);
        }
    }
    Ok(removed)
}
