//! `deploy` and the older keys for limits (Compose Specification, "deploy"). On a single host only
//! limits, the number of containers and the restart policy mean something; what would mean something else is refused.

use super::context::Context;
use super::devices;
use crate::compose::model::{Resources, Restart};
use crate::diagnostic::shown;
use crate::limits::MAX_REPLICAS;
use crate::quantity;
use crate::yaml::{Key, Node, Value};

/// `deploy`; a restart policy found there is returned.
pub(super) fn decode(
    context: &mut Context<'_>,
    node: &Node,
    resources: &mut Resources,
    replicas: &mut Option<u16>,
) -> Option<Restart> {
    let mut restart = None;
    for (key, node) in context.r.map("deploy", node) {
        match key.text.as_str() {
            "resources" => deploy_resources(context, node, resources),
            "restart_policy" => restart = restart_policy(context, node),
            "replicas" => *replicas = self::replicas(context, key, node),
            "mode" => match context.r.string("mode", node).as_deref() {
                Some("replicated" | "global") | None => {}
                Some("") => context.r.needs_level(2),
                Some(other) => {
                    let message = format!("the deploy mode `{}` is not supported", shown(other));
                    context.r.error(node, message, "delete it");
                }
            },
            "labels" | "update_config" | "rollback_config" | "placement" | "endpoint_mode" => {
                context.ignored(key, "only Swarm uses it");
            }
            _ => context.r.unknown_key(
                key,
                "`deploy`",
                &[
                    "resources",
                    "restart_policy",
                    "replicas",
                    "mode",
                    "labels",
                    "update_config",
                    "rollback_config",
                ],
            ),
        }
    }
    restart
}

/// `scale` and `replicas`.
pub(super) fn replicas(context: &mut Context<'_>, key: &Key, node: &Node) -> Option<u16> {
    // What has no container is not read; readers of level 1 read it.
    if node.text().is_some_and(|text| text.trim() == "0") {
        return Some(0);
    }
    let count = context.r.integer(&key.text, node, 1..=MAX_REPLICAS)?;
    u16::try_from(count).ok()
}

fn deploy_resources(context: &mut Context<'_>, node: &Node, resources: &mut Resources) {
    for (key, node) in context.r.map("resources", node) {
        let limits = match key.text.as_str() {
            "limits" => true,
            "reservations" => false,
            _ => {
                context.r.unknown_key(key, "`resources`", &["limits", "reservations"]);
                continue;
            }
        };
        for (key, node) in context.r.map(&key.text, node) {
            match (key.text.as_str(), limits) {
                ("cpus", true) => resources.nano_cpus = cpu_limit(context, node),
                ("memory", true) => resources.memory_bytes = bytes(context, key, node),
                ("pids", true) => resources.pids = context.r.integer("pids", node, -1..=i64::MAX),
                ("memory", false) => resources.memory_reservation_bytes = bytes(context, key, node),
                ("cpus", false) => context.ignored(key, "a single host does not reserve CPUs"),
                ("devices", false) => resources.device_requests.extend(devices::reserved(context, node)),
                ("generic_resources", _) => context.unsupported(key, "it needs Swarm; delete it"),
                _ => context.r.unknown_key(key, "`resources`", &["cpus", "memory", "pids"]),
            }
        }
    }
}

fn restart_policy(context: &mut Context<'_>, node: &Node) -> Option<Restart> {
    let (mut condition, mut attempts) = (None, None);
    for (key, node) in context.r.map("restart_policy", node) {
        match key.text.as_str() {
            "condition" => {
                let text = context.r.string("condition", node)?;
                match text.as_str() {
                    "none" | "on-failure" | "any" => {}
                    "no" | "always" | "unless-stopped" | "" => context.r.needs_level(2),
                    _ => {
                        let message = format!("`{}` is not a restart condition", shown(&text));
                        context.r.error(
                            node,
                            message,
                            "it is one of none, no, on-failure, any, always, unless-stopped",
                        );
                    }
                }
                condition = Some(text);
            }
            "max_attempts" => {
                attempts = context.r.integer("max_attempts", node, 0..=i64::from(u32::MAX));
            }
            "delay" | "window" => context.ignored(key, "the engine waits longer after each restart"),
            _ => context.r.unknown_key(
                key,
                "`restart_policy`",
                &["condition", "max_attempts", "delay", "window"],
            ),
        }
    }
    if !context.r.reads(2) && condition.is_none() {
        return Some(Restart::Always);
    }
    if condition.as_deref().is_none_or(str::is_empty) {
        context.r.needs_level(2);
        let message =
            "`restart_policy` has no `condition`: the service is not restarted, as with Docker Compose";
        context.r.warn(node, message, "write `condition: any`, or delete `restart_policy`");
    }
    if attempts.is_some() && condition.as_deref() != Some("on-failure") {
        let message = "`max_attempts` counts only with `condition: on-failure`, and is ignored";
        context.r.warn(node, message, "write that condition, or delete it");
    }
    Some(match condition.as_deref() {
        Some("none" | "no" | "") | None => Restart::No,
        Some("unless-stopped") => Restart::UnlessStopped,
        Some("on-failure") => Restart::OnFailure(attempts.and_then(|n| u32::try_from(n).ok())),
        _ => Restart::Always,
    })
}

