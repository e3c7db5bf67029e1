//! The checks after a kill, and once the recovery has ended.

use crate::plan::Operation;
use crate::site::{CONTAINERS, NEIGHBOURS, PORT, Place};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tests::outcome::Outcome;
use tests::programs;

/// Names that a product's folder may hold when nothing is under way.
const KNOWN: [&str; 11] = [
    "answers.json",
    "answers.tried.json",
    "bundles",
    "current",
    "data",
    "external",
    "installed.json",
    "lock",
    "releases",
    "state.json",
    "steps.jsonl",
];

/// Names that an uninstall leaves for the next install; `state.json` keeps an older program out.
const KEPT: [&str; 4] = ["answers.json", "answers.tried.json", "data", "state.json"];

/// The containers that served before.
pub(crate) struct Served(Option<[String; 2]>);

impl Served {
    pub(crate) fn see(place: &Place) -> Self {
        let ids = || [place.host.id("small", "front"), place.host.id("small", "ticker")];
        Self(place.truth.running.as_ref().map(|_| ids()))
    }
}

/// Right after the kill: nothing is lost, and the program knows what happened.
#[track_caller]
pub(crate) fn after_kill(place: &Place, operation: Operation, served: &Served, at: &str, outcome: &Outcome) {
    let when = format!("after a kill ({at})");
    known_end(outcome);
    place.assert_data(&when);
    place.assert_neighbour(&when);
    no_process(place, &when);
    // Before the switch nothing that runs is touched.
    let untouched = at.starts_with("stage ") || at.starts_with("no record yet");
    if let (Some(before), Some(runs), false, true, false) =
        (&served.0, &place.truth.running, place.is_shaken, untouched, operation.leaves_nothing())
    {
        let ids = [place.host.id("small", "front"), place.host.id("small", "ticker")];
        assert_eq!(&ids, before, "services were replaced before the switch, {when}");
        assert_eq!(place.host.page(PORT), format!("page {}", runs.number), "{when}");
    }
    let status = place.host.run(&["status", "--product", "small"]);
    known_end(&status);
    let installed = place.truth.running.is_some() && !operation.leaves_nothing();
    assert!(status.code == 0 || !installed && status.code == 2, "{when}\n{status}");
}

/// The program ended by a kill or by itself, with an exit code that is documented, and without a panic.
#[track_caller]
fn known_end(outcome: &Outcome) {
    assert!(matches!(outcome.code, 0 | 2..=9 | 130 | 137), "{outcome}");
    assert!(!outcome.stderr.contains("panicked"), "{outcome}");
}

