//! A look at everything that an install depends on. Nothing is changed.

use super::plan::Plan;
use super::preflight::{self, About, Finding, Needed, Paths, Ports};
use super::target::target;
use super::{RECORDS_ROOM, Request, Source};
use crate::engine::inventory::Inventory;
use crate::engine::label;
use crate::host::state::{Attempt, Phase, State};
use crate::host::{ProductDir, Root, answers, random};
use crate::images::plan::{self as import_plan, ImportPlan};
use crate::installation::Installation;
use crate::release::site::{self, HostProvides, Site, Unfit};
use crate::release::{access, changes, lay_out, seeding};
use crate::services::Replica;
use crate::services::ailment::Ailment;
use crate::services::switch::{self, Change, SwitchError};
use anyhow::Result;
use bundle_format::{Bundle, slim};
use manifest_schema::ReleaseId;
use manifest_schema::compose::Reserved;
use manifest_schema::compose::model::{Permission, permissions};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

/// The inputs of a survey.
pub(super) struct Survey<'a> {
    pub(super) request: &'a Request,
    pub(super) root: &'a Root,
    pub(super) bundle: &'a Bundle<File>,
    pub(super) id: &'a ReleaseId,
    /// How an answer that is missing can be given.
    pub(super) give: &'static str,
}

/// The result of a survey where all variables have good answers.
pub(super) struct Known {
    pub(super) attempt: Attempt,
    pub(super) site: Site,
    pub(super) images: ImportPlan,
    pub(super) inventory: Inventory,
    pub(super) plan: Plan,
}

/// A mistake of the release itself that shows with these answers only.
const OTHERWISE: &str = "correct it there, or give other answers";

/// The attempt that an install of `id` goes on with.
pub(super) fn own_attempt<'a>(state: &'a State, id: &ReleaseId) -> Option<&'a Attempt> {
    // A committed attempt only has to be tidied up; its answers are those of the running release.
    let own = |attempt: &&Attempt| attempt.release == *id || attempt.phase == Phase::Committed;
    state.attempt.as_ref().filter(own)
}

impl Survey<'_> {
    /// The release with the answers of this host; `None`, and findings, where they do not fit.
    ///
    /// # Errors
    /// When the bundle or a file of this host cannot be read.
    pub(super) fn site(
        &self,
        product: &ProductDir,
        state: &State,
        findings: &mut Vec<Finding>,
    ) -> Result<Option<Site>> {
        let resumes = own_attempt(state, self.id).is_some();
        let remembered = answers::remembered(product, &site::manifest(self.bundle)?, resumes)?;
        let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let mut random = |length: usize| random::name(length);
        let external = |kind: &str, name: &str| site::external(product, kind, name);
        let provided = HostProvides {
            external: &external,
            reserved: if state.knows(self.id) { Reserved::Dropped } else { Reserved::Refused },
            over: site::override_file(product)?,
            salt: &state.salt,
            renderer: self.request.renderer,
        };
        match site::evaluate(
            self.bundle,
            &self.request.values,
            &remembered,
            &hostname,
            &provided,
            &mut random,
        ) {
            Ok(site) => Ok(Some(site)),
            Err(error) => {
                let (mistakes, about) = match error.downcast::<Unfit>()? {
                    Unfit::Answers(mistakes) => (mistakes, About::Answers),
                    Unfit::Host(mistakes) => (mistakes, About::Files),
                };
                findings.extend(mistakes.0.into_iter().map(|mut mistake| {
                    let (fact, fix) = match (about, mistake.hint.take()) {
                        // The form of a value is no hint on how to give one.
                        (About::Answers, Some(hint)) if mistake.in_no_file => {
                            (format!("{mistake} ({hint})"), self.give.to_owned())
                        }
                        (About::Answers, hint) => {
                            (mistake.to_string(), hint.unwrap_or_else(|| self.give.to_owned()))
                        }
                        (_, hint) => (mistake.to_string(), hint.unwrap_or_else(|| OTHERWISE.to_owned())),
                    };
                    Finding { about, ..Finding::new(fact, fix) }
                }));
                Ok(None)
            }
        }
    }

    /// Everything else, where the answers fit.
    ///
    /// # Errors
    /// When the engine fails, or something cannot be read.
    pub(super) async fn look(
        &self,
        installation: &Installation,
        findings: &mut Vec<Finding>,
    ) -> Result<Option<Known>> {
        let Self { request, root, bundle, id, .. } = *self;
        let Installation { product, engine, state, .. } = installation;
        let release = bundle.release();
        let Some(site) = self.site(product, state, findings)? else { return Ok(None) };
        let resumed = own_attempt(state, id).filter(|attempt| attempt.phase != Phase::Committed);
        let attempt = resumed.cloned().unwrap_or_else(|| Attempt::new(id, &random::name(8)));
        let inventory = engine.inventory().await?;
        let wanted = release.images_for(&engine.facts().platform);
        let images =
            import_plan::plan(bundle, &wanted, &inventory, import_plan::takes_zstd(engine), |name, id| {
                state.owns(name, id)
            });
        let names: BTreeSet<String> = wanted.iter().map(|image| image.reference.to_string()).collect();
        let mut of_images = preflight::check_services(&site, &names);
        of_images.extend(preflight::check_images(engine.facts(), &images));
        let images_fit = of_images.is_empty();
        if request.source == Source::Host {
            findings.extend(preflight::check_retained(&images));
        }
        findings.extend(of_images);
        self.host(installation, &site, &images, findings).await?;
        let asked = permissions(&site.project);
        findings.extend(own_places(installation, &asked, root.path()).await?);
        let lay_out = !lay_out::is_laid_out(&site, product, id);
        let seeds = seeding::needed(installation, &site, release).await?;
        let retained = if product.retained_bundle(id).is_file() { 0 } else { slim::bytes(bundle)? };
        let needed = Needed {
            images: &images,
            release,
            root: root.path(),
            lay_out,
            seeds: !seeds.is_empty(),
            own_bytes: retained.saturating_add(root.program_bytes()).saturating_add(RECORDS_ROOM),
        };
        findings.extend(preflight::check_space(engine.facts(), &needed));
        let comparison = if images_fit {
            let ids = images.expected_ids(engine.facts().store);
            let target = target(installation, release, &attempt, &site, &ids, &images.names).await?;
            findings.extend(preflight::check_addresses(&target, &engine.all_networks().await?));
            let (comparison, obstacles) = switch::compare(engine, &target).await?;
            findings.extend(obstacles.into_iter().map(of_obstacle));
            comparison
        } else {
            switch::Comparison::default()
        };
        let current = state.current.as_ref().map(|current| product.release(&current.folder));
        let plan = Plan {
            access: access::access(asked, current.as_deref()),
            lay_out,
            seeds,
            ailments: ailments(&comparison, state),
            services: comparison.changes,
            stopped: comparison.stopped,
            files: current.map(|folder| changes::files(&site, &folder, request.dry_run)).unwrap_or_default(),
            ..Plan::of_images(release, id, state, &images)
        };
        Ok(Some(Known { attempt, site, images, inventory, plan }))
    }

    /// Paths, ports and other installs on this host.
    async fn host(
        &self,
        installation: &Installation,
        site: &Site,
        images: &ImportPlan,
        findings: &mut Vec<Finding>,
    ) -> Result<()> {
        let Installation { name, product, engine, state, .. } = installation;
        let (id, release) = (self.id, self.bundle.release());
        if engine.facts().local {
            let folder = product.release(&lay_out::folder_name(site, id));
            let binds = lay_out::host_paths(site, release, &folder, product);
            let bundle = (self.request.source == Source::Stick).then_some(self.bundle);
            let paths = Paths { project: &site.project, binds: &binds, images, bundle };
            findings.extend(preflight::check_paths(&paths));
            findings.extend(preflight::check_links(product.path(), &binds));
            findings.extend(preflight::check_podman(engine.facts().kind, &site.project));
            findings.extend(preflight::check_users(engine.facts().users, &site.project, &binds));
            findings.extend(taken_ports(installation, site, self.request.engine_restart()).await?);
        }
        let there = engine.containers(label::PROJECT, name.as_str()).await?;
        findings.extend(preflight::check_same_root(&there, product, state));
        Ok(())
    }
}

