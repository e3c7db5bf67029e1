//! The command line. Every sentence that the program prints is written here or in the errors themselves.

mod answers;
mod confirm;
mod ending;
mod reconfigure;
mod services;
mod signals;
mod wizard;

use crate::engine::{self, EngineAddress, EngineError};
use crate::host::{DEFAULT_ROOT, Root};
use crate::install::verify;
use crate::install::{self, Ask, Questions, Request, Source};
use crate::services::health::Patience;
use crate::trust::Confirmation;
use anyhow::Result;
use bundle_format::signature::{Fingerprint, parse_fingerprint};
use clap::{Args, CommandFactory, Parser, Subcommand};
use confirm::confirm;
use ferry_terminal::command_line;
use ferry_terminal::confined::{self, CONFINED};
use ferry_terminal::{Class, Failure, Output, TerminalProgress, human};
use manifest_schema::ProjectName;
use manifest_schema::progress::Progress;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Installs a Ferry bundle on a host without a network, and keeps it running.
#[derive(Parser)]
#[command(
    name = "install",
    version,
    max_term_width = 100,
    after_help = "Examples:
  ./install site.fz                          verify, import, start, wait until healthy
  ./install --trust SHA256:… site.fz         the first time, with the fingerprint of the delivery note
  ./install --dry-run site.fz                show the plan, change nothing
  ./install --no-input --set a=b site.fz     from a script: asks nothing
  ./install verify site.fz                   check every byte, change nothing
  ./install status                           how the services are doing

Exit codes: 0 done, 1 other, 2 command line, 3 mistake in a value, 4 bundle damaged,
5 not trusted, 6 engine, 7 this host is not ready (nothing was changed), 8 a service did not
become healthy (the release before it runs again), 9 files, 130 stopped by Ctrl-C"
)]
struct Cli {
    #[command(flatten)]
    install: InstallArgs,
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Args, Clone)]
struct Common {
    /// Ferry's folder on this host [default: /var/lib/ferry, or the folder whose bin/fz this program is]
    #[arg(long, global = true, env = "FERRY_ROOT", value_name = "DIR")]
    root: Option<PathBuf>,
    /// The engine: unix:///path or tcp://127.0.0.1:2375 [default: Docker's socket; where there is none, Podman's]
    #[arg(long, global = true, env = "DOCKER_HOST", value_name = "HOST")]
    engine: Option<String>,
    /// Print results as JSON on standard output, progress as JSON lines on standard error
    #[arg(long, global = true)]
    json: bool,
    /// Print no progress
    #[arg(long, short, global = true)]
    quiet: bool,
}

impl Common {
    /// As given; else the folder that keeps this program as `bin/fz`; else the usual one.
    fn root(&self) -> PathBuf {
        let resident = || {
            let program = std::env::current_exe().ok()?;
            let folder = program.parent()?;
            let is_fz = program.file_name()? == "fz" && folder.file_name()? == "bin";
            is_fz.then(|| folder.parent().map(Path::to_path_buf)).flatten()
        };
        self.root.clone().or_else(resident).unwrap_or_else(|| PathBuf::from(DEFAULT_ROOT))
    }
}

impl Common {
    /// The engine that is named. An empty `DOCKER_HOST` names none.
    fn engine(&self) -> Result<Option<EngineAddress>> {
        let named = self.engine.as_deref().filter(|named| !named.is_empty());
        Ok(named.map(str::parse).transpose().map_err(EngineError::into_failure)?)
    }
}

/// The inputs of every command beside its own arguments.
#[derive(Clone, Copy)]
struct Session<'a> {
    common: &'a Common,
    output: Output,
    progress: &'a Arc<dyn Progress>,
    cancel: &'a CancellationToken,
}

