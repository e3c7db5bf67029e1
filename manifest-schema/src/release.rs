//! `ferry.json`: what one bundle holds, written by `ferry build` and signed through the index.
//!
//! Every number here was known when the bundle was packed; nothing depends on the clock, the
//! machine or the path, so that equal inputs give equal bytes. `bundle-format/FORMAT.md` section 5
//! describes each member.

use crate::feature::{self, FEATURES, Feature, Missing, Need, SERIAL};
use crate::{BundlePath, Digest, ImageRef, Platform, ProjectName};
use serde::{Deserialize, Serialize};

/// The newest version of `ferry.json` that this code writes and reads. A release that needs nothing new is version 1.
pub const RELEASE_VERSION: u32 = 2;

/// Names in a release's folder on a host that no config or other small file can have.
pub const RESERVED_PLACES: [&str; 5] =
    ["compose.yaml", ".configs", ".secrets", ".ferry-complete", "artifacts"];

/// A whole release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// 1, or 2 where `needs` is there.
    pub ferry: u32,
    /// Features that a reader must have, by name. Empty where a manifest of version 2 is the sole reason for version 2.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub needs: Option<Vec<Need>>,
    /// Product name, also the Compose project's name.
    pub name: ProjectName,
    /// Version as the release engineer writes it, `2.4.0`.
    pub version: String,
    /// The place of this version among those of the product, 1 to 2^53 − 1. Its feature is [`SERIAL`].
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub serial: Option<u64>,
    /// Requirements on the host.
    pub requires: Requires,
    /// `ferry.yaml` as it was written, so that variables and configs are read on site.
    pub manifest: FileEntry,
    /// The Compose file.
    pub compose: FileEntry,
    /// `.env` beside the Compose file, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env_file: Option<FileEntry>,
    /// Other files the Compose file names (`env_file`, `configs`, `secrets`, relative bind mounts), under
    /// `compose/` in the payload.
    #[serde(default)]
    pub compose_files: Vec<ComposeFile>,
    /// Templates that other templates name, under `templates/` in the payload, by their paths from the
    /// manifest's folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub templates: Vec<FileEntry>,
    /// Images, one for each reference and platform, in the order of reference and platform.
    pub images: Vec<Image>,
    /// Every layer blob, once.
    pub layers: Vec<Layer>,
    /// Build artifacts in the order of the manifest.
    pub artifacts: Vec<Artifact>,
    /// Config files and templates in the order of the manifest.
    pub configs: Vec<ConfigFile>,
    /// Seeds of named volumes.
    pub seeds: Vec<Seed>,
    /// Program and version that built the bundle, `ferry 0.1.0`.
    pub built_with: String,
}

/// Requirements on a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requires {
    /// Lowest engine version, `20.10`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// Platforms that the images are packed for.
    pub platforms: Vec<Platform>,
    /// Bytes of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Free bytes on the disk, beyond what the bundle itself needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<u64>,
}

/// A range of the payload's content, counted in uncompressed bytes from the start of the first
/// data frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub size: u64,
}

/// One file in the payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Path in the payload's tar.
    pub path: BundlePath,
    /// SHA-256 of the content.
    pub digest: Digest,
    /// Where the content lies.
    pub span: Span,
}

/// A file that the Compose file names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComposeFile {
    /// The file; its path begins with `compose/`.
    pub file: FileEntry,
    /// True for a file that may be executed: 0755 instead of 0644 on site.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
}

/// One image for one platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// The name that Compose uses.
    pub reference: ImageRef,
    /// The platform.
    pub platform: Platform,
    /// The image configuration: its digest is the image ID on graph-driver stores.
    pub config: FileEntry,
    /// Diff IDs of the layers, base first: what the engine must report afterwards. A layer may
    /// occur more than once.
    pub diff_ids: Vec<Digest>,
    /// The manifests an engine can pull, each a file under `blobs/sha256/`.
    pub manifests: Manifests,
    /// Where the image came from, `docker-archive`, for people.
    pub source: String,
}

/// The manifests of one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Manifests {
    /// Layers are stored as tar, and written anew by Ferry: one manifest names the tars, the
    /// other the same layers as the zstd frames that lie in the file.
    Repacked {
        /// Manifest over plain tar layers, for engines before 23. Media type
        /// [`crate::oci::media_type::MANIFEST`].
        tar: ManifestEntry,
        /// Manifest over the zstd frames, for engines from 23.
        zstd: ManifestEntry,
    },
    /// The image is kept byte for byte: its own manifest, its own layer blobs.
    Preserved {
        /// The original manifest.
        original: ManifestEntry,
        /// The layer blobs as the manifest names them, base first, equal in number to `diff_ids`.
        blobs: Vec<Digest>,
        /// Digest in the reference's `@sha256:…`, where that is an index over the manifest.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        index: Option<ManifestEntry>,
    },
}

