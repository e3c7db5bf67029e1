//! Bringing containers up in the order of their dependencies, and taking them down in reverse.
//!
//! Independent services go at the same time. The order comes from Compose's own label, so that a
//! project can be stopped and started from what the engine knows alone. Labels can be anything:
//! a circle among them is cut, never waited on.

mod one;

use crate::engine::containers::ContainerFacts;
use crate::engine::label;
use crate::engine::{Engine, EngineError};
use crate::services::failure::ServiceFailure;
use crate::services::health::{Around, Board, Goal, Outcome, Patience, WaitError};
use crate::services::order::without_circles;
use crate::services::{Replica, hooks};
use futures_util::future::{BoxFuture, try_join_all};
use manifest_schema::compose::model::{Condition, Hook};
use manifest_schema::progress::Progress;
use one::One;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Starts at once: four were measured to be 2.7 times as fast as one after another.
const STARTS_AT_ONCE: usize = 4;

/// The work on a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Start it and wait until it is up.
    Start,
    /// It has been started already; wait until it is up.
    Verify,
    /// It serves; trusted unless something that is started now has to wait for its health.
    Keep,
}

/// One container of a sequence.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    /// Its service, and which of its containers.
    pub replica: Replica,
    pub container: String,
    /// Services it comes after.
    pub after: BTreeMap<String, Condition>,
    /// Between probes while it starts, where the service says so.
    pub start_interval: Option<Duration>,
    /// Commands to run in it after its start.
    pub post_start: Vec<Hook>,
    /// Its restart policy, as its label keeps it.
    policy: Option<String>,
    /// Ferry's folder of its product, where Ferry made it.
    product: Option<PathBuf>,
    /// The work on it.
    pub work: Work,
    /// Its failure is told and ends nothing, unless something has to wait for it.
    may_fail: bool,
}

impl Member {
    /// The same member, whose failure ends nothing where `may_fail`.
    #[must_use]
    pub(crate) fn that_may_fail(self, may_fail: bool) -> Self {
        Self { may_fail, ..self }
    }

    /// From a container's labels; `None` where they name no service.
    #[must_use]
    pub(crate) fn new(id: &str, labels: &BTreeMap<String, String>, work: Work) -> Option<Self> {
        Some(Self {
            replica: Replica::of(labels)?,
            container: id.to_owned(),
            after: dependencies(labels).into_iter().map(|(name, condition, _)| (name, condition)).collect(),
            start_interval: labels
                .get(label::START_INTERVAL)
                .and_then(|text| text.parse().ok())
                .map(Duration::from_millis),
            post_start: hooks::after_start(labels),
            policy: labels.get(label::RESTART).cloned(),
            product: product(labels),
            work,
            may_fail: false,
        })
    }
}

/// Ferry's folder of the product that a container belongs to. One of `docker compose` has another working folder.
fn product(labels: &BTreeMap<String, String>) -> Option<PathBuf> {
    let current = labels.get(label::WORKING_DIR).filter(|_| labels.contains_key(label::RELEASE))?;
    Path::new(current).parent().map(Path::to_owned)
}

/// The dependencies in a container's label: service, condition, and `true` where it restarts with that service.
#[must_use]
pub(crate) fn dependencies(labels: &BTreeMap<String, String>) -> Vec<(String, Condition, bool)> {
    let text = labels.get(label::DEPENDS_ON).map_or("", String::as_str);
    text.split(',')
        .filter_map(|part| {
            let mut words = part.split(':');
            let name = words.next().filter(|name| !name.is_empty())?;
            let condition = match words.next().unwrap_or_default() {
                "service_healthy" => Condition::ServiceHealthy,
                "service_completed_successfully" => Condition::ServiceCompletedSuccessfully,
                _ => Condition::ServiceStarted,
            };
            Some((name.to_owned(), condition, words.next() == Some("true")))
        })
        .collect()
}

