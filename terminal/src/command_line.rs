//! The command line of a program: help and mistakes are shown in the characters of the terminal.

use crate::charset;
use crate::failure::Class;
use crate::output::Output;
use std::borrow::Cow;
use std::process::ExitCode;

/// The arguments of this process.
///
/// # Errors
/// The exit code, once help or a mistake has been shown.
pub fn parse<C: clap::Parser>() -> Result<C, ExitCode> {
    C::try_parse().map_err(|error| {
        let text = error.render().to_string();
        // Where nothing has to be replaced, clap shows it itself, with its colours.
        let Cow::Owned(plain) = charset::shown(&text) else { error.exit() };
        let output = Output::new(false, false);
        if error.use_stderr() {
            output.error_line(plain.trim_end());
        } else {
            output.line(plain.trim_end());
        }
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Class::Usage.code()))
    })
}
