//! Bundles of format 2 on a host: what is older by its serial, who owns a volume by the manifest, and what 0.1.0 says.

use super::PORT;
use fixtures::golden;
use fixtures::small_site::SmallSite;
use std::fs;
use std::path::Path;
use tests::bundle::{self, Built};
use tests::host::Host;
use tests::outcome::Outcome;
use tests::programs;
use tests::snapshot::assert_unchanged;

/// The small site with a version that is no semantic one, and a serial.
fn release(folder: &Path, version: &str, serial: Option<u64>) -> Built {
    let name = format!("{version}-{}", serial.unwrap_or_default());
    let site = SmallSite { version: version.to_owned(), message: name.clone(), ..SmallSite::default() };
    bundle::changed(&folder.join(name), &site, |site| {
        if let Some(serial) = serial {
            bundle::replace(&site.join("ferry.yaml"), "ferry: 1\n", &format!("ferry: 2\nserial: {serial}\n"));
        }
    })
}

#[test]
fn serials_order_versions_that_are_no_semantic_ones() {
    let folder = tempfile::tempdir().unwrap();
    let new = |version: &str, serial: Option<u64>| release(folder.path(), version, serial);
    let (winter, spring, summer) = (new("winter", Some(9)), new("spring", Some(10)), new("summer", Some(10)));
    let (rebuilt, unnumbered) = (new("spring", Some(11)), new("autumn", None));
    let host = Host::docker("serial");
    let _ = host.install(&winter);
    // Up: 10 is more than 9, and nobody is asked.
    let _ = host.run(&["--no-input", spring.path()]).succeeds().does_not_say("older");
    assert_eq!(host.page(PORT), "spring-10");
    let before = host.snapshot();
    for (bundle, fact) in [
        (&winter, "version winter (serial 9) is older than the running spring (serial 10)"),
        // It was not raised.
        (
            &summer,
            "nothing says whether version summer (serial 10) is older than the running spring (serial 10)",
        ),
        (&unnumbered, "nothing says whether version autumn is older than the running spring"),
    ] {
        let refused = host.run(&["--no-input", bundle.path()]).exits(7).says(fact);
        let _ = refused.says("--allow-downgrade").says("nothing was changed");
        let _ = host.run(&["--dry-run", bundle.path()]).succeeds().says(fact);
        assert_unchanged(&before, &host.snapshot(), fact);
    }
    // The same release again, new answers from the retained bundle, and a rebuilt one.
    let _ = host.run(&["--no-input", spring.path()]).succeeds().says("unchanged");
    let _ = host.run(&["reconfigure", "--yes", "--set", "site_name=hall"]).succeeds();
    let _ = host.run(&["--no-input", rebuilt.path()]).succeeds().does_not_say("older");
    assert_eq!(host.page(PORT), "spring-11");
    let _ = host
        .run(&["--no-input", spring.path()])
        .exits(7)
        .says("version spring (serial 10) is older than the running spring (serial 11)");
    let _ = host.run(&["--no-input", "--allow-downgrade", winter.path()]).succeeds().says("is older");
    assert_eq!(host.page(PORT), "winter-9");
    // No record of the host has it: without the retained bundle nothing is claimed.
    let state = host.state("small");
    assert_eq!(state["current"]["version"], "winter");
    assert!(!state.to_string().contains("\"serial\""), "{state}");
    for bundle in fs::read_dir(host.root.join("small/bundles")).unwrap() {
        fs::remove_file(bundle.unwrap().path()).unwrap();
    }
    let unknown = "nothing says whether version spring is older than the running winter";
    let _ = host.run(&["--no-input", spring.path()]).exits(7).says(unknown);
}

