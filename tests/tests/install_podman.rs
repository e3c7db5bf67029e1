//! The same bundles on Podman 4.3, through its Docker-compatible service, without a route out.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

use fixtures::layer::Layer;
use fixtures::small_site::SmallSite;
use rustix::process::Signal;
use serde_json::json;
use std::fs;
use tests::bundle;
use tests::compose_2;
use tests::host::Host;
use tests::host_binds;
use tests::odd_images;
use tests::programs;
use tests::snapshot::assert_unchanged;

const PORT: u16 = 18080;

fn version(version: &str, message: &str) -> SmallSite {
    SmallSite { version: version.to_owned(), message: message.to_owned(), ..SmallSite::default() }
}

#[test]
fn a_stick_installs_a_second_time_changes_nothing_and_an_upgrade_replaces_what_changed() {
    let folder = tempfile::tempdir().unwrap();
    let one = bundle::small(folder.path(), &version("1.0.0", "one"));
    let two = bundle::small(folder.path(), &version("2.0.0", "two"));
    let host = Host::podman("podman-main");
    let stick = host.engine.folder().join("stick");
    fs::create_dir(&stick).unwrap();
    fs::copy(programs::install(), stick.join("install")).unwrap();
    fs::copy(&one.file, stick.join("site.fz")).unwrap();

    let before = host.snapshot();
    let [trust, fingerprint] = one.trust();
    let _ =
        host.run(&["--dry-run", trust, fingerprint, one.path()]).succeeds().says("  service   front: create");
    let _ = host.run(&[one.path()]).exits(5);
    assert_unchanged(&before, &host.snapshot(), "a dry run and a bundle that is not trusted");

    let installed = host.from_stick(&stick, "./install", &[trust, fingerprint, "site.fz"]).succeeds();
    let installed = installed.says("small 1.0.0 runs").says("  new        front, ticker");
    let _ = installed.says(&format!("listens    front  127.0.0.1:{PORT}/tcp"));
    assert_eq!(host.page(PORT), "one");
    assert_eq!(host.containers(), ["small-front-1 running", "small-ticker-1 running"]);
    assert_eq!(
        host.images_shown(),
        ["small-front-1 localhost/small/front:1.0.0", "small-ticker-1 localhost/small/ticker:1"]
    );
    assert_eq!(host.docker_text(&["exec", "small-front-1", "cat", "/www/banner.txt"]), "site nowhere");

    let before = host.snapshot();
    let again = host.from_stick(&stick, "./install", &["site.fz"]).succeeds();
    assert!(again.stdout.ends_with("is installed, runs and is unchanged: nothing to do\n"), "{again}");
    assert_unchanged(&before, &host.snapshot(), "installing the same bundle again");

    let (front, ticker) = (host.id("small", "front"), host.id("small", "ticker"));
    let upgraded = host.run(&["--json", two.path()]).succeeds().json();
    assert_eq!(upgraded["report"]["replaced"], json!(["front"]));
    assert!(upgraded["plan"]["send_bytes"].as_u64().unwrap() < 10_000, "{upgraded}");
    assert_eq!(host.page(PORT), "two");
    assert_ne!(front, host.id("small", "front"));
    assert_eq!(ticker, host.id("small", "ticker"), "an unchanged service was replaced");
    assert_eq!(host.containers(), ["small-front-1 running", "small-ticker-1 running"]);
}

#[test]
fn a_compose_file_of_level_2_reaches_the_engine() {
    compose_2::what_is_written_reaches_the_engine(&Host::podman("podman-compose-2"), true);
}

#[test]
fn images_without_a_platform_and_of_many_layers_are_installed_and_run() {
    let folder = tempfile::tempdir().unwrap();
    let plain = odd_images::without_platform(&folder.path().join("plain"));
    let deep = odd_images::of_layers(&folder.path().join("deep"), 128);
    let host = Host::podman("podman-odd");
    let _ = host.install(&plain);
    assert_eq!(host.page(PORT), "hello from the small site");
    assert_eq!(host.containers(), ["small-front-1 running", "small-ticker-1 running"]);
    let _ = host.run(&[plain.path()]).succeeds().says("nothing to do");
    let _ = host.install(&deep);
    assert_eq!(host.page(PORT), "hello from the small site");
}

