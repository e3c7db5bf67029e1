//! The answers that a host remembers: those of the running release, of an attempt under way, and of one
//! that failed.
//!
//! Invariant: no answer of an earlier release is ever dropped, since its data may still be there;
//! files are root's alone.

use super::{ProductDir, files, versioned};
use crate::host::state::State;
use anyhow::Result;
use manifest_schema::manifest::Manifest;
use manifest_schema::site::Values;
use std::path::PathBuf;

/// The answers remembered from the last install, and over them those of an attempt that is to be
/// finished: what it generated may be in use already. So may what a failed one has generated, since the folder
/// `data` outlives it.
///
/// # Errors
/// When a file is damaged.
pub(crate) fn remembered(product: &ProductDir, manifest: &Manifest, attempt: bool) -> Result<Values> {
    let mut values = tried(product)?;
    values.retain(|name, _| manifest.variables.get(name).is_some_and(|known| known.generate.is_some()));
    values.extend(CURRENT.read(product)?);
    if attempt {
        values.extend(ATTEMPTED.read(product)?);
    }
    Ok(values)
}

/// The answers of an install that failed.
///
/// # Errors
/// When the file is damaged.
pub(crate) fn tried(product: &ProductDir) -> Result<Values> {
    TRIED.read(product)
}

/// Names of answers that an interrupted attempt had, and the running release has not.
///
/// # Errors
/// When a file is damaged.
pub(crate) fn attempted(product: &ProductDir) -> Result<Vec<String>> {
    let current = CURRENT.read(product)?;
    let new = ATTEMPTED.read(product)?;
    Ok(new
        .into_iter()
        .filter(|(name, value)| current.get(name) != Some(value))
        .map(|(name, _)| name)
        .collect())
}

/// The files with answers to keep for a later install.
///
/// # Errors
/// When one is damaged.
pub(crate) fn files(product: &ProductDir) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for stored in [CURRENT, TRIED] {
        if !stored.read(product)?.is_empty() {
            files.extend(
                [stored.path(product), product.file(stored.name_1)].into_iter().filter(|path| path.exists()),
            );
        }
    }
    Ok(files)
}

/// Records the answers of an attempt, apart from those of the running release.
///
/// # Errors
/// When they cannot be written.
pub(crate) fn record_attempted(product: &ProductDir, answers: &Values) -> Result<()> {
    ATTEMPTED.write(product, answers)
}

/// Remembers answers that change nothing which runs.
///
/// # Errors
/// When they cannot be read or written.
pub(crate) fn remember(product: &ProductDir, answers: &Values) -> Result<()> {
    let before = CURRENT.read(product)?;
    let mut after = before.clone();
    after.extend(answers.clone());
    if after == before {
        return Ok(());
    }
    CURRENT.write(product, &after)
}

/// The fate of the answers of an attempt that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answers {
    /// They are those of the running release.
    Adopt,
    /// They are dropped, but for those of variables that have no other answer: kept data depends on them.
    KeepNew,
    /// No data depends on them: a person is offered them the next time.
    SetAside,
}

/// Ends the time of an attempt's answers. Can be repeated. No answer of an earlier release is ever
/// dropped: its data may still be there. What the release of `state` that runs had by default is an answer too.
///
/// # Errors
/// When files cannot be read or written.
pub(crate) fn end_attempted(product: &ProductDir, answers: Answers, state: &State) -> Result<()> {
    if !ATTEMPTED.exists(product) {
        return Ok(());
    }
    let (mut attempted, remembered) = (ATTEMPTED.read(product)?, CURRENT.read(product)?);
    if let (Answers::KeepNew, Some(current)) = (answers, &state.current) {
        attempted.retain(|name, _| !current.variables.contains(name));
    }
    let (stored, merged): (Stored, Values) = match answers {
        Answers::Adopt => (CURRENT, remembered.into_iter().chain(attempted).collect()),
        Answers::KeepNew => (CURRENT, attempted.into_iter().chain(remembered).collect()),
        Answers::SetAside => (TRIED, attempted),
    };
    stored.write(product, &merged)?;
    if answers == Answers::Adopt {
        TRIED.remove(product)?;
    }
    ATTEMPTED.remove(product)
}

/// A file with answers: its name, and the name that 0.1.0 gave it.
struct Stored {
    name: &'static str,
    name_1: &'static str,
}

/// Answers of the running release.
const CURRENT: Stored = Stored { name: "answers.json", name_1: "values.json" };
/// Answers of the attempt under way.
const ATTEMPTED: Stored = Stored { name: "answers.new.json", name_1: "values.new.json" };
/// Answers of an attempt that failed.
const TRIED: Stored = Stored { name: "answers.tried.json", name_1: "values.tried.json" };

impl Stored {
    fn path(&self, product: &ProductDir) -> PathBuf {
        product.file(self.name)
    }

    fn exists(&self, product: &ProductDir) -> bool {
        self.path(product).exists() || product.file(self.name_1).exists()
    }

    fn read(&self, product: &ProductDir) -> Result<Values> {
        let answers = match versioned::read(&self.path(product))? {
            Some(answers) => Some(answers),
            None => versioned::read_bare(&product.file(self.name_1))?,
        };
        Ok(answers.unwrap_or_default())
    }

    fn write(&self, product: &ProductDir, answers: &Values) -> Result<()> {
        versioned::write(product, self.name, answers)?;
        files::remove(&product.file(self.name_1))
    }

    fn remove(&self, product: &ProductDir) -> Result<()> {
        // First the older one: it would count again once the newer one is gone.
        files::remove(&product.file(self.name_1))?;
        files::remove(&self.path(product))
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
            record_attempted(&product, &values(&[("old", "1"), ("port", "1")])).unwrap();
            end_attempted(&product, Answers::Adopt, &State::default()).unwrap();
            record_attempted(&product, &values(&[("port", "2"), ("secret", "s")])).unwrap();
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
