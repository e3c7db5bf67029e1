//! Everything that can be found wrong before anything is changed: all findings at once, each with
//! what to do about it.

use crate::engine::containers::ContainerFacts;
use crate::engine::{EngineFacts, EngineKind, ImageStore};
use crate::import::ImportPlan;
use crate::label;
use crate::state::State;
use bundle_format::check::Broken;
use ferry_terminal::human;
use manifest_schema::ServiceName;
use manifest_schema::compose::model::{MountSource, Project};
use manifest_schema::release::{Manifests, Release};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

/// The oldest engine that is supported.
pub const OLDEST_ENGINE: (u32, u32) = (20, 10);

/// Something that stands in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Lower-case fact.
    pub fact: String,
    /// What to do about it on site.
    pub fix: String,
    /// What is at fault.
    pub about: About,
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum About {
    /// This host, or its engine.
    Host,
    /// The bundle.
    Bundle,
    /// An answer to a variable, or a missing one.
    Answers,
    /// Files that this host brings to the release, or what comes out with its answers.
    Files,
}

impl Finding {
    /// A finding.
    pub fn new(fact: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { fact: fact.into(), fix: fix.into(), about: About::Host }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n    fix: {}", human::printable_lines(&self.fact), human::printable_lines(&self.fix))
    }
}

/// Engine version, platform, memory.
#[must_use]
pub fn check_engine(facts: &EngineFacts, release: &Release) -> Vec<Finding> {
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
pub fn check_same_engine(facts: &EngineFacts, state: &State) -> Option<Finding> {
    let known = state.engine.as_ref().filter(|_| state.current.is_some() || state.attempt.is_some())?;
    // `/var/run` is a link to `/run` on most hosts.
    let place = |address: &str| {
        let path = address.strip_prefix("unix://").and_then(|path| std::fs::canonicalize(path).ok());
        path.map_or_else(|| address.to_owned(), |path| path.display().to_string())
    };
    (place(known) != place(&facts.address)).then(|| {
        Finding::new(
            format!("it is installed on the engine at {known}, and not on the one at {}", facts.address),
            "leave --engine and DOCKER_HOST away; to move it, uninstall it there first",
        )
    })
}

/// A product that was installed from another folder is that folder's: with it stand its state and its files.
/// `there` are the project's containers, `current` the link that this folder has or would have.
#[must_use]
pub fn check_same_root(there: &[ContainerFacts], current: &Path, state: &State) -> Option<Finding> {
    if state.current.is_some() || state.attempt.is_some() {
        return None;
    }
    // Containers of `docker compose` are taken over; those of Ferry know where they come from.
    let ferrys = there.iter().filter(|container| container.labels.contains_key(label::RELEASE));
    let other = ferrys
        .filter_map(|container| container.labels.get(label::WORKING_DIR).map(Path::new))
        .find(|folder| *folder != current)?;
    let product = other.parent()?;
    let (root, name) = (product.parent()?.display().to_string(), product.file_name()?.to_string_lossy());
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
pub fn check_images(facts: &EngineFacts, plan: &ImportPlan) -> Vec<Finding> {
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
                    "image {} is carried byte for byte with zstd layers, which this engine cannot read",
                    image.reference
                ),
                "build the bundle without `preserve` for this image, or upgrade the engine to 23 or later",
            )
        })
        .collect()
}

/// Every service must have an image of this platform. `over` is the site's own Compose file.
#[must_use]
pub fn check_services(project: &Project, images: &BTreeSet<String>, over: Option<&str>) -> Vec<Finding> {
    let lacks = |image: &str| {
        let name = image
            .parse::<manifest_schema::ImageRef>()
            .map_or_else(|_| image.to_owned(), |name| name.to_string());
        !images.contains(&name)
    };
    let missing: Vec<(&ServiceName, &str)> = project
        .services
        .iter()
        .flat_map(|(name, service)| {
            let mounted = service.mounts.iter().filter_map(|mount| match &mount.source {
                MountSource::Image(image) => Some(image),
                _ => None,
            });
            std::iter::once(&service.image).chain(mounted).map(move |image| (name, image.as_str()))
        })
        .filter(|(_, image)| lacks(image))
        .collect();
    missing
        .into_iter()
        .map(|(name, image)| {
            Finding::new(
                format!(
                    "service {name} needs the image {}, which the bundle does not hold for this machine",
                    human::printable(image)
                ),
                if over.is_some_and(|text| text.contains(image)) {
                    "take it out of override.yaml: only images of the bundle can run here"
                } else {
                    "build the bundle again with this image"
                },
            )
        })
        .collect()
}

/// Images that a kept bundle cannot bring.
#[must_use]
pub fn check_kept(images: &ImportPlan) -> Vec<Finding> {
    let missing = images.missing.iter();
    missing
        .map(|image| {
            Finding::new(
                format!("the image {} is no longer in the engine", image.reference),
                "install the bundle itself, which brings it",
            )
        })
        .collect()
}

