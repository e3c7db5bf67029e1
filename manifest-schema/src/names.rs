//! Names, each parsed once at the edge into a type that cannot hold a bad one.
//!
//! ```compile_fail
//! // A path inside a bundle cannot be made without being checked.
//! let path = manifest_schema::BundlePath("../../etc/passwd".to_owned());
//! ```

use crate::limits;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The text is not a valid name of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid {kind}: {why}")]
pub struct BadName {
    kind: &'static str,
    text: String,
    why: &'static str,
}

/// The text form of a type with `FromStr` and `Display`: the conversions that
/// `#[serde(try_from = "String", into = "String")]` takes, and `Debug` as `Display`.
#[macro_export]
macro_rules! text_form {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = <Self as std::str::FromStr>::Err;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }
    };
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadName;
            fn from_str(text: &str) -> Result<Self, BadName> {
                let check: fn(&str) -> Result<(), &'static str> = $check;
                match check(text) {
                    Ok(()) => Ok(Self(text.to_owned())),
                    Err(why) => Err(BadName { kind: $kind, text: text.chars().take(120).collect(), why }),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadName;
            fn try_from(text: String) -> Result<Self, BadName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }
    };
}

name_type!(
    /// A relative path inside a bundle or release folder: `/`-separated, no empty, `.` or `..`
    /// component, no NUL, backslash, control character or leading `/`. It cannot leave its folder.
    BundlePath,
    "path",
    |text| {
        if text.is_empty() {
            return Err("it is empty");
        }
        if text.len() > limits::MAX_PATH_BYTES {
            return Err("it is too long");
        }
        if text.contains('\\') || text.chars().any(char::is_control) {
            return Err("it holds a backslash or a control character");
        }
        if text.starts_with('/') {
            return Err("it is absolute; write it relative to the folder");
        }
        for part in text.split('/') {
            match part {
                "" => return Err("it has an empty component"),
                "." | ".." => return Err("it has a `.` or `..` component"),
                part if part.len() > 255 => return Err("a component is longer than 255 bytes"),
                _ => {}
            }
        }
        Ok(())
    }
);

impl BundlePath {
    /// `self/child`.
    ///
    /// # Errors
    /// When the joined path is not a valid path.
    pub fn join(&self, child: &str) -> Result<Self, BadName> {
        format!("{}/{child}", self.0).parse()
    }
}

name_type!(
    /// A Compose project name (Compose Specification, "name"): lower-case letters, digits, `-`, `_`,
    /// starting with a letter or digit. Also the name of the folder on the host.
    ProjectName,
    "project name",
    |text| {
        let mut bytes = text.bytes();
        match bytes.next() {
            Some(b'a'..=b'z' | b'0'..=b'9') => {}
            _ => return Err("it must start with a lower-case letter or a digit"),
        }
        if text.len() > 63 {
            return Err("it is longer than 63 characters");
        }
        if !bytes.all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_')) {
            return Err("only lower-case letters, digits, `-` and `_` may follow");
        }
        Ok(())
    }
);

impl ProjectName {
    /// Ferry keeps something of its own under this name, beside the products on a host, so no new product may
    /// have it.
    #[must_use]
    pub fn is_ferrys(&self) -> bool {
        ["bin", "policy", "products", "store", "trust"].contains(&self.as_str())
    }
}

/// A label that Ferry sets by itself, in its own name or as `docker compose` would, and takes for its own word.
#[must_use]
pub fn is_ferrys_label(key: &str) -> bool {
    ["io.ferry.", "com.docker.compose."].iter().any(|prefix| key.starts_with(prefix))
}

/// A name that Ferry gives to a container of its own: a helper, one that is replaced, or one that replaces
/// another.
#[must_use]
pub fn is_ferrys_container(name: &str) -> bool {
    let is_id = |id: &str| id.len() == 12 && id.bytes().all(|b| b.is_ascii_hexdigit());
    let by_id =
        [".old-", ".idle-"].iter().any(|mark| name.rsplit_once(mark).is_some_and(|(_, id)| is_id(id)));
    by_id || name.starts_with("ferry-seed-") || name.ends_with(".new") || name.ends_with(".filling")
}

name_type!(
    /// A service, network, volume, config or secret name (Compose Specification: `[a-zA-Z0-9._-]+`).
    ServiceName,
    "service name",
    |text| {
        if text.is_empty() || text.len() > 128 {
            return Err("it must have 1 to 128 characters");
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
            return Err("only letters, digits, `.`, `_` and `-` are allowed");
        }
        if !text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric()) {
            return Err("it must start with a letter or a digit");
        }
        Ok(())
    }
);

