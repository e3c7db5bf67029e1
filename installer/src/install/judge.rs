//! All findings of an install, as one failure.

use super::preflight::{About, Finding};
use ferry_terminal::{Class, Failure};

/// All findings as one failure. A damaged bundle has an exit code of its own, and so have answers.
pub(super) fn refusal(findings: &[Finding]) -> anyhow::Error {
    let only = |about: About| findings.iter().all(|finding| finding.about == about);
    let (class, what) = if only(About::Bundle) {
        (Class::Bundle, "the bundle is damaged")
    } else if only(About::Answers) {
        (Class::Input, "some variables have no valid answer")
    } else if only(About::Files) {
        (Class::Input, "the release cannot be rendered with this host's files and these answers")
    } else if findings.iter().any(|finding| finding.about == About::Bundle) {
        (Class::Bundle, "the bundle is damaged, and this host is not ready")
    } else {
        (Class::Preflight, "this host is not ready")
    };
    let count = ferry_terminal::human::count(findings.len(), "finding");
    let mut text = format!("{what}: {count}; nothing was changed");
    for finding in findings {
        text.push_str(&format!("\n  - {finding}"));
    }
    let failure = Failure::new(class, text);
    if findings.iter().all(|finding| finding.engine_restart) {
        failure.because(EngineHoldsPorts)
    } else {
        failure
    }
    .into()
}

/// The cause of a refusal of which all findings are ports that the engine holds for no container that runs. Its words
/// are part of each finding.
#[derive(Debug, thiserror::Error)]
#[error("by the engine itself")]
struct EngineHoldsPorts;

/// A restart of the engine mends all that `error` lists.
#[must_use]
pub(crate) fn needs_engine_restart(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<EngineHoldsPorts>())
}
