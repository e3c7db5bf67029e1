//! Documents of images as other programs write them (OCI image-spec 1.1: image-index.md, manifest.md, config.md;
//! Docker image spec v1.2).
//!
//! Go programs write `null` for empty lists and maps. Beside the image that is wanted, a list may hold descriptors that
//! nobody can use: digests of another kind, a size below zero, half a platform. What is wrong with one is kept
//! with it, and told only where that one is wanted.

use anyhow::{anyhow, bail};
use manifest_schema::oci::{self, media_type};
use manifest_schema::{Digest, Platform};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Annotations that name an image, the certain one first.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// The specification's own: a tag or a whole reference, as the tool liked.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// A descriptor as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    /// It with what is needed of it, or why it cannot be used.
    pub(super) descriptor: Result<oci::Descriptor, String>,
    /// The names that it gives its image.
    pub(super) names: Vec<String>,
    /// Its platform, where it names a whole one.
    pub(super) platform: Option<Platform>,
    /// Provenance and SBOMs that buildx puts beside images.
    pub(super) is_attestation: bool,
    /// An address of its content, which foreign layers of Windows have and archives then lack.
    pub(super) elsewhere: Option<String>,
}

/// A manifest as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) config: Listed,
    pub(super) layers: Vec<Listed>,
}

/// The subject of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Described {
    Image(Box<Manifest>),
    /// A signature, chart or other artifact, in words.
    Artifact(String),
}

/// One image of Docker's `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ArchiveImage {
    pub(super) names: Vec<String>,
    /// Path of the configuration.
    pub(super) config: Option<String>,
    /// Paths of the layer tars, base first.
    pub(super) layers: Vec<String>,
}

/// `null` is what is absent.
fn nullable<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(value: D) -> Result<T, D::Error> {
    Option::deserialize(value).map(Option::unwrap_or_default)
}

impl Listed {
    fn of(value: &Value) -> Self {
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
        let annotations: BTreeMap<String, String> = value
            .get("annotations")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect();
        let name = annotations.get(CONTAINERD_NAME).or_else(|| annotations.get(REF_NAME));
        let listed = value.get("platform").and_then(Value::as_object);
        let part = |key: &str| listed.and_then(|map| map.get(key)).and_then(Value::as_str);
        let unknown = [part("os"), part("architecture")].contains(&Some("unknown"));
        let elsewhere = value.get("urls").and_then(|urls| urls.get(0)).and_then(Value::as_str);
        Self {
            elsewhere: elsewhere.map(str::to_owned),
            names: name.into_iter().cloned().collect(),
            is_attestation: unknown || annotations.contains_key("vnd.docker.reference.type"),
            platform: if unknown {
                None
            } else {
                platform(part("os"), part("architecture"), part("variant"))
            },
            descriptor: digest_and_size(value).map(|(digest, size)| oci::Descriptor {
                media_type: text("mediaType").to_owned(),
                digest,
                size,
                platform: None,
                annotations,
            }),
        }
    }

    /// It, where it can be used.
    ///
    /// # Errors
    /// Why it cannot.
    pub(super) fn usable(&self) -> anyhow::Result<&oci::Descriptor> {
        self.descriptor.as_ref().map_err(|why| anyhow!("it cannot be used: {why}"))
    }
}

/// Digest and size of a descriptor, or why it has none that can be used.
fn digest_and_size(descriptor: &Value) -> Result<(Digest, u64), String> {
    let digest = match descriptor.get("digest").and_then(Value::as_str) {
        None => return Err("a descriptor names no digest".to_owned()),
        Some(text) => {
            let shown: String = text.chars().take(24).collect();
            text.parse()
                .map_err(|_| format!("`{shown}…` is no digest of SHA-256, the only kind that is read"))?
        }
    };
    match descriptor.get("size") {
        Some(Value::Number(size)) if size.as_u64().is_some() => {
            Ok((digest, size.as_u64().unwrap_or_default()))
        }
        Some(size) if !size.is_null() => Err(format!("the descriptor of {digest} has the size {size}")),
        _ => Err(format!("the descriptor of {digest} names no size")),
    }
}