/// Why bringing up ended early.
#[derive(Debug, thiserror::Error)]
pub enum SequenceError {
    /// A service did not come up.
    #[error(transparent)]
    Service(Box<ServiceFailure>),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// It was called off.
    #[error("cancelled")]
    Cancelled,
}

impl From<WaitError> for SequenceError {
    fn from(error: WaitError) -> Self {
        match error {
            WaitError::Service(failure) => Self::Service(failure),
            WaitError::Engine(error) => Self::Engine(error),
        }
    }
}

/// For each of `after` (names that an item comes after), the positions it really waits for. Unknown
/// names do not count; of a circle, the edge that closes it does not.
fn edges(names: &[&str], after: &[Vec<&str>]) -> Vec<Vec<usize>> {
    let positions = |name: &str| -> Vec<usize> {
        names.iter().enumerate().filter(|(_, other)| **other == name).map(|(index, _)| index).collect()
    };
    let wanted = after
        .iter()
        .zip(names)
        .map(|(needs, own)| {
            needs.iter().filter(|name| *name != own).flat_map(|name| positions(name)).collect()
        })
        .collect();
    without_circles(wanted)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Pending,
    Started,
    /// Started, and restarted so often that nothing else should wait for its end.
    Loops,
    Up,
}

/// The members that each is after, also through others. `waits` has no circles.
fn through_others(waits: &[Vec<usize>]) -> Vec<BTreeSet<usize>> {
    let mut all: Vec<BTreeSet<usize>> = waits.iter().map(|needs| needs.iter().copied().collect()).collect();
    loop {
        let next: Vec<BTreeSet<usize>> = all
            .iter()
            .map(|needs| {
                let further = needs.iter().filter_map(|need| all.get(*need)).flatten();
                needs.iter().chain(further).copied().collect()
            })
            .collect();
        if next == all {
            return all;
        }
        all = next;
    }
}

/// Makes containers anew that the engine cannot start any more.
pub(crate) trait Remake: Send + Sync {
    /// Makes the container of `replica` once more, in the place of the one with the ID `old`, and returns its ID.
    fn remake<'a>(&'a self, replica: &'a Replica, old: &'a str)
    -> BoxFuture<'a, Result<String, EngineError>>;
}

/// The members that came up, and those that did not and did not have to.
#[derive(Debug, Default)]
pub(crate) struct Up {
    /// How each that was waited for is up.
    pub outcomes: BTreeMap<Replica, Outcome>,
    /// Failures of members that may fail.
    pub not_up: Vec<ServiceFailure>,
}

