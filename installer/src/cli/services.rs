//! Commands on what is installed: status, logs, stop, start, uninstall.

use super::{Common, Session, Which, confirm};
use crate::engine::Engine;
use crate::engine::containers::{Health, RunState};
use crate::host::answers::{self, Answers};
use crate::host::state::{Attempt, Phase, State};
use crate::host::{Lock, ProductDir, Root, strict};
use crate::installation::Installation;
use crate::operate::{self, LogsError, ServiceStatus, Uninstall};
use crate::release::site;
use crate::services::Replica;
use crate::services::ailment::{self, Ailment};
use crate::services::health::Patience;
use crate::services::replica::listed;
use crate::services::sequence::SequenceError;
use crate::services::switch::SwitchError;
use anyhow::Result;
use ferry_terminal::{Class, Failure, Output, human};
use futures_util::StreamExt;
use manifest_schema::ProjectName;
use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;

/// The product that is meant, and its folder.
pub(super) fn product_of(which: &Which, common: &Common) -> Result<(ProjectName, ProductDir)> {
    let root = Root::new(&common.root())?;
    let name = match &which.product {
        // Another project of this name may run here, which is nobody's business.
        Some(name) if !root.product(name).has_state() => {
            let fact = format!("{name} is not installed below {}", root.path().display());
            return Err(Failure::new(Class::Usage, fact)
                .hint("look for the name with `ls`, or name the folder with --root")
                .into());
        }
        Some(name) => name.clone(),
        None => {
            let mut products = root.products()?;
            match (products.pop(), products.is_empty()) {
                (Some(only), true) => only,
                (None, _) => {
                    let fact = format!("nothing is installed below {}", root.path().display());
                    return Err(Failure::new(Class::Usage, fact)
                        .hint("install a bundle first, or name the folder with --root")
                        .into());
                }
                (Some(last), false) => {
                    products.push(last);
                    let names: Vec<String> = products.iter().map(ToString::to_string).collect();
                    return Err(Failure::new(
                        Class::Usage,
                        format!("{} are installed here", names.join(" and ")),
                    )
                    .hint("say which with --product NAME")
                    .into());
                }
            }
        }
    };
    let product = root.product(&name);
    Ok((name, product))
}

/// The installation that is meant, to be changed: its lock is held, and nobody but root can write what it goes by.
fn held(installation: &Installation, common: &Common) -> Result<Lock> {
    let root = Root::new(&common.root())?;
    let faults = strict::faults(&root).into_iter().chain(strict::faults_of_product(&installation.product));
    let (facts, fixes): (Vec<String>, Vec<String>) = faults.map(|fault| (fault.fact, fault.fix)).unzip();
    if !facts.is_empty() {
        let fact = format!("{} is not root's alone: {}", installation.name, facts.join("; "));
        let failure = Failure::new(Class::Preflight, fact);
        return Err(failure.hint(format!("look into it, then {}", fixes.join(", "))).into());
    }
    installation.product.lock()
}

/// The installation that is meant.
async fn installation(which: &Which, session: &Session<'_>) -> Result<Installation> {
    let Session { common, progress, .. } = *session;
    let (name, _) = product_of(which, common)?;
    let root = Root::new(&common.root())?;
    Installation::open(&root, name, common.engine()?.as_ref(), Arc::clone(progress)).await
}

