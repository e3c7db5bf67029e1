//! Bundles and hosts of 0.1.0, also half done, in the hands of this program: `fixtures/golden/v1`. Results
//! are looked at as users and services see them, since files of the host's own may get other names.

mod folders;
mod moving;

use fixtures::golden;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use tests::host::Host;
use tests::outcome::Outcome;
use tests::programs;
use tests::running::Running;

/// The site's answers at the time of host.tar.
const ANSWERS: [&str; 8] = [
    "--set",
    "site_name=North-7",
    "--set",
    "licence=L-golden-1",
    "--set",
    "cameras=[gate, roof]",
    "--set",
    "level=5",
];

/// The socket of Docker unless told otherwise: the engine that the golden folders were made on.
const USUAL_SOCKET: &str = "unix:///var/run/docker.sock";

/// Containers of the site but `web`: neither 2.0.0 nor another name of the site changes them.
const UNTOUCHED: [&str; 4] = ["plain-db-1", "plain-prepare-1", "plain-worker-1", "plain-worker-2"];

const ALL_RUN: [&str; 5] = [
    "plain-db-1 running",
    "plain-prepare-1 exited",
    "plain-web-1 running",
    "plain-worker-1 running",
    "plain-worker-2 running",
];

/// Copies of the golden bundles, and the program of 0.1.0, on a host.
struct Site {
    host: Host,
    old: PathBuf,
    folder: TempDir,
    /// Programs find the engine where Docker usually listens.
    usual_socket: bool,
}

impl Site {
    fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for bundle in golden::BUNDLES {
            golden::copy(bundle, folder.path()).unwrap();
        }
        let old = golden::installer(folder.path()).unwrap();
        Self { host: Host::docker(name), old, folder, usual_socket: false }
    }

    /// A host on which 0.1.0 has installed plain.fz.
    fn installed(name: &str) -> Self {
        let site = Self::new(name);
        let fingerprint = golden::fingerprint().unwrap();
        let bundle = site.bundle("plain.fz");
        let _ = site.old(&[&ANSWERS[..], &["--trust", &fingerprint, &bundle]].concat()).succeeds();
        site
    }

    fn bundle(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// A program, to run on the host.
    fn command(&self, program: &Path) -> Command {
        if !self.usual_socket {
            return self.host.command(program);
        }
        let mut command = self.host.command(&programs::stock("unshare"));
        command.args(["--mount", "--propagation=private", "--", "/bin/sh", "-c"]);
        command.arg("mount -t tmpfs tmpfs /run && ln -s \"$0\" /run/docker.sock && exec \"$@\"");
        command.arg(self.host.engine.socket()).arg(program);
        command.env("DOCKER_HOST", USUAL_SOCKET);
        command
    }

    /// Runs the program of 0.1.0.
    #[track_caller]
    fn old(&self, arguments: &[&str]) -> Outcome {
        Outcome::of(self.command(&self.old).args(arguments))
    }

    /// Runs this program.
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Outcome {
        Outcome::of(self.command(&programs::install()).args(arguments))
    }

    /// Installs a bundle with this program, which knows neither the key nor answers but those that are kept.
    #[track_caller]
    fn install(&self, bundle: &str) -> Outcome {
        self.run(&["--no-input", &self.bundle(bundle)]).succeeds()
    }

    /// Installs a bundle of an older version.
    #[track_caller]
    fn step_back(&self, bundle: &str) -> Outcome {
        self.run(&["--no-input", "--allow-downgrade", &self.bundle(bundle)]).succeeds()
    }

    /// Kills the program of 0.1.0 once it reports a step of this kind.
    #[track_caller]
    fn killed(&self, arguments: &[&str], stage: &str, text: &str) {
        let mut running = Running::start(self.command(&self.old).arg("--json").args(arguments));
        let reached = running.wait_for(|line| {
            let event: Value = serde_json::from_str(line).unwrap_or_default();
            event["stage"] == stage && event["text"].as_str().unwrap_or_default().contains(text)
        });
        assert!(reached, "no `{text}` of {stage}");
        running.signal(Signal::KILL);
        let _ = running.end().exits(137);
    }

    /// Text of a file in a container of the site.
    #[track_caller]
    fn shows(&self, service: &str, file: &str) -> String {
        self.host.docker_text(&["exec", &format!("plain-{service}-1"), "/tiny", "show", file])
    }

    #[track_caller]
    fn environment(&self, service: &str, name: &str) -> String {
        self.host.docker_text(&["exec", &format!("plain-{service}-1"), "/tiny", "env", name])
    }

    /// The generated password: as the database has it, which is also what the template has made of it.
    #[track_caller]
    fn password(&self) -> String {
        let password = self.shows("db", "/run/secrets/db_password");
        assert_eq!(password.len(), 24);
        assert!(self.shows("web", "/etc/site.conf").contains(&format!("password {password}\n")));
        password
    }

    /// Id and start of each container: equal where it has run on.
    #[track_caller]
    fn runs(&self, containers: &[&str]) -> Vec<String> {
        let format = "{{.Name}} {{.Id}} {{.State.StartedAt}}";
        containers.iter().map(|name| self.host.inspect(name, format)).collect()
    }

    #[track_caller]
    fn status(&self) -> Value {
        self.run(&["status", "--json"]).succeeds().json()
    }

    /// All containers run, of this version, and nothing is under way.
    #[track_caller]
    fn assert_whole(&self, version: &str) {
        assert_eq!(self.host.containers(), ALL_RUN);
        let status = self.run(&["status", "--check", "--json"]).succeeds().json();
        assert_eq!(status["current"]["version"], version, "{status}");
        assert_eq!((&status["interrupted"], &status["missing"]), (&Value::Null, &json!([])), "{status}");
        assert_eq!(self.shows("web", "/page.txt"), format!("page of web {version}"));
        assert_eq!(self.shows("db", "/data/seed.txt"), "seeded once");
    }

    /// Everything goes, also what only 0.1.0 has made.
    #[track_caller]
    fn assert_uninstalls(&self) {
        let _ = self.run(&["uninstall", "--yes", "--volumes"]).succeeds();
        assert_eq!(self.host.containers(), [""; 0]);
        for list in [&["images", "--all", "--quiet"][..], &["volume", "ls", "--quiet"]] {
            assert_eq!(self.host.docker_text(list), "", "{list:?}");
        }
        let networks = self.host.docker_text(&["network", "ls", "--format", "{{.Name}}"]);
        assert!(!networks.contains("plain"), "{networks}");
        assert!(!self.host.root.join("plain").exists());
    }
}

