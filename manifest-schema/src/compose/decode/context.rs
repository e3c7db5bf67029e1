//! The state that the readers of a Compose file share: the collector of mistakes, the values for interpolation, and
//! every reference with its place, to be checked when all is read.

use super::words;
use crate::BundlePath;
use crate::compose::load::above;
use crate::compose::load::{Env, Load};
use crate::compose::model::{FileMount, Port};
use crate::compose::model::{FileUse, NamedFile, Reserved};
use crate::diagnostic::shown;
use crate::is_ferrys_label;
use crate::limits::MAX_PROJECT_ITEMS;
use crate::paths::normal;
use crate::yaml::{Node, Place, Reader, Value};
use std::collections::{BTreeMap, BTreeSet};

/// The kind of thing that a service refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::compose) enum Target {
    Service,
    Network,
    Volume,
    Config,
    Secret,
}

/// One reference, with its place.
#[derive(Debug)]
pub(in crate::compose) struct Reference {
    pub(in crate::compose) target: Target,
    pub(in crate::compose) name: String,
    /// The service that refers.
    pub(in crate::compose) from: String,
    pub(in crate::compose) place: Place,
    /// `depends_on` with `required: false`: it need not exist.
    pub(in crate::compose) optional: bool,
}

/// One published port, with its place.
#[derive(Debug)]
pub(in crate::compose) struct PublishedPort {
    pub(in crate::compose) port: Port,
    pub(in crate::compose) service: String,
    pub(in crate::compose) place: Place,
}

/// One config or secret of a service, with its place.
#[derive(Debug)]
pub(in crate::compose) struct MountedFile {
    pub(in crate::compose) kind: Target,
    pub(in crate::compose) mount: FileMount,
    pub(in crate::compose) service: String,
    pub(in crate::compose) place: Place,
}

/// One mention of a file.
#[derive(Debug)]
pub(in crate::compose) struct Mention {
    pub(in crate::compose) file: NamedFile,
    /// The service that needs it; `None`: the object below.
    pub(in crate::compose) service: Option<String>,
    /// The top-level config or secret that it is.
    pub(in crate::compose) object: Option<(Target, String)>,
}

pub(in crate::compose) struct Context<'a> {
    pub(in crate::compose) r: Reader,
    pub(in crate::compose) env: &'a Env,
    pub(in crate::compose) load: &'a Load<'a>,
    pub(in crate::compose) files: Vec<Mention>,
    /// `env_file` of each service that has one.
    pub(in crate::compose) env_files: Vec<(String, Node)>,
    /// Services and further names that `links` give them.
    pub(in crate::compose) link_aliases: Vec<(String, String)>,
    /// `label_file` of each service that has one.
    pub(in crate::compose) label_files: Vec<(String, Node)>,
    pub(in crate::compose) mounted: Vec<MountedFile>,
    pub(in crate::compose) references: Vec<Reference>,
    /// Configs and secrets whose declaration has a mistake.
    pub(in crate::compose) broken: Vec<(Target, String)>,
    /// The numbers of the texts that go over the first.
    pub(in crate::compose) overrides: Vec<usize>,
    /// The number of the site's own text, which has no manifest beside it.
    pub(in crate::compose) site: Option<usize>,
    pub(in crate::compose) ports: Vec<PublishedPort>,
    /// The service being read.
    pub(in crate::compose) service: String,
    /// The names of all services.
    pub(in crate::compose) services: Vec<String>,
    /// Those that do not start, and are not looked at.
    pub(in crate::compose) left_out: BTreeSet<String>,
    /// The top-level entries that are used, by section; all where a section is missing.
    pub(in crate::compose) used: BTreeMap<&'static str, BTreeSet<String>>,
    /// Items counted against [`MAX_PROJECT_ITEMS`].
    pub(in crate::compose) items: usize,
    /// Bytes of env files read so far.
    pub(in crate::compose) env_file_bytes: usize,
    /// The folder of the first Compose file from that of the manifest.
    pub(in crate::compose) folder: &'a str,
    /// The fate of labels and names that are Ferry's own.
    pub(in crate::compose) reserved: Reserved,
    /// Those that were left out, in words.
    pub(in crate::compose) dropped: Vec<String>,
}

/// `KEY=value` or `KEY` with its place.
pub(in crate::compose) struct Pair {
    pub(in crate::compose) key: String,
    pub(in crate::compose) value: Option<String>,
    /// A number without quotes, as Compose writes it.
    pub(in crate::compose) number: Option<String>,
    pub(in crate::compose) place: Place,
}

impl<'a> Context<'a> {
    pub(in crate::compose) const fn new(r: Reader, env: &'a Env, load: &'a Load<'a>) -> Self {
        Self {
            r,
            env,
            load,
            files: Vec::new(),
            env_files: Vec::new(),
            link_aliases: Vec::new(),
            label_files: Vec::new(),
            mounted: Vec::new(),
            references: Vec::new(),
            broken: Vec::new(),
            overrides: Vec::new(),
            site: None,
            ports: Vec::new(),
            service: String::new(),
            services: Vec::new(),
            left_out: BTreeSet::new(),
            used: BTreeMap::new(),
            items: 0,
            env_file_bytes: 0,
            folder: "",
            reserved: Reserved::Refused,
            dropped: Vec::new(),
        }
    }

    /// Notes that the service being read refers to something.
    pub(in crate::compose) fn refer(&mut self, target: Target, name: &str, place: Place) {
        let from = self.service.clone();
        self.references.push(Reference { target, name: name.to_owned(), from, place, optional: false });
    }

