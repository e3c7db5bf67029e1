//! Creating a container of exactly one image, which lists show by its name.
//!
//! A list shows what the container was created with: the ID, or the name for as long as it names the same image.
//! A name can move to another image at any moment. What must stay true: whatever a name means to the engine,
//! the container that is handed out has the image with the wanted ID.

use super::container_spec::ContainerSpec;
use super::{Engine, EngineKind, ImageName, Result, checked, failure, label};
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::CreateContainerOptionsBuilder;

impl Engine {
    /// Creates a container and attaches it to all its networks. Returns its ID and the engine's
    /// warnings.
    ///
    /// # Errors
    /// When the engine fails or refuses; a container whose networks could not be attached is removed
    /// again.
    pub async fn create(&self, spec: &ContainerSpec) -> Result<(String, Vec<String>)> {
        for attachment in &spec.networks {
            checked("network", &attachment.network)?;
        }
        let mut request = spec.request();
        if self.facts.kind == EngineKind::Podman {
            request.env.iter_mut().for_each(|env| env.retain(|pair| pair.contains('=')));
        }
        let mut made = None;
        if let Some(image) = self.inspect_image(&spec.image).await? {
            let mut labels = spec.labels.clone();
            label::silence(&mut labels, image.label_keys());
            request.labels = Some(labels.into_iter().collect());
            // Podman shows a name of the image, whatever it is given.
            if let Some(name) = &spec.image_name
                && self.facts.kind == EngineKind::Docker
                && self.inspect_image(name).await?.is_some_and(|named| named.id == image.id)
            {
                made = self.create_by_name(spec, &request, name).await?;
            }
        }
        let (id, warnings) = match made {
            Some(made) => made,
            None => self.create_by_request(spec, request).await?,
        };
        for attachment in spec.networks.iter().skip(1) {
            if let Err(error) = self.attach(&id, attachment).await {
                self.remove_container(&id, false).await?;
                return Err(error);
            }
        }
        Ok((id, warnings))
    }

    /// Creates the container by the name of its image; `None` where the name has moved to another one.
    async fn create_by_name(
        &self,
        spec: &ContainerSpec,
        request: &ContainerCreateBody,
        name: &ImageName,
    ) -> Result<Option<(String, Vec<String>)>> {
        let request = ContainerCreateBody { image: Some(name.to_string()), ..request.clone() };
        let (id, warnings) = match self.create_by_request(spec, request).await {
            // The name may be gone.
            Err(error) if error.is_not_found() => return Ok(None),
            made => made?,
        };
        let has = self.inspect(&id).await?.and_then(|container| container.image);
        if has.is_some_and(|image| spec.image.parse() == Ok(image)) {
            return Ok(Some((id, warnings)));
        }
        self.remove_container(&id, true).await?;
        Ok(None)
    }

    async fn create_by_request(
        &self,
        spec: &ContainerSpec,
        request: ContainerCreateBody,
    ) -> Result<(String, Vec<String>)> {
        let name = checked("container", &spec.name)?;
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        let made = self.docker.create_container(Some(options), request).await;
        let made = made.map_err(|e| failure(format!("create container {name}"), e))?;
        Ok((made.id, made.warnings))
    }
}
