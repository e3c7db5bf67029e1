//! Preflight and plan: looks at everything, and changes nothing while anything stands in the way.

use super::asking::{self, Ask};
use super::{Request, interrupted};
use crate::engine::Engine;
use crate::engine::inventory::Inventory;
use crate::host::{Lock, ProductDir, Root};
use crate::import::{self, ImportPlan};
use crate::label;
use crate::lay_out;
use crate::network_names::network_names;
use crate::plan::Plan;
use crate::preflight::{self, About, Finding};
use crate::service_spec::Placement;
use crate::site::{self, HostProvides, Site, Unfit, Values};
use crate::state::{Attempt, Phase, State};
use crate::switch::{self, Volumes};
use crate::target::Target;
use crate::{changes, classify, kept_answers, random, seeding};
use anyhow::Result;
use bundle_format::{Bundle, check, slim};
use ferry_terminal::{Class, Failure};
use manifest_schema::ReleaseId;
use manifest_schema::compose::model::MountSource;
use manifest_schema::manifest::{Given, VariableKind};
use manifest_schema::progress::Progress;
use manifest_schema::release::Release;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Everything known before anything is changed.
pub(super) struct Prepared {
    pub(super) id: ReleaseId,
    pub(super) product: ProductDir,
    pub(super) state: State,
    pub(super) attempt: Attempt,
    /// What becomes of the volumes it makes when it fails.
    pub(super) volumes: Volumes,
    pub(super) engine: Engine,
    pub(super) site: Site,
    pub(super) images: ImportPlan,
    pub(super) inventory: Inventory,
    pub(super) plan: Plan,
    pub(super) lock: Option<Lock>,
}

impl Prepared {
    /// Writes down how far the attempt came.
    pub(super) fn save_attempt(&mut self) -> Result<()> {
        self.state.attempt = Some(self.attempt.clone());
        self.state.save(&self.product)
    }
}

/// Preflight and plan: looks at everything. Only when nothing stands in the way, an install that was
/// interrupted is brought to its end first, if it was another one.
pub(super) async fn prepare(
    request: &Request,
    root: &Root,
    bundle: &Arc<Bundle<File>>,
    ask: Option<Ask<'_>>,
    progress: &Arc<dyn Progress>,
    cancel: &CancellationToken,
) -> Result<Prepared> {
    let release = bundle.release();
    let id = release_id(release, &bundle.verified().id())?;
    let product = root.product(&release.name);
    let mut findings = preflight::check_root(root.path());
    let lock = if request.dry_run || !findings.is_empty() { None } else { Some(product.lock()?) };
    let mut state = State::load(&product)?;
    let engine = match Engine::connect(request.engine.as_deref().or(state.engine.as_deref())).await {
        Ok(engine) => {
            findings.extend(preflight::check_engine(engine.facts(), release));
            findings.extend(preflight::check_same_engine(engine.facts(), &state));
            Some(engine)
        }
        Err(error) => {
            let fix = error.hint().unwrap_or_else(|| "start the engine".to_owned());
            findings.push(Finding::new(classify::chain(&error), fix));
            None
        }
    };
    // Nobody is asked anything for an install that cannot be.
    let refused = !findings.is_empty();
    let (ask, give) = match ask {
        Some(_) if refused => (None, GIVE_LATER),
        ask => (ask, GIVE),
    };
    let values = match ask {
        Some(ask) => {
            let resumes = own_attempt(&state, &id).is_some();
            asking::with_answers(&request.values, bundle, &product, resumes, ask)?
        }
        None => request.values.clone(),
    };
    if !request.dry_run {
        warn_of_shown_secrets(&values, bundle, progress.as_ref());
    }
    if own_attempt(&state, &id).is_some() {
        let mut names = kept_answers::attempted(&product)?;
        names.retain(|name| !values.values().contains_key(name));
        if !names.is_empty() {
            let names = names.join(", ");
            progress.warn(&format!("answers of the change that was interrupted are taken over: {names}"));
        }
    }
    if let Some(current) = &state.current
        && !request.kept
        && is_older(&release.version, &current.version)
    {
        progress.warn(&format!("version {} is older than {}, which runs", release.version, current.version));
    }
    let request = &Request { values, ..request.clone() };
    let host = Host { request, root, bundle, product: &product, id: &id, engine: engine.as_ref(), give };
    let known = host.survey(&state, &mut findings).await;
    // What cannot be read may be one of many broken places: then all are told.
    let reads = !matches!(&known, Ok(Some(known)) if !known.plan.reads_payload());
    // Of a kept one the layers are missing on purpose.
    if (reads || !findings.is_empty()) && !request.kept {
        findings.extend(broken_places(request, bundle, progress, cancel).await?);
    }
    if !findings.is_empty() {
        return Err(refusal(&findings));
    }
    let mut known = known?;
    if !request.dry_run
        && let Some(engine) = &engine
        && interrupted::end(
            &product,
            &release.name,
            &mut state,
            &id,
            engine,
            &request.patience.for_what_ran(),
            progress.as_ref(),
        )
        .await?
    {
        known = host.survey(&state, &mut findings).await?;
    }
    match (engine, known) {
        (Some(engine), Some(known)) if findings.is_empty() => {
            let Known { attempt, site, images, inventory, plan } = known;
            let volumes = interrupted::volumes_of(attempt.phase);
            Ok(Prepared { id, product, state, attempt, volumes, engine, site, images, inventory, plan, lock })
        }
        _ => Err(refusal(&findings)),
    }
}

