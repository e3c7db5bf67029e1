//! The bundle of the running release, retained on the host without its layers, for new answers without the stick.
//!
//! It has the bundle's own signature and index, so it is opened and checked as the stick was. The images
//! themselves are in the engine.

use super::{ProductDir, files};
use anyhow::{Context, Result};
use bundle_format::{Bundle, slim};
use ferry_terminal::{WholeFile, writing};
use manifest_schema::ReleaseId;
use std::fs::File;

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
