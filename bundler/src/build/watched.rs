//! Reading while somebody watches.

use manifest_schema::progress::Progress;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};

/// A reader that tells progress and ends when the work is cancelled.
pub(super) struct Watched<'a> {
    pub(super) inner: Box<dyn Read + Send>,
    pub(super) progress: &'a dyn Progress,
    pub(super) cancelled: &'a AtomicBool,
    /// Whether what is read counts as progress.
    pub(super) counts: bool,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(std::io::Error::other("stopped by Ctrl-C"));
        }
        let read = self.inner.read(buffer)?;
        if self.counts {
            self.progress.advance(read as u64);
        }
        Ok(read)
    }
}
