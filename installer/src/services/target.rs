//! The desired state of a host: containers in their start order, networks and volumes. Pure data, computed
//! from the Compose project and the folder of the release.

use crate::engine::container_spec::ContainerSpec;
use crate::engine::label;
use crate::engine::networks::NetworkSpec;
use crate::engine::volumes::VolumeSpec;
use crate::services::Replica;
use crate::services::network_names::definition;
use crate::services::order::{Order, order};
use crate::services::ranges;
use crate::services::spec::{Placement, SpecError, container_spec, namespace_owners, resource_name};
use manifest_schema::compose::model::Project;
use manifest_schema::{Digest, ProjectName, ReleaseId, ServiceName};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroU16;

/// The wanted state of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The project.
    pub project: ProjectName,
    /// The release.
    pub release: ReleaseId,
    /// The name of the release's folder on this host.
    pub folder: String,
    /// Names this attempt.
    pub attempt: String,
    /// Containers of services in the order in which they start.
    pub services: Vec<ServiceTarget>,
    /// Networks that the services use.
    pub networks: Vec<NetworkSpec>,
    /// Volumes that the services use.
    pub volumes: Vec<VolumeSpec>,
    /// Services that had done their work when they were installed, and ended.
    pub done: BTreeSet<String>,
}

/// The wanted state of one container of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceTarget {
    /// The service, and which of its containers.
    pub replica: Replica,
    /// Its container.
    pub container: ContainerSpec,
    /// Services whose namespaces it shares.
    pub shares: BTreeSet<String>,
    /// Services after whose replacement it must be restarted (`depends_on.restart`).
    pub restart_after: BTreeSet<String>,
}

impl ServiceTarget {
    /// Tells whether the service has changed.
    #[must_use]
    pub fn config_hash(&self) -> &str {
        self.container.labels.get(label::CONFIG_HASH).map_or("", String::as_str)
    }
}

impl Target {
    /// The target for `project`, named `name`, put where `placement` says.
    ///
    /// # Errors
    /// When the project contradicts itself or needs something the placement lacks.
    pub fn new(name: &ProjectName, project: &Project, placement: &Placement) -> Result<Self, SpecError> {
        let mut services = Vec::new();
        for service_name in start_order(project)? {
            let Some(service) = project.services.get(&service_name) else { continue };
            for number in (1..=service.containers()).filter_map(NonZeroU16::new) {
                let replica = Replica::new(service_name.clone(), number);
                services.push(ServiceTarget {
                    container: container_spec(name, &replica, project, placement)?,
                    shares: namespace_owners(service),
                    restart_after: service
                        .depends_on
                        .iter()
                        .filter(|(_, dependency)| dependency.restart)
                        .map(|(name, _)| name.to_string())
                        .collect(),
                    replica,
                });
            }
        }
        Ok(Self {
            project: name.clone(),
            release: placement.release.clone(),
            folder: placement.folder.clone(),
            attempt: placement.attempt.clone(),
            networks: with_room(networks(name, project, placement), &services),
            volumes: volumes(name, project, placement),
            services,
            done: BTreeSet::new(),
        })
    }

    /// The desired state of one replica; `None` where the project does not have it.
    #[must_use]
    pub fn replica(&self, replica: &Replica) -> Option<&ServiceTarget> {
        self.services.iter().find(|service| service.replica == *replica)
    }

    /// Names of the networks in the engine.
    #[must_use]
    pub fn network_names(&self) -> BTreeSet<String> {
        self.networks.iter().map(|network| network.name.clone()).collect()
    }

    /// The volume with this key in the Compose file.
    #[must_use]
    pub fn volume(&self, key: &str) -> Option<&VolumeSpec> {
        self.volumes.iter().find(|volume| volume.key == key)
    }
}

/// Services, each after all it depends on, otherwise by name.
fn start_order(project: &Project) -> Result<Vec<ServiceName>, SpecError> {
    let names: Vec<&ServiceName> = project.services.keys().collect();
    let mut needs = Vec::new();
    for (name, service) in &project.services {
        let wanted = service
            .depends_on
            .iter()
            .filter(|(other, dependency)| dependency.required || project.services.contains_key(*other))
            .map(|(other, _)| other.to_string())
            .chain(namespace_owners(service));
        let position = |other: String| {
            let position = names.iter().position(|known| known.as_str() == other);
            position.ok_or(SpecError::Undefined { service: name.clone(), kind: "service", key: other })
        };
        needs.push(wanted.map(position).collect::<Result<Vec<usize>, SpecError>>()?);
    }
    let Order { items, free } = order(&needs);
    let mut ordered = items.iter().filter_map(|item| names.get(*item).copied().cloned());
    let started: Vec<ServiceName> = ordered.by_ref().take(free).collect();
    let mut circle: Vec<String> = ordered.map(|name| name.to_string()).collect();
    circle.sort();
    if circle.is_empty() { Ok(started) } else { Err(SpecError::Cycle(circle.join(", "))) }
}

