//! The order in which services start, and the hash that says whether one changed.

use super::model::{Project, Service};
use crate::{Digest, ServiceName};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The services in waves: those of one wave have all dependencies in former waves. Names inside a
/// wave are sorted. Dependencies on services that do not exist are left out; services in a circle,
/// which [`super::parse`] refuses, come last, together.
#[must_use]
pub fn start_order(project: &Project) -> Vec<Vec<ServiceName>> {
    // Of each service that has not started: how many it still waits for, and who waits for it.
    let mut waiting: BTreeMap<&ServiceName, usize> = BTreeMap::new();
    let mut dependents: BTreeMap<&ServiceName, Vec<&ServiceName>> = BTreeMap::new();
    for (name, service) in &project.services {
        let needs = service.depends_on.keys().filter(|need| project.services.contains_key(*need));
        let count = needs.map(|need| dependents.entry(need).or_default().push(name)).count();
        waiting.insert(name, count);
    }
    let mut waves = Vec::new();
    let mut ready: Vec<&ServiceName> =
        waiting.iter().filter(|(_, left)| **left == 0).map(|(name, _)| *name).collect();
    while !ready.is_empty() {
        let mut next = Vec::new();
        for name in &ready {
            waiting.remove(name);
            for dependent in dependents.remove(name).unwrap_or_default() {
                let Some(left) = waiting.get_mut(dependent) else { continue };
                *left -= 1;
                if *left == 0 {
                    next.push(dependent);
                }
            }
        }
        next.sort_unstable();
        waves.push(std::mem::replace(&mut ready, next).into_iter().cloned().collect());
    }
    if !waiting.is_empty() {
        waves.push(waiting.into_keys().cloned().collect());
    }
    waves
}

/// A circle of dependencies, its first service repeated at the end.
pub(super) fn circle(project: &Project) -> Option<Vec<&ServiceName>> {
    let waves = start_order(project);
    let last = waves.last()?;
    // Every service left over by `start_order` leads into a circle: follow it until one repeats.
    let left: BTreeSet<&ServiceName> = last.iter().collect();
    let next = |name: &ServiceName| {
        let (_, service) = project.services.get_key_value(name)?;
        service.depends_on.keys().find(|other| left.contains(other))
    };
    let start = project.services.keys().find(|name| left.contains(name))?;
    let mut path: Vec<&ServiceName> = vec![start];
    loop {
        let following = next(path.last()?)?;
        if let Some(at) = path.iter().position(|seen| *seen == following) {
            let mut circle = path.split_off(at);
            circle.push(following);
            return Some(circle);
        }
        path.push(following);
    }
}

/// SHA-256 in hexadecimal digits of what makes a container: the service as JSON with sorted keys,
/// and the `extra` pairs, for example the image's ID. When it starts (`depends_on`, `profiles`) is not
/// part of it.
#[must_use]
pub fn config_hash(service: &Service, extra: &[(&str, &str)]) -> String {
    let mut value = serde_json::to_value(service).unwrap_or_default();
    if let Value::Object(members) = &mut value {
        members.remove("depends_on");
        members.remove("profiles");
    }
    let extra: Vec<Value> = extra.iter().map(|(key, value)| Value::from(vec![*key, *value])).collect();
    let mut text = String::new();
    canonical(&Value::Array(vec![value, Value::Array(extra)]), &mut text);
    Digest::of(text.as_bytes()).hex()
}

/// JSON without spaces, keys sorted by their bytes.
fn canonical(value: &Value, output: &mut String) {
    match value {
        Value::Array(items) => {
            output.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    output.push(',');
                }
                canonical(item, output);
            }
            output.push(']');
        }
        Value::Object(members) => {
            output.push('{');
            let sorted: BTreeMap<&String, &Value> = members.iter().collect();
            for (index, (key, item)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    output.push(',');
                }
                let _ = write!(output, "{}:", Value::from(key.as_str()));
                canonical(item, output);
            }
            output.push('}');
        }
        scalar => {
            let _ = write!(output, "{scalar}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{Condition, Dependency};
    use super::*;

    fn project(edges: &[(&str, &[&str])]) -> Project {
        let mut project = Project::default();
        for (name, needs) in edges {
            let mut service = Service::default();
            for need in *needs {
                let dependency =
                    Dependency { condition: Condition::ServiceStarted, restart: false, required: true };
                service.depends_on.insert(need.parse().unwrap(), dependency);
            }
            project.services.insert(name.parse().unwrap(), service);
        }
        project
    }

    fn text(waves: &[Vec<ServiceName>]) -> String {
        let wave =
            |wave: &Vec<ServiceName>| wave.iter().map(ServiceName::as_str).collect::<Vec<_>>().join(",");
        waves.iter().map(wave).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn waves() {
        let site =
            project(&[("web", &["api", "cache"]), ("api", &["db", "cache"]), ("db", &[]), ("cache", &[])]);
        assert_eq!(text(&start_order(&site)), "cache,db | api | web");
        assert_eq!(circle(&site), None);
        assert_eq!(text(&start_order(&project(&[("a", &["gone"])]))), "a");
        assert!(start_order(&Project::default()).is_empty());
    }

    #[test]
    fn circles_are_found_and_do_not_hang() {
        let site = project(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"]), ("d", &[])]);
        assert_eq!(text(&start_order(&site)), "d | a,b,c");
        let names: Vec<&str> = circle(&site).unwrap().iter().map(|name| name.as_str()).collect();
        assert_eq!(names, ["b", "c", "b"]);
        assert_eq!(circle(&project(&[("a", &["a"])])).unwrap().len(), 2);
    }

    #[test]
    fn the_hash_changes_with_what_makes_a_container() {
        let mut service = Service { image: "a".to_owned(), ..Service::default() };
        let hash = config_hash(&service, &[("image", "sha256:1")]);
        assert_eq!(hash.len(), 64);
        service.place.line = 7;
        service.profiles.push("debug".to_owned());
        assert_eq!(config_hash(&service, &[("image", "sha256:1")]), hash);
        assert_ne!(config_hash(&service, &[("image", "sha256:2")]), hash);
        service.environment.insert("A".to_owned(), "1".to_owned());
        assert_ne!(config_hash(&service, &[("image", "sha256:1")]), hash);
    }
}
