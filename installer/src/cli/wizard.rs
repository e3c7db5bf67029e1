//! The wizard: asks a person at the terminal for the answers that are missing, and shows them all before
//! anything is done.
//!
//! Invariant: nothing is changed on the host while it asks; a secret is never shown; text of the bundle
//! (prompts, help, choices, patterns, defaults) is made printable before it is shown.

mod interview;
mod reply;
mod terminal;

use crate::install::Questions;
use anyhow::Result;
use ferry_terminal::{Class, Failure, Output, human};
use interview::{Entry, Interview, Standing};
use manifest_schema::manifest::{Manifest, Variable, VariableKind};
use manifest_schema::site::Values;
use reply::{MAP, Reply, one_line, shown};
use serde_json::Value;
use std::cell::RefCell;
use std::io::IsTerminal;
pub(super) use terminal::Terminal;
use tokio_util::sync::CancellationToken;

/// Before every line that belongs to a question.
const INDENT: &str = "     ";

/// How a line is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// The question.
    Title,
    /// A part of the question.
    Plain,
    /// Good to know.
    Note,
    /// Why an answer was not taken.
    Wrong,
}

/// A person who reads lines and types some.
pub(super) trait Person {
    /// Shows a line, which steers no terminal.
    fn say(&mut self, tone: Tone, line: &str);

    /// Drops what was typed ahead: pasted lines confirm nothing that nobody has seen.
    fn forget_typed(&mut self);

    /// Shows `prompt` and gives the line that is typed, without its end; nothing where the input has
    /// ended. What is `hidden` is not shown while it is typed.
    ///
    /// # Errors
    /// When somebody wants to stop, or the terminal is gone.
    fn read(&mut self, prompt: &str, hidden: bool) -> Result<Option<String>>;
}

/// A person can be asked.
pub(super) fn is_possible(output: Output) -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal() && !output.json
}

/// Asks on the terminal, with `anew` also for remembered answers. `again` gets the options that repeat the answers, also
/// where this fails.
///
/// # Errors
/// When somebody stops, the input ends, or something is missing that nobody can type.
pub(super) fn ask(
    questions: &Questions<'_>,
    output: Output,
    cancel: &CancellationToken,
    anew: bool,
    again: &RefCell<Vec<String>>,
) -> Result<Values> {
    let mut interview = Interview::new(questions, anew);
    let product = format!("{} {}", questions.manifest.name, questions.manifest.version);
    let enter = if anew { "show what changes" } else { "install" };
    let person = &mut Terminal::new(output, cancel);
    let result = converse(&mut interview, &product, enter, questions.goes_on, person);
    *again.borrow_mut() = interview.options();
    result.map(|()| interview.answers())
}

/// Asks for the value of one variable, also where it has one.
///
/// # Errors
/// When somebody stops, or goes back.
pub(super) fn ask_one(
    name: &str,
    manifest: &Manifest,
    output: Output,
    cancel: &CancellationToken,
) -> Result<Option<Value>> {
    let nothing = Values::new();
    let mut manifest = manifest.clone();
    // The others are not looked at, nor whether it would be asked with their answers.
    manifest.variables.retain(|other, _| other == name);
    manifest.variables.values_mut().for_each(|variable| variable.when = None);
    let questions = Questions {
        manifest: &manifest,
        given: &nothing,
        remembered: &nothing,
        tried: &nothing,
        goes_on: &|| true,
    };
    let mut interview = Interview::new(&questions, false);
    match question(&mut interview, name, &mut Terminal::new(output, cancel))? {
        Next::Onward => Ok(interview.answers().remove(name)),
        Next::Back => Err(Failure::new(Class::Cancelled, "nothing was changed").into()),
    }
}

/// The next step after a question.
enum Next {
    Onward,
    Back,
}

/// The next step after the review.
enum Verdict {
    Install,
    Change(String),
    Back,
}