#[test]
fn images_are_those_that_were_signed() {
    let folder = tempfile::tempdir().unwrap();
    let one = bundle::small(folder.path(), &SmallSite::default());
    let host = Host::podman("podman-images");
    let _ = host.install(&one);
    let release = &one.inspect()["release"];
    for image in release["images"].as_array().unwrap() {
        let name = image["reference"].as_str().unwrap();
        let inspect = |format: &str| host.docker_text(&["image", "inspect", "--format", format, name]);
        let id = inspect("{{.Id}}");
        let expected = image["config"]["digest"].as_str().unwrap();
        assert_eq!(id.trim_start_matches("sha256:"), expected.trim_start_matches("sha256:"), "{name}");
        let layers: serde_json::Value = serde_json::from_str(&inspect("{{json .RootFS.Layers}}")).unwrap();
        assert_eq!(&layers, &image["diff_ids"], "{name}");
    }
}

#[test]
fn stop_start_status_logs_and_uninstall() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::small(folder.path(), &SmallSite::default());
    let host = Host::podman("podman-sysop");
    let _ = host.install(&built);
    let status = host.run(&["--json", "status"]).succeeds().json();
    for service in status["services"].as_array().unwrap() {
        assert_eq!((&service["state"], &service["health"]), (&json!("running"), &json!("healthy")));
    }
    let _ = host.run(&["stop"]).succeeds();
    assert_eq!(host.containers(), ["small-front-1 exited", "small-ticker-1 exited"]);
    let _ = host.run(&["logs", "ticker"]).succeeds().says("ticker       | ticker stops");
    let _ = host.run(&["start"]).succeeds();
    assert_eq!(host.page(PORT), "hello from the small site");
    let gone = host.run(&["uninstall", "--yes"]).succeeds();
    let _ = gone.says("kept with their data: small_ticks");
    assert_eq!(host.docker_text(&["volume", "ls", "--quiet"]), "small_ticks");
    assert_eq!(host.containers(), [""; 0]);
    let _ = host.run(&[built.path()]).succeeds();
    let _ = host.run(&["uninstall", "--yes", "--volumes"]).succeeds();
    assert_eq!(host.docker_text(&["volume", "ls", "--quiet"]), "");
    assert_eq!(host.docker_text(&["images", "--quiet"]), "");
}

#[test]
fn a_failing_service_ctrl_c_and_a_kill_leave_the_old_version_running() {
    let folder = tempfile::tempdir().unwrap();
    let one = bundle::small(folder.path(), &version("1.0.0", "one"));
    let sick = bundle::small(folder.path(), &SmallSite { failing: true, ..version("2.0.0", "two") });
    let three = bundle::small(folder.path(), &version("3.0.0", "three"));
    let host = Host::podman("podman-failing");
    let _ = host.install(&one);
    let ids = [host.id("small", "front"), host.id("small", "ticker")];
    let is_old = |when: &str| {
        assert_eq!(host.page(PORT), "one", "{when}");
        assert_eq!(host.containers(), ["small-front-1 running", "small-ticker-1 running"], "{when}");
        assert_eq!(ids, [host.id("small", "front"), host.id("small", "ticker")], "{when}");
    };
    let failed = host.run(&["--timeout", "5", sick.path()]).exits(8);
    let _ = failed.says("| the sick service cannot find its disk").says("runs again, as before");
    is_old("a failing service");

    let mut running = host.start(&["--timeout", "30", sick.path()]);
    assert!(running.wait_for(|line| line.contains("waiting for sick")));
    running.signal(Signal::INT);
    let _ = running.end().exits(130);
    is_old("Ctrl-C");

    let mut running = host.start(&[three.path()]);
    assert!(running.wait_for(|line| line.contains("starting front")));
    running.signal(Signal::KILL);
    let _ = running.end().exits(137);
    let _ = host.run(&[three.path()]).succeeds();
    assert_eq!(host.page(PORT), "three");
    assert_eq!(host.containers(), ["small-front-1 running", "small-ticker-1 running"]);
}

