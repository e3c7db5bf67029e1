//! Variables without a value: empty text and one list, as in Compose, but where the empty text could only fail on site or
//! would be worse than a failure: in a path, in the place of a secret, for a variable of the shell that builds.
//!
//! It looks at what the files are merged into, so that what another file replaces, and a service that is left out,
//! needs no value.

use crate::diagnostic::shown;
use crate::yaml::{Node, Place, Reader, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Variables that a shell sets, each with what to write instead.
const OF_SHELL: [(&str, &str); 9] = [
    ("PWD", "paths begin in the Compose file's folder: write `./conf` for `${PWD}/conf`"),
    ("HOME", "write the absolute path on the host, or a path like ./config"),
    ("UID", NUMBER),
    ("GID", NUMBER),
    ("EUID", NUMBER),
    ("USER", NAME),
    ("LOGNAME", NAME),
    (
        "HOSTNAME",
        "templates (`.j2`) have the host's name as `{{ ferry.hostname }}`; or declare a variable in the manifest",
    ),
    ("SHELL", NAME),
];

const NUMBER: &str =
    "write the number, or declare it under `variables` in the manifest: the builder's would be wrong on site";
const NAME: &str =
    "write the name, or declare it under `variables` in the manifest: the builder's would be wrong on site";

/// The hint for a variable that a shell sets.
pub(super) fn of_shell(name: &str) -> Option<&'static str> {
    OF_SHELL.iter().find(|(known, _)| *known == name).map(|(_, hint)| *hint)
}

/// True for a variable that a shell gives to the programs it starts, so that Docker Compose has a value for it.
pub(super) fn is_exported(name: &str) -> bool {
    matches!(name, "PWD" | "HOME" | "USER" | "LOGNAME" | "SHELL")
}

/// True for the name of a variable that holds a secret, or the path of one: its last word says so, behind which only its
/// form may stand.
pub(in crate::compose) fn is_secret(name: &str) -> bool {
    const ENDS: [&str; 11] = [
        "PASSWORD",
        "PASSWD",
        "PASSPHRASE",
        "PASS",
        "SECRET",
        "SECRETS",
        "TOKEN",
        "CREDENTIAL",
        "CREDENTIALS",
        "APIKEY",
        "PASSWORDS",
    ];
    const WORDS: [&str; 9] = ["PW", "PWD", "PSK", "PIN", "KEY", "KEYS", "ACCESSKEY", "PRIVATEKEY", "AUTH"];
    const FORMS: [&str; 8] = ["BASE", "HASH", "VALUE", "STRING", "PLAIN", "B64", "BASE64", "PRIVATE"];
    let name = name.to_ascii_uppercase();
    // The shell's own is no password.
    if name == "PWD" {
        return false;
    }
    if name.ends_with("_FILE") {
        return !name.contains("COMPOSE");
    }
    let mut words: Vec<&str> = name.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    // A public key is for everybody.
    if words.contains(&"PUBLIC") {
        return false;
    }
    let is_form = |word: &str| FORMS.contains(&word) || word.bytes().all(|b| b.is_ascii_digit());
    while words.len() > 1 && words.last().is_some_and(|word| is_form(word)) {
        words.pop();
    }
    let last = words.last().map_or("", |word| word.trim_end_matches(|c: char| c.is_ascii_digit()));
    let harmless = ["COMPASS", "BYPASS"].iter().any(|word| last.ends_with(word));
    !harmless && (WORDS.contains(&last) || ENDS.iter().any(|end| last.ends_with(end)))
        || (words.contains(&"SECRET") && words.contains(&"KEY"))
}

/// The parts of a project that mean something.
#[derive(Debug, Clone, Copy)]
pub(in crate::compose) struct Counts<'c> {
    /// Services that do not start.
    pub(in crate::compose) left_out: &'c BTreeSet<String>,
    /// Top-level entries that are used, by section.
    pub(in crate::compose) used: &'c BTreeMap<&'static str, BTreeSet<String>>,
}

impl Counts<'_> {
    /// False for what is not read, whatever is written there.
    fn is_read(&self, path: &[&str], key: &str) -> bool {
        match path {
            [] => !matches!(key, "name" | "version"),
            ["services"] => !self.left_out.contains(key),
            ["services", _] => !matches!(
                key,
                "build" | "develop" | "annotations" | "attach" | "pull_policy" | "pull_refresh_after"
            ),
            ["services", _, "deploy"] => matches!(key, "resources" | "replicas" | "restart_policy" | "mode"),
            [section] => self.used.get(section).is_none_or(|names| names.contains(key)),
            _ => true,
        }
    }
}

/// Judges every variable without a value in what is read.
pub(in crate::compose) fn judge(
    r: &mut Reader,
    root: &Node,
    counts: Counts<'_>,
    no_words: &[String],
) -> Vec<Unset> {
    let mut the = Judge { counts, no_words, said: BTreeSet::new(), names: BTreeMap::new() };
    the.walk(r, root, &mut Vec::new());
    // A line for them in .env would be as wrong on site.
    let listed = the.names.iter().filter(|(name, _)| !matches!(name.as_str(), "PWD" | "HOME"));
    r.list_unset(listed.map(|(name, (place, _))| (name.clone(), *place)).collect());
    the.names.into_iter().map(|(name, (_, used))| Unset { name, used }).collect()
}

