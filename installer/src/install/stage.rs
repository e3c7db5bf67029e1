//! Everything that a release needs before a service starts: images, files, networks, volumes. Nothing that runs is
//! touched.

use super::prepare::Prepared;
use super::target::target;
use super::{Request, Source};
use crate::engine::ImageId;
use crate::host::{answers, retained, state};
use crate::images::plan::Import;
use crate::installation::Installation;
use crate::release::lay_out::{self, outside};
use crate::release::seeding;
use crate::services::switch::{self, SwitchError};
use crate::services::target::Target;
use anyhow::Result;
use bundle_format::Bundle;
use ferry_terminal::Failure;
use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The inputs of a switch.
pub(super) struct Staged {
    pub(super) target: Target,
    /// The engine's ID of each image, by reference.
    pub(super) ids: BTreeMap<String, ImageId>,
}

pub(super) async fn stage(
    request: &Request,
    bundle: &Arc<Bundle<File>>,
    prepared: &mut Prepared,
    cancel: &CancellationToken,
) -> Result<Staged> {
    record(prepared)?;
    let Prepared { installation, attempt, site, images, inventory, plan, .. } = prepared;
    seeding::record(installation, &plan.seeds)?;
    let Installation { product, engine, progress, .. } = &*installation;
    answers::record_attempted(product, &site.answers)?;
    let import = Import { engine, bundle, plan: images, inventory, progress };
    let ids = tokio::select! {
        ids = import.run() => ids?,
        () = cancel.cancelled() => return Err(Failure::cancelled().into()),
    };
    let id = &attempt.release;
    outside::make(&attempt.made, &site.project, engine.facts().users)?;
    lay_out::lay_out(bundle, site, product, id, engine.facts().users, progress.as_ref())?;
    if request.source == Source::Stick {
        retained::retain(bundle, product, id)?;
    }
    let mut target = target(installation, bundle.release(), attempt, site, &ids, &images.names).await?;
    seeding::keep_written_roots(bundle, &mut target)?;
    let made = switch::prepare_networks_volumes(engine, &target, progress.as_ref()).await;
    let _ = made.map_err(SwitchError::into_failure)?;
    if let Some(image) = ids.values().next().copied() {
        seeding::fill(installation, bundle, &target, &plan.seeds, image).await?;
    }
    if cancel.is_cancelled() {
        return Err(Failure::cancelled().into());
    }
    Ok(Staged { target, ids })
}

/// Records what the attempt is about to bring, so that it can be undone after a power cut.
fn record(prepared: &mut Prepared) -> Result<()> {
    let Prepared { installation, attempt, site, images, .. } = prepared;
    attempt.made.extend(outside::missing(&site.project, installation.engine.facts()));
    let expected = images.expected_ids(installation.engine.facts().store);
    for image in &images.missing {
        let Some(id) = expected.get(&image.reference.to_string()) else { continue };
        attempt.importing.insert(*id);
        installation.state.brought.insert((images.name_of(image), *id));
    }
    attempt.boot = state::boot();
    installation.state.engine = Some(installation.engine.facts().address.clone());
    installation.record(attempt)
}
