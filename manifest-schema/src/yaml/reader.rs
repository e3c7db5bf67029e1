//! Typed reading of a tree that collects every mistake instead of stopping at the first.
//!
//! Each getter returns `None` after it has recorded why; a caller goes on with the next key. The
//! number of recorded mistakes is bounded, because a hostile file could hold one on each line.

use super::{Key, Node, Placed, Sources, Value};
use crate::{Diagnostic, Diagnostics};

/// Mistakes shown at once. Nobody reads more, and a program that prints them must end.
const MAX_MISTAKES: usize = 100;

/// Reads nodes of one or several texts and collects what is wrong with them.
#[derive(Debug)]
pub struct Reader {
    sources: Sources,
    /// Whether numbers, booleans and such may also come as strings, because they were interpolated.
    lenient: bool,
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
    unshown: usize,
}

impl Reader {
    /// A reader of `sources` that takes each value only in its own type.
    #[must_use]
    pub const fn strict(sources: Sources) -> Self {
        Self { sources, lenient: false, errors: Vec::new(), warnings: Vec::new(), unshown: 0 }
    }

    /// A reader that also takes numbers and booleans written as strings, as Compose does.
    #[must_use]
    pub fn lenient(sources: Sources) -> Self {
        Self { lenient: true, ..Self::strict(sources) }
    }

    /// The texts that are read.
    #[must_use]
    pub const fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Adds a text that is read too, and returns its number.
    pub fn add_source(&mut self, file: impl Into<String>, text: impl Into<String>) -> usize {
        self.sources.add(file, text)
    }

    /// Records a mistake with a hint.
    pub fn error(&mut self, place: &dyn Placed, message: impl Into<String>, hint: impl Into<String>) {
        self.record(place, message.into(), Some(hint.into()));
    }

    /// Records a mistake that says all there is to say.
    pub fn error_bare(&mut self, place: &dyn Placed, message: impl Into<String>) {
        self.record(place, message.into(), None);
    }

    fn record(&mut self, place: &dyn Placed, message: String, hint: Option<String>) {
        if self.is_full() {
            self.unshown += 1;
            return;
        }
        let mut diagnostic = self.sources.mistake(place, message);
        if let Some(hint) = hint {
            diagnostic = diagnostic.hint(hint);
        }
        // What is read twice, because others extend or alias it, is told once.
        if !self.errors.contains(&diagnostic) {
            self.errors.push(diagnostic);
        }
    }

    /// Adds mistakes found elsewhere, for example in a file that this one names.
    pub fn append(&mut self, found: Diagnostics) {
        for diagnostic in found.0 {
            if self.errors.len() >= MAX_MISTAKES {
                self.unshown += 1;
            } else {
                self.errors.push(diagnostic);
            }
        }
    }

    /// Records something that does not stop anything.
    pub fn warn(&mut self, place: &dyn Placed, message: impl Into<String>, hint: impl Into<String>) {
        if self.warnings.len() < MAX_MISTAKES {
            let warning = self.sources.mistake(place, message).hint(hint);
            self.warnings.push(warning);
        }
    }