/// Devices and folders of this machine that services need and that are not there.
#[must_use]
pub fn check_paths(project: &Project) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, service) in &project.services {
        for (device, ..) in service.devices.iter().filter(|(device, ..)| !Path::new(device).exists()) {
            let device = human::printable(device);
            findings.push(Finding::new(
                format!("service {name} needs the device {device}, which is not there"),
                "plug it in, or load its driver; `ls /dev` shows what is there",
            ));
        }
        for mount in &service.mounts {
            if let MountSource::Bind { path, create: false } = &mount.source
                && path.starts_with('/')
                && !Path::new(path).exists()
            {
                let path = human::printable(path);
                findings.push(Finding::new(
                    format!("service {name} mounts {path}, which is not there"),
                    format!("make it as the service needs it, for example with `mkdir -p {path}`"),
                ));
            }
        }
    }
    findings
}

/// Published ports that someone else holds. `own` are the project's own containers.
#[must_use]
pub fn check_ports(project: &Project, own: &[ContainerFacts]) -> Vec<Finding> {
    let held: BTreeSet<(u16, String)> =
        own.iter().flat_map(|container| &container.ports).filter_map(|p| published(p)).collect();
    let mut findings = Vec::new();
    for (name, service) in &project.services {
        for port in &service.ports {
            let Some(number) = port.published else { continue };
            if held.contains(&(number, port.protocol.clone())) {
                continue;
            }
            let host: IpAddr = match &port.host_ip {
                Some(ip) => match ip.parse() {
                    Ok(ip) => ip,
                    Err(_) => continue,
                },
                None => Ipv4Addr::UNSPECIFIED.into(),
            };
            let address = SocketAddr::new(host, number);
            let tried = match port.protocol.as_str() {
                "udp" => UdpSocket::bind(address).map(drop),
                "tcp" => TcpListener::bind(address).map(drop),
                _ => Ok(()),
            };
            match tried.map_err(|error| error.kind()) {
                Err(ErrorKind::AddrInUse) => findings.push(Finding::new(
                    format!("port {number}/{} of service {name} is taken on {host}", port.protocol),
                    format!("see who has it with `ss -lnp | grep :{number}` and stop that, or publish another port: with another answer where the bundle asks for it, or in override.yaml"),
                )),
                Err(ErrorKind::AddrNotAvailable) => findings.push(Finding::new(
                    format!("service {name} publishes on {host}, which is no address of this machine"),
                    "give the machine this address, or publish on another",
                )),
                _ => {}
            }
        }
    }
    findings
}

/// `0.0.0.0:80->80/tcp` → 80, tcp.
fn published(text: &str) -> Option<(u16, String)> {
    let (host, container) = text.split_once("->")?;
    let (_, number) = host.rsplit_once(':')?;
    let (_, protocol) = container.split_once('/')?;
    Some((number.parse().ok()?, protocol.to_owned()))
}

/// Where an engine's load call puts what it is sent, unless its own configuration says otherwise.
const SPOOL: &str = "/var/tmp";

/// Bytes that something needs, and what is said to need them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Needs {
    /// Where the engine keeps images and volumes.
    engine: u64,
    /// Where an engine that is loaded puts the archive before it reads it.
    spool: u64,
    /// Where Ferry keeps releases.
    root: u64,
}

fn needs(facts: &EngineFacts, plan: &ImportPlan, release: &Release, lay_out: bool, seed: bool) -> Needs {
    let mut engine = plan.unpacked_bytes;
    if facts.store == ImageStore::Containerd {
        engine = engine.saturating_add(plan.bytes);
    }
    if seed {
        engine = engine.saturating_add(release.seeds.iter().map(|seed| seed.file.span.size).sum());
    }
    // File systems round every file up, and an engine that has filled its disk is hard to rescue.
    engine = engine.saturating_add(engine / 10);
    // Podman pulls from no loopback registry: it is loaded, which keeps the whole archive in a file
    // and its layers in others before the first image is stored.
    let loaded = facts.kind == EngineKind::Podman || !facts.local;
    let spool = if loaded { plan.unpacked_bytes.saturating_mul(2) } else { 0 };
    let root = if lay_out {
        release.artifacts.iter().map(|artifact| artifact.bytes).sum::<u64>().saturating_add(1 << 20)
    } else {
        0
    };
    Needs { engine: engine.saturating_add(release.requires.disk_bytes.unwrap_or(0)), spool, root }
}

