//! The release as it would be on site: with the defaults, and with every values file in `sites/`, so that a
//! mistake that only some answers show is found here.
//!
//! An answer that only a site knows has a stand-in of its kind. The bundle carries the needs of all renderings.

use super::texts::Texts;
use crate::read::folder::{read_text, shown_root};
use anyhow::Result;
use manifest_schema::manifest::{self, Given, Manifest, Variable, VariableKind};
use manifest_schema::render::Renderer;
use manifest_schema::site::{self, Made, Values};
use manifest_schema::{Diagnostic, Diagnostics};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The folder beside the manifest that holds values files.
pub(crate) const SITES: &str = "sites";

/// The host's name where nothing tells another one.
pub(crate) const HOSTNAME: &str = "host";

/// The name of the host that a values file is for: `hall-1` of `sites/hall-1.yaml`.
#[must_use]
pub(crate) fn hostname(values_file: Option<&Path>) -> &str {
    let stem = values_file.and_then(Path::file_stem).and_then(OsStr::to_str).unwrap_or_default();
    // RFC 1123, section 2.1.
    let is_label = (1..=63).contains(&stem.len())
        && !stem.starts_with('-')
        && !stem.ends_with('-')
        && stem.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if is_label { stem } else { HOSTNAME }
}

/// The release with one set of answers.
#[derive(Debug, Clone)]
pub(crate) struct Rendering {
    pub made: Made,
}

/// Renders the release with the defaults and with each file in `sites/`; at least one.
///
/// # Errors
/// All mistakes, in values files, templates and Compose files.
pub(crate) fn all(texts: &Texts, renderer: &dyn Renderer) -> Result<Vec<Rendering>> {
    let manifest = &texts.manifest;
    let mut found = Diagnostics::default();
    let mut renderings = Vec::new();
    let mut tried = vec![("the defaults".to_owned(), HOSTNAME, stand_ins(manifest))];
    let files = values_files(&texts.folder.join(SITES))?;
    for file in &files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let shown = format!("{}{SITES}/{name}", shown_root(&texts.folder));
        let read = read_text(file).map_err(Diagnostics::from);
        match read.and_then(|text| answers(manifest, &Given::from_file(&shown, &text)?)) {
            Ok(values) => tried.push((shown, hostname(Some(file)), values)),
            Err(mistakes) => found.0.extend(mistakes.0),
        }
    }
    for (number, (name, hostname, values)) in tried.into_iter().enumerate() {
        match texts.make(&values, hostname, renderer) {
            Ok(made) => renderings.push(Rendering { made }),
            Err(mistakes) => {
                let known = |mistake: &Diagnostic| {
                    found.0.iter().any(|other| {
                        (&other.file, other.line, other.column)
                            == (&mistake.file, mistake.line, mistake.column)
                    })
                };
                let new: Vec<Diagnostic> = mistakes.0.into_iter().filter(|one| !known(one)).collect();
                let new = Diagnostics(new);
                found.0.extend(if number > 0 { site::with_answers_of(&name, new) } else { new }.0);
            }
        }
    }
    found.or_ok(())?;
    Ok(renderings)
}

/// The answers in `given`, and stand-ins for what only the site knows.
///
/// # Errors
/// Bad answers, and names that are no variables.
pub(crate) fn answers(manifest: &Manifest, given: &Given) -> Result<Values, Diagnostics> {
    let unknown: Values = manifest
        .variables
        .iter()
        .filter(|(_, variable)| variable.default.is_none())
        .map(|(name, variable)| (name.clone(), stand_in(name, variable)))
        .collect();
    // A stand-in need not be what answers have to be.
    let asked: BTreeMap<String, Variable> = manifest
        .variables
        .iter()
        .map(|(name, variable)| {
            let free = unknown.contains_key(name) && !given.values().contains_key(name);
            let pattern = variable.pattern.clone().filter(|_| !free);
            let kind = if free && variable.kind == VariableKind::Choice {
                VariableKind::String
            } else {
                variable.kind
            };
            let (min, max) = if free { (None, None) } else { (variable.min, variable.max) };
            (name.clone(), Variable { pattern, kind, min, max, ..variable.clone() })
        })
        .collect();
    manifest::resolve(&asked, given, &unknown, &mut |length| "x".repeat(length))
}

/// The values a template sees with no answers at all.
#[must_use]
pub(crate) fn stand_ins(manifest: &Manifest) -> Values {
    answers(manifest, &Given::default()).unwrap_or_else(|_| {
        let value = |name: &String, variable: &Variable| {
            variable.default.clone().unwrap_or_else(|| stand_in(name, variable))
        };
        manifest.variables.iter().map(|(name, variable)| (name.clone(), value(name, variable))).collect()
    })
}

fn stand_in(name: &str, variable: &Variable) -> serde_json::Value {
    use serde_json::Value;
    let (low, high) = (variable.min.unwrap_or(i64::MIN), variable.max.unwrap_or(i64::MAX));
    let length = usize::try_from(low.clamp(0, 4096)).unwrap_or_default();
    match variable.kind {
        VariableKind::Int | VariableKind::Port => 1.clamp(low, high.max(low)).into(),
        VariableKind::Bool => false.into(),
        VariableKind::List => Value::Array(vec!["x".into(); length]),
        VariableKind::Map => {
            Value::Object((0..length).map(|n| (format!("x{n}"), Value::from("x"))).collect())
        }
        VariableKind::Choice => variable.choices.first().cloned().into(),
        VariableKind::Path => "/x".into(),
        VariableKind::Address => "192.0.2.1".into(),
        VariableKind::Secret => secret(name).into(),
        VariableKind::String => "x".repeat(length.max(1)).into(),
    }
}

/// The stand-in for a secret while building: found where it must not be, it names the secret.
#[must_use]
pub(crate) fn secret(name: &str) -> String {
    format!("a-secret-called-{name}")
}

/// The values files of a folder, by name; none where it is not there.
fn values_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(anyhow::Error::new(error).context(format!("reading {}", folder.display()))),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let is_yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if is_yaml && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