#[test]
fn every_golden_bundle_is_installed_by_this_program() {
    let site = Site::new("golden-all");
    let fingerprint = golden::fingerprint().unwrap();
    for bundle in golden::BUNDLES {
        let file = site.bundle(bundle);
        let _ = site.run(&["verify", "--trust", &fingerprint, &file]).succeeds();
        let arguments = ["--no-input", "--trust", &fingerprint, &file];
        let licence: &[&str] = if bundle.starts_with("plain") { &["--set", "licence=L-1"] } else { &[] };
        let _ = site.run(&[&arguments[..], licence].concat()).succeeds();
        let _ = site.run(&["status", "--check"]).succeeds();
        let again = site.run(&[&file]).succeeds();
        let _ = again.says("unchanged: nothing to do");
        let _ = site.run(&["uninstall", "--yes", "--volumes"]).succeeds();
    }
    assert_eq!(site.host.containers(), [""; 0]);
    assert_eq!(site.host.docker_text(&["images", "--all", "--quiet"]), "");
}

#[test]
fn what_0_1_0_installed_is_upgraded_and_what_is_as_before_runs_on() {
    let site = Site::installed("golden-upgrade");
    let (password, conf) = (site.password(), site.shows("web", "/etc/site.conf"));
    let before = site.runs(&UNTOUCHED);
    let web = site.host.id("plain", "web");
    let _ = site.host.docker_text(&["exec", "plain-db-1", "/tiny", "copy", "/etc/passwd", "/data/mine"]);

    let report = site.run(&["--json", "--no-input", &site.bundle("plain-2.fz")]).succeeds().json();
    assert_eq!(report["report"]["replaced"], json!(["web"]), "{report}");
    site.assert_whole("2.0.0");
    assert_eq!(site.runs(&UNTOUCHED), before, "a service that is as before was made anew or restarted");
    assert_ne!(site.host.id("plain", "web"), web);
    assert_eq!(site.password(), password);
    assert_eq!(site.shows("web", "/etc/site.conf"), conf);
    assert!(conf.contains("site North-7\n") && conf.contains("level 5\n") && conf.contains("camera roof"));
    assert_eq!(site.environment("web", "SITE"), "North-7");
    assert_eq!(site.environment("web", "COLOUR"), "green");
    assert_eq!(site.environment("db", "LEVEL"), "5");
    assert_eq!(site.shows("db", "/etc/licence"), "L-golden-1");
    assert!(site.shows("db", "/data/mine").contains("nobody"), "data is lost");
    assert_eq!(site.shows("web", "/uploads/log"), "start\nstop\nstart", "the data folder is another one");
    assert!(site.shows("web", "/uploads/stopping").contains("site North-7"), "the hook before the stop");

    // And back to the release that 0.1.0 installed.
    let _ = site.step_back("plain.fz");
    site.assert_whole("1.0.0");
    assert_eq!(site.runs(&UNTOUCHED), before);
    assert_eq!(site.password(), password);
    site.assert_uninstalls();
}

