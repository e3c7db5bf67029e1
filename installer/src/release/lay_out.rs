//! Writes a release's files below its folder: rendered configs, secrets, artifacts. The folder is made
//! under another name, synced, and renamed: it is there whole or not at all.
//!
//! Artifacts are tar entries from the bundle. They are signed, and still not believed: an entry that
//! would leave the folder, follow a link or be a device is refused.

mod holes;
pub(crate) mod outside;
mod owners;

use crate::bundle_errors;
use crate::engine::Users;
use crate::host::folder::WHOLE;
use crate::host::{ProductDir, files};
use crate::release::site::Site;
use crate::services::spec::Placed;
use crate::services::without_links::{self, Refused};
use anyhow::{Context, Result};
use bundle_format::bundle::SpanReader;
use bundle_format::{Bundle, ReadAt};
use ferry_terminal::{Class, Failure, whole_file, writing};
use manifest_schema::compose::model::{FileMount, MountSource};
use manifest_schema::progress::Progress;
use manifest_schema::release::Release;
use manifest_schema::{BundlePath, Digest, ReleaseId};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Where configs, secrets and relative bind mounts of a release lie once it is laid out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HostPaths {
    /// Compose `configs` by key.
    pub configs: BTreeMap<String, Placed>,
    /// Compose `secrets` by key.
    pub secrets: BTreeMap<String, Placed>,
    /// Relative bind mounts by path.
    pub binds: BTreeMap<String, Placed>,
}

/// Where everything will lie: in the release's `folder`, and what the bundle does not fill in `data`. Pure:
/// also used to compare before anything is written.
#[must_use]
pub(crate) fn host_paths(site: &Site, release: &Release, folder: &Path, product: &ProductDir) -> HostPaths {
    let placed = |kind: &str, contents: &BTreeMap<String, Vec<u8>>| {
        contents
            .iter()
            .map(|(key, content)| {
                let path = folder.join(kind).join(key);
                (key.clone(), Placed { known_as: path.clone(), path, digest: Some(Digest::of(content)) })
            })
            .collect()
    };
    let mut binds = BTreeMap::new();
    for mount in site.project.services.values().flat_map(|service| &service.mounts) {
        if let MountSource::Bind { path, .. } = &mount.source
            && !path.starts_with('/')
        {
            let digest = site.digest_at(release, path);
            let above = if digest.is_some() { folder } else { &product.data() };
            let known_as = product.data_known_as().join(path);
            binds.insert(path.clone(), Placed { path: above.join(path), known_as, digest });
        }
    }
    HostPaths { configs: placed(CONFIGS, &site.configs), secrets: placed(SECRETS, &site.secrets), binds }
}

const CONFIGS: &str = ".configs";
const SECRETS: &str = ".secrets";

/// The name of the folder for a release with the answers of this site. Other answers get another
/// folder: the running release mounts files from its own by path, and must not see them change.
#[must_use]
pub(crate) fn folder_name(site: &Site, id: &ReleaseId) -> String {
    let answers: String = stamp(site).hex().chars().take(8).collect();
    format!("{id}-{answers}")
}

/// The release's folder exists and is whole.
#[must_use]
pub(crate) fn is_laid_out(site: &Site, product: &ProductDir, id: &ReleaseId) -> bool {
    let found = fs::read(product.release(&folder_name(site, id)).join(WHOLE));
    found.is_ok_and(|found| found == stamp_line(site))
}

/// Lays the release out, unless it is there already.
///
/// # Errors
/// When files cannot be written, or an artifact holds what must not be laid out.
pub(crate) fn lay_out<S: ReadAt>(
    bundle: &Bundle<S>,
    site: &Site,
    product: &ProductDir,
    id: &ReleaseId,
    users: Users,
    progress: &dyn Progress,
) -> Result<PathBuf> {
    let folder = folder_name(site, id);
    let target = product.release(&folder);
    files::make_private_dir(&product.releases())?;
    make_data_folders(bundle.release(), site, product, users)?;
    let paths = host_paths(site, bundle.release(), &target, product);
    if is_laid_out(site, product, id) {
        // An engine can be told to map users afterwards.
        owners::give(users, &site.project, &paths)?;
    } else {
        write_folder(bundle, site, product, &folder, users, progress)?;
    }
    for source in paths.binds.values().map(|placed| &placed.path) {
        without_links::look_at_source(product.path(), source).map_err(refused)?;
    }
    Ok(target)
}

