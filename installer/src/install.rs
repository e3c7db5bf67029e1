//! `./install site.fz`: the whole job on site.
//!
//! ```text
//! open → verify → preflight → plan → stage → switch → health → commit
//! ```
//!
//! Any failure before commit leaves the old release running, or puts it back. Every step can be taken
//! again: after a crash the next run resumes the same attempt, or undoes it where another release is
//! wanted.

mod asking;
mod finish;
mod interrupted;
mod prepare;
mod tidy;

use crate::engine::Engine;
use crate::health::Patience;
use crate::host::{self, Root};
use crate::import::{self};
use crate::kept;
use crate::kept_answers;
use crate::lay_out;
use crate::parking::{self, Standing};
use crate::plan::Plan;
use crate::state::{self, Journal, Phase};
use crate::switch::{self, SwitchReport};
use crate::target::Target;
use crate::trust::{self, Origin};
use crate::{classify, seeding};
use anyhow::{Context, Result};
pub use asking::{Ask, Questions};
use bundle_format::{Bundle, UnverifiedBundle};
use ferry_terminal::{Class, Failure};
use manifest_schema::manifest::Given;
use manifest_schema::progress::Progress;
use manifest_schema::render::Renderer;
use manifest_schema::{ProjectName, ReleaseId};
use prepare::{Prepared, prepare, target};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What to install, checked.
#[derive(Debug, Clone)]
pub struct Request {
    /// The bundle.
    pub bundle: PathBuf,
    /// Ferry's folder on this host.
    pub root: PathBuf,
    /// The engine.
    pub engine: Option<String>,
    /// Fingerprints from the delivery note.
    pub trust: Vec<String>,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Answers.
    pub values: Given,
    /// How long to wait for services.
    pub patience: Patience,
    /// Whether this program replaces the one that is kept on the host.
    pub replace_fz: bool,
    /// Whether the bundle is the one that is kept on the host, which has no layers.
    pub kept: bool,
    /// Renders templates.
    pub renderer: &'static dyn Renderer,
}

/// How it ended.
#[derive(Debug, Serialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum Ending {
    /// `--dry-run`: nothing was changed.
    Planned {
        /// What would be done.
        plan: Box<Plan>,
    },
    /// Everything was as it should be.
    Unchanged {
        /// The release.
        release: ReleaseId,
    },
    /// The release runs and is healthy.
    Installed {
        /// The release.
        release: ReleaseId,
        /// What was done.
        plan: Box<Plan>,
        /// What happened to the services.
        report: Box<SwitchReport>,
        /// Addresses on which services are published.
        published: Vec<String>,
        /// Whether the program is kept on the host.
        resident: bool,
    },
}

/// A bundle whose signature was checked, and how its signer came to be trusted.
pub struct Opened {
    /// The bundle.
    pub bundle: Arc<Bundle<File>>,
    /// How its signer came to be trusted.
    pub origin: Origin,
}

/// Opens the bundle and checks its signature against the trust of this host.
///
/// # Errors
/// When it is no bundle, damaged in its head, cut short, or not trusted.
pub fn open(request: &Request, root: &Root, confirm: trust::Confirm<'_>) -> Result<Opened> {
    let mut file = open_file(&request.bundle)?;
    let classified = |error| classify::bundle(error, &request.bundle);
    let unverified = UnverifiedBundle::read(&mut file).map_err(classified)?;
    let decision = trust::decide(root, &unverified, &request.bundle, &request.trust, confirm)?;
    let verified = unverified.verify(decision.trust(), &mut file).map_err(classified)?;
    let product = verified.release().name.as_str();
    let origin = decision.for_product(verified.signers(), product, &request.bundle)?;
    let bundle = Bundle::with_source(verified, file).map_err(classified)?;
    Ok(Opened { bundle: Arc::new(bundle), origin })
}

