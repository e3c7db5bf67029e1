//! A release on this host: its answers and rendered files, its folder, and the first content of its volumes.

pub(crate) mod access;
pub(crate) mod changes;
pub(crate) mod lay_out;
pub mod seed;
pub(crate) mod seeding;
pub(crate) mod site;
