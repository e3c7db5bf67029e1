//! Signatures over the index, in OpenSSH's format (openssh/PROTOCOL.sshsig), namespace `ferry`,
//! hash SHA-512. Stored armoured, so that an exported one is what `ssh-keygen -Y verify` takes.

use crate::error::{FormatError, Result};
pub use ssh_key::Fingerprint;
use ssh_key::public::KeyData;
use ssh_key::{HashAlg, PublicKey, SshSig};

/// The namespace that keeps a signature made for another purpose from counting here.
pub const NAMESPACE: &str = "ferry";

/// Someone whose signature over the index is valid. Says nothing about trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    key: PublicKey,
}

impl Signer {
    /// The public key.
    #[must_use]
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// `SHA256:…`, as `ssh-keygen -l` shows it.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        fingerprint(self.key.key_data())
    }
}

/// `SHA256:…` of a public key.
#[must_use]
pub fn fingerprint(key: &KeyData) -> Fingerprint {
    Fingerprint::new(HashAlg::Sha256, key)
}

/// Bytes of a SHA-256 in base64 without padding.
const FINGERPRINT_CHARS: usize = 43;

/// Reads a fingerprint as ssh-keygen writes it; `SHA256:` may be left out. One that was cut short is a slip, and no
/// other key.
///
/// # Errors
/// The mistake, for a command line.
pub fn parse_fingerprint(text: &str) -> std::result::Result<Fingerprint, String> {
    let digest = text.trim().strip_prefix("SHA256:").unwrap_or(text.trim());
    format!("SHA256:{digest}").parse().map_err(|_| {
        let found = digest.chars().count();
        format!("a fingerprint has {FINGERPRINT_CHARS} characters after SHA256:, this has {found}")
    })
}

/// Whose signature is enough.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Any valid one: for looking at a bundle, never for installing it.
    AnyValid,
    /// One of these keys.
    Keys(Vec<KeyData>),
    /// A key with one of these fingerprints, `SHA256:…`.
    Fingerprints(Vec<Fingerprint>),
}

impl Trust {
    fn covers(&self, key: &KeyData) -> bool {
        match self {
            Self::AnyValid => true,
            Self::Keys(keys) => keys.contains(key),
            Self::Fingerprints(fingerprints) => fingerprints.contains(&fingerprint(key)),
        }
    }
}

/// Checks `signatures` over `index` and returns the valid signers that `trust` covers.
///
/// # Errors
/// [`FormatError::Unsigned`] when no signature is valid, [`FormatError::Untrusted`] when nobody who signed is
/// trusted.
pub(crate) fn verify(index: &[u8], signatures: &[Vec<u8>], trust: &Trust) -> Result<Vec<Signer>> {
    let signers = valid_signers(index, signatures);
    if signers.is_empty() {
        let text = match signatures.len() {
            0 => "the bundle carries no signature",
            1 => "the bundle's signature is not valid",
            _ => "none of the bundle's signatures is valid",
        };
        return Err(FormatError::Unsigned(text));
    }
    let trusted: Vec<Signer> =
        signers.iter().filter(|signer| trust.covers(signer.key.key_data())).cloned().collect();
    if trusted.is_empty() {
        let found: Vec<String> = signers.iter().map(|signer| signer.fingerprint().to_string()).collect();
        return Err(FormatError::Untrusted(format!(
            "the bundle is signed by {}, which is not trusted here",
            found.join(" and ")
        )));
    }
    Ok(trusted)
}

/// Everyone whose signature over `index` is valid, each key once. `signatures` are armoured.
#[must_use]
pub fn valid_signers(index: &[u8], signatures: &[Vec<u8>]) -> Vec<Signer> {
    let mut signers: Vec<Signer> = Vec::new();
    for signature in signatures {
        let Ok(signature) = SshSig::from_pem(signature) else { continue };
        let key = PublicKey::from(signature.public_key().clone());
        let valid =
            signature.hash_alg() == HashAlg::Sha512 && key.verify(NAMESPACE, index, &signature).is_ok();
        if valid && !signers.iter().any(|signer| signer.key.key_data() == key.key_data()) {
            signers.push(Signer { key });
        }
    }
    signers
}
