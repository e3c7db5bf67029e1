//! Jinja templates, rendered the same way everywhere and every time.
//!
//! Why: a template is tried while building, with sample values, and rendered on site, with the
//! site's. What must stay true: the result depends on the text and the values alone. A template has
//! no clock, no randomness, no environment; `include`, `import` and `extends` find only templates below
//! the root folder, by names that stand in the template itself, so that it is known before what a bundle
//! has to carry; an undefined name is a mistake, not an empty text; an endless loop, endless output and a value
//! that doubles in each round end in bounded memory ([`bounds`]). The language is that of minijinja, a subset of
//! Jinja 2.

mod bounds;
mod included;
mod rewrite;

use crate::yaml::{nearest, shown};
use crate::{Diagnostic, Diagnostics, limits};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use rewrite::Rewritten;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;

/// Depth of macro calls; each takes some kilobytes of the machine's stack.
const RECURSION_LIMIT: usize = 100;

/// Operators in one expression: enough for a hundred values joined by hand, and the engine's parser
/// stays within the 2 MiB of stack that a thread has.
const MAX_CHAIN: usize = 500;

/// What a template can call.
const FUNCTIONS: &str =
    "templates have minijinja's own filters, functions and tests, without files, clock and environment";

/// The filters that a template can use.
const FILTERS: [&str; 42] = [
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

/// What messages put after the name of a template whose output they speak of.
pub(crate) const RENDERED: &str = " (rendered)";

/// What is said of an expression that is `none`.
const NO_VALUE: &str = "has no value";

/// A template with the templates that it includes, imports or extends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// What messages call it.
    file: String,
    /// Its path from the root folder.
    name: String,
    text: String,
    included: BTreeMap<String, String>,
}

