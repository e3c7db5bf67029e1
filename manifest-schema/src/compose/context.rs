//! What the readers of a Compose file share: the collector of mistakes, the values for
//! interpolation, and what was named where, so that references are checked when all is read.

use super::model::{FileMount, Port};
use super::{FileUse, NamedFile, words};
use crate::BundlePath;
use crate::yaml::{Node, Place, Reader, Value, shown};
use std::collections::BTreeMap;

/// What a service refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Service,
    Network,
    Volume,
    Config,
    Secret,
}

/// One reference, with its place.
#[derive(Debug)]
pub(super) struct Reference {
    pub(super) target: Target,
    pub(super) name: String,
    /// The service that refers.
    pub(super) from: String,
    pub(super) place: Place,
    /// `depends_on` with `required: false`: it need not exist.
    pub(super) optional: bool,
}

/// One published port, with its place.
#[derive(Debug)]
pub(super) struct PublishedPort {
    pub(super) port: Port,
    pub(super) service: String,
    pub(super) place: Place,
}

/// One config or secret of a service, with its place.
#[derive(Debug)]
pub(super) struct MountedFile {
    pub(super) kind: Target,
    pub(super) mount: FileMount,
    pub(super) service: String,
    pub(super) place: Place,
}

/// One mention of a file.
#[derive(Debug)]
pub(super) struct Mention {
    pub(super) file: NamedFile,
    /// The service that needs it; `None`: the object below.
    pub(super) service: Option<String>,
    /// The top-level config or secret that it is.
    pub(super) object: Option<(Target, String)>,
}

/// Ports, mounts, files and the like of one project: past this a file is a mistake, and each check
/// compares them with each other.
pub(super) const MAX_ITEMS: usize = 10_000;

/// Bytes of all env files of one project.
pub(super) const MAX_ENV_FILE_BYTES: usize = 4 * crate::limits::MAX_YAML_BYTES;

pub(super) struct Context<'a> {
    pub(super) r: Reader,
    pub(super) env: &'a BTreeMap<String, String>,
    pub(super) load: &'a dyn Fn(&str) -> Option<Vec<u8>>,
    pub(super) files: Vec<Mention>,
    /// `env_file` of each service that has one.
    pub(super) env_files: Vec<(String, Node)>,
    /// Services and further names that `links` give them.
    pub(super) link_aliases: Vec<(String, String)>,
    /// `label_file` of each service that has one.
    pub(super) label_files: Vec<(String, Node)>,
    pub(super) mounted: Vec<MountedFile>,
    pub(super) references: Vec<Reference>,
    /// Configs and secrets that are declared, with a mistake that was told.
    pub(super) broken: Vec<(Target, String)>,
    /// The numbers of the texts that go over the first.
    pub(super) overrides: Vec<usize>,
    /// The number of the site's own text, which has no manifest beside it.
    pub(super) site: Option<usize>,
    pub(super) ports: Vec<PublishedPort>,
    /// The service being read.
    pub(super) service: String,
    /// The names of all services.
    pub(super) services: Vec<String>,
    /// Items counted against [`MAX_ITEMS`].
    pub(super) items: usize,
    /// Bytes of env files read so far.
    pub(super) env_file_bytes: usize,
}

/// `KEY=value` or `KEY` with its place.
pub(super) struct Pair {
    pub(super) key: String,
    pub(super) value: Option<String>,
    pub(super) place: Place,
}