/// A variable without a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unset {
    /// Its name.
    pub name: String,
    /// Its use where it is first named.
    pub used: Used,
}

/// The use of a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Used {
    /// It may be empty.
    Text,
    /// A part of an image's name.
    Image,
    /// A part of a port.
    Port,
    /// A part of a path.
    Path,
    /// A secret.
    Secret,
    /// The shell sets it.
    Shell,
}

struct Judge<'j> {
    counts: Counts<'j>,
    no_words: &'j [String],
    /// Hints that were given.
    said: BTreeSet<String>,
    /// Names with their first place.
    names: BTreeMap<String, (Place, Used)>,
}

impl Judge<'_> {
    fn walk<'n>(&mut self, r: &mut Reader, node: &'n Node, path: &mut Vec<&'n str>) {
        match &node.value {
            Value::Map(entries) => {
                for (key, node) in entries {
                    if self.counts.is_read(path, &key.text) {
                        path.push(&key.text);
                        self.walk(r, node, path);
                        path.pop();
                    }
                }
            }
            Value::Seq(items) => items.iter().for_each(|item| self.walk(r, item, path)),
            _ => self.text(r, node, path),
        }
    }

    fn text(&mut self, r: &mut Reader, node: &Node, path: &[&str]) {
        let names = r.unset_at(node.place).to_vec();
        if r.is_full() {
            return;
        }
        let pair = node.text().and_then(|text| text.split_once('=')).map(|(name, _)| name);
        let key = match path {
            ["services", _, "environment", key] => Some(*key),
            ["services", _, "environment"] => pair,
            _ => None,
        };
        for name in names {
            if self.no_words.contains(&name) {
                r.refuse_unset(node.place, node.place, format!("`{name}` has no value"), None);
                continue;
            }
            let used = match path {
                _ if of_shell(&name).is_some() => Used::Shell,
                _ if is_path(path) => Used::Path,
                _ if is_secret(&name) || key.is_some_and(is_secret) => Used::Secret,
                ["services", _, "image"] => Used::Image,
                ["services", _, "ports", ..] => Used::Port,
                _ => Used::Text,
            };
            self.names.entry(name.clone()).or_insert((node.place, used));
            let (message, hint) = if let Some(hint) = of_shell(&name) {
                (format!("`{name}` is a variable of the shell, which is not read"), hint.to_owned())
            } else if is_path(path) {
                (
                    format!("`{name}` has no value, and a path is made with it"),
                    r.near_unset(&name).unwrap_or_default(),
                )
            } else if let Some(secret) =
                [Some(name.as_str()), key].into_iter().flatten().find(|name| is_secret(name))
            {
                let what = if secret == name { String::new() } else { format!(" `{}`", shown(secret)) };
                (
                    format!("`{name}` has no value, and it is used as a secret{what}"),
                    format!("where it may be empty, write `${{{name}:-}}`"),
                )
            } else {
                continue;
            };
            // Once for a kind.
            let kind = hint.replace(&name, "");
            let hint = (!hint.is_empty() && self.said.insert(kind)).then_some(hint);
            let at = r.line_with(node.place, &format!("${{{name}"));
            let at = if at == node.place { r.line_with(node.place, &format!("${name}")) } else { at };
            r.refuse_unset(at, node.place, message, hint);
        }
    }
}

/// True where a path of the host or of the release is written.
fn is_path(path: &[&str]) -> bool {
    matches!(
        path,
        ["services", _, "volumes" | "env_file" | "label_file" | "devices"]
            | ["services", _, "volumes" | "devices", "source" | "target"]
            | ["services", _, "env_file", "path"]
            | ["configs" | "secrets", _, "file"]
            | ["volumes", _, "driver_opts", "device"]
    )
}

#[cfg(test)]
mod tests {
    use super::is_secret;

    #[test]
    fn names_of_secrets() {
        for name in [
            "PASSWORD",
            "DB_PASSWORD",
            "MYSQL_ROOT_PASSWORD",
            "db_pass",
            "POSTGRES_PASSWORD_FILE",
            "API_KEY",
            "APIKEY",
            "JWT_SECRET",
            "SECRET_KEY_BASE",
            "TUNNEL_TOKEN",
            "SSL_CERT_FILE",
            "AWS_CREDENTIALS",
            "ADMIN_PWD",
            "WIFI_PSK",
            "PASSWORD2",
            "ADMIN_PASSWORD_HASH",
            "TUNNELTOKEN",
            "DB_SECRETS",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "PWD",
            "TZ",
            "SITE_PROXY",
            "KEYCLOAK_URL",
            "MONKEY",
            "COMPASS",
            "PROXY_BYPASS",
            "JWT_PUBLIC_KEY",
            "PASSENGERS",
            "KEYBOARD",
            "BASIC_AUTH_CREDENTIALS_SOURCE",
            "IDP_TOKEN_ENDPOINT",
            "TOKENIZER",
            "PASSWORD_MIN_LENGTH",
            "DISABLE_PASSWORD_LOGIN",
            "KEY_PATH",
            "AUTHOR",
            "FILES",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
