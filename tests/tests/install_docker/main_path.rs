//! From a stick to running services, and what a sysop does with them.

use crate::PORT;
use fixtures::small_site::SmallSite;
use serde_json::json;
use std::fs;
use tests::bundle;
use tests::host::Host;
use tests::outcome::Outcome;
use tests::programs;
use tests::snapshot::assert_unchanged;

#[test]
fn a_stick_that_cannot_be_written_installs_and_a_second_time_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::small(folder.path(), &SmallSite::default());
    let host = Host::docker("stick");
    let stick = host.engine.folder().join("stick");
    fs::create_dir(&stick).unwrap();
    fs::copy(programs::install(), stick.join("install")).unwrap();
    fs::copy(&built.file, stick.join("site.fz")).unwrap();
    let written = host.from_stick(&stick, "/bin/touch", &["here"]);
    assert!(written.code != 0 && written.stderr.contains("Read-only"), "the stick can be written: {written}");

    let [trust, fingerprint] = built.trust();
    let installed = host.from_stick(&stick, "./install", &[trust, fingerprint, "site.fz"]).succeeds();
    let release = host.state("small")["current"]["release"].as_str().unwrap().to_owned();
    let root = host.root.display();
    assert_eq!(
        installed.stdout,
        format!(
            "✓ small 1.0.0 runs ({release})\n  new        front, ticker\n  listens    front  127.0.0.1:{PORT}/tcp\n  \
             files      {root}/products/small/current\n  next       {root}/bin/fz status\n"
        )
    );
    assert_eq!(host.page(PORT), "hello from the small site");
    assert_eq!(host.containers(), ["small-front-1 running", "small-ticker-1 running"]);

    let current = host.root.join("small/current");
    let link = fs::read_link(&current).unwrap();
    let folder = host.state("small")["current"]["folder"].as_str().unwrap().to_owned();
    assert!(folder.starts_with(&format!("{release}-")), "{folder}");
    assert_eq!(link.to_str().unwrap(), format!("releases/{folder}"));
    let read = |name: &str| fs::read_to_string(current.join(name)).unwrap();
    assert_eq!(read("artifacts/files/readme.txt"), "A file that travels along.\n");
    assert_eq!(read("artifacts/files/link.txt"), "A file that travels along.\n");
    assert_eq!(read("config/banner.txt"), "site nowhere\n");
    assert!(read("compose.yaml").contains("small/front:1.0.0"));
    let inside = host.docker_text(&["exec", "small-front-1", "cat", "/www/banner.txt"]);
    assert_eq!(inside, "site nowhere");

    // The program stays, and is the one that the host uses from now on.
    let resident = host.root.join("bin/fz");
    assert_eq!(fs::read(&resident).unwrap(), fs::read(programs::install()).unwrap());
    let _ = Outcome::of(host.command(&resident).arg("status")).succeeds().says("small 1.0.0");

    let before = host.snapshot();
    let ids = [host.id("small", "front"), host.id("small", "ticker")];
    let started = host.inspect("small-front-1", "{{.State.StartedAt}}");
    let again = host.from_stick(&stick, "./install", &["site.fz"]).succeeds();
    assert_eq!(again.stdout, format!("✓ {release} is installed, runs and is unchanged: nothing to do\n"));
    assert_unchanged(&before, &host.snapshot(), "installing the same bundle again");
    assert_eq!(ids, [host.id("small", "front"), host.id("small", "ticker")]);
    assert_eq!(started, host.inspect("small-front-1", "{{.State.StartedAt}}"));
}

