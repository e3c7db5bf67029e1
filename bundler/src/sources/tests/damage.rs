//! Damage and malice end in an error, never in a wrong image, a panic or a wait.

use super::build::*;
use super::formats::{find, read, wanted};
use crate::sources::FoundImage;
use manifest_schema::Digest;
use manifest_schema::manifest::SourceSpec;
use serde_json::json;
use std::io::Read;
use std::path::Path;

fn open(folder: &Path, bytes: &[u8]) -> Result<FoundImage, String> {
    std::fs::write(folder.join("x.tar"), bytes).unwrap();
    let source = SourceSpec::DockerArchive { path: "x.tar".into(), reference: None };
    find(folder, &[wanted("a:1", Some(source))], &["linux/amd64"])
        .map(|mut found| found.remove(0))
        .map_err(|error| error.to_string())
}

/// The archive is refused, or every layer that it gives is right or fails.
fn never_wrong(folder: &Path, bytes: &[u8], layers: &[Vec<u8>]) -> bool {
    let Ok(image) = open(folder, bytes) else { return false };
    let mut whole = true;
    for (source, layer) in image.layers.iter().zip(layers) {
        let mut content = Vec::new();
        match source.open().and_then(|mut reader| Ok(reader.read_to_end(&mut content)?)) {
            // Whoever reads hashes: a changed layer is found by its diff ID.
            Ok(_) => whole &= &content == layer && Digest::of(&content) == source.diff_id,
            Err(_) => whole = false,
        }
    }
    whole
}

fn error(folder: &Path, bytes: &[u8], parts: &[&str]) {
    let error = open(folder, bytes).map(|image| format!("{image:?}")).unwrap_err();
    for part in parts.iter().chain(&["x.tar"]) {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
}

#[test]
fn every_truncation_is_an_error_or_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let layers = vec![layer("base", 3000), layer("app", 900), layer("base", 3000)];
    let mut layout = Layout::default();
    let entry = layout.image("linux/amd64", &layers, gzip);
    layout.list(entry, &[]);
    for (kind, whole) in [
        ("20.10", engine_20(&["a:1"], &layers)),
        ("gzip", gzip(&engine_20(&["a:1"], &layers))),
        ("zstd", zstd(&engine_20(&["a:1"], &layers))),
        ("hybrid", layout.hybrid(&["a:1"], "linux/amd64", &layers, gzip)),
    ] {
        assert!(never_wrong(folder.path(), &whole, &layers), "{kind}");
        let step = (whole.len() / 150).max(1);
        let mut complete = 0;
        for length in (0..whole.len()).step_by(step).chain([whole.len() - 1]) {
            complete += usize::from(never_wrong(folder.path(), &whole[..length], &layers));
        }
        // Only tar's trailing zeros and the unneeded `repositories` may go missing.
        assert!(complete <= 2048 / step + 4, "{kind}: {complete} truncations passed");
    }
}

#[test]
fn a_flipped_bit_never_gives_a_wrong_image() {
    let folder = tempfile::tempdir().unwrap();
    let layers = vec![layer("base", 2000), layer("app", 300)];
    for whole in [engine_20(&["a:1"], &layers), zstd(&podman(&["a:1"], &layers))] {
        for at in (0..whole.len()).step_by(whole.len() / 120 + 1) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            never_wrong(folder.path(), &damaged, &layers);
        }
    }
}

fn with_layer(tar: Tar, layer_name: &str, content: &[u8]) -> Vec<u8> {
    let config = config("linux/amd64", &[content.to_vec()]);
    let manifest = json!([{"Config": "config.json", "RepoTags": ["a:1"], "Layers": [layer_name]}]);
    tar.file("config.json", &config).file("manifest.json", &serde_json::to_vec(&manifest).unwrap()).bytes()
}

#[test]
fn links_are_followed_inside_the_archive_only() {
    let folder = tempfile::tempdir().unwrap();
    let one = layer("x", 10);
    let links = |from: &str, to: &str| Tar::new().symlink(from, to).file("b/layer.tar", &one);
    open(folder.path(), &with_layer(links("a/layer.tar", "../b/layer.tar"), "a/layer.tar", &one)).unwrap();
    for (target, part) in [
        ("../../etc/passwd", "leaves the archive"),
        ("/b/layer.tar", "leaves the archive"),
        ("layer.tar", "loop"),
        ("../c/layer.tar", "absent"),
    ] {
        error(
            folder.path(),
            &with_layer(links("a/layer.tar", target), "a/layer.tar", &one),
            &["a/layer.tar", part],
        );
    }
    let circle = Tar::new().symlink("a", "b").symlink("b", "a");
    error(folder.path(), &with_layer(circle, "a", &one), &["loop"]);
    let hard = Tar::new().link(tar::EntryType::Link, "a", "a");
    error(folder.path(), &with_layer(hard, "a", &one), &["loop"]);
    error(folder.path(), &with_layer(Tar::new(), "../a", &one), &["leaves"]);
    error(folder.path(), &with_layer(Tar::new(), "a", &one), &["`a` is absent"]);
    error(folder.path(), &with_layer(Tar::new().raw("a", b'3', 0, b""), "a", &one), &["not a file"]);
    let twice = Tar::new().file("a", &one).file("a", &one);
    error(folder.path(), &with_layer(twice, "a", &one), &["occurs 2 times"]);
}

