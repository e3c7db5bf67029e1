//! Every format is found by its name and gives back the very layers.

use super::build::*;
use crate::cancel::Cancel;
use crate::sources::{Compression, FoundImage, ResolveOptions, Wanted, resolve};
use manifest_schema::manifest::SourceSpec;
use manifest_schema::progress::Silent;
use manifest_schema::{Diagnostics, Digest, Platform};
use serde_json::json;
use std::io::Read;
use std::path::Path;

pub(super) fn wanted(reference: &str, source: Option<SourceSpec>) -> Wanted {
    Wanted {
        reference: reference.parse().unwrap(),
        platform: None,
        source,
        place: ("ferry.yaml".into(), 7),
        preserve: false,
    }
}

/// Options that reach no engine and no registry.
pub(super) fn nowhere() -> ResolveOptions {
    ResolveOptions {
        offline: true,
        docker_host: Some("unix:///nowhere/docker.sock".into()),
        ..Default::default()
    }
}

pub(super) fn platforms(names: &[&str]) -> Vec<Platform> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

pub(super) fn find(folder: &Path, wanted: &[Wanted], names: &[&str]) -> Result<Vec<FoundImage>, Diagnostics> {
    resolve(wanted, &platforms(names), folder, &nowhere(), &Silent, &Cancel::default())
}

/// Finds one image and compares all its layers.
pub(super) fn expect(folder: &Path, wanted: Wanted, platform: &str, layers: &[Vec<u8>]) -> FoundImage {
    let mut found = find(folder, &[wanted], &[platform]).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(found.len(), 1);
    let image = found.remove(0);
    assert_eq!(image.platform.as_str(), platform);
    assert_eq!(image.diff_ids, layers.iter().map(|layer| Digest::of(layer)).collect::<Vec<_>>());
    assert_eq!(Digest::of(&image.config), Digest::of(&config(platform, layers)));
    for (source, layer) in image.layers.iter().zip(layers) {
        assert_eq!(&read(source.open().unwrap()), layer);
        let stored = read(source.open_stored().unwrap());
        assert_eq!(stored.len() as u64, source.stored_bytes);
        if let Some(digest) = source.stored_digest {
            assert_eq!(Digest::of(&stored), digest);
        }
        if source.compression == Compression::None {
            assert_eq!(source.content_bytes(), Some(layer.len() as u64));
        }
    }
    image
}

pub(super) fn read(mut reader: Box<dyn Read + Send>) -> Vec<u8> {
    let mut content = Vec::new();
    reader.read_to_end(&mut content).unwrap();
    content
}

pub(super) fn layers() -> Vec<Vec<u8>> {
    // The first occurs again, as `RUN true` made layers do.
    vec![layer("base", 70_000), layer("app", 900), layer("base", 70_000)]
}

pub(super) fn docker_archive(path: &str) -> Option<SourceSpec> {
    Some(SourceSpec::DockerArchive { path: path.into(), reference: None })
}

#[test]
fn archives_of_engine_20_and_podman_plain_and_compressed() {
    let folder = tempfile::tempdir().unwrap();
    for (program, archive) in [
        ("20", engine_20(&["acme/api:1"], &layers())),
        ("podman", {
            // Podman stores a repeated layer once and names it twice.
            podman(&["localhost/acme/api:1"], &layers()[..2])
        }),
    ] {
        for (ending, bytes) in [("", archive.clone()), (".gz", gzip(&archive)), (".zst", zstd(&archive))] {
            let name = format!("{program}.tar{ending}");
            std::fs::write(folder.path().join(&name), bytes).unwrap();
            let layers = if program == "20" { layers() } else { layers()[..2].to_vec() };
            let image =
                expect(folder.path(), wanted("acme/api:1", docker_archive(&name)), "linux/amd64", &layers);
            assert!(image.original.is_none());
            assert_eq!(image.source, "docker-archive");
            // A single image is taken whatever its name, when its archive is named.
            expect(folder.path(), wanted("other:2", docker_archive(&name)), "linux/amd64", &layers);
        }
    }
}

