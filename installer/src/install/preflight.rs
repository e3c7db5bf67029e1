//! Everything that can be found wrong before anything is changed: all findings at once, each with
//! what to do about it.

mod access;
mod addresses;
mod paths;
mod podman;
mod ports;
mod space;
mod users;

use crate::engine::containers::ContainerFacts;
use crate::engine::label;
use crate::engine::{EngineFacts, EngineKind, ImageStore};
use crate::host::state::State;
use crate::host::{ProductDir, Root, place, strict};
use crate::images::plan::ImportPlan;
use crate::release::site::{self, Site};
use bundle_format::check::Broken;
use ferry_terminal::human;
use manifest_schema::release::{Manifests, Release};
use manifest_schema::{ProjectName, limits};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

pub(crate) use access::{check_foreign_volume, check_own_folder};
pub(crate) use addresses::check_addresses;
pub(crate) use paths::{Paths, check_links, check_paths};
pub(crate) use podman::check_podman;
pub(crate) use ports::{Ports, check_ports};
use space::existing;
pub(crate) use space::{Needed, check_space};
pub(crate) use users::check_users;

/// The oldest engine that is supported.
pub(crate) const OLDEST_ENGINE: (u32, u32) = (20, 10);

/// An obstacle to an install.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub fact: String,
    /// The way to mend it on site.
    pub fix: String,
    /// The side that is at fault.
    pub about: About,
    /// A restart of the engine mends it.
    pub engine_restart: bool,
}

/// The subject of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum About {
    /// This host, or its engine.
    Host,
    Bundle,
    /// An answer to a variable, or a missing one.
    Answers,
    /// Files that this host brings to the release, or what comes out with its answers.
    Files,
}

impl Finding {
    pub(crate) fn new(fact: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { fact: fact.into(), fix: fix.into(), about: About::Host, engine_restart: false }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n    fix: {}", human::printable_lines(&self.fact), human::printable_lines(&self.fix))
    }
}

/// A product that would take the place of something that Ferry keeps. One that an older Ferry has installed stays
/// manageable.
#[must_use]
pub(crate) fn check_name(name: &ProjectName, is_installed: bool) -> Option<Finding> {
    (name.is_ferrys() && !is_installed).then(|| {
        let fact = format!("the product is called {name}, as a folder of Ferry's own on every host");
        let fix = "ask its sender for a bundle under another name";
        Finding { about: About::Bundle, ..Finding::new(fact, fix) }
    })
}

/// Engine version, platform, memory.
#[must_use]
pub(crate) fn check_engine(facts: &EngineFacts, release: &Release) -> Vec<Finding> {
    let mut findings = Vec::new();
    // Podman counts its own versions.
    if facts.kind == EngineKind::Docker {
        let wanted = release.requires.engine.as_deref().and_then(parse_version).unwrap_or(OLDEST_ENGINE);
        let wanted = wanted.max(OLDEST_ENGINE);
        if facts.version < wanted {
            findings.push(Finding::new(
                format!(
                    "the engine is version {}, this release needs {}.{:02}",
                    human::printable(&facts.version_text),
                    wanted.0,
                    wanted.1
                ),
                "upgrade the engine from your operating system's installation medium",
            ));
        }
    }
    if release.images_for(&facts.platform).is_empty() && !release.images.is_empty() {
        let packed: BTreeSet<String> =
            release.images.iter().map(|image| image.platform.to_string()).collect();
        let packed: Vec<String> = packed.into_iter().collect();
        findings.push(Finding::new(
            format!("this machine is {}, the bundle holds images for {}", facts.platform, packed.join(", ")),
            "build the bundle with this platform in `requires.arch`",
        ));
    }
    if facts.kind == EngineKind::Docker && facts.store == ImageStore::GraphDriver {
        let images = release.images_for(&facts.platform);
        let deep = images.iter().filter(|image| image.diff_ids.len() > limits::GRAPH_DRIVER_LAYERS);
        findings.extend(deep.map(|image| {
            let layers = image.diff_ids.len();
            let most = limits::GRAPH_DRIVER_LAYERS;
            let fact =
                format!("image {} has {layers} layers, and this engine's store takes {most}", image.reference);
            let fix = "ask its sender for a bundle with fewer layers in it; Docker's containerd store, and Podman, take more";
            Finding::new(fact, fix)
        }));
    }
    if let (Some(wanted), Some(found)) = (release.requires.memory_bytes, facts.memory_bytes)
        && found < wanted
    {
        findings.push(Finding::new(
            format!(
                "this machine has {} of memory, the release needs {}",
                human::bytes(found),
                human::bytes(wanted)
            ),
            "use a larger machine, or lower `requires.memory` in the manifest",
        ));
    }
    findings
}

/// A product that is installed stays on its engine: another one knows nothing of its containers and data.
#[must_use]
pub(crate) fn check_same_engine(facts: &EngineFacts, state: &State) -> Option<Finding> {
    let known = state.engine.as_ref().filter(|_| state.current.is_some() || state.attempt.is_some())?;
    (!known.is_same(&facts.address)).then(|| {
        Finding::new(
            format!("it is installed on the engine at {known}, and not on the one at {}", facts.address),
            "name no other engine with --engine or DOCKER_HOST; to move it, uninstall it there first",
        )
    })
}

