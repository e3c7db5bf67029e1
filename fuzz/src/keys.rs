//! Keys from files and from an ssh-agent.

use bundle_format::allowed_signers::{self as signers, AllowedSigner};
use bundler::fuzzing::Agent;
use std::io::{self, Read, Write};

/// Products that the patterns are tried on.
const NAMES: [&str; 3] = ["plant", "plant-monitor-2", "*"];

/// Reads pinned keys, and the lines that they are written as.
pub fn allowed_signers(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let (found, bad) = signers::parse(text);
    let lines = text.lines().count();
    assert!(found.len() + bad.len() <= lines);
    for line in &bad {
        assert!((1..=lines).contains(&line.line) && !line.reason.is_empty());
    }
    let read = !found.is_empty();
    for signer in found {
        for name in NAMES {
            let excluded = signer.principals.split(',').any(|pattern| pattern == format!("!{name}"));
            assert!(!(excluded && signer.is_for(name)), "`{name}` is taken out and counts");
        }
        let Ok(line) = signers::line(&signer.principals, &signer.key) else { continue };
        let (again, bad) = signers::parse(&line);
        assert!(bad.is_empty(), "a line that was written is bad: {bad:?}");
        let [AllowedSigner { key, .. }] = again.as_slice() else {
            unreachable!("one line, {} keys", again.len())
        };
        assert_eq!(key.key_data(), signer.key.key_data());
    }
    read
}

/// Asks an agent that answers with these bytes for its keys and for a signature.
pub fn agent(data: &[u8]) -> bool {
    let keys = Agent::over(Fixed(io::Cursor::new(data.to_vec()))).identities();
    if let Ok(keys) = &keys {
        // A key takes more than eight bytes of the answer.
        assert!(keys.len() <= data.len() / 8);
    }
    let mut agent = Agent::over(Fixed(io::Cursor::new(data.to_vec())));
    let first = agent.identities();
    assert_eq!(first.is_ok(), keys.is_ok());
    for key in first.unwrap_or_default() {
        if let Ok(signature) = agent.sign(&key, b"data") {
            assert_eq!(signature.algorithm(), key.algorithm());
        }
    }
    keys.is_ok()
}

/// A stream that gives fixed bytes, whatever is written to it.
struct Fixed(io::Cursor<Vec<u8>>);

impl Read for Fixed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Fixed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
