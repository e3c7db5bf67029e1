//! `ferry try` and `ferry watch`: a trial on the developer's own engine.

use super::site::{Answers, answers};
use super::{cancel_on_ctrl_c, docker_config};
use crate::cancel::Cancel;
use crate::sources::ResolveOptions;
use crate::trial::{Trial, Wish};
use anyhow::Result;
use clap::Args;
use ferry_terminal::{Class, Failure, Output, TerminalProgress};
use manifest_schema::ProjectName;
use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

#[derive(Args)]
pub(super) struct TryArgs {
    /// The manifest, or the folder that holds ferry.yaml
    #[arg(default_value = ".")]
    manifest: PathBuf,
    #[command(flatten)]
    answers: Answers,
    /// The engine
    #[arg(long, env = "DOCKER_HOST", value_name = "HOST")]
    engine: Option<String>,
    /// Ask no registry
    #[arg(long)]
    offline: bool,
    /// Wait this long for each service, instead of what its health check gives
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: Option<u64>,
    /// The trial's project name on the engine; the product's with `-try` unless given
    #[arg(long, value_name = "NAME")]
    project_name: Option<ProjectName>,
    /// The installer; `install` beside this program unless given
    #[arg(long, value_name = "FILE")]
    installer: Option<PathBuf>,
}

/// Between two looks at the inputs.
const PACE: Duration = Duration::from_millis(500);

/// Builds, installs, shows what the services print, and removes everything at Ctrl-C. `check`: removes it as
/// soon as all is healthy. `watch`: builds and installs again whenever an input changes.
pub(super) fn run(
    args: &TryArgs,
    (check, watch): (bool, bool),
    output: Output,
    progress: &TerminalProgress,
) -> Result<()> {
    let answers = answers(args.answers.values.as_deref(), &args.answers.set)?;
    let mut options: Vec<String> =
        args.answers.set.iter().flat_map(|set| ["--set".to_owned(), set.clone()]).collect();
    if let Some(file) = &args.answers.values {
        options.extend(["--values".to_owned(), file.display().to_string()]);
    }
    if let Some(seconds) = args.timeout {
        options.extend(["--timeout".to_owned(), seconds.to_string()]);
    }
    let resolve = ResolveOptions {
        offline: args.offline,
        refresh: false,
        docker_host: args.engine.clone(),
        docker_config: docker_config(),
    };
    let wish = Wish {
        manifest: args.manifest.clone(),
        answers,
        options,
        installer: args.installer.clone(),
        name: args.project_name.clone(),
        resolve,
    };
    let cancel = cancel_on_ctrl_c();
    let mut trial = Trial::new(wish)?;
    let tried = attempt(&mut trial, check, watch, output, progress, &cancel);
    let removed = trial.remove();
    match (tried, removed) {
        (Ok(()), removed) => removed,
        (Err(error), Ok(())) => Err(error),
        (Err(error), Err(left)) => Err(error.context(format!("{left:#}, after the failure below"))),
    }
}

fn attempt(
    trial: &mut Trial,
    check: bool,
    watch: bool,
    output: Output,
    progress: &TerminalProgress,
    cancel: &Cancel,
) -> Result<()> {
    let mut seen = trial.inputs();
    match build_and_install(trial, progress, cancel) {
        Ok(()) => {}
        Err(error) if watch && !cancel.asked() => {
            output.error_line(&format!("{} {error:#}", output.for_stderr().red("error:")));
        }
        Err(error) => return Err(error),
    }
    if check || cancel.asked() {
        return Ok(());
    }
    say_where(trial, output);
    let mut logs = Some(trial.follow()?);
    loop {
        std::thread::sleep(PACE);
        if cancel.asked() {
            end(logs);
            return Ok(());
        }
        if !watch {
            // It ends with the services, or when somebody asks for it.
            if let Some(child) = &mut logs
                && child.try_wait()?.is_some()
            {
                return Ok(());
            }
            continue;
        }
        let now = trial.inputs();
        if now == seen {
            continue;
        }
        // Half-written files settle first.
        std::thread::sleep(PACE);
        seen = trial.inputs();
        end(logs.take());
        output.error_line("an input has changed: building again");
        match build_and_install(trial, progress, cancel) {
            Ok(()) => say_where(trial, output),
            Err(_) if cancel.asked() => return Ok(()),
            // The next change may mend it; what ran before runs on.
            Err(error) => output.error_line(&format!("{} {error:#}", output.for_stderr().red("error:"))),
        }
        logs = Some(trial.follow()?);
    }
}

fn build_and_install(trial: &mut Trial, progress: &TerminalProgress, cancel: &Cancel) -> Result<()> {
    trial.build(progress, cancel)?;
    let status = trial.install()?;
    if status.success() {
        return Ok(());
    }
    let class = Class::of_code(status.code().unwrap_or_default());
    Err(Failure::new(class, "the bundle could not be installed here; the installer has said why").into())
}

fn say_where(trial: &Trial, output: Output) {
    for note in trial.notes() {
        output.error_line(&format!("{} {note}", output.for_stderr().yellow("note:")));
    }
    for port in trial.published() {
        output.error_line(&format!(
            "  {:<10} 127.0.0.1:{} ({})",
            port.service,
            output.for_stderr().bold(&port.port.to_string()),
            port.target
        ));
    }
    output.error_line("Ctrl-C stops and removes everything");
}

fn end(child: Option<Child>) {
    if let Some(mut child) = child {
        let _ = child.kill();
        let _ = child.wait();
    }
}
