//! `volumes`, `volumes_from` and `tmpfs` of a service (Compose Specification, services, "volumes").

use super::context::{Context, Target};
use crate::compose::load::above::below_manifest;
use crate::compose::model::FileUse;
use crate::compose::model::{Mount, MountSource, Service};
use crate::diagnostic::shown;
use crate::paths::normal;
use crate::quantity;
use crate::yaml::{Node, Value};
use std::collections::BTreeMap;

const PROPAGATION: [&str; 6] = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];

const RECURSIVE: [&str; 4] = ["enabled", "disabled", "writable", "readonly"];

/// `volumes`.
pub(super) fn decode(context: &mut Context<'_>, node: &Node) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = Vec::new();
    for item in context.r.list("volumes", node) {
        if !context.count(1, item) {
            break;
        }
        let mount = match &item.value {
            Value::Map(_) => long(context, item),
            _ => context.r.string("volumes", item).and_then(|text| short(context, item, &text)),
        };
        let Some(mount) = mount else { continue };
        match mounts.iter_mut().find(|other| other.target == mount.target) {
            Some(other) => {
                if *other != mount {
                    let message = format!("two volumes are mounted at `{}`; this one counts", mount.target);
                    context.r.warn(item, message, "keep one of them");
                }
                context.r.needs_level(2);
                *other = mount;
            }
            None => mounts.push(mount),
        }
    }
    mounts
}

/// `[source:]target[:options]`.
fn short(context: &mut Context<'_>, node: &Node, text: &str) -> Option<Mount> {
    const EXAMPLE: &str = "write it like `data:/var/lib/data` or `./config/app.conf:/etc/app.conf:ro`";
    let mut parts = text.split(':');
    let (source, target, options) = match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(target), None, ..) => (None, target, None),
        (Some(source), Some(target), options, None) => (Some(source), target, options),
        _ => {
            context.r.error(node, format!("`{}` is not a volume", shown(text)), EXAMPLE);
            return None;
        }
    };
    let target = container_path(context, node, target)?;
    let source = match source {
        None => MountSource::Anonymous,
        Some("") => {
            context.r.error(node, format!("`{}` has no source", shown(text)), EXAMPLE);
            return None;
        }
        Some(source) if source.starts_with(['.', '/', '~']) => bind(context, node, source, true)?,
        Some(source) => named(context, node, source)?,
    };
    let mut mount = Mount {
        source,
        target,
        read_only: false,
        propagation: None,
        nocopy: false,
        subpath: None,
        recursive: None,
        selinux: None,
    };
    for option in options.unwrap_or_default().split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => mount.read_only = true,
            "rw" => mount.read_only = false,
            "nocopy" => mount.nocopy = true,
            "cached" | "delegated" | "consistent" => {}
            "z" | "Z" => relabel(context, option, &mut mount.selinux),
            _ if PROPAGATION.contains(&option) => mount.propagation = Some(option.to_owned()),
            _ => {
                context.r.needs_level(2);
                let hint = match option {
                    "U" => "only Podman's own command knows it: give the files their owner, or set `user`",
                    _ => {
                        "Docker Compose ignores it too: delete it; the options are ro, rw, nocopy, z, Z and propagations like rslave"
                    }
                };
                context.r.warn(
                    node,
                    format!("`{}` is no option of a volume and is ignored", shown(option)),
                    hint,
                );
            }
        }
    }
    Some(mount)
}

