//! Ferry's folder on a host: where releases, keys and records lie.
//!
//! ```text
//! ROOT/trust/allowed_signers          pinned keys, OpenSSH's format
//! ROOT/trust/.lock                    held while a key is pinned
//! ROOT/<product>                      link to PRODUCT, for older programs and paths, see [`super::place`]
//! PRODUCT                             ROOT/products/<product>; ROOT/<product> where an older Ferry has put it
//! PRODUCT/lock                        held while something changes the product
//! PRODUCT/installed.json       what is installed
//! PRODUCT/steps.jsonl          every step, before and after
//! PRODUCT/answers.json         answers and generated secrets of the running release, root only
//! PRODUCT/override.yaml         a Compose file of the site's own, over those of every release
//! PRODUCT/external/           configs and secrets that the sysop provides
//! PRODUCT/answers.new.json     answers of an install under way
//! PRODUCT/answers.tried.json   answers of an install that failed
//! PRODUCT/state.json/          an empty place, see [`super::versioned`]
//! PRODUCT/releases/<release>-<answers>/
//!                                     compose.yaml, rendered configs, secrets, artifacts
//! PRODUCT/bundles/<release>.fz  the bundle without its layers
//! PRODUCT/current              link to the running release, switched atomically
//! PRODUCT/data/                relative bind mounts that the bundle does not fill: the site's
//!                                     own, the same for every release
//! ROOT/bin/fz                         this program, resident
//! ```

use super::files::{self, make_private_dir};
use super::place;
use anyhow::{Context, Result};
use ferry_terminal::whole_file::sync_folder;
use ferry_terminal::{Class, Failure};
use fs4::fs_std::FileExt;
use manifest_schema::{ProjectName, ReleaseId};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The default of Ferry's folder.
pub(crate) const DEFAULT_ROOT: &str = "/var/lib/ferry";

/// Present in the folder of a release when it is whole; its content identifies the answers.
pub(crate) const WHOLE: &str = ".ferry-complete";

/// The record of a product.
pub(super) const STATE: &str = "installed.json";
/// State of Ferry 0.1.0, which now is a folder.
pub(super) const STATE_1: &str = "state.json";
/// Where state of 0.1.0 waits until its successor is written.
pub(super) const STATE_1_ASIDE: &str = "state.v1.json";
/// The folder before it takes its place; between two renames, state of 0.1.0.
pub(super) const GUARD: &str = ".state-guard";
/// The folder of configs and secrets that the site brings.
pub(super) const EXTERNAL: &str = "external";
/// The Compose file of the site, which goes over those of every release.
pub(crate) const OVERRIDE: &str = "override.yaml";

#[derive(Debug, Clone)]
pub(crate) struct Root(PathBuf);

/// One product's part of it.
#[derive(Debug, Clone)]
pub(crate) struct ProductDir {
    pub(super) path: PathBuf,
    /// `ROOT/NAME`, where older programs look.
    pub(super) old_place: PathBuf,
}

/// Held while a product is being changed. Dropped without [`Lock::keep_folder`], it takes away the folders
/// that were made for it: an install that was refused leaves no trace.
#[derive(Debug)]
pub(crate) struct Lock {
    #[expect(dead_code, reason = "the lock lasts as long as the file is open")]
    file: File,
    path: PathBuf,
    made: Vec<PathBuf>,
}

impl Lock {
    /// From now on the folder is meant to stay.
    pub(crate) fn keep_folder(&mut self) {
        self.made.clear();
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if !self.made.is_empty() {
            // Only what is empty goes; another process that opened the file sees that it is no longer the one.
            let _ = fs::remove_file(&self.path);
            let _ = self.made.iter().try_for_each(fs::remove_dir);
        }
    }
}

impl Root {
    /// Bytes that this program will take as the resident one, where there is none yet.
    #[must_use]
    pub(crate) fn program_bytes(&self) -> u64 {
        let program = || Some(std::env::current_exe().ok()?.metadata().ok()?.len());
        if self.program().exists() { 0 } else { program().unwrap_or_default() }
    }

