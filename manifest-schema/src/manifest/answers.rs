//! Answers to the variables: where each comes from, whether it fits, and what is missing.
//!
//! Invariants: one run reports all that is missing or wrong, with the file and line where it was given; no message
//! repeats a secret, or the line of a values file that may hold one; a variable whose condition does not hold is
//! `null`, and no answer to it is lost.

use super::hidden::{self, Line};
use super::{Variable, VariableKind};
use crate::diagnostic::{nearest, shown};
use crate::yaml::{self, Key, Node, Place, Value as YamlValue};
use crate::{Diagnostic, Diagnostics, render};
use serde_json::Value;
use std::collections::BTreeMap;

/// How an answer is given on a command line.
const OPTION: &str = "--set";

/// Most names of variables that a hint lists.
const MAX_NAMES: usize = 12;

/// Answers by variable.
pub type Values = BTreeMap<String, Value>;

/// Answers that were given for this run, and where.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Given {
    values: Values,
    places: BTreeMap<String, Origin>,
}

/// Where an answer was given.
#[derive(Debug, Clone, Default, PartialEq)]
struct Origin {
    /// The values file, else how it was given: `--set`.
    file: String,
    /// Where its name and its value stand in that file.
    key: Option<Line>,
    value: Option<Line>,
}

impl Given {
    /// Reads a values file: a map of names and values. `file` names it in messages.
    ///
    /// # Errors
    /// When it is no YAML, or no map.
    pub fn from_file(file: &str, text: &str) -> Result<Self, Diagnostics> {
        let root = yaml::parse_private(file, text).map_err(hidden::line_of)?;
        let entries: Vec<(Key, Node)> = match root.value {
            YamlValue::Map(entries) => entries,
            YamlValue::Null => Vec::new(),
            _ => {
                let message = format!("expected a map of answers, found {}", root.kind());
                let mistake = Diagnostic::new(file, message).at(text, root.place.line, root.place.column);
                return Err(hidden::line_of(mistake.hint("write one `name: value` a line")).into());
            }
        };
        let keys: Vec<Place> = entries.iter().map(|(key, _)| key.place).collect();
        let mut given = Self::default();
        for (key, node) in entries {
            let line = |place: Place| Some(Line::of(text, &keys, key.place, place));
            let origin = Origin { file: file.to_owned(), key: line(key.place), value: line(node.place) };
            given.places.insert(key.text.clone(), origin);
            // `1.10` is the text as written, where the variable is a text.
            let value = match node.text() {
                Some(text) if !matches!(node.value, YamlValue::Bool(_)) => Value::from(text),
                _ => node.to_json(),
            };
            given.values.insert(key.text, value);
        }
        Ok(given)
    }

    /// Adds the answers of an environment: `FERRY_VAR_NAME`.
    pub fn add_environment(&mut self, environment: impl Iterator<Item = (String, String)>) {
        for (key, value) in environment {
            if let Some(name) = key.strip_prefix("FERRY_VAR_") {
                self.set(name, value.into(), &key);
            }
        }
    }

    /// Adds an answer of a command line, `NAME=VALUE`; false where it has no `=`.
    #[must_use]
    pub fn add_option(&mut self, answer: &str) -> bool {
        let Some((name, value)) = answer.split_once('=') else { return false };
        self.set(name.trim(), value.into(), OPTION);
        true
    }

    /// Adds an answer, over one of the same name. `origin` says how it was given: `--set`.
    pub fn set(&mut self, name: &str, value: Value, origin: &str) {
        self.values.insert(name.to_owned(), value);
        self.places.insert(name.to_owned(), Origin { file: origin.to_owned(), ..Origin::default() });
    }

    /// Adds all answers of `other` over these.
    pub fn extend(&mut self, other: Self) {
        self.values.extend(other.values);
        self.places.extend(other.places);
    }

    /// Names of the answers that stood on a command line, where `ps` and the shell's history show them.
    pub fn on_command_line(&self) -> impl Iterator<Item = &str> {
        self.places.iter().filter(|(_, place)| place.file == OPTION).map(|(name, _)| name.as_str())
    }

    /// The answers.
    #[must_use]
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// Checks that every answer has its variable and fits it, as far as is known before the questions are
    /// answered: a variable with a condition may not be asked for at all.
    #[must_use]
    pub fn fits(&self, variables: &BTreeMap<String, Variable>) -> bool {
        self.values.iter().all(|(name, value)| {
            variables
                .get(name)
                .is_some_and(|variable| variable.when.is_some() || variable.check(value).is_ok())
        })
    }

