//! Keys that sign bundles: OpenSSH private key files, and the keys an ssh-agent holds.
//!
//! Invariants: a signature is given out only after the reader's own check accepted it as
//! one of this key, so that no bundle is written that every site would refuse.

pub(crate) mod agent;

use self::agent::Agent;
use anyhow::{Context, Result};
use bundle_format::signature::{self, Fingerprint, NAMESPACE, fingerprint};
use ferry_terminal::{Class, Failure, whole_file};
use ssh_key::{Algorithm, EcdsaCurve, HashAlg, LineEnding, PrivateKey, PublicKey, SshSig};
use std::path::{Path, PathBuf};

/// A key that can sign.
pub enum SigningKey {
    /// The private key itself.
    File(Box<PrivateKey>),
    /// A key whose private half the agent keeps.
    Agent(Box<PublicKey>),
}

/// How a passphrase is asked for: given the key file's name, the passphrase or `None`.
pub type AskPassphrase<'a> = &'a dyn Fn(&str) -> Option<String>;

#[derive(Debug, serde::Serialize)]
pub(crate) struct Generated {
    pub private_key: PathBuf,
    pub public_key: PathBuf,
    /// `SHA256:…`.
    pub fingerprint: String,
}

impl SigningKey {
    /// The key that `path` means: a private key file, or a public key file (`.pub`) whose private
    /// half an ssh-agent holds, as `ssh-keygen -Y sign` understands it.
    ///
    /// # Errors
    /// When the file is not a key, the key is of a kind that no bundle's reader accepts, its
    /// passphrase is wrong, or the agent does not hold it.
    pub fn open(path: &Path, ask: AskPassphrase<'_>) -> Result<Self> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::new(Class::Files, format!("the key {shown} cannot be read"))
                .because(error)
                .hint("make a key with `ferry keygen`, or name yours with --key")
        })?;
        if let Ok(public) = PublicKey::from_openssh(text.trim()) {
            check_kind(&public.algorithm(), &shown.to_string())?;
            return Self::from_agent(public, &shown.to_string());
        }
        let key = PrivateKey::from_openssh(&text).map_err(|error| {
            Failure::new(Class::Input, format!("{shown} is not an OpenSSH key"))
                .because(error)
                .hint(USABLE_KINDS)
        })?;
        check_kind(&key.algorithm(), &shown.to_string())?;
        let key = if key.is_encrypted() { decrypt(&key, &shown.to_string(), ask)? } else { key };
        Ok(Self::File(Box::new(key)))
    }

    fn from_agent(public: PublicKey, shown: &str) -> Result<Self> {
        let held = agent::identities().context("asking the ssh-agent for its keys")?;
        if held.iter().any(|key| key.key_data() == public.key_data()) {
            return Ok(Self::Agent(Box::new(public)));
        }
        Err(Failure::new(Class::Input, format!("the ssh-agent does not hold the key {shown}"))
            .hint("add it with `ssh-add`, or name the private key file with --key")
            .into())
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        match self {
            Self::File(key) => key.public_key(),
            Self::Agent(key) => key,
        }
    }

    /// True where `text` is the private key file of this key, with or without a passphrase.
    #[must_use]
    pub(crate) fn is_public_half_of(&self, text: &str) -> bool {
        PrivateKey::from_openssh(text)
            .is_ok_and(|key| key.public_key().key_data() == self.public().key_data())
    }

    /// `SHA256:…`.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        fingerprint(self.public().key_data())
    }

    /// An armoured SSHSIG over `index`, checked as a reader of the bundle will check it.
    ///
    /// # Errors
    /// When the agent refuses, or what it gave is no valid signature of this key.
    pub fn sign(&self, index: &[u8]) -> Result<Vec<u8>> {
        match self {
            Self::File(key) => checked(
                key.sign(NAMESPACE, HashAlg::Sha512, index).context("signing the index")?,
                key.public_key(),
                index,
            ),
            Self::Agent(key) => sign_with(&mut Agent::of_session()?, key, index),
        }
    }
}

fn sign_with(agent: &mut Agent, key: &PublicKey, index: &[u8]) -> Result<Vec<u8>> {
    let data = SshSig::signed_data(NAMESPACE, HashAlg::Sha512, index)?;
    let signature = agent.sign(key, &data).context("signing the index with the ssh-agent")?;
    checked(SshSig::new(key.key_data().clone(), NAMESPACE, HashAlg::Sha512, signature)?, key, index)
}