#[test]
fn a_written_owner_and_mode_let_a_service_write() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::changed(folder.path(), &SmallSite::default(), |site| {
        fs::create_dir_all(site.join("rows/sub")).unwrap();
        fs::write(site.join("rows/sub/table"), "first").unwrap();
        let other = fixtures::layer::Layer::new()
            .folder("./", 0o700)
            .owner("./", 12, 12)
            .file("db", 0o600, "x")
            .owner("db", 65534, 65534);
        other.write(&site.join("db.tar")).unwrap();
        let manifest = site.join("ferry.yaml");
        bundle::replace(&manifest, "ferry: 1\n", "ferry: 2\n");
        let volumes = "volumes:\n  rows: { seed: rows, owner: \"65534:4321\", mode: \"02750\" }\n  \
                       db: { seed: db.tar, owner: \"nobody:nogroup\" }\n  \
                       open: { seed: db.tar, mode: \"01777\" }\n  \
                       roots: { seed: rows, owner: \"0:0\", mode: \"0755\" }\n";
        bundle::replace(&manifest, "artifacts:\n", &format!("{volumes}artifacts:\n"));
        let compose = site.join("compose.yaml");
        // It starts as root, so that the build has no reason to think of another owner.
        let writer = "  writer:\n    image: small/ticker:1\n    user: \"65534:65534\"\n    \
            command: [/bin/sh, -c, \"echo written >/rows/new; echo written >/db/new; echo written >/open/new; exec sleep 100000\"]\n    \
            healthcheck: { disable: true }\n    \
            volumes: [\"rows:/rows\", \"db:/db\", \"open:/open\", \"roots:/roots:ro\"]\n    stop_grace_period: 1s\n";
        let volumes = "volumes:\n  ticks:\n  rows:\n  db:\n  open:\n  roots:\n";
        bundle::replace(&compose, "volumes:\n  ticks:\n", &format!("{writer}{volumes}"));
    });
    assert_eq!(built.inspect()["format"], 2);
    assert_eq!(built.inspect()["release"]["needs"][0]["feature"], "seed-owner");
    let host = Host::docker("written-owner");
    let _ = host.install(&built);
    let inside = |command: &str| {
        host.docker_text(&["exec", "--user", "0", "small-writer-1", "/bin/sh", "-c", command])
    };
    let stat = inside(
        "cd /; /bin/busybox stat -c '%n %u:%g %a' rows rows/sub rows/sub/table db db/db open open/db roots roots/sub",
    );
    let expected = [
        "rows 65534:4321 2750",
        "rows/sub 65534:4321 755",
        "rows/sub/table 65534:4321 644",
        // A tar's own root is overruled, and its members are not.
        "db 65534:65534 700",
        "db/db 65534:65534 600",
        "open 12:12 1777",
        "open/db 65534:65534 600",
        "roots 0:0 755",
        "roots/sub 0:0 755",
    ];
    assert_eq!(stat.lines().collect::<Vec<_>>(), expected);
    assert_eq!(inside("cat /rows/new /db/new /open/new"), "written\nwritten\nwritten");
    // New answers come from the retained bundle of version 2, and seed nothing again.
    let _ = inside("echo changed >/rows/sub/table");
    let _ = host.run(&["reconfigure", "--yes", "--set", "site_name=hall"]).succeeds();
    assert_eq!(inside("cat /rows/sub/table"), "changed");
}

#[test]
fn the_program_of_0_1_0_says_that_it_is_too_old() {
    let folder = tempfile::tempdir().unwrap();
    let old = golden::installer(folder.path()).unwrap();
    let host = Host::docker("too-old");
    let fingerprint = golden::fingerprint().unwrap();
    for name in golden::BUNDLES_2 {
        let file = folder.path().join(name);
        fs::copy(golden::folder_2(name).join(name), &file).unwrap();
        let path = file.to_str().unwrap();
        for verb in [&["verify"][..], &["--no-input"], &["--no-input", "--dry-run"]] {
            let arguments = [verb, &["--trust", &fingerprint, path]].concat();
            let refused = Outcome::of(host.command(&old).args(arguments)).exits(4);
            let says = format!(
                "error: {path} was made by a later Ferry\n  because: the bundle has format version 2; this program reads version 1\n"
            );
            let _ = refused.says(&says).says("hint: use the installer that came with the bundle");
        }
        // This program reads it.
        let _ =
            Outcome::of(host.command(&programs::install()).args(["verify", "--trust", &fingerprint, path]))
                .succeeds();
    }
    assert_eq!(host.containers(), [""; 0]);
}
