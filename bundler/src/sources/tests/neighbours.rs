//! Odd documents: `null` for lists, descriptors that nobody can use beside sound ones, images of no or an odd platform,
//! and files that are no archives.

use super::build::*;
use super::formats::{find, wanted};
use manifest_schema::Digest;
use manifest_schema::manifest::SourceSpec;
use serde_json::{Value, json};
use std::path::Path;

fn oci(path: &str) -> Option<SourceSpec> {
    Some(SourceSpec::Oci { path: path.into(), reference: None })
}

fn docker_archive() -> Option<SourceSpec> {
    Some(SourceSpec::DockerArchive { path: "x.tar".into(), reference: None })
}

/// Adds an entry that nobody asked for to the index of a layout.
fn beside(folder: &Path, entry: &Value) {
    let path = folder.join("index.json");
    let mut index: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    index["manifests"].as_array_mut().unwrap().insert(0, entry.clone());
    std::fs::write(path, index.to_string()).unwrap();
}

#[test]
fn a_neighbour_that_cannot_be_used_spoils_no_image() {
    let digest = Digest::of(b"{}").to_string();
    let name = json!({ "io.containerd.image.name": "docker.io/library/odd:1" });
    for (entry, why) in [
        (
            json!({ "digest": format!("sha512:{}", "ab".repeat(64)), "size": 3, "annotations": name }),
            "no digest of SHA-256",
        ),
        (json!({ "digest": digest, "size": -1, "annotations": name }), "has the size -1"),
        (json!({ "digest": digest, "size": 2, "annotations": name, "platform": {} }), "is absent"),
        (
            json!({ "digest": digest, "size": 2, "annotations": name, "platform": { "architecture": "amd64" } }),
            "is absent",
        ),
        (
            json!({ "digest": digest, "size": 2, "annotations": name, "mediaType": "application/x-other" }),
            "is absent",
        ),
        (json!({ "annotations": name }), "names no digest"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut layout = Layout::default();
        let sound = layout.image("linux/amd64", &[layer("a", 9)], plain);
        layout.list(sound, &[("io.containerd.image.name", "docker.io/library/sound:1")]);
        let place = folder.path().join("layout");
        layout.write(&place);
        beside(&place, &entry);
        let found = find(folder.path(), &[wanted("sound:1", oci("layout"))], &["linux/amd64"]);
        assert_eq!(found.unwrap_or_else(|error| panic!("{entry}: {error}")).len(), 1);
        let error = find(folder.path(), &[wanted("odd:1", oci("layout"))], &["linux/amd64"]).unwrap_err();
        assert!(error.to_string().contains(why), "{entry}: {error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let mut layout = Layout::default();
    let sound = layout.image("linux/amd64", &[layer("a", 9)], plain);
    layout.list(sound, &[("io.containerd.image.name", "docker.io/library/sound:1")]);
    layout.write(folder.path());
    beside(folder.path(), &Value::Null);
    assert!(find(folder.path(), &[wanted("sound:1", oci("."))], &["linux/amd64"]).is_ok());
}

/// An archive of `docker save` with one image, whose documents are changed.
fn archive(config: &Value, image: &Value, layers: &[Vec<u8>]) -> Vec<u8> {
    let mut tar = Tar::new().file("c.json", config.to_string().as_bytes());
    for (number, layer) in layers.iter().enumerate() {
        tar = tar.file(&format!("{number}.tar"), layer);
    }
    tar.file("manifest.json", json!([image]).to_string().as_bytes()).bytes()
}

#[test]
fn an_image_without_layers_is_one_however_that_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let platform = json!({ "os": "linux", "architecture": "amd64" });
    let with = |rootfs: Value| {
        let mut config = platform.clone();
        config["rootfs"] = rootfs;
        config
    };
    for config in [
        with(json!({ "type": "layers" })),
        with(json!({ "diff_ids": null })),
        with(Value::Null),
        platform.clone(),
    ] {
        for image in
            [json!({ "Config": "c.json", "RepoTags": null, "Layers": null }), json!({ "Config": "c.json" })]
        {
            std::fs::write(folder.path().join("x.tar"), archive(&config, &image, &[])).unwrap();
            let found = find(folder.path(), &[wanted("a:1", docker_archive())], &["linux/amd64"]);
            let found = found.unwrap_or_else(|error| panic!("{config} {image}: {error}"));
            assert!(found[0].diff_ids.is_empty() && found[0].layers.is_empty());
        }
    }
}

#[test]
fn an_image_of_no_platform_is_one_of_the_platform_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let one = layer("a", 9);
    let rootfs = json!({ "type": "layers", "diff_ids": [Digest::of(&one).to_string()] });
    let image = json!({ "Config": "c.json", "Layers": ["0.tar"] });
    let of = |config: Value, platform: &str| {
        std::fs::write(folder.path().join("x.tar"), archive(&config, &image, std::slice::from_ref(&one)))
            .unwrap();
        let found = find(folder.path(), &[wanted("a:1", docker_archive())], &[platform]);
        found.map(|found| found[0].platform.to_string()).map_err(|error| error.to_string())
    };
    for config in [
        json!({ "rootfs": rootfs }),
        json!({ "os": "", "architecture": "", "rootfs": rootfs }),
        json!({ "os": null, "architecture": "amd64", "rootfs": rootfs }),
    ] {
        assert_eq!(of(config.clone(), "linux/arm64").as_deref(), Ok("linux/arm64"), "{config}");
    }
    // As `uname -m` says it.
    let config =
        |architecture: &str| json!({ "os": "linux", "architecture": architecture, "rootfs": rootfs });
    assert_eq!(of(config("x86_64"), "linux/amd64").as_deref(), Ok("linux/amd64"));
    assert_eq!(of(config("aarch64"), "linux/arm64").as_deref(), Ok("linux/arm64"));
    assert_eq!(of(config("armv7l"), "linux/arm/v7").as_deref(), Ok("linux/arm/v7"));
    assert!(of(config("aarch64"), "linux/amd64").unwrap_err().contains("has it for linux/arm64"));
}

#[test]
fn what_is_no_archive_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let none = Tar::new().file("app/notes.txt", b"x").bytes();
    let nested = Tar::new().file("app/manifest.json", b"[]").bytes();
    let chart = Tar::new().file("app/Chart.yaml", b"name: app\n").bytes();
    let old = Tar::new().file("repositories", b"{}").file("0f/layer.tar", b"x").bytes();
    let root = Tar::new().file("etc/passwd", b"root:x:0:0::/:/bin/sh\n").bytes();
    for (content, what) in [
        (&b""[..], "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", "git lfs pull"),
        (b"<!doctype html><html>", "HTML page"),
        (b"PK\x03\x04 and so on", "zip file"),
        (&none, "neither manifest.json nor index.json"),
        (&nested, "in its folder `app/`"),
        (&chart, "Helm chart"),
        (&old, "Docker 1.9"),
        (&root, "docker export"),
        (&gzip(&root), "docker export"),
    ] {
        std::fs::write(folder.path().join("x.tar"), content).unwrap();
        let error = find(folder.path(), &[wanted("a:1", docker_archive())], &["linux/amd64"]).unwrap_err();
        assert!(error.to_string().contains(what), "{what}: {error}");
    }
    let dir = folder.path().join("dir");
    std::fs::create_dir(&dir).unwrap();
    let told =
        || find(folder.path(), &[wanted("a:1", oci("dir"))], &["linux/amd64"]).unwrap_err().to_string();
    assert!(told().contains("no index.json"), "{}", told());
    for (file, what) in [("Dockerfile", "build it"), ("manifest.json", "was unpacked"), ("version", "`oci:`")]
    {
        std::fs::write(dir.join(file), "x").unwrap();
        assert!(told().contains(what), "{}", told());
    }
}
