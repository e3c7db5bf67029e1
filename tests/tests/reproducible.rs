//! Equal inputs give equal bytes, whatever the machine, path, time, threads or habits.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

use fixtures::docker_archive::Compression;
use fixtures::small_site::SmallSite;
use fixtures::{Dialect, keys};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::bundle;
use tests::outcome::Outcome;
use tests::programs::stock;
use tests::snapshot::sha256;

fn site() -> SmallSite {
    SmallSite {
        ballast: 20 << 20,
        front_dialect: Dialect::Containerd(Compression::Gzip),
        ticker_dialect: Dialect::OciLayout(Compression::Zstd),
        ..SmallSite::default()
    }
}

/// Writes the site into `folder/name`, with files of its own kind among the artifacts.
fn written(folder: &Path, name: &str) -> PathBuf {
    let out = folder.join(name);
    site().write(&out).unwrap();
    for number in 0..20 {
        let below = out.join(format!("files/many/{}", number % 3));
        fs::create_dir_all(&below).unwrap();
        fs::write(below.join(format!("file-{number}")), format!("content {number}\n")).unwrap();
    }
    let run = out.join("files/run.sh");
    fs::write(&run, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&run, fs::Permissions::from_mode(0o755)).unwrap();
    out
}

/// A copy whose folders were filled in the opposite order, so that they are read in another.
fn reversed(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let mut entries: Vec<PathBuf> = fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries.iter().rev() {
        let target = to.join(path.file_name().unwrap());
        if path.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(path).unwrap(), target).unwrap();
        } else if path.is_dir() {
            reversed(path, &target);
        } else {
            fs::copy(path, target).unwrap();
        }
    }
}

/// Sets the time of everything below a folder.
fn touched(folder: &Path, date: &str) {
    let mut find = tests::programs::command(stock("find"));
    find.arg(folder).args(["-exec", "touch", "--no-dereference", "--date", date, "{}", "+"]);
    let _ = Outcome::of(&mut find).succeeds();
}

struct Builds {
    folder: tempfile::TempDir,
    key: PathBuf,
    first: String,
}

impl Builds {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = keys::write(folder.path(), "key", 1).unwrap().private;
        let mut builds = Self { folder, key, first: String::new() };
        let source = written(builds.folder.path(), "first");
        builds.first = builds.digest("first", &source, |_| {});
        builds
    }

    fn digest(&self, name: &str, site: &Path, change: impl FnOnce(&mut Command)) -> String {
        let file = self.folder.path().join(format!("{name}.fz"));
        let mut command = bundle::build(site, &self.key, &file);
        change(&mut command);
        let _ = Outcome::of(&mut command).succeeds();
        sha256(&fs::read(file).unwrap())
    }
}

#[test]
fn builds_do_not_differ_by_threads_zone_language_umask_or_folder() {
    let builds = Builds::new();
    let source = builds.folder.path().join("first");
    for threads in ["1", "2", "7"] {
        let digest = builds.digest("threads", &source, |command| {
            command.args(["--threads", threads]);
        });
        assert_eq!(digest, builds.first, "{threads} threads");
    }
    let digest = builds.digest("environment", &source, |command| {
        command.env("TZ", "Pacific/Kiritimati").env("LC_ALL", "tr_TR.UTF-8").env("LANG", "de_DE");
        command.env("HOME", "/tmp").env("USER", "someone").env("SOURCE_DATE_EPOCH", "12345");
    });
    assert_eq!(digest, builds.first, "time zone and language");

    // From another folder, by a relative path, with another umask, and another output name.
    let other = builds.folder.path().join("a much deeper/folder than/before");
    fs::create_dir_all(&other).unwrap();
    let copy = written(&other, "site");
    let out = builds.folder.path().join("relative.fz");
    let mut shell = tests::programs::command("/bin/sh");
    shell
        .current_dir(&copy)
        .args(["-c", "umask 077 && exec \"$0\" build --offline --key \"$1\" --output \"$2\""]);
    shell.arg(tests::programs::ferry()).arg(&builds.key).arg(&out);
    let _ = Outcome::of(&mut shell).succeeds();
    assert_eq!(sha256(&fs::read(&out).unwrap()), builds.first, "folder and umask");
    assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o644, "a bundle is for handing on");
}

#[test]
fn builds_do_not_differ_by_file_times_modes_and_directory_order() {
    let builds = Builds::new();
    let first = builds.folder.path().join("first");
    let second = builds.folder.path().join("second");
    reversed(&first, &second);
    touched(&first, "2001-02-03 04:05:06");
    touched(&second, "2031-12-30 23:59:58");
    assert_eq!(builds.digest("first-again", &first, |_| {}), builds.first, "the same files at another time");
    assert_eq!(builds.digest("second", &second, |_| {}), builds.first, "times and directory order");

    // A group that may write is a habit of the machine; what may be run is not.
    let file = second.join("files/readme.txt");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o664)).unwrap();
    assert_eq!(builds.digest("group", &second, |_| {}), builds.first, "mode 0664 instead of 0644");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    assert_ne!(builds.digest("executable", &second, |_| {}), builds.first, "an executable bit counts");
}

#[test]
fn what_does_differ_gives_another_bundle() {
    let builds = Builds::new();
    let source = written(builds.folder.path(), "changed");
    fs::write(source.join("files/readme.txt"), "A file that travels elsewhere.\n").unwrap();
    assert_ne!(builds.digest("changed", &source, |_| {}), builds.first);
}
