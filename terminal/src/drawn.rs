//! A stage as it is drawn on a terminal: its name, how far it is, how fast, how long still, the item in work, and what
//! is waited for, in any width from 30 columns. Each drawing asks for the width anew: people resize their windows.

use crate::charset;
use crate::human;
use crate::waiting::{self, briefly, cut};
use manifest_schema::progress::Wait;
use std::time::Duration;

/// The item in work stands behind the numbers where it has that many columns, and else in a line of its own.
const ENOUGH: usize = 36;

/// The sign of a stage whose end is open moves this often.
const TICK: Duration = Duration::from_millis(200);

/// A stage without its numbers.
#[derive(Debug, Default)]
pub(crate) struct Drawn {
    pub(crate) name: String,
    /// The item in work.
    pub(crate) detail: String,
    pub(crate) waits: Vec<Wait>,
}

/// The numbers of a stage.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbers {
    /// Bytes so far.
    pub(crate) done: u64,
    /// All its bytes, where they are known. What is measured beforehand by another program may be exceeded.
    pub(crate) total: Option<u64>,
    /// Bytes a second.
    pub(crate) rate: f64,
    /// Until it ends, at this rate.
    pub(crate) left: Duration,
    pub(crate) elapsed: Duration,
}

impl Drawn {
    /// The stage on a terminal of `width` columns.
    #[must_use]
    pub(crate) fn on_terminal(&self, numbers: &Numbers, width: usize) -> Vec<String> {
        let mut lines = self.head(numbers, width);
        lines.extend(waiting::on_terminal(&self.waits, width));
        // The last column stays free: a terminal may wrap after it.
        let room = width.saturating_sub(1).max(20);
        lines.iter().map(|line| charset::shown(&cut(line, room)).chars().take(room).collect()).collect()
    }

    fn head(&self, numbers: &Numbers, width: usize) -> Vec<String> {
        let Numbers { done, elapsed, .. } = *numbers;
        let name = format!("  {:<10}", self.name);
        let Some(total) = numbers.total.filter(|total| done <= *total) else {
            let mut line = format!("{name} {} {}", tick(elapsed), human::duration(elapsed));
            if done > 0 {
                line.push_str(&format!("  {}  {}", human::bytes(done), rate(numbers.rate)));
            }
            return self.with_detail(line, width);
        };
        let percent = done.saturating_mul(100).checked_div(total).unwrap_or(100);
        let (total_bytes, rate, left) = (human::bytes(total), rate(numbers.rate), left(numbers));
        // Widths are fixed, so that the bar's ends stay where they are.
        let text =
            format!(" {percent:>3}%  {:>10} of {total_bytes}  {rate:>12}  {left:>10}", human::bytes(done));
        let used = name.chars().count() + text.chars().count();
        if used < width {
            let room = width.saturating_sub(used + 4);
            let bar = if room < 5 { String::new() } else { format!(" [{}]", bar(done, total, room.min(28))) };
            return self.with_detail(format!("{name}{bar}{text}"), width);
        }
        let share = format!("  {} of {total_bytes}", human::bytes(done));
        let mut lines = vec![format!("{name} {percent:>3}%  {left}"), format!("{share}  {rate}")];
        if lines.iter().any(|line| line.chars().count() >= width) {
            lines = vec![format!("{name} {percent:>3}%"), share, format!("  {rate}  {left}")];
        }
        lines.extend(self.detail_line());
        lines
    }

    /// The line, and the item in work behind or below it. What is waited for takes its place.
    fn with_detail(&self, line: String, width: usize) -> Vec<String> {
        if self.detail.is_empty() || !self.waits.is_empty() {
            return vec![line];
        }
        let room = width.saturating_sub(line.chars().count() + 3);
        if room < self.detail.chars().count().min(ENOUGH) {
            return std::iter::once(line).chain(self.detail_line()).collect();
        }
        vec![format!("{line}  {}", self.detail)]
    }

    fn detail_line(&self) -> Option<String> {
        (!self.detail.is_empty()).then(|| format!("  {}", self.detail))
    }
}

/// `text` in lines of at most `width` columns, broken at spaces, the later ones indented by two; a longer word is left
/// to the terminal.
#[must_use]
pub(crate) fn wrapped(text: &str, width: usize) -> String {
    let mut lines = String::new();
    let mut used = 0;
    for word in text.split_inclusive(' ') {
        let shown = word.trim_end().chars().count();
        if used > 2 && used + shown > width {
            lines.truncate(lines.trim_end().len());
            lines.push_str("\n  ");
            used = 2;
        }
        lines.push_str(word);
        used += word.chars().count();
    }
    lines
}

fn bar(done: u64, total: u64, width: usize) -> String {
    let share = done.saturating_mul(width as u64).checked_div(total).unwrap_or(width as u64);
    let full = usize::try_from(share).unwrap_or(width).min(width);
    let tip = if full < width { ">" } else { "" };
    format!("{:<width$}", format!("{}{tip}", "=".repeat(full)))
}

fn rate(bytes_a_second: f64) -> String {
    format!("{}/s", human::bytes(bytes_a_second as u64))
}

fn left(numbers: &Numbers) -> String {
    // A rate that is nearly nothing says nothing of the end.
    if numbers.rate < 1.0 { "? left".to_owned() } else { format!("{} left", briefly(numbers.left)) }
}

