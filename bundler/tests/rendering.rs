//! Templates that would fill memory or time end in a clear mistake, in the child of the real program that renders
//! them, and nothing of it is left.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use ferry_terminal::confined::{Ceilings, Confined};
use manifest_schema::render::{InProcess, Job, Renderer as _, Template};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const SECRET: &str = "a-password-that-nobody-may-see";

fn job(texts: &[&str]) -> Job {
    let included = |path: &str| (path == "part.j2").then(|| "[{{ name }}]".to_owned());
    let read = |(number, text): (usize, &&str)| {
        let file = format!("t{number}.j2");
        Template::read(&file, &file, text, &included).unwrap()
    };
    let values = [("name", json!("plant")), ("password", json!(SECRET)), ("ferry.version", json!("1"))];
    Job {
        templates: texts.iter().enumerate().map(read).collect(),
        values: values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
    }
}

fn ferry() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_ferry"))
}

fn refused(ceilings: Ceilings, texts: &[&str]) -> String {
    let begin = Instant::now();
    let error = Confined::of(ferry(), ceilings).render(&job(texts)).unwrap_err();
    assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
    error.to_string()
}

/// Long work in few steps.
const SLOW: &str =
    "{% set s = 'x' * 20000000 %}{% for i in range(100000) %}{{ (s|replace('x', 'y'))[:1] }}{% endfor %}";

#[test]
fn a_child_renders_what_this_process_renders() {
    let texts =
        ["{{ name }} {{ ferry.version }}\n", "{% include 'part.j2' %} ä {{ password }}\n", "a\n{{ nope }}"];
    let child = Confined::of(ferry(), Ceilings::USUAL);
    let two = job(&texts[..2]);
    assert_eq!(child.render(&two).unwrap(), ["plant 1\n".to_owned(), format!("[plant] ä {SECRET}\n")]);
    assert_eq!(child.render(&two), InProcess.render(&two));
    let error = child.render(&job(&texts)).unwrap_err();
    assert_eq!(error.to_string(), InProcess.render(&job(&texts)).unwrap_err().to_string());
    assert!(error.to_string().starts_with("t2.j2:2:4: `nope` is undefined\n  2 | {{ nope }}"), "{error}");
}

#[test]
fn large_jobs_and_answers_pass_through_the_pipes() {
    let long = format!("{}{{{{ name }}}}\n", "0123456789abcde\n".repeat(200_000));
    let texts = vec![long.as_str(); 12];
    let outputs = Confined::of(ferry(), Ceilings::USUAL).render(&job(&texts)).unwrap();
    assert_eq!(outputs.len(), 12);
    assert!(outputs.iter().all(|output| output.len() == 3_200_006 && output.ends_with("plant\n")));
}

#[test]
fn what_counts_steps_ends_in_the_child_too() {
    let mistakes = refused(
        Ceilings::USUAL,
        &[
            "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
            "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
            "{% for a in range(30000) %}{{ 'x' * 1000 }}{% endfor %}",
        ],
    );
    for part in [
        "t0.j2:1:1: the template takes more than 5000000 steps",
        "t1.j2:1:19: a macro or an `include` goes more than 100 deep",
        "t2.j2: the template makes more than 16777216 bytes",
    ] {
        assert!(mistakes.contains(part), "{part}: {mistakes}");
    }
}

#[test]
fn values_that_grow_end_with_the_memory_of_the_child() {
    let doubled = |what: &str, operation: &str| {
        format!(
            "{{% set ns = namespace(a={what}) %}}{{% for i in range(60) %}}{{% set ns.a = {operation} %}}{{% endfor %}}{{{{ ns.a }}}}"
        )
    };
    for text in [
        doubled("'xxxxxxxxxxxxxxxx'", "ns.a ~ ns.a"),
        doubled("'xxxxxxxxxxxxxxxx'", "ns.a|replace('x', 'xx')"),
        doubled("['x']", "(ns.a + ns.a)|list"),
        "{{ 'x'|indent(9000000000) }}".to_owned(),
        "{{ range(100000)|map('replace', '', 'x' * 10000)|list }}".to_owned(),
        "{% set ns = namespace(l=[]) %}{% for i in range(1000) %}{% set ns.l = [ns.l, ('x' * 1000000) ~ i] %}{% endfor %}".to_owned(),
        // So deep that writing it takes more stack than there is.
        doubled("['x']", "[ns.a]").replace("60", "90000"),
    ] {
        let mistakes = refused(Ceilings::USUAL, &["{{ name }}", &text, "{{ name }}"]);
        assert!(
            mistakes.starts_with("t1.j2: rendering it takes more than 512 MiB of memory")
                && mistakes.contains("\n  hint: look for a loop in which a value doubles"),
            "{text:.200}: {mistakes:.500}"
        );
    }
}

