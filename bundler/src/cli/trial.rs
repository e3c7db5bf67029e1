//! `ferry try` and `ferry watch`: a trial on the developer's own engine.

use super::site::AnswerArgs;
use super::{cancel_on_ctrl_c, docker_config};
use crate::cancel::Cancel;
use crate::sources::ResolveOptions;
use crate::verbs::trial::{Followers, Inputs, Trial, Wish};
use anyhow::Result;
use clap::Args;
use ferry_terminal::confined::CONFINED;
use ferry_terminal::{Class, Failure, Output, TerminalProgress};
use manifest_schema::ProjectName;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

#[derive(Args)]
pub(super) struct TryArgs {
    /// The manifest, or the folder that holds ferry.yaml
    #[arg(default_value = ".")]
    manifest: PathBuf,
    #[command(flatten)]
    answers: AnswerArgs,
    /// Address of the engine
    #[arg(long, env = "DOCKER_HOST", value_name = "HOST")]
    engine: Option<String>,
    /// Do not ask registries
    #[arg(long)]
    offline: bool,
    /// Seconds to wait for each service [default: from its health check]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: Option<u64>,
    /// The trial's project name on the engine [default: the product's with `-try`]
    #[arg(long, value_name = "NAME")]
    project_name: Option<ProjectName>,
    /// The installer [default: `install` beside this program]
    #[arg(long, value_name = "FILE")]
    installer: Option<PathBuf>,
}

/// Between two looks at the inputs.
const PACE: Duration = Duration::from_millis(500);

/// Half-written files settle within this many looks; what is written for longer, a log say, is built as it is.
const MOST_LOOKS: usize = 4;

/// Between two looks at what the services print.
const TICK: Duration = Duration::from_millis(100);

/// Builds, installs, shows what the services print, and removes everything at Ctrl-C. `check`: removes it as
/// soon as all is healthy. `watch`: builds and installs again whenever an input changes.
pub(super) fn run(
    args: &TryArgs,
    (check, watch): (bool, bool),
    output: Output,
    progress: &TerminalProgress,
) -> Result<()> {
    let options = args.timeout.map(|seconds| ["--timeout".to_owned(), seconds.to_string()]);
    let wish = Wish {
        manifest: args.manifest.clone(),
        answers: args.answers.read(),
        options: options.into_iter().flatten().collect(),
        installer: args.installer.clone(),
        name: args.project_name.clone(),
        resolve: ResolveOptions {
            // The manifest has it.
            unpacked_bytes: None,
            offline: args.offline,
            refresh: false,
            docker_host: args.engine.clone(),
            docker_config: docker_config(),
        },
        renderer: &CONFINED,
    };
    let cancel = cancel_on_ctrl_c();
    let trial = Trial::new(wish, progress, &cancel).map_err(|error| stopped(error, &cancel))?;
    let mut desk =
        Desk { seen: trial.inputs(), trial, watch, said: BTreeSet::new(), output, progress, cancel: &cancel };
    let tried = if watch { desk.watch() } else { desk.once(check) };
    if tried.is_err() {
        // Before the removal speaks.
        progress.fail_open(if cancel.is_cancelled() { "stopped" } else { "failed" });
    }
    let tried = tried.map_err(|error| stopped(error, &cancel));
    match (tried, desk.trial.remove()) {
        (Ok(()), removed) => removed,
        (Err(error), Ok(())) => Err(error),
        (Err(error), Err(left)) => Err(error.context(format!("{left:#}, after the failure below"))),
    }
}

/// The error for people: after Ctrl-C, the place where the work failed is of no interest.
fn stopped(error: anyhow::Error, cancel: &Cancel) -> anyhow::Error {
    if cancel.is_cancelled() {
        Failure::new(Class::Cancelled, "stopped by Ctrl-C before the trial was up").into()
    } else {
        error
    }
}

/// How building and installing ended, where it did not fail.
#[derive(PartialEq, Eq)]
enum Round {
    Up,
    /// An input changed while the installer waited, and it has put things back.
    Outdated,
}

