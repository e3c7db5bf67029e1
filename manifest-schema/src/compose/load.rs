//! From Compose files to one tree: interpolated, extended, included, merged (Compose Specification,
//! "Interpolation", "extends", "include", "Merge and override").
//!
//! Why on the tree: each value keeps the place where it was written, and everything after this reads one
//! document. What must stay true: only `load` reads files, each at most once, and only those below the
//! project's folder; circles end; the number and size of files and of merged values is bounded.

use super::merge::{self, merge};
use super::project::KEYS as TOP_KEYS;
use super::{FileUse, NamedFile, Text, dotenv, interpolate, rebase};
use crate::paths;
use crate::yaml::{self, Key, Node, Place, Reader, Sources, Value, nearest, shown};
use crate::{BundlePath, Diagnostic, limits};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

/// A chain of `extends` or `include` longer than this is a mistake.
const MAX_CHAIN: usize = 32;

/// Compose files of one project.
const MAX_FILES: usize = 256;

/// Values that merging may make: chains of services that extend each other double.
const MAX_NODES: usize = 1_000_000;

/// Bytes of what merging copies.
const MAX_BYTES: usize = 16 * limits::MAX_YAML_BYTES;

/// The sections of which an included file has its own part.
const SECTIONS: [&str; 5] = ["services", "networks", "volumes", "configs", "secrets"];

type Env = BTreeMap<String, String>;

pub(super) struct Loader<'a> {
    pub(super) r: Reader,
    load: &'a dyn Fn(&str) -> Option<Vec<u8>>,
    /// The project's folder as messages name it, with `/` at the end where it has a name.
    shown_folder: String,
    /// Files that `extends` reads, by path.
    bases: HashMap<String, Option<Rc<Document>>>,
    /// Every file besides the first.
    pub(super) files: Vec<NamedFile>,
    /// Circles of `extends` that were told.
    circles: BTreeSet<BTreeSet<(String, String)>>,
    made: usize,
    copied_bytes: usize,
    /// Bytes that interpolation has made in all files.
    made_bytes: usize,
    bytes: usize,
}

/// One file: parsed and interpolated, its paths from the project's folder.
struct Document {
    root: Node,
    /// Path from the project's folder.
    path: String,
}

impl<'a> Loader<'a> {
    pub(super) fn new(shown: &str, load: &'a dyn Fn(&str) -> Option<Vec<u8>>) -> Self {
        let folder = paths::folder(shown);
        Self {
            r: Reader::lenient(Sources::default()),
            load,
            shown_folder: if folder.is_empty() { String::new() } else { format!("{folder}/") },
            bases: HashMap::new(),
            files: Vec::new(),
            circles: BTreeSet::new(),
            made: 0,
            copied_bytes: 0,
            made_bytes: 0,
            bytes: 0,
        }
    }

