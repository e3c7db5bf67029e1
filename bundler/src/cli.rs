//! The command line: parsed by clap, checked into requests, run, and reported.

mod site;
mod trial;

use crate::cancel::Cancel;
use crate::signing::{self, SigningKey};
use crate::sources::ResolveOptions;
use crate::verbs::build::{self, Request, Summary};
use crate::verbs::{init, inspect, verify};
use anyhow::{Context, Result};
use bundle_format::{FormatError, PackOptions};
use clap::{Args, Parser, Subcommand};
use ferry_terminal::command_line;
use ferry_terminal::confined::{self, CONFINED};
use ferry_terminal::{Class, Failure, Output, TerminalProgress, human, whole_file};
use std::fs::File;
use std::path::PathBuf;

/// Carries software across an air gap.
#[derive(Parser)]
#[command(
    name = "ferry",
    version,
    max_term_width = 100,
    after_help = "Examples:
  ferry init                                 write a commented ferry.yaml beside compose.yaml
  ferry keygen release                       make a signing key: release and release.pub
  ferry lint                                 report mistakes, and give advice
  ferry render --values sites/north.yaml     show the Compose file and configs of this site
  ferry try                                  run it here, and remove all of it afterwards
  ferry build --key release -o site.fz       pack everything into one signed file
  ferry inspect site.fz                      list its contents
  ferry verify site.fz                       check every byte against the signature

Exit codes: 0 done, 1 other, 2 command line, 3 mistake in an input, 4 bundle damaged,
5 not trusted, 6 engine, 9 files, 130 stopped by Ctrl-C; with `try`
and `watch` also 7 host not ready, 8 service not healthy"
)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct Common {
    /// Print results as JSON on standard output, progress as JSON lines on standard error
    #[arg(long, global = true)]
    json: bool,
    /// Print no progress
    #[arg(long, short, global = true)]
    quiet: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Write a commented ferry.yaml for a folder that has a compose.yaml
    #[command(after_help = "Example:\n  cd my-site && ferry init")]
    Init {
        /// The folder
        #[arg(default_value = ".")]
        folder: PathBuf,
    },
    /// Make an OpenSSH Ed25519 key that signs bundles
    #[command(
        after_help = "Example:\n  ferry keygen release\n  ferry build --key release\n\nThe same as `ssh-keygen -t ed25519`; existing keys work as well."
    )]
    Keygen {
        /// The private key file; the public key goes to FILE.pub
        #[arg(default_value = "ferry-release")]
        file: PathBuf,
        /// Comment in the key
        #[arg(long, default_value = "ferry release key")]
        comment: String,
        /// Protect the key with a passphrase (asked for, or from FERRY_KEY_PASSPHRASE)
        #[arg(long)]
        passphrase: bool,
    },
    /// Show the Compose file and the configs of a site with these answers
    #[command(
        after_help = "Files that are carried unchanged (env files, secret files, bind mounts, artifacts) are not shown.

Examples:
  ferry render --values sites/north.yaml                  one file after another
  ferry render --values sites/north.yaml -o /tmp/north    write them into a folder
  ferry render --values sites/north.yaml --diff sites/south.yaml
  ferry render --set plant_name=ABC-1 --hostname plc-7"
    )]
    Render(site::RenderArgs),
    /// Build and install on this machine's engine, under another name, with free ports and throw-away volumes
    #[command(after_help = "Examples:
  ferry try                               logs in the foreground; Ctrl-C removes everything
  ferry try --check                       remove everything as soon as all is healthy: for CI
  ferry try --values sites/north.yaml

The installer `install` lies beside `ferry`, as on a stick.")]
    Try {
        #[command(flatten)]
        args: trial::TryArgs,
        /// Remove everything as soon as all is healthy
        #[arg(long)]
        check: bool,
    },
    /// Like `try`, and rebuild whenever a file or the ref of a git artifact changes
    #[command(after_help = "Example:\n  ferry watch --set plant_name=ABC-1")]
    Watch(trial::TryArgs),
    /// Report mistakes, and give advice on what runs badly on site
    #[command(after_help = "Example:\n  ferry lint --strict && ferry build --key release")]
    Lint(site::LintArgs),
    /// Print a JSON Schema, so that editors complete and check ferry.yaml and values files
    #[command(after_help = "Examples:
  ferry schema > ferry.schema.json
  ferry schema values > sites/values.schema.json

