//! From Compose files to one tree: interpolated, extended, included, merged (Compose Specification,
//! "Interpolation", "extends", "include", "Merge and override").
//!
//! Why on the tree: each value keeps the place where it was written, and everything after this reads one
//! document. Invariants: only `load` reads files, each at most once, and only those below the
//! project's folder; circles end; the number and size of files and of merged values is bounded.

pub(super) mod above;
pub(super) mod dotenv;
mod extends;
mod include;
mod interpolate;
mod merge;
mod rebase;
pub(super) mod unset;

use super::model::{FileUse, NamedFile, Reserved};
use crate::diagnostic::shown;
use crate::limits::{MAX_COMPOSE_BYTES, MAX_COMPOSE_TEXTS, MAX_MERGED_BYTES, MAX_MERGED_NODES};
use crate::paths;
use crate::yaml::{self, Node, Place, Reader, Sources, Value};
use crate::{BundlePath, Diagnostic, Diagnostics, encoding};
use merge::merge;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

/// Fills in one value from `env`, into at most `limit` bytes, as [`super::parse`] does with each value of a file;
/// reachable for the fuzz targets.
///
/// # Errors
/// The message of a mistake.
#[doc(hidden)]
pub fn interpolated(text: &str, env: &BTreeMap<String, String>, limit: usize) -> Result<String, String> {
    interpolate::interpolate(text, env, limit).map(|filled| filled.text).map_err(|problem| problem.message)
}

/// The keys that a Compose file has at its top.
pub(super) const KEYS: [&str; 8] =
    ["services", "networks", "volumes", "configs", "secrets", "include", "name", "version"];

/// Values for interpolation.
pub(super) type Env = BTreeMap<String, String>;

/// Returns the bytes of a file, its path beginning in the project's folder.
pub(super) type Load<'a> = dyn Fn(&str) -> Option<Vec<u8>> + 'a;

/// The text of a Compose file.
#[derive(Debug, Clone, Copy)]
pub struct Text<'t> {
    /// The name in messages.
    pub file: &'t str,
    /// The text.
    pub text: &'t str,
}

/// The highest level of `docs/COMPOSE.md`.
pub const LEVEL: u8 = 2;

/// The surroundings of the texts of a project.
#[derive(Debug, Clone, Copy)]
pub struct Beside<'b> {
    /// The site's own Compose file, which goes over all others. Hints about it name neither the manifest nor `.env`,
    /// which its author does not have.
    pub over: Option<Text<'b>>,
    /// The fate of labels and names in the other files that are Ferry's own.
    pub reserved: Reserved,
    /// The folder of the first Compose file from that of the manifest, without `/` at its end; empty where they are one.
    pub folder: &'b str,
    /// The level of `docs/COMPOSE.md` by which the texts are read: what a host has of an older build keeps its meaning.
    pub level: u8,
    /// Variables of the manifest that are there and no words, like lists: they stand for no text, and not for an empty one.
    pub no_words: &'b [String],
}

impl Default for Beside<'_> {
    fn default() -> Self {
        Self { over: None, reserved: Reserved::Refused, folder: "", level: LEVEL, no_words: &[] }
    }
}

/// The files of a project as one tree.
pub(super) struct Loaded {
    pub(super) root: Node,
    /// The texts that were read, and the mistakes so far: values that interpolation could not make.
    pub(super) reader: Reader,
    /// Every file besides those that the manifest names.
    pub(super) files: Vec<NamedFile>,
    /// The numbers of the texts that go over the first.
    pub(super) overrides: Vec<usize>,
    /// The number of the site's own text.
    pub(super) site: Option<usize>,
}

/// Reads `texts`, later ones over earlier ones, and the site's own over all.
///
/// # Errors
/// All mistakes that keep the texts from being one tree.
pub(super) fn load(
    texts: &[Text<'_>],
    beside: &Beside<'_>,
    env: &Env,
    load: &Load<'_>,
) -> Result<Loaded, Diagnostics> {
    let mut loader = Loader::new(texts.first().map_or("", |text| text.file), beside.folder, load);
    loader.r.use_level(beside.level);
    let mut root = loader.project(texts, beside.over, env);
    if let Some(root) = &mut root {
        loader.settle_paths(root);
    }
    let Loader { r: reader, files, overrides, site, .. } = loader;
    match root {
        Some(root) if reader.is_whole() => Ok(Loaded { root, reader, files, overrides, site }),
        // What is left out would be missed again wherever it is named.
        _ => Err(reader.finish(()).err().unwrap_or_default()),
    }
}

struct Loader<'a> {
    r: Reader,
    /// The project's folder from that of the manifest.
    folder: &'a str,
    load: &'a Load<'a>,
    /// The project's folder as messages name it, with `/` at the end where it has a name.
    shown_folder: String,
    /// Files that `extends` reads, by path.
    bases: HashMap<String, Option<Rc<Document>>>,
    /// Every file besides the first.
    files: Vec<NamedFile>,
    /// Circles of `extends` that are reported already.
    circles: BTreeSet<BTreeSet<(String, String)>>,
    made: usize,
    copied_bytes: usize,
    /// Bytes that interpolation has made in all files.
    made_bytes: usize,
    bytes: usize,
    /// The numbers of the main texts after the first.
    overrides: Vec<usize>,
    /// The number of the site's own text.
    site: Option<usize>,
}

/// One file: parsed and interpolated, its paths from the project's folder.
struct Document {
    root: Node,
    /// Path from the project's folder.
    path: String,
}

