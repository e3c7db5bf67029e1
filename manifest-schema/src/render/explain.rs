//! Mistakes of templates: the fact, its place, and what to write instead.

use super::{FUNCTIONS, NO_VALUE};
use crate::diagnostic::{nearest, shown};
use crate::limits::MAX_CALL_DEPTH;
use crate::{Diagnostic, limits};
use minijinja::ErrorKind;
use serde_json::{Map, Value};
use std::ops::Range;

/// The filters that a template can use.
pub(super) const FILTERS: [&str; 42] = [
    "abs",
    "attr",
    "batch",
    "bool",
    "chain",
    "default",
    "dictsort",
    "first",
    "float",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "lines",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "pprint",
    "reject",
    "replace",
    "reverse",
    "round",
    "select",
    "slice",
    "sort",
    "split",
    "string",
    "sum",
    "title",
    "tojson",
    "trim",
    "unique",
    "upper",
    "urlencode",
    "zip",
    "count",
];

pub(super) fn explain(
    file: &str,
    text: &str,
    values: &Map<String, Value>,
    error: &minijinja::Error,
) -> Diagnostic {
    let undefined_here = matches!(error.kind(), ErrorKind::UndefinedError);
    let whole = error.range().map(|range| whole(text, &range, undefined_here)..range.end);
    let operand = operand(text, error, whole.as_ref());
    let nothing_to_use = operand.is_some();
    let range = operand.or(whole);
    let expression = range.clone().and_then(|range| text.get(range)).unwrap_or_default();
    let detail = || {
        let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
        shown(&detail)
    };
    let (message, hint) = match error.kind() {
        ErrorKind::UndefinedError => undefined(expression, values),
        _ if nothing_to_use => undefined(expression, values),
        ErrorKind::InvalidOperation if error.detail() == Some(NO_VALUE) => {
            let shown = shown(expression);
            let hint =
                format!("write `{{% if {shown} is not none %}}` around it, or `{{{{ {shown} or '' }}}}`");
            (format!("`{shown}` {NO_VALUE}: it is `none` with these answers"), Some(hint))
        }
        ErrorKind::SyntaxError => (
            format!("not a valid template: {}", detail()),
            Some(
                "check that each `{{`, `{%`, `for` and `if` is closed; write literal braces as {{ '{{' }}"
                    .to_owned(),
            ),
        ),
        ErrorKind::OutOfFuel => (
            format!("the template takes more than {} steps", limits::TEMPLATE_FUEL),
            Some("look for a loop inside a loop, or a macro that calls itself".to_owned()),
        ),
        ErrorKind::WriteFailure => (
            format!("the template makes more than {} bytes", limits::MAX_RENDERED_BYTES),
            Some("look for a loop that repeats too often".to_owned()),
        ),
        ErrorKind::TemplateNotFound => (
            format!("the template is not there: {}", detail()),
            Some("create it, or correct the name: it begins in the folder of the manifest".to_owned()),
        ),
        ErrorKind::UnknownFilter => {
            let detail = detail();
            let name = detail.split_whitespace().nth(1).unwrap_or_default().to_owned();
            let hint = match nearest(&name, FILTERS) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("filters of templates: {}", FILTERS.join(", ")),
            };
            (detail, Some(hint))
        }
        ErrorKind::UnknownFunction | ErrorKind::UnknownTest => (detail(), Some(FUNCTIONS.to_owned())),
        ErrorKind::UnknownMethod => (detail(), Some(method(expression))),
        ErrorKind::InvalidOperation if error.detail().is_some_and(|detail| detail.contains("recursion limit")) => (
            format!("a macro or an `include` goes more than {MAX_CALL_DEPTH} deep"),
            Some("it calls or includes itself, perhaps by another one: delete that, or put an `if` around it".to_owned()),
        ),
        ErrorKind::InvalidOperation if error.detail().is_some_and(|detail| detail.contains("range has too many")) => (
            "the range has more than 100000 numbers".to_owned(),
            Some("check its ends; a loop over a list needs no range: `{% for entry in list %}`".to_owned()),
        ),
        kind => (
            format!("{kind}: {}", detail()),
            Some("check the kinds of the values: text, number and list do not mix; `| string` and `| int` turn one into the other".to_owned()),
        ),
    };
    let mut diagnostic = Diagnostic::new(file, message);
    if let Some(hint) = hint {
        diagnostic = diagnostic.hint(hint);
    }
    let Some(line) = error.line() else { return diagnostic };
    // An operand may stand on a later line than its operator.
    let line = match &range {
        Some(range) if nothing_to_use => {
            text.get(..range.start).map_or(line, |before| before.matches('\n').count() + 1)
        }
        _ => line,
    };
    diagnostic.at(text, line, column(text, line, range))
}

