//! Data, and the answers that open it, outlive everything but an order to remove them.

use crate::PORT;
use fixtures::small_site::SmallSite;
use rustix::process::Signal;
use serde_json::json;
use std::fs;
use std::path::Path;
use tests::bundle::{self, Built};
use tests::host::Host;
use tests::snapshot::assert_unchanged;

fn version(number: usize) -> SmallSite {
    SmallSite { version: format!("{number}.0.0"), message: format!("page {number}"), ..SmallSite::default() }
}

/// With a generated password, which the page's banner shows.
fn with_password(folder: &Path, site: &SmallSite) -> Built {
    password_and(folder, site, |_| {})
}

fn password_and(folder: &Path, site: &SmallSite, change: impl FnOnce(&Path)) -> Built {
    bundle::changed(folder, site, |source| {
        change(source);
        bundle::replace(
            &source.join("ferry.yaml"),
            "variables:\n",
            "variables:\n  password: { type: secret, generate: 24 }\n",
        );
        fs::write(source.join("templates/banner.txt.j2"), "site {{ site_name }} {{ password }}\n").unwrap();
    })
}

fn banner(host: &Host) -> String {
    host.docker_text(&["exec", "small-front-1", "cat", "/www/banner.txt"])
}

fn inside(host: &Host, command: &str) -> String {
    host.docker_text(&["exec", "small-ticker-1", "/bin/sh", "-c", command])
}

#[test]
fn a_first_install_that_was_cut_off_and_ran_on_keeps_its_data_when_another_version_comes() {
    let folder = tempfile::tempdir().unwrap();
    let failing = SmallSite { failing: true, ..version(1) };
    let sick = password_and(folder.path(), &failing, bundle::fail_slowly);
    let two = with_password(folder.path(), &version(2));
    let host = Host::docker("cut-off");
    let [trust, fingerprint] = sick.trust();
    let mut running = host.start(&[trust, fingerprint, sick.path()]);
    assert!(running.wait_for(|line| line.contains("waiting for ticker")));
    running.signal(Signal::KILL);
    let _ = running.end();
    // Nobody looks for weeks; the services work, and one writes what nobody else has.
    let _ = inside(&host, "echo precious >/data/precious");
    let before = banner(&host);

    // What is refused ends nothing.
    let snapshot = host.snapshot();
    let _ = host.run(&["--set", "nobody=knows", two.path()]).exits(3);
    assert_unchanged(&snapshot, &host.snapshot(), "a refused install");

    let _ = host.run(&[two.path()]).succeeds().says("was interrupted: it is rolled back first");
    assert_eq!(inside(&host, "cat /data/precious"), "precious");
    assert_eq!(banner(&host), before, "the password that the data was made with");
    assert_eq!(host.state("small")["current"]["version"], "2.0.0");
}

#[test]
fn answers_outlive_failures_versions_without_them_and_an_uninstall() {
    let folder = tempfile::tempdir().unwrap();
    let one = with_password(folder.path(), &version(1));
    let without = bundle::small(folder.path(), &version(2));
    let sick = bundle::small(folder.path(), &SmallSite { failing: true, ..version(3) });
    let host = Host::docker("answers");
    let _ = host.install(&one);
    let first = banner(&host);

    let _ = host.run(&["--timeout", "3", "--set", "site_name=elsewhere", sick.path()]).exits(8);
    assert_eq!(banner(&host), first, "the old file itself is mounted again");
    let _ = host.run(&[one.path()]).succeeds().says("unchanged");
    let _ = host.run(&[without.path()]).succeeds();
    let _ = host.run(&["--allow-downgrade", one.path()]).succeeds();
    assert_eq!(banner(&host), first);

    let _ = host.run(&["uninstall", "--yes"]).succeeds().says("kept for the next install: ");
    let _ = host.run(&["status"]).exits(2).says("nothing is installed");
    let _ = host.run(&[one.path()]).succeeds();
    assert_eq!(banner(&host), first);
    let _ = host.run(&["uninstall", "--yes", "--volumes"]).succeeds();
    assert!(!host.root.join("small").exists());
    let _ = host.run(&[one.path()]).succeeds();
    assert_ne!(banner(&host), first);
}

