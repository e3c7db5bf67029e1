use super::*;
use manifest_schema::manifest::Manifest;
use serde_json::json;
use std::cell::Cell;
use std::collections::VecDeque;

/// Somebody whose lines are known beforehand; the input ends after them.
#[derive(Default)]
struct Script {
    typed: VecDeque<String>,
    /// All that was shown: lines, and prompts with what was typed where it can be seen.
    seen: Vec<String>,
    tones: Vec<Tone>,
}

impl Person for Script {
    fn say(&mut self, tone: Tone, line: &str) {
        self.seen.push(line.to_owned());
        self.tones.push(tone);
    }

    fn forget_typed(&mut self) {}

    fn read(&mut self, prompt: &str, hidden: bool) -> Result<Option<String>> {
        let line = self.typed.pop_front();
        let shown = line.as_deref().filter(|_| !hidden).unwrap_or_default();
        self.seen.extend(format!("{prompt}{shown}").lines().map(str::to_owned));
        Ok(line)
    }
}

impl Script {
    fn text(&self) -> String {
        self.seen.join("\n")
    }

    fn saw(&self, text: &str) -> bool {
        self.text().contains(text)
    }

    /// The questions in the order in which they were put.
    fn asked(&self) -> Vec<&str> {
        let title = |line: &'_ &String| line.split("  ").next().is_some_and(|number| number.contains('/'));
        self.seen.iter().filter(title).map(String::as_str).collect()
    }
}

struct Site {
    manifest: Manifest,
    given: Values,
    remembered: Values,
    tried: Values,
}

fn site(variables: &str) -> Site {
    let text = format!("ferry: 1\nname: plant\nversion: 2.4.0\nvariables:\n{variables}");
    let manifest = Manifest::parse("ferry.yaml", &text).unwrap_or_else(|error| panic!("{error}"));
    Site { manifest, given: Values::new(), remembered: Values::new(), tried: Values::new() }
}

fn values(pairs: &[(&str, Value)]) -> Values {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

impl Site {
    fn given(mut self, pairs: &[(&str, Value)]) -> Self {
        self.given = values(pairs);
        self
    }

    fn remembered(mut self, pairs: &[(&str, Value)]) -> Self {
        self.remembered = values(pairs);
        self
    }

    fn interview(&self) -> Interview<'_> {
        let Self { manifest, given, remembered, tried } = self;
        Interview::new(&Questions { manifest, given, remembered, tried, goes_on: &|| true }, false)
    }

    /// The answers after these lines, what was seen, and the options that give them again.
    fn outcome(&self, lines: &[&str]) -> (Result<Values>, Script, Vec<String>) {
        self.outcome_while(lines, &|| true)
    }

    /// As `outcome`, where `goes_on` is asked before each question.
    fn outcome_while(
        &self,
        lines: &[&str],
        goes_on: &dyn Fn() -> bool,
    ) -> (Result<Values>, Script, Vec<String>) {
        let mut person =
            Script { typed: lines.iter().map(|line| (*line).to_owned()).collect(), ..Script::default() };
        let mut interview = self.interview();
        let result = converse(&mut interview, "plant 2.4.0", "install", goes_on, &mut person);
        (result.map(|()| interview.answers()), person, interview.options())
    }

    #[track_caller]
    fn answers(&self, lines: &[&str]) -> (Values, Script) {
        let (result, person, _) = self.outcome(lines);
        let answers = result.unwrap_or_else(|error| panic!("{error}\n{}", person.text()));
        assert!(person.typed.is_empty(), "{:?} was not read\n{}", person.typed, person.text());
        (answers, person)
    }

    #[track_caller]
    fn fails(&self, lines: &[&str]) -> (String, Script) {
        let (result, person, _) = self.outcome(lines);
        (result.expect_err("it must fail").to_string(), person)
    }
}

