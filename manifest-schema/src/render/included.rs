//! Names in a template, read before anything is rendered: other templates, so that the build knows what to carry and
//! the site has it; variables, so that a slip shows in branches that are not taken today, too.

use super::syntax;
use crate::diagnostic::{nearest, shown as short};
use crate::limits::{MAX_INCLUDED_TEMPLATES, MAX_OPERATORS, MAX_TEMPLATE_BYTES};
use crate::{BundlePath, Diagnostic, Diagnostics, limits, paths};
use minijinja::machinery::{Span, Token, tokenize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashSet};

/// The path of `name`, as the template at `parent` writes it, from the root folder.
pub(super) fn resolve(parent: &str, name: &str) -> String {
    let relative = name.starts_with("./") || name.starts_with("../");
    paths::join(if relative { paths::folder(parent) } else { "" }, name)
}

/// The name of an included template in messages, beside `file`, which is the template at `own`.
pub(super) fn shown(file: &str, own: &str, name: &str) -> String {
    let root = file.strip_suffix(own).unwrap_or_default();
    format!("{root}{name}")
}

/// All templates that the one at `name` needs, by their paths from the root folder.
pub(super) fn collect(
    file: &str,
    name: &str,
    text: &str,
    load: &dyn Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, String>, Diagnostics> {
    let mut found = Diagnostics::default();
    let mut included = BTreeMap::new();
    let mut bytes = 0;
    let mut waiting = vec![(file.to_owned(), name.to_owned(), text.to_owned())];
    while let Some((file, parent, text)) = waiting.pop() {
        bytes += text.len();
        if text.len() > limits::MAX_YAML_BYTES
            || bytes > MAX_TEMPLATE_BYTES
            || included.len() > MAX_INCLUDED_TEMPLATES
        {
            let message = format!(
                "the template has {bytes} bytes with all that it includes; {} of one, {MAX_TEMPLATE_BYTES} of all, and {MAX_INCLUDED_TEMPLATES} templates are the most",
                limits::MAX_YAML_BYTES
            );
            found.push(Diagnostic::new(&file, message));
            break;
        }
        if let Err(mistake) = refuse_chains(&file, &text) {
            found.push(mistake);
            continue;
        }
        for (wanted, span) in named(&text) {
            let at = |message: String| {
                let (line, column) = (usize::from(span.start_line), usize::from(span.start_col) + 1);
                Diagnostic::new(&file, message).at(&text, line, column)
            };
            let Some(wanted) = wanted else {
                let mistake = at("the name of this template is only known on site".to_owned());
                found.push(mistake.hint("write its name in quotes, one `include` in each branch of an `if`"));
                continue;
            };
            let path = resolve(&parent, &wanted);
            if included.contains_key(&path) || path == name {
                continue;
            }
            let here = short(&wanted);
            if path.parse::<BundlePath>().is_err() {
                let message = format!("this names `{here}`, which is not below the folder of the manifest");
                found.push(at(message).hint("put the template there"));
                continue;
            }
            match load(&path) {
                Some(content) => {
                    waiting.push((shown(&file, &parent, &path), path.clone(), content.clone()));
                    included.insert(path, content);
                }
                None => {
                    let message = format!("this names the template `{here}`, which does not exist");
                    let hint = "names begin in the folder of the manifest; with `./` in that of the template";
                    found.push(at(message).hint(hint));
                }
            }
        }
    }
    found.or_ok(included)
}

/// Every template that a text names; `None` where it is not a name in quotes.
fn named(text: &str) -> Vec<(Option<String>, Span)> {
    let Ok(syntax) = syntax() else { return Vec::new() };
    // What cannot be read is told when it is rendered.
    let tokens: Vec<(Token<'_>, Span)> = tokenize(text, false, syntax).map_while(Result::ok).collect();
    let mut names = Vec::new();
    for window in tokens.windows(3) {
        let [(Token::BlockStart, _), (Token::Ident(word), span), (name, _)] = window else { continue };
        if !matches!(*word, "include" | "import" | "from" | "extends") {
            continue;
        }
        names.push(match name {
            Token::Str(name) => (Some((*name).to_owned()), *span),
            Token::String(name) => (Some(name.to_string()), *span),
            _ => (None, *span),
        });
    }
    names
}

/// Names that the engine gives every template.
const GLOBALS: [&str; 3] = ["range", "dict", "namespace"];

/// Refuses names that nothing defines, also in branches that are not taken now. A name that the template
/// itself asks about (`x is defined`, `x | default('')`) may be unknown.
pub(super) fn check_names(
    file: &str,
    text: &str,
    used: &HashSet<String>,
    values: &Map<String, Value>,
) -> Result<(), Diagnostics> {
    let mut found = Diagnostics::default();
    let is_known = |name: &str| values.contains_key(name) || GLOBALS.contains(&name);
    let Ok(syntax) = syntax() else { return Ok(()) };
    let tokens: Vec<(Token<'_>, Span)> = tokenize(text, false, syntax).map_while(Result::ok).collect();
    let at = |index: usize| tokens.get(index).map(|(token, _)| token);
    let asked: HashSet<&str> = tokens
        .iter()
        .enumerate()
        .filter_map(|(index, (token, _))| match (token, at(index + 1), at(index + 2), at(index + 3)) {
            (
                Token::Ident(name),
                Some(Token::Ident("is")),
                Some(Token::Ident("not")),
                Some(Token::Ident(test)),
            )
            | (Token::Ident(name), Some(Token::Ident("is")), Some(Token::Ident(test)), _)
                if matches!(*test, "defined" | "undefined") =>
            {
                Some(*name)
            }
            (Token::Ident(name), Some(Token::Pipe), Some(Token::Ident("default" | "d")), _) => Some(*name),
            _ => None,
        })
        .collect();
    let mut told = HashSet::new();
    for (index, (token, span)) in tokens.iter().enumerate() {
        let Token::Ident(name) = token else { continue };
        if !used.contains(*name) || is_known(name) || asked.contains(name) || told.contains(name) {
            continue;
        }
        // `a.name` and `f(name=…)` are not the name.
        let before = index.checked_sub(1).and_then(at);
        if matches!(before, Some(Token::Dot)) || matches!(at(index + 1), Some(Token::Assign)) {
            continue;
        }
        told.insert(*name);
        let (line, column) = (usize::from(span.start_line), usize::from(span.start_col) + 1);
        if matches!(at(index + 1), Some(Token::ParenOpen)) {
            let message = format!("`{}` is not a function of templates", short(name));
            found.push(Diagnostic::new(file, message).at(text, line, column).hint(super::FUNCTIONS));
            continue;
        }
        let hint = match nearest(name, values.keys().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("declare it under `variables`, or write `{{{{ {name} | default('') }}}}`"),
        };
        found.push(
            Diagnostic::new(file, format!("`{}` is undefined", short(name)))
                .at(text, line, column)
                .hint(hint),
        );
        if found.0.len() >= limits::MAX_MISTAKES {
            break;
        }
    }
    found.or_ok(())
}

/// Refuses an expression that is too long for the engine's parser.
pub(super) fn check_chains(text: &str) -> Result<(), String> {
    refuse_chains("", text).map_err(|mistake| mistake.message)
}

/// Refuses expressions and `elif` chains so long that the engine's parser, which bounds brackets and
/// blocks but not chains of operators, would run out of stack.
fn refuse_chains(file: &str, text: &str) -> Result<(), Diagnostic> {
    let syntax = syntax().map_err(|error| Diagnostic::new(file, error.to_string()))?;
    let (mut operators, mut branches) = (0_usize, 0_usize);
    // What cannot be read is told by the parser itself, with a better message.
    for (token, span) in tokenize(text, false, syntax).map_while(Result::ok) {
        match token {
            Token::VariableStart | Token::BlockStart => operators = 0,
            Token::Ident("elif") => branches += 1,
            Token::Ident("not" | "in" | "is" | "and" | "or" | "if") => operators += 1,
            Token::TemplateData(_)
            | Token::Ident(_)
            | Token::Str(_)
            | Token::String(_)
            | Token::Int(_)
            | Token::Int128(_)
            | Token::Float(_)
            | Token::Comma
            | Token::Colon
            | Token::BraceOpen
            | Token::BraceClose
            | Token::BracketClose
            | Token::ParenClose
            | Token::VariableEnd
            | Token::BlockEnd => {}
            _ => operators += 1,
        }
        if operators > MAX_OPERATORS || branches > MAX_OPERATORS {
            let message = format!("more than {MAX_OPERATORS} operators in one expression, or as many `elif`");
            return Err(Diagnostic::new(file, message)
                .at(text, usize::from(span.start_line), usize::from(span.start_col) + 1)
                .hint("split it with `set`, or keep the data in a variable"));
        }
    }
    Ok(())
}