    /// All main files, later ones over earlier ones.
    pub(super) fn project(&mut self, texts: &[Text<'_>], env: &Env) -> Option<Node> {
        let mut project: Option<Node> = None;
        for text in texts {
            let source = self.r.add_source(text.file, text.text);
            let document = self.document(source, String::new(), "", env)?;
            let node = self.complete(&document, env, &mut vec![text.file.to_owned()])?;
            project = match project {
                None => Some(node),
                Some(base) => self.over(base, node),
            };
        }
        let mut project = project?;
        merge::without_resets(&mut project);
        Some(project)
    }

    /// Reads one text.
    fn document(&mut self, source: usize, path: String, folder: &str, env: &Env) -> Option<Document> {
        let mut root = match yaml::parse_compose(self.r.sources(), source) {
            Ok(root) => root,
            Err(mistake) => {
                self.r.append(mistake.into());
                return None;
            }
        };
        if matches!(root.value, Value::Null) {
            let mistake = Diagnostic::new(self.r.sources().file(source), "the Compose file is empty")
                .hint("it needs `services:` with at least one service");
            self.r.append(mistake.into());
            return None;
        }
        if !matches!(root.value, Value::Map(_)) {
            let message = format!("expected a map for the Compose file, found {}", root.kind());
            self.r.error(&root, message, "begin it with `services:`");
            return None;
        }
        interpolate::tree(&mut self.r, &mut root, env, &mut self.made_bytes);
        rebase::rebase(&mut root, folder);
        Some(Document { root, path })
    }

    /// A document with what its services extend and what it includes.
    fn complete(&mut self, document: &Document, env: &Env, chain: &mut Vec<String>) -> Option<Node> {
        let mut root = document.root.clone();
        if let Some(Value::Map(services)) = root.get_mut("services").map(|node| &mut node.value) {
            for (key, service) in services {
                if service.get("extends").is_some()
                    && let Some(extended) = self.extended(document, &key.text, env, &mut Vec::new())
                {
                    *service = extended;
                }
            }
        }
        let includes = match &mut root.value {
            Value::Map(entries) => {
                let at = entries.iter().position(|(key, _)| key.text == "include");
                at.map(|at| entries.remove(at).1)
            }
            _ => None,
        };
        if let Some(includes) = includes {
            for entry in self.r.list("include", &includes) {
                let entry = entry.clone();
                self.include(&entry, &mut root, env, chain);
            }
        }
        Some(root)
    }

    fn over(&mut self, base: Node, over: Node) -> Option<Node> {
        if !self.charge(&over, &[&base, &over]) {
            return None;
        }
        merge(&mut Vec::new(), base, over)
    }

    /// Counts what is copied; false when it is too much.
    fn charge(&mut self, at: &Node, copied: &[&Node]) -> bool {
        for node in copied {
            size(node, &mut self.made, &mut self.copied_bytes);
        }
        if self.made > MAX_NODES || self.copied_bytes > MAX_BYTES {
            let message =
                format!("`extends` and `include` make more than {MAX_NODES} values, or {MAX_BYTES} bytes");
            self.r.error(at, message, "extend fewer services");
            return false;
        }
        true
    }

    /// The text of another file of the project.
    fn read(&mut self, path: &str, at: Place, why: &str, kind: FileUse) -> Option<String> {
        let here = shown(path);
        if path.contains("://") || path.starts_with("git@") {
            let message = format!("`{why}` names `{here}`, which would be fetched from elsewhere");
            self.r.error(&at, message, "put a copy beside the Compose file, and name that");
            return None;
        }
        if path.parse::<BundlePath>().is_err() {
            let message = format!("`{why}` names `{here}`, which is not below the Compose file's folder");
            self.r.error(&at, message, "put the file there, and name it like ./common/services.yaml");
            return None;
        }
        let Some(bytes) = (self.load)(path) else {
            let message = format!("`{why}` names `{here}`, which does not exist");
            self.r.error(&at, message, "create it, or correct the path");
            return None;
        };
        self.bytes = self.bytes.saturating_add(bytes.len());
        if self.files.len() >= MAX_FILES || self.bytes > 4 * limits::MAX_YAML_BYTES {
            let most = 4 * limits::MAX_YAML_BYTES;
            let message =
                format!("the project has more than {MAX_FILES} Compose files, or {most} bytes of them");
            self.r.error(&at, message, "split the product into several bundles");
            return None;
        }
        if !self.files.iter().any(|file| file.path == path) {
            let used_by = format!("`{why}`");
            self.files.push(NamedFile { path: path.to_owned(), place: at, used_by, kind });
        }
        match String::from_utf8(bytes) {
            Ok(text) => Some(text),
            Err(_) => {
                self.r.error(&at, format!("`{here}` is not UTF-8 text"), "save it as UTF-8");
                None
            }
        }
    }

    fn shown_path(&self, path: &str) -> String {
        format!("{}{path}", self.shown_folder)
    }

    /// The service `name` of `document` with all that it extends. `chain`: files and services on the way.
    fn extended(
        &mut self,
        document: &Document,
        name: &str,
        env: &Env,
        chain: &mut Vec<(String, String)>,
    ) -> Option<Node> {
        let services = document.root.get("services")?;
        let node = services.get(name)?;
        chain.push((document.path.clone(), name.to_owned()));
        let Some(extends) = node.get("extends") else { return Some(node.clone()) };
        let (file, base_name) = self.base(extends)?;
        let other = match file {
            Some((path, at)) if path != document.path => Some(self.base_document(&path, at, env)?),
            _ => None,
        };
        let there = other.as_deref().unwrap_or(document);
        if there.root.get("services").and_then(|services| services.get(&base_name)).is_none() {
            let names = there.root.get("services").map(Node::keys).unwrap_or_default();
            let hint = match nearest(&base_name, names) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "add that service there".to_owned(),
            };
            let place =
                if there.path == document.path { String::new() } else { format!(" in {}", there.path) };
            self.r.error(extends, format!("service `{}` does not exist{place}", shown(&base_name)), hint);
            return None;
        }
        let next = (there.path.clone(), base_name.clone());
        if let Some(begin) = chain.iter().position(|seen| *seen == next) {
            let members = chain.get(begin..).unwrap_or_default();
            let mut circle: Vec<&str> = members.iter().map(|(_, name)| name.as_str()).collect();
            circle.push(&base_name);
            let message = format!("services extend each other in a circle: {}", circle.join(" → "));
            // Each service of a circle finds it; it is told once.
            if self.circles.insert(members.iter().cloned().collect()) {
                self.r.error(extends, message, "delete one `extends`");
            }
            return None;
        }
        if chain.len() > MAX_CHAIN {
            let message = format!("more than {MAX_CHAIN} services extend each other in a row");
            self.r.error(extends, message, "extend fewer services");
            return None;
        }
        let mut base = self.extended(there, &base_name, env, chain)?;
        // What the base takes away is not there for whoever extends it.
        merge::without_resets(&mut base);
        let over = without_extends(node);
        if !self.charge(&over, &[&base, &over]) {
            return None;
        }
        merge(&mut vec!["services", name], base, over)
    }