#[test]
fn nothing_more_is_asked_once_the_bundle_is_known_to_be_broken() {
    let site = site("  one: { prompt: One }\n  two: { prompt: Two }\n  three: { prompt: Three }\n");
    let asked = Cell::new(0);
    let goes_on = || asked.replace(asked.get() + 1) < 2;
    let (result, person, options) = site.outcome_while(&["1", "2", "3"], &goes_on);
    assert_eq!(result.unwrap(), values(&[("one", json!("1")), ("two", json!("2"))]));
    assert_eq!(person.asked(), ["1/3  One", "2/3  Two"]);
    assert!(!person.saw("The answers"), "{}", person.text());
    assert_eq!(options, ["--set one=1", "--set two=2"]);
}

#[test]
fn a_whole_conversation_as_it_is_seen() {
    let site = site(
        "  plant_name: { prompt: Name of this plant, pattern: '^[A-Z]{3}-[0-9]+$' }\n  \
         side: { prompt: Which side, choices: [north, south], default: north }\n  \
         password: { prompt: Password of the PLC, type: secret, min: 4 }\n  \
         token: { type: secret, generate: 32 }\n  \
         retries: { type: int, default: 3 }\n",
    );
    let (answers, person) = site.answers(&["plant1", "ABC-7", "2", "abcd", "abcd", ""]);
    assert_eq!(
        answers,
        values(&[("plant_name", json!("ABC-7")), ("side", json!("south")), ("password", json!("abcd"))])
    );
    assert_eq!(
        person.text(),
        "plant 2.4.0 has 3 questions about this site
Enter takes the answer in [brackets], ? explains, < goes back, Ctrl-C stops

1/3  Name of this plant
     string, matching ^[A-Z]{3}-[0-9]+$
     > plant1
     `plant1` does not match the pattern ^[A-Z]{3}-[0-9]+$
     > ABC-7

2/3  Which side
      1  north
      2  south
     a number or a name of the list
     [north] > 2

3/3  Password of the PLC
     secret, at least 4 characters
     what you type is not shown
     > \n     once more, to be sure
     > \n
The answers
   1  Name of this plant   ABC-7
   2  Which side           south
   3  Password of the PLC  ••••
   4  token                generated
   5  retries              3 (default)
Enter = install, number = change that answer, < = back, q = stop
> "
    );
}

#[test]
fn only_what_has_no_answer_and_no_silent_default_is_asked() {
    let text = "  a: { prompt: A, default: x }\n  b: { default: x }\n  c: {}\n  d: { type: secret, generate: 8 }\n  \
                e: { prompt: E, generate: 8 }\n  f: { type: map, prompt: F, default: {} }\n  g: { help: about g }\n";
    let (answers, person) = site(text).answers(&["", "1", "2", ""]);
    assert_eq!(answers, values(&[("a", json!("x")), ("c", json!("1")), ("g", json!("2"))]));
    assert_eq!(person.asked(), ["1/3  A", "2/3  c", "3/3  g"]);
    assert!(person.saw("3/3  g\n     about g\n"), "help stands in for a prompt");
    // Given and remembered ones are not asked, whatever the manifest says.
    let rest = site(text).given(&[("a", json!("y"))]).remembered(&[("c", json!("z")), ("gone", json!(1))]);
    let (answers, person) = rest.answers(&["2", ""]);
    assert_eq!(answers, values(&[("g", json!("2"))]));
    assert_eq!(person.asked(), ["1/1  g"]);
    assert!(person.saw("plant 2.4.0 has 1 question about"));
    assert!(
        person.saw("\n      A  y (given)\n") && person.saw("1 answer remembered on this host"),
        "{}",
        person.text()
    );
    // Nothing to ask: nothing is said, and nothing is read.
    let done = site(text).remembered(&[("a", json!("y")), ("c", json!("z")), ("g", json!("2"))]);
    let (answers, person) = done.answers(&[]);
    assert!(answers.is_empty() && person.seen.is_empty());
    // `null` is what a variable was that was not asked for.
    let asked = site("  c: {}\n").remembered(&[("c", Value::Null)]).answers(&["x", ""]).1;
    assert_eq!(asked.asked(), ["1/1  c"]);
}

