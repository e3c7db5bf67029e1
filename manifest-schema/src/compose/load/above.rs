//! Paths with `..`: they may leave the Compose file's folder, and not that of the manifest.
//!
//! On site the release folder is the Compose file's folder. What lies beside or above that lies below [`ABOVE`] there,
//! as it lies below the manifest. Text alone decides, the same on both sides of the gap.

use crate::paths::join;

/// The folder in the Compose file's folder that stands for the manifest's.
const ABOVE: &str = ".above";

/// The fault of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::compose) enum Outside {
    /// It leaves the manifest's folder.
    Above,
    /// It is a person's own `.above`.
    Taken,
}

impl Outside {
    /// The next step.
    pub(in crate::compose) const fn hint(self) -> &'static str {
        match self {
            Self::Above => {
                "put ferry.yaml into a folder above both: run `ferry init` there, with `compose: FOLDER/compose.yaml` in it"
            }
            Self::Taken => {
                "on site, files from above the Compose file's folder lie in `.above`: give this folder another name"
            }
        }
    }
}

/// The path from the manifest's folder, where `path` is one on site that lies below `.above`.
#[must_use]
pub fn below_manifest(path: &str) -> Option<&str> {
    let rest = path.strip_prefix(ABOVE)?;
    (rest.is_empty() || rest.starts_with('/')).then(|| rest.trim_start_matches('/'))
}

/// The path on site of `path`, which begins in `folder`; `None` where it stays as it is.
///
/// # Errors
/// A path that leaves the manifest's folder, and one that takes the place of those.
pub(in crate::compose) fn settle(folder: &str, path: &str) -> Result<Option<String>, Outside> {
    if path.starts_with(['/', '~']) || path.contains("://") {
        return Ok(None);
    }
    if below_manifest(&join("", path)).is_some() {
        return Err(Outside::Taken);
    }
    if !path.split('/').any(|part| part == "..") {
        return Ok(None);
    }
    let full = join(folder, path);
    if full.strip_prefix(folder).is_some_and(|rest| below_manifest(rest.trim_start_matches('/')).is_some()) {
        return Err(Outside::Taken);
    }
    if full == ".." || full.starts_with("../") {
        return Err(Outside::Above);
    }
    let inside = match folder {
        "" => Some(full.as_str()),
        _ if full == folder => Some(""),
        _ => full.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')),
    };
    Ok(Some(match inside {
        Some("") => ".".to_owned(),
        Some(inside) => inside.to_owned(),
        None if full.is_empty() => ABOVE.to_owned(),
        None => format!("{ABOVE}/{full}"),
    }))
}

/// A path on site as a person writes it in the Compose file of `folder`.
pub(in crate::compose) fn written(folder: &str, path: &str) -> String {
    match below_manifest(path) {
        Some(below) => {
            let up = folder.split('/').filter(|part| !part.is_empty()).count();
            format!("{}{below}", "../".repeat(up))
        }
        None => format!("./{path}"),
    }
}

/// The place at the build of a path on site, from the manifest's folder.
#[must_use]
pub fn from_manifest(folder: &str, path: &str) -> String {
    below_manifest(path).map_or_else(|| join(folder, path), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{Outside, from_manifest, settle};

    #[test]
    fn paths_stay_below_the_manifest() {
        for (folder, path, site, build) in [
            ("", "./conf/../rules", Some("rules"), "rules"),
            ("", "a/b", None, "a/b"),
            ("", "a/..b", None, "a/..b"),
            ("", "a/..", Some("."), ""),
            ("deploy", "../shared/a", Some(".above/shared/a"), "shared/a"),
            ("deploy", "../deploy/a", Some("a"), "deploy/a"),
            ("deploy", "../deployed/a", Some(".above/deployed/a"), "deployed/a"),
            ("deploy/plant", "../common.env", Some(".above/deploy/common.env"), "deploy/common.env"),
            ("deploy", "../deploy", Some("."), "deploy"),
            ("deploy", "..", Some(".above"), ""),
            ("deploy", "/etc/../x", None, "/etc/x"),
        ] {
            let settled = settle(folder, path).unwrap();
            assert_eq!(settled.as_deref(), site, "{folder} {path}");
            if !path.starts_with('/') {
                let site = settled.unwrap_or_else(|| path.to_owned());
                assert_eq!(from_manifest(folder, &site), build, "{folder} {path}");
            }
        }
        for (folder, path) in [("", "../a"), ("", ".."), ("deploy", "../../a"), ("deploy", "a/../../../b")] {
            assert_eq!(settle(folder, path), Err(Outside::Above), "{folder} {path}");
        }
        for (folder, path) in [
            ("", ".above/a"),
            ("", "./.above"),
            ("deploy", "a/../.above/b"),
            ("deploy", "../deploy/.above/b"),
        ] {
            assert_eq!(settle(folder, path), Err(Outside::Taken), "{folder} {path}");
        }
        for (folder, path) in [("", ".aboves/a"), ("deploy", "a/.above"), ("", ".above.yaml")] {
            assert_eq!(settle(folder, path), Ok(None), "{folder} {path}");
        }
    }
}
