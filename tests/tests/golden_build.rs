//! A bundle that needs nothing new is written as 0.1.0 wrote it: the golden sites, built by this program, give the golden
//! bundles' bytes. Only `ferry.json` says another builder, and with it what the metadata and the head hold.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

use fixtures::golden;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use tests::bundle;
use tests::outcome::Outcome;
use tests::programs::{command, stock};

fn run(command: &mut Command) {
    let _ = Outcome::of(command).succeeds();
}

/// The sources of all sites below `sites`, as `make` beside the golden files lays them out.
fn sources(sites: &Path) {
    let from = golden::v1().join("src");
    let copy = |site: &str, to: &str| {
        fs::create_dir_all(sites.join(to)).unwrap();
        run(command(stock("cp")).arg("-r").arg(from.join(site).join(".")).arg(sites.join(to)));
    };
    for site in ["plain", "platforms", "preserve", "entries"] {
        copy(site, site);
    }
    copy("plain", "plain-2");
    copy("plain-2", "plain-2");
    let python = &mut command(stock("python3"));
    run(python.arg(from.join("inputs.py")).arg(golden::v1().join("tiny")).arg(sites));
    repository(&sites.join("entries/dist/repository"));
}

/// The repository whose commit stands in the golden bundle.
fn repository(folder: &Path) {
    fs::create_dir_all(folder.join("halls")).unwrap();
    fs::write(folder.join("halls/north.txt"), "north\n").unwrap();
    fs::write(folder.join("readme.txt"), "outside\n").unwrap();
    for arguments in [
        &["init", "--quiet", "--initial-branch=main"][..],
        &["add", "."],
        &["commit", "--quiet", "--message=The halls as they are"],
        &["tag", "v1.8"],
    ] {
        let mut git = command(stock("git"));
        for who in ["AUTHOR", "COMMITTER"] {
            git.env(format!("GIT_{who}_NAME"), "golden")
                .env(format!("GIT_{who}_EMAIL"), "golden@example.com");
            git.env(format!("GIT_{who}_DATE"), "2026-01-15T08:00:00Z");
        }
        git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
        run(git.arg("-C").arg(folder).args(arguments));
    }
}

/// `ferry.json`, through stock tools.
fn release(bundle: &Path) -> Value {
    let mut shell = command("/bin/sh");
    shell.args(["-c", "zstd -dcq <\"$0\" | tar --extract --to-stdout ferry.json"]).arg(bundle);
    Outcome::of(&mut shell).succeeds().json()
}

/// The format's version, and size and hash of every data frame, from the index (FORMAT.md, sections 2 and 3).
fn data_frames(bundle: &Path) -> (u32, Vec<Vec<u8>>) {
    let bytes = fs::read(bundle).unwrap();
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let index = 17 + 12;
    let (frames, metadata) = (number(index + 16) as usize, number(index + 24) as usize);
    let entry = |n: usize| bytes[index + 72 + 40 * n..index + 72 + 40 * (n + 1)].to_vec();
    (number(index + 8), (metadata..frames).map(entry).collect())
}

#[test]
fn the_golden_sites_still_make_the_golden_payloads() {
    let folder = tempfile::tempdir().unwrap();
    let sites = folder.path().join("sites");
    sources(&sites);
    let key = golden::copy("key-ed25519", folder.path()).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    for name in golden::BUNDLES {
        let (old, new) = (golden::v1().join(name), folder.path().join(name));
        let _ =
            Outcome::of(&mut bundle::build(&sites.join(name.trim_end_matches(".fz")), &key, &new)).succeeds();
        let [mut was, mut is] = [release(&old), release(&new)];
        for release in [&mut was, &mut is] {
            release["built_with"] = Value::Null;
        }
        assert_eq!(was, is, "ferry.json of {name}");
        let frames = data_frames(&old);
        assert!(frames.0 == 1 && frames.1.len() > 2, "{name}");
        assert_eq!(frames, data_frames(&new), "the data of {name}: its frames are what hosts keep");
    }
}
