//! Folders of root's own, and reads with a ceiling.

use anyhow::{Context, Result};
use ferry_terminal::{Class, Failure, whole_file, writing};
use fs4::fs_std::FileExt;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

/// Makes a folder (and those above it) that only its owner may enter.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn make_private_dir(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| {
            let denied = error.kind() == std::io::ErrorKind::PermissionDenied;
            let failure =
                Failure::new(Class::Files, format!("the folder {} cannot be created", path.display()));
            let failure = failure.because(error);
            if denied {
                failure.hint("run this as root, or name a folder of yours with --root")
            } else {
                failure
            }
        })
        .map_err(Into::into)
}

/// Brings everything that was written to the filesystem at `path` onto its disk: one call instead of
/// an `fsync` for each of many files.
///
/// # Errors
/// When the filesystem reports that it could not.
pub(crate) fn sync_filesystem(path: &Path) -> Result<()> {
    let folder = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    rustix::fs::syncfs(&folder).with_context(|| format!("syncing {}", path.display()))
}

/// Reads a file of at most `limit` bytes; `None` where there is none.
///
/// # Errors
/// When it is larger, or cannot be read.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    let doing = || format!("reading {}", path.display());
    let file = match File::open(path) {
        Ok(_) if path.is_dir() => {
            return Err(
                Failure::new(Class::Files, format!("{} is a folder, not a file", path.display())).into()
            );
        }
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(doing),
    };
    read_whole(file, limit).with_context(doing).map(Some)
}

/// Reads an open file of at most `limit` bytes.
///
/// # Errors
/// When it is larger, or cannot be read.
pub(crate) fn read_whole(file: File, limit: u64) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    file.take(limit + 1).read_to_end(&mut content)?;
    anyhow::ensure!(content.len() as u64 <= limit, "it is larger than {limit} bytes");
    Ok(content)
}

/// Takes the lock in the file at `path`, which is made where there is none, and waits up to `patience` for another
/// process to release it. The lock lasts as long as the file is open.
///
/// # Errors
/// When the file cannot be made, or the other process does not release it.
pub(crate) fn lock(path: &Path, patience: Duration) -> Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let doing = || format!("locking {}", path.display());
    let options = File::options().create(true).truncate(false).read(true).write(true).mode(0o600).open(path);
    let file = options.with_context(doing)?;
    let deadline = Instant::now() + patience;
    while !FileExt::try_lock_exclusive(&file).with_context(doing)? {
        if Instant::now() >= deadline {
            let fact = format!("another process has held {} for {} s", path.display(), patience.as_secs());
            return Err(Failure::new(Class::Preflight, fact)
                .hint("run it again; the lock ends with its process, also after a crash")
                .into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(file)
}

/// Takes room on the disk of `folder`, in a file without a name, until it is dropped. Nothing is taken where the file
/// system cannot.
///
/// # Errors
/// When the disk has no such room.
pub(crate) fn reserve(folder: &Path, bytes: u64) -> Result<Option<File>> {
    use rustix::fs::{FallocateFlags, Mode, OFlags, fallocate, open};
    use rustix::io::Errno;
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let taken = open(folder, flags, Mode::RUSR | Mode::WUSR)
        .and_then(|file| fallocate(&file, FallocateFlags::empty(), 0, bytes).map(|()| File::from(file)));
    match taken {
        Ok(file) => Ok(Some(file)),
        Err(error @ (Errno::NOSPC | Errno::DQUOT)) => {
            Err(writing::failed(folder, Some(bytes), std::io::Error::from(error)))
        }
        Err(_) => Ok(None),
    }
}

/// Removes a file, where there is one.
///
/// # Errors
/// When it cannot be removed.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Removes what killed processes left in `folders` on its way to its name: answers and secrets, for one. What cannot be
/// removed stays for the next time.
pub(super) fn sweep(folders: &[&Path]) {
    for entry in folders.iter().flat_map(fs::read_dir).flatten().flatten() {
        let begun = entry.file_name().to_str().is_some_and(|name| name.starts_with(whole_file::PREFIX));
        if begun && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_taken_and_given_back() {
        use std::os::unix::fs::MetadataExt as _;
        let folder = tempfile::tempdir().unwrap();
        let room = reserve(folder.path(), 8 << 20).unwrap().unwrap();
        let taken = room.metadata().unwrap();
        // Blocks of 512 bytes, whatever those of the disk are (stat(2)).
        assert!(taken.len() == 8 << 20 && taken.blocks() * 512 >= 8 << 20, "{taken:?}");
        drop(room);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    /// A disk of its own: what asks for all of the machine's takes it from everybody for a moment.
    #[test]
    fn room_that_is_not_there_is_told_as_a_full_disk() {
        use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
        use rustix::mount::{fsconfig_create, fsconfig_set_string, fsmount, fsopen};
        use std::os::fd::AsRawFd as _;
        if !rustix::process::geteuid().is_root() {
            println!("left out: only root can mount a disk");
            return;
        }
        let disk = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
        fsconfig_set_string(&disk, "size", "256k").unwrap();
        fsconfig_create(&disk).unwrap();
        let mount = fsmount(&disk, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).unwrap();
        let folder = std::path::PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd()));
        assert!(reserve(&folder, 64 << 10).unwrap().is_some());
        let error = reserve(&folder, 1 << 20).unwrap_err();
        assert_eq!(ferry_terminal::class_of(&error), Class::Files, "{error:#}");
        assert!(error.to_string().contains("256.0 KiB are free there, up to 1.00 MiB"), "{error:#}");
    }

    #[test]
    fn bounded_reads() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f");
        assert_eq!(read_bounded(&file, 3).unwrap(), None);
        whole_file::write(&file, b"abc", 0o600).unwrap();
        assert_eq!(read_bounded(&file, 3).unwrap().unwrap(), b"abc");
        assert!(read_bounded(&file, 2).is_err());
    }
}
