//! Brings the images into the engine: by pull from our own [`registry`](super::registry), or, where the
//! engine cannot reach it, through its load call. Afterwards every image is inspected against the
//! signed diff IDs, because an engine can report success for a broken image.

use super::confirm::confirm;
use super::load::load_all;
use super::names;
use super::plan::{Import, pulled_manifest};
use super::registry::{self, Registry, not_taken};
use crate::engine::images::{PullEvent, PullPhase};
use crate::engine::{EngineError, EngineKind, ImageId, ImageName, ImageStore};
use anyhow::{Context, Result};
use bundle_format::ReadAt;
use futures_util::StreamExt;
use manifest_schema::release::Image;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Images pulled at once where the store shares layers between concurrent pulls. The containerd store
/// does not: there one at a time is faster.
const PULLS_AT_ONCE: usize = 4;

impl<S: ReadAt + 'static> Import<'_, S> {
    /// Brings all missing images in, names all images, and returns the engine's ID of each by its reference.
    ///
    /// # Errors
    /// When the engine refuses, or what it has afterwards is not what was signed.
    pub(crate) async fn run(&self) -> Result<BTreeMap<String, ImageId>> {
        let Self { engine, plan, inventory, progress, .. } = *self;
        let mut found = BTreeMap::new();
        let present = plan.present.iter().map(|(image, id)| (image, Some(*id)));
        for (image, id) in present.chain(plan.missing.iter().map(|image| (image, None))) {
            names::step_aside(engine, &plan.name_of(image), id, inventory).await?;
        }
        for (image, id) in &plan.present {
            names::give(engine, *id, &plan.name_of(image), inventory).await?;
            self.forget_pulled_names(image, *id).await?;
            found.insert(image.reference.to_string(), *id);
        }
        if plan.missing.is_empty() {
            return Ok(found);
        }
        for image in &plan.missing {
            let (usual, name) = (ImageName::usual(&image.reference), plan.name_of(image));
            if name != usual {
                progress
                    .warn(&format!("{usual} names another image in this engine: this one is named {name}"));
            }
        }
        progress.begin("importing", Some(plan.bytes));
        let pulled = match engine.facts().kind {
            EngineKind::Docker if engine.facts().local => self.pull_all().await?,
            // Podman refuses registries without TLS, and a remote engine has another loopback address.
            _ => false,
        };
        if !pulled {
            load_all(self).await?;
        }
        for image in &plan.missing {
            let facts = confirm(engine, image, plan).await?;
            names::give(engine, facts.id, &plan.name_of(image), inventory).await?;
            found.insert(image.reference.to_string(), facts.id);
        }
        // On a slow disk this takes as long as all before.
        progress.detail("until all is on the disk");
        engine.sync_data().await?;
        progress.end(&ferry_terminal::human::count(plan.missing.len(), "image"));
        Ok(found)
    }

    /// `false` when the engine cannot reach our loopback address, so that another way has to be taken.
    async fn pull_all(&self) -> Result<bool> {
        let registry = Registry::start(Arc::clone(self.bundle), Arc::clone(self.progress)).await?;
        let repository = registry.repository();
        let at_once = if self.engine.facts().store == ImageStore::Containerd { 1 } else { PULLS_AT_ONCE };
        let mut pulls = futures_util::stream::iter(&self.plan.missing)
            .map(|image| self.pull_one(&repository, image))
            .buffer_unordered(at_once);
        // An engine that cannot fetch a layer tries again for more than a minute.
        while let Some(result) = registry.broken().ends(pulls.next()).await? {
            match result {
                Ok(()) => {}
                Err(EngineError::CannotReachRegistry { .. }) => return Ok(false),
                Err(error) => return Err(not_taken(error, registry.broken().failure())),
            }
        }
        Ok(true)
    }

    async fn pull_one(&self, repository: &str, image: &Image) -> Result<(), EngineError> {
        let Self { engine, plan, progress, .. } = *self;
        progress.detail(&format!("image {}", image.reference));
        let manifest = pulled_manifest(image, plan.zstd);
        let full = format!("{repository}@{manifest}");
        let mut on_event = |event: PullEvent| {
            if event.phase == PullPhase::Extracting {
                progress.detail(&format!("image {}: the engine unpacks it", image.reference));
            }
        };
        let pulled =
            engine.pull(repository, &manifest.to_string(), Some(&image.platform), &mut on_event).await;
        pulled.map_err(|error| error.renamed(&full, &image.reference.to_string()))?;
        // The name that only lived as long as our registry gives way to the image's own.
        if let Some(facts) = engine.inspect_image(&full).await? {
            engine.tag(facts.id, &plan.name_of(image)).await?;
            engine.untag(&full).await?;
        }
        Ok(())
    }

    /// Takes names of a registry like ours away, whose process was killed before it could.
    async fn forget_pulled_names(&self, image: &Image, id: ImageId) -> Result<()> {
        let facts = self.inventory.images.iter().find(|facts| facts.id == id);
        let names = facts.into_iter().flat_map(|facts| &facts.repo_digests);
        for name in names.filter(|name| registry::has_named(name, image.reference.path())) {
            self.engine.untag(name).await.with_context(|| format!("removing the name {name}"))?;
        }
        Ok(())
    }
}