/// From the first question to the yes. Says nothing where there is nothing to ask. `enter` says what Enter
/// does at the review. Ends early where `goes_on` says so.
fn converse(
    interview: &mut Interview<'_>,
    product: &str,
    enter: &str,
    goes_on: &dyn Fn() -> bool,
    person: &mut dyn Person,
) -> Result<()> {
    refuse_maps(interview)?;
    let Some(first) = interview.next() else { return Ok(()) };
    let (_, total) = interview.position(&first).unwrap_or((1, 1));
    person.say(
        Tone::Title,
        &format!("{} has {} about this site", one_line(product), human::count(total, "question")),
    );
    person.say(Tone::Note, "Enter takes the answer in [brackets], ? explains, < goes back, Ctrl-C stops");
    if interview.is_second_try() {
        person.say(Tone::Note, "the answers of the failed install are offered there, too");
    }
    let mut wanted = Some(first);
    let mut chosen = None;
    loop {
        if !goes_on() {
            return Ok(());
        }
        let Some(name) = wanted.take().or_else(|| interview.next()) else {
            match review(interview, enter, person)? {
                Verdict::Install => return Ok(()),
                Verdict::Change(name) => (wanted, chosen) = (Some(name.clone()), Some(name)),
                Verdict::Back => wanted = interview.last(),
            }
            continue;
        };
        if let Next::Back = question(interview, &name, person)? {
            // A person who came from the review goes back to it.
            if chosen.take().is_some_and(|chosen| chosen == name) {
                continue;
            }
            let before = interview.before(&name);
            if before.is_none() {
                person.say(Tone::Wrong, &format!("{INDENT}this is the first question"));
            }
            wanted = before.or(Some(name));
        }
    }
}

/// A map without a value ends the matter before it begins: answers typed first would be lost.
fn refuse_maps(interview: &Interview<'_>) -> Result<()> {
    let needed = |entry: &Entry<'_>| {
        entry.variable.kind == VariableKind::Map
            && entry.variable.when.is_none()
            && matches!(entry.standing, Standing::Missing | Standing::Unfit(_))
    };
    let maps: Vec<String> =
        interview.entries().iter().filter(|e| needed(e)).map(|e| format!("`{}`", e.name)).collect();
    match maps.as_slice() {
        [] => Ok(()),
        maps => {
            let fact = format!("{MAP}, and {} has none that fits; nothing was changed", maps.join(", "));
            Err(Failure::new(Class::Input, fact)
                .hint("write it into a YAML file and give that with --values FILE; the other questions follow then")
                .into())
        }
    }
}

/// Asks one question until it is answered, or somebody goes back.
fn question(interview: &mut Interview<'_>, name: &str, person: &mut dyn Person) -> Result<Next> {
    let Some(entry) = interview.entry(name) else { return Ok(Next::Onward) };
    let variable = entry.variable;
    let current = entry.standing.current().cloned();
    person.say(Tone::Plain, "");
    let number = interview.position(name).map(|(at, total)| format!("{at}/{total}  ")).unwrap_or_default();
    person.say(Tone::Title, &format!("{number}{}", label(&entry)));
    if let Standing::Unfit(why) = &entry.standing {
        let text = format!("{INDENT}the answer remembered on this host is no longer valid: {why}");
        person.say(Tone::Wrong, &human::printable(&text));
    }
    if variable.prompt.is_none() {
        help(variable, person);
    }
    for (number, choice) in variable.choices.iter().enumerate() {
        person.say(Tone::Plain, &format!("{INDENT}{:>2}  {}", number + 1, one_line(choice)));
    }
    person.say(Tone::Note, &format!("{INDENT}{}", expected(variable)));
    let bracket = match (&entry.standing, &current) {
        (_, Some(value)) => format!("[{}] ", shown(variable, value)),
        (Standing::Generated, None) => "[generated] ".to_owned(),
        (_, None) if reply::may_be_none(variable) => "[none] ".to_owned(),
        _ => String::new(),
    };
    let prompt = format!("{INDENT}{bracket}> ");
    let generated = matches!(entry.standing, Standing::Generated);
    loop {
        let Some(line) = typed(person, variable, &prompt)? else { return Err(ended()) };
        match reply::of(variable, &line) {
            Reply::Back => return Ok(Next::Back),
            Reply::Help => explain(name, variable, person),
            Reply::Nothing => match current {
                Some(value) => {
                    interview.answer(name, value);
                    return Ok(Next::Onward);
                }
                None if generated => return Ok(Next::Onward),
                None if reply::may_be_none(variable) => {
                    interview.answer(name, Value::Array(Vec::new()));
                    return Ok(Next::Onward);
                }
                None => wrong(person, "an answer is needed"),
            },
            Reply::Answer(value) => {
                if variable.kind == VariableKind::Secret {
                    let prompt = format!("{INDENT}once more, to be sure\n{INDENT}> ");
                    let Some(second) = person.read(&prompt, true)? else { return Err(ended()) };
                    if second != line {
                        wrong(person, "the two differ: type it again");
                        continue;
                    }
                }
                interview.answer(name, value);
                return Ok(Next::Onward);
            }
            Reply::Wrong(why) => wrong(person, &why),
        }
    }
}