/// A platform that names system and architecture.
fn platform(os: Option<&str>, architecture: Option<&str>, variant: Option<&str>) -> Option<Platform> {
    let named = |part: Option<&str>| part.is_some_and(|part| !part.is_empty());
    if !named(os) || !named(architecture) {
        return None;
    }
    oci::platform(os?, architecture?, variant)
}

/// The members of a JSON object: a struct would also be read from a list.
fn object<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> anyhow::Result<T> {
    let members: Map<String, Value> = serde_json::from_slice(bytes)?;
    Ok(serde_json::from_value(Value::Object(members))?)
}

/// The descriptors of an image index.
///
/// # Errors
/// When it is none.
pub(super) fn index(bytes: &[u8]) -> anyhow::Result<Vec<Listed>> {
    #[derive(Deserialize)]
    struct Index {
        #[serde(default, deserialize_with = "nullable")]
        manifests: Vec<Value>,
    }
    let index: Index = object(bytes)?;
    Ok(index.manifests.iter().map(Listed::of).collect())
}

/// The manifest of an image or an artifact.
///
/// # Errors
/// When it is none.
pub(super) fn manifest(bytes: &[u8]) -> anyhow::Result<Described> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Written {
        schema_version: Option<u64>,
        artifact_type: Option<String>,
        #[serde(default)]
        config: Value,
        #[serde(default, deserialize_with = "nullable")]
        layers: Vec<Value>,
        #[serde(rename = "fsLayers")]
        fs_layers: Option<serde::de::IgnoredAny>,
    }
    let written: Written = object(bytes)?;
    if written.schema_version == Some(1) || written.fs_layers.is_some() {
        bail!(
            "it is of schema 1, which no engine of today writes or takes: pull the image with an engine of 2017 or later, and push it again"
        );
    }
    let kind = written.config.get("mediaType").and_then(Value::as_str).unwrap_or_default();
    if !matches!(kind, "" | media_type::CONFIG | "application/vnd.docker.container.image.v1+json") {
        let kind = written.artifact_type.as_deref().filter(|kind| !kind.is_empty()).unwrap_or(kind);
        return Ok(Described::Artifact(match kind {
            "application/vnd.cncf.helm.config.v1+json" => "a Helm chart".to_owned(),
            kind => format!("an artifact of type `{kind}`"),
        }));
    }
    let layers = written.layers.iter().map(Listed::of).collect();
    Ok(Described::Image(Box::new(Manifest { config: Listed::of(&written.config), layers })))
}

/// The images that Docker's `manifest.json` lists.
///
/// # Errors
/// When it lists none as `docker save` does.
pub(super) fn archive_images(bytes: &[u8]) -> anyhow::Result<Vec<ArchiveImage>> {
    let images: Option<Vec<Map<String, Value>>> = serde_json::from_slice(bytes)?;
    let texts = |image: &Map<String, Value>, key: &str| -> anyhow::Result<Vec<String>> {
        match image.get(key) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(list) => Ok(serde_json::from_value(list.clone())?),
        }
    };
    let read = |image: &Map<String, Value>| {
        Ok(ArchiveImage {
            names: texts(image, "RepoTags")?,
            config: image.get("Config").and_then(Value::as_str).map(str::to_owned),
            layers: texts(image, "Layers")?,
        })
    };
    images.unwrap_or_default().iter().map(read).collect()
}

/// The members of an image configuration that matter here. The bytes themselves are carried unchanged, since their digest
/// is the image's ID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ImageConfig {
    /// The platform that it was built for, where it names one.
    pub(super) platform: Option<Platform>,
    /// SHA-256 of each uncompressed layer tar, base first.
    pub(super) diff_ids: Vec<Digest>,
}

