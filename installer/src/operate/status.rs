//! How the services of a project are doing, as the engine shows it.

use crate::engine::containers::{ContainerFacts, Health, RunState};
use crate::engine::{Engine, EngineError, label};
use crate::services::Replica;
use crate::services::parking::Standing;
use futures_util::{StreamExt as _, stream};
use manifest_schema::{ProjectName, ServiceName};
use serde::Serialize;

/// Calls in flight at once.
const AT_ONCE: usize = 8;

/// How a service is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceStatus {
    /// The service.
    pub service: ServiceName,
    /// Its container.
    pub container: String,
    /// Its run state.
    pub state: RunState,
    /// The result of its health check, where it has one that the engine runs.
    pub health: Option<Health>,
    /// The service, and which of its containers.
    #[serde(rename = "place")]
    pub replica: Replica,
    /// Exit code, where it does not run.
    pub exit_code: Option<i64>,
    /// How often the engine has restarted it.
    pub restarts: u64,
    /// The image's ID.
    pub image_id: String,
    /// The release that created the container.
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
    let Some(replica) = Replica::of(&container.labels) else { return Ok(None) };
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
        service: replica.service().clone(),
        replica,
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
