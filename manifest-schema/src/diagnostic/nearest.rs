//! Words of the person who wrote the text, in messages: shortened, and the known word that one was meant to be.

/// At most 80 characters of what someone wrote, without control characters.
pub(crate) fn shown(text: &str) -> String {
    let mut short: String =
        text.chars().take(80).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(80).is_some() {
        short.push('…');
    }
    short
}

/// Most names of about the same length that a word is compared with: a `.env` may hold a hundred thousand, and each
/// of a hundred mistakes looks for its neighbour.
const NEIGHBOURS: usize = 1000;

/// The one of `known` that `word` was probably meant to be: at most a third of it differs.
#[must_use]
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if word.len() > 64 {
        return None;
    }
    let length = word.chars().count();
    let near = |edits: usize, candidate: &str| edits * 3 <= candidate.chars().count().max(3);
    known
        .into_iter()
        // As many edits are needed as the lengths differ.
        .filter(|candidate| {
            candidate.len() <= 64 && near(candidate.chars().count().abs_diff(length), candidate)
        })
        .take(NEIGHBOURS)
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance > 0 && near(*distance, candidate))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, swap neighbours) between two words, ignoring case and `-`/`_`.
fn distance(a: &str, b: &str) -> usize {
    if a == b {
        return 0;
    }
    let fold = |text: &str| -> Vec<char> {
        text.chars().map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
    };
    let (a, b) = (fold(a), fold(b));
    let mut before: Vec<usize> = Vec::new();
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let get = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX / 2);
            let mut best = (get(&previous, j + 1) + 1)
                .min(get(&row, j) + 1)
                .min(get(&previous, j) + usize::from(x != y));
            if i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x) {
                best = best.min(get(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut previous, row);
    }
    // Two words that differ only in case or dashes are still two words.
    previous.last().copied().unwrap_or(0).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_finds_slips_of_the_finger() {
        let known = ["image", "images", "environment", "ports", "depends_on", "healthcheck"];
        let cases = [
            ("imgae", Some("image")),
            ("enviroment", Some("environment")),
            ("depends-on", Some("depends_on")),
            ("HealthCheck", Some("healthcheck")),
            ("port", Some("ports")),
            ("zebra", None),
            ("", None),
        ];
        for (word, expected) in cases {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
    }
}
