//! Free space where the engine keeps images and spools archives, and where Ferry keeps releases.

use super::Finding;
use crate::engine::{EngineFacts, EngineKind, ImageStore};
use crate::images::plan::ImportPlan;
use ferry_terminal::human;
use manifest_schema::release::Release;
use std::path::Path;

/// Where an engine's load call puts what it is sent, unless its own configuration says otherwise.
const SPOOL: &str = "/var/tmp";

/// The disk space that an install takes on this host.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Needed<'a> {
    /// Images, some of them missing.
    pub images: &'a ImportPlan,
    pub release: &'a Release,
    pub root: &'a Path,
    /// Its files have to be written.
    pub lay_out: bool,
    /// Volumes have to be seeded.
    pub seeds: bool,
    /// Bytes of the retained bundle and of this program, where they have to be written.
    pub own_bytes: u64,
}

/// Bytes by the place that needs them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Needs {
    /// Where the engine keeps images and volumes.
    engine: u64,
    /// Where an engine that is loaded puts the archive before it reads it.
    spool: u64,
    /// Where Ferry keeps releases.
    root: u64,
}

fn needs(facts: &EngineFacts, needed: &Needed<'_>) -> Needs {
    let Needed { images: plan, release, lay_out, seeds, own_bytes, .. } = *needed;
    let mut engine = plan.unpacked_bytes;
    if facts.store == ImageStore::Containerd {
        engine = engine.saturating_add(plan.bytes);
    }
    if seeds {
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
    let engine = engine.saturating_add(release.requires.disk_bytes.unwrap_or(0));
    Needs { engine, spool, root: root.saturating_add(own_bytes) }
}

/// Free space where the engine keeps images and spools archives, and where Ferry keeps releases. Of
/// an engine elsewhere nothing is known.
#[must_use]
pub(crate) fn check_space(facts: &EngineFacts, needed: &Needed<'_>) -> Vec<Finding> {
    let needs = needs(facts, needed);
    let mut wanted = Vec::new();
    if let Some(data_root) = facts.data_root.as_deref().filter(|_| facts.local) {
        wanted.push((data_root, needs.engine, "this release"));
        wanted.push((Path::new(SPOOL), needs.spool, "loading its images"));
    }
    wanted.push((needed.root, needs.root, "the release folder"));
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
pub(super) fn existing(path: &Path) -> Option<&Path> {
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
            address: "unix:///var/run/docker.sock".parse().unwrap(),
            local,
            kind,
            version: (25, 0),
            version_text: String::new(),
            api: (1, 41),
            platform: "linux/amd64".parse().unwrap(),
            store: ImageStore::GraphDriver,
            data_root: Some(folder.path().to_owned()),
            users: crate::engine::Users::Same,
            memory_bytes: None,
        };
        let plan = ImportPlan { bytes: 400, unpacked_bytes: 1000, ..ImportPlan::default() };
        let (docker, podman) = (facts(EngineKind::Docker, true), facts(EngineKind::Podman, true));
        let needed = |plan| Needed {
            images: plan,
            release: &release,
            root: folder.path(),
            lay_out: false,
            seeds: false,
            own_bytes: 0,
        };
        let of = |facts: &EngineFacts| needs(facts, &needed(&plan));
        assert_eq!(of(&docker), Needs { engine: 1100, spool: 0, root: 0 });
        assert_eq!(of(&podman), Needs { engine: 1100, spool: 2000, root: 0 });
        assert_eq!(of(&facts(EngineKind::Docker, false)).spool, 2000);
        // What fits for one engine does not for the other.
        let free = free_bytes(folder.path()).unwrap();
        let plan = ImportPlan { unpacked_bytes: free / 2, ..ImportPlan::default() };
        let check = |facts| check_space(facts, &needed(&plan));
        assert_eq!(check(&docker), []);
        if device(folder.path()) == device(Path::new(SPOOL)) {
            assert_eq!(check(&podman).len(), 1);
        }
    }
}
