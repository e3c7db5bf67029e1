//! Files of a folder that people keep: read as far as their ceilings go, and never through a link that leads out
//! of the folder. A repository that somebody cloned must not bring this machine's files along.

use manifest_schema::{Diagnostic, limits};
use std::io::Read;
use std::path::{Component, Path, PathBuf};

/// The folder of the manifest at `path`, a file or that folder.
pub(crate) fn manifest_folder(path: &Path) -> PathBuf {
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_path_buf() }
}

/// The prefix that messages give to a path that begins in `folder`.
pub(crate) fn shown_root(folder: &Path) -> String {
    match folder.display().to_string() {
        here if here == "." => String::new(),
        folder => format!("{}/", folder.trim_end_matches('/')),
    }
}

/// Reads a file below `folder` that a Compose file or template names. Links are followed as long as they lead
/// to an ordinary file below it: a repository that somebody cloned must not bring this machine's files along.
pub(crate) fn read_below(folder: &Path, name: &str) -> Option<Vec<u8>> {
    let file = below(folder, name)?;
    let mut bytes = Vec::new();
    let limit = limits::MAX_RENDERED_BYTES as u64;
    std::fs::File::open(file).ok()?.take(limit + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= limit).then_some(bytes)
}

/// The ordinary file that `name` means, where it lies below `folder`.
pub(crate) fn below(folder: &Path, name: &str) -> Option<PathBuf> {
    inside(folder, name).filter(|file| file.is_file())
}

/// The file or folder that `name` means, where it lies below `folder`.
fn inside(folder: &Path, name: &str) -> Option<PathBuf> {
    let whole = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let place = whole.join(name).canonicalize().ok()?;
    place.starts_with(whole.canonicalize().ok()?).then_some(place)
}

/// True where `name` stays in `folder` as it is written, and a link there leads out. Whoever writes
/// `/etc/x` or `../x` means it.
pub(crate) fn leads_out(folder: &Path, name: &str) -> bool {
    let mut depth = 0_usize;
    for part in Path::new(name).components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return false,
            },
            Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    folder.join(name).exists() && inside(folder, name).is_none()
}

/// Reads a text file of the manifest's folder that a person wrote.
pub(crate) fn read_inside(folder: &Path, name: &str) -> Result<String, Diagnostic> {
    let file = folder.join(name);
    if leads_out(folder, name) {
        let shown = file.display().to_string();
        let shown = shown.strip_prefix("./").unwrap_or(&shown);
        return Err(Diagnostic::new(shown, LEADS_OUT).hint(PUT_IT_THERE));
    }
    read_text(&file)
}

/// The fact about a link to something that nobody sees in the folder.
pub(crate) const LEADS_OUT: &str = "it is a link that leads out of the folder";

/// The hint for [`LEADS_OUT`].
pub(crate) const PUT_IT_THERE: &str = "put the file itself there";

/// Reads a text file that a person wrote.
pub(crate) fn read_text(file: &Path) -> Result<String, Diagnostic> {
    let shown = file.display().to_string();
    // Nobody writes `./` before every name.
    let shown = shown.strip_prefix("./").unwrap_or(&shown).to_owned();
    let metadata = std::fs::metadata(file).map_err(|error| Diagnostic::new(&shown, plain(&error)))?;
    if !metadata.is_file() {
        return Err(Diagnostic::new(&shown, "it is not a file"));
    }
    let size = metadata.len();
    if size > limits::MAX_YAML_BYTES as u64 {
        return Err(Diagnostic::new(&shown, format!("it has {size} bytes; the limit is 4 MiB")));
    }
    let bytes = std::fs::read(file).map_err(|error| Diagnostic::new(&shown, plain(&error)))?;
    manifest_schema::encoding::text(&shown, bytes)
}

/// An error of the file system in plain words.
pub(crate) fn plain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "this user may not read it".to_owned(),
        _ => format!("it cannot be read: {error}"),
    }
}

/// Reads an ordinary file of a config, as far as configs go and one byte more. What is no file, a pipe say, is
/// not opened: that would wait.
pub(crate) fn read_file(file: &Path) -> Result<Vec<u8>, String> {
    let metadata = std::fs::metadata(file).map_err(|error| plain(&error))?;
    if !metadata.is_file() {
        return Err("it is not a file".to_owned());
    }
    let mut content = Vec::new();
    let opened = std::fs::File::open(file).map_err(|error| plain(&error))?;
    let read = opened.take(limits::MAX_RENDERED_BYTES as u64 + 1).read_to_end(&mut content);
    read.map_err(|error| plain(&error))?;
    Ok(content)
}