#[test]
fn headers_that_lie_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let one = layer("x", 10);
    for (tar, part) in [
        (Tar::new().raw("../../etc/cron.d/x", b'0', 0, b""), "../../etc/cron.d/x` leaves"),
        (Tar::new().raw("/etc/x", b'0', 0, b""), "leaves"),
        (Tar::new().raw("x", b'0', u64::MAX - 3, b""), "claims"),
        (Tar::new().raw("x", b'0', 1 << 40, b""), "cut off"),
        (Tar::new().raw("x", b'L', 1 << 40, b""), "claims"),
        (Tar::new().raw("x", b'L', 3073, &[b'a'; 3073]).file("y", b""), "has 3073 bytes, more than 3072"),
        (Tar::new().raw("x", b'K', 4000, &[b'a'; 4000]).symlink("y", "z"), "has 4000 bytes, more than 3072"),
        (Tar::new().raw("x", b'x', 20, b"999 path=a\n\0\0\0\0\0\0\0\0\0"), "malformed"),
        (Tar::new().raw("x", b'x', 1, b"0"), "malformed"),
        (Tar::new().raw("x", b'g', 9, b"9 path=a\n"), "global"),
        (Tar::new().raw("x", b'x', 22, b"22 GNU.sparse.major=1\n"), "sparse"),
        (Tar::new().raw("x", b'S', 0, b""), "sparse"),
    ] {
        error(folder.path(), &with_layer(tar, "x", &one), &[part]);
    }
    let mut negative = Tar::new().raw("x", b'0', 0, b"").bytes();
    negative[124..136].copy_from_slice(&[0xff; 12]);
    let sum: u32 = negative[..512]
        .iter()
        .enumerate()
        .map(|(at, b)| if (148..156).contains(&at) { 32 } else { u32::from(*b) })
        .sum();
    negative[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    error(folder.path(), &negative, &["negative"]);
    error(folder.path(), b"", &["empty"]);
    error(folder.path(), &[b'x'; 2000], &["no tar header"]);
    error(folder.path(), &Tar::new().file("a", b"b").bytes(), &["neither manifest.json nor index.json"]);
    error(folder.path(), b"\xfd7zXZ\0 and so on", &["xz"]);
}

#[test]
fn documents_that_contradict_themselves_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let one = layer("x", 10);
    let archive = |config_name: &str, config: &[u8], layers: &[&str]| {
        let manifest = json!([{"Config": config_name, "RepoTags": ["a:1"], "Layers": layers}]);
        Tar::new()
            .file("l", &one)
            .file(config_name, config)
            .file("manifest.json", manifest.to_string().as_bytes())
            .bytes()
    };
    let right = config("linux/amd64", std::slice::from_ref(&one));
    open(folder.path(), &archive("c.json", &right, &["l"])).unwrap();
    error(folder.path(), &archive("c.json", &right, &["l", "l"]), &["lists 1 layers, but 2"]);
    error(folder.path(), &archive("c.json", &right, &[]), &["lists 1 layers, but 0"]);
    let wrong_name = format!("{}.json", "0".repeat(64));
    error(folder.path(), &archive(&wrong_name, &right, &["l"]), &["damaged", "its digest is"]);
    error(folder.path(), &archive("c.json", b"[]", &["l"]), &["no image configuration"]);
    let many = config("linux/amd64", &vec![one.clone(); 200]);
    error(folder.path(), &archive("c.json", &many, &["l"; 200]), &["200 layers"]);
    let huge = vec![b' '; 9 << 20];
    error(folder.path(), &archive("c.json", &huge, &["l"]), &["documents are read up to"]);
    for not_a_list in [&b"{"[..], b"{}", b"[1]", br#"[{"Layers": 1}]"#] {
        error(folder.path(), &Tar::new().file("manifest.json", not_a_list).bytes(), &["manifest.json"]);
    }
    error(folder.path(), &Tar::new().file("manifest.json", b"null").bytes(), &["holds no image"]);
    let foreign = Tar::new()
        .file("l", b"\xfd7zXZ\0")
        .file("c.json", &right)
        .file("manifest.json", json!([{"Config": "c.json", "Layers": ["l"]}]).to_string().as_bytes());
    error(folder.path(), &foreign.bytes(), &["`l`", "xz"]);
}

