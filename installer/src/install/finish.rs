//! The two ends of an install: the commit, and the failure after which things were put back.

use super::prepare::Prepared;
use super::stage::Staged;
use super::undo::{self, UndoError};
use crate::engine::{ImageId, ImageName};
use crate::host::journal::{Journal, Step};
use crate::host::state::{self, Installed, Phase};
use crate::installation::Installation;
use crate::services::Replica;
use crate::services::ailment;
use crate::services::health::{Outcome, Patience};
use crate::services::replica::listed;
use crate::services::switch::SwitchReport;
use anyhow::Result;
use bundle_format::Bundle;
use std::collections::BTreeSet;
use std::fs::File;

/// Records the release as the one that runs. From here on nothing is undone.
pub(super) async fn commit(
    bundle: &Bundle<File>,
    prepared: &mut Prepared,
    staged: &Staged,
    report: &SwitchReport,
) -> Result<()> {
    let Staged { target, ids } = staged;
    // What is said to be installed must outlive a power cut.
    prepared.installation.engine.sync_data().await?;
    let release = bundle.release();
    let images = prepared
        .images
        .images()
        .filter_map(|image| Some((prepared.images.name_of(image), *ids.get(&image.reference.to_string())?)));
    let completed = |first: &Replica| report.outcomes.get(first) == Some(&Outcome::Completed);
    let before =
        |first: &Replica| target.done.contains(first.service().as_str()) && report.unchanged.contains(first);
    let replicas = target.services.iter().map(|service| &service.replica);
    let services = replicas.clone().map(|replica| Replica::first(replica.service().clone()));
    let done = services.filter(|first| completed(first) || before(first));
    let installed = Installed {
        release: prepared.attempt.release.clone(),
        version: release.version.clone(),
        bundle: bundle.verified().id(),
        signed_by: bundle.verified().signed_by(),
        installed_at: state::now(),
        images: images.collect(),
        folder: target.folder.clone(),
        networks: target.network_names(),
        done: done.map(|first| first.service().to_string()).collect(),
        variables: prepared.site.values.keys().cloned().collect(),
        replicas: replicas.cloned().collect(),
        found: found(prepared),
    };
    // Only a state that was written counts: until then a failure is undone.
    let mut next = prepared.installation.state.clone();
    next.brought.retain(|(_, id)| !installed.images.values().any(|image| image == id));
    let old = next.current.replace(installed).filter(|old| old.release != prepared.attempt.release);
    next.previous.retain(|other| other.release != prepared.attempt.release);
    next.previous.splice(0..0, old);
    if let Some(attempt) = &mut next.attempt {
        attempt.phase = Phase::Committed;
    }
    next.save(&prepared.installation.product)?;
    prepared.installation.state = next;
    Ok(())
}

/// Names that images had before this product brought any.
fn found(prepared: &Prepared) -> BTreeSet<ImageName> {
    let is_there = |name: &ImageName, id: ImageId| {
        let holder = prepared.inventory.named(name);
        holder.is_some_and(|holder| holder.id == id) && !prepared.installation.state.owns(name, id)
    };
    let present = prepared.images.present.iter();
    let named = present.map(|(image, id)| (prepared.images.name_of(image), *id));
    named.filter(|(name, id)| is_there(name, *id)).map(|(name, _)| name).collect()
}

/// A step that failed, and why.
pub(super) struct Stopped {
    pub(super) step: Step,
    pub(super) error: anyhow::Error,
}

/// Rolls back after a failure and returns the error, with the present state where that is not as
/// before.
pub(super) async fn step_back(
    mut prepared: Prepared,
    journal: &mut Journal,
    stopped: Stopped,
    patience: &Patience,
) -> anyhow::Error {
    let Stopped { step, error } = stopped;
    let written = journal.failed(step, &format!("{error:#}")).and_then(|()| journal.begin(Step::Undo));
    let error = match written {
        Ok(()) => error,
        Err(journal) => error.context(format!("the journal could not be written either: {journal:#}")),
    };
    let Prepared { installation, attempt, volumes, .. } = &mut prepared;
    // The stage that failed ends before putting things back begins.
    installation.progress.fail("failed");
    installation.progress.begin("rollback", None);
    let undone = undo::undo(installation, &attempt.name, *volumes, patience, journal).await;
    let progress = installation.progress.as_ref();
    let report = match undone {
        Ok(report) => report,
        Err(UndoError::Switch(undo)) => {
            progress.fail("the rollback failed");
            return error.context(format!(
                "the rollback failed ({undo}), after the failure below: run the same command again"
            ));
        }
        Err(UndoError::Record(unrecorded)) => {
            progress.fail("the rollback could not be recorded");
            return error.context(format!(
                "the rollback succeeded, but could not be recorded ({unrecorded:#}): run the same command again"
            ));
        }
    };
    if !report.failures.is_empty() {
        let services = report.failures.iter().map(|failure| &failure.replica);
        progress.fail("not every service came up again");
        return error.context(format!(
            "the old release was restored, but {} did not come up, after the failure below",
            listed(services)
        ));
    }
    progress.end(&put_back(installation).await);
    error
}

/// The state after a rollback, in words: that all runs is said only where the engine shows it.
async fn put_back(installation: &Installation) -> String {
    let Installation { name, engine, state, .. } = installation;
    let Some(current) = &state.current else { return "nothing of it is left running".to_owned() };
    let release = &current.release;
    match ailment::of_project(engine, name.as_str(), &current.replicas, &current.done).await {
        Ok(ailments) if ailments.is_empty() => format!("{release} runs again, as before"),
        Ok(ailments) => format!("{release} is put back as it was: {}", ailment::listed(&ailments)),
        Err(error) => format!("{release} is put back; how it does is not known: {error}"),
    }
}
