//! The person at the terminal. Lines go to standard error, as all that is no result.
//!
//! Invariant: the first Ctrl-C ends a question, though a read cannot be interrupted; and the
//! terminal shows again what is typed, however a hidden question ends. After Ctrl-Z and `fg` the question
//! is shown again, and hidden input stays hidden.

use super::{Person, Tone};
use anyhow::{Context as _, Result};
use ferry_terminal::{Class, Failure, Output};
use rustix::process::Signal;
use rustix::termios::{LocalModes, OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcsetattr};
use std::io::{self, BufRead as _};
use std::sync::mpsc;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Standard input and standard error, where both are terminals.
pub(in crate::cli) struct Terminal<'a> {
    output: Output,
    cancel: &'a CancellationToken,
    /// From a hidden question to the next one that is not, so that nothing shows in between.
    hiding: Option<Hidden>,
}

enum Event {
    Read(io::Result<Option<String>>),
    /// The process went on after Ctrl-Z.
    Resumed,
    Stopped,
}

impl<'a> Terminal<'a> {
    pub(in crate::cli) fn new(output: Output, cancel: &'a CancellationToken) -> Self {
        Self { output: output.for_stderr(), cancel, hiding: None }
    }

    /// Waits for a line, or for a signal that asks for an end. Needs the runtime.
    fn wait(&self, resumed: impl Fn()) -> Result<io::Result<Option<String>>> {
        let (sender, events) = mpsc::channel();
        let (signals, cancel) = (sender.clone(), self.cancel.clone());
        let watch = tokio::spawn(async move {
            let mut resume = signal(SignalKind::from_raw(Signal::CONT.as_raw())).ok();
            loop {
                let event = tokio::select! {
                    () = cancel.cancelled() => Event::Stopped,
                    Some(Some(())) = async { Some(resume.as_mut()?.recv().await) } => Event::Resumed,
                };
                let ends = matches!(event, Event::Stopped);
                if signals.send(event).is_err() || ends {
                    return;
                }
            }
        });
        // After a signal this thread still waits for a line; it ends with the process.
        std::thread::spawn(move || sender.send(Event::Read(line())));
        let event = loop {
            match events.recv().context("reading from the terminal")? {
                Event::Resumed => resumed(),
                event => break event,
            }
        };
        watch.abort();
        match event {
            // Enter that follows a Ctrl-C confirms nothing.
            Event::Read(line) if !self.cancel.is_cancelled() => Ok(line),
            Event::Read(_) | Event::Stopped | Event::Resumed => {
                Err(Failure::new(Class::Cancelled, "stopped by Ctrl-C; nothing was changed").into())
            }
        }
    }
}

impl Person for Terminal<'_> {
    fn forget_typed(&mut self) {
        let _ = tcflush(io::stdin(), QueueSelector::IFlush);
    }

    fn say(&mut self, tone: Tone, line: &str) {
        let painted = match tone {
            Tone::Title => self.output.bold(line),
            Tone::Plain => line.to_owned(),
            Tone::Note => self.output.dim(line),
            Tone::Wrong => self.output.yellow(line),
        };
        self.output.error_line(&painted);
    }

    fn read(&mut self, prompt: &str, hidden: bool) -> Result<Option<String>> {
        // Before the prompt: input that follows it at once is hidden, too.
        match (hidden, &self.hiding) {
            (true, None) => self.hiding = Some(Hidden::begin().context("hiding what is typed")?),
            (false, Some(_)) => self.hiding = None,
            _ => {}
        }
        let show = || {
            Output::prompt(prompt);
        };
        loop {
            show();
            let line = self.wait(|| {
                // The shell has set the terminal up for itself meanwhile.
                if let Some(hiding) = &self.hiding {
                    let _ = hiding.again();
                }
                show();
            });
            // Without echo, Enter moves no line. And after the end of the input, nothing did.
            if hidden || matches!(line, Ok(Ok(None))) {
                self.output.error_line("");
            }
            match line? {
                Ok(line) => return Ok(line),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    self.say(Tone::Wrong, "     that was not UTF-8 text: type it again");
                }
                Err(error) => return Err(error).context("reading from the terminal"),
            }
        }
    }
}

/// A line without its end; nothing at the end of the input.
fn line() -> io::Result<Option<String>> {
    let mut typed = String::new();
    if io::stdin().lock().read_line(&mut typed)? == 0 {
        return Ok(None);
    }
    let end = typed.trim_end_matches(['\n', '\r']).len();
    typed.truncate(end);
    Ok(Some(typed))
}

/// While it lives, the terminal does not show what is typed.
struct Hidden {
    before: Termios,
    quiet: Termios,
}

impl Hidden {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        let hidden = Self { before, quiet };
        hidden.again()?;
        Ok(hidden)
    }

    fn again(&self) -> io::Result<()> {
        // Now, and nothing is thrown away: what was typed ahead counts.
        Ok(tcsetattr(io::stdin(), OptionalActions::Now, &self.quiet)?)
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}
