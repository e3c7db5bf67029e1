//! The images of a release: which the engine lacks, how they come in, what confirms them, and their names.

mod confirm;
pub(crate) mod files;
pub(crate) mod import;
mod load;
pub(crate) mod names;
pub(crate) mod plan;
pub(crate) mod read_failure;
pub(crate) mod registry;
