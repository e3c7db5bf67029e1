//! Services that are not well: what is said of them, what mends them, and when their failure is final.

use crate::PORT;
use fixtures::small_site::SmallSite;
use serde_json::json;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use tests::bundle::{self, Built};
use tests::host::Host;

/// Ticks unless a file in its volume keeps it from it.
const TICKS: &str = "test -e /data/broken && exit 7; exec /bin/tick";

fn version(number: usize) -> SmallSite {
    SmallSite { version: format!("{number}.0.0"), message: format!("page {number}"), ..SmallSite::default() }
}

/// The small site with this command for `ticker`.
fn ticking(folder: &Path, site: &SmallSite, command: &str) -> Built {
    bundle::changed(folder, site, |source| {
        let command = format!("    image: small/ticker:1\n    command: [/bin/sh, -c, {command:?}]\n");
        bundle::replace(&source.join("compose.yaml"), "    image: small/ticker:1\n", &command);
    })
}

/// Waits until the engine says this of a container.
#[track_caller]
fn wait_until(host: &Host, name: &str, format: &str, wanted: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while host.inspect(name, format) != wanted {
        assert!(Instant::now() < deadline, "{name} is not {wanted}: {:?}", host.containers());
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// `ticker` ends again and again from now on.
fn break_ticker(host: &Host) {
    let _ = host.docker_text(&["exec", "small-ticker-1", "/bin/sh", "-c", ": >/data/broken"]);
    let _ = host.docker_text(&["restart", "--time", "1", "small-ticker-1"]);
    wait_until(host, "small-ticker-1", "{{.State.Restarting}} {{ge .RestartCount 4}}", "true true");
}

fn status_of(host: &Host, replica: &str) -> serde_json::Value {
    let status = host.run(&["status", "--json"]).succeeds().json();
    let services = status["services"].as_array().unwrap();
    services.iter().find(|service| service["place"] == replica).unwrap().clone()
}

#[test]
fn a_service_that_ends_again_and_again_is_replaced_by_its_cure_and_put_back_where_that_fails() {
    let folder = tempfile::tempdir().unwrap();
    let one = ticking(folder.path(), &version(1), TICKS);
    let sick = SmallSite { failing: true, ..version(2) };
    let worse = ticking(folder.path(), &sick, "echo 2; exec /bin/tick");
    let cure = ticking(folder.path(), &version(3), "/bin/busybox rm -f /data/broken; exec /bin/tick");
    let host = Host::docker("cure");
    let _ = host.install(&one);
    break_ticker(&host);
    let id = host.id("small", "ticker");

    // An update for another service fails: the old one is back, as sick as it was, and nobody says otherwise.
    let failed = host.run(&["--timeout", "20", worse.path()]).exits(8);
    let failed = failed.says("service sick: ").does_not_say("runs again, as before");
    assert_eq!(host.id("small", "ticker"), id, "{failed}");
    assert_eq!(host.inspect("small-ticker-1", "{{.HostConfig.RestartPolicy.Name}}"), "unless-stopped");
    assert_eq!(host.page(PORT), "page 1");

    break_ticker_again(&host);
    let _ = host.run(&[cure.path()]).succeeds().says("replaced   front, ticker");
    assert_eq!(host.containers(), ["small-front-1 running", "small-ticker-1 running"]);
    assert_eq!(host.page(PORT), "page 3");
    let _ = host.run(&["status", "--check"]).succeeds();
}

/// The same, where its volume may have been mended meanwhile.
fn break_ticker_again(host: &Host) {
    let volume = host.inspect("small_ticks", "{{.Mountpoint}}");
    fs::write(Path::new(&volume).join("broken"), "").unwrap();
    let _ = host.docker_text(&["restart", "--time", "1", "small-ticker-1"]);
    wait_until(host, "small-ticker-1", "{{.State.Restarting}} {{ge .RestartCount 4}}", "true true");
}

#[test]
fn nothing_to_do_is_said_only_where_all_is_well() {
    let folder = tempfile::tempdir().unwrap();
    let one = ticking(folder.path(), &version(1), TICKS);
    let host = Host::docker("not-well");
    let _ = host.install(&one);
    let _ = host.run(&[one.path()]).succeeds().says("unchanged: nothing to do");

    // It ends again and again, for a reason that lies in its data.
    break_ticker(&host);
    let plan = host.run(&["--dry-run", one.path()]).succeeds();
    let _ = plan.says("  service   ticker: make anew (it keeps restarting)");
    let failed = host.run(&[one.path()]).exits(8);
    let _ = failed
        .says("warning: service ticker keeps restarting: its container is made anew")
        .says("service ticker: keeps restarting")
        .does_not_say("as before")
        .does_not_say("nothing to do");
    // An engine waits longer before each restart, up to a minute; a stop ends that.
    let _ = host.run(&["stop"]).succeeds();
    let _ = host.run(&["start"]).exits(8).says("service ticker");
    let _ = host.run(&["reconfigure", "--yes"]).exits(8).does_not_say("nothing to do");
    // The reason goes away.
    let volume = host.inspect("small_ticks", "{{.Mountpoint}}");
    fs::remove_file(Path::new(&volume).join("broken")).unwrap();
    let _ = host.run(&[one.path()]).succeeds();
    let _ = host.run(&[one.path()]).succeeds().says("unchanged: nothing to do");

    // A page that somebody took out of the container makes it unhealthy: a new container has it.
    let _ = host.docker_text(&["exec", "small-front-1", "mv", "/www/index.html", "/www/gone.html"]);
    wait_until(&host, "small-front-1", "{{.State.Health.Status}}", "unhealthy");
    let mended = host.run(&[one.path()]).succeeds();
    let _ = mended.says("service front is unhealthy: its container is made anew").says("made anew  front");
    assert_eq!(host.page(PORT), "page 1");

    let _ = host.docker_text(&["pause", "small-ticker-1"]);
    let mended = host.run(&[one.path()]).succeeds();
    let _ = mended.says("service ticker is paused: it is started").says("started    ticker");
    let _ = host.docker_text(&["pause", "small-ticker-1"]);
    let _ = host.run(&["start"]).succeeds().does_not_say("all services run already");
    assert_eq!(status_of(&host, "ticker")["state"], "running");
    // Its check failed while it was paused.
    wait_until(&host, "small-ticker-1", "{{.State.Health.Status}}", "healthy");

    let _ = host.docker_text(&["stop", "--time", "1", "small-front-1"]);
    let mended = host.run(&["--json", one.path()]).succeeds();
    assert_eq!(mended.json()["plan"]["ailments"], json!({ "front": "stopped" }));
    let _ = host.docker_text(&["rm", "--force", "small-front-1"]);
    let mended = host.run(&[one.path()]).succeeds();
    let _ = mended.says("service front has no container any more: its container is made anew");
    let _ = host.run(&[one.path()]).succeeds().says("unchanged: nothing to do");
}

#[test]
fn a_rollback_says_that_a_service_which_did_not_run_does_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let one = bundle::small(folder.path(), &version(1));
    let two = bundle::small(folder.path(), &SmallSite { failing: true, ..version(2) });
    let host = Host::docker("not-as-before");
    let _ = host.install(&one);
    let _ = host.run(&["stop"]).succeeds();
    let failed = host.run(&[two.path()]).exits(8).does_not_say("runs again, as before");
    let _ = failed.says("is put back as it was: front does not run");
}

#[test]
fn an_update_for_one_service_does_not_wait_for_the_cure_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let one = ticking(folder.path(), &version(1), TICKS);
    let two = ticking(folder.path(), &version(2), TICKS);
    let host = Host::docker("two-ills");
    let _ = host.install(&one);
    break_ticker(&host);
    let updated = host.run(&[two.path()]).succeeds();
    let _ = updated.says("2.0.0 is installed").says("not up, as before: ticker").says("replaced   front");
    assert_eq!(host.page(PORT), "page 2");
    let _ = host.run(&["status", "--check"]).exits(8).says("ticker");
}