/// The older keys for limits; false when `key` is none of them.
pub(super) fn limit(context: &mut Context<'_>, key: &Key, node: &Node, resources: &mut Resources) -> bool {
    match key.text.as_str() {
        "mem_limit" => resources.memory_bytes = bytes(context, key, node),
        "mem_reservation" => resources.memory_reservation_bytes = bytes(context, key, node),
        "memswap_limit" => {
            resources.memory_swap_bytes =
                if node.text() == Some("-1") { Some(-1) } else { bytes(context, key, node) };
        }
        "cpus" => resources.nano_cpus = cpu_limit(context, node),
        "cpu_shares" => resources.cpu_shares = context.r.integer("cpu_shares", node, 0..=262_144),
        "cpuset" => resources.cpuset = context.r.scalar_text("cpuset", node),
        "pids_limit" => resources.pids = context.r.integer("pids_limit", node, -1..=i64::MAX),
        "oom_kill_disable" => {
            resources.oom_kill_disable = context.r.boolean("oom_kill_disable", node).unwrap_or(false);
        }
        "mem_swappiness" => {
            resources.memory_swappiness = context.r.integer("mem_swappiness", node, 0..=100);
        }
        "cpu_period" => resources.cpu_period = microseconds(context, key, node),
        "cpu_quota" => resources.cpu_quota = microseconds(context, key, node),
        "cpu_rt_period" => resources.cpu_rt_period = microseconds(context, key, node),
        "cpu_rt_runtime" => resources.cpu_rt_runtime = microseconds(context, key, node),
        "cgroup_parent" => resources.cgroup_parent = context.r.string("cgroup_parent", node),
        "device_cgroup_rules" => {
            resources.device_cgroup_rules = context.r.strings("device_cgroup_rules", node, false);
        }
        "oom_score_adj" => resources.oom_score_adj = context.r.integer("oom_score_adj", node, -1000..=1000),
        _ => return false,
    }
    true
}

/// A number of microseconds, or a duration.
fn microseconds(context: &mut Context<'_>, key: &Key, node: &Node) -> Option<i64> {
    context.r.parsed(&key.text, node, |text| match text.parse::<i64>() {
        Ok(number) if number >= -1 => Ok(number),
        Ok(number) => Err(format!("`{number}` is negative")),
        Err(_) => {
            let time = quantity::duration(text)?;
            i64::try_from(time.as_micros()).map_err(|error| error.to_string())
        }
    })
}

fn bytes(context: &mut Context<'_>, key: &Key, node: &Node) -> Option<i64> {
    context.r.parsed(&key.text, node, |text| {
        quantity::bytes(text).and_then(|bytes| i64::try_from(bytes).map_err(|error| error.to_string()))
    })
}

/// A limit of CPUs in billionths; 0 is none.
fn cpu_limit(context: &mut Context<'_>, node: &Node) -> Option<i64> {
    if node.text().is_some_and(|text| text.trim().parse() == Ok(0.0_f64)) {
        context.r.needs_level(2);
        return None;
    }
    context.r.parsed("cpus", node, cpus)
}

/// Limits that stand in two places have to be the same; which counts is said nowhere. By level 1, the later one counts.
pub(super) fn same_limits(
    context: &mut Context<'_>,
    service: &Node,
    (own, deployed): (&mut Resources, Resources),
) {
    let mut agree = |key: &str, there: &str, own: &mut Option<i64>, deployed: Option<i64>| {
        let (Some(one), Some(other)) = (*own, deployed) else {
            *own = own.or(deployed);
            return;
        };
        if !context.r.reads(2) {
            *own = Some(if is_later(service, key) { one } else { other });
            return;
        }
        if one != other {
            context.r.needs_level(2);
        }
        if one != other
            && one != 0
            && other != 0
            && let Some(node) = service.get(key)
        {
            let message = format!("`{key}` and `deploy.resources.{there}` are not the same");
            context.r.error(node, message, "delete one of them");
        }
        *own = Some(if other == 0 { one } else { other });
    };
    agree("mem_limit", "limits.memory", &mut own.memory_bytes, deployed.memory_bytes);
    agree("cpus", "limits.cpus", &mut own.nano_cpus, deployed.nano_cpus);
    agree("pids_limit", "limits.pids", &mut own.pids, deployed.pids);
    let reserved = deployed.memory_reservation_bytes;
    agree("mem_reservation", "reservations.memory", &mut own.memory_reservation_bytes, reserved);
}

/// True where `key` of a service stands behind its `deploy`.
pub(super) fn is_later(service: &Node, key: &str) -> bool {
    let Value::Map(entries) = &service.value else { return false };
    let place = |wanted: &str| entries.iter().position(|(key, _)| key.text == wanted);
    place(key) > place("deploy")
}

/// `0.5` CPUs in billionths.
fn cpus(text: &str) -> Result<i64, String> {
    match text.trim().parse::<f64>() {
        Ok(count) if count > 0.0 && count <= 4096.0 => Ok((count * 1e9).round() as i64),
        _ => Err(format!("`{}` is not a number of CPUs like 0.5", shown(text))),
    }
}
