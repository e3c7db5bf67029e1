//! Everything that can go into a bundle: images from every source and dialect, and artifacts of every
//! kind.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod of_engines;
mod of_tools;

use fixtures::docker_archive::{self, Compression};
use fixtures::small_site::SmallSite;
use fixtures::{Dialect, ImageSpec, Registry, keys};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tests::bundle::{self, Built, replace};
use tests::host::Host;
use tests::outcome::Outcome;
use tests::programs::{self, stock};
use tests::snapshot::sha256;

/// The small site, whose image sources are to be changed.
struct Site {
    folder: TempDir,
    images: [ImageSpec; 2],
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        SmallSite::default().write(&folder.path().join("site")).unwrap();
        let layers = folder.path().join("layers");
        fs::create_dir(&layers).unwrap();
        let images = SmallSite::default().images(&layers).unwrap();
        Self { folder, images }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("site")
    }

    /// Gives `small/front` another source than the site has, or none at all.
    fn front_from(&self, source: Option<&str>) -> &Self {
        let line = source.map_or_else(String::new, |source| format!("  small/front:1.0.0: {source}\n"));
        self.edit("ferry.yaml", "  small/front:1.0.0: docker-archive:dist/front.tar\n", &line);
        fs::remove_file(self.path().join("dist/front.tar")).unwrap();
        self
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        replace(&self.path().join(file), from, to);
    }

    fn archive(&self, images: &[ImageSpec], dialect: Dialect, name: &str) -> PathBuf {
        let out = self.path().join(name);
        fs::create_dir_all(out.parent().unwrap()).unwrap();
        docker_archive::write(images, dialect, &out).unwrap();
        out
    }

    /// Builds it, with access to engines and registries as `arguments` say.
    #[track_caller]
    fn build(&self, arguments: &[&str]) -> Built {
        let _ = self.try_build(arguments).succeeds();
        let key = keys::write(self.folder.path(), "key", 1).unwrap();
        Built { file: self.folder.path().join("site.fz"), site: self.path(), key }
    }

    fn try_build(&self, arguments: &[&str]) -> Outcome {
        let key = keys::write(self.folder.path(), "key", 1).unwrap();
        let file = self.folder.path().join("site.fz");
        let mut command = programs::command(programs::ferry());
        command.arg("build").arg(self.path()).arg("--key").arg(&key.private).arg("--output").arg(&file);
        Outcome::of(command.args(arguments))
    }
}

fn images<'a>(release: &'a Value, reference: &str) -> Vec<&'a Value> {
    let all = release["images"].as_array().unwrap();
    all.iter().filter(|image| image["reference"].as_str().unwrap().contains(reference)).collect()
}

/// The bundle's only image of this name is `spec`: configuration and layers.
#[track_caller]
fn assert_holds(release: &Value, reference: &str, spec: &ImageSpec, what: &str) {
    let found = images(release, reference);
    assert_eq!(found.len(), 1, "{what}: {found:?}");
    let image = spec.build().unwrap();
    assert_eq!(found[0]["config"]["digest"], format!("sha256:{}", image.id()), "{what}");
    let diff_ids: Vec<String> = found[0]["diff_ids"]
        .as_array()
        .unwrap()
        .iter()
        .map(|id| id.as_str().unwrap().trim_start_matches("sha256:").to_owned())
        .collect();
    let expected: Vec<String> =
        image.diff_ids().iter().map(|id| id.trim_start_matches("sha256:").to_owned()).collect();
    assert_eq!(diff_ids, expected, "{what}");
}

/// Every layer once, each with its own content: three layers for the five that the images name.
#[track_caller]
fn assert_shared(built: &Built, release: &Value, what: &str) {
    let layers = release["layers"].as_array().unwrap();
    let mut digests: Vec<&str> = layers.iter().map(|layer| layer["digest"].as_str().unwrap()).collect();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!((layers.len(), digests.len()), (3, 3), "{what}");
    let mut tar = programs::command(stock("tar"));
    let listed = Outcome::of(tar.args(["--zstd", "-tf"]).arg(&built.file)).succeeds().stdout;
    for digest in digests {
        let name = format!("blobs/sha256/{}", digest.trim_start_matches("sha256:"));
        assert_eq!(listed.lines().filter(|line| *line == name).count(), 1, "{what}: {name}");
    }
}

