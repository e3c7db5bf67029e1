//! `ferry try`: the same bundle on the developer's own engine, gone without a trace.

use fixtures::small_site::SmallSite;
use rustix::process::Signal;
use std::fs;
use std::path::Path;
use std::process::Command;
use tests::bundle;
use tests::host::Host;
use tests::programs;
use tests::running::Running;
use tests::snapshot::assert_unchanged;

/// `ferry` with the host's engine as the developer's own.
fn ferry(host: &Host, arguments: &[&str], site: &Path) -> Command {
    let mut command = host.command(&programs::ferry());
    command.args(arguments).args(["--offline", "--engine", &host.engine.host(), "--installer"]);
    command.arg(programs::install()).arg(site);
    command
}

fn written(folder: &Path) -> std::path::PathBuf {
    let site = folder.join("site");
    SmallSite::default().write(&site).unwrap();
    // What a trial must not touch: a volume and a container of a fixed name, and a subnet.
    bundle::replace(
        &site.join("compose.yaml"),
        "volumes:\n  ticks:\n",
        "networks:\n  default: { ipam: { config: [{ subnet: 10.77.0.0/24 }] } }\nvolumes:\n  ticks: { name: precious }\n",
    );
    bundle::replace(
        &site.join("compose.yaml"),
        "    image: small/ticker:1\n",
        "    image: small/ticker:1\n    container_name: the-ticker\n",
    );
    site
}

#[test]
fn a_trial_runs_beside_the_real_thing_and_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let site = written(folder.path());
    let host = Host::docker("trial");
    let real = bundle::signed(folder.path(), &site, &folder.path().join("real.fz"), 1);
    let [trust, fingerprint] = real.trust();
    let _ = host.run(&[trust, fingerprint, real.path()]).succeeds();
    let before = host.snapshot();

    let checked =
        tests::outcome::Outcome::of(&mut ferry(&host, &["try", "--check", "--set", "site_name=desk"], &site));
    let _ = checked.succeeds().says("2 services healthy or running").says("small-try is removed");
    assert_unchanged(&before, &host.snapshot(), "a trial");

    // In the foreground, until Ctrl-C.
    let mut running = Running::start(&mut ferry(&host, &["try"], &site));
    assert!(running.wait_for_output(|line| line.contains("ticker       | ticker starts")));
    assert!(host.containers().contains(&"small-try-ticker-1 running".to_owned()), "{:?}", host.containers());
    // Two trials of one product need two names.
    let second = tests::outcome::Outcome::of(&mut ferry(&host, &["try", "--check"], &site));
    let said = second.exits(7).says("another trial called small-try runs on this engine");
    let _ = said.says("--project-name NAME").does_not_say("finding");
    let itself = ["try", "--check", "--project-name", "small"];
    let itself = tests::outcome::Outcome::of(&mut ferry(&host, &itself, &site));
    let _ = itself.exits(2).says("small is the product's own name").does_not_say("finding");
    let arguments = ["try", "--check", "--project-name", "small-two"];
    let second = tests::outcome::Outcome::of(&mut ferry(&host, &arguments, &site));
    let _ = second.succeeds().says("small-two is removed");
    assert!(host.containers().contains(&"small-try-ticker-1 running".to_owned()), "{:?}", host.containers());
    running.signal(Signal::INT);
    let _ = running.end().succeeds().says("Ctrl-C stops and removes everything").says("small-try is removed");
    assert_unchanged(&before, &host.snapshot(), "a trial that was ended");

    // One that fails goes away, too.
    bundle::replace(
        &site.join("compose.yaml"),
        "\"/dev/null\", \"http://127.0.0.1:8080/\"]",
        "\"/dev/null\", \"http://127.0.0.1:1/\"]",
    );
    let failed = tests::outcome::Outcome::of(&mut ferry(&host, &["try", "--check", "--timeout", "4"], &site));
    let _ = failed.exits(8).says("could not be installed here");
    assert_unchanged(&before, &host.snapshot(), "a trial that failed");
}

#[test]
fn watching_builds_again_when_a_file_changes() {
    let folder = tempfile::tempdir().unwrap();
    let site = written(folder.path());
    let host = Host::docker("watch");
    let mut running = Running::start(&mut ferry(&host, &["watch"], &site));
    assert!(running.wait_for_output(|line| line.contains("ticker       | ticker starts")));
    fs::write(site.join("templates/banner.txt.j2"), "changed {{ site_name }}\n").unwrap();
    assert!(running.wait_for(|line| line.contains("an input has changed")));
    assert!(running.wait_for_output(|line| line.contains("replaced   front")));
    let banner = || host.docker_text(&["exec", "small-try-front-1", "cat", "/www/banner.txt"]);
    assert_eq!(banner(), "changed nowhere");
    // A mistake is told, and what ran runs on.
    fs::write(site.join("templates/banner.txt.j2"), "changed {{ site_nam }}\n").unwrap();
    assert!(running.wait_for(|line| line.contains("did you mean `site_name`?")));
    assert_eq!(banner(), "changed nowhere");
    running.signal(Signal::INT);
    let _ = running.end().succeeds().says("small-try is removed");
    assert!(host.containers().is_empty());
}

