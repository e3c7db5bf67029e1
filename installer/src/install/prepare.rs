//! Preflight and plan: open → connect → ask → survey → judge. Nothing is changed while there is a finding.

use super::ask::{self, Ask};
use super::judge::refusal;
use super::plan::Plan;
use super::preflight::{self, Finding};
use super::survey::{Known, Survey, own_attempt};
use super::{Request, Source, downgrade, interrupted, resident};
use crate::engine::Engine;
use crate::engine::inventory::Inventory;
use crate::host::state::{Attempt, State};
use crate::host::{Lock, ProductDir, Root, answers};
use crate::images::plan::ImportPlan;
use crate::installation::Installation;
use crate::release::site::{self, Site};
use crate::services::switch::Volumes;
use anyhow::Result;
use bundle_format::Bundle;
use ferry_terminal::failure;
use manifest_schema::ReleaseId;
use manifest_schema::manifest::{Given, VariableKind};
use manifest_schema::progress::Progress;
use manifest_schema::release::Release;
use std::fs::File;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Everything known before anything is changed.
pub(super) struct Prepared {
    pub(super) installation: Installation,
    pub(super) attempt: Attempt,
    /// The fate of the volumes it has made when it fails.
    pub(super) volumes: Volumes,
    pub(super) site: Site,
    pub(super) images: ImportPlan,
    pub(super) inventory: Inventory,
    pub(super) plan: Plan,
    pub(super) lock: Option<Lock>,
}

/// The product on this host, before anything is known of the release.
struct Connected {
    id: ReleaseId,
    product: ProductDir,
    state: State,
    lock: Option<Lock>,
    engine: Option<Engine>,
    findings: Vec<Finding>,
}

const GIVE: &str = "give it with --set NAME=VALUE, --values FILE or FERRY_VAR_NAME in the environment";
const GIVE_LATER: &str = "you are asked for it once the other findings are fixed; or give it with --set NAME=VALUE or --values FILE";

/// Looks at everything. An install of another release that was interrupted is brought to its end once nothing
/// stands in the way.
pub(super) async fn prepare(
    request: &Request,
    root: &Root,
    bundle: &Arc<Bundle<File>>,
    ask: Option<Ask<'_>>,
    progress: &Arc<dyn Progress>,
    cancel: &CancellationToken,
) -> Result<Prepared> {
    let release = bundle.release();
    let connected = connect(request, root, bundle).await?;
    // Nobody is asked anything for an install that cannot be.
    let (ask, give) = match ask {
        Some(_) if !connected.findings.is_empty() => (None, GIVE_LATER),
        ask => (ask, GIVE),
    };
    downgrade::check(request, release, &connected.product, &connected.state, progress.as_ref())?;
    let values = answers(request, bundle, &connected, ask, progress.as_ref(), cancel)?;
    if request.verifying.has_found_damage() {
        return Err(refusal(&request.verifying.findings(request, bundle, progress, cancel).await?));
    }
    let request = &Request { values, ..request.clone() };
    let Connected { id, product, state, lock, engine, mut findings } = connected;
    let survey = Survey { request, root, bundle, id: &id, give };
    let Some(engine) = engine else {
        // The answers and the bundle can be judged all the same.
        let site = survey.site(&product, &state, &mut findings);
        findings.extend(request.verifying.findings(request, bundle, progress, cancel).await?);
        return Err(site.err().filter(|_| findings.is_empty()).unwrap_or_else(|| refusal(&findings)));
    };
    let name = release.name.clone();
    let mut installation = Installation { name, product, engine, state, progress: Arc::clone(progress) };
    let known = survey.look(&installation, &mut findings).await;
    // An unreadable file may be one of many damaged spots: then all are listed.
    let reads = !matches!(&known, Ok(Some(known)) if !known.plan.reads_payload());
    if reads || !findings.is_empty() {
        findings.extend(request.verifying.findings(request, bundle, progress, cancel).await?);
    }
    if !findings.is_empty() {
        return Err(refusal(&findings));
    }
    let mut known = known?;
    if !request.dry_run {
        // From here on records may be written, which the resident program has to read.
        resident::succeed(root, progress.as_ref()).await?;
        if interrupted::end(&mut installation, &id, &request.patience.for_what_ran()).await? {
            known = survey.look(&installation, &mut findings).await?;
        }
    }
    match known.filter(|_| findings.is_empty()) {
        Some(Known { attempt, site, images, inventory, plan }) => {
            if !request.dry_run {
                for dropped in &site.dropped {
                    progress.warn(&format!("{dropped} is Ferry's own and is left out"));
                }
            }
            let volumes = interrupted::volumes_of(attempt.phase);
            Ok(Prepared { installation, attempt, volumes, site, images, inventory, plan, lock })
        }
        None => Err(refusal(&findings)),
    }
}

