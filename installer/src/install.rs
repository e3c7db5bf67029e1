//! `./install site.fz`: the whole job on site.
//!
//! ```text
//! open → verify → preflight → plan → stage → switch → health → commit
//! ```
//!
//! Any failure before commit leaves the old release running, or puts it back. Every step is journalled
//! before and after and can be taken again: after a crash the next run resumes the same attempt, or
//! undoes it where another release is wanted.

mod prepare;

use crate::health::Patience;
use crate::host::{self, Root};
use crate::import::{self};
use crate::lay_out;
use crate::plan::Plan;
use crate::site::{Site, Values};
use crate::state::{self, Attempt, Installed, Journal};
use crate::switch::{self, SwitchReport};
use crate::target::Target;
use crate::trust::{self, Origin};
use crate::{classify, seeding};
use anyhow::{Context, Result};
use bundle_format::{Bundle, Signer, UnverifiedBundle};
use ferry_terminal::{Class, Failure};
use manifest_schema::ReleaseId;
use manifest_schema::progress::Progress;
use manifest_schema::release::Release;
use prepare::{Prepared, prepare, target};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
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
    pub values: Values,
    /// How long to wait for services.
    pub patience: Patience,
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
    let mut file = File::open(&request.bundle).map_err(|error| {
        Failure::new(Class::Files, format!("{} cannot be opened", request.bundle.display())).because(error)
    })?;
    let classified = |error| classify::bundle(error, &request.bundle);
    let unverified = UnverifiedBundle::read(&mut file).map_err(classified)?;
    let decision = trust::decide(root, &unverified, &request.bundle, &request.trust, confirm)?;
    let verified = unverified.verify(decision.trust(), &mut file).map_err(classified)?;
    let product = verified.release().name.as_str();
    let origin = decision.for_product(verified.signers(), product, &request.bundle)?;
    let bundle = Bundle::with_source(verified, file).map_err(classified)?;
    Ok(Opened { bundle: Arc::new(bundle), origin })
}