fn long(context: &mut Context<'_>, node: &Node) -> Option<Mount> {
    let (mut kind, mut source, mut target) = (None, None, None);
    let (mut read_only, mut propagation, mut nocopy, mut create) = (false, None, false, true);
    let (mut size, mut mode, mut subpath, mut recursive) = (None, None, None, None);
    let mut selinux = None;
    for (key, node) in context.r.map("volumes", node) {
        match key.text.as_str() {
            "type" => kind = context.r.string("type", node),
            "source" => source = context.r.string("source", node).map(|text| (text, node)),
            "target" => {
                target =
                    context.r.string("target", node).and_then(|text| container_path(context, node, &text));
            }
            "read_only" => read_only = context.r.boolean("read_only", node).unwrap_or(false),
            "consistency" => {}
            "bind" => {
                for (key, node) in context.r.map("bind", node) {
                    match key.text.as_str() {
                        "propagation" => {
                            propagation = context.r.parsed("propagation", node, |text| {
                                let known = PROPAGATION.contains(&text).then(|| text.to_owned());
                                known.ok_or_else(|| format!("it is one of {}", PROPAGATION.join(", ")))
                            });
                        }
                        "create_host_path" => {
                            create = context.r.boolean("create_host_path", node).unwrap_or(true);
                        }
                        "selinux" => match context.r.string("selinux", node).as_deref() {
                            Some(option @ ("z" | "Z")) => relabel(context, option, &mut selinux),
                            Some("") | None => {}
                            Some(other) => {
                                let message = format!("`{}` is not supported for `selinux`", shown(other));
                                context.r.error(node, message, "it is z or Z");
                            }
                        },
                        "recursive" => {
                            recursive = context.r.parsed("recursive", node, |text| {
                                let known = RECURSIVE.contains(&text).then(|| text.to_owned());
                                known.ok_or_else(|| format!("it is one of {}", RECURSIVE.join(", ")))
                            });
                        }
                        _ => context.r.unknown_key(
                            key,
                            "`bind`",
                            &["propagation", "create_host_path", "recursive", "selinux"],
                        ),
                    }
                }
            }
            "volume" => {
                for (key, node) in context.r.map("volume", node) {
                    match key.text.as_str() {
                        "nocopy" => nocopy = context.r.boolean("nocopy", node).unwrap_or(false),
                        "subpath" => subpath = below(context, "subpath", node),
                        "labels" => {
                            context.ignored(key, "put labels on the volume under the top-level `volumes`")
                        }
                        _ => context.r.unknown_key(key, "`volume`", &["nocopy", "subpath"]),
                    }
                }
            }
            "tmpfs" => {
                for (key, node) in context.r.map("tmpfs", node) {
                    match key.text.as_str() {
                        "size" => size = context.r.parsed("size", node, quantity::bytes),
                        "mode" => mode = context.r.parsed("mode", node, quantity::mode),
                        _ => context.r.unknown_key(key, "`tmpfs`", &["size", "mode"]),
                    }
                }
            }
            "image" => {
                for (key, node) in context.r.map("image", node) {
                    match key.text.as_str() {
                        "subpath" => subpath = below(context, "subpath", node),
                        _ => context.r.unknown_key(key, "`image`", &["subpath"]),
                    }
                }
            }
            _ => context.r.unknown_key(
                key,
                "a volume",
                &["type", "source", "target", "read_only", "bind", "volume", "tmpfs", "image", "consistency"],
            ),
        }
    }
    if node.get("target").is_none() {
        context.r.error(
            node,
            "the volume has no `target`",
            "add the path in the container, like `target: /data`",
        );
    }
    let source = match (kind.as_deref(), source) {
        (Some("volume"), None) => MountSource::Anonymous,
        (Some("volume"), Some((name, node))) => named(context, node, &name)?,
        (Some("bind"), Some((path, node))) => bind(context, node, &path, create)?,
        (Some("tmpfs"), _) => MountSource::Tmpfs { size, mode },
        (Some("image"), Some((name, node))) => {
            if name.is_empty() {
                context.r.error(node, "the volume of type `image` has no `source`", "name the image");
                return None;
            }
            context.r.name::<crate::ImageRef>("source", node)?;
            read_only = true;
            MountSource::Image(name)
        }
        (Some("image"), None) => {
            context.r.error(node, "the volume of type `image` has no `source`", "name the image");
            return None;
        }
        (Some(kind @ ("npipe" | "cluster")), _) => {
            let why = if kind == "npipe" { "it is for Windows containers" } else { "it needs Swarm" };
            context.r.error(
                node,
                format!("a volume of type `{kind}` is not supported"),
                format!("delete it; {why}"),
            );
            return None;
        }
        (Some("bind"), None) => {
            context.r.error(node, "the bind mount has no `source`", "add the path on the host");
            return None;
        }
        (None, _) if node.get("type").is_some() => return None,
        (None, _) => {
            context.r.error(
                node,
                "the volume has no `type`",
                "add `type: volume`, `type: bind` or `type: tmpfs`",
            );
            return None;
        }
        (Some(other), _) => {
            let message = format!("`{}` is not a supported type of volume", shown(other));
            context.r.error(node, message, "it is one of volume, bind, tmpfs, image");
            return None;
        }
    };
    Some(Mount { source, target: target?, read_only, propagation, nocopy, subpath, recursive, selinux })
}

/// The engine labels the files for the container on a host with SELinux, `Z` for it alone.
fn relabel(context: &mut Context<'_>, option: &str, selinux: &mut Option<String>) {
    // Older builds ignored it.
    if context.r.reads(2) {
        context.r.needs_level(2);
        *selinux = Some(option.to_owned());
    }
}

