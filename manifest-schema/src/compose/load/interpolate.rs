//! `$VAR` and `${VAR…}` in values (Compose Specification, "Interpolation").
//!
//! Invariants: only values are touched, never keys; the content of a variable is not interpolated again, so a
//! password with `$` in it stays as it is; a name without a value is empty text, as in Compose, and is noted with its
//! place: `unset` judges it by what it is for. Only `$NAME`, `${` and `$$` mean something; any other `$` is text.

use crate::diagnostic::{nearest, shown};
use crate::limits::{MAX_INTERPOLATED_BYTES, MAX_INTERPOLATION_DEPTH, MAX_MISTAKES};
use crate::yaml::{Node, Reader, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Why a text could not be interpolated, and what to write instead.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) message: String,
    pub(super) hint: String,
    /// True where a variable has no value, and none has a name like it.
    pub(super) is_unset: bool,
    /// The text that is wrong begins so.
    pub(super) at: String,
}

/// A text with its variables filled in.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Filled {
    pub(super) text: String,
    /// Names without a value, for which nothing stands there.
    pub(super) unset: Vec<String>,
    /// True where a `$` means nothing and is text.
    pub(super) plain_dollar: bool,
    /// Names that the builder's shell would have had another text for than the one that was written for its absence.
    pub(super) of_shell: Vec<String>,
}

type Env = BTreeMap<String, String>;

/// Interpolates all strings below `node`; mistakes go to the reader.
/// `made` counts the bytes, over all files of a project.
pub(super) fn tree(r: &mut Reader, node: &mut Node, env: &Env, made: &mut usize, own: bool) {
    walk(r, node, &mut Walk { env, made, own, said: BTreeSet::new() }, 0, false);
}

/// The environment of all values of a text.
struct Walk<'w> {
    env: &'w Env,
    made: &'w mut usize,
    /// True for the site's own text.
    own: bool,
    /// Variables of the shell that were warned of.
    said: BTreeSet<String>,
}

/// The depth at which the values of a service begin: the root, `services`, the service, its keys.
const VALUES: usize = 3;

/// Keys below which every key is a name that people choose; `x-` is no extension there.
const NAMES: [&str; 15] = [
    "services",
    "networks",
    "volumes",
    "configs",
    "secrets",
    "labels",
    "environment",
    "annotations",
    "args",
    "depends_on",
    "driver_opts",
    "options",
    "extra_hosts",
    "sysctls",
    "ulimits",
];

/// Interpolates what is below `node`, and says whether all of it could be. `names`: the keys of this map are names.
/// Elsewhere what begins with `x-` is an extension (Compose Specification, "Extension"), which nothing here reads: a
/// variable that is missing in it is no mistake.
fn walk(r: &mut Reader, node: &mut Node, the: &mut Walk<'_>, depth: usize, names: bool) -> bool {
    if r.is_full() {
        return true;
    }
    let place = node.place;
    let mut done = true;
    match &mut node.value {
        Value::Str(text) if text.contains('$') => {
            match interpolate(text, the.env, MAX_INTERPOLATED_BYTES.saturating_sub(*the.made)) {
                // On site an empty text would be found by nobody.
                Ok(Filled { unset, .. }) if the.own && !unset.is_empty() => {
                    let name = unset.first().map_or("", String::as_str);
                    let problem = self::unset(name, the.env);
                    let hint = if problem.is_unset { own_hint(text, the.env) } else { problem.hint };
                    r.error_in_value(r.line_with(place, &problem.at), place, problem.message, hint);
                    return false;
                }
                Ok(filled) => {
                    if filled.plain_dollar || !filled.unset.is_empty() {
                        r.needs_level(2);
                    }
                    for name in filled.of_shell {
                        if the.said.insert(name.clone()) {
                            let message = format!(
                                "`{name}` is a variable of the shell, which is not read: what is written for its absence counts"
                            );
                            r.warn(&place, message, super::unset::of_shell(&name).unwrap_or_default());
                        }
                    }
                    r.note_unset(place, filled.unset, |name| {
                        nearest(name, the.env.keys().map(String::as_str)).map(str::to_owned)
                    });
                    if filled.text.is_empty() {
                        r.note_empty(place);
                    }
                    *the.made = the.made.saturating_add(filled.text.len());
                    *text = filled.text;
                }
                Err(problem) => {
                    let hint =
                        if the.own && problem.is_unset { own_hint(text, the.env) } else { problem.hint };
                    r.error_in_value(r.line_with(place, &problem.at), place, problem.message, hint);
                    return false;
                }
            }
        }
        Value::Seq(items) => {
            for item in items {
                done &= walk(r, item, the, depth + 1, false);
            }
        }
        Value::Map(entries) => {
            for (key, node) in entries {
                if begins_variable(&key.text) {
                    let message = format!(
                        "`{}` stays as it is: names are not filled in, only values",
                        shown(&key.text)
                    );
                    r.warn(
                        key,
                        message,
                        "write a list where one is allowed, like `- \"${NAME}=value\"`, or a template `.j2`",
                    );
                }
                if names || !key.text.starts_with("x-") {
                    let names = !names && NAMES.contains(&key.text.as_str());
                    done &= walk(r, node, the, depth + 1, names);
                }
            }
        }
        _ => {}
    }
    if !done && depth >= VALUES {
        r.doubt(place);
    }
    done
}

