//! Waiting until a service is up, and saying why it is not.
//!
//! A service is up when its health check passes; without one, when it stays running for a moment, or
//! has done its work and exited with 0. Waiting ends at an event of the engine, not after a sleep, and at the
//! engine's own verdict: `unhealthy`, or an end for good. Where the engine probes too seldom or not at all, the probe
//! is run by hand.
//!
//! Many services wait for others by ending and being restarted. So neither verdict is final, and no time runs, while
//! what a service depends on is still coming up.

use crate::engine::containers::{ContainerState, Health, RunState};
use crate::engine::events::Events;
use crate::engine::exec::Probe;
use crate::engine::{Engine, EngineError};
use crate::services::Replica;
use crate::services::failure::{ServiceFailure, last_line, service_failure};
use crate::services::reason::Reason;
use manifest_schema::progress::Wait;
use serde::Serialize;
use std::collections::BTreeMap;
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
    /// Deadline of a service without a health check, and least deadline of one that was restarted.
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

impl Goal {
    /// The state in words, for a service with or without a health check.
    #[must_use]
    pub const fn words(self, has_check: bool) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Up if has_check => "healthy",
            Self::Up => "running",
        }
    }
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
#[expect(missing_debug_implementations, reason = "it holds a function")]
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
    /// Takes how often the service was restarted, and says what else is coming up.
    pub around: &'a (dyn Fn(u64) -> Around + Send + Sync),
    /// Where the wait is shown.
    pub board: &'a Board,
}

/// Other services that are coming up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Around {
    /// Nothing.
    Quiet,
    /// Services that do not wait for it, and that it does not say it depends on.
    Others,
    /// Services that it depends on.
    Dependencies,
}

/// All waits that go on at a time.
#[derive(Debug, Default)]
pub struct Board(Mutex<BTreeMap<Replica, Posted>>);

#[derive(Debug)]
struct Posted {
    goal: &'static str,
    until: Instant,
    said: String,
}

impl Board {
    /// The waits, in the order of their names.
    #[must_use]
    pub fn waits(&self) -> Vec<Wait> {
        let now = Instant::now();
        let wait = |(replica, posted): (&Replica, &Posted)| Wait {
            subject: replica.to_string(),
            goal: posted.goal,
            left: posted.until.saturating_duration_since(now),
            said: posted.said.clone(),
        };
        self.0.lock().map(|posted| posted.iter().map(wait).collect()).unwrap_or_default()
    }

    fn post(&self, replica: &Replica, posted: Option<Posted>) {
        if let Ok(mut all) = self.0.lock() {
            match posted {
                Some(posted) => drop(all.insert(replica.clone(), posted)),
                None => drop(all.remove(replica)),
            }
        }
    }
}

/// Observations of a container since waiting began.
#[derive(Debug, Clone)]
struct Seen {
    began: Instant,
    restarts_before: u64,
    /// Since when its time runs: the beginning, or the moment at which all that it depends on was up.
    since: Instant,
    /// Restarts until then.
    restarts_since: u64,
    /// Something that it depends on came up meanwhile, or the engine's verdict is from before: a pause, say.
    held: bool,
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
    pub async fn wait(self) -> Result<Outcome, WaitError> {
        let (board, replica) = (self.board, self.replica);
        let ended = self.watch().await;
        board.post(replica, None);
        ended
    }

