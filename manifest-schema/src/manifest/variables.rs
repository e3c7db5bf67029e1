//! Variables: what a site is asked once, and how answers are checked.
//!
//! Invariants: a value that reaches a template has the variable's kind and matches its pattern; one run reports all
//! that is missing or wrong; no message repeats a secret, and no manifest holds one.

use crate::diagnostic::{nearest, shown};
use crate::limits::MAX_VARIABLES;
use crate::render;
use crate::yaml::{Key, Node, Reader, Value as YamlValue};
use regex_lite::Regex;
use serde_json::Value;
use std::collections::BTreeMap;

/// The kind of value that a variable takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VariableKind {
    /// `string`, the default.
    String,
    /// `int`.
    Int,
    /// `bool`.
    Bool,
    /// `choice`: one of `choices`.
    Choice,
    /// `list`.
    List,
    /// `map`.
    Map,
    /// `path`: an absolute path on the host.
    Path,
    /// `port`: 1 to 65535.
    Port,
    /// `address`: an IP address or host name.
    Address,
    /// `secret`: a string that is never shown.
    Secret,
}

/// The keys of a variable.
pub(crate) const KEYS: [&str; 10] =
    ["type", "prompt", "help", "default", "pattern", "generate", "choices", "min", "max", "when"];

const KINDS: [(&str, VariableKind); 10] = [
    ("string", VariableKind::String),
    ("int", VariableKind::Int),
    ("bool", VariableKind::Bool),
    ("choice", VariableKind::Choice),
    ("list", VariableKind::List),
    ("map", VariableKind::Map),
    ("path", VariableKind::Path),
    ("port", VariableKind::Port),
    ("address", VariableKind::Address),
    ("secret", VariableKind::Secret),
];

/// Words that mean something else in a template.
const RESERVED: [&str; 20] = [
    "ferry", "true", "false", "none", "True", "False", "None", "and", "or", "not", "in", "is", "if", "else",
    "for", "loop", "self", "caller", "varargs", "kwargs",
];

/// One entry of `variables`: asked once on site, remembered, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Variable {
    /// `type`.
    pub kind: VariableKind,
    /// `prompt`: the question.
    pub prompt: Option<String>,
    /// `help`: more about it.
    pub help: Option<String>,
    /// `default`, already of this kind.
    pub default: Option<Value>,
    /// `pattern`: a regular expression that the text must match.
    pub pattern: Option<String>,
    /// `generate`: number of random characters where no value is given.
    pub generate: Option<usize>,
    /// `choices`.
    pub choices: Vec<String>,
    /// `min`: least number, or least length of a list or text.
    pub min: Option<i64>,
    /// `max`: greatest number, or greatest length of a list or text.
    pub max: Option<i64>,
    /// `when`: an expression over variables above it; it is asked only where that is true.
    pub when: Option<String>,
    /// 1-based line in the manifest.
    pub line: usize,
}

impl VariableKind {
    /// The word in the manifest.
    #[must_use]
    pub fn word(self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or("string", |(word, _)| word)
    }

    /// A value of this kind, in words.
    pub(super) const fn noun(self) -> &'static str {
        match self {
            Self::String | Self::Secret | Self::Choice => "one text",
            Self::Int => "a whole number",
            Self::Bool => "yes or no",
            Self::List => "a list",
            Self::Map => "a map",
            Self::Path => "a path",
            Self::Port => "a port",
            Self::Address => "an address",
        }
    }

    pub(super) const fn is_text(self) -> bool {
        matches!(self, Self::String | Self::Path | Self::Address | Self::Secret)
    }
}

/// Reads the `variables` of a manifest.
pub(super) fn decode(r: &mut Reader, node: &Node) -> BTreeMap<String, Variable> {
    let mut variables = BTreeMap::new();
    let entries = r.names("variables", node);
    if entries.len() > MAX_VARIABLES {
        let message = format!("{} variables; at most {MAX_VARIABLES} are read", entries.len());
        r.error(node, message, "gather those that belong together in one of type `map` or `list`");
        return variables;
    }
    for (key, node) in entries {
        check_name(r, key);
        variables.insert(key.text.clone(), variable(r, key, node));
    }
    check_conditions(r, node, &variables);
    variables
}