/// Locks the product, reads its record and connects to its engine.
async fn connect(request: &Request, root: &Root, bundle: &Bundle<File>) -> Result<Connected> {
    let release = bundle.release();
    let id = release_id(release, &bundle.verified().id())?;
    let product = root.product(&release.name);
    let mut findings = preflight::check_root(root, &product);
    findings.extend(preflight::check_name(&release.name, product.has_state()));
    let lock = if request.dry_run || !findings.is_empty() { None } else { Some(product.lock()?) };
    let state = State::load(&product)?;
    let engine = match Engine::connect(request.engine.as_ref().or(state.engine.as_ref())).await {
        Ok(engine) => {
            findings.extend(preflight::check_engine(engine.facts(), release));
            findings.extend(preflight::check_same_engine(engine.facts(), &state));
            Some(engine)
        }
        Err(error) => {
            let fix = error.hint().unwrap_or_else(|| "start the engine".to_owned());
            findings.push(Finding::new(failure::chain(&error), fix));
            None
        }
    };
    Ok(Connected { id, product, state, lock, engine, findings })
}

/// The answers for this run: given ones, and those that a person types now.
fn answers(
    request: &Request,
    bundle: &Arc<Bundle<File>>,
    connected: &Connected,
    ask: Option<Ask<'_>>,
    progress: &dyn Progress,
    cancel: &CancellationToken,
) -> Result<Given> {
    let Connected { id, product, state, .. } = connected;
    let resumes = own_attempt(state, id).is_some();
    let values = match ask {
        Some(ask) => {
            // A stick takes minutes to read, and a person to answer: neither waits for the other.
            let goes_on = || {
                if request.source == Source::Stick {
                    request.verifying.begin(bundle, cancel);
                }
                !request.verifying.has_found_damage()
            };
            ask::with_answers(&request.values, bundle, product, resumes, ask, &goes_on)?
        }
        None => request.values.clone(),
    };
    if !request.dry_run {
        warn_of_shown_secrets(&values, bundle, progress);
    }
    // Other answers from the host are planned first, which has said so.
    let was_said = request.source == Source::Host && !request.dry_run;
    if resumes && !was_said {
        let mut names = answers::attempted(product)?;
        names.retain(|name| !values.values().contains_key(name));
        if !names.is_empty() {
            let names = names.join(", ");
            progress.warn(&format!("answers of the interrupted change are used again: {names}"));
        }
    }
    Ok(values)
}

/// A secret on the command line is no secret to other users of this host.
fn warn_of_shown_secrets(given: &Given, bundle: &Bundle<File>, progress: &dyn Progress) {
    // An unreadable manifest is listed with all other damaged spots of the bundle.
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

fn release_id(release: &Release, bundle: &manifest_schema::Digest) -> Result<ReleaseId> {
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+') { c } else { '_' };
    let version: String = release.version.chars().take(64).map(safe).collect();
    let version = version.trim_start_matches('.');
    Ok(format!("{version}-{}", bundle.short()).trim_start_matches('-').parse()?)
}