/// What is looked at.
struct Host<'a> {
    request: &'a Request,
    root: &'a Root,
    bundle: &'a Arc<Bundle<File>>,
    product: &'a ProductDir,
    id: &'a ReleaseId,
    engine: Option<&'a Engine>,
    /// How an answer that is missing can be given.
    give: &'static str,
}

const GIVE: &str = "give it with --set NAME=VALUE, --values FILE or FERRY_VAR_NAME in the environment";
/// Where a mistake of the release itself shows with these answers only.
const OTHERWISE: &str = "correct it there, or give other answers";
const GIVE_LATER: &str =
    "you are asked for it once the rest is mended; or give it with --set NAME=VALUE or --values FILE";

/// The attempt that an install of `id` goes on with.
fn own_attempt<'a>(state: &'a State, id: &ReleaseId) -> Option<&'a Attempt> {
    // A committed attempt only has to be tidied up; its answers are those of what runs.
    let own = |attempt: &&Attempt| attempt.release == *id || attempt.phase == Phase::Committed;
    state.attempt.as_ref().filter(own)
}

/// What was found, where an engine answers and all variables have good answers.
struct Known {
    attempt: Attempt,
    site: Site,
    images: ImportPlan,
    inventory: Inventory,
    plan: Plan,
}

impl Host<'_> {
    /// Looks at everything and changes nothing.
    async fn survey(&self, state: &State, findings: &mut Vec<Finding>) -> Result<Option<Known>> {
        let Self { request, root, bundle, product, id, engine, give } = *self;
        let release = bundle.release();
        let attempted = own_attempt(state, id);
        let remembered = kept_answers::remembered(product, &site::manifest(bundle)?, attempted.is_some())?;
        let site = evaluate(request, bundle, product, &remembered, state, give, findings)?;
        let (Some(engine), Some(site)) = (engine, site) else { return Ok(None) };
        let resumed = attempted.filter(|attempt| attempt.phase != Phase::Committed);
        let attempt = resumed.cloned().unwrap_or_else(|| Attempt {
            release: id.clone(),
            name: random::name(8),
            phase: Phase::Staging,
            boot: String::new(),
            importing: BTreeSet::new(),
        });

        let facts = engine.facts();
        let inventory = engine.inventory().await?;
        let wanted = release.images_for(&facts.platform);
        let images = import::plan(bundle, &wanted, &inventory, import::takes_zstd(engine), |name, id| {
            state.owns(name, id)
        });
        let names: BTreeSet<String> = wanted.iter().map(|image| image.reference.to_string()).collect();
        let over = site::override_file(product)?.map(|(_, text)| text);
        let of_images: Vec<Finding> = preflight::check_services(&site.project, &names, over.as_deref())
            .into_iter()
            .chain(preflight::check_images(facts, &images))
            .collect();
        let placeable = of_images.is_empty();
        if request.kept {
            findings.extend(preflight::check_kept(&images));
        }
        findings.extend(of_images);
        if facts.local {
            findings.extend(preflight::check_paths(&site.project));
        }
        let there = engine.containers(label::PROJECT, release.name.as_str()).await?;
        findings.extend(preflight::check_same_root(&there, &product.file("current"), state));
        findings.extend(taken_ports(engine, release, &site, state.attempt.is_some()).await?);
        let lay_out = !lay_out::is_laid_out(&site, product, id);
        let seeds = seeding::needed(engine, &site, release, state).await?;
        let seeding = !seeds.is_empty();
        let kept = if product.kept_bundle(id).is_file() { 0 } else { slim::bytes(bundle)? };
        let kept = kept.saturating_add(root.program_bytes());
        findings.extend(preflight::check_space(facts, &images, release, root.path(), lay_out, seeding, kept));
        let comparison = if placeable {
            let ids = images.expected_ids(facts.store);
            let target = target(product, id, &attempt.name, &site, release, engine, &ids, state).await?;
            let (comparison, obstacles) = switch::compare(engine, &target).await?;
            findings.extend(obstacles.into_iter().map(|obstacle| {
                let fix =
                    obstacle.hint().unwrap_or_else(|| "look at it with the engine's own tools".to_owned());
                Finding::new(obstacle.to_string(), fix)
            }));
            comparison
        } else {
            switch::Comparison::default()
        };
        let current = state.current.as_ref().map(|current| product.release(&current.folder));
        let files = current.map(|folder| changes::files(&site, &folder, request.dry_run)).unwrap_or_default();
        let plan = Plan::new(release, id, state, &images, lay_out, seeds, comparison, files);
        Ok(Some(Known { attempt, site, images, inventory, plan }))
    }
}