/// `when` is an expression over variables that stand above.
fn check_conditions(r: &mut Reader, node: &Node, variables: &BTreeMap<String, Variable>) {
    let mut above: Vec<&str> = Vec::new();
    for (key, node) in r.names("variables", node) {
        let when = variables.get(&key.text).and_then(|variable| variable.when.as_ref());
        if let (Some(when), Some(node)) = (when, node.get("when")) {
            match render::names_in(when) {
                Err(why) => r.error(
                    node,
                    format!("`when` is not an expression: {why}"),
                    "write it like `when: tls`, or `when: mode == 'pair'`",
                ),
                Ok(names) => {
                    for name in names.iter().filter(|name| !above.contains(&name.as_str())) {
                        let message = if variables.contains_key(name) {
                            format!("`when` of `{}` uses `{}`, which is asked later", key.text, shown(name))
                        } else {
                            format!("`when` of `{}` uses `{}`, which is no variable", key.text, shown(name))
                        };
                        let hint = match nearest(name, above.iter().copied()) {
                            Some(near) => format!("did you mean `{near}`?"),
                            None => "use variables above it".to_owned(),
                        };
                        r.error(node, message, hint);
                    }
                }
            }
        }
        above.push(&key.text);
    }
}

fn check_name(r: &mut Reader, key: &Key) {
    let name = &key.text;
    let start = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if !start || name.len() > 64 || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        let message = format!("`{}` cannot be the name of a variable", shown(name));
        r.error(key, message, "use letters, digits and `_`, and start with a letter");
    } else if RESERVED.contains(&name.as_str()) {
        let message =
            format!("`{name}` cannot be the name of a variable: templates use it for something else");
        r.error(key, message, format!("name it `site_{name}`, for example"));
    }
}

fn variable(r: &mut Reader, key: &Key, node: &Node) -> Variable {
    let name = &key.text;
    let mut kind = None;
    let mut default = None;
    let mut variable = Variable {
        kind: VariableKind::String,
        prompt: None,
        help: None,
        default: None,
        pattern: None,
        generate: None,
        choices: Vec::new(),
        min: None,
        max: None,
        when: None,
        line: key.place.line,
    };
    for (inner, node) in r.map(name, node) {
        match inner.text.as_str() {
            "type" => kind = kind_of(r, node).map(|kind| (kind, node)),
            "prompt" => variable.prompt = r.string("prompt", node).filter(|text| one_line(r, node, text)),
            "help" => variable.help = r.string("help", node).filter(|text| plain(r, node, text)),
            "default" => default = Some(node),
            "pattern" => {
                variable.pattern = r.string("pattern", node).filter(|pattern| match Regex::new(pattern) {
                    Ok(_) => true,
                    Err(error) => {
                        r.error_bare(node, format!("`pattern` is not a regular expression: {error}"));
                        false
                    }
                });
            }
            "generate" => {
                variable.generate =
                    r.integer("generate", node, 1..=256).and_then(|length| usize::try_from(length).ok());
            }
            "choices" => {
                variable.choices = choices(r, node);
                if variable.choices.is_empty() && matches!(node.value, YamlValue::Seq(_) | YamlValue::Null) {
                    let message = format!("`choices` of variable `{name}` is empty");
                    r.error(node, message, "name at least one, or delete `choices`");
                    return variable;
                }
            }
            "min" => variable.min = r.integer("min", node, i64::MIN..=i64::MAX),
            "max" => variable.max = r.integer("max", node, i64::MIN..=i64::MAX),
            "when" => variable.when = r.string("when", node),
            _ => r.unknown_key(inner, &format!("variable `{name}`"), &KEYS),
        }
    }
    variable.kind = match kind {
        Some((kind, _)) => kind,
        None if !variable.choices.is_empty() => VariableKind::Choice,
        None => VariableKind::String,
    };
    check_combination(r, key, &variable);
    if let Some(node) = default {
        variable.default = default_value(r, name, &variable, node);
    }
    variable
}

/// True where a terminal shows the text as it is on one line.
fn one_line(r: &mut Reader, node: &Node, text: &str) -> bool {
    let good = !text.trim_end_matches('\n').chars().any(char::is_control);
    if !good {
        r.error(node, "this text has a line break or another control character", "write it on one line");
    }
    good
}

/// True where a terminal shows each line of the text as it is.
fn plain(r: &mut Reader, node: &Node, text: &str) -> bool {
    let good = !text.chars().any(|c| c.is_control() && c != '\n');
    if !good {
        r.error(node, "this text has a control character", "write letters, signs and line breaks only");
    }
    good
}

