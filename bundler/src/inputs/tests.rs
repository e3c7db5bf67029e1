//! Inputs as they are read and packed: the files that go into a bundle, and mistakes that could only fail on site.

use crate::cancel::Cancel;
use crate::inputs::{self, Inputs};
use crate::signing::SigningKey;
use crate::sources::ResolveOptions;
use crate::verbs::build::{Request, build};
use bundle_format::{Bundle, PackOptions, Trust};
use fixtures::small_site::SmallSite;
use manifest_schema::progress::Progress;
use manifest_schema::release::Release;
use manifest_schema::render::InProcess;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;

const MANIFEST: &str = "ferry: 1\nname: plant\nversion: 1.0.0\n";

/// A folder with a manifest, a Compose file, and files.
fn site(manifest: &str, compose: &str, files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let own = [("ferry.yaml", format!("{MANIFEST}{manifest}")), ("compose.yaml", compose.to_owned())];
    let files = files.iter().map(|(name, content)| (*name, (*content).to_owned()));
    for (name, content) in files.chain(own) {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

fn read(folder: &TempDir) -> Inputs {
    inputs::read(folder.path(), &InProcess).unwrap_or_else(|error| panic!("{error:#}"))
}

fn refused(folder: &TempDir) -> String {
    format!("{:#}", inputs::read(folder.path(), &InProcess).expect_err("it must be refused"))
        .replace(&format!("{}/", folder.path().display()), "")
}

fn paths(inputs: &Inputs) -> Vec<&str> {
    inputs.compose_files.iter().map(|file| file.path.as_str()).collect()
}

fn warnings(inputs: &Inputs) -> Vec<&str> {
    inputs.warnings.iter().map(|warning| warning.message.as_str()).collect()
}

fn mounts(volumes: &str) -> String {
    format!("services:\n  web:\n    image: web\n    volumes: [{volumes}]\n")
}

const CONFIG: &str = "configs:\n  - { from: t/nginx.conf, to: config/nginx.conf }\n";

#[test]
fn a_config_in_a_mounted_folder_leaves_its_other_files() {
    let files = [
        ("t/nginx.conf", "new"),
        ("config/nginx.conf", "old"),
        ("config/mime.types", "types"),
        ("config/sites/a.conf", "a"),
    ];
    let folder = site(CONFIG, &mounts("'./config:/etc/nginx:ro'"), &files);
    assert_eq!(paths(&read(&folder)), ["config/mime.types", "config/sites/a.conf"]);
    // Where the folder is not there, the config alone makes it.
    let folder = site(CONFIG, &mounts("'./config:/etc/nginx:ro'"), &files[..1]);
    let inputs = read(&folder);
    assert!(paths(&inputs).is_empty() && warnings(&inputs).is_empty());
    let folder = site(CONFIG, &mounts("'./config/nginx.conf:/etc/nginx.conf'"), &files[..2]);
    assert!(paths(&read(&folder)).is_empty());
}

#[test]
fn folders_that_services_write_to_begin_empty_on_site() {
    let folder = site("", &mounts("'./data:/data', './there:/there'"), &[]);
    fs::create_dir(folder.path().join("there")).unwrap();
    let inputs = read(&folder);
    assert!(paths(&inputs).is_empty());
    assert_eq!(
        warnings(&inputs),
        ["service `web` mounts ./data, which does not exist; the folder starts empty on site"]
    );
    for volumes in
        ["'./data:/data:ro'", "{ type: bind, source: ./data, target: /d, bind: { create_host_path: false } }"]
    {
        let error = refused(&site("", &mounts(volumes), &[]));
        assert!(error.starts_with("compose.yaml:4:"), "{error}");
        assert!(error.contains("service `web` names data, which does not exist"), "{error}");
    }
    // What one reads and another writes is there for both.
    let both = "services:\n  a: { image: a, volumes: ['./data:/d:ro'] }\n  b: { image: b, volumes: ['./data:/d'] }\n";
    assert!(paths(&read(&site("", both, &[]))).is_empty());
}

#[test]
fn a_carried_folder_that_a_service_may_write_to_is_warned_of() {
    let files = [("data/a", "a"), ("one", "1")];
    let folder = site("", &mounts("'./data:/data', './one:/one'"), &files);
    let inputs = read(&folder);
    assert_eq!(warnings(&inputs), ["service `web` may write into ./data, which comes with the release"]);
    assert!(inputs.warnings[0].hint.as_ref().unwrap().contains("use a named volume"));
    assert!(warnings(&read(&site("", &mounts("'./data:/data:ro', './one:/one'"), &files))).is_empty());
}

#[test]
fn files_that_no_site_could_lay_out_are_refused() {
    let folder = site("", &mounts("'./big:/big:ro', './many:/many:ro'"), &[("many/a", "")]);
    let sized = |name: &str, bytes: u64| {
        fs::File::create(folder.path().join(name)).unwrap().set_len(bytes).unwrap();
    };
    sized("big", (16 << 20) + 1);
    let error = refused(&folder);
    assert!(
        error.contains(
            "compose.yaml:4:15: service `web` needs big, which has 16.0 MiB; the limit is 16.0 MiB"
        ),
        "{error}"
    );
    assert!(error.contains("make it an artifact"), "{error}");
    sized("big", 16 << 20);
    let _ = read(&folder);
    for name in ["many/a", "many/b", "many/c"] {
        sized(name, 16 << 20);
    }
    let _ = read(&folder);
    sized("many/d", 1);
    let error = refused(&folder);
    assert!(
        error.contains("with many/d of service `web` the files that the Compose file names exceed 64.0 MiB"),
        "{error}"
    );
    assert!(error.contains("seed a volume with it"), "{error}");
}

#[test]
fn what_cannot_lie_in_one_folder_on_site_is_refused() {
    let web = "services: { web: { image: web } }\n";
    for (to, named) in [
        ("compose.yaml", "compose.yaml"),
        (".configs/x", ".configs"),
        (".secrets", ".secrets"),
        (".ferry-complete", ".ferry-complete"),
        ("artifacts/x", "artifacts"),
    ] {
        let folder = site(&format!("configs:\n  - {{ from: t, to: {to} }}\n"), web, &[("t", "")]);
        let error = refused(&folder);
        let expected = format!(
            "ferry.yaml:5:3: the config `{to}` on line 5 would be at `{named}`, which is reserved for the installer"
        );
        assert!(error.starts_with(&expected), "{error}");
    }
    let two = "configs:\n  - { from: t, to: config }\n  - { from: t, to: config/a/b }\n";
    let error = refused(&site(two, web, &[("t", "")]));
    assert!(
        error.starts_with("ferry.yaml:6:3: the config `config/a/b` on line 6 needs a folder where the config `config` on line 5 is a file"),
        "{error}"
    );
    let one = "configs:\n  - { from: t, to: config/a }\n";
    let error = refused(&site(one, &mounts("'./config:/c:ro'"), &[("t", ""), ("config", "a file")]));
    assert!(error.contains("ferry.yaml:5:3: the config `config/a` on line 5 needs a folder where ./config, which the Compose file names is a file"), "{error}");
    let error = refused(&site("", &mounts("'./.secrets:/s:ro'"), &[(".secrets/x", "")]));
    assert!(
        error
            .contains("compose.yaml:4:15: ./.secrets/x, which the Compose file names would be at `.secrets`"),
        "{error}"
    );
}

#[test]
fn a_platform_that_not_every_host_has_is_refused() {
    let compose = |platform: &str| {
        format!("services:\n  web:\n    image: web\n    platform: {platform}\n  other: {{ image: web }}\n")
    };
    let arch = |arch: &str| format!("requires: {{ arch: [{arch}] }}\n");
    let inputs = read(&site(&arch("arm64"), &compose("linux/arm64/v8"), &[]));
    assert_eq!(inputs.wanted()[0].platform.as_ref().unwrap().as_str(), "linux/arm64/v8");
    let error = refused(&site(&arch("amd64"), &compose("linux/arm64"), &[]));
    assert!(
        error.starts_with(
            "compose.yaml:2:3: service `web` is for linux/arm64, but the bundle is for linux/amd64"
        ),
        "{error}"
    );
    let error = refused(&site(&arch("amd64, arm64"), &compose("linux/arm64"), &[]));
    assert!(error.contains("the bundle is also for linux/amd64, where it cannot start"), "{error}");
    assert!(error.contains("`requires: { arch: [arm64] }` alone"), "{error}");
}

/// Counts passes and warnings.
#[derive(Default)]
struct Told {
    began: Mutex<Vec<(String, Option<u64>)>>,
    advanced: AtomicU64,
    warned: Mutex<Vec<String>>,
}

impl Progress for Told {
    fn begin(&self, stage: &str, total: Option<u64>) {
        self.began.lock().unwrap().push((stage.to_owned(), total));
    }
    fn advance(&self, bytes: u64) {
        self.advanced.fetch_add(bytes, Ordering::Relaxed);
    }
    fn detail(&self, _: &str) {}
    fn end(&self, _: &str) {}
    fn warn(&self, text: &str) {
        self.warned.lock().unwrap().push(text.to_owned());
    }
}

/// Builds a small site that `change` has made larger.
fn built(change: impl FnOnce(&Path)) -> (TempDir, Told, Release) {
    let folder = tempfile::tempdir().unwrap();
    SmallSite::default().write(folder.path()).unwrap();
    change(folder.path());
    let told = Told::default();
    build(&request(folder.path(), 1), &told, &Cancel::default()).unwrap_or_else(|error| panic!("{error:#}"));
    let file = fs::File::open(folder.path().join("site.fz")).unwrap();
    let release = Bundle::open(file, &Trust::AnyValid).unwrap().release().clone();
    (folder, told, release)
}

fn request(folder: &Path, keys: u8) -> Request {
    let key = |seed| {
        let name = format!("key{seed}");
        fixtures::keys::write(folder, &name, seed).unwrap();
        SigningKey::open(&folder.join(&name), &|_| None).unwrap()
    };
    Request {
        manifest: folder.to_path_buf(),
        output: Some(folder.join("site.fz")),
        keys: (1..=keys).map(key).collect(),
        pack: PackOptions { level: 3, threads: 2 },
        resolve: ResolveOptions { offline: true, ..ResolveOptions::default() },
        rename: None,
        renderer: &InProcess,
    }
}

fn edit(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from));
    fs::write(file, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn scripts_stay_executable_and_the_env_file_is_packed_once() {
    let (folder, _, release) = built(|folder| {
        fs::create_dir(folder.join("hooks")).unwrap();
        fs::write(folder.join("hooks/run.sh"), "#!/bin/sh\n").unwrap();
        fs::write(folder.join("hooks/plain"), "").unwrap();
        fs::set_permissions(folder.join("hooks/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(folder.join(".env"), "A=1\n").unwrap();
        edit(
            &folder.join("compose.yaml"),
            "      - ticks:/data\n",
            "      - ticks:/data\n      - ./hooks:/hooks:ro\n    env_file: .env\n",
        );
    });
    let found: Vec<(&str, bool)> =
        release.compose_files.iter().map(|named| (named.file.path.as_str(), named.executable)).collect();
    assert_eq!(
        found,
        [("compose/.env", false), ("compose/hooks/plain", false), ("compose/hooks/run.sh", true)]
    );
    assert_eq!(release.env_file.as_ref(), release.compose_files.first().map(|named| &named.file));
    let tar = zstd::decode_all(fs::File::open(folder.path().join("site.fz")).unwrap()).unwrap();
    let mut modes = Vec::new();
    for entry in tar::Archive::new(tar.as_slice()).entries().unwrap() {
        let entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        if name.starts_with("compose/") {
            modes.push((name, entry.header().mode().unwrap()));
        }
    }
    modes.sort();
    let expected = [("compose/.env", 0o644), ("compose/hooks/plain", 0o644), ("compose/hooks/run.sh", 0o755)];
    assert_eq!(modes, expected.map(|(name, mode)| (name.to_owned(), mode)));
}

#[test]
fn many_small_files_are_packed_in_one_pass() {
    let (_folder, told, release) = built(|folder| {
        fs::create_dir(folder.join("many")).unwrap();
        for number in 0..3000 {
            fs::write(folder.join(format!("many/{number}")), number.to_string()).unwrap();
        }
        edit(
            &folder.join("compose.yaml"),
            "      - ticks:/data\n",
            "      - ticks:/data\n      - ./many:/many:ro\n",
        );
    });
    assert_eq!(release.compose_files.len(), 3000);
    let began = told.began.lock().unwrap();
    assert_eq!(began.iter().filter(|(stage, _)| stage == "packing").count(), 1);
    assert!(told.warned.lock().unwrap().is_empty(), "{:?}", told.warned);
}

#[test]
fn the_bar_ends_at_its_end_with_seeds_too() {
    let (_folder, told, release) = built(|folder| {
        fs::create_dir(folder.join("seed")).unwrap();
        fs::write(folder.join("seed/ticks"), vec![b'7'; 100_000]).unwrap();
        let manifest = folder.join("ferry.yaml");
        let text = fs::read_to_string(&manifest).unwrap();
        fs::write(manifest, text + "volumes:\n  ticks: { seed: seed }\n").unwrap();
    });
    assert_eq!(release.seeds.len(), 1);
    let total = told.began.lock().unwrap().iter().find(|(stage, _)| stage == "packing").unwrap().1;
    assert_eq!(total, Some(told.advanced.load(Ordering::Relaxed)));
}

#[test]
fn more_keys_than_a_reader_accepts_are_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    SmallSite::default().write(folder.path()).unwrap();
    let told = Told::default();
    let error = build(&request(folder.path(), 33), &told, &Cancel::default()).unwrap_err();
    assert_eq!(error.to_string(), "33 keys; the limit is 32");
    build(&request(folder.path(), 32), &told, &Cancel::default()).unwrap();
    let began = told.began.lock().unwrap();
    assert_eq!(began.iter().filter(|(stage, _)| stage == "packing").count(), 1);
}

#[test]
fn a_product_under_another_name_keeps_the_name_in_its_compose_file() {
    use crate::inputs::texts::Texts;
    let compose = "name: works\nservices:\n  web: { image: 'a:1', pull_policy: always }\n";
    let folder = site("", compose, &[]);
    let ignored = ["`name` is ignored", "`pull_policy` is ignored"];
    assert_eq!(warnings(&read(&folder)), ignored);
    let mut texts = Texts::read(folder.path()).unwrap();
    texts.rename(&"plant-try".parse().unwrap()).unwrap();
    // Its own is another one now, too, and nobody has to change that.
    assert_eq!(warnings(&inputs::from_texts(texts, &InProcess).unwrap()), &ignored[1..]);
}

#[test]
fn mistakes_of_all_kinds_are_told_at_once() {
    let manifest = "images: { 'web:1': 'docker-archive:dist/none.tar:web:1' }\nartifacts: [dist/agent.deb]\nvolumes: { data: { seed: seed/none.tar } }\n\
                    configs:\n  - { from: t/none.j2, to: a }\n  - { from: t/broken.j2, to: b.env }\n";
    let of_compose = "services: { web: { image: 'web:1', bild: x, env_file: b.env, volumes: ['nodata:/x'] } }\nvolumes: { data: }\n";
    let files = [("t/broken.j2", "{{ x")];
    let told = [
        "ferry.yaml:4:20: image `web:1`: dist/none.tar: there is no such file",
        "ferry.yaml:5:13: artifact `dist/agent.deb`: there is no such file",
        "ferry.yaml:6:26: the seed seed/none.tar: there is no such file",
        "ferry.yaml:8:13: the config t/none.j2: there is no such file",
        "t/broken.j2:1",
    ];
    let refused_with = |compose: &str, also: &[&str]| {
        let error = refused(&site(manifest, compose, &files));
        for part in told.iter().chain(also) {
            assert_eq!(error.matches(part).count(), 1, "{part}: {error}");
        }
        assert_eq!(error.matches("hint: paths in the manifest start").count(), 4, "{error}");
    };
    // Where the Compose file has mistakes, and where it has none but what would be found late.
    refused_with(of_compose, &["unknown key `bild`", "uses volume `nodata`"]);
    refused_with(&of_compose.replace("bild: x, ", "").replace("nodata", "data"), &[]);
}

#[test]
fn the_key_that_signs_is_not_carried() {
    let compose = "services: { web: { image: 'web:1', volumes: ['./conf:/c:ro'] } }\n";
    for (manifest, at) in [
        ("artifacts: [out]\n", "out/copy"),
        ("", "conf/copy"),
        ("configs: [{ from: copy, to: x }]\n", "copy"),
    ] {
        let folder = site(manifest, compose, &[("conf/a", "x"), ("out/a", "x"), ("copy", "x")]);
        let request = request(folder.path(), 1);
        fs::copy(folder.path().join("key1"), folder.path().join(at)).unwrap();
        let error = crate::pack::own_key::is_not_carried(
            &read(&folder),
            &crate::artifacts::of(&read(&folder), &Cancel::default()).unwrap(),
            &request.keys,
        );
        let error = error.unwrap_err().to_string();
        assert!(error.contains(at) && error.contains("is the private key that signs this bundle"), "{error}");
        // Another one may be a service's own.
        fixtures::keys::write(folder.path(), at, 9).unwrap();
        let artifacts = crate::artifacts::of(&read(&folder), &Cancel::default()).unwrap();
        crate::pack::own_key::is_not_carried(&read(&folder), &artifacts, &request.keys).unwrap();
    }
}

#[test]
fn an_optional_file_that_is_there_and_cannot_be_read_is_a_mistake() {
    let compose = "services: { web: { image: 'web:1', env_file: [{ path: e.env, required: false }] } }\n";
    let folder = site("", compose, &[]);
    assert!(read(&folder).compose_files.is_empty());
    std::os::unix::fs::symlink("/etc/hostname", folder.path().join("e.env")).unwrap();
    let error = refused(&folder);
    assert!(error.contains("e.env: it is there, and cannot be read"), "{error}");
}

#[test]
fn services_that_do_not_start_cost_no_reading_each() {
    let many: String = (0..400).map(|n| format!("  s{n}: {{ image: 'i:1', scale: 0 }}\n")).collect();
    let folder = site("", &format!("services:\n  a: {{ image: 'i:1' }}\n{many}"), &[]);
    assert_eq!(read(&folder).warnings.len(), 400);
}
