//! `./install site.fz`: the whole job on site.
//!
//! ```text
//! open → verify → preflight → plan → stage → switch → health → commit
//! ```
//!
//! Any failure before commit leaves the old release running, or puts it back. Every step is journalled
//! before and after and can be taken again: after a crash the next run resumes the same attempt, or
//! undoes it where another release is wanted.

use crate::engine::Engine;
use crate::engine::inventory::Inventory;
use crate::health::Patience;
use crate::host::{self, Lock, ProductDir, Root};
use crate::import::{self, ImportPlan};
use crate::lay_out;
use crate::plan::Plan;
use crate::preflight::{self, Finding};
use crate::service_spec::{Placement, label};
use crate::site::{self, Site, Values};
use crate::state::{self, Attempt, Installed, Journal, State};
use crate::switch::{self, SwitchReport};
use crate::target::Target;
use crate::trust::{self, Origin};
use crate::{classify, random, seeding};
use anyhow::{Context, Result};
use bundle_format::{Bundle, Signer, UnverifiedBundle, check};
use ferry_terminal::{Class, Failure};
use manifest_schema::progress::Progress;
use manifest_schema::release::Release;
use manifest_schema::{Diagnostics, ReleaseId};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
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
    let (trust, origin) = trust::decide(root, &unverified, &request.trust, confirm)?;
    let verified = unverified.verify(&trust, &mut file).map_err(classified)?;
    let bundle = Bundle::with_source(verified, file).map_err(classified)?;
    Ok(Opened { bundle: Arc::new(bundle), origin })
}

