//! The images that the engine has, in few calls: one list, then an inspect for each image, eight at
//! once. Milliseconds for the tens of images a host holds.

use super::images::{ImageFacts, facts};
use super::{Engine, ImageName, Result, failure};
use bollard::query_parameters::ListImagesOptionsBuilder;
use futures_util::{StreamExt as _, stream};
use manifest_schema::{Digest, ImageRef};
use std::collections::BTreeSet;

/// Inspects in flight at once.
const AT_ONCE: usize = 8;

/// The images an engine holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// In the order of their IDs.
    pub images: Vec<ImageFacts>,
}

impl Inventory {
    /// The image with this name, however the engine writes it.
    #[must_use]
    pub fn named(&self, name: &ImageName) -> Option<&ImageFacts> {
        let wanted: ImageRef = name.to_string().parse().ok()?;
        let has = |tag: &String| tag.parse::<ImageRef>().is_ok_and(|tag| tag == wanted);
        self.images.iter().find(|image| image.repo_tags.iter().any(has))
    }

    /// Every layer of every image, at whatever height. Whether an engine can use one without being
    /// sent it depends on what lies below, so this tells what may be spared, not what is.
    #[must_use]
    pub fn layers(&self) -> BTreeSet<Digest> {
        self.images.iter().flat_map(|image| image.diff_ids.iter().copied()).collect()
    }
}

impl Engine {
    /// Lists every image with its layers. Images that vanish meanwhile, or whose layers are not
    /// named by digests, are left out.
    ///
    /// # Errors
    /// When the engine fails.
    pub async fn inventory(&self) -> Result<Inventory> {
        let options = ListImagesOptionsBuilder::new().all(false).build();
        let list = self.docker.list_images(Some(options)).await.map_err(|e| failure("list its images", e))?;
        let ids: BTreeSet<String> = list.into_iter().map(|image| image.id).collect();
        let mut inspects = stream::iter(ids)
            .map(|id| async move { self.docker.inspect_image(&id).await })
            .buffer_unordered(AT_ONCE);
        let mut images = Vec::new();
        while let Some(image) = inspects.next().await {
            match image {
                Ok(image) => images.extend(facts(image)),
                Err(error) => match failure("inspect its images", error) {
                    error if error.is_not_found() => {}
                    error => return Err(error),
                },
            }
        }
        images.sort_by_key(|image| image.id);
        Ok(Inventory { images })
    }
}
