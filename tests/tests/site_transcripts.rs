//! The sessions of a whole release in three guides: the release engineer builds the demo's site and looks at it,
//! the technician installs it, the sysop runs it and removes it.
//!
//! It is played once, in the order of the pages, and each page must show what came. Its images need root and
//! Debian packages, so `scripts/test` runs it, after the demo.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

use fixtures::damage;
use fixtures::keys::{self, KeyFiles};
use fixtures::site::Site;
use regex_lite::Regex;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};
use tests::host::Host;
use tests::outcome::Outcome;
use tests::port_holder::PortHolder;
use tests::programs;
use tests::sessions::{self, Page, Step};

/// Ferry's folder, as the pages have it.
const ROOT: &str = "/var/lib/ferry";

#[test]
#[ignore = "needs the images of the demo's site: scripts/test runs it after the demo"]
fn a_release_from_build_to_removal() {
    let host = Host::docker("guides");
    let plant = host.engine.folder().join("plant");
    Site::default().write(&plant).unwrap();
    let key = keys::write(&plant, "release", 1).unwrap();
    let stick = host.engine.folder().join("stick");
    fs::create_dir(&stick).unwrap();
    fs::copy(programs::install(), stick.join("install")).unwrap();
    the_release_engineer(&Place { host: &host, folder: plant.clone(), key: &key });
    for name in ["site.fz", "bad.fz"] {
        fs::rename(plant.join(name), stick.join(name)).unwrap();
    }
    let site = Place { host: &host, folder: stick, key: &key };
    the_technician(&site);
    the_sysop(&site);
}

fn the_release_engineer(place: &Place<'_>) {
    let mut page = Page::of("docs/guide/release-engineer.md", "site");
    place.play(&mut page, &["build", "again", "equal"]);
    let compose = place.folder.join("compose.yaml");
    tests::bundle::replace(&compose, "image: acme/web", "imgae: acme/web");
    place.play(&mut page, &["mistakes"]);
    tests::bundle::replace(&compose, "imgae: acme/web", "image: acme/web");
    place.play(&mut page, &["advice", "inspect", "verify"]);
    damage_a_layer(place, "acme/cache:7.0");
    place.play(&mut page, &["damaged"]);
    let allowed = format!("release {}\n", place.key.public_line);
    fs::write(place.folder.join("allowed_signers"), allowed).unwrap();
    place.play(&mut page, &["export", "signature", "zstd", "tar"]);
    page.finish();
}

fn the_technician(place: &Place<'_>) {
    // A bundle that is not trusted, and a port that is taken, are met on a host without Ferry.
    let new = Host::docker("new");
    let _other = PortHolder::start(&new, 8080);
    let elsewhere = Place { host: &new, folder: place.folder.clone(), key: place.key };
    let mut page = Page::of("docs/guide/technician.md", "site");
    place.play(&mut page, &["verify", "dry run", "install"]);
    elsewhere.play(&mut page, &["not trusted"]);
    place.play(&mut page, &["nothing to do"]);
    elsewhere.play(&mut page, &["not ready"]);
    page.finish();
}

fn the_sysop(place: &Place<'_>) {
    let mut page = Page::of("docs/guide/sysop.md", "site");
    place.play(&mut page, &["status"]);
    wait_for_the_engines_verdict(place.host);
    place.play(&mut page, &["ps", "logs", "stop", "stopped", "start", "reconfigure"]);
    place.play(&mut page, &["files", "pinned", "needs a yes", "uninstall", "volumes"]);
    let _ = Outcome::of(place.host.shell(&place.folder).args(["-c", "./install site.fz"])).succeeds();
    place.play(&mut page, &["uninstall with volumes"]);
    page.finish();
}

/// Waits until the engine calls every container healthy: Ferry runs the checks more often while it starts a site,
/// and knows before.
#[track_caller]
fn wait_for_the_engines_verdict(host: &Host) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !host.docker_text(&["ps", "--quiet", "--filter", "health=starting"]).is_empty() {
        assert!(Instant::now() < deadline, "{:?}", host.containers());
        thread::sleep(Duration::from_millis(50));
    }
}

/// A folder on a host, where commands of the pages are run with the key and the root at hand.
struct Place<'a> {
    host: &'a Host,
    folder: PathBuf,
    key: &'a KeyFiles,
}

impl Place<'_> {
    #[track_caller]
    fn play(&self, page: &mut Page, names: &[&str]) {
        for name in names {
            let written = page.steps(name);
            let found: Vec<Step> = written.iter().map(|step| self.run(&step.command)).collect();
            page.compare(name, &written, &found);
        }
    }

    fn run(&self, command: &str) -> Step {
        let command = sessions::with_fingerprint(command, &self.key.fingerprint);
        let root = self.host.root.to_str().unwrap();
        let output = sessions::shell(self.host.shell(&self.folder), &command.replace(ROOT, root));
        Step { command, output: output.replace(root, ROOT).trim_end().to_owned() }
    }
}

/// Copies `site.fz` to `bad.fz` with one wrong byte, in a layer that only this image has. A copy with a wrong byte
/// in every MiB shows which byte.
#[track_caller]
fn damage_a_layer(place: &Place<'_>, image: &str) {
    let [site, bad, probe] = ["site.fz", "bad.fz", "probe.fz"].map(|name| place.folder.join(name));
    fs::copy(&site, &probe).unwrap();
    for offset in (1..fs::metadata(&site).unwrap().len() >> 20).map(|mebibytes| mebibytes << 20) {
        damage::flip(&probe, offset).unwrap();
    }
    let mut verify = programs::command(programs::ferry());
    let outcome = Outcome::of(verify.arg("verify").arg(&probe)).exits(4);
    fs::remove_file(probe).unwrap();
    let pattern = Regex::new(&format!("offset ([0-9]+) .*: layer [0-9a-f]{{12}} of {image}: ")).unwrap();
    let frame = pattern.captures(&outcome.stderr).unwrap_or_else(|| panic!("no layer of {image}\n{outcome}"));
    fs::copy(&site, &bad).unwrap();
    damage::flip(&bad, frame[1].parse::<u64>().unwrap() + 1024).unwrap();
}