    /// What `extends` names: a file with its place, and a service.
    fn base(&mut self, extends: &Node) -> Option<(Option<(String, Place)>, String)> {
        match &extends.value {
            Value::Str(name) => Some((None, name.clone())),
            Value::Map(_) => {
                let (mut file, mut service) = (None, None);
                for (key, node) in self.r.map("extends", extends).into_iter().cloned().collect::<Vec<_>>() {
                    match key.text.as_str() {
                        "file" => {
                            let text = self.r.string("file", &node)?;
                            file = Some((paths::join("", &text), node.place));
                        }
                        "service" => service = self.r.string("service", &node),
                        _ => self.r.unknown_key(&key, "`extends`", &["file", "service"]),
                    }
                }
                if service.is_none() {
                    self.r.error(extends, "`extends` names no service", "write `extends: { service: base }`");
                }
                Some((file, service?))
            }
            _ => {
                let message = format!("expected a service for `extends`, found {}", extends.kind());
                self.r.error(extends, message, "write `extends: { service: base }`");
                None
            }
        }
    }

    fn base_document(&mut self, path: &str, at: Place, env: &Env) -> Option<Rc<Document>> {
        if let Some(known) = self.bases.get(path) {
            return known.clone();
        }
        let document = self.read(path, at, "extends", FileUse::Compose).and_then(|text| {
            let source = self.r.add_source(self.shown_path(path), text);
            self.document(source, path.to_owned(), paths::folder(path), env).map(Rc::new)
        });
        self.bases.insert(path.to_owned(), document.clone());
        document
    }

    /// One entry of `include`: its files are a project of their own, whose parts come into `root`.
    fn include(&mut self, entry: &Node, root: &mut Node, env: &Env, chain: &mut Vec<String>) {
        let (mut files, mut folder, mut env_files) = (Vec::new(), None, None);
        if entry.text().is_some() {
            files.extend(self.r.string("include", entry).map(|text| (text, entry.place)));
        } else {
            for (key, node) in self.r.map("include", entry) {
                match key.text.as_str() {
                    "path" => files = self.texts("path", node),
                    "project_directory" => folder = self.r.string("project_directory", node),
                    "env_file" => env_files = Some(self.texts("env_file", node)),
                    _ => self.r.unknown_key(key, "`include`", &["path", "project_directory", "env_file"]),
                }
            }
        }
        let Some((first, _)) = files.first() else {
            self.r.error(entry, "`include` names no file", "write `- path: other/compose.yaml`");
            return;
        };
        let folder = folder.unwrap_or_else(|| paths::folder(&paths::join("", first)).to_owned());
        let folder = paths::join("", &folder);
        let Some(own) = self.include_env(entry.place, &folder, env_files, env) else { return };
        let mut included: Option<Node> = None;
        for (path, at) in files {
            let path = paths::join("", &path);
            if chain.contains(&path) || chain.len() > MAX_CHAIN {
                let message = format!("`{}` includes itself: {} → {path}", shown(&path), chain.join(" → "));
                self.r.error(&at, message, "delete one `include`");
                return;
            }
            let Some(text) = self.read(&path, at, "include", FileUse::Compose) else { return };
            let source = self.r.add_source(self.shown_path(&path), text);
            let Some(document) = self.document(source, path.clone(), &folder, &own) else { return };
            chain.push(path);
            let node = self.complete(&document, &own, chain);
            chain.pop();
            included = match (included, node) {
                (None, node) => node,
                (Some(base), Some(node)) => self.over(base, node),
                (Some(_), None) => return,
            };
        }
        if let Some(mut included) = included {
            merge::without_resets(&mut included);
            fill_in(&mut included, &own, env);
            self.refuse_unknown(&included);
            self.import(included, root);
        }
    }

    /// One text or a list of texts, each with its place.
    fn texts(&mut self, what: &str, node: &Node) -> Vec<(String, Place)> {
        let items = if node.text().is_some() { std::slice::from_ref(node) } else { self.r.list(what, node) };
        items.iter().filter_map(|item| self.r.string(what, item).map(|text| (text, item.place))).collect()
    }

