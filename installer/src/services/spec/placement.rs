//! Where a release lies on this host, and what the engine calls its images and networks: all that the Compose model
//! leaves open.

use crate::engine::{ImageId, ImageName};
use manifest_schema::{Digest, ReleaseId, ServiceName};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// A file or folder of the release as it lies on the engine's host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Absolute path.
    pub path: PathBuf,
    /// The path by which a change is told where there is no digest: the same as long as the content is, wherever
    /// Ferry puts its products.
    pub known_as: PathBuf,
    /// Digest of the content. `None`: the content is the site's own (a data folder), which no release
    /// brings and no release replaces.
    pub digest: Option<Digest>,
}

/// Where the release lies on this host: all that a service's definition leaves open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The release.
    pub release: ReleaseId,
    /// Names this attempt to install. A resumed attempt has to use the same name.
    pub attempt: String,
    /// The name of the release's folder on this host.
    pub folder: String,
    /// For Compose's label `project.working_dir`.
    pub working_dir: String,
    /// For Compose's label `project.config_files`.
    pub config_files: String,
    /// For Compose's label `version`.
    pub version: String,
    /// The image's ID in the engine, for each service.
    pub images: BTreeMap<ServiceName, ImageId>,
    /// The image's name in the engine, for each service.
    pub image_names: BTreeMap<ServiceName, ImageName>,
    /// The IDs of images whose files are mounted, by reference as the model has it.
    pub mounted_images: BTreeMap<String, ImageId>,
    /// Files of `configs`, by key.
    pub configs: BTreeMap<String, Placed>,
    /// Files of `secrets`, by key.
    pub secrets: BTreeMap<String, Placed>,
    /// Relative bind mounts, by their path as the model has it.
    pub binds: BTreeMap<String, Placed>,
    /// Absolute paths of binds that are files, or are to be: no engine makes a folder there.
    pub host_files: BTreeSet<String>,
    /// Names of the project's networks in the engine, by key.
    pub networks: BTreeMap<String, String>,
    /// The engine runs on this host, where Ferry has made the folders of relative binds.
    pub is_here: bool,
    /// The engine knows `start_interval`.
    pub start_interval: bool,
}
