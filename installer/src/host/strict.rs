//! The owners and modes of what Ferry trusts, as sshd's `StrictModes` asks for them: the keys decide which bundle runs as
//! root, and the program decides what the keys mean, so nobody but root may change either, nor a folder above them.
//!
//! - Each part of a path belongs to root (or to the user who runs this and reads only), and neither group nor others
//!   may write it.
//! - A sticky folder of root's, as `/tmp`, may lie above: nobody can replace another's entry in it. So the entry has to
//!   be there already.
//! - Ferry's folder and what it keeps in it is no link. Root's own links above it are followed, and what they
//!   lead to is looked at in the same way.

use super::folder::{ProductDir, Root};
use super::place::PRODUCTS;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Links of a path that are followed: more are a circle.
const MAX_LINKS: usize = 40;

/// Write permission of the group and of others (chmod(1)).
const OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Something that others than root can change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) fact: String,
    /// The command that mends it.
    pub(crate) fix: String,
}

/// Faults of Ferry's folder, of the keys and the program in it, and of all folders above.
#[must_use]
pub(crate) fn faults(root: &Root) -> Vec<Fault> {
    let mut faults = above(root);
    let program = root.program();
    let signers = root.allowed_signers();
    for path in [signers.parent(), Some(&signers), program.parent(), Some(&program)].into_iter().flatten() {
        faults.extend(of_own(path));
    }
    faults
}

/// Faults of the keys, their folder and all folders above.
#[must_use]
pub(crate) fn faults_of_keys(root: &Root) -> Vec<Fault> {
    let signers = root.allowed_signers();
    let own = [signers.parent(), Some(&signers)].into_iter().flatten().filter_map(of_own);
    above(root).into_iter().chain(own).collect()
}

/// Faults of a product's folder and of the files in it that say what runs.
#[must_use]
pub(crate) fn faults_of_product(product: &ProductDir) -> Vec<Fault> {
    let files = ["installed.json", "answers.json", "override.yaml", "bundles", "releases"];
    // At the old place the folder above is Ferry's own, which is looked at by itself.
    let above =
        product.path().parent().filter(|above| above.file_name().is_some_and(|name| name == PRODUCTS));
    let folders = above.into_iter().chain([product.path()]);
    let paths = folders.map(Path::to_path_buf).chain(files.iter().map(|name| product.file(name)));
    // An administrator may have put a product on another disk.
    paths.filter_map(|path| of_entry(&path, &Owners::now(), &mut 0)).collect()
}

/// Faults of Ferry's folder itself and of those above it.
fn above(root: &Root) -> Vec<Fault> {
    let owners = Owners::now();
    let Some(parent) = root.path().parent() else { return Vec::new() };
    let above = of_chain(parent, root.path(), &owners, &mut 0);
    above.into_iter().chain(of_own(root.path())).collect()
}

/// The users who may own a path.
struct Owners(Vec<u32>);

impl Owners {
    fn now() -> Self {
        Self(vec![0, rustix::process::geteuid().as_raw()])
    }
}

/// The first fault of `path` and the folders above it, from the top; `next` is what is asked for in it.
fn of_chain(path: &Path, next: &Path, owners: &Owners, links: &mut usize) -> Option<Fault> {
    let mut parts: Vec<&Path> = path.ancestors().collect();
    parts.reverse();
    let nexts = parts.iter().skip(1).copied().chain([next]);
    for (part, next) in parts.iter().zip(nexts) {
        let Ok(found) = fs::symlink_metadata(part) else { return None };
        if found.is_symlink() {
            if let Some(fault) = of_owner(part, &found, owners) {
                return Some(fault);
            }
            let target = followed(part, links)?;
            let next = next.file_name().map_or_else(|| target.clone(), |name| target.join(name));
            if let Some(fault) = of_chain(&target, &next, owners, links) {
                return Some(fault);
            }
            continue;
        }
        if let Some(fault) = of_metadata(part, &found, owners, Some(next)) {
            return Some(fault);
        }
    }
    None
}

/// Where a link leads, one step; `None` for too many of them, which cannot be opened either.
fn followed(link: &Path, links: &mut usize) -> Option<PathBuf> {
    *links += 1;
    if *links > MAX_LINKS {
        return None;
    }
    Some(link.parent()?.join(fs::read_link(link).ok()?))
}

/// The fault of a thing that Ferry keeps for itself, which is no link.
fn of_own(path: &Path) -> Option<Fault> {
    let found = fs::symlink_metadata(path).ok()?;
    if found.is_symlink() {
        let fact = format!("{} is a link", path.display());
        let fix = match fs::canonicalize(path) {
            Ok(target) if target.is_dir() => {
                format!("put the folder itself there, or name {} with --root", target.display())
            }
            _ => format!("put the file itself there, or `rm {}`", quoted(path)),
        };
        return Some(Fault { fact, fix });
    }
    of_metadata(path, &found, &Owners::now(), None)
}

/// The fault of one thing, which may be a link of root's.
fn of_entry(path: &Path, owners: &Owners, links: &mut usize) -> Option<Fault> {
    let found = fs::symlink_metadata(path).ok()?;
    if found.is_symlink() {
        return of_owner(path, &found, owners).or_else(|| {
            let target = followed(path, links)?;
            of_chain(&target, &target, owners, links)
        });
    }
    of_metadata(path, &found, owners, None)
}

