//! The files that the Compose file names and a bundle carries: env files, configs, secrets, and what
//! lies at relative bind mounts. Configs of the manifest are laid out in the same folder of the host and
//! win over them; artifacts have a folder of their own there.

use crate::read::folder::{PUT_IT_THERE, leads_out};
use anyhow::Result;
use ferry_terminal::human;
use manifest_schema::compose::{self, FileUse, NamedFile, model::MountSource, model::Project};
use manifest_schema::manifest::Manifest;
use manifest_schema::release::{RESERVED_PLACES, Release};
use manifest_schema::yaml::Sources;
use manifest_schema::{BundlePath, Diagnostic, Diagnostics, limits};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A file that the Compose file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ComposeFile {
    /// Path relative to the Compose file's folder, and on site to the release folder.
    pub path: BundlePath,
    pub place: PathBuf,
    /// Bytes when it was looked at.
    pub bytes: u64,
    /// True where its owner may execute it.
    pub executable: bool,
}

/// The Compose file and what is around it.
pub(crate) struct Around<'a> {
    pub manifest: &'a Manifest,
    pub project: &'a Project,
    /// The texts of the project.
    pub sources: &'a Sources,
    /// The folder of the manifest.
    pub root: &'a Path,
    /// The folder of the first Compose file.
    pub folder: &'a Path,
}

/// The hint for a file that is too large to be rendered and kept in memory on site.
const TOO_LARGE: &str = "make it an artifact and mount it from ./artifacts/, or seed a volume with it";

/// Finds the files that `named` needs. Mistakes go to `found`, what is only worth a look to `warnings`.
pub(crate) fn find(
    named: &[NamedFile],
    around: &Around<'_>,
    found: &mut Diagnostics,
    warnings: &mut Vec<Diagnostic>,
) -> Vec<ComposeFile> {
    let mut files = BTreeMap::new();
    let mut total = 0;
    for file in named {
        let at = |message: String| around.sources.mistake(&file.place, message);
        let path: BundlePath = match file.path.parse() {
            Ok(path) => path,
            Err(error) => {
                let mistake = at(format!("{}: {error}", file.used_by));
                found.push(mistake.hint("only files below the Compose file's folder can be carried"));
                continue;
            }
        };
        if Release::lies_in(path.as_str(), "artifacts")
            || around.manifest.configs.iter().any(|config| config.to == path)
        {
            continue;
        }
        let mut inside = BTreeMap::new();
        match collect_named(file, &path, around, &mut inside) {
            Ok(Missing::No) => {}
            Ok(Missing::MadeOnSite) => warnings.push(
                at(format!(
                    "{} mounts ./{path}, which does not exist; the folder starts empty on site",
                    file.used_by
                ))
                .hint("its content stays from release to release"),
            ),
            Err(mistake) => found.push(mistake),
        }
        if inside.is_empty()
            && let Some(above) = mounted_above(around.project, &path)
        {
            let message = format!(
                "{} mounts {path}, which begins empty on site, below {above}, which comes with the release",
                file.used_by
            );
            found.push(at(message).hint(format!(
                "a release is not written into: what is written to the one is not in the other; move it out of {above}"
            )));
        }
        let of_a_config =
            around.manifest.configs.iter().any(|config| Release::lies_in(config.to.as_str(), path.as_str()));
        inside.retain(|path, _| around.manifest.configs.iter().all(|config| config.to != *path));
        let folder = of_a_config || !inside.contains_key(&path);
        if folder && (of_a_config || !inside.is_empty()) && uses(around.project, &path).writable {
            warnings.push(
                at(format!("{} may write into ./{path}, which comes with the release", file.used_by)).hint(
                    "the next release does not keep what it writes there: mount it with `:ro`, or use a named volume",
                ),
            );
        }
        for (path, carried) in inside {
            if carried.bytes > limits::MAX_RENDERED_BYTES as u64 {
                let size = human::bytes(carried.bytes);
                let most = human::bytes(limits::MAX_RENDERED_BYTES as u64);
                let message = format!("{} needs {path}, which has {size}; the limit is {most}", file.used_by);
                found.push(at(message).hint(TOO_LARGE));
            }
            let before = total;
            if !files.contains_key(&path) {
                total += carried.bytes;
            }
            if before <= limits::MAX_COMPOSE_FILES_BYTES && total > limits::MAX_COMPOSE_FILES_BYTES {
                let most = human::bytes(limits::MAX_COMPOSE_FILES_BYTES);
                let message = format!(
                    "with {path} of {} the files that the Compose file names exceed {most}",
                    file.used_by
                );
                found.push(at(message).hint(TOO_LARGE));
            }
            files.insert(path, carried);
        }
    }
    files.into_values().collect()
}

/// A file that the Compose file names, as it was found.
enum Missing {
    No,
    /// A writable bind mount of nothing: the folder is made on site, as Compose makes it.
    MadeOnSite,
}

