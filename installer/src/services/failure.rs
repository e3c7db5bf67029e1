//! A failed service, explained without a network: exit code, last probes, last log lines,
//! and a hint for the causes that are common.
//!
//! Output of a service is hostile text: it is cut to length and cleaned before it can reach a
//! terminal.

use crate::engine::Engine;
use crate::engine::containers::{ContainerState, RunState};
use crate::engine::exec::Probe;
use crate::engine::hint;
use crate::services::Replica;
use crate::services::reason::Reason;
use crate::services::without_links;
use ferry_terminal::human;
use futures_util::StreamExt as _;
use serde::Serialize;
use std::time::Duration;

/// Lines of a failed service's log that are shown.
const LOG_LINES: usize = 20;

/// Lines of a probe's output that are shown.
const PROBE_LINES: usize = 3;

/// Longest line shown.
const MAX_LINE_CHARS: usize = 500;

/// Most bytes of a log that are read for these lines.
const MAX_LOG_BYTES: usize = 256 << 10;

/// Why a service did not come up, with what a technician needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("service {replica} {reason}")]
pub struct ServiceFailure {
    /// The service, and which of its containers.
    #[serde(rename = "service")]
    pub replica: Replica,
    /// Its container.
    pub container: String,
    /// `exited with code 1`, …
    pub reason: Reason,
    /// Exit code, where it has exited.
    pub exit_code: Option<i64>,
    /// Output of the last probes.
    pub health_log: Vec<String>,
    /// The last lines it printed.
    pub last_logs: Vec<String>,
    /// The way to mend it.
    pub hint: Option<String>,
}

/// Puts together what is known about a failed service.
pub(crate) async fn service_failure(
    engine: &Engine,
    replica: &Replica,
    container: &str,
    reason: Reason,
    state: Option<&ContainerState>,
    own_probes: &[Probe],
) -> ServiceFailure {
    let logs = last_logs(engine, container).await;
    let engine_probes = state.map(|state| state.probes.clone()).unwrap_or_default();
    let health_log: Vec<String> = engine_probes
        .iter()
        .map(|(code, output)| (Some(*code), output.clone()))
        .chain(own_probes.iter().map(|probe| (probe.exit_code, probe.output.clone())))
        .rev()
        .take(3)
        .map(|(code, output)| {
            let code = code.map_or_else(|| "no end in time".to_owned(), |code| format!("exit code {code}"));
            format!("{code}: {}", clean_end(&output))
        })
        .collect();
    let exited = state.filter(|state| {
        // One that could not be started stays "created" and has a code all the same.
        matches!(state.state, RunState::Exited | RunState::Restarting)
            || (state.state == RunState::Created && state.exit_code != 0)
    });
    let exit_code = exited.map(|state| state.exit_code);
    let hint = hint(exit_code, state.is_some_and(|state| state.oom_killed), &reason, &logs, &health_log);
    ServiceFailure {
        replica: replica.clone(),
        container: state.map_or_else(|| container.to_owned(), |state| state.name.clone()),
        reason,
        exit_code,
        health_log: folded(health_log),
        last_logs: folded(logs),
        hint: hint.map(str::to_owned),
    }
}

/// The last lines a container printed, cleaned. Empty where there are none or the engine keeps none.
pub(crate) async fn last_logs(engine: &Engine, container: &str) -> Vec<String> {
    let read = async {
        let mut bytes = Vec::new();
        let Ok(mut chunks) = engine.logs(container, Some(LOG_LINES), false, false) else { return bytes };
        while let Some(Ok(chunk)) = chunks.next().await {
            bytes.extend_from_slice(&chunk.bytes);
            if bytes.len() > MAX_LOG_BYTES {
                break;
            }
        }
        bytes
    };
    let bytes = tokio::time::timeout(Duration::from_secs(10), read).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let mut lines: Vec<String> = text.lines().map(clean).filter(|line| !line.is_empty()).collect();
    lines.split_off(lines.len().saturating_sub(LOG_LINES))
}

/// Text fit for a terminal: escape sequences and control characters are taken out, long lines cut.
#[must_use]
pub fn clean(text: &str) -> String {
    let clean = without_control(text);
    match clean.char_indices().nth(MAX_LINE_CHARS) {
        Some((cut, _)) => format!("{}…", clean.get(..cut).unwrap_or_default()),
        None => clean,
    }
}

/// The last lines of a long output as one line: they say what went wrong.
fn clean_end(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines.split_off(lines.len().saturating_sub(PROBE_LINES));
    let clean = without_control(&last.join(" / "));
    let cut = clean.chars().count().saturating_sub(MAX_LINE_CHARS);
    match clean.char_indices().nth(cut) {
        Some((start, _)) if cut > 0 => format!("…{}", clean.get(start..).unwrap_or_default()),
        _ => clean,
    }
}

/// The last line that a probe printed, or how it ended where it printed nothing.
pub(crate) fn last_line(exit_code: Option<i64>, output: &str) -> String {
    let last = output.lines().rev().map(clean).find(|line| !line.trim().is_empty());
    match (last, exit_code) {
        (Some(last), _) => last.trim().to_owned(),
        (None, Some(0)) => String::new(),
        (None, Some(code)) => format!("exit code {code}"),
        (None, None) => "no end in time".to_owned(),
    }
}

/// The same line many times over, as one.
fn folded(lines: Vec<String>) -> Vec<String> {
    let mut folded: Vec<(String, usize)> = Vec::new();
    for line in lines {
        match folded.last_mut() {
            Some((last, times)) if *last == line => *times += 1,
            _ => folded.push((line, 1)),
        }
    }
    let shown =
        |(line, times): (String, usize)| if times > 1 { format!("{line} ({times} times)") } else { line };
    folded.into_iter().map(shown).collect()
}