/// The armoured signature, if a reader of the bundle will take it for one of `key`.
fn checked(signature: SshSig, key: &PublicKey, index: &[u8]) -> Result<Vec<u8>> {
    let armoured = signature.to_pem(LineEnding::LF)?.into_bytes();
    match signature::valid_signers(index, std::slice::from_ref(&armoured)).as_slice() {
        [signer] if signer.key().key_data() == key.key_data() => Ok(armoured),
        _ => {
            let fact =
                format!("the signature made with the key {} is not valid", fingerprint(key.key_data()));
            Err(Failure::new(Class::Other, fact)
                .hint("the ssh-agent or the token does not sign as it should: try another agent, or the private key file")
                .into())
        }
    }
}

/// The hint for keys that cannot sign.
const USABLE_KINDS: &str = "bundles are signed with OpenSSH keys of the kinds ssh-ed25519, ecdsa-sha2-nistp256 and (through an ssh-agent) \
     sk-ssh-ed25519@openssh.com; make one with `ferry keygen`";

/// Refuses kinds of keys whose signatures the reader does not accept (FORMAT.md, 7.7).
fn check_kind(kind: &Algorithm, shown: &str) -> Result<()> {
    if matches!(
        kind,
        Algorithm::Ed25519 | Algorithm::SkEd25519 | Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 }
    ) {
        return Ok(());
    }
    Err(Failure::new(
        Class::Input,
        format!("the key {shown} is of the kind {kind}, which cannot sign bundles"),
    )
    .hint(USABLE_KINDS)
    .into())
}

fn decrypt(key: &PrivateKey, shown: &str, ask: AskPassphrase<'_>) -> Result<PrivateKey> {
    let Some(passphrase) = ask(shown) else {
        return Err(Failure::new(Class::Usage, format!("the key {shown} has a passphrase"))
            .hint("set FERRY_KEY_PASSPHRASE, or add the key to an ssh-agent and name its .pub file")
            .into());
    };
    key.decrypt(passphrase)
        .map_err(|_| Failure::new(Class::Usage, format!("the passphrase of the key {shown} is wrong")).into())
}

