//! The order of a product's versions.
//!
//! Versions are any text. Semantic ones (semver.org, 2.0.0, section 11) have an order; a leading `v` and one or two
//! missing numbers are forgiven, as in `v2.4`. Of others the serials decide, where both releases have one. Else nothing
//! is claimed but that equal texts are equal.

use std::cmp::Ordering;

/// A version, and the place that its manifest gives it among those of the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Release<'a> {
    /// The version as it is written.
    pub version: &'a str,
    /// `serial`, where the manifest has one.
    pub serial: Option<u64>,
}

/// The order of `one` to `other`, or `None` where it cannot be known. Two versions with one serial have no order: it was
/// not raised.
#[must_use]
pub fn order(one: Release<'_>, other: Release<'_>) -> Option<Ordering> {
    if let (Some(one), Some(other)) = (semantic(one.version), semantic(other.version)) {
        return Some(one.cmp_precedence(&other));
    }
    let serials = one.serial.zip(other.serial).map(|(one, other)| one.cmp(&other));
    let equal = (one.version == other.version).then_some(Ordering::Equal);
    serials.filter(|order| order.is_ne()).or(equal)
}

/// True where the order of two releases is that of their serials.
#[must_use]
pub fn serials_decide(one: Release<'_>, other: Release<'_>) -> bool {
    let are_semantic = semantic(one.version).is_some() && semantic(other.version).is_some();
    !are_semantic && one.serial.is_some() && other.serial.is_some()
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

    fn order(one: &str, other: &str) -> Option<Ordering> {
        with_serials((one, None), (other, None))
    }

    fn with_serials(one: (&str, Option<u64>), other: (&str, Option<u64>)) -> Option<Ordering> {
        let release = |(version, serial)| Release { version, serial };
        super::order(release(one), release(other))
    }

    #[test]
    fn serials_order_what_is_no_semantic_version() {
        use Ordering::{Equal, Greater, Less};
        for (one, other, expected) in [
            (("summer", Some(2)), ("winter", Some(10)), Some(Less)),
            (("winter", Some(10)), ("summer", Some(2)), Some(Greater)),
            (("winter", Some(2)), ("1.0.0", Some(1)), Some(Greater)),
            // A rebuilt release.
            (("summer", Some(2)), ("summer", Some(2)), Some(Equal)),
            (("summer", Some(2)), ("summer", Some(3)), Some(Less)),
            (("summer", None), ("summer", Some(3)), Some(Equal)),
            // It was not raised, or is only known of one.
            (("summer", Some(2)), ("winter", Some(2)), None),
            (("summer", Some(2)), ("winter", None), None),
            (("summer", None), ("winter", Some(2)), None),
            // Semantic versions count first.
            (("1.9.0", Some(7)), ("1.10.0", Some(3)), Some(Less)),
            (("2.4", Some(1)), ("v2.4.0", Some(9)), Some(Equal)),
        ] {
            assert_eq!(with_serials(one, other), expected, "{one:?} {other:?}");
            let [release, than] = [one, other].map(|(version, serial)| Release { version, serial });
            let are_semantic = one.0.starts_with(['1', '2']) && other.0.starts_with(['v', '1']);
            let decide = one.1.is_some() && other.1.is_some() && !are_semantic;
            assert_eq!(serials_decide(release, than), decide, "{one:?} {other:?}");
        }
    }

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
