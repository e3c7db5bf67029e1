//! A project made a trial by the site's own Compose file (`override.yaml`), which gives it free ports of
//! the loopback, empty volumes, and no name or subnet that something else on this machine may have.

use anyhow::Result;
use ferry_terminal::{Class, Failure, human};
use manifest_schema::ProjectName;
use manifest_schema::compose::model::{MountSource, Network, Project};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{TcpListener, UdpSocket};

/// The interface of a bridge network has this name where it is given, and there is one of each name.
const BRIDGE_NAME: &str = "com.docker.network.bridge.name";

/// A published port of the trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Published {
    pub service: String,
    /// The port in the container, with its protocol: `8080/tcp`.
    pub target: String,
    /// The port of this machine.
    pub port: u16,
}

/// Ports of this machine that were found free, by service and target: a rebuild keeps them.
#[derive(Debug, Default)]
pub(super) struct Ports(BTreeMap<(String, String), u16>);

impl Ports {
    fn free(&mut self, service: &str, target: &str) -> Result<u16> {
        let key = (service.to_owned(), target.to_owned());
        if let Some(port) = self.0.get(&key) {
            return Ok(*port);
        }
        let address = if target.ends_with("/udp") {
            UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr())?
        } else {
            TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr())?
        };
        self.0.insert(key, address.port());
        Ok(address.port())
    }
}

/// The site's own Compose file, and where the services can be reached with it.
pub(super) fn over(project: &Project, ports: &mut Ports) -> Result<(String, Vec<Published>)> {
    let mut published = Vec::new();
    let mut text = String::from("services:\n");
    for (name, service) in &project.services {
        writeln!(text, "  {name}:\n    container_name: !reset null")?;
        let targets: BTreeSet<String> =
            service.ports.iter().map(|port| format!("{}/{}", port.target, port.protocol)).collect();
        if !targets.is_empty() {
            text.push_str("    ports: !override\n");
        }
        for target in targets {
            if service.containers() > 1 {
                // Each container needs one of its own, and only the engine gives them apart.
                writeln!(text, "      - \"127.0.0.1::{target}\"")?;
                continue;
            }
            let port = ports.free(name.as_str(), &target)?;
            writeln!(text, "      - \"127.0.0.1:{port}:{target}\"")?;
            if service.containers() > 0 {
                published.push(Published { service: name.to_string(), target, port });
            }
        }
        // An address of a network that is somebody else's, for which the trial has one of its own.
        let fixed: Vec<&String> = service
            .networks
            .iter()
            .filter(|(key, attached)| {
                project.networks.get(*key).is_some_and(|network| network.external)
                    && (attached.ipv4_address.is_some() || attached.ipv6_address.is_some())
            })
            .map(|(key, _)| key)
            .collect();
        if !fixed.is_empty() {
            text.push_str("    networks:\n");
        }
        for key in fixed {
            let key = serde_json::to_string(key)?;
            writeln!(text, "      {key}: {{ ipv4_address: !reset null, ipv6_address: !reset null }}")?;
        }
    }
    if !project.volumes.is_empty() {
        text.push_str("volumes:\n");
    }
    for key in project.volumes.keys() {
        // Its own, empty, and gone afterwards, whatever it is on site.
        writeln!(text, "  {}: !override {{}}", serde_json::to_string(key)?)?;
    }
    let networks: Vec<(&String, String)> = project
        .networks
        .iter()
        .filter_map(|(key, network)| Some((key, of_network(project, key, network)?)))
        .collect();
    if !networks.is_empty() {
        text.push_str("networks:\n");
    }
    for (key, change) in networks {
        writeln!(text, "  {}: {change}", serde_json::to_string(key)?)?;
    }
    Ok((text, published))
}

/// A network of the trial, where it differs from the site's.
fn of_network(project: &Project, key: &str, network: &Network) -> Option<String> {
    if network.external {
        return Some("!override {}".to_owned());
    }
    let mut changes = Vec::new();
    if network.name.is_some() {
        changes.push("name: !reset null".to_owned());
    }
    if has_subnets(network) && !keeps_subnets(project, key, network) {
        changes.push("ipam: !reset null".to_owned());
    }
    if network.driver_opts.contains_key(BRIDGE_NAME) {
        changes.push(format!("driver_opts: {{ {BRIDGE_NAME}: !reset null }}"));
    }
    (!changes.is_empty()).then(|| format!("{{ {} }}", changes.join(", ")))
}

fn has_subnets(network: &Network) -> bool {
    network.ipam.iter().any(|range| range.subnet.is_some())
}

/// True for a network that is of no use without its own subnets: a service has a fixed address in it, it lies in
/// a network around this machine, or it needs a range of IPv6, which older engines do not choose.
fn keeps_subnets(project: &Project, key: &str, network: &Network) -> bool {
    let fixed = project
        .services
        .values()
        .filter_map(|service| service.networks.get(key))
        .any(|attached| attached.ipv4_address.is_some() || attached.ipv6_address.is_some());
    fixed || network.enable_ipv6 || network.driver.as_deref().is_some_and(|driver| driver != "bridge")
}