impl Template {
    /// Reads the template at `name`, a path from the root folder, and with `load` those that it names.
    /// `file` names it in messages. Names that begin with `./` or `../` begin in the folder of the template
    /// that has them, all others in the root folder.
    ///
    /// # Errors
    /// When it is too large, or names a template that is not there, or one that is only known on site.
    pub fn read(
        file: &str,
        name: &str,
        text: &str,
        load: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Diagnostics> {
        let included = included::collect(file, name, text, load)?;
        Ok(Self { file: file.to_owned(), name: name.to_owned(), text: text.to_owned(), included })
    }

    /// The paths of the templates that it needs, from the root folder.
    pub fn included(&self) -> impl Iterator<Item = &str> {
        self.included.keys().map(String::as_str)
    }

    /// Renders it with `values`. A key with dots, `ferry.name`, is reached by them. The last newline is kept.
    ///
    /// # Errors
    /// Every name that is not known, with its line and the nearest known one; else the first mistake.
    pub fn render(&self, values: &BTreeMap<String, Value>) -> Result<String, Diagnostics> {
        let file = self.file.as_str();
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        let meter = bounds::Meter::default();
        meter.install(&mut environment);
        environment.set_formatter(move |output, state, value| {
            if value.is_none() {
                // A file with the word `none` in it would be found out on site.
                return Err(minijinja::Error::new(ErrorKind::InvalidOperation, NO_VALUE));
            }
            meter.write(value)?;
            minijinja::escape_formatter(output, state, value)
        });
        let syntax = syntax().map_err(|error| Diagnostic::new(file, error.to_string()))?;
        environment.set_syntax(syntax.clone());
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_fuel(Some(limits::TEMPLATE_FUEL));
        environment.set_recursion_limit(RECURSION_LIMIT);
        environment.set_path_join_callback(|name, parent| Cow::Owned(included::resolve(parent, name)));
        // Positions of expressions are only kept in debug mode.
        environment.set_debug(true);
        // It would print every value, secrets too.
        environment.remove_global("debug");
        let values = nested(values);
        let rewritten: BTreeMap<&str, Rewritten> = (self.included.iter().chain([(&self.name, &self.text)]))
            .map(|(name, text)| (name.as_str(), rewrite::template(text, syntax.clone())))
            .collect();
        let explain = |error: &minijinja::Error| {
            let cause = innermost(error);
            let inside = cause.name().and_then(|name| Some((name, self.included.get(name)?)));
            let range = |name: &str| {
                let (range, rewritten) = (cause.range()?, rewritten.get(name)?);
                Some(rewritten.original(range.start)..rewritten.original(range.end))
            };
            match inside {
                Some((name, text)) => {
                    explain(&included::shown(file, &self.name, name), text, &values, cause, range(name))
                }
                None => explain(file, &self.text, &values, cause, range(&self.name)),
            }
        };
        for (name, text) in &rewritten {
            environment.add_template(name, &text.text).map_err(|error| explain(&error))?;
        }
        let template = environment.get_template(&self.name).map_err(|error| explain(&error))?;
        let unknown = template.undeclared_variables(false);
        included::check_names(file, &self.text, &unknown, &values)?;
        let mut output = Bounded(Vec::new());
        template
            .render_captured_to(minijinja::value::Serde(&values), &mut output)
            .map_err(|error| explain(&error))?;
        String::from_utf8(output.0)
            .map_err(|_| Diagnostic::new(file, "the template makes text that is not UTF-8").into())
    }
}

/// Renders a template that includes no other.
///
/// # Errors
/// As [`Template::read`] and [`Template::render`].
pub fn render(file: &str, text: &str, values: &BTreeMap<String, Value>) -> Result<String, Diagnostics> {
    Template::read(file, file, text, &|_| None)?.render(values)
}

/// Whether an expression holds, as in `{% if … %}`.
///
/// # Errors
/// Why it cannot be evaluated.
pub fn holds(expression: &str, values: &BTreeMap<String, Value>) -> Result<bool, String> {
    let mut environment = Environment::new();
    bounds::Meter::default().install(&mut environment);
    environment.set_fuel(Some(limits::TEMPLATE_FUEL));
    let expression = bounded(expression)?;
    let compiled = environment.compile_expression(&expression).map_err(|error| shown(&error.to_string()))?;
    let values = nested(values);
    let value = compiled.eval(minijinja::value::Serde(&values)).map_err(|error| shown(&error.to_string()))?;
    Ok(value.is_true())
}

/// The variables that an expression uses.
///
/// # Errors
/// When it is not an expression.
pub fn names_in(expression: &str) -> Result<BTreeSet<String>, String> {
    let environment = Environment::new();
    let expression = bounded(expression)?;
    let compiled = environment.compile_expression(&expression).map_err(|error| shown(&error.to_string()))?;
    Ok(compiled.undeclared_variables(false).into_iter().collect())
}

/// An expression as the engine gets it.
fn bounded(expression: &str) -> Result<String, String> {
    included::check_chains(&format!("{{{{ {expression} }}}}"))?;
    let syntax = syntax().map_err(|error| error.to_string())?;
    Ok(rewrite::expression(expression, syntax).text)
}

fn syntax() -> Result<SyntaxConfig, minijinja::Error> {
    SyntaxConfig::builder().keep_trailing_newline(true).build()
}

/// An error in an included template is the cause of one in the template that includes it.
fn innermost(error: &minijinja::Error) -> &minijinja::Error {
    let mut innermost = error;
    while let Some(cause) =
        std::error::Error::source(innermost).and_then(|cause| cause.downcast_ref::<minijinja::Error>())
    {
        innermost = cause;
    }
    innermost
}

/// Whether a file is a Jinja template: its name says so.
#[must_use]
pub fn is_template(name: &str) -> bool {
    std::path::Path::new(name).extension().is_some_and(|extension| {
        ["j2", "jinja", "jinja2"].iter().any(|known| extension.eq_ignore_ascii_case(known))
    })
}

/// `{"ferry.name": …}` as `{"ferry": {"name": …}}`.
fn nested(values: &BTreeMap<String, Value>) -> Map<String, Value> {
    let mut root = Map::new();
    for (key, value) in values {
        match key.split_once('.') {
            Some((outer, inner)) => {
                let outer = root.entry(outer).or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(outer) = outer {
                    outer.insert(inner.to_owned(), value.clone());
                }
            }
            None => {
                root.insert(key.clone(), value.clone());
            }
        }
    }
    root
}

/// Output that ends at the limit.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > limits::MAX_RENDERED_BYTES {
            return Err(io::Error::other("too large"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `range` is where the error lies in `text`.
fn explain(
    file: &str,
    text: &str,
    values: &Map<String, Value>,
    error: &minijinja::Error,
    range: Option<Range<usize>>,
) -> Diagnostic {
    let undefined_here = matches!(error.kind(), ErrorKind::UndefinedError);
    let range = range.map(|range| whole(text, &range, undefined_here)..range.end);
    let expression = range.clone().and_then(|range| text.get(range)).unwrap_or_default();
    let detail = || {
        let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
        shown(&detail)
    };
    let (message, hint) = match error.kind() {
        ErrorKind::UndefinedError => undefined(expression, values),
        ErrorKind::InvalidOperation if error.detail() == Some(NO_VALUE) => {
            let shown = shown(expression);
            let hint =
                format!("write `{{% if {shown} is not none %}}` around it, or `{{{{ {shown} or '' }}}}`");
            (format!("`{shown}` {NO_VALUE}: it is `none` with these answers"), Some(hint))
        }
        ErrorKind::InvalidOperation
            if error.detail().is_some_and(|detail| {
                [bounds::TOO_LARGE, bounds::TOO_MUCH, bounds::TOO_DEEP].contains(&detail)
            }) =>
        {
            let hint = "look for a loop in which a value doubles, or a number that is too large; what is long is best \
                        written piece by piece, and not gathered in a variable";
            (error.detail().unwrap_or_default().to_owned(), Some(hint.to_owned()))
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
            format!("a macro or an `include` goes more than {RECURSION_LIMIT} deep"),
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
    diagnostic.at(text, line, column(text, line, range))
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

/// What to write instead of `plant.lower()`.
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn values() -> BTreeMap<String, Value> {
        let pairs = [
            ("plant_name", json!("ABC-1")),
            ("cameras", json!([{"name": "gate"}, {"name": "roof"}])),
            ("tls", json!(true)),
            ("unasked", json!(null)),
            ("ferry.name", json!("plant")),
            ("ferry.version", json!("2.4.0")),
        ];
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    fn refused(text: &str) -> String {
        let done = render("t.j2", text, &values());
        done.expect_err(&format!("it must be refused: {text:.300}")).to_string()
    }

    #[test]
    fn loops_conditions_macros_and_the_last_newline() {
        let text = "{% macro cam(c) %}cam-{{ c.name }}{% endmacro -%}\n# {{ ferry.name }} {{ ferry['version'] }}\n\
                    {% for c in cameras %}{{ cam(c) }}{% if not loop.last %},{% endif %}{% endfor %}\n\
                    {% if tls %}<{{ plant_name | lower }}>{% endif %} {{ cameras | tojson }}\n";
        assert_eq!(
            render("t.j2", text, &values()).unwrap(),
            "# plant 2.4.0\ncam-gate,cam-roof\n<abc-1> [{\"name\": \"gate\"}, {\"name\": \"roof\"}]\n"
        );
        assert_eq!(render("t.html", "{{ '<' }}", &values()).unwrap(), "<");
        let unasked = "{{ unasked or 'no' }}{% if unasked %}{{ unasked }}{% endif %}{{ unasked is none }}";
        assert_eq!(render("t.j2", unasked, &values()).unwrap(), "noTrue");
        for filter in FILTERS {
            let error = render("t.j2", &format!("{{{{ 1 | {filter} }}}}"), &values());
            let text = error.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(!text.contains("is unknown"), "{filter}: {text}");
        }
    }

    #[test]
    fn an_undefined_name_shows_its_place_and_the_nearest_name() {
        assert_eq!(
            refused("a\n  {{ plant_nam }}\n"),
            "t.j2:2:6: `plant_nam` is undefined\n  2 |   {{ plant_nam }}\n    |      ^\n  hint: did you mean `plant_name`?"
        );
        assert_eq!(
            refused("{{ ferry.nane }}"),
            "t.j2:1:4: `ferry.nane` is undefined\n  1 | {{ ferry.nane }}\n    |    ^\n  hint: did you mean `ferry.name`?"
        );
        assert!(refused("{{ zebra }}").contains("declare it under `variables`"));
        assert!(refused("{% for c in camras %}{% endfor %}").contains("did you mean `cameras`?"));
        assert!(refused("{% if tsl %}{% endif %}").contains("did you mean `tls`?"));
    }

    #[test]
    fn mistakes_have_a_line_and_a_hint() {
        for (text, part) in [
            ("a\n{{ x", "t.j2:2"),
            ("{% for c in cameras %}", "not a valid template"),
            ("{{ 1 | nope }}", "filter"),
            ("{{ now() }}", "`now` is not a function of templates"),
            ("{{ debug() }}", "`debug` is not a function"),
            ("{% if false %}{{ nope }}{% endif %}", "`nope` is undefined"),
            ("{% include '/etc/passwd' %}", "is not below the folder of the manifest"),
            ("{% include 'gone.j2' %}", "`gone.j2`, which does not exist"),
            ("{% include plant_name %}", "is only known on site"),
            ("{{ plant_name + 1 }}", "invalid operation"),
            ("\n {{ unasked }}", "t.j2:2:5: `unasked` has no value: it is `none` with these answers"),
        ] {
            assert!(refused(text).contains(part), "{text}: {}", refused(text));
        }
    }

    #[test]
    fn hints_name_the_whole_expression() {
        for (text, message, hint) in [
            (
                "{{ plant_name.x.y }}",
                "t.j2:1:4: `plant_name.x.y` is undefined",
                "it is a text and has no parts: write `{{ plant_name }}`",
            ),
            ("{{ ferry.nane.x }}", "`ferry.nane.x` is undefined", "did you mean `ferry.name`?"),
            ("{{ cameras[0].nam.x }}", "`cameras[0].nam.x` is undefined", "declare it"),
            ("{{ plant_name.lower() }}", "no method named lower", "write `{{ plant_name | lower }}`"),
            (
                "{% do cameras.append(1) %}",
                "no method named append",
                "values do not change: write `{% set cameras = cameras + [entry] %}`",
            ),
            ("{{ plant_name.frobnicate() }}", "no method", "values have no methods"),
            (
                "{% for i in range(200000) %}{% endfor %}",
                "the range has more than 100000 numbers",
                "check its ends",
            ),
            ("{{ plant_name + 1 }}", "invalid operation", "check the kinds"),
        ] {
            let error = refused(text);
            assert!(error.contains(message) && error.contains(&format!("hint: {hint}")), "{text}: {error}");
        }
    }

    #[test]
    fn names_that_a_template_asks_about_may_be_unknown() {
        let text = "{% if zebra is defined %}{{ zebra }}{% endif %}{{ zebra | default('none') }}{{ {'zebra': 1}.zebra }}";
        assert_eq!(render("t.j2", "{% if zebra is not defined %}x{% endif %}", &values()).unwrap(), "x");
        assert_eq!(render("t.j2", text, &values()).unwrap(), "none1");
        let all = refused("{{ zebra }}\n{{ plant_nam }} {{ zebra }}\n");
        assert_eq!(all.matches("is undefined").count(), 2, "{all}");
    }

    #[test]
    fn templates_include_others() {
        let files = BTreeMap::from([
            ("macros/cam.j2", "{% macro cam(c) %}{% include './dot.j2' %}{{ c.name }}{% endmacro %}"),
            ("macros/dot.j2", "*"),
            ("base.j2", "<{% block body %}{% endblock %}>"),
            ("loop.j2", "{% include 'loop.j2' %}"),
            ("bad.j2", "one\n{{ nope }}"),
        ]);
        let load = |path: &str| files.get(path).map(|text| (*text).to_owned());
        let read = |text: &str| Template::read("site/t/main.j2", "t/main.j2", text, &load);
        let text = "{% extends 'base.j2' %}{% from \"../macros/cam.j2\" import cam %}{% block body %}{{ cam(cameras[0]) }}{% endblock %}";
        let template = read(text).unwrap();
        assert_eq!(template.included().collect::<Vec<_>>(), ["base.j2", "macros/cam.j2", "macros/dot.j2"]);
        assert_eq!(template.render(&values()).unwrap(), "<*gate>");
        let error = read("{% include 'bad.j2' %}").unwrap().render(&values()).unwrap_err().to_string();
        assert!(error.starts_with("site/bad.j2:2:4: `nope` is undefined\n  2 | {{ nope }}"), "{error}");
        let error = read("{% include 'loop.j2' %}").unwrap().render(&values()).unwrap_err().to_string();
        assert!(
            error.contains("goes more than 100 deep\n")
                && error.contains("hint: it calls or includes itself"),
            "{error}"
        );
        let error = read("a\n{% include '../../x.j2' %}").unwrap_err().to_string();
        assert!(error.contains("site/t/main.j2:2:4: this names `../../x.j2`, which is not below"), "{error}");
        assert!(
            read("{% include ['a.j2', 'b.j2'] %}").unwrap_err().to_string().contains("only known on site")
        );
    }

    #[test]
    fn endless_work_ends() {
        let fuel = "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}";
        assert!(refused(fuel).contains("more than 5000000 steps"), "{}", refused(fuel));
        let output = "{% for a in range(30000) %}{{ 'x' * 1000 }}{% endfor %}";
        assert!(refused(output).contains("more than 16777216 bytes"), "{}", refused(output));
        let recursion = "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}";
        assert!(refused(recursion).contains("goes more than 100 deep"), "{}", refused(recursion));
        assert!(refused("{{ 'x' * 100000000000 }}").contains("too large"));
        for part in
            ["(", "-", "not ", "1+", "1~", "a.", "[", "{1:", "1 if 1 else ", "1**", "{{ (", "{% if 1 %}"]
        {
            assert!(refused(&format!("{{{{ {}", part.repeat(50_000))).contains("t.j2"), "{part}");
        }
        let last = ".a|e()[0] is f".repeat(50_000);
        assert!(refused(&format!("{{{{ a{last} }}}}")).contains("more than 500 operators"));
        let elif = "{% elif 1 %}".repeat(50_000);
        assert!(refused(&format!("{{% if 0 %}}{elif}{{% endif %}}")).contains("as many `elif`"));
        assert!(refused(&format!("{{{{ nope }}}}{}{{{{ (", "{{ 1 }}\n".repeat(70_000))).contains("t.j2"));
    }

    #[test]
    fn values_that_grow_end() {
        let long = "xxxxxxxxxxxxxxxx";
        let doubled = |what: &str| {
            format!(
                "{{% set ns = namespace(a={what}, l=['x']) %}}{{% for i in range(60) %}}{{% set ns.a = DO %}}{{% endfor %}}"
            )
        };
        let text = doubled(&format!("'{long}'"));
        for (text, part) in [
            (text.replace("DO", "ns.a ~ ns.a"), "16 MiB"),
            (text.replace("DO", "ns.a + ns.a"), "16 MiB"),
            (text.replace("DO", "ns.a * 10"), "16 MiB"),
            (text.replace("DO", "10 * ns.a"), "16 MiB"),
            (text.replace("DO", "'%s%s'|format(ns.a, ns.a)"), "16 MiB"),
            (text.replace("DO", "[ns.a, ns.a]|join"), "16 MiB"),
            (text.replace("DO", "ns.a|replace('x', 'xx')"), "16 MiB"),
            (text.replace("DO", "(ns.a, ns.a)|string"), "16 MiB"),
            (text.replace("DO", "ns.a|tojson ~ ns.a"), "16 MiB"),
            (doubled("['x']").replace("DO", "ns.a + ns.a"), "16 MiB"),
            (doubled("['x']").replace("DO", "ns.a * 10"), "16 MiB"),
            (doubled("('x', 'y')").replace("DO", "ns.a + ns.a"), "16 MiB"),
            (doubled("['x']").replace("DO", "[ns.a, ns.a]") + "{{ ns.a }}", "16 MiB"),
            (doubled("['x']").replace("DO", "[ns.a, ns.a]") + "{{ ns.a|tojson }}", "16 MiB"),
            (doubled("['x']").replace("DO", "[ns.a]").replace("60", "50000") + "{{ ns.a }}", "100 deep"),
            (
                "{% set ns = namespace(l=[]) %}{% set s = 'x' * 1000000 %}{% for i in range(10000) %}\
                 {% set ns.l = [ns.l, s[1:]] %}{% endfor %}".to_owned(),
                "128 MiB in all",
            ),
            (
                "{% set ns = namespace(a='x') %}{% for i in range(60) %}{% set b %}{{ ns.a }}{{ ns.a }}{% endset %}\
                 {% set ns.a = b %}{% endfor %}".to_owned(),
                "16 MiB",
            ),
            (
                format!(
                    "{{% macro m() %}}{}{{% endmacro %}}{{% set ns = namespace(l=[]) %}}{{% for i in range(90000) %}}\
                     {{% set ns.l = [ns.l, m()] %}}{{% endfor %}}",
                    "raw ".repeat(10_000)
                ),
                "128 MiB in all",
            ),
            (
                format!(
                    "{{% set a %}}{{% for i in range(90000) %}}{{% raw %}}{}{{% endraw %}}{{% endfor %}}{{% endset %}}",
                    "{{ ".repeat(10_000)
                ),
                "128 MiB in all",
            ),
            (format!("{{{{ 'x'{} }}}}", "|replace('x', 'xxxxxxxxxxxxxxxx')".repeat(12)), "16 MiB"),
            ("{{ 'x'|indent(9000000000) }}".to_owned(), "16 MiB"),
            ("{{ 'x'|indent(width=9000000000) }}".to_owned(), "16 MiB"),
            ("{{ '%999999999d'|format(1) }}".to_owned(), "16 MiB"),
            ("{{ '%*d'|format(999999999, 1) }}".to_owned(), "16 MiB"),
            ("{{ [1]|batch(999999999, 0) }}".to_owned(), "16 MiB"),
            ("{{ [1]|slice(999999999) }}".to_owned(), "16 MiB"),
            ("{{ [[1]]|tojson(indent=999999999) }}".to_owned(), "16 MiB"),
            ("{{ range(100000)|join('x' * 1000) }}".to_owned(), "16 MiB"),
            ("{{ range(100000)|map('replace', '', 'x' * 1000)|list }}".to_owned(), "MiB"),
            (format!("{{{{ 1{} }}}}", " ~ ('x' * 10000000)".repeat(12)), "16 MiB"),
            ("{{ dict(a='x' * 16000000, b='y' * 16000000)|length }}".to_owned(), "16 MiB"),
        ] {
            let refused = refused(&text);
            assert!(refused.contains(part) && refused.contains("hint: look for a loop"), "{text:.200}: {refused:.500}");
            assert!(refused.starts_with("t.j2:1:"), "{refused:.300}");
        }
        let when = "('x'*1000000)|replace('x','y'*100000)|length > 1";
        assert!(holds(when, &values()).unwrap_err().contains("more than 16 MiB"));
        assert!(holds("('x'*100000000)|length > 1", &values()).unwrap_err().contains("more than 16 MiB"));
    }

    #[test]
    fn what_is_bounded_means_what_it_meant() {
        let template = |text: &str| {
            let mut plain = Environment::new();
            plain.set_undefined_behavior(UndefinedBehavior::Strict);
            plain.set_syntax(syntax().unwrap());
            plain.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
            plain.render_str(text, minijinja::value::Serde(&nested(&values()))).map_err(|_| ())
        };
        let raw = "long raw text of more than sixty-four bytes, with { and {{ '{{' }} in it: {% raw %}{{ this stays as it is, however long it may be, all of it, {% endraw %} ";
        for text in [
            "{{ 1 ~ 2 ~ 3 + 4 }}",
            "{{ 1 + 2 * 3 - 4 + 5 ~ 'x' }}",
            "{{ (1 + 2) * 3 ~ ((4) ~ (5)) }}",
            "{{ 'a' ~ 'b'|upper ~ ('c' ~ 'd')|upper }}",
            "{{ -1 + 2 * -3 }}{{ 2 ** 3 * 2 }}{{ 'ab' * 2 * 2 }}{{ 2 * [1, 2] }}",
            "{{ [1] + [2] + cameras }}{{ (1, 2) + (3,) }}",
            "{{ 'abcdef'[1:4] }}{{ cameras[0:1][0].name[1:][:2] ~ 'x'[0:] }}",
            "{{ 1 + 2 if 3 + 4 > 5 else 6 ~ 7 }}{{ 'a' ~ 'b' == 'ab' and not 1 + 1 == 3 }}",
            "{{ {'a' ~ 'b': 1 + 2}['a' ~ 'b'] }}{{ 'x' ~ [1, 'a'] ~ {'b': none} ~ true ~ none ~ 1.0 }}",
            "{% set x = 'a' ~\n 'b' %}{{ x }}{% for c in cameras + cameras if c.name ~ 'x' %}{{ loop.index + 1 }}{% endfor %}",
            "{% with y = 'a' + 'b' %}{{ y }}{% endwith %}{% macro m(a='x' ~ 'y') %}{{ a ~ a }}{% endmacro %}{{ m() ~ m(a='q' ~ 'r') }}",
            "{% call(x) [1 ~ 2]|first %}{% endcall %}",
            "{% macro w() %}{{ caller() ~ '!' }}{% endmacro %}{% call w() %}{{ 'ä' ~ 'ö' }}{% endcall %}",
            "{% filter upper %}{{ 'a' ~ 'b' }}{% endfilter %}{% set z | replace('a' ~ '', 'b') %}aa{% endset %}{{ z }}",
            "{{ 'a'~'b'~'c'|default('d')|upper }}{{ nope|default('a' ~ 'b') }}{{ 'ab' is startingwith 'a' ~ '' }}",
            "{{ cameras|map(attribute='name')|join(', ') }}{{ 'a,b'|split(',') }}{{ 'abc'|list }}{{ dict(a=1, b='x' ~ 'y')|items|list }}",
            "{{ '%05.2f|%s'|format(1.5, 'a' ~ 'b') }}{{ cameras|tojson(indent=2) }}{{ [3, 1]|sort(reverse=true) }}{{ [1,2,3]|batch(2, 0)|list }}",
            "{{ cameras|selectattr('name', 'eq', 'gate')|list }}{{ [1, 2]|map('string')|list }}{{ [1, 2, 3]|select('odd')|list }}",
            "a  {%- if tls -%}  b{{ 1 ~ 2 }}  {%- endif %} c",
            raw,
            &format!("{{%- if tls -%}}\n  {raw}  {{%- endif %}}\n{raw}\n"),
            "{{ 'a' - 'b' }}",
            "{{ 'a' + 1 }}",
            "{{ nope ~ 'x' }}",
            "{{ 'x' + nope }}",
        ] {
            let ours = render("t.j2", text, &values());
            assert_eq!(ours.clone().map_err(|_| ()), template(text), "{text}: {ours:?}");
        }
        assert!(refused("{{ 'x' ~ (tls and\n cameras[9].name) }}").starts_with("t.j2:2:2: "));
        assert!(
            refused("a\n{{ 'ä' ~ cameras[0].nam }}").starts_with("t.j2:2:10: `cameras"),
            "{}",
            refused("a\n{{ 'ä' ~ cameras[0].nam }}")
        );
    }

    #[test]
    fn the_longest_chains_allowed_fit_in_the_stack() {
        for part in ["-", "not ", "1+", "1~", "1 if 1 else ", "1**", "1 and ", "1 or ", "1 == "] {
            let _ = render("t.j2", &format!("{{{{ {}1 }}}}", part.repeat(MAX_CHAIN)), &values());
        }
        for part in [".a", "|string", "[0]", "()"] {
            let _ = render("t.j2", &format!("{{{{ tls{} }}}}", part.repeat(MAX_CHAIN)), &values());
        }
        let elif = "{% elif 0 %}".repeat(MAX_CHAIN);
        assert_eq!(
            render("t.j2", &format!("{{% if 0 %}}{elif}{{% else %}}x{{% endif %}}"), &values()).unwrap(),
            "x"
        );
        let _ = render("t.j2", &format!("{{{{ {}1 }}}}", "(-".repeat(MAX_CHAIN / 2)), &values());
    }

    proptest! {
        #[test]
        fn any_text_is_rendered_or_refused(text in "([{}%#a-c|.()' 0-9\\n-]|\\{\\{|\\}\\}|\\{%|%\\}|for|in|if|cameras){0,30}") {
            if let Err(error) = render("t.j2", &text, &values()) {
                let _ = error.to_string();
            }
        }
    }
}
