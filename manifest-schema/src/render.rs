//! Jinja templates, rendered the same way everywhere and every time.
//!
//! Why: a template is tried while building, with sample values, and rendered on site, with the
//! site's. What must stay true: the result depends on the text and the values alone. A template has
//! no clock, no randomness, no environment; `include`, `import` and `extends` find only templates below
//! the root folder, by names that stand in the template itself, so that it is known before what a bundle
//! has to carry; an undefined name is a mistake, not an empty text; an endless loop and endless output end. The
//! language is that of minijinja, a subset of Jinja 2. Templates are the author's own or come out of a
//! verified bundle: these limits stop mistakes, while one who doubles a text forty times on purpose
//! still fills the memory.

mod included;

use crate::yaml::{nearest, shown};
use crate::{Diagnostic, Diagnostics, limits};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

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
        environment.set_formatter(|output, state, value| match value.is_none() {
            // A file with the word `none` in it would be found out on site.
            true => Err(minijinja::Error::new(ErrorKind::InvalidOperation, NO_VALUE)),
            false => minijinja::escape_formatter(output, state, value),
        });
        environment.set_syntax(syntax().map_err(|error| Diagnostic::new(file, error.to_string()))?);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_fuel(Some(limits::TEMPLATE_FUEL));
        environment.set_recursion_limit(RECURSION_LIMIT);
        environment.set_path_join_callback(|name, parent| Cow::Owned(included::resolve(parent, name)));
        // Positions of expressions are only kept in debug mode.
        environment.set_debug(true);
        // It would print every value, secrets too.
        environment.remove_global("debug");
        let values = nested(values);
        let explain = |error: &minijinja::Error| {
            let cause = innermost(error);
            let inside = cause.name().and_then(|name| Some((name, self.included.get(name)?)));
            match inside {
                Some((name, text)) => explain(&included::shown(file, &self.name, name), text, &values, cause),
                None => explain(file, &self.text, &values, cause),
            }
        };
        for (name, text) in self.included.iter().chain([(&self.name, &self.text)]) {
            environment.add_template(name, text).map_err(|error| explain(&error))?;
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
    let environment = Environment::new();
    let compiled = compiled(&environment, expression)?;
    let values = nested(values);
    let value = compiled.eval(minijinja::value::Serde(&values)).map_err(|error| error.to_string())?;
    Ok(value.is_true())
}

/// The variables that an expression uses.
///
/// # Errors
/// When it is not an expression.
pub fn names_in(expression: &str) -> Result<BTreeSet<String>, String> {
    let environment = Environment::new();
    Ok(compiled(&environment, expression)?.undeclared_variables(false).into_iter().collect())
}

fn compiled<'e>(
    environment: &'e Environment<'_>,
    expression: &'e str,
) -> Result<minijinja::Expression<'e, 'e>, String> {
    included::check_chains(&format!("{{{{ {expression} }}}}"))?;
    environment.compile_expression(expression).map_err(|error| shown(&error.to_string()))
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

fn explain(file: &str, text: &str, values: &Map<String, Value>, error: &minijinja::Error) -> Diagnostic {
    let expression = error.range().and_then(|range| text.get(range)).unwrap_or_default();
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
        kind => (format!("{kind}: {}", detail()), None),
    };
    let mut diagnostic = Diagnostic::new(file, message);
    diagnostic.hint = hint;
    let Some(line) = error.line() else { return diagnostic };
    diagnostic.at(text, line, column(text, line, error))
}

/// The 1-based column where the error's expression begins, or 0.
fn column(text: &str, line: usize, error: &minijinja::Error) -> usize {
    let Some(before) = error.range().and_then(|range| text.get(..range.start)) else { return 0 };
    if before.matches('\n').count() + 1 != line {
        return 0;
    }
    before.rsplit('\n').next().map_or(0, |part| part.chars().count() + 1)
}

fn undefined(expression: &str, values: &Map<String, Value>) -> (String, Option<String>) {
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    let name: String = expression.chars().take_while(|c| word(*c)).take(80).collect();
    if name.is_empty() {
        return ("a value is undefined".to_owned(), None);
    }
    let (parent, known, last) = match name.rsplit_once('.') {
        Some((parent, last)) => {
            let inner = parent.split('.').try_fold(None::<&Map<String, Value>>, |map, part| {
                let map = map.unwrap_or(values);
                map.get(part).and_then(Value::as_object).map(Some)
            });
            (format!("{parent}."), inner.flatten(), last)
        }
        None => (String::new(), Some(values), name.as_str()),
    };
    let near = known.and_then(|known| nearest(last, known.keys().map(String::as_str)));
    let hint = match near {
        Some(near) => format!("did you mean `{parent}{near}`?"),
        None => format!("declare it under `variables`, or write `{{{{ {name} | default('') }}}}`"),
    };
    (format!("`{name}` is undefined"), Some(hint))
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
        render("t.j2", text, &values()).expect_err("it must be refused").to_string()
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
        assert!(error.contains("recursion limit"), "{error}");
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
        assert!(refused(recursion).contains("recursion limit"), "{}", refused(recursion));
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
