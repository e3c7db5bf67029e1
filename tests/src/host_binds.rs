//! Sites whose services mount paths of the host, and what every engine has to make of them.

use crate::bundle::{self, Built};
use crate::host::Host;
use fixtures::small_site::SmallSite;
use std::fs;
use std::path::{Path, PathBuf};

/// A bundle of this version with `front` and these services, after `change` has worked on its folder. `top` stands
/// above the services.
///
/// # Panics
/// When it does not build.
#[track_caller]
#[must_use]
pub fn built(folder: &Path, version: &str, top: &str, services: &str, change: impl FnOnce(&Path)) -> Built {
    let site = SmallSite { template: false, version: version.to_owned(), ..SmallSite::default() };
    bundle::changed(folder, &site, |site| {
        let compose = format!("{top}services:\n  front:\n    image: small/front:{version}\n{services}");
        fs::write(site.join("compose.yaml"), compose).unwrap();
        change(site);
    })
}

/// A service with these keys that runs a line of shell.
#[must_use]
pub fn service(name: &str, keys: &str, line: &str) -> String {
    format!(
        "  {name}:\n    image: small/ticker:1\n    command: [\"/bin/sh\", \"-c\", \"{line}\"]\n    stop_grace_period: 1s\n{keys}"
    )
}

/// No health is asked for.
pub const NO_CHECK: &str = "    healthcheck: { disable: true }\n";

/// A folder of the host that is none of Ferry's.
///
/// # Panics
/// When it cannot be made.
#[must_use]
pub fn own_folder(host: &Host) -> PathBuf {
    let own = host.engine.folder().join("own");
    fs::create_dir(&own).unwrap();
    own
}

/// A file that is gone when its service starts, as the socket of a program that has ended: nothing takes its place.
///
/// # Panics
/// Where a folder does, or the install succeeds.
#[track_caller]
pub fn a_file_that_vanishes_stays_away(host: &Host) {
    let folder = tempfile::tempdir().unwrap();
    let own = own_folder(host);
    let (plain, named) = (own.join("plain"), own.join("app.conf"));
    for file in [&plain, &named] {
        fs::write(file, "x").unwrap();
    }
    let check = "    healthcheck: { test: [CMD, test, -f, /tmp/done], interval: 1s }\n";
    let remover = service(
        "a",
        &format!("{check}    volumes: [\"{}:/own\"]\n", own.display()),
        "rm /own/plain /own/app.conf; touch /tmp/done; exec sleep 1000",
    );
    let users = [("b", &plain), ("c", &named)].map(|(name, file)| {
        let after = "    depends_on: { a: { condition: service_healthy } }\n";
        let mount = format!("{NO_CHECK}{after}    volumes: [\"{}:/x\"]\n", file.display());
        service(name, &mount, "exec sleep 1000")
    });
    let built = built(folder.path(), "1.0.0", "", &format!("{remover}{}", users.concat()), |_| {});
    let [trust, fingerprint] = built.trust();
    let failed = host.run(&[trust, fingerprint, built.path()]).exits(8);
    assert!(failed.stderr.contains("app.conf") || failed.stderr.contains("plain"), "{failed}");
    let left: Vec<_> = fs::read_dir(&own).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.is_empty(), "in the place of a file there is {left:?}");
}

/// An install that fails takes back the folders that were made for it, and keeps those that hold something.
///
/// # Panics
/// Where it does not.
#[track_caller]
pub fn folders_are_made_and_taken_back(host: &Host) {
    let folder = tempfile::tempdir().unwrap();
    let own = own_folder(host);
    let binds = format!("    volumes: [\"{0}/empty/a/b:/e\", \"{0}/full/a:/f\"]\n", own.display());
    let sick = "    healthcheck: { test: [CMD, test, -f, /f/well], interval: 1s, retries: 1 }\n";
    let services = service("s", &format!("{sick}{binds}"), "touch /f/data; exec sleep 1000");
    let built = built(folder.path(), "1.0.0", "", &services, |_| {});
    let [trust, fingerprint] = built.trust();
    let dry = host.run(&["--dry-run", trust, fingerprint, built.path()]).succeeds();
    assert_eq!(fs::read_dir(&own).unwrap().count(), 0, "a dry run made folders: {dry}");
    let failed = host.run(&["--timeout", "8", trust, fingerprint, built.path()]).exits(8);
    let full = own.join("full/a");
    let _ = failed.says(&format!("folders kept, since they may hold data: {}", full.display()));
    let left: Vec<_> = fs::read_dir(&own).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["full"], "left by an install that was undone");
    // With data that fits the same install succeeds, and makes the folder again.
    fs::write(full.join("well"), "").unwrap();
    let _ = host.install(&built);
    assert!(own.join("empty/a/b").is_dir());
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&own.join("empty/a").metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o755);
}
