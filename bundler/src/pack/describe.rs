//! Turns what was packed into the bundle's metadata: `ferry.json`, and the three documents that make
//! the same tar an OCI image layout and a Docker image archive for programs that know nothing of
//! Ferry.

use crate::inputs::Inputs;
use crate::sources::FoundImage;
use anyhow::Result;
use bundle_format::index::Extension;
use bundle_format::pack::{Metadata, MetadataFile};
use ferry_terminal::{Class, Failure};
use manifest_schema::oci::{self, Descriptor, media_type};
use manifest_schema::release::{
    Artifact, ComposeFile, ConfigFile, FileEntry, Image, Layer, ManifestEntry, Manifests, Release, Requires,
    Seed, ZstdBlob,
};
use manifest_schema::{BundlePath, Digest, feature};
use std::collections::BTreeMap;

/// The pieces of a release as they were packed.
#[derive(Debug, Clone)]
pub(crate) struct Pieces {
    pub manifest: FileEntry,
    pub compose: FileEntry,
    pub env_file: Option<FileEntry>,
    /// Files the Compose file names.
    pub compose_files: Vec<ComposeFile>,
    /// Templates that others name.
    pub templates: Vec<FileEntry>,
    /// Image configurations by digest.
    pub image_configs: BTreeMap<Digest, FileEntry>,
    /// Layers in the order packed.
    pub layers: Vec<Layer>,
    pub artifacts: Vec<Artifact>,
    pub configs: Vec<ConfigFile>,
    pub seeds: Vec<Seed>,
}

/// Program and version, as written into bundles.
pub(crate) const BUILT_WITH: &str = concat!("ferry ", env!("CARGO_PKG_VERSION"));

/// The path of a blob in an OCI layout.
///
/// # Errors
/// Never: a digest always makes a valid path.
pub(crate) fn blob_path(digest: &Digest) -> Result<BundlePath> {
    Ok(format!("blobs/sha256/{}", digest.hex()).parse()?)
}

/// The release that `pieces` make.
///
/// # Errors
/// When a piece is missing, which is a fault of the caller.
pub(crate) fn release(inputs: &Inputs, images: &[FoundImage], pieces: &Pieces) -> Result<Release> {
    let manifest = &inputs.manifest;
    let layers: BTreeMap<Digest, &Layer> = pieces.layers.iter().map(|layer| (layer.digest, layer)).collect();
    let mut described = Vec::new();
    for image in images {
        let digest = Digest::of(&image.config);
        let config = pieces.image_configs.get(&digest).cloned();
        described.push(Image {
            reference: image.reference.clone(),
            platform: image.platform.clone(),
            config: config
                .ok_or_else(|| anyhow::anyhow!("the configuration of {} was not packed", image.reference))?,
            diff_ids: image.diff_ids.clone(),
            manifests: manifests(image, keeps_bytes(inputs, image), &layers)?,
            source: image.source.to_string(),
        });
    }
    let mut features = manifest.features();
    features.extend(feature::of_compose(inputs.compose_level()));
    // The oldest version that holds it: every host that can read it does.
    let needs = (manifest.ferry > 1 || !features.is_empty()).then(|| feature::needs(&features));
    Ok(Release {
        ferry: if needs.is_some() { 2 } else { 1 },
        needs,
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        serial: manifest.serial,
        requires: Requires {
            engine: manifest.requires.engine.clone(),
            platforms: manifest.requires.platforms.clone(),
            memory_bytes: manifest.requires.memory_bytes,
            disk_bytes: manifest.requires.disk_bytes,
        },
        manifest: pieces.manifest.clone(),
        compose: pieces.compose.clone(),
        env_file: pieces.env_file.clone(),
        compose_files: pieces.compose_files.clone(),
        templates: pieces.templates.clone(),
        images: described,
        layers: pieces.layers.clone(),
        artifacts: pieces.artifacts.clone(),
        configs: pieces.configs.clone(),
        seeds: pieces.seeds.clone(),
        built_with: BUILT_WITH.to_owned(),
    })
}

/// True where an image's own manifest and layer bytes are carried unchanged.
#[must_use]
pub(crate) fn keeps_bytes(inputs: &Inputs, image: &FoundImage) -> bool {
    image.original.is_some()
        && inputs.wanted().iter().any(|wanted| wanted.reference == image.reference && wanted.preserve)
}