#[derive(Args)]
struct InstallArgs {
    /// The bundle
    bundle: Option<PathBuf>,
    /// Trust the key with this fingerprint, from the delivery note, and pin it (may be repeated)
    #[arg(long, value_name = "SHA256:…", value_parser = parse_fingerprint)]
    trust: Vec<Fingerprint>,
    /// Show the plan, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Answer to a variable of the site (may be repeated)
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// File with answers, YAML
    #[arg(long, value_name = "FILE")]
    values: Option<PathBuf>,
    /// Never ask: fail, and list what is missing
    #[arg(long)]
    no_input: bool,
    /// Also install a version that is older than the running one, or may be
    #[arg(long)]
    allow_downgrade: bool,
    /// Deadline of each service, instead of the one that its health check gives
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: Option<u64>,
    /// Make this program the resident fz, also where another build of it is resident
    #[arg(long)]
    replace_fz: bool,
    /// Restart the engine where nothing else helps: it was killed, and holds a port since then
    #[arg(
        long,
        value_name = "COMMAND",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "systemctl restart docker",
        value_parser = clap::builder::NonEmptyStringValueParser::new()
    )]
    restart_engine: Option<String>,
}

impl InstallArgs {
    /// The first argument that only an install understands: no command may ignore a `--dry-run`.
    fn given(&self) -> Option<String> {
        let Self {
            bundle,
            trust,
            dry_run,
            set,
            values,
            no_input,
            allow_downgrade,
            timeout,
            replace_fz,
            restart_engine,
        } = self;
        let flags = [
            ("--trust", !trust.is_empty()),
            ("--dry-run", *dry_run),
            ("--set", !set.is_empty()),
            ("--values", values.is_some()),
            ("--no-input", *no_input),
            ("--allow-downgrade", *allow_downgrade),
            ("--timeout", timeout.is_some()),
            ("--replace-fz", *replace_fz),
            ("--restart-engine", restart_engine.is_some()),
        ];
        let flag = flags.iter().find(|(_, given)| *given).map(|(name, _)| (*name).to_owned());
        bundle.as_ref().map(|bundle| bundle.display().to_string()).or(flag)
    }
}

impl InstallArgs {
    /// The checked request.
    fn request(self, common: &Common) -> Result<Request> {
        let Some(bundle) = self.bundle else {
            return Err(Failure::new(Class::Usage, "no bundle was named")
                .hint("run `./install site.fz`, or `./install --help`")
                .into());
        };
        if let Some(unknown) = unknown_command(&bundle) {
            return Err(unknown.into());
        }
        Ok(Request {
            trust: self.trust,
            dry_run: self.dry_run,
            values: answers::read(std::env::vars_os(), self.values.as_deref(), &self.set)?,
            allow_downgrade: self.allow_downgrade,
            patience: patience(self.timeout),
            replace_fz: self.replace_fz,
            restart_engine: self.restart_engine,
            ..Request::new(bundle, Source::Stick, common.root(), common.engine()?, &CONFINED)
        })
    }
}

/// A word that is no file and can be none that somebody meant.
fn unknown_command(bundle: &Path) -> Option<Failure> {
    let word = bundle.to_str().filter(|word| !word.contains(['/', '.']) && !bundle.exists())?;
    let commands = Cli::command();
    let names: Vec<&str> = commands.get_subcommands().map(clap::Command::get_name).collect();
    let hint = match manifest_schema::diagnostic::nearest(word, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the commands are {}; a bundle is named like `site.fz`", names.join(", ")),
    };
    let fact = format!("there is no command `{}`, and no file of that name", human::printable(word));
    Some(Failure::new(Class::Usage, fact).hint(hint))
}

/// How long to wait for services, where `--timeout` gives seconds.
fn patience(timeout: Option<u64>) -> Patience {
    Patience { timeout: timeout.map(Duration::from_secs), ..Patience::default() }
}