pub(super) async fn status(which: &Which, check: bool, session: &Session<'_>) -> Result<()> {
    let output = session.output;
    let Installation { name, product, engine, state, .. } = installation(which, session).await?;
    let services = operate::status(&engine, &name).await?;
    let changing = state.attempt.is_some() && product.is_locked();
    let wanted = state.current.as_ref().map(|current| current.replicas.clone()).unwrap_or_default();
    let missing = if changing { Vec::new() } else { missing(&wanted, &services) };
    let is_well = async || is_well(&engine, (&name, &state), &services, &missing).await;
    if output.json {
        let value = serde_json::json!({
            "product": name, "current": state.current, "services": services, "missing": missing,
            "interrupted": state.attempt.as_ref().filter(|_| !changing).map(|attempt| &attempt.release),
            "installing": state.attempt.as_ref().filter(|_| changing).map(|attempt| &attempt.release),
        });
        output.line(&serde_json::to_string_pretty(&value)?);
        return if check { is_well().await } else { Ok(()) };
    }
    if state.current.is_none() && state.attempt.is_none() && services.is_empty() {
        return Err(not_installed(&name).into());
    }
    match &state.current {
        Some(current) => output.line(&format!(
            "{} {} ({})",
            output.bold(name.as_str()),
            human::printable(&current.version),
            current.release
        )),
        None if state.attempt.is_some() => output.line(output.bold(name.as_str()).as_str()),
        None => output.line(&format!("{} is not installed", name.as_str())),
    }
    if let Some(attempt) = &state.attempt {
        output.line(&if changing {
            format!("an install of {} is under way", attempt.release)
        } else {
            format!("{}: {}", interrupted(&state, attempt), to_finish(&state, attempt))
        });
    }
    if services.is_empty() && missing.is_empty() {
        output.line("no containers");
    }
    for service in &services {
        let state = format!("{:?}", service.state).to_lowercase();
        let state = match service.exit_code {
            Some(code) if service.state != RunState::Running => format!("{state} ({code})"),
            _ => state,
        };
        let health =
            service.health.as_ref().map(|health| format!("{health:?}").to_lowercase()).unwrap_or_default();
        output.line(&format!(
            "  {:<16} {state:<14} {health:<10} {}",
            service.replica,
            human::printable(&service.ports.join(", "))
        ));
    }
    for replica in &missing {
        output.line(&format!(
            "  {replica:<16} missing        its container was removed: install the bundle again"
        ));
    }
    if check { is_well().await } else { Ok(()) }
}

fn not_installed(name: &ProjectName) -> Failure {
    Failure::new(Class::Usage, format!("{name} is not installed")).hint("install its bundle first")
}

/// For monitoring: whether anybody should look.
async fn is_well(
    engine: &Engine,
    (name, state): (&ProjectName, &State),
    services: &[ServiceStatus],
    missing: &[Replica],
) -> Result<()> {
    let current = state.current.as_ref().ok_or_else(|| not_installed(name))?;
    let mut ailments = ailment::of_project(engine, name.as_str(), &BTreeSet::new(), &current.done).await?;
    // A service that comes up is no matter for an alarm yet.
    ailments.retain(|_, ailment| *ailment != Ailment::Unproved);
    // Where the engine leaves checks to others, the one that was run just now counts.
    let unhealthy = services.iter().filter(|service| service.health == Some(Health::Unhealthy));
    let ill: BTreeSet<&Replica> =
        unhealthy.map(|service| &service.replica).chain(ailments.keys()).chain(missing).collect();
    let interrupted = state.attempt.is_some();
    if ill.is_empty() && !interrupted {
        return Ok(());
    }
    let fact = if ill.is_empty() {
        "a change is not finished".to_owned()
    } else {
        format!("not running or not healthy: {}", listed(ill))
    };
    Err(Failure::new(Class::Health, format!("{name}: {fact}")).hint("`fz logs` shows what they print").into())
}

/// The attempt changes only the answers of the running release, which needs no stick.
fn of_answers(state: &State, attempt: &Attempt) -> bool {
    state.current.as_ref().is_some_and(|current| current.release == attempt.release)
}

fn interrupted(state: &State, attempt: &Attempt) -> String {
    let what = if of_answers(state, attempt) { "a change of the answers to" } else { "an install of" };
    format!("{what} {} was interrupted", attempt.release)
}

fn to_finish(state: &State, attempt: &Attempt) -> &'static str {
    if of_answers(state, attempt) {
        "`fz reconfigure --yes` finishes it"
    } else {
        "run it again to finish it"
    }
}

