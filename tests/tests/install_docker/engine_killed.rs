//! An engine that is killed in the middle of a switch, and what it leaves behind.

use crate::PORT;
use fixtures::small_site::SmallSite;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};
use tests::bundle;
use tests::host::Host;
use tests::outcome::Outcome;
use tests::programs;
use tests::running::Running;
use tests::snapshot::assert_unchanged;

fn version(number: usize) -> SmallSite {
    SmallSite { version: format!("{number}.0.0"), message: format!("page {number}"), ..SmallSite::default() }
}

/// The program that holds the small site's port.
fn holder(host: &Host) -> String {
    let found = host.engine.run_inside(&["ss", "-Hltnp", &format!("sport = :{PORT}")]).unwrap();
    String::from_utf8_lossy(&found.stdout).into_owned()
}

/// Installs at a terminal of a host that systemd has booted, and answers the question. `systemctl` there notes what it
/// was asked to do, and fails.
fn answered(host: &Host, bundle: &str, answer: &str) -> Outcome {
    let folder = host.engine.folder();
    let systemctl = folder.join("systemctl");
    let text = format!("#!/bin/sh\necho \"$@\" >>{}/asked\necho not here >&2\nexit 5\n", folder.display());
    std::fs::write(&systemctl, text).unwrap();
    std::fs::set_permissions(&systemctl, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = host.command(&programs::stock("unshare"));
    command.args(["--mount", "--propagation=private", "--", "/bin/sh", "-c"]);
    command.arg("mount -t tmpfs none /run && mkdir -p /run/systemd/system && exec \"$@\"").arg("sh");
    command.arg(programs::stock("script"));
    let line = format!(
        "PATH={}:$PATH {} --set site_name=nowhere {bundle}",
        folder.display(),
        programs::install().display()
    );
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    let mut running = Running::start_with_input(&mut command);
    assert!(running.wait_for_output(|line| line.contains("fix: the engine was killed")));
    running.type_line(answer);
    running.end()
}

#[test]
fn killed_in_a_start_it_is_restarted_when_asked_to_and_the_same_command_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut host = Host::docker("engine-killed");
    let _ = host.install(&bundle::small(folder.path(), &version(1)));
    let is_20 = host.docker_text(&["version", "--format", "{{.Server.Version}}"]).starts_with("20.10");
    let mut held = false;
    for number in 2..14 {
        let next = bundle::small(folder.path(), &version(number));
        let mut running = host.start(&[next.path()]);
        assert!(running.wait_for(|line| line.contains("\"detail\"") && line.contains("starting front")));
        // Somewhere in the start; it takes about a third of a second, or longer on a busy machine.
        std::thread::sleep(Duration::from_millis(60 + 40 * (number as u64 % 8)));
        host.engine.kill9().unwrap();
        let _ = running.end();
        host.engine.restart().unwrap();
        let again = host.run(&[next.path()]);
        if again.code == 0 {
            assert_eq!(host.page(PORT), format!("page {number}"), "{again}");
            continue;
        }
        let told = format!("port {PORT}/tcp of service front is held on 127.0.0.1 by the engine itself");
        let again = again.exits(7).says(&told).says("--restart-engine").says("systemctl restart docker");
        assert!(holder(&host).contains("docker"), "{}\n{again}", holder(&host));
        held = true;

        // Nothing is restarted unasked, nor by a plan.
        let pid = || std::fs::read_to_string(host.engine.folder().join("engine.pid")).unwrap();
        let (before, engine) = (host.snapshot(), pid());
        let program = host.engine.restart_program().unwrap();
        let option = format!("--restart-engine={}", program.display());
        let _ = host.run(&["--dry-run", &option, next.path()]).exits(7).says(&told);
        assert_eq!(pid(), engine);
        assert_unchanged(&before, &host.snapshot(), "an install that was refused");
        let failed = host.run(&["--restart-engine=echo no such service >&2; exit 3", next.path()]).exits(6);
        let _ = failed
            .says("did not restart the engine: exit status: 3: no such service")
            .says("restart it by hand");
        assert_eq!(pid(), engine);

        // At a terminal of a host with systemd there is a question, and `y` runs its command.
        let marker = host.engine.folder().join("asked");
        let _ = answered(&host, next.path(), "n").exits(7).says("Run `systemctl restart docker` now?");
        assert!(!marker.exists());
        let _ = answered(&host, next.path(), "y")
            .exits(6)
            .says("did not restart the engine: exit status: 5: not here");
        assert_eq!(std::fs::read_to_string(marker).unwrap(), "restart docker\n");
        assert_eq!(pid(), engine);

        let mended = host.run(&[&option, next.path()]).succeeds().says("the engine answers again");
        assert_ne!(pid(), engine, "{mended}");
        assert_eq!(host.page(PORT), format!("page {number}"), "{mended}");
        let _ = host.run(&["status", "--check"]).succeeds();
        break;
    }
    assert!(held || !is_20, "no killed engine of this kind held the port");
}

