//! Paths below a folder of Ferry's, followed without links.
//!
//! A container that can write to a folder can put a link in it, and an engine that mounts a path below follows that
//! link as root. A bundle whose relative binds lie below each other is refused, so only root writes to the folders
//! above a relative bind. Left are links from an earlier time, and containers of the release before: so a path is
//! looked at once more just before a container starts, when those have been stopped.
//!
//! Invariant: nothing is opened, made or read through a link. The parts of a path are opened one by one, each with
//! `O_NOFOLLOW`: `openat2` needs Linux 5.6, and Engine 20.10 runs on older ones. No part is `..`, so a folder that is
//! moved meanwhile leads nowhere else.

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, chownat, fchown, fstat, mkdirat, openat};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

const LOOK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Why a path was not followed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// A part of it is a link.
    #[error("{} is a link, and a container may have put it there", .0.display())]
    Link(PathBuf),
    /// It leaves the folder that it begins in.
    #[error("{} does not lie below {}", .path.display(), .above.display())]
    Outside {
        /// The path.
        path: PathBuf,
        /// The folder.
        above: PathBuf,
    },
    /// The system's own reason.
    #[error("opening {}", .0.display())]
    Failed(PathBuf, #[source] io::Error),
}

impl Refused {
    /// The way to mend it.
    pub(crate) const fn fix(&self) -> &'static str {
        match self {
            Self::Link(_) => LINK_FIX,
            Self::Outside { .. } | Self::Failed(..) => "look at it with `ls -la`, as root",
        }
    }
}

/// The way to mend a link.
pub(crate) const LINK_FIX: &str =
    "look where it leads, and remove the link; to have the data on another disk, mount that disk there";

/// The folder `above`, opened. Links that lead to it are followed: they are root's own.
fn open_above(above: &Path) -> Result<OwnedFd, Refused> {
    openat(CWD, above, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| Refused::Failed(above.to_owned(), error.into()))
}

/// The parts of `path` below `above`.
fn parts<'p>(above: &Path, path: &'p Path) -> Result<Vec<Component<'p>>, Refused> {
    let outside = || Refused::Outside { path: path.to_owned(), above: above.to_owned() };
    let below: Vec<_> = path.strip_prefix(above).map_err(|_| outside())?.components().collect();
    let inside = below.iter().all(|part| matches!(part, Component::Normal(_)));
    if inside && !below.is_empty() { Ok(below) } else { Err(outside()) }
}

