//! Signing with keys that an ssh-agent holds: on disk, on a FIDO token, behind PKCS#11
//! (draft-miller-ssh-agent, sections 3.5 "Requesting a list of keys" and 3.6 "Private key
//! operations"; signatures are encoded as RFC 4253, section 6.6 has them).
//!
//! It is written by hand: of the two synchronous clients, `ssh-agent-lib` 0.6.0 allocates whatever length an answer
//! announces, up to 4 GiB, and `ssh-agent-client-rs` 1.1.4 lists no key at all where the agent holds one of a kind
//! that `ssh-key` cannot parse, so that somebody's other key would keep a bundle from being signed.
//!
//! Invariants: no length in an answer is believed beyond OpenSSH's own ceiling. [`crate::signing`] checks
//! signatures, as readers do.

use anyhow::{Context, bail};
use ssh_key::{PublicKey, Signature};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;

/// Largest message: OpenSSH's `AGENT_MAX_LEN`.
const MAX_MESSAGE_BYTES: u32 = 256 << 10;

/// A token may wait for a touch, and an agent for a passphrase.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(180);

/// The public keys that the agent of this session holds, without those of unknown kinds.
///
/// # Errors
/// When there is no agent or it does not speak the protocol.
pub(crate) fn identities() -> anyhow::Result<Vec<PublicKey>> {
    Agent::of_session()?.identities()
}

/// A connection to an agent.
pub struct Agent {
    stream: Box<dyn Stream>,
}

trait Stream: Read + Write {
    /// Begins a question: the time for its answer counts from here.
    fn begin(&mut self) {}
}

/// A stream without a limit in time.
struct Untimed<T>(T);

impl<T: Read> Read for Untimed<T> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<T: Write> Write for Untimed<T> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl<T: Read + Write> Stream for Untimed<T> {}

impl Agent {
    /// The agent that `SSH_AUTH_SOCK` names, or Windows' own.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn of_session() -> anyhow::Result<Self> {
        match std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty()) {
            Some(path) => Self::connect(Path::new(&path)),
            None if cfg!(windows) => Self::connect(Path::new(r"\\.\pipe\openssh-ssh-agent")),
            None => bail!("no ssh-agent: SSH_AUTH_SOCK is not set; start one with `eval $(ssh-agent)`"),
        }
    }

    /// The agent behind a socket, on Windows a named pipe.
    ///
    /// # Errors
    /// When nobody answers there.
    pub(crate) fn connect(path: &Path) -> anyhow::Result<Self> {
        let stream = open(path).with_context(|| format!("no ssh-agent answers at {}", path.display()))?;
        Ok(Self { stream })
    }

    /// An agent at the other end of `stream`, reachable for the fuzz targets.
    #[doc(hidden)]
    #[must_use]
    pub fn over(stream: impl Read + Write + 'static) -> Self {
        Self { stream: Box::new(Untimed(stream)) }
    }

    /// See [`identities`].
    ///
    /// # Errors
    /// When the agent does not speak the protocol.
    pub fn identities(&mut self) -> anyhow::Result<Vec<PublicKey>> {
        let answer = self.ask(&[REQUEST_IDENTITIES], IDENTITIES_ANSWER)?;
        let mut fields = Fields(&answer);
        let count = fields.number()?;
        let mut keys = Vec::new();
        // Each identity takes at least eight bytes, so a bounded answer bounds the loop.
        for _ in 0..count {
            let blob = fields.string()?;
            let comment = String::from_utf8_lossy(fields.string()?).into_owned();
            if let Ok(mut key) = PublicKey::from_bytes(blob) {
                key.set_comment(comment);
                keys.push(key);
            }
        }
        Ok(keys)
    }

    /// Asks for a signature of `key` over `data`; it is not checked here.
    ///
    /// # Errors
    /// When the agent lacks the key or its owner refuses.
    pub fn sign(&mut self, key: &PublicKey, data: &[u8]) -> anyhow::Result<Signature> {
        let blob = key.to_bytes()?;
        let flags = 0_u32;
        let mut request = vec![SIGN_REQUEST];
        for part in [blob.as_slice(), data] {
            request.extend(u32::try_from(part.len())?.to_be_bytes());
            request.extend(part);
        }
        request.extend(flags.to_be_bytes());
        let fingerprint = key.fingerprint(ssh_key::HashAlg::Sha256);
        let answer = self
            .ask(&request, SIGN_RESPONSE)
            .with_context(|| format!("the ssh-agent did not sign with {fingerprint}"))?;
        let signature =
            Signature::try_from(Fields(&answer).string()?).context("its signature is malformed")?;
        if signature.algorithm() != key.algorithm() {
            bail!("the ssh-agent signed with {} where {} was asked", signature.algorithm(), key.algorithm());
        }
        Ok(signature)
    }

    /// Sends one message and takes its answer, without length and type.
    fn ask(&mut self, message: &[u8], wanted: u8) -> anyhow::Result<Vec<u8>> {
        let length = u32::try_from(message.len()).ok().filter(|length| *length <= MAX_MESSAGE_BYTES);
        let length =
            length.with_context(|| format!("{} bytes are too many for an ssh-agent", message.len()))?;
        let mut packet = length.to_be_bytes().to_vec();
        packet.extend(message);
        self.stream.begin();
        self.stream.write_all(&packet).and_then(|()| self.stream.flush()).context("the ssh-agent hung up")?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).context("the ssh-agent did not answer")?;
        let length = u32::from_be_bytes(length);
        if length == 0 || length > MAX_MESSAGE_BYTES {
            bail!("the ssh-agent announced an answer of {length} bytes");
        }
        let mut answer = vec![0; usize::try_from(length)?];
        self.stream.read_exact(&mut answer).context("the ssh-agent's answer was cut off")?;
        match answer.split_first() {
            Some((kind, rest)) if *kind == wanted => Ok(rest.to_vec()),
            Some((&FAILURE, _)) => {
                bail!("the ssh-agent refused: the key is not loaded, or its use was not confirmed")
            }
            _ => bail!("the ssh-agent answered with a message of another kind"),
        }
    }
}

