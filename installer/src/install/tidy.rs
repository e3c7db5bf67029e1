//! What is left to do after the commit.

use crate::engine::label;
use crate::engine::{Engine, EngineError};
use crate::host::ProductDir;
use crate::host::answers::{self, Answers};
use crate::host::state::{Installed, State};
use crate::images::names;
use crate::services::switch;
use crate::services::switch::SwitchError;
use anyhow::{Context, Result};
use manifest_schema::ProjectName;
use manifest_schema::progress::Progress;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

/// Releases that are kept beside the one that runs.
const KEPT_RELEASES: usize = 2;

/// What is left to do after the commit. Can be repeated at any point: whoever finds a committed attempt
/// does it.
///
/// # Errors
/// When the engine or the files cannot be used.
pub(super) async fn tidy(
    product: &ProductDir,
    name: &ProjectName,
    state: &mut State,
    engine: &Engine,
    progress: &dyn Progress,
) -> Result<()> {
    answers::end_attempted(product, Answers::Adopt, state)?;
    if let Some(current) = &state.current {
        product.switch_current(&current.folder)?;
        let removed = switch::commit_cleanup(engine, name.as_str(), &current.networks, progress).await;
        let _ = removed.map_err(SwitchError::into_failure)?;
    }
    let dropped = state.previous.split_off(state.previous.len().min(KEPT_RELEASES));
    remove_images(engine, state, &dropped).await?;
    state.brought.clear();
    remove_folders(product, name, state, engine).await?;
    state.attempt = None;
    state.seeding.clear();
    state.save(product)
}

/// Removes images that only releases which are no longer kept have used, and those that attempts have brought
/// which were undone.
async fn remove_images(engine: &Engine, state: &State, dropped: &[Installed]) -> Result<(), EngineError> {
    let kept: BTreeSet<&String> = state.releases().flat_map(|release| release.images.values()).collect();
    let undone = state.brought.iter().map(|(name, id)| (name, id));
    let unneeded = dropped.iter().flat_map(Installed::own_images).chain(undone);
    for (name, id) in unneeded.filter(|(_, id)| !kept.contains(id)) {
        match names::forget(engine, name, id).await {
            // Something else uses it.
            Err(error) if !error.is_conflict() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Removes kept bundles of releases that are no longer kept, and release folders that are neither kept nor mounted by any container.
pub(super) async fn remove_folders(
    product: &ProductDir,
    name: &ProjectName,
    state: &State,
    engine: &Engine,
) -> Result<()> {
    let recorded = || state.current.iter().chain(&state.previous);
    let bundles: Vec<PathBuf> = recorded().map(|release| product.kept_bundle(&release.release)).collect();
    for entry in fs::read_dir(product.bundles()).into_iter().flatten() {
        let path = entry?.path();
        if !bundles.contains(&path) {
            fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
        }
    }
    let containers = engine.containers(label::PROJECT, name.as_str()).await?;
    let mounted = containers.iter().filter_map(|container| container.labels.get(label::FOLDER));
    let kept: BTreeSet<&String> = recorded().map(|release| &release.folder).chain(mounted).collect();
    for entry in fs::read_dir(product.releases()).into_iter().flatten() {
        let entry = entry?;
        let is_kept = entry.file_name().to_str().is_some_and(|name| kept.iter().any(|kept| *kept == name));
        if !is_kept {
            fs::remove_dir_all(entry.path())
                .with_context(|| format!("removing {}", entry.path().display()))?;
        }
    }
    Ok(())
}