impl<'a> Loader<'a> {
    fn new(shown: &str, from_manifest: &'a str, load: &'a Load<'a>) -> Self {
        let folder = paths::folder(shown);
        Self {
            r: Reader::lenient(Sources::default()),
            folder: from_manifest,
            load,
            shown_folder: if folder.is_empty() { String::new() } else { format!("{folder}/") },
            bases: HashMap::new(),
            files: Vec::new(),
            circles: BTreeSet::new(),
            made: 0,
            copied_bytes: 0,
            made_bytes: 0,
            bytes: 0,
            overrides: Vec::new(),
            site: None,
        }
    }

    /// All main files, later ones over earlier ones, and `over`, the site's own, over all.
    fn project(&mut self, texts: &[Text<'_>], over: Option<Text<'_>>, env: &Env) -> Option<Node> {
        let mut project: Option<Node> = None;
        // A file of comments, to be filled some day, says nothing yet.
        let says = |text: &Text<'_>| {
            text.text.trim_start_matches('\u{feff}').lines().any(|line| {
                let line = line.trim();
                !line.is_empty() && !line.starts_with('#') && !matches!(line, "---" | "...")
            })
        };
        let own = over.as_ref().filter(|text| says(text));
        for (index, text) in texts.iter().chain(own).enumerate() {
            let source = self.r.add_source(text.file, text.text);
            if index > 0 {
                self.overrides.push(source);
            }
            if index >= texts.len() {
                self.site = Some(source);
            }
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
        let mut documents = match yaml::compose_documents(self.r.sources(), source, self.r.reads(2)) {
            Ok((documents, is_cut)) => {
                if is_cut {
                    self.r.needs_level(2);
                }
                documents
            }
            Err(mistake) => {
                self.r.append(mistake.into());
                return None;
            }
        };
        if documents.len() > 1 {
            self.r.needs_level(2);
            documents.retain(|root| !matches!(root.value, Value::Null));
        }
        let mut root: Option<Node> = None;
        for document in documents {
            let whole = self.one_document(source, document, folder, env)?;
            // Later ones go over earlier ones, as files do.
            root = match root {
                None => Some(whole),
                Some(base) => self.over(base, whole),
            };
        }
        let root = root.or_else(|| {
            self.is_empty(source);
            None
        })?;
        Some(Document { root, path })
    }

    fn is_empty(&mut self, source: usize) {
        let mistake = Diagnostic::new(self.r.sources().file(source), "the Compose file is empty")
            .hint("it needs `services:` with at least one service");
        self.r.append(mistake.into());
    }

    /// One document of a text, filled in.
    fn one_document(&mut self, source: usize, mut root: Node, folder: &str, env: &Env) -> Option<Node> {
        if matches!(root.value, Value::Null) {
            self.is_empty(source);
            return None;
        }
        if !matches!(root.value, Value::Map(_)) {
            let message = format!("expected a map for the Compose file, found {}", root.kind());
            self.r.error(&root, message, "begin it with `services:`");
            return None;
        }
        let own = self.site == Some(source);
        interpolate::tree(&mut self.r, &mut root, env, &mut self.made_bytes, own);
        rebase::rebase(&mut root, folder);
        Some(root)
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
        if self.made > MAX_MERGED_NODES || self.copied_bytes > MAX_MERGED_BYTES {
            let message = format!(
                "`extends` and `include` make more than {MAX_MERGED_NODES} values, or {MAX_MERGED_BYTES} bytes"
            );
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
        if path.starts_with('~') {
            let message = format!("`{why}` names `{here}`, which depends on who runs the build");
            self.r.error(
                &at,
                message,
                "put the file beside the Compose file, and name it like ./common/services.yaml",
            );
            return None;
        }
        let path = match above::settle(self.folder, path) {
            Ok(Some(settled)) => {
                self.r.needs_level(2);
                settled
            }
            Ok(None) => path.to_owned(),
            Err(outside) => {
                let message = format!("`{why}` names `{here}`, which is not below the manifest's folder");
                self.r.error(&at, message, outside.hint());
                return None;
            }
        };
        let path = path.as_str();
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
        if self.files.len() >= MAX_COMPOSE_TEXTS || self.bytes > MAX_COMPOSE_BYTES {
            let message = format!(
                "the project has more than {MAX_COMPOSE_TEXTS} Compose files, or {MAX_COMPOSE_BYTES} bytes of them"
            );
            self.r.error(&at, message, "split the product into several bundles");
            return None;
        }
        if !self.files.iter().any(|file| file.path == path) {
            let used_by = format!("`{why}`");
            self.files.push(NamedFile { path: path.to_owned(), place: at, used_by, kind });
        }
        match encoding::text(&self.shown_path(path), bytes) {
            Ok(text) => Some(text),
            Err(mistake) => {
                self.r.append(mistake.into());
                None
            }
        }
    }

    fn shown_path(&self, path: &str) -> String {
        paths::join(&self.shown_folder, path)
    }

    /// Writes paths with `..` as they lie on site.
    fn settle_paths(&mut self, root: &mut Node) {
        let (r, folder) = (&mut self.r, self.folder);
        rebase::each_path(root, &mut |place, text| match above::settle(folder, text) {
            Ok(None) => None,
            Ok(Some(settled)) => {
                r.needs_level(2);
                Some(settled)
            }
            // An older build carried it, and nothing else.
            Err(above::Outside::Taken) if !r.reads(2) => None,
            Err(above::Outside::Taken) => {
                let message = format!("`{}` takes the place of other files", shown(text));
                r.error_in_value(place, place, message, above::Outside::Taken.hint().to_owned());
                None
            }
            // Told by whoever reads it: what is not used may lie anywhere.
            Err(above::Outside::Above) => None,
        });
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
