//! The access to this host that a release asks for, beside what the running one has: shown in plans and before a start.
//!
//! Computed from the rendered Compose model and never believed from a bundle.

use crate::host::files;
use ferry_terminal::human;
use manifest_schema::compose::model::{Permission, PermissionKind, permissions};
use manifest_schema::compose::{self, Text};
use manifest_schema::limits;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// An access that the release asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Access {
    #[serde(flatten)]
    pub permission: Permission,
    /// Nothing that runs has it.
    pub new: bool,
}

impl Access {
    /// A person should read it before the release starts. Ports are listed once they are open.
    #[must_use]
    pub(crate) fn is_notable(&self) -> bool {
        self.new && self.permission.kind != PermissionKind::Port
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Permission { kind, value, services } = &self.permission;
        write!(f, "{} {}", kind.word(), human::printable(value))?;
        let services: Vec<&str> = services.iter().map(|name| name.as_str()).collect();
        if services.is_empty() { Ok(()) } else { write!(f, " ({})", services.join(", ")) }
    }
}

/// The access that a release has `asked` for. `current` is the folder of the one that runs.
#[must_use]
pub(crate) fn access(asked: Vec<Permission>, current: Option<&Path>) -> Vec<Access> {
    let running = current.and_then(of_folder).unwrap_or_default();
    let has = |asked: &Permission| {
        running.iter().any(|one| {
            let same = one.kind == asked.kind && one.value == asked.value;
            same && asked.services.iter().all(|service| one.services.contains(service))
        })
    };
    asked.into_iter().map(|permission| Access { new: !has(&permission), permission }).collect()
}

/// The access of the release in `folder`, or `None` where its Compose file cannot be read: then all counts as new.
fn of_folder(folder: &Path) -> Option<Vec<Permission>> {
    let read = |path: &Path| files::read_bounded(path, limits::MAX_RENDERED_BYTES as u64).ok().flatten();
    let text = String::from_utf8(read(&folder.join("compose.yaml"))?).ok()?;
    let texts = [Text { file: "compose.yaml", text: &text }];
    let load = |path: &str| read(&folder.join(path));
    let parsed = compose::parse(&texts, &BTreeMap::new(), &load).ok()?;
    Some(permissions(&parsed.project))
}
