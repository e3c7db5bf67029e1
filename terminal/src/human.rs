//! Sizes and times as people read them.

use std::time::Duration;

/// `1.62 GiB`, `870 B`.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if unit == "B" {
        format!("{bytes} B")
    } else {
        format!("{value:.*} {unit}", if value < 10.0 { 2 } else { 1 })
    }
}

/// `0.8 s`, `12 s`, `3 min 5 s`.
#[must_use]
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 60.0 => format!("{s:.0} s"),
        _ => format!("{} min {} s", duration.as_secs() / 60, duration.as_secs() % 60),
    }
}

/// `1 image`, `4 images`.
#[must_use]
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// One field from outside (a bundle, an archive, an engine), as part of a line of ours: nothing in
/// it can move the cursor, ring a bell, begin a line that looks like ours, or turn the reading
/// direction.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

/// The same for text whose lines are ours: line ends and tabs stay.
#[must_use]
pub fn printable_lines(text: &str) -> String {
    text.chars().map(|c| if steers(c) && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// True for a character that does more to a terminal than to be shown: controls, line ends, and
/// the marks, embeddings, overrides and isolates of Unicode's bidirectional algorithm (UAX #9).
#[must_use]
pub fn steers(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.50 KiB");
        assert_eq!(bytes(300 << 20), "300.0 MiB");
        assert_eq!(duration(Duration::from_millis(840)), "0.8 s");
        assert_eq!(duration(Duration::from_secs(185)), "3 min 5 s");
    }

    #[test]
    fn a_field_stays_one_line_and_steers_nothing() {
        assert_eq!(printable("a\x1b[2Jb"), "a\u{fffd}[2Jb");
        assert_eq!(
            printable("2.4.0\n  signed by\tX\r\u{9b}"),
            "2.4.0\u{fffd}  signed by\u{fffd}X\u{fffd}\u{fffd}"
        );
        assert_eq!(
            printable("a\u{202e}b\u{2066}c\u{2028}d\u{200f}é"),
            "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}é"
        );
        assert_eq!(printable_lines("a\n\tb\x1b\u{202e}"), "a\n\tb\u{fffd}\u{fffd}");
    }
}