#[test]
fn hybrid_archives_of_later_engines() {
    let folder = tempfile::tempdir().unwrap();
    for (name, compress) in [("gd", plain as fn(&[u8]) -> Vec<u8>), ("c8d-gzip", gzip), ("c8d-zstd", zstd)] {
        let mut layout = Layout::default();
        let entry = layout.image("linux/amd64", &layers(), compress);
        let manifest: Digest = entry["digest"].as_str().unwrap().parse().unwrap();
        layout.list(entry, &[(CONTAINERD_NAME, "docker.io/acme/api:1"), (REF_NAME, "1")]);
        let bytes = layout.hybrid(&["acme/api:1"], "linux/amd64", &layers(), compress);
        let path = folder.path().join(format!("{name}.tar"));
        std::fs::write(&path, bytes).unwrap();
        let image = expect(
            folder.path(),
            wanted("acme/api:1", docker_archive(&format!("{name}.tar"))),
            "linux/amd64",
            &layers(),
        );
        assert_eq!(image.original.unwrap().digest, manifest);
        assert_eq!(
            image.layers[0].compression,
            match name {
                "gd" => Compression::None,
                "c8d-gzip" => Compression::Gzip,
                _ => Compression::Zstd,
            }
        );
    }
}

#[test]
fn nested_indexes_with_absent_platforms_and_attestations() {
    let folder = tempfile::tempdir().unwrap();
    let mut layout = Layout::default();
    let amd64 = layout.image("linux/amd64", &layers(), gzip);
    let mut elsewhere = Layout::default();
    let absent = elsewhere.image("linux/s390x", &layers(), gzip);
    let arm = layout.image("linux/arm64/v8", &[layer("arm", 10)], zstd);
    let mut unknown = layout.image("linux/amd64", &[], plain);
    unknown["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    let mut attested = layout.image("linux/amd64", &[layer("sbom", 3)], plain);
    attested["annotations"]["vnd.docker.reference.type"] = "attestation-manifest".into();
    let index = layout.index(&[absent, amd64, unknown, arm, attested]);
    let index_digest = index["digest"].as_str().unwrap().to_owned();
    layout.list(index, &[(CONTAINERD_NAME, "docker.io/acme/api:1")]);
    std::fs::create_dir(folder.path().join("images")).unwrap();
    std::fs::write(
        folder.path().join("images/api.tar"),
        layout.hybrid(&["acme/api:1"], "linux/amd64", &layers(), gzip),
    )
    .unwrap();

    expect(folder.path(), wanted("acme/api:1", None), "linux/amd64", &layers());
    // In the order of reference and platform, whatever the order in which they were asked for.
    let mut orders = Vec::new();
    for asked in [["linux/arm64", "linux/amd64"], ["linux/amd64", "linux/arm64"]] {
        let found = find(folder.path(), &[wanted("acme/api:1", None)], &asked).unwrap();
        let platforms: Vec<&str> = found.iter().map(|image| image.platform.as_str()).collect();
        assert_eq!(platforms, ["linux/amd64", "linux/arm64/v8"]);
        orders.push(found.iter().flat_map(|image| &image.layers).map(|l| l.order()).collect::<Vec<_>>());
    }
    assert_eq!(orders[0], orders[1]);
    // A service that names its platform gets no other.
    let only = Wanted { platform: Some("linux/arm64".parse().unwrap()), ..wanted("acme/api:1", None) };
    let found = find(folder.path(), &[only], &["linux/amd64", "linux/arm64"]).unwrap();
    assert_eq!(found.iter().map(|image| image.platform.as_str()).collect::<Vec<_>>(), ["linux/arm64/v8"]);
    let pinned =
        expect(folder.path(), wanted(&format!("acme/api@{index_digest}"), None), "linux/amd64", &layers());
    assert_eq!(pinned.index.unwrap().digest.to_string(), index_digest);
    assert_eq!(Digest::of(&pinned.original.as_ref().unwrap().bytes), pinned.original.unwrap().digest);

    let error = find(folder.path(), &[wanted("acme/api:1", None)], &["linux/s390x"]).unwrap_err().to_string();
    assert!(error.contains("linux/s390x") && error.contains("linux/amd64, linux/arm64/v8"), "{error}");
    assert!(error.starts_with("ferry.yaml:7: image `acme/api:1`"), "{error}");
}

#[test]
fn oci_layouts_as_folders_and_archives() {
    let folder = tempfile::tempdir().unwrap();
    let mut layout = Layout::default();
    let one = layout.image("linux/amd64", &layers(), zstd);
    let two = layout.image("linux/amd64", &[layer("two", 5)], gzip);
    layout.list(one, &[(REF_NAME, "v1")]);
    layout.list(two, &[(REF_NAME, "registry.example/acme/two:v2")]);
    layout.write(&folder.path().join("layout"));
    std::fs::write(folder.path().join("layout.tar"), layout.tar()).unwrap();
    std::fs::write(folder.path().join("layout.tar.gz"), gzip(&layout.tar())).unwrap();
    let sources = |reference: Option<&str>| {
        let reference = reference.map(str::to_owned);
        [
            SourceSpec::Oci { path: "layout".into(), reference: reference.clone() },
            SourceSpec::OciArchive { path: "layout.tar".into(), reference: reference.clone() },
            SourceSpec::OciArchive { path: "layout.tar.gz".into(), reference },
        ]
    };
    for source in sources(Some("v1")) {
        expect(folder.path(), wanted("acme/api:9", Some(source)), "linux/amd64", &layers());
    }
    // A bare tag means the wanted image's tag; a whole reference means itself.
    for source in sources(None) {
        expect(folder.path(), wanted("acme/api:v1", Some(source.clone())), "linux/amd64", &layers());
        expect(
            folder.path(),
            wanted("registry.example/acme/two:v2", Some(source.clone())),
            "linux/amd64",
            &[layer("two", 5)],
        );
        let error = find(folder.path(), &[wanted("acme/api:9", Some(source))], &["linux/amd64"])
            .unwrap_err()
            .to_string();
        assert!(error.contains("`v1`") && error.contains("two:v2"), "{error}");
    }
}

#[test]
fn hard_links_long_names_and_pax_sizes() {
    let folder = tempfile::tempdir().unwrap();
    let one = layer("one", 700);
    let config = config("linux/amd64", &[one.clone(), one.clone()]);
    let long = format!("{}/layer.tar", "deep/".repeat(40));
    // A pax header whose size outranks the header's own, as for files over 8 GiB.
    let pax = |key: &str, value: &str| {
        let record = |length: usize| format!("{length} {key}={value}\n");
        let length = (1..).find(|length| record(*length).len() == *length).unwrap();
        record(length).into_bytes()
    };
    let size = pax("size", &one.len().to_string());
    let path = pax("path", "./by-pax/layer.tar");
    let extended = [size, path].concat();
    let manifest = json!([{"Config": "config.json", "RepoTags": null, "Layers": ["linked/layer.tar", long]}]);
    let mut bytes = Tar::new()
        .file(&long, &one)
        .link(tar::EntryType::Link, "linked/layer.tar", "by-pax/layer.tar")
        .raw("pax", b'x', extended.len() as u64, &extended)
        .bytes();
    bytes.truncate(bytes.len() - 1024);
    // This header claims no bytes at all; pax knows better.
    bytes.extend(&Tar::new().raw("short", b'0', 0, b"").bytes()[..512]);
    bytes.extend(&one);
    bytes.extend(vec![0; (512 - one.len() % 512) % 512]);
    bytes.extend(
        Tar::new()
            .file("config.json", &config)
            .file("./manifest.json", &serde_json::to_vec(&manifest).unwrap())
            .bytes(),
    );
    std::fs::write(folder.path().join("x.tar"), &bytes).unwrap();
    expect(folder.path(), wanted("a:1", docker_archive("x.tar")), "linux/amd64", &[one.clone(), one]);
}

#[test]
fn a_compressed_archive_is_read_in_any_order() {
    let folder = tempfile::tempdir().unwrap();
    let layers: Vec<Vec<u8>> = (0..6).map(|at| layer(&format!("l{at}"), 20_000 + at)).collect();
    std::fs::write(folder.path().join("a.tar.zst"), zstd(&podman(&["a:1"], &layers))).unwrap();
    let image = expect(folder.path(), wanted("a:1", docker_archive("a.tar.zst")), "linux/amd64", &layers);
    for index in [5, 0, 3, 3, 4, 1] {
        assert_eq!(read(image.layers[index].open().unwrap()), layers[index]);
    }
    // Two at once, one of them given up half-way.
    let mut first = image.layers[1].open().unwrap();
    let second = image.layers[4].open().unwrap();
    first.read_exact(&mut [0; 100]).unwrap();
    assert_eq!(read(second).len(), layers[4].len());
    drop(first);
    assert_eq!(read(image.layers[2].open().unwrap()), layers[2]);
    let mut sorted = image.layers.clone();
    sorted.sort_by_key(|layer| layer.order());
    assert_eq!(sorted.iter().map(|layer| layer.diff_id).collect::<Vec<_>>(), image.diff_ids);
}

#[test]
fn variants_are_chosen_without_guessing() {
    let folder = tempfile::tempdir().unwrap();
    let mut layout = Layout::default();
    let children: Vec<_> = ["v5", "v6", "v7"]
        .iter()
        .map(|v| layout.image(&format!("linux/arm/{v}"), &[layer(v, 9)], plain))
        .collect();
    let index = layout.index(&children);
    layout.list(index, &[]);
    std::fs::write(folder.path().join("x.tar"), layout.tar()).unwrap();
    let source = Some(SourceSpec::OciArchive { path: "x.tar".into(), reference: None });
    for (asked, got) in [("linux/arm", "linux/arm/v7"), ("linux/arm/v6", "linux/arm/v6")] {
        let found = find(folder.path(), &[wanted("a:1", source.clone())], &[asked]).unwrap();
        assert_eq!(found[0].platform.as_str(), got);
    }
    assert!(find(folder.path(), &[wanted("a:1", source)], &["linux/arm/v8"]).is_err());
}

#[test]
fn an_index_that_contradicts_a_configuration_is_followed_with_a_warning() {
    struct Warned(std::sync::Mutex<Vec<String>>);
    impl manifest_schema::progress::Progress for Warned {
        fn begin(&self, _: &str, _: Option<u64>) {}
        fn advance(&self, _: u64) {}
        fn detail(&self, _: &str) {}
        fn end(&self, _: &str) {}
        fn warn(&self, text: &str) {
            self.0.lock().unwrap().push(text.to_owned());
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let mut layout = Layout::default();
    let mut entry = layout.image("linux/amd64", &layers(), gzip);
    entry["platform"]["architecture"] = "arm64".into();
    let index = layout.index(&[entry]);
    layout.list(index, &[]);
    std::fs::write(folder.path().join("x.tar"), layout.tar()).unwrap();
    let source = Some(SourceSpec::OciArchive { path: "x.tar".into(), reference: None });
    let warned = Warned(std::sync::Mutex::default());
    let asked = platforms(&["linux/arm64"]);
    resolve(&[wanted("a:1", source)], &asked, folder.path(), &nowhere(), &warned, &Cancel::default())
        .unwrap();
    let warned = warned.0.into_inner().unwrap();
    assert!(warned.len() == 1 && warned[0].contains("configuration says linux/amd64"), "{warned:?}");
}
