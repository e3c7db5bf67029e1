//! Waiting until a service is up, and saying why it is not.
//!
//! A service is up when its health check passes; without one, when it stays running for a moment, or
//! has done its work and exited with 0. Waiting ends at an event of the engine, not after a sleep.
//! Where the engine probes too seldom or not at all, the probe is run by hand.

use crate::engine::containers::{ContainerState, Health, RunState};
use crate::engine::events::Events;
use crate::engine::exec::Probe;
use crate::engine::{Engine, EngineError};
use crate::services::Replica;
use crate::services::failure::{ServiceFailure, service_failure};
use crate::services::reason::Reason;
use serde::Serialize;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// Between two probes of our own while a service starts, where it does not say.
const PROBE_PACE: Duration = Duration::from_millis(500);

/// How long to wait for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patience {
    /// Deadline for every service, instead of what its health check gives.
    pub timeout: Option<Duration>,
    /// Least deadline of a service with or without a health check.
    pub least: Duration,
    /// Deadline of a service that has to do its work and exit.
    pub completion: Duration,
    /// How long a service without a health check has to stay running.
    pub settle: Duration,
    /// The same once it has been restarted.
    pub settle_again: Duration,
    /// A service that was restarted this often …
    pub restarts: u64,
    /// … for at least this long is in a loop.
    pub restarts_for: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            timeout: None,
            least: Duration::from_secs(60),
            completion: Duration::from_secs(15 * 60),
            settle: Duration::from_secs(2),
            settle_again: Duration::from_secs(10),
            restarts: 5,
            restarts_for: Duration::from_secs(15),
        }
    }
}

impl Patience {
    /// For a release that ran before and is put back: a deadline that was set for the new one is not its own.
    #[must_use]
    pub fn for_what_ran(&self) -> Self {
        Self { timeout: None, ..self.clone() }
    }
}

/// The state that counts as up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// Healthy, or running, or done.
    Up,
    /// Done, with exit code 0.
    Completed,
}

/// How a service is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Its health check passes.
    Healthy,
    /// It has no health check and stays running.
    Running,
    /// It has done its work and exited with 0.
    Completed,
}

/// Why waiting ended without the service being up.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// The service failed.
    #[error(transparent)]
    Service(Box<ServiceFailure>),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// A service that is waited for.
#[derive(Debug)]
pub struct Waiting<'a> {
    /// The engine.
    pub engine: &'a Engine,
    /// Changes of the project's containers.
    pub events: Events,
    /// The service, and which of its containers.
    pub replica: &'a Replica,
    /// The container's ID.
    pub container: &'a str,
    /// `start_interval`, where the service has one.
    pub start_interval: Option<Duration>,
    /// The state that counts as up.
    pub goal: Goal,
    /// How long.
    pub patience: &'a Patience,
}

/// Observations of a container since waiting began.
#[derive(Debug, Clone)]
struct Seen {
    since: Instant,
    restarts_before: u64,
    /// The start that is looked at, and since when.
    started_at: String,
    running_since: Instant,
    exited_since: Option<Instant>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Up(Outcome),
    Failed(Reason),
    /// Look again after this time at the latest.
    Wait(Duration),
}

