//! Data volumes: filled once, when they are empty, and never again.

use fixtures::layer::Layer;
use fixtures::small_site::SmallSite;
use std::path::Path;
use tests::bundle::{self, Built};
use tests::host::Host;
use tests::snapshot::assert_unchanged;

/// The small site with a seeded volume, which the ticker sees below /seeded.
fn seeded(folder: &Path, version: &str, content: &str) -> Built {
    let site = SmallSite { version: version.to_owned(), ..SmallSite::default() };
    bundle::changed(folder, &site, |site| {
        let seed = Layer::new()
            .folder("rows", 0o750)
            .owner("rows", 65534, 65534)
            .file("rows/table", 0o640, content)
            .owner("rows/table", 65534, 65534);
        seed.write(&site.join("rows.tar")).unwrap();
        bundle::replace(
            &site.join("ferry.yaml"),
            "artifacts:\n",
            "volumes:\n  rows: { seed: rows.tar }\nartifacts:\n",
        );
        let compose = site.join("compose.yaml");
        bundle::replace(&compose, "      - ticks:/data\n", "      - ticks:/data\n      - rows:/seeded\n");
        bundle::replace(&compose, "volumes:\n  ticks:\n", "volumes:\n  ticks:\n  rows:\n");
    })
}

fn inside(host: &Host, command: &str) -> String {
    host.docker_text(&["exec", "small-ticker-1", "/bin/sh", "-c", command])
}

#[test]
fn a_volume_is_seeded_when_it_is_empty_and_never_again() {
    let folder = tempfile::tempdir().unwrap();
    let one = seeded(folder.path(), "1.0.0", "first");
    let two = seeded(folder.path(), "2.0.0", "second");
    let host = Host::docker("seeded");
    let _ = host.install(&one);
    assert_eq!(inside(&host, "cat /seeded/rows/table"), "first");
    let owner = inside(&host, "/bin/busybox stat -c '%u:%g %a' /seeded/rows /seeded/rows/table");
    assert_eq!(owner, "65534:65534 750\n65534:65534 640");

    let _ = inside(&host, "echo written on site >/seeded/rows/table");
    let _ = host.run(&[two.path()]).succeeds();
    assert_eq!(inside(&host, "cat /seeded/rows/table"), "written on site");
    let _ = host.run(&["uninstall", "--yes"]).succeeds().says("small_rows");
    let _ = host.run(&[two.path()]).succeeds();
    assert_eq!(
        inside(&host, "cat /seeded/rows/table"),
        "written on site",
        "an uninstall and install lost data"
    );

    let _ = host.run(&["uninstall", "--yes", "--volumes"]).succeeds();
    let _ = host.run(&[two.path()]).succeeds();
    assert_eq!(inside(&host, "cat /seeded/rows/table"), "second");
}

#[test]
fn a_service_that_is_not_root_can_write_into_what_was_seeded() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::changed(folder.path(), &SmallSite::default(), |site| {
        // A folder has the owner whom the service needs; a tar says it by itself.
        std::fs::create_dir_all(site.join("rows/sub")).unwrap();
        std::fs::write(site.join("rows/sub/table"), "first").unwrap();
        let seed = Layer::new()
            .folder("./", 0o2750)
            .owner("./", 1000, 1001)
            .file("db", 0o600, "x")
            .owner("db", 1000, 1001);
        seed.write(&site.join("db.tar")).unwrap();
        let bare = Layer::new().file("db", 0o600, "x").owner("db", 1000, 1001);
        bare.write(&site.join("bare.tar")).unwrap();
        let volumes =
            "volumes:\n  rows: { seed: rows }\n  db: { seed: db.tar }\n  bare: { seed: bare.tar }\n";
        bundle::replace(&site.join("ferry.yaml"), "artifacts:\n", &format!("{volumes}artifacts:\n"));
        let compose = site.join("compose.yaml");
        let writer = "  writer:\n    image: small/ticker:1\n    user: \"1000:1001\"\n    \
            command: [/bin/sh, -c, exec sleep 100000]\n    healthcheck: { disable: true }\n    \
            volumes: [\"rows:/rows\", \"db:/db\", \"bare:/bare\"]\n    stop_grace_period: 1s\n";
        let volumes = "volumes:\n  ticks:\n  rows:\n  db:\n  bare:\n";
        bundle::replace(&compose, "volumes:\n  ticks:\n", &format!("{writer}{volumes}"));
    });
    let host = Host::docker("seed-owner");
    let _ = host.install(&built);
    let stat = host.docker_text(&[
        "exec",
        "--user",
        "0",
        "small-writer-1",
        "/bin/busybox",
        "stat",
        "-c",
        "%n %u:%g %a",
        "/rows",
        "/rows/sub",
        "/rows/sub/table",
        "/db",
        "/db/db",
        "/bare",
        "/bare/db",
    ]);
    let expected = [
        "/rows 1000:1001 755",
        "/rows/sub 1000:1001 755",
        "/rows/sub/table 1000:1001 644",
        "/db 1000:1001 2750",
        "/db/db 1000:1001 600",
        "/bare 1000:1001 755",
        "/bare/db 1000:1001 600",
    ];
    assert_eq!(stat.lines().collect::<Vec<_>>(), expected);
    let writer = |command: &str| host.docker_text(&["exec", "small-writer-1", "/bin/sh", "-c", command]);
    let _ = writer(
        "set -e; echo more >>/rows/sub/table; for root in /rows /db /bare; do echo x >$root/new; done",
    );
    // Nothing of Ferry is left in them.
    assert_eq!(writer("ls -A /rows /db /bare"), "/bare:\ndb\nnew\n\n/db:\ndb\nnew\n\n/rows:\nnew\nsub");
}

#[test]
fn a_volume_that_someone_else_made_is_not_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let built = seeded(folder.path(), "1.0.0", "first");
    let host = Host::docker("foreign");
    let _ = host.docker_text(&["volume", "create", "small_rows"]);
    let _ = host.docker_text(&["network", "create", "small_default"]);
    let before = host.snapshot();
    let [trust, fingerprint] = built.trust();
    let refused = host.run(&[trust, fingerprint, built.path()]).exits(7);
    let _ = refused
        .says("a volume named small_rows exists, but does not belong to project small")
        .says("a network named small_default exists, but does not belong to project small")
        .says("fix: look at it with `docker volume inspect small_rows`");
    assert_unchanged(&before, &host.snapshot(), "an install that found strangers");
}
