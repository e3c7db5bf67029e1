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
    // What a trial must not touch: a volume and a container of a fixed name.
    bundle::replace(
        &site.join("compose.yaml"),
        "volumes:\n  ticks:\n",
        "volumes:\n  ticks: { name: precious }\n",
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
    let _ = second.exits(7).says("small-try is on this engine already, installed from").says("uninstall");
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