#[test]
fn what_0_1_0_installed_is_the_same_bundle_and_there_is_nothing_to_do() {
    let site = Site::installed("golden-same");
    let all = ["plain-web-1", UNTOUCHED[0], UNTOUCHED[1], UNTOUCHED[2], UNTOUCHED[3]];
    let before = site.runs(&all);
    let _ = site.install("plain.fz").says("unchanged: nothing to do");
    assert_eq!(site.runs(&all), before);
    let _ = site.run(&["reconfigure", "--yes", "--set", "level=5"]).succeeds().says("nothing to do");
    assert_eq!(site.runs(&all), before);
}

#[test]
fn what_0_1_0_installed_is_reconfigured_stopped_started_and_uninstalled() {
    let site = Site::installed("golden-everyday");
    site.assert_whole("1.0.0");
    let before = site.runs(&UNTOUCHED);
    let (web, password) = (site.host.id("plain", "web"), site.password());
    let _ = site.run(&["status"]).succeeds().says("plain 1.0.0").says("worker/2         running");
    let list = site.run(&["secret", "list"]).succeeds();
    let _ = list.says("generated, 24 characters").does_not_say(&password);

    // A site of this name never becomes healthy: the container that 0.1.0 has made runs again.
    let _ = site.run(&["reconfigure", "--yes", "--set", "site_name=Bad-1"]).exits(8);
    site.assert_whole("1.0.0");
    assert_eq!(site.host.id("plain", "web"), web);
    assert!(site.shows("web", "/etc/site.conf").starts_with("site North-7\n"));

    let _ = site.run(&["reconfigure", "--yes", "--set", "site_name=South-8"]).succeeds();
    site.assert_whole("1.0.0");
    assert_ne!(site.host.id("plain", "web"), web);
    assert_eq!(site.runs(&UNTOUCHED), before);
    assert_eq!(site.password(), password);
    assert!(site.shows("web", "/etc/site.conf").starts_with("site South-8\n"));

    let _ = site.run(&["stop"]).succeeds();
    assert!(!site.host.containers().iter().any(|name| name.contains("running")), "it still runs");
    let _ = site.run(&["start"]).succeeds();
    site.assert_whole("1.0.0");
    assert_eq!(site.password(), password);
    site.assert_uninstalls();
}

/// Steps of an upgrade by 0.1.0 that lie in its phase `switching`.
const SWITCHING: [&str; 3] = ["making plain-web-1", "starting web", "waiting for web"];

#[test]
fn an_upgrade_that_0_1_0_was_killed_in_is_finished() {
    for text in SWITCHING {
        let site = Site::installed("golden-finish");
        let (before, password) = (site.runs(&UNTOUCHED), site.password());
        site.killed(&["--no-input", &site.bundle("plain-2.fz")], "starting", text);
        let _ = site.run(&["status"]).succeeds().says("was interrupted: run it again to finish it");
        let _ = site.install("plain-2.fz");
        site.assert_whole("2.0.0");
        assert_eq!((site.runs(&UNTOUCHED), site.password()), (before, password), "{text}");
        let _ = site.install("plain-2.fz").says("unchanged: nothing to do");
    }
}

#[test]
fn an_upgrade_that_0_1_0_was_killed_in_is_undone() {
    for (number, text) in SWITCHING.into_iter().enumerate() {
        // What this program has undone is no longer 0.1.0's to change.
        let site = Site::installed(&format!("golden-undo-{number}"));
        let (before, password) = (site.runs(&UNTOUCHED), site.password());
        let web = site.host.id("plain", "web");
        site.killed(&["--no-input", &site.bundle("plain-2.fz")], "starting", text);
        let undone = site.install("plain.fz").says("was interrupted: it is rolled back first");
        let at = |text: &str| undone.stderr.find(text).unwrap_or_else(|| panic!("`{text}`\n{undone}"));
        assert!(
            at("is an older Ferry") < at("it is rolled back first"),
            "before anything is recorded\n{undone}"
        );
        site.assert_whole("1.0.0");
        assert_eq!(site.host.id("plain", "web"), web, "{text}: the container that ran before runs again");
        assert_eq!((site.runs(&UNTOUCHED), site.password()), (before, password), "{text}");
        site.assert_uninstalls();
    }
}

