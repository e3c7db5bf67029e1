//! The whole file (Compose Specification, "Compose file").

use super::context::{Context, Mention, Target};
use super::load::Loader;
use super::model::{NetworkAttachment, Project};
use super::{NamedFile, Parsed, Text, check, environment, files, networks, service};
use crate::yaml::{self, Node, Place, Value, shown};
use crate::{Diagnostics, ServiceName};
use std::collections::{BTreeMap, BTreeSet};

/// More services than this on one host are a mistake, and each check compares them.
const MAX_SERVICES: usize = 1000;

pub(super) const KEYS: [&str; 8] =
    ["services", "networks", "volumes", "configs", "secrets", "include", "name", "version"];

pub(super) fn parse(
    texts: &[Text<'_>],
    over: Option<Text<'_>>,
    env: &BTreeMap<String, String>,
    load: &dyn Fn(&str) -> Option<Vec<u8>>,
) -> Result<Parsed, Diagnostics> {
    let mut loader = Loader::new(texts.first().map_or("", |text| text.file), load);
    let root = loader.project(texts, over, env);
    let Loader { r, files: read, overrides, site, .. } = loader;
    let root = match root {
        Some(root) if r.is_clean() => root,
        // What lacks a value would only be found wrong again.
        _ => return Err(r.finish(()).err().unwrap_or_default()),
    };
    let read = read.into_iter().map(|file| Mention { file, service: None, object: None });
    let mut context = Context {
        r,
        env,
        load,
        files: read.collect(),
        env_files: Vec::new(),
        label_files: Vec::new(),
        link_aliases: Vec::new(),
        mounted: Vec::new(),
        references: Vec::new(),
        broken: Vec::new(),
        overrides,
        site,
        ports: Vec::new(),
        service: String::new(),
        services: Vec::new(),
        items: 0,
        env_file_bytes: 0,
    };
    let mut project = decode(&mut context, &root);
    check::references(&mut context, &project);
    let optional = optional_waits(&project);
    let active = env.get("COMPOSE_PROFILES").map_or("", String::as_str);
    let active: Vec<&str> = active.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let left_out = project.leave_out_profiles(&active);
    for (name, other, place) in optional {
        if project.services.contains_key(&name) && left_out.contains(&other) {
            let message =
                format!("service `{name}` starts without `{other}`, which has profiles and is left out");
            context.r.warn(&place, message, "delete `profiles` there, or this `depends_on`");
        }
    }
    warn_of_unused(&mut context, &root, project.leave_out_unused());
    environment::from_files(&mut context, &mut project);
    environment::labels_from_files(&mut context, &mut project);
    default_network(&mut project, &context.link_aliases);
    check::waits(&mut context, &project);
    check::ports(&mut context, &project);
    check::container_names(&mut context, &project);
    check::replicas(&mut context, &project);
    check::mount_points(&mut context, &project);
    check::mounted_files(&mut context, &project);
    check::cycles(&mut context, &project);
    let files = needed_files(std::mem::take(&mut context.files), &project);
    // What Compose would interpolate again.
    let merged = yaml::write(&root, &|text| text.replace('$', "$$"));
    let sources = context.r.sources().clone();
    let (project, warnings) = context.r.finish(project)?;
    Ok(Parsed { merged, project, left_out, sources, warnings, files })
}

/// Who would wait for whom, and where it is written.
fn optional_waits(project: &Project) -> Vec<(ServiceName, ServiceName, Place)> {
    let mut waits = Vec::new();
    for (name, service) in &project.services {
        for (other, _) in service.depends_on.iter().filter(|(_, dependency)| !dependency.required) {
            waits.push((name.clone(), other.clone(), service.place.line()));
        }
    }
    waits
}

/// What the services that are left, and the objects that they use, name; each path once.
fn needed_files(mentions: Vec<Mention>, project: &Project) -> Vec<NamedFile> {
    let mut seen = BTreeSet::new();
    let needed = mentions.into_iter().filter(|mention| match (&mention.object, &mention.service) {
        (Some((Target::Secret, key)), _) => project.secrets.contains_key(key),
        (Some((_, key)), _) => project.configs.contains_key(key),
        (None, Some(name)) => {
            name.parse().is_ok_and(|name: ServiceName| project.services.contains_key(&name))
        }
        (None, None) => true,
    });
    needed.map(|mention| mention.file).filter(|file| seen.insert(file.path.clone())).collect()
}

fn warn_of_unused(context: &mut Context<'_>, root: &Node, (configs, secrets): (Vec<String>, Vec<String>)) {
    for (section, word, keys) in [("configs", "config", configs), ("secrets", "secret", secrets)] {
        let Some(Value::Map(entries)) = root.get(section).map(|node| &node.value) else { continue };
        for (key, _) in entries.iter().filter(|(key, _)| keys.contains(&key.text)) {
            let message =
                format!("no service that is started uses the {word} `{}`; it is left out", shown(&key.text));
            context.r.warn(key, message, "delete it, or name it in a service");
        }
    }
}

fn decode(context: &mut Context<'_>, root: &Node) -> Project {
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
            "version" => context.ignored(key, "it has no meaning any more; delete it"),
            "models" => context.unsupported(key, "delete it"),
            _ => context.r.unknown_key(key, "the Compose file", &KEYS),
        }
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
fn default_network(project: &mut Project, aliases: &[(String, String)]) {
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
