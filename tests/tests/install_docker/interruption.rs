//! Ctrl-C, `kill -9` and what comes after: the old version runs, or the same command finishes the new.

use crate::PORT;
use fixtures::small_site::SmallSite;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};
use tests::bundle::{self, Built};
use tests::host::Host;
use tests::outcome::Outcome;

fn version(number: usize) -> SmallSite {
    SmallSite { version: format!("{number}.0.0"), message: format!("page {number}"), ..SmallSite::default() }
}

/// A version whose services take their time to be healthy, so that there is time to interrupt it.
fn slow(folder: &Path, number: usize) -> Built {
    bundle::changed(folder, &SmallSite { failing: true, ..version(number) }, bundle::fail_slowly)
}

fn is(line: &str, event: &str, stage: &str, text: &str) -> bool {
    let value: Value = serde_json::from_str(line).unwrap_or_default();
    value["event"] == event
        && value["stage"] == stage
        && value["text"].as_str().unwrap_or_default().contains(text)
}

#[test]
fn ctrl_c_while_services_start_brings_the_old_version_back() {
    let folder = tempfile::tempdir().unwrap();
    let one = bundle::small(folder.path(), &version(1));
    let two = slow(folder.path(), 2);
    let host = Host::docker("ctrl-c");
    let _ = host.install(&one);
    let ids = [host.id("small", "front"), host.id("small", "ticker")];
    let mut running = host.start(&[two.path()]);
    assert!(running.wait_for(|line| is(line, "detail", "starting", "waiting for sick")));
    running.signal(Signal::INT);
    let stopped = running.end().exits(130);
    assert_eq!(stopped.json()["error"]["message"], "stopped by Ctrl-C");
    let _ = stopped.says("stopping in good order; press Ctrl-C again to stop at once");
    assert_eq!(host.page(PORT), "page 1");
    assert_eq!(host.containers(), ["small-front-1 running", "small-ticker-1 running"]);
    assert_eq!(ids, [host.id("small", "front"), host.id("small", "ticker")]);
    assert_eq!(host.state("small")["attempt"], json!(null));
    let _ = host.run(&[one.path()]).succeeds().says("unchanged: nothing to do");
}

#[test]
fn ctrl_c_on_an_empty_host_leaves_nothing_running() {
    let folder = tempfile::tempdir().unwrap();
    let one = bundle::small(folder.path(), &SmallSite { ballast: 64 << 20, ..version(1) });
    let host = Host::docker("ctrl-c-first");
    let [trust, fingerprint] = one.trust();
    let mut running = host.start(&[trust, fingerprint, one.path()]);
    assert!(running.wait_for(|line| is(line, "begin", "importing", "")));
    running.signal(Signal::INT);
    let _ = running.end().exits(130);
    assert_eq!(host.containers(), [""; 0]);
    let _ = host.run(&[one.path()]).succeeds();
    assert_eq!(host.page(PORT), "page 1");
}

#[test]
fn a_second_ctrl_c_ends_at_once_and_the_next_run_tidies_up() {
    let folder = tempfile::tempdir().unwrap();
    let one = bundle::small(folder.path(), &version(1));
    let two = slow(folder.path(), 2);
    let host = Host::docker("ctrl-c-twice");
    let _ = host.install(&one);
    let mut running = host.start(&[two.path()]);
    assert!(running.wait_for(|line| is(line, "detail", "starting", "waiting for sick")));
    running.signal(Signal::INT);
    assert!(running.wait_for(|line| line.contains("again to stop at once")));
    running.signal(Signal::INT);
    let _ = running.end().exits(130);
    let _ = host.run(&[one.path()]).succeeds();
    assert_eq!(host.page(PORT), "page 1");
    assert_eq!(host.containers(), ["small-front-1 running", "small-ticker-1 running"]);
}

/// Both services run, exactly once, the page is the one of `version`, and nothing is under way.
fn assert_whole(host: &Host, number: usize, when: &str) {
    let containers = host.containers();
    assert_eq!(containers, ["small-front-1 running", "small-ticker-1 running"], "{when}");
    assert_eq!(host.page(PORT), format!("page {number}"), "{when}");
    let names = host.docker_text(&["images", "--digests", "--format", "{{.Repository}}"]);
    assert!(!names.contains("127.0.0.1"), "names of the installer's own registry were left, {when}: {names}");
    let begun = names_below(&host.root.join("small")).into_iter().find(|name| name.starts_with(".new-"));
    assert_eq!(begun, None, "a file on its way was left, {when}");
    let state = host.state("small");
    assert_eq!(state["current"]["version"], format!("{number}.0.0"), "{when}");
    assert_eq!(state["attempt"], json!(null), "{when}");
    for service in ["front", "ticker"] {
        let policy = host.inspect(&format!("small-{service}-1"), "{{.HostConfig.RestartPolicy.Name}}");
        assert_eq!(policy, "unless-stopped", "{when}");
    }
}

