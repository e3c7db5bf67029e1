//! Networks of a project.

use super::{Engine, EngineError, Result, checked, failure};
use bollard::models::{
    EndpointIpamConfig, EndpointSettings, Ipam, IpamConfig, NetworkConnectRequest, NetworkCreateRequest,
};
use bollard::query_parameters::{InspectNetworkOptions, ListNetworksOptionsBuilder};
use manifest_schema::compose::model::Subnet;
use std::collections::{BTreeMap, HashMap};

/// A network to be created.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkSpec {
    /// Name in the engine, `shop_default`.
    pub name: String,
    /// Key in the Compose file.
    pub key: String,
    /// It must exist already, and is never created or removed.
    pub external: bool,
    /// Driver; `None`: bridge.
    pub driver: Option<String>,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// No route out.
    pub internal: bool,
    /// Containers outside the project may attach.
    pub attachable: bool,
    pub ipv6: bool,
    pub labels: BTreeMap<String, String>,
    pub ipam_driver: Option<String>,
    /// Options of the address driver.
    pub ipam_options: BTreeMap<String, String>,
    /// Ranges of addresses.
    pub ipam: Vec<Subnet>,
}

/// A network that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkFacts {
    /// Name in the engine.
    pub name: String,
    pub id: String,
    pub labels: BTreeMap<String, String>,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// Ranges of addresses: `172.28.0.0/16`.
    pub subnets: Vec<String>,
    /// Number of attached, running containers; 0 where the engine's list leaves it out.
    pub containers: usize,
}

/// How a container is attached to a network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attachment {
    /// Name of the network in the engine.
    pub network: String,
    /// Names by which others on the network find the container.
    pub aliases: Vec<String>,
    pub ipv4: Option<String>,
    pub ipv6: Option<String>,
    pub link_local: Vec<String>,
    /// MAC address; engines before 25 do not know it here.
    pub mac_address: Option<String>,
    /// Options of the network's driver.
    pub options: BTreeMap<String, String>,
    /// The network with the highest gives the default route, on engines that know it.
    pub gateway_priority: Option<i64>,
}

impl Attachment {
    pub(super) fn settings(&self) -> EndpointSettings {
        let fixed = self.ipv4.is_some() || self.ipv6.is_some() || !self.link_local.is_empty();
        EndpointSettings {
            aliases: Some(self.aliases.clone()),
            ipam_config: fixed.then(|| EndpointIpamConfig {
                ipv4_address: self.ipv4.clone(),
                ipv6_address: self.ipv6.clone(),
                link_local_ips: (!self.link_local.is_empty()).then(|| self.link_local.clone()),
            }),
            mac_address: self.mac_address.clone(),
            driver_opts: (!self.options.is_empty()).then(|| self.options.clone().into_iter().collect()),
            gw_priority: self.gateway_priority,
            ..Default::default()
        }
    }
}

fn subnets(ipam: Option<Ipam>) -> Vec<String> {
    let ranges = ipam.and_then(|ipam| ipam.config).unwrap_or_default();
    ranges.into_iter().filter_map(|range| range.subnet).collect()
}

impl Engine {
    /// The network named `name`, or `None`. IDs and prefixes of IDs do not count as names.
    ///
    /// # Errors
    /// When the engine fails.
    pub async fn network(&self, name: &str) -> Result<Option<NetworkFacts>> {
        let found =
            self.docker.inspect_network(checked("network", name)?, None::<InspectNetworkOptions>).await;
        match found {
            Ok(network) => Ok(Some(NetworkFacts {
                name: network.name.unwrap_or_default(),
                id: network.id.unwrap_or_default(),
                labels: network.labels.unwrap_or_default().into_iter().collect(),
                options: network.options.unwrap_or_default().into_iter().collect(),
                subnets: subnets(network.ipam),
                containers: network.containers.map_or(0, |containers| containers.len()),
            })
            .filter(|network| network.name == name)),
            Err(error) => match failure(format!("inspect network {name}"), error) {
                error if error.is_not_found() => Ok(None),
                error => Err(error),
            },
        }
    }

