//! Steps back in the order of versions: they need a yes, since data that a newer version has changed stays as it is.

use super::{Request, Source};
use crate::host::state::State;
use crate::host::{ProductDir, retained};
use anyhow::Result;
use ferry_terminal::{Class, Failure, human};
use manifest_schema::progress::Progress;
use manifest_schema::release::Release;
use manifest_schema::version;
use std::cmp::Ordering;

/// The cause of a refusal of an older version, or of one that may be older.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unconfirmed(String);

/// The question whether to go back, where `error` is the refusal to do so unasked.
#[must_use]
pub(crate) fn unconfirmed(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| cause.downcast_ref::<Unconfirmed>()).map(|cause| cause.0.clone())
}

/// Refuses a version that is older than the running one, or may be, unless that is asked for. A dry run only warns.
///
/// # Errors
/// The refusal.
pub(super) fn check(
    request: &Request,
    release: &Release,
    product: &ProductDir,
    state: &State,
    progress: &dyn Progress,
) -> Result<()> {
    let Some(current) = state.current.as_ref().filter(|_| request.source == Source::Stick) else {
        return Ok(());
    };
    let serial = if release.serial.is_some() { retained::serial(product, current) } else { None };
    let one = version::Release { version: &release.version, serial: release.serial };
    let other = version::Release { version: &current.version, serial };
    let by_serial = version::serials_decide(one, other);
    let shown = |release: version::Release<'_>| match release.serial.filter(|_| by_serial) {
        Some(serial) => format!("{} (serial {serial})", human::printable(release.version)),
        None => human::printable(release.version),
    };
    let (new, running) = (shown(one), shown(other));
    let fact = match version::order(one, other) {
        Some(Ordering::Less) => format!("version {new} is older than the running {running}"),
        Some(_) => return Ok(()),
        None => format!("nothing says whether version {new} is older than the running {running}"),
    };
    if request.allow_downgrade || request.dry_run {
        progress.warn(&fact);
        return Ok(());
    }
    Err(Failure::new(Class::Preflight, "the version is not certain to be a newer one; nothing was changed")
        .because(Unconfirmed(fact))
        .hint("back up the data first: a newer version may have changed it; then add --allow-downgrade")
        .into())
}