/// Names of all files and folders below `folder`.
fn names_below(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        names.push(entry.file_name().into_string().unwrap());
        if entry.file_type().unwrap().is_dir() {
            names.extend(names_below(&entry.path()));
        }
    }
    names
}

/// Runs `install`, killed right after its event number `kill_at`; whether it got that far.
fn killed_at(host: &Host, arguments: &[&str], kill_at: usize) -> (bool, String) {
    let mut running = host.start(arguments);
    let mut seen = 0;
    let mut last = String::new();
    let reached = running.wait_for(|line| {
        seen += 1;
        line.clone_into(&mut last);
        seen == kill_at
    });
    if reached {
        running.signal(Signal::KILL);
    }
    let _ = running.end().exits(if reached { 137 } else { 0 });
    (reached, last)
}

#[test]
fn killed_after_any_event_of_an_upgrade_the_same_command_finishes() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::docker("kill-upgrade");
    let _ = host.install(&bundle::small(folder.path(), &version(1)));
    let mut number = 1;
    for kill_at in 1.. {
        number += 1;
        let next = bundle::small(folder.path(), &version(number));
        let [trust, fingerprint] = next.trust();
        let (reached, event) = killed_at(&host, &[trust, fingerprint, next.path()], kill_at);
        let when = format!("killed after event {kill_at}: {event}");
        if !reached {
            assert!(kill_at > 12, "an upgrade has more than {kill_at} events");
            assert_whole(&host, number, &when);
            break;
        }
        let finished = host.run(&[next.path()]);
        assert_eq!(finished.code, 0, "{when}\n{finished}");
        assert_whole(&host, number, &when);
        let again = host.run(&[next.path()]).succeeds();
        assert!(again.stdout.contains("unchanged"), "{when}\n{again}");
    }
}

#[test]
fn killed_after_any_event_of_a_first_install_the_same_command_finishes() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::docker("kill-first");
    let built = bundle::small(folder.path(), &version(1));
    // Every second event: each stage is met, in half the time.
    let [trust, fingerprint] = built.trust();
    for kill_at in (1..).step_by(2) {
        let (reached, event) = killed_at(&host, &[trust, fingerprint, built.path()], kill_at);
        let when = format!("killed after event {kill_at}: {event}");
        let finished = host.run(&[trust, fingerprint, built.path()]);
        assert_eq!(finished.code, 0, "{when}\n{finished}");
        assert_whole(&host, 1, &when);
        if !reached {
            assert!(kill_at > 12, "an install has more than {kill_at} events");
            break;
        }
        let _ = host.run(&["uninstall", "--yes", "--volumes"]).succeeds();
    }
}

#[test]
fn killed_after_any_event_of_a_reconfiguration_the_same_command_finishes() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::docker("kill-answers");
    let built = bundle::small(folder.path(), &version(1));
    let _ = host.install(&built);
    let ticker = host.id("small", "ticker");
    for kill_at in 1.. {
        let answer = format!("site_name=place-{kill_at}");
        let arguments = ["reconfigure", "--yes", "--set", &answer];
        let (reached, event) = killed_at(&host, &arguments, kill_at);
        let when = format!("killed after event {kill_at}: {event}");
        let finished = host.run(&arguments);
        assert_eq!(finished.code, 0, "{when}\n{finished}");
        assert_whole(&host, 1, &when);
        let banner = host.docker_text(&["exec", "small-front-1", "cat", "/www/banner.txt"]);
        assert_eq!(banner, format!("site place-{kill_at}"), "{when}");
        assert_eq!(host.id("small", "ticker"), ticker, "{when}: it was not touched");
        if !reached {
            assert!(kill_at > 8, "a reconfiguration has more than {kill_at} events");
            break;
        }
    }
}

