//! What a release engineer reads after a mistake: the exact words, before any work is done.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

use fixtures::small_site::SmallSite;
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use tests::bundle;
use tests::outcome::Outcome;
use tests::programs;

/// The small site with a mistake in it.
struct Site {
    folder: TempDir,
}

impl Site {
    fn with(mistake: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        SmallSite::default().write(folder.path()).unwrap();
        fixtures::keys::write(folder.path(), "key", 1).unwrap();
        mistake(folder.path());
        Self { folder }
    }

    fn edited(file: &str, from: &str, to: &str) -> Self {
        Self::with(|folder| bundle::replace(&folder.join(file), from, to))
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn build(&self, arguments: &[&str]) -> Outcome {
        let mut command = programs::command(programs::ferry());
        Outcome::of(command.current_dir(self.path()).arg("build").args(arguments))
    }

    /// Builds, and compares everything that is said: `code`, and `transcript` on standard error.
    #[track_caller]
    fn says(&self, code: i32, transcript: &str) {
        let before = self.files();
        let outcome = self.build(&["--key", "key", "--offline"]);
        assert!(
            outcome.code == code && outcome.stdout.is_empty() && outcome.stderr == transcript,
            "expected exit code {code} and\n{transcript}--- but this came:\n{outcome}"
        );
        assert_eq!(before, self.files(), "a build that failed left files behind");
    }

    fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}