Put this at the top of ferry.yaml: # yaml-language-server: $schema=./ferry.schema.json")]
    Schema(site::SchemaArgs),
    /// Pack images, artifacts and configs into one signed bundle
    #[command(after_help = "Examples:
  ferry build --key release
  ferry build site/ --key release.pub -o /media/stick/site.fz     signs with the ssh-agent
  ferry build --key release --offline                             does not ask registries

Images are searched for in this order: the sources that ferry.yaml names, images/ beside it, the
local engine (DOCKER_HOST), the registry.")]
    Build(BuildArgs),
    /// List the contents of a bundle, from its head and manifest alone; also from a pipe
    #[command(
        after_help = "Examples:\n  ferry inspect site.fz\n  ssh depot cat site.fz | ferry inspect -\n  ferry inspect --json site.fz\n  ferry inspect --export-index site site.fz && \\\n    ssh-keygen -Y verify -f allowed_signers -I release -n ferry -s site.sig.0 < site.index"
    )]
    Inspect {
        /// The bundle; `-` reads standard input
        bundle: PathBuf,
        /// Also write the signed index to PREFIX.index and the signatures to PREFIX.sig.0, …
        #[arg(long, value_name = "PREFIX")]
        export_index: Option<PathBuf>,
    },
    /// Check every byte of a bundle and its signature
    #[command(
        after_help = "Examples:\n  ferry verify site.fz\n  ferry verify --trust SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU site.fz"
    )]
    Verify {
        /// The bundle
        bundle: PathBuf,
        /// Accept only a signature by the key with this fingerprint (repeatable)
        #[arg(long, value_name = "SHA256:…", value_parser = bundle_format::signature::parse_fingerprint)]
        trust: Vec<bundle_format::signature::Fingerprint>,
        /// Accept only a signature by a key in this OpenSSH allowed_signers file
        #[arg(long, value_name = "FILE", conflicts_with = "trust")]
        allowed_signers: Option<PathBuf>,
        /// Number of threads [default: all cores]
        #[arg(long)]
        threads: Option<usize>,
    },
}

#[derive(Args)]
struct BuildArgs {
    /// The manifest, or the folder that holds ferry.yaml
    #[arg(default_value = ".")]
    manifest: PathBuf,
    /// The bundle to write [default: <name>-<version>.fz]
    #[arg(long, short)]
    output: Option<PathBuf>,
    /// A key that signs: an OpenSSH private key, or a .pub file whose key the ssh-agent holds (repeatable)
    #[arg(long, short, env = "FERRY_KEY", value_name = "FILE")]
    key: Vec<PathBuf>,
    /// Compression level of zstd
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(i32).range(1..=19))]
    level: i32,
    /// Threads that compress [default: all cores]; the result is the same with any number
    #[arg(long)]
    threads: Option<usize>,
    /// Do not ask registries
    #[arg(long)]
    offline: bool,
    /// Fetch images again that earlier builds kept in images/
    #[arg(long)]
    refresh: bool,
    /// Address of the engine that holds images
    #[arg(long, env = "DOCKER_HOST", value_name = "HOST")]
    engine: Option<String>,
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
    match run(cli.command, output) {
        Ok(()) => ferry_terminal::done(output),
        Err(error) => ferry_terminal::exit_with(&error, output),
    }
}

fn run(command: Command, output: Output) -> Result<()> {
    let progress = TerminalProgress::new(output);
    let result = run_with(command, output, &progress);
    if let Err(error) = &result {
        let stopped = ferry_terminal::class_of(error) == Class::Cancelled;
        progress.fail_open(if stopped { "stopped" } else { "failed" });
    }
    result
}

