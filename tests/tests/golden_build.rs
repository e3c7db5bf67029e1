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

/// Builds a site with the golden key; what is said, and the bundle.
fn built(site: &Path, folder: &Path) -> (Outcome, std::path::PathBuf) {
    let key = golden::copy("key-ed25519", folder).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let out = folder.join("built.fz");
    (Outcome::of(&mut bundle::build(site, &key, &out)).succeeds(), out)
}

#[test]
fn version_2_is_written_where_it_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let sites = folder.path().join("sites");
    fs::create_dir_all(&sites).unwrap();
    for name in golden::BUNDLES_2 {
        let site = name.trim_end_matches(".fz");
        run(command(stock("cp")).arg("-r").arg(golden::folder_2(name).join("src").join(site)).arg(&sites));
    }
    run(command(stock("python3")).arg(golden::v2().join("src/inputs.py")).arg(&sites));
    for name in golden::BUNDLES_2 {
        let (said, new) = built(&sites.join(name.trim_end_matches(".fz")), folder.path());
        let _ = said.does_not_say("warning");
        let [mut was, mut is] = [release(&golden::folder_2(name).join(name)), release(&new)];
        for release in [&mut was, &mut is] {
            release["built_with"] = Value::Null;
        }
        assert_eq!(was, is, "ferry.json of {name}");
        assert_eq!(is["ferry"], 2);
        let (was, is) = (fs::read(golden::folder_2(name).join(name)).unwrap(), fs::read(&new).unwrap());
        // HEAD's size, version, counts and the extension; the rest follows from `ferry.json`.
        assert_eq!((&was[..17], &was[29..49], &was[57..61]), (&is[..17], &is[29..49], &is[57..61]), "{name}");
        assert_eq!((is[17 + 12 + 8], &is[17 + 12 + 72..17 + 12 + 84]), (2, &br#"{"needs":[]}"#[..]));
    }

    let site = sites.join("all");
    let manifest = site.join("ferry.yaml");
    let whole = fs::read_to_string(&manifest).unwrap();
    let with = |changes: &[(&str, &str)]| {
        let text = changes.iter().fold(whole.clone(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        });
        fs::write(&manifest, text).unwrap();
        let (said, new) = built(&site, folder.path());
        let release = release(&new);
        (said, fs::read(&new).unwrap()[37], release["ferry"].clone(), release["needs"].clone())
    };
    let needs = |names: &[&str]| -> Value {
        names.iter().map(|name| serde_json::json!({ "feature": name, "fz": "0.2.0" })).collect()
    };
    let no_needs = ("needs: [serial, seed-owner]\n", "");
    let no_serial = ("serial: 9007199254740991\n", "");
    let no_owner = (", owner: \"70:71\", mode: \"0750\"", "");
    let no_name = (", owner: \"writer:readers\"", "");
    let no_mode = (", mode: \"01777\"", "");
    let (_, index, ferry, found) = with(&[no_needs, no_serial, no_owner, no_mode]);
    assert_eq!((index, ferry, found), (2, 2.into(), needs(&["seed-owner"])));
    let (_, index, ferry, found) = with(&[no_serial, no_owner, no_name]);
    assert_eq!(
        (index, ferry, found),
        (2, 2.into(), needs(&["seed-owner"])),
        "a mode needs it as an owner does"
    );
    let (_, index, ferry, found) = with(&[no_owner, no_name, no_mode]);
    assert_eq!((index, ferry, found), (2, 2.into(), needs(&["serial"])));
    // The version of the manifest alone.
    let (said, index, ferry, found) = with(&[no_needs, no_serial, no_owner, no_name, no_mode]);
    let _ =
        said.says("`ferry: 2`, and no key that needs it").says("write `ferry: 1`, which every host reads");
    assert_eq!((index, ferry, found), (2, 2.into(), needs(&[])));
    // The `./` that a tar brings, or that is added for the service, needs nothing.
    let (said, index, ferry, found) =
        with(&[no_needs, no_serial, no_owner, no_name, no_mode, ("ferry: 2", "ferry: 1")]);
    let _ = said
        .says("service `writer` runs as 70:71 and cannot write into the volume `table`")
        .says("owner: \"70:71\"");
    assert_eq!((index, ferry, found), (1, 1.into(), Value::Null));
}

#[test]
fn a_written_owner_is_held_against_the_images_and_the_services() {
    let folder = tempfile::tempdir().unwrap();
    let sites = folder.path().join("sites");
    fs::create_dir_all(&sites).unwrap();
    run(command(stock("cp")).arg("-r").arg(golden::v2().join("src/seed-owner")).arg(&sites));
    run(command(stock("python3")).arg(golden::v2().join("src/inputs.py")).arg(&sites));
    let site = sites.join("seed-owner");
    let manifest = site.join("ferry.yaml");
    let whole = fs::read_to_string(&manifest).unwrap();
    let lint = || Outcome::of(command(tests::programs::ferry()).arg("lint").arg(&site));
    let build = || {
        let key = golden::copy("key-ed25519", folder.path()).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        Outcome::of(&mut bundle::build(&site, &key, &folder.path().join("built.fz")))
    };
    // Names mean something only with the images at hand.
    let _ = lint().succeeds().does_not_say("cannot write");
    fs::write(&manifest, whole.replace("writer:readers", "nobody:readers")).unwrap();
    let _ = lint().succeeds();
    let refused = build().exits(3).says("`nobody:readers` is no user and group in the image of a service");
    let _ = refused.says("ferry.yaml:12:").says("owner: \"999:999\"");
    // A service that is kept out is told of, with numbers also by lint.
    fs::write(&manifest, whole.replace("70:71", "999:999")).unwrap();
    let kept_out = "service `writer` runs as 70:71 and cannot write into the volume `rows`, whose root belongs to 999:999 with mode 750";
    let _ = lint().succeeds().says(kept_out);
    let _ = build().succeeds().says(kept_out).says("write `owner: \"70:71\"` beside its seed");
    // Keys of version 2 in a manifest of version 1.
    fs::write(&manifest, whole.replace("ferry: 2", "ferry: 1")).unwrap();
    let refused = lint().exits(3).says("`owner` needs `ferry: 2`").says("`mode` needs `ferry: 2`");
    let _ = refused.says("`needs` needs `ferry: 2`").says("write `ferry: 2` in the first line");
    fs::write(&manifest, whole.replace("\"0750\"", "0750")).unwrap();
    let _ = lint().exits(3).says("put it in quotes: \"0750\"");
}
