//! Removing a project from the engine: containers, networks, and on request volumes and images.

use crate::engine::{Engine, EngineError, ImageId, ImageName, label};
use crate::images::names;
use crate::services::hooks;
use crate::services::sequence::in_reverse;
use manifest_schema::ProjectName;
use manifest_schema::progress::Progress;
use serde::Serialize;
use std::collections::BTreeSet;

/// Options of an uninstall beside containers and networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uninstall {
    /// Also the volumes, with all data.
    pub volumes: bool,
    /// Names and IDs of images to take away; the images go too where nothing else uses them.
    pub images: BTreeSet<(ImageName, ImageId)>,
}

/// The outcome of an uninstall.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Uninstalled {
    /// Containers.
    pub containers: Vec<String>,
    /// Networks.
    pub networks: Vec<String>,
    /// Volumes.
    pub volumes: Vec<String>,
    /// Volumes of the project that were kept.
    pub kept_volumes: Vec<String>,
    /// Image names.
    pub images: Vec<ImageName>,
    /// Networks, volumes and images that something else uses.
    pub in_use: Vec<String>,
}

/// Stops and removes the project: containers (replaced ones too), networks, and what `request` names.
///
/// # Errors
/// When the engine fails. It can be repeated.
pub async fn uninstall(
    engine: &Engine,
    project: &ProjectName,
    request: &Uninstall,
    progress: &dyn Progress,
) -> Result<Uninstalled, EngineError> {
    let mut report = Uninstalled::default();
    let containers = engine.containers(label::PROJECT, project.as_str()).await?;
    in_reverse(&containers, |container| {
        Box::pin(async move {
            progress.detail(&format!("removing {}", container.name));
            hooks::stop(engine, container, progress).await?;
            engine.remove_container(&container.id, request.volumes).await
        })
    })
    .await?;
    report.containers = containers.into_iter().map(|container| container.name).collect();
    for network in engine.networks(label::PROJECT, project.as_str()).await? {
        let removed = engine.remove_network(&network.name).await?;
        if removed { &mut report.networks } else { &mut report.in_use }.push(network.name);
    }
    for volume in engine.volumes(label::PROJECT, project.as_str()).await? {
        if !request.volumes {
            report.kept_volumes.push(volume.name);
            continue;
        }
        match engine.remove_volume(&volume.name).await {
            Ok(_) => report.volumes.push(volume.name),
            Err(error) if error.is_conflict() => report.in_use.push(volume.name),
            Err(error) => return Err(error),
        }
    }
    for (name, id) in &request.images {
        match names::forget(engine, name, *id).await {
            Ok(true) if !report.images.contains(name) => report.images.push(name.clone()),
            Ok(_) => {}
            Err(error) if error.is_conflict() => report.in_use.push(name.to_string()),
            Err(error) => return Err(error),
        }
    }
    Ok(report)
}