/// Interpolates one text into at most `limit` bytes.
pub(super) fn interpolate(text: &str, env: &Env, limit: usize) -> Result<Filled, Problem> {
    let mut output = Filled { text: String::with_capacity(text.len().min(limit)), ..Filled::default() };
    let rest = expand(text, env, limit, 0, false, &mut output)?;
    debug_assert!(rest.is_empty(), "the outermost text has no end mark");
    Ok(output)
}

/// Expands up to the end, or up to the `}` that closes `inside` braces; returns what follows.
fn expand<'t>(
    text: &'t str,
    env: &Env,
    limit: usize,
    depth: usize,
    inside: bool,
    output: &mut Filled,
) -> Result<&'t str, Problem> {
    if depth > MAX_INTERPOLATION_DEPTH {
        return Err(problem(
            format!("`${{…}}` is nested more than {MAX_INTERPOLATION_DEPTH} deep"),
            "write it simpler",
        ));
    }
    let mut rest = text;
    loop {
        let Some(at) = rest.find(['$', '}']) else {
            push(output, rest, limit)?;
            return if inside {
                Err(problem(
                    format!("`{}` has no closing brace", short(text)),
                    "close it with `}`, or write `$$` for a dollar sign",
                )
                .at(text))
            } else {
                Ok("")
            };
        };
        let (before, tail) = rest.split_at(at);
        push(output, before, limit)?;
        if tail.starts_with('}') {
            if inside {
                return Ok(tail.get(1..).unwrap_or_default());
            }
            push(output, "}", limit)?;
            rest = tail.get(1..).unwrap_or_default();
        } else if let Some(after) = tail.strip_prefix("$$") {
            push(output, "$", limit)?;
            rest = after;
        } else if let Some(after) = tail.strip_prefix("${") {
            rest = braced(tail, after, env, limit, depth, output)?;
        } else {
            let after = tail.get(1..).unwrap_or_default();
            let (name, after) = after.split_at(name_length(after));
            if name.is_empty() {
                output.plain_dollar = true;
                push(output, "$", limit)?;
            } else {
                push_value(output, name, env, limit)?;
            }
            rest = after;
        }
    }
}

