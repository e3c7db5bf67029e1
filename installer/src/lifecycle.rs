//! What a sysop does with an installed project: stop, start, look, read logs, uninstall.
//!
//! All of it works from the engine's state alone (labels give the order), so it also works when the
//! release's own files are damaged.

use crate::engine::containers::{ContainerFacts, Health, LogChunk, RunState};
use crate::engine::{Engine, EngineError};
use crate::health::{Outcome, Patience};
use crate::hooks;
use crate::image_names;
use crate::label;
use crate::parking::{Standing, place};
use crate::sequence::{Member, SequenceError, Work, bring_up, in_reverse};
use futures_util::{Stream, StreamExt as _, stream};
use manifest_schema::ProjectName;
use manifest_schema::progress::Progress;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use tokio_util::sync::CancellationToken;

/// Calls in flight at once.
const AT_ONCE: usize = 8;

/// Longest line of a log that is kept whole.
const MAX_LOG_LINE: usize = 64 << 10;

/// How a service is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceStatus {
    /// The service.
    pub service: String,
    /// Its container.
    pub container: String,
    /// What it does.
    pub state: RunState,
    /// What its health check says, where it has one that the engine runs.
    pub health: Option<Health>,
    /// The service, and from its second container on the number.
    pub place: String,
    /// Exit code, where it does not run.
    pub exit_code: Option<i64>,
    /// How often the engine has restarted it.
    pub restarts: u64,
    /// The image's ID.
    pub image_id: String,
    /// The release that made the container.
    pub release: Option<String>,
    /// `0.0.0.0:80->80/tcp`.
    pub ports: Vec<String>,
    /// RFC 3339: since when it runs or has not been running; empty when it was never started.
    pub since: String,
}

/// Looks at every service of the project, in the order of their names. Empty when nothing is
/// installed.
///
/// # Errors
/// When the engine fails.
pub async fn status(engine: &Engine, project: &ProjectName) -> Result<Vec<ServiceStatus>, EngineError> {
    let standing = Standing::read(engine, project.as_str()).await?;
    // A podman without timers never gets past "starting": then the check is run here, once.
    let by_hand = !engine.facts().runs_health_checks();
    let containers: Vec<ContainerFacts> = standing.visible().cloned().collect();
    let mut found =
        stream::iter(containers).map(|container| one_status(engine, container, by_hand)).buffered(AT_ONCE);
    let mut list = Vec::new();
    while let Some(status) = found.next().await {
        list.extend(status?);
    }
    list.sort_by(|a, b| (&a.service, &a.container).cmp(&(&b.service, &b.container)));
    Ok(list)
}

async fn one_status(
    engine: &Engine,
    container: ContainerFacts,
    by_hand: bool,
) -> Result<Option<ServiceStatus>, EngineError> {
    let Some(state) = engine.inspect(&container.id).await? else { return Ok(None) };
    let up = matches!(state.state, RunState::Running | RunState::Paused);
    let mut health = state.health.filter(|_| up);
    // An engine that has not come round to its first check yet says "starting" for up to an interval,
    // although the service may have been healthy for a while.
    let starting = health == Some(Health::Starting);
    if (by_hand || starting)
        && state.state == RunState::Running
        && let Some(test) = &state.health_test
    {
        let [_, timeout, ..] = state.health_times;
        let timeout = timeout.clamp(std::time::Duration::from_secs(1), std::time::Duration::from_secs(10));
        health = match engine.probe(&container.id, test, timeout).await {
            Ok(probe) if probe.passed() => Some(Health::Healthy),
            Ok(_) if by_hand => Some(Health::Unhealthy),
            _ => health,
        };
    }
    // Engines write the year 1 for "never".
    let since = if up { state.started_at } else { state.finished_at };
    Ok(Some(ServiceStatus {
        service: container.labels.get(label::SERVICE).cloned().unwrap_or_default(),
        place: place(&container).unwrap_or_default(),
        container: container.name,
        state: state.state,
        health,
        exit_code: (!up && state.state != RunState::Created).then_some(state.exit_code),
        restarts: state.restarts,
        image_id: container.image_id,
        release: container.labels.get(label::RELEASE).cloned(),
        ports: container.ports,
        since: if since.starts_with("0001-") { String::new() } else { since },
    }))
}

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
    let containers: Vec<ContainerFacts> = standing.in_place().chain(standing.parked()).cloned().collect();
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
) -> Result<BTreeMap<String, Outcome>, SequenceError> {
    let standing = Standing::read(engine, project.as_str()).await?;
    let mut members = Vec::new();
    for container in standing.in_place() {
        let work = if container.runs() || standing.is_done(engine, container, done).await? {
            Work::Keep
        } else {
            Work::Start
        };
        members.push(Member::new(&container.id, &container.labels, work));
    }
    bring_up(engine, project.as_str(), &members, patience, progress, cancel).await
}

