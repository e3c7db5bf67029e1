//! A tree as YAML text, for people and for other programs.
//!
//! Invariant: reading the text gives the same tree. Texts that read as something else get double quotes (YAML 1.2.2,
//! section 7.3.1), texts of several lines become literal blocks (8.1.2) where that loses nothing.

use super::{Node, Value, scalar};

/// The tree as text, which ends with a newline. `text` is what each string becomes first, for readers that
/// give some characters a meaning of their own.
#[must_use]
pub fn write(node: &Node, text: &dyn Fn(&str) -> String) -> String {
    let mut out = String::new();
    value(&mut out, node, 0, text);
    if !out.ends_with('\n') {
        out.push('\n');
    }
    // What the root begins with is never on the line of a key.
    out.trim_start_matches(['\n', ' ']).to_owned()
}

/// Longest key that stands before its `:` on one line (YAML 1.2.2, section 7.4.2: 1024 characters).
const IMPLICIT_KEY_CHARS: usize = 1000;

type Text<'t> = &'t dyn Fn(&str) -> String;

/// Writes a value behind `key:` or `-`, with what separates them.
fn value(out: &mut String, node: &Node, depth: usize, text: Text<'_>) {
    match &node.value {
        Value::Map(entries) if entries.is_empty() => out.push_str(" {}\n"),
        Value::Map(entries) => {
            out.push('\n');
            for (key, node) in entries {
                indent(out, depth);
                let name = one_line(&key.text);
                if name.len() > IMPLICIT_KEY_CHARS {
                    out.push_str("? ");
                    out.push_str(&name);
                    out.push('\n');
                    indent(out, depth);
                } else {
                    out.push_str(&name);
                }
                out.push(':');
                value(out, node, depth + 1, text);
            }
        }
        Value::Seq(items) if items.is_empty() => out.push_str(" []\n"),
        Value::Seq(items) => {
            out.push('\n');
            for item in items {
                indent(out, depth);
                out.push('-');
                value(out, item, depth + 1, text);
            }
        }
        Value::Null => out.push_str(" null\n"),
        Value::Bool(value) => out.push_str(if *value { " true\n" } else { " false\n" }),
        Value::Int(_, written) | Value::Float(_, written) => {
            // `!!float 2`, which is a whole number without its tag.
            let float = matches!(node.value, Value::Float(..));
            let tagged = float && matches!(scalar::plain(written), Value::Int(..));
            out.push_str(if tagged { " !!float " } else { " " });
            out.push_str(written);
            out.push('\n');
        }
        Value::Str(written) => string(out, &text(written), depth),
    }
}

fn indent(out: &mut String, depth: usize) {
    for _ in 0..depth {
        out.push_str("  ");
    }
}

fn string(out: &mut String, text: &str, depth: usize) {
    let Some(chomp) = literal(text) else {
        out.push(' ');
        out.push_str(&one_line(text));
        out.push('\n');
        return;
    };
    out.push_str(" |");
    out.push_str(chomp);
    out.push('\n');
    for line in text.lines() {
        if !line.is_empty() {
            indent(out, depth.max(1));
            out.push_str(line);
        }
        out.push('\n');
    }
}

/// How a literal block of this text ends; `None` where it cannot be one.
fn literal(text: &str) -> Option<&'static str> {
    let plain =
        |c: char| c == '\n' || (!c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}'));
    let first = text.chars().next()?;
    let body = text.strip_suffix('\n').unwrap_or(text);
    if !text.contains('\n') || first.is_whitespace() || body.ends_with('\n') || !text.chars().all(plain) {
        return None;
    }
    Some(if text.ends_with('\n') { "" } else { "-" })
}

/// A text on one line: plain where it can only be read as itself, else in double quotes.
fn one_line(text: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "_./@+-".contains(c);
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric() || "_./".contains(c));
    // `a:80` is plain, `a: b` and `a:` are not; the colon never stands last or before a blank here.
    let colons = !text.ends_with(':') && text.chars().all(|c| safe(c) || c == ':');
    let itself =
        matches!(scalar::plain(text), Value::Str(_)) && !text.starts_with("---") && !text.starts_with("...");
    if first && colons && itself && text != "<<" && !is_sexagesimal(text) {
        return text.to_owned();
    }
    // A JSON string is a double-quoted YAML one but for characters that JSON leaves as they are.
    let quoted = serde_json::Value::from(text).to_string();
    let mut out = String::with_capacity(quoted.len());
    for c in quoted.chars() {
        if matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}') {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

/// `22:22`, which YAML 1.1 reads as a number, and older readers still do.
fn is_sexagesimal(text: &str) -> bool {
    text.contains(':') && text.bytes().all(|b| b.is_ascii_digit() || b == b':' || b == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::parse;
    use proptest::prelude::*;

    fn again(text: &str) -> String {
        write(&parse("a.yaml", text).unwrap(), &str::to_owned)
    }

    #[test]
    fn it_reads_as_people_would_write_it() {
        let text = "services:\n  web:\n    image: nginx:1.25\n    ports:\n      - \"8080:80\"\n    command:\n      - sh\n      - -c\n    script: |\n      a\n\n       b\n    none: null\n    empty: []\n    yes_text: \"yes\"\n    version: \"1.10\"\n    number: 1.10\n";
        let expected = text.replace("      - -c\n", "      - \"-c\"\n").replace("\"yes\"", "yes");
        assert_eq!(again(text), expected);
        assert_eq!(again("[!!float 2, !!float 2.5, !!int '3']"), "- !!float 2\n- 2.5\n- 3\n");
        let long = "k".repeat(1500);
        let explicit = format!("a:\n  ? {long}\n  :\n    b: 1\n");
        assert_eq!(again(&explicit), explicit);
        assert_eq!(again("a"), "a\n");
        assert_eq!(again("[a, [b, {c: d}]]"), "- a\n-\n  - b\n  -\n    c: d\n");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(texts in prop::collection::vec("(\\PC|[\\n\\t:#\\-'\" $!&*|>%@`0-9.~{}\\[\\]\u{85}\u{2028}]|true|null|: | #){0,12}", 1..6)) {
            let mut node = parse("a.yaml", "{}").unwrap();
            let place = node.place;
            let string = |text: &String| Node { value: Value::Str(text.clone()), place, merging: Default::default() };
            let items: Vec<Node> = texts.iter().map(string).collect();
            let list = Node { value: Value::Seq(items.clone()), ..node.clone() };
            let mut entries = vec![(crate::yaml::Key { text: "list".to_owned(), place }, list)];
            for (index, item) in items.into_iter().enumerate() {
                let text = format!("{}{index}", texts[index]);
                entries.push((crate::yaml::Key { text, place }, item));
            }
            node.value = Value::Map(entries);
            let written = write(&node, &str::to_owned);
            let read = parse("a.yaml", &written).unwrap_or_else(|error| panic!("{error}\n{written}"));
            prop_assert!(read.same(&node), "{written}\n{read:?}");
        }
    }
}
