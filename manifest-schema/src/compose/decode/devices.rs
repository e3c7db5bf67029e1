//! `devices`, `gpus`, `blkio_config` and reserved devices (Compose Specification, services, "devices",
//! "gpus", "blkio_config"; "deploy", "devices").

use super::context::Context;
use crate::compose::model::{Blkio, CDI, DeviceRequest};
use crate::quantity;
use crate::yaml::{Node, Value};
use std::collections::BTreeMap;

/// `devices`: `host[:container[:permissions]]`, or the same as a map.
/// A text that is no path and has `=` is a device of the host's CDI files, which goes into `requests`.
pub(super) fn devices(
    context: &mut Context<'_>,
    node: &Node,
    requests: &mut Vec<DeviceRequest>,
) -> Vec<(String, String, String)> {
    let mut names = Vec::new();
    let mut devices = Vec::new();
    for item in context.r.list("devices", node) {
        let (mut source, mut target, mut permissions) = (None, None, None);
        if matches!(item.value, Value::Map(_)) {
            for (key, node) in context.r.map("devices", item) {
                match key.text.as_str() {
                    "source" => source = context.r.string("source", node),
                    "target" => target = context.r.string("target", node),
                    "permissions" => permissions = context.r.string("permissions", node),
                    _ => context.r.unknown_key(key, "a device", &["source", "target", "permissions"]),
                }
            }
        } else if let Some(text) = context.r.string("devices", item) {
            let mut parts = text.splitn(3, ':').map(str::to_owned);
            (source, target, permissions) = (parts.next(), parts.next(), parts.next());
        } else {
            continue;
        }
        let source = source.unwrap_or_default();
        if source.contains('=') && !source.starts_with('/') {
            context.r.needs_level(2);
            names.push(source);
            continue;
        }
        let target = target.unwrap_or_else(|| source.clone());
        if permissions.as_deref() == Some("") {
            context.r.needs_level(2);
        }
        let permissions = permissions.filter(|text| !text.is_empty()).unwrap_or_else(|| "rwm".to_owned());
        let good = source.starts_with('/')
            && target.starts_with('/')
            && !permissions.is_empty()
            && permissions.chars().all(|c| "rwm".contains(c));
        if good {
            devices.push((source, target, permissions));
        } else {
            context.r.error(item, "not a device", "write it like /dev/ttyUSB0:/dev/ttyUSB0:rw");
        }
    }
    if !names.is_empty() {
        requests.push(DeviceRequest {
            driver: Some(CDI.to_owned()),
            device_ids: names,
            ..Default::default()
        });
    }
    devices
}

/// `gpus`: `all`, or a list of requests that are for GPUs.
pub(super) fn gpus(context: &mut Context<'_>, node: &Node) -> Vec<DeviceRequest> {
    if node.text() == Some("all") {
        return vec![DeviceRequest { count: -1, capabilities: vec!["gpu".to_owned()], ..Default::default() }];
    }
    if node.text().is_some() {
        context.r.error(node, "`gpus` is `all` or a list", "write `gpus: all`");
        return Vec::new();
    }
    let mut requests = requests(context, "gpus", node, false);
    for request in &mut requests {
        if !request.capabilities.iter().any(|capability| capability == "gpu") {
            request.capabilities.insert(0, "gpu".to_owned());
        }
    }
    requests
}

/// `deploy.resources.reservations.devices`, where capabilities have to be named.
pub(super) fn reserved(context: &mut Context<'_>, node: &Node) -> Vec<DeviceRequest> {
    requests(context, "devices", node, true)
}

fn requests(context: &mut Context<'_>, what: &str, node: &Node, named: bool) -> Vec<DeviceRequest> {
    let mut requests = Vec::new();
    for item in context.r.list(what, node) {
        let mut request = DeviceRequest { count: -1, ..Default::default() };
        for (key, node) in context.r.map(what, item) {
            match key.text.as_str() {
                "driver" => request.driver = context.r.string("driver", node),
                "count" => {
                    request.count = if node.text() == Some("all") {
                        -1
                    } else {
                        context.r.integer("count", node, -1..=1_000_000).unwrap_or(-1)
                    }
                }
                "device_ids" => request.device_ids = context.r.strings("device_ids", node, false),
                "capabilities" => request.capabilities = context.r.strings("capabilities", node, false),
                "options" => request.options = context.string_map("options", node),
                _ => context.r.unknown_key(
                    key,
                    &format!("`{what}`"),
                    &["driver", "count", "device_ids", "capabilities", "options"],
                ),
            }
        }
        if item.get("count").is_some() && !request.device_ids.is_empty() {
            context.r.error(item, "both `count` and `device_ids`", "keep one of them");
        }
        if !request.device_ids.is_empty() {
            // The engine takes one of them.
            request.count = 0;
        }
        if named && request.capabilities.is_empty() {
            context.r.error(item, "the device has no `capabilities`", "write `capabilities: [gpu]`");
        }
        requests.push(request);
    }
    requests
}

/// `blkio_config`.
pub(super) fn blkio(context: &mut Context<'_>, node: &Node) -> Blkio {
    let mut blkio = Blkio::default();
    for (key, node) in context.r.map("blkio_config", node) {
        match key.text.as_str() {
            "weight" => blkio.weight = weight(context, node),
            "weight_device" => {
                for item in context.r.list("weight_device", node) {
                    let (path, value) = of_device(context, item, "weight", weight);
                    blkio.weight_device.extend(path.zip(value));
                }
            }
            "device_read_bps" => blkio.read_bps = rates(context, &key.text, node),
            "device_write_bps" => blkio.write_bps = rates(context, &key.text, node),
            "device_read_iops" => blkio.read_iops = rates(context, &key.text, node),
            "device_write_iops" => blkio.write_iops = rates(context, &key.text, node),
            _ => context.r.unknown_key(
                key,
                "`blkio_config`",
                &[
                    "weight",
                    "weight_device",
                    "device_read_bps",
                    "device_write_bps",
                    "device_read_iops",
                    "device_write_iops",
                ],
            ),
        }
    }
    blkio
}

fn weight(context: &mut Context<'_>, node: &Node) -> Option<u16> {
    context.r.integer("weight", node, 10..=1000).and_then(|weight| u16::try_from(weight).ok())
}

fn rates(context: &mut Context<'_>, what: &str, node: &Node) -> BTreeMap<String, i64> {
    let rate = |context: &mut Context<'_>, node: &Node| {
        context.r.parsed("rate", node, |text| {
            quantity::bytes(text).and_then(|bytes| i64::try_from(bytes).map_err(|error| error.to_string()))
        })
    };
    let mut rates = BTreeMap::new();
    for item in context.r.list(what, node) {
        let (path, value) = of_device(context, item, "rate", rate);
        rates.extend(path.zip(value));
    }
    rates
}

/// `{ path: /dev/sda, WHAT: … }`.
fn of_device<T>(
    context: &mut Context<'_>,
    item: &Node,
    what: &str,
    read: impl Fn(&mut Context<'_>, &Node) -> Option<T>,
) -> (Option<String>, Option<T>) {
    let (mut path, mut value) = (None, None);
    for (key, node) in context.r.map("blkio_config", item) {
        match key.text.as_str() {
            "path" => path = context.r.string("path", node),
            found if found == what => value = read(context, node),
            _ => context.r.unknown_key(key, "a device", &["path", what]),
        }
    }
    if item.get("path").is_none() || item.get(what).is_none() {
        let example = format!("write `{{ path: /dev/sda, {what}: … }}`");
        context.r.error(item, format!("the device needs `path` and `{what}`"), example);
    }
    (path, value)
}