fn collect_named(
    file: &NamedFile,
    path: &BundlePath,
    around: &Around<'_>,
    files: &mut BTreeMap<BundlePath, ComposeFile>,
) -> std::result::Result<Missing, Diagnostic> {
    let at = |message: String| around.sources.mistake(&file.place, message);
    // A link may lead through the manifest's folder, which holds the other.
    let (root, below) = match compose::below_manifest(path.as_str()) {
        Some(below) => (around.root, below),
        None => (around.folder, path.as_str()),
    };
    let place = root.join(below);
    let provided =
        around.manifest.configs.iter().any(|config| Release::lies_in(config.to.as_str(), path.as_str()));
    let uses = uses(around.project, path);
    match std::fs::metadata(&place) {
        Ok(_) if leads_out(root, below) => {
            Err(at(format!("{} names {}, a link that leads out of the folder", file.used_by, file.path))
                .hint(PUT_IT_THERE))
        }
        Ok(metadata) if metadata.is_file() => {
            files.insert(path.clone(), carried(path.clone(), place, &metadata));
            Ok(Missing::No)
        }
        Ok(metadata) if metadata.is_dir() && (file.kind == FileUse::Bind || uses.mounted) => {
            collect(path, &place, files).map_err(|error| at(format!("{}: {error}", file.used_by)))?;
            Ok(Missing::No)
        }
        Ok(_) => Err(at(format!("{} names {}, which is not a file", file.used_by, file.path))),
        Err(_) if provided => Ok(Missing::No),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && uses.writable && uses.made => {
            Ok(Missing::MadeOnSite)
        }
        Err(_) => {
            Err(at(format!("{} names {}, which does not exist", file.used_by, file.path)).hint(format!(
                "put the file beside {}, or let a `configs` entry of the manifest write it: `to: {}`",
                around.sources.file(file.place.source),
                file.path
            )))
        }
    }
}

/// How the services mount a path.
#[derive(Default)]
struct Uses {
    mounted: bool,
    /// At least one may write there.
    writable: bool,
    /// No one says `create_host_path: false`.
    made: bool,
}

fn uses(project: &Project, path: &BundlePath) -> Uses {
    let mut uses = Uses { made: true, ..Uses::default() };
    for mount in project.services.values().flat_map(|service| &service.mounts) {
        if let MountSource::Bind { path: bind, create } = &mount.source
            && bind == path.as_str()
        {
            uses.mounted = true;
            uses.writable |= !mount.read_only;
            uses.made &= create;
        }
    }
    uses
}

/// A path above `path` that is mounted, too, where `path` is a folder that services write to.
fn mounted_above(project: &Project, path: &BundlePath) -> Option<String> {
    if !uses(project, path).writable {
        return None;
    }
    let mut mounts = project.services.values().flat_map(|service| &service.mounts);
    mounts.find_map(|mount| match &mount.source {
        MountSource::Bind { path: other, .. }
            if other != path.as_str() && Release::lies_in(path.as_str(), other) =>
        {
            Some(other.clone())
        }
        _ => None,
    })
}

fn collect(path: &BundlePath, place: &Path, files: &mut BTreeMap<BundlePath, ComposeFile>) -> Result<()> {
    for entry in std::fs::read_dir(place)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_str().ok_or_else(|| anyhow::anyhow!("a file name in {path} is not UTF-8"))?;
        let (child, place) = (path.join(name)?, entry.path());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect(&child, &place, files)?;
        } else if kind.is_file() {
            files.insert(child.clone(), carried(child, place, &entry.metadata()?));
        } else {
            anyhow::bail!("{child} is neither a file nor a folder; carry it as an artifact");
        }
        if files.len() > limits::MAX_COMPOSE_FILES {
            let most = limits::MAX_COMPOSE_FILES;
            anyhow::bail!("{path} holds more than {most} files; carry it as an artifact");
        }
    }
    Ok(())
}

fn carried(path: BundlePath, place: PathBuf, metadata: &std::fs::Metadata) -> ComposeFile {
    #[cfg(unix)]
    let executable = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o100 != 0;
    #[cfg(not(unix))]
    let executable = false;
    ComposeFile { path, place, bytes: metadata.len(), executable }
}

/// Refuses what could not be laid out in one folder on site: a path under a name that the installer needs,
/// or a file where another path needs a folder.
pub(crate) fn check_places(
    manifest: (&Manifest, &str, &str),
    named: &[NamedFile],
    files: &[ComposeFile],
    around: &Around<'_>,
    found: &mut Diagnostics,
) {
    let (manifest, shown, text) = manifest;
    // The mention that explains a carried file: itself, or the folder around it.
    let place_of = |path: &str| {
        let mention = named.iter().find(|file| Release::lies_in(path, &file.path));
        mention.map(|file| file.place).unwrap_or_default()
    };
    let mut places: BTreeMap<&str, (String, Diagnostic)> = BTreeMap::new();
    for file in files {
        let path = file.path.as_str();
        let mistake = around.sources.mistake(&place_of(path), String::new());
        places.insert(path, (format!("./{path}, which the Compose file names"), mistake));
    }
    for config in &manifest.configs {
        let mistake = Diagnostic::new(shown, String::new()).at(text, config.line, 0);
        let what = format!("the config `{}` on line {}", config.to, config.line);
        places.insert(config.to.as_str(), (what, mistake));
    }
    let mut said = BTreeSet::new();
    for (path, (what, mistake)) in &places {
        if let Some(reserved) = RESERVED_PLACES.iter().find(|reserved| Release::lies_in(path, reserved)) {
            let message = format!("{what} would be at `{reserved}`, which is reserved for the installer");
            if said.insert((mistake.line, *reserved)) {
                found.push(Diagnostic { message, ..mistake.clone() }.hint("give it another name or folder"));
            }
        }
        let folders = path.match_indices('/').filter_map(|(end, _)| path.get(..end));
        for folder in folders {
            if let Some((other, _)) = places.get(folder)
                && said.insert((mistake.line, ""))
            {
                let message = format!("{what} needs a folder where {other} is a file");
                found.push(Diagnostic { message, ..mistake.clone() }.hint("give one of them another `to`"));
            }
        }
    }
}
