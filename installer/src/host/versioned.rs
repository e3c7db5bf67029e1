//! Files of a product that carry the number of their format.
//!
//! ```text
//! { "format": 2, "written_by": "0.2.0", "content": … }
//! ```
//!
//! Invariant: a file of a newer format is refused and stays as it is, and an unknown member is a mistake, so that
//! no program drops what it does not know. A new member raises [`FORMAT`].
//!
//! Ferry 0.1.0 wrote files without a number, under names that are not used any more. It reads `state.json`
//! and takes a product without that file for a new one. So before anything is written, a *folder* takes the
//! place of `state.json`: 0.1.0 refuses it, and changes nothing.

use super::files::{make_private_dir, read_bounded};
use super::folder::{GUARD, ProductDir, STATE_1, STATE_1_ASIDE};
use anyhow::{Context, Result};
use ferry_terminal::whole_file::{self, sync_folder};
use ferry_terminal::{Class, Failure, human};
use manifest_schema::limits;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// The newest format of state, answers and journal that this program reads, and the one that it writes.
pub(crate) const FORMAT: u32 = 2;

/// All that a reader of any format looks at first.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) format: u32,
    pub(super) written_by: String,
}

impl Header {
    /// The header of what this program writes.
    pub(super) fn own() -> Self {
        Self { format: FORMAT, written_by: env!("CARGO_PKG_VERSION").to_owned() }
    }

    /// Refuses a format that is newer than this program.
    pub(super) fn check(&self, path: &Path) -> Result<()> {
        if self.format <= FORMAT {
            return Ok(());
        }
        let by = human::printable(&self.written_by);
        let fact = format!(
            "{} was written by Ferry {by}, in format {}; this program reads formats up to {FORMAT}",
            path.display(),
            self.format
        );
        Err(Failure::new(Class::Preflight, fact)
            .hint(format!("use the program that is resident on this host, or one of version {by} or later"))
            .into())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Versioned<T> {
    format: u32,
    written_by: String,
    content: T,
}

/// Reads the content of a versioned file; `None` where there is no file.
///
/// # Errors
/// When the file is of a newer format, damaged, or cannot be read.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let Some(bytes) = read_bounded(path, limits::MAX_STATE_BYTES)? else { return Ok(None) };
    let damaged = |error| damaged(path, error);
    serde_json::from_slice::<Header>(&bytes).map_err(damaged)?.check(path)?;
    let versioned: Versioned<T> = serde_json::from_slice(&bytes).map_err(damaged)?;
    Ok(Some(versioned.content))
}

/// Reads a file of 0.1.0, which carries no number; `None` where there is none.
///
/// # Errors
/// When the file is damaged or cannot be read.
pub(super) fn read_bare<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    if path.is_dir() {
        return Ok(None);
    }
    let Some(bytes) = read_bounded(path, limits::MAX_STATE_BYTES)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| damaged(path, error))
}

fn damaged(path: &Path, error: serde_json::Error) -> anyhow::Error {
    Failure::new(Class::Files, format!("{} is damaged", path.display()))
        .because(error)
        .hint("move the file away and install the bundle again: containers and volumes are kept")
        .into()
}

/// Writes a versioned file of `product`, whole or not at all, once 0.1.0 is shut out.
///
/// # Errors
/// When it cannot be written; the old file is then still there.
pub(super) fn write<T: Serialize>(product: &ProductDir, name: &str, content: &T) -> Result<()> {
    shut_out_0_1(product)?;
    let Header { format, written_by } = Header::own();
    let text = serde_json::to_vec_pretty(&Versioned { format, written_by, content })?;
    whole_file::write(&product.file(name), &text, 0o600)
}

/// Reads state of 0.1.0 under each of the names that it may have.
///
/// # Errors
/// When it is damaged or cannot be read.
pub(super) fn read_state_1<T: DeserializeOwned>(product: &ProductDir) -> Result<Option<T>> {
    for name in [STATE_1, GUARD, STATE_1_ASIDE] {
        if let Some(state) = read_bare(&product.file(name))? {
            return Ok(Some(state));
        }
    }
    Ok(None)
}

/// Puts a folder in the place of `state.json`, where 0.1.0 finds it. Can be repeated, also after a cut at any point:
/// state of 0.1.0 then stands under one of three names.
fn shut_out_0_1(product: &ProductDir) -> Result<()> {
    put_guard(product)?;
    product.leave_signpost()
}

