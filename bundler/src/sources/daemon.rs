//! The local engine, Docker or Podman, over its socket: the one file here that names bollard.
//!
//! An image is saved once into `images/` and read from there, so that the next build needs the
//! engine only to ask whether the image is still the same. Invariants: a half-written
//! archive never gets its name.

use super::candidate::Candidate;
use super::kept;
use crate::cancel::Cancel;
use anyhow::{Context, bail};
use bollard::Docker;
use bollard::errors::Error;
use ferry_terminal::engine_client::{self, Address};
use ferry_terminal::{whole_file, writing};
use futures_util::StreamExt;
use manifest_schema::progress::Progress;
use manifest_schema::{Digest, Platform, oci};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// Docker's usual socket.
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// An answer that needs no work takes milliseconds; a machine under load may need more.
const INSPECT_TIMEOUT: Duration = Duration::from_secs(20);

/// Engines write the whole archive to their own disk before its first byte: minutes for big images.
const SAVE_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// The engine at one address.
pub(super) struct Engine {
    host: String,
    cancel: Cancel,
}

/// An image the engine has.
pub(super) struct EngineImage {
    /// The name by which it answered.
    name: String,
    /// The configuration's digest on graph drivers, the manifest's or index's on the containerd store.
    pub(super) id: Digest,
    /// Its platform, where the engine cannot have others of the same name.
    pub(super) only_platform: Option<Platform>,
    /// Bytes of its layers, which is nearly what an archive of it has. The containerd store counts otherwise.
    bytes: Option<u64>,
}

impl std::fmt::Display for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the engine at {}", self.host)
    }
}

impl Engine {
    pub(super) fn new(host: Option<&str>, cancel: &Cancel) -> Self {
        let host = host.filter(|host| !host.is_empty()).unwrap_or(DEFAULT_HOST).to_owned();
        Self { host, cancel: cancel.clone() }
    }

    fn connect(&self, timeout: Duration) -> anyhow::Result<Docker> {
        #[cfg(unix)]
        if let Some(path) = self.host.strip_prefix("unix://") {
            return Ok(engine_client::connect(Address::Unix(path.into()), timeout)?);
        }
        #[cfg(windows)]
        if self.host.starts_with("npipe://") {
            let (seconds, version) = (timeout.as_secs(), bollard::API_DEFAULT_VERSION);
            return Ok(Docker::connect_with_named_pipe(&self.host, seconds, version)?);
        }
        let tcp = self.host.strip_prefix("tcp://").or_else(|| self.host.strip_prefix("http://"));
        if let Some(host) = tcp {
            return Ok(engine_client::connect(Address::Tcp(host.trim_end_matches('/').to_owned()), timeout)?);
        }
        bail!("its address must start with unix:// or tcp://")
    }

    /// Asks whether it is there at all.
    ///
    /// # Errors
    /// When it does not answer, or is no engine.
    pub(super) fn knock(&self) -> anyhow::Result<()> {
        let docker = self.connect(INSPECT_TIMEOUT)?;
        runtime()?
            .block_on(self.cancel.unless(async { Ok(within(INSPECT_TIMEOUT, docker.ping()).await??) }))?;
        Ok(())
    }

    /// It is Podman, whose names have a registry always; `false` where it does not say.
    pub(super) fn is_podman(&self) -> bool {
        let asked = || -> anyhow::Result<bool> {
            let docker = self.connect(INSPECT_TIMEOUT)?;
            runtime()?.block_on(self.cancel.unless(async {
                let version = within(INSPECT_TIMEOUT, docker.version()).await??;
                let components = version.components.unwrap_or_default();
                Ok(components.iter().any(|component| component.name.starts_with("Podman")))
            }))
        };
        asked().unwrap_or(false)
    }

    /// The image that answers to the first known of `names`; `None` where the engine has none of them.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub(super) fn inspect(&self, names: &[String]) -> anyhow::Result<Option<EngineImage>> {
        let docker = self.connect(INSPECT_TIMEOUT)?;
        runtime()?.block_on(self.cancel.unless(async {
            for name in names {
                // Names go into a URL's path.
                if !name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':' | '@'))
                {
                    bail!("`{name}` is not the name of an image");
                }
                let image = match within(INSPECT_TIMEOUT, docker.inspect_image(name)).await? {
                    Ok(image) => image,
                    Err(Error::DockerResponseServerError { status_code: 404, .. }) => continue,
                    Err(error) => return Err(error.into()),
                };
                let id = image.id.unwrap_or_default();
                let id = format!("sha256:{}", id.strip_prefix("sha256:").unwrap_or(&id))
                    .parse()
                    .with_context(|| format!("the engine gives `{name}` the ID `{id}`"))?;
                // The containerd store, which alone has images of several platforms, tells a descriptor.
                let is_classic = image.descriptor.is_none();
                let [os, architecture, variant] =
                    [image.os, image.architecture, image.variant].map(Option::unwrap_or_default);
                let platform = oci::platform(&os, &architecture, Some(&variant));
                let only_platform = platform.filter(|_| is_classic);
                let bytes = image.size.filter(|_| is_classic).and_then(|size| u64::try_from(size).ok());
                return Ok(Some(EngineImage { name: name.clone(), id, only_platform, bytes }));
            }
            Ok(None)
        }))
    }

    /// Saves an image as an archive at `path`.
    pub(super) fn save(
        &self,
        image: &EngineImage,
        path: &Path,
        progress: &dyn Progress,
    ) -> anyhow::Result<()> {
        let docker = self.connect(SAVE_TIMEOUT)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        let partial = kept::partial(path);
        let result = self.stream(&docker, image, &partial, path, progress);
        if result.is_err() {
            // What remains is of no use: the engine cannot continue in the middle.
            let _ = std::fs::remove_file(&partial);
        }
        result
    }

    fn stream(
        &self,
        docker: &Docker,
        image: &EngineImage,
        partial: &Path,
        path: &Path,
        progress: &dyn Progress,
    ) -> anyhow::Result<()> {
        let mut file =
            File::create(partial).with_context(|| format!("{} cannot be written", partial.display()))?;
        progress.begin("saving", image.bytes);
        progress.detail(&format!("image {}", image.name));
        let mut bytes = 0_u64;
        runtime()?.block_on(self.cancel.unless(async {
            let mut stream = std::pin::pin!(docker.export_image(&image.name));
            while let Some(chunk) = within(SAVE_TIMEOUT, stream.next()).await? {
                let chunk = chunk?;
                file.write_all(&chunk).map_err(|error| writing::failed(partial, None, error))?;
                bytes += chunk.len() as u64;
                progress.advance(chunk.len() as u64);
            }
            Ok(())
        }))?;
        // An engine can fail after its answer began: only what reads as the image is kept.
        let saved = kept::read_images(partial, None, &self.cancel)?;
        let whole = |candidate: &Candidate| candidate.content.is_ok();
        if !saved.iter().any(whole) {
            bail!("the engine's archive holds no whole image");
        }
        whole_file::rename(&file, partial, path)?;
        progress.end(&format!("{} from the engine, {}", image.name, ferry_terminal::human::bytes(bytes)));
        Ok(())
    }
}

/// The result of `work`, with its body: the client's own limit is one on the head of an answer.
async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> anyhow::Result<T> {
    tokio::time::timeout(limit, work).await.context("it did not answer in time")
}

/// One thread suffices: there is one connection.
pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime for network work")
}
