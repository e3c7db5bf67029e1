//! Every step of every install, in `steps.jsonl`, for people.
//!
//! The journal is appended to and synced before and after each step. A torn last line is expected. Its first
//! line has the number of its format. Nothing is decided by it: [`super::state`] does that.

use super::folder::ProductDir;
use super::state::now;
use super::versioned::Header;
use anyhow::{Context, Result};
use ferry_terminal::writing;
use manifest_schema::limits;
use serde::Serialize;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

/// The journal of one attempt.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    path: PathBuf,
    attempt: String,
}

/// A step of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Step {
    /// Images, files, networks and volumes are brought; nothing that runs is touched.
    Stage,
    /// Services are replaced and started.
    Switch,
    /// The release is recorded as the one that runs.
    Commit,
    /// The attempt's containers, networks and volumes are removed, and the release before it is put back.
    Undo,
    /// The product's folder takes its place below `products`.
    Move,
}

#[derive(Serialize)]
struct Line<'a> {
    at: u64,
    attempt: &'a str,
    step: Step,
    phase: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
}

/// The journal's name. 0.1.0 called its own `journal.jsonl`.
const NAME: &str = "steps.jsonl";
/// Its older part.
const OLD: &str = "steps.old.jsonl";

impl Journal {
    /// Opens the journal of a product for `attempt`.
    ///
    /// # Errors
    /// When it is of a newer format, or cannot be opened.
    pub(crate) fn open(product: &ProductDir, attempt: &str) -> Result<Self> {
        use std::os::unix::fs::OpenOptionsExt;
        let path = product.file(NAME);
        let continues = has_header(&path)?;
        // Past a few megabytes the old part is of no use to anyone.
        let long = path.metadata().is_ok_and(|metadata| metadata.len() > limits::MAX_JOURNAL_BYTES);
        if path.exists() && (long || !continues) {
            std::fs::rename(&path, product.file(OLD))?;
        }
        let file = File::options().create(true).append(true).mode(0o600).open(&path);
        let mut file = file.with_context(|| format!("opening {}", path.display()))?;
        if file.metadata()?.len() == 0 {
            let header = serde_json::to_vec(&Header::own())?;
            file.write_all(&header).map_err(|error| writing::failed(&path, None, error))?;
        }
        // A line torn by a power cut must not swallow the next one.
        file.write_all(b"\n").map_err(|error| writing::failed(&path, None, error))?;
        Ok(Self { file, path, attempt: attempt.to_owned() })
    }

    /// Records that `step` begins.
    ///
    /// # Errors
    /// When the record cannot be written: then the step must not be taken.
    pub(crate) fn begin(&mut self, step: Step) -> Result<()> {
        self.write(step, "begin", None)
    }

    /// Records that `step` is done.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub(crate) fn done(&mut self, step: Step) -> Result<()> {
        self.write(step, "done", None)
    }

    /// Records that `step` failed, and why.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub(crate) fn failed(&mut self, step: Step, why: &str) -> Result<()> {
        self.write(step, "failed", Some(why))
    }

    fn write(&mut self, step: Step, phase: &str, note: Option<&str>) -> Result<()> {
        let line = Line { at: now(), attempt: &self.attempt, step, phase, note };
        let mut text = serde_json::to_string(&line)?;
        text.push('\n');
        self.file
            .write_all(text.as_bytes())
            .and_then(|()| self.file.sync_data())
            .map_err(|error| writing::failed(&self.path, Some(text.len() as u64), error))
    }
}

/// The file begins with a header. One that a power cut has torn does not count.
fn has_header(path: &Path) -> Result<bool> {
    /// A header has some fifty bytes; a first line that is longer is none.
    const MAX_HEADER_BYTES: u64 = 4096;
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    let mut line = Vec::new();
    BufReader::new(file.take(MAX_HEADER_BYTES)).read_until(b'\n', &mut line)?;
    match serde_json::from_slice::<Header>(&line) {
        Ok(header) => header.check(path).map(|()| true),
        Err(_) => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Root;

    #[test]
    fn the_journal_survives_torn_lines_and_refuses_a_newer_one() {
        let folder = tempfile::tempdir().unwrap();
        let product = Root::new(folder.path()).unwrap().product(&"site".parse().unwrap());
        let _lock = product.lock().unwrap();
        let path = product.file(NAME);
        std::fs::write(&path, b"{\"form").unwrap();
        Journal::open(&product, "a").unwrap().begin(Step::Stage).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("{\"format\":2,"), "{text}");
        std::fs::write(&path, format!("{text}{{\"torn")).unwrap();
        Journal::open(&product, "b").unwrap().begin(Step::Stage).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.lines().last().unwrap().contains("\"attempt\":\"b\""), "{text}");
        assert_eq!(text.matches("format").count(), 1, "{text}");
        let newer = "{\"format\":3,\"written_by\":\"1.0.0\"}\n";
        std::fs::write(&path, newer).unwrap();
        assert!(Journal::open(&product, "c").unwrap_err().to_string().contains("format 3"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), newer);
    }
}