    /// The values for an included file: its own env files, or `.env` in its folder, under those of the
    /// project.
    fn include_env(
        &mut self,
        place: Place,
        folder: &str,
        named: Option<Vec<(String, Place)>>,
        env: &Env,
    ) -> Option<Env> {
        let files = match named {
            Some(files) => files.into_iter().map(|(path, at)| (paths::join("", &path), at)).collect(),
            None if folder.is_empty() => Vec::new(),
            None => {
                let path = paths::join(folder, ".env");
                if path.parse::<BundlePath>().is_ok() && (self.load)(&path).is_some() {
                    vec![(path, place)]
                } else {
                    Vec::new()
                }
            }
        };
        let mut own = Env::new();
        for (path, at) in files {
            let text = self.read(&path, at, "include", FileUse::EnvFile)?;
            let mut below = own.clone();
            below.extend(env.clone());
            match dotenv::parse(&self.shown_path(&path), &text, &below) {
                Ok(values) => own.extend(values),
                Err(found) => {
                    self.r.append(found);
                    return None;
                }
            }
        }
        own.extend(env.clone());
        Some(own)
    }

    /// Keys at the top that mean nothing: what stands below them would be lost in silence.
    fn refuse_unknown(&mut self, included: &Node) {
        for (key, _) in self.r.map("the Compose file", included) {
            if !TOP_KEYS.contains(&key.text.as_str()) {
                self.r.unknown_key(key, "the Compose file", &TOP_KEYS);
            }
        }
    }

    /// Takes the parts of an included project into `root`; a part that is there too has to be the same.
    fn import(&mut self, included: Node, root: &mut Node) {
        let Value::Map(parts) = included.value else { return };
        for (section, node) in parts {
            if !SECTIONS.contains(&section.text.as_str()) {
                continue;
            }
            let Value::Map(objects) = node.value else {
                // What is wrong with it is told when it is read.
                set(root, section, node);
                continue;
            };
            if root.get(&section.text).is_none_or(|node| matches!(node.value, Value::Null)) {
                let empty = Node { value: Value::Map(Vec::new()), ..node };
                set(root, section.clone(), empty);
            }
            let Some(Value::Map(own)) = root.get_mut(&section.text).map(|node| &mut node.value) else {
                continue;
            };
            let mut positions: HashMap<String, usize> =
                own.iter().enumerate().map(|(index, (key, _))| (key.text.clone(), index)).collect();
            for (key, object) in objects {
                match positions.get(&key.text).and_then(|index| own.get(*index)) {
                    None => {
                        positions.insert(key.text.clone(), own.len());
                        own.push((key, object));
                    }
                    Some((_, other)) if other.same(&object) => {}
                    Some((other, _)) => {
                        let kind = section.text.trim_end_matches('s');
                        let message = format!(
                            "{kind} `{}` is also in an included file, on {}, and is not the same there",
                            shown(&key.text),
                            self.r.sources().beside(other, &key)
                        );
                        let hint = "give one of them another name, or change it in an override file";
                        self.r.error(other, message, hint);
                    }
                }
            }
        }
    }
}

/// Values of an included file's own environment for the names that its services pass on.
fn fill_in(root: &mut Node, own: &Env, env: &Env) {
    let Some(Value::Map(services)) = root.get_mut("services").map(|node| &mut node.value) else { return };
    let value = |name: &str| own.get(name).filter(|_| !env.contains_key(name));
    for (_, service) in services {
        match service.get_mut("environment").map(|node| &mut node.value) {
            Some(Value::Map(entries)) => {
                for (key, node) in entries {
                    if matches!(node.value, Value::Null)
                        && let Some(value) = value(&key.text)
                    {
                        node.value = Value::Str(value.clone());
                    }
                }
            }
            Some(Value::Seq(items)) => {
                for item in items {
                    if let Value::Str(text) = &mut item.value
                        && let Some(value) = value(text)
                    {
                        *text = format!("{text}={value}");
                    }
                }
            }
            _ => {}
        }
    }
}

fn set(root: &mut Node, key: Key, node: Node) {
    if let Value::Map(entries) = &mut root.value {
        entries.retain(|(other, _)| other.text != key.text);
        entries.push((key, node));
    }
}

fn size(node: &Node, nodes: &mut usize, bytes: &mut usize) {
    *nodes = nodes.saturating_add(1);
    match &node.value {
        Value::Seq(items) => items.iter().for_each(|item| size(item, nodes, bytes)),
        Value::Map(entries) => {
            for (key, node) in entries {
                *bytes = bytes.saturating_add(key.text.len());
                size(node, nodes, bytes);
            }
        }
        _ => *bytes = bytes.saturating_add(node.text().map_or(0, str::len)),
    }
}

fn without_extends(node: &Node) -> Node {
    let mut copy = node.clone();
    if let Value::Map(entries) = &mut copy.value {
        entries.retain(|(key, _)| key.text != "extends");
    }
    copy
}