/// An absolute path in a container, with `/` at its end taken away.
pub(super) fn container_path(context: &mut Context<'_>, node: &Node, text: &str) -> Option<String> {
    let path = normal(text);
    if !text.starts_with('/') || path == "/" || path.split('/').any(|part| part == "..") {
        let message = format!("`{}` is not an absolute path in the container", shown(text));
        context.r.error(node, message, "begin it with `/` and leave out `..`");
        return None;
    }
    Some(path)
}

/// A relative path that stays where it begins.
fn below(context: &mut Context<'_>, what: &str, node: &Node) -> Option<String> {
    context.r.parsed(what, node, |text| match normal(text).parse::<crate::BundlePath>() {
        Ok(path) if !text.starts_with('/') => Ok(path.as_str().to_owned()),
        _ => Err(format!("`{}` is not a relative path without `..`", shown(text))),
    })
}

/// `volumes_from`: `service[:ro]`.
pub(super) fn volumes_from(context: &mut Context<'_>, node: &Node, service: &mut Service) {
    for item in context.r.list("volumes_from", node) {
        let Some(text) = context.r.string("volumes_from", item) else { continue };
        let (name, mode) = text.split_once(':').unwrap_or((&text, "rw"));
        if name == "container" || !matches!(mode, "ro" | "rw") {
            let message = format!("`{}` is not supported for `volumes_from`", shown(&text));
            context.r.error(item, message, "write `service` or `service:ro`");
            continue;
        }
        context.refer(Target::Service, name, item.place);
        super::depends::needs(&mut service.depends_on, name);
        if let Ok(name) = name.parse() {
            service.volumes_from.insert(name, mode == "ro");
        }
    }
}

fn named(context: &mut Context<'_>, node: &Node, name: &str) -> Option<MountSource> {
    if name.is_empty() {
        context.r.needs_level(2);
        return Some(MountSource::Anonymous);
    }
    // `C:/data:/x` was cut at its drive.
    let is_drive = |text: &str| text.split(':').nth(2).is_some_and(|rest| rest.starts_with('/'));
    if name.len() == 1 && node.text().is_some_and(is_drive) {
        let message = format!("`{}` is a path of Windows", shown(node.text().unwrap_or_default()));
        context.r.error(node, message, "write the absolute path on the host, or a path like ./config");
        return None;
    }
    if name.contains('/') {
        let message = format!("`{}` is neither a volume nor a path", shown(name));
        context.r.error(node, message, format!("write `./{name}` for a path beside the Compose file"));
        return None;
    }
    context.refer(Target::Volume, name, node.place);
    Some(MountSource::Volume(name.to_owned()))
}

pub(super) fn bind(
    context: &mut Context<'_>,
    node: &Node,
    source: &str,
    create: bool,
) -> Option<MountSource> {
    if source.starts_with('~') {
        let message = format!("`{}` depends on who runs the installer", shown(source));
        context.r.error(node, message, "write the absolute path on the host, or a path like ./config");
        return None;
    }
    if source.starts_with('/') {
        let path = normal(source);
        if path.split('/').any(|part| part == "..") {
            context.r.error(node, format!("`{}` holds `..`", shown(source)), "write the path without it");
            return None;
        }
        return Some(MountSource::Bind { path, create });
    }
    let above = below_manifest(&normal(source)).map(str::to_owned);
    let holds_all = |above: &String| {
        above.is_empty()
            || context.folder.strip_prefix(above.as_str()).is_some_and(|rest| rest.starts_with('/'))
    };
    if normal(source).is_empty() || above.as_ref().is_some_and(holds_all) {
        let folder = if above.is_some() { "manifest" } else { "Compose file" };
        let message = format!("the whole folder of the {folder} cannot be mounted");
        context.r.error(node, message, "mount a folder below it, like ./config");
        return None;
    }
    let used_by = format!("service `{}`", context.service);
    let place = node.place;
    let path = context.relative_file("volumes", source, place, FileUse::Bind, used_by, None)?;
    Some(MountSource::Bind { path, create })
}

/// `tmpfs`: `path[:options]`, one or a list.
pub(super) fn tmpfs(context: &mut Context<'_>, node: &Node) -> BTreeMap<String, String> {
    let items =
        if node.text().is_some() { std::slice::from_ref(node) } else { context.r.list("tmpfs", node) };
    let mut mounts = BTreeMap::new();
    for item in items {
        if context.r.is_absent(item) {
            continue;
        }
        let Some(text) = context.r.string("tmpfs", item) else { continue };
        let (path, options) = text.split_once(':').unwrap_or((&text, ""));
        if let Some(path) = container_path(context, item, path) {
            mounts.insert(path, options.to_owned());
        }
    }
    mounts
}
