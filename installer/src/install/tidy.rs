//! The clean-up after the commit.

use crate::engine::{Engine, EngineError, ImageId, label};
use crate::host::ProductDir;
use crate::host::answers::{self, Answers};
use crate::host::state::Installed;
use crate::images::names;
use crate::installation::Installation;
use crate::services::switch::{self, SwitchError};
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

/// Releases that are retained beside the one that runs.
const RETAINED_RELEASES: usize = 2;

/// Cleans up after the commit. Can be repeated at any point: a run that finds a committed attempt does it.
///
/// # Errors
/// When the engine or the files cannot be used.
pub(super) async fn tidy(installation: &mut Installation) -> Result<()> {
    let Installation { name, product, engine, state, progress } = &mut *installation;
    answers::end_attempted(product, Answers::Adopt, state)?;
    if let Some(current) = &state.current {
        product.switch_current(&current.folder)?;
        let removed =
            switch::commit_cleanup(engine, name.as_str(), &current.networks, progress.as_ref()).await;
        let _ = removed.map_err(SwitchError::into_failure)?;
    }
    let mut dropped = Vec::new();
    let mut retained = Vec::new();
    for release in &state.previous {
        let fits = retained.len() < RETAINED_RELEASES && is_whole(engine, product, release).await?;
        if fits { &mut retained } else { &mut dropped }.push(release.clone());
    }
    state.previous = retained;
    prune_images(installation, &dropped).await?;
    remove_files(installation).await?;
    installation.end_attempt()
}

/// The release can be gone back to: its files and its images are there. An uninstall that was killed, and a person who
/// prunes images, leave a part.
async fn is_whole(engine: &Engine, product: &ProductDir, release: &Installed) -> Result<bool, EngineError> {
    if !product.is_whole(&release.folder) || !product.retained_bundle(&release.release).is_file() {
        return Ok(false);
    }
    for id in release.images.values() {
        if engine.inspect_image(id).await?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Prunes images that no retained release uses: those of `dropped` releases, and those that undone attempts
/// brought, which are then no longer recorded as such.
pub(super) async fn prune_images(
    installation: &mut Installation,
    dropped: &[Installed],
) -> Result<(), EngineError> {
    let Installation { engine, state, .. } = installation;
    let used: BTreeSet<&ImageId> = state.releases().flat_map(|release| release.images.values()).collect();
    let undone = state.brought.iter().map(|(name, id)| (name, *id));
    let unneeded = dropped.iter().flat_map(Installed::own_images).chain(undone);
    for (name, id) in unneeded.filter(|(_, id)| !used.contains(id)) {
        match names::forget(engine, name, id).await {
            // Something else uses it.
            Err(error) if !error.is_conflict() => return Err(error),
            _ => {}
        }
    }
    state.brought.clear();
    Ok(())
}

/// Removes bundles that belong to no retained release, and release folders that neither belong to one nor are
/// mounted by any container.
pub(super) async fn remove_files(installation: &Installation) -> Result<()> {
    let Installation { name, product, engine, state, .. } = installation;
    let bundles: Vec<PathBuf> =
        state.releases().map(|release| product.retained_bundle(&release.release)).collect();
    for entry in fs::read_dir(product.bundles()).into_iter().flatten() {
        let path = entry?.path();
        if !bundles.contains(&path) {
            fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
        }
    }
    let containers = engine.containers(label::PROJECT, name.as_str()).await?;
    let mounted = containers.iter().filter_map(|container| container.labels.get(label::FOLDER));
    let used: BTreeSet<&String> = state.releases().map(|release| &release.folder).chain(mounted).collect();
    product.remove_releases(|name| !used.iter().any(|used| name == used.as_str()))
}
