//! Finds every image of a build, in the order that people are told: the named source, `images/`
//! beside the manifest, the local engine, the registry.
//!
//! Invariants: all images that cannot be found are reported together, each with its place
//! in the manifest or Compose file and with every place that was tried; and the layers' order
//! depends on the wanted images only, so that equal inputs give equal bundles.

mod in_engine;

use super::candidate::{
    Asked, Candidate, Content, NotChosen, choose, in_named_source, list_names, named, other_name,
};
use super::daemon::Engine;
use super::kept;
use super::registry;
use super::store::Place;
use super::{FoundImage, ResolveOptions, Wanted};
use crate::cancel::Cancel;
use ferry_terminal::human;
use manifest_schema::manifest::SourceSpec;
use manifest_schema::progress::Progress;
use manifest_schema::{Diagnostic, Diagnostics, ImageRef, Platform};
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// Finds all `wanted` images for each of `platforms`. `folder` holds the manifest; relative sources
/// start there, and images from the engine or a registry are kept in its `images/`.
///
/// # Errors
/// Lists every image that was not found, and every file in `images/` that is damaged. Where `cancel`
/// was asked meanwhile, what is given is not complete, and what is listed is of no interest.
pub(crate) fn resolve(
    wanted: &[Wanted],
    platforms: &[Platform],
    folder: &Path,
    options: &ResolveOptions,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Vec<FoundImage>, Diagnostics> {
    let mut search = Search {
        folder,
        images: folder.join("images"),
        options,
        progress,
        cancel,
        engine: None,
        opened: HashMap::new(),
        people: None,
    };
    let mut found = Vec::new();
    let mut wrong = Diagnostics::default();
    for wanted in wanted {
        if cancel.is_cancelled() {
            // What is then reported as not found was only not looked for: the caller asks why.
            break;
        }
        progress.detail(&format!("image {}", wanted.reference));
        let platforms = wanted.platform.as_ref().map_or(platforms, std::slice::from_ref);
        match search.one(wanted, platforms) {
            Ok(images) => found.extend(images),
            Err(diagnostics) => wrong.0.extend(diagnostics.0),
        }
    }
    // The same damaged archive is met by every image that looks into it.
    let mut seen = BTreeSet::new();
    wrong.0.retain(|diagnostic| seen.insert(diagnostic.to_string()));
    // Platforms stand in the order of `requires: arch`, and each source answers in its own.
    found.sort_by(|a, b| (&a.reference, a.platform.as_str()).cmp(&(&b.reference, b.platform.as_str())));
    number(&mut found);
    for layer in found.iter_mut().flat_map(|image| &mut image.layers) {
        layer.lifted = options.unpacked_bytes;
    }
    wrong.or_ok(found)
}

/// Numbers archives by first use, so that neither paths nor directory order matter.
fn number(found: &mut [FoundImage]) {
    let mut archives: HashMap<PathBuf, usize> = HashMap::new();
    let mut files = 0_u64;
    for layer in found.iter_mut().flat_map(|image| &mut image.layers) {
        let (path, offset) = match &layer.stored.place {
            Place::Range { archive, offset, .. } => (archive.path().to_owned(), *offset),
            Place::File(path) => {
                files += 1;
                (path.parent().unwrap_or(path).to_owned(), files)
            }
        };
        let next = archives.len();
        layer.order = (*archives.entry(path).or_insert(next), offset);
    }
}

/// An image that is there and broken: no other source is asked for it.
struct Broken(String);

impl Broken {
    fn of(self, wanted: &Wanted) -> Diagnostics {
        at(wanted, format!("image `{}` cannot be used: {}", wanted.reference, self.0))
            .hint("save or copy the image again, then build again")
            .into()
    }
}

/// Why a file that the manifest names gives no image.
enum NoImage {
    /// The file itself cannot be read, or holds others.
    File(String),
    Broken(Broken),
}

/// The images of one file, read once.
type Opened = Result<Vec<Candidate>, String>;

struct Search<'a> {
    folder: &'a Path,
    images: PathBuf,
    options: &'a ResolveOptions,
    progress: &'a dyn Progress,
    cancel: &'a Cancel,
    engine: Option<Engine>,
    opened: HashMap<PathBuf, Opened>,
    people: Option<Vec<Candidate>>,
}

