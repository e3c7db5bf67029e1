//! The sysop's work on an installed project: status, logs, start, stop, uninstall.
//!
//! All of it works from the engine's state alone (labels give the order), so it also works when the
//! release's own files are damaged.

mod logs;
mod start_stop;
mod status;
mod uninstall;

pub use logs::{LogLine, LogsError, logs};
pub use start_stop::{start, stop};
pub use status::{ServiceStatus, status};
pub use uninstall::{Uninstall, Uninstalled, uninstall};
