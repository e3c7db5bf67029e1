//! Support for the end-to-end tests in `tests/tests`: the real programs, run as people run them, on
//! real engines, and pictures of a host before and after.
//!
//! What must stay true: a missing program or engine fails loudly and says what to run, nothing waits
//! without a deadline, and nothing is left behind. Nothing here uses the code that is tested: bundles
//! are read with stock tools, and results as a person or a program would read them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise, and everything here is called from tests"
)]

pub mod bundle;
pub mod compose_2;
pub mod host;
pub mod host_binds;
pub mod leftovers;
pub mod odd_images;
pub mod outcome;
pub mod port_holder;
pub mod programs;
pub mod running;
pub mod sessions;
pub mod snapshot;
pub mod transcript;
