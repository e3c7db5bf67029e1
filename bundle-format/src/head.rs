//! HEAD: format magic, index and signatures in one skippable frame (FORMAT.md, section 2).
//!
//! ```text
//! "FERRYFZ\n" · u32 index bytes · index · u32 count · count × (u32 bytes · armoured SSHSIG) · zeros
//! ```
//!
//! The signatures are the only bytes of a bundle that no signature covers. So they are read
//! strictly: bounded in number and size, and what follows them must be zero, which leaves nowhere
//! to hide anything.

use crate::error::{FormatError, Result};
use crate::frame::{EMPTY_FRAME, HEAD_MAGIC, SKIPPABLE_HEADER_BYTES, skippable_header};
use manifest_schema::limits;
use std::io::Read;

const MAGIC: &[u8; 8] = b"FERRYFZ\n";
/// Bytes of HEAD's content besides index and signatures.
pub(crate) const FIXED_BYTES: u64 = 16;

/// HEAD as received: nothing in it is authenticated yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Content bytes of the frame.
    pub content_bytes: u32,
    /// The bytes that were signed.
    pub index: Vec<u8>,
    /// Armoured SSHSIG signatures as they lie in the file.
    pub signatures: Vec<Vec<u8>>,
}

impl Head {
    /// Reads the empty frame and HEAD from the start of a bundle, within the bounds of
    /// [`limits`].
    ///
    /// # Errors
    /// When the bytes are not those of a bundle, or a length is outside its bounds.
    pub fn read(reader: &mut dyn Read) -> Result<Self> {
        let mut prefix = [0; EMPTY_FRAME.len() + SKIPPABLE_HEADER_BYTES];
        let filled = read_up_to(reader, &mut prefix)?;
        if filled == 0 {
            return Err(FormatError::Foreign("the file is empty".into()));
        }
        let [b0, b1, b2, b3, s0, s1, s2, s3] = *prefix.last_chunk().unwrap_or(&[0; 8]);
        if !prefix.starts_with(&EMPTY_FRAME) || u32::from_le_bytes([b0, b1, b2, b3]) != HEAD_MAGIC {
            return Err(FormatError::Foreign("it does not begin like one".into()));
        }
        if filled < prefix.len() {
            return Err(FormatError::Foreign(format!("it ends after {filled} bytes")));
        }
        let content_bytes = u32::from_le_bytes([s0, s1, s2, s3]);
        if content_bytes > limits::MAX_HEAD_BYTES {
            return Err(FormatError::Foreign(format!("its head claims {content_bytes} bytes")));
        }
        // Grows with what really arrives: a lying length costs no memory.
        let mut content = Vec::new();
        reader
            .take(u64::from(content_bytes))
            .read_to_end(&mut content)
            .map_err(FormatError::io("reading the bundle's head"))?;
        if content.len() != content_bytes as usize {
            return Err(FormatError::Foreign(format!(
                "it ends inside its head, after {} bytes",
                content.len()
            )));
        }
        Self::decode(content_bytes, &content)
    }

    fn decode(content_bytes: u32, content: &[u8]) -> Result<Self> {
        let cut = || FormatError::Foreign("its head is cut short".into());
        let rest =
            content.strip_prefix(MAGIC).ok_or_else(|| FormatError::Foreign("its head is not ours".into()))?;
        let (index_bytes, rest) = take_u32(rest).ok_or_else(cut)?;
        if index_bytes > limits::MAX_INDEX_BYTES {
            return Err(FormatError::Foreign(format!("its index claims {index_bytes} bytes")));
        }
        let (index, rest) = rest.split_at_checked(index_bytes as usize).ok_or_else(cut)?;
        let (count, mut rest) = take_u32(rest).ok_or_else(cut)?;
        if count as usize > limits::MAX_SIGNATURES {
            return Err(FormatError::Foreign(format!("it claims {count} signatures")));
        }
        let mut signatures = Vec::new();
        for _ in 0..count {
            let (bytes, after) = take_u32(rest).ok_or_else(cut)?;
            // None is empty: zeros are room that nobody uses, and do not count as signatures.
            if bytes == 0 || bytes > limits::MAX_SIGNATURE_BYTES {
                return Err(FormatError::Foreign(format!("a signature claims {bytes} bytes")));
            }
            let (signature, after) = after.split_at_checked(bytes as usize).ok_or_else(cut)?;
            signatures.push(signature.to_vec());
            rest = after;
        }
        if rest.iter().any(|byte| *byte != 0) {
            return Err(FormatError::Foreign("the unused part of its head is not empty".into()));
        }
        Ok(Self { content_bytes, index: index.to_vec(), signatures })
    }

    /// The empty frame and the HEAD frame, as they stand at the start of a bundle.
    ///
    /// # Errors
    /// [`FormatError::ReserveTooSmall`] when index and signatures do not fit.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let total = EMPTY_FRAME.len() + SKIPPABLE_HEADER_BYTES + self.content_bytes as usize;
        let mut bytes = Vec::with_capacity(total);
        bytes.extend_from_slice(&EMPTY_FRAME);
        bytes.extend_from_slice(&skippable_header(HEAD_MAGIC, self.content_bytes));
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&(self.index.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&self.index);
        bytes.extend_from_slice(&(self.signatures.len() as u32).to_le_bytes());
        for signature in &self.signatures {
            bytes.extend_from_slice(&(signature.len() as u32).to_le_bytes());
            bytes.extend_from_slice(signature);
        }
        if bytes.len() > total {
            return Err(FormatError::ReserveTooSmall { missing: (bytes.len() - total) as u64 });
        }
        bytes.resize(total, 0);
        Ok(bytes)
    }
}

fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (field, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*field), rest))
}

fn read_up_to(reader: &mut dyn Read, buffer: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(source) => {
                return Err(FormatError::Io { doing: "reading the bundle's first bytes".into(), source });
            }
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head() -> Head {
        Head { content_bytes: 200, index: vec![5; 90], signatures: vec![vec![1; 20], vec![2; 30]] }
    }

    #[test]
    fn head_round_trips() {
        let bytes = head().encode().unwrap();
        assert_eq!(bytes.len(), 9 + 8 + 200);
        assert_eq!(Head::read(&mut bytes.as_slice()).unwrap(), head());
    }

    #[test]
    fn nothing_can_hide_behind_the_signatures() {
        let mut bytes = head().encode().unwrap();
        *bytes.last_mut().unwrap() = 1;
        assert!(matches!(Head::read(&mut bytes.as_slice()), Err(FormatError::Foreign(_))));
    }

    #[test]
    fn zeros_are_no_signatures() {
        let mut bytes = head().encode().unwrap();
        bytes[17 + 12 + 90] += 1;
        assert!(matches!(Head::read(&mut bytes.as_slice()), Err(FormatError::Foreign(_))));
    }

    #[test]
    fn every_truncation_is_refused() {
        let bytes = head().encode().unwrap();
        for end in 0..bytes.len() {
            assert!(Head::read(&mut &bytes[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn a_head_that_does_not_fit_asks_for_more_room() {
        let small = Head { content_bytes: 100, ..head() };
        assert!(matches!(small.encode(), Err(FormatError::ReserveTooSmall { missing: 64 })));
    }

    proptest! {
        #[test]
        fn damaged_heads_never_panic(at in 0..217_usize, value: u8) {
            let mut bytes = head().encode().unwrap();
            bytes[at] = value;
            let _ = Head::read(&mut bytes.as_slice());
        }
    }
}
