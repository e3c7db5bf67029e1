//! Cancelling: a wish to stop, made once by whoever waits, and heard wherever work is done.
//!
//! Invariants: every loop whose length others decide (bytes, entries, answers of a network)
//! hears it within a second or two.

use std::future::Future;
use std::io::{self, Read};
use tokio_util::sync::CancellationToken;

/// The wish. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Cancel(CancellationToken);

impl Cancel {
    /// Asks for the end.
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// True once the end was asked for.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Lets work go on until the end is asked for.
    ///
    /// # Errors
    /// From then on.
    pub fn check(&self) -> io::Result<()> {
        if self.is_cancelled() { Err(stopped()) } else { Ok(()) }
    }

    /// Waits for `work`, unless the end is asked for.
    ///
    /// # Errors
    /// Its own, and when the end is asked for meanwhile: `work` is then dropped where it is.
    pub(crate) async fn unless<T>(&self, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        tokio::select! {
            biased;
            () = self.0.cancelled() => Err(stopped().into()),
            done = work => done,
        }
    }

    /// `inner`, whose reading fails once the end was asked for.
    pub(crate) fn reader<R: Read>(&self, inner: R) -> Reader<R> {
        Reader { inner, cancel: self.clone() }
    }
}

fn stopped() -> io::Error {
    io::Error::other("stopped by Ctrl-C")
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
