//! Packing: everything that was read, found and planned goes into one signed file.
//!
//! Invariants: each input is read once, the output is written once, beside its final name, and appears
//! whole or not at all.

pub(crate) mod describe;
mod failed;
mod layers;
mod output;
pub(crate) mod own_key;
pub(crate) mod owners;
mod small_files;
mod watched;

pub(crate) use self::output::overwrites_a_bundle_only;

use self::describe::Pieces;
use self::layers::{PlannedLayer, unique_layers};
use self::watched::Watched;
use crate::artifacts::seed::SeedPlan;
use crate::artifacts::{ArtifactPlan, EntryKind};
use crate::cancel::Cancel;
use crate::inputs::Inputs;
use crate::signing::SigningKey;
use crate::sources::FoundImage;
use anyhow::{Context, Result};
use bundle_format::pack::{OwnBlob, Packed, Sealed};
use bundle_format::tarball::Kind;
use bundle_format::{FormatError, PackOptions, Packer, Reserve};
use ferry_terminal::{Class, Failure, WholeFile, human};
use manifest_schema::progress::Progress;
use manifest_schema::release::{Artifact, Layer, Release, Seed, Span};
use manifest_schema::{BundlePath, Digest};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The hint for a damaged copy in `images/`.
const KEPT: &str =
    "build with --refresh, which asks the engine or registry again for what is kept in images/";

/// Everything that goes into a bundle.
pub(crate) struct Job<'a> {
    /// People's texts, checked.
    pub inputs: &'a Inputs,
    /// The images, each where it lies.
    pub images: &'a [FoundImage],
    /// The artifacts, with all their entries.
    pub artifacts: &'a [ArtifactPlan],
    /// The seeds of volumes, each with its owner.
    pub seeds: &'a [SeedPlan],
    pub keys: &'a [SigningKey],
    pub options: PackOptions,
    pub progress: &'a dyn Progress,
    pub cancel: &'a Cancel,
}

/// One run through all inputs.
enum Attempt {
    Whole(Packed, Box<Release>),
    /// The head does not hold the list of what was packed.
    TooLittleRoom {
        missing: u64,
    },
}

struct Packing<'a> {
    job: &'a Job<'a>,
    layers: Vec<PlannedLayer<'a>>,
    output: &'a Path,
}

impl Job<'_> {
    /// Packs into a temporary file beside `output` and renames it when it is whole.
    ///
    /// # Errors
    /// When an input cannot be read or is not what was planned, the output cannot be written, or a key does not
    /// sign. There is no output then, or the one from before.
    pub(crate) fn pack(&self, output: &Path) -> Result<(Packed, Release)> {
        let layers = unique_layers(self.inputs, self.images);
        let packing = Packing { job: self, layers, output };
        packing.pack_whole().map_err(|error| failed::classified(error, output, packing.content_bytes().ok()))
    }
}