/// The place of an operand without a value, after others. The engine gives the place of the whole expression, or its
/// line, and the operand's name.
fn operand(text: &str, error: &minijinja::Error, whole: Option<&Range<usize>>) -> Option<Range<usize>> {
    let (before, _) = error.detail()?.split_once("` is undefined")?;
    let (_, name) = before.rsplit_once('`')?;
    let begin = match whole {
        Some(whole) => whole.start,
        None => match error.line()?.checked_sub(2) {
            Some(newline) => text.match_indices('\n').nth(newline)?.0,
            None => 0,
        },
    };
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.get(begin..whole.map_or(text.len(), |whole| whole.end))?
        .match_indices(name)
        .map(|(at, _)| begin + at..begin + at + name.len())
        .find(|at| {
            let ends = text.get(at.end..).is_some_and(|rest| !rest.starts_with(is_part));
            ends && text.get(..at.start).is_some_and(|before| !before.ends_with(is_part))
        })
        .filter(|at| at.start > begin)
}

/// Where an expression begins: the engine's place of `a.b.c` begins at `.c`, and that of an operand
/// (`after`), which goes through a filter, behind it.
fn whole(text: &str, range: &Range<usize>, after: bool) -> usize {
    let (mut begin, rest) = (range.start, text.get(range.start..).unwrap_or_default());
    let mut before = text.get(..begin).unwrap_or_default();
    if !rest.starts_with(['.', '[']) {
        let trimmed = before.trim_end();
        before = match trimmed.strip_suffix('|') {
            Some(owner) if after => owner.trim_end(),
            None if after && !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_') => trimmed,
            _ => return begin,
        };
    }
    let mut open = 0_usize;
    for (at, c) in before.char_indices().rev() {
        match c {
            ']' | ')' => open += 1,
            '[' | '(' if open > 0 => open -= 1,
            '\n' => break,
            _ if open > 0 || c.is_alphanumeric() || c == '_' || c == '.' => {}
            _ => break,
        }
        begin = at;
    }
    begin
}

/// The 1-based column where the error's expression begins, or 0.
fn column(text: &str, line: usize, range: Option<Range<usize>>) -> usize {
    let Some(before) = range.and_then(|range| text.get(..range.start)) else { return 0 };
    if before.matches('\n').count() + 1 != line {
        return 0;
    }
    before.rsplit('\n').next().map_or(0, |part| part.chars().count() + 1)
}

fn undefined(expression: &str, values: &Map<String, Value>) -> (String, Option<String>) {
    let name = path(expression);
    if name.is_empty() {
        return ("a value is undefined".to_owned(), None);
    }
    // The first part that is not there, and what it was looked for in.
    let parts: Vec<&str> = name.split('.').collect();
    let (mut known, mut parent) = (values, String::new());
    for (index, part) in parts.iter().enumerate() {
        match known.get(*part) {
            Some(Value::Object(inner)) => known = inner,
            Some(other) if index + 1 < parts.len() && !other.is_array() => {
                let hint =
                    format!("it is {} and has no parts: write `{{{{ {parent}{part} }}}}`", json_kind(other));
                return (format!("`{name}` is undefined"), Some(hint));
            }
            Some(_) => break,
            None if part.contains('[') => break,
            None => {
                if let Some(near) = nearest(part, known.keys().map(String::as_str)) {
                    return (
                        format!("`{name}` is undefined"),
                        Some(format!("did you mean `{parent}{near}`?")),
                    );
                }
                break;
            }
        }
        parent.push_str(part);
        parent.push('.');
    }
    let hint = format!("declare it under `variables`, or write `{{{{ {name} | default('') }}}}`");
    (format!("`{name}` is undefined"), Some(hint))
}

/// The name that an expression begins with: `plant.name`.
fn path(expression: &str) -> String {
    let mut open = 0_usize;
    let part = |c: &char| {
        match c {
            '[' => open += 1,
            ']' => open = open.saturating_sub(1),
            _ if open > 0 => return !c.is_control(),
            _ => return c.is_alphanumeric() || matches!(c, '_' | '.'),
        }
        true
    };
    let name: String = expression.chars().take_while(part).take(80).collect();
    name.trim_end_matches('.').to_owned()
}

const fn json_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "yes or no",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

/// The hint for `plant.lower()`.
fn method(expression: &str) -> String {
    let name = path(expression);
    match name.rsplit_once('.') {
        Some((owner, "append" | "extend" | "insert" | "update" | "pop")) => {
            format!("values do not change: write `{{% set {owner} = {owner} + [entry] %}}`")
        }
        Some((owner, "items")) => format!("write `{owner} | items`"),
        Some((owner, filter)) if FILTERS.contains(&filter) => format!("write `{{{{ {owner} | {filter} }}}}`"),
        Some((owner, "strip")) => format!("write `{{{{ {owner} | trim }}}}`"),
        Some((_, other)) => match nearest(other, FILTERS) {
            Some(near) => format!("values have no methods; did you mean the filter `{near}`?"),
            None => format!("values have no methods; filters of templates: {}", FILTERS.join(", ")),
        },
        None => FUNCTIONS.to_owned(),
    }
}