    async fn watch(mut self) -> Result<Outcome, WaitError> {
        let Some(first) = self.engine.inspect(self.container).await? else {
            return Err(self.fail(Reason::Gone, None, &[]).await);
        };
        let now = Instant::now();
        let mut seen = Seen {
            began: now,
            restarts_before: first.restarts,
            since: now,
            restarts_since: first.restarts,
            held: first.health == Some(Health::Unhealthy),
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
            let Some(mut current) = state else {
                return Err(self.fail(Reason::Gone, None, &[]).await);
            };
            if !self.engine.facts().runs_health_checks() {
                // What such an engine says of health is what it said when somebody last asked.
                current.health = current.health.map(|_| Health::Starting);
            }
            let around = (self.around)(current.restarts.saturating_sub(seen.restarts_before));
            let verdict =
                verdict(&current, &mut seen, Instant::now(), passed, (self.goal, around), self.patience);
            self.board.post(self.replica, Some(self.posted(&current, &seen, &probes)));
            match verdict {
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

    /// The wait as people see it.
    fn posted(&self, state: &ContainerState, seen: &Seen, own_probes: &Mutex<Vec<Probe>>) -> Posted {
        let restarts = state.restarts.saturating_sub(seen.restarts_before);
        let own = own_probes.lock().ok().and_then(|probes| probes.last().cloned());
        let own = own.map(|probe| (probe.exit_code, probe.output));
        let engines = state.probes.last().map(|(code, output)| (Some(*code), output.clone()));
        let said = match own.or(engines).filter(|_| state.state == RunState::Running) {
            Some((code, output)) => last_line(code, &output),
            None if restarts > 0 => format!("exited with code {}, {restarts} restarts", state.exit_code),
            None => String::new(),
        };
        let goal = self.goal.words(state.health_test.is_some());
        let until = seen.since + deadline(state, self.goal, restarts, self.patience);
        Posted { goal, until, said }
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
    (goal, around): (Goal, Around),
    patience: &Patience,
) -> Verdict {
    if around == Around::Dependencies {
        (seen.since, seen.restarts_since, seen.held) = (now, state.restarts, true);
    }
    let waited = now.duration_since(seen.since);
    let restarts = state.restarts.saturating_sub(seen.restarts_before);
    if state.started_at != seen.started_at {
        seen.started_at.clone_from(&state.started_at);
        seen.running_since = now;
        seen.exited_since = None;
    }
    let total = now.duration_since(seen.began);
    let has_check = state.health_test.is_some();
    let deadline = deadline(state, goal, restarts, patience);
    let code = state.exit_code;
    // A number of restarts, and a deadline that somebody set, say themselves how long it may go on.
    let told = patience.timeout.is_some() || state.restart.starts_with("on-failure:");
    let loops = !told
        && around == Around::Quiet
        && state.restarts.saturating_sub(seen.restarts_since) >= patience.restarts
        && waited >= patience.restarts_for;
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
                if !has_check {
                    return Verdict::Wait(settle.saturating_sub(ran));
                }
                // After what it depends on is up, or a verdict from before, the engine has to come round to its check
                // once more.
                let counts = !seen.held || waited >= round(state);
                if state.health == Some(Health::Unhealthy) && around != Around::Dependencies && counts {
                    return Verdict::Failed(Reason::Unhealthy { seconds: total.as_secs(), restarts });
                }
            }
            if loops {
                return Verdict::Failed(Reason::Restarted { restarts, seconds: total.as_secs() });
            }
        }
        RunState::Created | RunState::Paused | RunState::Restarting => {}
    }
    if waited >= deadline {
        let seconds = total.as_secs();
        return Verdict::Failed(match (state.state, goal) {
            (RunState::Restarting, _) => Reason::Loops { code, restarts },
            (RunState::Paused, _) => Reason::Paused,
            (RunState::Running, Goal::Completed) => Reason::Unfinished { seconds },
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

/// One round of its health check: the time until the next probe, and for that to end.
fn round(state: &ContainerState) -> Duration {
    let [interval, timeout, ..] = state.health_times;
    let or_default = |time: Duration| if time.is_zero() { Duration::from_secs(30) } else { time };
    or_default(interval).saturating_add(or_default(timeout))
}

/// How long the service may take: as long as its health check itself allows, and one round more. A restart begins
/// the check anew, so one that was restarted has [`Patience::least`] in any case.
fn deadline(state: &ContainerState, goal: Goal, restarts: u64, patience: &Patience) -> Duration {
    if let Some(timeout) = patience.timeout {
        return timeout;
    }
    if goal == Goal::Completed {
        return patience.completion;
    }
    if state.health_test.is_none() {
        return patience.least;
    }
    let [_, _, start_period, _] = state.health_times;
    let retries = if state.health_retries == 0 { 3 } else { state.health_retries };
    let allowed = start_period.saturating_add(round(state).saturating_mul(retries.saturating_add(1)));
    if restarts > 0 { allowed.max(patience.least) } else { allowed }
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
