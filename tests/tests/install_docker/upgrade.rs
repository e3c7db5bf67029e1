//! A new version over an old one: only what changed moves, and a failure puts the old one back.

use crate::PORT;
use fixtures::small_site::SmallSite;
use serde_json::json;
use tests::bundle;
use tests::host::Host;
use tests::snapshot::assert_unchanged;

/// Bytes that crossed the namespace's loopback so far: all that was sent to the engine.
fn sent(host: &Host) -> u64 {
    let counters = host.engine.run_inside(&["cat", "/proc/self/net/dev"]).unwrap();
    let text = String::from_utf8(counters.stdout).unwrap();
    let line = text.lines().find_map(|line| line.trim().strip_prefix("lo:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn version(version: &str, message: &str) -> SmallSite {
    SmallSite { version: version.to_owned(), message: message.to_owned(), ..SmallSite::default() }
}

#[test]
fn one_name_for_several_images_is_on_the_one_that_runs_and_none_of_them_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let bundles = ["one", "two", "three"].map(|message| {
        let site = SmallSite { failing: message == "two", ..version("1.0.0", message) };
        bundle::small(&folder.path().join(message), &site)
    });
    let [one, sick, three] = &bundles;
    let host = Host::docker("one-name");
    let _ = host.install(one);
    let named = || host.docker_text(&["image", "inspect", "--format", "{{.Id}}", "small/front:1.0.0"]);
    let runs = || host.inspect("small-front-1", "{{.Image}}");
    let first = named();
    assert_eq!(first, runs());
    let [trust, fingerprint] = sick.trust();
    let _ = host.run(&[trust, fingerprint, sick.path(), "--timeout", "4"]).exits(8);
    assert_eq!((named(), runs()), (first.clone(), first.clone()));

    let [trust, fingerprint] = three.trust();
    let _ = host.run(&[trust, fingerprint, three.path()]).succeeds();
    assert_eq!(named(), runs());
    assert_ne!(named(), first);
    // The way back needs the image that lost its name.
    let _ = host.docker_text(&["image", "prune", "--force"]);
    let back = host.run(&["--json", one.path()]).succeeds().json();
    assert_eq!(back["plan"]["images_missing"], json!([]));
    assert_eq!((named(), runs()), (first.clone(), first));
    let _ = host.run(&["uninstall", "--yes"]).succeeds();
    assert_eq!(host.docker_text(&["images", "--all", "--quiet"]), "", "images are left");
}

#[test]
fn an_older_version_needs_a_yes() {
    let folder = tempfile::tempdir().unwrap();
    let small = |number: &str| bundle::small(&folder.path().join(number), &version(number, number));
    let [new, old, odd] = ["1.10.0", "1.9.0", "summer"].map(small);
    let host = Host::docker("downgrade");
    let _ = host.install(&new);
    let before = host.snapshot();
    let older = "version 1.9.0 is older than the running 1.10.0";
    for (bundle, fact) in
        [(&old, older), (&odd, "nothing says whether version summer is older than the running 1.10.0")]
    {
        let refused = host.run(&[bundle.path()]).exits(7).says(fact);
        let _ = refused.says("--allow-downgrade").says("nothing was changed");
        let _ = host.run(&["--dry-run", bundle.path()]).succeeds().says(fact);
        assert_unchanged(&before, &host.snapshot(), fact);
    }
    let answered = |answer: &str| {
        let mut running = host.on_terminal(&["--set", "site_name=x", old.path()]);
        assert!(running.wait_for_output(|line| line.contains(older)), "no question: {}", running.end());
        running.type_line(answer);
        running.end()
    };
    let _ = answered("").exits(7);
    assert_unchanged(&before, &host.snapshot(), "a step back that nobody confirmed");
    let _ = answered("y").succeeds().says("small 1.9.0 runs");
    let _ = host.run(&[new.path()]).succeeds().does_not_say("older");
    let _ = host.run(&["--allow-downgrade", old.path()]).succeeds().says(older);
    assert_eq!(host.page(PORT), "1.9.0");
}

#[test]
fn an_upgrade_replaces_only_what_changed_and_sends_only_the_new_layer() {
    let folder = tempfile::tempdir().unwrap();
    let ballast = 24 << 20;
    let one = bundle::small(folder.path(), &SmallSite { ballast, ..version("1.0.0", "one") });
    let two = bundle::small(folder.path(), &SmallSite { ballast, ..version("2.0.0", "two") });
    let host = Host::docker("upgrade");
    let [trust, fingerprint] = one.trust();
    let first = host.run(&["--json", trust, fingerprint, one.path()]).succeeds().json();
    // Engines from 23 on are sent the layers as they are packed.
    let planned = first["plan"]["send_bytes"].as_u64().unwrap();
    assert!(planned > 1 << 20 && sent(&host) > planned, "the first install sends everything");
    let (front, ticker) = (host.id("small", "front"), host.id("small", "ticker"));
    let started = host.inspect("small-ticker-1", "{{.State.StartedAt}}");

    let before = sent(&host);
    let upgraded = host.run(&["--json", two.path()]).succeeds().json();
    let crossed = sent(&host) - before;
    assert_eq!(host.page(PORT), "two");
    assert!(crossed < 100_000, "{crossed} bytes were sent for a layer of a few kilobytes");
    let planned = upgraded["plan"]["send_bytes"].as_u64().unwrap();
    assert!(planned < 10_000, "{planned} bytes were planned");
    assert_eq!(upgraded["report"]["replaced"], json!(["front"]));

    assert_ne!(front, host.id("small", "front"));
    assert_eq!(ticker, host.id("small", "ticker"), "an unchanged service was replaced");
    assert_eq!(
        started,
        host.inspect("small-ticker-1", "{{.State.StartedAt}}"),
        "an unchanged service was restarted"
    );
    assert_eq!(host.containers(), ["small-front-1 running", "small-ticker-1 running"]);
    let state = host.state("small");
    assert_eq!(state["current"]["version"], "2.0.0");
    assert_eq!(state["previous"][0]["version"], "1.0.0");
    assert_eq!(state["attempt"], json!(null));
    assert!(host.root.join("small/current/artifacts/files/readme.txt").is_file());

    // And back, with nothing to send at all.
    let before = sent(&host);
    let back = host.run(&["--json", "--allow-downgrade", one.path()]).succeeds().json();
    assert_eq!(back["plan"]["images_missing"], json!([]));
    assert!(sent(&host) - before < 20_000);
    assert_eq!(host.page(PORT), "one");
    assert_eq!(ticker, host.id("small", "ticker"));
}

#[test]
fn a_changed_config_replaces_the_service_that_mounts_it_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let one = bundle::small(folder.path(), &SmallSite::default());
    let host = Host::docker("config");
    let _ = host.install(&one);
    let (front, ticker) = (host.id("small", "front"), host.id("small", "ticker"));
    let changed = host.run(&["--set", "site_name=Plant 7", one.path()]).succeeds();
    assert_eq!(
        host.docker_text(&["exec", "small-front-1", "cat", "/www/banner.txt"]),
        "site Plant 7",
        "{changed}"
    );
    assert_ne!(front, host.id("small", "front"));
    assert_eq!(ticker, host.id("small", "ticker"));
    // The answer is remembered.
    let _ = host.run(&[one.path()]).succeeds().says("unchanged");
    assert_eq!(host.docker_text(&["exec", "small-front-1", "cat", "/www/banner.txt"]), "site Plant 7");
}

