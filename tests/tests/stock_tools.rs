//! Nothing in a `.fz` needs our tools to be opened: the same built file, given to the tools that
//! people have.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

use fixtures::small_site::SmallSite;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use tests::bundle::{self, Built};
use tests::host::Host;
use tests::outcome::Outcome;
use tests::programs::{self, stock};
use tests::snapshot::sha256;

/// The one bundle that all tests here look at, built by whichever comes first.
struct Subject {
    folder: PathBuf,
    built: Built,
    ferry_json: Value,
    content: Vec<u8>,
}

fn subject() -> &'static Subject {
    static SUBJECT: OnceLock<Subject> = OnceLock::new();
    SUBJECT.get_or_init(|| {
        // Statics are not dropped: the folder is one that cargo keeps for this.
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("stock_tools");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        // Large enough for a layer of several frames.
        let built = bundle::small(&folder, &SmallSite { ballast: 40 << 20, ..SmallSite::default() });
        let inspected = built.inspect();
        assert!(inspected["frames"].as_u64().unwrap() > 8, "{inspected}");
        let content = programs::command(stock("zstd")).arg("-dc").arg(&built.file).output().unwrap();
        assert!(content.status.success(), "{content:?}");
        Subject { folder, built, ferry_json: inspected["release"].clone(), content: content.stdout }
    })
}

impl Subject {
    fn file(&self) -> &Path {
        &self.built.file
    }

    /// The members of the payload, as stock tar unpacks them.
    fn unpacked(&self, name: &str) -> PathBuf {
        let out = self.folder.join(name);
        let _ = fs::remove_dir_all(&out);
        fs::create_dir_all(&out).unwrap();
        let mut tar = programs::command(stock("tar"));
        let _ = Outcome::of(tar.args(["--zstd", "-xf"]).arg(self.file()).arg("-C").arg(&out)).succeeds();
        out
    }

    fn image(&self, reference: &str) -> &Value {
        let images = self.ferry_json["images"].as_array().unwrap();
        images.iter().find(|image| image["reference"].as_str().unwrap().ends_with(reference)).unwrap()
    }

    fn image_id(&self, reference: &str) -> &str {
        self.image(reference)["config"]["digest"].as_str().unwrap()
    }
}

#[track_caller]
fn run(program: &str, arguments: &[&str], file: &Path) -> Outcome {
    Outcome::of(programs::command(stock(program)).args(arguments).arg(file)).succeeds()
}

#[test]
fn file_and_zstd_know_it() {
    let file = subject().file();
    let _ = run("file", &["--brief"], file).says("Zstandard compressed data");
    let _ = run("zstd", &["-t"], file);
    let listed = run("zstd", &["-l"], file).stdout;
    let row = listed.lines().last().unwrap();
    let skippable = row.split_whitespace().nth(1).unwrap();
    assert_eq!(skippable, "2", "head and seek table are skippable frames:\n{listed}");
}

#[test]
fn tar_lists_it_with_and_without_being_told_of_zstd() {
    let file = subject().file();
    let told = run("tar", &["--zstd", "-tf"], file);
    let found = run("tar", &["-tf"], file);
    assert_eq!(told.stdout, found.stdout);
    assert_eq!(told.stderr, "", "tar warns of nothing");
    let names: Vec<&str> = told.stdout.lines().collect();
    for name in ["ferry.yaml", "compose.yaml", "ferry.json", "oci-layout", "index.json", "manifest.json"] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    assert!(names.iter().any(|name| name.starts_with("artifacts/files/")), "{names:?}");
    let mut once = names.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), names.len(), "no name occurs twice");
}

#[test]
fn every_blob_of_the_unpacked_layout_has_the_digest_it_is_named_for() {
    let unpacked = subject().unpacked("digests");
    let mut blobs = 0;
    for entry in fs::read_dir(unpacked.join("blobs/sha256")).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(path.file_name().unwrap().to_str().unwrap(), sha256(&fs::read(&path).unwrap()));
        blobs += 1;
    }
    let layers = subject().ferry_json["layers"].as_array().unwrap().len();
    assert!(blobs > layers, "{blobs} blobs, {layers} of them layers");
}

