//! Whole outputs, compared with what was written down of them.
//!
//! Parts that differ from run to run (times, sizes, ids, keys) are masked on both sides; all else must be equal, so
//! a word that changes in a program cannot stay as it was on a page.

use regex_lite::Regex;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Patterns of what differs from run to run, and the word in their place. A word that ends in `#` gets a number: the same
/// value has the same number in one text.
const MASKS: [(&str, &str); 17] = [
    // A slow machine says how far long work is, on a line of its own.
    (r"(?m)^  [a-z]+ing +[0-9]+(\.[0-9]+)? (B|KiB|MiB|GiB) .*\n", ""),
    (r"SHA256:[A-Za-z0-9+/]{43}", "SHA256:#"),
    (r"sha256:[0-9a-f]{64}\b", "sha256:#"),
    (r"\b[0-9a-f]{64}\b", "hash #"),
    (r"\b[0-9a-f]{12}\b", "short id #"),
    (r"\bAAAAC3[A-Za-z0-9+/]+=*", "key #"),
    (r"\(([0-9]+ min )?[0-9]+(\.[0-9]+)? s\)", "(TIME)"),
    (r"\bafter [0-9]+ s\b", "after TIME"),
    (r" *\b[0-9]+(\.[0-9]+)? (B|KiB|MiB|GiB)\b", " SIZE"),
    (r"\b[0-9]+\.[0-9]+ times smaller", "TIMES smaller"),
    (r"\b[0-9]+ frames\b", "FRAMES"),
    (r"\bframe [0-9]+, offset [0-9]+\b", "FRAME AND OFFSET"),
    (r"\bframe [0-9]+, offset\b", "FRAME AND OFFSET"),
    (r": [0-9]+ bytes\b", ": BYTES"),
    (r"\bUp (About |Less than )?(an?|[0-9]+) (second|minute)s?\b", "Up TIME"),
    (r"\b[0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:.]+", "DATE"),
    (r"(?m) +$", ""),
];

/// The text with what differs from run to run masked, and without blanks at the ends of lines.
///
/// # Panics
/// Never: the patterns are sound.
#[must_use]
pub fn masked(text: &str) -> String {
    let mut text = text.to_owned();
    for (pattern, word) in MASKS {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let replacement = |found: &regex_lite::Captures<'_>| {
            let next = seen.len() + 1;
            let number = *seen.entry(found[0].to_owned()).or_insert(next);
            word.replace('#', &number.to_string())
        };
        text = Regex::new(pattern).unwrap().replace_all(&text, replacement).into_owned();
    }
    text
}

/// The first lines that differ, with their number, or nothing.
#[must_use]
pub fn difference(written: &str, found: &str) -> Option<String> {
    if written == found {
        return None;
    }
    let (written, found): (Vec<&str>, Vec<&str>) = (written.lines().collect(), found.lines().collect());
    let same = written.iter().zip(&found).take_while(|(one, other)| one == other).count();
    let mut text = format!("from line {}:\n", same + 1);
    for (sign, lines) in [("-", &written), ("+", &found)] {
        for line in lines.iter().skip(same).take(8) {
            let _ = writeln!(text, "{sign} {line}");
        }
    }
    if written == found {
        text.push_str("the newline at the end\n");
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_run_to_run_is_masked() {
        let one = "✓ packing    470.3 MiB into 145.0 MiB (1.8 s)\n  id  2.4.0-6fab73c92ce4\n";
        let two = "✓ packing    99 B into 1.05 GiB (12 s)\n  id  2.4.0-0123456789ab  \n";
        assert_eq!(masked(one), masked(two));
        assert_eq!(masked(one), "✓ packing SIZE into SIZE (TIME)\n  id  2.4.0-short id 1\n");
    }

    #[test]
    fn how_far_long_work_is_is_left_out() {
        let text =
            "  packing    232.1 MiB of 270.8 MiB seed of volume pgdata\n  size       145.0 MiB in the file\n";
        assert_eq!(masked(text), "  size SIZE in the file\n");
    }

    #[test]
    fn the_same_value_has_the_same_number() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        assert_eq!(masked(&format!("{a} {b} {a}")), "hash 1 hash 2 hash 1");
    }

    #[test]
    fn words_and_counts_are_not_masked() {
        let text = "✓ starting   4 services healthy or running\nbuilt with ferry 0.1.0\n  listens    web  127.0.0.1:8080/tcp\n";
        assert_eq!(masked(text), text);
    }

    #[test]
    fn the_first_difference_is_shown_from_its_line() {
        assert_eq!(difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(difference("a\nb\nc\n", "a\nx\nc\n").unwrap(), "from line 2:\n- b\n- c\n+ x\n+ c\n");
        assert!(difference("a\n", "a").unwrap().contains("newline at the end"));
    }
}
