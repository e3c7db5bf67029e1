//! Events of long work, for a terminal, a log or a test.

use std::time::Duration;

/// Something that is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// Its name, `web`.
    pub subject: String,
    /// The state that ends the wait, `healthy`.
    pub goal: &'static str,
    /// The longest time that it may still take.
    pub left: Duration,
    /// Its last answer, one line; empty where it gave none.
    pub said: String,
}

/// Receives events from long work. Implementations must be cheap and may be called from any
/// thread.
pub trait Progress: Send + Sync {
    /// A stage of the procedure begins, `packing`; `total_bytes` where it is known.
    fn begin(&self, stage: &str, total_bytes: Option<u64>);
    /// `bytes` more of the current stage are done.
    fn advance(&self, bytes: u64);
    /// `bytes` of the current stage were done before it was shown: they count for its share, not for its speed.
    fn resume(&self, bytes: u64) {
        self.advance(bytes);
    }
    /// The item in work now, `image acme/api:2.4.0`.
    fn detail(&self, text: &str);
    /// The current stage waits for these; called about once a second, and with none when the wait is over.
    fn wait(&self, _waits: &[Wait]) {}
    /// The current stage ended; `summary` is one line for a person.
    fn end(&self, summary: &str);
    /// The current stage ended badly; the error that follows says more.
    fn fail(&self, summary: &str) {
        self.end(summary);
    }
    /// Something a person should know that is not an error.
    fn warn(&self, text: &str);
}

/// Hears nothing.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn detail(&self, _: &str) {}
    fn end(&self, _: &str) {}
    fn warn(&self, _: &str) {}
}
