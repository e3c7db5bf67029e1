//! `ports` and `expose` of a service (Compose Specification, services, "ports").

use super::context::{Context, PublishedPort};
use crate::compose::model::Port;
use crate::diagnostic::shown;
use crate::limits::MAX_PORT_RANGE;
use crate::yaml::{Node, Place, Value};

const EXAMPLE: &str = "write it like \"8080:80\", \"127.0.0.1:8080:80/tcp\" or \"3000-3005:3000-3005\"";

/// In the long form.
const LONG_EXAMPLE: &str = "write `target: 80` and `published: 8080`, one number each or two ranges of one length; without `published` the host has no port";

/// `ports`.
pub(super) fn decode(context: &mut Context<'_>, node: &Node) -> Vec<Port> {
    let mut ports = Vec::new();
    for item in context.r.list("ports", node) {
        let place = item.place;
        let found = match &item.value {
            Value::Map(_) => long(context, item),
            _ => match context.r.scalar_text("ports", item) {
                Some(text) => {
                    if text.is_empty() && context.r.unset_at(place).is_empty() && context.r.is_absent(item) {
                        continue;
                    }
                    short(context, place, &text)
                        .map_err(|why| context.r.error(item, why, EXAMPLE))
                        .unwrap_or_default()
                }
                None => continue,
            },
        };
        if !context.count(found.len(), item) {
            break;
        }
        for port in found {
            // The same once more, as two variables with one value make it.
            if ports.contains(&port) {
                context.r.needs_level(2);
                continue;
            }
            let service = context.service.clone();
            context.ports.push(PublishedPort { port: port.clone(), service, place });
            ports.push(port);
        }
    }
    ports
}

/// `[[ip:]published:]target[/protocol]`.
fn short(context: &mut Context<'_>, place: Place, text: &str) -> Result<Vec<Port>, String> {
    let bad = |why: &str| format!("`{}` is not a port: {why}", shown(text));
    let (rest, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol_name(protocol).ok_or_else(|| bad("the protocol is tcp, udp or sctp"))?;
    let (before, target) = match rest.rsplit_once(':') {
        Some((before, target)) => (Some(before), target),
        None => (None, rest),
    };
    let (host_ip, published) = match before {
        None => (None, None),
        Some(before) => match before.rsplit_once(':') {
            Some((ip, published)) => (Some(ip), Some(published)),
            None => (None, Some(before)),
        },
    };
    let host_ip = match host_ip {
        None => None,
        Some("" | "[]") => {
            context.r.needs_level(2);
            None
        }
        // Two colons in a row before the port: no address, and no port of the host.
        Some(":") if published == Some("") => None,
        Some(ip) => {
            let bare = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip);
            let address: std::net::IpAddr =
                bare.parse().map_err(|_| bad(&format!("`{}` is not an IP address", shown(ip))))?;
            Some(address.to_string())
        }
    };
    // Any port at all is not what an empty variable was to say.
    if published == Some("") && !context.r.unset_at(place).is_empty() {
        return Err(bad("the host's port is empty"));
    }
    combine(context, target, published.filter(|p| !p.is_empty()), host_ip, protocol).map_err(|why| bad(&why))
}

fn protocol_name(text: &str) -> Option<&'static str> {
    ["tcp", "udp", "sctp"].into_iter().find(|known| text.eq_ignore_ascii_case(known))
}

/// First and last port of `80` or `80-85`.
fn range(text: &str) -> Result<(u16, u16), String> {
    let one = |text: &str| -> Result<u16, String> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match text.parse::<u16>() {
            Ok(port) if digits && port > 0 => Ok(port),
            _ => Err(format!("`{}` is not a number between 1 and 65535", shown(text))),
        }
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (one(first)?, one(last)?),
        None => (one(text)?, one(text)?),
    };
    if first > last {
        return Err(format!("the range {first}-{last} is empty"));
    }
    if usize::from(last - first) >= MAX_PORT_RANGE {
        return Err(format!("the range {first}-{last} has more than {MAX_PORT_RANGE} ports"));
    }
    Ok((first, last))
}

fn combine(
    context: &mut Context<'_>,
    target: &str,
    published: Option<&str>,
    host_ip: Option<String>,
    protocol: &str,
) -> Result<Vec<Port>, String> {
    let (first, last) = range(target)?;
    let published = match published.map(str::trim) {
        // The engine chooses.
        Some("0") => {
            context.r.needs_level(2);
            None
        }
        other => other.map(range).transpose()?,
    };
    let (published, among) = match published {
        Some((from, to)) if from < to && first == last => {
            context.r.needs_level(2);
            (None, Some((from, to)))
        }
        Some((from, to)) if to - from != last - first => {
            return Err(format!("the ranges {from}-{to} and {first}-{last} have different lengths"));
        }
        other => (other, None),
    };
    let port = |offset: u16| Port {
        target: first + offset,
        published: published.map(|(from, _)| from + offset),
        among,
        host_ip: host_ip.clone(),
        protocol: protocol.to_owned(),
    };
    Ok((0..=last - first).map(port).collect())
}

fn long(context: &mut Context<'_>, node: &Node) -> Vec<Port> {
    let (mut target, mut published, mut host_ip, mut protocol) = (None, None, None, "tcp");
    for (key, node) in context.r.map("ports", node) {
        match key.text.as_str() {
            "target" => target = context.r.scalar_text("target", node),
            "published" => published = context.r.scalar_text("published", node),
            "host_ip" => {
                host_ip = context.r.parsed("host_ip", node, |text| {
                    let address = text.parse::<std::net::IpAddr>();
                    address
                        .map(|a| a.to_string())
                        .map_err(|_| format!("`{}` is not an IP address", shown(text)))
                });
            }
            "protocol" => {
                if let Some(found) = context.r.parsed("protocol", node, |text| {
                    protocol_name(text).ok_or_else(|| "it is tcp, udp or sctp".to_owned())
                }) {
                    protocol = found;
                }
            }
            "mode" | "name" | "app_protocol" => {}
            _ => context.r.unknown_key(
                key,
                "a port",
                &["target", "published", "host_ip", "protocol", "mode", "name", "app_protocol"],
            ),
        }
    }
    let Some(target) = target else {
        if node.get("target").is_none() {
            context.r.error(
                node,
                "the port has no `target`",
                "add the port in the container, like `target: 80`",
            );
        }
        return Vec::new();
    };
    combine(context, &target, published.as_deref().filter(|p| !p.is_empty()), host_ip, protocol)
        .map_err(|why| context.r.error(node, format!("not a port: {why}"), LONG_EXAMPLE))
        .unwrap_or_default()
}

/// `expose`.
pub(super) fn expose(context: &mut Context<'_>, node: &Node) -> Vec<String> {
    let mut exposed = Vec::new();
    for item in context.r.list("expose", node) {
        let found = context.r.parsed("expose", item, |text| {
            let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
            let protocol = protocol_name(protocol).ok_or("the protocol is tcp, udp or sctp")?;
            let (first, last) = range(ports)?;
            let suffix = if protocol == "tcp" { String::new() } else { format!("/{protocol}") };
            Ok((first..=last).map(|port| format!("{port}{suffix}")).collect::<Vec<_>>())
        });
        let found = found.unwrap_or_default();
        if !context.count(found.len(), item) {
            break;
        }
        exposed.extend(found);
    }
    exposed
}