/// A product that was installed from another folder belongs to that folder, which holds its state and files.
/// `there` are the project's containers.
#[must_use]
pub(crate) fn check_same_root(
    there: &[ContainerFacts],
    product: &ProductDir,
    state: &State,
) -> Option<Finding> {
    if state.current.is_some() || state.attempt.is_some() {
        return None;
    }
    // Containers of `docker compose` are taken over; those of Ferry know where they come from.
    let ferrys = there.iter().filter(|container| container.labels.contains_key(label::RELEASE));
    let other = ferrys
        .filter_map(|container| container.labels.get(label::WORKING_DIR).map(Path::new))
        .find(|folder| !product.is_current(folder))?;
    let product = other.parent()?;
    let (root, name) =
        (place::root_of(product)?.display().to_string(), product.file_name()?.to_string_lossy());
    let (root, name) = (human::printable(&root), human::printable(&name));
    Some(Finding::new(
        format!("{name} is on this engine already, installed from {root}"),
        format!(
            "name that folder with `--root {root}`, or remove it there first: `install --root {root} uninstall`"
        ),
    ))
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim_start_matches(['>', '=', ' ', 'v']).split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next().unwrap_or("0").parse().ok()?))
}

/// Images that this engine cannot take.
#[must_use]
pub(crate) fn check_images(facts: &EngineFacts, plan: &ImportPlan) -> Vec<Finding> {
    let old = facts.kind == EngineKind::Docker && !facts.reads_zstd_layers();
    plan.missing
        .iter()
        .filter(|image| match &image.manifests {
            Manifests::Preserved { original, .. } => old && original.content.contains("tar+zstd"),
            Manifests::Repacked { .. } => false,
        })
        .map(|image| {
            Finding::new(
                format!(
                    "image {} is preserved with zstd layers, which this engine cannot read",
                    image.reference
                ),
                "build the bundle without `preserve` for this image, or upgrade the engine to 23 or later",
            )
        })
        .collect()
}

/// Services without an image of this platform.
#[must_use]
pub(crate) fn check_services(site: &Site, images: &BTreeSet<String>) -> Vec<Finding> {
    let lacks = |image: &str| {
        let name = image
            .parse::<manifest_schema::ImageRef>()
            .map_or_else(|_| image.to_owned(), |name| name.to_string());
        !images.contains(&name)
    };
    site::images(&site.project)
        .filter(|(_, image)| lacks(image))
        .map(|(name, image)| {
            Finding::new(
                format!(
                    "service {name} needs the image {}, which the bundle does not hold for this machine",
                    human::printable(image)
                ),
                if site.images_of_override.contains(image) {
                    "take it out of override.yaml: only images of the bundle can run here"
                } else {
                    "build the bundle again with this image"
                },
            )
        })
        .collect()
}

/// Images that a retained bundle, which has no layers, cannot bring.
#[must_use]
pub(crate) fn check_retained(images: &ImportPlan) -> Vec<Finding> {
    let missing = images.missing.iter();
    missing
        .map(|image| {
            Finding::new(
                format!("the image {} is no longer in the engine", image.reference),
                "install from the bundle itself, which holds it",
            )
        })
        .collect()
}

/// Broken places of the bundle, which messages call `shown`.
#[must_use]
pub(crate) fn check_bundle(shown: &Path, broken: &[Broken]) -> Vec<Finding> {
    const SHOWN: usize = 5;
    let shown = shown.display();
    let fix = "the stick has a bad read: copy the bundle again, or run `./install verify` on another machine";
    let mut findings: Vec<Finding> = broken
        .iter()
        .take(SHOWN)
        .map(|spot| {
            let frame = spot.frame.map_or_else(String::new, |frame| format!("frame {frame}, "));
            let fact = format!(
                "{shown} is damaged in {frame}offset {} ({}): {}: {}",
                spot.offset,
                human::bytes(spot.offset),
                human::printable(&spot.holds.join(", ")),
                human::printable(&spot.reason)
            );
            Finding { about: About::Bundle, ..Finding::new(fact, fix) }
        })
        .collect();
    if broken.len() > SHOWN {
        let more = human::count(broken.len() - SHOWN, "more place");
        findings.push(Finding {
            about: About::Bundle,
            ..Finding::new(format!("{shown} is damaged in {more}"), fix)
        });
    }
    findings
}

/// Findings where Ferry cannot write below its folder, or others than root can. A user without root may still reach the
/// engine, as the group `docker` does: what that user can write, no one can trust.
#[must_use]
pub(crate) fn check_root(root: &Root, product: &ProductDir) -> Vec<Finding> {
    use rustix::fs::{Access, access};
    let mut findings = Vec::new();
    let user = rustix::process::geteuid();
    if !user.is_root() {
        let fact = format!("this runs as user {}, and Ferry's folder is root's", user.as_raw());
        findings.push(Finding::new(fact, "run it as root, for example with `sudo`"));
    }
    let denied = existing(root.path()).map(|folder| access(folder, Access::WRITE_OK | Access::EXEC_OK));
    if let (Some(Err(error)), true) = (denied, user.is_root()) {
        findings.push(Finding::new(
            format!("{} cannot be written: {}", root.path().display(), std::io::Error::from(error)),
            "run this as root, or name a writable folder with --root",
        ));
    }
    let faults = strict::faults(root).into_iter().chain(strict::faults_of_product(product));
    findings.extend(faults.map(|fault| Finding::new(fault.fact, fault.fix)));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(parse_version(">=20.10"), Some((20, 10)));
        assert_eq!(parse_version("25"), Some((25, 0)));
        assert_eq!(parse_version("x"), None);
    }
}