#[test]
fn other_answers_for_what_runs_can_be_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    // Healthy only as long as the site is called `nowhere`.
    let built = bundle::changed(folder.path(), &version(1), |site| {
        let compose = site.join("compose.yaml");
        bundle::replace(
            &compose,
            r#"["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/"]"#,
            r#"["CMD-SHELL", "/bin/busybox grep -q nowhere /www/banner.txt"]"#,
        );
    });
    let host = Host::docker("taken-back");
    let _ = host.install(&built);
    let (id, mounts) = (host.id("small", "front"), host.inspect("small-front-1", "{{json .Mounts}}"));
    let failed = host.run(&["--timeout", "4", "--set", "site_name=bad", built.path()]).exits(8);
    let _ = failed.says("runs again, as before");
    assert_eq!(banner(&host), "site nowhere");
    assert_eq!((id, mounts), (host.id("small", "front"), host.inspect("small-front-1", "{{json .Mounts}}")));

    // The same, killed while it waits: another version puts the good one back first.
    let mut running = host.start(&["--set", "site_name=bad", built.path()]);
    assert!(running.wait_for(|line| line.contains("waiting for front")));
    running.signal(Signal::KILL);
    let _ = running.end();
    assert_eq!(banner(&host), "site bad");
    let other = bundle::small(folder.path(), &SmallSite { failing: true, ..version(2) });
    let _ = host.run(&["--timeout", "3", other.path()]).exits(8);
    assert_eq!(banner(&host), "site nowhere");
    let _ = host.run(&[built.path()]).succeeds().says("unchanged");
}

#[test]
fn the_sites_own_folders_belong_to_no_release() {
    let folder = tempfile::tempdir().unwrap();
    let with_folder = |number| {
        bundle::changed(folder.path(), &version(number), |site| {
            let compose = site.join("compose.yaml");
            bundle::replace(&compose, "      - ticks:/data\n", "      - ./ticks:/data\n");
            bundle::replace(&compose, "volumes:\n  ticks:\n", "");
            fs::create_dir(site.join("ticks")).unwrap();
        })
    };
    let (one, two) = (with_folder(1), with_folder(2));
    let host = Host::docker("own-folder");
    let _ = host.install(&one);
    let ticker = host.id("small", "ticker");
    let _ = inside(&host, "echo precious >/data/precious");
    let _ = host.run(&[two.path()]).succeeds();
    assert_eq!(host.page(PORT), "page 2");
    assert_eq!(ticker, host.id("small", "ticker"), "an unchanged service was replaced");
    assert_eq!(inside(&host, "cat /data/precious"), "precious");
    let _ = host.run(&["uninstall", "--yes"]).succeeds().says("small/data");
    let _ = host.run(&[one.path()]).succeeds();
    assert_eq!(inside(&host, "cat /data/precious"), "precious");
}

#[test]
fn all_seeds_are_there_when_filling_was_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let one = bundle::small(folder.path(), &version(1));
    let two = bundle::changed(folder.path(), &version(2), |site| {
        for name in ["a", "b"] {
            let seed = fixtures::layer::Layer::new().file("row", 0o644, name);
            seed.write(&site.join(format!("{name}.tar"))).unwrap();
        }
        let manifest = site.join("ferry.yaml");
        bundle::replace(
            &manifest,
            "artifacts:\n",
            "volumes:\n  a: { seed: a.tar }\n  b: { seed: b.tar }\nartifacts:\n",
        );
        let compose = site.join("compose.yaml");
        bundle::replace(
            &compose,
            "      - ticks:/data\n",
            "      - ticks:/data\n      - a:/a\n      - b:/b\n",
        );
        bundle::replace(&compose, "volumes:\n  ticks:\n", "volumes:\n  ticks:\n  a:\n  b:\n");
    });
    let host = Host::docker("seeds-cut");
    let _ = host.install(&one);
    let mut running = host.start(&[two.path()]);
    assert!(running.wait_for(|line| line.contains("volume a")));
    running.signal(Signal::KILL);
    let _ = running.end();
    let _ = host.run(&[two.path()]).succeeds();
    assert_eq!(inside(&host, "cat /a/row /b/row"), "ab");
}

