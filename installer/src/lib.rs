//! `install`: carries a verified release into an engine that has no network, starts it, waits for
//! its health and keeps it running.
//!
//! The modules here are the procedure's verbs and nouns. Only [`engine`] talks to Docker or Podman;
//! everything else works on plain values, so that plans can be printed and compared.

pub mod changes;
pub mod classify;
pub mod cli;
pub mod engine;
pub mod failure;
pub mod health;
pub mod hint;
pub mod hooks;
pub mod host;
pub mod image_names;
pub mod import;
pub mod install;
pub mod kept;
pub mod kept_answers;
pub mod label;
pub mod lay_out;
pub mod lifecycle;
pub mod network_names;
pub mod parking;
pub mod plan;
pub mod preflight;
pub mod random;
pub mod registry;
pub mod seed;
pub mod seeding;
pub mod sequence;
pub mod service_spec;
pub mod site;
pub mod state;
pub mod switch;
pub mod target;
pub mod trust;
pub mod verify;
