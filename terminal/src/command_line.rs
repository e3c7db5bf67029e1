//! The command line of a program: help and mistakes are shown in the characters of the terminal, and mistakes as JSON where
//! that is asked for.

use crate::charset;
use crate::failure::Class;
use crate::output::Output;
use std::borrow::Cow;
use std::ffi::OsString;
use std::process::ExitCode;

/// The arguments of this process.
///
/// # Errors
/// The exit code, once help or a mistake has been shown.
pub fn parse<C: clap::Parser>() -> Result<C, ExitCode> {
    C::try_parse().map_err(|error| {
        let text = error.render().to_string();
        let code = u8::try_from(error.exit_code()).unwrap_or(Class::Usage.code());
        if error.use_stderr() && wants_json(std::env::args_os()) {
            Output::new(true, false).line(&in_json(&text, code).to_string());
            return ExitCode::from(code);
        }
        // Where nothing has to be replaced, clap shows it itself, with its colours.
        let Cow::Owned(plain) = charset::shown(&text) else { error.exit() };
        let output = Output::new(false, false);
        if error.use_stderr() {
            output.error_line(plain.trim_end());
        } else {
            output.line(plain.trim_end());
        }
        ExitCode::from(code)
    })
}

/// True where `--json` stands among arguments that could not be read, before `--`.
fn wants_json(arguments: impl Iterator<Item = OsString>) -> bool {
    arguments.skip(1).take_while(|argument| argument != "--").any(|argument| argument == "--json")
}

/// A mistake of the command line in the form of every other failure: the fact, and below it advice and usage as the hint.
fn in_json(text: &str, code: u8) -> serde_json::Value {
    let text = text.trim_end();
    let (fact, hint) = text.split_once("\n\n").map_or((text, None), |(fact, hint)| (fact, Some(hint.trim())));
    let fact = fact.strip_prefix("error: ").unwrap_or(fact);
    serde_json::json!({ "error": { "message": fact, "hint": hint, "exit_code": code } })
}

#[cfg(test)]
mod tests {
    use super::{in_json, wants_json};

    #[test]
    fn a_mistake_of_the_command_line_is_json_where_json_is_asked_for() {
        let asks = |words: &[&str]| wants_json(words.iter().map(Into::into));
        assert!(asks(&["ferry", "bild", "--json"]) && !asks(&["ferry", "build", "--", "--json"]));
        let text = "error: unrecognized subcommand 'bild'\n\n  tip: a similar subcommand exists: 'build'\n\nUsage: ferry [OPTIONS]\n";
        let told = in_json(text, 2);
        assert_eq!(told["error"]["message"], "unrecognized subcommand 'bild'");
        assert_eq!(told["error"]["exit_code"], 2);
        assert!(told["error"]["hint"].as_str().unwrap().starts_with("tip: a similar"));
    }
}
