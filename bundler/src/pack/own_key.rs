//! The private key that signs is never carried: whoever has the bundle could sign the next one.

use crate::artifacts::{ArtifactPlan, Content, EntryKind};
use crate::inputs::Inputs;
use crate::signing::SigningKey;
use anyhow::Result;
use ferry_terminal::{Class, Failure};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The first line of a private key (PROTOCOL.key of OpenSSH).
const BEGINS: &[u8] = b"-----BEGIN OPENSSH PRIVATE KEY-----";

/// More than any key file has.
const MAX_KEY: u64 = 64 << 10;

/// # Errors
/// Names a file that would be carried and holds the private half of one of `keys`, also a copy, or one with a passphrase.
pub(crate) fn is_not_carried(inputs: &Inputs, artifacts: &[ArtifactPlan], keys: &[SigningKey]) -> Result<()> {
    let of_compose = inputs.compose_files.iter().map(|file| file.place.clone());
    let configs = inputs.configs.iter().map(|(config, _)| inputs.folder.join(&config.from));
    let files = artifacts.iter().flat_map(|plan| &plan.entries).filter_map(|entry| match &entry.kind {
        EntryKind::File { source: Content::Path(path, _), .. } => Some(path.clone()),
        _ => None,
    });
    let carried: Option<PathBuf> = of_compose.chain(configs).chain(files).find(|path| holds_one(path, keys));
    let Some(path) = carried else { return Ok(()) };
    let fact =
        format!("{} is the private key that signs this bundle, and would be carried in it", path.display());
    Err(Failure::new(Class::Input, fact)
        .hint("move the key out of what the manifest and the Compose file name; whoever has it can sign bundles in your name")
        .into())
}

fn holds_one(path: &Path, keys: &[SigningKey]) -> bool {
    let Ok(mut file) = File::open(path) else { return false };
    let mut begin = [0; BEGINS.len()];
    if file.read_exact(&mut begin).is_err() || begin != BEGINS {
        return false;
    }
    let mut text = String::from_utf8_lossy(&begin).into_owned();
    file.take(MAX_KEY).read_to_string(&mut text).is_ok()
        && keys.iter().any(|key| key.is_public_half_of(&text))
}
