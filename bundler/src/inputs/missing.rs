//! Files that the manifest names and that are not there, told beside other mistakes: nobody wants them one by one.

use super::mentions::Mentions;
use crate::read::folder::plain;
use manifest_schema::manifest::{ArtifactFrom, Manifest, SourceSpec};
use manifest_schema::{Diagnostic, Diagnostics};
use std::path::Path;

pub(super) const FROM_MANIFEST: &str = "paths in the manifest start at its own folder";

/// Adds artifacts, seeds and archives of images that are not below `folder`, each at its mention, to the mistakes that
/// are known.
pub(super) fn add(found: &mut Diagnostics, manifest: &Manifest, mentions: &Mentions, folder: &Path) {
    let mut missing = images(manifest, mentions, folder);
    for artifact in &manifest.artifacts {
        if let ArtifactFrom::Path(path) = &artifact.from {
            let what = format!("artifact `{}`", artifact.text);
            let at = |what| mentions.mistake("artifacts", &artifact.text, artifact.line, what);
            missing.extend(told(folder, path, &what, at));
        }
    }
    for seed in &manifest.seeds {
        let at = |what| mentions.mistake("volumes", &seed.from, seed.line, what);
        missing.extend(told(folder, &seed.from, &format!("the seed {}", seed.from), at));
    }
    missing.retain(|mistake| !found.0.contains(mistake));
    found.0.append(&mut missing);
}

/// Archives and layouts of images that the manifest names and that are not there.
pub(super) fn images(manifest: &Manifest, mentions: &Mentions, folder: &Path) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for image in &manifest.images {
        let (transport, path, reference) = match &image.source {
            SourceSpec::DockerArchive { path, reference } => ("docker-archive", path, reference),
            SourceSpec::Oci { path, reference } => ("oci", path, reference),
            SourceSpec::OciArchive { path, reference } => ("oci-archive", path, reference),
            SourceSpec::DockerDaemon { .. } | SourceSpec::Docker { .. } => continue,
        };
        let reference = reference.as_ref().map(|reference| format!(":{reference}"));
        let written = format!("{transport}:{path}{}", reference.unwrap_or_default());
        let at = |what| mentions.mistake("images", &written, image.line, what);
        found.extend(told(folder, path, &format!("image `{}`: {path}", image.reference), at));
    }
    found
}

/// The mistake, where nothing is at `path`.
fn told(folder: &Path, path: &str, what: &str, at: impl FnOnce(String) -> Diagnostic) -> Option<Diagnostic> {
    let error = std::fs::metadata(folder.join(path)).err()?;
    Some(at(format!("{what}: {}", plain(&error))).hint(FROM_MANIFEST))
}
