//! A Compose file of level 2 on a host: what 0.1.0 refused or read otherwise is what the engine gets.

use std::fs;
use tests::compose_2;
use tests::host::Host;
use tests::host_binds::{NO_CHECK, built, service};

#[test]
fn what_is_written_reaches_the_engine() {
    compose_2::what_is_written_reaches_the_engine(&Host::docker("compose-2"), false);
}

#[test]
fn networks_and_containers_of_the_host_are_used_and_missed() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::docker("compose-2-own");
    let keys = |mode: &str| format!("{NO_CHECK}    network_mode: {mode}\n");
    let services = [("net", keys("plant-lan")), ("beside", keys("container:field-bus"))];
    let services: String =
        services.iter().map(|(name, keys)| service(name, keys, "exec sleep 1000")).collect();
    let archive = folder.path().join("ticker.tar");
    let bundle = built(&folder.path().join("site"), "1.0.0", "", &services, |site| {
        let _ = fs::copy(site.join("dist/ticker.tar"), &archive).unwrap();
    });
    let [trust, fingerprint] = bundle.trust();
    let refused = host.run(&[trust, fingerprint, bundle.path()]).exits(7);
    let _ = refused.says("network plant-lan").says("container field-bus");

    let _ = host.docker_text(&["network", "create", "plant-lan"]);
    let _ = host.docker_text(&["load", "--quiet", "--input", archive.to_str().unwrap()]);
    let run = [
        "run",
        "--detach",
        "--name",
        "field-bus",
        "--network",
        "none",
        "small/ticker:1",
        "/bin/sleep",
        "1000",
    ];
    let bus = host.docker_text(&run).trim().to_owned();
    let _ = host.install(&bundle);
    assert_eq!(host.inspect("small-beside-1", "{{.HostConfig.NetworkMode}}"), format!("container:{bus}"));
    assert_eq!(
        host.inspect("small-net-1", "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}}{{end}}"),
        "plant-lan"
    );
    let _ = host.run(&["uninstall", "--volumes", "--yes"]).succeeds();
    let left = host.docker_text(&["ps", "--format", "{{.Names}}"]);
    assert_eq!(left.trim(), "field-bus");
    assert!(
        host.docker_text(&["network", "ls", "--format", "{{.Name}}"]).lines().any(|name| name == "plant-lan")
    );
}
