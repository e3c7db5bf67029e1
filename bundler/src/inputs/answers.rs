//! How the answers of a site are given, and what they are now.
//!
//! A file of answers is edited while `ferry watch` runs: who works with it for longer reads it anew.

use crate::read::folder::read_text;
use anyhow::Result;
use ferry_terminal::{Class, Failure};
use manifest_schema::Diagnostics;
use manifest_schema::manifest::Given;
use std::path::{Path, PathBuf};

/// Where answers come from; nothing of it has been read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answers {
    /// The environment; `FERRY_VAR_NAME` in it is an answer.
    pub environment: Vec<(String, String)>,
    pub file: Option<PathBuf>,
    /// Single ones, `NAME=VALUE`.
    pub single: Vec<String>,
}

impl Answers {
    /// The answers of the environment, over them those of the values file, over them the single ones, as on
    /// site.
    ///
    /// # Errors
    /// When the file cannot be read or is no map, or a single one has no `=`.
    pub(crate) fn read(&self) -> Result<Given> {
        let mut given = Given::default();
        given.add_environment(self.environment.iter().cloned());
        if let Some(file) = &self.file {
            let text = read_text(file).map_err(Diagnostics::from)?;
            given.extend(Given::from_file(&file.display().to_string(), &text)?);
        }
        for answer in &self.single {
            if !given.add_option(answer) {
                return Err(Failure::new(Class::Usage, format!("--set {answer} has no `=`"))
                    .hint("write --set NAME=VALUE")
                    .into());
            }
        }
        Ok(given)
    }

    /// The same with another values file.
    #[must_use]
    pub(crate) fn with_file(&self, file: &Path) -> Self {
        Self { file: Some(file.to_owned()), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_answers_win_and_the_file_is_read_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("values.yaml");
        let answers = Answers {
            environment: vec![("FERRY_VAR_a".into(), "environment".into()), ("HOME".into(), "/x".into())],
            file: Some(file.clone()),
            single: vec!["c=single".into()],
        };
        let read = || {
            let given = answers.read().unwrap();
            let text =
                |name: &str| given.values().get(name).and_then(|value| value.as_str()).map(str::to_owned);
            [text("a"), text("b"), text("c"), text("HOME")].map(Option::unwrap_or_default)
        };
        std::fs::write(&file, "b: file\nc: file\n").unwrap();
        assert_eq!(read(), ["environment", "file", "single", ""]);
        std::fs::write(&file, "a: changed\n").unwrap();
        assert_eq!(read(), ["changed", "", "single", ""]);
        std::fs::remove_file(&file).unwrap();
        assert!(answers.read().unwrap_err().to_string().contains("there is no such file"));
    }
}
