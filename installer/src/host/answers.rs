//! The answers that a host keeps: those of what runs, those of an attempt that is under way, and those of one
//! that failed.
//!
//! What must stay true: no answer of an earlier release is ever dropped, since its data may still be there;
//! files are root's alone.

use super::{ProductDir, files};
use crate::host::state::State;
use anyhow::{Context, Result};
use manifest_schema::limits;
use manifest_schema::manifest::Manifest;
use manifest_schema::site::Values;
use std::path::{Path, PathBuf};

/// The answers remembered from the last install, and over them those of an attempt that is to be
/// finished: what it generated may be in use already. So may what a failed one has generated, since the folder
/// `data` outlives it.
///
/// # Errors
/// When a file is damaged.
pub fn remembered(product: &ProductDir, manifest: &Manifest, attempt: bool) -> Result<Values> {
    let mut values = tried(product)?;
    values.retain(|name, _| manifest.variables.get(name).is_some_and(|known| known.generate.is_some()));
    values.extend(read_values(&product.file(VALUES))?);
    if attempt {
        values.extend(read_values(&product.file(NEW_VALUES))?);
    }
    Ok(values)
}

/// The answers of an install that failed.
///
/// # Errors
/// When the file is damaged.
pub fn tried(product: &ProductDir) -> Result<Values> {
    read_values(&product.file(TRIED_VALUES))
}

/// Names of answers that an interrupted attempt had, and that are not those of what runs.
///
/// # Errors
/// When a file is damaged.
pub fn attempted(product: &ProductDir) -> Result<Vec<String>> {
    let kept = read_values(&product.file(VALUES))?;
    let new = read_values(&product.file(NEW_VALUES))?;
    Ok(new.into_iter().filter(|(name, value)| kept.get(name) != Some(value)).map(|(name, _)| name).collect())
}

/// The files with answers to keep for a later install.
///
/// # Errors
/// When one is damaged.
pub fn files(product: &ProductDir) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in [VALUES, TRIED_VALUES].map(|name| product.file(name)) {
        if !read_values(&path)?.is_empty() {
            files.push(path);
        }
    }
    Ok(files)
}

/// Keeps the answers of an attempt, apart from those of what runs.
///
/// # Errors
/// When they cannot be written.
pub fn keep_attempted(product: &ProductDir, answers: &Values) -> Result<()> {
    files::write_whole(&product.file(NEW_VALUES), &serde_json::to_vec_pretty(answers)?, 0o600)
}

/// Remembers answers that change nothing which runs.
///
/// # Errors
/// When they cannot be read or written.
pub fn remember(product: &ProductDir, answers: &Values) -> Result<()> {
    let before = read_values(&product.file(VALUES))?;
    let mut after = before.clone();
    after.extend(answers.clone());
    if after == before {
        return Ok(());
    }
    files::write_whole(&product.file(VALUES), &serde_json::to_vec_pretty(&after)?, 0o600)
}

/// What becomes of the answers of an attempt that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// They are those of what runs now.
    Adopt,
    /// They go, but for those that nothing else answers: data that was made with them was kept.
    KeepNew,
    /// Nothing was made with them: they are only what a person is offered the next time.
    SetAside,
}

/// Ends the time of an attempt's answers. Can be repeated. No answer of an earlier release is ever
/// dropped: its data may still be there. What the release of `state` that runs had by default is an answer too.
///
/// # Errors
/// When files cannot be read or written.
pub fn end_attempted(product: &ProductDir, answers: Answers, state: &State) -> Result<()> {
    let new = product.file(NEW_VALUES);
    if !new.exists() {
        return Ok(());
    }
    let (mut attempted, kept) = (read_values(&new)?, read_values(&product.file(VALUES))?);
    if let (Answers::KeepNew, Some(current)) = (answers, &state.current) {
        attempted.retain(|name, _| !current.variables.contains(name));
    }
    let (file, merged): (&str, Values) = match answers {
        Answers::Adopt => (VALUES, kept.into_iter().chain(attempted).collect()),
        Answers::KeepNew => (VALUES, attempted.into_iter().chain(kept).collect()),
        Answers::SetAside => (TRIED_VALUES, attempted),
    };
    files::write_whole(&product.file(file), &serde_json::to_vec_pretty(&merged)?, 0o600)?;
    let tried = product.file(TRIED_VALUES);
    if answers == Answers::Adopt && tried.exists() {
        std::fs::remove_file(&tried).with_context(|| format!("removing {}", tried.display()))?;
    }
    std::fs::remove_file(&new).with_context(|| format!("removing {}", new.display()))
}

/// The name of the file with the answers of what runs.
const VALUES: &str = "values.json";
const NEW_VALUES: &str = "values.new.json";
const TRIED_VALUES: &str = "values.tried.json";

fn read_values(path: &Path) -> Result<Values> {
    match files::read_bounded(path, limits::MAX_STATE_BYTES)? {
        Some(bytes) => {
            serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", path.display()))
        }
        None => Ok(Values::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Root;

    fn manifest() -> Manifest {
        let text = "ferry: 1\nname: a\nversion: 1\nvariables:\n  secret: { type: secret, generate: 8 }\n";
        Manifest::parse("ferry.yaml", text).unwrap()
    }

    #[test]
    fn answers_of_what_runs_outlive_every_attempt() {
        let value = |text: &str| serde_json::Value::String(text.to_owned());
        let values = |pairs: &[(&str, &str)]| -> Values {
            pairs.iter().map(|(name, text)| ((*name).to_owned(), value(text))).collect()
        };
        for (answers, expected) in [
            (Answers::Adopt, values(&[("old", "1"), ("port", "2"), ("secret", "s")])),
            (Answers::KeepNew, values(&[("old", "1"), ("port", "1"), ("secret", "s")])),
            // What was generated may be in the data, which stays.
            (Answers::SetAside, values(&[("old", "1"), ("port", "1"), ("secret", "s")])),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let product = Root::new(folder.path()).unwrap().product(&"site".parse().unwrap());
            let _lock = product.lock().unwrap();
            keep_attempted(&product, &values(&[("old", "1"), ("port", "1")])).unwrap();
            end_attempted(&product, Answers::Adopt, &State::default()).unwrap();
            keep_attempted(&product, &values(&[("port", "2"), ("secret", "s")])).unwrap();
            assert_eq!(
                remembered(&product, &manifest(), false).unwrap(),
                values(&[("old", "1"), ("port", "1")])
            );
            assert_eq!(remembered(&product, &manifest(), true).unwrap()["port"], value("2"));
            end_attempted(&product, answers, &State::default()).unwrap();
            end_attempted(&product, answers, &State::default()).unwrap();
            assert_eq!(remembered(&product, &manifest(), true).unwrap(), expected, "{answers:?}");
        }
    }
}
