//! `extends` within one file (Compose Specification, services, "extends" and "Merge").
//!
//! Maps are merged, lists joined, and what says one thing as a whole (`command`, `entrypoint`, the
//! health check's `test`) is replaced. It works on the tree, so that every value keeps its place.

use crate::yaml::{Key, Node, Reader, Value, nearest, shown};

/// A chain of `extends` longer than this is a mistake; circles end here too.
const MAX_CHAIN: usize = 32;

/// Nodes that merging may make in one file: chains of services that extend each other double.
const MAX_NODES: usize = 1_000_000;

/// Keys whose list form `NAME=value` or `NAME` means the same as a map.
const PAIRS: [&str; 9] = [
    "environment",
    "labels",
    "sysctls",
    "extra_hosts",
    "depends_on",
    "networks",
    "annotations",
    "options",
    "driver_opts",
];

/// The service with all that it extends, or `None` where it extends nothing or wrongly.
pub(super) fn resolve(r: &mut Reader<'_>, services: &Node, name: &str, made: &mut usize) -> Option<Node> {
    let mut chain: Vec<(&str, &Node)> = Vec::new();
    let mut current = name;
    loop {
        let node = services.get(current)?;
        chain.push((current, node));
        let Some(extends) = node.get("extends") else { break };
        let base = base_name(r, extends, chain.len() == 1)?;
        let Some((known, _)) = entries(services).iter().find(|(key, _)| key.text == base) else {
            if chain.len() == 1 {
                let hint = match nearest(&base, entries(services).iter().map(|(key, _)| key.text.as_str())) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "add that service to this file".to_owned(),
                };
                r.error(extends, format!("service `{}` does not exist", shown(&base)), hint);
            }
            return None;
        };
        if chain.iter().any(|(seen, _)| *seen == known.text) || chain.len() > MAX_CHAIN {
            let mut circle: Vec<&str> = chain.iter().map(|(name, _)| *name).collect();
            circle.push(&known.text);
            let message = format!("services extend each other in a circle: {}", circle.join(" → "));
            r.error(extends, message, "delete one `extends`");
            return None;
        }
        current = &known.text;
    }
    let mut chain = chain.into_iter().rev();
    let (_, base) = chain.next()?;
    let mut merged = without_extends(base);
    let mut any = false;
    for (_, node) in chain {
        *made = made.saturating_add(size(node)).saturating_add(size(&merged));
        if *made > MAX_NODES {
            r.error(node, format!("`extends` makes more than {MAX_NODES} values"), "extend fewer services");
            return None;
        }
        merged = merge("", merged, without_extends(node));
        any = true;
    }
    any.then_some(merged)
}

fn base_name(r: &mut Reader<'_>, extends: &Node, report: bool) -> Option<String> {
    match &extends.value {
        Value::Str(name) => Some(name.clone()),
        Value::Map(_) => {
            if let Some(file) = extends.get("file") {
                if report {
                    r.error(
                        file,
                        "`extends` from another file is not supported",
                        "copy that service into this file",
                    );
                }
                return None;
            }
            match extends.get("service").map(|node| &node.value) {
                Some(Value::Str(name)) => Some(name.clone()),
                _ => {
                    if report {
                        r.error(extends, "`extends` names no service", "write `extends: { service: base }`");
                    }
                    None
                }
            }
        }
        _ => {
            if report {
                let message = format!("expected a service for `extends`, found {}", extends.kind());
                r.error(extends, message, "write `extends: { service: base }`");
            }
            None
        }
    }
}

fn entries(node: &Node) -> &[(Key, Node)] {
    match &node.value {
        Value::Map(entries) => entries,
        _ => &[],
    }
}

fn size(node: &Node) -> usize {
    match &node.value {
        Value::Seq(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Map(entries) => 1 + entries.iter().map(|(_, node)| size(node)).sum::<usize>(),
        _ => 1,
    }
}

fn without_extends(node: &Node) -> Node {
    let mut copy = node.clone();
    if let Value::Map(entries) = &mut copy.value {
        entries.retain(|(key, _)| key.text != "extends");
    }
    copy
}

fn merge(what: &str, base: Node, over: Node) -> Node {
    let (line, column) = (over.line, over.column);
    let (base, over) = if PAIRS.contains(&what) && base.kind() != over.kind() {
        (as_map(base), as_map(over))
    } else {
        (base, over)
    };
    let value = match (base.value, over.value) {
        (Value::Map(base), Value::Map(over)) => Value::Map(merge_entries(base, over)),
        (Value::Seq(mut items), Value::Seq(over)) if !matches!(what, "command" | "entrypoint" | "test") => {
            // Joined lists of thousands of items would take minutes to compare.
            let small = items.len().saturating_mul(over.len()) <= 1_000_000;
            for item in over {
                if !small || !items.iter().any(|seen| seen.value == item.value) {
                    items.push(item);
                }
            }
            Value::Seq(items)
        }
        (base, Value::Null) if what.is_empty() => base,
        (_, over) => over,
    };
    Node { value, line, column }
}

fn merge_entries(base: Vec<(Key, Node)>, over: Vec<(Key, Node)>) -> Vec<(Key, Node)> {
    let mut over: Vec<Option<(Key, Node)>> = over.into_iter().map(Some).collect();
    let position: std::collections::HashMap<String, usize> = over
        .iter()
        .enumerate()
        .filter_map(|(index, entry)| entry.as_ref().map(|(key, _)| (key.text.clone(), index)))
        .collect();
    let mut merged = Vec::with_capacity(base.len() + over.len());
    for (key, node) in base {
        let twin = position.get(&key.text).and_then(|index| over.get_mut(*index)).and_then(Option::take);
        merged.push(match twin {
            Some((over_key, over_node)) => {
                let node = merge(&key.text, node, over_node);
                (over_key, node)
            }
            None => (key, node),
        });
    }
    merged.extend(over.into_iter().flatten());
    merged
}

/// `[A=1, B]` as `{A: "1", B: }`.
fn as_map(node: Node) -> Node {
    let Value::Seq(items) = node.value else { return node };
    let mut entries: Vec<(Key, Node)> = Vec::new();
    for item in items {
        let (line, column) = (item.line, item.column);
        let Some(text) = item.text() else { continue };
        let (key, value) = match text.split_once('=').or_else(|| text.split_once(':')) {
            Some((key, value)) => (key.to_owned(), Value::Str(value.to_owned())),
            None => (text.to_owned(), Value::Null),
        };
        entries.push((Key { text: key, line, column }, Node { value, line, column }));
    }
    Node { value: Value::Map(entries), line: node.line, column: node.column }
}
