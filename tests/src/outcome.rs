//! The result of a program, as a person sees it: exit code and both outputs.

use crate::running::Running;
use serde_json::Value;
use std::process::Command;

/// A program that has ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The exit code; a signal counts as 128 and its number, as shells say it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// The command, for messages.
    pub command: String,
}

impl Outcome {
    /// Runs a command to its end.
    ///
    /// # Panics
    /// When it cannot be run or does not end.
    #[track_caller]
    #[must_use]
    pub fn of(command: &mut Command) -> Self {
        Running::start(command).end()
    }

    /// Demands this exit code.
    ///
    /// # Panics
    /// When it is another; everything that was written is shown.
    #[track_caller]
    #[must_use]
    pub fn exits(self, code: i32) -> Self {
        assert!(self.code == code, "exit code {} where {code} was expected\n{self}", self.code);
        self
    }

    /// Demands exit code 0.
    ///
    /// # Panics
    /// When it is another.
    #[track_caller]
    pub fn succeeds(self) -> Self {
        self.exits(0)
    }

    /// Demands `text` somewhere in what it wrote.
    ///
    /// # Panics
    /// When it is not there.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stdout.contains(text) || self.stderr.contains(text), "`{text}` was expected in\n{self}");
        self
    }

    /// Demands `text` once in what it wrote, both outputs together.
    ///
    /// # Panics
    /// When it is not there, or repeated.
    #[track_caller]
    pub fn says_once(self, text: &str) -> Self {
        self.says_times(text, 1)
    }

    /// Demands `text` so many `times` in what it wrote, both outputs together.
    ///
    /// # Panics
    /// When it stands there more or less often.
    #[track_caller]
    pub fn says_times(self, text: &str, times: usize) -> Self {
        let found = self.stdout.matches(text).count() + self.stderr.matches(text).count();
        assert!(found == times, "`{text}` stands {found} times, not {times}, in\n{self}");
        self
    }

    /// Demands that `text` is nowhere in what it wrote.
    ///
    /// # Panics
    /// When it is there.
    #[track_caller]
    pub fn does_not_say(self, text: &str) -> Self {
        assert!(
            !self.stdout.contains(text) && !self.stderr.contains(text),
            "`{text}` was not expected in\n{self}"
        );
        self
    }

    /// Standard output as one JSON document.
    ///
    /// # Panics
    /// When it is not one.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in\n{self}"))
    }

    /// Standard error as JSON lines.
    ///
    /// # Panics
    /// When a line is not JSON.
    #[track_caller]
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        let parse =
            |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}\n{self}"));
        self.stderr.lines().map(parse).collect()
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "$ {}\n--- exit code {}\n--- stdout\n{}--- stderr\n{}---",
            self.command, self.code, self.stdout, self.stderr
        )
    }
}
