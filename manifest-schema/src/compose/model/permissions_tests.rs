//! Every access of a project is listed, once, by the name that people know.

use super::*;
use crate::compose::model::Resources;
use crate::compose::{self, Text};

fn listed(text: &str) -> Vec<String> {
    let texts = [Text { file: "compose.yaml", text }];
    let parsed =
        compose::parse(&texts, &BTreeMap::new(), &|_| None).unwrap_or_else(|error| panic!("{error}"));
    permissions(&parsed.project)
        .iter()
        .map(|one| {
            let services: Vec<&str> = one.services.iter().map(ServiceName::as_str).collect();
            format!("{one} ({})", services.join(", "))
        })
        .collect()
}

#[test]
fn an_ordinary_project_asks_for_its_ports_alone() {
    let text = "services:\n  web:\n    image: nginx\n    ports: [\"127.0.0.1:8080:80\", \"9000:9000/udp\", \"[::1]:81:81\"]\n    \
                volumes: [data:/data, ./conf:/conf, /anonymous]\n    cap_add: [CHOWN, net_bind_service]\n    \
                security_opt: [no-new-privileges:true]\n    ipc: private\nvolumes: { data: }\n";
    assert_eq!(
        listed(text),
        ["port 127.0.0.1:8080/tcp (web)", "port 9000/udp (web)", "port [::1]:81/tcp (web)"]
    );
}

#[test]
fn what_reaches_out_of_a_container_is_listed_once_with_its_services() {
    let text = "services:\n  a: &a\n    image: a\n    privileged: true\n    network_mode: host\n    pid: host\n    \
                cap_add: [SYS_ADMIN, cap_net_admin]\n    security_opt: [\"seccomp:unconfined\", apparmor=unconfined]\n    \
                devices: [/dev/ttyUSB0]\n    device_cgroup_rules: [\"c 188:* rwm\"]\n    \
                volumes:\n      - /var/run/docker.sock:/var/run/docker.sock:ro\n      - /etc//localtime:/etc/localtime:ro\n      \
                - /:/host\n    sysctls: { net.core.somaxconn: 1024 }\n    cgroup_parent: /x\n  b: *a\n";
    assert_eq!(
        listed(text),
        [
            "engine socket /var/run/docker.sock (a, b)",
            "privileged all capabilities and devices (a, b)",
            "namespace network=host (a, b)",
            "namespace pid=host (a, b)",
            "capability CAP_NET_ADMIN (a, b)",
            "capability CAP_SYS_ADMIN (a, b)",
            "security option apparmor=unconfined (a, b)",
            "security option seccomp=unconfined (a, b)",
            "device /dev/ttyUSB0:rwm (a, b)",
            "device rule c 188:* rwm (a, b)",
            "host path /:rw (a, b)",
            "host path /etc/localtime:ro (a, b)",
            "runtime cgroup_parent=/x (a, b)",
            "runtime sysctl net.core.somaxconn=1024 (a, b)",
        ]
    );
}

#[test]
fn volumes_and_networks_of_others_and_with_options_are_listed() {
    let text = "services:\n  a:\n    image: a\n    volumes: [media:/media, theirs:/theirs, disk:/disk]\n    networks: [field, front]\n\
                volumes:\n  media: { driver_opts: { type: nfs, device: \":/export\", o: addr=10.0.0.9 } }\n  \
                theirs: { external: true, name: other_data }\n  disk: { driver_opts: { type: none, o: \"bind,ro\", device: /srv/disk } }\n\
                networks:\n  field: { driver: macvlan, driver_opts: { parent: eth0 } }\n  front: { external: true }\n";
    assert_eq!(
        listed(text),
        [
            "host path /srv/disk:ro (a)",
            "volume options disk: device=/srv/disk, o=bind,ro, type=none (a)",
            "volume options media: device=:/export, o=addr=10.0.0.9, type=nfs (a)",
            "foreign volume other_data (a)",
            "foreign network front (a)",
            "network options field: macvlan, parent=eth0 (a)",
        ]
    );
}

#[test]
fn a_path_is_named_without_its_detours() {
    for (written, plainly) in [("/a/../../b/./c//", "/b/c"), ("/", "/"), ("/..", "/"), ("/a/b/..", "/a")] {
        assert_eq!(plain(written), Path::new(plainly), "{written}");
    }
}

/// A new member has to be named here, and judged: does it reach out of a container? Then `of_service`, `of_volume` or
/// `of_network` has to read it.
#[test]
fn every_member_is_judged() {
    let Service {
        // Reach out, and are read.
        ports: _,
        mounts: _,
        network_mode: _,
        resources,
        privileged: _,
        cap_add: _,
        security_opt: _,
        sysctls: _,
        devices: _,
        ipc: _,
        pid: _,
        userns_mode: _,
        cgroup: _,
        uts: _,
        runtime: _,
        post_start: _,
        pre_stop: _,
        networks: _,
        // Stay inside of the container, or only take away.
        image: _,
        platform: _,
        container_name: _,
        command: _,
        entrypoint: _,
        environment: _,
        without: _,
        expose: _,
        tmpfs: _,
        depends_on: _,
        healthcheck: _,
        restart: _,
        labels: _,
        logging: _,
        configs: _,
        secrets: _,
        user: _,
        group_add: _,
        working_dir: _,
        hostname: _,
        domainname: _,
        extra_hosts: _,
        dns: _,
        dns_search: _,
        dns_opt: _,
        init: _,
        read_only: _,
        tty: _,
        stdin_open: _,
        cap_drop: _,
        ulimits: _,
        shm_bytes: _,
        stop_signal: _,
        stop_grace_period: _,
        profiles: _,
        replicas: _,
        storage_opt: _,
        volumes_from: _,
        place: _,
    } = Service::default();
    let Resources {
        cgroup_parent: _,
        device_cgroup_rules: _,
        device_requests: _,
        memory_bytes: _,
        memory_reservation_bytes: _,
        memory_swap_bytes: _,
        nano_cpus: _,
        cpu_shares: _,
        cpuset: _,
        pids: _,
        oom_score_adj: _,
        oom_kill_disable: _,
        memory_swappiness: _,
        cpu_period: _,
        cpu_quota: _,
        cpu_rt_period: _,
        cpu_rt_runtime: _,
        blkio: _,
    } = resources;
    let Volume { name: _, driver: _, driver_opts: _, external: _, labels: _ } = Volume::default();
    let Network {
        driver: _,
        driver_opts: _,
        external: _,
        name: _,
        internal: _,
        attachable: _,
        enable_ipv6: _,
        labels: _,
        ipam_driver: _,
        ipam_options: _,
        ipam: _,
    } = Network::default();
}
