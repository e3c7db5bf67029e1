//! `install verify site.fz`: every byte and the signature, without an engine and without changing
//! anything.

use crate::bundle_errors;
use crate::host::Root;
use crate::install::open;
use crate::trust::{Confirm, Origin};
use anyhow::Result;
use bundle_format::check;
use bundle_format::signature::Fingerprint;
use ferry_terminal::{Class, Failure, human};
use manifest_schema::progress::Progress;
use serde::Serialize;
use std::path::Path;
use tokio_util::sync::CancellationToken;

/// The checked bundle.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub name: String,
    pub version: String,
    /// SHA-256 of the signed index.
    pub id: manifest_schema::Digest,
    pub file_bytes: u64,
    /// Fingerprints of its signers.
    pub signed_by: Vec<String>,
    /// The signer was pinned on this host before.
    pub pinned: bool,
}

/// Checks the bundle.
///
/// # Errors
/// When it is not trusted, or any byte is not the one that was signed.
pub(crate) fn verify(
    path: &Path,
    named: &[Fingerprint],
    root: &Root,
    confirm: Confirm<'_>,
    progress: &dyn Progress,
    cancel: &CancellationToken,
) -> Result<Report> {
    let opened = open(path, named, root, confirm)?;
    let bundle = &opened.bundle;
    progress.begin("verifying", Some(bundle.verified().index().payload_end()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let broken = check::check(bundle, threads, progress, &|| cancel.is_cancelled())
        .map_err(|error| bundle_errors::unusable(error, path))?;
    if cancel.is_cancelled() {
        return Err(Failure::cancelled().into());
    }
    let findings = crate::install::preflight::check_bundle(path, &broken);
    if !findings.is_empty() {
        progress.fail("the bundle is damaged");
        let listed: Vec<String> = findings.iter().map(|finding| format!("\n  - {}", finding.fact)).collect();
        let fact = format!("{} cannot be installed:{}", path.display(), listed.concat());
        return Err(Failure::new(Class::Bundle, fact)
            .hint("copy the bundle again and verify it there")
            .into());
    }
    progress.end(&human::count(bundle.verified().index().frames().len(), "frame"));
    Ok(Report {
        name: bundle.release().name.to_string(),
        version: bundle.release().version.clone(),
        id: bundle.verified().id(),
        file_bytes: bundle.verified().file_bytes(),
        signed_by: bundle.verified().signed_by(),
        pinned: opened.origin == Origin::Pinned,
    })
}
