//! `security_opt` of a service: a seccomp profile is a file beside the Compose file, of which the engine gets the content
//! (Docker Engine API, "SecurityOpt").

use super::context::Context;
use crate::BundlePath;
use crate::compose::load::above;
use crate::compose::model::FileUse;
use crate::diagnostic::shown;
use crate::limits::MAX_ENV_FILE_BYTES;
use crate::paths::normal;
use crate::yaml::Node;

/// `security_opt`.
pub(super) fn options(context: &mut Context<'_>, node: &Node) -> Vec<String> {
    let mut options = Vec::new();
    for item in context.r.list("security_opt", node) {
        let Some(text) = context.r.string("security_opt", item) else { continue };
        let profile = text.strip_prefix("seccomp=").or_else(|| text.strip_prefix("seccomp:"));
        match profile {
            Some(path)
                if context.r.reads(2)
                    && !matches!(path, "unconfined" | "builtin" | "")
                    && !path.starts_with('{') =>
            {
                let written = context.files.len();
                match seccomp(context, item, path) {
                    Some(profile) => options.push(format!("seccomp={profile}")),
                    None => context.files.truncate(written),
                }
            }
            _ if text == "systempaths=unconfined" => {
                let hint = "it is for `docker run`: write `privileged: true`, or name what the service needs under `cap_add`";
                context.r.error(item, "`systempaths=unconfined` is not supported", hint);
            }
            _ => options.push(text),
        }
    }
    options
}

/// The profile in the file `path` as JSON on one line.
fn seccomp(context: &mut Context<'_>, item: &Node, path: &str) -> Option<String> {
    context.r.needs_level(2);
    let used_by = format!("service `{}`", context.service);
    let short = match above::settle(context.folder, path) {
        Ok(settled) => settled.unwrap_or_else(|| normal(path)),
        Err(_) => path.to_owned(),
    };
    let named = context.relative_file("security_opt", &short, item.place, FileUse::EnvFile, used_by, None)?;
    let name = named.parse::<BundlePath>().ok()?;
    let Some(bytes) = (context.load)(name.as_str()) else {
        let message = format!("the seccomp profile `{}` does not exist beside the Compose file", shown(path));
        context.r.error(item, message, "create it, or write `seccomp=unconfined`");
        return None;
    };
    context.env_file_bytes = context.env_file_bytes.saturating_add(bytes.len());
    if context.env_file_bytes > MAX_ENV_FILE_BYTES {
        let message = format!(
            "the env files and seccomp profiles of all services have more than {MAX_ENV_FILE_BYTES} bytes"
        );
        context.r.error(item, message, "use smaller ones");
        return None;
    }
    match serde_json::from_slice::<serde_json::Value>(&bytes) {
        Ok(profile) if profile.is_object() => Some(profile.to_string()),
        Ok(_) => {
            let message = format!("the seccomp profile `{}` is no JSON object", shown(path));
            context.r.error(item, message, "name a profile of Docker's form");
            None
        }
        Err(error) => {
            let message = format!("the seccomp profile `{}` is no JSON: line {}", shown(path), error.line());
            context.r.error(item, message, "correct it there");
            None
        }
    }
}
