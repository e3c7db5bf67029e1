//! Failures as both programs report them: one fact, its causes, one hint, one exit code.
//!
//! Invariants: whatever a cause quotes (a tag in an archive, a field of a document, an
//! engine's answer), it cannot steer the terminal. Only [`Failure`] and [`Diagnostics`] have lines
//! of their own, and what they quote was made one line where it was read; any other cause is one line.

use crate::disk::Refusal;
use crate::human;
use crate::output::Output;
use manifest_schema::{Diagnostic, Diagnostics};
use std::fmt;
use std::process::ExitCode;

/// A class of failure. Each has one exit code, whose meaning never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// 1: anything without a class of its own.
    Other,
    /// 2: the command line (also clap's own code).
    Usage,
    /// 3: a mistake in a manifest, Compose file, template or value.
    Input,
    /// 4: the bundle is damaged, cut short or not a bundle.
    Bundle,
    /// 5: no trusted signature.
    Trust,
    /// 6: the engine cannot be reached or refused.
    Engine,
    /// 7: the host does not meet what the bundle needs; nothing was changed.
    Preflight,
    /// 8: a service did not become healthy; what ran before runs again.
    Health,
    /// 9: reading or writing files failed.
    Files,
    /// 130: stopped by Ctrl-C.
    Cancelled,
}

impl Class {
    /// The exit code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Other => 1,
            Self::Usage => 2,
            Self::Input => 3,
            Self::Bundle => 4,
            Self::Trust => 5,
            Self::Engine => 6,
            Self::Preflight => 7,
            Self::Health => 8,
            Self::Files => 9,
            Self::Cancelled => 130,
        }
    }

    /// The class of another program's exit code, where that program has the same ones.
    #[must_use]
    pub fn of_code(code: i32) -> Self {
        let all = [
            Self::Usage,
            Self::Input,
            Self::Bundle,
            Self::Trust,
            Self::Engine,
            Self::Preflight,
            Self::Health,
            Self::Files,
            Self::Cancelled,
        ];
        all.into_iter().find(|class| i32::from(class.code()) == code).unwrap_or(Self::Other)
    }
}

/// A failure with its class and hint.
#[derive(Debug)]
pub struct Failure {
    class: Class,
    fact: String,
    hint: Option<String>,
    source: Option<anyhow::Error>,
}

impl Failure {
    /// A failure that states `fact`, in lower case.
    pub fn new(class: Class, fact: impl Into<String>) -> Self {
        Self { class, fact: fact.into(), hint: None, source: None }
    }

    /// The failure of whatever Ctrl-C has stopped.
    #[must_use]
    pub fn cancelled() -> Self {
        Self::new(Class::Cancelled, "stopped by Ctrl-C")
    }

    /// Its class.
    #[must_use]
    pub const fn class(&self) -> Class {
        self.class
    }

    /// With what to do about it, without the internet.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With its cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<anyhow::Error>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fact)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(AsRef::as_ref)
    }
}

/// An error and its causes in one line, nothing said twice.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

/// The words of a failure, and the way the program ends because of it.
fn describe(error: &anyhow::Error) -> (Class, Vec<String>, Option<String>) {
    let mut class = Class::Other;
    let mut hint = None;
    let mut facts: Vec<String> = Vec::new();
    for cause in error.chain() {
        let mut text = cause.to_string();
        if !cause.is::<Failure>() && !cause.is::<Diagnostics>() {
            text = human::printable(text.trim_end());
        }
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            if class == Class::Other {
                class = failure.class;
            }
            hint = hint.or_else(|| failure.hint.clone());
        }
        if let Some(diagnostics) = cause.downcast_ref::<Diagnostics>() {
            class = if class == Class::Other { Class::Input } else { class };
            text = diagnostics.to_string();
        }
        if cause.is::<std::io::Error>() && class == Class::Other {
            class = Class::Files;
        }
        // Many errors repeat their source's text: say each thing once.
        if !facts.last().is_some_and(|last| last.contains(&text)) {
            facts.push(human::printable_lines(&text));
        }
    }
    // A disk that takes no more is one class, whoever wrote, and no stick that was pulled out.
    if let Some(refusal) = Refusal::in_causes(error)
        && matches!(class, Class::Other | Class::Files | Class::Bundle)
    {
        (class, hint) = (Class::Files, Some(refusal.hint().to_owned()));
    }
    (class, facts, hint.map(|hint| human::printable_lines(&hint)))
}

/// The exit code of a program that did what it was asked for, as long as its results were written.
#[must_use]
pub fn done(output: Output) -> ExitCode {
    if !Output::is_lost() {
        return ExitCode::SUCCESS;
    }
    let lost = Failure::new(Class::Files, "standard output could not be written");
    exit_with(&lost.hint("check the space on the disk that it goes to").into(), output)
}

/// The class of `error`.
#[must_use]
pub fn class_of(error: &anyhow::Error) -> Class {
    describe(error).0
}