/// A manifest stored in the bundle's metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestEntry {
    /// Media type, as an HTTP `Content-Type`.
    pub media_type: String,
    /// SHA-256 of `content`.
    pub digest: Digest,
    /// The manifest's bytes: JSON as text.
    pub content: String,
}

/// One layer blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// SHA-256 of the stored content: the diff ID of a repacked layer, the blob digest of a
    /// preserved one.
    pub digest: Digest,
    /// Where the content lies: whole frames of its own.
    pub span: Span,
    /// The frames that hold it, read as one zstd blob.
    pub zstd: ZstdBlob,
}

/// A run of frames, read as bytes: a valid zstd file of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZstdBlob {
    /// SHA-256 of the compressed bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
}

/// The kind of an artifact on the connected side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ArtifactKind {
    /// A single file.
    File,
    /// A folder with all below it.
    Folder,
    /// A Debian package.
    Deb,
    /// A Java archive.
    Jar,
    /// A tar or zip archive, carried as it is.
    Archive,
    /// A path of a git repository at a commit.
    Git,
}

/// A build artifact: a run of tar entries under `artifacts/` in the payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// As written in the manifest.
    pub from: String,
    /// Path below the release folder's `artifacts/`.
    pub to: BundlePath,
    /// The kind of the source.
    pub kind: ArtifactKind,
    /// For `git`: the full commit id that the ref meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Number of files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// SHA-256 over the artifact's paths, kinds and contents: equal exactly when it would be laid
    /// out equally. Says whether a service that mounts it has to be replaced.
    pub digest: Digest,
    /// The tar entries, headers included, from the first header to the end of the last entry's
    /// padding. Names begin with `artifacts/`.
    pub entries: Span,
}

/// A config file or template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigFile {
    /// The file in the payload.
    pub file: FileEntry,
    /// Path as written in the manifest, for messages.
    pub from: String,
    /// Path below the release folder.
    pub to: BundlePath,
    /// True for a Jinja template.
    pub template: bool,
    /// Permission bits, 0644 unless the manifest says otherwise.
    pub mode: u32,
}

/// The first content of a named volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seed {
    /// The volume's key in the Compose file.
    pub volume: String,
    /// As written in the manifest.
    pub from: String,
    /// A tar file in the payload whose entries become the volume's content, owners and modes kept.
    pub file: FileEntry,
}

/// Why a `ferry.json` was refused.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// Not JSON of this shape.
    #[error("ferry.json cannot be read")]
    Json(#[from] serde_json::Error),
    /// Written by a later Ferry.
    #[error("ferry.json has version {found}; this program reads versions 1 and {RELEASE_VERSION}")]
    Version {
        /// The version found.
        found: u64,
    },
    /// Needs features that this reader lacks.
    #[error("ferry.json needs what this program does not have: {0}")]
    Needs(Missing),
    /// A reference inside the document leads nowhere.
    #[error("ferry.json contradicts itself: {0}")]
    Inconsistent(String),
}

/// A member that is there has a value.
fn present<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(value: D) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