#[test]
fn a_dry_run_says_what_would_be_done_and_does_none_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::small(folder.path(), &SmallSite::default());
    let host = Host::docker("dry");
    let before = host.snapshot();
    let [trust, fingerprint] = built.trust();
    let planned = host.run(&["--dry-run", trust, fingerprint, built.path()]).succeeds();
    assert!(planned.stdout.starts_with("small 1.0.0\n  images    0 there, 2 to send ("), "{planned}");
    for line in [
        "  files     to be written",
        "  service   front: create",
        "  service   ticker: create",
        "nothing was changed (--dry-run)",
    ] {
        assert!(planned.stdout.lines().any(|found| found == line), "`{line}` in {planned}");
    }
    assert_unchanged(&before, &host.snapshot(), "a dry run");
    assert!(!host.root.exists());

    let _ = host.install(&built);
    let next = SmallSite { version: "1.1.0".to_owned(), message: "next".to_owned(), ..SmallSite::default() };
    let next = bundle::small(folder.path(), &next);
    let before = host.snapshot();
    let planned = host.run(&["--dry-run", next.path()]).succeeds();
    let current = host.state("small")["current"]["release"].as_str().unwrap().to_owned();
    let head = format!("small 1.1.0 (replaces {current})\n  images    1 there, 1 to send (");
    assert!(planned.stdout.starts_with(&head), "{planned}");
    let _ = planned.says("  service   front: replace\n  service   ticker: ");
    let json = host.run(&["--json", "--dry-run", next.path()]).succeeds().json();
    assert_eq!(json["result"], "planned");
    assert_eq!(json["plan"]["images_missing"].as_array().unwrap().len(), 1);
    assert_eq!(json["plan"]["services"]["front"], "replace");
    assert_unchanged(&before, &host.snapshot(), "a dry run over an installed release");
}

#[test]
fn json_is_one_document_out_and_lines_of_events_beside() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::small(folder.path(), &SmallSite::default());
    let host = Host::docker("json");
    let [trust, fingerprint] = built.trust();
    let installed = host.run(&["--json", trust, fingerprint, built.path()]).succeeds();
    let result = installed.json();
    assert_eq!(result["result"], "installed");
    assert_eq!(result["report"]["created"], json!(["front", "ticker"]));
    assert_eq!(result["published"], json!([format!("front  127.0.0.1:{PORT}/tcp")]));
    let events = installed.events();
    let ended: Vec<&str> = events
        .iter()
        .filter(|event| event["event"] == "end")
        .map(|event| event["stage"].as_str().unwrap())
        .collect();
    assert!(ended.contains(&"verifying") && ended.contains(&"importing"), "{ended:?}");
    assert_eq!(ended.last(), Some(&"starting"), "{ended:?}");

    assert_eq!(host.run(&["--json", built.path()]).succeeds().json()["result"], "unchanged");
    let status = host.run(&["--json", "status"]).succeeds().json();
    assert_eq!(status["product"], "small");
    assert_eq!(status["current"]["version"], "1.0.0");
    let services = status["services"].as_array().unwrap();
    let names: Vec<&str> = services.iter().map(|service| service["service"].as_str().unwrap()).collect();
    assert_eq!(names, ["front", "ticker"]);
    // The other one's first check by the engine comes after 30 seconds; the install made its own.
    assert_eq!((&services[0]["state"], &services[0]["health"]), (&json!("running"), &json!("healthy")));
    assert_eq!(services[1]["state"], "running");
    let verified = host.run(&["--json", "verify", built.path()]).succeeds().json();
    assert_eq!(verified["pinned"], true);
    let refused = host.run(&["--json", "/nonexistent.fz"]).exits(9);
    assert_eq!(refused.json()["error"]["exit_code"], 9);
}

#[test]
fn compose_labels_let_every_dashboard_see_the_project() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::small(folder.path(), &SmallSite::default());
    let host = Host::docker("labels");
    let _ = host.install(&built);
    let label = |key: &str| {
        host.inspect("small-front-1", &format!("{{{{index .Config.Labels \"com.docker.compose.{key}\"}}}}"))
    };
    assert_eq!(label("project"), "small");
    assert_eq!(label("service"), "front");
    assert_eq!(label("container-number"), "1");
    assert_eq!(label("oneoff"), "False");
    assert_eq!(label("project.working_dir"), host.root.join("products/small/current").display().to_string());
    assert!(!label("config-hash").is_empty());
    assert_eq!(host.inspect("small_ticks", "{{index .Labels \"com.docker.compose.volume\"}}"), "ticks");
    assert_eq!(host.inspect("small_default", "{{index .Labels \"com.docker.compose.network\"}}"), "default");
    // Logs rotate unless the site says otherwise, images are named as Compose names them.
    assert!(host.inspect("small-front-1", "{{json .HostConfig.LogConfig}}").contains("max-size"));
    let images = host.docker_text(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    let mut images: Vec<&str> = images.lines().collect();
    images.sort_unstable();
    assert_eq!(images, ["small/front:1.0.0", "small/ticker:1"]);
}