/// It builds, and holds both images with the layers that they share.
#[track_caller]
fn assert_builds_both(site: &Site, what: &str) {
    let built = site.build(&["--offline"]);
    let release = &built.inspect()["release"];
    assert_holds(release, "small/front:1.0.0", &site.images[0], what);
    assert_holds(release, "small/ticker:1", &site.images[1], what);
    assert_shared(&built, release, what);
}

#[test]
fn archives_and_layouts_of_every_dialect_give_the_same_image() {
    for (label, dialect) in Dialect::ALL {
        let site = Site::new();
        let name =
            if label.starts_with("oci") && !label.contains("archive") { "dist/any" } else { "dist/any.tar" };
        site.front_from(Some(&format!("{}:{name}", dialect.transport())));
        site.archive(&site.images[..1], dialect, name);
        assert_builds_both(&site, label);
    }
}

#[test]
fn both_images_in_one_archive_by_their_names() {
    for (label, dialect) in [
        ("docker-20.10", Dialect::Docker20),
        ("containerd", Dialect::Containerd(Compression::Gzip)),
        ("oci-archive", Dialect::OciArchive(Compression::Zstd)),
    ] {
        let site = Site::new();
        let source = format!("{}:dist/both.tar", dialect.transport());
        site.front_from(Some(&source));
        site.edit("ferry.yaml", "docker-archive:dist/ticker.tar", &source);
        site.archive(&site.images, dialect, "dist/both.tar");
        assert_builds_both(&site, label);
    }
}

#[test]
fn an_image_without_a_source_is_found_in_the_images_folder() {
    let site = Site::new();
    site.front_from(None);
    site.archive(&site.images[..1], Dialect::Podman, "images/whatever it is called.tar");
    let built = site.build(&["--offline"]);
    assert_holds(&built.inspect()["release"], "small/front:1.0.0", &site.images[0], "images/");
}

#[test]
fn images_come_from_a_real_engine_named_or_found() {
    let host = Host::docker("build");
    let engine = &host.engine;
    let site = Site::new();
    site.front_from(Some("docker-daemon:built/here:latest"));
    let archive = site.archive(&site.images[..1], Dialect::Docker20, "../front.tar");
    engine.docker_text(&["load", "--input", archive.to_str().unwrap()]).unwrap();
    engine.docker_text(&["tag", "small/front:1.0.0", "built/here:latest"]).unwrap();
    let built = site.build(&["--offline", "--engine", &engine.host()]);
    let release = &built.inspect()["release"];
    assert_holds(release, "small/front:1.0.0", &site.images[0], "docker-daemon");
    assert_eq!(images(release, "front")[0]["source"], "docker-daemon");
    assert_shared(&built, release, "docker-daemon");

    // Not named anywhere: the engine is asked, and what it gave is kept for the next build.
    let site = Site::new();
    site.front_from(None);
    let built = site.build(&["--offline", "--engine", &engine.host()]);
    assert_holds(&built.inspect()["release"], "small/front:1.0.0", &site.images[0], "the engine");
    let first = fs::read(&built.file).unwrap();
    drop(host);
    let again = site.build(&["--offline"]);
    assert!(first == fs::read(&again.file).unwrap(), "a build from images/ differs from the one before");
}

