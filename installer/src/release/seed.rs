//! The first content of a named volume.
//!
//! Invariant: data is never overwritten. A volume is seeded only when it is empty, and one that was only filled in part
//! is recreated. That it was says the volume itself: while it is being filled, its root has a mode that no program
//! gives a folder (`FILLING_MODE`), and nothing starts on it. A file would not do: it could not be removed from a
//! container that never runs, and a database refuses a folder with a strange file. The helper's name says the same, for
//! file systems without modes. No record does: a record outlives what it tells of.
//!
//! The engine does the unpacking, into a helper container that is never started, so it works for
//! engines and volumes that this process cannot reach as files.

mod root_entry;

use crate::engine::container_spec::{ContainerSpec, MountFrom, MountSpec};
use crate::engine::label;
use crate::engine::volumes::{FolderFacts, FolderOwner, VolumeSpec};
use crate::engine::{Engine, EngineError, EngineKind, ImageId};
use crate::services::seed_helper;
use crate::services::switch::SwitchError;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use root_entry::RootEntry;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Mutex, PoisonError};

/// The folder of the helper's root where it has the volume.
const TARGET: &str = "ferry-seed";

/// The mode of a volume's root while it is being filled: set-user-ID, which means nothing on a folder, and sticky,
/// which means nothing without other users. No seed can ask for it.
const FILLING_MODE: u32 = 0o5700;

/// The outcome of seeding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seeded {
    /// The volume was empty, or filled in part, and is filled now.
    Filled,
    /// The volume has content, which was left alone.
    HasContent,
}

/// Fills `volume` from the tar that `open_tar` gives, if it is empty. One whose filling was interrupted is removed with
/// its content and recreated first. `image` is the ID of any image in the engine. The root gets the owner and mode of
/// the tar's `./`, where it has one, and otherwise keeps its own.
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
) -> Result<Seeded, SeedError>
where
    S: Stream<Item = io::Result<Bytes>> + Send + 'static,
{
    // A helper of an interrupted run would keep the volume in use.
    let mut interrupted = false;
    for helper in seed_helper::of_volume(engine, project, &volume.name).await? {
        interrupted |= seed_helper::has_begun(&helper);
        if !interrupted {
            engine.remove_container(&helper.id, true).await?;
        }
    }
    if interrupted || engine.volume(&volume.name).await?.is_none() {
        remake(engine, project, volume).await?;
    }
    let helper = helper(project, volume, image);
    let (mut id, _) = engine.create(&helper).await?;
    let mut found = look(engine, &id).await?;
    if found.owner.mode == FILLING_MODE {
        remake(engine, project, volume).await?;
        (id, _) = engine.create(&helper).await?;
        found = look(engine, &id).await?;
    }
    if !found.empty {
        engine.remove_container(&id, true).await?;
        return Ok(Seeded::HasContent);
    }
    engine.rename(&id, &seed_helper::filling_name(&volume.name)).await?;
    let root = owner(engine, volume, found).await?;
    if let Err(error) = fill(engine, &id, root, open_tar()).await {
        // Empty again, if possible; else the volume and the helper's name tell the next run.
        let _ = remake(engine, project, volume).await;
        return Err(error);
    }
    // Volumes that the image declares were made for the helper too.
    engine.remove_container(&id, true).await?;
    Ok(Seeded::Filled)
}

