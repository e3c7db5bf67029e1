//! Archives that real tools write, and the image in them by `skopeo`.

use super::{Site, images};
use fixtures::Dialect;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tests::host::Host;
use tests::outcome::Outcome;
use tests::programs::{self, stock};

fn skopeo(arguments: &[&str]) -> String {
    let mut skopeo = programs::command(stock("skopeo"));
    Outcome::of(skopeo.arg("--insecure-policy").args(arguments)).succeeds().stdout
}

/// The build takes `small/front:1.0.0` from `source`, with the layers that skopeo finds there.
#[track_caller]
fn is_taken(site: &Site, source: &str, by_skopeo: &str) {
    let manifest = site.path().join("ferry.yaml");
    let before = fs::read_to_string(&manifest).unwrap();
    site.edit("ferry.yaml", "images:\n", &format!("images:\n  small/front:1.0.0: {source}\n"));
    let built = site.build(&["--offline"]);
    let release = &built.inspect()["release"];
    let config: Value = serde_json::from_str(&skopeo(&["inspect", "--config", by_skopeo])).unwrap();
    let found = images(release, "small/front:1.0.0");
    assert_eq!(found.len(), 1, "{source}");
    assert_eq!(found[0]["diff_ids"], config["rootfs"]["diff_ids"], "{source}");
    assert_eq!(found[0]["diff_ids"], json!(site.images[0].build().unwrap().diff_ids()), "{source}");
    fs::write(&manifest, before).unwrap();
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn docker_save_and_skopeo_write_what_the_build_takes() {
    let host = Host::docker("tools");
    let site = Site::new();
    site.front_from(None);
    let (front, ticker) = (site.path().join("../front.tar"), site.path().join("../ticker.tar"));
    let _ = site.archive(&site.images[..1], Dialect::Podman, "../front.tar");
    let _ = site.archive(&site.images[1..], Dialect::Podman, "../ticker.tar");
    for archive in [&front, &ticker] {
        let _ = host.docker_text(&["load", "--input", text(archive)]);
    }
    let id = host.docker_text(&["image", "inspect", "--format", "{{.Id}}", "small/front:1.0.0"]);
    for (name, saved) in [
        ("one.tar", &["small/front:1.0.0"][..]),
        ("by-id.tar", &[id.as_str()]),
        ("two.tar", &["small/ticker:1", "small/front:1.0.0"]),
    ] {
        let out = site.path().join(name);
        let _ = host.docker_text(&[&["save", "--output", text(&out)], saved].concat());
        let reference = if name == "two.tar" { ":docker.io/small/front:1.0.0" } else { "" };
        is_taken(
            &site,
            &format!("docker-archive:{name}"),
            &format!("docker-archive:{}{reference}", out.display()),
        );
    }
    let from = format!("docker-archive:{}", site.path().join("one.tar").display());
    for (transport, name, options) in [
        ("docker-archive", "skopeo.tar", &[][..]),
        ("oci-archive", "skopeo-oci.tar", &[]),
        ("oci", "skopeo-layout", &[]),
        ("oci", "skopeo-zstd", &["--dest-compress-format", "zstd"]),
        ("oci", "skopeo-plain", &["--dest-oci-accept-uncompressed-layers"]),
    ] {
        let out = format!("{transport}:{}", site.path().join(name).display());
        let _ = skopeo(&[&["copy"], options, &[from.as_str(), out.as_str()]].concat());
        is_taken(&site, &format!("{transport}:{name}"), &out);
    }
    // A folder of skopeo's own is none that engines load; it is named, with the way out.
    let _ = skopeo(&["copy", &from, &format!("dir:{}", site.path().join("skopeo-dir").display())]);
    site.edit("ferry.yaml", "images:\n", "images:\n  small/front:1.0.0: oci:skopeo-dir\n");
    let refused = site.try_build(&["--offline"]).exits(3);
    let _ = refused.says("skopeo-dir is not an OCI image layout");
}
