//! `configs`, `secrets` and `volumes`: the top-level ones and their mounts in services (Compose
//! Specification, "configs", "secrets", "volumes").

use super::context::{Context, MountedFile, Target};
use super::networks::{check_key, external};
use crate::compose::model::FileUse;
use crate::compose::model::{FileMount, FileObject, MountSource, Project, Volume};
use crate::diagnostic::shown;
use crate::paths::normal;
use crate::quantity;
use crate::yaml::{Merging, Node, Value};
use std::collections::BTreeMap;

/// The top-level `configs` or `secrets`.
pub(super) fn objects(context: &mut Context<'_>, node: &Node, kind: Target) -> BTreeMap<String, FileObject> {
    let mut objects = BTreeMap::new();
    let (section, word) = words(kind);
    for (key, node) in context.r.names(section, node) {
        context.mute_unused(section, &key.text);
        check_key(context, key, word);
        if !context.count(1, node) {
            break;
        }
        let mut found = Vec::new();
        let mut name = None;
        let mut mistakes = false;
        for (inner, node) in context.r.map(section, node) {
            let object = match inner.text.as_str() {
                "file" => file(context, node, kind, &key.text),
                "content" => {
                    if kind == Target::Secret {
                        let message =
                            format!("the secret `{}` lies readable in the bundle", shown(&key.text));
                        let hint = "let the site make it: a variable of type `secret` with `generate`, and `environment: NAME` here";
                        context.r.warn(node, message, hint);
                    }
                    context.r.string("content", node).map(FileObject::Content)
                }
                "environment" => variable(context, node),
                "external" => match external(context, node, &mut name) {
                    true => Some(FileObject::External(key.text.clone())),
                    false => continue,
                },
                "name" => {
                    name = context.r.string("name", node);
                    continue;
                }
                "labels" => {
                    context.ignored(inner, "only Swarm uses it");
                    continue;
                }
                "driver" | "driver_opts" | "template_driver" => {
                    context.unsupported(inner, "it needs Swarm; delete it");
                    None
                }
                _ => {
                    context.r.unknown_key(
                        inner,
                        &format!("a {word}"),
                        &["file", "content", "environment", "external", "name"],
                    );
                    None
                }
            };
            mistakes |= object.is_none();
            found.extend(object);
        }
        match (found.pop(), found.is_empty()) {
            (Some(FileObject::External(key_text)), true) => {
                let name = name.unwrap_or(key_text);
                if name.parse::<crate::ServiceName>().is_ok() {
                    objects.insert(key.text.clone(), FileObject::External(name));
                } else {
                    let message = format!("`{}` cannot be the name of an external {word}", shown(&name));
                    context.r.error(key, message, "use letters, digits, `.`, `_` and `-`");
                }
            }
            (Some(object), true) => {
                objects.insert(key.text.clone(), object);
            }
            (Some(_), false) => {
                let message = format!("{word} `{}` has more than one source", shown(&key.text));
                context.r.error(key, message, "keep one of them");
            }
            (None, _) if !mistakes => {
                let message = format!("{word} `{}` has no source", shown(&key.text));
                context.r.error(
                    key,
                    message,
                    format!("add a line like `file: ./{section}/{}`", shown(&key.text)),
                );
            }
            (None, _) => {}
        }
        if !objects.contains_key(&key.text) {
            context.broken.push((kind, key.text.clone()));
        }
    }
    objects
}

const fn words(kind: Target) -> (&'static str, &'static str) {
    match kind {
        Target::Secret => ("secrets", "secret"),
        _ => ("configs", "config"),
    }
}

fn file(context: &mut Context<'_>, node: &Node, kind: Target, name: &str) -> Option<FileObject> {
    let text = context.r.string("file", node)?;
    let used = if kind == Target::Secret { FileUse::Secret } else { FileUse::Config };
    let used_by = format!("{} `{}`", words(kind).1, shown(name));
    let object = Some((kind, name.to_owned()));
    let path = context.relative_file("file", &text, node.place, used, used_by, object);
    path.map(FileObject::File)
}

fn variable(context: &mut Context<'_>, node: &Node) -> Option<FileObject> {
    let name = context.r.string("environment", node)?;
    match context.env.get(&name) {
        Some(value) => Some(FileObject::Environment(value.clone())),
        None => {
            let message = format!("`{}` has no value", shown(&name));
            let hint = match context.site == Some(node.place.source) {
                true => "name a variable of the bundle",
                false => "declare it under `variables` in the manifest, or set it in .env",
            };
            context.r.error(node, message, hint);
            None
        }
    }
}