/// Replicas that should have a container and have none.
fn missing(wanted: &BTreeSet<Replica>, found: &[ServiceStatus]) -> Vec<Replica> {
    let there: BTreeSet<&Replica> = found.iter().map(|service| &service.replica).collect();
    wanted.iter().filter(|replica| !there.contains(replica)).cloned().collect()
}

fn were(replicas: &[Replica]) -> String {
    match replicas {
        [one] => format!("the container of {one} was"),
        several => format!("the containers of {} were", listed(several)),
    }
}

/// Stops all services, in order.
pub(super) async fn stop(which: &Which, session: &Session<'_>) -> Result<()> {
    let Session { output, progress, cancel, .. } = *session;
    let installation = installation(which, session).await?;
    let _lock = held(&installation, session.common)?;
    let Installation { name, engine, .. } = installation;
    progress.begin("stopping", None);
    let stopped = operate::stop(&engine, &name, progress.as_ref(), cancel).await.map_err(of_sequence)?;
    progress.end(&human::count(stopped.len(), "service"));
    report(output, &serde_json::json!({ "stopped": stopped }), || format!("{name} is stopped"))
}

/// Starts all services, in order, and waits for them.
pub(super) async fn start(which: &Which, session: &Session<'_>) -> Result<()> {
    let Session { output, progress, cancel, .. } = *session;
    let installation = installation(which, session).await?;
    let _lock = held(&installation, session.common)?;
    let Installation { name, product, engine, .. } = installation;
    // What was recorded before the lock was held may be out of date.
    let state = State::load(&product)?;
    let Some(current) = state.current.as_ref().filter(|_| state.attempt.is_none()) else {
        let (fact, hint) = match &state.attempt {
            Some(attempt) => (interrupted(&state, attempt), to_finish(&state, attempt)),
            None => return Err(not_installed(&name).into()),
        };
        return Err(Failure::new(Class::Preflight, fact).hint(hint).into());
    };
    progress.begin("starting", None);
    let patience = Patience::default();
    let up = operate::start(&engine, &name, &current.done, &patience, progress.as_ref(), cancel).await;
    let up = up.map_err(of_sequence)?;
    let missing = missing(&current.replicas, &operate::status(&engine, &name).await?);
    if !missing.is_empty() {
        let fact = format!("{name} is incomplete: {} removed by somebody", were(&missing));
        return Err(Failure::new(Class::Preflight, fact).hint("install its bundle again").into());
    }
    let started = human::count(up.len(), "service");
    progress.end(if up.is_empty() { "all services run already" } else { &started });
    report(output, &serde_json::json!({ "started": up }), || format!("{name} runs"))
}

/// Shows the services' output: the last `tail` lines, and new ones when following.
pub(super) async fn logs(
    which: &Which,
    service: Option<&str>,
    (tail, follow): (Option<usize>, bool),
    session: &Session<'_>,
) -> Result<()> {
    let Session { output, cancel, .. } = *session;
    let Installation { name, engine, .. } = installation(which, session).await?;
    let lines = match operate::logs(&engine, &name, service, tail, follow).await {
        Err(error @ LogsError::NoService { .. }) => {
            let failure = Failure::new(Class::Usage, error.to_string());
            return Err(failure.hint("`status` lists the services").into());
        }
        Err(LogsError::Engine(error)) => return Err(error.into()),
        Ok(lines) => lines,
    };
    let mut lines = std::pin::pin!(lines);
    loop {
        let line = tokio::select! {
            line = lines.next() => line,
            () = cancel.cancelled() => return Ok(()),
        };
        let Some(line) = line else { return Ok(()) };
        let line = line?;
        if output.json {
            output.line(&serde_json::to_string(&line)?);
        } else {
            output.line(&format!("{:<12} | {}", line.service, crate::services::failure::clean(&line.text)));
        }
    }
}

