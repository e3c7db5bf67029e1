//! The engine's ID of an image, parsed once.
//!
//! ```compile_fail
//! // An ID cannot be made from any text.
//! let id = installer::engine::ImageId("acme/web:2".to_owned());
//! ```

use manifest_schema::Digest;
use manifest_schema::digest::BadDigest;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// `sha256:…`: the digest of the image's configuration on graph drivers, of its manifest on containerd's store.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageId(Digest);

impl ImageId {
    /// `0123456789ab`, as `docker images` shows it.
    #[must_use]
    pub fn short(&self) -> String {
        self.0.short()
    }
}

impl From<Digest> for ImageId {
    fn from(digest: Digest) -> Self {
        Self(digest)
    }
}

impl FromStr for ImageId {
    type Err = BadDigest;

    /// Reads an ID as an engine writes it. Podman leaves the algorithm out in some answers.
    fn from_str(text: &str) -> Result<Self, BadDigest> {
        let digest = if text.contains(':') { text.parse() } else { format!("sha256:{text}").parse() };
        digest.map(Self)
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_either_engine_writes_them() {
        let hex = Digest::of(b"image").hex();
        let id: ImageId = format!("sha256:{hex}").parse().unwrap();
        assert_eq!(hex.parse::<ImageId>().unwrap(), id);
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"sha256:{hex}\""));
        for bad in ["", "sha256:", "acme/web:2", &hex[1..], &format!("sha512:{hex}")] {
            assert!(bad.parse::<ImageId>().is_err(), "{bad}");
        }
    }
}