#[test]
fn images_come_from_a_real_registry() {
    let registry = Registry::start().unwrap();
    let site = Site::new();
    let layout = site.archive(&site.images[..1], Dialect::OciLayout(Compression::Gzip), "../layout");
    registry.push(&format!("oci:{}:1.0.0", layout.display()), "acme/front:1").unwrap();
    site.front_from(Some(&format!("docker://{}/acme/front:1", registry.host())));
    let built = site.build(&[]);
    let release = &built.inspect()["release"];
    assert_holds(release, "small/front:1.0.0", &site.images[0], "docker");
    assert_eq!(images(release, "front")[0]["source"], "docker");
    assert!(registry.log().contains("/v2/acme/front/manifests/1"));

    // Fetched once: with the registry gone the same bundle is built.
    let first = fs::read(&built.file).unwrap();
    let compose_name = format!("{}/acme/front:1", registry.host());
    let by_name = Site::new();
    by_name.front_from(None);
    by_name.edit("compose.yaml", "image: small/front:1.0.0", &format!("image: {compose_name}"));
    let found = by_name.build(&[]);
    assert_holds(&found.inspect()["release"], "acme/front:1", &by_name.images[0], "by the name in Compose");
    drop(registry);
    let _ = by_name.build(&["--offline"]);
    let again = site.build(&["--offline"]);
    assert!(
        first == fs::read(&again.file).unwrap(),
        "a build without the registry differs from the one with it"
    );
}

#[test]
fn all_platforms_that_are_asked_for_are_taken_from_one_index() {
    let site = Site::new();
    let both = |image: &ImageSpec| {
        [image.clone(), ImageSpec { platform: "linux/arm64".to_owned(), ..image.clone() }]
    };
    site.front_from(Some("oci:dist/front"));
    site.edit("ferry.yaml", "docker-archive:dist/ticker.tar", "oci-archive:dist/ticker-both.tar");
    site.archive(&both(&site.images[0]), Dialect::OciLayout(Compression::Gzip), "dist/front");
    site.archive(&both(&site.images[1]), Dialect::OciArchive(Compression::None), "dist/ticker-both.tar");

    // Only this machine's platform, unless more are asked for.
    site.edit("ferry.yaml", "artifacts:\n", "requires: { arch: [amd64] }\nartifacts:\n");
    let one = site.build(&["--offline"]);
    assert_holds(&one.inspect()["release"], "front", &site.images[0], "amd64 only");

    site.edit("ferry.yaml", "arch: [amd64]", "arch: [amd64, arm64]");
    let built = site.build(&["--offline"]);
    let release = &built.inspect()["release"];
    for name in ["front", "ticker"] {
        let platforms: Vec<&str> =
            images(release, name).iter().map(|image| image["platform"].as_str().unwrap()).collect();
        assert_eq!(platforms, ["linux/amd64", "linux/arm64"], "{name}");
    }
    assert_shared(&built, release, "both platforms share their layers");

    // One that is not there is an error that names it.
    site.edit("ferry.yaml", "arch: [amd64, arm64]", "arch: [amd64, riscv64]");
    let mut command =
        bundle::build(&site.path(), &site.folder.path().join("key"), &site.folder.path().join("no.fz"));
    let _ = Outcome::of(&mut command).exits(3).says("small/front:1.0.0` for linux/riscv64 was not found");
    assert!(!site.folder.path().join("no.fz").exists());
}

