//! The Compose Specification, as far as Ferry carries it: parse, interpolate, check, order.
//!
//! Why not the official schema alone: a mistake must be told with its line, a key that Ferry does not
//! carry must stop the build instead of being lost on site, and values must be typed after
//! interpolation. What must stay true: parsing reads nothing but the text, the given environment and
//! what `load` returns, and the same input gives the same project on both sides of the gap. Follows
//! the Compose Specification as of 2025, without the parts that need a registry, a build or Swarm.

mod check;
mod context;
mod depends;
mod deploy;
mod devices;
mod dotenv;
mod environment;
mod files;
mod health;
mod hooks;
mod interpolate;
mod load;
mod merge;
pub mod model;
mod mounts;
mod needs;
mod networks;
mod order;
mod ports;
mod project;
pub(crate) mod quantity;
mod rebase;
mod service;
mod words;

pub use dotenv::parse_dotenv;
pub use needs::{Need, needs};
pub use order::{config_hash, start_order};

use crate::yaml::{Place, Sources};
use crate::{Diagnostic, Diagnostics};
use std::collections::BTreeMap;

/// A Compose file, read and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// All files as one, interpolated, as text that Compose reads: what `docker compose config` shows.
    pub merged: String,
    /// The project, without what [`Parsed::left_out`] names and without configs and secrets that no
    /// service uses.
    pub project: model::Project,
    /// Services with profiles, which are not started.
    pub left_out: Vec<crate::ServiceName>,
    /// The texts that were read, so that more mistakes can be shown in them.
    pub sources: Sources,
    /// What is ignored or looks wrong, but does not stop anything.
    pub warnings: Vec<Diagnostic>,
    /// Every relative path that the services of the project need from the Compose file's folder, each
    /// once, without a leading `./`.
    pub files: Vec<NamedFile>,
}

/// A file or folder that a Compose file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile {
    /// Relative to the Compose file's folder, without `./`.
    pub path: String,
    /// The first mention.
    pub place: Place,
    /// Who names it first, for messages: ``service `web` ``.
    pub used_by: String,
    /// What names it.
    pub kind: FileUse,
}

/// How a named file is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileUse {
    /// `env_file`: read while parsing, on site too.
    EnvFile,
    /// `configs.*.file`.
    Config,
    /// `secrets.*.file`.
    Secret,
    /// A Compose file that another one includes or extends: read on site too.
    Compose,
    /// A bind mount: file or folder, perhaps made by a config of the manifest.
    Bind,
}

/// The text of a Compose file.
#[derive(Debug, Clone, Copy)]
pub struct Text<'t> {
    /// What messages call it.
    pub file: &'t str,
    /// The text.
    pub text: &'t str,
}

/// Reads the Compose files of a project; later ones go over earlier ones (Compose Specification, "Merge and
/// override"). All relative paths in them begin in the folder of the first. `env` holds the values for
/// interpolation, `load` returns the bytes of a file that a Compose file names (`include`, `extends`,
/// `env_file`), relative to that folder.
///
/// # Errors
/// All mistakes of the texts, each with its place.
pub fn parse(
    texts: &[Text<'_>],
    env: &BTreeMap<String, String>,
    load: &dyn Fn(&str) -> Option<Vec<u8>>,
) -> Result<Parsed, Diagnostics> {
    project::parse(texts, None, env, load)
}

/// As [`parse`], with the site's own Compose file `over` all others. Who writes it has neither the manifest nor
/// `.env`, and is told so.
///
/// # Errors
/// As [`parse`].
pub fn parse_with_own(
    texts: &[Text<'_>],
    over: Option<Text<'_>>,
    env: &BTreeMap<String, String>,
    load: &dyn Fn(&str) -> Option<Vec<u8>>,
) -> Result<Parsed, Diagnostics> {
    project::parse(texts, over, env, load)
}

/// Fills in one value from `env`, into at most `limit` bytes: what [`parse`] does with each value of a file,
/// reachable for the fuzz targets.
///
/// # Errors
/// The message of a mistake.
#[doc(hidden)]
pub fn interpolated(text: &str, env: &BTreeMap<String, String>, limit: usize) -> Result<String, String> {
    interpolate::interpolate(text, env, limit).map_err(|problem| problem.message)
}

#[cfg(test)]
mod left_out_tests;
#[cfg(test)]
mod load_tests;
#[cfg(test)]
mod mistakes_tests;
#[cfg(test)]
mod syntax_tests;