/// `${NAME}` and its forms; `after` begins behind `${`. Returns what follows the closing brace.
fn braced<'t>(
    whole: &str,
    after: &'t str,
    env: &Env,
    limit: usize,
    depth: usize,
    output: &mut Filled,
) -> Result<&'t str, Problem> {
    let (name, after) = after.split_at(name_length(after));
    let bad = || {
        problem(
            format!("`{}` is not a valid interpolation", short(whole)),
            "write `${NAME}`, `${NAME:-default}`, `${NAME:?message}` or `${NAME:+value}`; `$$` is a dollar sign",
        )
        .at(whole)
    };
    if name.is_empty() {
        return Err(bad());
    }
    if let Some(rest) = after.strip_prefix('}') {
        push_value(output, name, env, limit)?;
        return Ok(rest);
    }
    let (colon, after) = match after.strip_prefix(':') {
        Some(after) => (true, after),
        None => (false, after),
    };
    let operator = after.chars().next().filter(|c| matches!(c, '-' | '?' | '+')).ok_or_else(bad)?;
    let word_text = after.get(1..).unwrap_or_default();
    // With the colon an empty value counts as none.
    let value = env.get(name).filter(|value| !colon || !value.is_empty());
    // A word that is not used may name variables that have no value.
    let used = match operator {
        '+' => value.is_some(),
        _ => value.is_none(),
    };
    if operator != '?' && value.is_none() && super::unset::is_exported(name) {
        output.of_shell.push(name.to_owned());
    }
    if !used {
        let rest = skip(word_text, depth).ok_or_else(bad)?;
        if operator != '+' {
            push(output, value.map_or("", String::as_str), limit)?;
        }
        return Ok(rest);
    }
    let mut word = Filled::default();
    let rest = expand(word_text, env, limit, depth + 1, true, &mut word)?;
    if operator == '?' {
        let why = if word.text.is_empty() { String::new() } else { format!(": {}", shown(&word.text)) };
        let hint = "declare it under `variables` in the manifest, or set it in .env";
        let problem = problem(format!("`{name}` has no value{why}"), hint);
        return Err(Problem { is_unset: true, at: format!("${{{name}"), ..problem });
    }
    push(output, &word.text, limit)?;
    output.unset.extend(word.unset);
    output.of_shell.extend(word.of_shell);
    output.plain_dollar |= word.plain_dollar;
    Ok(rest)
}

/// The rest after the `}` that closes this word; variables are not looked at.
fn skip(text: &str, depth: usize) -> Option<&str> {
    let mut open = 1_usize;
    let mut rest = text;
    loop {
        let at = rest.find(['$', '}'])?;
        let tail = rest.get(at..)?;
        if let Some(after) = tail.strip_prefix("$$") {
            rest = after;
        } else if let Some(after) = tail.strip_prefix("${") {
            open += 1;
            if open + depth > MAX_INTERPOLATION_DEPTH {
                return None;
            }
            rest = after;
        } else if let Some(after) = tail.strip_prefix('}') {
            open -= 1;
            if open == 0 {
                return Some(after);
            }
            rest = after;
        } else {
            rest = tail.get(1..)?;
        }
    }
}

/// True where a name was meant to hold a variable.
fn begins_variable(text: &str) -> bool {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('$') {
        if let Some(after) = after.strip_prefix('$') {
            rest = after;
            continue;
        }
        let name = after.strip_prefix('{').unwrap_or(after);
        if name_length(name) > 0 {
            return true;
        }
        rest = after;
    }
    false
}

/// The hint on site, where neither the manifest nor `.env` can be changed.
fn own_hint(text: &str, env: &Env) -> String {
    let names: Vec<String> = env.keys().take(12).map(|name| format!("${{{name}}}")).collect();
    let more = match env.len().saturating_sub(12) {
        0 => String::new(),
        more => format!(", … and {more} more"),
    };
    let all = format!("the variables of this bundle can be used here: {}{more}", names.join(", "));
    match text.contains(":-") {
        true => all,
        false => format!("write a default, like `${{NAME:-default}}`; {all}"),
    }
}

fn name_length(text: &str) -> usize {
    let starts = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if !starts {
        return 0;
    }
    text.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count()
}

/// The value of a variable; nothing where it has none.
fn push_value(output: &mut Filled, name: &str, env: &Env, limit: usize) -> Result<(), Problem> {
    match env.get(name) {
        Some(value) => push(output, value, limit),
        None => {
            // More of one text are told by nobody.
            if output.unset.len() < MAX_MISTAKES && !output.unset.iter().any(|other| other == name) {
                output.unset.push(name.to_owned());
            }
            Ok(())
        }
    }
}

fn push(output: &mut Filled, text: &str, limit: usize) -> Result<(), Problem> {
    let output = &mut output.text;
    if output.len() + text.len() > limit {
        return Err(problem(
            format!("interpolation makes more than {MAX_INTERPOLATED_BYTES} bytes"),
            "use shorter values",
        ));
    }
    output.push_str(text);
    Ok(())
}

fn problem(message: String, hint: impl Into<String>) -> Problem {
    Problem { message, hint: hint.into(), is_unset: false, at: String::new() }
}

