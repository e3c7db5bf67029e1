//! The connected side: `ferry build` packs images, artifacts, configs and a manifest into one signed
//! `site.fz`.
//!
//! [`verbs`] holds the procedure of each command, [`inputs`] what people wrote and what comes out of it,
//! [`sources`] where images lie, [`artifacts`] what else goes in, [`pack`] the bundle that is made of it,
//! [`signing`] the keys, [`read`] how outside data is read. Only [`cli`] speaks to a person. Each may name those
//! behind it in this order alone: `cli`, `verbs`, `pack`, `artifacts`, `inputs`, `sources`, `signing`, `read`.

pub mod artifacts;
pub mod cancel;
pub mod cli;
pub mod inputs;
pub mod pack;
mod read;
pub mod signing;
pub mod sources;
pub mod verbs;
