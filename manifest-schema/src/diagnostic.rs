//! Mistakes in what people wrote, each with its place, the line itself and what to write instead.

mod nearest;

pub use nearest::nearest;
pub(crate) use nearest::shown;

use serde::{Deserialize, Serialize};
use std::fmt;

/// One mistake in a text that a person wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// The file as the person named it.
    pub file: String,
    /// 1-based line, or 0 where the mistake has no place (a missing file).
    pub line: usize,
    /// 1-based column in characters, or 0.
    pub column: usize,
    /// The fact: lower case, with names and values.
    pub message: String,
    /// The text to write instead.
    pub hint: Option<String>,
    /// The line itself, to be shown under the message.
    pub source_line: Option<String>,
    /// An answer that no file holds is at fault: one that is missing, remembered, generated or a default.
    #[serde(skip)]
    pub in_no_file: bool,
}

impl Diagnostic {
    /// A mistake without a place in a text.
    pub fn new(file: impl Into<String>, message: impl Into<String>) -> Self {
        let message = one_line(message.into());
        let file = one_line(file.into());
        Self { file, line: 0, column: 0, message, hint: None, source_line: None, in_no_file: false }
    }

    /// A mistake in an answer that no file holds.
    pub fn in_no_file(message: impl Into<String>) -> Self {
        Self { in_no_file: true, ..Self::new("variables", message) }
    }

    /// The same mistake at 1-based `line` and `column` of `text`; column 0 means where the line's text
    /// begins.
    #[must_use]
    pub fn at(mut self, text: &str, line: usize, column: usize) -> Self {
        let source = line.checked_sub(1).and_then(|index| lines(text).nth(index));
        let begins =
            || source.and_then(|line| line.chars().position(|c| !c.is_whitespace())).map_or(0, |at| at + 1);
        self.line = line;
        self.column = if column == 0 { begins() } else { column };
        let visible = |c: char| if c.is_control() && c != '\t' { '\u{fffd}' } else { c };
        self.source_line = source.map(|line| line.chars().take(200).map(visible).collect());
        self
    }

    /// The same mistake with what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(one_line(hint.into()));
        self
    }
}

/// The lines of a text as YAML counts them: a carriage return alone ends one too (YAML 1.2.2, section 5.4). A file
/// that was converted twice holds such.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split('\r'))
}

/// Text without line breaks and the like: what people wrote is repeated in it, and must not look like a message of
/// its own, or move the cursor.
fn one_line(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    text.chars()
        .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
            if self.column > 0 {
                write!(f, ":{}", self.column)?;
            }
        }
        write!(f, ": {}", self.message)?;
        if let Some(line) = &self.source_line {
            let gutter = self.line.to_string();
            write!(f, "\n  {gutter} | {line}")?;
            if self.column > 0 {
                let pad: String =
                    line.chars().take(self.column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
                write!(f, "\n  {} | {pad}^", " ".repeat(gutter.len()))?;
            }
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// All mistakes found in one go; never empty when used as an error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// `Ok(value)` when nothing was found wrong.
    pub fn or_ok<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }

    /// Completes mistakes in `file` that know only their line with what `text`, its content, has there.
    #[must_use]
    pub fn in_text(mut self, file: &str, text: &str) -> Self {
        for mistake in &mut self.0 {
            if mistake.file == file && mistake.line > 0 && mistake.source_line.is_none() {
                *mistake = mistake.clone().at(text, mistake.line, mistake.column);
            }
        }
        self
    }

    /// Adds one mistake.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}
