//! Commands that a service has run in its container after each start and before each stop (Compose
//! Specification, "Using lifecycle hooks").
//!
//! The container's labels hold them, as all that starting and stopping it needs. A process
//! can be killed between a start and its hook, so a hook may run more than once. What fails after a start
//! fails the service; what fails before a stop is a warning, and the service is stopped all the same.

use crate::engine::containers::{ContainerFacts, RunState};
use crate::engine::exec::Command;
use crate::engine::label;
use crate::engine::{Engine, EngineError};
use crate::services::failure::clean;
use manifest_schema::compose::model::Hook;
use manifest_schema::progress::Progress;
use std::collections::BTreeMap;
use std::time::Duration;

/// For one hook: a dump of a database takes minutes.
const TIMEOUT: Duration = Duration::from_secs(15 * 60);

type Labels = BTreeMap<String, String>;

/// The label's value for some hooks; `None` where there are none.
#[must_use]
pub(crate) fn to_label(hooks: &[Hook]) -> Option<String> {
    if hooks.is_empty() { None } else { serde_json::to_string(hooks).ok() }
}

fn of(labels: &Labels, key: &str) -> Vec<Hook> {
    labels.get(key).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// The hooks to run after the container's start.
#[must_use]
pub(crate) fn after_start(labels: &Labels) -> Vec<Hook> {
    of(labels, label::POST_START)
}

/// Runs `hooks` one after another. `Some` says why the first that failed did.
///
/// # Errors
/// When the engine fails.
pub(crate) async fn run(
    engine: &Engine,
    container: &str,
    hooks: &[Hook],
) -> Result<Option<String>, EngineError> {
    for hook in hooks {
        let shown = clean(&hook.command.join(" "));
        let command = Command {
            words: hook.command.clone(),
            user: hook.user.clone(),
            privileged: hook.privileged,
            working_dir: hook.working_dir.clone(),
            environment: hook.environment.iter().map(|(name, value)| format!("{name}={value}")).collect(),
        };
        let ended = match engine.exec(container, &command, TIMEOUT).await {
            Ok(ended) => ended,
            // The program is not there, or the container has ended.
            Err(EngineError::Refused { message, .. } | EngineError::Failed { message, .. }) => {
                return Ok(Some(format!("`{shown}` could not be run: {}", clean(&message))));
            }
            Err(error) => return Err(error),
        };
        let output = clean(&ended.output);
        let output = if output.is_empty() { output } else { format!(": {output}") };
        match ended.exit_code {
            Some(0) => {}
            Some(code) => return Ok(Some(format!("`{shown}` ended with code {code}{output}"))),
            None => {
                let minutes = TIMEOUT.as_secs() / 60;
                return Ok(Some(format!("`{shown}` did not end within {minutes} minutes{output}")));
            }
        }
    }
    Ok(None)
}

/// Stops a container gracefully, after its own commands for that.
///
/// # Errors
/// When the engine fails.
pub(crate) async fn stop(
    engine: &Engine,
    container: &ContainerFacts,
    progress: &dyn Progress,
) -> Result<(), EngineError> {
    let hooks = of(&container.labels, label::PRE_STOP);
    // A program can be run in a container that runs at this moment, and in no other.
    if !hooks.is_empty() && container.state == RunState::Running {
        let why = match run(engine, &container.id, &hooks).await {
            Ok(why) => why,
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error),
        };
        if let Some(why) = why {
            let service = container.labels.get(label::SERVICE).map_or("", String::as_str);
            progress.warn(&format!("service {service}, before its stop: {why}"));
        }
    }
    engine.stop(&container.id).await
}
