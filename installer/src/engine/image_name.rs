//! A name that an image has in an engine, parsed once.
//!
//! ```compile_fail
//! // A name has a repository and a tag, and cannot be made from any text.
//! let name = installer::engine::ImageName("acme/web".to_owned());
//! ```

use super::ImageId;
use manifest_schema::ImageRef;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// `REPOSITORY:TAG`, `acme/web:2.4.0`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageName {
    repository: String,
    tag: String,
}

/// The text is not a repository and a tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an image name of the form REPOSITORY:TAG")]
pub struct BadImageName(String);

impl ImageName {
    /// `acme/web`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// `2.4.0`.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// The usual name of the image with this reference. One that is pinned by digest has no tag of its own.
    #[must_use]
    pub fn usual(reference: &ImageRef) -> Self {
        let tag = match (reference.tag(), reference.digest()) {
            (Some(tag), _) => tag.to_owned(),
            (None, Some(digest)) => aside_tag(ImageId::from(*digest)),
            (None, None) => "latest".to_owned(),
        };
        Self { repository: reference.familiar_repository(), tag }
    }

    /// The name of the image `id` while another image has this one: `REPOSITORY:ferry-DIGEST`.
    #[must_use]
    pub fn aside(&self, id: ImageId) -> Self {
        Self { repository: self.repository.clone(), tag: aside_tag(id) }
    }
}

fn aside_tag(id: ImageId) -> String {
    format!("ferry-{}", id.short())
}

impl FromStr for ImageName {
    type Err = BadImageName;

    fn from_str(text: &str) -> Result<Self, BadImageName> {
        let bad = || BadImageName(text.chars().take(120).collect());
        let (repository, tag) = text.rsplit_once(':').ok_or_else(bad)?;
        let of_tag = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        let is_tag = !tag.is_empty() && tag.bytes().all(of_tag);
        if !is_tag || repository.contains('@') || super::checked_image(text).is_err() || repository.is_empty()
        {
            return Err(bad());
        }
        Ok(Self { repository: repository.to_owned(), tag: tag.to_owned() })
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.repository, self.tag)
    }
}

manifest_schema::text_form!(ImageName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_repository_and_a_tag() {
        for (text, repository, tag) in [
            ("nginx:1.24", "nginx", "1.24"),
            ("localhost:5000/acme/web:ferry-0123456789ab", "localhost:5000/acme/web", "ferry-0123456789ab"),
        ] {
            let name: ImageName = text.parse().unwrap();
            assert_eq!((name.repository(), name.tag(), name.to_string().as_str()), (repository, tag, text));
            assert_eq!(serde_json::to_string(&name).unwrap(), format!("{text:?}"));
        }
        for bad in ["", "nginx", ":1", "nginx:", "localhost:5000/nginx", "a b:1", "../x:1", "x@sha256:0"] {
            assert!(bad.parse::<ImageName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_image_without_a_tag_or_aside_is_named_by_digest() {
        let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
        for (reference, usual) in [
            ("docker.io/library/nginx:1.24", "nginx:1.24"),
            ("ghcr.io/acme/web", "ghcr.io/acme/web:latest"),
            (&format!("acme/web@{digest}"), "acme/web:ferry-0123456789ab"),
        ] {
            assert_eq!(ImageName::usual(&reference.parse().unwrap()).to_string(), usual);
        }
        let name: ImageName = "acme/web:2".parse().unwrap();
        assert_eq!(name.aside(digest.parse().unwrap()).to_string(), "acme/web:ferry-0123456789ab");
    }
}
