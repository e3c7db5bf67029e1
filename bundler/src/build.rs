//! `ferry build`: one signed `site.fz` from a manifest.
//!
//! Read and check everything that people wrote, find every image, plan every artifact, and only then
//! pack: each input is read once, the output is written once, beside its final name, and appears
//! whole or not at all.

mod failed;
mod layers;
mod output;
mod texts;
mod watched;

use self::layers::{PlannedLayer, unique_layers};
use self::watched::Watched;
use crate::artifacts::{self, ArtifactPlan, EntryKind};
use crate::cancel::Cancel;
use crate::describe::{self, Pieces};
use crate::inputs::{self, Inputs};
use crate::signing::SigningKey;
use crate::sources::{self, FoundImage, ResolveOptions};
use crate::texts::Texts;
use anyhow::{Context, Result};
use bundle_format::pack::{Frames, OwnBlob, Packed, metadata_bytes};
use bundle_format::tarball::Kind;
use bundle_format::{FormatError, PackOptions, Packer, Reserve};
use ferry_terminal::{Class, Failure, human};
use manifest_schema::progress::Progress;
use manifest_schema::release::{Artifact, Layer, Release, Seed, Span, ZstdBlob};
use manifest_schema::render::Renderer;
use manifest_schema::{BundlePath, Diagnostic, Digest, ProjectName, limits};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// What to build, checked.
pub struct Request {
    /// The manifest, or the folder that holds it.
    pub manifest: PathBuf,
    /// The bundle to write; `None`: `<name>-<version>.fz` in the current folder.
    pub output: Option<PathBuf>,
    /// Keys that sign.
    pub keys: Vec<SigningKey>,
    /// Level and threads.
    pub pack: PackOptions,
    /// How images are looked for.
    pub resolve: ResolveOptions,
    /// Another product name than the manifest's.
    pub rename: Option<ProjectName>,
    /// Renders templates.
    pub renderer: &'static dyn Renderer,
}

/// What was built.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// The bundle.
    pub output: PathBuf,
    /// Product and version.
    pub name: String,
    /// Version.
    pub version: String,
    /// SHA-256 of the signed index.
    pub id: Digest,
    /// Size of the bundle.
    pub file_bytes: u64,
    /// Size of the payload.
    pub content_bytes: u64,
    /// Images packed.
    pub images: usize,
    /// Layers packed, each once.
    pub layers: usize,
    /// Layers that images name, counted each time.
    pub layer_references: usize,
    /// Content bytes that were not stored again because a layer is shared.
    pub shared_bytes: u64,
    /// Artifacts packed.
    pub artifacts: usize,
    /// Fingerprints of the keys that signed.
    pub signed_by: Vec<String>,
}

/// Builds the bundle.
///
/// # Errors
/// Mistakes in the inputs as [`manifest_schema::Diagnostics`]; otherwise what could not be read,
/// written or signed.
pub fn build(request: &Request, progress: &dyn Progress, cancel: &Cancel) -> Result<Summary> {
    if request.keys.len() > limits::MAX_SIGNATURES {
        let fact =
            format!("{} keys; a bundle takes {} signatures", request.keys.len(), limits::MAX_SIGNATURES);
        return Err(Failure::new(Class::Usage, fact).hint("sign with fewer of them").into());
    }
    let mut texts = Texts::read(&request.manifest)?;
    if let Some(name) = &request.rename {
        texts.rename(name)?;
    }
    let inputs = inputs::from_texts(texts, request.renderer)?;
    // Under another name the Compose file's own `name` is another one, too.
    let of_the_name =
        |warning: &Diagnostic| request.rename.is_some() && warning.message == "`name` is ignored";
    for warning in inputs.warnings.iter().filter(|warning| !of_the_name(warning)) {
        progress.warn(&warning.to_string());
    }
    let output = request
        .output
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("{}-{}.fz", inputs.manifest.name, inputs.manifest.version)));
    output::overwrites_a_bundle_only(&output)?;
    progress.begin("finding", None);
    let images = sources::resolve(
        &inputs.wanted(),
        inputs.platforms(),
        &inputs.folder,
        &request.resolve,
        progress,
        cancel,
    )
    .map_err(|mistakes| inputs.shown_in(mistakes))?;
    let artifacts = inputs.artifacts(cancel)?;
    progress.end(&format!(
        "{}, {}",
        human::count(images.len(), "image"),
        human::count(artifacts.len(), "artifact")
    ));

    let layers = unique_layers(&inputs, &images);
    let job = Job {
        request,
        inputs: &inputs,
        images: &images,
        layers: &layers,
        artifacts: &artifacts,
        progress,
        cancel,
    };
    let (packed, release) = job.pack_whole(&output).map_err(|error| failed::classified(error, &output))?;
    let references = images.iter().map(|image| image.layers.len()).sum();
    let mut shared_bytes = 0;
    for image in &release.images {
        shared_bytes +=
            image.blobs().iter().filter_map(|blob| release.layer(blob)).map(|l| l.span.size).sum::<u64>();
    }
    shared_bytes -= release.layers.iter().map(|layer| layer.span.size).sum::<u64>();
    Ok(Summary {
        output,
        name: release.name.to_string(),
        version: release.version.clone(),
        id: packed.index_digest,
        file_bytes: packed.file_bytes,
        content_bytes: packed.content_bytes,
        images: release.images.len(),
        layers: release.layers.len(),
        layer_references: references,
        shared_bytes,
        artifacts: release.artifacts.len(),
        signed_by: request.keys.iter().map(SigningKey::fingerprint).collect(),
    })
}

