//! `ferry render`: exactly the Compose file and the configs that a site with these answers gets, before anything
//! is built. What is carried as it is, the site gets as it is.
//!
//! Answers that only the site knows have stand-ins, and are named; secrets are never generated here.

use crate::inputs::renderings;
use crate::inputs::texts::Texts;
use anyhow::Result;
use ferry_terminal::{Class, Failure, whole_file};
use manifest_schema::Diagnostic;
use manifest_schema::manifest::{self, Given, Manifest};
use manifest_schema::render::Renderer;
use manifest_schema::site::Values;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// A file of the release folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct SiteFile {
    /// Its content, where it is text.
    pub text: Option<String>,
    #[serde(skip)]
    pub bytes: Vec<u8>,
    /// Permission bits, in octal.
    pub mode: String,
}

/// A release as a site gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Rendered {
    /// Files by their paths in the release folder: `compose.yaml`, which is all Compose files as one, and the
    /// manifest's configs.
    pub files: BTreeMap<String, SiteFile>,
    /// Variables that the answers leave open, and what stands for them.
    pub stand_ins: Values,
    /// Warnings: worth a look, and no obstacle.
    pub warnings: Vec<Diagnostic>,
}

/// Renders the manifest at `path` with the answers in `given`, for a host called `hostname`.
///
/// # Errors
/// All mistakes found.
pub(crate) fn render(
    path: &Path,
    given: &Given,
    hostname: &str,
    renderer: &dyn Renderer,
) -> Result<Rendered> {
    let read = Texts::read(path)?;
    let values = renderings::answers(&read.manifest, given)?;
    let made = read.make(&values, hostname, renderer)?;
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

/// The unified diff from the first site to the second; empty where they are equal.
#[must_use]
pub(crate) fn diff(one: &Rendered, one_name: &str, other: &Rendered, other_name: &str) -> String {
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

/// Writes the files into `folder`, which is made where it is not there, each whole. What lies there already
/// under another name stays. Links inside the folder are not followed: what they lead to is somebody else's.
///
/// # Errors
/// When a file cannot be written, or a link is in its way.
pub(crate) fn write(rendered: &Rendered, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    for (path, file) in &rendered.files {
        let mut target = folder.to_path_buf();
        for part in Path::new(path).parent().unwrap_or(Path::new("")) {
            target.push(part);
            refuse_link(&target)?;
            if !target.is_dir() {
                std::fs::create_dir(&target)?;
            }
        }
        target = folder.join(path);
        refuse_link(&target)?;
        whole_file::write(&target, &file.bytes, u32::from_str_radix(&file.mode, 8)?)?;
    }
    Ok(())
}

fn refuse_link(path: &Path) -> Result<()> {
    if std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink()) {
        let fact = format!("{} is a link", path.display());
        return Err(Failure::new(Class::Files, fact)
            .hint("remove it, or write into another folder: its target is not overwritten")
            .into());
    }
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn files_are_written_whole_and_never_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let files = [("compose.yaml", "0644"), ("config/app.conf", "0600")].map(|(path, mode)| {
            let file = SiteFile { text: None, bytes: b"new".to_vec(), mode: mode.to_owned() };
            (path.to_owned(), file)
        });
        let rendered =
            Rendered { files: files.into_iter().collect(), stand_ins: Values::new(), warnings: Vec::new() };
        write(&rendered, &out).unwrap();
        write(&rendered, &out).unwrap();
        let written = out.join("config/app.conf");
        assert_eq!(fs::read(&written).unwrap(), b"new");
        assert_eq!(fs::metadata(&written).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&out).unwrap().count(), 2);

        let elsewhere = folder.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        fs::write(elsewhere.join("compose.yaml"), "theirs").unwrap();
        fs::remove_file(out.join("compose.yaml")).unwrap();
        symlink(elsewhere.join("compose.yaml"), out.join("compose.yaml")).unwrap();
        assert!(write(&rendered, &out).unwrap_err().to_string().ends_with("compose.yaml is a link"));
        fs::remove_file(out.join("compose.yaml")).unwrap();
        fs::remove_dir_all(out.join("config")).unwrap();
        symlink(&elsewhere, out.join("config")).unwrap();
        assert!(write(&rendered, &out).unwrap_err().to_string().ends_with("config is a link"));
        assert_eq!(fs::read_to_string(elsewhere.join("compose.yaml")).unwrap(), "theirs");
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 1);
    }
}