/// What an uninstall removes beside containers and networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uninstall {
    /// Also the volumes, with all data.
    pub volumes: bool,
    /// Names and IDs of images to take away; the images go too where nothing else uses them.
    pub images: BTreeSet<(String, String)>,
}

/// What an uninstall removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Uninstalled {
    /// Containers.
    pub containers: Vec<String>,
    /// Networks.
    pub networks: Vec<String>,
    /// Volumes.
    pub volumes: Vec<String>,
    /// Volumes of the project that were kept.
    pub kept_volumes: Vec<String>,
    /// Image names.
    pub images: Vec<String>,
    /// What was kept because something else uses it.
    pub in_use: Vec<String>,
}

/// Stops and removes the project: containers (replaced ones too), networks, and what `request` names.
///
/// # Errors
/// When the engine fails. It can be repeated.
pub async fn uninstall(
    engine: &Engine,
    project: &ProjectName,
    request: &Uninstall,
    progress: &dyn Progress,
) -> Result<Uninstalled, EngineError> {
    let mut report = Uninstalled::default();
    let containers = engine.containers(label::PROJECT, project.as_str()).await?;
    in_reverse(&containers, |container| {
        Box::pin(async move {
            progress.detail(&format!("removing {}", container.name));
            hooks::stop(engine, container, progress).await?;
            engine.remove_container(&container.id, request.volumes).await
        })
    })
    .await?;
    report.containers = containers.into_iter().map(|container| container.name).collect();
    for network in engine.networks(label::PROJECT, project.as_str()).await? {
        let removed = engine.remove_network(&network.name).await?;
        if removed { &mut report.networks } else { &mut report.in_use }.push(network.name);
    }
    for volume in engine.volumes(label::PROJECT, project.as_str()).await? {
        if !request.volumes {
            report.kept_volumes.push(volume.name);
            continue;
        }
        match engine.remove_volume(&volume.name).await {
            Ok(_) => report.volumes.push(volume.name),
            Err(error) if error.is_conflict() => report.in_use.push(volume.name),
            Err(error) => return Err(error),
        }
    }
    for (name, id) in &request.images {
        match image_names::forget(engine, name, id).await {
            Ok(true) if !report.images.contains(name) => report.images.push(name.clone()),
            Ok(_) => {}
            Err(error) if error.is_conflict() => report.in_use.push(name.clone()),
            Err(error) => return Err(error),
        }
    }
    Ok(report)
}

/// One line of a service's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogLine {
    /// The service.
    pub service: String,
    /// Whether it came from standard error.
    pub stderr: bool,
    /// The line as the service wrote it, without its end; see [`crate::failure::clean`] before it goes
    /// to a terminal.
    pub text: String,
}

