//! Images: inspecting, pulling from our own loopback registry, loading, tagging, removing.
//!
//! An engine can answer 200 and fail afterwards, and the containerd store can report success for an
//! image whose layers are missing. So errors inside the answer are errors here, a pulled image must
//! be there afterwards, and callers compare [`ImageFacts::diff_ids`] with the signed ones.

use super::{
    BULK_TIMEOUT, Engine, EngineError, ImageId, ImageName, Result, checked_image, failure, one_line,
};
use bollard::models::ImageConfig;
use bollard::query_parameters::{
    CreateImageOptionsBuilder, ImportImageOptionsBuilder, RemoveImageOptionsBuilder, TagImageOptionsBuilder,
};
use bytes::Bytes;
use ferry_terminal::engine_client;
use futures_util::{Stream, StreamExt as _};
use manifest_schema::{Digest, Platform};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::io;

/// The engine's facts about one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageFacts {
    /// ID as the engine names it, `sha256:…`. Run services by it.
    pub id: ImageId,
    /// SHA-256 of each uncompressed layer, base first.
    pub diff_ids: Vec<Digest>,
    /// The platform it was built for.
    pub platform: Option<Platform>,
    pub repo_tags: Vec<String>,
    /// `nginx@sha256:…`: names that pulls have left.
    pub repo_digests: Vec<String>,
    /// Paths that the image declares as volumes.
    pub volumes: Vec<String>,
    /// How it runs, in one spelling.
    config: Value,
}

impl ImageFacts {
    /// Keys of the labels that its containers inherit.
    pub(super) fn label_keys(&self) -> impl Iterator<Item = &String> {
        let labels = self.config.get("Labels").and_then(Value::as_object);
        labels.into_iter().flat_map(|labels| labels.keys())
    }

    /// An image configuration (OCI image specification, config.md) says the same of how the image runs. Its
    /// date and history do not count.
    #[must_use]
    pub fn has_config(&self, configuration: &[u8]) -> bool {
        #[derive(Deserialize)]
        struct Configuration {
            config: Option<ImageConfig>,
        }
        let read: Option<Configuration> = serde_json::from_slice(configuration).ok();
        read.is_some_and(|read| in_one_spelling(read.config.unwrap_or_default()) == self.config)
    }
}

/// Empty and missing members mean the same, and sets have no order.
fn in_one_spelling(mut config: ImageConfig) -> Value {
    for set in [&mut config.exposed_ports, &mut config.volumes] {
        set.iter_mut().for_each(|set| set.sort());
    }
    let mut value = serde_json::to_value(config).unwrap_or_default();
    if let Value::Object(fields) = &mut value {
        fields.retain(|_, value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.is_empty(),
            Value::Object(fields) => !fields.is_empty(),
            _ => true,
        });
    }
    value
}

/// How far one layer of a pull is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullPhase {
    Extracting,
    Other,
}

/// One line of an engine's answer to a pull or load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullEvent {
    /// How far it is.
    pub phase: PullPhase,
}

impl PullEvent {
    fn new(text: &str) -> Self {
        let extracting = matches!(text, "Extracting" | "Loading layer");
        Self { phase: if extracting { PullPhase::Extracting } else { PullPhase::Other } }
    }
}