#[test]
fn a_written_owner_of_a_volume_is_that_of_its_root_whoever_starts_first() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::changed(folder.path(), &SmallSite::default(), |site| {
        fs::create_dir_all(site.join("rows")).unwrap();
        fs::write(site.join("rows/table"), "first").unwrap();
        let manifest = site.join("ferry.yaml");
        bundle::replace(&manifest, "ferry: 1\n", "ferry: 2\n");
        let volumes = "volumes:\n  rows: { seed: rows, owner: \"65534:4321\", mode: \"02750\" }\n";
        bundle::replace(&manifest, "artifacts:\n", &format!("{volumes}artifacts:\n"));
        let compose = site.join("compose.yaml");
        // The first service on the volume is another one's, and only reads.
        bundle::replace(&compose, "      - ticks:/data\n", "      - ticks:/data\n      - rows:/seeded:ro\n");
        let writer = "  writer:\n    image: small/ticker:1\n    user: \"65534:65534\"\n    \
            command: [/bin/sh, -c, \"echo written >/rows/new; exec sleep 100000\"]\n    \
            depends_on: [ticker]\n    healthcheck: { disable: true }\n    volumes: [\"rows:/rows\"]\n    \
            stop_grace_period: 1s\n";
        bundle::replace(&compose, "volumes:\n  ticks:\n", &format!("{writer}volumes:\n  ticks:\n  rows:\n"));
    });
    let host = Host::podman("podman-owner");
    let _ = host.install(&built);
    let inside = |command: &str| host.docker_text(&["exec", "small-ticker-1", "/bin/sh", "-c", command]);
    let stat = inside("/bin/busybox stat -c '%u:%g %a' /seeded /seeded/table; cat /seeded/new");
    assert_eq!(stat, "65534:4321 2750\n65534:4321 644\nwritten");
}

#[test]
fn seeded_volumes_and_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::changed(folder.path(), &SmallSite::default(), |site| {
        let seed = Layer::new().file("table", 0o640, "first").owner("table", 65534, 65534);
        seed.write(&site.join("rows.tar")).unwrap();
        bundle::replace(
            &site.join("ferry.yaml"),
            "artifacts:\n",
            "volumes:\n  rows: { seed: rows.tar }\nartifacts:\n",
        );
        fs::write(site.join("token.txt"), "a secret").unwrap();
        let compose = site.join("compose.yaml");
        bundle::replace(
            &compose,
            "      - ticks:/data\n",
            "      - ticks:/data\n      - rows:/seeded\n    secrets: [token]\n",
        );
        bundle::replace(
            &compose,
            "volumes:\n  ticks:\n",
            "volumes:\n  ticks:\n  rows:\nsecrets:\n  token:\n    file: ./token.txt\n",
        );
    });
    let host = Host::podman("podman-data");
    let _ = host.install(&built);
    let inside = |command: &str| host.docker_text(&["exec", "small-ticker-1", "/bin/sh", "-c", command]);
    assert_eq!(
        inside("cat /seeded/table; /bin/busybox stat -c ' %u:%g %a' /seeded/table"),
        "first 65534:65534 640"
    );
    assert_eq!(inside("cat /run/secrets/token"), "a secret");
    let _ = inside("echo written on site >/seeded/table");
    let _ = host.run(&["uninstall", "--yes"]).succeeds();
    let _ = host.run(&[built.path()]).succeeds();
    assert_eq!(inside("cat /seeded/table"), "written on site");
}

#[test]
fn files_of_the_host_that_vanish_stay_away() {
    host_binds::a_file_that_vanishes_stays_away(&Host::podman("podman-gone"));
}

#[test]
fn folders_of_the_host_are_made_and_taken_back() {
    host_binds::folders_are_made_and_taken_back(&Host::podman("podman-made"));
}