#[test]
fn what_serves_after_a_change_was_cut_off_is_seen_and_can_be_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::docker("cut-off");
    let _ = host.install(&bundle::small(folder.path(), &version(1)));
    let mut running = host.start(&["reconfigure", "--yes", "--set", "site_name=north"]);
    assert!(running.wait_for(|line| is(line, "detail", "starting", "stopping front")));
    let replaced = || host.containers().into_iter().find(|name| name.starts_with("small-front-1.old-"));
    let deadline = Instant::now() + Duration::from_secs(10);
    while replaced().is_none() {
        assert!(Instant::now() < deadline, "{:?}", host.containers());
    }
    running.signal(Signal::KILL);
    let _ = running.end().exits(137);
    // Killed a moment earlier, it would still run.
    if !host.containers().iter().any(|name| name.starts_with("small-front-1 ")) {
        let _ = host.docker_text(&["start", replaced().unwrap().split(' ').next().unwrap()]);
    }
    let status = host.run(&["status"]).succeeds();
    let _ = status.says("`fz reconfigure --yes` finishes it").says("front            running");
    let _ = host.run(&["status", "--check"]).exits(8).says("a change is not finished");
    let _ = host.run(&["logs", "front"]).succeeds();
    let _ = host.run(&["start"]).exits(7).says("a change of the answers to").says("fz reconfigure --yes");
    let _ = host.run(&["stop"]).succeeds().says("small is stopped");
    assert!(!host.containers().iter().any(|name| name.contains("running")), "{:?}", host.containers());
    let finished = host.run(&["reconfigure", "--yes"]).succeeds();
    let _ = finished.says_once("answers of the interrupted change are used again: site_name");
    assert_whole(&host, 1, "after a stop in between");
    let _ = host.run(&["status", "--check"]).succeeds();
}

#[test]
fn killed_on_the_way_to_another_network_the_same_command_finishes() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::docker("kill-network");
    let built = bundle::changed(folder.path(), &version(1), |site| {
        let networks = "volumes:\n  ticks:\nnetworks:\n  default: { labels: { place: \"${site_name}\" } }\n";
        bundle::replace(&site.join("compose.yaml"), "volumes:\n  ticks:\n", networks);
    });
    let _ = host.install(&built);
    for kill_at in (1..).step_by(3) {
        let answer = format!("site_name=place-{kill_at}");
        let arguments = ["reconfigure", "--yes", "--set", &answer];
        let (reached, event) = killed_at(&host, &arguments, kill_at);
        let when = format!("killed after event {kill_at}: {event}");
        let finished = host.run(&arguments);
        assert_eq!(finished.code, 0, "{when}\n{finished}");
        assert_whole(&host, 1, &when);
        let networks = ["network", "ls", "--filter", "label=com.docker.compose.project=small"];
        let labels = [&networks[..], &["--format", "{{.Label \"place\"}}"]].concat();
        assert_eq!(host.docker_text(&labels), format!("place-{kill_at}"), "{when}");
        if !reached {
            assert!(kill_at > 15, "a reconfiguration has more than {kill_at} events");
            break;
        }
    }
}

#[test]
fn killed_in_the_middle_of_an_upgrade_the_old_version_can_be_asked_for_instead() {
    let folder = tempfile::tempdir().unwrap();
    let one = bundle::small(folder.path(), &version(1));
    let host = Host::docker("kill-back");
    let _ = host.install(&one);
    for (number, text) in [(2, "creating small-front-1"), (3, "starting front"), (4, "waiting for front")] {
        let next = bundle::small(folder.path(), &version(number));
        let mut running = host.start(&[next.path()]);
        assert!(running.wait_for(|line| is(line, "detail", "starting", text)), "{text}");
        running.signal(Signal::KILL);
        let _ = running.end().exits(137);
        let _ = host.run(&["status"]).succeeds().says("was interrupted: run it again to finish it");
        let back = host.run(&[one.path()]).succeeds();
        let _ = back
            .says(&format!("the install of {number}.0.0-"))
            .says("was interrupted: it is rolled back first");
        assert_whole(&host, 1, text);
    }
}

#[test]
fn an_uninstall_removes_what_kills_before_the_first_record_and_after_the_last_have_left() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::small(folder.path(), &version(1));
    let host = Host::docker("bare");
    let product = host.root.join("products/small");
    let [trust, fingerprint] = built.trust();
    let mut running = host.start(&[trust, fingerprint, built.path()]);
    while !product.join("lock").exists() {
        assert!(running.runs_until(Instant::now() + Duration::from_millis(1)), "it has ended");
    }
    running.signal(Signal::KILL);
    let _ = running.end().exits(137);
    assert!(!product.join("installed.json").exists(), "it had looked at nothing yet");
    let uninstall = ["uninstall", "--yes", "--product", "small"];
    let _ = host.run(&uninstall).exits(2).says("small is not installed");
    assert!(!product.exists());

    // As a kill leaves it that comes once the record is gone.
    std::fs::create_dir_all(&product).unwrap();
    std::os::unix::fs::symlink("products/small", host.root.join("small")).unwrap();
    let _ = host.run(&uninstall).exits(2).says("small is not installed");
    assert!(!product.exists() && std::fs::symlink_metadata(host.root.join("small")).is_err());
}