name_type!(
    /// A release on a host: version and the first 12 digits of the bundle's index digest,
    /// `2.4.0-1f2e3d4c5b6a`. Also a folder name.
    ReleaseId,
    "release id",
    |text| {
        if text.is_empty() || text.len() > 128 || text.starts_with('.') || text.starts_with('-') {
            return Err("it must have 1 to 128 characters and not start with `.` or `-`");
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'+')) {
            return Err("only letters, digits, `.`, `_`, `+` and `-` are allowed");
        }
        Ok(())
    }
);

name_type!(
    /// An OCI platform as `os/architecture` or `os/architecture/variant`, for example
    /// `linux/arm64/v8` (OCI image-spec 1.1, image-index.md, "platform").
    Platform,
    "platform",
    |text| {
        let parts = text.split('/').count();
        if !(2..=3).contains(&parts) {
            return Err("write it as os/architecture, for example linux/amd64");
        }
        if text.len() > 64
            || text.split('/').any(|part| {
                part.is_empty()
                    || !part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
            })
        {
            return Err("only letters, digits, `_`, `.` and `-` are allowed between the slashes");
        }
        Ok(())
    }
);

impl Platform {
    /// Operating system, `linux`.
    #[must_use]
    pub fn os(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }

    /// Architecture in Go's words: `amd64`, `arm64`, `arm`.
    #[must_use]
    pub fn architecture(&self) -> &str {
        self.0.split('/').nth(1).unwrap_or_default()
    }

    /// Variant, `v7`, where one is named.
    #[must_use]
    pub fn variant(&self) -> Option<&str> {
        self.0.split('/').nth(2)
    }

    /// True where an image of platform `other` runs where this one was asked for. A missing variant
    /// matches any, and `arm64` is `arm64/v8`.
    #[must_use]
    pub fn accepts(&self, other: &Self) -> bool {
        self.os() == other.os()
            && self.architecture() == other.architecture()
            && match (self.variant(), other.variant()) {
                (Some(a), Some(b)) => a == b,
                _ => true,
            }
    }
}

/// An image reference as people write it, split the way Docker does
/// (distribution/reference, "grammar"): `[domain/]path[:tag][@digest]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageRef {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<crate::Digest>,
}

impl ImageRef {
    /// Registry host with port, `docker.io` where none is written.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Repository path inside the registry, `library/nginx`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Tag; `latest` where neither tag nor digest is written.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Digest, where the reference pins one.
    #[must_use]
    pub const fn digest(&self) -> Option<&crate::Digest> {
        self.digest.as_ref()
    }

    /// Repository as people write it, without domain where it is Docker's default.
    #[must_use]
    pub fn familiar_repository(&self) -> String {
        let first = self.path.split_once('/').map(|(first, _)| first);
        match self.path.strip_prefix("library/") {
            _ if self.domain != "docker.io" => format!("{}/{}", self.domain, self.path),
            Some(name) if !name.contains('/') => name.to_owned(),
            // Without the domain, the first part would be read as one.
            _ if first.is_some_and(is_domain) => format!("{}/{}", self.domain, self.path),
            _ => self.path.clone(),
        }
    }

    /// Shortest form: `nginx:1.24`, `acme/api:2.4.0`. Two references with equal forms are equal.
    #[must_use]
    pub fn familiar(&self) -> String {
        self.write(self.familiar_repository())
    }

    /// Full form: `docker.io/library/nginx:1.24`. Podman wants this one.
    #[must_use]
    pub fn canonical(&self) -> String {
        self.write(format!("{}/{}", self.domain, self.path))
    }

    /// Podman's name for an image that was built under this one, `localhost/acme/api:2.4.0`; `None` where this one
    /// names a registry or a digest.
    #[must_use]
    pub fn as_built_by_podman(&self) -> Option<String> {
        let is_short = self.domain == "docker.io" && self.digest.is_none();
        is_short.then(|| self.write(format!("localhost/{}", self.familiar_repository())))
    }

    fn write(&self, mut text: String) -> String {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(&digest.to_string());
        }
        text
    }
}

/// The first part of a name, before a `/`, is a registry's host.
fn is_domain(part: &str) -> bool {
    part.contains(['.', ':']) || part == "localhost"
}

