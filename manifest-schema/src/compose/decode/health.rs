//! How a service is watched: `healthcheck` and `restart` (Compose Specification, services).

use super::context::Context;
use crate::compose::model::{HealthCheck, Restart};
use crate::diagnostic::shown;
use crate::quantity;
use crate::yaml::{Node, Value};

/// `healthcheck`.
pub(super) fn health(context: &mut Context<'_>, node: &Node) -> Option<HealthCheck> {
    let (mut test, mut disabled) = (None, false);
    let (mut interval, mut timeout, mut retries) = (None, None, None);
    let (mut start_period, mut start_interval) = (None, None);
    for (key, node) in context.r.map("healthcheck", node) {
        let what = key.text.as_str();
        match what {
            "test" => test = health_test(context, node),
            "disable" => disabled = context.r.boolean(what, node).unwrap_or(false),
            "interval" => interval = context.r.parsed(what, node, quantity::duration),
            "timeout" => timeout = context.r.parsed(what, node, quantity::duration),
            "start_period" => start_period = context.r.parsed(what, node, quantity::duration),
            "start_interval" => start_interval = context.r.parsed(what, node, quantity::duration),
            "retries" => {
                retries = context.r.integer(what, node, 0..=1_000_000).and_then(|n| u32::try_from(n).ok());
            }
            _ => context.r.unknown_key(
                key,
                "`healthcheck`",
                &["test", "disable", "interval", "timeout", "retries", "start_period", "start_interval"],
            ),
        }
    }
    if disabled || test.as_ref().and_then(|words| words.first()).is_some_and(|word| word == "NONE") {
        return Some(HealthCheck::Disabled);
    }
    Some(HealthCheck::Probe { test, interval, timeout, retries, start_period, start_interval })
}

/// A text is for the shell; a list says how it is run in its first word.
fn health_test(context: &mut Context<'_>, node: &Node) -> Option<Vec<String>> {
    if !matches!(node.value, Value::Seq(_)) {
        let text = context.r.string("test", node)?;
        return Some(vec!["CMD-SHELL".to_owned(), text]);
    }
    let words = context.r.strings("test", node, false);
    match (words.first().map(String::as_str), words.len()) {
        (Some("NONE"), 1) | (Some("CMD-SHELL"), 2) | (Some("CMD"), 2..) => Some(words),
        // The image's own.
        (None, _) => {
            context.r.needs_level(2);
            None
        }
        _ => {
            context.r.error(
                node,
                "the list of `test` does not say how it is run",
                "write [\"CMD\", \"program\", \"argument\"], [\"CMD-SHELL\", \"command\"] or [\"NONE\"]",
            );
            None
        }
    }
}

/// `restart`.
pub(super) fn restart_word(context: &mut Context<'_>, node: &Node) -> Option<Restart> {
    if node.value == Value::Bool(false) {
        return Some(Restart::No);
    }
    if context.r.is_absent(node) {
        return None;
    }
    let text = context.r.string("restart", node)?;
    let found = match text.as_str() {
        "no" => Some(Restart::No),
        "always" => Some(Restart::Always),
        "unless-stopped" => Some(Restart::UnlessStopped),
        "on-failure" => Some(Restart::OnFailure(None)),
        other => {
            let count = other.strip_prefix("on-failure:").and_then(|count| count.parse().ok());
            count.map(|count| Restart::OnFailure(Some(count)))
        }
    };
    if found.is_none() {
        let message = format!("`{}` is not a restart policy", shown(&text));
        context.r.error(node, message, "it is one of no, always, unless-stopped, on-failure, on-failure:3");
    }
    found
}
