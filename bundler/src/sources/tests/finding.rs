//! The order of the search, what is said when nothing is found, and what is kept.

use super::build::*;
use super::formats::{find, nowhere, platforms, wanted};
use crate::cancel::Cancel;
use crate::sources::{ResolveOptions, resolve};
use manifest_schema::manifest::SourceSpec;
use manifest_schema::progress::Silent;

#[test]
fn all_missing_images_are_told_at_once_with_every_place_tried() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("images")).unwrap();
    std::fs::write(folder.path().join("images/x.tar"), podman(&["acme/there:1"], &[layer("a", 3)])).unwrap();
    let asked = [
        wanted("acme/there:1", None),
        wanted("acme/gone:1", None),
        wanted("b:1", Some(SourceSpec::DockerArchive { path: "no.tar".into(), reference: None })),
        wanted("c:1", Some(SourceSpec::Docker { reference: "registry.example/c:1".into() })),
        wanted("d:1", Some(SourceSpec::DockerDaemon { reference: "d:1".into() })),
    ];
    let error = find(folder.path(), &asked, &["linux/amd64"]).unwrap_err();
    assert_eq!(error.0.len(), 4, "{error}");
    let gone = &error.0[0].message;
    for part in [
        "`acme/gone:1`",
        "images/ holds `acme/there:1`",
        "unix:///nowhere/docker.sock",
        "registry docker.io",
        "offline",
    ] {
        assert!(gone.contains(part), "{part}: {gone}");
    }
    assert!(error.0[0].hint.as_ref().unwrap().contains("docker save"));
    assert!(error.0[1].message.contains("no.tar"), "{error}");
    assert!(error.0.iter().all(|one| one.file == "ferry.yaml" && one.line == 7));
}

#[test]
fn people_s_archives_of_several_images_and_platforms_are_one_pool() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    std::fs::create_dir(&images).unwrap();
    for (name, platform) in [("b-arm", "linux/arm64"), ("a-amd", "linux/amd64")] {
        let mut layout = Layout::default();
        let entry = layout.image(platform, &[layer(platform, 4)], gzip);
        layout.list(entry, &[(REF_NAME, "docker.io/acme/api:1")]);
        std::fs::write(images.join(format!("{name}.tar")), layout.tar()).unwrap();
    }
    std::fs::write(images.join("notes.txt"), "not an archive").unwrap();
    std::fs::write(images.join(".hidden.tar"), "half a download").unwrap();
    let found = find(folder.path(), &[wanted("acme/api:1", None)], &["linux/amd64", "linux/arm64"]).unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].layers[0].order().0, found[1].layers[0].order().0), (0, 1));
}

#[test]
fn two_different_images_of_one_name_are_an_error_and_equal_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    std::fs::create_dir(&images).unwrap();
    std::fs::write(images.join("a.tar"), podman(&["a:1"], &[layer("x", 3)])).unwrap();
    std::fs::write(images.join("b.tar"), engine_20(&["a:1"], &[layer("x", 3)])).unwrap();
    assert_eq!(find(folder.path(), &[wanted("a:1", None)], &["linux/amd64"]).unwrap().len(), 1);
    std::fs::write(images.join("c.tar"), podman(&["a:1"], &[layer("x", 4)])).unwrap();
    let error = find(folder.path(), &[wanted("a:1", None)], &["linux/amd64"]).unwrap_err().to_string();
    assert!(error.contains("two different images") && error.contains("c.tar"), "{error}");
}

#[test]
fn a_lifted_ceiling_holds_for_every_layer() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("images")).unwrap();
    std::fs::write(folder.path().join("images/a.tar"), podman(&["a:1"], &[layer("x", 3), layer("y", 4)]))
        .unwrap();
    let options = ResolveOptions { unpacked_bytes: Some(40 << 30), ..nowhere() };
    let (wanted, platforms) = ([wanted("a:1", None)], platforms(&["linux/amd64"]));
    let found = resolve(&wanted, &platforms, folder.path(), &options, &Silent, &Cancel::default()).unwrap();
    assert!(found[0].layers.len() == 2 && found[0].layers.iter().all(|layer| layer.lifted == Some(40 << 30)));
}

#[test]
fn a_damaged_archive_among_the_images_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    std::fs::create_dir(&images).unwrap();
    let whole = podman(&["a:1"], &[layer("x", 3000)]);
    std::fs::write(images.join("a.tar"), &whole[..whole.len() / 2]).unwrap();
    let error =
        find(folder.path(), &[wanted("a:1", None), wanted("b:1", None)], &["linux/amd64"]).unwrap_err();
    assert_eq!(error.0.len(), 1, "{error}");
    assert!(error.to_string().contains("a.tar") && error.to_string().contains("cut off"), "{error}");
}

#[test]
fn pins_and_preservation_are_kept_to() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("d.tar"), podman(&["a:1"], &[layer("x", 3)])).unwrap();
    let mut layout = Layout::default();
    let entry = layout.image("linux/amd64", &[layer("x", 3)], gzip);
    let digest = entry["digest"].as_str().unwrap().to_owned();
    layout.list(entry, &[]);
    std::fs::write(folder.path().join("o.tar"), layout.tar()).unwrap();
    let docker = Some(SourceSpec::DockerArchive { path: "d.tar".into(), reference: None });
    let oci = Some(SourceSpec::OciArchive { path: "o.tar".into(), reference: None });
    let other = format!("a@sha256:{}", "0".repeat(64));
    for (reference, source, part) in
        [(format!("a@{digest}"), &docker, "do not keep the manifest"), (other.clone(), &oci, digest.as_str())]
    {
        let error = find(folder.path(), &[wanted(&reference, source.clone())], &["linux/amd64"])
            .unwrap_err()
            .to_string();
        assert!(error.contains(part), "{error}");
    }
    find(folder.path(), &[wanted(&format!("a@{digest}"), oci.clone())], &["linux/amd64"]).unwrap();
    let mut preserved = wanted("a:1", docker);
    preserved.preserve = true;
    let error = find(folder.path(), &[preserved.clone()], &["linux/amd64"]).unwrap_err().to_string();
    assert!(error.contains("has lost the image's manifest"), "{error}");
    preserved.source = oci;
    assert!(find(folder.path(), &[preserved], &["linux/amd64"]).unwrap()[0].original.is_some());
}

#[test]
fn what_an_earlier_build_kept_is_used_without_asking() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    let mut layout = Layout::default();
    let entry = layout.image("linux/amd64", &[layer("x", 3)], gzip);
    layout.list(entry, &[(CONTAINERD_NAME, "docker.io/acme/api:1")]);
    layout.write(&images.join("acme+api@1.from-registry"));
    std::fs::write(images.join("acme+db@1.from-engine.tar"), podman(&["acme/db:1"], &[layer("db", 3)]))
        .unwrap();
    let asked = [wanted("acme/api:1", None), wanted("acme/db:1", None)];
    let found = find(folder.path(), &asked, &["linux/amd64"]).unwrap();
    assert_eq!(found.iter().map(|image| image.source).collect::<Vec<_>>(), ["docker", "docker-daemon"]);
    let refresh = ResolveOptions { refresh: true, ..nowhere() };
    let error =
        resolve(&asked, &platforms(&["linux/amd64"]), folder.path(), &refresh, &Silent, &Cancel::default())
            .unwrap_err();
    assert_eq!(error.0.len(), 2);
    // Kept for one platform, asked for another: the registry would have to be asked again.
    let error = find(folder.path(), &asked[..1], &["linux/arm64"]).unwrap_err().to_string();
    assert!(error.contains("offline"), "{error}");
}