fn tick(elapsed: Duration) -> char {
    // The usual spinner of terminals is drawn with Braille patterns.
    let signs: &[char] = match charset::is_unicode() {
        true => &['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'],
        false => &['|', '/', '-', '\\'],
    };
    let ticks = elapsed.as_millis() / TICK.as_millis();
    signs.get(ticks as usize % signs.len()).copied().unwrap_or('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(done: u64, total: Option<u64>) -> Numbers {
        let (rate, left) = (12.3 * 1024.0 * 1024.0, Duration::from_secs(100));
        Numbers { done, total, rate, left, elapsed: Duration::from_secs(8) }
    }

    fn drawn(name: &str, detail: &str) -> Drawn {
        Drawn { name: name.to_owned(), detail: detail.to_owned(), waits: Vec::new() }
    }

    const GIB: u64 = 1 << 30;

    #[test]
    fn a_measured_stage_says_how_far_how_fast_and_how_long_still() {
        let stage = drawn("importing", "image acme/api:2.4.0: the engine unpacks it");
        let half = numbers(GIB, Some(2 * GIB));
        assert_eq!(
            stage.on_terminal(&half, 140),
            [
                "  importing  [==============>             ]  50%    1.00 GiB of 2.00 GiB    12.3 MiB/s  100 s left  image acme/api:2.4.0: the engine unpac…"
            ]
        );
        assert_eq!(
            stage.on_terminal(&half, 80),
            [
                "  importing  [====>    ]  50%    1.00 GiB of 2.00 GiB    12.3 MiB/s  100 s left",
                "  image acme/api:2.4.0: the engine unpacks it"
            ]
        );
        assert_eq!(
            stage.on_terminal(&half, 40),
            [
                "  importing   50%  100 s left",
                "  1.00 GiB of 2.00 GiB  12.3 MiB/s",
                "  image acme/api:2.4.0: the engine unp…"
            ]
        );
        assert_eq!(
            drawn("verifying", "").on_terminal(&half, 30),
            ["  verifying   50%", "  1.00 GiB of 2.00 GiB", "  12.3 MiB/s  100 s left"]
        );
    }

    #[test]
    fn a_stage_of_unknown_length_says_how_far_and_how_fast() {
        let stage = drawn("saving", "image acme/api:2.4.0");
        let line = stage.on_terminal(&numbers(GIB, None), 80).concat();
        assert!(line.ends_with(" 8.0 s  1.00 GiB  12.3 MiB/s  image acme/api:2.4.0"), "{line}");
        // More than was said beforehand.
        assert_eq!(stage.on_terminal(&numbers(GIB, Some(5)), 80).concat(), line);
        let nothing = drawn("starting", "").on_terminal(&numbers(0, None), 80).concat();
        assert!(nothing.ends_with(" 8.0 s"), "{nothing}");
        let full = drawn("packing", "").on_terminal(&numbers(0, Some(0)), 120).concat();
        assert!(full.contains("100%         0 B of 0 B"), "{full}");
    }

    #[test]
    fn what_is_waited_for_is_said_once() {
        let waits = vec![Wait {
            subject: "app".to_owned(),
            goal: "healthy",
            left: Duration::from_secs(45),
            said: "connection refused".to_owned(),
        }];
        let stage = Drawn { waits, ..drawn("starting", "waiting for app") };
        let lines = stage.on_terminal(&numbers(0, None), 80);
        assert!(lines[0].ends_with(" 8.0 s"), "{lines:?}");
        assert_eq!(lines[1..], ["  waiting for app to be healthy, 45 s left: connection refused"]);
    }

    #[test]
    fn long_lines_break_at_words() {
        let line = "finding    2 images, 1 artifact (0.0 s)";
        assert_eq!(wrapped(line, 80), line);
        assert_eq!(wrapped(line, 28), "finding    2 images, 1\n  artifact (0.0 s)");
        assert_eq!(wrapped("aaaaaaaa bbbbbbbb c", 4), "aaaaaaaa\n  bbbbbbbb\n  c");
        assert_eq!(wrapped("", 4), "");
    }

    #[test]
    fn nothing_is_wider_than_the_terminal_and_what_counts_is_there() {
        let huge = numbers(999 * GIB, Some(1000 * GIB));
        let huge = Numbers { left: Duration::from_secs(5_999_999), ..huge };
        let wait = Wait {
            subject: "x".repeat(99),
            goal: "healthy",
            left: Duration::from_secs(99),
            said: "y".repeat(99),
        };
        let stage = Drawn { waits: vec![wait], ..drawn("laying out", &"z".repeat(300)) };
        for width in 30..220 {
            let lines = stage.on_terminal(&huge, width);
            assert!(lines.iter().all(|line| line.chars().count() < width), "{width}: {lines:#?}");
            let all = lines.join("\n");
            for part in ["laying out", "99%", "999.0 GiB of 1000.0 GiB", "12.3 MiB/s", "100000 min left"] {
                assert!(all.contains(part), "{width}: {part} is missing in {lines:#?}");
            }
            let open = stage.on_terminal(&numbers(999 * GIB, None), width);
            assert!(open.iter().all(|line| line.chars().count() < width), "{width}: {open:#?}");
        }
    }
}
