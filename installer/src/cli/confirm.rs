//! Confirmations: of a key that this host meets for the first time, by its fingerprint on the delivery note, and of
//! work that cannot be undone.

use super::wizard::{Person, Terminal, Tone};
use crate::trust::{self, Confirmation, TYPED_CHARS};
use anyhow::{Context, Result};
use bundle_format::signature::Fingerprint;
use ferry_terminal::Output;
use std::io::BufRead;
use tokio_util::sync::CancellationToken;

/// How often a slip of the finger is forgiven.
const TRIES: usize = 3;

/// Takes a fingerprint only when its end is typed: a `y` is typed too easily. It is shown only after something else was
/// typed: whoever sees it first copies it from the screen, and compares nothing.
///
/// # Errors
/// At Ctrl-C, or when the terminal cannot be read.
pub(super) fn confirm(
    found: &[Fingerprint],
    output: Output,
    cancel: &CancellationToken,
) -> Result<Confirmation> {
    let mut terminal = Terminal::new(output, cancel);
    terminal.say(Tone::Plain, "No key is pinned on this host yet. The delivery note has a fingerprint:");
    terminal
        .say(Tone::Plain, &format!("type its last {TYPED_CHARS} characters, to trust that key and pin it."));
    for left in (0..TRIES).rev() {
        let prompt = format!("last {TYPED_CHARS} characters (empty: stop): ");
        let typed = terminal.read(&prompt, false)?.unwrap_or_default();
        match trust::ending_with(found, &typed) {
            Some(fingerprint) => return Ok(Confirmation::Confirmed(fingerprint)),
            None if typed.trim().is_empty() || left == 0 => break,
            None => {
                terminal.say(Tone::Wrong, "The bundle is signed by another key:");
                for fingerprint in found {
                    terminal.say(Tone::Title, &format!("  {fingerprint}"));
                }
                terminal.say(Tone::Plain, "Compare it with the delivery note, letter by letter.");
            }
        }
    }
    Ok(Confirmation::Refused)
}

/// A person answers `prompt` with a yes; Ctrl-C is none.
///
/// # Errors
/// When the terminal cannot be read.
pub(super) async fn yes(prompt: &str, cancel: &CancellationToken) -> Result<bool> {
    let typed = typed(prompt, cancel).await?;
    Ok(matches!(typed.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// The line that a person types behind `prompt`; nothing at Ctrl-C.
///
/// # Errors
/// When the terminal cannot be read.
pub(super) async fn typed(prompt: &str, cancel: &CancellationToken) -> Result<String> {
    Output::prompt(prompt);
    let answer = tokio::task::spawn_blocking(|| {
        let mut typed = String::new();
        std::io::stdin().lock().read_line(&mut typed).map(|_| typed)
    });
    tokio::select! {
        typed = answer => typed?.context("reading the answer"),
        () = cancel.cancelled() => Ok(String::new()),
    }
}