#[test]
fn stop_start_status_logs_and_uninstall() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::small(folder.path(), &SmallSite::default());
    let host = Host::docker("sysop");
    let _ = host.run(&["status"]).exits(2).says("nothing is installed below");
    let empty = host.snapshot();
    let [trust, fingerprint] = built.trust();
    let _ = host.run(&[trust, fingerprint, "--set", "site_name=hall", built.path()]).succeeds();
    let ids = [host.id("small", "front"), host.id("small", "ticker")];

    let stopped = host.run(&["stop"]).succeeds();
    assert_eq!(stopped.stdout, "small is stopped\n");
    assert_eq!(host.containers(), ["small-front-1 exited", "small-ticker-1 exited"]);
    let _ = host.run(&["status"]).succeeds().says("exited");
    // In good order: the ticker was asked, and answered.
    let _ = host.run(&["logs", "ticker"]).succeeds().says("ticker       | ticker stops");
    assert_eq!(host.run(&["start"]).succeeds().stdout, "small runs\n");
    assert_eq!(host.page(PORT), "hello from the small site");
    assert_eq!(ids, [host.id("small", "front"), host.id("small", "ticker")]);
    let _ = host.run(&["logs"]).succeeds().says("ticker       | ticker starts");
    let _ = host.run(&["logs", "nobody"]).exits(2).says("project small has no service nobody");

    // Nothing goes without a yes, and data stays unless asked.
    let before = host.snapshot();
    let _ = host.run(&["uninstall"]).exits(2).says("run it again with --yes");
    assert_unchanged(&before, &host.snapshot(), "an uninstall without a yes");
    let gone = host.run(&["uninstall", "--yes"]).succeeds();
    let values = host.root.join("products/small/answers.json");
    assert_eq!(
        gone.stdout,
        format!(
            "small is removed\n  with its images: small/front:1.0.0, small/ticker:1\n  kept with their data: small_ticks\n  kept for the next install: {}\n",
            values.display()
        )
    );
    assert_eq!(host.containers(), [""; 0]);
    assert_eq!(host.docker_text(&["volume", "ls", "--quiet"]), "small_ticks");
    assert_eq!(host.docker_text(&["images", "--quiet"]), "");
    let left = fs::read_dir(host.root.join("small")).unwrap();
    let mut left: Vec<_> = left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    // The folder shuts 0.1.0 out, which does not read these answers.
    assert_eq!(left, ["answers.json", "state.json"], "only the answers stay");

    // The volume is found again, with what it held.
    let ticks = || -> u64 {
        host.docker_text(&["exec", "small-ticker-1", "cat", "/data/ticks"]).trim().parse().unwrap()
    };
    let keep = ["run", "--rm", "-v", "small_ticks:/data", "--entrypoint", "/bin/sh"];
    let _ = host.run(&[built.path()]).succeeds();
    let _ = host.docker_text(&["stop", "small-ticker-1"]);
    let _ = host.docker_text(&[&keep[..], &["small/front:1.0.0", "-c", "echo 5000 >/data/ticks"]].concat());
    let _ = host.run(&["uninstall", "--yes"]).succeeds();
    let _ = host.run(&[built.path()]).succeeds();
    assert!(ticks() >= 5000, "the volume lost its data");

    let _ = host.run(&["uninstall", "--yes", "--volumes"]).succeeds();
    let left: Vec<String> = host.snapshot().into_keys().filter(|key| !key.starts_with("file ")).collect();
    assert_eq!(left, empty.into_keys().collect::<Vec<_>>(), "something of it is left in the engine");
}
