//! The ailments of replicas, as the engine shows them now: nobody is told that all runs while one does not.

use crate::engine::containers::{ContainerFacts, ContainerState, Health, RunState};
use crate::engine::{Engine, EngineError};
use crate::services::Replica;
use crate::services::parking::Standing;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A container that was restarted and has run for less than this may be about to end again.
const PROVEN_AFTER: Duration = Duration::from_secs(10);

/// Restarts of one that ends again and again.
const LOOPS: u64 = 3;

/// An ailment of a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ailment {
    /// It has no container any more.
    Missing,
    /// Its container does not run, and is no job that has done its work.
    Stopped,
    /// Its container is paused.
    Paused,
    /// It ends again and again.
    Restarting,
    /// Its health check fails, by the engine's count.
    Unhealthy,
    /// It has not shown yet that it is up: it was restarted a moment ago, or its health check has not passed.
    Unproved,
}

impl fmt::Display for Ailment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "has no container any more",
            Self::Stopped => "does not run",
            Self::Paused => "is paused",
            Self::Restarting => "keeps restarting",
            Self::Unhealthy => "is unhealthy",
            Self::Unproved => "has not shown yet that it is up",
        })
    }
}

/// The ailment of a container, if any. `done` names services that had ended well when they were installed. A check
/// that the engine has not come round to is run here, once.
///
/// # Errors
/// When the engine fails.
pub(crate) async fn of(
    engine: &Engine,
    standing: &Standing,
    container: &ContainerFacts,
    done: &BTreeSet<String>,
) -> Result<Option<Ailment>, EngineError> {
    if container.state == RunState::Exited && standing.is_done(engine, container, done).await? {
        return Ok(None);
    }
    let Some(state) = engine.inspect(&container.id).await? else { return Ok(Some(Ailment::Missing)) };
    Ok(match state.state {
        RunState::Created | RunState::Exited | RunState::Removing => Some(Ailment::Stopped),
        RunState::Paused => Some(Ailment::Paused),
        RunState::Restarting => Some(Ailment::Restarting),
        RunState::Running => of_running(engine, &state).await,
    })
}

async fn of_running(engine: &Engine, state: &ContainerState) -> Option<Ailment> {
    let restarted = state.restarts > 0
        && ran_for(&state.started_at, SystemTime::now()).is_some_and(|ran| ran < PROVEN_AFTER);
    // One that ends again and again runs at times.
    if restarted && state.restarts >= LOOPS {
        return Some(Ailment::Restarting);
    }
    let Some(test) = &state.health_test else { return restarted.then_some(Ailment::Unproved) };
    let by_hand = !engine.facts().runs_health_checks();
    match state.health.map(|health| if by_hand { Health::Starting } else { health })? {
        Health::Healthy => None,
        Health::Unhealthy => Some(Ailment::Unhealthy),
        Health::Starting => {
            let [_, timeout, ..] = state.health_times;
            let timeout = timeout.clamp(Duration::from_secs(1), Duration::from_secs(10));
            let probe = engine.probe(&state.id, test, timeout).await;
            (!probe.is_ok_and(|probe| probe.passed())).then_some(Ailment::Unproved)
        }
    }
}

/// The ailments of a project, in which each of `wanted` should have a container.
///
/// # Errors
/// When the engine fails.
pub(crate) async fn of_project(
    engine: &Engine,
    project: &str,
    wanted: &BTreeSet<Replica>,
    done: &BTreeSet<String>,
) -> Result<BTreeMap<Replica, Ailment>, EngineError> {
    let standing = Standing::read(engine, project).await?;
    let mut ailments = BTreeMap::new();
    let mut found = BTreeSet::new();
    for container in standing.visible() {
        let Some(replica) = Replica::of(&container.labels) else { continue };
        if let Some(ailment) = of(engine, &standing, container, done).await? {
            ailments.insert(replica.clone(), ailment);
        }
        found.insert(replica);
    }
    let missing = wanted.iter().filter(|replica| !found.contains(replica));
    ailments.extend(missing.map(|replica| (replica.clone(), Ailment::Missing)));
    Ok(ailments)
}

/// Ailments as a list for people: `web is paused, db does not run`.
pub(crate) fn listed(ailments: &BTreeMap<Replica, Ailment>) -> String {
    let words: Vec<String> =
        ailments.iter().map(|(replica, ailment)| format!("{replica} {ailment}")).collect();
    words.join(", ")
}

/// How long a container has run that was started at `started` (RFC 3339); `None` where that cannot be said.
fn ran_for(started: &str, now: SystemTime) -> Option<Duration> {
    let number = |from: usize, to: usize| started.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let zone = started.get(19..)?.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let offset = match zone.split_at_checked(1) {
        Some(("Z", _)) => 0,
        Some((sign @ ("+" | "-"), rest)) => {
            let (hours, minutes) = rest.split_once(':')?;
            let minutes = hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?;
            if sign == "+" { minutes * 60 } else { -minutes * 60 }
        }
        _ => return None,
    };
    // Days since 1970 in a calendar whose years begin in March, so that a leap day is a year's last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day;
    let seconds = days.checked_sub(719_469)? * 86_400 + hour * 3600 + minute * 60 + second;
    let seconds = u64::try_from(i64::try_from(seconds).ok()? - offset).ok()?;
    now.duration_since(UNIX_EPOCH + Duration::from_secs(seconds)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_since_a_start_is_known_in_every_zone() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        for (started, now, ran) in [
            ("1970-01-01T00:00:00Z", 5, Some(5)),
            ("2024-02-29T12:00:00.123456789Z", 1_709_208_007, Some(7)),
            ("2026-03-01T00:30:00+00:00", 1_772_325_009, Some(9)),
            ("2026-03-01T01:30:00.5+01:00", 1_772_325_009, Some(9)),
            ("2026-02-28T23:30:00-01:00", 1_772_325_009, Some(9)),
            ("0001-01-01T00:00:00Z", 5, None),
            ("2026-03-01T00:30:00Z", 1, None),
            ("soon", 5, None),
            ("", 5, None),
        ] {
            assert_eq!(ran_for(started, at(now)).map(|ran| ran.as_secs()), ran, "{started}");
        }
    }
}