#[test]
fn skopeo_reads_the_unpacked_layout_and_the_archive() {
    let subject = subject();
    let unpacked = subject.unpacked("skopeo");
    let skopeo = || programs::command(stock("skopeo"));
    for reference in ["small/front:1.0.0", "small/ticker:1"] {
        let config = fs::read_to_string(
            unpacked.join("blobs/sha256").join(subject.image_id(reference).strip_prefix("sha256:").unwrap()),
        )
        .unwrap();
        for source in [
            format!("oci:{}:{reference}", unpacked.display()),
            format!("docker-archive:{}:{reference}", subject.file().display()),
        ] {
            let shown = Outcome::of(skopeo().args(["inspect", "--config", "--raw", &source])).succeeds();
            assert_eq!(shown.stdout, config, "{source}");
            let copy = subject.folder.join("copy");
            let _ = fs::remove_dir_all(&copy);
            let target = format!("dir:{}", copy.display());
            let _ = Outcome::of(skopeo().args(["copy", "--insecure-policy", &source, &target])).succeeds();
            let manifest: Value =
                serde_json::from_slice(&fs::read(copy.join("manifest.json")).unwrap()).unwrap();
            let layers = manifest["layers"].as_array().unwrap().len();
            assert_eq!(layers, subject.image(reference)["diff_ids"].as_array().unwrap().len(), "{source}");
        }
    }
}

#[test]
fn podman_loads_it_as_it_is_and_runs_its_images() {
    let subject = subject();
    let host = Host::podman("stock-podman");
    let engine = &host.engine;
    // Podman's own command, over the same store as its service.
    let podman = |arguments: &[&str]| {
        let folder = engine.folder();
        let mut command = engine.command(stock("podman"));
        command
            .arg(format!("--root={}", folder.join("data").display()))
            .arg(format!("--runroot={}", folder.join("run").display()))
            .env_remove("DOCKER_CONFIG")
            .env("CONTAINERS_CONF", folder.join("containers.conf"))
            .env("CONTAINERS_STORAGE_CONF", folder.join("storage.conf"))
            .env("CONTAINERS_REGISTRIES_CONF", folder.join("registries.conf"));
        Outcome::of(command.args(arguments)).succeeds()
    };
    let loaded = podman(&["load", "--input", subject.built.path()]);
    assert!(loaded.stdout.contains("small/front:1.0.0"), "{loaded}");
    for reference in ["small/front:1.0.0", "small/ticker:1"] {
        let id = podman(&["image", "inspect", "--format", "{{.Id}}", reference]).stdout;
        assert_eq!(format!("sha256:{}", id.trim()), subject.image_id(reference));
    }
    let page = podman(&[
        "run",
        "--rm",
        "--network=none",
        "--entrypoint=/bin/cat",
        "small/front:1.0.0",
        "/www/index.html",
    ]);
    assert_eq!(page.stdout, "hello from the small site\n");
}

#[test]
fn docker_loads_it_unpacked_by_zstd() {
    let subject = subject();
    let host = Host::docker("stock-docker");
    let engine = &host.engine;
    let pipe = format!("{} -dc '{}' | docker load", stock("zstd").display(), subject.built.path());
    let loaded = Outcome::of(engine.command("/bin/sh").args(["-c", &pipe])).succeeds();
    assert!(loaded.stdout.contains("Loaded image: small/front:1.0.0"), "{loaded}");
    for reference in ["small/front:1.0.0", "small/ticker:1"] {
        // Graph drivers name images by their configuration, which says all; the containerd store by a manifest.
        let id = engine.docker_text(&["image", "inspect", "--format", "{{.Id}}", reference]).unwrap();
        let driver = engine.docker_text(&["info", "--format", "{{.DriverStatus}}"]).unwrap();
        assert!(id == subject.image_id(reference) || driver.contains("io.containerd.snapshotter"), "{id}");
        let layers =
            engine.docker_text(&["image", "inspect", "--format", "{{json .RootFS.Layers}}", reference]);
        let layers: Value = serde_json::from_str(&layers.unwrap()).unwrap();
        assert_eq!(&layers, &subject.image(reference)["diff_ids"]);
    }
    let run =
        ["run", "--rm", "--network=none", "--entrypoint=/bin/cat", "small/front:1.0.0", "/www/index.html"];
    assert_eq!(engine.docker_text(&run).unwrap(), "hello from the small site");
}

/// The seek table as zstd's contrib/seekable_format describes it: compressed and content size of
/// each frame, from the file's start.
fn seek_table(file: &[u8]) -> Vec<(u64, u64)> {
    let word = |bytes: &[u8]| u64::from(u32::from_le_bytes(bytes[..4].try_into().unwrap()));
    let footer = &file[file.len() - 9..];
    assert_eq!(word(&footer[5..]), 0x8F92_EAB1, "the seekable magic number");
    let count = usize::try_from(word(footer)).unwrap();
    let entry = if footer[4] & 0x80 == 0 { 8 } else { 12 };
    let table = &file[file.len() - 9 - count * entry..file.len() - 9];
    table.chunks(entry).map(|entry| (word(entry), word(&entry[4..]))).collect()
}

