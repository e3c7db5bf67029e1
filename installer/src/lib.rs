//! `install`: carries a verified release into an engine that has no network, starts it, waits for
//! its health and keeps it running.
//!
//! Each module here is a room; which may name which stands in `tests/tests/rooms.rs`. Only [`engine`] names the client
//! library of Docker and Podman. A survey of the host ends in a plan of plain values, which `--dry-run` prints and the
//! install carries out.

mod bundle_errors;
pub mod cli;
pub mod engine;
mod host;
mod images;
mod install;
mod installation;
pub mod operate;
pub mod release;
pub mod services;
mod trust;

#[doc(hidden)]
pub use host::fuzzing;
