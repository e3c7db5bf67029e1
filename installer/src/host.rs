//! This host's own folder: releases, keys and records, and the files below it.

pub mod answers;
pub mod files;
pub mod folder;
pub mod journal;
pub mod random;
pub mod retained;
pub mod state;
pub mod versioned;

pub use folder::{DEFAULT_ROOT, Lock, ProductDir, Root};
