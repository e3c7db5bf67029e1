//! Which volumes get their first content in this install, and giving it to them.

use crate::engine::{ImageId, label};
use crate::images::registry::ReadFailure;
use crate::installation::Installation;
use crate::release::seed::{self, Seeded};
use crate::release::site::Site;
use crate::services::spec::resource_name;
use crate::services::target::Target;
use anyhow::{Context, Result};
use bundle_format::read_ahead::ReadAhead;
use bundle_format::{Bundle, ReadAt};
use bytes::Bytes;
use manifest_schema::progress::Progress;
use manifest_schema::release::Release;
use std::sync::Arc;

/// Volumes, by key, that have a seed and may need it: they do not exist, their filling was
/// interrupted, the attempt under way made them and may not have come round to filling them, or nothing
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
    let mut keys = Vec::new();
    for seed in &release.seeds {
        let Some(volume) = site.project.volumes.get(&seed.volume) else { continue };
        let name = resource_name(&release.name, &seed.volume, volume.name.as_deref());
        let found = engine.volume(&name).await?;
        let missing = found.is_none();
        let unfinished = found.as_ref().zip(state.attempt.as_ref()).is_some_and(|(volume, attempt)| {
            volume.labels.get(label::ATTEMPT).is_some_and(|name| *name == attempt.name)
        });
        if missing || unfinished || state.current.is_none() || state.seeding.contains(&seed.volume) {
            keys.push(seed.volume.clone());
        }
    }
    Ok(keys)
}

/// Fills the volumes `keys`, where they are empty. The state file records the volume under way, so that
/// the next run recreates a half-filled one.
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
        let must_reseed = !installation.state.seeding.insert(seed.volume.clone());
        installation.save()?;
        let broken = ReadFailure::default();
        let open = || stream(bundle, seed.file.span, &progress, &broken);
        let seeded =
            seed::seed(&installation.engine, target.project.as_str(), volume, image, open, must_reseed)
                .await
                .map_err(|error| broken.failure().map_or_else(|| error.into_failure(), Into::into))
                .with_context(|| format!("seeding the volume {}", seed.volume))?;
        // After a power cut, what is recorded as filled must be.
        installation.engine.sync_data().await?;
        installation.state.seeding.remove(&seed.volume);
        installation.save()?;
        filled += usize::from(seeded == Seeded::Filled);
    }
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
