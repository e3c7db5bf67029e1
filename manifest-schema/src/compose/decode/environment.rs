//! `environment` and `env_file` of a service (Compose Specification, services, "environment",
//! "env_file"): files first, in order, then the service's own values.

use super::context::Context;
use crate::compose::load::dotenv;
use crate::compose::model::FileUse;
use crate::compose::model::Project;
use crate::diagnostic::shown;
use crate::limits::MAX_ENV_FILE_BYTES;
use crate::yaml::{Node, Value};
use crate::{BundlePath, ServiceName, encoding};
use std::collections::{BTreeMap, BTreeSet};

/// The service's own values, and the names that are there without one.
pub(super) fn decode(
    context: &mut Context<'_>,
    environment: Option<&Node>,
) -> (BTreeMap<String, String>, BTreeSet<String>) {
    let (mut values, mut without) = (BTreeMap::new(), BTreeSet::new());
    let Some(node) = environment else { return (values, without) };
    for pair in context.pairs("environment", node) {
        // A variable that is empty leaves an entry with nothing in it.
        if pair.key.is_empty() && pair.value.is_none() && context.r.is_made_empty(pair.place) {
            context.r.needs_level(2);
            continue;
        }
        if pair.key.is_empty() || pair.key.contains(['=', '\0']) {
            context.r.error(&pair.place, "an environment variable has no name", "write `NAME: value`");
            continue;
        }
        match pair.value.or_else(|| context.env.get(&pair.key).cloned()) {
            Some(value) => {
                values.insert(pair.key, value);
            }
            None if !context.r.reads(2) => {}
            None => {
                context.r.needs_level(2);
                context.r.warn(
                    &pair.place,
                    format!(
                        "`{}` has no value: it is not in the container, also where its image sets it",
                        shown(&pair.key)
                    ),
                    "give it a value here or in .env",
                );
                values.remove(&pair.key);
                without.insert(pair.key);
            }
        }
    }
    without.retain(|name| !values.contains_key(name));
    (values, without)
}

/// The values of a command in the container, which has the container's for those without one.
pub(super) fn of_hook(context: &mut Context<'_>, node: &Node) -> BTreeMap<String, String> {
    let pairs = context.pairs("environment", node);
    let values = pairs.into_iter().filter_map(|pair| {
        if pair.key.is_empty() || pair.key.contains(['=', '\0']) {
            context.r.error(&pair.place, "an environment variable has no name", "write `NAME: value`");
            return None;
        }
        let value = pair.value.or_else(|| context.env.get(&pair.key).cloned())?;
        Some((pair.key, value))
    });
    values.collect()
}

/// The files' values, for what a service does not say itself. Read once it is known which services
/// are left out: what only they need is not carried.
pub(in crate::compose) fn from_files(context: &mut Context<'_>, project: &mut Project) {
    for (service, node) in std::mem::take(&mut context.env_files) {
        let Ok(name) = service.parse::<ServiceName>() else { continue };
        let Some(kept) = project.services.get_mut(&name) else { continue };
        context.service = service;
        let items = if matches!(node.value, Value::Seq(_)) {
            context.r.list("env_file", &node)
        } else {
            std::slice::from_ref(&node)
        };
        let mut values = BTreeMap::new();
        for item in items {
            if !context.count(1, item) {
                return;
            }
            values.extend(env_file_values(context, item));
        }
        values.retain(|name, _| !kept.without.contains(name));
        values.append(&mut kept.environment);
        kept.environment = values;
    }
}

/// The labels in `label_file`, for what a service does not say itself.
pub(in crate::compose) fn labels_from_files(context: &mut Context<'_>, project: &mut Project) {
    for (service, node) in std::mem::take(&mut context.label_files) {
        let Ok(name) = service.parse::<ServiceName>() else { continue };
        let Some(kept) = project.services.get_mut(&name) else { continue };
        context.service = service;
        let items = if node.text().is_some() {
            std::slice::from_ref(&node)
        } else {
            context.r.list("label_file", &node)
        };
        let mut values = BTreeMap::new();
        for item in items {
            let Some(path) = context.r.string("label_file", item) else { continue };
            let mut labels = file_values(context, "label_file", item, &path, true, false);
            let owner = format!("service `{name}`");
            labels.retain(|label, _| context.may_set(&owner, label, item.place));
            values.extend(labels);
        }
        values.append(&mut kept.labels);
        kept.labels = values;
    }
}

fn env_file_values(context: &mut Context<'_>, node: &Node) -> BTreeMap<String, String> {
    let (mut path, mut required, mut raw) = (None, true, false);
    if matches!(node.value, Value::Map(_)) {
        for (key, node) in context.r.map("env_file", node) {
            match key.text.as_str() {
                "path" => path = context.r.string("path", node),
                "required" => required = context.r.boolean("required", node).unwrap_or(true),
                "format" => {
                    raw = context.r.string("format", node).as_deref() == Some("raw");
                    if !raw {
                        context.r.error(
                            node,
                            "the format of an env_file can only be `raw`",
                            "delete `format`",
                        );
                    }
                }
                _ => context.r.unknown_key(key, "an env_file", &["path", "required", "format"]),
            }
        }
    } else {
        path = context.r.string("env_file", node);
    }
    match path {
        Some(path) => file_values(context, "env_file", node, &path, required, raw),
        None => BTreeMap::new(),
    }
}

/// The values in one file of lines `NAME=value`.
fn file_values(
    context: &mut Context<'_>,
    what: &str,
    node: &Node,
    path: &str,
    required: bool,
    raw: bool,
) -> BTreeMap<String, String> {
    let place = node.place;
    let name = crate::paths::normal(path);
    if name.parse::<BundlePath>().is_err() || path.starts_with('~') {
        let used_by = format!("service `{}`", context.service);
        let _: Option<String> = context.relative_file(what, path, place, FileUse::EnvFile, used_by, None);
        return BTreeMap::new();
    }
    let Some(bytes) = (context.load)(&name) else {
        if required {
            let message = format!("{what} `{}` does not exist beside the Compose file", shown(path));
            let optional = if what == "env_file" { ", or write `required: false`" } else { "" };
            context.r.error(&place, message, format!("create it{optional}"));
        }
        return BTreeMap::new();
    };
    context.env_file_bytes = context.env_file_bytes.saturating_add(bytes.len());
    if context.env_file_bytes > MAX_ENV_FILE_BYTES {
        let message = format!("the env files of all services have more than {MAX_ENV_FILE_BYTES} bytes");
        context.r.error(&place, message, "use smaller ones");
        return BTreeMap::new();
    }
    let used_by = format!("service `{}`", context.service);
    if context.relative_file(what, path, place, FileUse::EnvFile, used_by, None).is_none() {
        return BTreeMap::new();
    }
    let text = match encoding::text(&name, bytes) {
        Ok(text) => text,
        Err(mistake) => {
            context.r.append(mistake.into());
            return BTreeMap::new();
        }
    };
    if raw {
        if text.starts_with(dotenv::MARK) {
            context.r.needs_level(2);
        }
        return dotenv::parse_raw(&text);
    }
    match dotenv::parse(&name, &text, context.env, context.r.known()) {
        Ok(entries) => {
            context.r.needs_level(entries.level);
            context.r.append_warnings(entries.warnings);
            entries.values
        }
        Err(found) => {
            context.r.append(found);
            BTreeMap::new()
        }
    }
}
