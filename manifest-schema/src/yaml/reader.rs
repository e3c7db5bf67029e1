//! Typed reading of a tree that collects every mistake instead of stopping at the first.
//!
//! Each getter returns `None` after it has recorded why; a caller goes on with the next key. The
//! number of recorded mistakes is bounded, because a hostile file could hold one on each line.

mod unset;

use super::{Key, Node, Place, Placed, Sources, Value};
use crate::diagnostic::{nearest, shown};
use crate::limits::MAX_MISTAKES;
use crate::{Diagnostic, Diagnostics};
use std::collections::{BTreeMap, BTreeSet};

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
    /// The level of COMPOSE.md that what was read needs.
    level: u8,
    /// The level by which it is read.
    known: u8,
    /// How often a name like one without a value was looked for.
    looked: usize,
    /// Variables without a value, by the place of the text.
    unset: BTreeMap<Place, Vec<String>>,
    /// Names that have a value and are like one of them.
    near: BTreeMap<String, String>,
    /// Each of them once, with its first place.
    unset_names: Vec<(String, Place)>,
    /// True where one of them is a mistake.
    unset_is_refused: bool,
    /// Texts of which variables left nothing.
    made_empty: BTreeSet<Place>,
    /// Mistakes are none.
    is_muted: bool,
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
            level: 1,
            known: u8::MAX,
            looked: 0,
            unset: BTreeMap::new(),
            near: BTreeMap::new(),
            unset_names: Vec::new(),
            unset_is_refused: false,
            made_empty: BTreeSet::new(),
            is_muted: false,
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

    /// From now on, texts mean what readers of this level make of them.
    pub(crate) fn use_level(&mut self, level: u8) {
        self.known = level;
    }

    /// True where texts are read by this level, or a higher one.
    #[must_use]
    pub(crate) const fn reads(&self, level: u8) -> bool {
        self.known >= level
    }

    /// The level by which texts are read.
    #[must_use]
    pub(crate) const fn known(&self) -> u8 {
        self.known
    }

    /// Records that what is read means this only from `level` on: readers before refuse it or read it otherwise.
    pub(crate) fn needs_level(&mut self, level: u8) {
        self.level = self.level.max(level);
    }

    /// The level that everything read so far needs.
    #[must_use]
    pub(crate) const fn level(&self) -> u8 {
        self.level
    }

    /// Records a mistake with a hint.
    pub(crate) fn error(&mut self, place: &dyn Placed, message: impl Into<String>, hint: impl Into<String>) {
        self.record(place, message.into(), Some(hint.into()));
    }

    /// Records a mistake that says all there is to say.
    pub(crate) fn error_bare(&mut self, place: &dyn Placed, message: impl Into<String>) {
        self.record(place, message.into(), None);
    }

    /// Records that the value at `place` could not be made, as what stands at `at` shows. Reading goes on with the text
    /// there, and reports nothing more at this place.
    pub(crate) fn error_in_value(
        &mut self,
        at: Place,
        place: Place,
        message: String,
        hint: impl Into<Option<String>>,
    ) {
        let gaps = self.gaps;
        self.doubtful.remove(&place);
        self.doubtful.remove(&at);
        self.record(&at, message, hint.into());
        self.gaps = gaps;
        self.doubtful.insert(place);
    }

    /// The place of `part` in the text that begins at `place`: in a block text it may stand on a later line.
    pub(crate) fn line_with(&self, place: Place, part: &str) -> Place {
        let column = |line: &str| Some(line.get(..line.find(part)?)?.chars().count() + 1);
        let indent = |line: &str| line.chars().take_while(|c| *c == ' ').count();
        let text = self.sources.text(place.source);
        let mut lines = crate::diagnostic::lines(text).enumerate().skip(place.line.saturating_sub(1));
        let own = lines.next().map_or("", |(_, line)| line);
        // A block text begins its line, and goes on as deep.
        if part.is_empty() || column(own).is_some() || indent(own) + 1 != place.column {
            return place;
        }
        let mut block =
            lines.take_while(|(_, line)| line.trim().is_empty() || indent(line) + 1 >= place.column);
        let found = block.find_map(|(index, line)| Some((index + 1, column(line)?)));
        found.map_or(place, |(line, column)| Place { line, column, ..place })
    }

    /// From now on, mistakes are none: what is read is not used, and readers of level 1 refuse it.
    pub(crate) fn mute(&mut self, is_muted: bool) {
        self.is_muted = is_muted;
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
        if self.is_muted {
            self.needs_level(2);
            return;
        }
        self.gaps += 1;
        if self.is_full() {
            self.unshown += 1;
            return;
        }
        // The empty text is at fault, and not what is written there.
        let (message, hint) = match self.unset_at(place.place()) {
            [] => (message, hint),
            names => {
                let near = names.first().and_then(|name| self.near_unset(name));
                let told = (format!("{}: {message}", without_value(names)), near);
                self.unset_is_refused = true;
                told
            }
        };
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

    /// Adds warnings found elsewhere.
    pub(crate) fn append_warnings(&mut self, found: Vec<Diagnostic>) {
        let room = MAX_MISTAKES.saturating_sub(self.warnings.len());
        self.warnings.extend(found.into_iter().take(room));
    }

    /// Records something that does not stop anything.
    pub(crate) fn warn(&mut self, place: &dyn Placed, message: impl Into<String>, hint: impl Into<String>) {
        if !self.is_muted && self.warnings.len() < MAX_MISTAKES {
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
        let unset = self.told_unset();
        let (mut errors, mut warnings, sources) = (self.errors, self.warnings, self.sources);
        let order = |d: &Diagnostic| (sources.number(&d.file).unwrap_or(usize::MAX), d.line, d.column);
        warnings.sort_by_key(order);
        if errors.is_empty() {
            warnings.extend(unset);
            return Ok((value, warnings));
        }
        errors.sort_by_key(order);
        errors.extend(unset.filter(|_| self.unset_is_refused));
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

    /// True for an empty text in a Compose file: what a variable without a value leaves says nothing.
    pub(crate) fn is_absent(&mut self, node: &Node) -> bool {
        let is_absent = self.lenient && matches!(&node.value, Value::Str(text) if text.is_empty());
        if is_absent {
            self.needs_level(2);
        }
        is_absent
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
            _ if self.is_absent(node) => None,
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
            None if self.is_absent(node) => None,
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
        if self.is_absent(node) {
            return None;
        }
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

/// `` `A` has no value``, `` `A` and `B` have no value``.
pub(crate) fn without_value(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{}`", shown(name))).collect();
    match quoted.as_slice() {
        [name] => format!("{name} has no value"),
        _ => format!("{} have no value", quoted.join(" and ")),
    }
}