fn own_labels(
    name: &ProjectName,
    placement: &Placement,
    user: &BTreeMap<String, String>,
    kind: &str,
    key: &str,
    definition: String,
) -> BTreeMap<String, String> {
    let mut labels = user.clone();
    let own = [
        (label::PROJECT, name.to_string()),
        (kind, key.to_owned()),
        ("com.docker.compose.version", placement.version.clone()),
        (label::ATTEMPT, placement.attempt.clone()),
        (label::DEFINITION, definition),
    ];
    labels.extend(own.map(|(key, value)| (key.to_owned(), value)));
    labels
}

fn networks(name: &ProjectName, project: &Project, placement: &Placement) -> Vec<NetworkSpec> {
    let used: BTreeSet<&String> =
        project.services.values().flat_map(|service| service.networks.keys()).collect();
    let of_host: BTreeSet<&str> =
        project.services.values().filter_map(|service| service.network_of_host()).collect();
    let of_host = of_host.into_iter().map(|name| NetworkSpec {
        name: name.to_owned(),
        key: name.to_owned(),
        external: true,
        ..NetworkSpec::default()
    });
    let own = project
        .networks
        .iter()
        .filter(|(key, _)| used.contains(key))
        .filter_map(|(key, network)| Some((placement.networks.get(key)?.clone(), key, network)))
        .map(|(real, key, network)| NetworkSpec {
            name: real,
            key: key.clone(),
            external: network.external,
            driver: network.driver.clone(),
            options: network.driver_opts.clone(),
            internal: network.internal,
            attachable: network.attachable,
            ipv6: network.enable_ipv6,
            labels: own_labels(name, placement, &network.labels, label::NETWORK, key, definition(network)),
            ipam_driver: network.ipam_driver.clone(),
            ipam_options: network.ipam_options.clone(),
            ipam: network.ipam.clone(),
        });
    own.chain(of_host).collect()
}

/// The networks, with IPv4 addresses for the containers that have none of their own.
fn with_room(mut networks: Vec<NetworkSpec>, services: &[ServiceTarget]) -> Vec<NetworkSpec> {
    for network in networks.iter_mut().filter(|network| !network.external) {
        let attached = services.iter().flat_map(|service| &service.container.networks);
        let attached = attached.filter(|attachment| attachment.network == network.name);
        let (own, others): (Vec<_>, Vec<_>) = attached.partition(|attachment| attachment.ipv4.is_some());
        let own = own.iter().filter_map(|attachment| attachment.ipv4.as_ref()?.parse().ok());
        let fixed: Vec<IpAddr> = own.collect();
        ranges::set_apart(&mut network.ipam, &fixed, others.len());
    }
    networks
}

fn volumes(name: &ProjectName, project: &Project, placement: &Placement) -> Vec<VolumeSpec> {
    project
        .volumes
        .iter()
        .map(|(key, volume)| VolumeSpec {
            name: resource_name(name, key, volume.name.as_deref()),
            key: key.clone(),
            external: volume.external,
            driver: volume.driver.clone(),
            options: volume.driver_opts.clone(),
            labels: own_labels(
                name,
                placement,
                &volume.labels,
                label::VOLUME,
                key,
                Digest::of(&serde_json::to_vec(volume).unwrap_or_default()).short(),
            ),
            keeps_root: false,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use manifest_schema::compose::model::{Condition, Dependency, Service};

    fn project(services: &[(&str, &[&str])]) -> Project {
        let dependency =
            |required| Dependency { condition: Condition::ServiceStarted, restart: false, required };
        Project {
            services: services
                .iter()
                .map(|(name, needs)| {
                    let service = Service {
                        depends_on: needs
                            .iter()
                            .map(|other| match other.strip_suffix('?') {
                                Some(other) => (other.parse().unwrap(), dependency(false)),
                                None => (other.parse().unwrap(), dependency(true)),
                            })
                            .collect(),
                        ..Default::default()
                    };
                    (name.parse().unwrap(), service)
                })
                .collect(),
            ..Default::default()
        }
    }

    fn order(services: &[(&str, &[&str])]) -> Result<String, SpecError> {
        let names = start_order(&project(services))?;
        Ok(names.iter().map(ServiceName::as_str).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn services_start_after_what_they_depend_on() {
        assert_eq!(order(&[("a", &["z"]), ("m", &["a", "z"]), ("z", &[])]).unwrap(), "z a m");
        assert_eq!(order(&[("a", &["missing?"])]).unwrap(), "a");
        assert!(matches!(order(&[("a", &["missing"])]), Err(SpecError::Undefined { .. })));
        assert_eq!(
            order(&[("a", &["b"]), ("b", &["a"]), ("c", &[])]),
            Err(SpecError::Cycle("a, b".to_owned()))
        );
    }

    #[test]
    fn sharing_a_namespace_is_a_dependency() {
        let mut project = project(&[("a", &[]), ("z", &[])]);
        project.services.get_mut(&"a".parse().unwrap()).unwrap().network_mode = Some("service:z".to_owned());
        let names = start_order(&project).unwrap();
        assert_eq!(names.first().unwrap().as_str(), "z");
    }
}
