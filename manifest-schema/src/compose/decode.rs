//! From the tree to typed values, each checked at its place (Compose Specification, "Compose file").
//!
//! A reader takes one part of the tree and notes in the [`Context`] what it refers to; [`check`] then compares
//! what only the whole file shows. Nothing here reads a file but through `load`, for `env_file` and `label_file`.

pub(super) mod active;
pub(super) mod check;
pub(super) mod context;
mod depends;
mod deploy;
mod devices;
pub(super) mod environment;
mod files;
mod health;
mod hooks;
mod mounts;
mod networks;
mod ports;
mod security;
mod service;
mod words;

use super::load::KEYS;
use super::model::{NetworkAttachment, Project};
use crate::ServiceName;
use crate::diagnostic::shown;
use crate::limits::MAX_SERVICES;
use crate::yaml::{Node, Value};
use context::{Context, Target};
pub(super) use files::volumes_of_folders;

/// Decodes the whole project.
pub(super) fn project(context: &mut Context<'_>, root: &Node) -> Project {
    let mut project = Project::default();
    for (key, node) in context.r.map("the Compose file", root) {
        match key.text.as_str() {
            "services" => services(context, node, &mut project),
            "networks" => project.networks = networks::decode(context, node),
            "volumes" => project.volumes = files::volumes(context, node),
            "configs" => project.configs = files::objects(context, node, Target::Config),
            "secrets" => project.secrets = files::objects(context, node, Target::Secret),
            "name" => {
                let bundle = context.env.get("COMPOSE_PROJECT_NAME");
                if bundle.is_none() || node.text() != bundle.map(String::as_str) {
                    context.ignored(key, "the project is named by the manifest");
                }
            }
            "version" => context.ignored(key, "Compose does not use it any more; delete it"),
            "models" => context.unsupported(key, "delete it"),
            _ => context.r.unknown_key(key, "the Compose file", &KEYS),
        }
        context.r.mute(false);
    }
    let empty = root.get("services").is_none_or(|node| match &node.value {
        Value::Map(entries) => entries.is_empty(),
        other => matches!(other, Value::Null),
    });
    if empty && matches!(root.value, Value::Map(_)) {
        context.r.error(
            root,
            "the Compose file has no services",
            "add `services:` with at least one service",
        );
    }
    project
}

fn services(context: &mut Context<'_>, node: &Node, project: &mut Project) {
    let entries = context.r.names("services", node);
    if entries.len() > MAX_SERVICES {
        let message = format!("{} services; at most {MAX_SERVICES} are read", entries.len());
        context.r.error(node, message, "split the product into several bundles");
        return;
    }
    context.services = entries.iter().map(|(key, _)| key.text.clone()).collect();
    for (key, service) in entries {
        if context.left_out.contains(&key.text) {
            continue;
        }
        let name = match key.text.parse::<ServiceName>() {
            Ok(name) => name,
            Err(error) => {
                context.r.error_bare(key, error.to_string());
                continue;
            }
        };
        if !matches!(service.value, Value::Map(_)) {
            let message =
                format!("expected a map for service `{}`, found {}", shown(&key.text), service.kind());
            context.r.error(key, message, "write its keys below it, indented: `image: acme/api:2.4.0`");
            continue;
        }
        let decoded = service::decode(context, key, service);
        project.services.insert(name, decoded);
    }
}

/// Services that name no network share `default`; names that `links` give hold on all networks.
pub(super) fn default_network(project: &mut Project, aliases: &[(String, String)]) {
    for service in project.services.values_mut() {
        if service.networks.is_empty() && service.network_mode.is_none() {
            service.networks.insert("default".to_owned(), NetworkAttachment::default());
        }
    }
    for (name, alias) in aliases {
        let target = name.parse::<ServiceName>().ok().and_then(|name| project.services.get_mut(&name));
        for attachment in target.into_iter().flat_map(|service| service.networks.values_mut()) {
            if !attachment.aliases.contains(alias) {
                attachment.aliases.push(alias.clone());
            }
        }
    }
    if project.services.values().any(|service| service.networks.contains_key("default")) {
        project.networks.entry("default".to_owned()).or_default();
    }
}
