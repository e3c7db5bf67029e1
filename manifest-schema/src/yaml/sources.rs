//! The texts that are read together, so that a mistake in one of them can show its line.

use super::Placed;
use crate::{Diagnostic, Diagnostics};

/// Texts and what messages call them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources(Vec<(String, String)>);

impl Sources {
    /// One text, which messages call `file`.
    #[must_use]
    pub fn one(file: impl Into<String>, text: impl Into<String>) -> Self {
        Self(vec![(file.into(), text.into())])
    }

    /// Adds a text and returns its number.
    pub fn add(&mut self, file: impl Into<String>, text: impl Into<String>) -> usize {
        self.0.push((file.into(), text.into()));
        self.0.len() - 1
    }

    /// The name of a text in messages; empty where there is none of this number.
    #[must_use]
    pub fn file(&self, source: usize) -> &str {
        self.0.get(source).map_or("", |(file, _)| file)
    }

    /// A text; empty where there is none of this number.
    #[must_use]
    pub fn text(&self, source: usize) -> &str {
        self.0.get(source).map_or("", |(_, text)| text)
    }

    /// The number of the first text that messages call `file`.
    #[must_use]
    pub fn number(&self, file: &str) -> Option<usize> {
        self.0.iter().position(|(name, _)| name == file)
    }

    /// How messages about another place name `placed`: `line 7`, or `line 7 of b.yaml` from a different text.
    #[must_use]
    pub fn beside(&self, here: &dyn Placed, placed: &dyn Placed) -> String {
        let (here, there) = (here.place(), placed.place());
        if here.source == there.source {
            format!("line {}", there.line)
        } else {
            format!("line {} of {}", there.line, self.file(there.source))
        }
    }

    /// Completes mistakes that know only their file and line, with the text of that line.
    #[must_use]
    pub fn complete(&self, mistakes: Diagnostics) -> Diagnostics {
        self.0.iter().fold(mistakes, |mistakes, (file, text)| mistakes.in_text(file, text))
    }

    /// A mistake at a place of one of the texts.
    #[must_use]
    pub fn mistake(&self, placed: &dyn Placed, message: impl Into<String>) -> Diagnostic {
        let place = placed.place();
        Diagnostic::new(self.file(place.source), message).at(
            self.text(place.source),
            place.line,
            place.column,
        )
    }
}
