//! What becomes of an install that was interrupted, when the next one begins.
//!
//! ```text
//! the same release     goes on under the same name
//! another release      is undone; what it may have written into volumes stays
//! it was committed     is tidied up
//! ```

use super::tidy;
use crate::engine::Engine;
use crate::host::ProductDir;
use crate::host::answers::{self, Answers};
use crate::host::journal::Journal;
use crate::host::state::{self, Phase, State};
use crate::images::names;
use crate::services::health::Patience;
use crate::services::switch::SwitchError;
use crate::services::switch::{self, Volumes};
use anyhow::Result;
use manifest_schema::progress::Progress;
use manifest_schema::{ProjectName, ReleaseId};

/// Brings an interrupted attempt to its end where it cannot simply be gone on with. Whether anything was
/// changed, so that one has to look again.
///
/// # Errors
/// When the engine or the files cannot be used.
pub(super) async fn end(
    product: &ProductDir,
    name: &ProjectName,
    state: &mut State,
    id: &ReleaseId,
    engine: &Engine,
    patience: &Patience,
    progress: &dyn Progress,
) -> Result<bool> {
    let Some(attempt) = state.attempt.clone() else { return Ok(false) };
    if attempt.phase == Phase::Committed {
        tidy::tidy(product, name, state, engine, progress).await?;
        return Ok(true);
    }
    if attempt.release == *id {
        return forget_images_of_a_power_cut(product, state, engine, progress).await;
    }
    progress.warn(&format!("the install of {} was interrupted: putting things back first", attempt.release));
    let mut journal = Journal::open(product, &attempt.name)?;
    journal.begin("undo")?;
    let volumes = volumes_of(attempt.phase);
    let undone = switch::undo(engine, name, &attempt.name, volumes, patience, progress).await;
    let report = undone.map_err(SwitchError::into_failure)?;
    for failure in &report.failures {
        progress.warn(&format!("{} was put back and does not come up: {}", failure.service, failure.reason));
    }
    if !report.kept_volumes.is_empty() {
        progress.warn(&format!("kept, since they may hold data: {}", report.kept_volumes.join(", ")));
    }
    names::restore(engine, state, progress).await;
    answers::end_attempted(product, answers_after_undo(volumes), state)?;
    state.attempt = None;
    state.seeding.clear();
    state.save(product)?;
    journal.done("undo")?;
    Ok(true)
}

/// Whether an attempt that came so far, in an earlier process, may have left data in its volumes.
pub(super) const fn volumes_of(phase: Phase) -> Volumes {
    match phase {
        Phase::Staging => Volumes::Remove,
        Phase::Switching | Phase::Committed => Volumes::Keep,
    }
}

/// Volumes that stay were filled with the attempt's answers (a password, say): those stay too.
pub(super) const fn answers_after_undo(volumes: Volumes) -> Answers {
    match volumes {
        Volumes::Remove => Answers::SetAside,
        Volumes::Keep => Answers::KeepNew,
    }
}

/// After a power cut, an image whose files had not reached the disk looks whole to the engine, and no
/// pull mends it: such images are removed and brought in again.
async fn forget_images_of_a_power_cut(
    product: &ProductDir,
    state: &mut State,
    engine: &Engine,
    progress: &dyn Progress,
) -> Result<bool> {
    let Some(attempt) = state.attempt.as_mut() else { return Ok(false) };
    if attempt.importing.is_empty() || attempt.boot == state::boot() {
        return Ok(false);
    }
    progress.warn("this host was restarted while images came in: they are brought in again");
    for id in &attempt.importing {
        match engine.remove_image(id).await {
            Ok(_) => {}
            // Something that ran before uses it, so it was there before.
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(error.into()),
        }
    }
    attempt.importing.clear();
    state.save(product)?;
    Ok(true)
}
