//! A site whose Compose file is of level 2, and what every engine has to get from it.

use crate::bundle::{self, Built};
use crate::host::Host;
use crate::host_binds::{NO_CHECK, built, service};
use std::fs;
use std::path::Path;

/// Keys of a service that every engine has.
const KEYS: &str = "    env_file: ../common.env\n    restart: always\n    deploy: { restart_policy: { condition: unless-stopped } }\n    cpus: 0\n    \
                    labels: { bcrypt: \"$2y$10$.abc\", number: 010 }\n    volumes: [\"../shared/rules:/rules:ro,noatime\", \"./own:/own:z\", \
                    \"first:/data\", \"second:/data\", \"history:/history\"]\n";

/// Keys that Podman's Docker API does not have.
const ONLY_DOCKER: &str =
    "    security_opt: [\"seccomp=../profiles/p.json\"]\n    ports: [\"127.0.0.1:18190-18199:9000\"]\n";

/// A site whose Compose file lies in `deploy`, below the manifest.
fn site(folder: &Path, version: &str, rule: &str, is_podman: bool) -> Built {
    let top = "volumes:\n  first: {}\n  second: {}\n  gone: { external: true }\n  \
               history: { driver_opts: { type: none, o: bind, device: ../history } }\nnetworks: { nowhere: { external: true } }\n";
    let only_docker = if is_podman { "" } else { ONLY_DOCKER };
    let app = service("app", &format!("{NO_CHECK}{KEYS}{only_docker}"), "exec sleep 1000");
    // It needs no PATH.
    let bare = "  bare:\n    image: small/ticker:1\n    command: [/bin/busybox, sleep, \"1000\"]\n    stop_grace_period: 1s\n    \
                healthcheck: { disable: true }\n    environment: [PATH, OWN=1]\n    volumes: [\"second:/data\"]\n";
    let idle = "  none:\n    image: nobody/has:this\n    scale: 0\n  later:\n    image: nobody/has:that\n    profiles: [later]\n    ports: [\"nonsense\"]\n";
    built(folder, version, top, &format!("{app}{bare}{idle}"), |site| {
        fs::create_dir_all(site.join("deploy/own")).unwrap();
        fs::write(site.join("deploy/own/file"), "own\n").unwrap();
        fs::rename(site.join("compose.yaml"), site.join("deploy/compose.yaml")).unwrap();
        bundle::replace(&site.join("ferry.yaml"), "compose: compose.yaml", "compose: deploy/compose.yaml");
        for (name, text) in [
            ("common.env", "PIN=#12\nPRICE=5$\n".to_owned()),
            ("shared/rules/one", format!("{rule}\n")),
            ("profiles/p.json", "{ \"defaultAction\": \"SCMP_ACT_ALLOW\",\n \"syscalls\": [{ \"names\": [\"chroot\"], \"action\": \"SCMP_ACT_ERRNO\" }] }\n".to_owned()),
        ] {
            fs::create_dir_all(site.join(name).parent().unwrap()).unwrap();
            fs::write(site.join(name), text).unwrap();
        }
    })
}

/// Installs it, with an update and a way back.
///
/// # Panics
/// Where the engine did not get what is written.
#[track_caller]
pub fn what_is_written_reaches_the_engine(host: &Host, is_podman: bool) {
    let folder = tempfile::tempdir().unwrap();
    let first = site(&folder.path().join("1"), "1.0.0", "first", is_podman);
    assert_eq!(first.inspect()["release"]["needs"][0]["feature"], "compose-2");
    if is_podman {
        let docker = site(&folder.path().join("docker"), "1.0.0", "first", false);
        let [trust, fingerprint] = docker.trust();
        let refused = host.run(&[trust, fingerprint, docker.path()]).exits(7);
        let refused = refused
            .says("service app brings a seccomp profile, which Podman takes from its own command alone");
        let _ = refused.says(
            "service app leaves the choice of a port among 18190-18199 to the engine, and Podman makes none",
        );
    }
    let _ = host.install(&first);
    let exec = |line: &str| host.docker_text(&["exec", "small-app-1", "/bin/sh", "-c", line]);
    assert_eq!(
        exec("echo $PIN $PRICE; cat /rules/one /own/file; echo 1 >/history/day"),
        "#12 5$\nfirst\nown"
    );
    let facts = "{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.NanoCpus}} {{.Config.Labels.bcrypt}} {{.Config.Labels.number}}";
    assert_eq!(host.inspect("small-app-1", facts), "unless-stopped 0 $2y$10$.abc 8");
    if !is_podman {
        let all = host.docker_text(&["exec", "small-bare-1", "/bin/busybox", "cat", "/proc/1/environ"]);
        assert!(all.contains("OWN=1") && !all.contains("PATH="), "{all:?}");
        // The profile forbids one call.
        assert!(
            exec("chroot / true 2>&1; echo $?").ends_with('1'),
            "{}",
            exec("chroot / true 2>&1; echo $?")
        );
        let port = host.docker_text(&["port", "small-app-1", "9000/tcp"]);
        let number: u16 = port.rsplit(':').next().unwrap().trim().parse().unwrap();
        assert!((18190..=18199).contains(&number), "{port}");
    }
    let volumes = host.docker_text(&["volume", "ls", "--quiet"]);
    assert_eq!(
        volumes.lines().collect::<Vec<_>>(),
        ["small_second"],
        "the later of two counts, and no folder is one"
    );
    assert_eq!(host.containers().len(), 3, "{:?}", host.containers());
    let _ = host.run(&["status"]).succeeds();

    // What the site writes stays, what is carried changes.
    assert_eq!(fs::read(host.root.join("small/data/.above/history/day")).unwrap(), b"1\n");
    let _ = host.install(&site(&folder.path().join("2"), "1.1.0", "second", is_podman));
    assert_eq!(exec("cat /rules/one /history/day"), "second\n1");
    let _ = host.run(&["--no-input", "--allow-downgrade", first.path()]).succeeds();
    assert_eq!(exec("cat /rules/one /history/day"), "first\n1");
    let _ = host.run(&["uninstall", "--volumes", "--yes"]).succeeds();
}
