use super::*;
use proptest::prelude::*;

fn tree(text: &str) -> Node {
    parse("t.yaml", text).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(text: &str) -> String {
    parse("t.yaml", text).expect_err("it must be refused").to_string()
}

#[test]
fn every_node_knows_its_place() {
    let root = tree("# note\na: 1\nb:\n  - x\n  - { c: 'd' }\nü: \"e\"\n");
    assert_eq!((root.place.line, root.place.column), (2, 1));
    let b = root.get("b").unwrap();
    assert_eq!((b.place.line, b.place.column), (4, 3));
    let Value::Seq(items) = &b.value else { panic!() };
    assert_eq!((items[0].place.line, items[0].place.column), (4, 5));
    assert_eq!((items[1].get("c").unwrap().place.line, items[1].get("c").unwrap().place.column), (5, 10));
    let e = root.get("ü").unwrap();
    assert_eq!((e.place.line, e.place.column), (6, 4));
    let Value::Map(entries) = &root.value else { panic!() };
    assert_eq!((entries[1].0.place.line, entries[1].0.place.column), (3, 1));
}

#[test]
fn scalars_keep_their_text_and_quotes_make_strings() {
    let root = tree("mode: 0440\nversion: 1.10\nquoted: '1'\ntagged: !!str 1\nblock: |\n  a\n  b\nempty:\n");
    assert_eq!(root.get("mode").unwrap().value, Value::Int(0o440, "0440".into()));
    assert_eq!(root.get("version").unwrap().text(), Some("1.10"));
    assert_eq!(root.get("quoted").unwrap().value, Value::Str("1".into()));
    assert_eq!(root.get("tagged").unwrap().value, Value::Str("1".into()));
    assert_eq!(root.get("block").unwrap().value, Value::Str("a\nb\n".into()));
    assert_eq!(root.get("empty").unwrap().value, Value::Null);
    assert_eq!(tree("").value, Value::Null);
    assert_eq!(tree("---\na: 1\n...\n").to_json(), serde_json::json!({"a": 1}));
}

#[test]
fn anchors_aliases_and_merges() {
    let root = tree(
        "base: &base\n  a: 1\n  b: 2\nmore: &more { b: 3, c: 4 }\nuse:\n  <<: [*base, *more]\n  a: 9\ncopy: *base\n",
    );
    assert_eq!(root.get("use").unwrap().to_json(), serde_json::json!({"a": 9, "b": 2, "c": 4}));
    assert_eq!(root.get("copy").unwrap().to_json(), serde_json::json!({"a": 1, "b": 2}));
    // A merged value points at where it was written, which is what one has to change.
    assert_eq!(root.get("use").unwrap().get("b").unwrap().place.line, 3);
}

#[test]
fn mistakes_of_syntax_show_the_line_and_a_hint() {
    assert_eq!(
        refused("a: 1\nb: 2\na: 3\n"),
        "t.yaml:3:1: key `a` is written twice; the first is on line 1\n  3 | a: 3\n    | ^\n  hint: keep one of them"
    );
    assert_eq!(
        refused("a: *nowhere\n"),
        "t.yaml:1:4: not valid YAML: while parsing node, found unknown anchor\n  1 | a: *nowhere\n    |    ^\n  hint: an alias `*name` needs `&name` above it; put quotes around a value that starts with `*`"
    );
    for (text, part) in [
        ("a: [1, 2\nb: 3\n", "close each `[`"),
        ("a: 'x\n", "close the quote"),
        ("a:\n\t- b\n", "indent with spaces"),
        ("a: b: c\n", "put quotes around a value that holds `: `"),
        ("a: 1\n---\nb: 2\n", "a second document begins here"),
        ("? [a]\n: b\n", "a key must be a single word"),
        ("a: &a [*a]\n", "inside the value that it names"),
        ("a: !reset []\n", "the tag `!reset` is not supported"),
        ("a: !!int x\n", "does not fit its tag"),
        ("<<: 3\n", "merges maps, found a number"),
        ("a: \0\n", "NUL"),
    ] {
        assert!(refused(text).contains(part), "{text:?}: {}", refused(text));
    }
}

#[test]
fn a_carriage_return_alone_ends_a_line_in_messages_too() {
    // What becomes of a file that was converted for Windows twice.
    assert_eq!(
        refused("a: 1\r\r\nb: 2\r---\rc: 3\r\n"),
        "t.yaml:4:1: a second document begins here\n  4 | ---\n    | ^\n  hint: keep one document in the file: delete the `---` and what follows"
    );
    assert!(refused("a: 1\rb: [\r").contains("\n  2 | b: [\n"), "{}", refused("a: 1\rb: [\r"));
}

#[test]
fn what_is_missing_at_the_end_is_shown_on_the_last_line() {
    assert_eq!(
        refused("a: 1\n?\n"),
        "t.yaml:2:2: a key must be a single word or text, found nothing\n  2 | ?\n    |  ^\n  hint: write the key in quotes"
    );
}

#[test]
fn alias_bombs_of_nodes_and_of_bytes_end() {
    let mut laughs = "l0: &l0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..20 {
        let below = level - 1;
        laughs += &format!("l{level}: &l{level} [{}]\n", vec![format!("*l{below}"); 10].join(", "));
    }
    assert!(refused(&laughs).contains("aliases expanded"), "{}", refused(&laughs));

    let long = format!("s: &s {}\nl: [{}]\n", "x".repeat(1 << 20), vec!["*s"; 1000].join(", "));
    assert!(refused(&long).contains("bytes, aliases expanded"));

    let mut chain = "l0: &l0 [x]\n".to_owned();
    for level in 1..200 {
        chain += &format!("l{level}: &l{level} [*l{}]\n", level - 1);
    }
    assert!(refused(&chain).contains("nested more than"));

    let merges = format!(
        "b: &b {{{}}}\n{}",
        keys(1000),
        (0..1000).map(|n| format!("m{n}: {{<<: *b}}\n")).collect::<String>()
    );
    assert!(refused(&merges).contains("aliases expanded"));
}

fn keys(count: usize) -> String {
    (0..count).map(|n| format!("k{n}: 1")).collect::<Vec<_>>().join(", ")
}

#[test]
fn depth_and_size_are_bounded() {
    for text in [
        "[".repeat(100_000),
        "{a: ".repeat(100_000),
        "- ".repeat(100_000),
        (0..5000).map(|n| format!("{}a:\n", " ".repeat(n.min(400)))).collect(),
        "? ".repeat(50_000),
    ] {
        parse("t.yaml", &text).expect_err("too deep");
    }
    assert!(refused(&"a".repeat(limits::MAX_YAML_BYTES + 1)).contains("at most 4194304 are read"));
    let huge = "a".repeat(limits::MAX_YAML_BYTES - 10);
    assert_eq!(tree(&huge).text().unwrap().len(), huge.len());
    assert!(refused(&"- 1\n".repeat(limits::MAX_YAML_NODES + 1)).contains("more than 250000 values"));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC*") {
        let _ = parse("t.yaml", &text);
    }

    #[test]
    fn any_yaml_like_text_is_read_or_refused(text in "[-?:,\\[\\]{}#&*!|>'\"%@`a1 \\n\\t<~.]{0,80}") {
        if let Err(error) = parse("t.yaml", &text) {
            let _ = error.to_string();
        }
    }
}
