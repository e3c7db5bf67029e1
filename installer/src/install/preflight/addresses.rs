//! Subnets and fixed addresses of networks that cannot be had, known before anything is started.

use super::Finding;
use crate::engine::networks::{NetworkFacts, NetworkSpec};
use crate::services::ranges::Range;
use crate::services::target::Target;
use ferry_terminal::human;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Subnets that overlap with others, and fixed addresses that are given twice or lie outside of
/// their network. `there` are all networks of the engine.
#[must_use]
pub(crate) fn check_addresses(target: &Target, there: &[NetworkFacts]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let exists = |name: &str| there.iter().find(|network| network.name == name);
    let made: Vec<&NetworkSpec> =
        target.networks.iter().filter(|spec| !spec.external && exists(&spec.name).is_none()).collect();
    for (number, spec) in made.iter().enumerate() {
        for subnet in subnets(spec) {
            let others = made
                .iter()
                .take(number)
                .flat_map(|other| subnets(other).into_iter().map(|range| (other.name.clone(), range)));
            let theirs = there.iter().flat_map(|other| {
                let ranges = other.subnets.iter().filter_map(|range| Range::of(range));
                ranges.map(|range| (other.name.clone(), range))
            });
            if let Some((name, other)) = others.chain(theirs).find(|(_, other)| other.overlaps(subnet)) {
                findings.push(Finding::new(
                    format!(
                        "network {} wants the subnet {subnet}, which overlaps {other} of network {}",
                        human::printable(&spec.name),
                        human::printable(&name)
                    ),
                    "give it another subnet, with another answer or in override.yaml, or remove the other network",
                ));
            }
        }
    }
    let mut given: BTreeMap<(&str, IpAddr), &str> = BTreeMap::new();
    for service in &target.services {
        let name = service.replica.service().as_str();
        for attachment in &service.container.networks {
            let fixed = [&attachment.ipv4, &attachment.ipv6].into_iter().flatten();
            for address in fixed.filter_map(|address| address.parse::<IpAddr>().ok()) {
                let network = attachment.network.as_str();
                let shown = human::printable(network);
                if let Some(other) = given.insert((network, address), name) {
                    findings.push(Finding::new(
                        format!(
                            "services {other} and {name} both have the address {address} in network {shown}"
                        ),
                        "give one of them another address, in override.yaml",
                    ));
                }
                let ranges: Vec<Range> =
                    match (exists(network), target.networks.iter().find(|n| n.name == network)) {
                        (Some(there), _) => {
                            there.subnets.iter().filter_map(|range| Range::of(range)).collect()
                        }
                        (None, Some(spec)) => subnets(spec),
                        (None, None) => Vec::new(),
                    };
                if !ranges.is_empty() && !ranges.iter().any(|range| range.contains(address)) {
                    findings.push(Finding::new(
                        format!("service {name} has the address {address}, which is not in network {shown}"),
                        "give it an address of the network's subnet, or the network another subnet",
                    ));
                }
            }
        }
    }
    findings
}

fn subnets(spec: &NetworkSpec) -> Vec<Range> {
    spec.ipam.iter().filter_map(|range| Range::of(range.subnet.as_deref()?)).collect()
}
