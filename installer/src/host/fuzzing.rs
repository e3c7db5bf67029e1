//! The state of a product, reachable for the fuzz targets.

use super::Root;
use super::state::State;
use anyhow::{Result, bail, ensure};
use std::path::Path;

/// Reads `data` as the state file of a product below `root`, and as 0.1.0 wrote its own. Whether either reads it.
///
/// # Errors
/// When a promise is broken: a state that was read is written otherwise, or a file counts as of both formats.
pub fn state(root: &Path, data: &[u8]) -> Result<bool> {
    let root = Root::new(root)?;
    let (product, old) = (root.product(&"plant".parse()?), root.product(&"old-plant".parse()?));
    for (product, name) in [(&product, "installed.json"), (&old, "state.json")] {
        std::fs::create_dir_all(product.path())?;
        std::fs::write(product.file(name), data)?;
    }
    let reads_as_old = State::load(&old).is_ok();
    let Ok(state) = State::load(&product) else { return Ok(reads_as_old) };
    ensure!(!reads_as_old, "a file with a format number was read as one without");
    ensure!(!state.salt.is_empty(), "a state without salt");
    state.save(&product)?;
    if State::load(&product)? != state {
        bail!("a state that was read is saved otherwise");
    }
    ensure!(state.own_images().all(|(name, id)| state.owns(name, id)), "an image of its own is not its own");
    Ok(true)
}
