//! The way back of an attempt: the one of this process that failed, and the one that an earlier process left.
//!
//! Invariant: afterwards no release folder, rendered secret, bundle or image of the attempt is left, and its
//! answers are kept only where data may have been made with them.

use super::tidy;
use crate::host::answers::{self, Answers};
use crate::host::journal::{Journal, Step};
use crate::images::names;
use crate::installation::Installation;
use crate::release::lay_out::outside;
use crate::services::health::Patience;
use crate::services::switch::{self, SwitchError, UndoReport, Volumes};
use std::sync::Arc;

/// Why things could not be put back.
#[derive(Debug, thiserror::Error)]
pub(super) enum UndoError {
    /// The engine failed.
    #[error(transparent)]
    Switch(SwitchError),
    /// Things were put back, and that could not be recorded.
    #[error(transparent)]
    Record(anyhow::Error),
}

/// Removes what the recorded attempt has created, restores the release before it, and records that. Can be repeated at
/// any point.
///
/// # Errors
/// When the engine fails, or the outcome cannot be recorded.
pub(super) async fn undo(
    installation: &mut Installation,
    attempt: &str,
    volumes: Volumes,
    patience: &Patience,
    journal: &mut Journal,
) -> Result<UndoReport, UndoError> {
    let progress = Arc::clone(&installation.progress);
    let Installation { name, engine, state, .. } = &*installation;
    let undone = switch::undo(engine, name, attempt, volumes, patience, progress.as_ref()).await;
    let report = undone.map_err(UndoError::Switch)?;
    names::restore(engine, state, progress.as_ref()).await;
    // With the folders go the secrets that were written for it.
    if let Err(error) = tidy::remove_files(installation).await {
        progress.warn(&format!("files of the undone attempt are left: {error:#}"));
    }
    let made = installation.state.attempt.iter().flat_map(|attempt| &attempt.made);
    let kept = outside::take_back(made);
    if !kept.is_empty() {
        let kept: Vec<String> = kept.iter().map(|path| path.display().to_string()).collect();
        progress.warn(&format!("folders kept, since they may hold data: {}", kept.join(", ")));
    }
    if let Err(error) = tidy::prune_images(installation, &[]).await {
        // They stay recorded, for the next commit or undo.
        progress.warn(&format!("images of the undone attempt are left: {error}"));
    }
    if !report.kept_volumes.is_empty() {
        progress.warn(&format!("volumes kept, since they may hold data: {}", report.kept_volumes.join(", ")));
    }
    let Installation { product, state, .. } = &*installation;
    answers::end_attempted(product, answers_after(volumes), state)
        .and_then(|()| installation.end_attempt())
        .and_then(|()| journal.done(Step::Undo))
        .map_err(UndoError::Record)?;
    Ok(report)
}

/// Volumes that stay were filled with the attempt's answers (a password, say): those stay too.
const fn answers_after(volumes: Volumes) -> Answers {
    match volumes {
        Volumes::Remove => Answers::SetAside,
        Volumes::Keep => Answers::KeepNew,
    }
}
