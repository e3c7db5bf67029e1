//! One value of a Compose file over an earlier one (Compose Specification, "Merge and override").
//!
//! Maps are merged, lists joined, and what says one thing as a whole is replaced. It works on the tree,
//! before anything is typed, so that every value keeps its place in the file that it comes from.

use crate::yaml::{Key, Merging, Node, Value};
use std::collections::HashMap;

/// The place of a merge: the keys from the root down, `["services", "web", "ports"]`.
pub(super) type Path<'p> = [&'p str];

/// How two values at one place become one.
enum Rule {
    /// Maps merged, lists joined with equal texts once, the rest replaced.
    Usual,
    /// The later one alone.
    Replace,
    /// A list of `NAME=value` is the same as a map.
    Pairs,
    /// A single value is a list of one; entries with the same key are replaced.
    Keyed(fn(&Node) -> Option<String>),
}

fn rule(path: &Path<'_>, base: &Node, over: &Node) -> Rule {
    match path {
        ["services", _, "command" | "entrypoint"] | ["services", _, "healthcheck", "test"] => Rule::Replace,
        ["services", _, "logging"]
            if driver(base).is_some() && driver(over).is_some_and(|d| Some(d) != driver(base)) =>
        {
            Rule::Replace
        }
        [
            "services",
            _,
            "environment" | "labels" | "annotations" | "sysctls" | "depends_on" | "networks" | "extra_hosts",
        ]
        | ["services", _, "deploy", "labels"]
        | ["networks" | "volumes" | "configs" | "secrets", _, "labels" | "driver_opts"] => Rule::Pairs,
        ["services", _, "volumes"] => Rule::Keyed(mount_target),
        ["services", _, "devices"] => Rule::Keyed(device_target),
        ["services", _, "configs"] => Rule::Keyed(|node| file_target(node, "")),
        ["services", _, "secrets"] => Rule::Keyed(|node| file_target(node, "/run/secrets")),
        ["services", _, "ports"] => Rule::Keyed(port_key),
        ["services", _, "tmpfs"] => Rule::Keyed(before_colon),
        ["services", _, "env_file"] => Rule::Keyed(|node| member_or_text(node, "path")),
        ["services", _, "dns" | "dns_search" | "dns_opt" | "label_file"] => Rule::Keyed(text),
        ["networks", _, "ipam", "config"] => Rule::Keyed(|node| member_or_text(node, "subnet")),
        _ => Rule::Usual,
    }
}

fn driver(node: &Node) -> Option<&str> {
    node.get("driver").and_then(Node::text)
}

/// `over` over `base` at `path`; `None` where `over` takes the value away.
pub(super) fn merge(path: &mut Vec<&str>, base: Node, over: Node) -> Option<Node> {
    match over.merging {
        Merging::Reset => return None,
        Merging::Override => return Some(Node { merging: Merging::Usual, ..over }),
        Merging::Usual => {}
    }
    let rule = rule(path, &base, &over);
    let place = over.place;
    let (base, over) = match rule {
        Rule::Pairs => (as_map(path, base), as_map(path, over)),
        Rule::Keyed(_) => (as_list(base), as_list(over)),
        Rule::Usual | Rule::Replace => (base, over),
    };
    let value = match (base.value, over.value, rule) {
        (_, over @ (Value::Seq(_) | Value::Map(_)), Rule::Replace) => over,
        (Value::Map(base), Value::Map(over), _) => Value::Map(entries(path, base, over)),
        (Value::Seq(base), Value::Seq(over), Rule::Keyed(key)) => Value::Seq(joined(base, over, key)),
        (Value::Seq(base), Value::Seq(over), _) => Value::Seq(joined(base, over, text)),
        // Nothing says nothing about what is there already.
        (base @ (Value::Map(_) | Value::Seq(_)), Value::Null, _) => base,
        (_, over, _) => over,
    };
    Some(Node { value, place, merging: Merging::Usual })
}

fn entries(path: &Path<'_>, base: Vec<(Key, Node)>, over: Vec<(Key, Node)>) -> Vec<(Key, Node)> {
    let mut over: Vec<Option<(Key, Node)>> = over.into_iter().map(Some).collect();
    let position: HashMap<String, usize> = over
        .iter()
        .enumerate()
        .filter_map(|(index, entry)| entry.as_ref().map(|(key, _)| (key.text.clone(), index)))
        .collect();
    let mut merged = Vec::with_capacity(base.len() + over.len());
    for (key, node) in base {
        let twin = position.get(&key.text).and_then(|index| over.get_mut(*index)).and_then(Option::take);
        let Some((over_key, over_node)) = twin else {
            merged.push((key, node));
            continue;
        };
        let mut below: Vec<&str> = path.to_vec();
        below.push(&over_key.text);
        if let Some(node) = merge(&mut below, node, over_node) {
            merged.push((over_key, node));
        }
    }
    merged.extend(over.into_iter().flatten().filter(|(_, node)| node.merging != Merging::Reset));
    merged
}

