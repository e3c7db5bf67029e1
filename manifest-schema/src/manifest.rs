//! `ferry.yaml`: what a release engineer writes beside an ordinary `compose.yaml`.
//!
//! Why: it is the one file that says what goes into a bundle, so the connected side reports every mistake in it, with its place,
//! before any work is done. Invariants: all mistakes
//! of a file are reported together, an unknown key is a mistake, and nothing is guessed from the
//! machine. The schema is described in `docs/` by example; keys starting with `x-` are ignored, as
//! in the Compose Specification.

mod answers;
mod decode;
mod fit;
mod hidden;
mod seeds;
mod sources;
mod variables;

pub use answers::{Given, Values, in_order, is_asked, resolve};
#[cfg(test)]
pub(crate) use decode::KEYS;
pub use seeds::SeedOwner;
pub use sources::{ArtifactFrom, SourceSpec};
#[cfg(test)]
pub(crate) use variables::KEYS as VARIABLE_KEYS;
pub use variables::{Variable, VariableKind};

use crate::feature::{Feature, SEED_OWNER, SERIAL};
use crate::{BundlePath, Diagnostics, ImageRef, Platform, ProjectName};
use std::collections::BTreeMap;

/// The newest value of the top key `ferry` that this code reads.
pub const MANIFEST_VERSION: i64 = 2;

/// A whole manifest, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// `ferry`: 1 or 2.
    pub ferry: i64,
    /// `name`: product name, also the Compose project's name.
    pub name: ProjectName,
    /// `version`, `2.4.0`; safe in a file name.
    pub version: String,
    /// `serial`, 1 to 2^53 − 1.
    pub serial: Option<u64>,
    /// `compose`, relative to the manifest, later ones over earlier ones; `compose.yaml` where nothing is
    /// written. Never empty; all lie in or below the folder of the first.
    pub compose: Vec<BundlePath>,
    /// `images`, in the order written.
    pub images: Vec<ImageSource>,
    /// `artifacts`, in the order written.
    pub artifacts: Vec<ArtifactSpec>,
    /// `configs`, in the order written.
    pub configs: Vec<ConfigSpec>,
    /// `volumes.*.seed`, in the order written.
    pub seeds: Vec<SeedSpec>,
    /// `variables`.
    pub variables: BTreeMap<String, Variable>,
    /// `requires`.
    pub requires: RequiresSpec,
    /// `limits.unpacked`: bytes that any compressed layer, archive or seed may grow to. A matter of the build alone.
    pub unpacked_bytes: Option<u64>,
}

/// One entry of `images`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSource {
    /// The name that Compose uses.
    pub reference: ImageRef,
    /// Where the image lies.
    pub source: SourceSpec,
    /// `preserve: true`: keep manifest and layers byte for byte.
    pub preserve: bool,
    /// 1-based line in the manifest.
    pub line: usize,
}

/// One entry of `artifacts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactSpec {
    /// Where the artifact lies.
    pub from: ArtifactFrom,
    /// `from` as written.
    pub text: String,
    /// `to`, below the release folder's `artifacts/`; `None`: the name of `from`.
    pub to: Option<BundlePath>,
    /// `to` ends with `/`: a single file keeps its name below it.
    pub to_folder: bool,
    /// 1-based line in the manifest.
    pub line: usize,
}

/// One entry of `configs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigSpec {
    /// File or template, relative to the manifest.
    pub from: String,
    /// Path below the release folder.
    pub to: BundlePath,
    /// Permission bits where written.
    pub mode: Option<u32>,
    /// 1-based line in the manifest.
    pub line: usize,
}

/// The first content of a named volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedSpec {
    /// The volume's key in the Compose file.
    pub volume: String,
    /// A tar file or a folder, relative to the manifest.
    pub from: String,
    /// `owner`: of the volume's root, and of all that a folder holds.
    pub owner: Option<SeedOwner>,
    /// `mode`: permission bits of the volume's root, up to 03777.
    pub mode: Option<u32>,
    /// 1-based line in the manifest.
    pub line: usize,
}

/// `requires`: what the host must offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequiresSpec {
    /// Lowest engine version, `20.10`, without `>=`.
    pub engine: Option<String>,
    /// From `arch`; `linux/amd64` where nothing is written.
    pub platforms: Vec<Platform>,
    /// `memory` in bytes.
    pub memory_bytes: Option<u64>,
    /// `disk` in bytes.
    pub disk_bytes: Option<u64>,
}

impl Manifest {
    /// The folder in which all relative paths of the Compose files begin, without `/` at its end; empty for
    /// the manifest's own.
    #[must_use]
    pub fn compose_folder(&self) -> &str {
        self.compose.first().and_then(|path| path.as_str().rsplit_once('/')).map_or("", |(folder, _)| folder)
    }

    /// The Compose files but for the first, from that folder.
    pub fn override_files(&self) -> impl Iterator<Item = &str> {
        let folder = self.compose_folder();
        self.compose.iter().skip(1).map(move |path| {
            path.as_str().strip_prefix(folder).map_or(path.as_str(), |rest| rest.trim_start_matches('/'))
        })
    }

    /// The features that a reader of this release must have, by name.
    #[must_use]
    pub fn features(&self) -> Vec<Feature> {
        let owns = self.seeds.iter().any(|seed| seed.owner.is_some() || seed.mode.is_some());
        let used = [(SEED_OWNER, owns), (SERIAL, self.serial.is_some())];
        used.into_iter().filter_map(|(feature, is_used)| is_used.then_some(feature)).collect()
    }

    /// Reads a manifest. `file` names it in messages.
    ///
    /// # Errors
    /// All mistakes of the text, each with its place.
    pub fn parse(file: &str, text: &str) -> Result<Self, Diagnostics> {
        decode::manifest(file, text)
    }
}
