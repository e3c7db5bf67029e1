use super::*;
use crate::manifest::{Given, Manifest, resolve};
use serde_json::json;

fn variables(text: &str) -> BTreeMap<String, Variable> {
    let text = format!("ferry: 1\nname: a\nversion: 1\nvariables:\n{text}");
    Manifest::parse("ferry.yaml", &text).unwrap_or_else(|error| panic!("{error}")).variables
}

fn refused(text: &str) -> String {
    let text = format!("ferry: 1\nname: a\nversion: 1\nvariables:\n{text}");
    Manifest::parse("ferry.yaml", &text).expect_err("it must be refused").to_string()
}

fn values(pairs: &[(&str, Value)]) -> BTreeMap<String, Value> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn letters(length: usize) -> String {
    "r".repeat(length)
}

#[test]
fn defaults_are_of_the_variables_kind() {
    let variables = variables(
        "  s: { default: 1.10 }\n  i: { type: int, default: 7 }\n  b: { type: bool, default: false }\n  \
         c: { choices: [a, b], default: b }\n  l: { type: list, default: [1, x] }\n  \
         m: { type: map, default: { a: 1 } }\n  p: { type: path, default: /srv }\n  \
         t: { type: port, default: 443 }\n  h: { type: address, default: plc-1.local }\n  \
         g: { type: secret, generate: 32 }\n  n:\n",
    );
    let default = |name: &str| variables[name].default.clone();
    assert_eq!(default("s"), Some(json!("1.10")));
    assert_eq!(default("i"), Some(json!(7)));
    assert_eq!(default("b"), Some(json!(false)));
    assert_eq!(default("c"), Some(json!("b")));
    assert_eq!(default("l"), Some(json!([1, "x"])));
    assert_eq!(default("m"), Some(json!({"a": 1})));
    assert_eq!(default("p"), Some(json!("/srv")));
    assert_eq!(default("t"), Some(json!(443)));
    assert_eq!(default("h"), Some(json!("plc-1.local")));
    assert_eq!(variables["g"].generate, Some(32));
    assert_eq!(variables["c"].kind, VariableKind::Choice);
    assert_eq!(variables["n"].kind, VariableKind::String);
}