impl Context<'_> {
    /// Notes that the service being read refers to something.
    pub(super) fn refer(&mut self, target: Target, name: &str, place: Place) {
        let from = self.service.clone();
        self.references.push(Reference { target, name: name.to_owned(), from, place, optional: false });
    }

    /// Notes that the service being read waits for another, where that is there.
    pub(super) fn refer_to_optional(&mut self, name: &str, place: Place) {
        self.refer(Target::Service, name, place);
        if let Some(reference) = self.references.last_mut() {
            reference.optional = true;
        }
    }

    /// Counts `count` more ports, mounts or files; false when there are too many.
    pub(super) fn count(&mut self, count: usize, node: &Node) -> bool {
        let before = self.items;
        self.items = before.saturating_add(count);
        if before <= MAX_ITEMS && self.items > MAX_ITEMS {
            let message = format!("more than {MAX_ITEMS} ports, volumes and files in one project");
            self.r.error(node, message, "split the product into several bundles");
        }
        self.items <= MAX_ITEMS
    }

    /// A command: a list, or a text that is split as Compose splits it.
    pub(super) fn command(&mut self, what: &str, node: &Node) -> Option<Vec<String>> {
        match &node.value {
            Value::Null => None,
            Value::Seq(_) => Some(self.r.strings(what, node, false)),
            _ => {
                let text = self.r.string(what, node)?;
                let split = words::split(&text);
                let hint = "write it as a list; for a shell, `[sh, -c, \"…\"]`";
                split.map_err(|why| self.r.error(node, format!("`{what}` {why}"), hint)).ok()
            }
        }
    }

    /// A path below the Compose file's folder; it is noted as needed by the service being read, or by
    /// the top-level `object`.
    pub(super) fn relative_file(
        &mut self,
        what: &str,
        text: &str,
        place: Place,
        kind: FileUse,
        used_by: String,
        object: Option<(Target, String)>,
    ) -> Option<String> {
        let short = normal(text);
        match short.parse::<BundlePath>() {
            Ok(path) => {
                let path = path.as_str().to_owned();
                let file = NamedFile { path: path.clone(), place, used_by, kind };
                let service = object.is_none().then(|| self.service.clone());
                self.files.push(Mention { file, service, object });
                Some(path)
            }
            Err(_) => {
                let message =
                    format!("`{what}` names `{}`, which is not below the Compose file's folder", shown(text));
                self.r.error(
                    &place,
                    message,
                    "put the file beside the Compose file and name it like ./config/file",
                );
                None
            }
        }
    }

    /// A map `KEY: value` or a list `KEY=value`.
    pub(super) fn pairs(&mut self, what: &str, node: &Node) -> Vec<Pair> {
        let mut pairs = Vec::new();
        if matches!(node.value, Value::Seq(_)) {
            for item in self.r.list(what, node) {
                let Some(text) = self.r.string(what, item) else { continue };
                let (key, value) = match text.split_once('=') {
                    Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                    None => (text, None),
                };
                pairs.push(Pair { key, value, place: item.place });
            }
            return pairs;
        }
        for (key, node) in self.r.names(what, node) {
            let value = match node.value {
                Value::Null => None,
                _ => match self.r.string(&format!("{what}.{}", shown(&key.text)), node) {
                    Some(value) => Some(value),
                    None => continue,
                },
            };
            pairs.push(Pair { key: key.text.clone(), value, place: key.place });
        }
        pairs
    }

    /// The same as a map, where a missing value is an empty one.
    pub(super) fn string_map(&mut self, what: &str, node: &Node) -> BTreeMap<String, String> {
        self.pairs(what, node).into_iter().map(|pair| (pair.key, pair.value.unwrap_or_default())).collect()
    }

    /// Records that a key is known but not carried.
    pub(super) fn unsupported(&mut self, key: &crate::yaml::Key, hint: &str) {
        self.r.error(key, format!("`{}` is not supported", shown(&key.text)), hint);
    }

    /// Records that a key is known and makes no difference here.
    pub(super) fn ignored(&mut self, key: &crate::yaml::Key, why: &str) {
        self.r.warn(key, format!("`{}` is ignored", shown(&key.text)), why);
    }
}

/// A path without `./` in front, `/./` inside and `/` at the end.
pub(super) fn normal(text: &str) -> String {
    let absolute = text.starts_with('/');
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if absolute { format!("/{}", parts.join("/")) } else { parts.join("/") }
}
