//! The connected side: `ferry build` packs images, artifacts, configs and a manifest into one signed
//! `site.fz`.
//!
//! [`build`] reads like the procedure. [`inputs`] is what people wrote, [`renderings`] what comes out of it,
//! [`carried`] which files it names, [`sources`] where images lie,
//! [`artifacts`] and [`git`] what else goes in, [`describe`] what the bundle says of itself, [`signing`]
//! who vouches for it. Only [`cli`] speaks to a person.

pub mod agent;
pub mod answers;
pub mod artifacts;
pub mod build;
pub mod cancel;
pub mod carried;
pub mod cli;
pub mod describe;
pub mod git;
pub mod init;
pub mod inputs;
pub mod inspect;
pub mod lint;
mod mentions;
pub mod render;
pub mod renderings;
pub mod signing;
pub mod sources;
pub mod texts;
pub mod trial;
pub mod verify;
