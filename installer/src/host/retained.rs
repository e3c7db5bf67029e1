//! The bundle of the running release, retained on the host without its layers, for new answers without the stick. The
//! record does not repeat what it says: the release's serial is asked of it.
//!
//! It has the bundle's own signature and index, so it is opened and checked as the stick was. The images
//! themselves are in the engine.

use super::state::Installed;
use super::{ProductDir, files};
use anyhow::{Context, Result};
use bundle_format::{Bundle, Trust, UnverifiedBundle, slim};
use ferry_terminal::{WholeFile, writing};
use manifest_schema::{Digest, ReleaseId};
use std::fs::File;

/// The serial of an installed release, where it has one and its bundle is retained. The bundle is the one that the record
/// names, whoever is trusted today.
#[must_use]
pub(crate) fn serial(product: &ProductDir, installed: &Installed) -> Option<u64> {
    let mut file = File::open(product.retained_bundle(&installed.release)).ok()?;
    let unverified = UnverifiedBundle::read(&mut file).ok()?;
    if Digest::of(unverified.index_bytes()) != installed.bundle {
        return None;
    }
    unverified.verify(&Trust::AnyValid, &mut file).ok()?.release().serial
}

/// Retains the bundle of `id`, unless it is retained already, and whole.
///
/// # Errors
/// When the bundle cannot be read, or the file not written.
pub(crate) fn retain(bundle: &Bundle<File>, product: &ProductDir, id: &ReleaseId) -> Result<()> {
    let path = product.retained_bundle(id);
    let doing = || format!("retaining {}", path.display());
    if File::open(&path).is_ok_and(|retained| slim::is_whole(bundle, &retained)) {
        return Ok(());
    }
    files::make_private_dir(&product.bundles())?;
    let mut file = WholeFile::begin(&path)?;
    if let Err(error) = slim::write(bundle, file.as_file_mut()) {
        return Err(writing::named(&path, slim::bytes(bundle).ok(), error.into())).with_context(doing);
    }
    file.finish(0o600).map(drop)
}
