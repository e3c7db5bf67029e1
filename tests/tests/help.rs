//! Every `--help`, word for word, in `tests/transcripts/help/`.
//!
//! The commands are those that each program lists itself, so a new one cannot be forgotten. Where a change is
//! meant, `FERRY_UPDATE_TRANSCRIPTS=1` writes the files anew.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tests::outcome::Outcome;
use tests::{programs, transcript};

const UPDATE: &str = "FERRY_UPDATE_TRANSCRIPTS";

/// Help texts by the name of their file.
type Texts = BTreeMap<String, String>;

fn folder() -> PathBuf {
    fixtures::machine::project().join("tests/transcripts/help")
}

/// The help of a command and of all below it.
fn collect(program: &Path, path: &[&str], texts: &mut Texts) {
    let mut command = programs::command(program);
    // Help shows the values of variables that it names.
    command.env_remove("DOCKER_HOST").env("COLUMNS", "100").args(path).arg("--help");
    let outcome = Outcome::of(&mut command).succeeds();
    assert_eq!(outcome.stderr, "", "help is what was asked for: {outcome}");
    for name in listed(&outcome.stdout).iter().filter(|name| *name != "help") {
        let path: Vec<&str> = path.iter().copied().chain([name.as_str()]).collect();
        collect(program, &path, texts);
    }
    let name = program.file_name().unwrap().to_str().unwrap();
    let name = [&[name], path].concat().join("-");
    texts.insert(format!("{name}.txt"), outcome.stdout);
}

/// The commands that a help text lists.
fn listed(help: &str) -> Vec<String> {
    let section = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = section.take_while(|line| !line.is_empty());
    // A description goes on in lines that are indented further.
    let names = lines.filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')));
    names.map(|rest| rest.split(' ').next().unwrap().to_owned()).collect()
}

fn written() -> Texts {
    let entries = fs::read_dir(folder()).into_iter().flatten();
    let files = entries.map(|entry| entry.unwrap().path());
    files
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect()
}

fn update(written: &Texts, found: &Texts) {
    fs::create_dir_all(folder()).unwrap();
    for name in written.keys().filter(|name| !found.contains_key(*name)) {
        fs::remove_file(folder().join(name)).unwrap();
    }
    for (name, text) in found {
        fs::write(folder().join(name), text).unwrap();
    }
}

#[test]
fn every_help_is_as_it_is_written_down() {
    let mut found = Texts::new();
    for program in [programs::ferry(), programs::install()] {
        collect(&program, &[], &mut found);
    }
    for expected in ["ferry-build.txt", "install-secret-rotate.txt"] {
        assert!(found.contains_key(expected), "{expected} is not among {:?}", found.keys());
    }
    if std::env::var_os(UPDATE).is_some() {
        update(&written(), &found);
    }
    let written = written();
    let mut wrong = String::new();
    for (name, text) in &found {
        match written.get(name) {
            None => wrong.push_str(&format!("{name} is missing\n")),
            Some(written) => {
                if let Some(difference) = transcript::difference(written, text) {
                    wrong.push_str(&format!("{name} differs (- written, + found) {difference}"));
                }
            }
        }
    }
    for name in written.keys().filter(|name| !found.contains_key(*name)) {
        wrong.push_str(&format!("{name} is of no command that is listed\n"));
    }
    assert!(
        wrong.is_empty(),
        "{}:\n{wrong}where this is meant, write them anew: {UPDATE}=1 cargo test -p tests --test help",
        folder().display()
    );
}

#[test]
fn commands_are_read_from_their_list() {
    let help = "About\n\nCommands:\n  one    Text that\n         goes on\n  two-b  Text\n\nOptions:\n  -h\n";
    assert_eq!(listed(help), ["one", "two-b"]);
    assert_eq!(listed("Usage: x\n"), [""; 0]);
}
