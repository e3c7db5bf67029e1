//! The shell sessions of the README and the guides: each is run, and the page must show what came, but for
//! what differs from run to run.
//!
//! A session without a mark stands in [`NOT_RUN`] with its reason; a new one cannot be forgotten.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

use fixtures::docker_archive::{self, Dialect};
use fixtures::small_site::SmallSite;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use tests::host::Host;
use tests::outcome::Outcome;
use tests::programs;
use tests::sessions::{self, Page, Step};

const README: &str = "README.md";
const DEVELOPER: &str = "docs/guide/developer.md";
const ENGINEER: &str = "docs/guide/release-engineer.md";
const TECHNICIAN: &str = "docs/guide/technician.md";
const SYSOP: &str = "docs/guide/sysop.md";

/// The groups of sessions on each page, and the test that runs each.
const GROUPS: [(&str, &str, &str); 8] = [
    (README, "demo", "the_readme_shows_the_demo"),
    (DEVELOPER, "hello", "the_developers_own_bundle"),
    (ENGINEER, "begin", "the_first_commands"),
    (ENGINEER, "site", "a_release_from_build_to_removal"),
    (TECHNICIAN, "failing", "a_service_that_fails"),
    (TECHNICIAN, "questions", "what_is_not_answered"),
    (TECHNICIAN, "site", "a_release_from_build_to_removal"),
    (SYSOP, "site", "a_release_from_build_to_removal"),
];

/// Sessions that no test runs, by their first command, and why.
const NOT_RUN: [(&str, &str, &str); 2] = [
    (DEVELOPER, "ferry try plant", "it goes on until Ctrl-C, with free ports and a folder of the moment"),
    (
        TECHNICIAN,
        TYPED,
        "it is typed at a terminal: the installer's tests of the questionnaire hold its words",
    ),
];
const TYPED: &str =
    "./install --trust SHA256:fe85JkIjo8VPe+XqXJGH5Mau1EMFdK1OdKvJUFicyA8 plant-monitor-2.4.0.fz";

#[test]
fn every_session_is_run_or_says_why_not() {
    let mut unmarked = BTreeSet::new();
    let mut marked = BTreeSet::new();
    for path in [README, DEVELOPER, ENGINEER, TECHNICIAN, SYSOP] {
        for session in sessions::of(path) {
            match session.mark {
                Some((group, _)) => marked.insert((path, group)),
                None => unmarked.insert((path, session.steps[0].command.clone())),
            };
        }
    }
    let run: BTreeSet<(&str, String)> =
        GROUPS.iter().map(|(path, group, _)| (*path, (*group).to_owned())).collect();
    assert_eq!(marked, run, "groups of sessions (left), and those that a test runs (right)");
    let sources = ["transcripts.rs", "site_transcripts.rs"]
        .map(|file| fs::read_to_string(fixtures::machine::project().join("tests/tests").join(file)).unwrap());
    for (path, group, test) in GROUPS {
        let is_there = sources.iter().any(|source| source.contains(&format!("]\nfn {test}() {{\n")));
        assert!(is_there, "{path}, {group}: no test {test}");
    }
    let named: BTreeSet<(&str, String)> =
        NOT_RUN.iter().map(|(path, command, _)| (*path, (*command).to_owned())).collect();
    assert_eq!(unmarked, named, "sessions without a mark (left), and those that NOT_RUN names (right)");
}

#[test]
fn the_pages_show_the_version_of_this_workspace() {
    for path in [README, ENGINEER] {
        let text = fs::read_to_string(fixtures::machine::project().join(path)).unwrap();
        let shown: BTreeSet<&str> = text
            .lines()
            .filter_map(|line| line.split_once("built with "))
            .map(|(_, program)| program)
            .collect();
        assert_eq!(shown, BTreeSet::from([concat!("ferry ", env!("CARGO_PKG_VERSION"))]), "{path}");
    }
}

#[test]
#[ignore = "needs what scripts/demo wrote, in FERRY_DEMO_TRANSCRIPT: scripts/test makes it"]
fn the_readme_shows_the_demo() {
    let file = std::env::var("FERRY_DEMO_TRANSCRIPT").unwrap();
    let mut found = demo_steps(&fs::read_to_string(file).unwrap());
    let mut page = Page::of(README, "demo");
    for name in ["connected", "disconnected"] {
        let written = page.steps(name);
        let rest = found.split_off(written.len().min(found.len()));
        page.compare(name, &written, &found);
        found = rest;
    }
    assert_eq!(found, [], "the demo shows more than the README");
    page.finish();
}

/// The commands of the demo: without its headings, and as on a host where Ferry has its own place.
fn demo_steps(log: &str) -> Vec<Step> {
    let lines = log.lines().filter(|line| !line.starts_with("== ") && !line.starts_with("demo: "));
    let log = lines.collect::<Vec<_>>().join("\n");
    let start = log.find("-demo/root").map(|at| {
        let before = &log[..at];
        before.rfind([' ', '\n']).map_or(0, |blank| blank + 1)
    });
    let root = start.and_then(|start| log[start..].split([' ', '\n']).next()).unwrap_or("no root").to_owned();
    sessions::steps(&log.replace(&format!(" --root {root}"), "").replace(&root, "/var/lib/ferry"))
}

