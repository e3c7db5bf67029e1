//! Paths of the host that services mount, and the users that files belong to.

use fixtures::layer::Layer;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown, symlink};
use tests::bundle;
use tests::host::Host;
use tests::host_binds::{self, NO_CHECK, built, own_folder, service};
use tests::snapshot::assert_unchanged;

#[test]
fn a_file_that_is_not_there_is_found_and_no_folder_takes_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::docker("host-file");
    let own = own_folder(&host);
    let at = |name: &str| own.join(name).display().to_string();
    for name in ["left", "spool", "folder.conf"] {
        fs::create_dir(own.join(name)).unwrap();
    }
    symlink("nowhere", own.join("link")).unwrap();
    fs::write(own.join("file"), "x").unwrap();
    let mounts = [
        // By the name in the container, by the name here, by the image, which has files at these places.
        (at("zone"), "/etc/localtime:ro"),
        (at("app.conf"), "/settings"),
        (at("licence"), "/bin/tick"),
        (at("left"), "/bin/busybox"),
        (at("link"), "/l"),
        (at("file/below"), "/b"),
        ("./state.db".to_owned(), "/state"),
        // Nothing is wrong with these.
        (at("made/deep"), "/srv/made"),
        (at("spool"), "/data"),
        (at("folder.conf"), "/c"),
    ];
    let mounts: Vec<String> =
        mounts.iter().map(|(source, target)| format!("      - {source}:{target}\n")).collect();
    let long = format!(
        "      - {{ type: bind, source: {}, target: /x, bind: {{ create_host_path: false }} }}\n",
        at("missing")
    );
    let keys = format!("{NO_CHECK}    volumes:\n{}{long}", mounts.concat());
    let bundle = built(folder.path(), "1.0.0", "", &service("x", &keys, SLEEP), |_| {});
    let before = host.snapshot();
    let [trust, fingerprint] = bundle.trust();
    let refused = host.run(&[trust, fingerprint, bundle.path()]).exits(7);
    let mut refused = refused.says("this host is not ready: 8 findings; nothing was changed");
    for name in ["zone", "app.conf", "licence"] {
        let path = at(name);
        refused = refused.says(&format!("service x mounts the file {path}, which is not there\n    fix: create the file as the service needs it (`install -D /dev/null {path}` makes an empty one)"));
    }
    let data = host.root.join("products/small/data");
    refused = refused.says(&format!("the file {}/state.db, which is not there", data.display()));
    refused = refused.says(&format!(
        "the file {}, and an empty folder is in its place\n    fix: an engine makes such a folder",
        at("left")
    ));
    refused = refused
        .says(&format!("mounts {}, which cannot be used: it is a link that leads to nothing", at("link")));
    refused = refused.says(&format!("mounts {}, which cannot be used: Not a directory", at("file/below")));
    let _ = refused.says(&format!("mounts {}, which is not there\n    fix: create it as the service needs it, for example with `mkdir -p", at("missing")));
    assert_unchanged(&before, &host.snapshot(), "an install on a host without these files");
    assert_eq!(fs::read_dir(&own).unwrap().count(), 5, "nothing was made in their places");

    // As the fixes say; `busybox` and `tick` have to stay programs.
    for name in ["zone", "app.conf", "licence"] {
        let _ = host.engine.run_inside(&["install", "-D", "/dev/null", &at(name)]).unwrap();
    }
    let _ = host.engine.run_inside(&["install", "-D", "/dev/null", &format!("{}/state.db", data.display())]);
    fs::remove_dir(own.join("left")).unwrap();
    fs::copy(fixtures::machine::busybox().unwrap(), own.join("left")).unwrap();
    fs::remove_file(own.join("link")).unwrap();
    fs::remove_file(own.join("file")).unwrap();
    fs::create_dir(own.join("missing")).unwrap();
    let _ = host.install(&bundle);
    for name in ["made/deep", "link", "file/below"] {
        assert!(own.join(name).is_dir(), "{name} is made, as Compose does");
    }
    assert!(own.join("zone").is_file() && data.join("state.db").is_file());
}

#[test]
fn a_file_that_vanishes_stays_away() {
    host_binds::a_file_that_vanishes_stays_away(&Host::docker("host-gone"));
}

#[test]
fn folders_of_the_host_are_made_and_taken_back() {
    host_binds::folders_are_made_and_taken_back(&Host::docker("host-made"));
}

const SLEEP: &str = "exec sleep 1000";