struct Desk<'a> {
    trial: Trial,
    watch: bool,
    /// The inputs of the last build.
    seen: Inputs,
    /// Notes that were shown.
    said: BTreeSet<String>,
    output: Output,
    progress: &'a TerminalProgress,
    cancel: &'a Cancel,
}

impl Desk<'_> {
    /// One trial, in the foreground.
    fn once(&mut self, check: bool) -> Result<()> {
        self.round()?;
        if check || self.cancel.is_cancelled() {
            return Ok(());
        }
        self.say_where();
        let mut logs = self.trial.follow()?;
        // It ends with the services, or when somebody asks for it.
        while logs.try_wait()?.is_none() {
            if self.cancel.is_cancelled() {
                let _ = logs.kill();
                let _ = logs.wait();
                break;
            }
            std::thread::sleep(TICK);
        }
        Ok(())
    }

    /// One trial after the other, until somebody ends it.
    fn watch(&mut self) -> Result<()> {
        let mut followers = Followers::default();
        let mut was_up = false;
        loop {
            match self.round() {
                Ok(Round::Up) => {
                    was_up = true;
                    self.say_where();
                }
                Ok(Round::Outdated) => {
                    self.say("an input has changed meanwhile: building again");
                    continue;
                }
                // What ran before is what there is to end.
                Err(_) if self.cancel.is_cancelled() && was_up => {
                    self.progress.fail_open("stopped");
                    return Ok(());
                }
                Err(error) if self.cancel.is_cancelled() => return Err(error),
                // The next change may mend it; what ran before runs on.
                Err(error) => {
                    self.progress.fail_open("failed");
                    ferry_terminal::report(&error, self.output);
                }
            }
            if was_up {
                self.trial.follow_on(&mut followers)?;
            }
            if !self.wait_for_a_change(&followers) {
                return Ok(());
            }
            self.say("an input has changed: building again");
        }
    }

    /// Shows what comes until an input changes; false when the end is asked for.
    fn wait_for_a_change(&self, followers: &Followers) -> bool {
        let mut looked = Instant::now();
        loop {
            followers.lines().for_each(|line| self.output.line(&line));
            if self.cancel.is_cancelled() {
                return false;
            }
            std::thread::sleep(TICK);
            if looked.elapsed() >= PACE {
                if self.trial.inputs() != self.seen {
                    return true;
                }
                looked = Instant::now();
            }
        }
    }

    /// Builds and installs.
    fn round(&mut self) -> Result<Round> {
        self.settle();
        self.trial.build(self.progress, self.cancel)?;
        for note in self.trial.notes() {
            if self.said.insert(note.clone()) {
                self.output.remark("note", note);
            }
        }
        let mut looked = Instant::now();
        let mut outdated = false;
        let status = self.trial.install(&mut || {
            if self.watch && looked.elapsed() >= PACE {
                outdated = self.trial.inputs() != self.seen;
                looked = Instant::now();
            }
            outdated || self.cancel.is_cancelled()
        })?;
        if status.success() {
            return Ok(Round::Up);
        }
        if outdated && !self.cancel.is_cancelled() {
            return Ok(Round::Outdated);
        }
        let class = Class::of_code(status.code().unwrap_or_default());
        Err(Failure::new(class, "the bundle could not be installed here; the installer's message is above")
            .into())
    }

    /// Remembers the inputs as they are, in the end those that nobody is writing any more.
    fn settle(&mut self) {
        for _ in 0..MOST_LOOKS {
            let before = std::mem::replace(&mut self.seen, self.trial.inputs());
            if before == self.seen || self.cancel.is_cancelled() {
                return;
            }
            std::thread::sleep(PACE);
        }
    }

    fn say_where(&self) {
        let paint = self.output.for_stderr();
        for port in self.trial.published() {
            self.say(&format!(
                "  {:<10} 127.0.0.1:{} ({})",
                port.service,
                paint.bold(&port.port.to_string()),
                port.target
            ));
        }
        self.say("Ctrl-C stops and removes everything");
    }

    /// A line for the person in front of it.
    fn say(&self, line: &str) {
        match self.output.json {
            true => self.output.remark("note", line.trim_start()),
            false => self.output.error_line(line),
        }
    }
}