/// Looks at every part of `path` below `above`; `true` where something is there, `false` where a part is missing.
///
/// # Errors
/// Where a part is a link, or cannot be looked at.
pub(crate) fn look(above: &Path, path: &Path) -> Result<bool, Refused> {
    let parts = parts(above, path)?;
    let mut here = match open_above(above) {
        Err(Refused::Failed(_, error)) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    let mut name = above.to_owned();
    for part in parts {
        name.push(part);
        here = match openat(&here, part.as_os_str(), LOOK, Mode::empty()) {
            Ok(next) => next,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(false),
            Err(error) => return Err(Refused::Failed(name, error.into())),
        };
        refuse_link(&here, &name)?;
    }
    Ok(true)
}

/// Looks at the source of a bind mount, where it lies in one of the folders of `product`, Ferry's folder of a product,
/// that containers mount from. Sources elsewhere are their author's.
///
/// # Errors
/// Where a part is a link, or cannot be looked at.
pub(crate) fn look_at_source(product: &Path, source: &Path) -> Result<(), Refused> {
    let places = std::iter::once(product.to_owned()).chain(other_place(product));
    let mut own = places.flat_map(|place| ["data", "releases"].map(|name| place.join(name)));
    match own.find(|own| source.starts_with(own) && source != own) {
        Some(above) => look(&above, source).map(drop),
        None => Ok(()),
    }
}

/// The path by which containers of another time mount from the same folder: `ROOT/NAME` leads to `ROOT/products/NAME`.
fn other_place(product: &Path) -> Option<PathBuf> {
    let (above, name) = (product.parent()?, product.file_name()?);
    if above.ends_with("products") {
        Some(above.parent()?.join(name))
    } else {
        Some(above.join("products").join(name))
    }
}

/// Makes the folder `path`, and those between `above` and it, unless something is there. A new one belongs to `owner`,
/// a user and group; so does one of root's that is empty, since nobody has used it.
///
/// # Errors
/// Where a part is a link, or a folder cannot be made.
pub(crate) fn make_folder(above: &Path, path: &Path, owner: Option<(u32, u32)>) -> Result<(), Refused> {
    if look(above, path)? {
        return owner.map_or(Ok(()), |owner| give_empty(above, path, owner));
    }
    let mut here = open_above(above)?;
    let mut name = above.to_owned();
    for part in parts(above, path)? {
        name.push(part);
        let failed = |error: Errno| Refused::Failed(name.clone(), error.into());
        let made = match mkdirat(&here, part.as_os_str(), Mode::from_raw_mode(0o777)) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(error) => return Err(failed(error)),
        };
        if let Some((uid, gid)) = owner.filter(|_| made && name == path) {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            chownat(&here, part.as_os_str(), Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(failed)?;
        }
        let next = openat(&here, part.as_os_str(), LOOK, Mode::empty()).map_err(failed)?;
        refuse_link(&next, &name)?;
        here = next;
    }
    Ok(())
}

/// Gives the folder `path` to a user and group, where it is root's and holds nothing.
fn give_empty(above: &Path, path: &Path, (uid, gid): (u32, u32)) -> Result<(), Refused> {
    let failed = |error: Errno| Refused::Failed(path.to_owned(), error.into());
    let mut here = open_above(above)?;
    for part in parts(above, path)? {
        here = match openat(&here, part.as_os_str(), FOLDER, Mode::empty()) {
            // A file, or gone.
            Err(Errno::NOTDIR | Errno::NOENT) => return Ok(()),
            opened => opened.map_err(failed)?,
        };
    }
    let is_roots = fstat(&here).map_err(failed)?.st_uid == 0;
    let held = |name: &CStr| !matches!(name.to_bytes(), b"." | b"..");
    let mut entries = Dir::read_from(&here).map_err(failed)?;
    if is_roots && !entries.any(|entry| entry.is_ok_and(|entry| held(entry.file_name()))) {
        fchown(&here, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).map_err(failed)?;
    }
    Ok(())
}

/// Opens the ordinary file `path` for reading. A pipe or device is none, and is not waited for.
///
/// # Errors
/// Where a part is a link, or no ordinary file is there.
pub(crate) fn open_file(above: &Path, path: &Path) -> Result<File, Refused> {
    let mut here = open_above(above)?;
    let mut name = above.to_owned();
    let parts = parts(above, path)?;
    let last = parts.len().saturating_sub(1);
    for (index, part) in parts.into_iter().enumerate() {
        name.push(part);
        let failed = |error: Errno| Refused::Failed(name.clone(), error.into());
        let found = openat(&here, part.as_os_str(), LOOK, Mode::empty()).map_err(failed)?;
        refuse_link(&found, &name)?;
        here = if index < last {
            found
        } else {
            let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            openat(&here, part.as_os_str(), read, Mode::empty()).map_err(failed)?
        };
    }
    let file = File::from(here);
    let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
    if is_file { Ok(file) } else { Err(Refused::Failed(name, io::ErrorKind::InvalidInput.into())) }
}

fn refuse_link(found: &OwnedFd, name: &Path) -> Result<(), Refused> {
    let stat = fstat(found).map_err(|error| Refused::Failed(name.to_owned(), error.into()))?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
        return Err(Refused::Link(name.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn no_part_of_a_path_is_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (above, outside) = (folder.path().join("data"), folder.path().join("outside"));
        fs::create_dir_all(above.join("d")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("f"), "secret").unwrap();
        symlink(&outside, above.join("d/l")).unwrap();
        symlink("l", above.join("d/again")).unwrap();
        symlink("nowhere", above.join("d/dangling")).unwrap();
        for path in ["d/l", "d/l/f", "d/l/new", "d/again/new", "d/dangling", "d/dangling/x"] {
            let path = above.join(path);
            assert!(matches!(look(&above, &path), Err(Refused::Link(_))), "{path:?}");
            assert!(matches!(make_folder(&above, &path, None), Err(Refused::Link(_))), "{path:?}");
            assert!(matches!(open_file(&above, &path), Err(Refused::Link(_))), "{path:?}");
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
        for path in ["../outside/f", "d/../../outside/f", ""] {
            assert!(matches!(look(&above, &above.join(path)), Err(Refused::Outside { .. })), "{path}");
        }
        assert!(matches!(look(&above, &outside), Err(Refused::Outside { .. })));
    }

    #[test]
    fn both_paths_of_a_product_are_looked_at() {
        let root = tempfile::tempdir().unwrap();
        let (new, old) = (root.path().join("products/shop"), root.path().join("shop"));
        fs::create_dir_all(new.join("data/d")).unwrap();
        symlink("products/shop", &old).unwrap();
        symlink("/", new.join("data/d/l")).unwrap();
        symlink("releases/1", new.join("current")).unwrap();
        for product in [&new, &old] {
            for place in [&new, &old] {
                assert!(look_at_source(product, &place.join("data/d")).is_ok());
                assert!(matches!(look_at_source(product, &place.join("data/d/l/x")), Err(Refused::Link(_))));
                // What an author names is theirs.
                assert!(look_at_source(product, &place.join("current/x")).is_ok());
                assert!(look_at_source(product, &place.join("data")).is_ok());
            }
        }
        assert!(look_at_source(&new, Path::new("/etc/localtime")).is_ok());
    }

    #[test]
    fn folders_are_made_and_files_stay() {
        let folder = tempfile::tempdir().unwrap();
        // The folder itself may be reached by a link of root's.
        let above = folder.path().join("data");
        fs::create_dir(folder.path().join("real")).unwrap();
        symlink("real", &above).unwrap();
        let path = above.join("a/b/c");
        assert!(!look(&above, &path).unwrap());
        make_folder(&above, &path, None).unwrap();
        make_folder(&above, &path, None).unwrap();
        assert!(look(&above, &path).unwrap() && path.is_dir());
        fs::write(above.join("f"), "x").unwrap();
        make_folder(&above, &above.join("f"), None).unwrap();
        assert_eq!(fs::read(above.join("f")).unwrap(), b"x");
        assert!(open_file(&above, &above.join("f")).is_ok());
        assert!(open_file(&above, &above.join("a")).is_err());
        assert!(make_folder(&above, &above.join("f/g"), None).is_err());
        assert!(!look(&folder.path().join("missing"), &folder.path().join("missing/x")).unwrap());
    }

    #[test]
    fn an_unused_folder_gets_its_owner() {
        use std::os::unix::fs::MetadataExt as _;
        if !rustix::process::geteuid().is_root() {
            println!("left out: only root can give a folder away");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["empty", "used", "theirs"] {
            fs::create_dir(at(name)).unwrap();
        }
        fs::write(at("used/data"), "x").unwrap();
        fs::write(at("file"), "x").unwrap();
        std::os::unix::fs::chown(at("theirs"), Some(7), Some(7)).unwrap();
        for (name, uid) in [("new/deep", 5), ("empty", 5), ("used", 0), ("theirs", 7), ("file", 0)] {
            make_folder(folder.path(), &at(name), Some((5, 6))).unwrap();
            assert_eq!(at(name).metadata().unwrap().uid(), uid, "{name}");
        }
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("p");
        rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        assert!(open_file(folder.path(), &pipe).is_err());
    }

    /// Another thread swaps a folder and a link as fast as it can.
    #[test]
    fn nothing_is_made_through_a_link_that_comes_and_goes() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let folder = tempfile::tempdir().unwrap();
        let (above, outside) = (folder.path().join("data"), folder.path().join("outside"));
        fs::create_dir_all(above.join("d/l")).unwrap();
        fs::create_dir(&outside).unwrap();
        symlink(&outside, above.join("d/link")).unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let swap = || {
                use rustix::fs::{RenameFlags, renameat_with};
                while !stop.load(Ordering::Relaxed) {
                    let (a, b) = (above.join("d/l"), above.join("d/link"));
                    renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE).unwrap();
                }
            };
            scope.spawn(swap);
            let (mut refused, mut made) = (0, 0);
            for n in 0..20_000 {
                match make_folder(&above, &above.join(format!("d/l/{n}")), None) {
                    Ok(()) => made += 1,
                    Err(_) => refused += 1,
                }
            }
            stop.store(true, Ordering::Relaxed);
            assert!(refused > 0 && made > 0, "both were met: {refused} {made}");
        });
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "nothing was made outside");
    }
}
