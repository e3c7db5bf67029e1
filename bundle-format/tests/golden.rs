//! Bundles that released versions of `ferry` have written are read, for ever: `fixtures/golden`.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

use bundle_format::bundle::SpanReader;
use bundle_format::{Bundle, FormatError, Trust, UnverifiedBundle, check};
use manifest_schema::Digest;
use manifest_schema::feature::{FEATURES, Feature};
use manifest_schema::progress::Silent;
use manifest_schema::release::{ArtifactKind, FileEntry, Manifests, Release};
use ssh_key::PublicKey;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

type Golden = Bundle<Vec<u8>>;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/golden/v1").join(name)
}

fn key(name: &str) -> PublicKey {
    PublicKey::from_openssh(&fs::read_to_string(golden(name)).unwrap()).unwrap()
}

fn trusting(name: &str) -> Trust {
    Trust::Keys(vec![key(name).key_data().clone()])
}

fn open(name: &str) -> Golden {
    let bytes = fs::read(golden(name)).unwrap();
    let bundle = Bundle::open(bytes, &trusting("key-ed25519.pub")).unwrap();
    assert_eq!(bundle.verified().index_bytes()[8..12], [1, 0, 0, 0], "{name} is of another format version");
    let broken = check::check(&bundle, 2, &Silent, &|| false).unwrap();
    assert_eq!(broken, [], "{name}");
    // Read and written again it is what was signed: nothing of it is lost, or named otherwise.
    let json = serde_json::to_vec(bundle.release()).unwrap();
    assert_eq!(Digest::of(&json), bundle.verified().index().release_digest, "ferry.json of {name}");
    bundle
}

/// Name, version and identity.
fn names(bundle: &Golden) -> [String; 3] {
    let release = bundle.release();
    [release.name.to_string(), release.version.clone(), bundle.verified().id().hex()[..12].to_owned()]
}

/// References and platforms of the images, and how their manifests are kept.
fn images(release: &Release) -> Vec<String> {
    let kind = |manifests: &Manifests| match manifests {
        Manifests::Repacked { .. } => "repacked",
        Manifests::Preserved { index: None, .. } => "preserved",
        Manifests::Preserved { index: Some(_), .. } => "preserved with its index",
    };
    let image = |image: &manifest_schema::release::Image| {
        format!("{} {} {}", image.reference, image.platform, kind(&image.manifests))
    };
    release.images.iter().map(image).collect()
}

/// Every file that `ferry.json` names has the digest that stands there.
fn assert_files(bundle: &Golden) {
    let release = bundle.release();
    let files = [&release.manifest, &release.compose].into_iter();
    let files = files.chain(&release.env_file).chain(&release.templates);
    let files = files.chain(release.compose_files.iter().map(|named| &named.file));
    let files = files.chain(release.images.iter().map(|image| &image.config));
    let files = files.chain(release.configs.iter().map(|config| &config.file));
    let files: Vec<&FileEntry> = files.chain(release.seeds.iter().map(|seed| &seed.file)).collect();
    assert!(files.len() > 2);
    for file in files {
        let content = content(bundle, file);
        assert_eq!(Digest::of(&content), file.digest, "{}", file.path);
    }
    for layer in &release.layers {
        let mut content = Vec::new();
        SpanReader::new(bundle, layer.span).unwrap().read_to_end(&mut content).unwrap();
        assert_eq!(Digest::of(&content), layer.digest);
    }
}

fn content(bundle: &Golden, file: &FileEntry) -> Vec<u8> {
    let mut content = Vec::new();
    SpanReader::new(bundle, file.span).unwrap().read_to_end(&mut content).unwrap();
    content
}

#[test]
fn plain_sites_are_read() {
    for (name, expected) in
        [("plain.fz", ["plain", "1.0.0", "f2de75898409"]), ("plain-2.fz", ["plain", "2.0.0", "fbdca677c1b1"])]
    {
        let bundle = open(name);
        assert_eq!(names(&bundle), expected);
        let release = bundle.release();
        let web = format!("golden/web:{} linux/amd64 repacked", release.version);
        assert_eq!(images(release), ["golden/base:1 linux/amd64 repacked", &web]);
        assert_eq!(release.built_with, "ferry 0.1.0");
        assert_eq!(release.requires.engine.as_deref(), Some("20.10"));
        assert_eq!(release.requires.memory_bytes, Some(16 << 20));
        assert_eq!(release.seeds[0].volume, "records");
        let signers = bundle.verified().signers();
        assert_eq!(signers.len(), 1);
        assert_eq!(signers[0].key().key_data(), key("key-ed25519.pub").key_data());
        assert_files(&bundle);
    }
}