/// Why a volume was not seeded.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// The engine failed, or the volume cannot be used.
    #[error(transparent)]
    Switch(#[from] SwitchError),
    /// The disk did not take it.
    #[error("its content could not be brought onto the disk")]
    Sync(#[source] anyhow::Error),
}

impl From<EngineError> for SeedError {
    fn from(error: EngineError) -> Self {
        Self::Switch(error.into())
    }
}

impl SeedError {
    /// This error as a failure, with its class and hint.
    #[must_use]
    pub fn into_failure(self) -> anyhow::Error {
        match self {
            Self::Switch(error) => error.into_failure(),
            Self::Sync(error) => error,
        }
    }
}

async fn look(engine: &Engine, helper: &str) -> Result<FolderFacts, EngineError> {
    engine.look_into(helper, &format!("/{TARGET}")).await
}

/// Makes the volume, in place of one that was filled in part.
async fn remake(engine: &Engine, project: &str, volume: &VolumeSpec) -> Result<(), SwitchError> {
    let Some(found) = engine.volume(&volume.name).await? else {
        if volume.external {
            return Err(SwitchError::MissingExternal { kind: "volume", name: volume.name.clone() });
        }
        engine.create_volume(volume).await?;
        return Ok(());
    };
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

/// Owner and mode of an empty volume.
async fn owner(engine: &Engine, volume: &VolumeSpec, found: FolderFacts) -> Result<FolderOwner, EngineError> {
    let FolderFacts { owner, .. } = found;
    if engine.facts().kind == EngineKind::Docker || !rustix::process::geteuid().is_root() {
        return Ok(owner);
    }
    // Podman does not tell the owner.
    let place = engine.volume(&volume.name).await?.map(|volume| volume.mountpoint).unwrap_or_default();
    let metadata = if engine.facts().local { std::fs::metadata(place).ok() } else { None };
    Ok(metadata.map_or(owner, |metadata| FolderOwner {
        uid: metadata.uid().into(),
        gid: metadata.gid().into(),
        ..owner
    }))
}

/// Fills the volume of `helper`, whose root has the owner and mode `before`.
async fn fill(
    engine: &Engine,
    helper: &str,
    before: FolderOwner,
    tar: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
) -> Result<(), SeedError> {
    let filling = FolderOwner { mode: FILLING_MODE, ..before };
    // A file system without modes refuses, or does nothing: then the helper's name has to do.
    let marked = engine.set_owner_of_mount(helper, TARGET, filling).await.is_ok();
    let root = Arc::new(Mutex::new(RootEntry::default()));
    engine.put_archive(helper, &format!("/{TARGET}"), without_root(tar, Arc::clone(&root))).await?;
    // After a power cut, what is no longer marked must be there.
    engine.sync_data().await.map_err(SeedError::Sync)?;
    let named = root.lock().unwrap_or_else(PoisonError::into_inner).found();
    if marked || named.is_some() {
        engine.set_owner_of_mount(helper, TARGET, named.unwrap_or(before)).await?;
        engine.sync_data().await.map_err(SeedError::Sync)?;
    }
    Ok(())
}

/// The tar without the entry of its root, which goes to `root`.
fn without_root(
    tar: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    root: Arc<Mutex<RootEntry>>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let at_end = Arc::clone(&root);
    let pieces = tar.map(move |piece| {
        let mut root = root.lock().unwrap_or_else(PoisonError::into_inner);
        piece.map(|piece| root.pass(piece))
    });
    let end = futures_util::stream::once(async move {
        Ok(vec![at_end.lock().unwrap_or_else(PoisonError::into_inner).end()])
    });
    pieces.chain(end).flat_map(|pieces: io::Result<Vec<Bytes>>| {
        let pieces = match pieces {
            Ok(pieces) => pieces.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        futures_util::stream::iter(pieces)
    })
}

/// The container through which the volume is filled. It is never started.
fn helper(project: &str, volume: &VolumeSpec, image: ImageId) -> ContainerSpec {
    ContainerSpec {
        name: seed_helper::name(&volume.name),
        image: image.to_string(),
        labels: helper_labels(project, volume),
        entrypoint: Some(vec!["/ferry-seed-is-never-started".to_owned()]),
        command: Some(vec![]),
        network_mode: Some("none".to_owned()),
        restart: "no".to_owned(),
        mounts: vec![MountSpec {
            source: MountFrom::Volume { name: volume.name.clone(), nocopy: true, subpath: None },
            target: format!("/{TARGET}"),
            read_only: false,
        }],
        ..Default::default()
    }
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