fn manifests(image: &FoundImage, keep: bool, layers: &BTreeMap<Digest, &Layer>) -> Result<Manifests> {
    if let (true, Some(original)) = (keep, &image.original) {
        let entry = |manifest: &crate::sources::OriginalManifest| -> Result<ManifestEntry> {
            Ok(ManifestEntry {
                media_type: manifest.media_type.clone(),
                digest: manifest.digest,
                content: String::from_utf8(manifest.bytes.clone()).map_err(|error| {
                    let fact =
                        format!("a manifest of image {} in {} is no text", image.reference, image.label);
                    Failure::new(Class::Input, fact)
                        .because(error)
                        .hint("push or save the image again, from where it was built")
                })?,
            })
        };
        let blobs = image.layers.iter().map(|layer| layer.stored_digest.unwrap_or(layer.diff_id)).collect();
        let index = image.index.as_ref().map(entry).transpose()?;
        return Ok(Manifests::Preserved { original: entry(original)?, blobs, index });
    }
    let missing = || anyhow::anyhow!("a layer of {} was not packed", image.reference);
    let (mut tars, mut zstds) = (Vec::new(), Vec::new());
    for diff_id in &image.diff_ids {
        let layer = layers.get(diff_id).ok_or_else(missing)?;
        tars.push(descriptor(media_type::LAYER_TAR, layer.digest, layer.span.size));
        // An empty layer has no frames; it is served as it is.
        zstds.push(if layer.zstd.size == 0 {
            descriptor(media_type::LAYER_TAR, layer.digest, layer.span.size)
        } else {
            descriptor(media_type::LAYER_ZSTD, layer.zstd.digest, layer.zstd.size)
        });
    }
    let config = descriptor(media_type::CONFIG, Digest::of(&image.config), image.config.len() as u64);
    Ok(Manifests::Repacked { tar: written(config.clone(), tars)?, zstd: written(config, zstds)? })
}

fn descriptor(media_type: &str, digest: Digest, size: u64) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
        platform: None,
        annotations: BTreeMap::new(),
    }
}

fn written(config: Descriptor, layers: Vec<Descriptor>) -> Result<ManifestEntry> {
    let content = serde_json::to_string(&oci::Manifest::new(config, layers))?;
    Ok(ManifestEntry {
        media_type: media_type::MANIFEST.to_owned(),
        digest: Digest::of(content.as_bytes()),
        content,
    })
}

/// `ferry.json` and its companions, in the order they stand in the tar.
///
/// # Errors
/// When something cannot be written as JSON, which does not happen.
pub(crate) fn metadata(release: &Release) -> Result<Metadata> {
    let mut companions = vec![file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec())?];
    let mut index = oci::Index {
        schema_version: 2,
        media_type: Some(media_type::INDEX.to_owned()),
        manifests: Vec::new(),
    };
    let mut archive = Vec::new();
    let mut blobs = BTreeMap::new();
    for image in &release.images {
        let entry = match &image.manifests {
            Manifests::Repacked { tar, .. } => tar,
            Manifests::Preserved { original, .. } => original,
        };
        blobs.insert(entry.digest, &entry.content);
        let name = image.reference.familiar();
        index.manifests.push(Descriptor {
            media_type: entry.media_type.clone(),
            digest: entry.digest,
            size: entry.content.len() as u64,
            platform: Some(oci::DescriptorPlatform {
                architecture: image.platform.architecture().to_owned(),
                os: image.platform.os().to_owned(),
                variant: image.platform.variant().map(str::to_owned),
            }),
            annotations: BTreeMap::from([
                ("io.containerd.image.name".to_owned(), image.reference.canonical()),
                ("org.opencontainers.image.ref.name".to_owned(), name.clone()),
            ]),
        });
        archive.push(oci::ArchiveImage {
            config: image.config.path.to_string(),
            repo_tags: image.reference.digest().is_none().then(|| vec![name]),
            layers: image.blobs().iter().map(|blob| format!("blobs/sha256/{}", blob.hex())).collect(),
        });
    }
    companions.push(file("index.json", serde_json::to_vec(&index)?)?);
    companions.push(file("manifest.json", serde_json::to_vec(&archive)?)?);
    for (digest, content) in blobs {
        companions.push(MetadataFile { path: blob_path(&digest)?, content: content.clone().into_bytes() });
    }
    let extension = release.needs.is_some().then(Extension::default);
    Ok(Metadata { release: serde_json::to_vec(release)?, companions, extension })
}

fn file(path: &str, content: Vec<u8>) -> Result<MetadataFile> {
    Ok(MetadataFile { path: path.parse()?, content })
}

