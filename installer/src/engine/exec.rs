//! Running programs in a container: health checks by hand, for engines that cannot probe fast enough or
//! at all, and hooks.

use super::{Engine, Result, checked, failure};
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use futures_util::StreamExt as _;
use std::time::Duration;

/// Most output kept of one probe, as Docker itself does.
const MAX_OUTPUT: usize = 4096;

/// How a probe, or another program, ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Exit code; `None` when it did not end in time.
    pub exit_code: Option<i64>,
    /// The first 4 KiB of its output.
    pub output: String,
}

impl Probe {
    /// The probe passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.exit_code == Some(0)
    }
}

/// A program to be run in a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments.
    pub words: Vec<String>,
    /// `None`: the container's.
    pub user: Option<String>,
    /// With all privileges.
    pub privileged: bool,
    /// `None`: the container's.
    pub working_dir: Option<String>,
    /// `KEY=value`, beside the container's.
    pub environment: Vec<String>,
}

impl Engine {
    /// Runs `test` (`["CMD", …]` or `["CMD-SHELL", …]`) once in a running container. A probe that
    /// takes longer than `timeout` counts as failed; the API has no way to end it.
    ///
    /// # Errors
    /// When the engine fails, or the container does not run.
    pub async fn probe(&self, container: &str, test: &[String], timeout: Duration) -> Result<Probe> {
        let words: Vec<String> = match test.split_first() {
            Some((kind, rest)) if kind == "CMD-SHELL" => {
                ["/bin/sh".to_owned(), "-c".to_owned()].into_iter().chain(rest.iter().cloned()).collect()
            }
            Some((kind, rest)) if kind == "CMD" => rest.to_vec(),
            _ => test.to_vec(),
        };
        self.exec(container, &Command { words, ..Default::default() }, timeout).await
    }

    /// Runs a program once in a running container. What takes longer than `timeout` counts as not ended; the
    /// API has no way to end it.
    ///
    /// # Errors
    /// When the engine fails, or the container does not run.
    pub async fn exec(&self, container: &str, command: &Command, timeout: Duration) -> Result<Probe> {
        let mut output = Vec::new();
        match tokio::time::timeout(timeout, self.run(container, command, &mut output)).await {
            Ok(exit_code) => Ok(Probe { exit_code: exit_code?, output: text(&output) }),
            Err(_) => Ok(Probe { exit_code: None, output: text(&output) }),
        }
    }

    async fn run(&self, container: &str, command: &Command, output: &mut Vec<u8>) -> Result<Option<i64>> {
        let action = "run a program in a container";
        let options = CreateExecOptions {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(command.words.clone()),
            user: command.user.clone(),
            privileged: command.privileged.then_some(true),
            working_dir: command.working_dir.clone(),
            env: (!command.environment.is_empty()).then(|| command.environment.clone()),
            ..Default::default()
        };
        let exec = self
            .docker
            .create_exec(checked("container", container)?, options)
            .await
            .map_err(|e| failure(action, e))?;
        let started = self
            .docker
            .start_exec(&exec.id, None::<StartExecOptions>)
            .await
            .map_err(|e| failure(action, e))?;
        if let StartExecResults::Attached { output: mut chunks, .. } = started {
            while let Some(chunk) = chunks.next().await {
                let Ok(chunk) = chunk else { break };
                let room = MAX_OUTPUT.saturating_sub(output.len());
                let bytes = chunk.into_bytes();
                output.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
            }
        }
        let ended = self.docker.inspect_exec(&exec.id).await.map_err(|e| failure(action, e))?;
        Ok(ended.exit_code.filter(|_| ended.running != Some(true)))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}
