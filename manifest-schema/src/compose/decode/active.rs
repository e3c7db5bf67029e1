//! Which services start (Compose Specification, "profiles"), from the tree: those that do not are not looked at.

use crate::yaml::{Node, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Services that do not start.
#[derive(Debug, Default)]
pub(in crate::compose) struct LeftOut {
    /// With profiles none of which is switched on, and needed by none that starts.
    pub(in crate::compose) inactive: BTreeSet<String>,
    /// With no container: `scale: 0`.
    pub(in crate::compose) empty: BTreeSet<String>,
}

impl LeftOut {
    /// All of them.
    pub(in crate::compose) fn names(&self) -> BTreeSet<String> {
        self.inactive.union(&self.empty).cloned().collect()
    }
}

/// The services of `root` that do not start with these profiles, of which `*` is all.
pub(in crate::compose) fn left_out(root: &Node, active: &[&str]) -> LeftOut {
    let Some(Value::Map(entries)) = root.get("services").map(|node| &node.value) else {
        return LeftOut::default();
    };
    let services: BTreeMap<&str, &Node> =
        entries.iter().map(|(key, node)| (key.text.as_str(), node)).collect();
    let starts = |node: &Node| {
        // What is no list is a mistake, which is told.
        let profiles = node.get("profiles").filter(|node| matches!(node.value, Value::Seq(_)));
        let profiles = texts(profiles);
        profiles.is_empty() || profiles.iter().any(|name| active.contains(name) || active.contains(&"*"))
    };
    let mut kept: BTreeSet<&str> = BTreeSet::new();
    let mut next: Vec<&str> =
        services.iter().filter(|(_, node)| starts(node) && !is_empty(node)).map(|(name, _)| *name).collect();
    while let Some(name) = next.pop() {
        if let Some(node) = services.get(name)
            && kept.insert(name)
        {
            next.extend(needs(node));
        }
    }
    let mut left_out = LeftOut::default();
    for (name, node) in services {
        if is_empty(node) {
            left_out.empty.insert(name.to_owned());
        } else if !kept.contains(name) {
            left_out.inactive.insert(name.to_owned());
        }
    }
    left_out
}

/// The top-level entries that services which start name, by section; `default` is a network of each that names none.
pub(in crate::compose) fn used(
    root: &Node,
    left_out: &BTreeSet<String>,
) -> BTreeMap<&'static str, BTreeSet<String>> {
    let mut used: BTreeMap<&'static str, BTreeSet<String>> =
        ["networks", "volumes", "configs", "secrets"].map(|section| (section, BTreeSet::new())).into();
    let Some(Value::Map(services)) = root.get("services").map(|node| &node.value) else { return used };
    for (_, service) in services.iter().filter(|(key, _)| !left_out.contains(&key.text)) {
        for (section, names) in &mut used {
            let Some(node) = service.get(section) else { continue };
            match &node.value {
                Value::Map(entries) => names.extend(entries.iter().map(|(key, _)| key.text.clone())),
                Value::Seq(items) => names.extend(items.iter().filter_map(|item| named(item, section))),
                _ => {}
            }
        }
    }
    used.entry("networks").or_default().insert("default".to_owned());
    used
}

/// The entry that an item of a list names.
fn named(item: &Node, section: &str) -> Option<String> {
    let text = item.text().or_else(|| item.get("source").and_then(Node::text))?;
    let name = if section == "volumes" { text.split(':').next().unwrap_or_default() } else { text };
    Some(name.to_owned())
}

/// True where `scale`, or `deploy.replicas`, is 0.
fn is_empty(service: &Node) -> bool {
    let replicas = service.get("deploy").and_then(|deploy| deploy.get("replicas"));
    let count = service.get("scale").filter(|node| !matches!(node.value, Value::Null)).or(replicas);
    count.and_then(Node::text).is_some_and(|text| text.trim() == "0")
}

/// The services that this one cannot be without.
fn needs(service: &Node) -> Vec<&str> {
    let mut names: Vec<&str> = match service.get("depends_on").map(|node| &node.value) {
        Some(Value::Map(entries)) => {
            let required =
                |node: &Node| node.get("required").and_then(Node::text).is_none_or(|text| text != "false");
            entries.iter().filter(|(_, node)| required(node)).map(|(key, _)| key.text.as_str()).collect()
        }
        _ => texts(service.get("depends_on")),
    };
    for key in ["links", "volumes_from"] {
        names.extend(texts(service.get(key)).iter().filter_map(|text| text.split(':').next()));
    }
    for key in ["network_mode", "ipc", "pid"] {
        names.extend(service.get(key).and_then(Node::text).and_then(|text| text.strip_prefix("service:")));
    }
    names
}

/// The texts of a list, or the one text.
fn texts(node: Option<&Node>) -> Vec<&str> {
    match node {
        Some(Node { value: Value::Seq(items), .. }) => items.iter().filter_map(Node::text).collect(),
        Some(node) => node.text().into_iter().collect(),
        None => Vec::new(),
    }
}
