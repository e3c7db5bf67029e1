//! One service (Compose Specification, "services").
//!
//! Every key of the specification is either read, ignored with a warning because it makes no
//! difference here, or refused with a reason; nothing is dropped in silence.

use super::context::{Context, Target};
use super::{depends, deploy, devices, environment, files, health, hooks, mounts, networks, ports, security};
use crate::compose::model::{Logging, NetworkAttachment, Resources, Service};
use crate::diagnostic::{nearest, shown};
use crate::quantity;
use crate::yaml::{Key, Node, Value};
use crate::{ImageRef, Platform, ServiceName, is_ferrys_container};
use std::collections::BTreeMap;

/// Keys that are read, for "did you mean".
const KEYS: [&str; 84] = [
    "cap_add",
    "cap_drop",
    "command",
    "configs",
    "container_name",
    "cpu_shares",
    "cpus",
    "cpuset",
    "depends_on",
    "deploy",
    "devices",
    "dns",
    "dns_opt",
    "dns_search",
    "domainname",
    "entrypoint",
    "env_file",
    "environment",
    "expose",
    "extends",
    "extra_hosts",
    "group_add",
    "healthcheck",
    "hostname",
    "image",
    "init",
    "ipc",
    "labels",
    "links",
    "logging",
    "mem_limit",
    "mem_reservation",
    "memswap_limit",
    "network_mode",
    "networks",
    "oom_score_adj",
    "pid",
    "pids_limit",
    "platform",
    "ports",
    "privileged",
    "profiles",
    "read_only",
    "restart",
    "scale",
    "secrets",
    "security_opt",
    "shm_size",
    "stdin_open",
    "stop_grace_period",
    "stop_signal",
    "sysctls",
    "tmpfs",
    "tty",
    "ulimits",
    "user",
    "userns_mode",
    "volumes",
    "working_dir",
    "build",
    "pull_policy",
    "pull_refresh_after",
    "annotations",
    "attach",
    "develop",
    "volumes_from",
    "gpus",
    "blkio_config",
    "cgroup",
    "cgroup_parent",
    "cpu_period",
    "cpu_quota",
    "cpu_rt_period",
    "cpu_rt_runtime",
    "device_cgroup_rules",
    "label_file",
    "mac_address",
    "mem_swappiness",
    "oom_kill_disable",
    "post_start",
    "pre_stop",
    "runtime",
    "storage_opt",
    "uts",
];

/// Keys that are known and refused, each with what to do instead.
const UNSUPPORTED: [(&str, &str); 9] = [
    ("cpu_count", "write `cpus`; it is for Windows containers"),
    ("cpu_percent", "write `cpus`; it is for Windows containers"),
    ("credential_spec", "delete it; it is for Windows containers"),
    ("external_links", "put both containers on an external network"),
    ("isolation", "delete it; it is for Windows containers"),
    ("models", "delete it"),
    (
        "pre_start",
        "make it a service of its own that ends, and wait for it: `depends_on: { NAME: { condition: service_completed_successfully } }`",
    ),
    ("provider", "it is run by a program on the developer's host: run the service from an image"),
    (
        "use_api_socket",
        "mount the socket, where the service is to control the engine: `/var/run/docker.sock:/var/run/docker.sock`",
    ),
];

