//! Container images, wherever they lie on the connected side.
//!
//! Images come from archives (`docker save` of every generation, `podman save`, OCI archives), OCI
//! image layouts, the local engine and registries. [`resolve`] finds them all before anything is
//! packed; their layers are then read once, straight from where they lie.
//!
//! Invariants: nothing is unpacked to disk to be looked at, what an archive says about
//! itself is checked or ignored, and a build never takes an image that only might be the right one.

mod archive;
mod candidate;
mod credentials;
mod daemon;
mod distribution;
mod docker_archive;
mod documents;
mod files;
mod find;
pub(crate) mod fuzzing;
mod kept;
mod oci_layout;
mod registry;
mod store;
mod tar_scan;
#[cfg(test)]
mod tests;

pub(crate) use files::FileFacts;
pub(crate) use find::resolve;

use crate::cancel::Cancel;
use crate::read::compression::{Compression, Lifted, decompress};
use ferry_terminal::{Class, Failure};
use manifest_schema::manifest::SourceSpec;
use manifest_schema::{Digest, ImageRef, Platform};
use std::io::Read;
use std::path::PathBuf;
use store::Stored;

/// An image that a build needs.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// The name that Compose uses.
    pub reference: ImageRef,
    /// The one platform that it is needed for, where a service names it; `None`: all of the build's.
    pub platform: Option<Platform>,
    /// Where the manifest says it lies; `None`: it is looked for.
    pub source: Option<SourceSpec>,
    /// File and 1-based line that ask for it, for messages.
    pub place: (String, usize),
    /// Keeps it byte for byte, which needs a source that still has its manifest.
    pub preserve: bool,
}

/// How images are looked for.
#[derive(Debug, Clone, Default)]
pub struct ResolveOptions {
    /// Ask no registry.
    pub offline: bool,
    /// Ask engine and registry again for images that were kept in `images/` by an earlier build.
    pub refresh: bool,
    /// The engine: `unix://…` or `tcp://…`; `None`: Docker's usual socket.
    pub docker_host: Option<String>,
    /// Bytes that any layer or archive may grow to, where a person has lifted the ceiling.
    pub unpacked_bytes: Option<u64>,
    /// Folder of Docker's `config.json` with registry passwords; `None`: registries are asked anonymously.
    pub docker_config: Option<PathBuf>,
}

/// Asks the engine at `host` whether it is there, before anything is built for it. Where none is named, the
/// installer finds one at more places than a build looks for images.
///
/// # Errors
/// When the engine that is named does not answer.
pub(crate) fn knock(host: Option<&str>, cancel: &Cancel) -> anyhow::Result<()> {
    let Some(host) = host.filter(|host| !host.is_empty()) else { return Ok(()) };
    // The installer takes a bare path, too.
    let host = if host.starts_with('/') { format!("unix://{host}") } else { host.to_owned() };
    let engine = daemon::Engine::new(Some(&host), cancel);
    engine.knock().map_err(|error| {
        Failure::new(Class::Engine, format!("{engine} does not answer"))
            .because(error)
            .hint("start it, or name another one with --engine or DOCKER_HOST")
            .into()
    })
}

/// An image found at its source; its layers have not been read yet.
#[derive(Debug, Clone)]
pub(crate) struct FoundImage {
    /// The name that Compose uses.
    pub reference: ImageRef,
    /// The platform it was built for, as its configuration says.
    pub platform: Platform,
    /// The configuration's bytes; their digest is the image ID on graph-driver stores.
    pub config: Vec<u8>,
    /// Diff IDs of the layers, base first.
    pub diff_ids: Vec<Digest>,
    /// The layers, base first, one for each diff ID.
    pub layers: Vec<LayerSource>,
    /// The manifest as the source has it: its layer descriptors are the stored blobs. `None` for
    /// archives that have none.
    pub original: Option<OriginalManifest>,
    /// The index over the manifest, where the reference is pinned to that index's digest.
    pub index: Option<OriginalManifest>,
    /// Where it came from: `docker-archive`, `oci`, `docker-daemon`, `docker`.
    pub source: &'static str,
    /// The file or folder it is read from, for messages and summaries.
    pub label: String,
}

/// A manifest or index, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OriginalManifest {
    /// Media type, as an HTTP `Content-Type`.
    pub media_type: String,
    /// SHA-256 of `bytes`.
    pub digest: Digest,
    /// The document.
    pub bytes: Vec<u8>,
}

/// A layer where it lies.
#[derive(Clone)]
pub(crate) struct LayerSource {
    /// SHA-256 that the uncompressed tar must have. Nothing here has checked it: whoever reads the
    /// layer hashes it anyway and compares.
    pub diff_id: Digest,
    /// SHA-256 that the stored bytes must have, where it is known; also not checked here.
    pub stored_digest: Option<Digest>,
    /// Bytes as stored.
    pub stored_bytes: u64,
    /// How they are stored.
    pub compression: Compression,
    stored: Stored,
    order: (usize, u64),
    lifted: Lifted,
}

impl LayerSource {
    fn new(diff_id: Digest, stored_digest: Option<Digest>, stored: Stored) -> Self {
        Self {
            diff_id,
            stored_digest,
            stored_bytes: stored.bytes,
            compression: stored.compression,
            stored,
            order: (0, 0),
            lifted: None,
        }
    }

    /// Bytes of the uncompressed tar, where that is known without reading.
    #[must_use]
    pub(crate) fn content_bytes(&self) -> Option<u64> {
        (self.compression == Compression::None).then_some(self.stored_bytes)
    }

    /// The uncompressed tar.
    ///
    /// # Errors
    /// When the file is gone or changed; reading fails when it is cut off or does not decompress.
    pub(crate) fn open(&self) -> anyhow::Result<Box<dyn Read + Send>> {
        Ok(decompress(
            self.open_stored()?,
            self.compression,
            self.stored_bytes,
            self.lifted,
            self.stored.label(),
        )?)
    }

    /// The bytes as they are stored, exactly [`Self::stored_bytes`] of them.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) fn open_stored(&self) -> anyhow::Result<Box<dyn Read + Send>> {
        self.stored.open()
    }

    /// Sort key: layers opened in this order are read front to back, each archive once. Equal for
    /// equal inputs, whatever the machine.
    #[must_use]
    pub(crate) const fn order(&self) -> (usize, u64) {
        self.order
    }

    /// Where it lies, for messages.
    #[must_use]
    pub(crate) fn label(&self) -> String {
        self.stored.label()
    }

    /// True for a layer that an earlier build kept of an engine's or a registry's image.
    #[must_use]
    pub(crate) fn is_kept(&self) -> bool {
        kept::is_kept(match &self.stored.place {
            store::Place::Range { archive, .. } => archive.path(),
            store::Place::File(path) => path,
        })
    }
}

impl std::fmt::Debug for LayerSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LayerSource")
            .field("diff_id", &self.diff_id)
            .field("compression", &self.compression)
            .field("at", &self.label())
            .field("order", &self.order)
            .finish_non_exhaustive()
    }
}