/// `configs` or `secrets` of a service.
pub(super) fn mounts(context: &mut Context<'_>, node: &Node, kind: Target) -> Vec<FileMount> {
    let (section, word) = words(kind);
    let mut mounts = Vec::new();
    for item in context.r.list(section, node) {
        let (mut source, mut target) = (None, None);
        let (mut uid, mut gid, mut mode) = (None, None, None);
        if matches!(item.value, Value::Map(_)) {
            for (key, node) in context.r.map(section, item) {
                match key.text.as_str() {
                    "source" => source = context.r.string("source", node).map(|name| (name, node)),
                    "target" => target = context.r.string("target", node).map(|text| (text, node)),
                    "uid" => uid = context.r.scalar_text("uid", node),
                    "gid" => gid = context.r.scalar_text("gid", node),
                    "mode" => mode = context.r.parsed("mode", node, quantity::mode),
                    _ => context.r.unknown_key(
                        key,
                        &format!("a {word} of a service"),
                        &["source", "target", "uid", "gid", "mode"],
                    ),
                }
            }
            if item.get("source").is_none() {
                context.r.error(
                    item,
                    format!("the {word} has no `source`"),
                    format!("name one of the top-level {section}"),
                );
            }
        } else {
            source = context.r.string(section, item).map(|name| (name, item));
        }
        let Some((source, place)) = source else { continue };
        context.refer(kind, &source, place.place);
        let folder = if kind == Target::Secret { "/run/secrets" } else { "" };
        let target = match target {
            None => format!("{folder}/{source}"),
            Some((text, node)) => {
                let full = if text.starts_with('/') { text } else { format!("{folder}/{text}") };
                match super::mounts::container_path(context, node, &full) {
                    Some(path) => path,
                    None => continue,
                }
            }
        };
        let mount = FileMount { source, target: normal(&target), uid, gid, mode };
        context.mounted.push(MountedFile {
            kind,
            mount: mount.clone(),
            service: context.service.clone(),
            place: item.place,
        });
        mounts.push(mount);
    }
    mounts
}

/// The top-level `volumes`.
pub(super) fn volumes(context: &mut Context<'_>, node: &Node) -> BTreeMap<String, Volume> {
    let mut volumes = BTreeMap::new();
    for (key, node) in context.r.names("volumes", node) {
        context.mute_unused("volumes", &key.text);
        check_key(context, key, "volume");
        let mut volume = Volume::default();
        for (inner, node) in context.r.map("volumes", node) {
            match inner.text.as_str() {
                "name" => volume.name = context.r.string("name", node),
                "driver" => volume.driver = context.r.string("driver", node),
                "driver_opts" => volume.driver_opts = context.string_map("driver_opts", node),
                "external" => volume.external = external(context, node, &mut volume.name),
                "labels" => volume.labels = context.labels("a volume", node),
                _ => context.r.unknown_key(
                    inner,
                    "a volume",
                    &["name", "driver", "driver_opts", "external", "labels"],
                ),
            }
        }
        if volume.external {
            // It has no prefix: somebody else has made it.
            volume.name.get_or_insert_with(|| key.text.clone());
        }
        volumes.insert(key.text.clone(), volume);
    }
    volumes
}

/// Makes bind mounts of the volumes that are one: `o: bind` with a relative `device`, which no engine could mount.
pub(in crate::compose) fn volumes_of_folders(context: &mut Context<'_>, root: &Node, project: &mut Project) {
    let mut folders: BTreeMap<String, String> = BTreeMap::new();
    for (key, volume) in &project.volumes {
        let options = &volume.driver_opts;
        let (Some(o), Some(device)) = (options.get("o"), options.get("device")) else { continue };
        let is_bind = o.split(',').any(|option| matches!(option, "bind" | "rbind"));
        if is_bind
            && !device.starts_with('/')
            && volume.driver.as_deref().is_none_or(|driver| driver == "local")
        {
            folders.insert(key.clone(), device.clone());
        }
    }
    for (key, device) in folders {
        context.r.needs_level(2);
        let read_only = project.volumes.get(&key).and_then(|volume| volume.driver_opts.get("o"));
        let read_only = read_only.is_some_and(|o| o.split(',').any(|option| option == "ro"));
        let node =
            root.get("volumes").and_then(|volumes| volumes.get(&key)?.get("driver_opts")?.get("device"));
        let place = node.map(|node| node.place).unwrap_or_default();
        let at = Node { value: Value::Null, place, merging: Merging::Usual };
        for (name, service) in &mut project.services {
            context.service = name.to_string();
            for mount in &mut service.mounts {
                if mount.source != MountSource::Volume(key.clone()) {
                    continue;
                }
                if let Some(source) = super::mounts::bind(context, &at, &device, true) {
                    mount.source = source;
                }
                mount.read_only |= read_only;
                mount.nocopy = false;
            }
        }
        let message = format!(
            "the volume `{}` is the folder `{}`: it is mounted as a path",
            shown(&key),
            shown(&device)
        );
        let hint = "what the image has there is not copied into it; without `driver_opts` it is a volume of the engine";
        context.r.warn(&place, message, hint);
    }
}
