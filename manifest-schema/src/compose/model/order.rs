//! The order in which services start.

use super::{Project, Service};
use crate::ServiceName;
use std::collections::{BTreeMap, BTreeSet};

/// The services in waves: those of one wave have all dependencies in former waves. Names inside a
/// wave are sorted. Dependencies on services that do not exist are left out; services in a circle,
/// which [`crate::compose::parse`] refuses, come last, together.
#[must_use]
pub fn start_order(project: &Project) -> Vec<Vec<ServiceName>> {
    let mut waves = Vec::new();
    let mut started: BTreeSet<&ServiceName> = BTreeSet::new();
    let mut waiting: BTreeMap<&ServiceName, &Service> = project.services.iter().collect();
    while !waiting.is_empty() {
        let ready: Vec<&ServiceName> = waiting
            .iter()
            .filter(|(_, service)| {
                let mut needs = service.depends_on.keys().filter(|name| project.services.contains_key(*name));
                needs.all(|name| started.contains(name))
            })
            .map(|(name, _)| *name)
            .collect();
        if ready.is_empty() {
            waves.push(waiting.into_keys().cloned().collect());
            break;
        }
        for name in &ready {
            waiting.remove(name);
        }
        waves.push(ready.iter().map(|name| (*name).clone()).collect());
        started.extend(ready);
    }
    waves
}

/// A circle of dependencies, its first service repeated at the end.
pub(in crate::compose) fn circle(project: &Project) -> Option<Vec<&ServiceName>> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::model::{Condition, Dependency};

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
}
