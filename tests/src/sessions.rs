//! Shell sessions in the Markdown pages: what stands there is run, and the page must show what came.
//!
//! A session is a fenced block with lines that begin with `$ `. A comment on the line above, like
//! `<!-- session: hello build -->`, gives it a group, whose sessions one test runs in one place, and a name.
//! Where a change is meant, `FERRY_UPDATE_TRANSCRIPTS=1` writes what came into the page.

use crate::outcome::Outcome;
use crate::transcript;
use regex_lite::{NoExpand, Regex};
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

/// A command of a session, and what it wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Without the prompt.
    pub command: String,
    /// Both outputs, without blank lines at the end.
    pub output: String,
}

/// A fenced block with commands.
#[derive(Debug, Clone)]
pub struct Session {
    /// Group and name, where it is marked.
    pub mark: Option<(String, String)>,
    /// Its commands, in order.
    pub steps: Vec<Step>,
}

/// The sessions of one group on a page.
#[derive(Debug)]
pub struct Page {
    path: String,
    group: String,
    sessions: Vec<Session>,
    checked: BTreeSet<String>,
}

/// The commands in a text, each with the lines up to the next.
#[must_use]
pub fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step { command: command.to_owned(), output: String::new() });
        } else if let Some(step) = steps.last_mut() {
            step.output.push_str(line);
            step.output.push('\n');
        }
    }
    for step in &mut steps {
        step.output.truncate(step.output.trim_end().len());
    }
    steps
}

/// The text of commands with what they wrote.
#[must_use]
pub fn text(steps: &[Step]) -> String {
    steps.iter().map(|step| format!("$ {}\n{}\n", step.command, step.output)).collect()
}

/// All sessions of a page of the project.
///
/// # Panics
/// When it cannot be read, a mark stands above no session, or a mark is none.
#[track_caller]
#[must_use]
pub fn of(path: &str) -> Vec<Session> {
    let file = fixtures::machine::project().join(path);
    parse(&fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())))
}

fn parse(markdown: &str) -> Vec<Session> {
    let mut sessions = Vec::new();
    let mut mark = None;
    let mut lines = markdown.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("```") {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            let steps = steps(&block.join("\n"));
            assert!(mark.is_none() || !steps.is_empty(), "{mark:?} stands above no session");
            if !steps.is_empty() {
                sessions.push(Session { mark: mark.take(), steps });
            }
            continue;
        }
        assert!(mark.is_none(), "{mark:?} does not stand right above its session, but above `{line}`");
        mark = line.strip_prefix("<!-- session:").map(|rest| {
            let words = rest.strip_suffix("-->").and_then(|rest| rest.trim().split_once(' '));
            let (group, name) = words.unwrap_or_else(|| panic!("`{line}` names no group and session"));
            (group.to_owned(), name.to_owned())
        });
    }
    sessions
}

impl Page {
    /// The sessions of a group on a page.
    ///
    /// # Panics
    /// When the page has none, or two of one name.
    #[track_caller]
    #[must_use]
    pub fn of(path: &str, group: &str) -> Self {
        let is_ours = |session: &Session| session.mark.as_ref().is_some_and(|mark| mark.0 == group);
        let sessions: Vec<Session> = of(path).into_iter().filter(is_ours).collect();
        assert!(!sessions.is_empty(), "{path} has no sessions of {group}");
        let names: BTreeSet<&String> =
            sessions.iter().flat_map(|session| &session.mark).map(|mark| &mark.1).collect();
        assert_eq!(names.len(), sessions.len(), "{path} names two sessions of {group} alike");
        Self { path: path.to_owned(), group: group.to_owned(), sessions, checked: BTreeSet::new() }
    }

    /// The commands of a session, which counts as checked then.
    ///
    /// # Panics
    /// When there is none of this name.
    #[track_caller]
    #[must_use]
    pub fn steps(&mut self, name: &str) -> Vec<Step> {
        let found = self.sessions.iter().find(|session| {
            let mark = session.mark.as_ref();
            mark.is_some_and(|mark| mark.1 == name)
        });
        let found = found.unwrap_or_else(|| panic!("{}: no session {} {name}", self.path, self.group));
        self.checked.insert(name.to_owned());
        found.steps.clone()
    }

    /// Runs the commands of a session: `run` takes each, and gives what it wrote.
    ///
    /// # Panics
    /// When the page shows something else.
    #[track_caller]
    pub fn check(&mut self, name: &str, mut run: impl FnMut(&str) -> String) {
        let steps = self.steps(name);
        let found: Vec<Step> = steps
            .iter()
            .map(|step| Step { output: run(&step.command).trim_end().to_owned(), ..step.clone() })
            .collect();
        self.compare(name, &steps, &found);
    }

