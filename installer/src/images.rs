//! The images of a release: which the engine lacks, how they come in, what confirms them, and their names.

mod confirm;
pub mod import;
mod load;
pub mod names;
pub mod plan;
pub mod registry;