/// Writes the release's `folder`, which takes its place when it is whole.
fn write_folder<S: ReadAt>(
    bundle: &Bundle<S>,
    site: &Site,
    product: &ProductDir,
    folder: &str,
    users: Users,
    progress: &dyn Progress,
) -> Result<()> {
    let target = product.release(folder);
    let artifact_bytes: u64 = bundle.release().artifacts.iter().map(|artifact| artifact.bytes).sum();
    progress.begin("laying out", Some(artifact_bytes));
    let making = product.releases().join(format!(".{folder}.new"));
    remove_dir(&making)?;
    files::make_private_dir(&making)?;
    // Services that run as another user must be able to reach what is mounted from here.
    fs::set_permissions(&making, Permissions::from_mode(0o755))?;
    for (path, file) in &site.files {
        write_file(&making.join(path.as_str()), &file.content, file.mode)?;
    }
    write_objects(site, &making)?;
    write_file(&making.join("compose.yaml"), site.compose.as_bytes(), 0o644)?;
    for artifact in &bundle.release().artifacts {
        progress.detail(artifact.to.as_str());
        let entries = SpanReader::new(bundle, artifact.entries)?;
        unpack(entries, &making, progress)
            .map_err(|error| bundle_errors::read_again(writing::named(&making, Some(artifact_bytes), error)))
            .with_context(|| format!("laying out the artifact {}", artifact.to))?;
    }
    owners::give(users, &site.project, &host_paths(site, bundle.release(), &making, product))?;
    write_file(&making.join(WHOLE), &stamp_line(site), 0o600)?;
    files::sync_filesystem(&making)?;
    // One that is there and not whole was damaged by hand.
    remove_dir(&target)?;
    fs::rename(&making, &target).with_context(|| format!("making {}", target.display()))?;
    whole_file::sync_folder(&product.releases())?;
    progress.end(&format!(
        "{}, {}",
        ferry_terminal::human::count(site.files.len(), "file"),
        ferry_terminal::human::count(bundle.release().artifacts.len(), "artifact")
    ));
    Ok(())
}

/// Creates the folders of the site's own data, as Compose creates the missing source of a bind mount.
fn make_data_folders(release: &Release, site: &Site, product: &ProductDir, users: Users) -> Result<()> {
    let data = product.data();
    let binds = host_paths(site, release, Path::new("/"), product).binds;
    let own: Vec<(&String, &Placed)> = binds.iter().filter(|(_, placed)| placed.digest.is_none()).collect();
    if !own.is_empty() {
        fs::create_dir_all(&data).with_context(|| format!("making {}", data.display()))?;
    }
    for (path, placed) in own {
        let owner = owners::of_bind(users, &site.project, path);
        without_links::make_folder(&data, &placed.path, owner).map_err(refused)?;
    }
    Ok(())
}

/// A path that was not followed, as a failure.
fn refused(refused: Refused) -> anyhow::Error {
    // A disk that takes no more is told as such, and as ours: not the engine's.
    let refused = match refused {
        Refused::Failed(path, error) => {
            match writing::named(&path, None, error.into()).downcast::<std::io::Error>() {
                Ok(error) => Refused::Failed(path, error),
                Err(told) => return told,
            }
        }
        other => other,
    };
    let link = matches!(refused, Refused::Link(_));
    let class = if link { Class::Preflight } else { Class::Files };
    let failure = Failure::new(class, ferry_terminal::failure::chain(&refused));
    failure.hint(refused.fix()).into()
}

/// Digest of all that depends on the answers of the site.
fn stamp(site: &Site) -> Digest {
    let mut listing = format!("{}\ncompose.yaml\t{}\n", site.salt, Digest::of(site.compose.as_bytes()));
    for (path, file) in &site.files {
        listing.push_str(&format!("{path}\t{:o}\t{}\n", file.mode, Digest::of(&file.content)));
    }
    for (kind, contents) in [(CONFIGS, &site.configs), (SECRETS, &site.secrets)] {
        for (key, content) in contents {
            listing.push_str(&format!("{kind}/{key}\t{}\n", Digest::of(content)));
        }
    }
    Digest::of(listing.as_bytes())
}

fn stamp_line(site: &Site) -> Vec<u8> {
    format!("{}\n", stamp(site)).into_bytes()
}

fn write_objects(site: &Site, folder: &Path) -> Result<()> {
    let services = site.project.services.values();
    let config_mounts: Vec<&FileMount> = services.clone().flat_map(|service| &service.configs).collect();
    let secret_mounts: Vec<&FileMount> = services.flat_map(|service| &service.secrets).collect();
    let kinds = [
        (CONFIGS, &site.configs, config_mounts, 0o755),
        // Nobody on the host but root passes this folder; inside containers the files are mounted
        // singly, so their own modes count there.
        (SECRETS, &site.secrets, secret_mounts, 0o700),
    ];
    for (kind, contents, mounts, folder_mode) in kinds {
        if contents.is_empty() {
            continue;
        }
        let folder = folder.join(kind);
        fs::create_dir(&folder)?;
        fs::set_permissions(&folder, Permissions::from_mode(folder_mode))?;
        for (key, content) in contents {
            let name: BundlePath = key.parse()?;
            let path = folder.join(name.as_str());
            let mount = mounts.iter().find(|mount| &mount.source == key);
            write_file(&path, content, mount.and_then(|mount| mount.mode).unwrap_or(0o444) & 0o777)?;
        }
    }
    Ok(())
}

