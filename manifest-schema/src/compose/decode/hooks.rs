//! `post_start` and `pre_stop` of a service (Compose Specification, "Using lifecycle hooks").

use super::context::Context;
use super::environment;
use crate::compose::model::Hook;
use crate::yaml::Node;

/// A list of commands.
pub(super) fn decode(context: &mut Context<'_>, what: &str, node: &Node) -> Vec<Hook> {
    let mut hooks = Vec::new();
    for item in context.r.list(what, node) {
        let mut hook = Hook::default();
        for (key, node) in context.r.map(what, item) {
            match key.text.as_str() {
                "command" => hook.command = context.command("command", node).unwrap_or_default(),
                "user" => hook.user = context.r.string("user", node),
                "privileged" => hook.privileged = context.r.boolean("privileged", node).unwrap_or(false),
                "working_dir" => hook.working_dir = context.r.string("working_dir", node),
                "environment" => hook.environment = environment::of_hook(context, node),
                _ => context.r.unknown_key(
                    key,
                    &format!("`{what}`"),
                    &["command", "user", "privileged", "working_dir", "environment"],
                ),
            }
        }
        if item.get("command").is_none() {
            context.r.error(
                item,
                format!("the hook in `{what}` has no `command`"),
                "write `- command: [/bin/ready]`",
            );
        }
        hooks.push(hook);
    }
    hooks
}