#[test]
fn an_engine_that_maps_users_gives_services_what_is_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::remapped("remapped");
    let own = own_folder(&host);
    let made = own.join("made/deep");
    let bundle = |version: &str, text: &str| {
        let top = "volumes: { data: }\nconfigs: { conf: { file: ./conf } }\nsecrets: { pw: { environment: WORD }, mine: { environment: WORD }, closed: { file: ./pw } }\n";
        let keys = format!(
            "{NO_CHECK}    secrets: [pw, {{ source: closed, mode: 0400 }}]\n    configs: [{{ source: conf, mode: 0440 }}]\n    volumes: [\"data:/data\", \"./dir:/dir\", \"./state:/state\", \"./a/b:/deep\", \"{}:/made\"]\n",
            made.display()
        );
        let a = service("a", &keys, SLEEP);
        let keys = format!(
            "{NO_CHECK}    user: '1000:1000'\n    secrets: [{{ source: mine, uid: '1000', gid: '1001', mode: 0400 }}]\n    volumes: [\"data:/data:ro\"]\n"
        );
        let u = service("u", &keys, SLEEP);
        // With the host's own users.
        let keys = format!(
            "{NO_CHECK}    user: '1000'\n    userns_mode: host\n    secrets: [{{ source: hosts, uid: '1000', mode: 0400 }}]\n    volumes: [\"./hosts:/hosts\"]\n"
        );
        let h = service("h", &keys, SLEEP);
        let top = top.replace("secrets: {", "secrets: { hosts: { file: ./pw },");
        built(folder.path(), version, &top, &format!("{a}{u}{h}"), |site| {
            fs::write(site.join("pw"), "closed\n").unwrap();
            fs::write(site.join("conf"), format!("{text}\n")).unwrap();
            fs::create_dir_all(site.join("dir/sub")).unwrap();
            fs::write(site.join("dir/f"), "carried\n").unwrap();
            fs::write(site.join("dir/sub/f"), "carried\n").unwrap();
            let seed = Layer::new()
                .folder("./", 0o750)
                .owner("./", 0, 1000)
                .file("r", 0o600, "of root\n")
                .file("x", 0o600, "of 1000\n")
                .owner("x", 1000, 1000);
            seed.write(&site.join("seed.tar")).unwrap();
            bundle::replace(
                &site.join("ferry.yaml"),
                "artifacts:\n",
                "variables:\n  WORD: { prompt: Word, default: one }\nvolumes:\n  data: { seed: seed.tar }\nartifacts:\n",
            );
        })
    };
    let inside = |name: &str, line: &str| {
        host.docker_text(&["exec", &format!("small-{name}-1"), "/bin/sh", "-c", line])
    };
    let reads = |word: &str, text: &str| {
        let read = inside("a", "cat /run/secrets/pw /run/secrets/closed /conf /dir/f /data/r");
        assert_eq!(read, format!("{word}closed\n{text}\ncarried\nof root"));
        let write = "set -e; echo x >>/dir/sub/f; touch /state/new /deep/new /made/new /data/new";
        assert_eq!(inside("a", write), "");
        assert_eq!(inside("u", "cat /run/secrets/mine /data/x"), format!("{word}of 1000"));
        assert_eq!(inside("h", "cat /run/secrets/hosts; busybox stat -c %u /hosts"), "closed\n0");
    };
    let one = bundle("1.0.0", "first");
    let _ = host.install(&one);
    reads("one", "first");
    let first = made.metadata().unwrap();
    assert_eq!((first.uid(), first.gid()), (100_000, 200_000), "root in the containers");
    assert_eq!(made.join("new").metadata().unwrap().uid(), 100_000);

    // As after an install on this engine before it was told to map users.
    let releases = fs::read_dir(host.root.join("products/small/releases")).unwrap();
    let secret = releases.map(|entry| entry.unwrap().path().join(".secrets/closed")).next().unwrap();
    chown(&secret, Some(0), Some(0)).unwrap();
    let _ = host.docker_text(&["rm", "--force", "small-a-1"]);
    let _ = host.install(&one);
    reads("one", "first");

    let _ = host.run(&["reconfigure", "--set", "WORD=two", "--yes"]).succeeds();
    reads("two", "first");
    let two = bundle("2.0.0", "second");
    let _ = host.install(&two);
    reads("two", "second");
    let _ = host.run(&["uninstall", "--yes", "--volumes"]).succeeds();
    assert_eq!(host.containers(), Vec::<String>::new());
    assert_eq!(host.docker_text(&["volume", "ls", "--quiet"]), "");
    assert!(!host.root.join("products/small/data").exists());
}

#[test]
fn what_an_engine_that_maps_users_refuses_is_found_before() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::remapped("remap-refuses");
    let keys = |key: &str| format!("{NO_CHECK}    {key}\n");
    let services = [("p", "privileged: true"), ("n", "network_mode: host"), ("i", "pid: host")]
        .map(|(name, key)| service(name, &keys(key), SLEEP));
    let fine = service("f", &keys("privileged: true\n    userns_mode: host"), SLEEP);
    let bundle = built(folder.path(), "1.0.0", "", &format!("{}{fine}", services.concat()), |_| {});
    let before = host.snapshot();
    let [trust, fingerprint] = bundle.trust();
    let refused = host.run(&[trust, fingerprint, bundle.path()]).exits(7);
    let refused = refused.says("this host is not ready: 3 findings; nothing was changed");
    let refused =
        refused.says("service p wants to be privileged, which this engine refuses, since it maps users");
    let _ = refused.says("service n wants the host's network").says("service i wants the host's processes");
    assert_unchanged(&before, &host.snapshot(), "an install on an engine that maps users");
}
