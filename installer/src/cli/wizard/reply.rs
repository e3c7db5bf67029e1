//! The meaning of a typed line as an answer to a variable, and how values are shown.

use ferry_terminal::human;
use manifest_schema::manifest::{Variable, VariableKind};
use serde_json::Value;

/// Why nobody is asked for a map.
pub(super) const MAP: &str = "a map cannot be typed at a prompt";

/// A typed line, understood.
#[derive(Debug, PartialEq)]
pub(super) enum Reply {
    /// To the question before.
    Back,
    /// The person asks for an explanation.
    Help,
    /// Only Enter.
    Nothing,
    /// An answer that fits.
    Answer(Value),
    /// One that does not: why.
    Wrong(String),
}

/// Understands `line` as a reply to the question about `variable`. `back` goes back only where it cannot
/// be meant as an answer; `<` and `?` can be given with `--set` where they are one.
pub(super) fn of(variable: &Variable, line: &str) -> Reply {
    // Spaces at the ends of a password are part of it.
    let text = if variable.kind == VariableKind::Secret { line } else { line.trim() };
    let value = Value::from(text);
    match text {
        "" => return Reply::Nothing,
        "<" => return Reply::Back,
        "?" => return Reply::Help,
        "back" if variable.kind == VariableKind::Map || variable.check(&value).is_err() => {
            return Reply::Back;
        }
        _ => {}
    }
    // There is no line editing here, and in a file such a character would be found much later.
    if text.chars().any(char::is_control) {
        let why =
            "that contains a control character, such as arrow keys type: correct the line with Backspace";
        return Reply::Wrong(why.to_owned());
    }
    if variable.kind == VariableKind::Map {
        let why = format!("{MAP}: < goes back; or stop with Ctrl-C and give it with --values FILE");
        return Reply::Wrong(why);
    }
    match variable.check(&value) {
        Ok(value) => Reply::Answer(value),
        // A choice may be named like a number: the name comes first.
        Err(why) => numbered(variable, text).map_or(Reply::Wrong(why), Reply::Answer),
    }
}

fn numbered(variable: &Variable, text: &str) -> Option<Value> {
    let index = text.parse::<usize>().ok()?.checked_sub(1)?;
    variable.choices.get(index).map(|choice| Value::from(choice.as_str()))
}

/// Enter is an answer where there is no default: an empty list that is long enough.
pub(super) fn may_be_none(variable: &Variable) -> bool {
    variable.kind == VariableKind::List && variable.check(&Value::from("")).is_ok()
}

/// A value as a person may see it.
pub(super) fn shown(variable: &Variable, value: &Value) -> String {
    if variable.kind == VariableKind::Secret {
        return "••••".to_owned();
    }
    match text(value) {
        text if text.is_empty() && value.is_array() => "none".to_owned(),
        text if text.is_empty() => "empty".to_owned(),
        text => human::printable(&text),
    }
}

/// A value as it would be typed; JSON where that cannot be.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(items) if items.iter().all(|item| !item.is_array() && !item.is_object()) => {
            items.iter().map(text).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

/// Text of a bundle as one line that steers nothing: a prompt may be written over several.
pub(super) fn one_line(text: &str) -> String {
    human::printable(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}
