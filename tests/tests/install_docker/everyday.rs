//! A sysop's ordinary day, and what the commands say of it.

use crate::PORT;
use fixtures::small_site::SmallSite;
use rustix::process::Signal;
use std::fs;
use std::process::Command;
use tests::bundle;
use tests::host::Host;
use tests::outcome::Outcome;
use tests::programs;

#[test]
fn start_says_that_all_run_and_status_that_one_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::small(folder.path(), &SmallSite::default());
    let host = Host::docker("everyday");
    let _ = host.install(&built);
    let _ = host.run(&["start"]).succeeds().says("all services run already").says("small runs");
    let _ = host.docker_text(&["rm", "--force", "small-ticker-1"]);
    let _ = host.run(&["status"]).succeeds().says("ticker           missing");
    assert_eq!(host.run(&["status", "--json"]).succeeds().json()["missing"], serde_json::json!(["ticker"]));
    let _ = host.run(&["start"]).exits(7).says("the container of ticker was removed by somebody");
    let _ = host.run(&[built.path()]).succeeds().says("new        ticker");
    assert_eq!(host.run(&["status", "--json"]).succeeds().json()["missing"], serde_json::json!([]));
}

#[test]
fn status_tells_an_install_that_goes_on_from_one_that_was_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let failing = SmallSite { failing: true, ..SmallSite::default() };
    let built = bundle::changed(folder.path(), &failing, bundle::fail_slowly);
    let host = Host::docker("going-on");
    let [trust, fingerprint] = built.trust();
    let mut running = host.start(&[trust, fingerprint, built.path()]);
    assert!(running.wait_for(|line| line.contains("waiting for sick")));
    let _ = host.run(&["status"]).succeeds().says("is under way").does_not_say("was interrupted");
    running.signal(Signal::KILL);
    let _ = running.end();
    let _ = host.run(&["status"]).succeeds().says("was interrupted");
}

#[test]
fn images_and_networks_of_others_stay_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::changed(folder.path(), &SmallSite::default(), |site| {
        let compose = site.join("compose.yaml");
        bundle::replace(
            &compose,
            "volumes:\n  ticks:\n",
            "volumes:\n  ticks:\n  archive: { external: true }\nnetworks:\n  default:\n  plant: { external: true }\n",
        );
        bundle::replace(
            &compose,
            "      - ticks:/data\n",
            "      - ticks:/data\n      - archive:/archive\n    networks: [default, plant]\n",
        );
    });
    let host = Host::docker("others");
    let [trust, fingerprint] = built.trust();
    let missing = host.run(&[trust, fingerprint, built.path()]).exits(7);
    let _ = missing
        .says("the external network plant does not exist")
        .says("the external volume archive does not exist");
    let _ = host.docker_text(&["network", "create", "plant"]);
    let _ = host.docker_text(&["volume", "create", "archive"]);
    // Somebody else's copy of one of the images, under the same name.
    let _ = host.docker_text(&["load", "--input", built.site.join("dist/front.tar").to_str().unwrap()]);
    let _ = host.run(&[trust, fingerprint, built.path()]).succeeds();
    let removed = host.run(&["uninstall", "--yes", "--volumes"]).succeeds();
    let _ = removed.says("with its images: ").does_not_say("small/front");
    let images = host.docker_text(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    assert_eq!(images, "small/front:1.0.0");
    assert_eq!(host.docker_text(&["volume", "ls", "--format", "{{.Name}}"]), "archive");
    assert!(host.docker_text(&["network", "ls", "--format", "{{.Name}}"]).contains("plant"));
}

#[test]
fn a_name_that_somebody_gave_to_another_image_stays_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let theirs = SmallSite { message: "theirs".to_owned(), ..SmallSite::default() };
    theirs.write(&folder.path().join("theirs")).unwrap();
    let built = bundle::small(folder.path(), &SmallSite::default());
    let host = Host::docker("same-name");
    let archive = folder.path().join("theirs/dist/front.tar");
    let _ = host.docker_text(&["load", "--input", archive.to_str().unwrap()]);
    let id = || host.docker_text(&["image", "inspect", "--format", "{{.Id}}", "small/front:1.0.0"]);
    let before = id();
    let [trust, fingerprint] = built.trust();
    let installed = host.run(&[trust, fingerprint, built.path()]).succeeds();
    let _ = installed.says("small/front:1.0.0 names another image in this engine: this one is named ");
    assert_eq!(host.page(PORT), "hello from the small site");
    assert_eq!(id(), before);
    let _ = host.run(&[built.path()]).succeeds().says("unchanged");
    let _ = host.run(&["uninstall", "--yes"]).succeeds().says("small/front:ferry-");
    assert_eq!(id(), before);
    assert_eq!(host.docker_text(&["images", "--all", "--quiet"]).lines().count(), 1);
}

#[test]
fn everything_that_stands_in_the_way_is_listed_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::changed(folder.path(), &SmallSite::default(), |site| {
        bundle::replace(
            &site.join("compose.yaml"),
            "    image: small/ticker:1\n",
            "    image: small/ticker:1\n    devices: [/dev/no-such-device]\n    networks: [plant]\n",
        );
        let mut compose = fs::read_to_string(site.join("compose.yaml")).unwrap();
        compose.push_str("networks:\n  plant: { external: true }\n");
        fs::write(site.join("compose.yaml"), compose).unwrap();
    });
    let host = Host::docker("at-once");
    let _ = host.install(&bundle::small(
        &folder.path().join("other"),
        &SmallSite { name: "other".to_owned(), ..SmallSite::default() },
    ));
    let [trust, fingerprint] = built.trust();
    let refused = host.run(&[trust, fingerprint, built.path()]).exits(7);
    let _ = refused
        .says(&format!("port {PORT}/tcp of service front is taken"))
        .says("needs the device /dev/no-such-device")
        .says("the external network plant does not exist");
}

#[test]
fn a_build_writes_over_nothing_but_bundles() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::small(folder.path(), &SmallSite::default());
    let key = built.key.private.clone();
    let build = |output: &std::path::Path| {
        let mut command = Command::new(programs::ferry());
        programs::plain_environment(&mut command);
        Outcome::of(
            command
                .arg("build")
                .arg(&built.site)
                .arg("--offline")
                .arg("--key")
                .arg(&key)
                .arg("-o")
                .arg(output),
        )
    };
    for precious in [key.clone(), built.site.join("compose.yaml")] {
        let before = fs::read(&precious).unwrap();
        let _ = build(&precious).exits(9).says("exists already, and is not a bundle");
        assert_eq!(fs::read(&precious).unwrap(), before);
    }
    let _ = build(&built.file).succeeds();
}