/// Everything known before anything is changed.
struct Prepared {
    id: ReleaseId,
    product: ProductDir,
    state: State,
    attempt: String,
    engine: Engine,
    site: Site,
    images: ImportPlan,
    inventory: Inventory,
    plan: Plan,
    _lock: Option<Lock>,
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

/// Preflight and plan: looks at everything, changes nothing but the lock file.
async fn prepare(
    request: &Request,
    root: &Root,
    bundle: &Arc<Bundle<File>>,
    progress: &Arc<dyn Progress>,
    cancel: &CancellationToken,
) -> Result<Prepared> {
    let release = bundle.release();
    let id = release_id(release, &bundle.verified().id())?;
    let product = root.product(&release.name);
    let mut findings = preflight::check_root(root.path());
    let engine = match Engine::connect(request.engine.as_deref()).await {
        Ok(engine) => Some(engine),
        Err(error) => {
            let fix = error.hint().unwrap_or_else(|| "start the engine".to_owned());
            findings.push(Finding::new(classify::chain(&error), fix));
            None
        }
    };
    let lock = if request.dry_run || !findings.is_empty() { None } else { Some(product.lock()?) };
    let state = State::load(&product)?;
    if let Some(engine) = &engine {
        findings.extend(preflight::check_engine(engine.facts(), release));
    }
    let site = match evaluate(request, bundle, &product, &mut findings) {
        Ok(site) => site,
        // What cannot be read may be one of many broken places: then all are told.
        Err(error) => {
            findings.extend(broken_places(bundle, progress, cancel).await?);
            return Err(if findings.is_empty() { error } else { refusal(&findings) });
        }
    };
    let (Some(engine), Some(site)) = (engine, site) else {
        findings.extend(broken_places(bundle, progress, cancel).await?);
        return Err(refusal(&findings));
    };

    if let Some(attempt) = state.attempt.as_ref().filter(|attempt| attempt.release != id && !request.dry_run)
    {
        progress
            .warn(&format!("the install of {} was interrupted: putting things back first", attempt.release));
        switch::undo(&engine, &release.name, &attempt.name, &request.patience, progress.as_ref()).await?;
    }
    let resumed = state.attempt.as_ref().filter(|attempt| attempt.release == id);
    let attempt = resumed.map_or_else(|| random::name(8), |attempt| attempt.name.clone());

    let facts = engine.facts();
    let inventory = engine.inventory().await?;
    let wanted = release.images_for(&facts.platform);
    let images = import::plan(bundle, &wanted, &inventory, import::takes_zstd(&engine));
    let names: BTreeSet<String> = wanted.iter().map(|image| image.reference.to_string()).collect();
    findings.extend(preflight::check_services(&site.project, &names));
    findings.extend(preflight::check_images(facts, &images));
    let own = engine.containers(label::PROJECT, release.name.as_str()).await?;
    if facts.local {
        findings.extend(preflight::check_ports(&site.project, &own));
    }
    let lay_out = !lay_out::is_laid_out(&site, &product, &id)?;
    let seeds = seeding::needed(&engine, &site, release, &state).await?;
    findings.extend(preflight::check_space(facts, &images, release, root.path(), lay_out, !seeds.is_empty()));
    let changes = if findings.is_empty() {
        let ids = images.expected_ids(facts.store);
        let target = target(&product, &id, &attempt, &site, release, &engine, &ids)?;
        switch::compare(&engine, &target).await?
    } else {
        (BTreeMap::new(), Vec::new())
    };
    let plan = Plan::new(release, &id, &state, &images, lay_out, seeds, changes);
    if plan.reads_payload() || !findings.is_empty() {
        findings.extend(broken_places(bundle, progress, cancel).await?);
    }
    if !findings.is_empty() {
        return Err(refusal(&findings));
    }
    Ok(Prepared { id, product, state, attempt, engine, site, images, inventory, plan, _lock: lock })
}

fn evaluate(
    request: &Request,
    bundle: &Bundle<File>,
    product: &ProductDir,
    findings: &mut Vec<Finding>,
) -> Result<Option<Site>> {
    let remembered = site::remembered(&product.file("values.json"))?;
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut random = |length: usize| random::name(length);
    match site::evaluate(bundle, &request.values, &remembered, &hostname, &mut random) {
        Ok(site) => Ok(Some(site)),
        Err(error) => match error.downcast::<Diagnostics>() {
            Ok(mistakes) => {
                let fix = |hint: Option<String>| {
                    hint.unwrap_or_else(|| "give it with --set or --values".to_owned())
                };
                findings.extend(mistakes.0.into_iter().map(|mut mistake| {
                    let hint = mistake.hint.take();
                    Finding::new(mistake.to_string(), fix(hint))
                }));
                Ok(None)
            }
            Err(error) => Err(error),
        },
    }
}

/// Reads every byte of the bundle on all cores.
async fn broken_places(
    bundle: &Arc<Bundle<File>>,
    progress: &Arc<dyn Progress>,
    cancel: &CancellationToken,
) -> Result<Vec<Finding>> {
    let (bundle, watching) = (Arc::clone(bundle), Arc::clone(progress));
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    progress.begin("verifying", Some(bundle.verified().index().payload_end()));
    let bytes = bundle.verified().file_bytes();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut checking =
        tokio::task::spawn_blocking(move || check::check(&bundle, threads, watching.as_ref(), &flag));
    let broken = tokio::select! {
        result = &mut checking => result??,
        () = cancel.cancelled() => {
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            let _ = checking.await;
            return Err(classify::cancelled());
        }
    };
    if broken.is_empty() {
        progress.end(&format!("{} as signed", ferry_terminal::human::bytes(bytes)));
    } else {
        progress.end("the bundle is damaged");
    }
    Ok(preflight::check_bundle(&broken))
}

/// All findings as one failure. A damaged bundle has an exit code of its own.
fn refusal(findings: &[Finding]) -> anyhow::Error {
    let damaged = findings.iter().any(|finding| finding.fact.starts_with("the bundle is damaged"));
    let class = if damaged { Class::Bundle } else { Class::Preflight };
    let mut text = format!(
        "this host is not ready: {}; nothing was changed",
        ferry_terminal::human::count(findings.len(), "finding")
    );
    for finding in findings {
        text.push_str(&format!("\n  - {finding}"));
    }
    Failure::new(class, text).into()
}

fn release_id(release: &Release, bundle: &manifest_schema::Digest) -> Result<ReleaseId> {
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+') { c } else { '_' };
    let version: String = release.version.chars().take(64).map(safe).collect();
    let version = version.trim_start_matches('.');
    Ok(format!("{version}-{}", bundle.short()).trim_start_matches('-').parse()?)
}

fn target(
    product: &ProductDir,
    id: &ReleaseId,
    attempt: &str,
    site: &Site,
    release: &Release,
    engine: &Engine,
    ids: &BTreeMap<String, String>,
) -> Result<Target> {
    let folder = product.release(id);
    let places = lay_out::places(site, release, &folder);
    let mut images = BTreeMap::new();
    for (name, service) in &site.project.services {
        let reference: manifest_schema::ImageRef = service.image.parse()?;
        if let Some(id) = ids.get(&reference.to_string()) {
            images.insert(name.clone(), id.clone());
        }
    }
    // Labels name the path that lasts: a new release must not look like a change of every service.
    let current = product.file("current");
    let placement = Placement {
        release: id.clone(),
        attempt: attempt.to_owned(),
        release_dir: folder,
        working_dir: current.display().to_string(),
        config_files: current.join("compose.yaml").display().to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        images,
        configs: places.configs,
        secrets: places.secrets,
        binds: places.binds,
        start_interval: engine.facts().has_start_interval(),
    };
    Ok(Target::new(&release.name, &site.project, &placement)?)
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
    commit(bundle, &mut prepared, &target, ids, progress).await?;
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
