//! `networks`, of services and at the top (Compose Specification, "networks").

use super::context::{Context, Target};
use crate::compose::model::{INTERFACE_NAME, Network, NetworkAttachment, Subnet};
use crate::diagnostic::shown;
use crate::yaml::{Key, Node, Value};
use std::collections::BTreeMap;

/// `networks` of a service: a list of names or a map.
pub(super) fn attachments(context: &mut Context<'_>, node: &Node) -> BTreeMap<String, NetworkAttachment> {
    let mut networks = BTreeMap::new();
    if matches!(node.value, Value::Seq(_)) {
        for item in context.r.list("networks", node) {
            let Some(name) = context.r.string("networks", item) else { continue };
            context.refer(Target::Network, &name, item.place);
            networks.insert(name, NetworkAttachment::default());
        }
        return networks;
    }
    for (key, node) in context.r.names("networks", node) {
        context.refer(Target::Network, &key.text, key.place);
        let attachment = attachment(context, &key.text, node);
        networks.insert(key.text.clone(), attachment);
    }
    networks
}

fn attachment(context: &mut Context<'_>, name: &str, node: &Node) -> NetworkAttachment {
    let mut attachment = NetworkAttachment::default();
    for (key, node) in context.r.map(&format!("networks.{}", shown(name)), node) {
        match key.text.as_str() {
            "aliases" => attachment.aliases = context.r.strings("aliases", node, false),
            "ipv4_address" => {
                attachment.ipv4_address = context.r.parsed("ipv4_address", node, |text| {
                    let address = text.parse::<std::net::Ipv4Addr>();
                    address
                        .map(|a| a.to_string())
                        .map_err(|_| format!("`{}` is not an IPv4 address", shown(text)))
                });
            }
            "ipv6_address" => {
                attachment.ipv6_address = context.r.parsed("ipv6_address", node, |text| {
                    let address = text.parse::<std::net::Ipv6Addr>();
                    address
                        .map(|a| a.to_string())
                        .map_err(|_| format!("`{}` is not an IPv6 address", shown(text)))
                });
            }
            "priority" => {
                attachment.priority =
                    context.r.integer("priority", node, -1_000_000..=1_000_000).unwrap_or_default();
            }
            "link_local_ips" => {
                attachment.link_local_ips = context.r.strings("link_local_ips", node, false);
            }
            "mac_address" => attachment.mac_address = mac_address(context, node),
            "driver_opts" => attachment.driver_opts.extend(context.string_map("driver_opts", node)),
            "gw_priority" => {
                attachment.gw_priority = context.r.integer("gw_priority", node, -1_000_000..=1_000_000);
            }
            "interface_name" => {
                if let Some(name) = context.r.string("interface_name", node) {
                    attachment.driver_opts.insert(INTERFACE_NAME.to_owned(), name);
                }
            }
            _ => context.r.unknown_key(
                key,
                "a network of a service",
                &[
                    "aliases",
                    "ipv4_address",
                    "ipv6_address",
                    "priority",
                    "link_local_ips",
                    "mac_address",
                    "driver_opts",
                    "gw_priority",
                    "interface_name",
                ],
            ),
        }
    }
    attachment
}

/// `02:42:ac:11:65:43`.
pub(super) fn mac_address(context: &mut Context<'_>, node: &Node) -> Option<String> {
    context.r.parsed("mac_address", node, |text| {
        let parts: Vec<&str> = text.split([':', '-']).collect();
        let byte = |part: &&str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
        if parts.len() == 6 && parts.iter().all(byte) {
            return Ok(parts.join(":").to_ascii_lowercase());
        }
        Err(format!("`{}` is not a MAC address like 02:42:ac:11:65:43", shown(text)))
    })
}

/// The top-level `networks`.
pub(super) fn decode(context: &mut Context<'_>, node: &Node) -> BTreeMap<String, Network> {
    let mut networks = BTreeMap::new();
    for (key, node) in context.r.names("networks", node) {
        context.mute_unused("networks", &key.text);
        check_key(context, key, "network");
        let mut network = network(context, node);
        if network.external {
            // It has no prefix: somebody else has made it.
            network.name.get_or_insert_with(|| key.text.clone());
        }
        networks.insert(key.text.clone(), network);
    }
    networks
}