impl Waiting<'_> {
    /// Waits until the service is up.
    ///
    /// # Errors
    /// When it fails or its time is over, or the engine fails.
    pub async fn wait(mut self) -> Result<Outcome, WaitError> {
        let Some(first) = self.engine.inspect(self.container).await? else {
            return Err(self.fail(Reason::Gone, None, &[]).await);
        };
        let now = Instant::now();
        let mut seen = Seen {
            since: now,
            restarts_before: first.restarts,
            started_at: first.started_at.clone(),
            running_since: now,
            exited_since: None,
        };
        let probes = Mutex::new(Vec::new());
        let prober = Prober::new(&self, &first, &probes);
        let probing = async {
            match prober {
                Some(prober) => prober.until_passed().await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(probing);
        let mut passed = false;
        let mut state = Some(first);
        loop {
            let Some(current) = state else {
                return Err(self.fail(Reason::Gone, None, &[]).await);
            };
            match verdict(&current, &mut seen, Instant::now(), passed, self.goal, self.patience) {
                Verdict::Up(outcome) => return Ok(outcome),
                Verdict::Failed(reason) => {
                    let own = probes.lock().map(|list| list.clone()).unwrap_or_default();
                    return Err(self.fail(reason, Some(&current), &own).await);
                }
                Verdict::Wait(limit) => {
                    tokio::select! {
                        () = self.events.changed() => {}
                        () = tokio::time::sleep(limit) => {}
                        () = &mut probing, if !passed => passed = true,
                    }
                }
            }
            state = self.engine.inspect(self.container).await?;
        }
    }

    async fn fail(&self, reason: Reason, state: Option<&ContainerState>, own_probes: &[Probe]) -> WaitError {
        let (engine, replica, container) = (self.engine, self.replica, self.container);
        WaitError::Service(Box::new(
            service_failure(engine, replica, container, reason, state, own_probes).await,
        ))
    }
}

fn verdict(
    state: &ContainerState,
    seen: &mut Seen,
    now: Instant,
    probe_passed: bool,
    goal: Goal,
    patience: &Patience,
) -> Verdict {
    let waited = now.duration_since(seen.since);
    let restarts = state.restarts.saturating_sub(seen.restarts_before);
    if state.started_at != seen.started_at {
        seen.started_at.clone_from(&state.started_at);
        seen.running_since = now;
        seen.exited_since = None;
    }
    let has_check = state.health_test.is_some();
    let deadline = deadline(state, goal, patience);
    let code = state.exit_code;
    let loops = restarts >= patience.restarts && waited >= patience.restarts_for;
    match state.state {
        RunState::Removing => return Verdict::Failed(Reason::BeingRemoved),
        RunState::Exited => {
            let done = code == 0 && (goal == Goal::Completed || (!has_check && !restarts_after(state, 0)));
            if done {
                return Verdict::Up(Outcome::Completed);
            }
            if loops {
                return Verdict::Failed(Reason::Loops { code, restarts });
            }
            // Engines show "exited" for a moment before they restart.
            let exited = *seen.exited_since.get_or_insert(now);
            let given_up = now.duration_since(exited) >= Duration::from_secs(5);
            if !restarts_after(state, code) || given_up || waited >= deadline {
                return Verdict::Failed(Reason::Exited { code, restarts });
            }
        }
        RunState::Restarting if loops => {
            return Verdict::Failed(Reason::Loops { code, restarts });
        }
        RunState::Running => {
            seen.exited_since = None;
            if goal == Goal::Up {
                if has_check && (probe_passed || state.health == Some(Health::Healthy)) {
                    return Verdict::Up(Outcome::Healthy);
                }
                let settle = if restarts > 0 { patience.settle_again } else { patience.settle };
                let ran = now.duration_since(seen.running_since);
                if !has_check && ran >= settle {
                    return Verdict::Up(Outcome::Running);
                }
                if !has_check && waited < deadline {
                    return Verdict::Wait(settle.saturating_sub(ran));
                }
            }
            if loops {
                return Verdict::Failed(Reason::Restarted { restarts, seconds: waited.as_secs() });
            }
        }
        RunState::Created | RunState::Paused | RunState::Restarting => {}
    }
    if waited >= deadline {
        let seconds = deadline.as_secs();
        return Verdict::Failed(match (state.state, goal) {
            (RunState::Restarting, _) => Reason::Loops { code, restarts },
            (RunState::Paused, _) => Reason::Paused,
            (RunState::Running, Goal::Completed) => Reason::Unfinished { seconds },
            (RunState::Running, Goal::Up) if state.health == Some(Health::Unhealthy) => {
                Reason::Unhealthy { seconds, restarts }
            }
            (RunState::Running, Goal::Up) => Reason::NotHealthy { seconds, restarts },
            _ => Reason::NotStarted { seconds },
        });
    }
    Verdict::Wait(deadline.saturating_sub(waited))
}

/// The engine restarts the container by itself after an exit with `code`.
fn restarts_after(state: &ContainerState, code: i64) -> bool {
    let (policy, count) = state.restart.split_once(':').unwrap_or((&state.restart, ""));
    match policy {
        "always" | "unless-stopped" => true,
        "on-failure" => code != 0 && count.parse().map_or(true, |count: u64| state.restarts < count),
        _ => false,
    }
}

/// How long the service may take: as long as its health check itself allows, but not less than
/// [`Patience::least`], since a check that is too strict often still passes a little later.
fn deadline(state: &ContainerState, goal: Goal, patience: &Patience) -> Duration {
    if let Some(timeout) = patience.timeout {
        return timeout;
    }
    if goal == Goal::Completed {
        return patience.completion;
    }
    if state.health_test.is_none() {
        return patience.least;
    }
    let [interval, timeout, start_period, _] = state.health_times;
    let or_default = |time: Duration| if time.is_zero() { Duration::from_secs(30) } else { time };
    let retries = if state.health_retries == 0 { 3 } else { state.health_retries };
    let one = or_default(interval).saturating_add(or_default(timeout));
    start_period.saturating_add(one.saturating_mul(retries.saturating_add(1))).max(patience.least)
}

/// Runs a service's health check by hand, at the pace that its start calls for.
struct Prober<'a> {
    engine: &'a Engine,
    container: &'a str,
    test: Vec<String>,
    pace: Duration,
    slowest: Duration,
    timeout: Duration,
    /// Passes in a row that count as healthy: one where the service asked for this pace. Else two,
    /// since a check written for a slow pace can pass for a moment during the first set-up (as
    /// PostgreSQL's does while its image fills the database).
    passes: u32,
    probes: &'a Mutex<Vec<Probe>>,
}

