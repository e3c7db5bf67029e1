//! The first content of a named volume.
//!
//! Invariant: data is never overwritten. A volume is seeded only when it is empty. One whose seeding was
//! interrupted is recreated only when its content is certainly ours: the helper's name says that seeding had
//! begun in an empty volume, or this very attempt created the volume, before any service ran. A journal alone
//! does not suffice, since it is written before the volume was looked into.
//!
//! The engine does the unpacking, into a helper container that is never started, so it works for
//! engines and volumes that this process cannot reach as files.

use crate::engine::container_spec::{ContainerSpec, MountFrom, MountSpec};
use crate::engine::label;
use crate::engine::volumes::VolumeSpec;
use crate::engine::{Engine, EngineError, ImageId};
use crate::services::seed_helper;
use crate::services::switch::SwitchError;
use bytes::Bytes;
use futures_util::Stream;
use std::collections::BTreeMap;
use std::io;

/// Where the helper has the volume.
const TARGET: &str = "/ferry-seed";

/// The outcome of seeding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seeded {
    /// The volume was empty and is filled now.
    Filled,
    /// The volume has content, which was left alone.
    HasContent,
}

/// Fills `volume` from the tar that `open_tar` gives, if it is empty. The volume must exist (see
/// [`crate::services::switch::prepare_networks_volumes`]). `image` is the ID of any image in the engine.
///
/// `must_reseed` says that an earlier filling may have been interrupted: then the volume is removed with
/// its content and recreated, where this attempt certainly created it. Without it that happens
/// only where the engine itself still shows an interrupted filling.
///
/// # Errors
/// When the tar cannot be read or is none, the volume belongs to somebody else or is in use although
/// it has to be recreated, or the engine fails.
pub async fn seed<S>(
    engine: &Engine,
    project: &str,
    volume: &VolumeSpec,
    image: ImageId,
    open_tar: impl FnOnce() -> S,
    must_reseed: bool,
) -> Result<Seeded, SwitchError>
where
    S: Stream<Item = io::Result<Bytes>> + Send + 'static,
{
    // A helper of an interrupted run would keep the volume in use.
    let mut interrupted = false;
    for helper in seed_helper::of_volume(engine, project, &volume.name).await? {
        interrupted |= seed_helper::has_begun(&helper);
        if interrupted {
            continue;
        }
        engine.remove_container(&helper.id, true).await?;
    }
    remake(engine, project, volume, interrupted, must_reseed).await?;
    let helper = ContainerSpec {
        name: seed_helper::name(&volume.name),
        image: image.to_string(),
        labels: helper_labels(project, volume),
        entrypoint: Some(vec!["/ferry-seed-is-never-started".to_owned()]),
        command: Some(vec![]),
        network_mode: Some("none".to_owned()),
        restart: "no".to_owned(),
        mounts: vec![MountSpec {
            source: MountFrom::Volume { name: volume.name.clone(), nocopy: true, subpath: None },
            target: TARGET.to_owned(),
            read_only: false,
        }],
        ..Default::default()
    };
    let (id, _) = engine.create(&helper).await?;
    let begun = seed_helper::filling_name(&volume.name);
    let seeded = fill(engine, &id, &begun, open_tar).await;
    if matches!(&seeded, Err(Failed::Filling(_))) {
        // Empty again, if possible; else the helper stays and tells the next run.
        let _ = remake(engine, project, volume, true, true).await;
        return seeded.map_err(|failed| failed.error().into());
    }
    // Volumes that the image declares were made for the helper too.
    let removed = engine.remove_container(&id, true).await;
    let seeded = seeded.map_err(Failed::error)?;
    removed?;
    Ok(seeded)
}

/// Recreates a volume whose seeding was interrupted.
async fn remake(
    engine: &Engine,
    project: &str,
    volume: &VolumeSpec,
    interrupted: bool,
    must_reseed: bool,
) -> Result<(), SwitchError> {
    let Some(found) = engine.volume(&volume.name).await? else {
        if volume.external {
            return Err(SwitchError::MissingExternal { kind: "volume", name: volume.name.clone() });
        }
        engine.create_volume(volume).await?;
        return Ok(());
    };
    let attempt = found.labels.get(label::ATTEMPT);
    let of_attempt = attempt.is_some() && attempt == volume.labels.get(label::ATTEMPT);
    if !(interrupted || (must_reseed && of_attempt)) {
        return Ok(());
    }
    let own = found.labels.get(label::PROJECT).is_some_and(|owner| owner == project);
    if volume.external || !own {
        let (name, project) = (volume.name.clone(), project.to_owned());
        return Err(SwitchError::Foreign { kind: "volume", name, project });
    }
    for helper in seed_helper::of_volume(engine, project, &volume.name).await? {
        engine.remove_container(&helper.id, true).await?;
    }
    engine.remove_volume(&volume.name).await?;
    engine.create_volume(volume).await?;
    Ok(())
}

/// A failure before or after the first byte could have been written.
enum Failed {
    Before(EngineError),
    Filling(EngineError),
}

impl Failed {
    fn error(self) -> EngineError {
        match self {
            Self::Before(error) | Self::Filling(error) => error,
        }
    }
}

async fn fill<S>(
    engine: &Engine,
    helper: &str,
    begun: &str,
    open_tar: impl FnOnce() -> S,
) -> Result<Seeded, Failed>
where
    S: Stream<Item = io::Result<Bytes>> + Send + 'static,
{
    if !engine.is_empty_folder(helper, TARGET).await.map_err(Failed::Before)? {
        return Ok(Seeded::HasContent);
    }
    engine.rename(helper, begun).await.map_err(Failed::Before)?;
    engine.put_archive(helper, TARGET, open_tar()).await.map_err(Failed::Filling)?;
    Ok(Seeded::Filled)
}

/// Of the project and the attempt, so that undoing and uninstalling find it, but of no service.
fn helper_labels(project: &str, volume: &VolumeSpec) -> BTreeMap<String, String> {
    let attempt = volume.labels.get(label::ATTEMPT).map_or("", String::as_str);
    let labels = [
        (label::SEED_OF, volume.name.as_str()),
        (label::PROJECT, project),
        (label::ATTEMPT, attempt),
        ("com.docker.compose.oneoff", "True"),
    ];
    labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}