#[test]
fn nothing_is_seeded_once_a_service_may_have_run() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::changed(folder.path(), &version(1), |site| {
        let seed = fixtures::layer::Layer::new().file("row", 0o644, "seeded");
        seed.write(&site.join("a.tar")).unwrap();
        let manifest = site.join("ferry.yaml");
        bundle::replace(&manifest, "artifacts:\n", "volumes:\n  a: { seed: a.tar }\nartifacts:\n");
        let compose = site.join("compose.yaml");
        bundle::replace(&compose, "      - ticks:/data\n", "      - ticks:/data\n      - a:/a\n");
        bundle::replace(&compose, "volumes:\n  ticks:\n", "volumes:\n  ticks:\n  a:\n");
    });
    let [trust, fingerprint] = built.trust();
    let host = Host::docker("seeded-ran");
    let cut_off = |at: &str| {
        let mut running = host.start(&[trust, fingerprint, built.path()]);
        assert!(running.wait_for(|line| line.contains(at)), "{at}");
        running.signal(Signal::KILL);
        let _ = running.end().exits(137);
    };
    cut_off("waiting for ticker");
    assert_eq!(host.state("small")["attempt"]["phase"], "switching");
    // It runs for weeks. The record of an earlier Ferry says that the volume is being filled, as after a kill in the
    // second run.
    let _ = inside(&host, "echo precious >/a/precious; /bin/busybox rm /a/row");
    let state = host.root.join("small/installed.json");
    let says_filling = || bundle::replace(&state, "\"seeding\": []", "\"seeding\": [\"a\"]");
    says_filling();
    let ticker = host.id("small", "ticker");
    cut_off("waiting for ");
    assert_eq!(inside(&host, "ls /a"), "precious");
    assert_eq!(host.id("small", "ticker"), ticker, "a running service was taken down");
    // And without the containers that would hold the volume.
    says_filling();
    let _ = host.docker_text(&["rm", "--force", "small-front-1", "small-ticker-1"]);
    let _ = host.run(&[built.path()]).succeeds();
    assert_eq!(inside(&host, "ls /a"), "precious");

    // A volume that is gone is made and filled again.
    let _ = host.run(&["uninstall", "--yes", "--volumes"]).succeeds();
    cut_off("waiting for front");
    let _ = host.docker_text(&["rm", "--force", "small-front-1", "small-ticker-1"]);
    let _ = host.docker_text(&["volume", "rm", "small_a"]);
    let _ = host.run(&[trust, fingerprint, built.path()]).succeeds();
    assert_eq!(inside(&host, "cat /a/row"), "seeded");
}

#[test]
fn releases_and_images_that_are_no_longer_kept_go() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::docker("pruned");
    for number in 1..=5 {
        let built = bundle::small(folder.path(), &version(number));
        let _ = host.install(&built);
    }
    let kept = |path: &str| fs::read_dir(host.root.join(path)).unwrap().count();
    assert_eq!(kept("small/releases"), 3);
    let images = host.docker_text(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    let mut images: Vec<&str> = images.lines().collect();
    images.sort_unstable();
    assert_eq!(images, ["small/front:3.0.0", "small/front:4.0.0", "small/front:5.0.0", "small/ticker:1"]);
    assert_eq!(host.state("small")["previous"].as_array().unwrap().len(), 2);
}

#[test]
fn a_product_stays_on_its_engine_and_others_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (bundle::small(folder.path(), &version(1)), bundle::small(folder.path(), &version(2)));
    let host = Host::docker("engine-one");
    let other = Host::docker("engine-two");
    let _ = host.install(&one);
    let before = other.snapshot();
    let elsewhere = other.engine.host();
    let refused = host.run(&["--engine", &elsewhere, two.path()]).exits(7);
    let _ = refused
        .says("it is installed on the engine at ")
        .says("name no other engine with --engine or DOCKER_HOST");
    assert_unchanged(&before, &other.snapshot(), "an install for another engine");

    // A project that Ferry knows nothing of.
    let _ = host.docker_text(&[
        "run",
        "--detach",
        "--name",
        "theirs",
        "--label",
        "com.docker.compose.project=theirs",
        "--label",
        "com.docker.compose.service=web",
        "small/ticker:1",
    ]);
    let before = host.containers();
    for command in [&["stop"][..], &["uninstall", "--yes", "--volumes"]] {
        let arguments: Vec<&str> = command.iter().chain(&["--product", "theirs"]).copied().collect();
        let _ = host.run(&arguments).exits(2).says("theirs is not installed");
    }
    assert_eq!(host.containers(), before);
    assert_eq!(host.state("small")["attempt"], json!(null));
}