    /// Demands that two sessions are the same but for what differs from run to run.
    ///
    /// # Panics
    /// When they differ.
    #[track_caller]
    pub fn compare(&self, name: &str, written: &[Step], found: &[Step]) {
        if std::env::var_os("FERRY_UPDATE_TRANSCRIPTS").is_some() {
            return self.update(name, written, found);
        }
        let (written, raw) = (text(written), text(found));
        let difference = transcript::difference(&transcript::masked(&written), &transcript::masked(&raw));
        if let Some(difference) = difference {
            let (path, group) = (&self.path, &self.group);
            panic!("{path}, session {group} {name}: (- written, + found) {difference}--- found\n{raw}---");
        }
    }

    /// Writes what came into the page, the whole of it: a value that differs from run to run is the same in all
    /// sessions then.
    fn update(&self, name: &str, written: &[Step], found: &[Step]) {
        let file = fixtures::machine::project().join(&self.path);
        let page = fs::read_to_string(&file).unwrap();
        let (before, mut rest) =
            page.split_once(&format!("<!-- session: {} {name} -->\n", self.group)).unwrap();
        let mut page = page[..page.len() - rest.len()].to_owned();
        assert!(page.starts_with(before) && written.len() == found.len(), "{}: {name}", self.path);
        for (written, found) in written.iter().zip(found) {
            let (between, after) = rest.split_once(text(std::slice::from_ref(written)).trim_end()).unwrap();
            let step = text(std::slice::from_ref(found));
            let lines: Vec<&str> = step.trim_end().lines().map(str::trim_end).collect();
            page.push_str(between);
            page.push_str(&lines.join("\n"));
            rest = after;
        }
        page.push_str(rest);
        fs::write(&file, page).unwrap();
    }

    /// Demands that every session of the group was checked.
    ///
    /// # Panics
    /// When one was not.
    #[track_caller]
    pub fn finish(self) {
        let names = self.sessions.iter().flat_map(|session| &session.mark).map(|mark| mark.1.clone());
        let left: Vec<String> = names.filter(|name| !self.checked.contains(name)).collect();
        assert_eq!(left, [""; 0], "{}: sessions of {} that no test runs", self.path, self.group);
    }
}

/// A page's command with the fingerprint of the key at hand in place of the page's.
///
/// # Panics
/// Never: the pattern is sound.
#[must_use]
pub fn with_fingerprint(command: &str, fingerprint: &str) -> String {
    let pattern = Regex::new("SHA256:[A-Za-z0-9+/]{43}").unwrap();
    pattern.replace_all(command, NoExpand(fingerprint)).into_owned()
}

/// Runs a line in a shell, as on a terminal: both outputs in order. The page's own line follows a failure.
///
/// # Panics
/// When it cannot be run.
#[track_caller]
#[must_use]
pub fn shell(mut shell: Command, line: &str) -> String {
    let outcome = Outcome::of(shell.arg("-c").arg(format!("exec 2>&1\n{line}")));
    match outcome.code {
        0 => outcome.stdout,
        code => format!("{}\n(exit code {code})", outcome.stdout.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "Text\n\n<!-- session: hello one -->\n```\n$ a b\nout\n\n$ c\n```\n\n```yaml\nkey: 1\n```\n\n```\n$ d\n```\n";

    #[test]
    fn sessions_are_blocks_with_commands() {
        let sessions = parse(PAGE);
        assert_eq!(sessions.len(), 2);
        assert_eq!(sessions[0].mark, Some(("hello".to_owned(), "one".to_owned())));
        let step = |command: &str, output: &str| Step { command: command.into(), output: output.into() };
        assert_eq!(sessions[0].steps, [step("a b", "out"), step("c", "")]);
        assert_eq!(sessions[1].mark, None);
    }

    #[test]
    #[should_panic(expected = "does not stand right above its session")]
    fn a_mark_stands_right_above_its_session() {
        let _ = parse("<!-- session: hello one -->\n\n```\n$ a\n```\n");
    }

    #[test]
    #[should_panic(expected = "names no group and session")]
    fn a_mark_has_a_group_and_a_name() {
        let _ = parse("<!-- session: hello -->\n```\n$ a\n```\n");
    }

    #[test]
    fn a_shell_shows_both_outputs_and_a_failure() {
        let run = |line: &str| shell(Command::new("/bin/sh"), line);
        assert_eq!(run("echo one; echo two >&2; echo three"), "one\ntwo\nthree\n");
        assert_eq!(run("echo no >&2; exit 3"), "no\n(exit code 3)");
    }
}