/// Writes a new Ed25519 key to `path` and its public half to `path.pub`; refuses to overwrite.
///
/// # Errors
/// When a file exists or cannot be written.
pub(crate) fn keygen(path: &Path, comment: &str, passphrase: Option<&str>) -> Result<Generated> {
    let public_path = PathBuf::from(format!("{}.pub", path.display()));
    for file in [path, &public_path] {
        if file.exists() {
            return Err(Failure::new(Class::Files, format!("{} exists already", file.display()))
                .hint("a key is never overwritten: choose another name, or move it away")
                .into());
        }
    }
    let mut random = rand_core::OsRng;
    let mut key = PrivateKey::random(&mut random, Algorithm::Ed25519)?;
    key.set_comment(comment);
    let public = key.public_key().clone();
    if let Some(passphrase) = passphrase {
        key = key.encrypt(&mut random, passphrase)?;
    }
    whole_file::write_new(path, key.to_openssh(LineEnding::LF)?.as_bytes(), 0o600)?;
    whole_file::write_new(&public_path, format!("{}\n", public.to_openssh()?).as_bytes(), 0o644)?;
    Ok(Generated {
        private_key: path.to_path_buf(),
        public_key: public_path,
        fingerprint: fingerprint(public.key_data()).to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNUSABLE: [&str; 4] = [
        "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQCqyzhIYqfsibPfOUJHnkog0pGisv9rfnexLHTe4z6VeXqsWxjajEK6W4LDRNrN/GyEbls+tAs4+yfnBO3jx+IibP01pYbXi53UbQ4oPtjq6Jb2YQbeEQsIS9vVH9GrMbY4KHWSKIeibJ2CygvbB0fyxS09E0xit093zR7l3PiAknuDx5EtE/t04KxOTPWvJQSm2z3NwDvFJd92ze5E3HGjuxONvKKFTrd0P3pZGcz2l684luz8Jt6gq3lUDkIy34Uj4BYFVNlNV9S1lyikJf46LBfMo10/VbLKYQ7ZUO+WYVSKVutAkGM9NXOWSuFpZ1wKWiPNGV0Mr/pza4CjuH6Z",
        "ecdsa-sha2-nistp384 AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQAAABhBM5LTQJddRBM5TxbsS+NK7pGUQg84OpoWN5PhVegEPXZQH3EEtU24f21JQW7fnNSPdAjUAYK7zstzZYzCihS+o/KdDjJyAN7HhK4CghcaoaupVVNsOqqksS5/rt9HePFFA==",
        "ecdsa-sha2-nistp521 AAAAE2VjZHNhLXNoYTItbmlzdHA1MjEAAAAIbmlzdHA1MjEAAACFBAETSOtGi/ibHEMDP6gJ213bdwUEI6nnSu+QgIah0Tenq1Mq+122frBdKf+vLD/zT52Pg0q6BsgSEcHRRrRRRAFUTwBdd76cwRK9Fg0wTGEax5ZL9YTOrJdhgi85hzPxpqjYGtQyYhRZ91peXK/AUYci3RuxUC187U37Y6UItNpx4Lmjsg==",
        "sk-ecdsa-sha2-nistp256@openssh.com AAAAInNrLWVjZHNhLXNoYTItbmlzdHAyNTZAb3BlbnNzaC5jb20AAAAIbmlzdHAyNTYAAABBBIELQJ2DgvaX1yQlKFokfWM2suuaCFI2qp0eJodHyg6O4ifxc3XpRKd1OS8dNYQtE/YjdXSrA+AOnMF5ns2Nkx4AAAAEc3NoOg==",
    ];

    fn key(kind: Algorithm) -> PrivateKey {
        PrivateKey::random(&mut rand_core::OsRng, kind).unwrap()
    }

    #[test]
    fn a_signature_that_no_reader_accepts_is_not_given_out() {
        let (ours, other) = (key(Algorithm::Ed25519), key(Algorithm::Ed25519));
        let signed = |by: &PrivateKey, what: &[u8]| by.sign(NAMESPACE, HashAlg::Sha512, what).unwrap();
        let public = ours.public_key();
        assert!(checked(signed(&ours, b"index"), public, b"index").is_ok());
        assert!(checked(signed(&ours, b"another index"), public, b"index").is_err());
        assert!(checked(signed(&other, b"index"), public, b"index").is_err());
        // Another key's bytes under the name of ours.
        let bytes = signed(&other, b"index").signature().clone();
        let forged = SshSig::new(public.key_data().clone(), NAMESPACE, HashAlg::Sha512, bytes).unwrap();
        let error = format!("{:#}", checked(forged, public, b"index").unwrap_err());
        assert!(error.contains(&fingerprint(public.key_data()).to_string()), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn an_agent_that_signs_something_else_is_found_out() {
        let ours = key(Algorithm::Ed25519);
        let sign = |what: &[u8]| {
            let signature = ours.sign(NAMESPACE, HashAlg::Sha512, what).unwrap().signature().clone();
            Vec::try_from(signature).unwrap()
        };
        for (bytes, good) in [(sign(b"index"), true), (sign(b"another index"), false)] {
            let mut agent = agent::tests::agent_that_signs(&bytes);
            assert_eq!(sign_with(&mut agent, ours.public_key(), b"index").is_ok(), good);
        }
    }

    #[test]
    fn kinds_that_cannot_sign_are_refused_before_the_work() {
        let folder = tempfile::tempdir().unwrap();
        let curve = EcdsaCurve::NistP256;
        for (kind, good) in [("ed25519", Algorithm::Ed25519), ("p256", Algorithm::Ecdsa { curve })] {
            let file = folder.path().join(kind);
            std::fs::write(&file, key(good).to_openssh(LineEnding::LF).unwrap()).unwrap();
            assert!(SigningKey::open(&file, &|_| None).unwrap().sign(b"index").is_ok(), "{kind}");
        }
        for public in UNUSABLE {
            let kind = public.split(' ').next().unwrap();
            let file = folder.path().join("key.pub");
            std::fs::write(&file, public).unwrap();
            let error = SigningKey::open(&file, &|_| None).err().unwrap().to_string();
            assert!(error.contains(kind), "{error}");
        }
    }
}
