use super::explain::FILTERS;
use super::*;
use crate::limits::MAX_OPERATORS;
use proptest::prelude::*;
use serde_json::json;

/// Renders a template that includes no other.
fn render(file: &str, text: &str, values: &BTreeMap<String, Value>) -> Result<String, Diagnostics> {
    Template::read(file, file, text, &|_| None)?.render(values)
}

fn values() -> BTreeMap<String, Value> {
    let pairs = [
        ("plant_name", json!("ABC-1")),
        ("cameras", json!([{"name": "gate"}, {"name": "roof"}])),
        ("tls", json!(true)),
        ("unasked", json!(null)),
        ("ferry.name", json!("plant")),
        ("ferry.version", json!("2.4.0")),
    ];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn refused(text: &str) -> String {
    let done = render("t.j2", text, &values());
    done.expect_err(&format!("it must be refused: {text:.300}")).to_string()
}

#[test]
fn loops_conditions_macros_and_the_last_newline() {
    let text = "{% macro cam(c) %}cam-{{ c.name }}{% endmacro -%}\n# {{ ferry.name }} {{ ferry['version'] }}\n\
                {% for c in cameras %}{{ cam(c) }}{% if not loop.last %},{% endif %}{% endfor %}\n\
                {% if tls %}<{{ plant_name | lower }}>{% endif %} {{ cameras | tojson }}\n";
    assert_eq!(
        render("t.j2", text, &values()).unwrap(),
        "# plant 2.4.0\ncam-gate,cam-roof\n<abc-1> [{\"name\": \"gate\"}, {\"name\": \"roof\"}]\n"
    );
    assert_eq!(render("t.html", "{{ '<' }}", &values()).unwrap(), "<");
    let unasked = "{{ unasked or 'no' }}{% if unasked %}{{ unasked }}{% endif %}{{ unasked is none }}";
    assert_eq!(render("t.j2", unasked, &values()).unwrap(), "noTrue");
    for filter in FILTERS {
        let error = render("t.j2", &format!("{{{{ 1 | {filter} }}}}"), &values());
        let text = error.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(!text.contains("is unknown"), "{filter}: {text}");
    }
}

#[test]
fn an_undefined_name_shows_its_place_and_the_nearest_name() {
    assert_eq!(
        refused("a\n  {{ plant_nam }}\n"),
        "t.j2:2:6: `plant_nam` is undefined\n  2 |   {{ plant_nam }}\n    |      ^\n  hint: did you mean `plant_name`?"
    );
    assert_eq!(
        refused("{{ ferry.nane }}"),
        "t.j2:1:4: `ferry.nane` is undefined\n  1 | {{ ferry.nane }}\n    |    ^\n  hint: did you mean `ferry.name`?"
    );
    assert!(refused("{{ zebra }}").contains("declare it under `variables`"));
    assert!(refused("{% for c in camras %}{% endfor %}").contains("did you mean `cameras`?"));
    assert!(refused("{% if tsl %}{% endif %}").contains("did you mean `tls`?"));
}

#[test]
fn mistakes_have_a_line_and_a_hint() {
    for (text, part) in [
        ("a\n{{ x", "t.j2:2"),
        ("{% for c in cameras %}", "not a valid template"),
        ("{{ 1 | nope }}", "filter"),
        ("{{ now() }}", "`now` is not a function of templates"),
        ("{{ debug() }}", "`debug` is not a function"),
        ("{% if false %}{{ nope }}{% endif %}", "`nope` is undefined"),
        ("{% include '/etc/passwd' %}", "is not below the folder of the manifest"),
        ("{% include 'gone.j2' %}", "`gone.j2`, which does not exist"),
        ("{% include plant_name %}", "is only known on site"),
        ("{{ plant_name + 1 }}", "invalid operation"),
        ("\n {{ unasked }}", "t.j2:2:5: `unasked` has no value: it is `none` with these answers"),
    ] {
        assert!(refused(text).contains(part), "{text}: {}", refused(text));
    }
}

#[test]
fn hints_name_the_whole_expression() {
    for (text, message, hint) in [
        (
            "{{ plant_name.x.y }}",
            "t.j2:1:4: `plant_name.x.y` is undefined",
            "it is a text and has no parts: write `{{ plant_name }}`",
        ),
        ("{{ ferry.nane.x }}", "`ferry.nane.x` is undefined", "did you mean `ferry.name`?"),
        ("{{ cameras[0].nam.x }}", "`cameras[0].nam.x` is undefined", "declare it"),
        ("{{ plant_name.lower() }}", "no method named lower", "write `{{ plant_name | lower }}`"),
        (
            "{% do cameras.append(1) %}",
            "no method named append",
            "values do not change: write `{% set cameras = cameras + [entry] %}`",
        ),
        ("{{ plant_name.frobnicate() }}", "no method", "values have no methods"),
        (
            "{% for i in range(200000) %}{% endfor %}",
            "the range has more than 100000 numbers",
            "check its ends",
        ),
        ("{{ plant_name + 1 }}", "invalid operation", "check the kinds"),
    ] {
        let error = refused(text);
        assert!(error.contains(message) && error.contains(&format!("hint: {hint}")), "{text}: {error}");
    }
}

#[test]
fn names_that_a_template_asks_about_may_be_unknown() {
    let text = "{% if zebra is defined %}{{ zebra }}{% endif %}{{ zebra | default('none') }}{{ {'zebra': 1}.zebra }}";
    assert_eq!(render("t.j2", "{% if zebra is not defined %}x{% endif %}", &values()).unwrap(), "x");
    assert_eq!(render("t.j2", text, &values()).unwrap(), "none1");
    let all = refused("{{ zebra }}\n{{ plant_nam }} {{ zebra }}\n");
    assert_eq!(all.matches("is undefined").count(), 2, "{all}");
}

#[test]
fn templates_include_others() {
    let files = BTreeMap::from([
        ("macros/cam.j2", "{% macro cam(c) %}{% include './dot.j2' %}{{ c.name }}{% endmacro %}"),
        ("macros/dot.j2", "*"),
        ("base.j2", "<{% block body %}{% endblock %}>"),
        ("loop.j2", "{% include 'loop.j2' %}"),
        ("bad.j2", "one\n{{ nope }}"),
    ]);
    let load = |path: &str| files.get(path).map(|text| (*text).to_owned());
    let read = |text: &str| Template::read("site/t/main.j2", "t/main.j2", text, &load);
    let text = "{% extends 'base.j2' %}{% from \"../macros/cam.j2\" import cam %}{% block body %}{{ cam(cameras[0]) }}{% endblock %}";
    let template = read(text).unwrap();
    assert_eq!(template.included().collect::<Vec<_>>(), ["base.j2", "macros/cam.j2", "macros/dot.j2"]);
    assert_eq!(template.render(&values()).unwrap(), "<*gate>");
    let error = read("{% include 'bad.j2' %}").unwrap().render(&values()).unwrap_err().to_string();
    assert!(error.starts_with("site/bad.j2:2:4: `nope` is undefined\n  2 | {{ nope }}"), "{error}");
    let error = read("{% include 'loop.j2' %}").unwrap().render(&values()).unwrap_err().to_string();
    assert!(
        error.contains("goes more than 100 deep\n") && error.contains("hint: it calls or includes itself"),
        "{error}"
    );
    let error = read("a\n{% include '../../x.j2' %}").unwrap_err().to_string();
    assert!(error.contains("site/t/main.j2:2:4: this names `../../x.j2`, which is not below"), "{error}");
    assert!(read("{% include ['a.j2', 'b.j2'] %}").unwrap_err().to_string().contains("only known on site"));
}

#[test]
fn endless_work_ends() {
    let fuel = "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}";
    assert!(refused(fuel).contains("more than 5000000 steps"), "{}", refused(fuel));
    let output = "{% for a in range(30000) %}{{ 'x' * 1000 }}{% endfor %}";
    assert!(refused(output).contains("more than 16777216 bytes"), "{}", refused(output));
    let recursion = "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}";
    assert!(refused(recursion).contains("goes more than 100 deep"), "{}", refused(recursion));
    assert!(refused("{{ 'x' * 100000000000 }}").contains("too large"));
    for part in ["(", "-", "not ", "1+", "1~", "a.", "[", "{1:", "1 if 1 else ", "1**", "{{ (", "{% if 1 %}"]
    {
        assert!(refused(&format!("{{{{ {}", part.repeat(50_000))).contains("t.j2"), "{part}");
    }
    let last = ".a|e()[0] is f".repeat(50_000);
    assert!(refused(&format!("{{{{ a{last} }}}}")).contains("more than 500 operators"));
    let elif = "{% elif 1 %}".repeat(50_000);
    assert!(refused(&format!("{{% if 0 %}}{elif}{{% endif %}}")).contains("as many `elif`"));
    assert!(refused(&format!("{{{{ nope }}}}{}{{{{ (", "{{ 1 }}\n".repeat(70_000))).contains("t.j2"));
}

#[test]
fn an_operand_that_is_missing_is_named_with_its_place() {
    assert!(refused("{{ 'x' ~ (tls and\n cameras[9].name) }}").starts_with("t.j2:2:2: "));
    assert!(
        refused("a\n{{ 'ä' ~ cameras[0].nam }}").starts_with("t.j2:2:10: `cameras"),
        "{}",
        refused("a\n{{ 'ä' ~ cameras[0].nam }}")
    );
    let second = refused("{{ 'x' +\n ferry.nane }}");
    assert!(second.starts_with("t.j2:2:2: `ferry.nane` is undefined"), "{second}");
    let first = refused("{{ 'x' + ferry.nane }}");
    assert!(first.starts_with("t.j2:1:10: `ferry.nane` is undefined"), "{first}");
    let own = refused("{% for c in cameras %}{{ c.name ~ c.nam }}{% endfor %}");
    assert!(own.starts_with("t.j2:1:35: `c.nam` is undefined"), "{own}");
}

#[test]
fn the_longest_chains_allowed_fit_in_the_stack() {
    for part in ["-", "not ", "1+", "1~", "1 if 1 else ", "1**", "1 and ", "1 or ", "1 == "] {
        let _ = render("t.j2", &format!("{{{{ {}1 }}}}", part.repeat(MAX_OPERATORS)), &values());
    }
    for part in [".a", "|string", "[0]", "()"] {
        let _ = render("t.j2", &format!("{{{{ tls{} }}}}", part.repeat(MAX_OPERATORS)), &values());
    }
    let elif = "{% elif 0 %}".repeat(MAX_OPERATORS);
    assert_eq!(
        render("t.j2", &format!("{{% if 0 %}}{elif}{{% else %}}x{{% endif %}}"), &values()).unwrap(),
        "x"
    );
    let _ = render("t.j2", &format!("{{{{ {}1 }}}}", "(-".repeat(MAX_OPERATORS / 2)), &values());
}

proptest! {
    #[test]
    fn any_text_is_rendered_or_refused(text in "([{}%#a-c|.()' 0-9\\n-]|\\{\\{|\\}\\}|\\{%|%\\}|for|in|if|cameras){0,30}") {
        if let Err(error) = render("t.j2", &text, &values()) {
            let _ = error.to_string();
        }
    }
}