impl Release {
    /// Reads a release with all features of this code. See [`Self::parse_with`].
    ///
    /// # Errors
    /// As [`Self::parse_with`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ReleaseError> {
        Self::parse_with(bytes, FEATURES)
    }

    /// Reads a release from authenticated bytes, with the features that a reader has, and checks that it is consistent
    /// with itself. Version and needs come first: other members are not looked at before it is known that they can be read.
    ///
    /// # Errors
    /// When it is not JSON of this shape, has another version, needs a feature that is not among `known`, or refers to
    /// something it lacks.
    pub fn parse_with(bytes: &[u8], known: &[Feature]) -> Result<Self, ReleaseError> {
        #[derive(Deserialize)]
        struct Version {
            ferry: u64,
        }
        #[derive(Deserialize)]
        struct Needs {
            needs: Vec<Need>,
            /// For the message alone.
            name: Option<serde_json::Value>,
        }
        let version: Version = serde_json::from_slice(bytes)?;
        if !(1..=u64::from(RELEASE_VERSION)).contains(&version.ferry) {
            return Err(ReleaseError::Version { found: version.ferry });
        }
        if version.ferry > 1 {
            let Needs { needs, name } = serde_json::from_slice(bytes)?;
            let product = name.as_ref().and_then(|name| name.as_str()?.parse().ok());
            if let Some(missing) =
                feature::missing(&needs, known, product).map_err(ReleaseError::Inconsistent)?
            {
                return Err(ReleaseError::Needs(missing));
            }
        }
        let release: Self = serde_json::from_slice(bytes)?;
        release.check_version()?;
        release.check()?;
        Ok(release)
    }

    /// True where this needs `feature`.
    #[must_use]
    pub fn needs(&self, feature: Feature) -> bool {
        self.needs.iter().flatten().any(|need| need.feature.as_str() == feature.name)
    }

    /// Each member that version 1 lacks stands where its feature is needed, and nowhere else.
    fn check_version(&self) -> Result<(), ReleaseError> {
        let inconsistent = |text: &str| Err(ReleaseError::Inconsistent(text.to_owned()));
        if self.needs.is_some() != (self.ferry > 1) {
            return inconsistent("`needs` is a member of version 2 and of no other");
        }
        if self.serial.is_some() != self.needs(SERIAL) {
            return inconsistent("`serial` is there without its feature, or the feature without it");
        }
        if self.serial.is_some_and(|serial| !(1..=crate::limits::MAX_SERIAL).contains(&serial)) {
            return inconsistent("`serial` is no number from 1 to 2^53 − 1");
        }
        Ok(())
    }

    fn check(&self) -> Result<(), ReleaseError> {
        let inconsistent = |text: String| Err(ReleaseError::Inconsistent(text));
        let mut digests = std::collections::BTreeSet::new();
        for layer in &self.layers {
            if !digests.insert(layer.digest) {
                return inconsistent(format!("layer {:?} is listed twice", layer.digest));
            }
        }
        for image in &self.images {
            let entries: Vec<&ManifestEntry> = match &image.manifests {
                Manifests::Repacked { tar, zstd } => vec![tar, zstd],
                Manifests::Preserved { original, index, .. } => {
                    std::iter::once(original).chain(index.as_ref()).collect()
                }
            };
            for entry in entries {
                if Digest::of(entry.content.as_bytes()) != entry.digest {
                    return inconsistent(format!(
                        "a manifest of image {} has another digest",
                        image.reference
                    ));
                }
            }
            if image.diff_ids.len() > crate::limits::MAX_LAYERS {
                return inconsistent(format!(
                    "image {} has {} layers",
                    image.reference,
                    image.diff_ids.len()
                ));
            }
            if image.blobs().len() != image.diff_ids.len() {
                return inconsistent(format!("image {} has layers without a diff ID", image.reference));
            }
            for blob in image.blobs() {
                if !digests.contains(blob) {
                    return inconsistent(format!("layer {blob:?} of image {} is missing", image.reference));
                }
            }
        }
        self.check_places().map_or(Ok(()), inconsistent)
    }

    /// The reason why the small files cannot lie in one folder.
    fn check_places(&self) -> Option<String> {
        let named = self.compose_files.iter().map(|named| {
            let path = named.file.path.as_str();
            path.strip_prefix("compose/").unwrap_or(path)
        });
        let places: std::collections::BTreeSet<&str> =
            named.chain(self.configs.iter().map(|config| config.to.as_str())).collect();
        for path in &places {
            if let Some(own) = RESERVED_PLACES.iter().find(|own| Self::lies_in(path, own)) {
                return Some(format!("`{path}` would lie at `{own}`, which the installer needs"));
            }
            let mut folders = path.match_indices('/').filter_map(|(end, _)| path.get(..end));
            if let Some(file) = folders.find(|folder| places.contains(folder)) {
                return Some(format!("`{path}` needs a folder where `{file}` is a file"));
            }
        }
        None
    }

    /// True where `path` is `folder` or lies below it.
    #[must_use]
    pub fn lies_in(path: &str, folder: &str) -> bool {
        path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The layer with this stored digest.
    #[must_use]
    pub fn layer(&self, digest: &Digest) -> Option<&Layer> {
        self.layers.iter().find(|layer| &layer.digest == digest)
    }

    /// The images for a host of `platform`, one for each reference.
    #[must_use]
    pub fn images_for(&self, platform: &Platform) -> Vec<&Image> {
        self.images.iter().filter(|image| platform.accepts(&image.platform)).collect()
    }
}

impl Image {
    /// The stored layer blobs, base first.
    #[must_use]
    pub fn blobs(&self) -> &[Digest] {
        match &self.manifests {
            Manifests::Repacked { .. } => &self.diff_ids,
            Manifests::Preserved { blobs, .. } => blobs,
        }
    }
}