/// Pieces that take as much as they can, to measure how much room the metadata may need.
///
/// # Errors
/// When a path cannot be made.
pub(crate) fn largest_pieces(
    inputs: &Inputs,
    images: &[FoundImage],
    layers: &[Digest],
    artifacts: Vec<Artifact>,
) -> Result<Pieces> {
    use manifest_schema::release::Span;
    // Numbers as long as they can be, and each another one: what repeats would compress to nothing, and
    // the real ones do not.
    let number = |of: &[u8]| {
        let digest = Digest::of(of);
        let bytes = digest.as_bytes().first_chunk().copied().unwrap_or_default();
        (u64::from_le_bytes(bytes) >> 20) | (1 << 43)
    };
    let span = |of: &[u8]| Span { offset: number(of), size: number(&[of, b"size"].concat()) };
    let entry = |path: BundlePath| FileEntry {
        digest: Digest::of(path.as_str().as_bytes()),
        span: span(path.as_str().as_bytes()),
        path,
    };
    let mut image_configs = BTreeMap::new();
    for image in images {
        let digest = Digest::of(&image.config);
        image_configs.insert(digest, entry(blob_path(&digest)?));
    }
    let mut configs = Vec::new();
    for (config, content) in &inputs.configs {
        let file = FileEntry { digest: Digest::of(content), ..entry(config_path(&config.to)?) };
        configs.push(config_file(config, file));
    }
    let mut seeds = Vec::new();
    for (seed, _) in &inputs.seeds {
        let file = entry(seed_path(&seed.volume)?);
        seeds.push(Seed { volume: seed.volume.clone(), from: seed.from.clone(), file });
    }
    let mut compose_files = Vec::new();
    for named in &inputs.compose_files {
        let file = entry(compose_path(named.path.as_str())?);
        compose_files.push(ComposeFile { file, executable: named.executable });
    }
    Ok(Pieces {
        manifest: entry(MANIFEST_PATH.parse()?),
        compose: entry(COMPOSE_PATH.parse()?),
        env_file: inputs.env_text.as_ref().map(|_| compose_path(".env")).transpose()?.map(entry),
        compose_files,
        templates: inputs
            .templates
            .iter()
            .map(|(path, _)| template_path(path).map(entry))
            .collect::<Result<_>>()?,
        image_configs,
        layers: layers
            .iter()
            .map(|digest| Layer {
                digest: *digest,
                span: span(digest.as_bytes()),
                zstd: ZstdBlob {
                    digest: Digest::of(digest.as_bytes()),
                    size: number(&[digest.as_bytes().as_slice(), b"zstd"].concat()),
                },
            })
            .collect(),
        artifacts: artifacts
            .into_iter()
            .map(|artifact| Artifact { entries: span(artifact.to.as_str().as_bytes()), ..artifact })
            .collect(),
        configs,
        seeds,
    })
}

/// Where the manifest stands in the payload.
pub(crate) const MANIFEST_PATH: &str = "ferry.yaml";
/// Where the Compose file stands in the payload.
pub(crate) const COMPOSE_PATH: &str = "compose.yaml";

/// Where a file that the Compose file names stands in the payload.
///
/// # Errors
/// When the path is too long.
pub(crate) fn compose_path(path: &str) -> Result<BundlePath> {
    Ok(format!("compose/{path}").parse()?)
}

/// Where a template that another one names stands in the payload.
///
/// # Errors
/// When the path is too long.
pub(crate) fn template_path(path: &BundlePath) -> Result<BundlePath> {
    Ok(format!("templates/{path}").parse()?)
}

/// Where a config stands in the payload.
///
/// # Errors
/// When the path is too long.
pub(crate) fn config_path(to: &BundlePath) -> Result<BundlePath> {
    Ok(format!("configs/{to}").parse()?)
}

/// Where a seed stands in the payload.
///
/// # Errors
/// When the volume's name cannot be a file name.
pub(crate) fn seed_path(volume: &str) -> Result<BundlePath> {
    Ok(format!("seeds/{volume}.tar").parse()?)
}

/// A config as the release describes it.
#[must_use]
pub(crate) fn config_file(config: &manifest_schema::manifest::ConfigSpec, file: FileEntry) -> ConfigFile {
    ConfigFile {
        file,
        from: config.from.clone(),
        to: config.to.clone(),
        template: manifest_schema::render::is_template(&config.from),
        mode: config.mode.unwrap_or(0o644),
    }
}
