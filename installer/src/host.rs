//! This host's own folder: releases, keys and records, and the files below it.

pub(crate) mod answers;
pub(crate) mod files;
pub(crate) mod folder;
pub mod fuzzing;
pub(crate) mod journal;
pub(crate) mod place;
pub(crate) mod random;
pub(crate) mod retained;
pub(crate) mod state;
pub(crate) mod strict;
pub(crate) mod versioned;

pub(crate) use folder::{DEFAULT_ROOT, Lock, OVERRIDE, ProductDir, Root};