#[test]
fn an_uninstall_that_is_killed_among_its_files_leaves_no_part_that_is_taken_for_a_release() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::docker("half");
    let _ = host.install(&bundle::small(folder.path(), &version(1)));
    let releases = host.root.join("small/releases");
    for (number, call) in [(2, "4"), (3, "8"), (4, "12")] {
        let built = bundle::small(folder.path(), &version(number));
        let _ = host.run(&[built.path()]).succeeds();
        let text = |release: &Value| release["folder"].as_str().unwrap().to_owned();
        let current = releases.join(text(&host.state("small")["current"]));
        let whole = tests::snapshot::files(&current);
        // Killed as it removes one of its files.
        let mut command = host.command(&tests::programs::stock("strace"));
        command.args(["--follow-forks", "--quiet=all", "--output=/dev/null"]);
        command.arg("--trace=unlinkat").arg(format!("--inject=unlinkat:signal=KILL:when={call}"));
        command.arg(tests::programs::install()).args(["uninstall", "--yes"]);
        let _ = Outcome::of(&mut command).exits(137);
        let _ = host.run(&[built.path()]).succeeds();
        assert_whole(&host, number, call);
        assert_eq!(tests::snapshot::files(&current), whole, "{call}");
        // A release of which a part is left is none to go back to.
        let state = host.state("small");
        let mut kept: Vec<String> = state["previous"].as_array().unwrap().iter().map(text).collect();
        kept.push(text(&state["current"]));
        kept.sort();
        let entries = std::fs::read_dir(&releases).unwrap();
        let mut found: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        found.sort();
        assert_eq!(found, kept, "{call}");
        let images = host.docker_text(&["images", "--format", "{{.Repository}}"]);
        let fronts = images.lines().filter(|name| *name == "small/front").count();
        assert_eq!(fronts, kept.len(), "{call}");
    }
}

#[test]
fn an_uninstall_that_is_stopped_is_finished_by_the_same_command() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::small(folder.path(), &SmallSite::default());
    let host = Host::docker("unstop");
    let _ = host.install(&built);
    let mut running = host.start(&["uninstall", "--yes", "--json"]);
    assert!(running.wait_for(|line| line.contains("\"detail\"") && line.contains("removing")));
    running.signal(Signal::INT);
    let stopped = running.end().exits(130);
    assert!(stopped.json()["error"]["message"].as_str().unwrap().contains("removed in part"));
    assert!(host.root.join("small/installed.json").is_file(), "what is needed to go on is kept");
    let _ = host.run(&["uninstall", "--yes", "--volumes"]).succeeds();
    assert!(!host.root.join("small").exists());
}

/// Names below a folder of the product `small` that do not begin with `1.0.0-`.
fn not_of_version_1(host: &Host, folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(host.root.join("small").join(folder)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.starts_with("1.0.0-")).collect()
}

#[test]
fn nothing_of_an_attempt_that_was_undone_is_left() {
    const ANSWER: &str = "a-name-of-the-attempt";
    let folder = tempfile::tempdir().unwrap();
    let one = bundle::small(folder.path(), &version(1));
    let two = slow(folder.path(), 2);
    let host = Host::docker("no-trace");
    let _ = host.install(&one);
    let answer = format!("site_name={ANSWER}");
    let images = || -> std::collections::BTreeSet<String> {
        let text = host.docker_text(&["images", "--all", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"]);
        text.lines().map(str::to_owned).collect()
    };
    let before = images();
    for way in ["it fails", "it is killed, and the old one is asked for"] {
        if way == "it fails" {
            let failed = host.run(&["--timeout", "2", "--set", &answer, two.path()]).exits(8);
            let _ = failed.says("1.0.0-").says("runs again, as before");
        } else {
            let mut running = host.start(&["--set", &answer, two.path()]);
            assert!(running.wait_for(|line| is(line, "detail", "starting", "waiting for sick")));
            assert_ne!(not_of_version_1(&host, "releases"), [""; 0], "the attempt has laid out its files");
            running.signal(Signal::KILL);
            let _ = running.end().exits(137);
            // An earlier Ferry was killed in the middle of a write, too.
            std::fs::write(host.root.join("small/.new-aB3dE6"), ANSWER).unwrap();
            let _ = host.run(&[one.path()]).succeeds().says("was interrupted: it is rolled back first");
        }
        assert_whole(&host, 1, way);
        assert_eq!(images(), before, "images, when {way}");
        for kind in ["releases", "bundles"] {
            assert_eq!(not_of_version_1(&host, kind), [""; 0], "{kind}, when {way}");
        }
        // What it rendered is gone with its folder; its answers are kept for the next time, root's alone.
        let mut find = tests::programs::command(tests::programs::stock("grep"));
        find.args(["--recursive", "--files-with-matches", "--fixed-strings", ANSWER])
            .arg(host.root.join("small"));
        let found = Outcome::of(&mut find);
        let rendered = |line: &&str| !line.contains("/answers.");
        assert_eq!(found.stdout.lines().filter(rendered).collect::<Vec<_>>(), [""; 0], "{way}");
    }
}