/// An image that is named after the project has another name in a trial.
pub(super) fn check_images(product: &ProjectName, project: &Project) -> Result<()> {
    for (name, service) in &project.services {
        if service.image == format!("{product}-{name}") {
            let fact = format!("the image of service `{name}` is named after the project");
            let hint = format!(
                "name it in the Compose file, so that a trial has it too: `image: {}`",
                service.image
            );
            return Err(Failure::new(Class::Input, fact).hint(hint).into());
        }
    }
    Ok(())
}

/// Resources of this machine that a trial of `project` shares, for people.
pub(super) fn shared(project: &Project) -> BTreeSet<String> {
    let mut notes = BTreeSet::new();
    for (name, service) in &project.services {
        if service.network_mode.as_deref() == Some("host") {
            notes.insert(format!("{name} uses this machine's network: its ports are not remapped"));
        }
        for mount in &service.mounts {
            if let MountSource::Bind { path, .. } = &mount.source
                && path.starts_with('/')
                && !mount.read_only
            {
                notes.insert(format!("{name} writes into {} of this machine", human::printable(path)));
            }
        }
    }
    for (key, network) in &project.networks {
        if network.external || !keeps_subnets(project, key, network) {
            continue;
        }
        for subnet in network.ipam.iter().filter_map(|range| range.subnet.as_deref()) {
            notes.insert(format!(
                "network {} keeps its subnet {}: it must be free on this machine",
                human::printable(key),
                human::printable(subnet)
            ));
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use manifest_schema::compose::{self, Text, model::Subnet};

    /// The project of a Compose file, and what it is with the trial's own file over it.
    fn tried(compose: &str) -> (Project, String) {
        let read = |texts: &[Text<'_>]| {
            let read = compose::parse(texts, &BTreeMap::new(), &|_| None);
            read.unwrap_or_else(|mistakes| {
                panic!("{mistakes}\n{texts:?}", texts = texts.last().map(|it| it.text))
            })
            .project
        };
        let first = read(&[Text { file: "compose.yaml", text: compose }]);
        let (over, _) = over(&first, &mut Ports::default()).unwrap();
        let merged = read(&[
            Text { file: "compose.yaml", text: compose },
            Text { file: "override.yaml", text: &over },
        ]);
        (merged, over)
    }

    #[test]
    fn subnets_go_unless_a_service_has_a_fixed_address() {
        let (project, over) = tried(
            "services:\n  web:\n    image: a:1\n    networks: { fixed: { ipv4_address: 10.1.0.5 }, free: , far: { ipv4_address: 10.9.0.1 } }\n\
             networks:\n  fixed: { ipam: { config: [{ subnet: 10.1.0.0/24 }] }, name: taken }\n  \
             free: { ipam: { config: [{ subnet: 10.2.0.0/24 }] }, driver_opts: { com.docker.network.bridge.name: br9, x: 'y' } }\n  \
             far: { external: true }\n",
        );
        let network = |key: &str| project.networks.get(key).unwrap();
        let subnets =
            |ranges: &[Subnet]| ranges.iter().filter_map(|range| range.subnet.clone()).collect::<Vec<_>>();
        assert_eq!(subnets(&network("fixed").ipam), ["10.1.0.0/24"], "{over}");
        assert_eq!(network("fixed").name, None);
        assert!(network("free").ipam.is_empty(), "{over}");
        assert_eq!(network("free").driver_opts.keys().collect::<Vec<_>>(), ["x"]);
        assert!(!network("far").external);
        let web = project.services.values().next().unwrap();
        let address = |key: &str| web.networks.get(key).unwrap().ipv4_address.clone();
        assert_eq!((address("fixed").as_deref(), address("far")), (Some("10.1.0.5"), None));
        let notes: Vec<String> = shared(&project).into_iter().collect();
        assert_eq!(notes, ["network fixed keeps its subnet 10.1.0.0/24: it must be free on this machine"]);
    }

    #[test]
    fn every_port_is_on_the_loopback_and_those_of_one_container_are_told() {
        let compose = "services:\n  one:\n    image: a:1\n    ports: ['9100', '8080:80', '8081:80', '53:53/udp']\n  \
             many:\n    image: a:1\n    deploy: { replicas: 2 }\n    ports: ['9100']\n  none: { image: 'a:1' }\n";
        let (project, over_text) = tried(compose);
        let ports = |name: &str| {
            let service = project.services.iter().find(|(key, _)| key.as_str() == name).unwrap().1;
            service
                .ports
                .iter()
                .map(|port| (port.target, port.host_ip.clone().unwrap_or_default(), port.published.is_some()))
                .collect::<Vec<_>>()
        };
        let here = || "127.0.0.1".to_owned();
        assert_eq!(
            ports("one"),
            [(53, here(), true), (80, here(), true), (9100, here(), true)],
            "{over_text}"
        );
        assert_eq!(ports("many"), [(9100, here(), false)], "{over_text}");
        assert!(ports("none").is_empty());
        // A rebuild keeps them.
        let mut kept = Ports::default();
        let first = over(&project, &mut kept).unwrap();
        assert_eq!(first, over(&project, &mut kept).unwrap());
        let told: Vec<&str> = first.1.iter().map(|port| port.target.as_str()).collect();
        assert_eq!(told, ["53/udp", "80/tcp", "9100/tcp"]);
    }
}