/// What to do about a damaged copy in `images/`.
const KEPT: &str =
    "build with --refresh, which asks the engine or registry again for what is kept in images/";

struct Job<'a> {
    request: &'a Request,
    inputs: &'a Inputs,
    images: &'a [FoundImage],
    layers: &'a [PlannedLayer<'a>],
    artifacts: &'a [ArtifactPlan],
    progress: &'a dyn Progress,
    cancel: &'a Cancel,
}

impl Job<'_> {
    /// Packs into a temporary file beside `output` and renames it when it is whole.
    fn pack_whole(&self, output: &Path) -> Result<(Packed, Release)> {
        let folder = match output.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let writing = || format!("writing {}", output.display());
        let mut reserve = self.reserve()?;
        loop {
            let temporary =
                tempfile::Builder::new().prefix(".ferry-build-").tempfile_in(folder).with_context(writing)?;
            let file = temporary.as_file().try_clone().with_context(writing)?;
            match self.pack(file, reserve) {
                Ok((file, packed, release)) => {
                    file.sync_all().with_context(writing)?;
                    drop(file);
                    make_readable(temporary.as_file()).with_context(writing)?;
                    // The last moment at which "nothing was written" is true.
                    self.cancel.check()?;
                    temporary.persist(output).with_context(writing)?;
                    File::open(folder).and_then(|folder| folder.sync_all()).with_context(writing)?;
                    return Ok((packed, release));
                }
                Err(error) => match error.downcast_ref::<FormatError>() {
                    Some(FormatError::ReserveTooSmall { missing }) => {
                        // Only a layer of unknown size can be that far from what was reckoned.
                        let cause = if self.layers.iter().any(|layer| layer.known_bytes().is_none()) {
                            "a layer unpacks to far more than its size"
                        } else {
                            "the list of contents is longer than was reckoned"
                        };
                        self.progress.warn(&format!("{cause}: packing again with more room"));
                        reserve.widen(*missing);
                    }
                    _ => return Err(error),
                },
            }
        }
    }

    fn reserve(&self) -> Result<Reserve> {
        let mut reserve = Reserve::default();
        let inputs = self.inputs;
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
        for (_, place) in &inputs.seeds {
            reserve.add_own(artifacts::seed_bytes(place, self.cancel)?);
        }
        for image in self.images {
            reserve.add_file(image.config.len() as u64, 80);
        }
        for layer in self.layers {
            match layer.known_bytes() {
                Some(bytes) => reserve.add_own(bytes),
                None => reserve.add_compressed(layer.source.stored_bytes),
            }
        }
        for entry in self.artifacts.iter().flat_map(|artifact| &artifact.entries) {
            let size = if let EntryKind::File { size, .. } = &entry.kind { *size } else { 0 };
            reserve.add_file(size, entry.path.as_str().len());
        }
        let layers: Vec<Digest> = self.layers.iter().map(|layer| layer.digest).collect();
        let artifacts = self.artifacts.iter().map(|plan| {
            let digest = Digest::of(plan.from.as_bytes());
            describe_artifact(plan, Span { offset: 0, size: 0 }, digest)
        });
        let largest = describe::largest_pieces(inputs, self.images, &layers, artifacts.collect())?;
        let release = describe::release(inputs, self.images, &largest)?;
        let files = describe::metadata(&release)?;
        bundle_format::pack::check_metadata(&files)?;
        let metadata = metadata_bytes(&files, self.request.pack.level)?;
        reserve.set_metadata(metadata + metadata / 20 + 1024);
        // More keys than the usual room holds.
        reserve.widen(1024 * (self.request.keys.len() as u64).saturating_sub(16));
        Ok(reserve)
    }

    fn seed_bytes(&self) -> Result<u64> {
        self.inputs.seeds.iter().map(|(_, place)| artifacts::seed_bytes(place, self.cancel)).sum()
    }

    fn pack(&self, file: File, reserve: Reserve) -> Result<(File, Packed, Release)> {
        let total = self
            .layers
            .iter()
            .map(|layer| layer.known_bytes().unwrap_or(layer.source.stored_bytes))
            .sum::<u64>()
            + self.artifacts.iter().map(|artifact| artifact.bytes()).sum::<u64>()
            + self.seed_bytes()?;
        self.progress.begin("packing", Some(total));
        let mut packer = Packer::new(file, self.request.pack, reserve)?;
        let contents = match self.pack_contents(&mut packer) {
            Ok(contents) => contents,
            Err(error) => {
                // Where the writing side failed, that is the cause, and not what was being read.
                return Err(match error.downcast_ref::<FormatError>() {
                    Some(FormatError::Inconsistent(what)) => {
                        packer.cause(FormatError::Inconsistent(what.clone())).into()
                    }
                    _ => error,
                });
            }
        };
        let mut described = None;
        let mut unsigned = None;
        let finished = packer.finish(
            |frames| {
                let release = contents
                    .pieces(frames)
                    .and_then(|pieces| describe::release(self.inputs, self.images, &pieces))
                    .map_err(|error| FormatError::Input(format!("{error:#}")))?;
                let metadata =
                    describe::metadata(&release).map_err(|error| FormatError::Input(format!("{error:#}")))?;
                described = Some(release);
                Ok(metadata)
            },
            |index| {
                let signatures = self.request.keys.iter().map(|key| key.sign(index)).collect::<Result<_>>();
                signatures.map_err(|error| {
                    let told = FormatError::Untrusted(format!("{error:#}"));
                    unsigned = Some(error);
                    told
                })
            },
        );
        let (file, packed) = match (finished, unsigned) {
            (Ok(finished), _) => finished,
            // It may have a class of its own, a wrong passphrase say.
            (Err(_), Some(error)) if error.chain().any(|cause| cause.is::<Failure>()) => return Err(error),
            (Err(error), _) => return Err(error.into()),
        };
        let release = described.context("the bundle was written without being described")?;
        self.progress.end(&format!(
            "{} into {}",
            human::bytes(packed.content_bytes),
            human::bytes(packed.file_bytes)
        ));
        Ok((file, packed, release))
    }

    fn pack_contents(&self, packer: &mut Packer<File>) -> Result<Contents> {
        let inputs = self.inputs;
        let texts = texts::pack(packer, inputs)?;
        let mut image_configs = BTreeMap::new();
        for image in self.images {
            let digest = Digest::of(&image.config);
            if let std::collections::btree_map::Entry::Vacant(vacant) = image_configs.entry(digest) {
                vacant.insert(packer.small_file(&describe::blob_path(&digest)?, &image.config)?);
            }
        }
        let mut layers = Vec::new();
        for layer in self.layers {
            layers.push(self.pack_layer(packer, layer)?);
        }
        let mut seeds = Vec::new();
        for (seed, place) in &inputs.seeds {
            self.progress.detail(&format!("seed of volume {}", seed.volume));
            let mut content = self.watched(artifacts::open_seed(place, self.cancel)?);
            let blob = packer.own(&describe::seed_path(&seed.volume)?, None, false, &mut content)?;
            let path = describe::seed_path(&seed.volume)?;
            let file = manifest_schema::release::FileEntry { path, digest: blob.digest, span: blob.span };
            seeds.push(Seed { volume: seed.volume.clone(), from: seed.from.clone(), file });
        }
        let mut packed_artifacts = Vec::new();
        for plan in self.artifacts {
            self.progress.detail(&format!("artifact {}", plan.to));
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
        self.progress.detail(&format!("image {}", layer.image));
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
            self.progress.advance(layer.source.stored_bytes);
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
        Watched { inner, progress: self.progress, cancel: self.cancel, counts: true }
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

/// What was packed, until the frames' digests are known.
struct Contents {
    layers: Vec<OwnBlob>,
    pieces: Pieces,
}

impl Contents {
    fn pieces(&self, frames: &Frames) -> Result<Pieces> {
        let mut pieces = self.pieces.clone();
        for blob in &self.layers {
            let (digest, size) =
                *frames.blobs.get(blob.number).context("a layer was packed without frames")?;
            pieces.layers.push(Layer {
                digest: blob.digest,
                span: blob.span,
                zstd: ZstdBlob { digest, size },
            });
        }
        Ok(pieces)
    }
}

/// Temporary files are private; a bundle is for handing on.
#[cfg(unix)]
fn make_readable(file: &File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn make_readable(_: &File) -> std::io::Result<()> {
    Ok(())
}