#[derive(Subcommand)]
enum Command {
    /// Check every byte of a bundle and its signature; change nothing
    #[command(after_help = "Example:\n  ./install verify --trust SHA256:… site.fz")]
    Verify {
        /// The bundle
        bundle: PathBuf,
        /// Trust the key with this fingerprint
        #[arg(long, value_name = "SHA256:…", value_parser = parse_fingerprint)]
        trust: Vec<Fingerprint>,
    },
    /// Show how the services are doing
    #[command(
        after_help = "Examples:\n  fz status --json\n  fz status --check > /dev/null || logger the plant needs somebody"
    )]
    Status {
        #[command(flatten)]
        which: Which,
        /// Exit with 8 unless all services run and none is unhealthy, for monitoring
        #[arg(long)]
        check: bool,
    },
    /// Stop all services, in order
    #[command(after_help = "Example:\n  fz stop && fz start")]
    Stop(Which),
    /// Start all services, in order, and wait until they are healthy
    Start(Which),
    /// Show the services' output
    #[command(after_help = "Examples:\n  fz logs\n  fz logs --follow web")]
    Logs {
        /// One service only
        service: Option<String>,
        #[command(flatten)]
        which: Which,
        /// Follow new lines
        #[arg(long, short)]
        follow: bool,
        /// Last lines to show of each service, or `all`
        #[arg(long, default_value = "100", value_parser = tail)]
        tail: Tail,
    },
    /// Change the answers of the running release: shows the changes, restarts only the services they touch
    #[command(after_help = "Examples:
  fz reconfigure                                 asks, with the present answers in brackets
  fz reconfigure --set web_port=8081 --dry-run
  fz reconfigure --values site.yaml --yes

Where a service does not come up with the new answers, the old ones come back.")]
    Reconfigure(reconfigure::ReconfigureArgs),
    /// List and rotate secrets
    #[command(subcommand)]
    Secret(reconfigure::SecretCommand),
    /// Remove the services, networks, images and files; data volumes stay unless --volumes is given
    #[command(after_help = "Examples:\n  fz uninstall\n  fz uninstall --volumes --yes")]
    Uninstall {
        #[command(flatten)]
        which: Which,
        /// Also remove the volumes, with all data
        #[arg(long)]
        volumes: bool,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Args)]
struct Which {
    /// The product, where more than one is installed
    #[arg(long, value_name = "NAME")]
    product: Option<ProjectName>,
}

/// Runs the program.
#[must_use]
pub fn main() -> std::process::ExitCode {
    let (mut input, mut output) = (std::io::stdin(), std::io::stdout());
    if let Some(code) = confined::serve(std::env::args_os(), &mut input, &mut output) {
        return code;
    }
    let cli: Cli = match command_line::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let output = Output::new(cli.common.json, cli.common.quiet);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(run(cli, output));
            // Threads that still read the bundle end with the process.
            runtime.shutdown_background();
            result
        }
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ferry_terminal::done(output),
        Err(error) => ferry_terminal::exit_with(&engine::classed(error), output),
    }
}

async fn run(cli: Cli, output: Output) -> Result<()> {
    let terminal = Arc::new(TerminalProgress::new(output));
    let progress: Arc<dyn Progress> = Arc::<TerminalProgress>::clone(&terminal);
    let result = run_with(cli, output, &progress).await;
    if result.is_err() {
        terminal.fail_open("failed");
    }
    result
}

async fn run_with(cli: Cli, output: Output, progress: &Arc<dyn Progress>) -> Result<()> {
    let cancel = signals::cancel_on_signal()?;
    let session = Session { common: &cli.common, output, progress, cancel: &cancel };
    if let (Some(given), Some(_)) = (cli.install.given(), &cli.command) {
        return Err(Failure::new(Class::Usage, format!("{given} precedes a command"))
            .hint("either install a bundle or give one command; see `--help`")
            .into());
    }
    match cli.command {
        None => run_install(cli.install, &session).await,
        Some(Command::Verify { bundle, trust }) => run_verify(bundle, trust, &session).await,
        Some(Command::Status { which, check }) => services::status(&which, check, &session).await,
        Some(Command::Stop(which)) => services::stop(&which, &session).await,
        Some(Command::Start(which)) => services::start(&which, &session).await,
        Some(Command::Logs { service, which, follow, tail }) => {
            services::logs(&which, service.as_deref(), (tail.0, follow), &session).await
        }
        Some(Command::Reconfigure(args)) => reconfigure::reconfigure(args, &session).await,
        Some(Command::Secret(command)) => reconfigure::secret(command, &session).await,
        Some(Command::Uninstall { which, volumes, yes }) => {
            services::uninstall(&which, volumes, yes, &session).await
        }
    }
}