#[test]
fn slow_work_ends_with_the_time_of_the_child() {
    let usual = Ceilings::USUAL;
    let cpu = refused(Ceilings { cpu_seconds: 1, ..usual }, &["{{ nope }}", SLOW]);
    assert!(cpu.contains("t0.j2:1:4: `nope` is undefined"), "{cpu}");
    assert!(
        cpu.contains("\nt1.j2: rendering takes more than 1 seconds of processor time, and came as far as"),
        "{cpu}"
    );
    let wall = refused(Ceilings { wall: Duration::from_secs(1), ..usual }, &[SLOW]);
    assert!(wall.starts_with("t0.j2: rendering takes more than 1 seconds, and came as far as"), "{wall}");
    let answer = refused(Ceilings { answer_bytes: 1000, ..usual }, &["{{ name }}", "{{ 'x' * 2000 }}"]);
    assert!(answer.starts_with("t1.j2: the templates make more than 0 MiB together"), "{answer}");
}

/// Children of the program at `program`.
fn children(program: &Path) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if line.starts_with(program.as_os_str().as_encoded_bytes()) {
            found.push(id);
        }
    }
    found
}

#[test]
fn a_child_that_is_killed_is_told_and_shows_no_value_to_others() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("ferry");
    std::os::unix::fs::symlink(ferry(), &program).unwrap();
    let renderer = Confined::of(program.clone(), Ceilings::USUAL);
    let mistakes = std::thread::scope(|scope| {
        let rendering = scope.spawn(|| renderer.render(&job(&["{{ name }}", SLOW])));
        let id = loop {
            if let [id] = children(&program)[..] {
                // The limits are set before the job is read.
                let limits = std::fs::read_to_string(format!("/proc/{id}/limits")).unwrap_or_default();
                if limits
                    .lines()
                    .any(|line| line.starts_with("Max address space") && line.contains("536870912"))
                {
                    assert!(limits.lines().any(|line| {
                        let words: Vec<&str> = line.split_whitespace().collect();
                        words.starts_with(&["Max", "core", "file", "size", "0", "0"])
                    }));
                    break id;
                }
            }
            std::thread::yield_now();
        };
        for shown in ["cmdline", "environ"] {
            let shown = std::fs::read(format!("/proc/{id}/{shown}")).unwrap();
            assert!(!String::from_utf8_lossy(&shown).contains(SECRET));
        }
        let killed = Command::new("kill").args(["-KILL", &id.to_string()]).status().unwrap();
        assert!(killed.success());
        rendering.join().unwrap().unwrap_err().to_string()
    });
    assert!(mistakes.contains("its rendering was stopped from outside (signal or code 9)"), "{mistakes}");
    assert!(mistakes.contains("\n  hint: try again"), "{mistakes}");
    let slow =
        Confined::of(program.clone(), Ceilings { wall: Duration::from_millis(300), ..Ceilings::USUAL });
    assert!(slow.render(&job(&[SLOW])).is_err());
    assert_eq!(children(&program), [0; 0]);
}

#[test]
fn the_program_tells_which_template_took_the_memory() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "ferry.yaml",
        "ferry: 1\nname: a\nversion: 1.0.0\nvariables: { n: { default: x } }\nconfigs:\n  - { from: one.j2, to: one }\n  - { from: two.j2, to: two }\n",
    );
    write("compose.yaml", "services: { web: { image: 'a:1' } }\n");
    write("one.j2", "{{ n }}\n");
    write(
        "two.j2",
        "{% set ns = namespace(a=n) %}{% for i in range(60) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}\n",
    );
    let run = |more: &[&str]| {
        let output =
            Command::new(ferry()).arg("render").args(more).current_dir(folder.path()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, _, errors) = run(&[]);
    assert_eq!(code, Some(3), "{errors}");
    assert!(errors.contains("two.j2: rendering it takes more than 512 MiB of memory"), "{errors}");
    write("two.j2", "{{ n ~ n }}\n");
    let (code, shown, errors) = run(&["--set", "n=y"]);
    assert_eq!(code, Some(0), "{errors}");
    assert!(shown.contains("\ny\n") && shown.contains("\nyy\n"), "{shown}");
    let help = Command::new(ferry()).arg("--help").output().unwrap();
    assert!(!String::from_utf8_lossy(&help.stdout).contains("render-templates"));
}
