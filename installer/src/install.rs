//! `./install site.fz`: the whole job on site.
//!
//! ```text
//! open → verify → preflight → plan → stage → switch → health → commit
//! ```
//!
//! Any failure before commit leaves the old release running, or puts it back. Every step can be taken
//! again: after a crash the next run resumes the same attempt, or undoes it where another release is
//! wanted.

mod ask;
mod downgrade;
mod finish;
mod interrupted;
mod judge;
mod moved;
mod open;
pub(crate) mod plan;
pub(crate) mod preflight;
mod prepare;
mod published;
mod resident;
mod restart;
mod stage;
mod survey;
mod target;
mod tidy;
mod undo;
pub(crate) mod verify;
mod verifying;

use crate::bundle_errors;
use crate::engine::EngineAddress;
use crate::host::files::reserve;
use crate::host::journal::{Journal, Step};
use crate::host::state::Phase;
use crate::host::{Root, answers, retained};
use crate::installation::Installation;
use crate::services::health::Patience;
use crate::services::replica::listed;
use crate::services::switch::{self, SwitchError, SwitchReport};
use crate::services::target::Target;
use crate::trust::{self, Origin};
use anyhow::{Context, Result};
pub(crate) use ask::{Ask, Questions};
use bundle_format::Bundle;
use bundle_format::signature::Fingerprint;
pub(crate) use downgrade::unconfirmed as unconfirmed_downgrade;
use finish::Stopped;
pub(crate) use judge::needs_engine_restart;
use manifest_schema::ReleaseId;
use manifest_schema::manifest::Given;
use manifest_schema::progress::Progress;
use manifest_schema::render::Renderer;
pub(crate) use open::{Opened, open};
use plan::Plan;
use prepare::{Prepared, prepare};
use serde::Serialize;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use verifying::Verifying;

/// The origin of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A stick, or any file with everything in it.
    Stick,
    /// This host, which retains the bundle of the running release without its layers.
    Host,
}

/// A checked request to install.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub bundle: PathBuf,
    /// Its origin.
    pub source: Source,
    /// Ferry's folder on this host.
    pub root: PathBuf,
    /// The engine, where one is named.
    pub engine: Option<EngineAddress>,
    /// Fingerprints from the delivery note.
    pub trust: Vec<Fingerprint>,
    /// Plan only, and change nothing.
    pub dry_run: bool,
    pub values: Given,
    /// Install also what is older than the running release, or may be.
    pub allow_downgrade: bool,
    /// How long to wait for services.
    pub patience: Patience,
    /// This program replaces another build of it that is resident on the host.
    pub replace_fz: bool,
    /// The command that restarts the engine, where that was asked for and is the only thing that helps.
    pub restart_engine: Option<String>,
    /// Renders templates.
    pub renderer: &'static dyn Renderer,
    /// The check of the bundle, which copies of this request share.
    pub verifying: Arc<Verifying>,
}

impl Request {
    /// A request to install `bundle` into `root`, with no answers and nothing else asked for.
    #[must_use]
    pub(crate) fn new(
        bundle: PathBuf,
        source: Source,
        root: PathBuf,
        engine: Option<EngineAddress>,
        renderer: &'static dyn Renderer,
    ) -> Self {
        Self {
            bundle,
            source,
            root,
            engine,
            trust: Vec::new(),
            dry_run: false,
            values: Given::default(),
            allow_downgrade: false,
            patience: Patience::default(),
            replace_fz: false,
            restart_engine: None,
            renderer,
            verifying: Arc::default(),
        }
    }
}

impl Request {
    /// The command that restarts this host's engine, as people are told it.
    fn engine_restart(&self) -> &str {
        self.restart_engine.as_deref().unwrap_or(restart::USUAL)
    }
}

/// The result of an install.
#[derive(Debug, Serialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub(crate) enum Ending {
    /// `--dry-run`: nothing was changed.
    Planned {
        /// The changes that an install would make.
        plan: Box<Plan>,
    },
    /// Everything was as it should be.
    Unchanged { release: ReleaseId },
    /// The release runs and is healthy.
    Installed {
        release: ReleaseId,
        /// The changes that were planned.
        plan: Box<Plan>,
        /// The changes of the services.
        report: Box<SwitchReport>,
        /// Addresses on which services are published.
        published: Vec<String>,
        /// The program is resident on the host.
        resident: bool,
    },
}