#[cfg(unix)]
fn open(path: &Path) -> std::io::Result<Box<dyn Stream>> {
    let stream = std::os::unix::net::UnixStream::connect(path)?;
    Ok(Box::new(Timed { stream, patience: ANSWER_TIMEOUT, asked: None }))
}

/// A socket on which a question and its answer have one limit together, so that no answer can trickle past it.
#[cfg(unix)]
struct Timed {
    stream: std::os::unix::net::UnixStream,
    patience: Duration,
    /// Since the first byte of a question.
    asked: Option<std::time::Instant>,
}

#[cfg(unix)]
impl Timed {
    /// The rest of the time; never none, which would mean without a limit.
    fn left(&mut self) -> std::io::Result<Option<Duration>> {
        let asked = *self.asked.get_or_insert_with(std::time::Instant::now);
        let left = self.patience.checked_sub(asked.elapsed()).filter(|left| !left.is_zero());
        left.map(Some).ok_or_else(|| std::io::ErrorKind::TimedOut.into())
    }
}

#[cfg(unix)]
impl Stream for Timed {
    fn begin(&mut self) {
        self.asked = None;
    }
}

#[cfg(unix)]
impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = self.left()?;
        self.stream.set_read_timeout(left)?;
        self.stream.read(buffer)
    }
}

#[cfg(unix)]
impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let left = self.left()?;
        self.stream.set_write_timeout(left)?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stream.flush()
    }
}

#[cfg(not(unix))]
fn open(path: &Path) -> std::io::Result<Box<dyn Stream>> {
    let _ = ANSWER_TIMEOUT;
    Ok(Box::new(Untimed(std::fs::OpenOptions::new().read(true).write(true).open(path)?)))
}

/// The fields of an answer, taken one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn number(&mut self) -> anyhow::Result<u32> {
        let (number, rest) =
            self.0.split_first_chunk::<4>().context("the ssh-agent's answer is too short")?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*number))
    }

    fn string(&mut self) -> anyhow::Result<&'a [u8]> {
        let length = usize::try_from(self.number()?)?;
        let (string, rest) =
            self.0.split_at_checked(length).context("the ssh-agent's answer is too short")?;
        self.0 = rest;
        Ok(string)
    }
}

