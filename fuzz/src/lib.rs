//! Every parser of outside data as a fuzz target.
//!
//! A target panics when a promise is broken: no input panics; what was read stays within its limits; what was
//! written again reads as the same. It returns `true` for bytes that its parser accepts, so that a target that
//! never comes past the first check is seen. [`TARGETS`] lists them all.
//! `scripts/fuzz` runs them under libFuzzer, `tests/smoke.rs` on the stable toolchain over the same seeds, and
//! `tests/parsers.rs` holds the list against the sources: a new parser needs a target, or a reason.

mod bundle;
mod host;
mod images;
mod keys;
mod mutate;
mod table;
mod texts;

pub use bundle::{bundle, ferry_json, head, index, seek_table, signature};
pub use host::state;
pub use images::{archive, oci_layout, tidy};
pub use keys::{agent, allowed_signers};
pub use mutate::Mutator;
pub use table::{TARGETS, Target};
pub use texts::{answers, compose, dotenv, interpolation, manifest, names, yaml_tree};