fn run_with(command: Command, output: Output, progress: &TerminalProgress) -> Result<()> {
    match command {
        Command::Init { folder } => run_init(&folder, output),
        Command::Keygen { file, comment, passphrase } => run_keygen(&file, &comment, passphrase, output),
        Command::Try { args, check } => trial::run(&args, (check, false), output, progress),
        Command::Watch(args) => trial::run(&args, (false, true), output, progress),
        Command::Render(args) => site::run_render(&args, output),
        Command::Lint(args) => site::run_lint(&args, output),
        Command::Schema(args) => site::run_schema(&args, output),
        Command::Build(args) => {
            let request = build_request(args)?;
            let cancel = cancel_on_ctrl_c();
            match build::build(&request, progress, &cancel) {
                Ok(summary) => report_build(&summary, output),
                Err(_) if cancel.is_cancelled() => {
                    Err(Failure::new(Class::Cancelled, "stopped by Ctrl-C; nothing was written").into())
                }
                Err(error) => Err(error),
            }
        }
        Command::Inspect { bundle, export_index } => run_inspect(&bundle, export_index, output),
        Command::Verify { bundle, trust, allowed_signers, threads } => {
            let trust = verify::trust(&trust, allowed_signers.as_deref())?;
            let cancel = cancel_on_ctrl_c();
            let report = verify::verify(&bundle, &trust, all_cores(threads), progress, &cancel)?;
            if output.json {
                output.line(&serde_json::to_string_pretty(&report)?);
            } else {
                let named = if report.signer_was_named {
                    "trusted"
                } else {
                    "valid; compare it with the delivery note"
                };
                output.line(&format!(
                    "{} {} {}: all {} are as signed by {} ({named})",
                    output.green("✓"),
                    report.name,
                    human::printable(&report.version),
                    human::bytes(report.file_bytes),
                    report.signed_by.join(", ")
                ));
            }
            Ok(())
        }
    }
}

fn run_init(folder: &std::path::Path, output: Output) -> Result<()> {
    let init::Begun { written, mistakes, to_ignore } = init::init(folder)?;
    if output.json {
        let report = serde_json::json!({
            "written": written.first(),
            "files": written,
            "mistakes": mistakes,
            "gitignore": to_ignore,
        });
        output.line(&report.to_string());
        return Ok(());
    }
    for file in written {
        output.line(&format!("wrote {}", file.display()));
    }
    if !to_ignore.is_empty() {
        output.line(&format!("add to .gitignore: {}", to_ignore.join(" ")));
    }
    if let Some(mistakes) = mistakes {
        output.remark("warning", &format!("the Compose file needs changes first:\n{mistakes}"));
    }
    let there = match folder.to_str() {
        Some(".") => String::new(),
        _ => format!("cd {} && ", folder.display()),
    };
    output.line(&format!("next: {there}ferry keygen release && ferry build --key release"));
    Ok(())
}

fn run_keygen(file: &std::path::Path, comment: &str, passphrase: bool, output: Output) -> Result<()> {
    let passphrase = match (passphrase, std::env::var("FERRY_KEY_PASSPHRASE")) {
        (false, _) => None,
        (true, Ok(passphrase)) => Some(passphrase),
        (true, Err(_)) => {
            let first = rpassword::prompt_password("passphrase: ").context("reading the passphrase")?;
            let again = rpassword::prompt_password("again: ").context("reading the passphrase")?;
            if first != again {
                return Err(Failure::new(Class::Usage, "the passphrases differ; no key was written").into());
            }
            Some(first)
        }
    };
    let key = signing::keygen(file, comment, passphrase.as_deref())?;
    if output.json {
        output.line(&serde_json::to_string_pretty(&key)?);
    } else {
        output
            .line(&format!("private key   {}   keep it secret, and keep a copy", key.private_key.display()));
        output.line(&format!("public key    {}", key.public_key.display()));
        output.line(&format!("fingerprint   {}   put it on the delivery note", key.fingerprint));
    }
    Ok(())
}

