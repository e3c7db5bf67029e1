//! Sites written and built with the real `ferry`.

use crate::outcome::Outcome;
use crate::programs;
use fixtures::keys::{self, KeyFiles};
use fixtures::small_site::SmallSite;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A built bundle.
#[derive(Debug, Clone)]
pub struct Built {
    /// The `.fz`.
    pub file: PathBuf,
    /// The folder it was built from.
    pub site: PathBuf,
    /// The key that signed it.
    pub key: KeyFiles,
}

/// Builds the small site as `folder/NAME-VERSION.fz`, signed with the key of seed 1.
///
/// # Panics
/// When it does not build.
#[track_caller]
#[must_use]
pub fn small(folder: &Path, site: &SmallSite) -> Built {
    changed(folder, site, |_| {})
}

/// Builds the small site after `change` has worked on its folder.
///
/// # Panics
/// When it does not build.
#[track_caller]
#[must_use]
pub fn changed(folder: &Path, site: &SmallSite, change: impl FnOnce(&Path)) -> Built {
    let name = format!("{}-{}", site.name, site.version);
    let source = folder.join(&name);
    site.write(&source).unwrap();
    change(&source);
    let file = folder.join(format!("{name}.fz"));
    signed(folder, &source, &file, 1)
}

/// Gives the service `sick` of a failing small site a minute: for tests that need the time until it has failed.
///
/// # Panics
/// When the site has no such service.
#[track_caller]
pub fn fail_slowly(site: &Path) {
    replace(
        &site.join("compose.yaml"),
        "      timeout: 1s\n      retries: 2\n",
        "      timeout: 1s\n      retries: 60\n",
    );
}

/// Builds `site` into `file`, signed with the key of `seed`, which lies in `folder`.
///
/// # Panics
/// When it does not build.
#[track_caller]
#[must_use]
pub fn signed(folder: &Path, site: &Path, file: &Path, seed: u8) -> Built {
    let key = keys::write(folder, &format!("key-{seed}"), seed).unwrap();
    let _ = Outcome::of(&mut build(site, &key.private, file)).succeeds();
    Built { file: file.to_owned(), site: site.to_owned(), key }
}

/// The command that builds.
#[must_use]
pub fn build(site: &Path, key: &Path, file: &Path) -> Command {
    let mut command = programs::command(programs::ferry());
    command.arg("build").arg(site).arg("--key").arg(key).arg("--output").arg(file).arg("--offline");
    command
}

impl Built {
    /// Output of `ferry inspect --json`.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    #[must_use]
    pub fn inspect(&self) -> Value {
        let mut command = programs::command(programs::ferry());
        Outcome::of(command.args(["inspect", "--json"]).arg(&self.file)).succeeds().json()
    }

    /// `--trust` and the fingerprint of the key that signed it.
    #[must_use]
    pub fn trust(&self) -> [&str; 2] {
        ["--trust", &self.key.fingerprint]
    }

    /// The bundle as an argument.
    ///
    /// # Panics
    /// Never: paths here are text.
    #[must_use]
    pub fn path(&self) -> &str {
        self.file.to_str().unwrap()
    }
}

/// Replaces text in a file, which must hold it.
///
/// # Panics
/// When it does not.
#[track_caller]
pub fn replace(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "`{from}` is not in {}:\n{text}", file.display());
    fs::write(file, text.replace(from, to)).unwrap();
}