    /// The resident program, for when the stick is gone.
    #[must_use]
    pub(crate) fn program(&self) -> PathBuf {
        self.0.join("bin/fz")
    }

    /// The folder at `path`, made absolute. It need not exist yet.
    ///
    /// # Errors
    /// When the current folder is unknown.
    pub(crate) fn new(path: &Path) -> Result<Self> {
        Ok(Self(std::path::absolute(path).with_context(|| format!("{} is no path", path.display()))?))
    }

    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The pinned keys.
    #[must_use]
    pub(crate) fn allowed_signers(&self) -> PathBuf {
        self.0.join("trust").join("allowed_signers")
    }

    /// The part of one product.
    #[must_use]
    pub(crate) fn product(&self, name: &ProjectName) -> ProductDir {
        place::of(&self.0, name)
    }

    /// The products that have something installed here.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub(crate) fn products(&self) -> Result<Vec<ProjectName>> {
        let mut names = BTreeSet::new();
        for folder in [&self.0, &self.0.join(place::PRODUCTS)] {
            let entries = match fs::read_dir(folder) {
                Ok(entries) => entries,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error).with_context(|| format!("reading {}", folder.display())),
            };
            for entry in entries {
                let name = entry?.file_name().to_str().and_then(|name| name.parse().ok());
                names.extend(name.filter(|name| self.product(name).has_state()));
            }
        }
        Ok(names.into_iter().collect())
    }
}

impl ProductDir {
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of a release, by its name among them.
    #[must_use]
    pub(crate) fn release(&self, folder: &str) -> PathBuf {
        self.releases().join(folder)
    }

    /// Where relative bind mounts lie that belong to the site and to no release.
    #[must_use]
    pub(crate) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// The folder of external configs and secrets, which the sysop provides.
    #[must_use]
    pub(crate) fn external(&self) -> PathBuf {
        self.path.join(EXTERNAL)
    }

    /// The bundles of installed releases, retained without their layers.
    #[must_use]
    pub(crate) fn bundles(&self) -> PathBuf {
        self.path.join("bundles")
    }

    /// The retained bundle of a release.
    #[must_use]
    pub(crate) fn retained_bundle(&self, release: &ReleaseId) -> PathBuf {
        self.bundles().join(format!("{release}.fz"))
    }

    /// The folder of all releases.
    #[must_use]
    pub(crate) fn releases(&self) -> PathBuf {
        self.path.join("releases")
    }

    /// A file directly in the folder.
    #[must_use]
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The product is recorded here, by this program or by 0.1.0.
    #[must_use]
    pub(crate) fn has_state(&self) -> bool {
        place::has_state(&self.path)
    }

    /// The folder of a release is whole.
    #[must_use]
    pub(crate) fn is_whole(&self, folder: &str) -> bool {
        self.release(folder).join(WHOLE).is_file()
    }

