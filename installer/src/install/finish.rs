//! The two ends of an install: the commit, and the way back.

use super::interrupted::answers_after_undo;
use super::prepare::Prepared;
use super::tidy;
use crate::host::answers;
use crate::host::journal::Journal;
use crate::host::state::{self, Installed, Phase};
use crate::images::names;
use crate::services::health::{Outcome, Patience};
use crate::services::switch::{self, SwitchReport};
use crate::services::target::Target;
use anyhow::Result;
use bundle_format::{Bundle, Signer};
use manifest_schema::ProjectName;
use manifest_schema::progress::Progress;
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
    let images = prepared.images.images().filter_map(|image| {
        Some((prepared.images.kept_name(image).to_string(), ids.get(&image.reference.to_string())?.clone()))
    });
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
        variables: prepared.site.values.keys().cloned().collect(),
        places: target.services.iter().map(|service| service.place.clone()).collect(),
        found: found(prepared),
    };
    // Only a state that was written counts: until then a failure is undone.
    let mut next = prepared.state.clone();
    next.brought.retain(|(_, id)| !installed.images.values().any(|image| image == id));
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

/// Names that images had before this product brought any.
fn found(prepared: &Prepared) -> BTreeSet<String> {
    let is_there = |name: &str, id: &str| {
        let holder = prepared.inventory.named(name);
        holder.is_some_and(|holder| holder.id == id) && !prepared.state.owns(name, id)
    };
    let present = prepared.images.present.iter();
    let named = present.map(|(image, id)| (prepared.images.kept_name(image).to_string(), id));
    named.filter(|(name, id)| is_there(name, id)).map(|(name, _)| name).collect()
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
    names::restore(engine, &prepared.state, progress).await;
    // With it go the secrets that were written for it.
    if let Err(error) = tidy::remove_folders(product, name, &prepared.state, engine).await {
        progress.warn(&format!("files of what failed are left: {error:#}"));
    }
    let recorded =
        answers::end_attempted(product, answers_after_undo(*volumes), &prepared.state).and_then(|()| {
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
