//! Checks an answer against its variable, and finds the words for what fits.
//!
//! Invariants: a value that reaches a template has the variable's kind and matches its pattern; no message repeats a
//! secret.

use super::{Variable, VariableKind};
use crate::diagnostic::shown;
use crate::yaml;
use regex_lite::Regex;
use serde_json::Value;

impl Variable {
    /// The value in this variable's kind. Text is taken for every kind, since a prompt and a command line
    /// give nothing else: `8080` for a port, `a,b` or `[a, b]` for a list, `{ a: b }` for a map.
    ///
    /// # Errors
    /// Why the value does not fit; a secret is not repeated.
    pub fn check(&self, value: &Value) -> Result<Value, String> {
        let value = self.of_kind(value)?;
        let (size, what) = match &value {
            Value::Number(number) => (number.as_i64().unwrap_or_default(), ""),
            Value::String(text) => (i64::try_from(text.chars().count()).unwrap_or(i64::MAX), " characters"),
            Value::Array(items) => (i64::try_from(items.len()).unwrap_or(i64::MAX), " entries"),
            Value::Object(entries) => (i64::try_from(entries.len()).unwrap_or(i64::MAX), " entries"),
            _ => return Ok(value),
        };
        let found = if what.is_empty() { "found" } else { "has" };
        match (self.min, self.max) {
            (Some(min), _) if size < min => {
                Err(format!("at least {} asked for, {found} {size}", counted(min, what, "is", "are")))
            }
            (_, Some(max)) if size > max => {
                Err(format!("at most {} allowed, {found} {size}", counted(max, what, "is", "are")))
            }
            _ => Ok(value),
        }
    }

    /// A question for people: `prompt`, else `help`, else nothing.
    #[must_use]
    pub fn question(&self) -> Option<&str> {
        self.prompt.as_deref().or(self.help.as_deref())
    }

    /// The expected value in a few words: `port`, `one of north, south`, `string, matching ^[A-Z]+$`,
    /// `list, separated by commas, at least 2 entries`.
    #[must_use]
    pub fn expected(&self) -> String {
        let kind = match self.kind {
            VariableKind::Choice => format!("one of {}", self.choices.join(", ")),
            VariableKind::Bool => "yes or no".to_owned(),
            VariableKind::List => "list, separated by commas".to_owned(),
            kind => kind.word().to_owned(),
        };
        self.within(&kind)
    }

    /// The answer in words that can be acted on: `a port, 1 to 65535`, `one of north, south`,
    /// `text, matching ^[A-Z]+$, at least 8 characters`.
    #[must_use]
    pub fn wanted(&self) -> String {
        let what = match self.kind {
            VariableKind::Choice => return format!("one of {}", self.choices.join(", ")),
            VariableKind::String => "text",
            VariableKind::Secret => "text that stays hidden",
            VariableKind::Int => "a whole number",
            VariableKind::Bool => "yes or no",
            VariableKind::List => "a list: values with commas between them, or `[a, b]`",
            VariableKind::Map => "a map: `{ a: b }`, or one `key: value` a line in a values file",
            VariableKind::Path => "a path on this host that begins with `/`",
            VariableKind::Address => "an IP address or a host name, without port and `http://`",
            VariableKind::Port if self.min.is_none() && self.max.is_none() => "a port, 1 to 65535",
            VariableKind::Port => "a port",
        };
        self.within(what)
    }

    /// `what` with pattern and range.
    fn within(&self, what: &str) -> String {
        let pattern = self.pattern.as_ref().map(|p| format!(", matching {p}")).unwrap_or_default();
        let unit = match self.kind {
            VariableKind::List | VariableKind::Map => " entries",
            kind if kind.is_text() => " characters",
            _ => "",
        };
        let range = match (self.min, self.max) {
            (Some(min), Some(max)) if min == max => format!(", {}", counted(min, unit, "", "").trim_end()),
            (Some(min), Some(max)) => format!(", {min} to {}", counted(max, unit, "", "").trim_end()),
            (Some(min), None) => format!(", at least {}", counted(min, unit, "", "").trim_end()),
            (None, Some(max)) => format!(", at most {}", counted(max, unit, "", "").trim_end()),
            (None, None) => String::new(),
        };
        format!("{what}{pattern}{range}")
    }