impl<'a> Prober<'a> {
    /// `None` where there is no check, or the engine itself probes often enough.
    fn new(waiting: &Waiting<'a>, state: &ContainerState, probes: &'a Mutex<Vec<Probe>>) -> Option<Self> {
        let facts = waiting.engine.facts();
        let test = state.health_test.clone()?;
        let [interval, timeout, start_period, start_interval] = state.health_times;
        let interval = if interval.is_zero() { Duration::from_secs(30) } else { interval };
        let engine_is_quick =
            facts.has_start_interval() && !start_interval.is_zero() && !start_period.is_zero();
        let quick = engine_is_quick || interval <= PROBE_PACE;
        if waiting.goal == Goal::Completed || (facts.runs_health_checks() && quick) {
            return None;
        }
        let pace = waiting.start_interval.unwrap_or(PROBE_PACE).min(interval);
        Some(Self {
            engine: waiting.engine,
            container: waiting.container,
            test,
            pace: pace.max(Duration::from_millis(50)),
            slowest: interval.max(Duration::from_secs(1)),
            timeout: if timeout.is_zero() { Duration::from_secs(30) } else { timeout },
            passes: if waiting.start_interval.is_some() || interval <= PROBE_PACE { 1 } else { 2 },
            probes,
        })
    }

    async fn until_passed(mut self) {
        let mut passes = 0;
        loop {
            // A container that does not run cannot be probed; the loop that watches it decides on that.
            if let Ok(probe) = self.engine.probe(self.container, &self.test, self.timeout).await {
                passes = if probe.passed() { passes + 1 } else { 0 };
                if passes >= self.passes {
                    return;
                }
                if probe.exit_code.is_none() {
                    // It still runs in there and cannot be ended: do not pile them up.
                    self.pace = (self.pace * 2).min(self.slowest);
                }
                if let Ok(mut probes) = self.probes.lock() {
                    if probes.len() >= 3 {
                        probes.remove(0);
                    }
                    probes.push(probe);
                }
            } else {
                passes = 0;
            }
            tokio::time::sleep(self.pace).await;
        }
    }
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