fn without_control(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.trim_end().chars();
    while let Some(c) = chars.next() {
        match c {
            // "CSI … final byte" and "OSC … BEL or ST"; a lone escape takes the next character with it.
            '\u{1b}' => match chars.next() {
                Some('[') => while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {},
                Some(']') => while chars.next().is_some_and(|c| c != '\u{7}' && c != '\u{1b}') {},
                _ => {}
            },
            '\t' | '\n' => out.push(' '),
            c if human::steers(c) => {}
            c => out.push(c),
        }
    }
    out
}

fn hint(
    exit_code: Option<i64>,
    oom_killed: bool,
    reason: &Reason,
    logs: &[String],
    probes: &[String],
) -> Option<&'static str> {
    if oom_killed {
        return Some(
            "it was killed for using more memory than its limit: raise `mem_limit`, or give the host more memory",
        );
    }
    if matches!(reason, Reason::Linked(_)) {
        return Some(without_links::LINK_FIX);
    }
    if let Some(hint) = reason
        .words()
        .and_then(hint::for_text)
        .or_else(|| logs.iter().rev().find_map(|line| hint::for_text(line)))
    {
        return Some(hint);
    }
    // Of a container that could not be started, the code is the engine's, and stands for anything.
    match exit_code.filter(|_| !matches!(reason, Reason::Refused(_))) {
        Some(126) => Some(
            "its command is not executable: check `command`, `entrypoint` and the file's mode in the image",
        ),
        Some(127) => Some("its command, or one that it runs, was not found in the image: check `command` and `entrypoint`"),
        Some(137) => Some(
            "it was killed: by the kernel for want of memory (`dmesg`), or because it did not stop in time",
        ),
        Some(132 | 134 | 135 | 136 | 139) => {
            Some("it crashed: the program is faulty, or was built for another processor than this host's")
        }
        _ => probes.iter().find_map(|line| hint::for_text(line)).or_else(|| {
            let runs = exit_code.is_none() && !reason.is_loop();
            (runs && !probes.is_empty()).then_some(
                "it runs, but its health check fails: the check's output above says what it misses; if it only needs longer, give its health check a `start_period` or more `retries`",
            )
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_service_printed_cannot_steer_the_terminal() {
        assert_eq!(clean("\u{1b}[31mred\u{1b}[0m \u{1b}]0;title\u{7}plain\r"), "red plain");
        assert_eq!(clean("a\u{1b}[2J\u{8}b\u{202e}c\u{2066}\u{200f}\td"), "abc d");
        assert_eq!(clean("\u{1b}"), "");
        assert_eq!(clean("\u{1b}[").chars().count(), 0);
        assert_eq!(clean(&"x".repeat(10_000)).chars().count(), MAX_LINE_CHARS + 1);
    }

    #[test]
    fn the_end_of_a_long_output_is_kept_and_the_same_is_said_once() {
        let traceback = format!("{}HTTP Error 500", "x".repeat(10_000));
        let end = clean_end(&traceback);
        assert!(end.starts_with("…x") && end.ends_with("HTTP Error 500"), "{end}");
        assert_eq!(end.chars().count(), MAX_LINE_CHARS + 1);
        assert_eq!(clean_end("short\n"), "short");
        assert_eq!(
            clean_end("Traceback\n  a\n    ^^\n\n  raise x\nError: 500\n"),
            "^^ / raise x / Error: 500"
        );
        let lines = ["a", "b", "b", "b", "a"].map(str::to_owned).to_vec();
        assert_eq!(folded(lines), ["a", "b (3 times)", "a"]);
    }

    #[test]
    fn common_causes_have_hints() {
        let none: &[String] = &[];
        let exited = |code| Reason::Exited { code, restarts: 0 };
        let taken = Reason::Refused("port is already allocated".to_owned());
        assert!(hint(Some(128), false, &taken, none, none).unwrap().contains("port"));
        let other = Reason::Refused("something that nobody knows".to_owned());
        assert_eq!(hint(Some(127), false, &other, none, none), None);
        let logs = |line: &str| vec!["starting".to_owned(), line.to_owned(), "bye".to_owned()];
        assert!(hint(Some(137), true, &exited(137), none, none).unwrap().contains("mem_limit"));
        assert!(hint(Some(127), false, &exited(127), none, none).unwrap().contains("not found"));
        assert!(hint(Some(126), false, &exited(126), none, none).unwrap().contains("not executable"));
        assert!(hint(Some(139), false, &exited(139), none, none).unwrap().contains("crashed"));
        for (line, word) in [
            ("bind() to 0.0.0.0:80 failed (98: Address already in use)", "port"),
            ("exec /app: exec format error", "processor"),
            ("mkdir /data: Permission denied", "owner"),
            ("write: No space left on device", "disk"),
        ] {
            assert!(hint(Some(1), false, &exited(1), &logs(line), none).unwrap().contains(word), "{line}");
        }
        assert_eq!(hint(Some(1), false, &exited(1), &logs("oops"), none), None);
        let probes = ["exit code 1: x".to_owned()];
        assert!(hint(None, false, &Reason::Unhealthy { seconds: 60, restarts: 0 }, none, &probes).is_some());
        assert_eq!(hint(None, false, &Reason::Restarted { restarts: 6, seconds: 15 }, none, &probes), None);
    }
}
