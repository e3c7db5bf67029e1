//! Progress of what is read.

use crate::cancel::{Cancel, Reader};
use manifest_schema::progress::Progress;
use std::io::Read;

/// A reader that counts as progress and ends when the work is cancelled.
pub(super) struct Watched<'a> {
    inner: Reader<Box<dyn Read + Send>>,
    progress: &'a dyn Progress,
    /// Counts bytes read as progress.
    pub(super) counts: bool,
}

impl<'a> Watched<'a> {
    pub(super) fn new(inner: Box<dyn Read + Send>, progress: &'a dyn Progress, cancel: &Cancel) -> Self {
        Self { inner: cancel.reader(inner), progress, counts: true }
    }
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if self.counts {
            self.progress.advance(read as u64);
        }
        Ok(read)
    }
}