#[test]
fn mistakes_in_variables() {
    for (text, part) in [
        ("  a: { type: integer }\n", "did you mean `int`?"),
        ("  a: { type: strng }\n", "did you mean `string`?"),
        ("  a: { type: int, default: x }\n", "expected a whole number, found `x`"),
        ("  a: { type: port, default: 70000 }\n", "expected a port between 1 and 65535, found `70000`"),
        ("  a: { type: choice }\n", "has no `choices`"),
        ("  a: { choices: [x], default: y }\n", "expected one of x, found `y`"),
        ("  a: { type: int, pattern: x }\n", "a pattern is for string"),
        ("  a: { pattern: '(' }\n", "not a regular expression"),
        ("  a: { pattern: '^b$', default: c }\n", "does not match the pattern ^b$"),
        ("  a: { type: secret, default: hunter2 }\n", "everyone can read"),
        ("  a: { type: secret, generate: 0 }\n", "must lie between 1 and 256"),
        ("  a: { generate: 8, default: x }\n", "both `generate` and `default`"),
        ("  a-b: {}\n", "cannot be the name of a variable"),
        ("  ferry: {}\n", "templates use it for something else"),
        ("  a: { promt: x }\n", "did you mean `prompt`?"),
        ("  a: text\n", "expected a map for `a`, found a string `text`"),
        ("  a: { type: path, default: srv }\n", "an absolute path"),
        ("  a: { type: address, default: 'a b' }\n", "an IP address or a host name"),
        ("  a: { type: int, min: 5, default: 3 }\n", "at least 5 are asked for, found 3"),
        ("  a: { max: 2, default: abc }\n", "at most 2 characters are allowed, has 3"),
        ("  a: { type: list, min: 1, default: [] }\n", "at least 1 entry is asked for, has 0"),
        ("  a: { type: int, min: 5, max: 3 }\n", "has `min` 5 above `max` 3"),
        ("  a: { type: bool, min: 5 }\n", "has a range, but its type is bool"),
        (
            "  a: { type: secret, generate: 8, min: 12 }\n",
            "is generated with 8 characters, outside its range",
        ),
        ("  a: { choices: [] }\n", "`choices` of variable `a` is empty"),
        ("  a: { choices: [x, x] }\n", "the choice `x` is written twice"),
        (
            "  a: { type: int, default: 010 }\n",
            "`010` has a leading zero: write 10, or 8 where it was meant in octal",
        ),
        ("  a: { type: port, default: 080 }\n", "`080` has a leading zero: write 80\n"),
        ("  a: { type: list, default: [a, [b]] }\n", "entry 2 is a list: each is one value or a map"),
        (
            "  a: { type: list, default: '[a' }\n  b: { type: list, default: '[a, ]]' }\n",
            "`[a, ]]` is not valid YAML",
        ),
        ("  a: { prompt: \"x\\ny\" }\n", "has a line break or another control character"),
        ("  a: { help: \"x\\ey\" }\n", "has a control character"),
        ("  a: { default: \"x\\ey\" }\n", "has a control character"),
        ("  a: { choices: [\"x\\ry\"] }\n", "has a line break or another control character"),
        ("  a: { when: 'b ==' }\n", "`when` is not an expression"),
        ("  a: { type: bool }\n  b: { when: aa }\n", "`when` of `b` uses `aa`, which is no variable"),
        ("  a: { when: b }\n  b: { type: bool }\n", "`when` of `a` uses `b`, which is asked later"),
    ] {
        assert!(refused(text).contains(part), "{text}: {}", refused(text));
    }
    assert!(!refused("  a: { type: secret, default: hunter2, pattern: '^x' }\n").contains("found `hunter2`"));
}

#[test]
fn values_come_from_the_first_that_has_one() {
    let variables = variables(
        "  given: { default: d }\n  kept: { default: d }\n  default: { default: d }\n  made: { type: secret, generate: 4 }\n",
    );
    let given = values(&[("given", json!("g"))]);
    let remembered = values(&[("given", json!("r")), ("kept", json!("r")), ("gone", json!(1))]);
    let resolved = resolve(&variables, &Given::from(given), &remembered, &mut letters).unwrap();
    assert_eq!(
        resolved,
        values(&[
            ("given", json!("g")),
            ("kept", json!("r")),
            ("default", json!("d")),
            ("made", json!("rrrr"))
        ])
    );
}

#[test]
fn text_from_a_prompt_becomes_the_kind() {
    let variables = variables(
        "  i: { type: int }\n  b: { type: bool }\n  l: { type: list }\n  s: {}\n  t: { type: port }\n",
    );
    let given = values(&[
        ("i", json!("-3")),
        ("b", json!("yes")),
        ("l", json!("a, b,")),
        ("s", json!(8)),
        ("t", json!("80")),
    ]);
    let resolved = resolve(&variables, &Given::from(given), &BTreeMap::new(), &mut letters).unwrap();
    assert_eq!(
        resolved,
        values(&[
            ("i", json!(-3)),
            ("b", json!(true)),
            ("l", json!(["a", "b"])),
            ("s", json!("8")),
            ("t", json!(80))
        ])
    );
}

#[test]
fn everything_missing_or_bad_is_told_at_once() {
    let variables = variables(
        "  plant: { prompt: Name of this plant, pattern: '^[A-Z]{3}-[0-9]+$' }\n  port: { type: port }\n  \
         key: { type: secret, pattern: '^x' }\n  side: { choices: [a, b] }\n",
    );
    let given = values(&[("port", json!(0)), ("key", json!("hunter2")), ("plnat", json!("x"))]);
    let error = resolve(&variables, &Given::from(given), &BTreeMap::new(), &mut letters).unwrap_err();
    assert_eq!(
        error.to_string(),
        "variables: `plnat` is not a variable\n  hint: did you mean `plant`?\n\
         variables: `plant` has no value\n  hint: Name of this plant: text, matching ^[A-Z]{3}-[0-9]+$\n\
         variables: `port`: expected a port between 1 and 65535, found `0`\n  hint: a port, 1 to 65535\n\
         variables: `key`: the given value does not match the pattern ^x\n  hint: text that stays hidden, matching ^x\n\
         variables: `side` has no value\n  hint: one of a, b"
    );
}