/// No process of the installer outlives it, apart from a moment.
#[track_caller]
fn no_process(place: &Place, when: &str) {
    let program = programs::install();
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let left = place.processes(|command, exe| {
            exe == program || command.contains("/bin/fz ") || exe.ends_with("bin/fz")
        });
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "processes {left:?} of the installer run on, {when}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// All is as it was wished, and nothing else is there.
#[track_caller]
pub(crate) fn whole(place: &mut Place, when: &str) {
    let host = &place.host;
    place.assert_data(when);
    place.assert_neighbour(when);
    no_process(place, when);
    assert_eq!(names(&place.temporary()), [""; 0], "temporary files, {when}");
    let begun = begun(&host.root);
    assert!(begun.is_empty(), "files that were being written: {begun:?}, {when}");
    let product = host.root.join("products/small");
    let top = names(&product);
    let known: &[&str] = if place.truth.running.is_some() { &KNOWN } else { &KEPT };
    let unknown: Vec<&String> = top.iter().filter(|name| !known.contains(&name.as_str())).collect();
    assert!(unknown.is_empty(), "in {}: {unknown:?}, {when}", product.display());

    let mut images = BTreeSet::from(["small/front:99.0.0".to_owned(), "small/ticker:1".to_owned()]);
    let mut volumes = BTreeSet::from(["neighbour_ticks".to_owned()]);
    let mut networks: BTreeSet<String> =
        ["bridge", "host", "none", "neighbour_default"].map(str::to_owned).into();
    let mut containers: Vec<&str> = NEIGHBOURS.to_vec();
    if let Some(runs) = &place.truth.running {
        containers.extend(CONTAINERS);
        volumes.extend(["small_ticks", "small_store"].map(str::to_owned));
        let _ = networks.insert("small_default".to_owned());
        let state = host.state("small");
        assert_eq!(state["attempt"], Value::Null, "{when}");
        assert_eq!(state["current"]["version"], format!("{}.0.0", runs.number), "{when}");
        let mut kept = vec![&state["current"]];
        kept.extend(state["previous"].as_array().unwrap());
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        images.extend(kept.iter().map(|release| format!("small/front:{}", text(&release["version"]))));
        let releases: BTreeSet<String> = kept.iter().map(|release| text(&release["folder"])).collect();
        let found: BTreeSet<String> = names(&product.join("releases")).into_iter().collect();
        assert_eq!(found, releases, "releases, {when}");
        let bundles: BTreeSet<String> =
            kept.iter().map(|release| format!("{}.fz", text(&release["release"]))).collect();
        let found: BTreeSet<String> = names(&product.join("bundles")).into_iter().collect();
        assert_eq!(found, bundles, "retained bundles, {when}");
    } else if place.truth.data.is_some() {
        volumes.extend(["small_ticks", "small_store"].map(str::to_owned));
        assert!(!host.root.join("small/installed.json").exists(), "{when}");
    } else {
        assert_eq!(top, [""; 0], "{when}");
        assert!(!product.exists() && fs::symlink_metadata(host.root.join("small")).is_err(), "{when}");
    }
    settled(place, &containers, when);
    let list = |arguments: &[&str]| -> BTreeSet<String> {
        host.docker_text(arguments).lines().map(str::to_owned).collect()
    };
    let mut found = list(&["volume", "ls", "--format", "{{.Name}}"]);
    if place.truth.extra {
        let _ = found.remove("small_extra");
    }
    assert_eq!(found, volumes, "volumes, {when}");
    assert_eq!(list(&["network", "ls", "--format", "{{.Name}}"]), networks, "networks, {when}");
    assert_eq!(list(&["images", "--all", "--format", "{{.Repository}}:{{.Tag}}"]), images, "images, {when}");
    if let Some(runs) = place.truth.running.clone() {
        assert_eq!(host.page(PORT), format!("page {}", runs.number), "{when}");
        let inside = |path: &str| host.docker_text(&["exec", "small-front-1", "cat", path]);
        assert_eq!(inside("/www/banner.txt"), format!("site {}", runs.place), "{when}");
        let password = inside("/run/secrets/password");
        assert_eq!(password.len(), 24, "{when}");
        no_secret(host, &password, when);
        if let Some(data) = &mut place.truth.data {
            let known = data.password.get_or_insert_with(|| password.clone());
            assert_eq!(*known, password, "the password of the data has changed, {when}");
        }
        let _ = place.truth.last_password.insert(password);
    } else if let Some(password) = place.truth.last_password.take()
        && place.truth.data.is_none()
    {
        let holding = holding(&host.root, &password);
        assert!(holding.is_empty(), "the password is left in {holding:?}, {when}");
    }
}

/// The containers are these, and the product is well: at once, or soon after an engine has come back.
#[track_caller]
fn settled(place: &Place, containers: &[&str], when: &str) {
    let mut wanted = containers.to_vec();
    wanted.sort_unstable();
    let deadline = Instant::now() + Duration::from_secs(if place.is_shaken { 30 } else { 0 });
    loop {
        let found = place.host.containers();
        let status = place
            .truth
            .running
            .as_ref()
            .map(|_| place.host.run(&["status", "--check", "--product", "small"]));
        if found == wanted && status.as_ref().is_none_or(|status| status.code == 0) {
            return;
        }
        if Instant::now() > deadline {
            assert_eq!(found, wanted, "containers, {when}");
            panic!("{when}\n{}", status.unwrap());
        }
    }
}

/// Names in a folder; none where there is none.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for name in names(folder) {
        let path = folder.join(name);
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            files(&path, found);
        }
        found.push(path);
    }
}

/// Files and folders that were on their way.
fn begun(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    files(root, &mut found);
    let temporary = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with(".new-")
            || name.ends_with(".new.json")
            || name.ends_with(".partial")
            || name.contains("filling")
    };
    found.retain(temporary);
    found
}

/// Files that hold a text.
fn holding(root: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    files(root, &mut found);
    found.retain(|path| {
        fs::symlink_metadata(path).unwrap().is_file()
            && String::from_utf8_lossy(&fs::read(path).unwrap()).contains(text)
    });
    found
}

/// The password stands in the answers and in the files of releases alone, which only root reads, and in no container's
/// definition.
#[track_caller]
fn no_secret(host: &tests::host::Host, password: &str, when: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    for path in holding(&host.root, password) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let in_a_release = path.components().any(|part| part.as_os_str() == "releases");
        assert!(
            name.starts_with("answers.") || in_a_release,
            "the password is in {}, {when}",
            path.display()
        );
        if name.starts_with("answers.") {
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{} can be read, {when}", path.display());
        }
    }
    assert!(!host.docker_text(&["inspect", "small-front-1"]).contains(password), "{when}");
}