/// Reads the service called `name`.
pub(super) fn decode(context: &mut Context<'_>, name: &Key, node: &Node) -> Service {
    context.service = name.text.clone();
    let mut service = Service { place: name.place, ..Service::default() };
    let mut deploy_restart = None;
    let mut restart = None;
    let mut mac_address = None;
    let (mut scale, mut deploy_replicas, mut deployed) = (None, None, Resources::default());
    (service.environment, service.without) = environment::decode(context, node.get("environment"));
    if let Some(node) = node.get("env_file") {
        context.env_files.push((name.text.clone(), node.clone()));
    }
    if let Some(node) = node.get("label_file") {
        context.label_files.push((name.text.clone(), node.clone()));
    }
    for (key, node) in context.r.map(&format!("services.{}", shown(&name.text)), node) {
        let what = key.text.as_str();
        match what {
            "environment" | "env_file" | "label_file" | "extends" | "build" => {}
            "image" => image(context, node, &mut service),
            "platform" => service.platform = context.r.name::<Platform>(what, node),
            "container_name" => service.container_name = container_name(context, node),
            "command" => service.command = context.command(what, node),
            "entrypoint" => service.entrypoint = context.command(what, node),
            "ports" => service.ports = ports::decode(context, node),
            "expose" => service.expose = ports::expose(context, node),
            "volumes" => service.mounts = mounts::decode(context, node),
            "tmpfs" => service.tmpfs = mounts::tmpfs(context, node),
            "devices" => {
                let requests = &mut service.resources.device_requests;
                service.devices = devices::devices(context, node, requests);
            }
            "networks" => service.networks = networks::attachments(context, node),
            "network_mode" => {
                service.network_mode = depends::shared(context, what, node, &mut service.depends_on)
            }
            "ipc" => service.ipc = depends::shared(context, what, node, &mut service.depends_on),
            "pid" => service.pid = depends::shared(context, what, node, &mut service.depends_on),
            "depends_on" => depends::dependencies(context, node, &mut service.depends_on),
            "links" => depends::links(context, key, node, &mut service.depends_on),
            "healthcheck" => service.healthcheck = health::health(context, node),
            "restart" => restart = health::restart_word(context, node),
            "deploy" => {
                deploy_restart = deploy::decode(context, node, &mut deployed, &mut deploy_replicas);
                service.resources.device_requests.append(&mut deployed.device_requests);
            }
            "scale" => scale = deploy::replicas(context, key, node),
            "labels" => service.labels = context.labels(&format!("service `{}`", shown(&name.text)), node),
            "logging" => service.logging = Some(logging(context, node)),
            "configs" => service.configs = files::mounts(context, node, Target::Config),
            "secrets" => service.secrets = files::mounts(context, node, Target::Secret),
            "sysctls" => service.sysctls = context.string_map(what, node),
            "ulimits" => service.ulimits = ulimits(context, node),
            "extra_hosts" => service.extra_hosts = extra_hosts(context, node),
            "group_add" => service.group_add = context.r.strings(what, node, false),
            "dns" => service.dns = without_empty(context, what, node, true),
            "dns_search" => service.dns_search = without_empty(context, what, node, true),
            "dns_opt" => service.dns_opt = without_empty(context, what, node, false),
            "cap_add" => service.cap_add = context.r.strings(what, node, false),
            "cap_drop" => service.cap_drop = context.r.strings(what, node, false),
            "security_opt" => service.security_opt = security::options(context, node),
            "profiles" => service.profiles = context.r.strings(what, node, false),
            "user" => service.user = context.r.string(what, node),
            "working_dir" => service.working_dir = context.r.string(what, node),
            "hostname" => service.hostname = context.r.string(what, node),
            "domainname" => service.domainname = context.r.string(what, node),
            "userns_mode" => service.userns_mode = context.r.string(what, node),
            "stop_signal" => service.stop_signal = context.r.string(what, node),
            "init" => service.init = context.r.boolean(what, node),
            "read_only" => service.read_only = context.r.boolean(what, node).unwrap_or(false),
            "privileged" => service.privileged = context.r.boolean(what, node).unwrap_or(false),
            "tty" => service.tty = context.r.boolean(what, node).unwrap_or(false),
            "stdin_open" => service.stdin_open = context.r.boolean(what, node).unwrap_or(false),
            "gpus" => service.resources.device_requests.extend(devices::gpus(context, node)),
            "blkio_config" => service.resources.blkio = Some(devices::blkio(context, node)),
            "cgroup" => service.cgroup = one_of(context, what, node, &["host", "private"]),
            "uts" => service.uts = one_of(context, what, node, &["host"]),
            "runtime" => service.runtime = context.r.string(what, node),
            "storage_opt" => service.storage_opt = context.string_map(what, node),
            "mac_address" => mac_address = networks::mac_address(context, node),
            "volumes_from" => mounts::volumes_from(context, node, &mut service),
            "post_start" => service.post_start = hooks::decode(context, what, node),
            "pre_stop" => service.pre_stop = hooks::decode(context, what, node),
            "shm_size" => service.shm_bytes = context.r.parsed(what, node, quantity::bytes),
            "stop_grace_period" => {
                service.stop_grace_period = context.r.parsed(what, node, quantity::duration);
            }
            "pull_policy" | "pull_refresh_after" => {
                context.ignored(key, "images come from the bundle, never from elsewhere")
            }
            "annotations" => context.ignored(key, "use `labels`, which every engine keeps"),
            "attach" | "develop" => {
                context.ignored(key, "it is for `docker compose up` at a developer's desk")
            }
            _ if deploy::limit(context, key, node, &mut service.resources) => {}
            _ => match UNSUPPORTED.iter().find(|(known, _)| *known == what) {
                Some((_, hint)) => context.unsupported(key, hint),
                None => context.r.unknown_key(key, &format!("service `{}`", shown(&name.text)), &KEYS),
            },
        }
    }
    if restart.is_some() && deploy_restart.is_some() && restart != deploy_restart {
        context.r.needs_level(2);
    }
    let in_order = if context.r.reads(2) { [deploy_restart, restart] } else { [restart, deploy_restart] };
    service.restart = in_order.into_iter().flatten().next().unwrap_or_default();
    deploy::same_limits(context, node, (&mut service.resources, deployed));
    if let (Some(one), Some(other), Some(node)) = (scale, deploy_replicas, node.get("scale"))
        && one != other
        && context.r.reads(2)
    {
        context.r.error(node, "`scale` and `deploy.replicas` are not the same", "delete one of them");
    }
    service.replicas =
        if deploy::is_later(node, "scale") { scale.or(deploy_replicas) } else { deploy_replicas.or(scale) };
    if mac_address.is_some() {
        // It is that of the first network.
        let first = service.networks.iter_mut().max_by_key(|(_, attachment)| attachment.priority);
        match first {
            Some((_, attachment)) => attachment.mac_address = attachment.mac_address.take().or(mac_address),
            None if service.network_mode.is_none() => {
                let attachment = NetworkAttachment { mac_address, ..Default::default() };
                service.networks.insert("default".to_owned(), attachment);
            }
            None => {}
        }
    }
    let image = node
        .get("image")
        .filter(|image| !(context.r.unset_at(image.place).is_empty() && context.r.is_absent(image)));
    if image.is_none() && node.get("provider").is_none() {
        missing_image(context, name, node, &mut service);
    } else if let Some(key) = key_of(node, "build") {
        context.ignored(key, "the image named by `image` is carried as it is");
    }
    if let (Some(key), Some(_), Some(_)) =
        (key_of(node, "network_mode"), &service.network_mode, node.get("networks"))
    {
        let message = format!("service `{}` has both `network_mode` and `networks`", shown(&name.text));
        context.r.error(key, message, "delete one of them");
    }
    service
}

