//! The few OCI documents Ferry reads and writes (OCI image-spec 1.1: descriptor.md, manifest.md,
//! image-index.md, config.md). Only the members Ferry needs are named; unknown ones are ignored on
//! reading, as the specification asks.

use crate::{Digest, Platform};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Media types.
pub mod media_type {
    /// An image manifest.
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// An image index.
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// An image configuration.
    pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// A layer as plain tar.
    pub const LAYER_TAR: &str = "application/vnd.oci.image.layer.v1.tar";
    /// A layer as tar in zstd.
    pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    /// Docker's image manifest, schema 2.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker's manifest list.
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
}

/// A pointer to content: media type, digest, size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type of the content.
    #[serde(default)]
    pub media_type: String,
    /// SHA-256 of the content.
    pub digest: Digest,
    /// Size of the content in bytes.
    pub size: u64,
    /// Platform, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<DescriptorPlatform>,
    /// Annotations, sorted, so that writing is deterministic.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// The platform member of a descriptor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescriptorPlatform {
    /// `amd64`, or `unknown` for attestations.
    pub architecture: String,
    /// `linux`, or `unknown` for attestations.
    pub os: String,
    /// `v7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// The platform of these members, in Go's words also where another program wrote those of `uname -m`, as containerd
/// reads them; `None` where they are no words for a platform.
#[must_use]
pub fn platform(os: &str, architecture: &str, variant: Option<&str>) -> Option<Platform> {
    let (os, architecture) = (os.to_ascii_lowercase(), architecture.to_ascii_lowercase());
    let (architecture, usual) = match architecture.as_str() {
        "x86_64" | "x86-64" => ("amd64", None),
        "aarch64" => ("arm64", None),
        "i386" | "i486" | "i586" | "i686" | "x86" => ("386", None),
        "armhf" | "armv7" | "armv7l" | "armv7hl" => ("arm", Some("v7")),
        "armel" | "armv6" | "armv6l" | "armv6hl" => ("arm", Some("v6")),
        "armv5" | "armv5l" | "armv5tel" => ("arm", Some("v5")),
        other => (other, None),
    };
    let variant = variant.filter(|variant| !variant.is_empty()).or(usual);
    match variant {
        Some(number) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{os}/{architecture}/v{number}")
        }
        Some(variant) => format!("{os}/{architecture}/{variant}"),
        None => format!("{os}/{architecture}"),
    }
    .parse()
    .ok()
}

/// An image index, or Docker's manifest list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// Media type of the index itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The manifests (or nested indexes).
    #[serde(default)]
    pub manifests: Vec<Descriptor>,
}

/// An image manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// Media type of the manifest itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The image configuration.
    pub config: Descriptor,
    /// The layers, base first.
    pub layers: Vec<Descriptor>,
}

impl Manifest {
    /// An OCI manifest over `config` and `layers`, in Ferry's one way of writing it.
    #[must_use]
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self { schema_version: 2, media_type: Some(media_type::MANIFEST.to_owned()), config, layers }
    }
}

/// One image of Docker's `manifest.json` (docker image spec v1.2, "Combined Image JSON").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ArchiveImage {
    /// Path of the configuration in the archive.
    pub config: String,
    /// Names, `acme/api:2.4.0`; may be null.
    #[serde(default)]
    pub repo_tags: Option<Vec<String>>,
    /// Paths of the layer tars, base first.
    pub layers: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_known_in_the_words_of_uname_too() {
        let of = |os, architecture, variant| platform(os, architecture, variant).map(|it| it.to_string());
        for (architecture, variant, platform) in [
            ("amd64", None, "linux/amd64"),
            ("x86_64", Some(""), "linux/amd64"),
            ("aarch64", None, "linux/arm64"),
            ("arm64", Some("v8"), "linux/arm64/v8"),
            ("aarch64", Some("8"), "linux/arm64/v8"),
            ("armhf", None, "linux/arm/v7"),
            ("armv7l", None, "linux/arm/v7"),
            ("arm", Some("7"), "linux/arm/v7"),
            ("armv6l", None, "linux/arm/v6"),
            ("i686", None, "linux/386"),
            ("riscv64", None, "linux/riscv64"),
        ] {
            assert_eq!(of("linux", architecture, variant).as_deref(), Some(platform));
        }
        assert_eq!(of("Linux", "AMD64", None).as_deref(), Some("linux/amd64"));
        assert_eq!(of("linux", "", None), None);
        assert_eq!(of("linux", "a/b/c", None), None);
    }
}