/// Starts what has to be started, in order, and waits until all is up.
///
/// # Errors
/// At the first service that fails, when the engine fails, or when `cancel` is called. What has been
/// started by then keeps running.
pub(crate) async fn bring_up(
    engine: &Engine,
    project: &str,
    members: &[Member],
    remake: Option<&dyn Remake>,
    patience: &Patience,
    progress: &dyn Progress,
    cancel: &CancellationToken,
) -> Result<Up, SequenceError> {
    let names: Vec<&str> = members.iter().map(|member| member.replica.service().as_str()).collect();
    let after: Vec<Vec<&str>> =
        members.iter().map(|member| member.after.keys().map(String::as_str).collect()).collect();
    let waits = edges(&names, &after);
    let all_needs = through_others(&waits);
    let board = Board::default();
    // Listening begins before anything is started, so that no change is missed.
    let events = engine.events(label::PROJECT, project);
    let starts = Semaphore::new(STARTS_AT_ONCE);
    let (senders, receivers): (Vec<_>, Vec<_>) =
        members.iter().map(|_| watch::channel(Stage::Pending)).unzip();
    let run = |index: usize, member: &Member| {
        let needed = |wanted: Condition| {
            members.iter().zip(&waits).any(|(other, other_waits)| {
                other.work != Work::Keep
                    && other_waits.contains(&index)
                    && other.after.get(member.replica.service().as_str()) == Some(&wanted)
            })
        };
        let completes = needed(Condition::ServiceCompletedSuccessfully);
        let one = One {
            engine,
            member: member.clone(),
            events: events.clone(),
            goal: if completes { Goal::Completed } else { Goal::Up },
            trusted: member.work == Work::Keep && !completes && !needed(Condition::ServiceHealthy),
            patience,
            progress,
            board: &board,
            remake,
        };
        let dependencies: Vec<watch::Receiver<Stage>> = all_needs
            .get(index)
            .into_iter()
            .flatten()
            .filter_map(|need| receivers.get(*need).cloned())
            .collect();
        let others: Vec<watch::Receiver<Stage>> = receivers
            .iter()
            .enumerate()
            .filter(|(other, _)| {
                *other != index && !all_needs.get(*other).is_some_and(|n| n.contains(&index))
            })
            .map(|(_, receiver)| receiver.clone())
            .collect();
        let needs: Vec<(watch::Receiver<Stage>, Stage)> = waits
            .get(index)
            .into_iter()
            .flatten()
            .filter_map(|need| {
                let name = names.get(*need)?;
                let stage = match member.after.get(*name)? {
                    Condition::ServiceStarted => Stage::Started,
                    Condition::ServiceHealthy | Condition::ServiceCompletedSuccessfully => Stage::Up,
                };
                Some((receivers.get(*need)?.clone(), stage))
            })
            .collect();
        let sender = senders.get(index);
        let starts = &starts;
        let may_fail = member.may_fail && !completes && !needed(Condition::ServiceHealthy);
        let one: BoxFuture<'_, Result<Ended, SequenceError>> = Box::pin(async move {
            for (mut receiver, stage) in needs {
                // The sender lives as long as this call.
                let _ = receiver.wait_for(|reached| *reached >= stage).await;
            }
            let set = |stage| {
                if let Some(sender) = sender {
                    sender.send_replace(stage);
                }
            };
            let around = |restarts: u64| {
                if restarts >= patience.restarts {
                    set(Stage::Loops);
                }
                if dependencies.iter().any(|stage| *stage.borrow() < Stage::Up) {
                    Around::Dependencies
                } else if others.iter().any(|stage| *stage.borrow() < Stage::Loops) {
                    Around::Others
                } else {
                    Around::Quiet
                }
            };
            let outcome = match one.run(starts, &set, &around).await {
                Err(SequenceError::Service(failure)) if may_fail => {
                    progress.warn(&format!("{failure}, as it was not well before"));
                    Ended::NotUp(failure)
                }
                outcome => outcome?.map_or(Ended::Kept, Ended::Up),
            };
            set(Stage::Up);
            Ok(outcome)
        });
        one
    };
    let all: Vec<_> = members.iter().enumerate().map(|(index, member)| run(index, member)).collect();
    let all = try_join_all(all);
    let outcomes = tokio::select! {
        biased;
        () = cancel.cancelled() => Err(SequenceError::Cancelled),
        outcomes = all => outcomes,
        never = show(&board, progress) => match never {},
    };
    progress.wait(&[]);
    let outcomes = outcomes?;
    let mut up = Up::default();
    for (member, ended) in members.iter().zip(outcomes) {
        match ended {
            Ended::Kept => {}
            Ended::Up(outcome) => drop(up.outcomes.insert(member.replica.clone(), outcome)),
            Ended::NotUp(failure) => up.not_up.push(*failure),
        }
    }
    Ok(up)
}

/// Shows the waits every second.
async fn show(board: &Board, progress: &dyn Progress) -> Infallible {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let waits = board.waits();
        if !waits.is_empty() {
            progress.wait(&waits);
        }
    }
}

/// The end of the work on one member.
enum Ended {
    /// Nothing had to be done.
    Kept,
    Up(Outcome),
    NotUp(Box<ServiceFailure>),
}

