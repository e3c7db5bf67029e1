//! The Compose Specification, as far as Ferry carries it: parse, interpolate, check, order.
pub mod model;
pub(crate) mod quantity;

use crate::{Diagnostic, Diagnostics, ServiceName};
use std::collections::BTreeMap;

/// A Compose file, read and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The project.
    pub project: model::Project,
    /// What is ignored or looks wrong, but does not stop anything.
    pub warnings: Vec<Diagnostic>,
    /// Every relative path that the project needs from the Compose file's folder, each once,
    /// without a leading `./`.
    pub files: Vec<NamedFile>,
}

/// A file or folder that a Compose file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile {
    /// Relative to the Compose file's folder, without `./`.
    pub path: String,
    /// 1-based line of the first mention.
    pub line: usize,
    /// Who names it first, for messages: ``env_file of service `web` ``.
    pub used_by: String,
    /// What names it.
    pub kind: FileUse,
}

/// How a named file is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileUse {
    /// `env_file`: read while parsing; need not exist on site.
    EnvFile,
    /// `configs.*.file`.
    Config,
    /// `secrets.*.file`.
    Secret,
    /// A bind mount: file or folder, perhaps made by the running system.
    Bind,
}

/// Reads a Compose file. `file` names it in messages, `env` holds the values for interpolation,
/// `load` returns the bytes of a file that the Compose file names (`env_file`), relative to its folder.
///
/// # Errors
/// All mistakes of the text, each with its place.
pub fn parse(
    file: &str,
    _text: &str,
    _env: &BTreeMap<String, String>,
    _load: &dyn Fn(&str) -> Option<Vec<u8>>,
) -> Result<Parsed, Diagnostics> {
    Err(Diagnostic::new(file, "not read yet").into())
}

/// Reads a `.env` file.
///
/// # Errors
/// All mistakes of the text, each with its place.
pub fn parse_dotenv(_text: &str) -> Result<BTreeMap<String, String>, Diagnostics> {
    Ok(BTreeMap::new())
}

/// The services in waves: those of one wave have all dependencies in former waves. Deterministic.
#[must_use]
pub fn start_order(_project: &model::Project) -> Vec<Vec<ServiceName>> {
    Vec::new()
}

/// SHA-256 in hexadecimal digits of the service's canonical JSON and the `extra` pairs.
#[must_use]
pub fn config_hash(_service: &model::Service, _extra: &[(&str, &str)]) -> String {
    String::new()
}