    /// The networks that carry `label=value`.
    ///
    /// # Errors
    /// When the engine fails.
    pub async fn networks(&self, label: &str, value: &str) -> Result<Vec<NetworkFacts>> {
        let filters = HashMap::from([("label", vec![format!("{label}={value}")])]);
        let mut networks = self.list_networks(filters).await?;
        // Podman 4.3 takes the filter for a prefix.
        networks.retain(|network| network.labels.get(label).is_some_and(|has| has == value));
        Ok(networks)
    }

    /// All networks, of every project and of none.
    ///
    /// # Errors
    /// When the engine fails.
    pub async fn all_networks(&self) -> Result<Vec<NetworkFacts>> {
        self.list_networks(HashMap::new()).await
    }

    async fn list_networks(&self, filters: HashMap<&str, Vec<String>>) -> Result<Vec<NetworkFacts>> {
        let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
        let list =
            self.docker.list_networks(Some(options)).await.map_err(|e| failure("list its networks", e))?;
        let mut networks: Vec<NetworkFacts> = list
            .into_iter()
            .map(|network| NetworkFacts {
                name: network.name.unwrap_or_default(),
                id: network.id.unwrap_or_default(),
                labels: network.labels.unwrap_or_default().into_iter().collect(),
                options: network.options.unwrap_or_default().into_iter().collect(),
                subnets: subnets(network.ipam),
                containers: 0,
            })
            .collect();
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(networks)
    }

    /// Makes a network.
    ///
    /// # Errors
    /// When the engine fails or refuses, for example because no address range is left.
    pub async fn create_network(&self, spec: &NetworkSpec) -> Result<()> {
        let asked = spec.ipam_driver.is_some() || !spec.ipam.is_empty() || !spec.ipam_options.is_empty();
        let ipam = asked.then(|| Ipam {
            driver: Some(spec.ipam_driver.clone().unwrap_or_else(|| "default".to_owned())),
            config: Some(
                spec.ipam
                    .iter()
                    .map(|range| IpamConfig {
                        subnet: range.subnet.clone(),
                        gateway: range.gateway.clone(),
                        ip_range: range.ip_range.clone(),
                        auxiliary_addresses: (!range.aux_addresses.is_empty())
                            .then(|| range.aux_addresses.clone().into_iter().collect()),
                    })
                    .collect(),
            ),
            options: (!spec.ipam_options.is_empty()).then(|| spec.ipam_options.clone().into_iter().collect()),
        });
        let request = NetworkCreateRequest {
            name: checked("network", &spec.name)?.to_owned(),
            driver: Some(spec.driver.clone().unwrap_or_else(|| "bridge".to_owned())),
            internal: Some(spec.internal),
            attachable: Some(spec.attachable),
            enable_ipv6: spec.ipv6.then_some(true),
            ipam,
            options: Some(spec.options.clone().into_iter().collect()),
            labels: Some(spec.labels.clone().into_iter().collect()),
            ..Default::default()
        };
        self.docker
            .create_network(request)
            .await
            .map(drop)
            .map_err(|e| failure(format!("make network {}", spec.name), e))
    }

    /// Removes a network; `false` where there was none, or where containers still use it.
    ///
    /// # Errors
    /// When the engine fails.
    pub async fn remove_network(&self, name: &str) -> Result<bool> {
        match self.docker.remove_network(checked("network", name)?).await {
            Ok(()) => Ok(true),
            Err(error) => match failure(format!("remove network {name}"), error) {
                error if error.is_not_found() || error.is_conflict() => Ok(false),
                EngineError::Refused { status: 403, .. } => Ok(false),
                error => Err(error),
            },
        }
    }

    /// Attaches a container to a further network, before it is started.
    ///
    /// # Errors
    /// When the engine fails or refuses.
    pub async fn attach(&self, container: &str, attachment: &Attachment) -> Result<()> {
        let request = NetworkConnectRequest {
            container: checked("container", container)?.to_owned(),
            endpoint_config: Some(attachment.settings()),
        };
        self.docker
            .connect_network(checked("network", &attachment.network)?, request)
            .await
            .map_err(|e| failure(format!("attach a container to network {}", attachment.network), e))
    }
}