fn key_of<'n>(node: &'n Node, name: &str) -> Option<&'n Key> {
    match &node.value {
        Value::Map(entries) => entries.iter().map(|(key, _)| key).find(|key| key.text == name),
        _ => None,
    }
}

/// A service without `image` runs what `docker compose build` makes: an image named after the project and
/// the service.
fn missing_image(context: &mut Context<'_>, name: &Key, node: &Node, service: &mut Service) {
    let project = context.env.get("COMPOSE_PROJECT_NAME");
    if let (Some(key), Some(project)) = (key_of(node, "build"), project) {
        let image = format!("{project}-{}", name.text);
        if image.parse::<ImageRef>().is_ok() {
            let message = format!("`build` is not run here: the image `{image}` has to be there");
            let hint = format!(
                "run `docker compose --project-name {project} build` first, or name the image: `image: …`"
            );
            context.r.warn(key, message, hint);
            service.image = image;
            return;
        }
    }
    match key_of(node, "build") {
        Some(key) => context.r.error(
            key,
            format!("service `{}` has `build`, but no `image`", shown(&name.text)),
            "build the image first and name it: `image: acme/api:2.4.0`",
        ),
        // It has nothing to go over.
        None if context.overrides.contains(&name.place.source) => {
            let names = context.services.iter().map(String::as_str).filter(|other| *other != name.text);
            let hint = match nearest(&name.text, names) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "correct its name, or add a line like `image: acme/api:2.4.0`".to_owned(),
            };
            context.r.error(name, format!("no other file has the service `{}`", shown(&name.text)), hint);
        }
        None if matches!(node.value, Value::Map(_) | Value::Null) => context.r.error(
            name,
            format!("service `{}` has no `image`", shown(&name.text)),
            "add a line like `image: acme/api:2.4.0`",
        ),
        None => {}
    }
}

fn image(context: &mut Context<'_>, node: &Node, service: &mut Service) {
    if context.r.unset_at(node.place).is_empty() && context.r.is_absent(node) {
        return;
    }
    if let Some(text) = context.r.string("image", node) {
        match text.parse::<ImageRef>() {
            Ok(_) => service.image = text,
            Err(error) => context.r.error_bare(node, error.to_string()),
        }
    }
}

