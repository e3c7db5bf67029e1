//! Answers to the site's variables, from the environment, `--values` and `--set`.

use crate::host;
use anyhow::{Context, Result};
use ferry_terminal::{Class, Failure};
use manifest_schema::limits;
use manifest_schema::manifest::Given;
use std::path::Path;

/// The answers of the environment, over them those of the values file, over them the single ones.
///
/// # Errors
/// When the file cannot be read or is not a map, or an answer has no `=`.
pub(super) fn read(
    environment: impl Iterator<Item = (String, String)>,
    file: Option<&Path>,
    single: &[String],
) -> Result<Given> {
    let mut given = Given::default();
    given.add_environment(environment);
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
    let bytes = host::read_bounded(path, limits::MAX_YAML_BYTES as u64)?;
    let bytes = bytes.ok_or_else(|| Failure::new(Class::Files, format!("there is no file {shown}")))?;
    let text = String::from_utf8(bytes).with_context(|| format!("{shown} is not UTF-8 text"))?;
    Ok(Given::from_file(&shown, &text)?)
}
