//! Who is trusted on this host: keys pinned before, a fingerprint from the delivery note, or a
//! person who compares and types. A key that lies only on the stick is never trusted silently.

use crate::host::{self, Root};
use anyhow::{Context, Result};
use bundle_format::signature::Trust;
use bundle_format::{Signer, UnverifiedBundle, allowed_signers};
use ferry_terminal::{Class, Failure};
use manifest_schema::limits;
use std::path::Path;

/// How trust was established.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A pinned key signed.
    Pinned,
    /// `--trust` named the key, or a person confirmed it: it is to be pinned.
    New(Box<Signer>),
}

/// Asks a person to confirm a fingerprint; gives what was typed, or `None` where nobody can be asked.
pub type Confirm<'a> = &'a dyn Fn(&[String]) -> Option<String>;

/// Decides whom to trust for `bundle`, which lies at `path`.
///
/// # Errors
/// When nobody who signed is trusted, and nobody vouches for them.
pub fn decide(
    root: &Root,
    bundle: &UnverifiedBundle,
    path: &Path,
    named: &[String],
    confirm: Confirm<'_>,
) -> Result<(Trust, Origin)> {
    let shown = path.display();
    let signers = bundle.signers();
    if signers.is_empty() {
        return Err(Failure::new(Class::Trust, format!("{shown} carries no valid signature"))
            .hint("it was damaged or changed on its way: fetch it again from where it was built")
            .into());
    }
    let pinned = pinned(root)?;
    let is_pinned = |signer: &Signer| pinned.iter().any(|key| key.key_data() == signer.key().key_data());
    // A key that is named counts even where others are pinned: what was asked for is never ignored.
    if named.is_empty() && signers.iter().any(is_pinned) {
        let keys = pinned.iter().map(|key| key.key_data().clone()).collect();
        return Ok((Trust::Keys(keys), Origin::Pinned));
    }
    let found: Vec<String> = signers.iter().map(Signer::fingerprint).collect();
    let chosen =
        if named.is_empty() { confirm(&found).map(|typed| vec![typed]) } else { Some(named.to_vec()) };
    let refused = |hint: String| {
        let fact = match (pinned.is_empty(), named.is_empty()) {
            (_, false) => {
                format!("{shown} is signed by {}, not by the key named with --trust", found.join(" and "))
            }
            (true, _) => {
                format!("no key is pinned on this host yet, and {shown} is signed by {}", found.join(" and "))
            }
            (false, _) => {
                format!("{shown} is signed by {}, which is not pinned on this host", found.join(" and "))
            }
        };
        Failure::new(Class::Trust, fact).hint(hint)
    };
    let Some(chosen) = chosen else {
        return Err(refused(
            "compare the fingerprint with the delivery note; if it is the same, run again with --trust SHA256:…".into(),
        )
        .into());
    };
    match signers.iter().find(|signer| chosen.iter().any(|text| same(text, &signer.fingerprint()))) {
        Some(signer) => {
            let origin =
                if is_pinned(signer) { Origin::Pinned } else { Origin::New(Box::new(signer.clone())) };
            Ok((Trust::Fingerprints(vec![signer.fingerprint()]), origin))
        }
        None => {
            Err(refused("do not install it: ask the sender by phone which key signs this product".into())
                .into())
        }
    }
}

/// Whether a typed or given text is this fingerprint. `SHA256:` may be left out.
fn same(text: &str, fingerprint: &str) -> bool {
    let text = text.trim();
    text == fingerprint || fingerprint.strip_prefix("SHA256:") == Some(text)
}

/// The keys pinned on this host.
///
/// # Errors
/// When the file is there and cannot be used: an unreadable pin must not look like none.
pub fn pinned(root: &Root) -> Result<Vec<ssh_key::PublicKey>> {
    let path = root.allowed_signers();
    let Some(bytes) = host::read_bounded(&path, limits::MAX_STATE_BYTES)? else { return Ok(Vec::new()) };
    let text = String::from_utf8(bytes).with_context(|| format!("{} is not text", path.display()))?;
    let (signers, bad) = allowed_signers::parse(&text);
    if signers.is_empty() && !bad.is_empty() {
        let reasons: Vec<String> = bad.iter().map(ToString::to_string).collect();
        let fact = format!("no key in {} can be used: {}", path.display(), reasons.join("; "));
        return Err(Failure::new(Class::Trust, fact)
            .hint("mend the file, or restore it from a backup")
            .into());
    }
    Ok(signers.into_iter().map(|signer| signer.key).collect())
}

/// Pins a key for the installs to come.
///
/// # Errors
/// When the file cannot be written.
pub fn pin(root: &Root, principal: &str, signer: &Signer) -> Result<()> {
    let path = root.allowed_signers();
    let folder = path.parent().context("the trust folder")?;
    host::make_private_dir(folder)?;
    let mut text = match host::read_bounded(&path, limits::MAX_STATE_BYTES)? {
        Some(bytes) => String::from_utf8(bytes).with_context(|| format!("{} is not text", path.display()))?,
        None => String::new(),
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&allowed_signers::line(principal, signer.key())?);
    host::write_whole(&path, text.as_bytes(), 0o600)
}
