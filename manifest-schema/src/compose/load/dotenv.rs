//! `.env` and `env_file` files (Compose Specification, "Env_file format").
//!
//! One `NAME=value` on each line; `export` in front is allowed; single quotes keep everything as it
//! is, double quotes know `\n`, `\"`, `\\` and `\$`; values without or in double quotes are
//! interpolated from the names above them and the given environment; ` #` behind a value begins a comment, and a value
//! may begin with `#`. Mistakes name the line, but do not repeat it: it may hold a password.

use super::LEVEL;
use super::interpolate::interpolate;
use super::unset::{is_secret, of_shell};
use crate::diagnostic::shown;
use crate::{Diagnostic, Diagnostics, limits};
use std::collections::BTreeMap;

/// A byte order mark, which some editors write at the beginning.
pub(in crate::compose) const MARK: char = '\u{feff}';

/// Reads a `.env` file, which messages call `file`.
///
/// # Errors
/// All mistakes of the text, each with its place.
pub fn parse_dotenv(file: &str, text: &str) -> Result<BTreeMap<String, String>, Diagnostics> {
    parse_env(file, text, LEVEL).map(|entries| entries.values)
}

/// As [`parse_dotenv`], by a level of `docs/COMPOSE.md`, with what else is to be known of the text.
///
/// # Errors
/// All mistakes of the text, each with its place.
pub fn parse_env(file: &str, text: &str, known: u8) -> Result<Entries, Diagnostics> {
    parse(file, text, &BTreeMap::new(), known)
}

/// The entries of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entries {
    /// Values by name.
    pub values: BTreeMap<String, String>,
    /// The level of `docs/COMPOSE.md` that they need.
    pub level: u8,
    /// Doubts that stop nothing.
    pub warnings: Vec<Diagnostic>,
}

/// Reads a file called `file`; `env` is what values may refer to beside the names above them.
pub(in crate::compose) fn parse(
    file: &str,
    text: &str,
    env: &BTreeMap<String, String>,
    known: u8,
) -> Result<Entries, Diagnostics> {
    if text.len() > limits::MAX_YAML_BYTES {
        let message =
            format!("the file has {} bytes; at most {} are read", text.len(), limits::MAX_YAML_BYTES);
        return Err(Diagnostic::new(file, message).into());
    }
    let rest = text.trim_start_matches(MARK);
    let mut reader = Reader { file, rest, line: 1, level: 1, known, warnings: Vec::new() };
    let mut found = Diagnostics::default();
    let mut values = BTreeMap::new();
    let mut known = env.clone();
    let mut made = 0_usize;
    while !reader.rest.is_empty() && found.0.len() < limits::MAX_MISTAKES {
        // Values that name the values above them could double with each line.
        match reader.entry(&known, limits::MAX_YAML_BYTES.saturating_sub(made)) {
            Ok(Some((name, value))) => {
                made = made.saturating_add(value.len());
                known.insert(name.clone(), value.clone());
                values.insert(name, value);
            }
            Ok(None) => {}
            Err(mistake) => found.push(*mistake),
        }
    }
    found.or_ok(Entries { values, level: reader.level, warnings: reader.warnings })
}

/// Reads a file without quotes and interpolation (`format: raw`).
pub(in crate::compose) fn parse_raw(text: &str) -> BTreeMap<String, String> {
    text.trim_start_matches(MARK)
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.trim().to_owned(), value.to_owned()))
        .collect()
}

struct Reader<'t> {
    file: &'t str,
    rest: &'t str,
    line: usize,
    level: u8,
    /// The level by which it is read.
    known: u8,
    warnings: Vec<Diagnostic>,
}