/// Lines of one service, or of all, the last `tail` of each (`None`: all), and with `follow` those
/// that come. Lines of several services come as they arrive.
///
/// # Errors
/// When the project has no such service, or the engine fails; later errors are items of the stream.
pub async fn logs(
    engine: &Engine,
    project: &ProjectName,
    service: Option<&str>,
    tail: Option<usize>,
    follow: bool,
) -> Result<impl Stream<Item = Result<LogLine, EngineError>> + Send + use<>, EngineError> {
    let standing = Standing::read(engine, project.as_str()).await?;
    let mut streams = Vec::new();
    for container in standing.visible() {
        let name = container.labels.get(label::SERVICE).cloned().unwrap_or_default();
        if service.is_some_and(|wanted| wanted != name) {
            continue;
        }
        streams.push(lines(name, engine.logs(&container.id, tail, follow, false)?).boxed());
    }
    if let (Some(service), true) = (service, streams.is_empty()) {
        return Err(EngineError::Refused {
            action: "read logs".to_owned(),
            status: 404,
            message: format!("project {project} has no service {service}"),
        });
    }
    Ok(stream::select_all(streams))
}

/// Cuts chunks into lines, apart for both outputs.
fn lines(
    service: String,
    chunks: impl Stream<Item = Result<LogChunk, EngineError>> + Send,
) -> impl Stream<Item = Result<LogLine, EngineError>> + Send {
    struct State<C> {
        chunks: std::pin::Pin<Box<C>>,
        rest: [Vec<u8>; 2],
        ready: std::collections::VecDeque<Result<LogLine, EngineError>>,
        ended: bool,
    }
    let state = State {
        chunks: Box::pin(chunks),
        rest: [Vec::new(), Vec::new()],
        ready: std::collections::VecDeque::new(),
        ended: false,
    };
    stream::unfold(state, move |mut state| {
        let service = service.clone();
        async move {
            loop {
                if let Some(line) = state.ready.pop_front() {
                    return Some((line, state));
                }
                if state.ended {
                    return None;
                }
                let line = |stderr: bool, bytes: &[u8]| {
                    let text = String::from_utf8_lossy(bytes).trim_end_matches('\r').to_owned();
                    Ok(LogLine { service: service.clone(), stderr, text })
                };
                match state.chunks.next().await {
                    Some(Ok(chunk)) => {
                        let [out, err] = &mut state.rest;
                        let rest = if chunk.stderr { err } else { out };
                        for byte in &chunk.bytes {
                            if *byte == b'\n' || rest.len() >= MAX_LOG_LINE {
                                state.ready.push_back(line(chunk.stderr, rest));
                                rest.clear();
                            }
                            if *byte != b'\n' {
                                rest.push(*byte);
                            }
                        }
                    }
                    Some(Err(error)) => {
                        state.ended = true;
                        state.ready.push_back(Err(error));
                    }
                    None => {
                        state.ended = true;
                        for (stderr, rest) in [false, true].into_iter().zip(&state.rest) {
                            if !rest.is_empty() {
                                state.ready.push_back(line(stderr, rest));
                            }
                        }
                    }
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn chunks_become_lines() {
        let chunk = |stderr, text: &'static str| Ok(LogChunk { stderr, bytes: text.as_bytes().into() });
        let chunks =
            stream::iter([chunk(false, "one\ntw"), chunk(true, "oops\r\n"), chunk(false, "o\n\nend")]);
        let lines: Vec<String> =
            lines("web".to_owned(), chunks).map(|line| line.unwrap().text).collect().await;
        assert_eq!(lines, ["one", "oops", "two", "", "end"]);
    }

    #[tokio::test]
    async fn a_line_without_end_does_not_fill_memory() {
        let chunks =
            stream::iter((0..100).map(|_| Ok(LogChunk { stderr: false, bytes: vec![b'x'; 10_000].into() })));
        let longest = lines("web".to_owned(), chunks)
            .map(|line| line.unwrap().text.len())
            .fold(0, |a, b| async move { a.max(b) })
            .await;
        assert_eq!(longest, MAX_LOG_LINE);
    }
}
