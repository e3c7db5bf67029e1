//! Replaced containers are parked, not removed, until the whole release is healthy.
//!
//! Invariant: at every instant the containers alone (their names and labels) tell what has
//! to be done to finish or to go back, since the process can be killed between any two calls.
//!
//! - A service's container has the service's name.
//! - A new one that has never been started is called `NAME.new`, and is worth nothing.
//! - A replaced one is called `NAME.old-ID` when it ran before, `NAME.idle-ID` when it did not. It is
//!   renamed before it is stopped, so that a stopped one under its own name was stopped by a person. Docker 20.10
//!   renames none that it is about to restart: that one is stopped first, and its restart policy is taken away
//!   before (`is_half_parked`), which no person's stop does.
//! - A parked container's restart policy is taken away before its successor starts: after a power cut
//!   both would start otherwise, on the same data. The label `io.ferry.restart` keeps the policy.

use crate::engine::containers::{ContainerFacts, RunState};
use crate::engine::label;
use crate::engine::{Engine, EngineError};
use crate::services::{Replica, hooks};
use manifest_schema::progress::Progress;
use std::collections::{BTreeMap, BTreeSet};

/// The part of a container, as its name tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Serves, or served until somebody stopped it.
    Current,
    /// Made, never started, not yet the service's.
    New,
    /// Replaced; ran before.
    Parked,
    /// Replaced; did not run before.
    ParkedIdle,
}

/// The part of the container, and the name it has or had as its service's.
#[must_use]
pub fn part(container: &ContainerFacts) -> (Part, &str) {
    let name = container.name.as_str();
    if let Some(own) = name.strip_suffix(".new") {
        return (Part::New, own);
    }
    let short = short_id(&container.id);
    for (word, part) in [(".old-", Part::Parked), (".idle-", Part::ParkedIdle)] {
        if let Some(own) = name.strip_suffix(short).and_then(|rest| rest.strip_suffix(word)) {
            return (part, own);
        }
    }
    (Part::Current, name)
}

/// The first 12 digits of an ID.
pub(crate) fn short_id(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// A project's containers by replica and part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// By replica; containers without a service label are left out.
    pub replicas: BTreeMap<Replica, ReplicaStanding>,
    /// Those whose removal the engine has begun, and may not have ended since it was killed. They hold their names and
    /// can be neither started, changed nor put back: they count as gone.
    pub dying: Vec<ContainerFacts>,
}

/// The containers of one replica.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplicaStanding {
    /// The one that serves.
    pub current: Option<ContainerFacts>,
    /// Further ones that another tool has put there.
    pub others: Vec<ContainerFacts>,
    /// Replaced ones.
    pub parked: Vec<ContainerFacts>,
    /// Never started.
    pub new: Vec<ContainerFacts>,
}

impl Standing {
    /// Asks the engine.
    ///
    /// # Errors
    /// When the engine fails.
    pub async fn read(engine: &Engine, project: &str) -> Result<Self, EngineError> {
        Ok(Self::sort(project, engine.containers(label::PROJECT, project).await?))
    }

    fn sort(project: &str, containers: Vec<ContainerFacts>) -> Self {
        let mut replicas: BTreeMap<Replica, ReplicaStanding> = BTreeMap::new();
        let mut dying = Vec::new();
        for container in containers {
            // `docker compose run` makes one-off containers, which are not the service's.
            let one_off =
                container.labels.get("com.docker.compose.oneoff").is_some_and(|value| value == "True");
            let Some(replica) = Replica::of(&container.labels).filter(|_| !one_off) else { continue };
            if container.state == RunState::Removing {
                dying.push(container);
                continue;
            }
            let usual = format!("{project}-{}-{}", replica.service(), replica.number());
            let usual = container.name == usual;
            let entry = replicas.entry(replica).or_default();
            match part(&container).0 {
                Part::New => entry.new.push(container),
                Part::Parked | Part::ParkedIdle => entry.parked.push(container),
                Part::Current => {
                    if usual || entry.current.is_none() {
                        entry.others.extend(entry.current.replace(container));
                    } else {
                        entry.others.push(container);
                    }
                }
            }
        }
        Self { replicas, dying }
    }

    /// Ends the removals that the engine has begun. Volumes without a name stay.
    ///
    /// # Errors
    /// When the engine fails.
    pub(crate) async fn bury(&self, engine: &Engine) -> Result<(), EngineError> {
        for container in &self.dying {
            engine.remove_container(&container.id, false).await?;
        }
        Ok(())
    }

    /// The container is a job that has done its work, and no stopped service, which can also end with 0. `done`
    /// names services that had ended well when they were installed; a label marks jobs that others wait for.
    ///
    /// # Errors
    /// When the engine fails.
    pub async fn is_done(
        &self,
        engine: &Engine,
        container: &ContainerFacts,
        done: &BTreeSet<String>,
    ) -> Result<bool, EngineError> {
        let service = container.labels.get(label::SERVICE);
        let known = container.labels.contains_key(label::JOB) || service.is_some_and(|s| done.contains(s));
        if container.state != RunState::Exited || !known {
            return Ok(false);
        }
        let state = engine.inspect(&container.id).await?;
        Ok(state.is_some_and(|state| {
            state.exit_code == 0 && (state.restart == "no" || state.restart.starts_with("on-failure"))
        }))
    }

    /// All parked containers.
    pub fn parked(&self) -> impl Iterator<Item = &ContainerFacts> {
        self.replicas.values().flat_map(|replica| &replica.parked)
    }

