//! The first error while reading the bundle for an engine. The engine only sees a transfer that breaks, and some
//! try again for a minute or more: the work is ended at once instead, with the stick's own error.

use crate::bundle_errors;
use bundle_format::FormatError;
use ferry_terminal::{Failure, failure};
use std::future::Future;
use std::sync::{Arc, OnceLock};
use tokio::sync::Notify;

/// The first error while reading the bundle, shared by all that read it for one engine.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReadFailure(Arc<(OnceLock<String>, Notify)>);

impl ReadFailure {
    /// Keeps `error` if it is the first, and gives it on as one for a stream.
    pub(crate) fn note(&self, error: FormatError) -> std::io::Error {
        let _ = self.0.0.set(failure::chain(&error));
        self.0.1.notify_waiters();
        std::io::Error::other(error)
    }

    /// The first error, as a failure of the medium.
    #[must_use]
    pub(crate) fn failure(&self) -> Option<Failure> {
        self.0.0.get().map(|text| bundle_errors::unreadable(text))
    }

    /// Does `work`, and leaves it where the bundle cannot be read any more.
    ///
    /// # Errors
    /// The failure of the medium.
    pub(crate) async fn ends<T>(&self, work: impl Future<Output = T>) -> Result<T, Failure> {
        let noted = async {
            loop {
                // It hears of what is noted from here on, also before it is waited for.
                let next = self.0.1.notified();
                if let Some(failure) = self.failure() {
                    return failure;
                }
                next.await;
            }
        };
        tokio::select! {
            biased;
            failure = noted => Err(failure),
            done = work => Ok(done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_waits_ends_with_the_first_error_of_the_stick() {
        let broken = ReadFailure::default();
        assert_eq!(broken.ends(async { 7 }).await.unwrap(), 7);
        let noting = broken.clone();
        let waiting = tokio::spawn(async move { noting.ends(std::future::pending::<()>()).await });
        tokio::task::yield_now().await;
        for text in ["the stick is gone", "a later one"] {
            let _ = broken.note(FormatError::Io {
                doing: text.to_owned(),
                source: std::io::Error::from_raw_os_error(5),
            });
        }
        let failure = waiting.await.unwrap().unwrap_err();
        assert!(format!("{failure:?}").contains("the stick is gone"), "{failure:?}");
        assert!(broken.ends(async { 7 }).await.is_err(), "what begins later ends too");
    }
}