impl FromStr for ImageRef {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let bad = |why| BadName { kind: "image reference", text: text.chars().take(200).collect(), why };
        if text.is_empty() || text.len() > limits::MAX_REFERENCE_BYTES {
            return Err(bad("it must have 1 to 512 characters"));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                (rest, Some(digest.parse().map_err(|_| bad("the part after `@` is not a sha256 digest"))?))
            }
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag.to_owned())),
            _ => (rest, None),
        };
        if let Some(tag) = &tag {
            let first = tag.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
            let others = tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
            if !first || !others || tag.len() > 128 {
                return Err(bad("the tag may hold letters, digits, `_`, `.` and `-`"));
            }
        }
        let (domain, path) = match name.split_once('/') {
            Some(("docker.io" | "index.docker.io", path)) if !path.contains('/') => {
                ("docker.io".to_owned(), format!("library/{path}"))
            }
            Some((host, path)) if is_domain(host) => (host.to_owned(), path.to_owned()),
            Some(_) => ("docker.io".to_owned(), name.to_owned()),
            None => ("docker.io".to_owned(), format!("library/{name}")),
        };
        let domain = if domain == "index.docker.io" { "docker.io".to_owned() } else { domain };
        if !domain.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b':' | b'-' | b'[' | b']'))
        {
            return Err(bad("the registry host holds a character that hosts cannot have"));
        }
        let component = |part: &str| {
            let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
            edge(part.bytes().next())
                && edge(part.bytes().last())
                && part
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'))
        };
        if !path.split('/').all(component) {
            return Err(bad(
                "repository names are lower-case letters and digits, separated by `/`, `.`, `_` or `-`",
            ));
        }
        let tag = if tag.is_none() && digest.is_none() { Some("latest".to_owned()) } else { tag };
        let reference = Self { domain, path, tag, digest };
        // What is written into a bundle has to be read again there.
        if reference.canonical().len() > limits::MAX_REFERENCE_BYTES {
            return Err(bad("with its registry and tag it has more than 512 characters"));
        }
        Ok(reference)
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.familiar())
    }
}

impl Serialize for ImageRef {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.familiar())
    }
}

impl<'de> Deserialize<'de> for ImageRef {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundle_paths_cannot_leave_their_folder() {
        for bad in ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", "./a", "a\\b", "a\nb", "a/./b", "\0"] {
            assert!(bad.parse::<BundlePath>().is_err(), "{bad:?}");
        }
        for good in ["a", "a/b.c", "..a/b..", "ä ö/ü"] {
            assert!(good.parse::<BundlePath>().is_ok(), "{good:?}");
        }
    }

    #[test]
    fn image_references_split_as_docker_splits_them() {
        let cases = [
            ("nginx", "docker.io", "library/nginx", Some("latest")),
            ("acme/api:2.4.0", "docker.io", "acme/api", Some("2.4.0")),
            ("localhost/x", "localhost", "x", Some("latest")),
            ("127.0.0.1:5000/a/b:t", "127.0.0.1:5000", "a/b", Some("t")),
            ("docker.io/library/redis:7", "docker.io", "library/redis", Some("7")),
            ("docker.io/redis", "docker.io", "library/redis", Some("latest")),
            ("index.docker.io/redis:7", "docker.io", "library/redis", Some("7")),
            ("docker.io/library/a/b", "docker.io", "library/a/b", Some("latest")),
            ("docker.io/a.b/c", "docker.io", "a.b/c", Some("latest")),
            ("docker.io/localhost/c", "docker.io", "localhost/c", Some("latest")),
            ("localhost:5000/library/x", "localhost:5000", "library/x", Some("latest")),
        ];
        for (text, domain, path, tag) in cases {
            let parsed: ImageRef = text.parse().unwrap();
            assert_eq!((parsed.domain(), parsed.path(), parsed.tag()), (domain, path, tag), "{text}");
            assert_eq!(parsed.familiar().parse::<ImageRef>().unwrap(), parsed);
            assert_eq!(parsed.canonical().parse::<ImageRef>().unwrap(), parsed);
        }
        // A tag is added to what has none: both have to fit.
        let longest = "n".repeat(512 - "docker.io/library/:latest".len());
        assert!(longest.parse::<ImageRef>().is_ok_and(|parsed| parsed.familiar().parse() == Ok(parsed)));
        assert!(format!("{longest}n").parse::<ImageRef>().is_err());
        for bad in ["", "UPPER", "a b", "x:", "x@sha256:1", "a//b", "-a", "a:b:c/d:e f"] {
            assert!(bad.parse::<ImageRef>().is_err(), "{bad:?}");
        }
    }
}