fn write_file(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let failed = |error| writing::failed(path, Some(content.len() as u64), error);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut file = File::options().create_new(true).write(true).mode(mode).open(path).map_err(failed)?;
    file.write_all(content).map_err(failed)?;
    file.set_permissions(Permissions::from_mode(mode)).map_err(failed)
}

/// Unpacks artifact entries below `folder`. Returns how many.
fn unpack(entries: impl std::io::Read, folder: &Path, progress: &dyn Progress) -> Result<usize> {
    let mut archive = tar::Archive::new(entries);
    let mut links: BTreeSet<String> = BTreeSet::new();
    let mut count = 0;
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = String::from_utf8(entry.path_bytes().into_owned()).context("a name is not UTF-8")?;
        let path: BundlePath = name.trim_end_matches('/').parse()?;
        anyhow::ensure!(path.as_str().starts_with("artifacts/"), "{path} does not lie below artifacts/");
        let mut above = path.as_str();
        while let Some((parent, _)) = above.rsplit_once('/') {
            anyhow::ensure!(!links.contains(parent), "{path} lies below a link");
            above = parent;
        }
        let target = folder.join(path.as_str());
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        match entry.header().entry_type() {
            tar::EntryType::Directory => fs::create_dir_all(&target)?,
            tar::EntryType::Regular => {
                let mode = if entry.header().mode()? & 0o100 == 0 { 0o644 } else { 0o755 };
                let mut file = File::options().create_new(true).write(true).mode(mode).open(&target)?;
                let copied = holes::copy(&mut entry, &mut file)?;
                file.set_permissions(Permissions::from_mode(mode))?;
                progress.advance(copied);
            }
            tar::EntryType::Symlink => {
                let link = entry.link_name_bytes().context("a link without a target")?;
                let link = String::from_utf8(link.into_owned()).context("a link's target is not UTF-8")?;
                anyhow::ensure!(
                    stays_inside(path.as_str(), &link),
                    "the link {path} points outside, to {link}"
                );
                std::os::unix::fs::symlink(&link, &target)?;
                links.insert(path.to_string());
            }
            other => anyhow::bail!("{path} is a {other:?}"),
        }
        count += 1;
    }
    Ok(count)
}

/// A relative link at `path` stays below `artifacts/`.
fn stays_inside(path: &str, link: &str) -> bool {
    if link.starts_with('/') || link.is_empty() {
        return false;
    }
    let mut depth = path.split('/').count() - 1;
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." if depth <= 1 => return false,
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    true
}

fn remove_dir(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bundle_format::tarball::{self, Kind};
    use manifest_schema::progress::Silent;

    fn archive(entries: &[(&str, Kind<'_>, &[u8])]) -> Vec<u8> {
        let mut tar = Vec::new();
        for (path, kind, content) in entries {
            tar.extend(tarball::header(&path.parse().unwrap(), *kind).unwrap());
            tar.extend_from_slice(content);
            tar.resize(tar.len() + tarball::padding(content.len() as u64), 0);
        }
        tar
    }

    #[test]
    fn files_folders_and_inner_links_are_laid_out() {
        let folder = tempfile::tempdir().unwrap();
        let tar = archive(&[
            ("artifacts/a", Kind::Folder, b""),
            ("artifacts/a/run", Kind::File { size: 2, executable: true }, b"hi"),
            ("artifacts/a/link", Kind::Symlink { target: "run" }, b""),
        ]);
        assert_eq!(unpack(tar.as_slice(), folder.path(), &Silent).unwrap(), 3);
        let run = folder.path().join("artifacts/a/run");
        assert_eq!(fs::metadata(&run).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(fs::read(folder.path().join("artifacts/a/link")).unwrap(), b"hi");
    }

    #[test]
    fn nothing_leaves_the_folder() {
        let file = Kind::File { size: 1, executable: false };
        let cases: [&[(&str, Kind<'_>, &[u8])]; 5] = [
            &[("etc/passwd", file, b"x")],
            &[("artifacts/l", Kind::Symlink { target: "/etc" }, b"")],
            &[("artifacts/l", Kind::Symlink { target: "../../x" }, b"")],
            &[("artifacts/l", Kind::Symlink { target: "d" }, b""), ("artifacts/l/x", file, b"x")],
            &[("artifacts/f", file, b"x"), ("artifacts/f", file, b"y")],
        ];
        for entries in cases {
            let folder = tempfile::tempdir().unwrap();
            let outside = folder.path().join("outside");
            fs::create_dir(&outside).unwrap();
            let inside = folder.path().join("inside");
            fs::create_dir(&inside).unwrap();
            assert!(unpack(archive(entries).as_slice(), &inside, &Silent).is_err(), "{entries:?}");
            assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        }
        for name in ["artifacts/../x", "/artifacts/x"] {
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(0);
            header.set_cksum();
            let folder = tempfile::tempdir().unwrap();
            assert!(unpack(header.as_bytes().as_slice(), folder.path(), &Silent).is_err(), "{name}");
        }
    }
}
