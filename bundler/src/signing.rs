//! Keys that sign bundles: OpenSSH private key files, and the keys an ssh-agent holds.

use crate::agent;
use anyhow::{Context, Result};
use bundle_format::signature::{NAMESPACE, fingerprint};
use ferry_terminal::{Class, Failure};
use ssh_key::{HashAlg, LineEnding, PrivateKey, PublicKey, SshSig};
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

/// What `keygen` wrote.
#[derive(Debug, serde::Serialize)]
pub struct Generated {
    /// The private key file.
    pub private_key: PathBuf,
    /// The public key file.
    pub public_key: PathBuf,
    /// `SHA256:…`.
    pub fingerprint: String,
}

impl SigningKey {
    /// The key that `path` means: a private key file, or a public key file (`.pub`) whose private
    /// half an ssh-agent holds, as `ssh-keygen -Y sign` understands it.
    ///
    /// # Errors
    /// When the file is not a key, its passphrase is wrong, or the agent does not hold it.
    pub fn open(path: &Path, ask: AskPassphrase<'_>) -> Result<Self> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::new(Class::Files, format!("the key {shown} cannot be read"))
                .because(error)
                .hint("make a key with `ferry keygen`, or name yours with --key")
        })?;
        if let Ok(public) = PublicKey::from_openssh(text.trim()) {
            return Self::from_agent(public, &shown.to_string());
        }
        let key = PrivateKey::from_openssh(&text).map_err(|error| {
            Failure::new(Class::Input, format!("{shown} is not an OpenSSH key"))
                .because(error)
                .hint("Ferry signs with OpenSSH Ed25519 or ECDSA P-256 keys; make one with `ferry keygen`")
        })?;
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

    /// `SHA256:…`.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint(self.public().key_data())
    }

    /// An armoured SSHSIG over `index`.
    ///
    /// # Errors
    /// When the agent refuses, or the key's type cannot sign.
    pub fn sign(&self, index: &[u8]) -> Result<Vec<u8>> {
        let signature = match self {
            Self::File(key) => key.sign(NAMESPACE, HashAlg::Sha512, index).context("signing the index")?,
            Self::Agent(key) => {
                let data = SshSig::signed_data(NAMESPACE, HashAlg::Sha512, index)?;
                let signature = agent::sign(key, &data).context("signing the index with the ssh-agent")?;
                SshSig::new(key.key_data().clone(), NAMESPACE, HashAlg::Sha512, signature)?
            }
        };
        Ok(signature.to_pem(LineEnding::LF)?.into_bytes())
    }
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
pub fn keygen(path: &Path, comment: &str, passphrase: Option<&str>) -> Result<Generated> {
    let public_path = PathBuf::from(format!("{}.pub", path.display()));
    for file in [path, &public_path] {
        if file.exists() {
            return Err(Failure::new(Class::Files, format!("{} is there already", file.display()))
                .hint("a key is never overwritten: choose another name, or move it away")
                .into());
        }
    }
    let mut random = rand_core::OsRng;
    let mut key = PrivateKey::random(&mut random, ssh_key::Algorithm::Ed25519)?;
    key.set_comment(comment);
    let public = key.public_key().clone();
    if let Some(passphrase) = passphrase {
        key = key.encrypt(&mut random, passphrase)?;
    }
    write_new(path, key.to_openssh(LineEnding::LF)?.as_bytes(), 0o600)?;
    write_new(&public_path, format!("{}\n", public.to_openssh()?).as_bytes(), 0o644)?;
    Ok(Generated {
        private_key: path.to_path_buf(),
        public_key: public_path,
        fingerprint: fingerprint(public.key_data()),
    })
}

fn write_new(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    use std::io::Write;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let writing = || format!("writing {}", path.display());
    let mut file = options.open(path).with_context(writing)?;
    file.write_all(content).and_then(|()| file.sync_all()).with_context(writing)
}
