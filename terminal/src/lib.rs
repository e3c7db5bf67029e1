//! The edges that both programs share: how they speak to a person (progress, errors with hints, exit codes,
//! sizes), how they write a file, and how they reach an engine.
//!
//! Progress goes to standard error and results to standard output, so that `--json` output can be
//! piped while a bar still moves. Colour only on a terminal, and never under `NO_COLOR`.

mod charset;
pub mod command_line;
pub mod confined;
pub mod disk;
mod drawn;
pub mod engine_client;
pub mod failure;
pub mod human;
mod output;
mod progress;
mod waiting;
pub mod whole_file;
pub mod writing;

pub use failure::{Class, Failure, class_of, done, exit_with, report};
pub use output::Output;
pub use progress::TerminalProgress;
pub use whole_file::WholeFile;
