//! The installer renders templates in a child of its own, as `ferry` does: its tests hold the details.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use ferry_terminal::confined::{Ceilings, Confined};
use manifest_schema::render::{Job, Renderer as _, Template};
use serde_json::json;

#[test]
fn a_template_that_fills_the_memory_is_named() {
    let child = Confined::of(env!("CARGO_BIN_EXE_install").into(), Ceilings::USUAL);
    let template = |file: &str, text: &str| Template::read(file, file, text, &|_| None).unwrap();
    let mut job = Job {
        templates: vec![template("a.j2", "{{ name|upper }}\n")],
        values: [("name".to_owned(), json!("plant"))].into(),
    };
    assert_eq!(child.render(&job).unwrap(), ["PLANT\n"]);
    let grows =
        "{% set ns = namespace(a=name) %}{% for i in range(60) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}";
    job.templates.push(template("b.j2", grows));
    let mistakes = child.render(&job).unwrap_err().to_string();
    assert!(mistakes.starts_with("b.j2: rendering it takes more than 512 MiB of memory"), "{mistakes}");
}