#[test]
fn a_condition_decides_what_is_asked() {
    let variables = variables(
        "  tls: { type: bool, default: false }\n  mode: { choices: [one, pair], default: one }\n  \
         cert: { type: path, when: tls }\n  peer: { type: address, when: mode == 'pair' and tls }\n",
    );
    let resolve = |given: &[(&str, Value)], remembered: &[(&str, Value)]| {
        resolve(&variables, &Given::from(values(given)), &values(remembered), &mut letters)
    };
    let plain = resolve(&[], &[("cert", json!("/old"))]).unwrap();
    assert_eq!((&plain["cert"], &plain["peer"]), (&Value::Null, &Value::Null));
    let error = resolve(&[("tls", json!(true)), ("mode", json!("pair"))], &[]).unwrap_err().to_string();
    assert_eq!(
        error,
        "variables: `cert` has no value\n  hint: a path on this host that begins with `/`\n\
         variables: `peer` has no value\n  hint: an IP address or a host name, without port and `http://`"
    );
    let tls = resolve(&[("tls", json!(true))], &[("cert", json!("/old"))]).unwrap();
    assert_eq!(tls["cert"], json!("/old"));
}

#[test]
fn answers_of_a_file_are_told_with_their_line() {
    let variables =
        variables("  version: {}\n  port: { type: port }\n  cameras: { type: list, default: [] }\n");
    let file = "version: 1.10\nprot: 80\nport: 99999\ncameras: [{ name: gate }]\n";
    let mut given = Given::from_file("sites/north.yaml", file).unwrap();
    let error = resolve(&variables, &given, &BTreeMap::new(), &mut letters).unwrap_err().to_string();
    assert_eq!(
        error,
        "sites/north.yaml:2:1: `prot` is not a variable\n  2 | prot: ••••\n    | ^\n  hint: did you mean `port`?\n\
         sites/north.yaml:3:7: `port`: expected a port between 1 and 65535, found `99999`\n  3 | port: 99999\n    |       ^\n  hint: a port, 1 to 65535"
    );
    given = Given::from_file("sites/north.yaml", "version: 1.10\nport: 80\n").unwrap();
    given.set("port", json!("81"), "--set");
    let resolved = resolve(&variables, &given, &BTreeMap::new(), &mut letters).unwrap();
    assert_eq!((&resolved["version"], &resolved["port"]), (&json!("1.10"), &json!(81)));
    assert!(
        Given::from_file("v.yaml", "- a\n").unwrap_err().to_string().contains("expected a map of answers")
    );
    assert_eq!(Given::from_file("v.yaml", "").unwrap(), Given::default());
}

#[test]
fn what_is_expected_has_its_unit() {
    let variables = variables(
        "  i: { type: int, min: 1, max: 9 }\n  s: { pattern: '^[a-z]+$', min: 8 }\n  l: { type: list, max: 3 }\n  \
         c: { choices: [a, b] }\n  b: { type: bool }\n",
    );
    let expected = |name: &str| variables[name].expected();
    assert_eq!(expected("i"), "int, 1 to 9");
    assert_eq!(expected("s"), "string, matching ^[a-z]+$, at least 8 characters");
    assert_eq!(expected("l"), "list, separated by commas, at most 3 entries");
    let expected = |name: &str| variables[name].wanted();
    assert_eq!(expected("i"), "a whole number, 1 to 9");
    assert_eq!(expected("s"), "text, matching ^[a-z]+$, at least 8 characters");
    assert_eq!(expected("l"), "a list: values with commas between them, or `[a, b]`, at most 3 entries");
    assert_eq!(expected("c"), "one of a, b");
    assert_eq!(expected("b"), "yes or no");
}