/// Reads an image configuration.
///
/// # Errors
/// When it is none.
pub(super) fn config(bytes: &[u8]) -> anyhow::Result<ImageConfig> {
    #[derive(Deserialize)]
    struct Written {
        os: Option<String>,
        architecture: Option<String>,
        variant: Option<String>,
        #[serde(default, deserialize_with = "nullable")]
        rootfs: RootFs,
    }
    #[derive(Default, Deserialize)]
    struct RootFs {
        #[serde(default, deserialize_with = "nullable")]
        diff_ids: Vec<Digest>,
    }
    let written: Written = object(bytes)?;
    let Written { os, architecture, variant, rootfs } = written;
    let platform = platform(os.as_deref(), architecture.as_deref(), variant.as_deref());
    Ok(ImageConfig { platform, diff_ids: rootfs.diff_ids })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn listed(value: Value) -> Listed {
        index(json!({ "manifests": [value] }).to_string().as_bytes()).unwrap().remove(0)
    }

    fn digest() -> String {
        Digest::of(b"").to_string()
    }

    #[test]
    fn null_is_absent() {
        assert_eq!(index(br#"{"manifests":null}"#).unwrap(), []);
        assert_eq!(index(b"{}").unwrap(), []);
        let written =
            json!({ "config": { "digest": digest(), "size": 1, "annotations": null }, "layers": null });
        let Described::Image(read) = manifest(written.to_string().as_bytes()).unwrap() else { panic!() };
        assert!(read.config.descriptor.is_ok() && read.layers.is_empty());
        assert_eq!(archive_images(b"null").unwrap(), []);
        let images = br#"[{"Config":"c.json","RepoTags":null,"Layers":null}]"#;
        let found = archive_images(images).unwrap().remove(0);
        assert!(
            found.names.is_empty() && found.layers.is_empty() && found.config.as_deref() == Some("c.json")
        );
        for text in [
            "{}",
            r#"{"rootfs":null}"#,
            r#"{"rootfs":{"diff_ids":null},"os":null}"#,
            r#"{"os":"","architecture":""}"#,
        ] {
            let read = config(text.as_bytes()).unwrap();
            assert_eq!(read, ImageConfig { platform: None, diff_ids: Vec::new() }, "{text}");
        }
    }

    #[test]
    fn a_descriptor_that_cannot_be_used_says_why_and_spoils_no_other() {
        for (value, why) in [
            (json!({ "digest": format!("sha512:{}", "ab".repeat(64)), "size": 5 }), "no digest of SHA-256"),
            (json!({ "digest": digest(), "size": -1 }), "has the size -1"),
            (json!({ "digest": digest(), "size": 1e300 }), "has the size 1e"),
            (json!({ "digest": digest(), "size": null }), "names no size"),
            (json!({ "digest": 5 }), "names no digest"),
            (json!("text"), "names no digest"),
            (json!(null), "names no digest"),
        ] {
            let found = listed(value).descriptor.unwrap_err();
            assert!(found.contains(why), "{found}");
        }
        let odd =
            json!({ "digest": digest(), "size": 1, "mediaType": null, "annotations": ["x"], "platform": 3 });
        assert!(listed(odd).descriptor.is_ok());
    }

    #[test]
    fn half_a_platform_is_none() {
        let of = |platform: Value| {
            let one = listed(json!({ "digest": digest(), "size": 1, "platform": platform }));
            (one.platform.map(|platform| platform.to_string()), one.is_attestation)
        };
        assert_eq!(of(json!({})), (None, false));
        assert_eq!(of(json!(null)), (None, false));
        assert_eq!(of(json!({ "architecture": "amd64" })), (None, false));
        assert_eq!(of(json!({ "os": "", "architecture": "amd64" })), (None, false));
        assert_eq!(of(json!({ "os": "unknown", "architecture": "unknown" })), (None, true));
        let full = json!({ "os": "linux", "architecture": "aarch64", "os.features": null, "variant": null });
        assert_eq!(of(full), (Some("linux/arm64".to_owned()), false));
    }

    #[test]
    fn schema_1_is_refused_by_name() {
        let error = manifest(br#"{"schemaVersion":1,"fsLayers":[],"history":[]}"#).unwrap_err();
        assert!(error.to_string().contains("schema 1"), "{error}");
    }
}
