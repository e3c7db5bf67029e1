//! Files that the manifest names and that are not there, told beside other mistakes: nobody wants them one by one.

use super::mentions::Mentions;
use crate::read::folder::plain;
use manifest_schema::Diagnostic;
use manifest_schema::manifest::{ArtifactFrom, Manifest, SourceSpec};
use std::path::Path;

pub(super) const FROM_MANIFEST: &str = "paths in the manifest start at its own folder";

/// Artifacts, seeds and archives of images that are not below `folder`, each at its mention.
pub(super) fn all(manifest: &Manifest, mentions: &Mentions, folder: &Path) -> Vec<Diagnostic> {
    let mut found = images(manifest, mentions, folder);
    for artifact in &manifest.artifacts {
        if let ArtifactFrom::Path(path) = &artifact.from {
            let what = format!("artifact `{}`", artifact.text);
            found.extend(
                told(folder, path, &what)
                    .map(|what| mentions.mistake("artifacts", &artifact.text, artifact.line, what)),
            );
        }
    }
    for seed in &manifest.seeds {
        let missing = told(folder, &seed.from, &format!("the seed {}", seed.from));
        found.extend(missing.map(|what| mentions.mistake("volumes", &seed.from, seed.line, what)));
    }
    found.into_iter().map(|mistake| mistake.hint(FROM_MANIFEST)).collect()
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
        let missing = told(folder, path, &format!("image `{}`: {path}", image.reference));
        found.extend(
            missing.map(|what| mentions.mistake("images", &written, image.line, what).hint(FROM_MANIFEST)),
        );
    }
    found
}

/// The mistake in words, where nothing is at `path`.
fn told(folder: &Path, path: &str, what: &str) -> Option<String> {
    let error = std::fs::metadata(folder.join(path)).err()?;
    Some(format!("{what}: {}", plain(&error)))
}
