//! Lines of a values file as messages may show them.
//!
//! Why: a message goes to a terminal, a log, a mail. Invariant: no part of an answer is shown unless
//! its name is that of a variable which is no secret, and the line belongs to that answer alone; a line of
//! which that is not known (the file is no YAML, the name is misspelt) shows its name at most.

use crate::Diagnostic;
use crate::yaml::Place;

/// The marks shown in place of an answer.
const HIDDEN: &str = "••••";

/// A line of a values file, with and without the answer in it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    place: Place,
    /// The line itself; `None` where parts of other answers may stand in it.
    open: Option<String>,
    hidden: Option<String>,
}

impl Line {
    /// The line at `place`, which is in the answer of `key`; `keys` are all keys of the file.
    pub(super) fn of(text: &str, keys: &[Place], key: Place, place: Place) -> Self {
        let shown = Diagnostic::new("", "").at(text, place.line, place.column).source_line;
        // A key that begins its line ends what stood before it; a flow map gives no such promise.
        let begins = key.column == 1 && keys.iter().filter(|other| other.line == key.line).count() == 1;
        let within = !keys.iter().any(|other| key.line < other.line && other.line <= place.line);
        let hidden = shown.as_deref().map(masked);
        Self { place, open: shown.filter(|_| begins && within && key.line <= place.line), hidden }
    }

    /// The mistake at this line; `open` says whether the answer may be seen.
    pub(super) fn mark(&self, mistake: Diagnostic, open: bool) -> Diagnostic {
        let open = self.open.clone().filter(|_| open);
        let source_line = open.or_else(|| self.hidden.clone());
        Diagnostic { line: self.place.line, column: self.place.column, source_line, ..mistake }
    }
}

/// A mistake in a values file that could not be read, without what its line holds.
pub(super) fn line_of(mistake: Diagnostic) -> Diagnostic {
    let source_line = mistake.source_line.as_deref().map(masked);
    Diagnostic { source_line, ..mistake }
}

/// `name: ••••` where the line begins with the name of an answer, else nothing of it.
fn masked(line: &str) -> String {
    let name = |text: &str| {
        let begins = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        begins && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    match line.split_once(':') {
        Some((key, rest)) if name(key) && (rest.is_empty() || rest.starts_with([' ', '\t'])) => {
            if rest.trim().is_empty() { format!("{key}:") } else { format!("{key}: {HIDDEN}") }
        }
        _ => HIDDEN.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use crate::manifest::{Given, Manifest, resolve};

    /// All that is said about a values file for variables with and without secrets.
    fn said(values: &str) -> String {
        let manifest = "ferry: 1\nname: a\nversion: 1\nvariables:\n  plc_password: { type: secret, min: 12 }\n  \
                        plant: { pattern: '^[A-Z]+$', default: A }\n  halls: { type: list, default: [], min: 0 }\n";
        let variables = Manifest::parse("ferry.yaml", manifest).unwrap().variables;
        let given = match Given::from_file("v.yaml", values) {
            Ok(given) => given,
            Err(mistakes) => return mistakes.to_string(),
        };
        let remembered = [("plc_password".to_owned(), "long enough for all".into())].into();
        match resolve(&variables, &given, &remembered, &mut |_| String::new()) {
            Ok(_) => String::new(),
            Err(mistakes) => mistakes.to_string(),
        }
    }

    #[test]
    fn no_secret_is_shown() {
        for values in [
            "plc_password: geheim",
            "plc_password:\n  geheim",
            "plc_pasword: geheim12",
            "plc_password: geheim12\nplc_password: geheim12",
            "plc_password: geheim: x",
            "plc_password: @geheim12",
            "plc_password: !geheim12 x",
            "plc_password: !!int geheim",
            "plc_password: *geheim12",
            "plc_password: [geheim12]",
            "plc_password:\n  - geheim12",
            "plc_password: {geheim: 1, geheim: 2}",
            "plc_password: \"geheim",
            "plc_password: \"\\geheim\"",
            "plc_password: |\n  geheim: 1\n geheim",
            "plc_password: >\n  geheim12\ngeheim: 5",
            "plc_password: 'a\n  geheim: b'\nplc_password: x",
            "{ plc_password: geheim12long, plant: b }",
            "{ plc_password: \"geheim\n  geheim\", plant: b }",
            "- plc_password: geheim12",
            "geheim12",
            "plc_password: geheim12\0",
            "plc_password: geheim\n\tplant: b",
            "plc_password: {a: *geheim}",
            "plc_password: geheim\n--- geheim",
        ] {
            let said = said(values);
            // Where a secret stands as a name, nothing else can be said of it.
            let said = said.replace("`geheim` is not a variable", "").replace("| geheim:", "");
            assert!(said.contains("v.yaml") && !said.contains("geheim"), "{values:?}: {said}");
        }
        assert_eq!(
            said("plant: A\nplc_password: kurz\n"),
            "v.yaml:2:15: `plc_password`: at least 12 characters are asked for, has 4\n  2 | plc_password: ••••\n    \
             |               ^\n  hint: text that stays hidden, at least 12 characters"
        );
        assert!(said("plant: abc\n").contains("1 | plant: abc\n    |        ^"), "{}", said("plant: abc\n"));
    }
}
