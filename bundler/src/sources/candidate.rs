//! An image as one source offers it, and the choice among those on offer.
//!
//! Invariants: a choice is never a guess. Where two different images answer to one name,
//! or the wrong platform is all there is, the caller hears what is there instead.

use super::documents::{self, ImageConfig};
use super::store::{Store, Stored};
use super::{LayerSource, OriginalManifest};
use crate::read::compression::Compression;
use anyhow::{Context, bail};
use manifest_schema::limits::MAX_LAYERS;
use manifest_schema::{Digest, ImageRef, Platform};
use std::collections::BTreeSet;
use std::sync::Arc;

/// An image on offer.
#[derive(Clone)]
pub(super) struct Candidate {
    /// Names as the source writes them: references, or bare tags in an OCI layout.
    pub(super) names: Vec<String>,
    /// Digest of the entry that offered it, so that one multi-platform image counts as one.
    pub(super) group: Digest,
    /// Platform, where at least that is known.
    pub(super) platform: Option<Platform>,
    /// Manifest as the source has it.
    pub(super) original: Option<OriginalManifest>,
    /// Indexes over the manifest, outermost first: shared, since one may list thousands of images.
    pub(super) indexes: Vec<Arc<OriginalManifest>>,
    /// The image itself, or why it cannot be used.
    pub(super) content: Result<Content, Flaw>,
    /// Where it lies, for messages.
    pub(super) label: String,
}

/// A usable image.
#[derive(Clone)]
pub(super) struct Content {
    pub(super) config: Vec<u8>,
    /// Platform as the configuration has it.
    pub(super) config_platform: Option<Platform>,
    pub(super) config_digest: Digest,
    pub(super) diff_ids: Vec<Digest>,
    pub(super) layers: Vec<LayerSource>,
}

/// Something that an image needs is not there.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Absent(pub(super) String);

/// Why an image cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Flaw {
    /// A part is not there. In an index over several platforms this is no damage: engines save
    /// the index whole and only the blobs that they have.
    Absent(String),
    /// It is there and wrong.
    Damaged(String),
}

impl From<anyhow::Error> for Flaw {
    fn from(error: anyhow::Error) -> Self {
        if error.downcast_ref::<Absent>().is_some() {
            Self::Absent(format!("{error:#}"))
        } else {
            Self::Damaged(format!("{error:#}"))
        }
    }
}

/// An image that is looked for.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) platform: &'a Platform,
    pub(super) preserve: bool,
}

/// Why nothing was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotChosen {
    /// No candidate has the name.
    Absent,
    /// It is there, but of no use; another source may still have a better one.
    Unsuitable(String),
    /// It is there and broken.
    Broken(String),
}

impl Candidate {
    /// All digests by which the image can be pinned.
    pub(super) fn has_digest(&self, digest: &Digest) -> bool {
        self.original
            .iter()
            .chain(self.indexes.iter().map(AsRef::as_ref))
            .any(|manifest| &manifest.digest == digest)
    }

    /// True where an engine's image ID means this image: the config's digest on graph drivers, the
    /// manifest's or index's on the containerd store.
    pub(super) fn has_id(&self, id: &Digest) -> bool {
        self.has_digest(id) || self.content.as_ref().is_ok_and(|content| &content.config_digest == id)
    }

    /// `acme/api:2` in FILE.
    fn in_words(&self) -> String {
        match self.names.first() {
            Some(name) => format!("`{name}` in {}", self.label),
            None => format!("one in {}", self.label),
        }
    }

    /// True where a name of the candidate is `reference`.
    fn is_named(&self, reference: &ImageRef) -> bool {
        self.names.iter().any(|name| name.parse::<ImageRef>().is_ok_and(|name| &name == reference))
    }

    /// True where Podman named it: an image built as `acme/api` is saved as `localhost/acme/api`.
    fn is_named_by_podman(&self, reference: &ImageRef) -> bool {
        let built = reference.as_built_by_podman().and_then(|name| name.parse::<ImageRef>().ok());
        built.is_some_and(|built| self.is_named(&built))
    }
}

/// The candidates that answer to `reference` by digest or by name.
pub(super) fn named<'a>(candidates: &'a [Candidate], reference: &ImageRef) -> Vec<&'a Candidate> {
    if let Some(digest) = reference.digest() {
        return candidates.iter().filter(|candidate| candidate.has_digest(digest)).collect();
    }
    let is_it =
        |candidate: &&Candidate| candidate.is_named(reference) || candidate.is_named_by_podman(reference);
    candidates.iter().filter(is_it).collect()
}

