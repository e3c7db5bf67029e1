//! This program, resident on the host as `fz` for when the stick is gone.
//!
//! Invariant: a resident program stays unless its replacement was asked for, since it verified the
//! bundles before this one, and this program came on the same stick. The exception is a resident program that
//! cannot read what this one is about to write: it could no longer manage the running release.

use crate::host::versioned::FORMAT;
use crate::host::{Root, files};
use anyhow::{Context, Result};
use ferry_terminal::whole_file;
use manifest_schema::progress::Progress;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// Versions of Ferry, each with the newest format of state, answers and journal that it reads.
pub(super) const READS: [(&str, u32); 2] = [("0.1.0", 1), ("0.2.0", FORMAT)];

/// Makes this program resident where none is, or where `replace` asks for it.
pub(super) fn make_resident(root: &Root, replace: bool, progress: &dyn Progress) -> Result<()> {
    let target = root.program();
    let Some(content) = own_content(&target)? else { return Ok(()) };
    match std::fs::read(&target) {
        Ok(resident) if resident == content => return Ok(()),
        Ok(_) if !replace => {
            progress.warn(&format!(
                "{} is another build of this program and was left as it is; --replace-fz replaces it",
                target.display()
            ));
            return Ok(());
        }
        _ => {}
    }
    write(&target, &content)
}

/// Replaces a resident program that cannot read the format that this one writes. Comes before anything is
/// written in that format.
///
/// # Errors
/// When it cannot be replaced.
pub(super) async fn succeed(root: &Root, progress: &dyn Progress) -> Result<()> {
    let target = root.program();
    if !target.exists() || !is_outdated(&target).await {
        return Ok(());
    }
    let Some(content) = own_content(&target)? else { return Ok(()) };
    progress.warn(&format!(
        "{} is an older Ferry that cannot read what this one records: this program replaces it",
        target.display()
    ));
    write(&target, &content)
}

/// The bytes of this program, unless it is the resident one.
fn own_content(target: &Path) -> Result<Option<Vec<u8>>> {
    let program = std::env::current_exe()?;
    if program == target {
        return Ok(None);
    }
    std::fs::read(&program).map(Some).with_context(|| format!("reading {}", program.display()))
}

fn write(target: &Path, content: &[u8]) -> Result<()> {
    if let Some(folder) = target.parent() {
        files::make_private_dir(folder)?;
    }
    whole_file::write(target, content, 0o755)
}

/// The resident program is a version that reads older formats only. One that does not answer is no known
/// version, and stays.
async fn is_outdated(program: &Path) -> bool {
    let Some(version) = version_of(program).await else { return false };
    READS.iter().any(|(known, format)| *known == version && *format < FORMAT)
}

/// The version that a program says it has: `install 0.1.0`.
async fn version_of(program: &Path) -> Option<String> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let mut command = Command::new(program);
    command.arg("--version").env_clear().stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await.ok()?.ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_whitespace().nth(1).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_formats_ends_with_this_version() {
        assert_eq!(READS.last(), Some(&(env!("CARGO_PKG_VERSION"), FORMAT)));
    }

    #[tokio::test]
    async fn only_a_known_older_version_is_outdated() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("fz");
        for (script, outdated) in [
            ("echo install 0.1.0", true),
            ("echo install 0.2.0", false),
            ("echo install 9.0.0", false),
            ("exit 1", false),
        ] {
            std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
            assert_eq!(is_outdated(&program).await, outdated, "{script}");
        }
    }
}
