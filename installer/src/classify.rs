//! Errors of the stages, each turned into a failure with its class and hint.

use crate::engine::EngineError;
use crate::switch::SwitchError;
use bundle_format::FormatError;
use ferry_terminal::{Class, Failure, human};
use std::path::Path;

/// A bundle that cannot be used.
#[must_use]
pub fn bundle(error: FormatError, path: &Path) -> anyhow::Error {
    let shown = path.display();
    let (class, fact, hint) = match &error {
        FormatError::Io { .. } => (
            Class::Files,
            format!("{shown} cannot be read"),
            "is the stick still plugged in? try another port, or copy the bundle again",
        ),
        FormatError::Untrusted(_) | FormatError::Unsigned(_) => (
            Class::Trust,
            format!("{shown} cannot be trusted"),
            "fetch the bundle again from where it was built",
        ),
        FormatError::Length { .. } => (
            Class::Bundle,
            format!("{shown} was cut short or changed"),
            "copy the bundle again; was the stick full, or pulled out too early?",
        ),
        FormatError::Version { .. } => (
            Class::Bundle,
            format!("{shown} was made by a later Ferry"),
            "use the installer that came with the bundle",
        ),
        FormatError::Foreign(_) => (
            Class::Bundle,
            format!("{shown} cannot be used"),
            "name the .fz file that `ferry build` wrote; if this is it, copy it again",
        ),
        _ => (Class::Bundle, format!("{shown} cannot be used"), "copy the bundle again"),
    };
    Failure::new(class, fact).because(error).hint(hint).into()
}

/// The bundle was good when it was verified, and cannot be read any more.
#[must_use]
pub fn unreadable(why: &str) -> Failure {
    Failure::new(Class::Bundle, format!("the bundle cannot be read any more: {why}"))
        .hint("is the stick still plugged in? put it back and run the same command again")
}

/// An error of a stage that reads the bundle: it may be the bundle's.
#[must_use]
pub fn read_again(error: anyhow::Error) -> anyhow::Error {
    let of_bundle = |cause: &(dyn std::error::Error + 'static)| {
        let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause.is::<FormatError>() || inner.is_some_and(|inner| inner.is::<FormatError>())
    };
    if error.chain().any(of_bundle) { unreadable(&chain(error.as_ref())).into() } else { error }
}

/// A switch that did not happen.
#[must_use]
pub fn switch(error: SwitchError) -> anyhow::Error {
    let hint = error.hint();
    let failure = match &error {
        SwitchError::Cancelled => Failure::new(Class::Cancelled, "stopped by Ctrl-C"),
        SwitchError::Service(service) => {
            let mut fact = format!("service {}: {}", service.service, service.reason);
            let said = |code: i64| service.reason.contains(&format!("with code {code}"));
            if let Some(code) = service.exit_code.filter(|code| !said(*code)) {
                fact.push_str(&format!(" (exit code {code})"));
            }
            for (title, lines) in
                [("its last health checks", &service.health_log), ("its last log lines", &service.last_logs)]
            {
                if !lines.is_empty() {
                    fact.push_str(&format!("\n  {title}:"));
                    for line in lines {
                        fact.push_str(&format!("\n    | {}", human::printable(line)));
                    }
                }
            }
            Failure::new(Class::Health, fact)
        }
        SwitchError::Engine(engine) => Failure::new(Class::Engine, chain(engine)),
        other => Failure::new(Class::Preflight, other.to_string()),
    };
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
    .into()
}

/// An engine's error that no stage has classed gets its class and hint here.
#[must_use]
pub fn engine(error: anyhow::Error) -> anyhow::Error {
    let classed = error.chain().any(|cause| cause.is::<Failure>());
    let Some(found) =
        error.chain().find_map(|cause| cause.downcast_ref::<EngineError>()).filter(|_| !classed)
    else {
        return error;
    };
    let failure = Failure::new(Class::Engine, chain(error.as_ref()));
    match found.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
    .into()
}

/// Stopped by Ctrl-C.
#[must_use]
pub fn cancelled() -> anyhow::Error {
    Failure::new(Class::Cancelled, "stopped by Ctrl-C").into()
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
