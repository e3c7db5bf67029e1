//! Paths as text: joined without asking any file system, the same on both sides of the gap.

/// A path below the root folder, or one that leaves it and begins with `../`, from `folder` and a path
/// relative to it. Absolute paths and URLs stay as they are.
pub(crate) fn join(folder: &str, path: &str) -> String {
    if path.starts_with('/') || path.contains("://") {
        return path.to_owned();
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The folder of a file, without `/` at the end; empty for the root folder.
pub(crate) fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// A path without `./` in front, `/./` inside and `/` at the end.
pub(crate) fn normal(text: &str) -> String {
    let absolute = text.starts_with('/');
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if absolute { format!("/{}", parts.join("/")) } else { parts.join("/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_as_text() {
        for (folder, path, expected) in [
            ("", "a/b", "a/b"),
            ("sub", "./a", "sub/a"),
            ("sub/deep", "../a", "sub/a"),
            ("sub", "../../a", "../a"),
            ("sub", "/etc/a", "/etc/a"),
            ("sub", "https://example.com/a", "https://example.com/a"),
            ("sub", ".", "sub"),
            ("sub", "..", ""),
        ] {
            assert_eq!(join(folder, path), expected, "{folder} + {path}");
        }
    }
}