/// Paths that are Ferry's own, or in a volume of another product.
async fn own_places(installation: &Installation, asked: &[Permission], root: &Path) -> Result<Vec<Finding>> {
    let Installation { name, engine, .. } = installation;
    let mut findings = preflight::check_own_folder(asked, root);
    for volume in engine.volumes_with(label::ATTEMPT).await? {
        let owner = volume.labels.get(label::PROJECT).filter(|owner| *owner != name.as_str());
        if let Some(owner) = owner {
            findings.extend(preflight::check_foreign_volume(asked, &volume, owner));
        }
    }
    Ok(findings)
}

/// Ailments of replicas that stay as they are. One that is made and should be there was removed by somebody.
fn ailments(comparison: &switch::Comparison, state: &State) -> BTreeMap<Replica, Ailment> {
    let recorded = |replica: &&Replica| {
        state.attempt.is_none() && state.current.as_ref().is_some_and(|it| it.replicas.contains(replica))
    };
    let made = comparison.changes.iter().filter(|(_, change)| **change == Change::Create);
    let missing = made.map(|(replica, _)| replica).filter(recorded);
    let missing = missing.map(|replica| (replica.clone(), Ailment::Missing));
    comparison.ailments.iter().map(|(replica, ailment)| (replica.clone(), *ailment)).chain(missing).collect()
}

fn of_obstacle(obstacle: SwitchError) -> Finding {
    let fix = obstacle.hint().unwrap_or_else(|| "look at it with the engine's own tools".to_owned());
    Finding::new(obstacle.to_string(), fix)
}

/// Ports that others hold. After an interrupted install the engine may be about to end a container of ours,
/// whose port is free in a moment.
async fn taken_ports(installation: &Installation, site: &Site, restart: &str) -> Result<Vec<Finding>> {
    let Installation { name, engine, state, .. } = installation;
    let patience = if state.attempt.is_some() { PORT_PATIENCE } else { Duration::ZERO };
    let deadline = Instant::now() + patience;
    loop {
        let own = engine.containers(label::PROJECT, name.as_str()).await?;
        let all = engine.all_containers().await?;
        let ports = Ports { own: &own, all: &all, restart };
        let taken = preflight::check_ports(&site.project, &ports);
        if taken.is_empty() || Instant::now() >= deadline {
            return Ok(taken);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// How long a port may stay taken after its container has stopped.
const PORT_PATIENCE: Duration = Duration::from_secs(5);
