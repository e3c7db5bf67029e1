//! Bind mounts below `artifacts/`: what a service mounts there, an artifact must lay out, or the
//! container could only fail on site.

use super::ArtifactPlan;
use crate::inputs::Inputs;
use manifest_schema::Diagnostics;
use manifest_schema::compose::model::MountSource;

/// Holds the services' mounts against the artifacts.
///
/// # Errors
/// Lists every mount that no artifact provides.
pub(super) fn check(inputs: &Inputs, artifacts: &[ArtifactPlan]) -> Result<(), Diagnostics> {
    let mut found = Diagnostics::default();
    let services = inputs.renderings.iter().flat_map(|rendering| {
        let parsed = &rendering.made.parsed;
        parsed.project.services.iter().map(move |(name, service)| (&parsed.sources, name, service))
    });
    for (sources, name, service) in services {
        for mount in &service.mounts {
            let MountSource::Bind { path, .. } = &mount.source else { continue };
            let Some(below) = path.strip_prefix("artifacts/") else { continue };
            let there = artifacts.iter().any(|artifact| {
                artifact.entries.iter().any(|entry| {
                    let entry = entry.path.as_str();
                    entry == below || entry.strip_prefix(below).is_some_and(|rest| rest.starts_with('/'))
                })
            });
            if !there {
                let message = format!("service `{name}` mounts ./{path}, which no artifact provides");
                let mistake = sources.mistake(&service.place.line(), message);
                let mistake = mistake.hint("check `to` of the artifacts in the manifest");
                if !found.0.contains(&mistake) {
                    found.push(mistake);
                }
            }
        }
    }
    found.or_ok(())
}