#[test]
fn the_frames_of_a_layer_cut_out_of_the_file_are_the_layer() {
    let subject = subject();
    let file = fs::read(subject.file()).unwrap();
    let frames = seek_table(&file);
    // Where each data frame begins, in the content and in the file. Before them stand the empty
    // frame, the head, and the frame of ferry.json, which says where the others lie.
    let [before, data] = [&frames[..3], &frames[3..]];
    assert_eq!((before[0].1, before[1].1), (0, 0));
    let mut starts = BTreeMap::new();
    let (mut at, mut content_at) = (before.iter().map(|frame| frame.0).sum::<u64>(), 0);
    for (compressed, content) in data {
        starts.insert(content_at, at);
        at += compressed;
        content_at += content;
    }
    starts.insert(content_at, at);
    let layers = subject.ferry_json["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 4);
    for layer in layers {
        let offset = layer["span"]["offset"].as_u64().unwrap();
        let end = offset + layer["span"]["size"].as_u64().unwrap();
        let digest = layer["digest"].as_str().unwrap();
        let [Some(from), Some(to)] = [starts.get(&offset), starts.get(&end)] else {
            unreachable!("the layer {digest} does not begin and end at a frame: {layer}")
        };
        let cut = &file[usize::try_from(*from).unwrap()..usize::try_from(*to).unwrap()];
        assert_eq!(cut.len() as u64, layer["zstd"]["size"].as_u64().unwrap());
        assert_eq!(format!("sha256:{}", sha256(cut)), layer["zstd"]["digest"].as_str().unwrap());
        let path = subject.folder.join("layer.zst");
        fs::write(&path, cut).unwrap();
        let tar = Command::new(stock("zstd")).arg("-dc").arg(&path).output().unwrap();
        assert!(tar.status.success(), "{tar:?}");
        assert_eq!(format!("sha256:{}", sha256(&tar.stdout)), digest);
    }
    let named: Vec<&Value> = subject.image("front:1.0.0")["diff_ids"].as_array().unwrap().iter().collect();
    for diff_id in named {
        assert!(layers.iter().any(|layer| &layer["digest"] == diff_id), "{diff_id}");
    }
}

#[test]
fn a_seekable_reader_that_we_did_not_write_sees_exactly_the_tar() {
    const READ: &str = r#"
import random, sys
from pyzstd import SeekableZstdFile
path, plain = sys.argv[1:]
with open(plain, "rb") as file:
    content = file.read()
assert SeekableZstdFile.is_seekable_format_file(path)
with SeekableZstdFile(path, "r") as file:
    frames, compressed, size = file.seek_table_info
    assert size == len(content), (size, len(content))
    assert file.read() == content
    pick = random.Random(1)
    for _ in range(300):
        at = pick.randrange(size)
        length = pick.randrange(1, 100000)
        file.seek(at)
        assert file.read(length) == content[at:at + length], (at, length)
    file.seek(0, 2)
    assert file.tell() == size
print(frames)
"#;
    let subject = subject();
    let plain = subject.folder.join("payload.tar");
    fs::write(&plain, &subject.content).unwrap();
    let mut python = programs::command(programs::python());
    let read = Outcome::of(python.args(["-c", READ]).arg(subject.file()).arg(&plain)).succeeds();
    let frames: usize = read.stdout.trim().parse().unwrap();
    assert_eq!(frames, seek_table(&fs::read(subject.file()).unwrap()).len());
}

#[test]
fn ssh_keygen_verifies_the_exported_index() {
    let subject = subject();
    let folder = subject.folder.join("signature");
    fs::create_dir_all(&folder).unwrap();
    let prefix = folder.join("site");
    let mut export = programs::command(programs::ferry());
    export.arg("inspect").arg("--export-index").arg(&prefix).arg(subject.file());
    let _ = Outcome::of(&mut export).succeeds();
    let allowed = folder.join("allowed_signers");
    let check = |signer: &str, index: &Path| {
        fs::write(&allowed, format!("release {signer}\n")).unwrap();
        let mut command = programs::command("/bin/sh");
        command.args(["-c", "exec ssh-keygen -Y verify -f \"$0\" -I release -n ferry -s \"$1\" < \"$2\""]);
        Outcome::of(command.arg(&allowed).arg(folder.join("site.sig.0")).arg(index))
    };
    let index = folder.join("site.index");
    let _ = stock("ssh-keygen");
    let _ =
        check(&subject.built.key.public_line, &index).succeeds().says("Good \"ferry\" signature for release");

    let other = fixtures::keys::write(&folder, "other", 9).unwrap();
    assert_ne!(check(&other.public_line, &index).code, 0, "another key is refused");
    let mut bytes = fs::read(&index).unwrap();
    bytes[0] ^= 1;
    let changed = folder.join("changed.index");
    fs::write(&changed, bytes).unwrap();
    assert_ne!(check(&subject.built.key.public_line, &changed).code, 0, "a changed index is refused");

    // The index names the bundle: its digest is the id that people are shown.
    let id = format!("sha256:{}", sha256(&fs::read(&index).unwrap()));
    assert_eq!(subject.built.inspect()["id"], id);
}
