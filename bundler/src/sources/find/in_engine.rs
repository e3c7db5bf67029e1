//! Images that the local engine has: by which names it is asked, what is saved of it, what an earlier build kept.

use super::{Hunt, Search, at};
use crate::sources::daemon::{Engine, EngineImage};
use crate::sources::kept;
use ferry_terminal::human;
use manifest_schema::{Diagnostics, Digest, ImageRef};

impl Search<'_> {
    pub(super) fn engine_named(&mut self, hunt: &mut Hunt<'_>, reference: &str) -> Result<(), Diagnostics> {
        // An ID reads like a name with a tag, so it is tried first.
        match (reference.parse::<Digest>(), reference.parse::<ImageRef>()) {
            (Err(_), Ok(parsed)) if reference.starts_with(&format!("{}/", parsed.domain())) => {
                self.engine_by(hunt, &[parsed.canonical(), parsed.familiar()])
            }
            (Err(_), Ok(parsed)) => self.engine_with(hunt, &parsed),
            _ => self.engine_by(hunt, &[reference.to_owned()]),
        }
    }

    /// Asks for a name whose registry nobody wrote: Podman calls what was built here `localhost/NAME`.
    pub(super) fn engine_with(
        &mut self,
        hunt: &mut Hunt<'_>,
        reference: &ImageRef,
    ) -> Result<(), Diagnostics> {
        let names = [reference.canonical(), reference.familiar()];
        let built = reference.as_built_by_podman();
        let engine = self.engine();
        if let Some(built) = &built
            && let Ok(Some(named)) = engine.inspect(&names)
            && let Ok(Some(other)) = engine.inspect(std::slice::from_ref(built))
            && named.id != other.id
            && engine.is_podman()
        {
            let [canonical, _] = &names;
            let message = format!(
                "image `{reference}` is two images in {engine}: `{canonical}` ({}) and `{built}` ({})",
                named.id.short(),
                other.id.short()
            );
            let hint = format!(
                "name the one that is meant under `images:`: `docker-daemon:{built}` or `docker-daemon:{canonical}`"
            );
            return Err(at(hunt.wanted, message).hint(hint).into());
        }
        self.engine_by(hunt, &names)
    }

    fn engine(&mut self) -> &Engine {
        self.engine.get_or_insert_with(|| Engine::new(self.options.docker_host.as_deref(), self.cancel))
    }

    /// Asks the engine by one name after the other: Podman wants full names, old engines short ones.
    fn engine_by(&mut self, hunt: &mut Hunt<'_>, names: &[String]) -> Result<(), Diagnostics> {
        let engine =
            self.engine.get_or_insert_with(|| Engine::new(self.options.docker_host.as_deref(), self.cancel));
        let short = names.last().map(String::as_str).unwrap_or_default();
        let path = kept::engine_archive(&self.images, short);
        let kept_candidates = path
            .is_file()
            .then(|| kept::read_images(&path, self.options.unpacked_bytes, self.cancel))
            .and_then(Result::ok)
            .unwrap_or_default();
        let answer = engine.inspect(names);
        let candidates = match &answer {
            Ok(Some(image)) if kept_candidates.iter().any(|candidate| candidate.has_id(&image.id)) => {
                kept_candidates
            }
            Ok(Some(image)) => {
                if let Some(why) = no_use(image, hunt) {
                    hunt.tried.push(format!("{engine} {why}"));
                    return Ok(());
                }
                let saved = engine.save(image, &path, self.progress);
                saved
                    .and_then(|()| kept::read_images(&path, self.options.unpacked_bytes, self.cancel))
                    .map_err(|error| {
                        Diagnostics::from(at(
                            hunt.wanted,
                            format!(
                                "image `{}` could not be saved from {engine}: {error:#}",
                                hunt.wanted.reference
                            ),
                        ))
                    })?
            }
            Ok(None) | Err(_) if !kept_candidates.is_empty() && !self.options.refresh => {
                if let Err(error) = &answer {
                    // It may have been built anew since.
                    self.progress.warn(&format!(
                        "{engine} does not answer ({}): using the copy of {short} that an earlier build kept in images/",
                        human::printable(&format!("{error:#}"))
                    ));
                }
                kept_candidates
            }
            Ok(None) => {
                hunt.tried.push(format!("{engine} does not have it"));
                return Ok(());
            }
            Err(error) => {
                hunt.tried.push(format!("{engine} does not answer ({error:#})"));
                return Ok(());
            }
        };
        let whence = format!("{engine} does not have it");
        hunt.take_only(&candidates, "docker-daemon", &whence).map_err(|broken| broken.of(hunt.wanted))
    }
}

/// Why it makes no sense to save this image, known before it is saved.
fn no_use(image: &EngineImage, hunt: &Hunt<'_>) -> Option<String> {
    if let Some(pinned) = hunt.wanted.reference.digest() {
        // A graph driver's image has lost its manifest; its ID is the configuration's digest.
        if &image.id != pinned {
            return Some("does not keep the pinned manifest".to_owned());
        }
    }
    match &image.only_platform {
        Some(platform) if !hunt.missing.iter().any(|missing| missing.accepts(platform)) => {
            Some(format!("has it for {platform}"))
        }
        _ => None,
    }
}
