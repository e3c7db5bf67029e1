//! Confirms that the engine has what was signed: an engine can report success for a broken image.

use super::plan::{ImportPlan, ids};
use crate::engine::Engine;
use crate::engine::images::ImageFacts;
use anyhow::Result;
use ferry_terminal::{Class, Failure};
use manifest_schema::release::Image;

/// The engine's facts about `image`, whose layers are those that were signed.
pub(super) async fn confirm(engine: &Engine, image: &Image, plan: &ImportPlan) -> Result<ImageFacts> {
    let wrong = |fact: String| {
        Failure::new(Class::Engine, fact)
            .hint("check the engine's disk (`docker info`, `df`), remove the image and install again")
    };
    let mut seen = None;
    let ids = ids(image).iter().map(ToString::to_string).collect::<Vec<_>>();
    for candidate in ids.into_iter().chain([plan.name_of(image).to_string()]) {
        if let Some(facts) = engine.inspect_image(candidate).await? {
            if facts.diff_ids == image.diff_ids {
                return Ok(facts);
            }
            seen = Some(facts);
        }
    }
    Err(match seen {
        Some(facts) => wrong(format!(
            "image {} does not match the signed manifest: the engine has {} of its {} layers, or other ones",
            image.reference,
            facts.diff_ids.iter().filter(|id| image.diff_ids.contains(id)).count(),
            image.diff_ids.len()
        )),
        None => {
            wrong(format!("the engine reported success, but does not have the image {}", image.reference))
        }
    }
    .into())
}

/// All images of `plan` that were missing.
pub(super) async fn confirm_all(engine: &Engine, plan: &ImportPlan) -> Result<()> {
    for image in &plan.missing {
        confirm(engine, image, plan).await?;
    }
    Ok(())
}
