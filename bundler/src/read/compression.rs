//! Compression of stored layers and archives, known by their first bytes only: names and media
//! types in the wild are wrong often enough (a `layer.tar` that is gzip, a `+gzip` that is zstd).
//!
//! Invariants: everything streams in constant memory, a cut-off stream is an error and
//! never a short read, and a decompression bomb ends in an error after a bounded amount of work.

use ferry_terminal::human;
use flate2::bufread::MultiGzDecoder;
use std::io::{self, BufReader, Read};

/// How bytes are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// As they are.
    None,
    /// gzip (RFC 1952), one or more members.
    Gzip,
    /// zstd (RFC 8878), one or more frames.
    Zstd,
}

/// Number of first bytes that [`sniff`] wants to see.
pub(crate) const HEAD_BYTES: usize = 6;

/// Content that a stream may reach before its ratio is looked at: 16 GiB take seconds.
const UNQUESTIONED_BYTES: u64 = 16 << 30;

/// Highest ratio accepted beyond [`UNQUESTIONED_BYTES`]: deflate cannot exceed 1032, and real zstd
/// layers of that size stay far below.
const MAX_RATIO: u64 = 1100;

/// The compression that `head`, the first bytes of a stream, shows.
///
/// # Errors
/// When the bytes are of a compression that engines no longer take.
pub(crate) fn sniff(head: &[u8]) -> anyhow::Result<Compression> {
    match head {
        [0x1f, 0x8b, ..] => Ok(Compression::Gzip),
        // A zstd frame, or a skippable one in front of it (RFC 8878, section 3.1.2).
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Compression::Zstd),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            anyhow::bail!("it is compressed with xz; gzip, zstd and plain tar are read")
        }
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => {
            anyhow::bail!("it is compressed with bzip2; gzip, zstd and plain tar are read")
        }
        _ => Ok(Compression::None),
    }
}

/// Bytes that any content may reach, where a person has lifted the ceiling (`limits.unpacked`).
pub(crate) type Lifted = Option<u64>;

/// The content of `stored`, of which there are `stored_bytes`; `what` names it in errors.
pub(crate) fn decompress(
    stored: impl Read + Send + 'static,
    compression: Compression,
    stored_bytes: u64,
    lifted: Lifted,
    what: String,
) -> io::Result<Box<dyn Read + Send>> {
    let inner: Box<dyn Read + Send> = match compression {
        Compression::None => return Ok(Box::new(stored)),
        Compression::Gzip => Box::new(MultiGzDecoder::new(BufReader::with_capacity(128 << 10, stored))),
        // zstd's own default refuses windows over 128 MiB, which keeps our memory bounded.
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::new(stored)?),
    };
    let allowed = ceiling(stored_bytes, lifted);
    Ok(Box::new(Bounded { inner, allowed, left: allowed, stored_bytes, what }))
}

/// Bytes that the content of `stored_bytes` may have.
fn ceiling(stored_bytes: u64, lifted: Lifted) -> u64 {
    UNQUESTIONED_BYTES.max(stored_bytes.saturating_mul(MAX_RATIO)).max(lifted.unwrap_or(0))
}

/// Ends in an error where a stream grows beyond all measure; names the stream in every error.
struct Bounded<R> {
    inner: R,
    allowed: u64,
    left: u64,
    stored_bytes: u64,
    what: String,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer).map_err(|error| {
            io::Error::new(error.kind(), format!("{} does not decompress: {error}", self.what))
        })?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "{} has {} and unpacks to more than {}, as a decompression bomb does; if it is none, a disk of \
                     zeros for one, name the size that it may have in ferry.yaml: `limits: {{ unpacked: 40GiB }}`",
                    self.what,
                    human::bytes(self.stored_bytes),
                    human::bytes(self.allowed)
                ),
            )
        })?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn read(stored: Vec<u8>) -> io::Result<Vec<u8>> {
        let compression = sniff(&stored).unwrap();
        let bytes = stored.len() as u64;
        let mut content = Vec::new();
        decompress(io::Cursor::new(stored), compression, bytes, None, "x".into())?
            .read_to_end(&mut content)?;
        Ok(content)
    }

    #[test]
    fn several_members_and_frames_are_one_content() {
        assert_eq!(read([gzip(b"ab"), gzip(b"cd")].concat()).unwrap(), b"abcd");
        let frames =
            [zstd::encode_all(&b"ab"[..], 1).unwrap(), zstd::encode_all(&b"cd"[..], 1).unwrap()].concat();
        assert_eq!(read(frames.clone()).unwrap(), b"abcd");
        let skippable = [&[0x5e, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9][..], &frames].concat();
        assert_eq!(read(skippable).unwrap(), b"abcd");
    }

    #[test]
    fn every_truncation_is_an_error() {
        let content: Vec<u8> = (0..5000_u32).flat_map(u32::to_le_bytes).collect();
        for whole in [gzip(&content), zstd::encode_all(&content[..], 3).unwrap()] {
            for length in (6..whole.len()).step_by(97).chain([whole.len() - 1]) {
                assert!(read(whole[..length].to_vec()).is_err(), "{length} of {}", whole.len());
            }
        }
    }

    #[test]
    fn a_bomb_is_refused() {
        let bytes = 1 << 20;
        let what = "layer x".to_owned();
        let mut bomb = Bounded { inner: io::repeat(0), allowed: bytes, left: bytes, stored_bytes: 700, what };
        let error = io::copy(&mut bomb, &mut io::sink()).unwrap_err().to_string();
        for part in ["layer x has 700 B", "more than 1.00 MiB", "bomb", "limits: { unpacked: 40GiB }"] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn a_person_lifts_the_ceiling_and_nobody_lowers_it() {
        const GIB: u64 = 1 << 30;
        for (stored, lifted, allowed) in [
            (700, None, 16 * GIB),
            (700, Some(40 * GIB), 40 * GIB),
            (700, Some(1), 16 * GIB),
            (GIB, None, 1100 * GIB),
            (GIB, Some(40 * GIB), 1100 * GIB),
        ] {
            assert_eq!(ceiling(stored, lifted), allowed, "{stored} {lifted:?}");
        }
    }

    #[test]
    fn other_compressions_are_named() {
        assert!(sniff(b"\xfd7zXZ\0").unwrap_err().to_string().contains("xz"));
        assert!(sniff(b"BZh91A").unwrap_err().to_string().contains("bzip2"));
        assert_eq!(sniff(b"").unwrap(), Compression::None);
    }
}