    /// Notes that the service being read waits for another, where that is there.
    pub(in crate::compose) fn refer_to_optional(&mut self, name: &str, place: Place) {
        self.refer(Target::Service, name, place);
        if let Some(reference) = self.references.last_mut() {
            reference.optional = true;
        }
    }

    /// Mistakes in a top-level entry count only where a service that starts uses it.
    pub(in crate::compose) fn mute_unused(&mut self, section: &str, key: &str) {
        let is_used = self.used.get(section).is_none_or(|names| names.contains(key));
        self.r.mute(!is_used);
    }

    /// Counts `count` more ports, mounts or files; false when there are too many.
    pub(in crate::compose) fn count(&mut self, count: usize, node: &Node) -> bool {
        let before = self.items;
        self.items = before.saturating_add(count);
        if before <= MAX_PROJECT_ITEMS && self.items > MAX_PROJECT_ITEMS {
            let message = format!("more than {MAX_PROJECT_ITEMS} ports, volumes and files in one project");
            self.r.error(node, message, "split the product into several bundles");
        }
        self.items <= MAX_PROJECT_ITEMS
    }

    /// A command: a list, or a text that is split as Compose splits it.
    pub(in crate::compose) fn command(&mut self, what: &str, node: &Node) -> Option<Vec<String>> {
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
    pub(in crate::compose) fn relative_file(
        &mut self,
        what: &str,
        text: &str,
        place: Place,
        kind: FileUse,
        used_by: String,
        object: Option<(Target, String)>,
    ) -> Option<String> {
        if text.starts_with('~') {
            let message = format!("`{}` depends on who runs the installer", shown(text));
            let hint = "put the file beside the Compose file and name it like ./config/file";
            self.r.error(&place, message, hint);
            return None;
        }
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
                let outside = above::settle(self.folder, text).err();
                let folder = if outside.is_some() { "manifest" } else { "Compose file" };
                let message =
                    format!("`{what}` names `{}`, which is not below the {folder}'s folder", shown(text));
                let hint = "put the file beside the Compose file and name it like ./config/file";
                self.r.error(&place, message, outside.map_or(hint, above::Outside::hint));
                None
            }
        }
    }

    /// A map `KEY: value` or a list `KEY=value`.
    pub(in crate::compose) fn pairs(&mut self, what: &str, node: &Node) -> Vec<Pair> {
        let mut pairs = Vec::new();
        if matches!(node.value, Value::Seq(_)) {
            for item in self.r.list(what, node) {
                let Some(text) = self.r.string(what, item) else { continue };
                let (key, value) = match text.split_once('=') {
                    Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                    None => (text, None),
                };
                pairs.push(Pair { key, value, number: None, place: item.place });
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
            let number = crate::yaml::number(&node.value);
            pairs.push(Pair { key: key.text.clone(), value, number, place: key.place });
        }
        pairs
    }

    /// The same as a map, where a missing value is an empty one.
    pub(in crate::compose) fn string_map(&mut self, what: &str, node: &Node) -> BTreeMap<String, String> {
        self.pairs(what, node).into_iter().map(|pair| (pair.key.clone(), self.of_pair(pair))).collect()
    }

    /// The value of a pair. A number is the number that it is, as Compose has it: 8 for `010`, 1 for `1.0`.
    fn of_pair(&mut self, pair: Pair) -> String {
        if !self.r.reads(2) {
            return pair.value.unwrap_or_default();
        }
        if pair.number.is_some() && pair.number != pair.value {
            self.r.needs_level(2);
        }
        pair.number.or(pair.value).unwrap_or_default()
    }

    /// The labels of `owner`, without those that Ferry sets by itself.
    pub(in crate::compose) fn labels(&mut self, owner: &str, node: &Node) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::new();
        for pair in self.pairs("labels", node) {
            if self.may_set(owner, &pair.key, pair.place) {
                labels.insert(pair.key.clone(), self.of_pair(pair));
            }
        }
        labels
    }

    /// True where a label or name of Ferry's own at `place` is left out, and no mistake.
    pub(in crate::compose) fn leaves_out(&self, place: Place) -> bool {
        self.reserved == Reserved::Dropped && self.site != Some(place.source)
    }

    /// True for a label that a Compose file may set. Another one is a mistake or, in a release that a host has
    /// already, left out. What the site writes itself is never left out in silence.
    pub(in crate::compose) fn may_set(&mut self, owner: &str, label: &str, place: Place) -> bool {
        if !is_ferrys_label(label) {
            return true;
        }
        if self.leaves_out(place) {
            self.dropped.push(format!("the label `{}` of {owner}", shown(label)));
        } else {
            let message = format!("the label `{}` of {owner} is Ferry's own", shown(label));
            let hint = "delete it: Ferry itself sets the labels that begin with `io.ferry.` and `com.docker.compose.`";
            self.r.error(&place, message, hint);
        }
        false
    }

    /// Records that a key is known but not carried.
    pub(in crate::compose) fn unsupported(&mut self, key: &crate::yaml::Key, hint: &str) {
        self.r.error(key, format!("`{}` is not supported", shown(&key.text)), hint);
    }

    /// Records that a key is known and makes no difference here.
    pub(in crate::compose) fn ignored(&mut self, key: &crate::yaml::Key, why: &str) {
        self.r.warn(key, format!("`{}` is ignored", shown(&key.text)), why);
    }
}
