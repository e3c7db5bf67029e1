//! Passwords of registries from Docker's `config.json` (`auths`, as `docker login` writes them
//! where no credential store is set up).
//!
//! Invariants: a password is only given for the registry it was stored for, and never
//! shown.

use anyhow::{Context, bail};
use manifest_schema::limits::MAX_STATE_BYTES;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// Credentials for a registry.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Credentials {
    Anonymous,
    Password { user: String, password: String },
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Password { user, .. } => {
                f.debug_struct("Password").field("user", user).finish_non_exhaustive()
            }
        }
    }
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    auth: String,
}

/// The credentials for `domain` in `folder/config.json`.
pub(super) fn credentials(folder: Option<&Path>, domain: &str) -> anyhow::Result<Credentials> {
    let Some(path) = folder.map(|folder| folder.join("config.json")).filter(|path| path.is_file()) else {
        return Ok(Credentials::Anonymous);
    };
    let mut text = String::new();
    std::fs::File::open(&path)
        .and_then(|file| file.take(MAX_STATE_BYTES).read_to_string(&mut text))
        .with_context(|| format!("{} cannot be read", path.display()))?;
    find(&text, domain).with_context(|| format!("{} has no usable password for {domain}", path.display()))
}

fn find(text: &str, domain: &str) -> anyhow::Result<Credentials> {
    let config: Config = serde_json::from_str(text)?;
    // Docker Hub's entry is a URL of its first days; others are hosts, or URLs of hosts.
    let host = |key: &str| {
        let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
        key.split('/').next().unwrap_or_default().to_owned()
    };
    let same = |key: &str| {
        let host = host(key);
        host == domain || (domain == "docker.io" && host == "index.docker.io")
    };
    let Some(entry) = config.auths.iter().find(|(key, entry)| same(key) && !entry.auth.is_empty()) else {
        return Ok(Credentials::Anonymous);
    };
    let decoded = base64(&entry.1.auth).context("`auth` is not base64")?;
    let decoded = String::from_utf8(decoded).context("`auth` is not text")?;
    match decoded.split_once(':') {
        Some((user, password)) => Ok(Credentials::Password {
            user: user.to_owned(),
            password: password.trim_end_matches('\0').to_owned(),
        }),
        None => bail!("`auth` is not of the form user:password"),
    }
}

/// Base64 (RFC 4648, section 4).
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for c in text.trim_end_matches('=').bytes() {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_entry_of_the_host_and_no_other() {
        let text = r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "YWxpY2U6b3BlbjpzZXNhbWU="},
            "registry.example:5000": {"auth": "Ym9iOngK"}, "empty.example": {}
        }, "credsStore": "desktop"}"#;
        let password = |user: &str, password: &str| Credentials::Password {
            user: user.into(),
            password: password.into(),
        };
        assert_eq!(find(text, "docker.io").unwrap(), password("alice", "open:sesame"));
        assert_eq!(find(text, "registry.example:5000").unwrap(), password("bob", "x\n"));
        for other in ["registry.example", "empty.example", "index.docker.io.evil.example"] {
            assert_eq!(find(text, other).unwrap(), Credentials::Anonymous, "{other}");
        }
        assert!(!format!("{:?}", find(text, "docker.io").unwrap()).contains("sesame"));
    }

    #[test]
    fn unusable_entries_are_errors() {
        for auth in ["!", "eA=="] {
            assert!(
                find(&format!(r#"{{"auths": {{"h.example": {{"auth": "{auth}"}}}}}}"#), "h.example").is_err()
            );
        }
        assert!(find("nonsense", "h").is_err());
    }
}