#[test]
fn questions_come_in_the_order_of_the_manifest() {
    let (_, person) = site("  zebra: {}\n  ant: {}\n  mole: {}\n").answers(&["1", "2", "3", ""]);
    assert_eq!(person.asked(), ["1/3  zebra", "2/3  ant", "3/3  mole"]);
}

#[test]
fn every_kind_is_checked_at_once_and_asked_again() {
    for (variable, wrong, why, right, value) in [
        ("type: int, min: 2, max: 5", "six", "expected a whole number, found `six`", "4", json!(4)),
        ("type: int, min: 2, max: 5", "6", "at most 5 are allowed, found 6", "2", json!(2)),
        ("type: port", "0", "a port between 1 and 65535", " 443 ", json!(443)),
        ("type: bool", "perhaps", "expected yes or no, found `perhaps`", "y", json!(true)),
        ("type: bool", "1", "expected yes or no", "N", json!(false)),
        ("type: path", "srv", "an absolute path", "/srv", json!("/srv")),
        ("type: address", "a b", "an IP address or a host name", "plc-1.local", json!("plc-1.local")),
        ("type: list, min: 2", "a", "at least 2 entries are asked for, has 1", "a, b", json!(["a", "b"])),
        ("choices: [low, high]", "3", "expected one of low, high, found `3`", "1", json!("low")),
        ("choices: [low, high]", "mid", "expected one of low, high", "high", json!("high")),
        ("choices: [low, high]", "0", "expected one of low, high", "low", json!("low")),
        ("max: 3", "abcd", "at most 3 characters are allowed, has 4", "abc", json!("abc")),
        ("pattern: '^x'", "", "an answer is needed", "xy", json!("xy")),
    ] {
        let (answers, person) = site(&format!("  a: {{ {variable} }}\n")).answers(&[wrong, right, ""]);
        assert_eq!(answers, values(&[("a", value)]), "{variable}");
        assert!(person.saw(why), "{variable}: {}", person.text());
        assert_eq!(person.tones.iter().filter(|tone| **tone == Tone::Wrong).count(), 1);
    }
}

