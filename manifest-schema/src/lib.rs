//! The words both sides of the gap share: the manifest people write (`ferry.yaml`), the release
//! description machines read (`ferry.json`), the Compose model, names, digests and limits.
//!
//! Nothing here does I/O: parsers take text and return values, so the same code answers on the
//! connected side, where a mistake is cheap, and on site, where it is not.

pub mod compose;
pub mod diagnostic;
pub mod digest;
pub mod encoding;
pub mod feature;
pub mod limits;
pub mod manifest;
pub mod names;
pub mod oci;
pub mod order;
mod paths;
pub mod progress;
mod quantity;
pub mod release;
pub mod render;
pub mod schema;
pub mod site;
pub mod version;
pub mod yaml;

pub use diagnostic::{Diagnostic, Diagnostics};
pub use digest::Digest;
pub use names::{BundlePath, ImageRef, Platform, ProjectName, ReleaseId, ServiceName};
pub use names::{is_ferrys_container, is_ferrys_label};
