//! A release on this host: its answers and rendered files, its folder, and the first content of its volumes.

pub mod changes;
pub mod lay_out;
pub mod seed;
pub mod seeding;
pub mod site;
