//! `fz reconfigure` and `fz secret`: new answers for the running release, without the stick.

use super::services::product_of;
use super::{Common, Session, Which, answers, confirm, ending, wizard};
use crate::host::answers as host_answers;
use crate::host::random;
use crate::host::state::State;
use crate::host::{ProductDir, Root};
use crate::install::plan::Plan;
use crate::install::{self, Ask, Ending, Questions, Request, Source};
use crate::trust::Confirmation;
use anyhow::{Context, Result};
use bundle_format::signature::Fingerprint;
use clap::{Args, Subcommand};
use ferry_terminal::confined::CONFINED;
use ferry_terminal::{Class, Failure, Output, human};
use manifest_schema::limits;
use manifest_schema::manifest::{Given, Manifest, VariableKind, in_order};
use manifest_schema::site::Values;
use serde::Serialize;
use std::cell::RefCell;
use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use tokio_util::sync::CancellationToken;

/// More than any key or certificate chain needs.
const MAX_SECRET_BYTES: u64 = 64 << 10;

#[derive(Args)]
pub(super) struct ReconfigureArgs {
    #[command(flatten)]
    which: Which,
    /// Answer to a variable of the site (may be repeated)
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// File with answers, YAML
    #[arg(long, value_name = "FILE")]
    values: Option<PathBuf>,
    /// Show what will change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Deadline of each service, instead of the one that its health check gives
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: Option<u64>,
}

#[derive(Subcommand)]
pub(super) enum SecretCommand {
    /// List the secrets of the running release, without their values
    List(Which),
    /// Rotate a secret, and restart the services that use it
    #[command(
        after_help = "Examples:\n  fz secret rotate db_password                        a new generated one\n  fz secret rotate api_key --stdin --yes < key.txt    one that is given"
    )]
    Rotate {
        /// The variable
        name: String,
        #[command(flatten)]
        which: Which,
        /// Read the value from standard input, without the end of its last line
        #[arg(long)]
        stdin: bool,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// A change of the answers of the running release.
struct Task {
    product: ProductDir,
    request: Request,
    yes: bool,
    asks: bool,
    /// It rotates one secret.
    rotates: bool,
}

pub(super) async fn reconfigure(args: ReconfigureArgs, session: &Session<'_>) -> Result<()> {
    let Session { common, output, progress: _, cancel: _ } = *session;
    let given = answers::read(std::env::vars_os(), args.values.as_deref(), &args.set)?;
    let mut task = task(&args.which, given, common)?;
    // With no answer on the command line a person is asked for all of them, at a terminal.
    task.asks = args.set.is_empty() && args.values.is_none() && !args.yes && wizard::is_possible(output);
    task.request.patience = super::patience(args.timeout);
    task.request.dry_run = args.dry_run;
    task.yes = args.yes;
    carry_out(task, session).await
}

fn task(which: &Which, values: Given, common: &Common) -> Result<Task> {
    let (name, product) = product_of(which, common)?;
    let state = State::load(&product)?;
    let Some(current) = &state.current else {
        return Err(Failure::new(Class::Preflight, format!("{name} is not installed"))
            .hint("install its bundle first")
            .into());
    };
    let bundle = product.retained_bundle(&current.release);
    if !bundle.is_file() {
        let fact = format!("the bundle of {} is not retained on this host", current.release);
        return Err(Failure::new(Class::Preflight, fact)
            .hint("install the bundle itself with the new answers: `./install --set NAME=VALUE site.fz`")
            .into());
    }
    let request =
        Request { values, ..Request::new(bundle, Source::Host, common.root(), common.engine()?, &CONFINED) };
    Ok(Task { product, request, yes: false, asks: false, rotates: false })
}

/// Shows what will change, asks, and does it.
async fn carry_out(task: Task, session: &Session<'_>) -> Result<()> {
    let Session { common, output, progress, cancel } = *session;
    let mut task = task;
    if !task.request.dry_run {
        // A change under way would make the plan that is shown wrong.
        drop(task.product.lock()?);
    }
    let look = Request { dry_run: true, ..task.request.clone() };
    let nobody = |_: &[Fingerprint]| Ok(Confirmation::NobodyThere);
    let answers = RefCell::new(Values::new());
    let again = RefCell::new(Vec::new());
    let ask = |questions: &Questions<'_>| {
        let answered = wizard::ask(questions, output, cancel, true, &again)?;
        answers.borrow_mut().clone_from(&answered);
        Ok(answered)
    };
    let ask: Option<Ask<'_>> = if task.asks { Some(&ask) } else { None };
    let planned = install::install(&look, &nobody, ask, progress, cancel).await?;
    for (name, value) in answers.take() {
        task.request.values.set(&name, value, "the answers");
    }
    let Ending::Planned { plan } = planned else { return ending::report(planned, common, output) };
    if task.request.dry_run {
        if output.json {
            return ending::report(Ending::Planned { plan }, common, output);
        }
        show(&plan, output);
        output.line("nothing was changed (--dry-run)");
        return Ok(());
    }
    // Answers that change nothing today are remembered all the same.
    let changes = !(plan.is_empty(&State::load(&task.product)?) && plan.files.is_empty());
    if changes && !output.json {
        show(&plan, output);
    }
    if changes && !task.yes && !agrees(&task, output, cancel).await? {
        let again = again.take();
        if !again.is_empty() {
            progress.warn(&format!("to give the same answers again, add {}", again.join(" ")));
        }
        return Err(Failure::new(Class::Cancelled, "nothing was changed").into());
    }
    let done = install::install(&task.request, &nobody, None, progress, cancel).await?;
    ending::report(done, common, output)
}

