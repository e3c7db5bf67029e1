//! Paths in a Compose file that is included or extended from another folder (Compose Specification,
//! "include", "extends"): they begin in its own folder, and are rewritten to begin in that of the
//! project.

use crate::paths::join;
use crate::yaml::{Node, Place, Value};

/// Rewrites all paths of a document that lies in `folder`.
pub(super) fn rebase(root: &mut Node, folder: &str) {
    if !folder.is_empty() {
        each_path(root, &mut |_, path| Some(join(folder, path)));
    }
}

/// Another path for the one that is written at a place.
type Change<'c> = dyn FnMut(Place, &str) -> Option<String> + 'c;

/// Changes all paths of a document.
pub(super) fn each_path(root: &mut Node, change: &mut Change<'_>) {
    if let Some(Value::Map(services)) = root.get_mut("services").map(|node| &mut node.value) {
        for (_, service) in services {
            for key in ["env_file", "label_file"] {
                each(service.get_mut(key), &mut |node| match node.get_mut("path") {
                    Some(path) => at(path, change),
                    None => at(node, change),
                });
            }
            if let Some(node) = service.get_mut("extends").and_then(|extends| extends.get_mut("file")) {
                at(node, change);
            }
            each(service.get_mut("volumes"), &mut |node| mount(node, change));
        }
    }
    for section in ["configs", "secrets"] {
        if let Some(Value::Map(objects)) = root.get_mut(section).map(|node| &mut node.value) {
            for file in objects.iter_mut().filter_map(|(_, object)| object.get_mut("file")) {
                at(file, change);
            }
        }
    }
    if let Some(Value::Map(volumes)) = root.get_mut("volumes").map(|node| &mut node.value) {
        for (_, volume) in volumes {
            folder_of_volume(volume, change);
        }
    }
    each(root.get_mut("include"), &mut |entry| {
        if entry.text().is_some() {
            return at(entry, change);
        }
        for key in ["path", "env_file"] {
            each(entry.get_mut(key), &mut |node| at(node, change));
        }
        if let Some(node) = entry.get_mut("project_directory") {
            at(node, change);
        }
    });
}

/// The `device` of a volume that is a bind mount of a relative path.
fn folder_of_volume(volume: &mut Node, change: &mut Change<'_>) {
    let Some(options) = volume.get_mut("driver_opts") else { return };
    let is_bind = options
        .get("o")
        .and_then(Node::text)
        .is_some_and(|o| o.split(',').any(|o| matches!(o, "bind" | "rbind")));
    if let Some(device) = options.get_mut("device")
        && is_bind
        && device.text().is_some_and(|text| !text.starts_with('/'))
    {
        at(device, change);
    }
}

/// Every item of a list, or the value itself.
fn each(node: Option<&mut Node>, change: &mut dyn FnMut(&mut Node)) {
    match node {
        Some(Node { value: Value::Seq(items), .. }) => items.iter_mut().for_each(change),
        Some(node) => change(node),
        None => {}
    }
}

fn at(node: &mut Node, change: &mut Change<'_>) {
    if let Value::Str(text) = &mut node.value
        && let Some(changed) = change(node.place, text)
    {
        *text = changed;
    }
}

/// A bind mount in its short or long form; the short one is known by how its source begins.
fn mount(node: &mut Node, change: &mut Change<'_>) {
    if let Value::Str(text) = &mut node.value {
        if text.starts_with('.')
            && let Some((source, rest)) = text.split_once(':')
            && let Some(changed) = change(node.place, source)
        {
            let dot = if changed.starts_with("..") { "" } else { "./" };
            *text = format!("{dot}{changed}:{rest}");
        }
    } else if node.get("type").and_then(Node::text) == Some("bind")
        && let Some(source) = node.get_mut("source")
    {
        at(source, change);
    }
}
