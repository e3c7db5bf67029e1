//! Reading while somebody watches.

use crate::cancel::Cancel;
use manifest_schema::progress::Progress;
use std::io::Read;

/// A reader that tells progress and ends when the work is cancelled.
pub(super) struct Watched<'a> {
    pub(super) inner: Box<dyn Read + Send>,
    pub(super) progress: &'a dyn Progress,
    pub(super) cancel: &'a Cancel,
    /// Whether what is read counts as progress.
    pub(super) counts: bool,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.cancel.check()?;
        let read = self.inner.read(buffer)?;
        if self.counts {
            self.progress.advance(read as u64);
        }
        Ok(read)
    }
}
