//! The helper containers that fill volumes, and how one is known.
//!
//! Invariant: a label alone makes no helper. A container is one by its project, which Ferry alone sets on what it
//! makes, and by the name that Ferry gives to the helper of this very volume.

use crate::engine::containers::ContainerFacts;
use crate::engine::{Engine, EngineError, label};

/// The end of a helper's name once it is certain that the volume was empty.
const FILLING: &str = ".filling";

/// The name of the helper that fills `volume`.
#[must_use]
pub(crate) fn name(volume: &str) -> String {
    // Long names are cut by their hash, so that two volumes never share a helper.
    let digest = manifest_schema::Digest::of(volume.as_bytes()).short();
    let start: String = volume.chars().take(100).collect();
    format!("ferry-seed-{start}-{digest}")
}

/// The name of that helper once it is certain that the volume was empty.
#[must_use]
pub(crate) fn filling_name(volume: &str) -> String {
    format!("{}{FILLING}", name(volume))
}

/// The helpers of `project` for `volume`, an interrupted run's among them.
///
/// # Errors
/// When the engine fails.
pub(crate) async fn of_volume(
    engine: &Engine,
    project: &str,
    volume: &str,
) -> Result<Vec<ContainerFacts>, EngineError> {
    let mut helpers = engine.containers(label::SEED_OF, volume).await?;
    helpers.retain(|container| is_helper(container, project));
    Ok(helpers)
}

/// The container is a helper of `project`.
#[must_use]
pub(crate) fn is_helper(container: &ContainerFacts, project: &str) -> bool {
    let Some(volume) = container.labels.get(label::SEED_OF) else { return false };
    let of_project = container.labels.get(label::PROJECT).is_some_and(|owner| owner == project);
    // It is never started.
    of_project && !container.runs() && [name(volume), filling_name(volume)].contains(&container.name)
}

/// The helper had found its volume empty, and began to fill it.
#[must_use]
pub(crate) fn has_begun(helper: &ContainerFacts) -> bool {
    helper.name.ends_with(FILLING)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::containers::RunState;
    use std::collections::BTreeMap;

    #[test]
    fn a_label_alone_makes_no_helper() {
        let container = |name: &str, project: &str, state| ContainerFacts {
            id: String::new(),
            name: name.to_owned(),
            labels: BTreeMap::from([
                (label::SEED_OF.to_owned(), "shop_data".to_owned()),
                (label::PROJECT.to_owned(), project.to_owned()),
            ]),
            image_id: String::new(),
            state,
            ports: vec![],
        };
        let (own, begun) = (name("shop_data"), filling_name("shop_data"));
        for name in [&own, &begun] {
            assert!(is_helper(&container(name, "shop", RunState::Created), "shop"), "{name}");
            assert!(!is_helper(&container(name, "evil", RunState::Created), "shop"), "{name} of another");
            assert!(!is_helper(&container(name, "shop", RunState::Running), "shop"), "{name} runs");
        }
        for other in ["evil.filling", &filling_name("shop_logs"), &format!("{own}.old")] {
            assert!(!is_helper(&container(other, "shop", RunState::Created), "shop"), "{other}");
        }
        assert!(!has_begun(&container(&own, "shop", RunState::Created)));
        assert!(has_begun(&container(&begun, "shop", RunState::Created)));
    }
}
