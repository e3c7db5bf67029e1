//! `include`: other files as projects of their own (Compose Specification, "include").

use super::{Env, KEYS, Loader, dotenv, merge};
use crate::compose::model::FileUse;
use crate::diagnostic::shown;
use crate::limits::MAX_COMPOSE_CHAIN;
use crate::yaml::{Key, Node, Place, Value};
use crate::{BundlePath, paths};
use std::collections::HashMap;

/// The sections of which an included file has its own part.
const SECTIONS: [&str; 5] = ["services", "networks", "volumes", "configs", "secrets"];

impl Loader<'_> {
    /// One entry of `include`: its files are a project of their own, whose parts come into `root`.
    pub(super) fn include(&mut self, entry: &Node, root: &mut Node, env: &Env, chain: &mut Vec<String>) {
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
            if chain.contains(&path) || chain.len() > MAX_COMPOSE_CHAIN {
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
            match dotenv::parse(&self.shown_path(&path), &text, &below, self.r.known()) {
                Ok(entries) => {
                    self.r.needs_level(entries.level);
                    self.r.append_warnings(entries.warnings);
                    own.extend(entries.values);
                }
                Err(found) => {
                    self.r.append(found);
                    return None;
                }
            }
        }
        own.extend(env.clone());
        Some(own)
    }

    /// Refuses unknown keys at the top: their content would be lost in silence.
    fn refuse_unknown(&mut self, included: &Node) {
        for (key, _) in self.r.map("the Compose file", included) {
            if !KEYS.contains(&key.text.as_str()) {
                self.r.unknown_key(key, "the Compose file", &KEYS);
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