#[cfg(test)]
#[cfg(unix)]
pub(crate) mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;
    use std::process::{Command, Stdio};

    /// An agent that gives one fixed answer.
    fn agent_that_says(answer: &[u8]) -> Agent {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(answer).unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        // Dropping `theirs` would make our write fail; it lives as long as the test.
        Box::leak(Box::new(theirs));
        Agent { stream: Box::new(Untimed(ours)) }
    }

    /// An agent that answers with this signature, whatever it is asked to sign.
    pub(crate) fn agent_that_signs(signature: &[u8]) -> Agent {
        let length = u32::try_from(signature.len()).unwrap();
        let mut answer = (length + 5).to_be_bytes().to_vec();
        answer.push(SIGN_RESPONSE);
        answer.extend(length.to_be_bytes());
        answer.extend(signature);
        agent_that_says(&answer)
    }

    #[test]
    fn answers_that_lie_are_errors() {
        let answers: [&[u8]; 9] = [
            b"",
            &[0, 0, 0],
            &[0, 0, 0, 0],
            &[0xff, 0xff, 0xff, 0xff, 12],
            &[0, 0, 0, 1, FAILURE],
            &[0, 0, 0, 1, IDENTITIES_ANSWER],
            &[0, 0, 0, 5, IDENTITIES_ANSWER, 0xff, 0xff, 0xff, 0xff],
            &[0, 0, 0, 9, IDENTITIES_ANSWER, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff],
            &[0, 0, 0, 9, IDENTITIES_ANSWER, 0, 0, 0, 1],
        ];
        for answer in answers {
            assert!(agent_that_says(answer).identities().is_err(), "{answer:?}");
        }
        // Keys of unknown kinds are passed over.
        let unknown =
            [&[0, 0, 0, 14, IDENTITIES_ANSWER, 0, 0, 0, 1, 0, 0, 0, 1, b'x'][..], &[0, 0, 0, 0]].concat();
        assert!(agent_that_says(&unknown).identities().unwrap().is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn an_agent_that_trickles_is_left() {
        let (own, mut other) = UnixStream::pair().unwrap();
        std::thread::spawn(move || {
            let mut sent = other.write_all(&[0, 1, 0, 0]);
            while sent.is_ok() {
                std::thread::sleep(Duration::from_millis(20));
                sent = other.write_all(&[IDENTITIES_ANSWER]);
            }
        });
        let patience = Duration::from_millis(400);
        let mut agent = Agent { stream: Box::new(Timed { stream: own, patience, asked: None }) };
        let began = std::time::Instant::now();
        let error = format!("{:#}", agent.identities().unwrap_err());
        assert!(error.contains("the ssh-agent's answer was cut off"), "{error}");
        assert!(began.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_real_agent_signs() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("agent");
        let mut child = Command::new("ssh-agent")
            .arg("-D")
            .arg("-a")
            .arg(&socket)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It prints its address once it listens.
        let mut first = [0; 1];
        child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
        let result = std::panic::catch_unwind(|| {
            for kind in ["ed25519", "ecdsa"] {
                let file = folder.path().join(kind);
                let made = Command::new("ssh-keygen")
                    .args(["-q", "-N", "", "-C", kind, "-t", kind, "-f"])
                    .arg(&file)
                    .status();
                assert!(made.unwrap().success());
                let added =
                    Command::new("ssh-add").arg("-q").arg(&file).env("SSH_AUTH_SOCK", &socket).status();
                assert!(added.unwrap().success());
            }
            let mut agent = Agent::connect(&socket).unwrap();
            let keys = agent.identities().unwrap();
            assert_eq!(keys.iter().map(PublicKey::comment).collect::<Vec<_>>(), ["ed25519", "ecdsa"]);
            for key in &keys {
                // The agent signs what SSHSIG wraps, and the result verifies as SSHSIG.
                let data = ssh_key::SshSig::signed_data("ferry", ssh_key::HashAlg::Sha512, b"index").unwrap();
                let wrapped = agent.sign(key, &data).unwrap();
                let sig =
                    ssh_key::SshSig::new(key.key_data().clone(), "ferry", ssh_key::HashAlg::Sha512, wrapped);
                key.verify("ferry", b"index", &sig.unwrap()).unwrap();
            }
            let stranger =
                ssh_key::PrivateKey::random(&mut rand_core::OsRng, ssh_key::Algorithm::Ed25519).unwrap();
            let error = format!("{:#}", agent.sign(stranger.public_key(), b"x").unwrap_err());
            assert!(error.contains("SHA256:") && error.contains("not loaded"), "{error}");
        });
        child.kill().unwrap();
        child.wait().unwrap();
        result.unwrap();
    }
}
