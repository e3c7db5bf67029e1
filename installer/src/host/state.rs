//! The state of a product, in `installed.json`.
//!
//! The file is replaced whole, and decides: with what the engine shows (names and labels of containers) it
//! tells the next run how far an interrupted one came.

use super::folder::{ProductDir, STATE, STATE_1_ASIDE};
use super::{files, random, versioned};
use crate::engine::{EngineAddress, ImageId, ImageName};
use crate::services::Replica;
use anyhow::Result;
use manifest_schema::{Digest, ReleaseId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// The state of one product.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    /// The release that runs.
    #[serde(default)]
    pub current: Option<Installed>,
    /// Releases that ran before, latest first.
    #[serde(default)]
    pub previous: Vec<Installed>,
    /// Volumes that wait for their first content. Nothing is removed for it: the volumes themselves say what they hold.
    #[serde(default)]
    pub seeding: BTreeSet<String>,
    /// Address of the engine it runs on: the default of every later command.
    #[serde(default)]
    pub engine: Option<EngineAddress>,
    /// Names and IDs of images that attempts have brought, until a commit records them.
    #[serde(default)]
    pub brought: BTreeSet<(ImageName, ImageId)>,
    /// Goes into names of release folders, which others on the host can read: without it they would tell
    /// whether a guessed answer is right.
    #[serde(default)]
    pub salt: String,
    /// The attempt under way: kept when it is interrupted, so that the next one resumes it.
    #[serde(default)]
    pub attempt: Option<Attempt>,
}

/// An installation under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Attempt {
    /// The release that is being installed.
    pub release: ReleaseId,
    /// Its own name, which its containers carry.
    pub name: String,
    /// How far it came.
    pub phase: Phase,
    /// The boot of the host during which it brought images in, as the kernel names it.
    #[serde(default)]
    pub boot: String,
    /// Images that it brings in, by their IDs in the engine, until they are known to be on the disk.
    #[serde(default)]
    pub importing: BTreeSet<ImageId>,
    /// Folders of the host, outside of Ferry's own, that it makes for services to mount.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub made: BTreeSet<PathBuf>,
}

impl Attempt {
    /// An attempt to install `release` that has changed nothing yet.
    #[must_use]
    pub(crate) fn new(release: &ReleaseId, name: &str) -> Self {
        Self {
            release: release.clone(),
            name: name.to_owned(),
            phase: Phase::Staging,
            boot: String::new(),
            importing: BTreeSet::new(),
            made: BTreeSet::new(),
        }
    }
}

/// How far an attempt came. Saved before the first step that it allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    /// Nothing of it was ever started, so its volumes hold nothing but what it put there.
    Staging,
    /// Its containers may run, or have run, and their volumes may hold data that nobody else has.
    Switching,
    /// It is the release that runs; only tidying up is left.
    Committed,
}

/// An installed release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Installed {
    pub release: ReleaseId,
    /// Version as written in the manifest.
    pub version: String,
    /// The bundle's identity.
    pub bundle: Digest,
    /// Fingerprints of its signers.
    pub signed_by: Vec<String>,
    /// Seconds since 1970, by this host's clock.
    pub installed_at: u64,
    /// The engine's ID of each image, by its name there.
    pub images: BTreeMap<ImageName, ImageId>,
    /// Its folder among the releases.
    pub folder: String,
    /// Names of its networks in the engine.
    pub networks: BTreeSet<String>,
    /// Services that had done their work and ended when it was installed: they are not run again.
    #[serde(default)]
    pub done: BTreeSet<String>,
    /// The replicas that have to have a container: `web`, `web/2`.
    #[serde(default, rename = "places")]
    pub replicas: BTreeSet<Replica>,
    /// Its variables: what it had by default was an answer, too.
    #[serde(default)]
    pub variables: BTreeSet<String>,
    /// Names of `images` that were in the engine before Ferry brought any: they are somebody else's.
    #[serde(default)]
    pub found: BTreeSet<ImageName>,
}

impl Installed {
    /// Names and IDs of the images that this release brought.
    pub(crate) fn own_images(&self) -> impl Iterator<Item = (&ImageName, ImageId)> {
        let images = self.images.iter().map(|(name, id)| (name, *id));
        images.filter(|(name, _)| !self.found.contains(*name))
    }
}

impl State {
    /// The retained releases, the one that runs first.
    pub(crate) fn releases(&self) -> impl Iterator<Item = &Installed> {
        self.current.iter().chain(&self.previous)
    }

