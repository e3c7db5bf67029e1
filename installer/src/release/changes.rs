//! File changes between two releases, shown before anything is changed. Secrets are never shown.

use crate::host::files;
use crate::release::site::Site;
use crate::services::without_links;
use manifest_schema::limits;
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// The text that stands for a secret.
const HIDDEN: &str = "••••••••";

/// A file that will change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct FileChange {
    /// Path in the release's folder.
    pub path: String,
    /// The change as a unified diff, where it was asked for, both are text, and no secret could be seen.
    pub diff: Option<String>,
}

/// Text of more bytes is not compared line by line: nobody reads it, and it takes long.
const MAX_DIFF_BYTES: usize = 256 << 10;

/// How long one comparison may take.
const MAX_DIFF_TIME: Duration = Duration::from_secs(1);

/// The changes between the files in `current` and those of `site`, with `diffs` line by line.
#[must_use]
pub(crate) fn files(site: &Site, current: &Path, diffs: bool) -> Vec<FileChange> {
    let compose = ("compose.yaml".to_owned(), site.compose.as_bytes());
    let files = site.files.iter().map(|(path, file)| (path.to_string(), file.content.as_slice()));
    // A secret of other characters may be written in more ways than can be hidden.
    let plain = |secret: &String| secret.chars().all(|c| c.is_ascii_alphanumeric() || "._~-".contains(c));
    let can_hide = site.hidden.iter().all(plain);
    let mut changes = Vec::new();
    for (path, new) in std::iter::once(compose).chain(files) {
        // A container may have put a link or a pipe where it can write.
        let old = without_links::open_file(current, &current.join(&path)).ok();
        let old = old.and_then(|file| files::read_whole(file, limits::MAX_RENDERED_BYTES as u64).ok());
        if old.as_deref() != Some(new) {
            let shown = diffs && can_hide && !site.secret_files.contains(&path);
            let diff = shown.then(|| diff(&path, &old.unwrap_or_default(), new, &site.hidden)).flatten();
            changes.push(FileChange { path, diff });
        }
    }
    changes
}

fn diff(path: &str, old: &[u8], new: &[u8], hidden: &[String]) -> Option<String> {
    if old.len() > MAX_DIFF_BYTES || new.len() > MAX_DIFF_BYTES {
        return None;
    }
    // One secret may be part of another.
    let mut hidden: Vec<&String> = hidden.iter().collect();
    hidden.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    let text = |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).ok()?;
        Some(hidden.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), HIDDEN)))
    };
    let (old, new) = (text(old)?, text(new)?);
    let names = (format!("{path}  (now)"), format!("{path}  (then)"));
    let diff = similar::TextDiff::configure().timeout(MAX_DIFF_TIME).diff_lines(&old, &new);
    Some(diff.unified_diff().header(&names.0, &names.1).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_texts_are_not_compared() {
        let (old, new) = ("a\n".repeat(200_000), "b\n".repeat(200_000));
        assert_eq!(diff("a", old.as_bytes(), new.as_bytes(), &[]), None);
        let begun = std::time::Instant::now();
        let lines = |from: usize| (from..from + 20_000).map(|n| format!("{n}\n")).collect::<String>();
        let shown = diff("a", lines(0).as_bytes(), lines(100_000).as_bytes(), &[]);
        println!("20,000 lines in {:?}", begun.elapsed());
        assert!(shown.is_some());
    }

    #[test]
    fn secrets_are_hidden_on_both_sides() {
        let hidden = ["hunter2".to_owned(), "tr0ub4dor".to_owned()];
        let shown = diff("a", b"x\nkey hunter2\n", b"y\nkey tr0ub4dor\n", &hidden).unwrap();
        assert!(shown.contains("-x\n") && shown.contains("+y\n") && shown.contains(HIDDEN), "{shown}");
        assert!(!shown.contains("hunter2") && !shown.contains("tr0ub4dor"));
        assert_eq!(diff("a", b"\xff", b"y", &hidden), None);
        let nested = ["secret".to_owned(), "secretive".to_owned()];
        let shown = diff("a", b"key secretive\n", b"key secret\n", &nested).unwrap();
        assert!(!shown.contains("ive"), "{shown}");
    }
}
