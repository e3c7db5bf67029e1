//! Positional reads, so that many threads can read one bundle without sharing a cursor.

use std::io::{self, Read};
use std::sync::Arc;

/// Something that can be read at any offset, from any thread.
pub trait ReadAt: Send + Sync {
    /// Fills `buffer` from byte `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` when the source ends first, and whatever the medium reports.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Size in bytes.
    ///
    /// # Errors
    /// Whatever the medium reports.
    fn size(&self) -> io::Result<u64>;
}

impl ReadAt for std::fs::File {
    #[cfg(unix)]
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buffer, offset)
    }

    #[cfg(windows)]
    fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            let read = std::os::windows::fs::FileExt::seek_read(self, buffer, offset)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            buffer = &mut buffer[read..];
            offset += read as u64;
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        self.metadata().map(|metadata| metadata.len())
    }
}

impl ReadAt for Vec<u8> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(self.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

/// The part of a stream that was read, in its place; the rest cannot be read.
#[derive(Debug)]
pub struct Part {
    offset: u64,
    bytes: Vec<u8>,
    size: u64,
}

impl Part {
    /// Reads up to `length` bytes from `reader`, which stands at byte `offset` of a stream of `size` bytes.
    /// A stream that ends or fails earlier leaves a shorter part.
    #[must_use]
    pub fn read(reader: &mut dyn Read, offset: u64, length: u64, size: u64) -> Self {
        let mut bytes = Vec::new();
        // Whoever needs what is missing is told so.
        let _ = reader.take(length).read_to_end(&mut bytes);
        Self { offset, bytes, size }
    }
}

impl ReadAt for Part {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.bytes.read_exact_at(buffer, offset.checked_sub(self.offset).ok_or(io::ErrorKind::UnexpectedEof)?)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }
}

impl<S: ReadAt + ?Sized> ReadAt for Arc<S> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_exact_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        (**self).size()
    }
}

/// Reads a [`ReadAt`] from its start.
pub(crate) struct Cursor<'a, S: ?Sized> {
    source: &'a S,
    position: u64,
    size: u64,
}

impl<'a, S: ReadAt + ?Sized> Cursor<'a, S> {
    /// A cursor at byte 0.
    ///
    /// # Errors
    /// When the size cannot be told.
    pub(crate) fn new(source: &'a S) -> io::Result<Self> {
        Ok(Self { source, position: 0, size: source.size()? })
    }
}

impl<S: ReadAt + ?Sized> Read for Cursor<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.size.saturating_sub(self.position);
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let (part, _) = buffer.split_at_mut(wanted);
        self.source.read_exact_at(part, self.position)?;
        self.position += wanted as u64;
        Ok(wanted)
    }
}