#[test]
fn a_bundle_for_several_platforms_is_read() {
    let bundle = open("platforms.fz");
    assert_eq!(names(&bundle), ["platforms", "1.0.0", "af2db955cac7"]);
    let image = |platform: &str| format!("golden/everywhere:1 {platform} repacked");
    assert_eq!(images(bundle.release()), ["linux/amd64", "linux/arm/v7", "linux/arm64"].map(image));
    let host = "linux/arm64".parse().unwrap();
    assert_eq!(bundle.release().images_for(&host)[0].platform, host);
    assert_files(&bundle);
}

#[test]
fn images_that_are_kept_byte_for_byte_are_read() {
    let bundle = open("preserve.fz");
    assert_eq!(names(&bundle), ["preserve", "1.0.0", "00f5bb4dd59b"]);
    let pinned = "sha256:71ad75133b1a8ae830dc9af6e78a9cb644cb777cae0385c7a1ba201987bb73b7";
    assert_eq!(
        images(bundle.release()),
        [
            "golden/kept:1 linux/amd64 preserved".to_owned(),
            format!("golden/pinned@{pinned} linux/amd64 preserved with its index"),
        ]
    );
    for image in &bundle.release().images {
        // Layers as they were, which is not how they are unpacked.
        assert!(image.blobs().iter().all(|blob| !image.diff_ids.contains(blob)));
    }
    assert_files(&bundle);
}

#[test]
fn every_kind_of_entry_is_read() {
    let bundle = open("entries.fz");
    assert_eq!(names(&bundle), ["entries", "1.0.0-rc.1+build.7", "254a0373d9c3"]);
    let release = bundle.release();
    let kinds: Vec<_> =
        release.artifacts.iter().map(|artifact| (artifact.to.as_str(), artifact.kind)).collect();
    assert_eq!(
        kinds,
        [
            ("one.txt", ArtifactKind::File),
            ("bin/tool", ArtifactKind::File),
            ("folder", ArtifactKind::Folder),
            ("agent.deb", ArtifactKind::Deb),
            ("app.jar", ArtifactKind::Jar),
            ("site.zip", ArtifactKind::Archive),
            ("site.tar.gz", ArtifactKind::Archive),
            ("plc", ArtifactKind::Git),
            ("whole", ArtifactKind::Git),
            ("large/large.bin", ArtifactKind::File),
        ]
    );
    let commits: Vec<_> = release.artifacts.iter().filter_map(|artifact| artifact.commit.as_ref()).collect();
    assert_eq!(commits.len(), 2);
    assert_eq!(commits[0].len(), 40);
    let configs: Vec<_> =
        release.configs.iter().map(|config| (config.to.as_str(), config.template, config.mode)).collect();
    assert_eq!(
        configs,
        [
            ("config/outer.conf", true, 0o644),
            ("config/plain.conf", false, 0o640),
            ("config/run.sh", false, 0o755),
        ]
    );
    let named: Vec<_> =
        release.compose_files.iter().map(|named| (named.file.path.as_str(), named.executable)).collect();
    assert_eq!(
        named,
        [
            ("compose/config/shown.txt", false),
            ("compose/parts/hall.env", false),
            ("compose/parts/more.yaml", false),
            ("compose/scripts/run.sh", true),
            ("compose/secrets/key.txt", false),
        ]
    );
    assert_eq!(content(&bundle, release.env_file.as_ref().unwrap()), b"FROM_DOTENV=dotenv\n");
    assert_eq!(release.templates[0].path.as_str(), "templates/templates/inner.j2");
    let seeds: Vec<_> = release.seeds.iter().map(|seed| seed.volume.as_str()).collect();
    assert_eq!(seeds, ["from_folder", "from_tar"]);
    assert_eq!(release.requires.disk_bytes, Some(1 << 20));
    // One layer is there twice, and in the payload once.
    assert_eq!((release.images[1].diff_ids.len(), release.layers.len()), (4, 3));
    assert_files(&bundle);
    assert_eq!(entries(&bundle), expected_entries());
}

/// Kinds of tar entries of all artifacts, by their paths, as a tar reader that is not ours sees them.
fn entries(bundle: &Golden) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for artifact in &bundle.release().artifacts {
        let mut archive = tar::Archive::new(SpanReader::new(bundle, artifact.entries).unwrap());
        for entry in archive.entries().unwrap() {
            let entry = entry.unwrap();
            let header = entry.header();
            let target = entry.link_name().unwrap().map(|target| format!(" to {}", target.display()));
            let what = format!(
                "{:?} {:o}{}",
                header.entry_type(),
                header.mode().unwrap(),
                target.unwrap_or_default()
            );
            found.insert(entry.path().unwrap().display().to_string(), what);
        }
    }
    found
}

