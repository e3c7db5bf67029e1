//! What becomes other in the files of a release, told before anything is changed. Secrets are never shown.

use crate::host;
use crate::site::Site;
use manifest_schema::limits;
use serde::Serialize;
use std::path::Path;

/// What stands for a secret.
const HIDDEN: &str = "••••••••";

/// A file that will be other than it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileChange {
    /// Path in the release's folder.
    pub path: String,
    /// The change as a unified diff, where both are text.
    pub diff: Option<String>,
}

/// What differs between the files that lie in `current` and those of `site`.
#[must_use]
pub fn files(site: &Site, current: &Path) -> Vec<FileChange> {
    let compose = ("compose.yaml".to_owned(), site.compose.as_bytes());
    let files = site.files.iter().map(|(path, file)| (path.to_string(), file.content.as_slice()));
    let mut changes = Vec::new();
    for (path, new) in std::iter::once(compose).chain(files) {
        let old = host::read_bounded(&current.join(&path), limits::MAX_RENDERED_BYTES as u64);
        let old = old.ok().flatten();
        if old.as_deref() != Some(new) {
            let diff = diff(&path, &old.unwrap_or_default(), new, &site.hidden);
            changes.push(FileChange { path, diff });
        }
    }
    changes
}

fn diff(path: &str, old: &[u8], new: &[u8], hidden: &[String]) -> Option<String> {
    let text = |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).ok()?;
        Some(hidden.iter().fold(text.to_owned(), |text, secret| text.replace(secret, HIDDEN)))
    };
    let (old, new) = (text(old)?, text(new)?);
    let names = (format!("{path}  (now)"), format!("{path}  (then)"));
    Some(similar::TextDiff::from_lines(&old, &new).unified_diff().header(&names.0, &names.1).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_on_both_sides() {
        let hidden = ["hunter2".to_owned(), "tr0ub4dor".to_owned()];
        let shown = diff("a", b"x\nkey hunter2\n", b"y\nkey tr0ub4dor\n", &hidden).unwrap();
        assert!(shown.contains("-x\n") && shown.contains("+y\n") && shown.contains(HIDDEN), "{shown}");
        assert!(!shown.contains("hunter2") && !shown.contains("tr0ub4dor"));
        assert_eq!(diff("a", b"\xff", b"y", &hidden), None);
    }
}
