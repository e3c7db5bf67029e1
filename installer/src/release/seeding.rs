//! Which volumes get their first content in this install, and giving it to them.

use crate::engine::{ImageId, label};
use crate::host::state::Phase;
use crate::images::read_failure::ReadFailure;
use crate::installation::Installation;
use crate::release::seed::{self, Seeded};
use crate::release::site::{self, Site};
use crate::services::spec::resource_name;
use crate::services::target::Target;
use anyhow::{Context, Result};
use bundle_format::read_ahead::ReadAhead;
use bundle_format::{Bundle, ReadAt};
use bytes::Bytes;
use manifest_schema::feature::SEED_OWNER;
use manifest_schema::progress::Progress;
use manifest_schema::release::Release;
use std::sync::Arc;

/// Volumes, by key, that have a seed and may need it. They do not exist, or wait for it since an earlier run made them.
/// Or they exist, and no service of the attempt under way can have written into them: the attempt made them, or nothing
/// of this product was ever installed, so that nobody knows what they hold.
///
/// # Errors
/// When the engine fails.
pub(crate) async fn needed(
    installation: &Installation,
    site: &Site,
    release: &Release,
) -> Result<Vec<String>> {
    let Installation { engine, state, .. } = installation;
    let attempt = state.attempt.as_ref();
    let may_have_run = attempt.is_some_and(|attempt| attempt.phase != Phase::Staging);
    let mut keys = Vec::new();
    for seed in &release.seeds {
        let Some(volume) = site.project.volumes.get(&seed.volume) else { continue };
        let name = resource_name(&release.name, &seed.volume, volume.name.as_deref());
        let wanted = match engine.volume(&name).await? {
            None => true,
            Some(_) if state.seeding.contains(&seed.volume) => true,
            Some(_) if may_have_run => false,
            Some(found) => {
                let made_by = found.labels.get(label::ATTEMPT);
                state.current.is_none() || attempt.is_some_and(|attempt| made_by == Some(&attempt.name))
            }
        };
        if wanted {
            keys.push(seed.volume.clone());
        }
    }
    Ok(keys)
}

/// Records that the volumes `keys` wait for their first content, before the first of them is made.
///
/// # Errors
/// When it cannot be recorded.
pub(crate) fn record(installation: &mut Installation, keys: &[String]) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    installation.state.seeding.extend(keys.iter().cloned());
    installation.save()
}

/// Marks the volumes whose root has an owner or mode by the manifest.
///
/// # Errors
/// When the manifest cannot be read.
pub(crate) fn keep_written_roots<S: ReadAt>(bundle: &Bundle<S>, target: &mut Target) -> Result<()> {
    if !bundle.release().needs(SEED_OWNER) {
        return Ok(());
    }
    let manifest = site::manifest(bundle)?;
    for seed in manifest.seeds.iter().filter(|seed| seed.owner.is_some() || seed.mode.is_some()) {
        for volume in target.volumes.iter_mut().filter(|volume| volume.key == seed.volume) {
            volume.keeps_root = true;
        }
    }
    Ok(())
}

/// Fills the volumes `keys`, where they are empty or filled in part.
///
/// # Errors
/// When the bundle cannot be read or the engine fails.
pub(crate) async fn fill<S: ReadAt + 'static>(
    installation: &mut Installation,
    bundle: &Arc<Bundle<S>>,
    target: &Target,
    keys: &[String],
    image: ImageId,
) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let seeds = bundle.release().seeds.iter().filter(|seed| keys.contains(&seed.volume));
    let seeds: Vec<_> = seeds.cloned().collect();
    let progress = Arc::clone(&installation.progress);
    progress.begin("seeding", Some(seeds.iter().map(|seed| seed.file.span.size).sum()));
    let mut filled = 0;
    for seed in &seeds {
        // A volume that no service mounts is not part of the target.
        let Some(volume) = target.volume(&seed.volume) else { continue };
        progress.detail(&format!("volume {}", seed.volume));
        let broken = ReadFailure::default();
        let open = || stream(bundle, seed.file.span, &progress, &broken);
        let seeded = seed::seed(&installation.engine, target.project.as_str(), volume, image, open)
            .await
            .map_err(|error| broken.failure().map_or_else(|| error.into_failure(), Into::into))
            .with_context(|| format!("seeding the volume {}", seed.volume))?;
        filled += usize::from(seeded == Seeded::Filled);
    }
    // Before any service starts: it may empty a volume, and must not find it filled again.
    installation.state.seeding.clear();
    installation.save()?;
    progress.end(&format!("{} filled, {} had content", filled, seeds.len() - filled));
    Ok(())
}

fn stream<S: ReadAt + 'static>(
    bundle: &Arc<Bundle<S>>,
    span: manifest_schema::release::Span,
    progress: &Arc<dyn Progress>,
    broken: &ReadFailure,
) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let (bundle, progress, broken) = (Arc::clone(bundle), Arc::clone(progress), broken.clone());
    tokio::task::spawn_blocking(move || {
        let frames = match ReadAhead::content(&bundle, span, 2) {
            Ok(frames) => frames,
            Err(error) => {
                let _ = sender.blocking_send(Err(broken.note(error)));
                return;
            }
        };
        for content in frames {
            let item = content.map(Bytes::from).map_err(|error| broken.note(error));
            progress.advance(item.as_ref().map_or(0, |content| content.len() as u64));
            let failed = item.is_err();
            if sender.blocking_send(item).is_err() || failed {
                return;
            }
        }
    });
    futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|item| (item, receiver))
    })
}