fn put_guard(product: &ProductDir) -> Result<()> {
    let (state, aside, guard) = (product.file(STATE_1), product.file(STATE_1_ASIDE), product.file(GUARD));
    let doing = || format!("replacing {} by a folder", state.display());
    if state.is_dir() {
        if guard.is_file() {
            fs::rename(&guard, &aside).with_context(doing)?;
        }
        return Ok(());
    }
    make_private_dir(&guard)?;
    whole_file::write(&guard.join("README"), README.as_bytes(), 0o600)?;
    if state.exists() {
        let exchanged = renameat_with(CWD, &guard, CWD, &state, RenameFlags::EXCHANGE);
        if exchanged.is_ok() {
            fs::rename(&guard, &aside).with_context(doing)?;
            return sync_folder(product.path());
        }
        // Not every file system exchanges names. Then there is a moment without `state.json`.
        fs::rename(&state, &aside).with_context(doing)?;
    }
    fs::rename(&guard, &state).with_context(doing)?;
    sync_folder(product.path())
}

const README: &str = "A later Ferry than 0.1.0 manages this product: its state is in installed.json beside this \
folder. The folder stands here so that 0.1.0 changes nothing. Use ROOT/bin/fz.\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Root;

    #[test]
    fn a_newer_format_and_an_unknown_member_are_refused_untouched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        for (text, expected) in [
            (
                r#"{"format":3,"written_by":"9.1.0","content":{},"more":1}"#,
                "written by Ferry 9.1.0, in format 3",
            ),
            (r#"{"format":2,"written_by":"0.2.0","content":{},"more":1}"#, "damaged"),
            (r#"{"format":2,"written_by":"0.2.0"}"#, "damaged"),
            (r#"{"content":{}}"#, "damaged"),
            ("[]", "damaged"),
        ] {
            fs::write(&path, text).unwrap();
            let error = read::<std::collections::BTreeMap<String, u8>>(&path).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn the_table_of_compatibility_ends_with_what_this_program_reads_and_writes() {
        let text = include_str!("../../../docs/COMPATIBILITY.md");
        let rows: Vec<Vec<&str>> = text
            .lines()
            .filter(|line| line.starts_with("| 0.") || line.starts_with("| 1."))
            .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
            .collect();
        assert_eq!(
            rows[0],
            ["0.1.0", "1", "1", "1", "1", "1"],
            "a row of a released version is never edited"
        );
        let up_to = |newest: u64| (1..=newest).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
        let bundles = up_to(u64::from(bundle_format::index::VERSION));
        let manifests = up_to(manifest_schema::manifest::MANIFEST_VERSION.unsigned_abs());
        let records = up_to(u64::from(FORMAT));
        let written = up_to(u64::from(manifest_schema::release::RELEASE_VERSION));
        let own = [env!("CARGO_PKG_VERSION"), &bundles, &manifests, &records, &written, &FORMAT.to_string()];
        assert_eq!(rows.last().unwrap()[..], own);
    }

    #[test]
    fn state_of_0_1_is_never_lost_on_its_way_aside() {
        let guard = |product: &ProductDir| fs::create_dir(product.file(GUARD)).unwrap();
        let exchanged = |product: &ProductDir| {
            fs::rename(product.file(STATE_1), product.file(GUARD)).unwrap();
            fs::create_dir(product.file(STATE_1)).unwrap();
        };
        let moved =
            |product: &ProductDir| fs::rename(product.file(STATE_1), product.file(STATE_1_ASIDE)).unwrap();
        let cuts: [&dyn Fn(&ProductDir); 5] = [&|_| {}, &guard, &exchanged, &moved, &|product| {
            guard(product);
            moved(product);
        }];
        for (number, cut) in cuts.iter().enumerate() {
            let folder = tempfile::tempdir().unwrap();
            let product = Root::new(folder.path()).unwrap().product(&"site".parse().unwrap());
            make_private_dir(product.path()).unwrap();
            fs::write(product.file(STATE_1), "[1]").unwrap();
            cut(&product);
            for _ in 0..2 {
                let state: Option<Vec<u8>> = read_state_1(&product).unwrap();
                assert_eq!(state.unwrap(), [1], "cut {number}");
                shut_out_0_1(&product).unwrap();
                assert!(product.file(STATE_1).is_dir(), "cut {number}");
            }
            assert!(product.file(STATE_1_ASIDE).is_file(), "cut {number}");
            assert!(!product.file(GUARD).exists(), "cut {number}");
        }
    }
}