#[test]
fn answers_that_cannot_be_right_are_known_before_anything_is_asked() {
    let variables = variables("  tls: { type: bool }\n  port: { type: port, when: tls }\n");
    let fits = |pairs: &[(&str, Value)]| Given::from(values(pairs)).fits(&variables);
    assert!(fits(&[]) && fits(&[("tls", json!("yes"))]));
    assert!(!fits(&[("tls", json!("perhaps"))]) && !fits(&[("tsl", json!(true))]));
    assert!(fits(&[("port", json!("x"))]), "it may not be asked for");
}

#[test]
fn text_in_brackets_is_a_list_or_a_map() {
    let variables = variables("  l: { type: list }\n  m: { type: map }\n");
    let check = |name: &str, text: &str| variables[name].check(&json!(text));
    assert_eq!(check("l", "[A, B]"), Ok(json!(["A", "B"])));
    assert_eq!(check("l", " [1, {a: 'b, c'}, 010]"), Ok(json!([1, {"a": "b, c"}, "010"])));
    assert_eq!(check("l", "A, B"), Ok(json!(["A", "B"])));
    assert_eq!(check("m", "{a: b}"), Ok(json!({"a": "b"})));
    assert_eq!(check("m", "a"), Err("expected a map, found a string".to_owned()));
    assert!(check("l", "[A, [B]]").unwrap_err().contains("entry 2 is a list"));
    assert!(check("m", "{a: b}}").unwrap_err().contains("`{a: b}}` is not valid YAML"));
}

#[test]
fn numbers_with_leading_zeros_are_nobodys() {
    let variables = variables("  i: { type: int }\n  p: { type: port }\n  s: {}\n");
    let given = Given::from_file("v.yaml", "i: 010\np: 080\ns: 010\n").unwrap();
    let error = resolve(&variables, &given, &BTreeMap::new(), &mut letters).unwrap_err().to_string();
    assert!(error.contains("v.yaml:1:4: `i`: `010` has a leading zero: write 10, or 8"), "{error}");
    assert!(error.contains("v.yaml:2:4: `p`: `080` has a leading zero: write 80\n"), "{error}");
    assert_eq!(variables["i"].check(&json!("0o17")), Ok(json!(15)));
    assert_eq!(variables["s"].check(&json!("010")), Ok(json!("010")));
}

#[test]
fn mistakes_stand_in_the_order_of_the_file() {
    let names: String =
        (0..15).map(|n| format!("  v{n}: {{ choices: [left, right], default: left }}\n")).collect();
    let variables = variables(&format!("{names}  zz: {{ type: int, prompt: How many }}\n"));
    let given = Given::from_file("v.yaml", "zz: x\nunheard: 1\nv3: lefft\n").unwrap();
    let error = resolve(&variables, &given, &BTreeMap::new(), &mut letters).unwrap_err().to_string();
    assert_eq!(
        error,
        "v.yaml:1:5: `zz`: expected a whole number, found `x`\n  1 | zz: x\n    |     ^\n  hint: How many: a whole number\n\
         v.yaml:2:1: `unheard` is not a variable\n  2 | unheard: ••••\n    | ^\n  hint: variables of this bundle: v0, v1, v10, v11, v12, v13, v14, v2, v3, v4, v5, v6, … and 4 more\n\
         v.yaml:3:5: `v3`: expected one of left, right, found `lefft`\n  3 | v3: lefft\n    |     ^\n  hint: did you mean `left`?"
    );
}

#[test]
fn no_more_variables_than_anyone_answers() {
    let all: String = (0..1001).map(|n| format!("  v{n}: {{ when: \"1\" }}\n")).collect();
    assert!(refused(&all).contains("1001 variables; at most 1000 are read"));
}
