//! A wish to stop, made once by whoever waits, and heard wherever work is done.
//!
//! What must stay true: every loop whose length others decide (bytes, entries, answers of a network)
//! hears it within a second or two.

use std::future::Future;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long the network is waited for between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The wish. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks for the end.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the end was asked for.
    #[must_use]
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The flag, for who takes one.
    #[must_use]
    pub fn flag(&self) -> &AtomicBool {
        &self.0
    }

    /// # Errors
    /// When the end was asked for.
    pub fn check(&self) -> io::Result<()> {
        if self.asked() { Err(io::Error::other("stopped by Ctrl-C")) } else { Ok(()) }
    }

    /// What `work` gives.
    ///
    /// # Errors
    /// Its own, and when the end is asked for meanwhile: it is then left where it stands.
    pub(crate) async fn unless<T>(&self, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        let mut work = std::pin::pin!(work);
        loop {
            self.check()?;
            if let Ok(done) = tokio::time::timeout(LOOK_EVERY, work.as_mut()).await {
                return done;
            }
        }
    }

    /// `inner`, whose reading fails once the end was asked for.
    pub(crate) fn reader<R: Read>(&self, inner: R) -> Reader<R> {
        Reader { inner, cancel: self.clone() }
    }
}

/// See [`Cancel::reader`].
pub(crate) struct Reader<R> {
    inner: R,
    cancel: Cancel,
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.cancel.check()?;
        self.inner.read(buffer)
    }
}