#[test]
fn what_is_pinned_by_digest_or_preserved_is_kept_byte_for_byte() {
    for (label, compression) in [("gzip", Compression::Gzip), ("plain", Compression::None)] {
        let site = Site::new();
        site.front_from(Some("{ from: \"oci:dist/front\", preserve: true }"));
        let layout = site.archive(&site.images[..1], Dialect::OciLayout(compression), "dist/front");
        let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
        let digest = index["manifests"][0]["digest"].as_str().unwrap();
        let manifest =
            fs::read(layout.join("blobs/sha256").join(digest.trim_start_matches("sha256:"))).unwrap();

        let preserved = site.build(&["--offline"]);
        site.edit("ferry.yaml", ", preserve: true", "");
        site.edit("ferry.yaml", "small/front:1.0.0:", &format!("small/front@{digest}:"));
        site.edit("compose.yaml", "small/front:1.0.0", &format!("small/front@{digest}"));
        let pinned = site.build(&["--offline"]);
        for built in [preserved, pinned] {
            let release = &built.inspect()["release"];
            let manifests = &images(release, "front")[0]["manifests"];
            assert_eq!(manifests["kind"], "preserved", "{label}");
            assert_eq!(manifests["original"]["digest"], digest, "{label}");
            assert_eq!(manifests["original"]["content"].as_str().unwrap().as_bytes(), manifest, "{label}");
            let out = site.folder.path().join("out");
            let _ = fs::remove_dir_all(&out);
            unpack(&built, &out);
            let parsed: Value = serde_json::from_slice(&manifest).unwrap();
            for layer in parsed["layers"].as_array().unwrap() {
                let hex = layer["digest"].as_str().unwrap().trim_start_matches("sha256:");
                let blob = fs::read(out.join("blobs/sha256").join(hex)).unwrap();
                assert_eq!(sha256(&blob), hex, "{label}");
            }
        }
    }
}

fn unpack(built: &Built, out: &Path) {
    fs::create_dir_all(out).unwrap();
    let mut tar = programs::command(stock("tar"));
    let _ = Outcome::of(tar.args(["--zstd", "-xf"]).arg(&built.file).arg("-C").arg(out)).succeeds();
}

/// A git repository with two commits; the first is tagged. Returns its commit.
fn repository(folder: &Path) -> String {
    fs::create_dir_all(folder.join("plc/sub")).unwrap();
    let git = |arguments: &[&str]| {
        let mut command = programs::command(stock("git"));
        command.arg("-C").arg(folder).args(["-c", "user.name=Test", "-c", "user.email=test@example.com"]);
        Outcome::of(command.args(arguments)).succeeds().stdout.trim().to_owned()
    };
    let _ = git(&["init", "--quiet"]);
    fs::write(folder.join("plc/main.st"), "version one\n").unwrap();
    fs::write(folder.join("plc/sub/run.sh"), "#!/bin/sh\n").unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(folder.join("plc/sub/run.sh"), executable).unwrap();
    fs::write(folder.join("other.txt"), "not asked for\n").unwrap();
    let _ = git(&["add", "."]);
    let _ = git(&["commit", "--quiet", "--message=one"]);
    let _ = git(&["tag", "-a", "v1.8", "-m", "a tag with a message"]);
    fs::write(folder.join("plc/main.st"), "version two\n").unwrap();
    let _ = git(&["commit", "--quiet", "--all", "--message=two"]);
    fs::write(folder.join("plc/main.st"), "not committed\n").unwrap();
    git(&["rev-parse", "v1.8^{commit}"])
}