pub(super) async fn uninstall(which: &Which, volumes: bool, yes: bool, session: &Session<'_>) -> Result<()> {
    let Session { output, progress, cancel, .. } = *session;
    if let Some(name) = &which.product {
        let product = Root::new(&session.common.root())?.product(name);
        if !product.has_state() {
            // That nothing is installed is told in any case.
            let _ = product.remove_remains();
        }
    }
    let installation = installation(which, session).await?;
    let _lock = held(&installation, session.common)?;
    let Installation { name, product, engine, .. } = installation;
    // What was recorded before the lock was held may be out of date.
    let state = State::load(&product)?;
    if !yes {
        let what = if volumes { "All its data is deleted, too" } else { "Its data volumes stay" };
        if !std::io::stdin().is_terminal() || output.json {
            return Err(Failure::new(Class::Usage, format!("uninstalling {name} needs a confirmation"))
                .hint("run it again with --yes")
                .into());
        }
        let prompt = format!("This removes {name}. {what}. Type its name to continue: ");
        let typed = confirm::typed(&prompt, cancel).await?;
        if typed.trim() != name.as_str() {
            return Err(Failure::new(Class::Cancelled, "nothing was removed").into());
        }
    }
    if cancel.is_cancelled() {
        return Err(Failure::new(Class::Cancelled, "nothing was removed").into());
    }
    let images = state.own_images().map(|(name, id)| (name.clone(), id)).collect();
    progress.begin("removing", None);
    let stopped = || {
        Failure::new(Class::Cancelled, format!("stopped by Ctrl-C; {name} is removed in part"))
            .hint("run the same command again to remove the rest, or install the bundle again")
    };
    let request = Uninstall { volumes, images };
    let removed = tokio::select! {
        biased;
        // Every step can be taken again, so leaving between two of them loses nothing.
        () = cancel.cancelled() => return Err(stopped().into()),
        removed = operate::uninstall(&engine, &name, &request, progress.as_ref()) => removed?,
    };
    if cancel.is_cancelled() {
        return Err(stopped().into());
    }
    let committed = state.attempt.as_ref().is_some_and(|attempt| attempt.phase == Phase::Committed);
    let answers = if committed { Answers::Adopt } else { Answers::KeepNew };
    answers::end_attempted(&product, answers, &state)?;
    let left_files = remove_files(&product, volumes)?;
    progress.end(&human::count(removed.containers.len(), "container"));
    report(output, &serde_json::json!({ "removed": removed }), || {
        let mut text = format!("{name} is removed");
        if !removed.images.is_empty() {
            let names: Vec<String> = removed.images.iter().map(ToString::to_string).collect();
            text.push_str(&format!("\n  with its images: {}", names.join(", ")));
        }
        if !removed.kept_volumes.is_empty() {
            text.push_str(&format!("\n  kept with their data: {}", removed.kept_volumes.join(", ")));
        }
        if !left_files.is_empty() {
            let paths: Vec<String> = left_files.iter().map(|path| path.display().to_string()).collect();
            text.push_str(&format!("\n  kept for the next install: {}", paths.join(", ")));
        }
        text
    })
}

/// Removes the product's folder, but for what belongs to data that stays: the answers (with the passwords that open
/// it) and the folders of the site's own. Files that the site put there by hand stay in any case. Returns what is left.
fn remove_files(product: &ProductDir, data_too: bool) -> Result<Vec<PathBuf>> {
    let mut spared = vec![product.external(), product.file(site::OVERRIDE)];
    if !data_too {
        spared.extend(answers::files(product)?);
        spared.push(product.data());
    }
    product.remove_but(&spared)
}

fn report(output: Output, value: &serde_json::Value, text: impl FnOnce() -> String) -> Result<()> {
    if output.json {
        output.line(&serde_json::to_string_pretty(value)?);
    } else {
        output.line(&text());
    }
    Ok(())
}

fn of_sequence(error: SequenceError) -> anyhow::Error {
    SwitchError::from(error).into_failure()
}