/// Keys become parts of names in the engine.
pub(super) fn check_key(context: &mut Context<'_>, key: &Key, kind: &str) {
    if key.text.parse::<crate::ServiceName>().is_err() {
        let message = format!("`{}` is not a valid name of a {kind}", shown(&key.text));
        context.r.error(
            key,
            message,
            "use letters, digits, `.`, `_` and `-`, and start with a letter or digit",
        );
    }
}

/// `external: true`, or the older `external: { name: … }`.
pub(super) fn external(context: &mut Context<'_>, node: &Node, name: &mut Option<String>) -> bool {
    if !matches!(node.value, Value::Map(_)) {
        return context.r.boolean("external", node).unwrap_or(false);
    }
    for (key, node) in context.r.map("external", node) {
        match key.text.as_str() {
            "name" => *name = context.r.string("name", node),
            _ => context.r.unknown_key(key, "`external`", &["name"]),
        }
    }
    true
}

fn network(context: &mut Context<'_>, node: &Node) -> Network {
    let mut network = Network::default();
    for (key, node) in context.r.map("networks", node) {
        match key.text.as_str() {
            "name" => network.name = context.r.string("name", node),
            "driver" => {
                network.driver = context.r.string("driver", node);
                if network.driver.as_deref() == Some("overlay") {
                    context.r.error(
                        node,
                        "the network driver `overlay` needs Swarm",
                        "write `driver: bridge`",
                    );
                }
            }
            "driver_opts" => network.driver_opts = context.string_map("driver_opts", node),
            "external" => network.external = external(context, node, &mut network.name),
            "internal" => network.internal = context.r.boolean("internal", node).unwrap_or(false),
            "attachable" => network.attachable = context.r.boolean("attachable", node).unwrap_or(false),
            "enable_ipv6" => network.enable_ipv6 = context.r.boolean("enable_ipv6", node).unwrap_or(false),
            "labels" => network.labels = context.labels("a network", node),
            "ipam" => ipam(context, node, &mut network),
            "enable_ipv4" => {
                if context.r.boolean("enable_ipv4", node) == Some(false) {
                    context.r.error(
                        key,
                        "`enable_ipv4: false` is not supported",
                        "delete it; IPv4 is always on",
                    );
                }
            }
            _ => context.r.unknown_key(
                key,
                "a network",
                &[
                    "name",
                    "driver",
                    "driver_opts",
                    "external",
                    "internal",
                    "attachable",
                    "enable_ipv6",
                    "labels",
                    "ipam",
                ],
            ),
        }
    }
    network
}

fn ipam(context: &mut Context<'_>, node: &Node, network: &mut Network) {
    for (key, node) in context.r.map("ipam", node) {
        match key.text.as_str() {
            "driver" => network.ipam_driver = context.r.string("driver", node),
            "config" => {
                for item in context.r.list("config", node) {
                    let mut range = Subnet::default();
                    for (key, node) in context.r.map("ipam.config", item) {
                        match key.text.as_str() {
                            "subnet" => range.subnet = context.r.parsed("subnet", node, cidr),
                            "ip_range" => range.ip_range = context.r.parsed("ip_range", node, cidr),
                            "gateway" => {
                                range.gateway = context.r.parsed("gateway", node, |text| {
                                    let address = text.parse::<std::net::IpAddr>();
                                    address
                                        .map(|a| a.to_string())
                                        .map_err(|_| format!("`{}` is not an IP address", shown(text)))
                                });
                            }
                            "aux_addresses" => {
                                range.aux_addresses = context.string_map("aux_addresses", node);
                            }
                            _ => context.r.unknown_key(
                                key,
                                "`ipam.config`",
                                &["subnet", "gateway", "ip_range", "aux_addresses"],
                            ),
                        }
                    }
                    network.ipam.push(range);
                }
            }
            "options" => network.ipam_options = context.string_map("options", node),
            _ => context.r.unknown_key(key, "`ipam`", &["driver", "config", "options"]),
        }
    }
}

/// `172.28.0.0/16`.
fn cidr(text: &str) -> Result<String, String> {
    let good = text.split_once('/').and_then(|(address, bits)| {
        let address: std::net::IpAddr = address.parse().ok()?;
        let bits: u8 = bits.parse().ok()?;
        (bits <= if address.is_ipv4() { 32 } else { 128 }).then_some(())
    });
    good.map(|()| text.to_owned())
        .ok_or_else(|| format!("`{}` is not a subnet like 172.28.0.0/16", shown(text)))
}