#[test]
fn the_engines_verdict_ends_the_wait() {
    let folder = tempfile::tempdir().unwrap();
    let one = bundle::small(folder.path(), &version(1));
    let two = bundle::small(folder.path(), &SmallSite { failing: true, ..version(2) });
    let host = Host::docker("verdict");
    let _ = host.install(&one);
    // `sick` fails twice, with a second between: the engine knows after about two, and a deadline of its own
    // would be later.
    let began = Instant::now();
    let failed = host.run(&[two.path()]).exits(8);
    let failed = failed.says("service sick: is unhealthy after").says("1.0.0-").says("runs again, as before");
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}\n{failed}", began.elapsed());
}

/// A service that ends with an error until `front` serves `/www/late`, which it does some time after its start.
fn waits_by_restarting(folder: &Path, restart: &str) -> Built {
    bundle::changed(folder, &version(1), |site| {
        let compose = site.join("compose.yaml");
        let text = fs::read_to_string(&compose).unwrap();
        let text = text.replace("    healthcheck:\n      test: [\"CMD\", \"wget\", \"-q\", \"-O\", \"/dev/null\", \"http://127.0.0.1:8080/\"]\n      interval: 1s\n      timeout: 2s\n      retries: 10\n",
            "    entrypoint: [/bin/sh, -c, \"sleep 18; echo late >/www/late; exec /bin/busybox httpd -f -p 8080 -h /www\"]\n    healthcheck: { test: [CMD, wget, -q, -O, /dev/null, \"http://127.0.0.1:8080/late\"], interval: 1s, retries: 60 }\n");
        let waiting = format!(
            "  waiter:\n    image: small/ticker:1\n    healthcheck: {{ disable: true }}\n    {restart}\n    command: [/bin/sh, -c, \"wget -q -O- http://front:8080/late || exit 1; exec sleep 1000\"]\nvolumes:\n  ticks:\n"
        );
        fs::write(&compose, text.replace("volumes:\n  ticks:\n", &waiting)).unwrap();
    })
}

