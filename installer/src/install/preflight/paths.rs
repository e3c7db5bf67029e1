//! Paths of this host that services mount. The release knows by a file's name that it is one, or by what the image has
//! in its place.

use super::Finding;
use crate::images::files;
use crate::images::plan::ImportPlan;
use crate::release::lay_out::HostPaths;
use crate::services::without_links;
use bundle_format::{Bundle, ReadAt};
use ferry_terminal::{failure, human};
use manifest_schema::compose::model::{Mount, MountSource, Project};
use manifest_schema::release::Image;
use manifest_schema::{ImageRef, ServiceName};
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Where the paths of a release lie, and what its images have in their places.
pub(crate) struct Paths<'a, S> {
    pub(crate) project: &'a Project,
    /// Where relative binds lie.
    pub(crate) binds: &'a HostPaths,
    pub(crate) images: &'a ImportPlan,
    /// `None`: it is without layers here.
    pub(crate) bundle: Option<&'a Bundle<S>>,
}

/// A bind whose source is not as the service needs it, or may not be.
struct Doubt<'a> {
    service: &'a ServiceName,
    image: &'a str,
    mount: &'a Mount,
    source: PathBuf,
    found: Found,
}

enum Found {
    /// Nothing; a folder will be made, or not.
    Nothing { made: bool },
    /// A folder without anything in it, as engines make where a file is missing.
    EmptyFolder,
    /// It cannot be mounted, for this reason.
    Broken(String),
}

/// Devices, files and folders of this machine that services need and that are not there.
#[must_use]
pub(crate) fn check_paths<S: ReadAt>(paths: &Paths<'_, S>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, service) in &paths.project.services {
        for (device, ..) in service.devices.iter().filter(|(device, ..)| !Path::new(device).exists()) {
            let device = human::printable(device);
            findings.push(Finding::new(
                format!("service {name} needs the device {device}, which is not there"),
                "plug it in, or load its driver; `ls /dev` shows what is there",
            ));
        }
    }
    let doubts = doubts(paths);
    let asked = doubts.iter().filter(|doubt| doubt.is_open(paths.images));
    let images: BTreeSet<&str> = asked.clone().map(|doubt| doubt.image).collect();
    let mut files: BTreeSet<(&str, String)> = BTreeSet::new();
    for name in images {
        let targets = asked.clone().filter(|doubt| doubt.image == name);
        let targets = targets.map(|doubt| doubt.mount.target.clone()).collect();
        let image = image(paths.images, name);
        let found = image.zip(paths.bundle).map(|(image, bundle)| files::files(bundle, image, &targets));
        files.extend(found.into_iter().flatten().map(|target| (name, target)));
    }
    let found = doubts
        .iter()
        .filter_map(|doubt| doubt.finding(files.contains(&(doubt.image, doubt.mount.target.clone()))));
    findings.extend(found);
    findings
}

fn image<'a>(images: &'a ImportPlan, name: &str) -> Option<&'a Image> {
    let reference: ImageRef = name.parse().ok()?;
    images.images().find(|image| image.reference == reference)
}

fn doubts<'a, S>(paths: &Paths<'a, S>) -> Vec<Doubt<'a>> {
    let mut doubts = Vec::new();
    for (name, service) in &paths.project.services {
        for mount in &service.mounts {
            let MountSource::Bind { path, create } = &mount.source else { continue };
            let (source, made) = match paths.binds.binds.get(path) {
                // The bundle brings it.
                Some(placed) if placed.digest.is_some() => continue,
                Some(placed) => (placed.path.clone(), true),
                None => (PathBuf::from(path), *create),
            };
            if let Some(found) = look(&source, made) {
                doubts.push(Doubt { service: name, image: &service.image, mount, source, found });
            }
        }
    }
    doubts
}

/// `None`: something is there that can be mounted.
fn look(source: &Path, made: bool) -> Option<Found> {
    match fs::metadata(source) {
        Ok(found) if found.is_dir() => {
            let is_empty = fs::read_dir(source).is_ok_and(|mut entries| entries.next().is_none());
            is_empty.then_some(Found::EmptyFolder)
        }
        Ok(_) => None,
        Err(error) if error.kind() != ErrorKind::NotFound => Some(Found::Broken(error.to_string())),
        Err(_) if source.symlink_metadata().is_ok() => {
            Some(Found::Broken("it is a link that leads to nothing".to_owned()))
        }
        Err(_) => Some(Found::Nothing { made }),
    }
}

impl Doubt<'_> {
    /// The image decides. Its layers are read for that, so of an image that the engine has (which ran here before, as a
    /// rule) an empty folder is taken for what it is.
    fn is_open(&self, images: &ImportPlan) -> bool {
        match self.found {
            Found::Nothing { .. } => !self.mount.names_a_file(),
            Found::EmptyFolder => {
                images.missing.iter().any(|image| image.reference.to_string() == self.image)
            }
            Found::Broken(_) => false,
        }
    }

    /// `covers_a_file`: the image has a file where the bind is mounted.
    fn finding(&self, covers_a_file: bool) -> Option<Finding> {
        let (service, shown) = (self.service, human::printable(&self.source.display().to_string()));
        let other = "or mount another one with override.yaml";
        match &self.found {
            Found::Nothing { .. } if self.mount.names_a_file() || covers_a_file => Some(Finding::new(
                format!("service {service} mounts the file {shown}, which is not there"),
                if shown.ends_with(".sock") {
                    format!("start the program that makes this socket, {other}")
                } else {
                    format!(
                        "create the file as the service needs it (`install -D /dev/null {shown}` makes an empty one), {other}"
                    )
                },
            )),
            Found::Nothing { made: false } => Some(Finding::new(
                format!("service {service} mounts {shown}, which is not there"),
                format!("create it as the service needs it, for example with `mkdir -p {shown}`"),
            )),
            Found::EmptyFolder if covers_a_file => Some(Finding::new(
                format!("service {service} mounts the file {shown}, and an empty folder is in its place"),
                format!(
                    "an engine makes such a folder where a file is missing: remove it with `rmdir {shown}`, and create the file as the service needs it"
                ),
            )),
            Found::Broken(why) => Some(Finding::new(
                format!("service {service} mounts {shown}, which cannot be used: {why}"),
                format!("look at it with `ls -ld {shown}`, {other}"),
            )),
            Found::Nothing { .. } | Found::EmptyFolder => None,
        }
    }
}

/// Links where relative binds are mounted from. `product` is Ferry's folder of the product.
#[must_use]
pub(crate) fn check_links(product: &Path, binds: &HostPaths) -> Vec<Finding> {
    let sources = binds.binds.values().map(|placed| placed.path.as_path());
    let refused = sources.filter_map(|source| without_links::look_at_source(product, source).err());
    refused.map(|refused| Finding::new(failure::chain(&refused), refused.fix())).collect()
}
