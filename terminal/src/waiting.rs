//! Waits as lines: what is waited for, how long still, and the last answer, in any width from 30 columns.
//!
//! Where a line is too long, the answer is cut first, then the name; the time stays.

use crate::human;
use manifest_schema::progress::Wait;
use std::time::Duration;

/// From this width on, all of a wait stands in one line.
const WIDE: usize = 72;

/// Waits that are shown at a time on a terminal.
const SHOWN: usize = 6;

/// A wait in a log, where lines may be long.
#[must_use]
pub(crate) fn line(wait: &Wait) -> String {
    let subject = human::printable(&wait.subject);
    let answer = answer(wait).map(|said| format!(": {said}")).unwrap_or_default();
    format!("waiting for {subject} to be {}, {} left{answer}", wait.goal, seconds(wait.left))
}

/// The waits on a terminal of `width` columns.
#[must_use]
pub(crate) fn on_terminal(waits: &[Wait], width: usize) -> Vec<String> {
    // The last column stays free, and each line is indented.
    let room = width.saturating_sub(3).max(20);
    let mut lines = Vec::new();
    for wait in waits.iter().take(SHOWN) {
        if width >= WIDE {
            lines.push(format!("  {}", cut(&line(wait), room)));
            continue;
        }
        let state = format!(": {}, {} left", wait.goal, briefly(wait.left));
        let name = cut(&human::printable(&wait.subject), room.saturating_sub(state.chars().count()).max(3));
        lines.push(cut(&format!("  {name}{state}"), room + 2));
        lines.extend(answer(wait).map(|said| format!("    {}", cut(&said, room.saturating_sub(2)))));
    }
    if waits.len() > SHOWN {
        lines.push(cut(&format!("  and {} more", waits.len() - SHOWN), room + 2));
    }
    lines
}

fn answer(wait: &Wait) -> Option<String> {
    let said = human::printable(&wait.said);
    (!said.is_empty()).then_some(said)
}

/// Whole seconds, as a deadline is told: `45 s`, `3 min 5 s`.
fn seconds(left: Duration) -> String {
    // A time that is nearly over is not over.
    let seconds = left.as_millis().div_ceil(1000);
    if seconds < 120 { format!("{seconds} s") } else { format!("{} min {} s", seconds / 60, seconds % 60) }
}

/// A time in one word and a unit, not less than it is: `45 s`, `4 min`.
pub(crate) fn briefly(left: Duration) -> String {
    let seconds = left.as_millis().div_ceil(1000);
    if seconds < 120 { format!("{seconds} s") } else { format!("{} min", seconds.div_ceil(60)) }
}

pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(subject: &str, seconds: u64, said: &str) -> Wait {
        Wait {
            subject: subject.to_owned(),
            goal: "healthy",
            left: Duration::from_secs(seconds),
            said: said.to_owned(),
        }
    }

    #[test]
    fn a_wait_says_for_what_how_long_still_and_the_last_answer() {
        assert_eq!(
            line(&wait("app", 185, "connection refused")),
            "waiting for app to be healthy, 3 min 5 s left: connection refused"
        );
        assert_eq!(line(&wait("app", 45, "")), "waiting for app to be healthy, 45 s left");
        let waits = [wait("app", 45, "connection refused"), wait("job", 9, "")];
        assert_eq!(
            on_terminal(&waits, 80),
            [
                "  waiting for app to be healthy, 45 s left: connection refused",
                "  waiting for job to be healthy, 9 s left"
            ]
        );
        assert_eq!(
            on_terminal(&waits, 30),
            ["  app: healthy, 45 s left", "    connection refused", "  job: healthy, 9 s left"]
        );
    }

    #[test]
    fn nothing_is_wider_than_the_terminal_and_the_time_stays() {
        let long = "x".repeat(300);
        let waits: Vec<Wait> = (0..9).map(|_| wait(&long, 3599, &long)).collect();
        for width in 30..200 {
            let lines = on_terminal(&waits, width);
            assert!(lines.iter().all(|line| line.chars().count() < width), "{width}: {lines:#?}");
            let first = lines.first().unwrap();
            assert!(width >= WIDE || first.ends_with(": healthy, 60 min left"), "{width}: {first}");
            assert!(lines.len() <= 2 * SHOWN + 1);
        }
    }

    #[test]
    fn an_answer_steers_nothing() {
        let hostile = wait("app", 5, "\x1b[2Jx\ny");
        assert!(!line(&hostile).contains(['\x1b', '\n']));
        assert!(on_terminal(&[hostile], 30).iter().all(|line| !line.contains(['\x1b', '\n'])));
    }
}