/// One image's search: what is still missing, what was found, where it was looked for.
struct Hunt<'a> {
    wanted: &'a Wanted,
    progress: &'a dyn Progress,
    missing: Vec<Platform>,
    found: Vec<FoundImage>,
    tried: Vec<String>,
}

impl Hunt<'_> {
    const fn asked<'a>(&self, platform: &'a Platform) -> Asked<'a> {
        Asked { platform, preserve: self.wanted.preserve }
    }

    /// Takes from a file that holds one image, whatever its name there.
    fn take_only(
        &mut self,
        candidates: &[Candidate],
        source: &'static str,
        whence: &str,
    ) -> Result<(), Broken> {
        match in_named_source(candidates, &self.wanted.reference, None) {
            Ok(chosen) => self.take(&chosen, source, whence),
            Err(error) => {
                self.tried.push(format!("{error:#}"));
                Ok(())
            }
        }
    }

    /// Takes what `chosen` offers for the missing platforms.
    fn take(&mut self, chosen: &[&Candidate], source: &'static str, whence: &str) -> Result<(), Broken> {
        let mut left = Vec::new();
        for platform in std::mem::take(&mut self.missing) {
            match choose(chosen, self.asked(&platform)) {
                Ok((candidate, content)) => {
                    let reference = &self.wanted.reference;
                    if candidate.platform.is_none() {
                        self.progress.warn(&format!(
                            "image {reference} names no platform: it is taken for one of {platform}"
                        ));
                    }
                    if let Some(own) = content.config_platform.as_ref().filter(|own| !platform.accepts(own)) {
                        self.progress.warn(&format!(
                            "image {reference} is listed for {platform}, but its configuration says {own}"
                        ));
                    }
                    self.found.push(found_image(self.wanted, &platform, candidate, content, source))
                }
                Err(NotChosen::Absent) => left.push((platform, None)),
                Err(NotChosen::Unsuitable(why)) => left.push((platform, Some(why))),
                Err(NotChosen::Broken(why)) => return Err(Broken(why)),
            }
        }
        let mut reasons: Vec<String> = left.iter().filter_map(|(_, why)| why.clone()).collect();
        reasons.dedup();
        self.tried.push(if reasons.is_empty() { whence.to_owned() } else { reasons.join("; ") });
        self.missing = left.into_iter().map(|(platform, _)| platform).collect();
        Ok(())
    }

    /// The images, or what was missing.
    fn finish(self, hint: &str) -> Result<Vec<FoundImage>, Diagnostics> {
        if self.missing.is_empty() {
            return Ok(self.found);
        }
        let platforms: Vec<&str> = self.missing.iter().map(Platform::as_str).collect();
        let message = format!(
            "image `{}` for {} was not found: {}",
            self.wanted.reference,
            platforms.join(", "),
            self.tried.join("; ")
        );
        Err(at(self.wanted, message).hint(hint).into())
    }
}

