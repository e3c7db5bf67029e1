//! Archives in the shapes that makers of images write, from their public sources (docs/IMAGES.md).

use super::build::*;
use super::formats::{docker_archive, expect, find, layers, wanted};
use crate::sources::Compression;
use manifest_schema::Digest;
use manifest_schema::manifest::SourceSpec;
use serde_json::{Value, json};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

const API: &str = "acme/api:1";

/// One image whose configuration and layers have these names in the archive.
fn archive(
    config_name: impl Fn(&Digest) -> String,
    layer_name: impl Fn(&Digest) -> String,
    compress: fn(&[u8]) -> Vec<u8>,
    more: &Value,
) -> Vec<u8> {
    let config = config("linux/amd64", &layers());
    let config_name = config_name(&Digest::of(&config));
    let (mut tar, mut names) = (Tar::new().file(&config_name, &config), Vec::<String>::new());
    for layer in layers() {
        let stored = compress(&layer);
        // Their names are of the stored bytes.
        let name = layer_name(&Digest::of(&stored));
        if !names.contains(&name) {
            tar = tar.file(&name, &stored);
        }
        names.push(name);
    }
    let mut image = json!({"Config": config_name, "RepoTags": [API], "Layers": names});
    for (key, value) in more.as_object().unwrap() {
        image[key] = value.clone();
    }
    tar.file("manifest.json", &serde_json::to_vec(&json!([image])).unwrap()).bytes()
}

fn is_taken(folder: &Path, name: &str, bytes: &[u8]) {
    std::fs::write(folder.join(name), bytes).unwrap();
    let image = expect(folder, wanted(API, docker_archive(name)), "linux/amd64", &layers());
    assert_eq!(image.source, "docker-archive", "{name}");
}

#[test]
fn crane_ko_and_kaniko() {
    let folder = tempfile::tempdir().unwrap();
    let layer = |digest: &Digest| format!("{}.tar.gz", digest.hex());
    for more in [json!({}), json!({"LayerSources": {}}), json!({"LayerSources": null})] {
        is_taken(folder.path(), "crane.tar", &archive(Digest::to_string, layer, gzip, &more));
    }
}

#[test]
fn jib() {
    let folder = tempfile::tempdir().unwrap();
    let layer = |digest: &Digest| format!("{}.tar.gz", digest.hex());
    is_taken(folder.path(), "jib.tar", &archive(|_| "config.json".to_owned(), layer, gzip, &json!({})));
}

#[test]
fn bazels_rules() {
    let folder = tempfile::tempdir().unwrap();
    let blob = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
    let layer = |digest: &Digest| format!("blobs/sha256/{}.tar.gz", digest.hex());
    is_taken(folder.path(), "rules_oci.tar", &archive(blob, layer, gzip, &json!({})));
    // A layer that its rules were given as zstd has the same name.
    is_taken(folder.path(), "rules_oci-zstd.tar", &archive(blob, layer, zstd, &json!({})));
}

#[test]
fn nix() {
    let folder = tempfile::tempdir().unwrap();
    let config = |digest: &Digest| format!("{}.json", digest.hex());
    let layer = |digest: &Digest| format!("{}/layer.tar", digest.hex());
    let bytes = archive(config, layer, plain, &json!({}));
    is_taken(folder.path(), "nix.tar", &bytes);
    is_taken(folder.path(), "nix.tar.gz", &gzip(&bytes));
}

/// As eStargz writes a layer: a gzip member for each file, and a last one without content.
fn estargz(content: &[u8]) -> Vec<u8> {
    content.chunks(512).chain([&[][..]]).flat_map(gzip).collect()
}