    /// A mistake in an answer; `variable` says whether it may be shown.
    fn mistake(&self, name: &str, message: String, variable: Option<&Variable>) -> Diagnostic {
        let origin = self.places.get(name);
        let mistake = match origin {
            Some(origin) => Diagnostic::new(origin.file.as_str(), message),
            None => Diagnostic::in_no_file(message),
        };
        let line = origin.and_then(|origin| match variable {
            None => origin.key.as_ref(),
            Some(_) => origin.value.as_ref(),
        });
        match line {
            Some(line) => {
                line.mark(mistake, variable.is_some_and(|variable| variable.kind != VariableKind::Secret))
            }
            None => mistake,
        }
    }

    /// Names that are no variables.
    fn unknown(&self, variables: &BTreeMap<String, Variable>) -> Vec<Diagnostic> {
        let names = self.values.keys().filter(|name| !variables.contains_key(*name));
        names
            .take(100)
            .map(|name| {
                let hint = match nearest(name, variables.keys().map(String::as_str)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if variables.is_empty() => "the manifest declares no variables".to_owned(),
                    None => {
                        let names: Vec<&str> = variables.keys().map(String::as_str).take(MAX_NAMES).collect();
                        let more = match variables.len().saturating_sub(MAX_NAMES) {
                            0 => String::new(),
                            more => format!(", … and {more} more"),
                        };
                        format!("variables of this bundle: {}{more}", names.join(", "))
                    }
                };
                self.mistake(name, format!("`{}` is not a variable", shown(name)), None).hint(hint)
            })
            .collect()
    }
}

impl From<Values> for Given {
    fn from(values: Values) -> Self {
        Self { values, places: BTreeMap::new() }
    }
}

/// Variables in the order in which they stand in the manifest.
#[must_use]
pub fn in_order(variables: &BTreeMap<String, Variable>) -> Vec<(&String, &Variable)> {
    let mut ordered: Vec<_> = variables.iter().collect();
    ordered.sort_by_key(|(_, variable)| variable.line);
    ordered
}

/// True where a variable is asked for, with the values of those above it.
#[must_use]
pub fn is_asked(variable: &Variable, values: &Values) -> bool {
    // What is wrong with the expression was told when the manifest was read.
    variable.when.as_ref().is_none_or(|when| render::holds(when, values).unwrap_or(true))
}

/// Gives each variable its value: given, else remembered, else the default, else generated.
/// `random` makes that many random characters.
///
/// # Errors
/// Every missing or bad value, and every given name that is no variable, at once.
pub fn resolve(
    variables: &BTreeMap<String, Variable>,
    given: &Given,
    remembered: &Values,
    random: &mut dyn FnMut(usize) -> String,
) -> Result<Values, Diagnostics> {
    let mut found = Diagnostics(given.unknown(variables));
    let mut values = Values::new();
    for (name, variable) in in_order(variables) {
        if !is_asked(variable, &values) {
            values.insert(name.clone(), Value::Null);
            continue;
        }
        let source = match (given.values.get(name), remembered.get(name).filter(|value| !value.is_null())) {
            (Some(value), _) => Some((value.clone(), "")),
            (None, Some(value)) => Some((value.clone(), " remembered on this host")),
            (None, None) => match (&variable.default, variable.generate) {
                (Some(value), _) => Some((value.clone(), " by default")),
                (None, Some(length)) => Some((Value::String(random(length)), " generated")),
                (None, None) => None,
            },
        };
        let Some((value, origin)) = source else {
            let mistake = Diagnostic::in_no_file(format!("`{name}` has no value"));
            found.push(mistake.hint(asked_for(variable)));
            continue;
        };
        match variable.check(&value) {
            Ok(value) => {
                values.insert(name.clone(), value);
            }
            Err(why) => {
                let message = format!("`{name}`{origin}: {why}");
                let mistake = if origin.is_empty() {
                    given.mistake(name, message, Some(variable))
                } else {
                    Diagnostic::in_no_file(message)
                };
                found.push(mistake.hint(hint(variable, &value)));
            }
        }
    }
    // As they stand in the file, then those that stand in none.
    found.0.sort_by(|a, b| {
        let place = |d: &Diagnostic| match d.line {
            0 => (true, String::new(), 0, 0),
            line => (false, d.file.clone(), line, d.column),
        };
        place(a).cmp(&place(b))
    });
    found.or_ok(values)
}

/// The question, and what can be answered.
fn asked_for(variable: &Variable) -> String {
    let question = variable.question().map(|what| format!("{what}: ")).unwrap_or_default();
    format!("{question}{}", variable.wanted())
}

/// The answer to give instead of `value`.
fn hint(variable: &Variable, value: &Value) -> String {
    let near = value.as_str().and_then(|text| nearest(text, variable.choices.iter().map(String::as_str)));
    match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => asked_for(variable),
    }
}