impl Search<'_> {
    fn one(&mut self, wanted: &Wanted, platforms: &[Platform]) -> Result<Vec<FoundImage>, Diagnostics> {
        let mut hunt = Hunt {
            wanted,
            progress: self.progress,
            missing: platforms.to_vec(),
            found: Vec::new(),
            tried: Vec::new(),
        };
        match &wanted.source {
            Some(SourceSpec::DockerArchive { path, reference }) => {
                self.named_file(&mut hunt, path, reference.as_deref(), "docker-archive")
            }
            Some(SourceSpec::Oci { path, reference }) => self.named_file(&mut hunt, path, reference.as_deref(), "oci"),
            Some(SourceSpec::OciArchive { path, reference }) => {
                self.named_file(&mut hunt, path, reference.as_deref(), "oci-archive")
            }
            Some(SourceSpec::DockerDaemon { reference }) => {
                self.engine_named(&mut hunt, reference)?;
                return hunt.finish("start the engine, or build or pull the image there, or name another source");
            }
            Some(SourceSpec::Docker { reference }) => {
                let reference: ImageRef =
                    reference.trim_start_matches('/').parse().map_err(|error| at(wanted, format!("{error}")))?;
                self.registry(&mut hunt, &reference)?;
                return hunt.finish("check the name and `docker login`, or name another source");
            }
            None => {
                self.people(&mut hunt)?;
                if !self.options.refresh {
                    self.kept_from_registry(&mut hunt)?;
                }
                if !hunt.missing.is_empty() {
                    self.engine_with(&mut hunt, &wanted.reference.clone())?;
                }
                if !hunt.missing.is_empty() {
                    self.registry(&mut hunt, &wanted.reference.clone())?;
                }
                return hunt.finish(
                    "put an archive made by `docker save` into the folder images/ beside the manifest, or name a source under `images:`",
                );
            }
        }
        .map_err(|error| match error {
            NoImage::File(why) => at(wanted, format!("image `{}`: {why}", wanted.reference))
                .hint("save the image again, or name another source under `images:`")
                .into(),
            NoImage::Broken(broken) => broken.of(wanted),
        })?;
        hunt.finish("build for a platform that it has (`requires: arch`), or save the image for this one")
    }

    fn read(&mut self, path: &Path) -> &Opened {
        self.opened.entry(path.to_owned()).or_insert_with(|| {
            kept::read_images(path, self.options.unpacked_bytes, self.cancel)
                .map_err(|error| format!("{error:#}"))
        })
    }

    fn named_file(
        &mut self,
        hunt: &mut Hunt<'_>,
        path: &str,
        member: Option<&str>,
        source: &'static str,
    ) -> Result<(), NoImage> {
        let path = self.folder.join(path);
        let candidates = self.read(&path).as_ref().map_err(|why| NoImage::File(why.clone()))?;
        let label = path.display();
        let chosen = in_named_source(candidates, &hunt.wanted.reference, member)
            .map_err(|error| NoImage::File(format!("{label}: {error}")))?;
        if member.is_none()
            && let Some(other) = other_name(&chosen, &hunt.wanted.reference)
        {
            hunt.progress.warn(&format!(
                "image {} is the one that {label} calls `{}`",
                hunt.wanted.reference,
                human::printable(other)
            ));
        }
        let whence = format!("{label} holds {}", list_names(candidates));
        hunt.take(&chosen, source, &whence).map_err(NoImage::Broken)
    }

    /// Looks into what people put into `images/`.
    fn people(&mut self, hunt: &mut Hunt<'_>) -> Result<(), Diagnostics> {
        if self.people.is_none() {
            let unreadable = |text: String| {
                Diagnostic::new(self.images.display().to_string(), human::printable(&text))
                    .hint("save the archive again, or move it out of the folder images/")
            };
            let paths =
                kept::put_there_by_people(&self.images).map_err(|error| unreadable(format!("{error:#}")))?;
            let mut all = Vec::new();
            let mut wrong = Diagnostics::default();
            for path in paths {
                match kept::read_images(&path, self.options.unpacked_bytes, self.cancel) {
                    Ok(candidates) => all.extend(candidates),
                    Err(error) => wrong.push(unreadable(format!("{error:#}"))),
                }
            }
            self.people = Some(wrong.or_ok(all)?);
        }
        let candidates = self.people.as_deref().unwrap_or_default();
        let whence = if candidates.is_empty() {
            "images/ holds no archive of your own".to_owned()
        } else {
            format!("images/ holds {}", list_names(candidates))
        };
        let wanted = hunt.wanted;
        hunt.take(&named(candidates, &wanted.reference), "images", &whence)
            .map_err(|broken| broken.of(wanted))
    }

    /// A layout that an earlier build pulled, where it has all that is missing; otherwise the registry is
    /// asked again for what is missing now.
    fn kept_layout(&self, hunt: &Hunt<'_>, reference: &ImageRef) -> Option<Vec<Candidate>> {
        let path = kept::registry_layout(&self.images, &reference.familiar());
        if self.options.refresh || !path.join("index.json").is_file() {
            return None;
        }
        let candidates = kept::read_images(&path, self.options.unpacked_bytes, self.cancel).ok()?;
        let chosen = in_named_source(&candidates, &hunt.wanted.reference, None).ok()?;
        let complete = hunt.missing.iter().all(|platform| choose(&chosen, hunt.asked(platform)).is_ok());
        complete.then_some(candidates)
    }

    /// The damage in a layout that an earlier build pulled.
    fn why_not_kept(&self, hunt: &Hunt<'_>, reference: &ImageRef) -> Option<String> {
        let path = kept::registry_layout(&self.images, &reference.familiar());
        if !path.join("index.json").is_file() {
            return None;
        }
        let candidates = match kept::read_images(&path, self.options.unpacked_bytes, self.cancel) {
            Ok(candidates) => candidates,
            Err(error) => return Some(format!("{error:#}")),
        };
        let chosen = in_named_source(&candidates, &hunt.wanted.reference, None).ok()?;
        hunt.missing.iter().find_map(|platform| match choose(&chosen, hunt.asked(platform)) {
            Err(NotChosen::Broken(why)) => Some(why),
            _ => None,
        })
    }

    fn kept_from_registry(&mut self, hunt: &mut Hunt<'_>) -> Result<(), Diagnostics> {
        match self.kept_layout(hunt, &hunt.wanted.reference) {
            Some(candidates) => {
                hunt.take_only(&candidates, "docker", "").map_err(|broken| broken.of(hunt.wanted))
            }
            None => Ok(()),
        }
    }

    fn registry(&mut self, hunt: &mut Hunt<'_>, reference: &ImageRef) -> Result<(), Diagnostics> {
        let registry = format!("registry {}", reference.domain());
        let candidates = match self.kept_layout(hunt, reference) {
            Some(candidates) => Ok(candidates),
            None if self.options.offline => Err(match self.why_not_kept(hunt, reference) {
                Some(why) => anyhow::anyhow!(
                    "it was not asked, since the build is offline, and what is kept of it is damaged ({why}); \
                     build once with --refresh"
                ),
                None => anyhow::anyhow!("it was not asked, since the build is offline"),
            }),
            None => {
                let path = kept::registry_layout(&self.images, &reference.familiar());
                registry::fetch(reference, &hunt.missing, &path, self.options, self.progress, self.cancel)
                    .and_then(|()| kept::read_images(&path, self.options.unpacked_bytes, self.cancel))
            }
        };
        match candidates {
            Ok(candidates) => hunt
                .take_only(&candidates, "docker", &format!("{registry} does not have it"))
                .map_err(|broken| broken.of(hunt.wanted)),
            Err(error) => {
                hunt.tried.push(format!("{registry}: {error:#}"));
                Ok(())
            }
        }
    }
}

fn found_image(
    wanted: &Wanted,
    asked: &Platform,
    candidate: &Candidate,
    content: &Content,
    source: &'static str,
) -> FoundImage {
    let pinned = wanted.reference.digest();
    FoundImage {
        reference: wanted.reference.clone(),
        platform: candidate.platform.clone().unwrap_or_else(|| asked.clone()),
        config: content.config.clone(),
        diff_ids: content.diff_ids.clone(),
        layers: content.layers.clone(),
        original: candidate.original.clone(),
        index: candidate
            .indexes
            .iter()
            .find(|index| Some(&index.digest) == pinned)
            .map(|index| (**index).clone()),
        source: match source {
            "images" if candidate.original.is_none() => "docker-archive",
            "images" => "oci-archive",
            source => source,
        },
        label: candidate.label.clone(),
    }
}

fn at(wanted: &Wanted, message: String) -> Diagnostic {
    // It quotes archives, registries and engines.
    let mut diagnostic = Diagnostic::new(wanted.place.0.clone(), human::printable(&message));
    diagnostic.line = wanted.place.1;
    diagnostic
}