fn of_owner(path: &Path, found: &Metadata, owners: &Owners) -> Option<Fault> {
    (!owners.0.contains(&found.uid())).then(|| Fault {
        fact: format!("{} belongs to user {}, not to root", path.display(), found.uid()),
        fix: format!("`chown -h root {}`, or name another folder with --root", quoted(path)),
    })
}

fn of_metadata(path: &Path, found: &Metadata, owners: &Owners, next: Option<&Path>) -> Option<Fault> {
    if let Some(fault) = of_owner(path, found, owners) {
        return Some(fault);
    }
    if found.mode() & OTHERS_WRITE == 0 {
        return None;
    }
    if let Some(next) = next.filter(|_| found.is_dir() && found.mode() & STICKY != 0) {
        return fs::symlink_metadata(next).is_err().then(|| Fault {
            fact: format!("everybody may create {} before Ferry does", next.display()),
            fix: format!("`mkdir -m 700 {}`", quoted(next)),
        });
    }
    let who = match found.mode() & OTHERS_WRITE {
        0o020 => "its group",
        _ => "everybody",
    };
    Some(Fault {
        fact: format!("{} can be written by {who}", path.display()),
        fix: format!("`chmod go-w {}`", quoted(path)),
    })
}

/// A path as a shell takes it for one word.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | ':' | ',');
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    /// A root folder with keys and a program, and the folder that it lies in.
    fn root() -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(&folder.path().join("var/ferry")).unwrap();
        for file in [root.allowed_signers(), root.program()] {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, "x").unwrap();
        }
        for path in ["var", "var/ferry", "var/ferry/trust", "var/ferry/bin"] {
            mode(&folder.path().join(path), 0o755);
        }
        (folder, root)
    }

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_others_can_write_is_named_with_the_command_that_helps() {
        let parts = [
            "var",
            "var/ferry",
            "var/ferry/trust",
            "var/ferry/trust/allowed_signers",
            "var/ferry/bin",
            "var/ferry/bin/fz",
        ];
        for part in parts {
            for (bits, who) in [(0o775, "its group"), (0o757, "everybody"), (0o777, "everybody")] {
                let (folder, root) = root();
                assert_eq!(faults(&root), []);
                let path = folder.path().join(part);
                mode(&path, bits);
                let found = faults(&root);
                assert_eq!(found.len(), 1, "{found:?}");
                assert_eq!(found[0].fact, format!("{} can be written by {who}", path.display()));
                assert_eq!(found[0].fix, format!("`chmod go-w {}`", path.display()));
                mode(&path, bits & !0o022);
                assert_eq!(faults(&root), [], "the fix helps");
                assert_eq!(faults_of_keys(&root), []);
            }
        }
    }

    #[test]
    fn what_belongs_to_another_user_is_named() {
        if !rustix::process::geteuid().is_root() {
            println!("left out: only root can give a file away");
            return;
        }
        for part in
            ["var", "var/ferry", "var/ferry/trust", "var/ferry/trust/allowed_signers", "var/ferry/bin/fz"]
        {
            let (folder, root) = root();
            let path = folder.path().join(part);
            chown(&path, Some(4711), None).unwrap();
            let found = faults(&root);
            assert_eq!(found[0].fact, format!("{} belongs to user 4711, not to root", path.display()));
            assert!(found[0].fix.contains(&format!("chown -h root {}", path.display())), "{found:?}");
        }
    }

    #[test]
    fn links_are_refused_below_and_followed_above() {
        for part in [
            "var/ferry",
            "var/ferry/trust",
            "var/ferry/trust/allowed_signers",
            "var/ferry/bin",
            "var/ferry/bin/fz",
        ] {
            let (folder, root) = root();
            let (path, elsewhere) = (folder.path().join(part), folder.path().join("elsewhere"));
            fs::rename(&path, &elsewhere).unwrap();
            symlink(&elsewhere, &path).unwrap();
            let found = faults(&root);
            assert_eq!(found[0].fact, format!("{} is a link", path.display()), "{found:?}");
        }
        let (folder, _) = root();
        symlink("var", folder.path().join("link")).unwrap();
        let by_link = Root::new(&folder.path().join("link/ferry")).unwrap();
        assert_eq!(faults(&by_link), []);
        mode(&folder.path().join("var"), 0o777);
        let found = faults(&by_link);
        assert!(found[0].fact.ends_with("/var can be written by everybody"), "{found:?}");
    }

    #[test]
    fn nobody_can_be_first_in_a_sticky_folder() {
        let folder = tempfile::tempdir().unwrap();
        mode(folder.path(), 0o1777);
        let root = Root::new(&folder.path().join("a b")).unwrap();
        let found = faults(&root);
        assert_eq!(found[0].fix, format!("`mkdir -m 700 '{}'`", root.path().display()), "{found:?}");
        fs::create_dir(root.path()).unwrap();
        mode(root.path(), 0o700);
        assert_eq!(faults(&root), []);
        mode(folder.path(), 0o777);
        assert_eq!(faults(&root).len(), 1);
    }
}