    /// Removes the folders of releases that are `unwanted`, by name. Each loses its mark first: what a kill leaves of it
    /// is not taken for a release.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub(crate) fn remove_releases(&self, unwanted: impl Fn(&OsStr) -> bool) -> Result<()> {
        for entry in fs::read_dir(self.releases()).into_iter().flatten() {
            let entry = entry?;
            if unwanted(&entry.file_name()) {
                let path = entry.path();
                files::remove(&path.join(WHOLE))?;
                fs::remove_dir_all(&path).with_context(|| format!("removing {}", path.display()))?;
            }
        }
        Ok(())
    }

    /// Removes the folder but for `spared`, the state last, so that a removal that was cut off can be repeated. What
    /// is left is returned. 0.1.0 stays shut out as long as anything is left that it does not read.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub(crate) fn remove_but(&self, spared: &[PathBuf]) -> Result<Vec<PathBuf>> {
        let (mut left, mut last) = (Vec::new(), Vec::new());
        let doing = |path: &Path| format!("removing {}", path.display());
        let shut_out = self.file(STATE_1);
        for entry in fs::read_dir(&self.path).with_context(|| doing(&self.path))? {
            let path = entry?.path();
            if !self.is_of_product(&path) {
                continue;
            }
            if spared.contains(&path) {
                left.push(path);
            } else if path == self.file(STATE) || path == shut_out {
                last.push(path);
            } else if path.is_dir() && !path.is_symlink() {
                if path == self.releases() {
                    self.remove_releases(|_| true)?;
                }
                fs::remove_dir_all(&path).with_context(|| doing(&path))?;
            } else {
                files::remove(&path)?;
            }
        }
        if left.is_empty() && shut_out.is_dir() {
            fs::remove_dir_all(&shut_out).with_context(|| doing(&shut_out))?;
        }
        for path in last.iter().filter(|path| path.is_file()) {
            files::remove(path)?;
        }
        if left.is_empty() && !self.is_shared() {
            fs::remove_dir(&self.path).with_context(|| doing(&self.path))?;
            self.remove_signpost()?;
        }
        left.sort();
        Ok(left)
    }

    /// Makes the folder and takes the lock.
    ///
    /// # Errors
    /// When the folder cannot be made, or someone else holds the lock.
    pub(crate) fn lock(&self) -> Result<Lock> {
        self.check_place()?;
        let made =
            self.path.ancestors().take_while(|folder| !folder.exists()).map(Path::to_path_buf).collect();
        make_private_dir(&self.path)?;
        let path = self.file("lock");
        let doing = || format!("locking {}", path.display());
        let file = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let file = file.with_context(doing)?;
        let locked = FileExt::try_lock_exclusive(&file).with_context(doing)?;
        // One that was refused takes its file away while it holds the lock.
        let is_the_one =
            fs::metadata(&path).is_ok_and(|now| file.metadata().is_ok_and(|own| own.ino() == now.ino()));
        if locked && is_the_one {
            let lock = Lock { file, path, made };
            self.check_place()?;
            // Whoever wrote here held the lock.
            files::sweep(&[&self.path, &self.bundles()]);
            return Ok(lock);
        }
        Err(Failure::new(Class::Preflight, "another install is changing this product right now")
            .hint("wait for it to end; the lock ends with its process, also after a crash")
            .into())
    }

    /// The folder is there and holds no more than a process puts into it before the first record, or leaves after the
    /// last: that process was killed.
    fn is_bare(&self) -> bool {
        const BEFORE_RECORDS: [&str; 5] = ["lock", "steps.jsonl", "steps.old.jsonl", GUARD, STATE_1];
        let known = |entry: fs::DirEntry| BEFORE_RECORDS.iter().any(|name| entry.file_name() == *name);
        let entries = fs::read_dir(&self.path);
        !self.is_shared()
            && !self.has_state()
            && entries.is_ok_and(|mut entries| entries.all(|entry| entry.is_ok_and(known)))
    }

    /// Removes what a killed process has left of a product that is not recorded: its bare folder, the link to it.
    /// Anything else stays.
    ///
    /// # Errors
    /// When it cannot be removed, or someone else holds the lock.
    pub(crate) fn remove_remains(&self) -> Result<()> {
        if self.is_bare() {
            let _lock = self.lock()?;
            if self.is_bare() {
                self.remove_but(&[])?;
            }
        }
        if self.path.exists() { Ok(()) } else { self.remove_signpost() }
    }

    /// Another process holds the lock now.
    #[must_use]
    pub(crate) fn is_locked(&self) -> bool {
        File::open(self.file("lock")).is_ok_and(|file| {
            // Held only for this look.
            matches!(FileExt::try_lock_shared(&file), Ok(false))
        })
    }

    /// Points `current` at the folder of a release, atomically.
    ///
    /// # Errors
    /// When the link cannot be made.
    pub(crate) fn switch_current(&self, folder: &str) -> Result<()> {
        let link = self.file("current");
        let target = Path::new("releases").join(folder);
        if fs::read_link(&link).is_ok_and(|now| now == target) {
            return Ok(());
        }
        let temporary = self.file(".current-new");
        let doing = || format!("switching {}", link.display());
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(doing);
            }
            _ => {}
        }
        std::os::unix::fs::symlink(&target, &temporary).with_context(doing)?;
        fs::rename(&temporary, &link).with_context(doing)?;
        sync_folder(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_current_link_is_switched_and_the_lock_held_once() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path()).unwrap();
        let product = root.product(&"site".parse().unwrap());
        let lock = product.lock().unwrap();
        assert!(product.lock().is_err());
        for id in ["1-a", "2-b", "2-b"] {
            product.switch_current(id).unwrap();
            assert_eq!(fs::read_link(product.file("current")).unwrap(), Path::new("releases").join(id));
        }
        drop(lock);
        product.lock().unwrap();
    }

    #[test]
    fn a_bare_folder_that_a_killed_process_left_is_removed_and_kept_data_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path()).unwrap();
        let product = root.product(&"site".parse().unwrap());
        // Killed while a first install looked at the host, or on its way to the first record.
        for names in [&["lock"][..], &["lock", "steps.jsonl", ".state-guard/"], &["lock", "state.json/"]] {
            fs::create_dir_all(product.path()).unwrap();
            for name in names {
                match name.strip_suffix('/') {
                    Some(name) => fs::create_dir(product.file(name)).unwrap(),
                    None => fs::write(product.file(name), "").unwrap(),
                }
            }
            product.remove_remains().unwrap();
            assert!(!product.path().exists(), "{names:?}");
        }
        // Killed at the end of an uninstall.
        fs::create_dir_all(product.path()).unwrap();
        product.leave_signpost().unwrap();
        product.remove_remains().unwrap();
        assert!(!product.path().exists() && fs::symlink_metadata(folder.path().join("site")).is_err());
        product.leave_signpost().unwrap();
        product.remove_remains().unwrap();
        assert!(fs::symlink_metadata(folder.path().join("site")).is_err());
        // What an uninstall has kept is no remains.
        fs::create_dir_all(product.data()).unwrap();
        product.remove_remains().unwrap();
        assert!(product.data().is_dir() && !product.file("lock").exists());
    }

    #[test]
    fn what_was_being_written_when_its_process_was_killed_goes_with_the_next_lock() {
        let folder = tempfile::tempdir().unwrap();
        let product = Root::new(folder.path()).unwrap().product(&"site".parse().unwrap());
        let mut lock = product.lock().unwrap();
        lock.keep_folder();
        make_private_dir(&product.bundles()).unwrap();
        make_private_dir(&product.external()).unwrap();
        let left = [product.file(".new-aB3dE6"), product.bundles().join(".new-1.fz-aB3dE6")];
        let sites_own = [product.file("answers.json"), product.external().join(".new-aB3dE6")];
        for path in left.iter().chain(&sites_own) {
            fs::write(path, "secret").unwrap();
        }
        assert!(product.lock().is_err());
        assert!(left.iter().all(|path| path.exists()), "somebody holds the lock");
        drop(lock);
        drop(product.lock().unwrap());
        assert!(!left.iter().any(|path| path.exists()));
        assert!(sites_own.iter().all(|path| path.exists()));
    }

    #[test]
    fn a_lock_whose_folder_is_not_kept_leaves_no_trace() {
        let folder = tempfile::tempdir().unwrap();
        let above = folder.path().join("var/ferry");
        let product = Root::new(&above).unwrap().product(&"site".parse().unwrap());
        drop(product.lock().unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let mut lock = product.lock().unwrap();
        lock.keep_folder();
        drop(lock);
        assert!(product.path().is_dir());
        // What was there before stays, kept or not.
        drop(product.lock().unwrap());
        assert!(product.file("lock").is_file());
    }
}
