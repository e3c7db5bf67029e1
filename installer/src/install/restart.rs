//! A restart of the engine, for which somebody has asked: the only cure of an engine that holds ports after it was
//! killed.

use crate::engine::{Engine, EngineAddress};
use anyhow::{Context as _, Result};
use ferry_terminal::{Class, Failure, human};
use manifest_schema::progress::Progress;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

/// The command on most hosts.
pub(super) const USUAL: &str = "systemctl restart docker";

/// For the command: services may take their time to stop.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// For the engine to answer again: it starts its containers first.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3 * 60);

/// Runs `command` with the shell, and waits until the engine answers again.
///
/// # Errors
/// When the command fails or does not end, or the engine does not come back.
pub(super) async fn restart(
    command: &str,
    engine: Option<&EngineAddress>,
    progress: &dyn Progress,
    cancel: &CancellationToken,
) -> Result<()> {
    progress.begin("restarting", None);
    progress.detail("the engine");
    let shown = human::printable(command);
    let failed = |why: String| {
        let fact = format!("`{shown}` did not restart the engine: {why}");
        Failure::new(Class::Engine, fact).hint(
            "restart it by hand, and run this again; or name the command that does it on this host: \
             --restart-engine='service docker restart'",
        )
    };
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let ended = tokio::select! {
        ended = tokio::time::timeout(COMMAND_TIMEOUT, shell.kill_on_drop(true).output()) => ended,
        () = cancel.cancelled() => return Err(Failure::cancelled().into()),
    };
    let ended = ended.map_err(|_| failed("it did not end within 10 minutes".to_owned()))?;
    let ended = ended.with_context(|| format!("running `{shown}`"))?;
    if !ended.status.success() {
        let said = String::from_utf8_lossy(&ended.stderr);
        let said = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        return Err(failed(format!("{}: {}", ended.status, human::printable(said.trim()))).into());
    }
    let answers = async {
        while Engine::connect(engine).await.is_err() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::select! {
        answered = tokio::time::timeout(ANSWER_TIMEOUT, answers) => {
            answered.map_err(|_| failed("it does not answer within 3 minutes".to_owned()))?;
        }
        () = cancel.cancelled() => return Err(Failure::cancelled().into()),
    }
    progress.end("the engine answers again");
    Ok(())
}