#[test]
fn enter_takes_the_default_and_brackets_show_it() {
    for (variable, shown, value) in [
        ("default: 1.10", "[1.10]", json!("1.10")),
        ("default: ''", "[empty]", json!("")),
        ("type: bool, default: false", "[no]", json!(false)),
        ("type: list, default: [a, 2]", "[a, 2]", json!(["a", 2])),
        ("type: list, default: []", "[none]", json!([])),
        ("type: list, default: [{ name: gate }]", r#"[[{"name":"gate"}]]"#, json!([{ "name": "gate" }])),
        ("choices: [x, y], default: y", "[y]", json!("y")),
        ("type: list", "[none]", json!([])),
    ] {
        let (answers, person) = site(&format!("  a: {{ prompt: A, {variable} }}\n")).answers(&["", ""]);
        assert_eq!(answers, values(&[("a", value)]), "{variable}");
        assert!(person.saw(&format!("     {shown} > ")), "{variable}: {}", person.text());
    }
    let (answers, _) = site("  a: { prompt: A, type: list, default: [x] }\n").answers(&[",", ""]);
    assert_eq!(answers["a"], json!([]), "a comma empties a list");
}

#[test]
fn a_choice_that_is_named_like_a_number_goes_by_its_name() {
    let site = site("  a: { choices: ['2', '10'] }\n");
    assert_eq!(site.answers(&["2", ""]).0["a"], json!("2"));
    assert_eq!(site.answers(&["1", ""]).0["a"], json!("2"));
    assert_eq!(site.answers(&["10", ""]).0["a"], json!("10"));
}

#[test]
fn help_is_shown_on_request_and_the_question_stays() {
    let site = site("  a: { prompt: A, help: \"first line\\nsecond line\" }\n  b: { type: list }\n");
    let (_, person) = site.answers(&["?", "x", "?", "", ""]);
    assert!(
        person
            .saw("     first line\n     second line\n     expected: string\n     name of the variable: a\n")
    );
    assert!(person.saw("     the bundle says no more about it\n     expected: list"), "{}", person.text());
    assert!(person.saw("a single comma stands for an empty list"));
}

#[test]
fn going_back_asks_again_with_the_answer_in_brackets() {
    let site = site("  a: {}\n  b: {}\n  c: {}\n");
    let (answers, person) = site.answers(&["1", "2", "<", "<", "one", "3", ""]);
    assert_eq!(answers, values(&[("a", json!("one")), ("b", json!("2")), ("c", json!("3"))]));
    assert_eq!(person.asked(), ["1/3  a", "2/3  b", "3/3  c", "2/3  b", "1/3  a", "3/3  c"]);
    assert!(person.saw("     [2] > <") && person.saw("     [1] > one"), "{}", person.text());
    // Enter keeps it; from the review, too.
    let (answers, person) = site.answers(&["1", "2", "<", "", "3", "<", "", ""]);
    assert_eq!(answers, values(&[("a", json!("1")), ("b", json!("2")), ("c", json!("3"))]));
    assert_eq!(person.asked(), ["1/3  a", "2/3  b", "3/3  c", "2/3  b", "3/3  c", "3/3  c"]);
    let (_, person) = site.answers(&["<", "1", "2", "3", ""]);
    assert!(person.saw("this is the first question\n\n1/3  a"), "{}", person.text());
}

#[test]
fn the_word_back_goes_back_where_it_is_no_answer() {
    let site = site("  a: {}\n  n: { type: int }\n  s: {}\n  c: { choices: [front, back] }\n");
    let (answers, _) = site.answers(&["1", "back", "one", "2", "back", "back", ""]);
    let wanted = [("a", json!("one")), ("n", json!(2)), ("s", json!("back")), ("c", json!("back"))];
    assert_eq!(answers, values(&wanted));
}

#[test]
fn conditions_bring_questions_and_take_them_away() {
    let site = site(
        "  tls: { type: bool, prompt: TLS, default: false }\n  cert: { type: path, when: tls }\n  \
         name: {}\n  peer: { when: cert == '/b' }\n",
    );
    let (answers, person) = site.answers(&["", "x", ""]);
    assert_eq!(answers, values(&[("tls", json!(false)), ("name", json!("x"))]));
    assert_eq!(person.asked(), ["1/2  TLS", "2/2  name"], "what is not answered counts with its default");
    assert!(!person.saw("cert"));
    let (answers, person) = site.answers(&["y", "/b", "x", "p", ""]);
    assert_eq!(answers.len(), 4);
    assert_eq!(person.asked(), ["1/2  TLS", "2/3  cert", "3/4  name", "4/4  peer"]);

    // Changed at the review: what hangs on it goes, and its answers with it.
    let (answers, person) = site.answers(&["y", "/b", "x", "p", "1", "n", ""]);
    assert_eq!(answers, values(&[("tls", json!(false)), ("name", json!("x"))]));
    let last = person.text().rsplit("The answers\n").next().unwrap().to_owned();
    assert!(last.starts_with("   1  TLS   no\n   2  name  x\nEnter"), "{last}");
    // It comes back with what was answered before.
    let (answers, person) = site.answers(&["y", "/b", "x", "p", "1", "n", "1", "y", ""]);
    assert_eq!((answers.len(), &answers["cert"]), (4, &json!("/b")));
    assert_eq!(person.asked().len(), 6);
    // Changed so that something new is asked: that alone is asked.
    let (_, person) = site.answers(&["n", "x", "1", "y", "/b", "p", ""]);
    assert_eq!(person.asked(), ["1/2  TLS", "2/2  name", "1/2  TLS", "2/3  cert", "4/4  peer"]);
}

#[test]
fn conditions_see_what_was_given_and_remembered() {
    let text = "  tls: { type: bool, default: false }\n  cert: { when: tls }\n  host: { when: not tls }\n";
    let (_, person) = site(text).given(&[("tls", json!("yes"))]).answers(&["/c", ""]);
    assert_eq!(person.asked(), ["1/1  cert"]);
    let (_, person) = site(text).remembered(&[("tls", json!(true))]).answers(&["/c", ""]);
    assert_eq!(person.asked(), ["1/1  cert"]);
    let (_, person) = site(text).answers(&["h", ""]);
    assert_eq!(person.asked(), ["1/1  host"]);
}

#[test]
fn secrets_are_typed_twice_and_never_shown() {
    let site = site("  s: { type: secret, prompt: Password, pattern: '^h', min: 4 }\n  n: {}\n");
    let lines = ["xunter2", "hun", "hunter2", "hunter3", " hunter2", "hunter2", "hunter2", "x", "1", "", ""];
    let (answers, person) = site.answers(&lines);
    assert_eq!(answers["s"], json!("hunter2"));
    assert!(!person.saw("unter"), "{}", person.text());
    assert!(person.saw("the given value does not match the pattern ^h"));
    assert!(person.saw("the two differ: type it again"));
    assert!(person.saw("     [••••] > "), "Enter keeps it: {}", person.text());
    // Spaces belong to it, `<` and `?` do not.
    let spaced = reply::of(&site.manifest.variables["s"], "h  2 ");
    assert_eq!(spaced, Reply::Answer(json!("h  2 ")));
    assert_eq!(reply::of(&site.manifest.variables["s"], "<"), Reply::Back);
    let (_, _, options) = site.outcome(&["hunter2", "hunter2", "x", ""]);
    assert_eq!(options, ["--set n=x"]);
}

#[test]
fn a_map_is_never_typed() {
    let (error, person) = site("  a: {}\n  m: { type: map }\n").fails(&[]);
    assert!(error.contains("a map cannot be typed at a prompt, and `m`"), "{error}");
    assert!(person.seen.is_empty(), "before the first question");
    // One that is only asked for after an answer can still be avoided.
    let site = site("  deep: { type: bool }\n  m: { type: map, when: deep }\n");
    let (answers, person) = site.answers(&["y", "{}", "<", "n", ""]);
    assert_eq!(answers, values(&[("deep", json!(false))]));
    assert!(person.saw("give it with --values FILE"));
}

#[test]
fn the_review_changes_stops_and_says_what_it_takes() {
    let site = site(
        "  a: {}\n  d: { default: x }\n  g: { type: secret, generate: 9 }\n  m: { type: map, default: { k: 1 } }\n  b: {}\n",
    );
    let (answers, person) = site.answers(&["1", "2", "9", "0", "install", "4", "two", "2", "y", "3", "", ""]);
    assert_eq!(answers, values(&[("a", json!("1")), ("b", json!("two")), ("d", json!("y"))]));
    assert_eq!(person.text().matches("type Enter, a number from 1 to 4, < or q").count(), 3);
    assert!(person.saw("      m  {\"k\":1} (default)\n"), "{}", person.text());
    assert!(person.saw("\ng\n     secret\n     what you type is not shown\n     [generated] > "));
    for stop in ["q", "Q", " quit "] {
        let (result, _, options) = site.outcome(&["1", "it's", stop]);
        let error = result.unwrap_err();
        assert_eq!(error.to_string(), "stopped at the review; nothing was changed");
        assert_eq!(options, ["--set a=1", r"--set 'b=it'\''s'"]);
    }
}

#[test]
fn whoever_comes_from_the_review_goes_back_to_it() {
    let site = site("  a: {}\n  b: {}\n");
    let (answers, person) = site.answers(&["1", "2", "2", "<", "?", "1", "one", ""]);
    assert_eq!(answers, values(&[("a", json!("one")), ("b", json!("2"))]));
    assert_eq!(person.asked(), ["1/2  a", "2/2  b", "2/2  b", "1/2  a"]);
    assert_eq!(person.text().matches("The answers").count(), 3);
}

#[test]
fn the_answers_of_an_install_that_failed_are_offered_again() {
    let mut site = site("  a: {}\n  s: { type: secret }\n  d: { default: x }\n  p: { type: port }\n");
    site.tried = values(&[("a", json!("1")), ("s", json!("hunter2")), ("p", json!("no port"))]);
    let (answers, person) = site.answers(&["", "", "80", ""]);
    assert_eq!(answers, values(&[("a", json!("1")), ("s", json!("hunter2")), ("p", json!(80))]));
    assert!(person.saw("[1] > ") && person.saw("[••••] > ") && !person.saw("hunter2"), "{}", person.text());
    assert!(person.saw("the answers of the failed install are offered there, too"));
}

#[test]
fn the_end_of_the_input_is_an_error_wherever_it_comes() {
    let site = site("  a: {}\n  s: { type: secret }\n");
    for lines in [&[][..], &["1"], &["1", "x"], &["1", "x", "x"], &["1", "x", "x", "7"]] {
        let (error, _) = site.fails(lines);
        assert_eq!(
            error, "the input ended before the answers were confirmed; nothing was changed",
            "{lines:?}"
        );
    }
}

#[test]
fn a_remembered_answer_that_does_not_fit_any_more_is_asked_for() {
    let text = "  a: { type: port, default: 80 }\n  s: { type: secret, min: 8 }\n";
    let (answers, person) = site(text)
        .remembered(&[("a", json!("eighty")), ("s", json!("hunter2"))])
        .answers(&["81", "long enough", "long enough", ""]);
    assert_eq!(answers, values(&[("a", json!(81)), ("s", json!("long enough"))]));
    let why = "the answer remembered on this host is no longer valid: expected a port between 1 and 65535";
    assert!(person.saw(why) && !person.saw("hunter2"), "{}", person.text());
}

#[test]
fn what_the_bundle_says_cannot_steer_the_terminal() {
    let mut site = site(
        "  a: { prompt: EVIL, help: EVIL, default: EVIL, pattern: \"E\\u001b?\\u202e?\" }\n  \
         b: { prompt: EVIL, choices: [EVIL, x] }\n  c: { prompt: EVIL, type: list, default: [EVIL] }\n",
    );
    // No manifest is read with these; nothing depends on that here.
    let evil = |text: &str| text.replace("EVIL", "E\u{1b}[2J\u{202e}\u{9b}l\nforged line");
    for variable in site.manifest.variables.values_mut() {
        for text in [&mut variable.prompt, &mut variable.help].into_iter().flatten() {
            *text = evil(text);
        }
        variable.choices = variable.choices.iter().map(|choice| evil(choice)).collect();
        variable.default = variable.default.take().map(|value| match value {
            Value::Array(items) => items.iter().filter_map(Value::as_str).map(evil).collect(),
            other => evil(other.as_str().unwrap()).into(),
        });
    }
    let (_, person) =
        site.answers(&["?", "\u{1b}[1m", "z", "", "?", "\u{1b}[2m", "1", "?", "\u{1b}[3m", "", ""]);
    assert_eq!(person.text().matches("that contains a control character").count(), 3, "{}", person.text());
    assert!(person.saw("`z` does not match the pattern E"));
    let typed = |line: &&String| !line.contains("> ");
    for line in person.seen.iter().filter(typed) {
        assert!(!line.chars().any(human::steers), "{line:?}");
        assert!(!line.starts_with("forged"), "{line:?}");
    }
    let prompts = person.seen.iter().filter(|line| line.contains("] > "));
    assert!(prompts.clone().count() > 0);
    for prompt in prompts {
        let shown = prompt.split("] > ").next().unwrap();
        assert!(!shown.chars().any(human::steers), "{prompt:?}");
    }
}

#[test]
fn options_give_the_same_answers_again() {
    let text = "  l: { type: list, prompt: L, default: [{ n: 1 }] }\n  k: { type: list }\n  b: { type: bool }\n  \
                t: {}\n  s: { type: secret }\n";
    let site = site(text);
    let (_, _, options) = site.outcome(&["", "a, b", "y", "two words", "pass", "pass", "q"]);
    let list = "--set 'l=[{\"n\":1}]'";
    assert_eq!(options, [list, "--set 'k=a, b'", "--set b=yes", "--set 't=two words'"]);
}