#[test]
fn a_task_that_a_killed_engine_left_behind_does_not_stop_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::changed(folder.path(), &version(1), |site| {
        // Without a port that the engine could hold.
        let compose = site.join("compose.yaml");
        bundle::replace(&compose, &format!("    ports:\n      - \"127.0.0.1:{PORT}:8080\"\n"), "");
    });
    let mut host = Host::docker("task-left");
    let _ = host.install(&built);
    let is_20 = host.docker_text(&["version", "--format", "{{.Server.Version}}"]).starts_with("20.10");
    let mut left = false;
    let tasks = host.engine.folder().join("exec/containerd/daemon/io.containerd.runtime.v2.task/moby");
    for number in 0_u64..25 {
        let _ = host.docker_text(&["stop", "--time", "1", "small-ticker-1"]);
        let task = tasks.join(host.id("small", "ticker"));
        let mut start = host.engine.command("/usr/bin/docker");
        let mut start = start.args(["start", "small-ticker-1"]).spawn().unwrap();
        // The task is made, and does not run yet.
        let deadline = Instant::now() + Duration::from_secs(10);
        while !task.exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(20 * (number % 8)));
        host.engine.kill9().unwrap();
        let _ = start.wait();
        host.engine.restart().unwrap();
        // Whether it left a task is seen by an attempt to start it.
        let tried = host.engine.docker(&["start", "small-ticker-1"]).unwrap();
        let said = String::from_utf8_lossy(&tried.stderr).into_owned();
        if said.contains("already exists") || said.contains("file exists") {
            left = true;
            let _ = host.run(&["start"]).exits(8).says("makes it anew");
        }
        let _ = host.run(&[built.path()]).succeeds();
        let deadline = Instant::now() + Duration::from_secs(30);
        while host.run(&["status", "--check"]).code != 0 {
            assert!(Instant::now() < deadline, "{said}\n{}", host.run(&["status"]));
        }
        if left || !is_20 {
            break;
        }
    }
    assert!(left || !is_20, "no killed engine of this kind left a task");
}

#[test]
fn a_container_whose_removal_was_cut_off_counts_as_gone() {
    let folder = tempfile::tempdir().unwrap();
    let one = bundle::small(folder.path(), &version(1));
    let two = bundle::small(folder.path(), &version(2));
    let mut host = Host::docker("dead");
    let _ = host.install(&one);
    let whole = ["small-front-1 running", "small-ticker-1 running"];
    for (bundle, number) in [(&one, 1), (&two, 2)] {
        // As an engine leaves it that is killed while it removes a container.
        let id = host.id("small", "ticker");
        host.engine.stop().unwrap();
        let record = host.engine.folder().join("data/containers").join(id).join("config.v2.json");
        bundle::replace(&record, "\"Dead\":false", "\"Dead\":true");
        host.engine.restart().unwrap();
        assert!(host.containers().contains(&"small-ticker-1 dead".to_owned()), "{:?}", host.containers());
        let _ = host.run(&["status"]).succeeds();
        let _ = host.run(&["status", "--check"]).exits(8);
        let _ = host.run(&["start"]).exits(7).says("ticker");
        let installed = host.run(&[bundle.path()]).succeeds();
        assert_eq!(host.containers(), whole, "{installed}");
        assert_eq!(host.page(PORT), format!("page {number}"));
    }

    // And one that a rollback finds.
    let three =
        bundle::changed(folder.path(), &SmallSite { failing: true, ..version(3) }, bundle::fail_slowly);
    let mut running = host.start(&[three.path()]);
    assert!(running.wait_for(|line| line.contains("waiting for sick")));
    running.signal(rustix::process::Signal::KILL);
    let _ = running.end().exits(137);
    let parked =
        host.docker_text(&["ps", "--all", "--quiet", "--no-trunc", "--filter", "name=small-front-1.old-"]);
    host.engine.stop().unwrap();
    let record = host.engine.folder().join("data/containers").join(parked).join("config.v2.json");
    bundle::replace(&record, "\"Dead\":false", "\"Dead\":true");
    host.engine.restart().unwrap();
    let _ = host.run(&[two.path()]).succeeds();
    assert_eq!(host.containers(), whole);
    assert_eq!(host.page(PORT), "page 2");
}