/// The possible answers, each once.
fn choices(r: &mut Reader, node: &Node) -> Vec<String> {
    let mut choices: Vec<String> = Vec::new();
    for item in r.list("choices", node) {
        let Some(text) = r.scalar_text("choices", item).filter(|text| one_line(r, item, text)) else {
            continue;
        };
        if choices.contains(&text) {
            r.error(item, format!("the choice `{}` is written twice", shown(&text)), "keep one of them");
        } else {
            choices.push(text);
        }
        if r.is_full() {
            break;
        }
    }
    choices
}

fn kind_of(r: &mut Reader, node: &Node) -> Option<VariableKind> {
    let word = r.string("type", node)?;
    let found = KINDS.iter().find(|(known, _)| *known == word).map(|(_, kind)| *kind);
    if found.is_none() {
        let words = KINDS.map(|(word, _)| word);
        let near = match word.as_str() {
            "integer" | "number" => Some("int"),
            "boolean" => Some("bool"),
            "str" | "text" => Some("string"),
            "password" => Some("secret"),
            "enum" => Some("choice"),
            "array" => Some("list"),
            "ip" | "host" | "hostname" => Some("address"),
            other => nearest(other, words),
        };
        let hint = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known types: {}", words.join(", ")),
        };
        r.error(node, format!("`{}` is not a type of variable", shown(&word)), hint);
    }
    found
}

fn check_combination(r: &mut Reader, key: &Key, variable: &Variable) {
    let (name, kind) = (&key.text, variable.kind);
    if kind == VariableKind::Choice && variable.choices.is_empty() {
        r.error(
            key,
            format!("variable `{name}` has no `choices`"),
            "add them, like `choices: [north, south]`",
        );
    }
    if kind != VariableKind::Choice && !variable.choices.is_empty() {
        let message = format!("variable `{name}` has `choices`, but its type is {}", kind.word());
        r.error(key, message, "write `type: choice`");
    }
    if variable.pattern.is_some() && !kind.is_text() {
        let message = format!("variable `{name}` has a `pattern`, but its type is {}", kind.word());
        r.error(key, message, "a pattern is for string, path, address and secret");
    }
    if variable.generate.is_some() && !matches!(kind, VariableKind::Secret | VariableKind::String) {
        let message = format!("variable `{name}` has `generate`, but its type is {}", kind.word());
        r.error(key, message, "only a secret or a string can be generated");
    }
    if let (Some(min), Some(max)) = (variable.min, variable.max)
        && min > max
    {
        r.error(key, format!("variable `{name}` has `min` {min} above `max` {max}"), "swap them");
    }
    let counted = !matches!(kind, VariableKind::Bool | VariableKind::Choice);
    if (variable.min.is_some() || variable.max.is_some()) && !counted {
        let message = format!("variable `{name}` has a range, but its type is {}", kind.word());
        r.error(key, message, "`min` and `max` are for numbers, and for the length of texts and lists");
    }
    if let Some(length) = variable.generate.and_then(|length| i64::try_from(length).ok())
        && (variable.min.is_some_and(|min| length < min) || variable.max.is_some_and(|max| length > max))
    {
        let message = format!("variable `{name}` is generated with {length} characters, outside its range");
        r.error(key, message, "change `generate`, or the range");
    }
    if variable.generate.is_some() && variable.pattern.is_some() {
        let message = format!("variable `{name}` has both `generate` and `pattern`");
        r.error(key, message, "random characters would not match; delete one of them");
    }
}

fn default_value(r: &mut Reader, name: &str, variable: &Variable, node: &Node) -> Option<Value> {
    if variable.kind == VariableKind::Secret {
        let message = format!("variable `{name}` is a secret with a `default` that everyone can read");
        r.error(node, message, "write `generate: 32`, or leave it to the site");
        return None;
    }
    if variable.generate.is_some() {
        let message = format!("variable `{name}` has both `generate` and `default`");
        r.error(node, message, "delete one of them");
        return None;
    }
    // `default: 1.10` of a string is the text as written, not the number 1.1.
    let value = match (variable.kind, node.text()) {
        (VariableKind::List | VariableKind::Map, _) | (_, None) => node.to_json(),
        (VariableKind::Bool, Some(_)) => node.to_json(),
        (_, Some(text)) => Value::from(text),
    };
    if let Some(text) = value.as_str()
        && !plain(r, node, text)
    {
        return None;
    }
    match variable.check(&value) {
        Ok(value) => Some(value),
        Err(why) => {
            r.error(node, format!("`default` of variable `{name}`: {why}"), variable.wanted());
            None
        }
    }
}

#[cfg(test)]
#[path = "variables_tests.rs"]
mod tests;
