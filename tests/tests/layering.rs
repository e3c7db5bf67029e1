//! The shape of the workspace: who may depend on whom, who speaks to engines, who prints, how long a
//! file may be.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The crates of the products, each with those that it may depend on.
const DOWNWARDS: [(&str, &[&str]); 6] = [
    ("manifest-schema", &[]),
    ("bundle-format", &["manifest-schema"]),
    ("ferry-terminal", &["bundle-format", "manifest-schema"]),
    ("bundler", &["ferry-terminal", "bundle-format", "manifest-schema"]),
    ("installer", &["ferry-terminal", "bundle-format", "manifest-schema"]),
    // Stands above both programs, and is part of neither.
    ("fuzz", &["bundler", "installer", "bundle-format", "manifest-schema"]),
];

/// Crates that any of them may also use in tests.
const FOR_TESTS: [&str; 2] = ["fixtures", "tests"];

/// All packages of the workspace as cargo reads them from every Cargo.toml.
fn packages() -> Vec<Value> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--offline", "--format-version=1"]);
    let output = cargo.current_dir(fixtures::machine::project()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

#[test]
fn arrows_point_down_only() {
    let packages = packages();
    let members: BTreeSet<&str> = packages.iter().map(|package| package["name"].as_str().unwrap()).collect();
    let known: BTreeSet<&str> = DOWNWARDS.iter().map(|(name, _)| *name).chain(FOR_TESTS).collect();
    assert_eq!(members, known, "a new crate needs its place in this test");
    let allowed: BTreeMap<&str, &[&str]> = DOWNWARDS.into_iter().collect();
    let mut arrows = 0;
    for package in &packages {
        let name = package["name"].as_str().unwrap();
        for dependency in package["dependencies"].as_array().unwrap() {
            let target = dependency["name"].as_str().unwrap();
            if !members.contains(target) {
                continue;
            }
            arrows += 1;
            let for_tests = dependency["kind"] == "dev";
            let fine = match allowed.get(name) {
                Some(below) => below.contains(&target) || (for_tests && target == "fixtures"),
                // The fixtures share no code with what is tested; the tests run it from outside.
                None => target == "fixtures",
            };
            assert!(fine, "{name} depends on {target}");
        }
    }
    assert!(arrows >= 8, "only {arrows} arrows were found");
}

/// A source file: path below the project, all lines, and the code lines that are in the product.
struct Source {
    path: String,
    lines: usize,
    code: Vec<(usize, String)>,
}

/// Every Rust file of the workspace.
fn sources() -> Vec<Source> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && !name.starts_with('.') && name != "target" {
                walk(&path, found);
            } else if name.ends_with(".rs") {
                found.push(path);
            }
        }
    }
    let project = fixtures::machine::project();
    let mut paths = Vec::new();
    walk(&project, &mut paths);
    assert!(paths.len() > 80, "only {} Rust files were found", paths.len());
    paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let path = path.strip_prefix(&project).unwrap().to_str().unwrap().to_owned();
            Source { lines: text.lines().count(), code: product_code(&path, &text), path }
        })
        .collect()
}

/// Lines without comments and tests, numbered from 1. Unit tests stand at the end of a file.
fn product_code(path: &str, text: &str) -> Vec<(usize, String)> {
    let is_test = path.contains("/tests/") || path.ends_with("tests.rs") || path.contains("/benches/");
    if is_test || path.starts_with("tests/") || path.starts_with("fixtures/") {
        return Vec::new();
    }
    let lines: Vec<&str> = text.lines().collect();
    let mut code = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        // Other attributes may stand between.
        let mut next = lines.iter().skip(number + 1).skip_while(|next| next.starts_with("#["));
        let in_module = next.next().is_some_and(|next| next.starts_with("mod ") && next.ends_with('{'));
        if line.starts_with("#[cfg(") && line.contains("test") && in_module {
            break;
        }
        let line = line.split("//").next().unwrap_or_default();
        code.push((number + 1, line.to_owned()));
    }
    code
}

/// Places where product code outside `allowed` holds one of `words`.
fn places(words: &[&str], allowed: impl Fn(&str) -> bool) -> (Vec<String>, usize) {
    let mut wrong = Vec::new();
    let mut right = 0;
    for source in sources() {
        for (number, line) in &source.code {
            if words.iter().any(|word| line.contains(word)) {
                if allowed(&source.path) {
                    right += 1;
                } else {
                    wrong.push(format!("{}:{number}: {}", source.path, line.trim()));
                }
            }
        }
    }
    (wrong, right)
}

#[test]
fn one_place_of_each_program_speaks_to_an_engine_over_one_client() {
    let allowed = |path: &str| {
        path == "terminal/src/engine_client.rs"
            || path.starts_with("installer/src/engine/")
            || path == "installer/src/engine.rs"
            || path.starts_with("bundler/src/sources/daemon")
    };
    let (wrong, right) = places(&["bollard"], allowed);
    assert_eq!(wrong, [""; 0]);
    assert!(right > 2, "nothing was looked at");
}

#[test]
fn only_command_lines_and_output_print() {
    let words = [
        "println!",
        "print!(",
        "dbg!",
        " stdout()",
        "io::stdout()",
        "io::stderr()",
        "process::exit",
        "set_hook",
    ];
    let allowed = |path: &str| {
        let [_, name] = path.rsplit_once('/').map_or(["", path], |(folder, name)| [folder, name]);
        ["cli.rs", "output.rs", "progress.rs"].contains(&name) || path.contains("/cli/")
    };
    let (wrong, right) = places(&words, allowed);
    assert_eq!(wrong, [""; 0]);
    assert!(right > 2, "nothing was looked at");
}

#[test]
fn no_file_is_too_long_to_be_one_idea() {
    let long: Vec<String> = sources()
        .into_iter()
        .filter(|source| source.lines > 500)
        .map(|source| format!("{} has {} lines", source.path, source.lines))
        .collect();
    assert_eq!(long, [""; 0]);
}

#[test]
fn no_doc_comment_opens_with_a_question_word() {
    let everywhere = ["Who", "What", "Whether", "That"];
    let in_tests = ["Which", "How", "Why", "Where", "When"];
    let mut wrong = Vec::new();
    for source in sources() {
        let is_test = source.code.is_empty();
        let text = fs::read_to_string(fixtures::machine::project().join(&source.path)).unwrap();
        let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
        for (number, line) in lines.iter().enumerate() {
            let Some(doc) = line.strip_prefix("///").or_else(|| line.strip_prefix("//!")) else { continue };
            let begins = number == 0 || !lines[number - 1].starts_with("//") || lines[number - 1].len() == 3;
            let word = doc.split_whitespace().next().unwrap_or_default();
            let opens = everywhere.contains(&word) || (is_test && in_tests.contains(&word));
            if begins && opens && !doc.trim_start().starts_with("What must stay true:") {
                wrong.push(format!("{}:{}: {line}", source.path, number + 1));
            }
        }
    }
    assert_eq!(wrong, [""; 0], "subject first");
}

#[test]
fn unsafe_is_forbidden_and_every_crate_takes_part_in_the_lints() {
    let project = fixtures::machine::project();
    let root = fs::read_to_string(project.join("Cargo.toml")).unwrap();
    assert!(root.contains("unsafe_code = \"forbid\""));
    for package in packages() {
        let manifest = fs::read_to_string(package["manifest_path"].as_str().unwrap()).unwrap();
        assert!(manifest.contains("[lints]\nworkspace = true"), "{}", package["name"]);
    }
}