#[test]
fn a_service_that_does_not_become_healthy_is_shown_and_the_old_version_runs_on() {
    let folder = tempfile::tempdir().unwrap();
    let one = bundle::small(folder.path(), &version("1.0.0", "one"));
    let sick = bundle::small(folder.path(), &SmallSite { failing: true, ..version("2.0.0", "two") });
    let host = Host::docker("failing");

    // On an empty host nothing of it stays up.
    let [trust, fingerprint] = sick.trust();
    let failed = host.run(&["--timeout", "5", trust, fingerprint, sick.path()]).exits(8);
    let failed = failed.says("its last log lines:").says("| the sick service cannot find its disk");
    let _ = failed.says("error: service sick: ").says("hint: ").says("nothing of it is left running");
    assert_eq!(host.containers(), [""; 0]);

    let _ = host.run(&[one.path()]).succeeds();
    let ids = [host.id("small", "front"), host.id("small", "ticker")];
    let failed = host.run(&["--timeout", "5", sick.path()]).exits(8);
    let release = host.state("small")["current"]["release"].as_str().unwrap().to_owned();
    let _ = failed
        .says("| the sick service cannot find its disk")
        .says(&format!("{release} runs again, as before"));
    assert_eq!(host.page(PORT), "one");
    assert_eq!(host.containers(), ["small-front-1 running", "small-ticker-1 running"]);
    assert_eq!(
        ids,
        [host.id("small", "front"), host.id("small", "ticker")],
        "the old containers themselves run"
    );
    assert_eq!(host.state("small")["current"]["version"], "1.0.0");
    assert_eq!(host.inspect("small-front-1", "{{.HostConfig.RestartPolicy.Name}}"), "unless-stopped");
    let _ = host.run(&[one.path()]).succeeds().says("unchanged: nothing to do");

    let mended = bundle::small(folder.path(), &version("2.0.1", "mended"));
    let _ = host.run(&[mended.path()]).succeeds();
    assert_eq!(host.page(PORT), "mended");
}

#[test]
fn a_service_that_is_no_longer_in_the_project_goes() {
    let folder = tempfile::tempdir().unwrap();
    let three = bundle::changed(folder.path(), &version("1.0.0", "one"), |site| {
        let compose = site.join("compose.yaml");
        bundle::replace(
            &compose,
            "volumes:\n  ticks:",
            "  third:\n    image: small/ticker:1\n    stop_grace_period: 2s\nvolumes:\n  ticks:",
        );
    });
    let two = bundle::small(folder.path(), &version("2.0.0", "one"));
    let host = Host::docker("fewer");
    let _ = host.install(&three);
    assert_eq!(host.containers().len(), 3);
    let _ = host.run(&[two.path()]).succeeds().says("  removed    third");
    assert_eq!(host.containers(), ["small-front-1 running", "small-ticker-1 running"]);
}