    /// The containers that people see: the current one or, where a change was cut off before there was one, the
    /// replaced one.
    pub fn visible(&self) -> impl Iterator<Item = &ContainerFacts> {
        self.replicas.values().flat_map(|replica| {
            let empty = replica.current.is_none() && replica.others.is_empty();
            let parked = replica.parked.iter().filter(move |_| empty);
            replica.current.iter().chain(&replica.others).chain(parked)
        })
    }

    /// All containers that are neither new nor parked.
    pub fn current(&self) -> impl Iterator<Item = &ContainerFacts> {
        self.replicas.values().flat_map(|replica| replica.current.iter().chain(&replica.others))
    }
}

/// Puts a container aside: renames it, stops it gracefully and takes its restart policy away. Can be
/// repeated at any point.
///
/// # Errors
/// When the engine fails.
pub async fn park(
    engine: &Engine,
    container: &ContainerFacts,
    progress: &dyn Progress,
) -> Result<(), EngineError> {
    let (part, own) = part(container);
    let mut stopped = false;
    if !matches!(part, Part::Parked | Part::ParkedIdle) {
        let ran = container.runs() || is_half_parked(engine, container).await?;
        let word = if ran { "old" } else { "idle" };
        let name = format!("{own}.{word}-{}", short_id(&container.id));
        stopped = rename(engine, container, &name, progress).await?;
    }
    if !stopped {
        hooks::stop(engine, container, progress).await?;
    }
    // Without the label the policy could not be given back.
    if container.labels.contains_key(label::RESTART) {
        engine.set_restart(&container.id, "no").await?;
    }
    Ok(())
}

/// Gives a container another name, and stops it where the engine renames it in no other state; `true` where that
/// was so.
///
/// # Errors
/// When the engine fails.
pub(crate) async fn rename(
    engine: &Engine,
    container: &ContainerFacts,
    name: &str,
    progress: &dyn Progress,
) -> Result<bool, EngineError> {
    let Err(error) = engine.rename(&container.id, name).await else { return Ok(false) };
    // Docker 20.10 looks for the network sandbox of a container that counts as running, and one that
    // waits for its next start has none.
    let runs = |state: RunState| matches!(state, RunState::Running | RunState::Restarting | RunState::Paused);
    let Some(now) = engine.inspect(&container.id).await?.filter(|now| runs(now.state)) else {
        return Err(error);
    };
    if error.is_conflict() {
        return Err(error);
    }
    if container.labels.contains_key(label::RESTART) {
        engine.set_restart(&container.id, "no").await?;
    }
    let now = ContainerFacts { state: now.state, ..container.clone() };
    hooks::stop(engine, &now, progress).await?;
    engine.rename(&container.id, name).await?;
    Ok(true)
}

/// The container was stopped by Ferry on its way to another name, which it does not have yet: its restart policy
/// was taken away.
///
/// # Errors
/// When the engine fails.
pub(crate) async fn is_half_parked(engine: &Engine, container: &ContainerFacts) -> Result<bool, EngineError> {
    let Some(policy) = container.labels.get(label::RESTART).filter(|policy| *policy != "no") else {
        return Ok(false);
    };
    if container.state != RunState::Exited {
        return Ok(false);
    }
    Ok(engine.inspect(&container.id).await?.is_some_and(|now| now.restart == "no" && now.restart != *policy))
}

/// Gives a parked container its restart policy back, without starting or renaming it.
///
/// # Errors
/// When the engine fails.
pub async fn restore_policy(engine: &Engine, container: &ContainerFacts) -> Result<(), EngineError> {
    match container.labels.get(label::RESTART) {
        Some(policy) => engine.set_restart(&container.id, policy).await,
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(name: &str, service: &str) -> ContainerFacts {
        ContainerFacts {
            id: format!("{:0<64}", "0123456789ab"),
            name: name.to_owned(),
            labels: BTreeMap::from([
                (label::SERVICE.to_owned(), service.to_owned()),
                (label::PROJECT.to_owned(), "shop".to_owned()),
            ]),
            image_id: String::new(),
            state: RunState::Running,
            ports: vec![],
        }
    }

    #[test]
    fn names_tell_the_part() {
        for (name, expected) in [
            ("shop-web-1", (Part::Current, "shop-web-1")),
            ("shop-web-1.new", (Part::New, "shop-web-1")),
            ("shop-web-1.old-0123456789ab", (Part::Parked, "shop-web-1")),
            ("shop-web-1.idle-0123456789ab", (Part::ParkedIdle, "shop-web-1")),
            // Another container's ID: a person's own name.
            ("shop-web-1.old-ffffffffffff", (Part::Current, "shop-web-1.old-ffffffffffff")),
        ] {
            assert_eq!(part(&container(name, "web")), expected, "{name}");
        }
    }

    #[test]
    fn a_container_that_is_being_removed_is_nobodys() {
        let dead = ContainerFacts { state: RunState::Removing, ..container("shop-web-1", "web") };
        let standing = Standing::sort("shop", vec![dead.clone()]);
        assert_eq!(standing, Standing { replicas: BTreeMap::new(), dying: vec![dead] });
    }

    #[test]
    fn each_replica_has_one_container() {
        let names = ["a-web-2", "shop-web-1", "shop-web-1.new", "shop-web-1.old-0123456789ab", "shop-web-2"];
        let standing = Standing::sort("shop", names.map(|name| container(name, "web")).to_vec());
        let web = &standing.replicas[&"web".parse().unwrap()];
        assert_eq!(web.current.as_ref().unwrap().name, "shop-web-1");
        let others: Vec<&str> = web.others.iter().map(|other| other.name.as_str()).collect();
        assert_eq!(others, ["a-web-2", "shop-web-2"]);
        assert_eq!((web.parked.len(), web.new.len()), (1, 1));
    }
}