#[test]
fn the_demo_is_shown_as_on_a_host() {
    let log = "== a heading\nnoise\n\n$ ./install --root /x/ferry-1-demo/root a.fz\n✓ done\n  next /x/ferry-1-demo/root/bin/fz\n\n\
               $ /x/ferry-1-demo/root/bin/fz status\nup\n\ndemo: done; nothing is left running\n";
    let step = |command: &str, output: &str| Step { command: command.into(), output: output.into() };
    let wanted = [
        step("./install a.fz", "✓ done\n  next /var/lib/ferry/bin/fz"),
        step("/var/lib/ferry/bin/fz status", "up"),
    ];
    assert_eq!(demo_steps(log), wanted);
}

#[test]
fn the_developers_own_bundle() {
    let host = Host::docker("hello");
    let folder = host.engine.folder().join("hello");
    fs::create_dir(&folder).unwrap();
    let mut page = Page::of(DEVELOPER, "hello");
    load_images(&host, &folder);
    for (name, file) in [("compose", "compose.yaml"), ("manifest", "ferry.yaml")] {
        let [step] = &page.steps(name)[..] else { panic!("{name} is one command") };
        assert_eq!(step.command, format!("cat {file}"));
        fs::write(folder.join(file), format!("{}\n", step.output)).unwrap();
    }
    fs::copy(programs::install(), folder.join("install")).unwrap();
    let run = |line: &str| sessions::shell(host.shell(&folder), line);
    page.check("key", run);
    page.check("build", run);
    page.check("install", run);
    host.engine.wait_for_page("http://127.0.0.1:8081/").unwrap();
    page.check("page", run);
    change(&folder, "ferry.yaml", "version: 0.1.0", "version: 0.2.0");
    change(&folder, "compose.yaml", "interval: 1s", "interval: 2s");
    Outcome::of(host.shell(&folder).args(["-c", "ferry build --key mine -o hello.fz"])).succeeds();
    page.check("plan", run);
    page.check("again", run);
    page.check("remove", run);
    page.finish();
}

#[test]
fn the_first_commands() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("compose.yaml"), "services:\n  web:\n    image: acme/web:2.4.0\n").unwrap();
    let mut page = Page::of(ENGINEER, "begin");
    let run = |line: &str| sessions::shell(programs::shell(folder.path()), line);
    page.check("init", run);
    page.check("key", run);
    page.finish();
}

#[test]
fn what_is_not_answered() {
    let host = Host::docker("answers");
    let folder = host.engine.folder().join("answers");
    let site = SmallSite { name: "plant-monitor".into(), version: "2.4.0".into(), ..SmallSite::default() };
    let variables = fs::read_to_string(fixtures::machine::project().join(ENGINEER)).unwrap();
    let (_, variables) = variables.split_once("```yaml\nvariables:\n").unwrap();
    let (variables, _) = variables.split_once("```").unwrap();
    let built = tests::bundle::changed(&folder, &site, |site| {
        let own = "variables:\n  site_name: { prompt: \"Name of this site\", default: \"nowhere\" }\n";
        change(site, "ferry.yaml", own, &format!("variables:\n{variables}"));
        change(site, "templates/banner.txt.j2", "site_name", "plant_name");
    });
    fs::copy(programs::install(), folder.join("install")).unwrap();
    let mut page = Page::of(TECHNICIAN, "questions");
    let run = |line: &str| {
        let line = sessions::with_fingerprint(line, &built.key.fingerprint);
        sessions::shell(host.shell(&folder), &line)
    };
    for name in ["missing", "wrong"] {
        page.check(name, run);
    }
    page.finish();
}

#[test]
fn a_service_that_fails() {
    let host = Host::docker("failing");
    let folder = host.engine.folder().join("failing");
    let site = SmallSite { failing: true, ..SmallSite::default() };
    let built = tests::bundle::small(&folder, &site);
    fs::rename(&built.file, folder.join("small.fz")).unwrap();
    fs::copy(programs::install(), folder.join("install")).unwrap();
    let mut page = Page::of(TECHNICIAN, "failing");
    page.check("install", |line| {
        let line = sessions::with_fingerprint(line, &built.key.fingerprint);
        sessions::shell(host.shell(&folder), &line)
    });
    page.finish();
}

/// Loads the images of the small site under the names of the page.
fn load_images(host: &Host, folder: &Path) {
    let scratch = tempfile::tempdir().unwrap();
    let images = SmallSite::default().images(scratch.path()).unwrap();
    let archive = folder.join("images.tar");
    docker_archive::write(&images, Dialect::Docker20, &archive).unwrap();
    let _ = host.docker_text(&["load", "--input", archive.to_str().unwrap()]);
    for (from, to) in [("small/front:1.0.0", "acme/page:1.0"), ("small/ticker:1", "acme/ticker:1")] {
        let _ = host.docker_text(&["tag", from, to]);
        let _ = host.docker_text(&["rmi", from]);
    }
    fs::remove_file(archive).unwrap();
}

fn change(folder: &Path, file: &str, from: &str, to: &str) {
    tests::bundle::replace(&folder.join(file), from, to);
}
