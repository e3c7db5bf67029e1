//! Answers to the site's variables, from the environment, `--values` and `--set`.

use crate::host::files;
use anyhow::Result;
use ferry_terminal::{Class, Failure};
use manifest_schema::limits;
use manifest_schema::manifest::Given;
use std::ffi::OsString;
use std::path::Path;

/// The answers of the environment, over them those of the values file, over them the single ones.
///
/// # Errors
/// When the file cannot be read or is not a map, or an answer has no `=`.
pub(super) fn read(
    environment: impl Iterator<Item = (OsString, OsString)>,
    file: Option<&Path>,
    single: &[String],
) -> Result<Given> {
    let mut given = Given::default();
    let mut texts = Vec::new();
    for (name, value) in environment {
        // The environment of others need not be text.
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            Ok(value) => texts.push((name, value)),
            Err(_) if name.starts_with("FERRY_VAR_") => {
                return Err(Failure::new(Class::Input, format!("{name} is not UTF-8 text")).into());
            }
            Err(_) => {}
        }
    }
    given.add_environment(texts.into_iter());
    if let Some(path) = file {
        given.extend(from_file(path)?);
    }
    for answer in single {
        if !given.add_option(answer) {
            return Err(Failure::new(Class::Usage, format!("--set {answer} has no `=`"))
                .hint("write --set NAME=VALUE")
                .into());
        }
    }
    Ok(given)
}

fn from_file(path: &Path) -> Result<Given> {
    let shown = path.display().to_string();
    let bytes = files::read_bounded(path, limits::MAX_YAML_BYTES as u64)?;
    let bytes = bytes.ok_or_else(|| Failure::new(Class::Files, format!("there is no file {shown}")))?;
    let text = String::from_utf8(bytes).map_err(|_| {
        Failure::new(Class::Input, format!("{shown} is not UTF-8 text")).hint("save it as UTF-8")
    })?;
    Ok(Given::from_file(&shown, &text)?)
}
