//! Taking out of a project whatever does not start, or is used by nothing that does.

use super::{FileObject, MountSource, Project};
use crate::ServiceName;
use std::collections::{BTreeMap, BTreeSet};

impl Project {
    /// Takes out the services that have profiles, none of which is among the `active` ones (`*` is all of
    /// them), and returns their names. One that another service needs stays (Compose Specification, "profiles");
    /// `required: false` is no need, and such a dependency on what is not there goes too.
    pub fn leave_out_profiles(&mut self, active: &[&str]) -> Vec<ServiceName> {
        let is_active = |profile: &String| active.iter().any(|name| name == profile || *name == "*");
        let mut kept: Vec<ServiceName> = Vec::new();
        let mut next: Vec<ServiceName> = self
            .services
            .iter()
            .filter(|(_, service)| service.profiles.is_empty() || service.profiles.iter().any(is_active))
            .map(|(name, _)| name.clone())
            .collect();
        while let Some(name) = next.pop() {
            if !kept.contains(&name)
                && let Some(service) = self.services.get(&name)
            {
                let needed = service.depends_on.iter().filter(|(_, dependency)| dependency.required);
                next.extend(needed.map(|(name, _)| name.clone()));
                kept.push(name);
            }
        }
        let left_out: Vec<ServiceName> =
            self.services.keys().filter(|name| !kept.contains(name)).cloned().collect();
        self.services.retain(|name, _| kept.contains(name));
        for service in self.services.values_mut() {
            service.depends_on.retain(|name, dependency| dependency.required || kept.contains(name));
        }
        left_out
    }

    /// Takes out configs and secrets that no service uses, and returns the keys of both.
    pub fn leave_out_unused(&mut self) -> (Vec<String>, Vec<String>) {
        let services = || self.services.values();
        let configs = services().flat_map(|service| &service.configs);
        let secrets = services().flat_map(|service| &service.secrets);
        let configs: BTreeSet<String> = configs.map(|mount| mount.source.clone()).collect();
        let secrets: BTreeSet<String> = secrets.map(|mount| mount.source.clone()).collect();
        let unused = |objects: &BTreeMap<String, FileObject>, used: &BTreeSet<String>| {
            objects.keys().filter(|key| !used.contains(*key)).cloned().collect::<Vec<_>>()
        };
        let left_out = (unused(&self.configs, &configs), unused(&self.secrets, &secrets));
        self.configs.retain(|key, _| configs.contains(key));
        self.secrets.retain(|key, _| secrets.contains(key));
        left_out
    }
}

impl Project {
    /// Takes out networks and volumes that no service uses, as Docker Compose does; true where one of them would have to
    /// be on the host already.
    pub fn leave_out_unused_engine_objects(&mut self) -> bool {
        let services = || self.services.values();
        let networks: BTreeSet<String> =
            services().flat_map(|service| service.networks.keys().cloned()).collect();
        let volumes: BTreeSet<String> = services()
            .flat_map(|service| &service.mounts)
            .filter_map(|mount| match &mount.source {
                MountSource::Volume(key) => Some(key.clone()),
                _ => None,
            })
            .collect();
        let is_missed =
            self.networks.iter().any(|(key, network)| network.external && !networks.contains(key))
                || self.volumes.iter().any(|(key, volume)| volume.external && !volumes.contains(key));
        self.networks.retain(|key, _| networks.contains(key));
        self.volumes.retain(|key, _| volumes.contains(key));
        is_missed
    }
}
