//! Which services a service waits for (Compose Specification, services, "depends_on"), in words or
//! because it lives in another one's network.

use super::context::{Context, Target};
use crate::ServiceName;
use crate::compose::model::{Condition, Dependency};
use crate::diagnostic::shown;
use crate::yaml::{Key, Node, Value};
use std::collections::BTreeMap;

/// `network_mode`, `ipc` and `pid`: a word, or `service:name`, which is also a dependency.
pub(super) fn shared(
    context: &mut Context<'_>,
    what: &str,
    node: &Node,
    depends_on: &mut BTreeMap<ServiceName, Dependency>,
) -> Option<String> {
    if context.r.is_absent(node) {
        return None;
    }
    let text = context.r.string(what, node)?;
    if let Some(name) = text.strip_prefix("service:") {
        context.refer(Target::Service, name, node.place);
        needs(depends_on, name);
        return Some(text);
    }
    let known: &[&str] = match what {
        "network_mode" => &["none", "host", "bridge"],
        "ipc" => &["none", "host", "private", "shareable"],
        _ => &["host"],
    };
    if known.contains(&text.as_str()) {
        return Some(text);
    }
    // A container, or a network, that is on the host already.
    let (other, is_known) = match text.strip_prefix("container:") {
        Some(name) => (name, true),
        None => (text.as_str(), what == "network_mode"),
    };
    if is_known && other.parse::<ServiceName>().is_ok() {
        context.r.needs_level(2);
        return Some(text);
    }
    let message = format!("`{}` is not supported for `{what}`", shown(&text));
    let hint = format!("it is one of {}, service:NAME, container:NAME", known.join(", "));
    context.r.error(node, message, hint);
    None
}

pub(super) fn dependencies(
    context: &mut Context<'_>,
    node: &Node,
    depends_on: &mut BTreeMap<ServiceName, Dependency>,
) {
    let default = Dependency { condition: Condition::ServiceStarted, restart: false, required: true };
    if matches!(node.value, Value::Seq(_)) {
        for item in context.r.list("depends_on", node) {
            let Some(name) = context.r.string("depends_on", item) else { continue };
            context.refer(Target::Service, &name, item.place);
            depends_on.extend(name.parse().map(|name| (name, default.clone())));
        }
        return;
    }
    for (key, node) in context.r.names("depends_on", node) {
        let mut dependency = default.clone();
        for (inner, node) in context.r.map(&format!("depends_on.{}", shown(&key.text)), node) {
            match inner.text.as_str() {
                "condition" => match context.r.string("condition", node).as_deref() {
                    Some("service_started") | None => {}
                    Some("service_healthy") => dependency.condition = Condition::ServiceHealthy,
                    Some("service_completed_successfully") => {
                        dependency.condition = Condition::ServiceCompletedSuccessfully;
                    }
                    Some(other) => context.r.error(
                        node,
                        format!("`{}` is not a condition", shown(other)),
                        "it is one of service_started, service_healthy, service_completed_successfully",
                    ),
                },
                "restart" => dependency.restart = context.r.boolean("restart", node).unwrap_or(false),
                "required" => dependency.required = context.r.boolean("required", node).unwrap_or(true),
                _ => context.r.unknown_key(inner, "`depends_on`", &["condition", "restart", "required"]),
            }
        }
        let place = key.place;
        if dependency.required {
            context.refer(Target::Service, &key.text, place);
        } else {
            context.refer_to_optional(&key.text, place);
        }
        if let Ok(name) = key.text.parse::<ServiceName>() {
            // Whoever lives in the other's network needs it, whatever stands here.
            dependency.required |= depends_on.get(&name).is_some_and(|other| other.required);
            depends_on.insert(name, dependency);
        }
    }
}

/// The service cannot be without `name`.
pub(super) fn needs(depends_on: &mut BTreeMap<ServiceName, Dependency>, name: &str) {
    let Ok(name) = name.parse::<ServiceName>() else { return };
    let started = Dependency { condition: Condition::ServiceStarted, restart: true, required: true };
    depends_on.entry(name).and_modify(|dependency| dependency.required = true).or_insert(started);
}

/// `links: [db]` says no more than `depends_on` does; `db:alias` gives the other service one more name on its
/// networks.
pub(super) fn links(
    context: &mut Context<'_>,
    key: &Key,
    node: &Node,
    depends_on: &mut BTreeMap<ServiceName, Dependency>,
) {
    for item in context.r.list("links", node) {
        let Some(text) = context.r.string("links", item) else { continue };
        let (name, alias) = text.split_once(':').unwrap_or((&text, &text));
        context.refer(Target::Service, name, item.place);
        needs(depends_on, name);
        if alias != name {
            context.link_aliases.push((name.to_owned(), alias.to_owned()));
        }
    }
    context.r.warn(
        key,
        "`links` is read as `depends_on`",
        "services on one network reach each other by name",
    );
}
