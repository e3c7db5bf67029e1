//! The fate of an interrupted install, when the next one begins.
//!
//! ```text
//! the same release     goes on under the same name
//! another release      is undone; what it may have written into volumes stays
//! it was committed     is tidied up
//! ```

use super::{tidy, undo};
use crate::host::journal::{Journal, Step};
use crate::host::state::{self, Phase};
use crate::installation::Installation;
use crate::services::health::Patience;
use crate::services::switch::{SwitchError, Volumes};
use anyhow::Result;
use manifest_schema::ReleaseId;
use undo::UndoError;

/// Brings an interrupted attempt to its end where it cannot simply be gone on with. `true` where anything was
/// changed, so that one has to look again.
///
/// # Errors
/// When the engine or the files cannot be used.
pub(super) async fn end(
    installation: &mut Installation,
    id: &ReleaseId,
    patience: &Patience,
) -> Result<bool> {
    let Some(attempt) = installation.state.attempt.clone() else { return Ok(false) };
    if attempt.phase == Phase::Committed {
        tidy::tidy(installation).await?;
        return Ok(true);
    }
    if attempt.release == *id {
        return forget_images_of_a_power_cut(installation).await;
    }
    let warn = |text: &str| installation.progress.warn(text);
    warn(&format!("the install of {} was interrupted: it is rolled back first", attempt.release));
    let mut journal = Journal::open(&installation.product, &attempt.name)?;
    journal.begin(Step::Undo)?;
    let volumes = volumes_of(attempt.phase);
    let undone = undo::undo(installation, &attempt.name, volumes, patience, &mut journal).await;
    let report = undone.map_err(|error| match error {
        UndoError::Switch(error) => SwitchError::into_failure(error),
        UndoError::Record(error) => error,
    })?;
    for failure in &report.failures {
        let fact = format!("{} was restored and does not come up: {}", failure.replica, failure.reason);
        installation.progress.warn(&fact);
    }
    Ok(true)
}

/// The fate of the volumes of an earlier process's attempt, by how far it came: they may hold data.
pub(super) const fn volumes_of(phase: Phase) -> Volumes {
    match phase {
        Phase::Staging => Volumes::Remove,
        Phase::Switching | Phase::Committed => Volumes::Keep,
    }
}

/// After a power cut, an image whose files had not reached the disk looks whole to the engine, and no
/// pull mends it: such images are removed and brought in again.
async fn forget_images_of_a_power_cut(installation: &mut Installation) -> Result<bool> {
    let Installation { engine, state, progress, .. } = &mut *installation;
    let Some(attempt) = state.attempt.as_mut() else { return Ok(false) };
    if attempt.importing.is_empty() || attempt.boot == state::boot() {
        return Ok(false);
    }
    progress.warn("this host was restarted during an import: its images are imported again");
    for id in &attempt.importing {
        match engine.remove_image(id).await {
            Ok(_) => {}
            // Something that ran before uses it, so it was there before.
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(error.into()),
        }
    }
    attempt.importing.clear();
    installation.save()?;
    Ok(true)
}