fn expected_entries() -> BTreeMap<String, String> {
    let deep = ["a-folder-with-a-long-name"; 5];
    let link = format!("Symlink 777 to {}/deep.txt", deep.join("/"));
    let files =
        ["agent.deb", "app.jar", "large/large.bin", "one.txt", "plc/north.txt", "site.tar.gz", "site.zip"];
    let more = ["whole/halls/north.txt", "whole/readme.txt", "folder/empty.txt", "folder/plain.txt"];
    let folders = ["folder/", "folder/nothing-in-it/", "folder/sub/", "plc/", "whole/", "whole/halls/"];
    let mut expected = BTreeMap::new();
    let mut add = |path: &str, what: &str| expected.insert(format!("artifacts/{path}"), what.to_owned());
    for file in files.into_iter().chain(more) {
        add(file, "Regular 644");
    }
    for folder in folders {
        add(folder, "Directory 755");
    }
    for depth in 1..=deep.len() {
        add(&format!("folder/{}/", deep[..depth].join("/")), "Directory 755");
    }
    add(&format!("folder/{}/deep.txt", deep.join("/")), "Regular 644");
    add("bin/tool", "Regular 755");
    add("folder/sub/run", "Regular 755");
    add("folder/link.txt", "Symlink 777 to plain.txt");
    add("folder/long-link.txt", &link);
    expected
}

#[test]
fn a_second_signature_of_another_kind_of_key_counts_for_itself() {
    let bytes = fs::read(golden("entries.fz")).unwrap();
    let bundle = Bundle::open(bytes, &trusting("key-ecdsa.pub")).unwrap();
    assert_eq!(bundle.verified().signatures().len(), 2);
    let plain = fs::read(golden("plain.fz")).unwrap();
    let refused = Bundle::open(plain, &trusting("key-ecdsa.pub"));
    assert!(matches!(refused, Err(FormatError::Untrusted { .. })));
}

fn version_2(name: &str) -> Vec<u8> {
    let folder = if name == "compose-2.fz" { "v2-compose" } else { "v2" };
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/golden").join(folder).join(name))
        .unwrap()
}

/// Reads a bundle with these features; the features that it needs.
fn read_with(bytes: &[u8], known: &[Feature]) -> Result<Vec<String>, String> {
    let mut reader = bytes;
    let unverified = UnverifiedBundle::read(&mut reader).unwrap();
    let verified = unverified.verify_with(&trusting("key-ed25519.pub"), known, &mut reader);
    let needs = |needs: &[manifest_schema::feature::Need]| {
        needs.iter().map(|need| need.feature.as_str().to_owned()).collect()
    };
    let verified = verified.map_err(|error| error.to_string())?;
    Ok(verified.release().needs.as_deref().map(needs).unwrap_or_default())
}

#[test]
fn bundles_of_version_2_are_read() {
    for (name, needs, serial, seeds) in [
        ("serial.fz", &["serial"][..], Some(7), 0),
        ("seed-owner.fz", &["seed-owner"], None, 3),
        ("compose-2.fz", &["compose-2"], None, 0),
        ("all.fz", &["seed-owner", "serial"], Some((1 << 53) - 1), 3),
    ] {
        let bytes = version_2(name);
        assert_eq!(read_with(&bytes, FEATURES).unwrap(), needs);
        let bundle = Bundle::open(bytes, &trusting("key-ed25519.pub")).unwrap();
        assert_eq!((bundle.verified().index().version(), bundle.release().ferry), (2, 2), "{name}");
        assert_eq!(check::check(&bundle, 2, &Silent, &|| false).unwrap(), [], "{name}");
        let json = serde_json::to_vec(bundle.release()).unwrap();
        assert_eq!(Digest::of(&json), bundle.verified().index().release_digest, "ferry.json of {name}");
        assert_eq!((bundle.release().serial, bundle.release().seeds.len()), (serial, seeds), "{name}");
        let manifest = bundle_format::texts::manifest(&bundle).unwrap();
        let of_manifest = if name == "compose-2.fz" { 1 } else { 2 };
        assert_eq!((manifest.ferry, manifest.serial), (of_manifest, serial), "{name}");
        assert_files(&bundle);
    }
}

#[test]
fn a_reader_that_lacks_one_feature_refuses_what_needs_it_and_nothing_else() {
    for (name, needs) in [
        ("serial.fz", &["serial"][..]),
        ("seed-owner.fz", &["seed-owner"]),
        ("compose-2.fz", &["compose-2"]),
        ("all.fz", &["seed-owner", "serial"]),
    ] {
        for lacking in FEATURES {
            let others: Vec<Feature> = FEATURES.iter().copied().filter(|other| other != lacking).collect();
            let read = read_with(&version_2(name), &others);
            if needs.contains(&lacking.name) {
                let says = format!(
                    "the bundle needs what this program does not have: `{}` (since {})",
                    lacking.name, lacking.since
                );
                assert_eq!(read, Err(says), "{name}");
            } else {
                assert_eq!(read.unwrap(), needs, "{name}");
            }
        }
    }
}