#[test]
fn a_trial_that_was_killed_is_removed_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let site = written(folder.path());
    let host = Host::docker("killed");
    let before = host.snapshot();
    let mut running = Running::start(&mut ferry(&host, &["try"], &site));
    assert!(running.wait_for_output(|line| line.contains("ticker       | ticker starts")));
    running.signal(Signal::KILL);
    // What it started goes on until its containers are gone; the outputs stay open with it.
    let next = tests::outcome::Outcome::of(&mut ferry(&host, &["try", "--check"], &site));
    let said = next.succeeds().says("a trial called small-try was killed; what it left");
    assert_eq!(said.stdout.matches("small-try is removed").count(), 2, "{said}");
    assert_unchanged(&before, &host.snapshot(), "a trial that was killed, and the next");
    drop(running);
}

#[test]
fn an_engine_that_is_not_there_is_told_before_anything_is_built() {
    let folder = tempfile::tempdir().unwrap();
    let site = written(folder.path());
    let mut command = programs::command(programs::ferry());
    command.args(["try", "--engine", "unix:///nonexistent/engine.sock", "--installer"]);
    let told = tests::outcome::Outcome::of(command.arg(programs::install()).arg(&site));
    let _ = told.exits(6).says("/nonexistent/engine.sock does not answer").does_not_say("packing");
}

#[test]
fn ctrl_c_while_packing_is_no_fault() {
    let folder = tempfile::tempdir().unwrap();
    let site = written(folder.path());
    fs::File::create(site.join("files/huge")).unwrap().set_len(64 << 30).unwrap();
    let host = Host::docker("packing");
    let mut running = Running::start(&mut ferry(&host, &["try", "--json"], &site));
    assert!(running.wait_for(|line| line.contains("\"begin\"") && line.contains("\"packing\"")));
    running.signal(Signal::INT);
    let stopped = running.end().exits(130).does_not_say("because").does_not_say("\"summary\":\"failed\"");
    assert_eq!(stopped.json()["error"]["message"], "stopped by Ctrl-C before the trial was up");
}

#[test]
fn ctrl_c_while_the_installer_waits_says_only_that() {
    let folder = tempfile::tempdir().unwrap();
    let site = written(folder.path());
    bundle::replace(
        &site.join("compose.yaml"),
        "\"/dev/null\", \"http://127.0.0.1:8080/\"]",
        "\"/dev/null\", \"http://127.0.0.1:1/\"]",
    );
    let host = Host::docker("stopped");
    let before = host.snapshot();
    let mut running = Running::start(&mut ferry(&host, &["try", "--timeout", "100"], &site));
    assert!(running.wait_for(|line| line.contains("laying out")));
    running.signal(Signal::INT);
    let _ = running
        .end()
        .exits(130)
        .says("error: stopped by Ctrl-C before the trial was up")
        .does_not_say("could not be installed here");
    assert_unchanged(&before, &host.snapshot(), "a trial that was stopped");
}

#[test]
fn watching_goes_by_the_answers_as_they_are_and_hears_saves_while_it_waits() {
    let folder = tempfile::tempdir().unwrap();
    let site = written(folder.path());
    // A service that the values file switches on, with a name and a port that something else may have.
    bundle::replace(
        &site.join("compose.yaml"),
        "networks:\n",
        "  rep:\n    image: small/ticker:1\n    container_name: the-reporter\n    ports: [\"19400:9400\", \"9100\"]\n    \
         profiles: [reports]\nnetworks:\n",
    );
    bundle::replace(
        &site.join("ferry.yaml"),
        "variables:\n",
        "variables:\n  COMPOSE_PROFILES: { default: \"\" }\n",
    );
    let values = folder.path().join("values.yaml");
    fs::write(&values, "site_name: desk\n").unwrap();
    let host = Host::docker("answers");
    let arguments = ["watch", "--values", values.to_str().unwrap()];
    let mut running = Running::start(&mut ferry(&host, &arguments, &site));
    assert!(running.wait_for_output(|line| line.contains("ticker       | ticker starts")));
    fs::write(&values, "site_name: desk\nCOMPOSE_PROFILES: reports\n").unwrap();
    assert!(running.wait_for(|line| line.contains("an input has changed")));
    assert!(running.wait_for(|line| line.contains("(9400/tcp)")));
    let names = host.containers();
    assert!(names.contains(&"small-try-rep-1 running".to_owned()), "{names:?}");
    let ports = host.docker_text(&["port", "small-try-rep-1"]);
    assert_eq!(ports.lines().count(), 2, "{ports}");
    assert!(ports.lines().all(|line| line.contains("127.0.0.1:")) && !ports.contains("19400"), "{ports}");
    // Away with it again: the answer of before is not remembered.
    fs::write(&values, "site_name: desk\n").unwrap();
    assert!(running.wait_for_output(|line| line.contains("removed    rep")));

    // A broken health check is mended while the installer waits for it.
    let good = "\"/dev/null\", \"http://127.0.0.1:8080/\"]";
    let broken = "\"/dev/null\", \"http://127.0.0.1:1/\"]";
    bundle::replace(&site.join("compose.yaml"), good, broken);
    assert!(running.wait_for(|line| line.contains("laying out")));
    bundle::replace(&site.join("compose.yaml"), broken, good);
    fs::write(site.join("templates/banner.txt.j2"), "mended\n").unwrap();
    assert!(running.wait_for(|line| line.contains("an input has changed meanwhile")));
    assert!(running.wait_for_output(|line| line.contains("replaced   front")));
    running.signal(Signal::INT);
    let ended = running.end().succeeds().says("small-try is removed");
    // A service that no build replaced has said its first line once.
    assert_eq!(ended.stdout.matches("ticker       | ticker starts").count(), 1, "{ended}");
    assert!(host.containers().is_empty());
}
