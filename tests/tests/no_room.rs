//! Disks that take no more, files that are not as long as signed, and terminals without UTF-8: both programs say it in
//! words.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

use fixtures::keys;
use fixtures::small_site::SmallSite;
use std::fs;
use std::process::Command;
use tempfile::TempDir;
use tests::bundle;
use tests::outcome::Outcome;
use tests::programs;

/// A site of three megabytes that do not compress, and a key, below one folder.
fn site() -> (TempDir, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let site = folder.path().join("site");
    SmallSite { ballast: 3 << 20, ..SmallSite::default() }.write(&site).unwrap();
    let key = keys::write(folder.path(), "key", 1).unwrap();
    fs::create_dir(folder.path().join("out")).unwrap();
    let words = ["build", "--offline", "--key", key.private.to_str().unwrap(), site.to_str().unwrap(), "-o"];
    (folder, words.map(str::to_owned).to_vec())
}

/// Runs `ferry` after `before`, in which `$0` is the folder `out`; then lists what lies there.
fn built_into(folder: &TempDir, words: &[String], before: &str) -> Outcome {
    let out = folder.path().join("out");
    // An older bundle, as far as a build looks at one.
    let script = format!(
        r#"{before} && printf '(\265/\375 \000\001\000\000' >"$0/site.fz" && {{ "$@"; code=$?; }}
        echo "left: $(ls -A "$0") $(wc -c <"$0/site.fz")" >&2; exit $code"#
    );
    let mut command = programs::command(programs::stock("unshare"));
    command.args(["--mount", "--propagation=private", "--", "sh", "-c", &script]).arg(&out);
    Outcome::of(command.arg(programs::ferry()).args(words).arg(out.join("site.fz")))
}

#[test]
fn a_full_stick_is_named_with_its_space_and_keeps_the_older_bundle() {
    let (folder, words) = site();
    let full = built_into(&folder, &words, r#"mount -t tmpfs -o size=600k none "$0""#).exits(9);
    let full = full.says("out/site.fz cannot be written: the disk is full: ");
    let full = full.says(" of 600.0 KiB are free there, up to ").says("are to be written");
    let _ = full.says("hint: free space").does_not_say("plugged in").says("left: site.fz 9");
}

#[test]
fn a_file_system_that_takes_no_larger_file_is_named_with_the_way_out() {
    let (folder, words) = site();
    let large = built_into(&folder, &words, "trap '' XFSZ && ulimit -f 600").exits(9);
    let large = large.says("its file system takes no file that large: up to ").says("exFAT or ext4");
    let _ = large.does_not_say("plugged in").says("left: site.fz 9");
}

#[test]
fn a_read_only_file_system_is_named() {
    let (folder, words) = site();
    fs::write(folder.path().join("out/site.fz"), b"(\xb5/\xfd \0\x01\0\0").unwrap();
    let out = folder.path().join("out");
    let mut command = programs::command(programs::stock("unshare"));
    let script = r#"mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@""#;
    command.args(["--mount", "--propagation=private", "--", "sh", "-c", script]).arg(&out);
    let refused = Outcome::of(command.arg(programs::ferry()).args(words).arg(out.join("site.fz"))).exits(9);
    let _ = refused.says("its file system is mounted read-only").says("hint: mount it writable");
}

fn ferry(arguments: &[&str]) -> Command {
    let mut command = programs::command(programs::ferry());
    command.args(arguments);
    command
}

#[test]
fn inspect_says_at_once_that_a_file_is_not_as_long_as_signed() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::small(folder.path(), &SmallSite::default());
    let _ = Outcome::of(&mut ferry(&["inspect", built.path()])).succeeds();
    let whole = fs::read(&built.file).unwrap();
    for other in [&whole[..whole.len() - 1], &whole[..whole.len() / 2], &[&whole[..], b"\n"].concat()] {
        fs::write(&built.file, other).unwrap();
        let refused = Outcome::of(&mut ferry(&["inspect", built.path()])).exits(4);
        let signed = format!("the bundle is {} bytes long, but {} were signed", other.len(), whole.len());
        let _ = refused.says("was cut short or changed").says(&signed);
    }
}

#[test]
fn terminals_without_utf8_get_ascii() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::small(folder.path(), &SmallSite::default());
    let install = programs::install();
    for (name, locale) in [("LC_ALL", "C"), ("LC_ALL", "POSIX"), ("LANG", "C"), ("LANG", "de_DE.ISO-8859-1")]
    {
        let plain = |mut command: Command| {
            let outcome = Outcome::of(command.env_remove("LC_ALL").env(name, locale));
            assert!(outcome.stdout.is_ascii() && outcome.stderr.is_ascii(), "{name}={locale}: {outcome}");
            outcome
        };
        let tree = plain(ferry(&["inspect", built.path()])).succeeds();
        let _ = tree.says("|- images: ").says("`- built with");
        let _ = plain(ferry(&["build", "--help"])).succeeds();
        let _ = plain(ferry(&["no-such-command"])).exits(2);
        for arguments in [&["--help"][..], &["verify", "--any-key", built.path()], &["--trust"]] {
            let mut command = programs::command(&install);
            command.args(arguments);
            let _ = plain(command);
        }
        let [trust, fingerprint] = built.trust();
        let mut verify = programs::command(&install);
        verify.args(["verify", trust, fingerprint, built.path()]);
        let _ = plain(verify).succeeds().says("+ ");
    }
    let _ = Outcome::of(&mut ferry(&["inspect", built.path()])).says("├─ images: ");
}
