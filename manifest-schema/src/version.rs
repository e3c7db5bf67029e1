//! The order of a product's versions.
//!
//! Versions are any text. Semantic ones (semver.org, 2.0.0, section 11) have an order; a leading `v` and one or two
//! missing numbers are forgiven, as in `v2.4`. Of others nothing is claimed but that equal texts are equal.

use std::cmp::Ordering;

/// The order of `version` to `other`, or `None` where it cannot be known.
#[must_use]
pub fn order(version: &str, other: &str) -> Option<Ordering> {
    if version == other {
        return Some(Ordering::Equal);
    }
    Some(semantic(version)?.cmp_precedence(&semantic(other)?))
}

fn semantic(text: &str) -> Option<semver::Version> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let end = text.find(['-', '+']).unwrap_or(text.len());
    let (numbers, rest) = text.split_at(end);
    let missing = 2usize.checked_sub(numbers.matches('.').count())?;
    // `2026-11-28` is a date, and no pre-release of version 2026.
    if missing > 0 && rest.starts_with('-') {
        return None;
    }
    semver::Version::parse(&format!("{numbers}{}{rest}", ".0".repeat(missing))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semantic_versions_have_an_order() {
        for (less, more) in [
            ("1.9.0", "1.10.0"),
            ("v2.4", "2.4.1"),
            ("2", "2.0.1"),
            ("2.0.0-rc.2", "2.0.0-rc.10"),
            ("2.0.0-rc.10", "2.0.0"),
            ("1.0.0", "1.0.1-alpha"),
        ] {
            assert_eq!(order(less, more), Some(Ordering::Less), "{less} {more}");
            assert_eq!(order(more, less), Some(Ordering::Greater), "{more} {less}");
        }
        for (one, other) in [("2.4", "v2.4.0"), ("1.0.0+build.1", "1.0.0+build.2"), ("summer", "summer")] {
            assert_eq!(order(one, other), Some(Ordering::Equal), "{one} {other}");
        }
    }

    #[test]
    fn of_other_texts_nothing_is_claimed() {
        for (one, other) in [
            ("summer", "winter"),
            ("2026-11-28", "2026-11-27b"),
            ("2026-11-28", "2026-11-27"),
            ("1.2.3.4", "1.2.3.5"),
            ("01.2.3", "1.2.4"),
            ("1.0", "next"),
            ("", "1.0"),
            ("99999999999999999999.0.0", "1.0.0"),
        ] {
            assert_eq!(order(one, other), None, "{one} {other}");
            assert_eq!(order(other, one), None, "{other} {one}");
        }
    }
}
