//! The images of a release: into the engine, confirmed there, and the names that keep them.

pub mod import;
pub mod names;
pub mod registry;