#[test]
fn a_document_that_is_named_again_and_again_does_not_fill_the_memory() {
    let folder = tempfile::tempdir().unwrap();
    let one = layer("x", 10);
    let mut large = config("linux/amd64", std::slice::from_ref(&one));
    large.resize(7 << 20, b' ');
    let image = |tags: &[&str]| json!({"Config": "c.json", "RepoTags": tags, "Layers": ["l"]});
    let archive = |times: usize| {
        let images: Vec<_> = (1..times).map(|_| image(&[])).chain([image(&["a:1"])]).collect();
        Tar::new()
            .file("l", &one)
            .file("c.json", &large)
            .file("manifest.json", json!(images).to_string().as_bytes())
            .bytes()
    };
    open(folder.path(), &archive(3)).unwrap();
    error(folder.path(), &archive(25), &["the documents that", "have more than 134217728 bytes"]);
}

#[test]
fn layouts_that_lie_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let layers = vec![layer("x", 10)];
    let mut whole = Layout::default();
    let entry = whole.image("linux/amd64", &layers, gzip);
    whole.list(entry.clone(), &[]);
    let changed = |name: &str, content: Option<&[u8]>| {
        let mut layout = whole.clone();
        let name = format!("blobs/sha256/{name}");
        assert!(layout.files.iter().any(|(file, _)| file == &name));
        layout.files.retain_mut(|(file, bytes)| {
            if file == &name {
                *bytes = content.unwrap_or_default().to_vec();
            }
            file != &name || content.is_some()
        });
        layout.tar()
    };
    let manifest = entry["digest"].as_str().unwrap()[7..].to_owned();
    let blob = Digest::of(&gzip(&layers[0])).hex();
    let config = Digest::of(&config("linux/amd64", &layers)).hex();
    error(folder.path(), &changed(&manifest, Some(b"{}")), &["damaged"]);
    error(folder.path(), &changed(&manifest, None), &["absent"]);
    error(folder.path(), &changed(&config, Some(b"{}")), &["damaged"]);
    error(folder.path(), &changed(&config, None), &["absent"]);
    error(folder.path(), &changed(&blob, Some(b"\x1f\x8b")), &["bytes, its manifest says"]);
    error(folder.path(), &changed(&blob, None), &["absent"]);
    let outside = r#"{"schemaVersion": 2, "manifests": [{"digest": "sha256:../../x", "size": 1}]}"#;
    for (index, why) in [("", "index.json"), ("[]", "index.json"), (outside, "no digest of SHA-256")] {
        error(folder.path(), &Tar::new().file("index.json", index.as_bytes()).bytes(), &[why]);
    }
    // Indexes that list each other many times over.
    let mut bomb = Layout::default();
    let mut entry = bomb.image("linux/amd64", &layers, plain);
    for _ in 0..6 {
        entry = bomb.index(&vec![entry; 100]);
    }
    bomb.list(entry, &[]);
    error(folder.path(), &bomb.tar(), &["more than 4096"]);
    let mut deep = Layout::default();
    let mut entry = deep.image("linux/amd64", &layers, plain);
    for _ in 0..20 {
        entry = deep.index(&[entry]);
    }
    deep.list(entry, &[]);
    error(folder.path(), &deep.tar(), &["nested"]);
}

#[test]
fn a_file_that_changes_afterwards_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let layers = vec![layer("x", 5000)];
    let whole = engine_20(&["a:1"], &layers);
    let image = open(folder.path(), &whole).unwrap();
    assert_eq!(read(image.layers[0].open().unwrap()), layers[0]);
    std::fs::write(folder.path().join("x.tar"), &whole[..2000]).unwrap();
    let error = image.layers[0].open().map(|_| ()).unwrap_err();
    assert!(format!("{error:#}").contains("changed"), "{error:#}");
    std::fs::remove_file(folder.path().join("x.tar")).unwrap();
    assert!(image.layers[0].open().is_err());
}

#[test]
fn more_entries_than_allowed_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let block = Tar::new().raw("x", b'5', 0, b"").bytes()[..512].to_vec();
    // Compressed, a million headers are a small file.
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    for _ in 0..=manifest_schema::limits::MAX_ARCHIVE_ENTRIES / 1024 {
        std::io::Write::write_all(&mut encoder, &block.repeat(1024)).unwrap();
    }
    error(folder.path(), &encoder.finish().unwrap(), &["more than 1048576 entries"]);
}