/// Free space where the engine keeps images and spools archives, and where Ferry keeps releases. Of
/// an engine elsewhere nothing is known.
#[must_use]
pub fn check_space(
    facts: &EngineFacts,
    plan: &ImportPlan,
    release: &Release,
    root: &Path,
    lay_out: bool,
    seed: bool,
    kept_bytes: u64,
) -> Vec<Finding> {
    let mut needs = needs(facts, plan, release, lay_out, seed);
    needs.root = needs.root.saturating_add(kept_bytes);
    let mut wanted = Vec::new();
    if let Some(data_root) = facts.data_root.as_deref().filter(|_| facts.local) {
        wanted.push((data_root, needs.engine, "this release"));
        wanted.push((Path::new(SPOOL), needs.spool, "loading its images"));
    }
    wanted.push((root, needs.root, "the release folder"));
    // What lies on one device has to fit there together; the first names it.
    let mut sums: Vec<(&Path, u64, &str)> = Vec::new();
    for (path, need, what) in wanted {
        let on = device(path);
        match sums.iter_mut().find(|(other, ..)| on.is_some() && device(other) == on) {
            Some((_, sum, _)) => *sum = sum.saturating_add(need),
            None => sums.push((path, need, what)),
        }
    }
    let short = sums.into_iter().filter_map(|(path, need, what)| {
        let free = free_bytes(path).filter(|free| need > 0 && *free < need)?;
        Some(Finding::new(
            format!(
                "{} has {} free, {what} needs {}",
                path.display(),
                human::bytes(free),
                human::bytes(need)
            ),
            "free some space (`docker system df` shows what the engine holds), or use a larger disk",
        ))
    });
    short.collect()
}

/// The nearest folder above `path` that exists.
fn existing(path: &Path) -> Option<&Path> {
    path.ancestors().find(|path| path.exists())
}

fn device(path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    existing(path)?.metadata().ok().map(|metadata| metadata.dev())
}

fn free_bytes(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(existing(path)?).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Broken places of the bundle, which messages call `shown`.
#[must_use]
pub fn check_bundle(shown: &Path, broken: &[Broken]) -> Vec<Finding> {
    const SHOWN: usize = 5;
    let shown = shown.display();
    let fix = "the stick has a bad read: copy the bundle again, or run `./install verify` on another machine";
    let mut findings: Vec<Finding> = broken
        .iter()
        .take(SHOWN)
        .map(|place| {
            let frame = place.frame.map_or_else(String::new, |frame| format!("frame {frame}, "));
            let fact = format!(
                "{shown} is damaged in {frame}offset {} ({}): {}: {}",
                place.offset,
                human::bytes(place.offset),
                human::printable(&place.holds.join(", ")),
                human::printable(&place.reason)
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

/// Whether the release can be kept below `root`.
#[must_use]
pub fn check_root(root: &Path) -> Vec<Finding> {
    use rustix::fs::{Access, access};
    let Some(folder) = existing(root) else { return Vec::new() };
    match access(folder, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => Vec::new(),
        Err(error) => vec![Finding::new(
            format!("{} cannot be written: {}", root.display(), std::io::Error::from(error)),
            "run this as root, or name a writable folder with --root",
        )],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_that_a_load_spools_takes_room_too() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let file = serde_json::json!({ "path": "x", "digest": digest, "span": { "offset": 0, "size": 0 } });
        let release: Release = serde_json::from_value(serde_json::json!({
            "ferry": 1, "name": "site", "version": "1", "requires": { "platforms": ["linux/amd64"] },
            "manifest": file, "compose": file, "images": [], "layers": [], "configs": [], "artifacts": [],
            "seeds": [], "built_with": "x"
        }))
        .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let facts = |kind: EngineKind, local: bool| EngineFacts {
            address: String::new(),
            local,
            kind,
            version: (25, 0),
            version_text: String::new(),
            api: (1, 41),
            platform: "linux/amd64".parse().unwrap(),
            store: ImageStore::GraphDriver,
            data_root: Some(folder.path().to_owned()),
            memory_bytes: None,
        };
        let plan = ImportPlan { bytes: 400, unpacked_bytes: 1000, ..ImportPlan::default() };
        let (docker, podman) = (facts(EngineKind::Docker, true), facts(EngineKind::Podman, true));
        let of = |facts: &EngineFacts| needs(facts, &plan, &release, false, false);
        assert_eq!(of(&docker), Needs { engine: 1100, spool: 0, root: 0 });
        assert_eq!(of(&podman), Needs { engine: 1100, spool: 2000, root: 0 });
        assert_eq!(of(&facts(EngineKind::Docker, false)).spool, 2000);
        // What fits for one engine does not for the other.
        let free = free_bytes(folder.path()).unwrap();
        let plan = ImportPlan { unpacked_bytes: free / 2, ..ImportPlan::default() };
        let check = |facts| check_space(facts, &plan, &release, folder.path(), false, false, 0);
        assert_eq!(check(&docker), []);
        if device(folder.path()) == device(Path::new(SPOOL)) {
            assert_eq!(check(&podman).len(), 1);
        }
    }

    #[test]
    fn versions_and_ports_are_read() {
        assert_eq!(parse_version(">=20.10"), Some((20, 10)));
        assert_eq!(parse_version("25"), Some((25, 0)));
        assert_eq!(parse_version("x"), None);
        assert_eq!(published("0.0.0.0:80->8080/tcp"), Some((80, "tcp".to_owned())));
        assert_eq!(published(":::80->8080/udp"), Some((80, "udp".to_owned())));
        assert_eq!(published("80/tcp"), None);
    }
}
