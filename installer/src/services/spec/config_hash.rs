//! The hash that tells a changed container from an unchanged one.

use super::{Placed, text};
use crate::engine::ImageId;
use manifest_schema::compose::model::Service;

/// Collects what decides whether a running container still is what the release wants: the service's
/// definition, the image, real names, and the content of mounted files, but not where the release lies.
pub(super) struct ConfigHash<'a> {
    service: &'a Service,
    extra: Vec<(String, String)>,
    /// A file or folder of the release's folder is mounted.
    pub(super) of_release: bool,
}

impl<'a> ConfigHash<'a> {
    pub(super) fn new(service: &'a Service, image: ImageId) -> Self {
        Self { service, extra: vec![("image".to_owned(), image.to_string())], of_release: false }
    }

    pub(super) fn add(&mut self, kind: &str, key: &str, value: &str) {
        self.extra.push((format!("{kind}:{key}"), value.to_owned()));
    }

    pub(super) fn add_placed(&mut self, kind: &str, key: &str, placed: &Placed) {
        self.of_release |= placed.digest.is_some();
        match placed.digest {
            Some(digest) => self.add(kind, key, &digest.to_string()),
            None => self.add(kind, key, &text(&placed.known_as)),
        }
    }

    pub(super) fn finish(mut self) -> String {
        self.extra.sort();
        self.extra.dedup();
        let extra: Vec<(&str, &str)> =
            self.extra.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        manifest_schema::compose::config_hash(self.service, &extra)
    }
}
