//! What `ferry build` reads: container images wherever they lie, build artifacts, git repositories
//! and the keys an ssh-agent holds.
//!
//! The binary `ferry` is a thin face over these modules; they print nothing and end no process.

pub mod agent;
pub mod artifacts;
pub mod git;
pub mod sources;