fn open_file(path: &Path) -> Result<File> {
    let shown = path.display();
    let unopened = |error| {
        Failure::new(Class::Files, format!("{shown} cannot be opened"))
            .because(error)
            .hint("look at the stick with `ls`: is this the bundle's name, and is the stick mounted?")
    };
    // Opening a pipe would wait for somebody who writes into it.
    let metadata = std::fs::metadata(path).map_err(unopened)?;
    if metadata.is_dir() {
        return Err(Failure::new(Class::Files, format!("{shown} is a folder"))
            .hint("name the bundle in it, which ends in .fz")
            .into());
    }
    if metadata.file_type().is_fifo() {
        return Err(Failure::new(Class::Files, format!("{shown} is a pipe"))
            .hint("copy the bundle to a disk or a stick first: it is read more than once")
            .into());
    }
    Ok(File::open(path).map_err(unopened)?)
}

/// Installs a bundle. Where there is somebody to `ask`, answers that are missing come from them.
///
/// # Errors
/// What stood in the way; the release that ran before runs again.
pub async fn install(
    request: &Request,
    confirm: trust::Confirm<'_>,
    ask: Option<Ask<'_>>,
    progress: &Arc<dyn Progress>,
    cancel: &CancellationToken,
) -> Result<Ending> {
    let root = Root::new(&request.root)?;
    let Opened { bundle, origin } = open(request, &root, confirm)?;
    let prepared = prepare(request, &root, &bundle, ask, progress, cancel).await?;
    if request.dry_run {
        return Ok(Ending::Planned { plan: Box::new(prepared.plan) });
    }
    if let Origin::New(signer) = &origin {
        trust::pin(&root, bundle.release().name.as_str(), signer)?;
    }
    if prepared.plan.is_empty(&prepared.state) {
        // Nothing that runs depends on it: but the next release may.
        kept_answers::remember(&prepared.product, &prepared.site.answers)?;
        if !request.kept {
            kept::keep(&bundle, &prepared.product, &prepared.id)?;
        }
        return Ok(Ending::Unchanged { release: prepared.id });
    }
    carry_out(request, &root, &bundle, prepared, progress, cancel).await
}

/// Stage, switch, commit.
async fn carry_out(
    request: &Request,
    root: &Root,
    bundle: &Arc<Bundle<File>>,
    mut prepared: Prepared,
    progress: &Arc<dyn Progress>,
    cancel: &CancellationToken,
) -> Result<Ending> {
    let name = &bundle.release().name;
    if let Some(lock) = &mut prepared.lock {
        lock.keep();
    }
    let mut journal = Journal::open(&prepared.product, &prepared.attempt.name)?;
    let mut step = "stage";
    let done =
        stage_switch_commit(request, bundle, &mut prepared, &mut journal, &mut step, progress, cancel).await;
    let report = match done {
        Ok(report) => report,
        Err(error) => {
            let error = classify::read_again(error);
            let (patience, progress) = (request.patience.for_what_ran(), progress.as_ref());
            return Err(
                finish::step_back(name, &patience, prepared, &mut journal, step, error, progress).await
            );
        }
    };
    let Prepared { id, product, engine, plan, mut state, .. } = prepared;
    let tidied = tidy::tidy(&product, name, &mut state, &engine, progress.as_ref()).await;
    tidied.and_then(|()| journal.done("commit")).with_context(|| {
        format!("{id} is installed and runs, but tidying up failed: run the same command again")
    })?;
    let kept = keep_program(root, request.replace_fz, progress.as_ref());
    if let Err(error) = &kept {
        progress.warn(&format!("the program was not kept on this host: {error:#}"));
    }
    let published = published(&engine, name).await?;
    let (plan, report) = (Box::new(plan), Box::new(report));
    Ok(Ending::Installed { release: id, plan, report, published, resident: kept.is_ok() })
}

/// All that is undone when it fails. `step` says how far it came.
async fn stage_switch_commit(
    request: &Request,
    bundle: &Arc<Bundle<File>>,
    prepared: &mut Prepared,
    journal: &mut Journal,
    step: &mut &str,
    progress: &Arc<dyn Progress>,
    cancel: &CancellationToken,
) -> Result<SwitchReport> {
    journal.begin(step)?;
    let (target, ids) = stage(request, bundle, prepared, progress, cancel).await?;
    journal.done(step)?;

    *step = "switch";
    journal.begin(step)?;
    // From here on containers may run, and write into their volumes.
    prepared.attempt.phase = Phase::Switching;
    prepared.attempt.importing.clear();
    prepared.save_attempt()?;
    progress.begin("starting", None);
    let switched =
        switch::switch(&prepared.engine, &target, &request.patience, progress.as_ref(), cancel).await;
    let report = switched.map_err(classify::switch)?;
    journal.done(step)?;
    progress.end(&format!(
        "{} healthy or running",
        ferry_terminal::human::count(target.services.len(), "service")
    ));

    *step = "commit";
    journal.begin(step)?;
    finish::commit(bundle, prepared, &target, &ids, &report).await?;
    Ok(report)
}