#[test]
fn a_reconfiguration_that_0_1_0_was_killed_in_is_finished() {
    let site = Site::installed("golden-answers");
    let (before, password) = (site.runs(&UNTOUCHED), site.password());
    site.killed(&["reconfigure", "--yes", "--set", "site_name=South-8"], "starting", "starting web");
    let _ = site.run(&["status"]).succeeds().says("`fz reconfigure --yes` finishes it");
    let finished = site.run(&["reconfigure", "--yes"]).succeeds();
    let _ = finished.says_once("answers of the interrupted change are used again: site_name");
    site.assert_whole("1.0.0");
    assert_eq!((site.runs(&UNTOUCHED), site.password()), (before, password));
    assert!(site.shows("web", "/etc/site.conf").starts_with("site South-8\n"));
}

#[test]
fn a_first_install_that_0_1_0_was_killed_in_is_finished() {
    let fingerprint = golden::fingerprint().unwrap();
    for (stage, text) in [("importing", ""), ("starting", "starting db"), ("starting", "waiting for web")] {
        let site = Site::new("golden-first");
        let bundle = site.bundle("plain.fz");
        site.killed(&[&ANSWERS[..], &["--trust", &fingerprint, &bundle]].concat(), stage, text);
        let _ = site.run(&[&["--trust", &fingerprint, &bundle], &ANSWERS[..]].concat()).succeeds();
        site.assert_whole("1.0.0");
        assert!(site.shows("web", "/etc/site.conf").starts_with("site North-7\n"), "{stage} {text}");
    }
}

#[test]
fn the_program_of_0_1_changes_nothing_once_a_newer_one_has() {
    let site = Site::installed("golden-newer");
    let resident = site.host.root.join("bin/fz");
    assert!(site.old(&["status"]).succeeds().stdout.starts_with("plain 1.0.0"));
    let before = std::fs::read(&resident).unwrap();
    // A look changes nothing: 0.1.0 still manages the product.
    let _ = site.run(&["status"]).succeeds();
    let _ = site.run(&["--no-input", "--dry-run", &site.bundle("plain-2.fz")]).succeeds();
    assert!(site.host.root.join("plain/state.json").is_file());
    assert_eq!(std::fs::read(&resident).unwrap(), before);

    let upgraded = site.install("plain-2.fz");
    let _ = upgraded.says("is an older Ferry that cannot read what this one records");
    let program = std::fs::read(programs::install()).unwrap();
    assert!(std::fs::read(&resident).unwrap() == program, "the resident program is this one");
    assert!(Outcome::of(&mut site.command(&resident)).stdout.is_empty());
    let _ = Outcome::of(site.command(&resident).arg("status")).succeeds().says("plain 2.0.0");

    let whole = site.host.snapshot();
    let refused = site.old(&["--no-input", &site.bundle("plain.fz")]);
    assert_ne!(refused.code, 0);
    let _ = refused.says("state.json is a folder");
    for command in [&["status"][..], &["stop"], &["reconfigure", "--yes", "--set", "level=1"]] {
        let refused = site.old(command);
        assert_ne!(refused.code, 0, "{command:?}\n{refused}");
    }
    let refused = site.old(&["uninstall", "--yes", "--volumes", "--product", "plain"]);
    assert_ne!(refused.code, 0, "{refused}");
    tests::snapshot::assert_unchanged(&whole, &site.host.snapshot(), "the program of 0.1.0");
}

#[test]
fn a_record_of_a_newer_format_is_refused_and_stays() {
    let site = Site::installed("golden-future");
    let _ = site.install("plain-2.fz");
    let product = site.host.root.join("plain");
    for name in ["installed.json", "answers.json", "steps.jsonl"] {
        let path = product.join(name);
        let kept = std::fs::read_to_string(&path).unwrap();
        let newer =
            kept.replacen("\"format\": 2", "\"format\": 3", 1).replacen("\"format\":2", "\"format\":3", 1);
        assert_ne!(newer, kept, "{name}");
        std::fs::write(&path, &newer).unwrap();
        let before = site.host.snapshot();
        let refused = site.run(&["reconfigure", "--yes", "--set", "level=2"]).exits(7);
        let _ = refused.says("in format 3; this program reads formats up to 2").says(name);
        tests::snapshot::assert_unchanged(&before, &site.host.snapshot(), name);
        std::fs::write(&path, &kept).unwrap();
    }
    let _ = site.run(&["reconfigure", "--yes", "--set", "level=2"]).succeeds();
}
