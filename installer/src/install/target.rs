//! The desired state of a release on this host, with what is already known of its images and folders.

use crate::engine::{ImageId, ImageName, label};
use crate::host::state::Attempt;
use crate::installation::Installation;
use crate::release::lay_out::{self, outside};
use crate::release::site::Site;
use crate::services::network_names::network_names;
use crate::services::spec::Placement;
use crate::services::target::Target;
use anyhow::Result;
use manifest_schema::compose::model::MountSource;
use manifest_schema::release::Release;
use std::collections::BTreeMap;

/// The desired state of `release` with the answers of `site`, made by `attempt`. `ids` are the engine's IDs of
/// its images, and `names` their names there, by reference.
///
/// # Errors
/// When the engine fails, or the release contradicts itself.
pub(super) async fn target(
    installation: &Installation,
    release: &Release,
    attempt: &Attempt,
    site: &Site,
    ids: &BTreeMap<String, ImageId>,
    names: &BTreeMap<String, ImageName>,
) -> Result<Target> {
    let Installation { product, engine, state, .. } = installation;
    let id = &attempt.release;
    let there = engine.networks(label::PROJECT, release.name.as_str()).await?;
    let folder = lay_out::folder_name(site, id);
    let paths = lay_out::host_paths(site, release, &product.release(&folder), product);
    let (mut images, mut image_names) = (BTreeMap::new(), BTreeMap::new());
    for (name, service) in &site.project.services {
        let reference: manifest_schema::ImageRef = service.image.parse()?;
        if let Some(id) = ids.get(&reference.to_string()) {
            images.insert(name.clone(), *id);
        }
        image_names.extend(names.get(&reference.to_string()).map(|shown| (name.clone(), shown.clone())));
    }
    let mut mounted_images = BTreeMap::new();
    for mount in site.project.services.values().flat_map(|service| &service.mounts) {
        if let MountSource::Image(name) = &mount.source {
            let reference: manifest_schema::ImageRef = name.parse()?;
            mounted_images.extend(ids.get(&reference.to_string()).map(|id| (name.clone(), *id)));
        }
    }
    // Labels name the path that lasts: a new release must not look like a change of every service.
    let current = product.file("current");
    let placement = Placement {
        release: id.clone(),
        attempt: attempt.name.clone(),
        folder,
        working_dir: current.display().to_string(),
        config_files: current.join("compose.yaml").display().to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        images,
        image_names,
        mounted_images,
        configs: paths.configs,
        secrets: paths.secrets,
        binds: paths.binds,
        host_files: outside::files(&site.project, engine.facts().local),
        networks: network_names(&release.name, &site.project, &there),
        is_here: engine.facts().local,
        start_interval: engine.facts().has_start_interval(),
    };
    let mut target = Target::new(&release.name, &site.project, &placement)?;
    target.done = state.current.iter().flat_map(|current| current.done.iter().cloned()).collect();
    Ok(target)
}
