//! Paths in a Compose file that is included or extended from another folder (Compose Specification,
//! "include", "extends"): they begin in its own folder, and are rewritten to begin in that of the
//! project.

use crate::paths::join;
use crate::yaml::{Node, Value};

/// Rewrites all paths of a document that lies in `folder`.
pub(super) fn rebase(root: &mut Node, folder: &str) {
    if folder.is_empty() {
        return;
    }
    let file = |node: &mut Node| at(node, folder);
    if let Some(Value::Map(services)) = root.get_mut("services").map(|node| &mut node.value) {
        for (_, service) in services {
            for key in ["env_file", "label_file"] {
                each(service.get_mut(key), &|node| match node.get_mut("path") {
                    Some(path) => file(path),
                    None => file(node),
                });
            }
            if let Some(node) = service.get_mut("extends").and_then(|extends| extends.get_mut("file")) {
                file(node);
            }
            each(service.get_mut("volumes"), &|node| mount(node, folder));
        }
    }
    for section in ["configs", "secrets"] {
        if let Some(Value::Map(objects)) = root.get_mut(section).map(|node| &mut node.value) {
            objects.iter_mut().filter_map(|(_, object)| object.get_mut("file")).for_each(file);
        }
    }
    each(root.get_mut("include"), &|entry| {
        if entry.text().is_some() {
            return file(entry);
        }
        for key in ["path", "env_file"] {
            each(entry.get_mut(key), &file);
        }
        if let Some(node) = entry.get_mut("project_directory") {
            file(node);
        }
    });
}

/// Every item of a list, or the value itself.
fn each(node: Option<&mut Node>, change: &dyn Fn(&mut Node)) {
    match node {
        Some(Node { value: Value::Seq(items), .. }) => items.iter_mut().for_each(change),
        Some(node) => change(node),
        None => {}
    }
}

fn at(node: &mut Node, folder: &str) {
    if let Value::Str(text) = &mut node.value {
        *text = join(folder, text);
    }
}

/// A bind mount in its short or long form; the short one is known by how its source begins.
fn mount(node: &mut Node, folder: &str) {
    if let Value::Str(text) = &mut node.value {
        if text.starts_with('.')
            && let Some((source, rest)) = text.split_once(':')
        {
            let joined = join(folder, source);
            let dot = if joined.starts_with("..") { "" } else { "./" };
            *text = format!("{dot}{joined}:{rest}");
        }
    } else if node.get("type").and_then(Node::text) == Some("bind")
        && let Some(source) = node.get_mut("source")
    {
        at(source, folder);
    }
}