impl Engine {
    /// The engine's facts about the image `name` (a reference or an ID), or `None` where it has no such image.
    ///
    /// # Errors
    /// When the engine fails, or reports something that is not an image of layers.
    pub async fn inspect_image(&self, name: impl fmt::Display) -> Result<Option<ImageFacts>> {
        let name = name.to_string();
        let action = || format!("inspect image {name}");
        match self.docker.inspect_image(checked_image(&name)?).await.map_err(|e| failure(action(), e)) {
            Ok(image) => facts(image).map(Some).ok_or_else(|| EngineError::Failed {
                action: action(),
                message: "its layers are not named by digests".to_owned(),
            }),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Pulls `name` (`127.0.0.1:5000/x`) at `reference` (a tag or `sha256:…`). Each line of the
    /// engine's answer goes to `on_event`.
    ///
    /// # Errors
    /// [`EngineError::CannotReachRegistry`] when the engine cannot talk to the address at all, so
    /// that another way may work; other errors when the pull itself failed, also when the engine
    /// reported that only inside its answer, or reported success without having the image.
    pub async fn pull(
        &self,
        name: &str,
        reference: &str,
        platform: Option<&Platform>,
        on_event: &mut (dyn FnMut(PullEvent) + Send),
    ) -> Result<()> {
        let separator = if reference.contains(':') { '@' } else { ':' };
        let full = format!("{}{separator}{reference}", checked_image(name)?);
        checked_image(&full)?;
        let action = format!("pull {full}");
        let mut options = CreateImageOptionsBuilder::new().from_image(name).tag(reference);
        if let Some(platform) = platform {
            options = options.platform(platform.as_str());
        }
        let lines = self.patient(BULK_TIMEOUT).create_image(Some(options.build()), None, None);
        let mut lines = engine_client::report(lines).boxed();
        while let Some(line) = lines.next().await {
            let line = line.map_err(|error| pull_failure(&action, error))?;
            on_event(PullEvent::new(&line.status.unwrap_or_default()));
        }
        match self.inspect_image(&full).await? {
            Some(_) => Ok(()),
            None => Err(EngineError::Failed {
                action,
                message: "it reported success, but does not have the image".to_owned(),
            }),
        }
    }

    /// Loads an image archive (`docker save`, OCI layout, or both in one).
    ///
    /// # Errors
    /// When `body` fails, the engine refuses the archive, or reports an error inside its answer.
    pub async fn load(
        &self,
        body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
        on_event: &mut (dyn FnMut(PullEvent) + Send),
    ) -> Result<()> {
        let action = "load images";
        let options = ImportImageOptionsBuilder::new().quiet(false).build();
        let lines = self.patient(BULK_TIMEOUT).import_image_stream(options, body, None);
        let mut lines = engine_client::report(lines).boxed();
        while let Some(line) = lines.next().await {
            let line = line.map_err(|error| failure(action, error))?;
            let text = line.status.or(line.stream).unwrap_or_default().trim_end().to_owned();
            // The containerd store says so in passing and then reports success.
            if text.starts_with("Error unpacking") || text.starts_with("Error response") {
                return Err(EngineError::Failed { action: action.to_owned(), message: one_line(&text) });
            }
            on_event(PullEvent::new(&text));
        }
        Ok(())
    }

    /// Gives the image `id` the further name `name`.
    ///
    /// # Errors
    /// When there is no such image, or the engine fails.
    pub async fn tag(&self, id: ImageId, name: &ImageName) -> Result<()> {
        let options = TagImageOptionsBuilder::new().repo(name.repository()).tag(name.tag()).build();
        self.docker
            .tag_image(&id.to_string(), Some(options))
            .await
            .map_err(|e| failure(format!("name image {id} {name}"), e))
    }

    /// Removes the name `name`; `true` where there was such a name. The image itself goes when that was its last
    /// name and nothing uses it.
    ///
    /// # Errors
    /// When the engine fails, or refuses because a container still uses the image under this name.
    pub async fn untag(&self, name: impl fmt::Display) -> Result<bool> {
        self.remove(&name.to_string(), false).await
    }

    /// Removes an image by ID or name with all its names, unless a running container uses it.
    /// `true` where there was one.
    ///
    /// # Errors
    /// When the engine fails or refuses.
    pub async fn remove_image(&self, name: impl fmt::Display) -> Result<bool> {
        self.remove(&name.to_string(), true).await
    }

    async fn remove(&self, name: &str, force: bool) -> Result<bool> {
        let options = RemoveImageOptionsBuilder::new().force(force).build();
        match self.docker.remove_image(checked_image(name)?, Some(options), None).await {
            Ok(_) => Ok(true),
            Err(error) => match failure(format!("remove image {name}"), error) {
                error if error.is_not_found() => Ok(false),
                error => Err(error),
            },
        }
    }
}

/// The facts of an inspected image, or `None` when it or its layers are not named by digests.
pub(super) fn facts(image: bollard::models::ImageInspect) -> Option<ImageFacts> {
    let layers = image.root_fs.and_then(|root| root.layers).unwrap_or_default();
    let diff_ids = layers.iter().map(|layer| layer.parse().ok()).collect::<Option<Vec<Digest>>>()?;
    let platform = match (image.os, image.architecture, image.variant.filter(|v| !v.is_empty())) {
        (Some(os), Some(arch), Some(variant)) => format!("{os}/{arch}/{variant}").parse().ok(),
        (Some(os), Some(arch), None) => format!("{os}/{arch}").parse().ok(),
        _ => None,
    };
    let config = image.config.unwrap_or_default();
    let volumes = config.volumes.clone().unwrap_or_default();
    Some(ImageFacts {
        id: image.id?.parse().ok()?,
        diff_ids,
        platform,
        repo_tags: image.repo_tags.unwrap_or_default(),
        repo_digests: image.repo_digests.unwrap_or_default(),
        volumes,
        config: in_one_spelling(config),
    })
}

/// Tells "the engine cannot talk to the address" from a pull that failed.
fn pull_failure(action: &str, error: bollard::errors::Error) -> EngineError {
    const UNREACHABLE: [&str; 10] = [
        "connection refused",
        "no such host",
        "i/o timeout",
        "network is unreachable",
        "no route to host",
        "server gave HTTP response to HTTPS client",
        "first record does not look like a TLS handshake",
        "tls: ",
        "pinging container registry",
        "proxyconnect",
    ];
    match failure(action, error) {
        EngineError::Refused { message, .. } | EngineError::Failed { message, .. }
            if UNREACHABLE.iter().any(|words| message.contains(words)) =>
        {
            EngineError::CannotReachRegistry { message }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "sha256:2f0b4f0a1f2bfbc0fd1d5ad4ed44b9e0e1a6bfad5fb0eb5a3f4cbe9ce9a2a0f5";

    fn stream_error(text: &str) -> bollard::errors::Error {
        bollard::errors::Error::DockerStreamError { error: text.to_owned() }
    }

    #[test]
    fn an_unreachable_registry_is_told_from_a_failed_pull() {
        let refused = "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused";
        assert!(matches!(
            pull_failure("pull", stream_error(refused)),
            EngineError::CannotReachRegistry { .. }
        ));
        let podman = "pinging container registry 127.0.0.1:1: Get \"https://127.0.0.1:1/v2/\": http: server gave HTTP response to HTTPS client";
        assert!(matches!(
            pull_failure("pull", stream_error(podman)),
            EngineError::CannotReachRegistry { .. }
        ));
        let full = "failed to register layer: write /x: no space left on device";
        let error = pull_failure("pull", stream_error(full));
        assert!(matches!(error, EngineError::Failed { .. }));
        assert!(error.hint().unwrap().contains("disk"), "{:?}", error.hint());
    }

    #[test]
    fn configurations_are_compared_by_what_they_say() {
        let image = |config: Value| {
            let image = serde_json::json!({ "Id": ID, "RootFS": { "Type": "layers" }, "Config": config });
            facts(serde_json::from_value(image).unwrap()).unwrap()
        };
        let read = image(serde_json::json!({
            "Env": ["A=1"], "Cmd": ["run"], "Entrypoint": null, "Labels": {}, "User": "",
            "ExposedPorts": { "80/tcp": {}, "53/udp": {} }, "Volumes": { "/b": {}, "/a": {} }
        }));
        let signed = |cmd: &str, env: &str| {
            let config = serde_json::json!({
                "Cmd": [cmd], "Env": [env], "ExposedPorts": { "53/udp": {}, "80/tcp": {} },
                "Volumes": { "/a": {}, "/b": {} }
            });
            serde_json::to_vec(&serde_json::json!({ "created": "now", "config": config })).unwrap()
        };
        assert!(read.has_config(&signed("run", "A=1")));
        assert!(!read.has_config(&signed("run", "A=2")));
        assert!(!read.has_config(&signed("walk", "A=1")));
        assert!(!read.has_config(b"{\"config\": 7}"));
        assert!(!read.has_config(b"{}"));
        assert!(image(Value::Null).has_config(b"{}"));
    }

    #[test]
    fn an_image_without_digests_for_layers_is_no_image() {
        let image = |layers: Vec<String>| bollard::models::ImageInspect {
            id: Some(ID.to_owned()),
            root_fs: Some(bollard::models::ImageInspectRootFs {
                typ: "layers".to_owned(),
                layers: Some(layers),
            }),
            ..Default::default()
        };
        assert!(facts(image(vec!["nonsense".to_owned()])).is_none());
        assert!(facts(image(vec![format!("sha256:{}", "0".repeat(64))])).is_some());
    }
}