#[test]
fn what_was_stopped_with_an_exit_code_of_0_is_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::changed(folder.path(), &version(1), |site| {
        bundle::replace(
            &site.join("compose.yaml"),
            "    restart: unless-stopped\n    stop_grace_period: 2s\n",
            "",
        );
    });
    let host = Host::docker("exit-0");
    let _ = host.install(&built);
    let _ = host.docker_text(&["stop", "small-ticker-1"]);
    assert_eq!(host.inspect("small-ticker-1", "{{.State.ExitCode}}"), "0");
    let _ = host.run(&["start"]).succeeds();
    assert_eq!(host.containers(), ["small-front-1 running", "small-ticker-1 running"]);
    let _ = host.docker_text(&["stop", "small-ticker-1"]);
    let _ = host.run(&[built.path()]).succeeds().says("started    ticker");
    let _ = host.docker_text(&["rm", "--force", "small-ticker-1", "small-front-1"]);
    let _ = host.run(&["start"]).exits(7).says("removed by somebody");
}

#[test]
fn a_disk_that_fills_while_images_come_in_leaves_the_old_version_running() {
    let folder = tempfile::tempdir().unwrap();
    let one = bundle::small(folder.path(), &version(1));
    let two = bundle::small(folder.path(), &SmallSite { ballast: 90 << 20, ..version(2) });
    let host = Host::of(fixtures::Engine::start_on_disk("full-disk", 320 << 20).unwrap());
    let _ = host.install(&one);
    let ids = [host.id("small", "front"), host.id("small", "ticker")];
    let filler = host.engine.folder().join("data/filler");
    let mut running = host.start(&[two.path()]);
    assert!(running.wait_for(|line| line.contains("\"importing\"")));
    let mut file = fs::File::create(&filler).unwrap();
    // Until nothing more goes in.
    while std::io::Write::write_all(&mut file, &[1; 1 << 20]).is_ok() {}
    drop(file);
    let failed = running.end().exits(9);
    assert!(failed.stdout.contains("no space left on device"), "{failed}");
    let data = host.engine.folder().join("data");
    let told = failed.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(told.contains(&format!("in {}: ", data.display())) && told.contains(" are free"), "{told}");
    assert_eq!(ids, [host.id("small", "front"), host.id("small", "ticker")]);
    assert_eq!(host.page(PORT), "page 1");
    assert_eq!(host.state("small")["attempt"], json!(null));
    fs::remove_file(&filler).unwrap();
    let _ = host.run(&[two.path()]).succeeds();
    assert_eq!(host.page(PORT), "page 2");
}

#[test]
fn images_that_came_in_before_a_power_cut_are_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::small(folder.path(), &version(1));
    let host = Host::docker("power-cut");
    let [trust, fingerprint] = built.trust();
    let mut running = host.start(&[trust, fingerprint, built.path()]);
    assert!(running.wait_for(|line| line.contains("\"laying out\"")));
    running.signal(Signal::KILL);
    let _ = running.end();
    assert!(host.docker_text(&["images", "--quiet"]).lines().count() >= 2, "the images are in the engine");
    // Killed only: nothing has to come in again.
    let plan = host.run(&["--json", "--dry-run", built.path()]).succeeds().json();
    assert_eq!(plan["plan"]["images_missing"], json!([]));

    // As if the host had been restarted since.
    let state = host.root.join("small/installed.json");
    let boot = host.state("small")["attempt"]["boot"].as_str().unwrap().to_owned();
    bundle::replace(&state, &boot, "of-another-day");
    let again = host.run(&["--json", built.path()]).succeeds();
    let again = again.says("this host was restarted during an import");
    assert_eq!(again.json()["plan"]["images_missing"].as_array().unwrap().len(), 2);
    assert_eq!(host.page(PORT), "page 1");
}
