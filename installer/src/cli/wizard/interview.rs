//! The variables to ask, their order, and the source of each value. Pure data: no terminal.
//!
//! Everything follows from the answers at hand: when one changes, the variables whose condition hangs on
//! it come and go. What was answered before it went is kept, and counts again when it comes back.

use crate::install::Questions;
use manifest_schema::manifest::{self, Variable, VariableKind};
use manifest_schema::site::Values;
use serde_json::Value;

/// The variables of a bundle, and what is known of each.
#[derive(Debug)]
pub(super) struct Interview<'a> {
    /// In the order of the manifest.
    variables: Vec<(&'a String, &'a Variable)>,
    given: &'a Values,
    remembered: &'a Values,
    tried: &'a Values,
    /// Remembered answers are asked again, as what Enter takes.
    anew: bool,
    answers: Values,
}

/// A variable whose condition holds.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a str,
    pub(super) variable: &'a Variable,
    pub(super) standing: Standing,
}

/// The present source of a variable's value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Standing {
    /// `--set`, `--values`, the environment.
    Given(Value),
    /// An earlier install.
    Remembered(Value),
    /// This person.
    Answered(Value),
    /// An install that failed: offered again.
    Tried(Value),
    /// The manifest.
    Default(Value),
    /// It will be generated.
    Generated,
    /// An earlier install, and it does not fit this bundle: why.
    Unfit(String),
    /// Nowhere.
    Missing,
}

impl Standing {
    /// The answer that Enter takes.
    pub(super) fn current(&self) -> Option<&Value> {
        match self {
            Self::Answered(value) | Self::Tried(value) | Self::Default(value) => Some(value),
            _ => None,
        }
    }
}

impl Entry<'_> {
    /// A person is asked it without choosing it.
    fn is_question(&self) -> bool {
        match self.standing {
            Standing::Answered(_) | Standing::Missing | Standing::Unfit(_) => true,
            Standing::Tried(_) => self.variable.kind != VariableKind::Map,
            Standing::Default(_) => self.variable.prompt.is_some() && self.variable.kind != VariableKind::Map,
            Standing::Given(_) | Standing::Remembered(_) | Standing::Generated => false,
        }
    }

    /// The person may change it: given and remembered answers are not theirs, and a map cannot be typed.
    pub(super) fn can_change(&self) -> bool {
        !matches!(self.standing, Standing::Given(_) | Standing::Remembered(_))
            && self.variable.kind != VariableKind::Map
    }
}

impl<'a> Interview<'a> {
    /// Before the first question.
    pub(super) fn new(questions: &Questions<'a>, anew: bool) -> Self {
        Self {
            variables: manifest::in_order(&questions.manifest.variables),
            given: questions.given,
            remembered: questions.remembered,
            tried: questions.tried,
            anew,
            answers: Values::new(),
        }
    }

    /// All variables whose condition holds at present. An open question counts with its
    /// default.
    pub(super) fn entries(&self) -> Vec<Entry<'a>> {
        let mut values = Values::new();
        let mut entries = Vec::new();
        for (name, variable) in &self.variables {
            if !manifest::is_asked(variable, &values) {
                values.insert((*name).clone(), Value::Null);
                continue;
            }
            let standing = self.standing(name, variable);
            let value = match &standing {
                Standing::Given(value)
                | Standing::Remembered(value)
                | Standing::Answered(value)
                | Standing::Tried(value)
                | Standing::Default(value) => value.clone(),
                Standing::Generated => Value::from("generated"),
                Standing::Unfit(_) | Standing::Missing => Value::Null,
            };
            values.insert((*name).clone(), value);
            entries.push(Entry { name, variable, standing });
        }
        entries
    }

    fn standing(&self, name: &str, variable: &Variable) -> Standing {
        if let Some(value) = self.given.get(name) {
            return Standing::Given(variable.check(value).unwrap_or_else(|_| value.clone()));
        }
        if let Some(value) = self.answers.get(name) {
            return Standing::Answered(value.clone());
        }
        if let Some(value) = self.remembered.get(name).filter(|value| !value.is_null()) {
            return match variable.check(value) {
                // Secrets are changed by `fz secret rotate`.
                Ok(value) if self.anew && variable.kind != VariableKind::Secret => Standing::Default(value),
                Ok(value) => Standing::Remembered(value),
                Err(why) => Standing::Unfit(why),
            };
        }
        if let Some(Ok(value)) = self.tried.get(name).map(|value| variable.check(value)) {
            return Standing::Tried(value);
        }
        match (&variable.default, variable.generate) {
            (Some(value), _) => Standing::Default(value.clone()),
            (None, Some(_)) => Standing::Generated,
            (None, None) => Standing::Missing,
        }
    }

    /// Answers of a failed install are offered again.
    pub(super) fn is_second_try(&self) -> bool {
        self.entries().iter().any(|entry| matches!(entry.standing, Standing::Tried(_)))
    }

    /// One of them.
    pub(super) fn entry(&self, name: &str) -> Option<Entry<'a>> {
        self.entries().into_iter().find(|entry| entry.name == name)
    }

    /// The first question that has no answer yet.
    pub(super) fn next(&self) -> Option<String> {
        let open =
            |entry: &Entry<'_>| entry.is_question() && !matches!(entry.standing, Standing::Answered(_));
        self.entries().into_iter().find(open).map(|entry| entry.name.to_owned())
    }

    /// The question before `name`.
    pub(super) fn before(&self, name: &str) -> Option<String> {
        let entries = self.entries();
        let above = entries.iter().take_while(|entry| entry.name != name);
        above.filter(|entry| entry.is_question()).last().map(|entry| entry.name.to_owned())
    }

    /// The last question.
    pub(super) fn last(&self) -> Option<String> {
        self.entries().iter().rev().find(|entry| entry.is_question()).map(|entry| entry.name.to_owned())
    }

    /// Number of a question, from 1, and how many there are; nothing where it is none by itself.
    pub(super) fn position(&self, name: &str) -> Option<(usize, usize)> {
        let entries = self.entries();
        let questions: Vec<&Entry<'_>> = entries.iter().filter(|entry| entry.is_question()).collect();
        let at = questions.iter().position(|entry| entry.name == name)?;
        Some((at + 1, questions.len()))
    }

    /// Takes an answer that was checked.
    pub(super) fn answer(&mut self, name: &str, value: Value) {
        self.answers.insert(name.to_owned(), value);
    }

    /// The answers that count at present.
    pub(super) fn answers(&self) -> Values {
        let answered = |entry: Entry<'_>| match entry.standing {
            Standing::Answered(value) => Some((entry.name.to_owned(), value)),
            _ => None,
        };
        self.entries().into_iter().filter_map(answered).collect()
    }

    /// The options that repeat these answers: without secrets, and without values that no option can hold.
    pub(super) fn options(&self) -> Vec<String> {
        let mut options = Vec::new();
        for entry in self.entries() {
            let Standing::Answered(value) = &entry.standing else { continue };
            let text = super::reply::text(value);
            let same = entry.variable.check(&Value::from(text.as_str())).as_ref() == Ok(value);
            if same && entry.variable.kind != VariableKind::Secret && !text.chars().any(char::is_control) {
                options.push(format!("--set {}", quoted(&format!("{}={text}", entry.name))));
            }
        }
        options
    }
}

/// A word of a POSIX shell (XCU, section 2.2.2).
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "=_-./:,@%+".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}