/// Lines to begin with; `None`: all.
#[derive(Clone, Copy)]
struct Tail(Option<usize>);

fn tail(text: &str) -> Result<Tail, String> {
    match text {
        "all" => Ok(Tail(None)),
        text => {
            text.parse().map(|lines| Tail(Some(lines))).map_err(|_| "a number of lines, or `all`".to_owned())
        }
    }
}

async fn run_install(args: InstallArgs, session: &Session<'_>) -> Result<()> {
    let Session { common, output, progress, cancel } = *session;
    let possible = wizard::is_possible(output) && !args.no_input;
    let mut request = args.request(common)?;
    let confirm = |found: &[Fingerprint]| {
        if possible { confirm(found, output, cancel) } else { Ok(Confirmation::NobodyThere) }
    };
    let again = RefCell::new(Vec::new());
    let ask = |questions: &Questions<'_>| wizard::ask(questions, output, cancel, false, &again);
    // A dry run changes nothing, and so remembers nothing: answers would be typed for no use.
    let ask: Option<Ask<'_>> = if possible && !request.dry_run { Some(&ask) } else { None };
    let mut ending = install::install(&request, &confirm, ask, progress, cancel).await;
    if let Err(error) = &ending
        && possible
        && let Some(fact) = install::unconfirmed_downgrade(error)
    {
        let prompt =
            format!("{fact}.\nData that a newer version has changed stays as it is. Install it? [y/N] ");
        if !confirm::yes(&prompt, cancel).await? {
            return Err(Failure::new(Class::Preflight, "nothing was changed").into());
        }
        request.allow_downgrade = true;
        ending = install::install(&request, &confirm, ask, progress, cancel).await;
    }
    if let Err(error) = &ending
        && possible
        && !request.dry_run
        && request.restart_engine.is_none()
        && install::needs_engine_restart(error)
        && let Some(command) = service_manager()
    {
        ferry_terminal::report(error, output);
        let prompt = format!("Run `{command}` now? All containers of this host stop for a moment. [y/N] ");
        if !confirm::yes(&prompt, cancel).await? {
            return Err(Failure::new(
                Class::Preflight,
                "nothing was changed, and the engine was not restarted",
            )
            .into());
        }
        request.restart_engine = Some(command);
        ending = install::install(&request, &confirm, ask, progress, cancel).await;
    }
    let again = again.take();
    if ending.is_err() && !again.is_empty() {
        progress.warn(&format!("to give the same answers again, add {}", again.join(" ")));
    }
    let ending = ending?;
    ending::report(ending, common, output)
}

/// The command that restarts Docker on a host whose service manager runs it (sd_booted(3)).
fn service_manager() -> Option<String> {
    let booted = Path::new("/run/systemd/system").is_dir();
    booted.then(|| "systemctl restart docker".to_owned())
}

async fn run_verify(bundle: PathBuf, trust: Vec<Fingerprint>, session: &Session<'_>) -> Result<()> {
    let Session { common, output, progress, cancel } = *session;
    let root = Root::new(&common.root())?;
    let token = cancel.clone();
    let progress = Arc::clone(progress);
    let report = tokio::task::spawn_blocking(move || {
        let possible = wizard::is_possible(output);
        let confirm = |found: &[Fingerprint]| {
            if possible { confirm(found, output, &token) } else { Ok(Confirmation::NobodyThere) }
        };
        verify::verify(&bundle, &trust, &root, &confirm, progress.as_ref(), &token)
    })
    .await??;
    if output.json {
        output.line(&serde_json::to_string_pretty(&report)?);
    } else {
        output.line(&format!(
            "{} {} {}: all {} are as signed by {}",
            output.green("✓"),
            report.name,
            human::printable(&report.version),
            human::bytes(report.file_bytes),
            report.signed_by.join(", ")
        ));
    }
    Ok(())
}