/// The items of both; one with the key of an earlier one takes its place.
fn joined(mut items: Vec<Node>, over: Vec<Node>, key: fn(&Node) -> Option<String>) -> Vec<Node> {
    let mut positions: HashMap<String, usize> = HashMap::new();
    for (index, item) in items.iter().enumerate() {
        if let Some(key) = key(item) {
            positions.insert(key, index);
        }
    }
    for item in over {
        match key(&item).and_then(|key| positions.get(&key)).and_then(|index| items.get_mut(*index)) {
            Some(twin) => *twin = item,
            None => items.push(item),
        }
    }
    items
}

/// Takes away what `!reset` marks where there is nothing before it.
pub(super) fn without_resets(node: &mut Node) {
    node.merging = Merging::Usual;
    match &mut node.value {
        Value::Map(entries) => {
            entries.retain(|(_, node)| node.merging != Merging::Reset);
            entries.iter_mut().for_each(|(_, node)| without_resets(node));
        }
        Value::Seq(items) => {
            items.retain(|node| node.merging != Merging::Reset);
            items.iter_mut().for_each(without_resets);
        }
        _ => {}
    }
}

/// A single value as a list of one.
fn as_list(node: Node) -> Node {
    if node.text().is_none() {
        return node;
    }
    let (place, merging) = (node.place, node.merging);
    Node { value: Value::Seq(vec![node]), place, merging }
}

/// `[A=1, B]` as `{A: "1", B: }`.
fn as_map(path: &Path<'_>, node: Node) -> Node {
    let Value::Seq(items) = node.value else { return node };
    let usual = |value: Value, place| Node { value, place, merging: Merging::Usual };
    let mut entries: Vec<(Key, Node)> = Vec::new();
    let mut positions: HashMap<String, usize> = HashMap::new();
    for item in items {
        let place = item.place;
        let Some(text) = item.text() else { continue };
        let hosts = path.last() == Some(&"extra_hosts");
        let split = text.split_once('=').or_else(|| if hosts { text.split_once(':') } else { None });
        let (key, value) = match split {
            Some((key, value)) => (key.to_owned(), Value::Str(value.to_owned())),
            // A name in a list says the condition that a list stands for.
            None if path.last() == Some(&"depends_on") => {
                let started = usual(Value::Str("service_started".to_owned()), place);
                let key = Key { text: "condition".to_owned(), place };
                (text.to_owned(), Value::Map(vec![(key, started)]))
            }
            None => (text.to_owned(), Value::Null),
        };
        match positions.get(&key).and_then(|index| entries.get_mut(*index)) {
            // The last one counts, as where a list is read alone.
            Some((seen, node)) if !hosts => {
                seen.place = place;
                *node = usual(value, place);
            }
            Some((_, seen)) => {
                let addresses = as_list(std::mem::replace(seen, usual(Value::Null, place)));
                let mut addresses = if let Value::Seq(items) = addresses.value { items } else { Vec::new() };
                addresses.push(usual(value, place));
                *seen = usual(Value::Seq(addresses), place);
            }
            None => {
                positions.insert(key.clone(), entries.len());
                entries.push((Key { text: key, place }, usual(value, place)));
            }
        }
    }
    Node { value: Value::Map(entries), place: node.place, merging: node.merging }
}

fn text(node: &Node) -> Option<String> {
    node.text().map(str::to_owned)
}

fn member(node: &Node, key: &str) -> Option<String> {
    node.get(key).and_then(text)
}

fn member_or_text(node: &Node, key: &str) -> Option<String> {
    text(node).or_else(|| member(node, key))
}

fn before_colon(node: &Node) -> Option<String> {
    node.text().map(|text| text.split(':').next().unwrap_or_default().to_owned())
}

/// `source:target:options`, `target`, or the long form.
fn mount_target(node: &Node) -> Option<String> {
    let target = match node.text() {
        Some(text) => text.split(':').nth(1).unwrap_or(text).to_owned(),
        None => member(node, "target")?,
    };
    Some(crate::paths::normal(&target))
}

fn device_target(node: &Node) -> Option<String> {
    match node.text() {
        Some(text) => text.split(':').nth(1).or_else(|| text.split(':').next()).map(str::to_owned),
        None => member(node, "target").or_else(|| member(node, "source")),
    }
}

/// Where a config or secret is mounted; by default it is its name.
fn file_target(node: &Node, folder: &str) -> Option<String> {
    let target = text(node).or_else(|| member(node, "target")).or_else(|| member(node, "source"))?;
    let full = if target.starts_with('/') { target } else { format!("{folder}/{target}") };
    Some(crate::paths::normal(&full))
}

/// Address, port of the host, port of the container, and protocol.
fn port_key(node: &Node) -> Option<String> {
    let (ports, protocol) = match node.text() {
        Some(text) => {
            let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
            (ports.to_owned(), protocol.to_owned())
        }
        None => {
            let parts = [member(node, "host_ip"), member(node, "published"), member(node, "target")];
            let ports: Vec<String> = parts.into_iter().flatten().collect();
            (ports.join(":"), member(node, "protocol").unwrap_or_else(|| "tcp".to_owned()))
        }
    };
    Some(format!("{ports}/{protocol}"))
}