#[test]
fn artifacts_of_every_kind_travel_as_they_are() {
    let site = Site::new();
    let at = |name: &str| site.path().join(name);
    let commit = repository(&site.folder.path().join("plc-config"));
    // A Debian package, a Java archive and a tar, made by the tools that make them.
    fs::create_dir_all(at("package/DEBIAN")).unwrap();
    let control =
        "Package: agent\nVersion: 1.0\nArchitecture: all\nMaintainer: x <x@example.com>\nDescription: x\n";
    fs::write(at("package/DEBIAN/control"), control).unwrap();
    let mut deb = programs::command(stock("dpkg-deb"));
    let _ = Outcome::of(deb.args(["--build"]).arg(at("package")).arg(at("agent.deb"))).succeeds();
    let mut jar = programs::command(programs::python());
    jar.args(["-c", "import sys,zipfile; zipfile.ZipFile(sys.argv[1], 'w').writestr('A.class', 'x')"]);
    let _ = Outcome::of(jar.arg(at("app.jar"))).succeeds();
    let mut tar = programs::command(stock("tar"));
    let _ =
        Outcome::of(tar.arg("-czf").arg(at("data.tar.gz")).arg("-C").arg(at("files")).arg(".")).succeeds();
    std::os::unix::fs::symlink("sub/data.bin", at("files/deep-link")).unwrap();
    std::os::unix::fs::symlink("sub", at("files/folder-link")).unwrap();
    site.edit(
        "ferry.yaml",
        "artifacts:\n",
        "artifacts:\n  - agent.deb\n  - from: app.jar\n    to: java/app.jar\n  - from: data.tar.gz\n    to: archives/\n  \
         - from: git:../plc-config@v1.8:plc\n    to: plc/\n  - from: files/readme.txt\n    to: README\n",
    );
    let built = site.build(&["--offline"]);
    let release = built.inspect()["release"].clone();
    let found: Vec<(&str, &str)> = release["artifacts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|artifact| (artifact["to"].as_str().unwrap(), artifact["kind"].as_str().unwrap()))
        .collect();
    assert_eq!(
        found,
        [
            ("agent.deb", "deb"),
            ("java/app.jar", "jar"),
            ("archives/data.tar.gz", "archive"),
            ("plc", "git"),
            ("README", "file"),
            ("files", "folder")
        ]
    );
    assert_eq!(release["artifacts"][3]["commit"], json!(commit));

    let out = site.folder.path().join("out");
    unpack(&built, &out);
    let same = |packed: &str, original: &str| {
        let packed = out.join("artifacts").join(packed);
        assert_eq!(fs::read(&packed).unwrap(), fs::read(at(original)).unwrap(), "{}", packed.display());
    };
    same("agent.deb", "agent.deb");
    same("java/app.jar", "app.jar");
    same("archives/data.tar.gz", "data.tar.gz");
    same("README", "files/readme.txt");
    same("files/sub/data.bin", "files/sub/data.bin");
    for (link, target) in [("link.txt", "readme.txt"), ("deep-link", "sub/data.bin"), ("folder-link", "sub")]
    {
        assert_eq!(fs::read_link(out.join("artifacts/files").join(link)).unwrap(), Path::new(target));
    }
    let plc = out.join("artifacts/plc");
    assert_eq!(
        fs::read_to_string(plc.join("main.st")).unwrap(),
        "version one\n",
        "the tag's content, not the folder's"
    );
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(plc.join("sub/run.sh")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o755);
    assert_eq!(fs::read_dir(&plc).unwrap().count(), 2, "only what was asked for");
    let _ = Outcome::of(programs::command(programs::ferry()).arg("inspect").arg(&built.file))
        .succeeds()
        .says(&commit);
}

#[test]
fn inspect_reads_no_further_than_the_manifest_also_from_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let site = folder.path().join("site");
    SmallSite::default().write(&site).unwrap();
    let built = bundle::signed(folder.path(), &site, &folder.path().join("s.fz"), 1);
    let whole = fs::read(&built.file).unwrap();
    let inspect = |bytes: usize| {
        let cut = folder.path().join("cut.fz");
        fs::write(&cut, &whole[..bytes]).unwrap();
        let mut command = programs::command("sh");
        command.args(["-c", r#"cat "$1" | "$0" inspect -"#]).arg(programs::ferry()).arg(&cut);
        Outcome::of(&mut command)
    };
    let question = "site_name            string; \"nowhere\" by default  Name of this site";
    let _ = inspect(whole.len()).succeeds().says("variables: 1").says(question);
    // The layers come last, and are most of it.
    let _ = inspect(whole.len() / 4).succeeds().says("variables: 1").says(question);
    // The shortest beginning that tells anything has the signed metadata and nothing behind it.
    let (mut too_short, mut enough) = (0, whole.len() / 4);
    while enough - too_short > 1 {
        let middle = usize::midpoint(too_short, enough);
        *(if inspect(middle).code == 0 { &mut enough } else { &mut too_short }) = middle;
    }
    let shortest = inspect(enough).succeeds().says("small 1.0.0").says("small/front:1.0.0");
    let _ = shortest.says("variables: not to be read (the bundle is not whole)");
}
