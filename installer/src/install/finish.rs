//! The two ends of an install: the commit, and the way back.

use super::interrupted::answers_after_undo;
use super::prepare::Prepared;
use crate::health::{Outcome, Patience};
use crate::import;
use crate::site;
use crate::state::{self, Installed, Journal, Phase};
use crate::switch::{self, SwitchReport};
use crate::target::Target;
use anyhow::Result;
use bundle_format::{Bundle, Signer};
use manifest_schema::progress::Progress;
use manifest_schema::release::Image;
use manifest_schema::{ImageRef, ProjectName};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;

/// Records the release as the one that runs. From here on nothing is undone.
pub(super) async fn commit(
    bundle: &Bundle<File>,
    prepared: &mut Prepared,
    target: &Target,
    ids: &BTreeMap<String, String>,
    report: &SwitchReport,
) -> Result<()> {
    // What is said to be installed must outlive a power cut.
    prepared.engine.sync_data().await?;
    let release = bundle.release();
    let images = prepared
        .images
        .images()
        .filter_map(|image| Some((import::kept_name(image), ids.get(&image.reference.to_string())?.clone())));
    let completed = |service: &String| report.outcomes.get(service) == Some(&Outcome::Completed);
    let before = |service: &String| target.done.contains(service) && report.unchanged.contains(service);
    let services = target.services.iter().map(|service| service.name.to_string());
    let installed = Installed {
        release: prepared.id.clone(),
        version: release.version.clone(),
        bundle: bundle.verified().id(),
        signed_by: bundle.verified().signers().iter().map(Signer::fingerprint).collect(),
        installed_at: state::now(),
        images: images.collect(),
        folder: target.folder.clone(),
        networks: target.network_names(),
        done: services.filter(|service| completed(service) || before(service)).collect(),
        places: target.services.iter().map(|service| service.place.clone()).collect(),
        found: found(prepared),
    };
    // Only a state that was written counts: until then a failure is undone.
    let mut next = prepared.state.clone();
    let old = next.current.replace(installed).filter(|old| old.release != prepared.id);
    next.previous.retain(|other| other.release != prepared.id);
    next.previous.splice(0..0, old);
    if let Some(attempt) = &mut next.attempt {
        attempt.phase = Phase::Committed;
    }
    next.save(&prepared.product)?;
    prepared.state = next;
    Ok(())
}

/// Names of images that were there before this product brought any.
fn found(prepared: &Prepared) -> BTreeSet<String> {
    let own = prepared.state.own_images();
    let is_there = |image: &Image, id: &String| {
        let facts = prepared.inventory.images.iter().find(|facts| facts.id == *id);
        let mut names = facts.into_iter().flat_map(|facts| &facts.repo_tags);
        names.any(|name| name.parse::<ImageRef>().is_ok_and(|name| name == image.reference))
    };
    prepared
        .images
        .present
        .iter()
        .filter(|(image, id)| is_there(image, id))
        .map(|(image, _)| import::kept_name(image))
        .filter(|name| !own.contains(name))
        .collect()
}

/// Puts things back after a failure and gives the error, with how things stand now where that is not as
/// before.
pub(super) async fn step_back(
    name: &ProjectName,
    patience: &Patience,
    mut prepared: Prepared,
    journal: &mut Journal,
    step: &str,
    error: anyhow::Error,
    progress: &dyn Progress,
) -> anyhow::Error {
    let written = journal.failed(step, &format!("{error:#}")).and_then(|()| journal.begin("undo"));
    let error = match written {
        Ok(()) => error,
        Err(journal) => error.context(format!("the journal could not be written either: {journal:#}")),
    };
    // The stage that failed ends before putting things back begins.
    progress.fail("did not succeed");
    progress.begin("undoing", None);
    let Prepared { engine, attempt, product, volumes, .. } = &prepared;
    let undone = switch::undo(engine, name, &attempt.name, *volumes, patience, progress).await;
    let report = match undone {
        Ok(report) => report,
        Err(undo) => {
            progress.fail("putting things back failed");
            return error.context(format!(
                "putting things back failed ({undo}), after the failure below: run the same command again"
            ));
        }
    };
    let recorded = site::end_attempted(product, answers_after_undo(*volumes)).and_then(|()| {
        prepared.state.attempt = None;
        prepared.state.seeding.clear();
        prepared.state.save(&prepared.product)?;
        journal.done("undo")
    });
    if let Err(unrecorded) = recorded {
        progress.fail("what was put back could not be recorded");
        return error.context(format!(
            "things were put back, but that could not be recorded ({unrecorded:#}): run the same command again"
        ));
    }
    if !report.kept_volumes.is_empty() {
        progress.warn(&format!("kept, since they may hold data: {}", report.kept_volumes.join(", ")));
    }
    if !report.failures.is_empty() {
        let services: Vec<&str> = report.failures.iter().map(|failure| failure.service.as_str()).collect();
        progress.fail("not everything came up again");
        return error.context(format!(
            "the old release was put back, but {} did not come up, after the failure below",
            services.join(", ")
        ));
    }
    progress.end(&match &prepared.state.current {
        Some(current) => format!("{} runs again, as before", current.release),
        None => "nothing of it is left running".to_owned(),
    });
    error
}
