//! The file that a bundle is written to.

use anyhow::{Context, Result};
use ferry_terminal::{Class, Failure};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Refuses to write over what is no bundle: a slip of the finger must not cost a key or a Compose file.
pub(crate) fn overwrites_a_bundle_only(output: &Path) -> Result<()> {
    // A pipe is not opened: that would wait.
    let is_file = match output.metadata() {
        Ok(metadata) => metadata.is_file(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("writing {}", output.display())),
    };
    let fact = format!("{} exists already, and is not a bundle", output.display());
    let no_bundle =
        Failure::new(Class::Files, fact).hint("write the bundle to another file, as in `-o site.fz`");
    if !is_file {
        return Err(no_bundle.into());
    }
    let mut file = File::open(output).with_context(|| format!("writing {}", output.display()))?;
    let mut begins = Vec::new();
    let read = file.by_ref().take(bundle_format::frame::EMPTY_FRAME.len() as u64).read_to_end(&mut begins);
    if read.is_ok() && (begins.is_empty() || begins == bundle_format::frame::EMPTY_FRAME) {
        return Ok(());
    }
    Err(no_bundle.into())
}