/// The candidates that a named source means: those its `member` names, else those named like the
/// image, else the only image there is.
pub(super) fn in_named_source<'a>(
    candidates: &'a [Candidate],
    reference: &ImageRef,
    member: Option<&str>,
) -> anyhow::Result<Vec<&'a Candidate>> {
    let tagged = |text: &str| -> Vec<&'a Candidate> {
        candidates.iter().filter(|candidate| candidate.names.iter().any(|name| name == text)).collect()
    };
    let chosen = match member {
        Some(member) => {
            // The very words first: they tell apart what one reference may mean.
            let mut chosen = tagged(member);
            if chosen.is_empty() {
                chosen =
                    member.parse::<ImageRef>().map(|parsed| named(candidates, &parsed)).unwrap_or_default();
            }
            if chosen.is_empty() {
                bail!("it holds no image `{member}`; it holds {}", list_names(candidates));
            }
            chosen
        }
        None => {
            let mut chosen = named(candidates, reference);
            if chosen.is_empty() {
                chosen = reference.tag().map(tagged).unwrap_or_default();
            }
            if chosen.is_empty() {
                let groups: BTreeSet<Digest> = candidates.iter().map(|candidate| candidate.group).collect();
                if groups.len() > 1 {
                    bail!("it holds no image named `{reference}`; it holds {}", list_names(candidates));
                }
                chosen = candidates.iter().collect();
            }
            chosen
        }
    };
    match reference.digest() {
        Some(digest) if !chosen.iter().any(|candidate| candidate.has_digest(digest)) => {
            let found = chosen.iter().find_map(|candidate| {
                candidate.indexes.first().map(AsRef::as_ref).or(candidate.original.as_ref())
            });
            match found {
                Some(found) => {
                    bail!("`{reference}` is pinned, but the image there has digest {}", found.digest)
                }
                None => bail!(
                    "`{reference}` is pinned, but archives of `docker save` do not keep the manifest that was pinned; \
                     take it from a registry or an OCI layout"
                ),
            }
        }
        _ => Ok(chosen),
    }
}

/// The name that the candidates have instead of `reference`, where they have one and it was not asked for.
pub(super) fn other_name<'a>(chosen: &[&'a Candidate], reference: &ImageRef) -> Option<&'a str> {
    let own = |name: &&String| reference.tag().is_some_and(|tag| tag == name.as_str());
    let is_it = |candidate: &&&Candidate| {
        candidate.is_named(reference)
            || candidate.is_named_by_podman(reference)
            || candidate.names.iter().any(|name| own(&name))
    };
    if reference.digest().is_some() || chosen.iter().any(|candidate| is_it(&candidate)) {
        return None;
    }
    chosen.iter().find_map(|candidate| candidate.names.first().map(String::as_str))
}

/// Names of all candidates, for messages.
pub(super) fn list_names(candidates: &[Candidate]) -> String {
    let names: BTreeSet<&str> = candidates.iter().flat_map(|c| &c.names).map(String::as_str).collect();
    if candidates.is_empty() {
        return "no image".to_owned();
    }
    if names.is_empty() {
        return format!("{} without a name", if candidates.len() == 1 { "one image" } else { "images" });
    }
    let shown: Vec<String> = names.iter().take(8).map(|name| format!("`{name}`")).collect();
    format!("{}{}", shown.join(", "), if names.len() > 8 { ", …" } else { "" })
}