fn build_request(args: BuildArgs) -> Result<Request> {
    if args.key.is_empty() {
        return Err(Failure::new(Class::Usage, "no key to sign with")
            .hint("make one with `ferry keygen release` and give it with `--key release` or FERRY_KEY")
            .into());
    }
    let ask = |shown: &str| {
        std::env::var("FERRY_KEY_PASSPHRASE")
            .ok()
            .or_else(|| rpassword::prompt_password(format!("passphrase of {shown}: ")).ok())
    };
    let keys = args.key.iter().map(|path| SigningKey::open(path, &ask)).collect::<Result<_>>()?;
    Ok(Request {
        manifest: args.manifest,
        output: args.output,
        keys,
        pack: PackOptions { level: args.level, threads: all_cores(args.threads) },
        resolve: ResolveOptions {
            // The manifest has it.
            unpacked_bytes: None,
            offline: args.offline,
            refresh: args.refresh,
            docker_host: args.engine,
            docker_config: docker_config(),
        },
        rename: None,
        renderer: &CONFINED,
    })
}

/// Where registry passwords lie.
fn docker_config() -> Option<PathBuf> {
    std::env::var_os("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker")))
}

fn report_build(summary: &Summary, output: Output) -> Result<()> {
    if output.json {
        output.line(&serde_json::to_string_pretty(summary)?);
        return Ok(());
    }
    let ratio = summary.content_bytes as f64 / summary.file_bytes.max(1) as f64;
    output.line(&format!(
        "{} {} {}\n  written    {}  ({}, {ratio:.2} times smaller)\n  packed     {} in {}, {}\n  shared     {} named by more than one image and stored once: {} saved\n  signed by  {}\n  id         {}",
        output.green("✓"),
        output.bold(&summary.name),
        human::printable(&summary.version),
        summary.output.display(),
        human::bytes(summary.file_bytes),
        human::count(summary.images, "image"),
        human::count(summary.layers, "layer"),
        human::count(summary.artifacts, "artifact"),
        human::count(summary.layer_references - summary.layers, "layer"),
        human::bytes(summary.shared_bytes),
        summary.signed_by.join(", "),
        summary.id,
    ));
    Ok(())
}

fn run_inspect(path: &std::path::Path, export: Option<PathBuf>, output: Output) -> Result<()> {
    let bundle = if path.as_os_str() == "-" {
        inspect::read(&mut std::io::stdin().lock(), &CONFINED)
    } else {
        let mut file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        let metadata = file.metadata().with_context(|| format!("opening {}", path.display()))?;
        inspect::read(&mut file, &CONFINED).and_then(|beginning| {
            // Only a file tells its length before its end.
            if metadata.is_file() {
                inspect::is_as_long_as_signed(&beginning, metadata.len())?;
            }
            Ok(beginning)
        })
    };
    let beginning = bundle.map_err(|error| match error.downcast::<inspect::Unread>() {
        Ok(unread) => {
            output.line(&if output.json { unread.to_json().to_string() } else { unread.to_tree() });
            verify::classified(FormatError::Needs(unread.missing), path)
        }
        Err(error) => match error.downcast() {
            Ok(error) => verify::classified(error, path),
            Err(error) => error,
        },
    })?;
    if let Some(prefix) = export {
        let bundle = &beginning.bundle;
        let write = |suffix: String, content: &[u8]| {
            let file = PathBuf::from(format!("{}{suffix}", prefix.display()));
            whole_file::write(&file, content, 0o644)
        };
        write(".index".to_owned(), bundle.index_bytes())?;
        for (number, signature) in bundle.signatures().iter().enumerate() {
            write(format!(".sig.{number}"), signature)?;
        }
    }
    if output.json {
        output.line(&serde_json::to_string_pretty(&inspect::to_json(&beginning))?);
    } else {
        output.line(&inspect::to_tree(&beginning, output));
    }
    Ok(())
}

fn all_cores(threads: Option<usize>) -> usize {
    threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1)
}

/// Ctrl-C or TERM ends the work in good order (temporary files removed); a second one at once.
fn cancel_on_ctrl_c() -> Cancel {
    let cancel = Cancel::default();
    let flag = cancel.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    std::thread::spawn(move || {
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            while asked_to_end().await.is_ok() {
                if flag.is_cancelled() {
                    std::process::exit(i32::from(Class::Cancelled.code()));
                }
                flag.cancel();
            }
        });
    });
    cancel
}

/// Waits for Ctrl-C, and for TERM where the system has it.
async fn asked_to_end() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