async fn stage(
    request: &Request,
    bundle: &Arc<Bundle<File>>,
    prepared: &mut Prepared,
    progress: &Arc<dyn Progress>,
    cancel: &CancellationToken,
) -> Result<(Target, BTreeMap<String, String>)> {
    let release = bundle.release();
    let expected = prepared.images.expected_ids(prepared.engine.facts().store);
    for image in &prepared.images.missing {
        let Some(id) = expected.get(&image.reference.to_string()) else { continue };
        prepared.attempt.importing.insert(id.clone());
        prepared.state.brought.insert((prepared.images.kept_name(image).to_string(), id.clone()));
    }
    prepared.attempt.boot = state::boot();
    prepared.state.engine = Some(prepared.engine.facts().address.clone());
    prepared.save_attempt()?;
    let Prepared { id, product, attempt, engine, site, images, inventory, .. } = &*prepared;
    kept_answers::keep_attempted(product, &site.answers)?;
    let importing = import::import(engine, bundle, images, inventory, progress);
    let ids = tokio::select! {
        ids = importing => ids?,
        () = cancel.cancelled() => return Err(classify::cancelled()),
    };
    if !images.missing.is_empty() {
        engine.sync_data().await?;
    }
    lay_out::lay_out(bundle, site, product, id, progress.as_ref())?;
    if !request.kept {
        kept::keep(bundle, product, id)?;
    }
    let target = target(product, id, &attempt.name, site, release, engine, &ids, &prepared.state).await?;
    switch::prepare_networks_volumes(engine, &target, progress.as_ref()).await.map_err(classify::switch)?;
    let seeds = prepared.plan.seeds.clone();
    if let Some(image) = ids.values().next().cloned() {
        seeding::fill(
            bundle,
            &prepared.engine,
            &target,
            &seeds,
            &image,
            &mut prepared.state,
            &prepared.product,
            progress,
        )
        .await?;
    }
    if cancel.is_cancelled() {
        return Err(classify::cancelled());
    }
    Ok((target, ids))
}

/// Keeps this program on the host, where it is `fz`. One that is there already stays unless `replace` is
/// asked for: it verified the bundles before this one, and this program came on the same stick.
fn keep_program(root: &Root, replace: bool, progress: &dyn Progress) -> Result<()> {
    let target = root.program();
    let program = std::env::current_exe()?;
    if program == target {
        return Ok(());
    }
    let content = std::fs::read(&program).with_context(|| format!("reading {}", program.display()))?;
    match std::fs::read(&target) {
        Ok(kept) if kept == content => return Ok(()),
        Ok(_) if !replace => {
            progress.warn(&format!(
                "{} is another build of this program and was left as it is; --replace-fz replaces it",
                target.display()
            ));
            return Ok(());
        }
        _ => {}
    }
    if let Some(folder) = target.parent() {
        host::make_private_dir(folder)?;
    }
    host::write_whole(&target, &content, 0o755)
}

/// Where services can be reached, also where the engine has chosen the port.
async fn published(engine: &Engine, name: &ProjectName) -> Result<Vec<String>> {
    let standing = Standing::read(engine, name.as_str()).await?;
    let mut addresses = BTreeSet::new();
    for container in standing.in_place() {
        let place = parking::place(container).unwrap_or_default();
        for (address, target) in container.ports.iter().filter_map(|port| port.split_once("->")) {
            let protocol = target.rsplit_once('/').map_or("tcp", |(_, protocol)| protocol);
            addresses.insert(format!("{place}  {}/{protocol}", address.replacen("0.0.0.0:", "*:", 1)));
        }
    }
    Ok(addresses.into_iter().collect())
}