fn show(plan: &Plan, output: Output) {
    for file in &plan.files {
        match &file.diff {
            Some(diff) => output.line(human::printable_lines(diff).trim_end_matches('\n')),
            None => output.line(&format!("{}: changed", human::printable(&file.path))),
        }
    }
    output.line(plan.to_string().trim_end());
}

async fn agrees(task: &Task, output: Output, cancel: &CancellationToken) -> Result<bool> {
    if !std::io::stdin().is_terminal() || output.json {
        let hint = match task.rotates {
            true => "the changes are listed above; run it again with --yes",
            false => "check with --dry-run, then run it again with --yes",
        };
        return Err(Failure::new(Class::Usage, "new answers need a confirmation").hint(hint).into());
    }
    confirm::yes("Continue? [y/N] ", cancel).await
}

/// One secret of a product.
#[derive(Serialize)]
struct Secret {
    name: String,
    /// It has a value.
    set: bool,
    /// Characters of a generated one.
    generated: Option<usize>,
    /// The question for one that is given.
    prompt: Option<String>,
}

pub(super) async fn secret(command: SecretCommand, session: &Session<'_>) -> Result<()> {
    let Session { common, output, progress: _, cancel } = *session;
    match command {
        SecretCommand::List(which) => list(&which, common, output),
        SecretCommand::Rotate { name, which, stdin, yes } => {
            let mut task = task(&which, Given::default(), common)?;
            let manifest = manifest(&task)?;
            let length = match manifest.variables.get(&name) {
                Some(variable) if variable.kind == VariableKind::Secret => variable.generate,
                _ => {
                    let fact = format!("{} is no secret of this product", human::printable(&name));
                    return Err(Failure::new(Class::Usage, fact).hint("`fz secret list` shows them").into());
                }
            };
            let value = match length {
                _ if stdin => given_secret()?,
                Some(length) => random::name(length),
                None if wizard::is_possible(output) => {
                    let asked = wizard::ask_one(&name, &manifest, output, cancel)?;
                    asked.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
                }
                None => {
                    let fact = format!("{name} is not generated: give its value");
                    let hint = format!("`fz secret rotate {name} --stdin --yes < FILE`");
                    return Err(Failure::new(Class::Usage, fact).hint(hint).into());
                }
            };
            task.request.values.set(&name, value.into(), "fz secret rotate");
            task.yes = yes;
            task.rotates = true;
            carry_out(task, session).await
        }
    }
}

/// The secret on standard input, without the end of its last line.
fn given_secret() -> Result<String> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(MAX_SECRET_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_SECRET_BYTES {
        let fact = format!("the secret on standard input is longer than {MAX_SECRET_BYTES} bytes");
        return Err(Failure::new(Class::Input, fact).into());
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::new(Class::Input, "the secret on standard input is not UTF-8 text"))?;
    let text = text.strip_suffix('\n').map_or(&*text, |line| line.strip_suffix('\r').unwrap_or(line));
    if text.is_empty() {
        return Err(Failure::new(Class::Input, "there is no secret on standard input").into());
    }
    Ok(text.to_owned())
}

fn manifest(task: &Task) -> Result<Manifest> {
    let root = Root::new(&task.request.root)?;
    let opened =
        install::open(&task.request.bundle, &task.request.trust, &root, &|_| Ok(Confirmation::NobodyThere))?;
    let release = opened.bundle.release();
    let bytes = opened.bundle.small_file(&release.manifest, limits::MAX_YAML_BYTES as u64)?;
    Ok(Manifest::parse("ferry.yaml", &String::from_utf8(bytes).context("ferry.yaml is not UTF-8 text")?)?)
}

fn list(which: &Which, common: &Common, output: Output) -> Result<()> {
    let task = task(which, Given::default(), common)?;
    let manifest = manifest(&task)?;
    let values = host_answers::remembered(&task.product, &manifest, false)?;
    let secrets: Vec<Secret> = in_order(&manifest.variables)
        .into_iter()
        .filter(|(_, variable)| variable.kind == VariableKind::Secret)
        .map(|(name, variable)| Secret {
            name: name.clone(),
            set: values.get(name).is_some_and(|value| !value.is_null()),
            generated: variable.generate,
            prompt: variable.prompt.clone(),
        })
        .collect();
    if output.json {
        output.line(&serde_json::to_string_pretty(&secrets)?);
        return Ok(());
    }
    if secrets.is_empty() {
        output.line("no variable of this product is a secret");
    }
    for secret in secrets {
        let value = if secret.set { "set" } else { "not set" };
        let origin = match secret.generated {
            Some(length) => format!("generated, {length} characters"),
            None => secret.prompt.map(|prompt| human::printable(&prompt)).unwrap_or_default(),
        };
        output.line(&format!("  {:<20} {value:<8} {origin}", human::printable(&secret.name)));
    }
    Ok(())
}