/// Chooses for one platform among candidates that have the right name.
pub(super) fn choose<'a>(
    chosen: &[&'a Candidate],
    asked: Asked<'_>,
) -> Result<(&'a Candidate, &'a Content), NotChosen> {
    if chosen.is_empty() {
        return Err(NotChosen::Absent);
    }
    let runs =
        |candidate: &&&Candidate| candidate.platform.as_ref().is_some_and(|p| asked.platform.accepts(p));
    let mut fitting: Vec<&Candidate> = chosen.iter().filter(runs).copied().collect();
    if fitting.is_empty() {
        // Hand-made images may name no platform; engines run them on whatever they are.
        fitting.extend(chosen.iter().filter(|candidate| candidate.platform.is_none()));
    }
    fitting.sort_by_key(|candidate| preference(asked.platform, candidate.platform.as_ref()));
    if let Some(best) = fitting.first().and_then(|first| first.platform.clone()) {
        fitting.retain(|candidate| candidate.platform.as_ref() == Some(&best));
    }
    let usable: Vec<(&Candidate, &Content)> =
        fitting.iter().filter_map(|candidate| Some((*candidate, candidate.content.as_ref().ok()?))).collect();
    let Some((first, content)) = usable.first().copied() else {
        let flawed = fitting.iter().chain(chosen.iter().filter(|candidate| candidate.platform.is_none()));
        for candidate in flawed {
            match &candidate.content {
                Err(Flaw::Absent(_)) if !candidate.indexes.is_empty() => {}
                Err(Flaw::Absent(why) | Flaw::Damaged(why)) => return Err(NotChosen::Broken(why.clone())),
                Ok(_) => {}
            }
        }
        let platforms: BTreeSet<String> = chosen
            .iter()
            .filter(|candidate| candidate.content.is_ok())
            .filter_map(|candidate| candidate.platform.as_ref().map(ToString::to_string))
            .collect();
        let platforms = platforms.into_iter().collect::<Vec<_>>().join(", ");
        let label = chosen.first().map(|candidate| candidate.label.as_str()).unwrap_or_default();
        return Err(NotChosen::Unsuitable(if platforms.is_empty() {
            format!("{label} lists it, but holds it for no platform")
        } else {
            format!("{label} has it for {platforms}")
        }));
    };
    if let Some((other, _)) = usable.iter().find(|(_, other)| other.config_digest != content.config_digest) {
        return Err(NotChosen::Broken(format!(
            "two different images have this name: {} and {}; name the one that is meant under `images:`, \
             as in `docker-archive:FILE:NAME`",
            first.in_words(),
            other.in_words()
        )));
    }
    // Of equal images the one with its manifest is worth more.
    let (best, content) = usable
        .iter()
        .copied()
        .find(|(candidate, _)| candidate.original.is_some())
        .unwrap_or((first, content));
    if asked.preserve && best.original.is_none() {
        return Err(NotChosen::Unsuitable(format!(
            "{} has lost the image's manifest, so the image cannot be preserved byte for byte",
            best.label
        )));
    }
    Ok((best, content))
}

/// Lower is better: the very platform, then one without variant, then the engine's default variant.
fn preference(asked: &Platform, offered: Option<&Platform>) -> (u8, Option<String>) {
    let rank = match offered {
        Some(offered) if offered == asked => 0,
        Some(offered) if offered.variant().is_none() => 1,
        Some(offered) if offered.architecture() == "arm" && offered.variant() == Some("v7") => 2,
        _ => 3,
    };
    (rank, offered.map(ToString::to_string))
}

/// Reads a configuration and puts it together with its layers.
pub(super) fn content(
    store: &Store,
    config_name: &str,
    layer_count: usize,
    mut layer: impl FnMut(usize) -> anyhow::Result<(Stored, Option<Digest>)>,
) -> anyhow::Result<Content> {
    let label = store.label();
    let config = store.document(config_name)?.ok_or_else(|| {
        Absent(format!("configuration `{config_name}` is absent from {label}{}", store.why_absent()))
    })?;
    let config_digest = Digest::of(&config);
    if let Some(claimed) = claimed_digest(config_name).filter(|claimed| claimed != &config_digest) {
        bail!(
            "configuration `{config_name}` of {label} is damaged: its digest is {config_digest}, not {claimed}"
        );
    }
    let parsed = documents::config(&config)
        .with_context(|| format!("configuration `{config_name}` of {label} is no image configuration"))?;
    let ImageConfig { platform: config_platform, diff_ids } = parsed;
    if layer_count != diff_ids.len() {
        bail!(
            "configuration `{config_name}` of {label} lists {} layers, but {layer_count} are there",
            diff_ids.len()
        );
    }
    if layer_count > MAX_LAYERS {
        bail!("an image of {label} has {layer_count} layers; a bundle takes {MAX_LAYERS}");
    }
    let layers = diff_ids
        .iter()
        .enumerate()
        .map(|(index, diff_id)| {
            let (stored, digest) = layer(index)?;
            let digest = digest.or((stored.compression == Compression::None).then_some(*diff_id));
            Ok(LayerSource::new(*diff_id, digest, stored))
        })
        .collect::<anyhow::Result<_>>()?;
    Ok(Content { config, config_platform, config_digest, diff_ids, layers })
}

/// The digest that a member's name claims: `<hex>.json`, `blobs/sha256/<hex>`, `sha256:<hex>`.
pub(super) fn claimed_digest(name: &str) -> Option<Digest> {
    let last = name.rsplit('/').next()?;
    let stem = last.split('.').next()?;
    format!("sha256:{}", stem.strip_prefix("sha256:").unwrap_or(stem)).parse().ok()
}