    /// Whether so many mistakes were found that no more are shown: looking for the nearest name of
    /// each of a hundred thousand others would take minutes.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.errors.len() >= MAX_MISTAKES
    }

    /// Whether nothing was found wrong so far.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.errors.is_empty()
    }

    /// The value and the warnings, or all mistakes in the order of texts and lines.
    ///
    /// # Errors
    /// The mistakes recorded.
    pub fn finish<T>(self, value: T) -> Result<(T, Vec<Diagnostic>), Diagnostics> {
        let (mut errors, mut warnings, sources) = (self.errors, self.warnings, self.sources);
        let order = |d: &Diagnostic| (sources.number(&d.file).unwrap_or(usize::MAX), d.line, d.column);
        warnings.sort_by_key(order);
        if errors.is_empty() {
            return Ok((value, warnings));
        }
        errors.sort_by_key(order);
        if self.unshown > 0 {
            errors.push(Diagnostic::new(
                sources.file(0),
                format!("{} more mistakes are not shown", self.unshown),
            ));
        }
        Err(Diagnostics(errors))
    }

    /// Records that `key` means nothing in `owner`, and the nearest of the `known` keys.
    pub fn unknown_key(&mut self, key: &Key, owner: &str, known: &[&str]) {
        if self.is_full() {
            self.unshown += 1;
            return;
        }
        let hint = match nearest(&key.text, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.len() <= 12 => format!("known keys: {}", known.join(", ")),
            None => "delete it, or write it as `x-…` if it is a note for people".to_owned(),
        };
        self.error(key, format!("unknown key `{}` in {owner}", shown(&key.text)), hint);
    }

    fn expected(&mut self, what: &str, expected: &str, node: &Node) {
        let found = match node.text() {
            Some(text) => format!("{} `{}`", node.kind(), shown(text)),
            None => node.kind().to_owned(),
        };
        let hint = match expected {
            "a list" => "write one entry a line, each after `- `",
            "a map" => "write one entry a line, as `key: value`",
            "a string" => "write text, in quotes where it looks like something else",
            "a whole number" => "write digits alone, without quotes and units",
            _ => "write one of these words, without quotes",
        };
        self.error(node, format!("expected {expected} for `{what}`, found {found}"), hint);
    }

    /// The entries of a map; nothing counts as an empty one. Keys starting with `x-` are left out.
    pub fn map<'n>(&mut self, what: &str, node: &'n Node) -> Vec<&'n (Key, Node)> {
        match &node.value {
            Value::Map(entries) => entries.iter().filter(|(key, _)| !key.text.starts_with("x-")).collect(),
            Value::Null => Vec::new(),
            _ => {
                self.expected(what, "a map", node);
                Vec::new()
            }
        }
    }

    /// All entries of a map of free names, `x-` ones too.
    pub fn names<'n>(&mut self, what: &str, node: &'n Node) -> Vec<&'n (Key, Node)> {
        match &node.value {
            Value::Map(entries) => entries.iter().collect(),
            _ => self.map(what, node),
        }
    }

    /// The items of a list; nothing counts as an empty one.
    pub fn list<'n>(&mut self, what: &str, node: &'n Node) -> &'n [Node] {
        match &node.value {
            Value::Seq(items) => items,
            Value::Null => &[],
            _ => {
                self.expected(what, "a list", node);
                &[]
            }
        }
    }

    /// Text; when lenient, also a number or boolean as written.
    pub fn string(&mut self, what: &str, node: &Node) -> Option<String> {
        match &node.value {
            Value::Str(text) => Some(text.clone()),
            Value::Bool(_) | Value::Int(..) | Value::Float(..) if self.lenient => {
                node.text().map(str::to_owned)
            }
            Value::Bool(_) | Value::Int(..) | Value::Float(..) => {
                let text = node.text().unwrap_or_default();
                self.error(
                    node,
                    format!("expected a string for `{what}`, found {} `{}`", node.kind(), shown(text)),
                    format!("put it in quotes: \"{}\"", shown(text)),
                );
                None
            }
            _ => {
                self.expected(what, "a string", node);
                None
            }
        }
    }

    /// Text of any scalar, as written: `2.4` for a version need not stand in quotes.
    pub fn scalar_text(&mut self, what: &str, node: &Node) -> Option<String> {
        match node.text() {
            Some(text) => Some(text.to_owned()),
            None => {
                self.expected(what, "a string", node);
                None
            }
        }
    }

    /// A list of texts; `alone` says whether a single text counts as a list of one.
    pub fn strings(&mut self, what: &str, node: &Node, alone: bool) -> Vec<String> {
        if alone && node.text().is_some() {
            return self.string(what, node).into_iter().collect();
        }
        self.list(what, node).iter().filter_map(|item| self.string(what, item)).collect()
    }

    /// A boolean; when lenient, also as the strings that Compose takes.
    pub fn boolean(&mut self, what: &str, node: &Node) -> Option<bool> {
        match &node.value {
            Value::Bool(value) => Some(*value),
            Value::Str(text) if self.lenient => match text.to_ascii_lowercase().as_str() {
                "true" | "y" | "yes" | "on" | "1" => Some(true),
                "false" | "n" | "no" | "off" | "0" => Some(false),
                _ => {
                    self.expected(what, "`true` or `false`", node);
                    None
                }
            },
            _ => {
                self.expected(what, "`true` or `false`", node);
                None
            }
        }
    }

    /// A whole number in a range, both ends included.
    pub fn integer(&mut self, what: &str, node: &Node, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let value = match &node.value {
            Value::Int(value, _) => Some(*value),
            Value::Str(text) if self.lenient => super::scalar::int(text.trim()),
            _ => None,
        };
        match value {
            Some(value) if range.contains(&value) => Some(value),
            Some(value) => {
                let (low, high) = (range.start(), range.end());
                self.error_bare(node, format!("`{what}` is {value}; it must lie between {low} and {high}"));
                None
            }
            None => {
                self.expected(what, "a whole number", node);
                None
            }
        }
    }

    /// Records what `parse` says about a scalar's text.
    pub fn parsed<T>(
        &mut self,
        what: &str,
        node: &Node,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.scalar_text(what, node)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(why) => {
                self.error_bare(node, format!("`{what}`: {why}"));
                None
            }
        }
    }

    /// Text that is a name of a checked type.
    pub fn name<T: std::str::FromStr<Err = crate::names::BadName>>(
        &mut self,
        what: &str,
        node: &Node,
    ) -> Option<T> {
        self.parsed(what, node, |text| text.parse().map_err(|error: crate::names::BadName| error.to_string()))
    }
}

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
const MAX_NEIGHBOURS: usize = 1000;

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
        .take(MAX_NEIGHBOURS)
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