    fn of_kind(&self, value: &Value) -> Result<Value, String> {
        let text = match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(value) => Some(value.to_string()),
            _ => None,
        };
        let found = || match (&text, self.kind) {
            (Some(text), kind) if kind != VariableKind::Secret => format!("`{}`", shown(text)),
            (Some(_), _) => "the given value".to_owned(),
            (None, _) => json_kind(value).to_owned(),
        };
        let text = match (self.kind, text.clone()) {
            (VariableKind::List, text) => return list(value, text.as_deref()),
            (VariableKind::Map, text) => return map(value, text.as_deref()),
            (kind, None) => return Err(format!("expected {}, found {}", kind.noun(), found())),
            (_, Some(text)) => text,
        };
        let expected = |what: &str| Err(format!("expected {what}, found {}", found()));
        if matches!(self.kind, VariableKind::Int | VariableKind::Port) && yaml::leading_zero(text.trim()) {
            let text = text.trim();
            let digits = text.trim_start_matches(['+', '-']).trim_start_matches('0');
            let digits = if digits.is_empty() { "0" } else { digits };
            let octal = yaml::int(text).map(|octal| format!(", or {octal} where it was meant in octal"));
            return Err(format!(
                "`{}` has a leading zero: write {digits}{}",
                shown(text),
                octal.filter(|_| self.kind == VariableKind::Int).unwrap_or_default()
            ));
        }
        match self.kind {
            VariableKind::Int => match whole_number(text.trim()) {
                Some(number) => Ok(Value::from(number)),
                None => expected("a whole number"),
            },
            VariableKind::Port => match whole_number(text.trim()).and_then(|port| u16::try_from(port).ok()) {
                Some(port) if port > 0 => Ok(Value::from(port)),
                _ => expected("a port between 1 and 65535"),
            },
            VariableKind::Bool => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "yes" | "y" => Ok(Value::Bool(true)),
                "false" | "no" | "n" => Ok(Value::Bool(false)),
                _ => expected("yes or no"),
            },
            VariableKind::Choice if !self.choices.contains(&text) => {
                expected(&format!("one of {}", self.choices.join(", ")))
            }
            VariableKind::Path if !is_absolute(&text) => expected("an absolute path without `..`"),
            VariableKind::Address if !is_address(&text) => expected("an IP address or a host name"),
            _ => match &self.pattern {
                Some(pattern) if !Regex::new(pattern).is_ok_and(|regex| regex.is_match(&text)) => {
                    Err(format!("{} does not match the pattern {pattern}", found()))
                }
                _ => Ok(Value::String(text)),
            },
        }
    }
}

/// `-12`, or `0x1f` and `0o17`.
fn whole_number(text: &str) -> Option<i64> {
    text.parse().ok().or_else(|| yaml::int(text))
}

/// `1 entry is`, `2 entries are`.
fn counted(count: i64, unit: &str, one: &str, more: &str) -> String {
    let unit = match (count, unit) {
        (1, " entries") => " entry",
        (1, " characters") => " character",
        _ => unit,
    };
    format!("{count}{unit} {}", if count == 1 { one } else { more })
}

/// A list, or text: `a, b`, and `[a, b]` as YAML has it.
fn list(value: &Value, text: Option<&str>) -> Result<Value, String> {
    let items = match (value, text) {
        (Value::Array(items), _) => items.clone(),
        (_, Some(text)) if flow(text, '[', ']') => match from_flow(text)? {
            Value::Array(items) => items,
            other => return Err(format!("expected a list, found {}", json_kind(&other))),
        },
        (_, Some(text)) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            items.map(Value::from).collect()
        }
        _ => return Err(format!("expected a list, found {}", json_kind(value))),
    };
    match items.iter().position(|item| item.is_array() || item.is_null()) {
        Some(at) => {
            let found = items.get(at).map_or("nothing", json_kind);
            Err(format!("entry {} is {found}: each is one value or a map", at + 1))
        }
        None => Ok(Value::Array(items)),
    }
}

/// A map, or text: `{ a: b }`.
fn map(value: &Value, text: Option<&str>) -> Result<Value, String> {
    let value = match text {
        Some(text) if flow(text, '{', '}') => from_flow(text)?,
        _ => value.clone(),
    };
    if value.is_object() { Ok(value) } else { Err(format!("expected a map, found {}", json_kind(&value))) }
}

/// True where the text is meant as YAML between these brackets.
fn flow(text: &str, open: char, close: char) -> bool {
    let text = text.trim();
    text.starts_with(open) && text.ends_with(close)
}

fn from_flow(text: &str) -> Result<Value, String> {
    let node = yaml::parse("", text.trim()).map_err(|mistake| {
        let hint = mistake.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
        format!("`{}` is {}{hint}", shown(text), mistake.message)
    })?;
    Ok(node.to_json())
}

const fn json_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

fn is_absolute(text: &str) -> bool {
    text.starts_with('/') && !text.chars().any(char::is_control) && text.split('/').all(|part| part != "..")
}

/// An IP address or a host name (RFC 1123, section 2.1).
fn is_address(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    text.parse::<std::net::IpAddr>().is_ok()
        || (text.len() <= 253
            && text.strip_suffix('.').unwrap_or(text).split('.').all(label)
            && text.bytes().any(|b| b.is_ascii_alphabetic()))
}
