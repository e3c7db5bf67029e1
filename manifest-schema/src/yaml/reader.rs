//! Typed reading of a tree that collects every mistake instead of stopping at the first.
//!
//! Each getter returns `None` after it has recorded why; a caller goes on with the next key. The
//! number of recorded mistakes is bounded, because a hostile file could hold one on each line.

use super::{Key, Node, Place, Placed, Sources, Value};
use crate::diagnostic::{nearest, shown};
use crate::limits::MAX_MISTAKES;
use crate::{Diagnostic, Diagnostics};
use std::collections::BTreeSet;

/// Reads nodes of one or several texts and collects what is wrong with them.
#[derive(Debug)]
pub(crate) struct Reader {
    sources: Sources,
    /// Takes numbers, booleans and such also as strings, because they were interpolated.
    lenient: bool,
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
    unshown: usize,
    /// Places of values that are wrong and reported already.
    doubtful: BTreeSet<Place>,
    /// Number of mistakes that leave something out.
    gaps: usize,
}

impl Reader {
    /// A reader of `sources` that takes each value only in its own type.
    #[must_use]
    pub(crate) const fn strict(sources: Sources) -> Self {
        Self {
            sources,
            lenient: false,
            errors: Vec::new(),
            warnings: Vec::new(),
            unshown: 0,
            doubtful: BTreeSet::new(),
            gaps: 0,
        }
    }

    /// A reader that also takes numbers and booleans written as strings, as Compose does.
    #[must_use]
    pub(crate) fn lenient(sources: Sources) -> Self {
        Self { lenient: true, ..Self::strict(sources) }
    }

    /// The texts that are read.
    #[must_use]
    pub(crate) const fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Adds a text that is read too, and returns its number.
    pub(crate) fn add_source(&mut self, file: impl Into<String>, text: impl Into<String>) -> usize {
        self.sources.add(file, text)
    }

    /// Records a mistake with a hint.
    pub(crate) fn error(&mut self, place: &dyn Placed, message: impl Into<String>, hint: impl Into<String>) {
        self.record(place, message.into(), Some(hint.into()));
    }

    /// Records a mistake that says all there is to say.
    pub(crate) fn error_bare(&mut self, place: &dyn Placed, message: impl Into<String>) {
        self.record(place, message.into(), None);
    }

    /// Records that the value at `place` could not be made. Reading goes on with the text there, and reports nothing
    /// more at this place.
    pub(crate) fn error_in_value(&mut self, place: Place, message: String, hint: String) {
        let gaps = self.gaps;
        self.doubtful.remove(&place);
        self.record(&place, message, Some(hint));
        self.gaps = gaps;
        self.doubtful.insert(place);
    }

    /// Silences further mistakes at this place: one below it is reported already.
    pub(crate) fn doubt(&mut self, place: Place) {
        self.doubtful.insert(place);
    }

    /// True where nothing is left out: at most, single values are wrong.
    pub(crate) const fn is_whole(&self) -> bool {
        self.gaps == 0
    }

    fn record(&mut self, place: &dyn Placed, message: String, hint: Option<String>) {
        if self.doubtful.contains(&place.place()) {
            return;
        }
        self.gaps += 1;
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
    pub(crate) fn append(&mut self, found: Diagnostics) {
        for diagnostic in found.0 {
            self.gaps += 1;
            if self.errors.len() >= MAX_MISTAKES {
                self.unshown += 1;
            } else {
                self.errors.push(diagnostic);
            }
        }
    }

    /// Records something that does not stop anything.
    pub(crate) fn warn(&mut self, place: &dyn Placed, message: impl Into<String>, hint: impl Into<String>) {
        if self.warnings.len() < MAX_MISTAKES {
            let warning = self.sources.mistake(place, message).hint(hint);
            self.warnings.push(warning);
        }
    }

    /// True once so many mistakes were found that no more are shown. Looking for the nearest name of each of a
    /// hundred thousand others would take minutes.
    #[must_use]
    pub(crate) const fn is_full(&self) -> bool {
        self.errors.len() >= MAX_MISTAKES
    }

    /// The value and the warnings, or all mistakes in the order of texts and lines.
    ///
    /// # Errors
    /// The mistakes recorded.
    pub(crate) fn finish<T>(self, value: T) -> Result<(T, Vec<Diagnostic>), Diagnostics> {
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
    pub(crate) fn unknown_key(&mut self, key: &Key, owner: &str, known: &[&str]) {
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
    pub(crate) fn map<'n>(&mut self, what: &str, node: &'n Node) -> Vec<&'n (Key, Node)> {
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
    pub(crate) fn names<'n>(&mut self, what: &str, node: &'n Node) -> Vec<&'n (Key, Node)> {
        match &node.value {
            Value::Map(entries) => entries.iter().collect(),
            _ => self.map(what, node),
        }
    }

    /// The items of a list; nothing counts as an empty one.
    pub(crate) fn list<'n>(&mut self, what: &str, node: &'n Node) -> &'n [Node] {
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
    pub(crate) fn string(&mut self, what: &str, node: &Node) -> Option<String> {
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
    pub(crate) fn scalar_text(&mut self, what: &str, node: &Node) -> Option<String> {
        match node.text() {
            Some(text) => Some(text.to_owned()),
            None => {
                self.expected(what, "a string", node);
                None
            }
        }
    }

    /// A list of texts; `alone` says whether a single text counts as a list of one.
    pub(crate) fn strings(&mut self, what: &str, node: &Node, alone: bool) -> Vec<String> {
        if alone && node.text().is_some() {
            return self.string(what, node).into_iter().collect();
        }
        self.list(what, node).iter().filter_map(|item| self.string(what, item)).collect()
    }

    /// A boolean; when lenient, also as the strings that Compose takes.
    pub(crate) fn boolean(&mut self, what: &str, node: &Node) -> Option<bool> {
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
    pub(crate) fn integer(
        &mut self,
        what: &str,
        node: &Node,
        range: std::ops::RangeInclusive<i64>,
    ) -> Option<i64> {
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
    pub(crate) fn parsed<T>(
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
    pub(crate) fn name<T: std::str::FromStr<Err = crate::names::BadName>>(
        &mut self,
        what: &str,
        node: &Node,
    ) -> Option<T> {
        self.parsed(what, node, |text| text.parse().map_err(|error: crate::names::BadName| error.to_string()))
    }
}