/// As `zstd:chunked` writes a layer: a frame for each file, and the table of contents in skippable frames.
fn zstd_chunked(content: &[u8]) -> Vec<u8> {
    let skippable = |text: &[u8]| {
        let length = u32::try_from(text.len()).unwrap().to_le_bytes();
        [&[0x50, 0x2a, 0x4d, 0x18], &length[..], text].concat()
    };
    let mut bytes: Vec<u8> = content.chunks(512).flat_map(zstd).collect();
    bytes.extend(skippable(br#"{"version":1,"entries":[]}"#));
    bytes.extend(skippable(&[0; 64]));
    bytes
}

#[test]
fn estargz_and_zstd_chunked() {
    let folder = tempfile::tempdir().unwrap();
    for (name, compress, compression) in [
        ("estargz", estargz as fn(&[u8]) -> Vec<u8>, Compression::Gzip),
        ("chunked", zstd_chunked, Compression::Zstd),
    ] {
        let mut layout = Layout::default();
        let entry = layout.image("linux/amd64", &layers(), compress);
        layout.list(entry, &[(REF_NAME, API)]);
        layout.write(&folder.path().join(name));
        let source = Some(SourceSpec::Oci { path: name.into(), reference: None });
        let image = expect(folder.path(), wanted(API, source), "linux/amd64", &layers());
        assert!(image.layers.iter().all(|layer| layer.compression == compression), "{name}");
    }
}

#[test]
fn a_foreign_layer_is_taken_where_it_is_and_named_where_it_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let content = layers().remove(0);
    let config = config("linux/amd64", std::slice::from_ref(&content));
    let mut foreign =
        descriptor("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", &gzip(&content));
    foreign["urls"] = json!(["https://example.com/layer"]);
    let kind = "application/vnd.docker.container.image.v1+json";
    let manifest = json!({"schemaVersion": 2, "config": descriptor(kind, &config), "layers": [foreign]});
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let mut layout = Layout::default();
    [&manifest, &config].iter().for_each(|content| layout.blob(content));
    layout.list(descriptor(MANIFEST, &manifest), &[(REF_NAME, API)]);
    layout.write(&folder.path().join("layout"));
    let source = || Some(SourceSpec::Oci { path: "layout".into(), reference: None });
    let error = find(folder.path(), &[wanted(API, source())], &["linux/amd64"]).unwrap_err().to_string();
    assert!(error.contains("it is a foreign layer, kept at https://example.com/layer"), "{error}");
    layout.blob(&gzip(&content));
    layout.write(&folder.path().join("layout"));
    expect(folder.path(), wanted(API, source()), "linux/amd64", &[content]);
}

#[test]
fn an_artifact_is_called_by_its_kind_and_no_image() {
    const HELM: &str = "application/vnd.cncf.helm.config.v1+json";
    let folder = tempfile::tempdir().unwrap();
    for (name, artifact, kind, says) in [
        ("chart", Value::Null, HELM, "a Helm chart, and no image"),
        (
            "file",
            json!("application/vnd.acme"),
            "application/vnd.oci.empty.v1+json",
            "of type `application/vnd.acme`",
        ),
    ] {
        let mut layout = Layout::default();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": artifact,
            "config": descriptor(kind, b"{}"), "layers": [descriptor("application/octet-stream", b"x")],
        });
        let manifest = serde_json::to_vec(&manifest).unwrap();
        [&manifest[..], b"{}", b"x"].iter().for_each(|content| layout.blob(content));
        layout.list(descriptor(MANIFEST, &manifest), &[(REF_NAME, "1")]);
        let source = || Some(SourceSpec::Oci { path: name.into(), reference: None });
        layout.write(&folder.path().join(name));
        let error = find(folder.path(), &[wanted(API, source())], &["linux/amd64"]).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        // Beside an image it is passed over, whatever its place in the list.
        let entry = layout.image("linux/amd64", &layers(), gzip);
        layout.list(entry, &[(REF_NAME, API)]);
        layout.write(&folder.path().join(name));
        expect(folder.path(), wanted(API, source()), "linux/amd64", &layers());
    }
}

#[test]
fn a_layer_of_more_than_8_gib() {
    const BYTES: u64 = 9 << 30;
    let folder = tempfile::tempdir().unwrap();
    // Nobody reads it here: its digest need not be right.
    let config = config("linux/amd64", &[layer("never read", 1)]);
    let manifest = json!([{"Config": "config.json", "RepoTags": [API], "Layers": ["layer.tar"]}]);
    let mut header = tar::Header::new_gnu();
    header.set_path("layer.tar").unwrap();
    header.set_size(BYTES);
    header.set_cksum();
    assert_eq!(header.as_bytes()[124], 0x80, "the size is in base 256");
    let mut file = std::fs::File::create(folder.path().join("large.tar")).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.seek(SeekFrom::Current(i64::try_from(BYTES).unwrap())).unwrap();
    let rest = Tar::new().file("config.json", &config);
    file.write_all(&rest.file("manifest.json", &serde_json::to_vec(&manifest).unwrap()).bytes()).unwrap();
    let found = find(folder.path(), &[wanted(API, docker_archive("large.tar"))], &["linux/amd64"]).unwrap();
    assert_eq!(found[0].layers[0].stored_bytes, BYTES);
}
