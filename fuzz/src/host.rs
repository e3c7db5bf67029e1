//! Records of a host.

use crate::images::scratch;

/// Reads the state file of a product, and what it is written as.
pub fn state(data: &[u8]) -> bool {
    let Some(folder) = scratch() else { unreachable!("there is no temporary folder") };
    match installer::fuzzing::state(&folder.join("root"), data) {
        Ok(read) => read,
        Err(broken) => unreachable!("{broken:#}"),
    }
}