/// Installs a bundle.
///
/// # Errors
/// What stood in the way; the release that ran before runs again.
pub async fn install(
    request: &Request,
    confirm: trust::Confirm<'_>,
    progress: &Arc<dyn Progress>,
    cancel: &CancellationToken,
) -> Result<Ending> {
    let root = Root::new(&request.root)?;
    let Opened { bundle, origin } = open(request, &root, confirm)?;
    let prepared = prepare(request, &root, &bundle, progress, cancel).await?;
    if request.dry_run {
        return Ok(Ending::Planned { plan: Box::new(prepared.plan) });
    }
    if let Origin::New(signer) = &origin {
        trust::pin(&root, bundle.release().name.as_str(), signer)?;
    }
    if prepared.plan.is_empty(&prepared.state) {
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
    let release = bundle.release();
    if let Some(lock) = &mut prepared.lock {
        lock.keep();
    }
    let mut journal = Journal::open(&prepared.product, &prepared.attempt)?;
    prepared.state.attempt = Some(Attempt { release: prepared.id.clone(), name: prepared.attempt.clone() });
    prepared.state.save(&prepared.product)?;

    journal.begin("stage")?;
    let staged = stage(bundle, &mut prepared, progress, cancel).await;
    let (target, ids) = match staged {
        Ok(staged) => staged,
        Err(error) => {
            return Err(step_back(request, release, prepared, &mut journal, "stage", error, progress).await);
        }
    };
    journal.done("stage")?;

    journal.begin("switch")?;
    progress.begin("starting", None);
    let switched =
        switch::switch(&prepared.engine, &target, &request.patience, progress.as_ref(), cancel).await;
    let report = match switched {
        Ok(report) => report,
        Err(error) => {
            let error = classify::switch(error);
            return Err(step_back(request, release, prepared, &mut journal, "switch", error, progress).await);
        }
    };
    journal.done("switch")?;
    progress.end(&format!(
        "{} healthy or running",
        ferry_terminal::human::count(target.services.len(), "service")
    ));

    journal.begin("commit")?;
    commit(bundle, &mut prepared, &target, ids, request.engine.clone(), progress).await?;
    journal.done("commit")?;
    if let Err(error) = keep_program(root) {
        progress.warn(&format!("the program was not kept on this host: {error:#}"));
    }
    let published = published(&prepared.site);
    Ok(Ending::Installed {
        release: prepared.id,
        plan: Box::new(prepared.plan),
        report: Box::new(report),
        published,
    })
}

async fn stage(
    bundle: &Arc<Bundle<File>>,
    prepared: &mut Prepared,
    progress: &Arc<dyn Progress>,
    cancel: &CancellationToken,
) -> Result<(Target, BTreeMap<String, String>)> {
    let release = bundle.release();
    let Prepared { id, product, attempt, engine, site, images, inventory, .. } = &*prepared;
    let values = serde_json::to_vec_pretty(&site.values)?;
    host::write_whole(&product.file("values.json"), &values, 0o600)?;
    let importing = import::import(engine, bundle, images, inventory, progress);
    let ids = tokio::select! {
        ids = importing => ids?,
        () = cancel.cancelled() => return Err(classify::cancelled()),
    };
    lay_out::lay_out(bundle, site, product, id, progress.as_ref())?;
    let target = target(product, id, attempt, site, release, engine, &ids)?;
    switch::prepare_networks_volumes(engine, &target, progress.as_ref()).await.map_err(classify::switch)?;
    let image = ids.values().next().cloned();
    if let Some(image) = image {
        let seeds = prepared.plan.seeds.clone();
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

/// Puts things back after a failure and gives the error, saying how things stand now.
async fn step_back(
    request: &Request,
    release: &Release,
    mut prepared: Prepared,
    journal: &mut Journal,
    step: &str,
    error: anyhow::Error,
    progress: &Arc<dyn Progress>,
) -> anyhow::Error {
    let written = journal.failed(step, &format!("{error:#}")).and_then(|()| journal.begin("undo"));
    // The stage that failed ends before putting things back begins.
    progress.fail("did not succeed");
    progress.begin("undoing", None);
    let undone = switch::undo(
        &prepared.engine,
        &release.name,
        &prepared.attempt,
        &request.patience,
        progress.as_ref(),
    )
    .await;
    let standing = match undone {
        Ok(report) if report.failures.is_empty() => {
            prepared.state.attempt = None;
            let _ = prepared.state.save(&prepared.product).and_then(|()| journal.done("undo"));
            match &prepared.state.current {
                Some(current) => format!("{} runs again, as before", current.release),
                None => "nothing of it is left running".to_owned(),
            }
        }
        Ok(report) => {
            let services: Vec<&str> =
                report.failures.iter().map(|failure| failure.service.as_str()).collect();
            format!("the old release was put back, but {} did not come up", services.join(", "))
        }
        Err(undo) => format!("putting things back failed, too ({undo}); run the same command again"),
    };
    progress.end(&standing);
    match written {
        Ok(()) => error,
        Err(journal) => error.context(format!("the journal could not be written either: {journal:#}")),
    }
}

async fn commit(
    bundle: &Bundle<File>,
    prepared: &mut Prepared,
    target: &Target,
    ids: BTreeMap<String, String>,
    engine: Option<String>,
    progress: &Arc<dyn Progress>,
) -> Result<()> {
    let release = bundle.release();
    prepared.product.switch_current(&prepared.id)?;
    let installed = Installed {
        release: prepared.id.clone(),
        version: release.version.clone(),
        bundle: bundle.verified().id(),
        signed_by: bundle.verified().signers().iter().map(Signer::fingerprint).collect(),
        installed_at: state::now(),
        images: ids,
    };
    let state = &mut prepared.state;
    state.engine = engine;
    let old = state.current.replace(installed).filter(|old| old.release != prepared.id);
    state.previous.retain(|other| other.release != prepared.id);
    if let Some(old) = old {
        state.previous.insert(0, old);
    }
    state.save(&prepared.product)?;
    switch::commit_cleanup(&prepared.engine, target, progress.as_ref()).await.map_err(classify::switch)?;
    state.attempt = None;
    state.save(&prepared.product)
}

/// Keeps this program on the host, where it is `fz`.
fn keep_program(root: &Root) -> Result<()> {
    let folder = root.path().join("bin");
    let target = folder.join("fz");
    let program = std::env::current_exe()?;
    if program == target {
        return Ok(());
    }
    let content = std::fs::read(&program).with_context(|| format!("reading {}", program.display()))?;
    if std::fs::read(&target).is_ok_and(|kept| kept == content) {
        return Ok(());
    }
    host::make_private_dir(&folder)?;
    host::write_whole(&target, &content, 0o755)
}

fn published(site: &Site) -> Vec<String> {
    let mut addresses = Vec::new();
    for (name, service) in &site.project.services {
        for port in &service.ports {
            if let Some(number) = port.published {
                let host = match port.host_ip.as_deref() {
                    None | Some("0.0.0.0") => "*",
                    Some(host) => host,
                };
                addresses.push(format!("{name}  {host}:{number}/{}", port.protocol));
            }
        }
    }
    addresses
}

/// No answers, where a request needs none.
#[must_use]
pub const fn no_answers() -> Values {
    Values::new()
}
