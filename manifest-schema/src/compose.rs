//! The Compose Specification, as far as Ferry carries it: parse, interpolate, check, order.
//!
//! Why not the official schema alone: a mistake has to come with its line, a key that Ferry does not
//! carry must stop the build instead of being lost on site, and values must be typed after
//! interpolation. Invariants: parsing reads nothing but the text, the given environment and
//! what `load` returns, and the same input gives the same project on both sides of the gap. Follows
//! the Compose Specification as of 2025, without the parts that need a registry, a build or Swarm.

mod decode;
mod load;
pub mod model;
mod project;

pub use load::above::{below_manifest, from_manifest};
pub use load::dotenv::{Entries, parse_dotenv, parse_env};
pub use load::unset::{Unset, Used};
pub use load::{Beside, LEVEL, Text, interpolated};
pub use model::{FileUse, NamedFile, Need, Reserved, config_hash, needs};
pub use project::{Parsed, parse, parse_with_own, unset_variables};

#[cfg(test)]
mod large_tests;
#[cfg(test)]
mod left_out_tests;
#[cfg(test)]
mod load_tests;
#[cfg(test)]
mod mistakes_tests;
#[cfg(test)]
mod nested_binds_tests;
#[cfg(test)]
mod reserved_tests;
#[cfg(test)]
mod syntax_tests;