#[test]
fn a_service_may_wait_for_its_database_by_restarting() {
    let folder = tempfile::tempdir().unwrap();
    let built = waits_by_restarting(folder.path(), "restart: always\n    depends_on: [front]");
    let host = Host::docker("waits");
    let [trust, fingerprint] = built.trust();
    let installed = host.run(&[trust, fingerprint, built.path()]).succeeds();
    // A log says for what it waits, how long still, and what it heard last.
    let _ = installed
        .says("  starting   waiting for front to be healthy, ")
        .says(" s left: wget: ")
        .says("  starting   waiting for waiter to be running, ")
        .says(" left: exited with code 1, ");
    let _ = host.run(&["status", "--check"]).succeeds();
}

#[test]
fn a_terminal_of_30_columns_shows_for_what_how_long_and_the_last_answer() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::changed(folder.path(), &SmallSite { failing: true, ..version(1) }, |site| {
        bundle::replace(
            &site.join("compose.yaml"),
            "test: [\"CMD\", \"false\"]\n      interval: 1s\n      timeout: 1s\n      retries: 2\n",
            "test: [\"CMD-SHELL\", \"echo the disk of this machine is not there yet; false\"]\n      interval: 1s\n      \
             timeout: 1s\n      retries: 5\n",
        );
    });
    let host = Host::docker("narrow");
    let [trust, fingerprint] = built.trust();
    let mut command = host.command(&tests::programs::stock("script"));
    let program = tests::programs::install();
    let line = format!(
        "stty cols 30 rows 24; exec {} --no-input {trust} {fingerprint} {}",
        program.display(),
        built.path()
    );
    command.env("TERM", "xterm").args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    let failed = tests::outcome::Outcome::of(&mut command).exits(8);
    let shown = without_steering(&failed.stdout);
    assert!(shown.contains("  sick: healthy, "), "{shown}");
    assert!(shown.contains(" s left"), "{shown}");
    assert!(shown.contains("    the disk of this machine…"), "{shown}");
}

/// The text that a terminal was sent, without the sequences that steer it.
fn without_steering(sent: &str) -> String {
    let mut text = String::new();
    let mut chars = sent.chars();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => {
                let _ = chars.by_ref().skip(1).find(|c| c.is_ascii_alphabetic());
            }
            c => text.push(c),
        }
    }
    text
}
