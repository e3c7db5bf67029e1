//! The connected side: `ferry build` packs images, artifacts, configs and a manifest into one signed
//! `site.fz`.
//!
//! A room is a module here. `verbs` holds the procedure of each command, `pack` the bundle, `artifacts` what goes
//! in beside images, `inputs` what people wrote and what comes out of it, `sources` where images lie, `signing`
//! the keys, `read` how outside data is read. Only `cli` speaks to a person. Each names those behind it in this
//! order alone: `cli`, `verbs`, `pack`, `artifacts`, `inputs`, `sources`, `signing`, `read`, `cancel`.

mod artifacts;
mod cancel;
mod cli;
mod inputs;
mod pack;
mod read;
mod signing;
mod sources;
mod verbs;

/// Readers of outside data, reachable for the fuzz targets.
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::signing::agent::Agent;
    pub use crate::sources::fuzzing::{MAX_HEAD_BYTES, Member, Offered, images, scan};
}

pub use cancel::Cancel;
pub use cli::main;
pub use signing::{AskPassphrase, SigningKey};
pub use sources::ResolveOptions;
pub use verbs::build::{Request, Summary, build};
