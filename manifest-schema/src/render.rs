//! Jinja templates, rendered the same way everywhere and every time.
//!
//! Why: a template is tried while building, with sample values, and rendered on site, with the
//! site's. Invariants: the result depends on the text and the values alone. A template has
//! no clock, no randomness, no environment; `include`, `import` and `extends` find only templates below
//! the root folder, by names that stand in the template itself, so that it is known before what a bundle
//! has to carry; an undefined name is a mistake, not an empty text. The language is that of minijinja, a
//! subset of Jinja 2.
//!
//! Steps, depth of calls and output are counted here. One step can double a text, though, and nothing here
//! counts memory: programs give a [`Job`] to a [`Renderer`] that lives in a process with limits of its own.

mod explain;
mod included;
mod job;

use crate::diagnostic::shown;
use crate::{Diagnostic, Diagnostics, limits};
use explain::explain as told;
pub(crate) use job::render_all;
pub use job::{InProcess, Job, Outcome, Renderer, collected};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// The hint for what a template cannot call.
const FUNCTIONS: &str =
    "templates have minijinja's own filters, functions and tests, without files, clock and environment";

/// The fact about an expression that is `none`.
const NO_VALUE: &str = "has no value";

/// A template with the templates that it includes, imports or extends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// The name in messages.
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

    /// The name that messages give it.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// True where the text is its own output: there is nothing to render.
    #[must_use]
    pub(crate) fn is_plain(&self) -> bool {
        !["{{", "{%", "{#"].iter().any(|mark| self.text.contains(mark))
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
        environment.set_formatter(|output, state, value| {
            if value.is_none() {
                // A file with the word `none` in it would be found out on site.
                return Err(minijinja::Error::new(ErrorKind::InvalidOperation, NO_VALUE));
            }
            minijinja::escape_formatter(output, state, value)
        });
        environment.set_syntax(syntax().map_err(|error| Diagnostic::new(file, error.to_string()))?);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_fuel(Some(limits::TEMPLATE_FUEL));
        environment.set_recursion_limit(limits::MAX_CALL_DEPTH);
        environment.set_path_join_callback(|name, parent| Cow::Owned(included::resolve(parent, name)));
        // Positions of expressions are only kept in debug mode.
        environment.set_debug(true);
        // It would print every value, secrets too.
        environment.remove_global("debug");
        let values = nested(values);
        let explain = |error: &minijinja::Error| {
            let cause = innermost(error);
            match cause.name().and_then(|name| Some((name, self.included.get(name)?))) {
                Some((name, text)) => told(&included::shown(file, &self.name, name), text, &values, cause),
                None => told(file, &self.text, &values, cause),
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
            .map_err(|_| Diagnostic::new(file, "the template's output is not UTF-8 text").into())
    }
}

/// The truth of an expression, as in `{% if … %}`.
///
/// # Errors
/// Why it cannot be evaluated.
pub(crate) fn holds(expression: &str, values: &BTreeMap<String, Value>) -> Result<bool, String> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(limits::TEMPLATE_FUEL));
    included::check_chains(&format!("{{{{ {expression} }}}}"))?;
    let compiled = environment.compile_expression(expression).map_err(|error| shown(&error.to_string()))?;
    let values = nested(values);
    let value = compiled.eval(minijinja::value::Serde(&values)).map_err(|error| shown(&error.to_string()))?;
    Ok(value.is_true())
}

/// The variables that an expression uses.
///
/// # Errors
/// When it is not an expression.
pub(crate) fn names_in(expression: &str) -> Result<BTreeSet<String>, String> {
    let environment = Environment::new();
    included::check_chains(&format!("{{{{ {expression} }}}}"))?;
    let compiled = environment.compile_expression(expression).map_err(|error| shown(&error.to_string()))?;
    Ok(compiled.undeclared_variables(false).into_iter().collect())
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

/// True for the name of a Jinja template: it ends in `.j2`, `.jinja` or `.jinja2`.
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

#[cfg(test)]
#[path = "render/render_tests.rs"]
mod tests;
