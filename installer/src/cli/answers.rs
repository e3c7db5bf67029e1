//! Answers to the site's variables, from `--values` and `--set`.

use crate::host;
use crate::site::Values;
use anyhow::{Context, Result};
use ferry_terminal::{Class, Failure};
use manifest_schema::{limits, yaml};
use std::path::Path;

/// Reads the values file and puts the single answers over it.
///
/// # Errors
/// When the file cannot be read or is not a map, or an answer has no `=`.
pub(super) fn read(file: Option<&Path>, single: &[String]) -> Result<Values> {
    let mut values = match file {
        Some(path) => from_file(path)?,
        None => Values::new(),
    };
    for answer in single {
        let Some((name, value)) = answer.split_once('=') else {
            return Err(Failure::new(Class::Usage, format!("--set {answer} has no `=`"))
                .hint("write --set NAME=VALUE")
                .into());
        };
        values.insert(name.trim().to_owned(), serde_json::Value::String(value.to_owned()));
    }
    Ok(values)
}

fn from_file(path: &Path) -> Result<Values> {
    let shown = path.display().to_string();
    let bytes = host::read_bounded(path, limits::MAX_YAML_BYTES as u64)?;
    let bytes = bytes.ok_or_else(|| Failure::new(Class::Files, format!("there is no file {shown}")))?;
    let text = String::from_utf8(bytes).with_context(|| format!("{shown} is not UTF-8 text"))?;
    match yaml::parse(&shown, &text).map_err(manifest_schema::Diagnostics::from)?.to_json() {
        serde_json::Value::Object(map) => Ok(map.into_iter().collect()),
        serde_json::Value::Null => Ok(Values::new()),
        _ => Err(Failure::new(Class::Input, format!("{shown} is not a map of names and values"))
            .hint("write one `name: value` a line")
            .into()),
    }
}
