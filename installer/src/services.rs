//! The services of a project: from the Compose model to containers, and from the containers that run to those
//! that are wanted.

pub(crate) mod ailment;
pub mod failure;
pub mod health;
pub(crate) mod hooks;
pub mod network_names;
mod order;
pub mod parking;
pub(crate) mod ranges;
pub(crate) mod reason;
pub(crate) mod replica;
pub(crate) mod seed_helper;
pub(crate) mod sequence;
pub mod spec;
pub mod switch;
pub mod target;
pub(crate) mod without_links;

pub use replica::Replica;