impl Problem {
    /// The same, found by the first line of `text`, which is wrong.
    fn at(self, text: &str) -> Self {
        Self { at: text.lines().next().unwrap_or_default().to_owned(), ..self }
    }
}

fn unset(name: &str, env: &Env) -> Problem {
    let near = nearest(name, env.keys().map(String::as_str));
    let is_unset = near.is_none();
    let hint = match near {
        Some(near) => format!("did you mean `${{{near}}}`?"),
        None => format!(
            "declare it under `variables` in the manifest, set it in .env, or write `${{{name}:-default}}`"
        ),
    };
    Problem { is_unset, at: name.to_owned(), ..problem(format!("`{}` has no value", shown(name)), hint) }
}

fn short(text: &str) -> String {
    let cut: String = text.lines().next().unwrap_or_default().chars().take(30).collect();
    shown(&cut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn env() -> Env {
        [("A", "a"), ("EMPTY", ""), ("DOLLAR", "x$Ay${B}"), ("PORT", "8080")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    fn done(text: &str) -> Result<String, String> {
        interpolate(text, &env(), 1 << 20).map(|filled| filled.text).map_err(|problem| problem.message)
    }

    #[test]
    fn every_form() {
        for (text, expected) in [
            ("plain }", "plain }"),
            ("$A", "a"),
            ("${A}b$A-$A", "ab"),
            ("$$A $${A}", "$A ${A}"),
            ("${NONE:-d}", "d"),
            ("${NONE-d}", "d"),
            ("${EMPTY:-d}", "d"),
            ("${EMPTY-d}", ""),
            ("${A:-d}", "a"),
            ("${A:+yes}", "yes"),
            ("${EMPTY:+yes}", ""),
            ("${EMPTY+yes}", "yes"),
            ("${NONE+yes}x", "x"),
            ("${A?e}", "a"),
            ("${EMPTY?e}", ""),
            ("${NONE:-${ALSO:-${A}}}", "a"),
            ("${A:-${NONE}}", "a"),
            ("${NONE:-$A}}", "a}"),
            ("${NONE:-}", ""),
            ("${NONE:-$${x}}", "${x}"),
            ("${NONE:-:-?+}", ":-?+"),
            ("$DOLLAR", "x$Ay${B}"),
            ("${NONE:-a b:c}", "a b:c"),
            ("$NONE", ""),
            ("a${NONE}b", "ab"),
            ("cost: 5$", "cost: 5$"),
            ("$ A $5 $(date) $2a$10$x. '{print $1}'", "$ A $5 $(date) $2a$10. '{print $1}'"),
            ("${NONE:-^[a-z]+$}", "^[a-z]+$"),
            ("${A:-^[a-z]+$}", "a"),
            ("$$$A $", "$a $"),
        ] {
            let expected = if text == "${A}b$A-$A" { "aba-a" } else { expected };
            assert_eq!(done(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn mistakes() {
        for (text, part) in [
            ("${NONE:?set it}", "`NONE` has no value: set it"),
            ("${EMPTY:?}", "`EMPTY` has no value"),
            ("${NONE?why}", "`NONE` has no value: why"),
            ("${A", "not a valid interpolation"),
            ("${A:-x", "not a valid interpolation"),
            ("${NONE:-x", "no closing brace"),
            ("${}", "not a valid interpolation"),
            ("${1A}", "not a valid interpolation"),
            ("${A!}", "not a valid interpolation"),
        ] {
            assert!(done(text).unwrap_err().contains(part), "{text}: {:?}", done(text));
        }
        let filled = interpolate("${PRT}$PRT ${NONE:-$X} ${A:-$Y} $", &env(), 99).unwrap();
        assert_eq!((filled.unset, filled.plain_dollar), (vec!["PRT".to_owned(), "X".to_owned()], true));
        assert!(done(&"${N:-".repeat(100_000)).unwrap_err().contains("nested more than"));
        assert!(interpolate(&"$DOLLAR".repeat(100), &env(), 99).unwrap_err().message.contains("bytes"));
    }

    proptest! {
        #[test]
        fn never_panics(text in "[${}:?+A-CNÄ -]{0,40}") {
            let _ = done(&text);
        }
    }
}
