//! Where the manifest names a file: what is wrong with it is shown at its path, and not where its entry begins.

use manifest_schema::Diagnostic;
use manifest_schema::yaml::{self, Node, Place, Value};

/// The manifest as it is written.
#[derive(Debug)]
pub(crate) struct Mentions {
    shown: String,
    text: String,
    root: Option<Node>,
}

impl Mentions {
    /// The manifest's text, which messages call `shown`.
    pub(crate) fn read(shown: &str, text: &str) -> Self {
        // What is no YAML was told by whoever read it for its content.
        Self { shown: shown.to_owned(), text: text.to_owned(), root: yaml::parse(shown, text).ok() }
    }

    /// A mistake about `path`, which an entry of `section` names that begins on `line`.
    pub(crate) fn mistake(&self, section: &str, path: &str, line: usize, message: String) -> Diagnostic {
        let place = self.place(section, path, line);
        Diagnostic::new(&self.shown, message).at(&self.text, place.line, place.column)
    }

    /// The first value that says `path` from `line` on.
    fn place(&self, section: &str, path: &str, line: usize) -> Place {
        let mut waiting: Vec<&Node> =
            self.root.as_ref().and_then(|root| root.get(section)).into_iter().collect();
        let mut first: Option<Place> = None;
        while let Some(node) = waiting.pop() {
            match &node.value {
                Value::Map(entries) => waiting.extend(entries.iter().map(|(_, node)| node)),
                Value::Seq(items) => waiting.extend(items),
                _ if node.text() == Some(path) && node.place.line >= line => {
                    let earlier =
                        |other: Place| (other.line, other.column) < (node.place.line, node.place.column);
                    first = first.filter(|other| earlier(*other)).or(Some(node.place));
                }
                _ => {}
            }
        }
        first.unwrap_or(Place { line, ..Place::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_in_its_own_entry() {
        let text = "configs:\n  - { to: a, from: x }\n  - to: x\n    from: x\nartifacts:\n  - x\n  - from: y\n    to: x\n";
        let mentions = Mentions::read("ferry.yaml", text);
        let place = |section: &str, path: &str, line: usize| {
            let mistake = mentions.mistake(section, path, line, "no".to_owned());
            (mistake.line, mistake.column)
        };
        assert_eq!(place("configs", "x", 2), (2, 20));
        assert_eq!(place("artifacts", "x", 6), (6, 5));
        assert_eq!(place("artifacts", "y", 7), (7, 11));
        // Not found as it is written: the entry itself.
        assert_eq!(place("artifacts", "z", 7), (7, 3));
    }
}