/// Does `act` with each container, dependents before what they depend on, independent ones at the
/// same time.
///
/// # Errors
/// At the first that fails.
pub(crate) async fn in_reverse<'a>(
    containers: &'a [ContainerFacts],
    act: impl Fn(&'a ContainerFacts) -> BoxFuture<'a, Result<(), EngineError>> + Send,
) -> Result<(), EngineError> {
    let service =
        |container: &'a ContainerFacts| container.labels.get(label::SERVICE).map_or("", String::as_str);
    let names: Vec<&str> = containers.iter().map(service).collect();
    let needs: Vec<Vec<String>> = containers
        .iter()
        .map(|container| dependencies(&container.labels).into_iter().map(|(name, ..)| name).collect())
        .collect();
    let after: Vec<Vec<&str>> = needs.iter().map(|list| list.iter().map(String::as_str).collect()).collect();
    let forward = edges(&names, &after);
    let (senders, receivers): (Vec<_>, Vec<_>) = containers.iter().map(|_| watch::channel(false)).unzip();
    let run = |index: usize, container: &'a ContainerFacts| {
        let dependents: Vec<watch::Receiver<bool>> = forward
            .iter()
            .zip(&receivers)
            .filter(|(needs, _)| needs.contains(&index))
            .map(|(_, receiver)| receiver.clone())
            .collect();
        let sender = senders.get(index);
        let action = act(container);
        let one: BoxFuture<'_, Result<(), EngineError>> = Box::pin(async move {
            for mut dependent in dependents {
                let _ = dependent.wait_for(|done| *done).await;
            }
            action.await?;
            if let Some(sender) = sender {
                sender.send_replace(true);
            }
            Ok(())
        });
        one
    };
    let all: Vec<_> = containers.iter().enumerate().map(|(index, container)| run(index, container)).collect();
    try_join_all(all).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::containers::RunState;
    use std::sync::Mutex;

    #[test]
    fn circles_are_cut_and_strangers_ignored() {
        let names = ["a", "b", "c"];
        assert_eq!(edges(&names, &[vec!["b"], vec!["c"], vec![]]), [vec![1], vec![2], vec![]]);
        assert_eq!(edges(&names, &[vec!["x", "a"], vec![], vec![]]), [vec![], vec![], Vec::<usize>::new()]);
        let cut = edges(&names, &[vec!["b"], vec!["c"], vec!["a"]]);
        assert_eq!(cut.iter().map(Vec::len).sum::<usize>(), 2);
    }

    #[test]
    fn composes_label_is_read() {
        let labels = BTreeMap::from([(
            label::DEPENDS_ON.to_owned(),
            "db:service_healthy:false,job:service_completed_successfully:true,,x".to_owned(),
        )]);
        assert_eq!(
            dependencies(&labels),
            [
                ("db".to_owned(), Condition::ServiceHealthy, false),
                ("job".to_owned(), Condition::ServiceCompletedSuccessfully, true),
                ("x".to_owned(), Condition::ServiceStarted, false),
            ]
        );
    }

    #[tokio::test]
    async fn dependents_go_first_when_taking_down() {
        let container = |service: &str, needs: &str| ContainerFacts {
            id: service.to_owned(),
            name: service.to_owned(),
            labels: BTreeMap::from([
                (label::SERVICE.to_owned(), service.to_owned()),
                (label::DEPENDS_ON.to_owned(), needs.to_owned()),
            ]),
            image_id: String::new(),
            state: RunState::Running,
            ports: vec![],
        };
        let containers =
            [container("db", ""), container("web", "app:service_started:false"), container("app", "db")];
        let order = Mutex::new(Vec::new());
        in_reverse(&containers, |container| {
            let order = &order;
            Box::pin(async move {
                order.lock().unwrap().push(container.name.clone());
                Ok(())
            })
        })
        .await
        .unwrap();
        assert_eq!(*order.lock().unwrap(), ["web", "app", "db"]);
    }
}
