//! Under which names images stand in the engine.
//!
//! Services run by ID. A name is for people, and against the next `docker image prune`, to which an image
//! without one falls. What must stay true: a name that somebody else has given to another image is never taken
//! away from it. Ours then stands aside, as `REPOSITORY:ferry-DIGEST`. So does an image of ours whose name
//! goes to its successor, until the way back gives it its name again or nobody needs it any more.

use crate::engine::inventory::Inventory;
use crate::engine::{Engine, EngineError};
use crate::host::state::{Installed, State};
use manifest_schema::progress::Progress;
use manifest_schema::release::Image;
use std::fmt;

/// A name that keeps an image in the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptName {
    /// `acme/web`.
    pub repository: String,
    /// `2.4.0`.
    pub tag: String,
}

impl KeptName {
    /// The name that the image should have. One that is pinned by digest has no tag of its own.
    #[must_use]
    pub fn usual(image: &Image) -> Self {
        let reference = &image.reference;
        let tag = match (reference.tag(), reference.digest()) {
            (Some(tag), _) => tag.to_owned(),
            (None, Some(digest)) => aside_tag(&digest.to_string()),
            (None, None) => "latest".to_owned(),
        };
        Self { repository: reference.familiar_repository(), tag }
    }

    /// The name for `image`, of which the engine has `present`: the usual one, unless somebody else has it
    /// for another image. `owns`: whether a name was given to an image, by its ID, by this product.
    pub fn choose(
        image: &Image,
        present: Option<&str>,
        inventory: &Inventory,
        owns: impl Fn(&str, &str) -> bool,
    ) -> Self {
        let usual = Self::usual(image);
        match inventory.named(&usual.to_string()) {
            Some(holder) if present != Some(&holder.id) && !owns(&usual.to_string(), &holder.id) => {
                usual.aside(&image.config.digest.to_string())
            }
            _ => usual,
        }
    }

    /// Where the image with this digest stands when the name is another's.
    fn aside(&self, digest: &str) -> Self {
        Self { repository: self.repository.clone(), tag: aside_tag(digest) }
    }

    /// Reads what [`fmt::Display`] writes.
    fn parse(name: &str) -> Option<Self> {
        let (repository, tag) = name.rsplit_once(':')?;
        Some(Self { repository: repository.to_owned(), tag: tag.to_owned() })
    }

    async fn give(&self, engine: &Engine, id: &str) -> Result<(), EngineError> {
        engine.tag(id, &self.repository, &self.tag).await
    }

    /// Gives this name to the image with this ID, unless it has it.
    ///
    /// # Errors
    /// When the engine fails.
    pub async fn ensure(&self, engine: &Engine, id: &str, inventory: &Inventory) -> Result<(), EngineError> {
        match inventory.named(&self.to_string()) {
            Some(holder) if holder.id == id => Ok(()),
            _ => self.give(engine, id).await,
        }
    }

    /// Keeps the image that has this name, and is about to lose it to the one with the ID `next`.
    ///
    /// # Errors
    /// When the engine fails.
    pub async fn step_aside(
        &self,
        engine: &Engine,
        next: Option<&String>,
        inventory: &Inventory,
    ) -> Result<(), EngineError> {
        match inventory.named(&self.to_string()) {
            Some(holder) if Some(&holder.id) != next => self.aside(&holder.id).give(engine, &holder.id).await,
            _ => Ok(()),
        }
    }
}

impl fmt::Display for KeptName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.repository, self.tag)
    }
}

/// `ferry-0123456789ab` for `sha256:0123456789ab…`.
fn aside_tag(digest: &str) -> String {
    let hex = digest.trim_start_matches("sha256:");
    format!("ferry-{}", hex.get(..12).unwrap_or(hex))
}

async fn has_name(engine: &Engine, name: &str, id: &str) -> Result<bool, EngineError> {
    Ok(engine.inspect_image(name).await?.is_some_and(|image| image.id == id))
}

/// Gives the images of the release that runs on after an attempt was undone the names that its successor took.
pub async fn restore(engine: &Engine, state: &State, progress: &dyn Progress) {
    let Some(current) = &state.current else { return };
    // It runs all the same, by ID.
    if let Err(error) = give_back(engine, current).await {
        progress.warn(&format!("images of {} lack their names: {error}", current.release));
    }
}

async fn give_back(engine: &Engine, release: &Installed) -> Result<(), EngineError> {
    for (text, id) in release.own_images() {
        let Some(name) = KeptName::parse(text) else { continue };
        if has_name(engine, text, id).await? || engine.inspect_image(id).await?.is_none() {
            continue;
        }
        name.give(engine, id).await?;
        engine.untag(&name.aside(id).to_string()).await?;
    }
    Ok(())
}

/// Takes the names of an image of ours away, wherever it stands; it goes with the last of them. Whether there
/// was any is the answer.
///
/// # Errors
/// When the engine fails, or a container still uses the image.
pub async fn forget(engine: &Engine, name: &str, id: &str) -> Result<bool, EngineError> {
    let mut gone = false;
    let aside = KeptName::parse(name).map(|name| name.aside(id).to_string());
    for name in std::iter::once(name.to_owned()).chain(aside) {
        if has_name(engine, &name, id).await? {
            gone |= engine.untag(&name).await?;
        }
    }
    // Whoever names an image of ours wants to keep it; one that lost its last name otherwise is nobody's.
    let nameless = engine.inspect_image(id).await?.is_some_and(|image| image.repo_tags.is_empty());
    Ok(gone || (nameless && engine.untag(id).await?))
}