/// Ports that others hold. After an interrupted install the engine may be about to end a container of ours,
/// whose port is free in a moment.
async fn taken_ports(
    engine: &Engine,
    release: &Release,
    site: &Site,
    interrupted: bool,
) -> Result<Vec<Finding>> {
    if !engine.facts().local {
        return Ok(Vec::new());
    }
    let deadline = Instant::now() + if interrupted { PORT_PATIENCE } else { Duration::ZERO };
    loop {
        let own = engine.containers(label::PROJECT, release.name.as_str()).await?;
        let taken = preflight::check_ports(&site.project, &own);
        if taken.is_empty() || Instant::now() >= deadline {
            return Ok(taken);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// How long a port may stay taken after its container has stopped.
const PORT_PATIENCE: Duration = Duration::from_secs(5);

/// A secret on the command line is no secret for whoever else is on this host.
fn warn_of_shown_secrets(given: &Given, bundle: &Bundle<File>, progress: &dyn Progress) {
    // What cannot be read is told with all other broken places of the bundle.
    let Ok(manifest) = site::manifest(bundle) else { return };
    let is_secret = |name: &str| {
        manifest.variables.get(name).is_some_and(|variable| variable.kind == VariableKind::Secret)
    };
    for name in given.on_command_line().filter(|name| is_secret(name)) {
        progress.warn(&format!(
            "the secret `{name}` was given with --set, where `ps` and the shell's history show it: \
             give it with --values FILE, or type it when asked"
        ));
    }
}

fn evaluate(
    request: &Request,
    bundle: &Bundle<File>,
    product: &ProductDir,
    remembered: &Values,
    state: &State,
    give: &str,
    findings: &mut Vec<Finding>,
) -> Result<Option<Site>> {
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut random = |length: usize| random::name(length);
    let external = |kind: &str, name: &str| site::external(product, kind, name);
    let provided = HostProvides {
        external: &external,
        over: site::override_file(product)?,
        salt: &state.salt,
        renderer: request.renderer,
    };
    match site::evaluate(bundle, &request.values, remembered, &hostname, &provided, &mut random) {
        Ok(site) => Ok(Some(site)),
        Err(error) => {
            let (mistakes, about) = match error.downcast::<Unfit>()? {
                Unfit::Answers(mistakes) => (mistakes, About::Answers),
                Unfit::Host(mistakes) => (mistakes, About::Files),
            };
            findings.extend(mistakes.0.into_iter().map(|mut mistake| {
                let (fact, fix) = match (about, mistake.hint.take()) {
                    // What a value must be like is no hint on how to give one.
                    (About::Answers, Some(hint)) if mistake.file == "variables" => {
                        (format!("{mistake} ({hint})"), give.to_owned())
                    }
                    (About::Answers, hint) => (mistake.to_string(), hint.unwrap_or_else(|| give.to_owned())),
                    (_, hint) => (mistake.to_string(), hint.unwrap_or_else(|| OTHERWISE.to_owned())),
                };
                Finding { about, ..Finding::new(fact, fix) }
            }));
            Ok(None)
        }
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

/// Whether `new` is a lower version than `old`, by the numbers that both begin with; what cannot be told is not.
fn is_older(new: &str, old: &str) -> bool {
    let numbers = |text: &str| -> Vec<u64> {
        let core = text.trim_start_matches('v').split(['-', '+', ' ']).next().unwrap_or_default();
        core.split('.').map_while(|part| part.parse().ok()).collect()
    };
    let (new, old) = (numbers(new), numbers(old));
    !new.is_empty() && !old.is_empty() && new < old
}

/// All findings as one failure. A damaged bundle has an exit code of its own, and so have answers.
fn refusal(findings: &[Finding]) -> anyhow::Error {
    let only = |about: About| findings.iter().all(|finding| finding.about == about);
    let (class, what) = if only(About::Bundle) {
        (Class::Bundle, "the bundle is damaged")
    } else if only(About::Answers) {
        (Class::Input, "some variables have no good answer")
    } else if only(About::Files) {
        (Class::Input, "the release does not come out with what lies on this host and these answers")
    } else if findings.iter().any(|finding| finding.about == About::Bundle) {
        (Class::Bundle, "the bundle is damaged, and this host is not ready")
    } else {
        (Class::Preflight, "this host is not ready")
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

#[expect(clippy::too_many_arguments, reason = "each is a different thing")]
pub(super) async fn target(
    product: &ProductDir,
    id: &ReleaseId,
    attempt: &str,
    site: &Site,
    release: &Release,
    engine: &Engine,
    ids: &BTreeMap<String, String>,
    state: &State,
) -> Result<Target> {
    let there = engine.networks(label::PROJECT, release.name.as_str()).await?;
    let folder = lay_out::folder_name(site, id);
    let places = lay_out::places(site, release, &product.release(&folder), &product.data());
    let mut images = BTreeMap::new();
    for (name, service) in &site.project.services {
        let reference: manifest_schema::ImageRef = service.image.parse()?;
        if let Some(id) = ids.get(&reference.to_string()) {
            images.insert(name.clone(), id.clone());
        }
    }
    let mut mounted_images = BTreeMap::new();
    for mount in site.project.services.values().flat_map(|service| &service.mounts) {
        if let MountSource::Image(name) = &mount.source {
            let reference: manifest_schema::ImageRef = name.parse()?;
            mounted_images.extend(ids.get(&reference.to_string()).map(|id| (name.clone(), id.clone())));
        }
    }
    // Labels name the path that lasts: a new release must not look like a change of every service.
    let current = product.file("current");
    let placement = Placement {
        release: id.clone(),
        attempt: attempt.to_owned(),
        folder,
        working_dir: current.display().to_string(),
        config_files: current.join("compose.yaml").display().to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        images,
        mounted_images,
        configs: places.configs,
        secrets: places.secrets,
        binds: places.binds,
        networks: network_names(&release.name, &site.project, &there),
        start_interval: engine.facts().has_start_interval(),
    };
    let mut target = Target::new(&release.name, &site.project, &placement)?;
    target.done = state.current.iter().flat_map(|current| current.done.iter().cloned()).collect();
    Ok(target)
}
