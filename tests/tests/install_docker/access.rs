//! Access to the host that a release asks for.

use crate::PORT;
use fixtures::small_site::SmallSite;
use serde_json::json;
use std::fs;
use std::path::Path;
use tests::bundle::{self, Built};
use tests::host::Host;
use tests::snapshot::assert_unchanged;

/// The small site, with these volumes of its ticker and these volumes of the project.
fn with_volumes(folder: &Path, site: &SmallSite, mounts: &str, volumes: &str) -> Built {
    bundle::changed(folder, site, |site| {
        let compose = site.join("compose.yaml");
        let text = fs::read_to_string(&compose).unwrap();
        let (before, after) = text.split_once("      - ticks:/data\n").unwrap();
        let text = format!("{before}      - ticks:/data\n{mounts}{after}");
        fs::write(&compose, text.replacen("  ticks:", &format!("{volumes}  ticks:"), 1)).unwrap();
    })
}

#[test]
fn what_a_release_asks_of_the_host_is_said_before_it_starts() {
    let folder = tempfile::tempdir().unwrap();
    let first = SmallSite::default();
    let built = with_volumes(&folder.path().join("1"), &first, "      - /etc/hostname:/host/name:ro\n", "");
    let host = Host::docker("access-said");
    let [trust, fingerprint] = built.trust();
    let port = format!("port 127.0.0.1:{PORT}/tcp (front)");
    let planned = host.run(&[trust, fingerprint, "--dry-run", built.path()]).succeeds();
    let _ = planned.says("asks for  host path /etc/hostname:ro (ticker)").says(&format!("asks for  {port}"));
    let _ = host.install(&built).says("access").says("host path /etc/hostname:ro (ticker)");

    // An update says what it asks for beyond what runs.
    let second = SmallSite { version: "1.1.0".to_owned(), ..SmallSite::default() };
    let mounts = "      - /etc/hostname:/host/name:ro\n      - /etc:/host/etc:ro\n";
    let built = with_volumes(&folder.path().join("2"), &second, mounts, "");
    let planned = host.run(&["--json", "--dry-run", built.path()]).succeeds();
    let plan = planned.json();
    assert_eq!(
        plan["plan"]["access"],
        json!([
            { "kind": "host-path", "value": "/etc/hostname:ro", "services": ["ticker"], "new": false },
            { "kind": "host-path", "value": "/etc:ro", "services": ["ticker"], "new": true },
            { "kind": "port", "value": format!("127.0.0.1:{PORT}/tcp"), "services": ["front"], "new": false },
        ])
    );
    let updated = host.run(&[built.path()]).succeeds().says("host path /etc:ro (ticker)");
    assert!(!updated.stderr.contains("/etc/hostname"), "{updated}");
}

#[test]
fn ferrys_folder_and_the_volumes_of_other_products_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::docker("access-refused");
    let other = SmallSite { name: "other".to_owned(), port: PORT + 1, ..SmallSite::default() };
    let _ = host.install(&bundle::changed(&folder.path().join("other"), &other, |_| {}));
    let place = host.docker_text(&["volume", "inspect", "--format", "{{.Mountpoint}}", "other_ticks"]);
    let root = host.root.display().to_string();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&host.root, &link).unwrap();

    let mounts = format!(
        "      - {root}/trust:/trust\n      - {}/bin:/bin2\n      - {}/x:/x\n      - theirs:/theirs\n",
        link.display(),
        place.trim()
    );
    let volumes = "  theirs: { external: true, name: other_ticks }\n  sly: { driver_opts: { type: none, o: bind, device: ROOT/products } }\n";
    let volumes = volumes.replace("ROOT", &root);
    let mounts = format!("{mounts}      - sly:/sly\n");
    let built = with_volumes(&folder.path().join("small"), &SmallSite::default(), &mounts, &volumes);
    let before = host.snapshot();
    let [trust, fingerprint] = built.trust();
    let refused = host.run(&[trust, fingerprint, built.path()]).exits(7);
    let _ = refused
        .says(&format!("service ticker mounts {root}/trust, which lies in Ferry's own folder"))
        .says(&format!("service ticker mounts {}/bin, which lies in Ferry's own folder", link.display()))
        .says(&format!("service ticker mounts {root}/products, which lies in Ferry's own folder"))
        .says_times("service ticker mounts the volume other_ticks, which belongs to the product other", 2);
    assert_unchanged(&before, &host.snapshot(), "a release that asks for what is not its own");
}