/// Installs a bundle. Where there is somebody to `ask`, answers that are missing come from them.
///
/// # Errors
/// The obstacle; the release that ran before runs again.
pub(crate) async fn install(
    request: &Request,
    confirm: trust::Confirm<'_>,
    ask: Option<Ask<'_>>,
    progress: &Arc<dyn Progress>,
    cancel: &CancellationToken,
) -> Result<Ending> {
    let root = Root::new(&request.root)?;
    let Opened { bundle, origin } = open(&request.bundle, &request.trust, &root, confirm)?;
    let prepared = match prepare(request, &root, &bundle, ask, progress, cancel).await {
        Err(error) if needs_engine_restart(&error) && !request.dry_run => {
            let Some(command) = &request.restart_engine else { return Err(error) };
            restart::restart(command, request.engine.as_ref(), progress.as_ref(), cancel).await?;
            prepare(request, &root, &bundle, ask, progress, cancel).await?
        }
        prepared => prepared?,
    };
    if request.dry_run {
        return Ok(Ending::Planned { plan: Box::new(prepared.plan) });
    }
    if let Origin::New(signer) = &origin {
        trust::pin(&root, bundle.release().name.as_str(), signer)?;
    }
    let Prepared { installation, attempt, .. } = &prepared;
    if prepared.plan.is_empty(&installation.state) {
        // Nothing that runs depends on it: but the next release may.
        answers::remember(&installation.product, &prepared.site.answers)?;
        if request.source == Source::Stick {
            retained::retain(&bundle, &installation.product, &attempt.release)?;
        }
        let release = attempt.release.clone();
        let mut installation = prepared.installation;
        moved::to_its_place(&root, &mut installation, None);
        return Ok(Ending::Unchanged { release });
    }
    let notable = prepared.plan.access.iter().filter(|access| access.is_notable());
    let notable: Vec<String> = notable.map(ToString::to_string).collect();
    if !notable.is_empty() {
        progress.begin("access", None);
        progress.end(&notable.join("; "));
    }
    carry_out(request, &root, &bundle, prepared, cancel).await
}

/// Stage, switch, commit.
async fn carry_out(
    request: &Request,
    root: &Root,
    bundle: &Arc<Bundle<File>>,
    mut prepared: Prepared,
    cancel: &CancellationToken,
) -> Result<Ending> {
    if let Some(lock) = &mut prepared.lock {
        lock.keep_folder();
    }
    for cure in prepared.plan.cures() {
        prepared.installation.progress.warn(&cure);
    }
    let mut journal = Journal::open(&prepared.installation.product, &prepared.attempt.name)?;
    let room = reserve(prepared.installation.product.path(), RECORDS_ROOM)?;
    let report = match stage_switch_commit(request, bundle, &mut prepared, &mut journal, room, cancel).await {
        Ok(report) => report,
        Err(Stopped { step, error }) => {
            let error = prepared.installation.engine.naming_its_disk(bundle_errors::read_again(error));
            let stopped = Stopped { step, error };
            let patience = request.patience.for_what_ran();
            return Err(finish::step_back(prepared, &mut journal, stopped, &patience).await);
        }
    };
    let Prepared { mut installation, attempt, plan, .. } = prepared;
    let release = attempt.release;
    let tidied = tidy::tidy(&mut installation).await;
    tidied.and_then(|()| journal.done(Step::Commit)).with_context(|| {
        format!("{release} is installed and runs, but the clean-up failed: run the same command again")
    })?;
    moved::to_its_place(root, &mut installation, Some(&mut journal));
    let Installation { name, engine, progress, .. } = &installation;
    let resident = resident::make_resident(root, request.replace_fz, progress.as_ref());
    if let Err(error) = &resident {
        progress.warn(&format!("the program could not be made resident on this host: {error:#}"));
    }
    let published = published::published(engine, name).await?;
    let (plan, report) = (Box::new(plan), Box::new(report));
    Ok(Ending::Installed { release, plan, report, published, resident: resident.is_ok() })
}

/// Room for the records of a switch, its commit or rollback: state, answers and journal have some KiB. It is taken
/// before anything that runs is touched, since a disk that is full at the commit costs an outage.
const RECORDS_ROOM: u64 = 1 << 20;

/// The steps that a failure undoes.
async fn stage_switch_commit(
    request: &Request,
    bundle: &Arc<Bundle<File>>,
    prepared: &mut Prepared,
    journal: &mut Journal,
    room: Option<File>,
    cancel: &CancellationToken,
) -> Result<SwitchReport, Stopped> {
    let at = |step| move |error| Stopped { step, error };
    journal.begin(Step::Stage).map_err(at(Step::Stage))?;
    let staged = stage::stage(request, bundle, prepared, cancel).await.map_err(at(Step::Stage))?;
    journal.done(Step::Stage).map_err(at(Step::Stage))?;

    let target = &staged.target;
    let report = switch(request, prepared, target, journal, cancel).await.map_err(at(Step::Switch))?;

    drop(room);
    journal.begin(Step::Commit).map_err(at(Step::Commit))?;
    finish::commit(bundle, prepared, &staged, &report).await.map_err(at(Step::Commit))?;
    Ok(report)
}

async fn switch(
    request: &Request,
    prepared: &mut Prepared,
    target: &Target,
    journal: &mut Journal,
    cancel: &CancellationToken,
) -> Result<SwitchReport> {
    journal.begin(Step::Switch)?;
    let Prepared { installation, attempt, .. } = prepared;
    // From here on containers may run, and write into their volumes.
    attempt.phase = Phase::Switching;
    attempt.importing.clear();
    installation.record(attempt)?;
    let progress = installation.progress.as_ref();
    progress.begin("starting", None);
    let switched = switch::switch(&installation.engine, target, &request.patience, progress, cancel).await;
    let report = switched.map_err(SwitchError::into_failure)?;
    journal.done(Step::Switch)?;
    let up = target.services.len().saturating_sub(report.not_up.len());
    let up = format!("{} healthy or running", ferry_terminal::human::count(up, "service"));
    if report.not_up.is_empty() {
        progress.end(&up);
    } else {
        let others = listed(report.not_up.iter().map(|failure| &failure.replica));
        progress.end(&format!("{up}, and {others} not"));
    }
    Ok(report)
}