fn container_name(context: &mut Context<'_>, node: &Node) -> Option<String> {
    let leaves_out = context.leaves_out(node.place);
    let mut dropped = None;
    let named = context.r.parsed("container_name", node, |text| {
        let name = text.parse::<ServiceName>().map_err(|_| {
            format!(
                "`{}` may hold only letters, digits, `.`, `_` and `-`, and starts with a letter or digit",
                shown(text)
            )
        })?;
        if is_ferrys_container(name.as_str()) {
            if leaves_out {
                dropped = Some(name.as_str().to_owned());
                return Ok(None);
            }
            return Err(format!("`{name}` is a name that Ferry gives to helpers and replaced containers"));
        }
        Ok(Some(name.as_str().to_owned()))
    });
    context.dropped.extend(dropped.map(|name| format!("the name `{name}` of service `{}`", context.service)));
    named.flatten()
}

/// A list of texts without empty ones.
fn without_empty(context: &mut Context<'_>, what: &str, node: &Node, alone: bool) -> Vec<String> {
    let mut texts = context.r.strings(what, node, alone);
    let all = texts.len();
    texts.retain(|text| !text.is_empty());
    if texts.len() < all {
        context.r.needs_level(2);
    }
    texts
}

fn one_of(context: &mut Context<'_>, what: &str, node: &Node, known: &[&str]) -> Option<String> {
    if context.r.is_absent(node) {
        return None;
    }
    let text = context.r.string(what, node)?;
    if known.contains(&text.as_str()) {
        return Some(text);
    }
    let message = format!("`{}` is not supported for `{what}`", shown(&text));
    context.r.error(node, message, format!("it is one of {}", known.join(", ")));
    None
}

fn logging(context: &mut Context<'_>, node: &Node) -> Logging {
    let mut logging = Logging { driver: None, options: BTreeMap::new() };
    for (key, node) in context.r.map("logging", node) {
        match key.text.as_str() {
            "driver" => logging.driver = context.r.string("driver", node),
            "options" => logging.options = context.string_map("options", node),
            _ => context.r.unknown_key(key, "`logging`", &["driver", "options"]),
        }
    }
    logging
}

fn ulimits(context: &mut Context<'_>, node: &Node) -> BTreeMap<String, (i64, i64)> {
    let mut limits = BTreeMap::new();
    for (key, node) in context.r.names("ulimits", node) {
        let (mut soft, mut hard) = (None, None);
        if matches!(node.value, Value::Map(_)) {
            for (inner, node) in context.r.map("ulimits", node) {
                match inner.text.as_str() {
                    "soft" => soft = context.r.integer("soft", node, -1..=i64::MAX),
                    "hard" => hard = context.r.integer("hard", node, -1..=i64::MAX),
                    _ => context.r.unknown_key(inner, "an ulimit", &["soft", "hard"]),
                }
            }
            if node.get("soft").is_none() || node.get("hard").is_none() {
                let message = format!("ulimit `{}` needs `soft` and `hard`", shown(&key.text));
                context.r.error(key, message, "write `{ soft: 1024, hard: 4096 }` or one number");
            }
        } else {
            soft = context.r.integer(&key.text, node, -1..=i64::MAX);
            hard = soft;
        }
        if let (Some(soft), Some(hard)) = (soft, hard) {
            limits.insert(key.text.clone(), (soft, hard));
        }
    }
    limits
}

/// `name:address`, `name=address`, or a map of name to one or several addresses.
fn extra_hosts(context: &mut Context<'_>, node: &Node) -> Vec<String> {
    let mut pairs = Vec::new();
    if matches!(node.value, Value::Seq(_)) {
        for item in context.r.list("extra_hosts", node) {
            let Some(text) = context.r.string("extra_hosts", item) else { continue };
            match text.split_once('=').or_else(|| text.split_once(':')) {
                Some((name, address)) => pairs.push((name.to_owned(), address.to_owned(), item)),
                None => context.r.error(
                    item,
                    format!("`{}` names no address", shown(&text)),
                    "write `name=address`",
                ),
            }
        }
    } else {
        for (key, node) in context.r.names("extra_hosts", node) {
            for address in context.r.strings("extra_hosts", node, true) {
                pairs.push((key.text.clone(), address, node));
            }
        }
    }
    let mut hosts = Vec::new();
    for (name, address, node) in pairs {
        let bare = address.trim().trim_start_matches('[').trim_end_matches(']');
        if !name.trim().is_empty() && (bare == "host-gateway" || bare.parse::<std::net::IpAddr>().is_ok()) {
            hosts.push(format!("{}:{bare}", name.trim()));
        } else {
            let message = format!("`{}` is not an IP address", shown(&address));
            context.r.error(node, message, "write an IP address or `host-gateway`");
        }
    }
    hosts
}