impl<'t> Reader<'t> {
    /// Takes the next line off the text.
    fn take_line(&mut self) -> &'t str {
        let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
        self.rest = rest;
        self.line += 1;
        line.strip_suffix('\r').unwrap_or(line)
    }

    fn mistake(&self, line: usize, message: String, hint: &str) -> Box<Diagnostic> {
        let mut mistake = Diagnostic::new(self.file, message).hint(hint);
        // Only the number: the line itself may hold a password.
        mistake.line = line;
        Box::new(mistake)
    }

    /// One entry; `None` for an empty line, a comment or a name without a value to inherit.
    fn entry(
        &mut self,
        env: &BTreeMap<String, String>,
        limit: usize,
    ) -> Result<Option<(String, String)>, Box<Diagnostic>> {
        let at = self.line;
        let line = self.take_line().trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        let line = line.strip_prefix("export ").map_or(line, str::trim_start);
        let (name, value) = match line.find(['=', ':']) {
            Some(end) => (line.get(..end).unwrap_or_default().trim_end(), line.get(end + 1..)),
            None => (line, None),
        };
        let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        if name.is_empty()
            || !name.bytes().all(good)
            || name.bytes().next().is_some_and(|b| b.is_ascii_digit())
        {
            let message = format!("`{}` is not the name of a variable", shown(name));
            return Err(self.mistake(at, message, "write one `NAME=value` on each line"));
        }
        let Some(value) = value.map(str::trim_start) else {
            return Ok(env.get(name).map(|value| (name.to_owned(), value.clone())));
        };
        let value = match value.chars().next() {
            Some(quote @ ('\'' | '"')) => {
                let quoted = self.quoted(at, value.get(1..).unwrap_or_default(), quote)?;
                if quote == '\'' {
                    return Ok(Some((name.to_owned(), quoted)));
                }
                quoted
            }
            _ => {
                if value.starts_with('#') || value.contains("\t#") {
                    self.level = 2;
                }
                if self.known < 2 { unquoted_1(value) } else { unquoted(value) }.to_owned()
            }
        };
        match interpolate(&value, env, limit) {
            Ok(filled) => {
                if filled.plain_dollar || !filled.unset.is_empty() {
                    self.level = 2;
                }
                for unset in &filled.unset {
                    let message = format!("`{name}`: `{unset}` has no value");
                    let hint =
                        "put a value with `$` in it in single quotes, or give the other variable a value";
                    // Half a password is found by nobody.
                    if is_secret(name) || is_secret(unset) || of_shell(unset).is_some() {
                        return Err(self.mistake(at, message, hint));
                    }
                    let warning = *self.mistake(at, format!("{message}; it is empty there"), hint);
                    self.warnings.push(warning);
                }
                Ok(Some((name.to_owned(), filled.text)))
            }
            Err(problem) => Err(self.mistake(
                at,
                format!("`{name}`: {}", problem.message),
                "put a value with `$` in it in single quotes, or give the other variable a value",
            )),
        }
    }

    /// The inside of quotes, which may go on over several lines.
    fn quoted(&mut self, at: usize, first: &str, quote: char) -> Result<String, Box<Diagnostic>> {
        let mut output = String::new();
        let mut line = first;
        loop {
            let mut characters = line.char_indices();
            while let Some((index, c)) = characters.next() {
                if c == quote {
                    let tail = line.get(index + 1..).unwrap_or_default().trim_start();
                    if !tail.is_empty() && !tail.starts_with('#') {
                        let message = "text follows the closing quote".to_owned();
                        return Err(self.mistake(at, message, "put the whole value inside the quotes"));
                    }
                    return Ok(output);
                }
                if c != '\\' || quote == '\'' {
                    output.push(c);
                    continue;
                }
                match characters.next().map(|(_, c)| c) {
                    Some('n') => output.push('\n'),
                    Some('r') => output.push('\r'),
                    Some('t') => output.push('\t'),
                    Some('$') => output.push_str("$$"),
                    Some(c @ ('"' | '\\')) => output.push(c),
                    Some(c) => output.extend(['\\', c]),
                    None => output.push('\\'),
                }
            }
            if self.rest.is_empty() {
                return Err(self.mistake(
                    at,
                    "the quote is not closed".to_owned(),
                    "close it on the same line",
                ));
            }
            output.push('\n');
            line = self.take_line();
        }
    }
}

/// A value without quotes, up to ` #`: a comment needs a value before it.
/// By level 1: a `#` at the beginning, or behind a tab, began a comment too.
fn unquoted_1(value: &str) -> &str {
    if value.starts_with('#') {
        return "";
    }
    let end = value.find(" #").into_iter().chain(value.find("\t#")).min();
    end.and_then(|end| value.get(..end)).unwrap_or(value).trim_end()
}

fn unquoted(value: &str) -> &str {
    value.split_once(" #").map_or(value, |(value, _)| value).trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_form() {
        let text = "\u{feff}# note\n\nA=1\nexport B = two words # note\nC='$x # \"y\"' # note\nD=\"a\\n\\\"b\\\" \\$A $A\"\n\
                    E=\nF: yaml\nG=\"line 1\nline 2\"\nH=${A}${NONE:-d}\nI=a#b\nJ=x=y:z\r\nK\nL=#7kx # note\nN= #\nO=a\t#b\nM=\"\\d\"\n";
        let values = parse_dotenv(".env", text).unwrap_or_else(|error| panic!("{error}"));
        let expected = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "$x # \"y\""),
            ("D", "a\n\"b\" $A 1"),
            ("E", ""),
            ("F", "yaml"),
            ("G", "line 1\nline 2"),
            ("H", "1d"),
            ("I", "a#b"),
            ("J", "x=y:z"),
            ("L", "#7kx"),
            ("N", "#"),
            ("O", "a\t#b"),
            ("M", "\\d"),
        ];
        assert_eq!(values, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        assert_eq!(parse_raw("\u{feff}A=x").get("A").map(String::as_str), Some("x"));
        assert_eq!(parse_raw("# n\nA='$x'\nB\n").get("A").map(String::as_str), Some("'$x'"));
    }

    #[test]
    fn all_mistakes_are_told() {
        let error = parse_dotenv(".env", "a b\n1A=x\nPASS=pa$word\nQ='x' y\nR=\"open\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            ".env:1: `a b` is not the name of a variable\n  hint: write one `NAME=value` on each line\n\
             .env:2: `1A` is not the name of a variable\n  hint: write one `NAME=value` on each line\n\
             .env:3: `PASS`: `word` has no value\n  hint: put a value with `$` in it in single quotes, or give the other variable a value\n\
             .env:4: text follows the closing quote\n  hint: put the whole value inside the quotes\n\
             .env:5: the quote is not closed\n  hint: close it on the same line"
        );
    }

    #[test]
    fn doubling_values_end() {
        let lines: String = (1..60).map(|n| format!("A{n}=$A{}$A{}\n", n - 1, n - 1)).collect();
        let error = parse_dotenv(".env", &format!("A0=xxxxxxxx\n{lines}")).unwrap_err();
        assert!(error.to_string().contains("interpolation makes more than"), "{error}");
    }

    proptest! {
        #[test]
        fn never_panics(text in "[A-C=:'\"\\\\$#{} \\nä]{0,60}") {
            let _ = parse_dotenv(".env", &text);
        }
    }
}
