//! The files beside a Compose file that it names.

use crate::yaml::Place;

/// A file or folder that a Compose file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile {
    /// Relative to the Compose file's folder, without `./`.
    pub path: String,
    /// The first mention.
    pub place: Place,
    /// The first that names it, for messages: ``service `web` ``.
    pub used_by: String,
    /// The key that names it.
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
