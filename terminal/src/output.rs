//! Standard output and error: characters, colour, `--json`, and pipes that close early.

use crate::charset;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

static LOST: AtomicBool = AtomicBool::new(false);

/// How to write.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// One JSON document (or one a line) on standard output instead of text.
    pub json: bool,
    /// No progress.
    pub quiet: bool,
    /// Colour and bars on standard error.
    pub rich: bool,
    /// Colour on standard output: the two are often different, as in `ferry inspect site.fz | less`.
    pub colour: bool,
}

impl Output {
    /// From the flags and the environment: colour only on a terminal and without `NO_COLOR`.
    #[must_use]
    pub fn new(json: bool, quiet: bool) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            json,
            quiet,
            rich: std::io::stderr().is_terminal() && !plain,
            colour: std::io::stdout().is_terminal() && !plain && !json,
        }
    }

    /// A line on standard output. A reader that went away is not an error of ours; any other failure is told by
    /// [`crate::done`].
    pub fn line(self, text: &str) {
        // JSON is UTF-8 wherever it goes.
        let text = if self.json { text.into() } else { charset::shown(text) };
        let mut out = std::io::stdout().lock();
        let written = writeln!(out, "{text}").and_then(|()| out.flush());
        if written.is_err_and(|error| error.kind() != std::io::ErrorKind::BrokenPipe) {
            LOST.store(true, Ordering::Relaxed);
        }
    }

    /// True once something for standard output could not be written.
    #[must_use]
    pub(crate) fn is_lost() -> bool {
        LOST.load(Ordering::Relaxed)
    }

    /// A line on standard error.
    pub fn error_line(self, text: &str) {
        let text = if self.json { text.into() } else { charset::shown(text) };
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }

    /// A remark on standard error, `warning: TEXT` or `note: TEXT`; an event like those of progress where JSON is asked for.
    pub fn remark(self, word: &str, text: &str) {
        let line = match self.json {
            true => serde_json::json!({ "event": word, "text": text }).to_string(),
            false => format!("{} {text}", self.for_stderr().yellow(&format!("{word}:"))),
        };
        self.error_line(&line);
    }

    /// Text on standard error to which a person answers in the same line.
    pub fn prompt(text: &str) {
        let mut shown = std::io::stderr().lock();
        let _ = write!(shown, "{}", charset::shown(text)).and_then(|()| shown.flush());
    }

    /// The same, to paint what goes to standard error.
    #[must_use]
    pub const fn for_stderr(self) -> Self {
        Self { colour: self.rich, ..self }
    }

    /// Bold on standard output, as all that follow; for standard error see [`Self::for_stderr`].
    #[must_use]
    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// Red.
    #[must_use]
    pub fn red(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// Green.
    #[must_use]
    pub fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// Yellow.
    #[must_use]
    pub fn yellow(self, text: &str) -> String {
        self.paint("33", text)
    }

    /// Dim.
    #[must_use]
    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour && !self.json { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stream_has_its_own_colour() {
        let redirected = Output { json: false, quiet: false, rich: true, colour: false };
        assert_eq!(redirected.bold("x"), "x");
        assert_eq!(redirected.for_stderr().bold("x"), "\x1b[1mx\x1b[0m");
        let logged = Output { rich: false, colour: true, ..redirected };
        assert_eq!(logged.green("x"), "\x1b[32mx\x1b[0m");
        assert_eq!(logged.for_stderr().green("x"), "x");
        assert_eq!(Output { json: true, rich: true, ..redirected }.for_stderr().red("x"), "x");
    }
}