/// Reports `error` on standard error (as JSON on standard output where asked for) and gives the
/// exit code.
#[must_use]
pub fn exit_with(error: &anyhow::Error, output: Output) -> ExitCode {
    report(error, output);
    ExitCode::from(class_of(error).code())
}

/// Reports `error` where the program goes on.
pub fn report(error: &anyhow::Error, output: Output) {
    if output.json {
        output.line(&in_json(error).to_string());
    } else {
        let (_, facts, hint) = describe(error);
        output.error_line(&in_words(facts, hint, output.for_stderr()));
    }
}

/// The failure for programs; mistakes in texts also one by one, each with its place.
fn in_json(error: &anyhow::Error) -> serde_json::Value {
    let (class, facts, hint) = describe(error);
    let mut told =
        serde_json::json!({ "message": facts.join(": "), "hint": hint, "exit_code": class.code() });
    let mistakes = error.chain().find_map(|cause| cause.downcast_ref::<Diagnostics>());
    if let (Some(mistakes), Some(members)) = (mistakes, told.as_object_mut()) {
        let one = |mistake: &Diagnostic| {
            serde_json::json!({
                "file": mistake.file, "line": mistake.line, "column": mistake.column,
                "message": mistake.message, "hint": mistake.hint
            })
        };
        members.insert("mistakes".to_owned(), mistakes.0.iter().map(one).collect());
    }
    serde_json::json!({ "error": told })
}

fn in_words(facts: Vec<String>, hint: Option<String>, paint: Output) -> String {
    let mut facts = facts.into_iter();
    let mut text = format!("{} {}", paint.red("error:"), facts.next().unwrap_or_default());
    for fact in facts {
        text.push_str(&format!("\n  because: {fact}"));
    }
    if let Some(hint) = hint {
        text.push_str(&format!("\n{} {hint}", paint.bold("hint:")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn class_and_hint_are_found_anywhere_in_the_chain() {
        let inner = Failure::new(Class::Engine, "the engine is away").hint("start it");
        let error = Err::<(), _>(inner).context("importing images").unwrap_err();
        let (class, facts, hint) = describe(&error);
        assert_eq!(class.code(), 6);
        assert_eq!(facts, ["importing images", "the engine is away"]);
        assert_eq!(hint.as_deref(), Some("start it"));
    }

    #[test]
    fn programs_are_told_mistakes_one_by_one() {
        let first = Diagnostic::new("ferry.yaml", "no").at("a\nb: c\n", 2, 4).hint("yes");
        let mistakes = Diagnostics(vec![first, Diagnostic::new("compose.yaml", "there is no such file")]);
        let told = in_json(&anyhow::Error::new(mistakes).context("reading"));
        assert_eq!(told["error"]["exit_code"], 3);
        assert_eq!(
            told["error"]["mistakes"],
            serde_json::json!([
                { "file": "ferry.yaml", "line": 2, "column": 4, "message": "no", "hint": "yes" },
                { "file": "compose.yaml", "line": 0, "column": 0, "message": "there is no such file", "hint": null },
            ])
        );
        assert!(in_json(&anyhow::anyhow!("other"))["error"].get("mistakes").is_none());
    }

    #[test]
    fn a_full_disk_is_one_class_with_its_own_hint_wherever_it_is_met() {
        let full = || anyhow::Error::new(std::io::Error::from(std::io::ErrorKind::StorageFull));
        let as_bundle = Failure::new(Class::Bundle, "cannot be read").hint("is the stick still plugged in?");
        for error in [full(), full().context("writing the journal"), as_bundle.because(full()).into()] {
            let (class, _, hint) = describe(&error);
            assert_eq!(class, Class::Files, "{error:#}");
            assert!(hint.unwrap().starts_with("free space"));
        }
    }

    #[test]
    fn repeated_causes_are_said_once() {
        let io = std::io::Error::other("no space left on device");
        let error = anyhow::Error::new(io).context("writing x: no space left on device");
        assert_eq!(describe(&error).1.len(), 1);
    }

    #[test]
    fn what_an_error_quotes_cannot_steer_the_terminal_or_forge_a_line() {
        let hostile = "x\n  signed by SHA256:GOOD\x1b[2J\u{202e}";
        let plain = Output { json: false, quiet: false, rich: false, colour: false };
        let shown = |error: anyhow::Error| {
            let (_, facts, hint) = describe(&error);
            in_words(facts, hint, plain)
        };
        let cause = anyhow::anyhow!("unknown field `{hostile}`").context(format!("member {hostile}"));
        for text in [shown(cause), shown(std::io::Error::other(hostile).into())] {
            assert!(!text.contains("\n  signed by") && !text.contains(['\x1b', '\u{202e}']), "{text:?}");
        }
        // Lines of ours stay lines.
        let ours = Failure::new(Class::Preflight, "2 findings\n  - a\x1b[2J\n  - b").hint("see\x07");
        assert_eq!(shown(ours.into()), "error: 2 findings\n  - a\u{fffd}[2J\n  - b\nhint: see\u{fffd}");
    }
}
