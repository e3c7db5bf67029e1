//! Where artifacts land: no link out of them, no two at one place.

use super::{ArtifactPlan, EntryKind};
use anyhow::bail;
use std::collections::HashMap;

/// Refuses a link at `path` inside an artifact that could lead out of it. `..` may stand at the
/// beginning only: behind a name it would mean the parent of whatever that name links to.
pub(super) fn check_link(path: &str, target: &str) -> anyhow::Result<()> {
    let leaves = || format!("the symbolic link `{path}` leads to `{target}`, out of the artifact");
    if target.is_empty() || target.starts_with('/') || target.contains(['\\', '\0']) || target.contains("//")
    {
        bail!("{}; copy its target into the artifact", leaves());
    }
    // One line of the listing that gives an artifact its digest.
    if target.chars().any(char::is_control) {
        bail!("the target of the symbolic link `{path}` holds a control character; rename its target");
    }
    let mut depth = path.split('/').count() - 1;
    let mut named = false;
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if named => bail!(
                "the symbolic link `{path}` leads to `{target}`, with `..` behind a name; write it shorter"
            ),
            ".." => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => bail!("{}; copy its target into the artifact", leaves()),
            },
            _ => named = true,
        }
    }
    Ok(())
}

/// Paths that two artifacts want, or that a file system which ignores case could not tell apart,
/// as `from`, line and message.
pub(super) fn collisions(plans: &[ArtifactPlan]) -> Vec<(String, usize, String)> {
    struct Taken<'a> {
        path: &'a str,
        folder: bool,
        plan: usize,
    }
    let mut taken: HashMap<String, Taken<'_>> = HashMap::new();
    let mut found: Vec<(String, usize, String)> = Vec::new();
    for (index, plan) in plans.iter().enumerate() {
        let mut said = false;
        for entry in &plan.entries {
            // The folders above `to` exist too, though no entry makes them.
            let above =
                entry.path.as_str().match_indices('/').filter_map(|(end, _)| entry.path.as_str().get(..end));
            let own = (entry.path.as_str(), matches!(entry.kind, EntryKind::Folder));
            for (path, folder) in above.map(|path| (path, true)).chain([own]) {
                let other = taken.entry(path.to_lowercase()).or_insert(Taken { path, folder, plan: index });
                let same_folder = other.folder && folder && other.path == path;
                if other.plan == index || same_folder || said {
                    continue;
                }
                let first = plans.get(other.plan).map(|plan| plan.from.as_str()).unwrap_or_default();
                found.push((
                    plan.from.clone(),
                    plan.line,
                    if other.path == path {
                        format!("artifacts `{first}` and `{}` both want `{path}`", plan.from)
                    } else {
                        format!(
                            "artifacts `{first}` and `{}` want `{}` and `{path}`, which differ in case only",
                            plan.from, other.path
                        )
                    },
                ));
                // One sentence for each artifact: a whole folder twice is one mistake.
                said = true;
            }
        }
    }
    found
}