impl Packing<'_> {
    /// Packs into a temporary file beside `output` and renames it when it is whole.
    fn pack_whole(&self) -> Result<(Packed, Release)> {
        let mut reserve = self.reserve()?;
        loop {
            let whole = WholeFile::begin(self.output)?;
            let file = whole.as_file().try_clone()?;
            match self.pack(file, reserve)? {
                Attempt::Whole(packed, release) => {
                    // The last moment at which "nothing was written" is true.
                    self.job.cancel.check()?;
                    // Temporary files are private; a bundle is for handing on.
                    whole.finish(0o644)?;
                    return Ok((packed, *release));
                }
                Attempt::TooLittleRoom { missing } => {
                    // Only a layer of unknown size can be that far from what was reckoned.
                    let cause = if self.layers.iter().any(|layer| layer.known_bytes().is_none()) {
                        "a layer is far larger unpacked than estimated"
                    } else {
                        "the list of contents is longer than estimated"
                    };
                    self.job.progress.fail("too little room for the list of contents");
                    self.job.progress.warn(&format!("{cause}: packing again with more room"));
                    reserve.widen(missing);
                }
            }
        }
    }

    fn reserve(&self) -> Result<Reserve> {
        let mut reserve = Reserve::default();
        let inputs = self.job.inputs;
        reserve.add_file(inputs.manifest_text.len() as u64, 64);
        reserve.add_file(inputs.compose_text.len() as u64, 64);
        reserve.add_file(inputs.env_text.as_ref().map_or(0, String::len) as u64, 64);
        for named in &inputs.compose_files {
            reserve.add_file(named.bytes, named.path.as_str().len());
        }
        for (path, text) in &inputs.templates {
            reserve.add_file(text.len() as u64, path.as_str().len());
        }
        for (config, content) in &inputs.configs {
            reserve.add_file(content.len() as u64, config.to.as_str().len());
        }
        for seed in self.job.seeds {
            reserve.add_own(seed.bytes(self.job.cancel)?);
        }
        for image in self.job.images {
            reserve.add_file(image.config.len() as u64, 80);
        }
        for layer in &self.layers {
            match layer.known_bytes() {
                Some(bytes) => reserve.add_own(bytes),
                None => reserve.add_compressed(layer.source.stored_bytes),
            }
        }
        for entry in self.job.artifacts.iter().flat_map(|artifact| &artifact.entries) {
            let size = if let EntryKind::File { size, .. } = &entry.kind { *size } else { 0 };
            reserve.add_file(size, entry.path.as_str().len());
        }
        let layers: Vec<Digest> = self.layers.iter().map(|layer| layer.digest).collect();
        let artifacts = self.job.artifacts.iter().map(|plan| {
            let digest = Digest::of(plan.from.as_bytes());
            describe_artifact(plan, Span { offset: 0, size: 0 }, digest)
        });
        let largest = describe::largest_pieces(inputs, self.job.images, &layers, artifacts.collect())?;
        let release = describe::release(inputs, self.job.images, &largest)?;
        let metadata = describe::metadata(&release)?;
        metadata.check()?;
        if let Some(extension) = &metadata.extension {
            reserve.add_extension(extension);
        }
        let metadata = metadata.compressed_bytes(self.job.options.level)?;
        reserve.set_metadata(metadata + metadata / 20 + 1024);
        // More keys than the usual room holds.
        reserve.widen(1024 * (self.job.keys.len() as u64).saturating_sub(16));
        Ok(reserve)
    }

    fn seed_bytes(&self) -> Result<u64> {
        self.job.seeds.iter().map(|seed| seed.bytes(self.job.cancel)).sum()
    }

    /// Bytes of layers, artifacts and seeds before they are compressed.
    fn content_bytes(&self) -> Result<u64> {
        let layers = self.layers.iter().map(|layer| layer.known_bytes().unwrap_or(layer.source.stored_bytes));
        let artifacts = self.job.artifacts.iter().map(|artifact| artifact.bytes());
        Ok(layers.sum::<u64>() + artifacts.sum::<u64>() + self.seed_bytes()?)
    }

    fn pack(&self, file: File, reserve: Reserve) -> Result<Attempt> {
        self.job.progress.begin("packing", Some(self.content_bytes()?));
        let mut packer = Packer::new(file, self.job.options, reserve)?;
        let contents = self.pack_contents(&mut packer)?;
        let sealed = packer.seal()?;
        let release = describe::release(self.job.inputs, self.job.images, &contents.pieces(&sealed)?)?;
        let described = match sealed.describe(&describe::metadata(&release)?) {
            Err(FormatError::ReserveTooSmall { missing }) => return Ok(Attempt::TooLittleRoom { missing }),
            described => described?,
        };
        let signatures = self.job.keys.iter().map(|key| key.sign(described.index())).collect::<Result<_>>();
        let (_, packed) =
            described.sign(signatures.map_err(|error| failed::unsigned(error, self.output))?)?;
        self.job.progress.end(&format!(
            "{} into {}",
            human::bytes(packed.content_bytes),
            human::bytes(packed.file_bytes)
        ));
        Ok(Attempt::Whole(packed, Box::new(release)))
    }

    fn pack_contents(&self, packer: &mut Packer<File>) -> Result<Contents> {
        let inputs = self.job.inputs;
        let texts = small_files::pack(packer, inputs)?;
        let mut image_configs = BTreeMap::new();
        for image in self.job.images {
            let digest = Digest::of(&image.config);
            if let std::collections::btree_map::Entry::Vacant(vacant) = image_configs.entry(digest) {
                vacant.insert(packer.small_file(&describe::blob_path(&digest)?, &image.config)?);
            }
        }
        let mut layers = Vec::new();
        for layer in &self.layers {
            layers.push(self.pack_layer(packer, layer)?);
        }
        let mut seeds = Vec::new();
        for plan in self.job.seeds {
            let seed = &plan.spec;
            self.job.progress.detail(&format!("seed of volume {}", seed.volume));
            let mut content = self.watched(plan.open(self.job.cancel)?);
            let blob = packer.own(&describe::seed_path(&seed.volume)?, None, false, &mut content)?;
            let path = describe::seed_path(&seed.volume)?;
            let file = manifest_schema::release::FileEntry { path, digest: blob.digest, span: blob.span };
            seeds.push(Seed { volume: seed.volume.clone(), from: seed.from.clone(), file });
        }
        let mut packed_artifacts = Vec::new();
        for plan in self.job.artifacts {
            self.job.progress.detail(&format!("artifact {}", plan.to));
            packed_artifacts.push(self.pack_artifact(packer, plan)?);
        }
        Ok(Contents {
            layers,
            pieces: Pieces {
                manifest: texts.manifest,
                compose: texts.compose,
                env_file: texts.env_file,
                compose_files: texts.compose_files,
                templates: texts.templates,
                image_configs,
                layers: Vec::new(),
                artifacts: packed_artifacts,
                configs: texts.configs,
                seeds,
            },
        })
    }

    fn pack_layer(&self, packer: &mut Packer<File>, layer: &PlannedLayer<'_>) -> Result<OwnBlob> {
        self.job.progress.detail(&format!("image {}", layer.image));
        let content = if layer.as_stored { layer.source.open_stored() } else { layer.source.open() }?;
        let known = layer.known_bytes();
        let mut content = self.watched(content);
        if known.is_none() {
            content.counts = false;
        }
        let path = describe::blob_path(&layer.digest)?;
        let packing = || format!("packing a layer of image {} from {}", layer.image, layer.source.label());
        let blob = packer.own(&path, known, false, &mut content).map_err(|error| match error {
            error @ FormatError::Io { .. } if layer.source.is_kept() => {
                Failure::new(Class::Files, packing()).because(error).hint(KEPT).into()
            }
            error => anyhow::Error::new(error).context(packing()),
        })?;
        if known.is_none() {
            self.job.progress.advance(layer.source.stored_bytes);
        }
        if blob.digest != layer.digest {
            let fact = format!(
                "a layer of image {} in {} is damaged: its content has digest {}, the image says {}",
                layer.image,
                layer.source.label(),
                blob.digest,
                layer.digest
            );
            let hint =
                if layer.source.is_kept() { KEPT } else { "save the image again, from where it was built" };
            return Err(Failure::new(Class::Input, fact).hint(hint).into());
        }
        Ok(blob)
    }

    fn pack_artifact(&self, packer: &mut Packer<File>, plan: &ArtifactPlan) -> Result<Artifact> {
        let offset = packer.position();
        // One line an entry; no path holds a control character, so lines cannot run together.
        let mut listing = String::new();
        for entry in &plan.entries {
            let path: BundlePath = format!("artifacts/{}", entry.path).parse()?;
            match &entry.kind {
                EntryKind::Folder => {
                    packer.entry(&path, Kind::Folder)?;
                    listing.push_str(&format!("folder\t{path}\n"));
                }
                EntryKind::Symlink { target } => {
                    packer.entry(&path, Kind::Symlink { target })?;
                    listing.push_str(&format!("link\t{path}\t{target}\n"));
                }
                EntryKind::File { size, executable, .. } => {
                    let mut content = self.watched(entry.open()?);
                    let file = packer
                        .file(&path, *size, *executable, &mut content)
                        .with_context(|| format!("packing {} of artifact {}", entry.path, plan.from))?;
                    listing.push_str(&format!("file\t{path}\t{executable}\t{}\n", file.digest));
                }
            }
        }
        let entries = Span { offset, size: packer.position() - offset };
        Ok(describe_artifact(plan, entries, Digest::of(listing.as_bytes())))
    }

    fn watched(&self, inner: Box<dyn Read + Send>) -> Watched<'_> {
        Watched::new(inner, self.job.progress, self.job.cancel)
    }
}

fn describe_artifact(plan: &ArtifactPlan, entries: Span, digest: Digest) -> Artifact {
    Artifact {
        from: plan.from.clone(),
        to: plan.to.clone(),
        kind: plan.kind,
        commit: plan.commit.clone(),
        files: plan.files(),
        bytes: plan.bytes(),
        digest,
        entries,
    }
}

/// Contents as they were packed, until the frames' digests are known.
struct Contents {
    layers: Vec<OwnBlob>,
    pieces: Pieces,
}

impl Contents {
    fn pieces(self, sealed: &Sealed<File>) -> Result<Pieces> {
        let mut pieces = self.pieces;
        for blob in &self.layers {
            let zstd = sealed.compressed(blob)?;
            pieces.layers.push(Layer { digest: blob.digest, span: blob.span, zstd });
        }
        Ok(pieces)
    }
}

#[cfg(test)]
mod tests;
