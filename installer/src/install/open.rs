//! Opening a bundle and checking its signature against the trust of this host.

use crate::bundle_errors;
use crate::host::Root;
use crate::trust::{self, Origin};
use anyhow::Result;
use bundle_format::signature::Fingerprint;
use bundle_format::{Bundle, UnverifiedBundle};
use ferry_terminal::{Class, Failure};
use std::fs::File;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::sync::Arc;

/// A bundle whose signature was checked, and how its signer came to be trusted.
pub(crate) struct Opened {
    pub bundle: Arc<Bundle<File>>,
    /// How its signer came to be trusted.
    pub origin: Origin,
}

/// Opens the bundle at `path`. `named` are fingerprints from the delivery note.
///
/// # Errors
/// When it is no bundle, damaged in its head, cut short, or not trusted.
pub(crate) fn open(
    path: &Path,
    named: &[Fingerprint],
    root: &Root,
    confirm: trust::Confirm<'_>,
) -> Result<Opened> {
    let mut file = open_file(path)?;
    let unusable = |error| bundle_errors::unusable(error, path);
    let unverified = UnverifiedBundle::read(&mut file).map_err(unusable)?;
    let decision = trust::decide(root, &unverified, path, named, confirm)?;
    let verified = unverified.verify(decision.trust(), &mut file).map_err(unusable)?;
    let product = verified.release().name.as_str();
    let origin = decision.for_product(verified.signers(), product, path)?;
    let bundle = Bundle::with_source(verified, file).map_err(unusable)?;
    Ok(Opened { bundle: Arc::new(bundle), origin })
}

fn open_file(path: &Path) -> Result<File> {
    let shown = path.display();
    let unopened = |error| {
        Failure::new(Class::Files, format!("{shown} cannot be opened"))
            .because(error)
            .hint("look at the stick with `ls`: is this the bundle's name, and is the stick mounted?")
    };
    // Opening a pipe would wait for somebody who writes into it.
    let metadata = std::fs::metadata(path).map_err(unopened)?;
    if metadata.is_dir() {
        return Err(Failure::new(Class::Files, format!("{shown} is a folder"))
            .hint("name the bundle in it, which ends in .fz")
            .into());
    }
    if metadata.file_type().is_fifo() {
        return Err(Failure::new(Class::Files, format!("{shown} is a pipe"))
            .hint("copy the bundle to a disk or a stick first: it is read more than once")
            .into());
    }
    Ok(File::open(path).map_err(unopened)?)
}