    /// This release was installed here, or an attempt to install it is under way.
    pub(crate) fn knows(&self, release: &ReleaseId) -> bool {
        let attempted = self.attempt.as_ref().map(|attempt| &attempt.release);
        self.releases().map(|installed| &installed.release).chain(attempted).any(|known| known == release)
    }

    /// Names and IDs of all images that this product brought.
    pub(crate) fn own_images(&self) -> impl Iterator<Item = (&ImageName, ImageId)> {
        let brought = self.brought.iter().map(|(name, id)| (name, *id));
        self.releases().flat_map(Installed::own_images).chain(brought)
    }

    /// This product gave the image `id` this name, or named it so aside.
    #[must_use]
    pub(crate) fn owns(&self, name: &ImageName, id: ImageId) -> bool {
        self.own_images().any(|(own, of)| of == id && (own == name || own.aside(id) == *name))
    }

    /// Reads the state of a product; empty where there is none. State of 0.1.0 is read where it lies.
    ///
    /// # Errors
    /// When the file is of a newer format, or damaged: nothing is guessed.
    pub(crate) fn load(product: &ProductDir) -> Result<Self> {
        let state = match versioned::read(&product.file(STATE))? {
            Some(state) => Some(state),
            None => versioned::read_state_1(product)?,
        };
        let mut state: Self = state.unwrap_or_default();
        if state.salt.is_empty() {
            state.salt = random::name(16);
        }
        Ok(state)
    }

    /// Writes the state.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn save(&self, product: &ProductDir) -> Result<()> {
        versioned::write(product, STATE, self)?;
        files::remove(&product.file(STATE_1_ASIDE))
    }
}

/// The kernel's name of the time since the host was started (proc(5), `random/boot_id`); empty where it has none.
#[must_use]
pub(crate) fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Seconds since 1970 by this host's clock, for records only: nothing is decided by it.
#[must_use]
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Root;

    #[test]
    fn state_round_trips_and_damage_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let product = Root::new(folder.path()).unwrap().product(&"site".parse().unwrap());
        let _lock = product.lock().unwrap();
        let fresh = State::load(&product).unwrap();
        assert_eq!(State { salt: String::new(), ..fresh.clone() }, State::default());
        assert_eq!(fresh.salt.len(), 16);
        let salt = "of this host".to_owned();
        let state = State { seeding: BTreeSet::from(["v".to_owned()]), salt, ..State::default() };
        state.save(&product).unwrap();
        assert_eq!(State::load(&product).unwrap(), state);
        std::fs::write(product.file(STATE), b"{\"current\":").unwrap();
        assert!(State::load(&product).unwrap_err().to_string().contains("damaged"));
    }

    /// The state of a golden host folder, which 0.1.0 has left, and its JSON.
    fn golden(folder: &str) -> (State, serde_json::Value) {
        let root = tempfile::tempdir().unwrap();
        let product = Root::new(root.path()).unwrap().product(&"plain".parse().unwrap());
        let _lock = product.lock().unwrap();
        let bytes = fixtures::golden::host_file(folder, "plain/state.json").unwrap();
        std::fs::write(product.file("state.json"), &bytes).unwrap();
        (State::load(&product).unwrap(), serde_json::from_slice(&bytes).unwrap())
    }

    #[test]
    fn the_states_that_0_1_0_has_left_are_read_whole() {
        for folder in ["host.tar", "host-reconfigured.tar", "host-switching.tar", "host-upgraded.tar"] {
            let (state, golden) = golden(folder);
            let again = serde_json::to_value(&state).unwrap();
            for (key, value) in golden.as_object().unwrap() {
                assert_eq!(again.get(key), Some(value), "{key} of {folder}");
            }
        }
        let (state, _) = golden("host-switching.tar");
        let current = state.current.unwrap();
        assert_eq!(current.version, "1.0.0");
        let places: Vec<String> = current.replicas.iter().map(ToString::to_string).collect();
        assert_eq!(places, ["db", "prepare", "web", "worker", "worker/2"]);
        assert_eq!(state.engine.unwrap().to_string(), "unix:///var/run/docker.sock");
        assert_eq!(state.salt.len(), 16);
        assert_eq!(state.brought.first().unwrap().0.to_string(), "golden/web:2.0.0");
        let attempt = state.attempt.unwrap();
        assert_eq!((attempt.release.as_str(), attempt.phase), ("2.0.0-fbdca677c1b1", Phase::Switching));
        let (state, _) = golden("host-upgraded.tar");
        let versions: Vec<&str> = state.releases().map(|installed| installed.version.as_str()).collect();
        assert_eq!(versions, ["2.0.0", "1.0.0"]);
        assert_eq!(state.attempt, None);
    }
}
