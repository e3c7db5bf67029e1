//! Preflight and plan: looks at everything, changes nothing but the lock file.

use super::Request;
use crate::engine::Engine;
use crate::engine::inventory::Inventory;
use crate::host::{Lock, ProductDir, Root};
use crate::import::{self, ImportPlan};
use crate::lay_out;
use crate::plan::Plan;
use crate::preflight::{self, Finding};
use crate::service_spec::{Placement, label};
use crate::site::{self, Site};
use crate::state::{Attempt, State};
use crate::switch;
use crate::target::Target;
use crate::{classify, random, seeding};
use anyhow::Result;
use bundle_format::{Bundle, check};
use ferry_terminal::{Class, Failure};
use manifest_schema::progress::Progress;
use manifest_schema::release::Release;
use manifest_schema::{Diagnostics, ReleaseId};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio_util::sync::CancellationToken;

/// Everything known before anything is changed.
pub(super) struct Prepared {
    pub(super) id: ReleaseId,
    pub(super) product: ProductDir,
    pub(super) state: State,
    pub(super) attempt: String,
    pub(super) engine: Engine,
    pub(super) site: Site,
    pub(super) images: ImportPlan,
    pub(super) inventory: Inventory,
    pub(super) plan: Plan,
    pub(super) lock: Option<Lock>,
}

/// Preflight and plan: looks at everything, changes nothing but the lock file.
pub(super) async fn prepare(
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
            findings.extend(broken_places(request, bundle, progress, cancel).await?);
            return Err(if findings.is_empty() { error } else { refusal(&findings) });
        }
    };
    let (Some(engine), Some(site)) = (engine, site) else {
        findings.extend(broken_places(request, bundle, progress, cancel).await?);
        return Err(refusal(&findings));
    };

    if let Some(attempt) = state.attempt.as_ref().filter(|attempt| attempt.release != id && !request.dry_run)
    {
        end_interrupted(request, release, &state, attempt, &engine, progress).await?;
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
        findings.extend(broken_places(request, bundle, progress, cancel).await?);
    }
    if !findings.is_empty() {
        return Err(refusal(&findings));
    }
    Ok(Prepared { id, product, state, attempt, engine, site, images, inventory, plan, lock })
}

/// Ends an install of another release that was interrupted: one that had been committed is only
/// tidied up, any other is undone.
async fn end_interrupted(
    request: &Request,
    release: &Release,
    state: &State,
    attempt: &Attempt,
    engine: &Engine,
    progress: &Arc<dyn Progress>,
) -> Result<()> {
    let progress = progress.as_ref();
    if state.current.as_ref().is_some_and(|current| current.release == attempt.release) {
        switch::remove_replaced(engine, release.name.as_str(), progress).await.map_err(classify::switch)?;
        return Ok(());
    }
    progress.warn(&format!("the install of {} was interrupted: putting things back first", attempt.release));
    let undone = switch::undo(engine, &release.name, &attempt.name, &request.patience, progress).await;
    undone.map_err(classify::switch)?;
    Ok(())
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
                let give = "give it with --set NAME=VALUE or --values FILE";
                findings.extend(mistakes.0.into_iter().map(|mut mistake| {
                    let fix = match mistake.hint.take() {
                        // What a value must be like is no hint on how to give one.
                        Some(hint) if mistake.file == "variables" => format!("{hint}; {give}"),
                        Some(hint) => hint,
                        None => give.to_owned(),
                    };
                    Finding::new(mistake.to_string(), fix)
                }));
                Ok(None)
            }
            Err(error) => Err(error),
        },
    }
}

/// Reads every byte of the bundle on all cores.
async fn broken_places(
    request: &Request,
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
        progress.fail("the bundle is damaged");
    }
    Ok(preflight::check_bundle(&request.bundle, &broken))
}

/// All findings as one failure. A damaged bundle has an exit code of its own.
fn refusal(findings: &[Finding]) -> anyhow::Error {
    let in_bundle = findings.iter().filter(|finding| finding.in_bundle).count();
    let (class, what) = match in_bundle {
        0 => (Class::Preflight, "this host is not ready"),
        all if all == findings.len() => (Class::Bundle, "the bundle is damaged"),
        _ => (Class::Bundle, "the bundle is damaged, and this host is not ready"),
    };
    let count = ferry_terminal::human::count(findings.len(), "finding");
    let mut text = format!("{what}: {count}; nothing was changed");
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

pub(super) fn target(
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
