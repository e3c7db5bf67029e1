//! `ferry render`: exactly the files that a site with these answers gets, before anything is built.
//!
//! What only the site knows has a stand-in, and is named; secrets are never made here.

use crate::renderings;
use crate::texts::{Texts, read_text};
use anyhow::Result;
use manifest_schema::manifest::{self, Given, Manifest};
use manifest_schema::site::Values;
use manifest_schema::{Diagnostic, Diagnostics};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// A file of the release folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SiteFile {
    /// Its content, where it is text.
    pub text: Option<String>,
    /// Its bytes.
    #[serde(skip)]
    pub bytes: Vec<u8>,
    /// Permission bits, in octal.
    pub mode: String,
}

/// What a site gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rendered {
    /// Files by their paths in the release folder: `compose.yaml`, which is all Compose files as one, and the
    /// manifest's configs.
    pub files: BTreeMap<String, SiteFile>,
    /// Variables that the answers leave open, and what stands for them.
    pub stand_ins: Values,
    /// What should be looked at, but stops nothing.
    pub warnings: Vec<Diagnostic>,
}

/// Renders the manifest at `path` with the answers in `given`, for a host called `hostname`.
///
/// # Errors
/// All mistakes found.
pub fn render(path: &Path, given: &Given, hostname: &str) -> Result<Rendered> {
    let read = Texts::read(path)?;
    let values = renderings::answers(&read.manifest, given)?;
    let made = read.make(&values, hostname)?;
    let mut files = BTreeMap::new();
    let compose = made.parsed.merged.into_bytes();
    files.insert("compose.yaml".to_owned(), site_file(compose, 0o644));
    for (config, content) in read.manifest.configs.iter().zip(made.configs) {
        files.insert(config.to.to_string(), site_file(content, config.mode.unwrap_or(0o644)));
    }
    let stand_ins = open(&read.manifest, given, &values);
    Ok(Rendered { files, stand_ins, warnings: made.parsed.warnings })
}

fn site_file(bytes: Vec<u8>, mode: u32) -> SiteFile {
    SiteFile { text: String::from_utf8(bytes.clone()).ok(), bytes, mode: format!("{:04o}", mode & 0o777) }
}

/// Variables that are asked for and have neither an answer nor a default.
fn open(manifest: &Manifest, given: &Given, values: &Values) -> Values {
    manifest::in_order(&manifest.variables)
        .into_iter()
        .filter(|(name, variable)| {
            variable.default.is_none()
                && !given.values().contains_key(*name)
                && manifest::is_asked(variable, values)
        })
        .filter_map(|(name, _)| Some((name.clone(), values.get(name)?.clone())))
        .collect()
}

/// How long the comparison of one file may take; what is found by then is right, and longer than it could be.
const MAX_DIFF_TIME: Duration = Duration::from_secs(5);

/// What differs between two sites, as a unified diff with the second over the first; empty where nothing does.
#[must_use]
pub fn diff(one: &Rendered, one_name: &str, other: &Rendered, other_name: &str) -> String {
    let paths: std::collections::BTreeSet<&String> = one.files.keys().chain(other.files.keys()).collect();
    let mut out = String::new();
    for path in paths {
        let bytes = |rendered: &Rendered| rendered.files.get(path).map(|file| file.bytes.clone());
        let (old, new) = (bytes(one), bytes(other));
        if old == new {
            continue;
        }
        let text = |bytes: Option<Vec<u8>>| bytes.map(|bytes| String::from_utf8(bytes).ok());
        match (text(old), text(new)) {
            (Some(None), _) | (_, Some(None)) => out.push_str(&format!("{path}: binary files differ\n")),
            (old, new) => {
                let (old, new) = (old.flatten().unwrap_or_default(), new.flatten().unwrap_or_default());
                let diff = similar::TextDiff::configure().timeout(MAX_DIFF_TIME).diff_lines(&old, &new);
                let names = (format!("{path}  ({one_name})"), format!("{path}  ({other_name})"));
                out.push_str(&diff.unified_diff().header(&names.0, &names.1).to_string());
            }
        }
    }
    out
}

/// Writes the files into `folder`, which is made where it is not there. What lies there already under another
/// name stays.
///
/// # Errors
/// When a file cannot be written.
pub fn write(rendered: &Rendered, folder: &Path) -> Result<()> {
    for (path, file) in &rendered.files {
        let target = folder.join(path);
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&target, &file.bytes)?;
    }
    Ok(())
}

/// Reads a values file.
///
/// # Errors
/// When it cannot be read, or is no map.
pub fn answers_file(path: &Path) -> Result<Given> {
    let text = read_text(path).map_err(Diagnostics::from)?;
    Ok(Given::from_file(&path.display().to_string(), &text)?)
}
