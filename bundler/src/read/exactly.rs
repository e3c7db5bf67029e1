//! Readers of a length that was announced.

use std::io::{self, Read};

/// Delivers exactly the bytes announced: fewer are an error, more are not read.
pub(crate) struct Exactly<R> {
    inner: R,
    left: u64,
    what: String,
}

impl<R: Read> Exactly<R> {
    /// `bytes` of `inner`; `what` names it in errors.
    pub(crate) const fn new(inner: R, bytes: u64, what: String) -> Self {
        Self { inner, left: bytes, what }
    }
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let Some(buffer) = buffer.get_mut(..want).filter(|buffer| !buffer.is_empty()) else { return Ok(0) };
        let count = self.inner.read(buffer)?;
        if count == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!(
                    "{} ends {} bytes early: it was cut off, or changed while it was read",
                    self.what, self.left
                ),
            ));
        }
        self.left -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_announced_bytes() {
        let read = |bytes| {
            let mut content = Vec::new();
            Exactly::new(&b"abc"[..], bytes, "f".into()).read_to_end(&mut content).map(|_| content)
        };
        assert_eq!(read(2).unwrap(), b"ab");
        assert_eq!(read(4).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