/// Shows all answers, and asks whether they are right.
fn review(interview: &Interview<'_>, enter: &str, person: &mut dyn Person) -> Result<Verdict> {
    let entries = interview.entries();
    let listed: Vec<&Entry<'_>> =
        entries.iter().filter(|entry| !matches!(entry.standing, Standing::Remembered(_))).collect();
    let width = listed.iter().map(|entry| label(entry).chars().count()).max().unwrap_or_default().min(40);
    let mut numbered: Vec<&str> = Vec::new();
    person.say(Tone::Plain, "");
    person.say(Tone::Title, "The answers");
    for entry in listed {
        let number = if entry.can_change() {
            numbered.push(entry.name);
            numbered.len().to_string()
        } else {
            String::new()
        };
        let value = match &entry.standing {
            Standing::Given(value) => format!("{} (given)", shown(entry.variable, value)),
            Standing::Default(value) => format!("{} (default)", shown(entry.variable, value)),
            Standing::Answered(value) | Standing::Remembered(value) | Standing::Tried(value) => {
                shown(entry.variable, value)
            }
            Standing::Generated => "generated".to_owned(),
            Standing::Missing | Standing::Unfit(_) => "missing".to_owned(),
        };
        person.say(Tone::Plain, &format!("{number:>4}  {:<width$}  {value}", label(entry)));
    }
    let remembered = entries.iter().filter(|entry| matches!(entry.standing, Standing::Remembered(_))).count();
    if remembered > 0 {
        let count = human::count(remembered, "answer");
        person.say(Tone::Note, &format!("      {count} remembered on this host, kept as before"));
    }
    let keys = format!("Enter = {enter}, number = change that answer, < = back, q = stop");
    person.forget_typed();
    person.say(Tone::Note, &keys);
    loop {
        let Some(line) = person.read("> ", false)? else { return Err(ended()) };
        match line.trim() {
            "" => return Ok(Verdict::Install),
            "<" | "back" => return Ok(Verdict::Back),
            "?" => person.say(Tone::Note, &keys),
            "q" | "Q" | "quit" => {
                return Err(
                    Failure::new(Class::Cancelled, "stopped at the review; nothing was changed").into()
                );
            }
            text => {
                let chosen = text.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
                if let Some(name) = chosen.and_then(|index| numbered.get(index)) {
                    return Ok(Verdict::Change((*name).to_owned()));
                }
                let numbers = format!("a number from 1 to {}", numbered.len());
                wrong(person, &format!("type Enter, {numbers}, < or q"));
            }
        }
    }
}

fn typed(person: &mut dyn Person, variable: &Variable, prompt: &str) -> Result<Option<String>> {
    if variable.kind == VariableKind::Secret {
        return person.read(&format!("{INDENT}what you type is not shown\n{prompt}"), true);
    }
    person.read(prompt, false)
}

fn wrong(person: &mut dyn Person, why: &str) {
    person.say(Tone::Wrong, &format!("{INDENT}{}", human::printable(why)));
}

fn label(entry: &Entry<'_>) -> String {
    one_line(entry.variable.prompt.as_deref().unwrap_or(entry.name))
}

fn expected(variable: &Variable) -> String {
    match variable.kind {
        // They were listed.
        VariableKind::Choice => "a number or a name of the list".to_owned(),
        _ => one_line(&variable.expected()),
    }
}

fn help(variable: &Variable, person: &mut dyn Person) {
    for line in variable.help.iter().flat_map(|help| help.lines()) {
        person.say(Tone::Plain, &format!("{INDENT}{}", human::printable(line)));
    }
}

/// All that is known about a question.
fn explain(name: &str, variable: &Variable, person: &mut dyn Person) {
    if variable.help.is_none() {
        person.say(Tone::Plain, &format!("{INDENT}the bundle says no more about it"));
    }
    help(variable, person);
    person.say(Tone::Note, &format!("{INDENT}expected: {}", expected(variable)));
    if variable.kind == VariableKind::List {
        person.say(Tone::Note, &format!("{INDENT}a single comma stands for an empty list"));
    }
    person.say(Tone::Note, &format!("{INDENT}name of the variable: {}", human::printable(name)));
}

fn ended() -> anyhow::Error {
    Failure::new(Class::Input, "the input ended before the answers were confirmed; nothing was changed")
        .hint("run it again and answer, or give the answers with --set NAME=VALUE or --values FILE")
        .into()
}

#[cfg(test)]
#[path = "wizard/wizard_tests.rs"]
mod tests;
