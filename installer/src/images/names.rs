//! The names of images in the engine.
//!
//! Services run by ID. A name is for people, and against the next `docker image prune`, to which an image
//! without one falls. What must stay true: a name that somebody else has given to another image is never taken
//! away from it. Ours is then named `REPOSITORY:ferry-DIGEST`. So is an image of ours whose name
//! goes to its successor, until a rollback restores its name or no release needs it.

use crate::engine::inventory::Inventory;
use crate::engine::{Engine, EngineError, ImageId, ImageName};
use crate::host::state::{Installed, State};
use crate::images::registry;
use manifest_schema::progress::Progress;
use manifest_schema::release::Image;

/// The name for `image`, of which the engine has `present`: the usual one, unless somebody else has it for
/// another image. `owns`: whether this product gave a name to an image.
#[must_use]
pub(crate) fn choose(
    image: &Image,
    present: Option<ImageId>,
    inventory: &Inventory,
    owns: impl Fn(&ImageName, ImageId) -> bool,
) -> ImageName {
    let usual = ImageName::usual(&image.reference);
    match inventory.named(&usual) {
        Some(holder) if present != Some(holder.id) && !owns(&usual, holder.id) => {
            usual.aside(image.config.digest.into())
        }
        _ => usual,
    }
}

/// Gives the image `id` the name `name`, unless it has it.
///
/// # Errors
/// When the engine fails.
pub(crate) async fn give(
    engine: &Engine,
    id: ImageId,
    name: &ImageName,
    inventory: &Inventory,
) -> Result<(), EngineError> {
    match inventory.named(name) {
        Some(holder) if holder.id == id => Ok(()),
        _ => engine.tag(id, name).await,
    }
}

/// Names the image that has `name` aside, when it is about to lose that name to the image `next`.
///
/// # Errors
/// When the engine fails.
pub(crate) async fn step_aside(
    engine: &Engine,
    name: &ImageName,
    next: Option<ImageId>,
    inventory: &Inventory,
) -> Result<(), EngineError> {
    match inventory.named(name) {
        Some(holder) if Some(holder.id) != next => engine.tag(holder.id, &name.aside(holder.id)).await,
        _ => Ok(()),
    }
}

async fn has_name(engine: &Engine, name: &ImageName, id: ImageId) -> Result<bool, EngineError> {
    Ok(engine.inspect_image(name).await?.is_some_and(|image| image.id == id))
}

/// Gives the images of the release that runs on after an attempt was undone the names that its successor took.
pub(crate) async fn restore(engine: &Engine, state: &State, progress: &dyn Progress) {
    let Some(current) = &state.current else { return };
    // It runs all the same, by ID.
    if let Err(error) = give_back(engine, current).await {
        progress.warn(&format!("images of {} lack their names: {error}", current.release));
    }
}

async fn give_back(engine: &Engine, release: &Installed) -> Result<(), EngineError> {
    for (name, id) in release.own_images() {
        if has_name(engine, name, id).await? || engine.inspect_image(id).await?.is_none() {
            continue;
        }
        engine.tag(id, name).await?;
        engine.untag(name.aside(id)).await?;
    }
    Ok(())
}

/// Removes the names of an image of ours, and with the last of them the image; `true` where there was
/// any.
///
/// # Errors
/// When the engine fails, or a container still uses the image.
pub(crate) async fn forget(engine: &Engine, name: &ImageName, id: ImageId) -> Result<bool, EngineError> {
    let mut gone = false;
    for name in [name, &name.aside(id)] {
        if has_name(engine, name, id).await? {
            gone |= engine.untag(name).await?;
        }
    }
    let Some(image) = engine.inspect_image(id).await? else { return Ok(gone) };
    // One that an import was killed before it could take away. With the last name the image goes, too.
    for pulled in image.repo_digests.iter().filter(|pulled| registry::has_named(pulled, name.repository())) {
        gone |= engine.untag(pulled).await?;
    }
    // An image of ours with another name is in use; one without any name is nobody's.
    Ok(gone || (image.repo_tags.is_empty() && engine.untag(id).await?))
}
