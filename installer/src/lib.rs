//! `install`: carries a verified release into an engine that has no network, starts it, waits for
//! its health and keeps it running.
//!
//! The modules here are the procedure's verbs and nouns. Only [`engine`] talks to Docker or Podman;
//! plans and specifications are plain values, so that they can be printed and compared.

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
