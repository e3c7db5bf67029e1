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
