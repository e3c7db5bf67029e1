//! The networks and volumes of a project: created where they are missing, used as they are otherwise.

use super::SwitchError;
use crate::engine::{Engine, EngineError, label};
use crate::services::target::Target;
use manifest_schema::progress::Progress;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// The networks and volumes that [`prepare_networks_volumes`] created.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Prepared {
    /// Created networks, by their names in the engine.
    pub networks: Vec<String>,
    /// Created volumes, by their names in the engine.
    pub volumes: Vec<String>,
}

/// Makes the networks and volumes that are missing. Those that exist are used as they are when they
/// belong to the project; a changed definition is only warned of, since applying it would need all
/// containers, or the data, to go first.
///
/// # Errors
/// When one of another owner has the name, an external one is missing, or the engine fails.
pub async fn prepare_networks_volumes(
    engine: &Engine,
    target: &Target,
    progress: &dyn Progress,
) -> Result<Prepared, SwitchError> {
    let mut prepared = Prepared::default();
    let project = target.project.as_str();
    for spec in &target.networks {
        let found = engine.network(&spec.name).await?.map(|network| network.labels);
        if missing("network", &spec.name, spec.external, project, found.as_ref())? {
            progress.detail(&format!("creating network {}", spec.name));
            engine.create_network(spec).await?;
            prepared.networks.push(spec.name.clone());
        }
        warn_of_change("network", &spec.name, found.as_ref(), &spec.labels, progress);
    }
    for spec in &target.volumes {
        let found = engine.volume(&spec.name).await?.map(|volume| volume.labels);
        if missing("volume", &spec.name, spec.external, project, found.as_ref())? {
            progress.detail(&format!("creating volume {}", spec.name));
            engine.create_volume(spec).await?;
            prepared.volumes.push(spec.name.clone());
        }
        warn_of_change("volume", &spec.name, found.as_ref(), &spec.labels, progress);
    }
    Ok(prepared)
}

/// Networks and volumes that [`prepare_networks_volumes`] could not use or make.
pub(super) async fn obstacles(engine: &Engine, target: &Target) -> Result<Vec<SwitchError>, EngineError> {
    let project = target.project.as_str();
    let mut obstacles = Vec::new();
    for spec in &target.networks {
        let found = engine.network(&spec.name).await?.map(|network| network.labels);
        obstacles.extend(missing("network", &spec.name, spec.external, project, found.as_ref()).err());
    }
    for spec in &target.volumes {
        let found = engine.volume(&spec.name).await?.map(|volume| volume.labels);
        obstacles.extend(missing("volume", &spec.name, spec.external, project, found.as_ref()).err());
    }
    let modes = target.services.iter().flat_map(|service| {
        let container = &service.container;
        [&container.network_mode, &container.ipc, &container.pid].into_iter().flatten()
    });
    let containers: BTreeSet<&str> = modes.filter_map(|mode| mode.strip_prefix("container:")).collect();
    for name in containers {
        if engine.inspect(name).await?.is_none() {
            obstacles.push(SwitchError::MissingExternal { kind: "container", name: name.to_owned() });
        }
    }
    Ok(obstacles)
}

type Labels = BTreeMap<String, String>;

/// It has to be created.
fn missing(
    kind: &'static str,
    name: &str,
    external: bool,
    project: &str,
    found: Option<&Labels>,
) -> Result<bool, SwitchError> {
    match (found, external) {
        (None, true) => Err(SwitchError::MissingExternal { kind, name: name.to_owned() }),
        (None, false) => Ok(true),
        (Some(_), true) => Ok(false),
        (Some(labels), false) if labels.get(label::PROJECT).is_some_and(|owner| owner == project) => {
            Ok(false)
        }
        (Some(_), false) => {
            Err(SwitchError::Foreign { kind, name: name.to_owned(), project: project.to_owned() })
        }
    }
}

fn warn_of_change(kind: &str, name: &str, found: Option<&Labels>, wanted: &Labels, progress: &dyn Progress) {
    let definition = found.and_then(|labels| labels.get(label::DEFINITION));
    if definition.is_some() && definition != wanted.get(label::DEFINITION) {
        progress.warn(&format!(
            "{kind} {name} was created with another definition and stays as it is; to apply the new one, uninstall and install again"
        ));
    }
}
