//! Each syntax of the Compose Specification that is carried, short and long.

use super::model::*;
use super::*;
use crate::{Diagnostics, ServiceName};
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) fn read(text: &str) -> Parsed {
    read_with(text, &[], &[])
}

pub(super) fn read_with(text: &str, env: &[(&str, &str)], files: &[(&str, &str)]) -> Parsed {
    try_read(text, env, files).unwrap_or_else(|error| panic!("{error}"))
}

pub(super) fn try_read(
    text: &str,
    env: &[(&str, &str)],
    files: &[(&str, &str)],
) -> Result<Parsed, Diagnostics> {
    try_read_all(&[("compose.yaml", text)], env, files)
}

/// Reads several main files.
pub(super) fn try_read_all(
    texts: &[(&str, &str)],
    env: &[(&str, &str)],
    files: &[(&str, &str)],
) -> Result<Parsed, Diagnostics> {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let load =
        |path: &str| files.iter().find(|(name, _)| *name == path).map(|(_, text)| text.as_bytes().to_vec());
    let texts: Vec<Text<'_>> = texts.iter().map(|(file, text)| Text { file, text }).collect();
    parse(&texts, &env, &load)
}

fn service(keys: &str) -> Service {
    let text = format!(
        "services:\n  web:\n    image: nginx\n{keys}volumes: {{ data: }}\nnetworks: {{ back: }}\nconfigs: {{ app: {{ content: x }}, mine: {{ content: x }} }}\nsecrets: {{ key: {{ file: ./key }} }}\n"
    );
    read(&text).project.services.remove(&"web".parse::<ServiceName>().unwrap()).unwrap()
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn commands() {
    for (keys, expected) in [
        ("    command: nginx -g 'daemon off;'\n", Some(words(&["nginx", "-g", "daemon off;"]))),
        ("    command: [a, 'b c', 1]\n", Some(words(&["a", "b c", "1"]))),
        ("    command: []\n", Some(vec![])),
        ("    command: ''\n", Some(vec![])),
        ("    command:\n", None),
        ("    command: |\n      a\n      b\n", Some(words(&["a", "b"]))),
        ("    command: echo $$HOME\n", Some(words(&["echo", "$HOME"]))),
    ] {
        assert_eq!(service(keys).command, expected, "{keys}");
    }
    assert_eq!(service("    entrypoint: /bin/sh -c\n").entrypoint, Some(words(&["/bin/sh", "-c"])));
}

#[test]
fn port_syntaxes() {
    let port = |target, published, host_ip: Option<&str>, protocol: &str| Port {
        target,
        published,
        among: None,
        host_ip: host_ip.map(str::to_owned),
        protocol: protocol.to_owned(),
    };
    for (entry, expected) in [
        ("\"80\"", vec![port(80, None, None, "tcp")]),
        ("8080", vec![port(8080, None, None, "tcp")]),
        ("8080:80", vec![port(80, Some(8080), None, "tcp")]),
        ("\"53:53/udp\"", vec![port(53, Some(53), None, "udp")]),
        ("127.0.0.1:8080:80/TCP", vec![port(80, Some(8080), Some("127.0.0.1"), "tcp")]),
        ("127.0.0.1::80", vec![port(80, None, Some("127.0.0.1"), "tcp")]),
        ("'[::1]:8080:80'", vec![port(80, Some(8080), Some("::1"), "tcp")]),
        (
            "3000-3001:4000-4001",
            vec![port(4000, Some(3000), None, "tcp"), port(4001, Some(3001), None, "tcp")],
        ),
        (
            "{ target: 80, published: \"8080\", protocol: tcp, mode: host }",
            vec![port(80, Some(8080), None, "tcp")],
        ),
        (
            "{ target: 80, published: 8080, host_ip: 10.0.0.1 }",
            vec![port(80, Some(8080), Some("10.0.0.1"), "tcp")],
        ),
        ("{ target: 80 }", vec![port(80, None, None, "tcp")]),
    ] {
        assert_eq!(service(&format!("    ports:\n      - {entry}\n")).ports, expected, "{entry}");
    }
    assert_eq!(
        service("    expose: [80, '53/udp', 3000-3001]\n").expose,
        words(&["80", "53/udp", "3000", "3001"])
    );
}

#[test]
fn volume_syntaxes() {
    let mount = |source, target: &str| Mount {
        source,
        target: target.to_owned(),
        read_only: false,
        propagation: None,
        nocopy: false,
        subpath: None,
        recursive: None,
        selinux: None,
    };
    let bind = |path: &str, create| MountSource::Bind { path: path.to_owned(), create };
    let data = MountSource::Volume("data".to_owned());
    for (entry, expected) in [
        ("data:/d", mount(data.clone(), "/d")),
        ("data:/d/:ro,nocopy", Mount { read_only: true, nocopy: true, ..mount(data.clone(), "/d") }),
        ("/d", mount(MountSource::Anonymous, "/d")),
        (
            "./conf/a.conf:/etc/a.conf:ro",
            Mount { read_only: true, ..mount(bind("conf/a.conf", true), "/etc/a.conf") },
        ),
        ("/dev/log:/dev/log:rw", mount(bind("/dev/log", true), "/dev/log")),
        (
            "/mnt:/mnt:rshared",
            Mount { propagation: Some("rshared".into()), ..mount(bind("/mnt", true), "/mnt") },
        ),
        (
            "{ type: volume, source: data, target: /d, volume: { nocopy: true } }",
            Mount { nocopy: true, ..mount(data, "/d") },
        ),
        (
            "{ type: bind, source: ./x, target: /x, read_only: true, bind: { create_host_path: false, propagation: slave } }",
            Mount { read_only: true, propagation: Some("slave".into()), ..mount(bind("x", false), "/x") },
        ),
        (
            "{ type: tmpfs, target: /t, tmpfs: { size: 10m, mode: 01777 } }",
            mount(MountSource::Tmpfs { size: Some(10 << 20), mode: Some(0o1777) }, "/t"),
        ),
        ("{ type: volume, target: /t }", mount(MountSource::Anonymous, "/t")),
    ] {
        assert_eq!(service(&format!("    volumes:\n      - {entry}\n")).mounts, [expected], "{entry}");
    }
    assert_eq!(service("    tmpfs: /run\n").tmpfs, pairs(&[("/run", "")]));
    assert_eq!(
        service("    tmpfs: ['/run:size=1m,mode=755']\n").tmpfs,
        pairs(&[("/run", "size=1m,mode=755")])
    );
    let device = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
    assert_eq!(
        service("    devices: [/dev/ttyUSB0, '/dev/a:/dev/b:r', { source: /dev/c, target: /dev/d }]\n")
            .devices,
        [
            device("/dev/ttyUSB0", "/dev/ttyUSB0", "rwm"),
            device("/dev/a", "/dev/b", "r"),
            device("/dev/c", "/dev/d", "rwm")
        ]
    );
}

#[test]
fn environment_and_env_files() {
    let map = service(
        "    environment:\n      A: 1.10\n      B: true\n      C: yes\n      D: ''\n      E: 0440\n      F: a=b\n",
    );
    assert_eq!(
        map.environment,
        pairs(&[("A", "1.10"), ("B", "true"), ("C", "yes"), ("D", ""), ("E", "0440"), ("F", "a=b")])
    );
    let list = service("    environment: [A=1, 'B=x=y', C=]\n");
    assert_eq!(list.environment, pairs(&[("A", "1"), ("B", "x=y"), ("C", "")]));

    let text = "services:\n  web:\n    image: a\n    env_file:\n      - ./a.env\n      - { path: b.env, required: false }\n      - { path: gone.env, required: false }\n    environment:\n      OWN: ${SITE}\n      SITE:\n      NONE:\n";
    let parsed =
        read_with(text, &[("SITE", "north")], &[("a.env", "A=1\nB=1\nS=${SITE}\n"), ("b.env", "B=2\n")]);
    let web = parsed.project.services.values().next().unwrap();
    assert_eq!(
        web.environment,
        pairs(&[("A", "1"), ("B", "2"), ("S", "north"), ("OWN", "north"), ("SITE", "north")])
    );
    assert_eq!(parsed.files.iter().map(|f| f.path.as_str()).collect::<Vec<_>>(), ["a.env", "b.env"]);
    assert_eq!(parsed.files[0].kind, FileUse::EnvFile);
    assert_eq!(parsed.warnings.len(), 1);
    assert!(parsed.warnings[0].message.contains("`NONE` has no value: it is not in the container"));
    assert_eq!(web.without.iter().collect::<Vec<_>>(), ["NONE"]);
}

#[test]
fn networks_and_the_default_one() {
    let parsed = read(
        "services:\n  a: { image: a }\n  b: { image: b, networks: [back] }\n  c:\n    image: c\n    networks:\n      back: { aliases: [db], ipv4_address: 10.1.0.5, priority: 10 }\n      default:\n  d: { image: d, network_mode: host }\n  e: { image: e, networks: [out] }\nnetworks:\n  back:\n    internal: true\n    driver_opts: { a: 1 }\n    ipam: { config: [{ subnet: 10.1.0.0/24, gateway: 10.1.0.1 }] }\n  out: { external: true, name: lan }\n",
    );
    let networks =
        |name: &str| parsed.project.services[&name.parse::<ServiceName>().unwrap()].networks.clone();
    assert_eq!(networks("a").keys().collect::<Vec<_>>(), ["default"]);
    assert_eq!(networks("b").keys().collect::<Vec<_>>(), ["back"]);
    assert_eq!(networks("c")["back"].ipv4_address.as_deref(), Some("10.1.0.5"));
    assert_eq!((networks("c")["back"].aliases.clone(), networks("c")["back"].priority), (words(&["db"]), 10));
    assert!(networks("d").is_empty());
    let back = &parsed.project.networks["back"];
    assert!(back.internal);
    let range =
        Subnet { subnet: Some("10.1.0.0/24".into()), gateway: Some("10.1.0.1".into()), ..Default::default() };
    assert_eq!(back.ipam, [range]);
    assert!(parsed.project.networks.contains_key("default"));
    assert_eq!(
        (parsed.project.networks["out"].external, parsed.project.networks["out"].name.as_deref()),
        (true, Some("lan"))
    );
    assert!(
        !read("services: { a: { image: a, network_mode: none } }\n").project.networks.contains_key("default")
    );
}

#[test]
fn dependencies_and_health() {
    let parsed = read(
        "services:\n  a: { image: a, depends_on: [b] }\n  b:\n    image: b\n    depends_on:\n      c: { condition: service_healthy, restart: true, required: false }\n  c:\n    image: c\n    healthcheck: { test: pg_isready, interval: 1m30s, timeout: 500ms, retries: 3, start_period: 0s, start_interval: 1s }\n  d: { image: d, network_mode: 'service:a', links: [c] }\n",
    );
    let named = |name: &str| &parsed.project.services[&name.parse::<ServiceName>().unwrap()];
    let c: ServiceName = "c".parse().unwrap();
    assert_eq!(
        named("b").depends_on[&c],
        Dependency { condition: Condition::ServiceHealthy, restart: true, required: false }
    );
    assert_eq!(
        named("c").healthcheck,
        Some(HealthCheck::Probe {
            test: Some(words(&["CMD-SHELL", "pg_isready"])),
            interval: Some(Duration::from_secs(90)),
            timeout: Some(Duration::from_millis(500)),
            retries: Some(3),
            start_period: Some(Duration::ZERO),
            start_interval: Some(Duration::from_secs(1)),
        })
    );
    assert_eq!(named("d").depends_on.len(), 2);
    let services: Vec<&ServiceName> = parsed.project.services.keys().collect();
    let position = |name: &ServiceName| services.iter().position(|other| *other == name).unwrap();
    let needs: Vec<Vec<usize>> =
        parsed.project.services.values().map(|one| one.depends_on.keys().map(position).collect()).collect();
    let order: Vec<&str> =
        crate::order::ordered(&needs).order.iter().map(|at| services[*at].as_str()).collect();
    assert_eq!(order, ["c", "b", "a", "d"]);
    for (keys, disabled) in [
        ("{ disable: true }", true),
        ("{ test: [NONE] }", true),
        ("{ test: [CMD, true] }", false),
        ("{ interval: 5s }", false),
    ] {
        let found = service(&format!("    healthcheck: {keys}\n")).healthcheck;
        assert_eq!(found == Some(HealthCheck::Disabled), disabled, "{keys}");
    }
}

#[test]
fn small_keys() {
    let s = service(
        "    platform: linux/arm64\n    container_name: x.y\n    restart: on-failure:3\n    labels: [a=1, b]\n    user: 1000:1000\n    group_add: [audio, 27]\n    hostname: h\n    domainname: d\n    extra_hosts: { plc: 10.0.0.2, gw: host-gateway }\n    dns: 10.0.0.1\n    dns_search: [a.local]\n    dns_opt: [ndots:1]\n    init: true\n    read_only: true\n    privileged: 'true'\n    tty: true\n    stdin_open: false\n    cap_add: [NET_ADMIN]\n    cap_drop: [ALL]\n    security_opt: ['no-new-privileges:true']\n    sysctls: { net.core.somaxconn: 1024 }\n    ulimits: { nproc: 65535, nofile: { soft: 1024, hard: 4096 } }\n    shm_size: 64m\n    ipc: host\n    pid: host\n    userns_mode: host\n    stop_signal: SIGINT\n    stop_grace_period: 1m\n    working_dir: /w\n    logging: { driver: json-file, options: { max-size: 10m, max-file: 3 } }\n",
    );
    assert_eq!(s.platform.unwrap().as_str(), "linux/arm64");
    assert_eq!((s.container_name.as_deref(), s.restart), (Some("x.y"), Restart::OnFailure(Some(3))));
    assert_eq!(s.labels, pairs(&[("a", "1"), ("b", "")]));
    assert_eq!((s.user.as_deref(), s.group_add), (Some("1000:1000"), words(&["audio", "27"])));
    assert_eq!(s.extra_hosts, words(&["plc:10.0.0.2", "gw:host-gateway"]));
    assert_eq!(
        (s.dns, s.dns_search, s.dns_opt),
        (words(&["10.0.0.1"]), words(&["a.local"]), words(&["ndots:1"]))
    );
    assert!(s.init == Some(true) && s.read_only && s.privileged && s.tty && !s.stdin_open);
    assert_eq!(s.sysctls, pairs(&[("net.core.somaxconn", "1024")]));
    assert_eq!((s.ulimits["nproc"], s.ulimits["nofile"]), ((65535, 65535), (1024, 4096)));
    assert_eq!((s.shm_bytes, s.stop_grace_period), (Some(64 << 20), Some(Duration::from_secs(60))));
    assert_eq!(s.logging.unwrap().options, pairs(&[("max-size", "10m"), ("max-file", "3")]));
    for (word, expected) in [
        ("no", Restart::No),
        ("'no'", Restart::No),
        ("false", Restart::No),
        ("always", Restart::Always),
        ("unless-stopped", Restart::UnlessStopped),
        ("on-failure", Restart::OnFailure(None)),
    ] {
        assert_eq!(service(&format!("    restart: {word}\n")).restart, expected, "{word}");
    }
    assert_eq!(
        service("    extra_hosts: ['a=1.2.3.4', 'b:::1', 'c=[::2]']\n").extra_hosts,
        words(&["a:1.2.3.4", "b:::1", "c:::2"])
    );
}

#[test]
fn limits_old_and_new() {
    let old = service("    mem_limit: 512m\n    mem_reservation: 256m\n    memswap_limit: -1\n    cpus: 0.5\n    cpu_shares: 512\n    cpuset: 0-1\n    pids_limit: 100\n    oom_score_adj: -500\n").resources;
    assert_eq!(old.memory_bytes, Some(512 << 20));
    assert_eq!((old.memory_swap_bytes, old.nano_cpus), (Some(-1), Some(500_000_000)));
    assert_eq!(
        (old.cpu_shares, old.cpuset.as_deref(), old.pids, old.oom_score_adj),
        (Some(512), Some("0-1"), Some(100), Some(-500))
    );
    let new = service(
        "    deploy:\n      replicas: 1\n      resources:\n        limits: { cpus: '1.5', memory: 1g, pids: 5 }\n        reservations: { memory: 100m }\n      restart_policy: { condition: on-failure, max_attempts: 4 }\n",
    );
    assert_eq!(
        (new.resources.memory_bytes, new.resources.nano_cpus, new.resources.pids),
        (Some(1 << 30), Some(1_500_000_000), Some(5))
    );
    assert_eq!(
        (new.resources.memory_reservation_bytes, new.restart),
        (Some(100 << 20), Restart::OnFailure(Some(4)))
    );
}

#[test]
fn configs_and_secrets() {
    let s = service(
        "    configs: [app, { source: mine, target: /etc/app, uid: '1', gid: 2, mode: 0440 }]\n    secrets: [key, { source: key, target: other }]\n",
    );
    assert_eq!(s.configs[0].target, "/app");
    assert_eq!(
        s.configs[1],
        FileMount {
            source: "mine".into(),
            target: "/etc/app".into(),
            uid: Some("1".into()),
            gid: Some("2".into()),
            mode: Some(0o440)
        }
    );
    assert_eq!(
        (s.secrets[0].target.as_str(), s.secrets[1].target.as_str()),
        ("/run/secrets/key", "/run/secrets/other")
    );
    let parsed = read_with(
        "services: { a: { image: a, volumes: ['./www:/www'], configs: [f, e, t], secrets: [s] } }\nconfigs: { f: { file: ./c/f.conf }, e: { environment: E }, t: { content: \"x ${E}\" } }\nsecrets: { s: { file: s.txt } }\n",
        &[("E", "v")],
        &[],
    );
    assert_eq!(parsed.project.configs["f"], FileObject::File("c/f.conf".into()));
    assert_eq!(parsed.project.configs["e"], FileObject::Environment("v".into()));
    assert_eq!(parsed.project.configs["t"], FileObject::Content("x v".into()));
    let files: Vec<(&str, FileUse, &str)> =
        parsed.files.iter().map(|f| (f.path.as_str(), f.kind, f.used_by.as_str())).collect();
    assert_eq!(
        files,
        [
            ("www", FileUse::Bind, "service `a`"),
            ("c/f.conf", FileUse::Config, "config `f`"),
            ("s.txt", FileUse::Secret, "secret `s`")
        ]
    );
}

#[test]
fn anchors_merges_extensions_and_extends() {
    let parsed = read(
        "x-base: &base\n  restart: always\n  environment: &env { A: 1 }\nx-note: ${UNSET}\nservices:\n  a:\n    <<: *base\n    image: a\n    environment: { <<: *env, B: 2 }\n    x-more: 1\n  b:\n    extends: { service: a }\n    image: b\n    command: [x]\n    environment: [C=3, A=9]\n    expose: ['80']\n    volumes: ['./n:/v']\n  c:\n    extends: b\n    command: [y]\n    expose: ['81', '80']\n    volumes: ['./m:/v']\n",
    );
    let service = |name: &str| &parsed.project.services[&name.parse::<ServiceName>().unwrap()];
    assert_eq!(
        (service("a").restart.clone(), service("a").environment.clone()),
        (Restart::Always, pairs(&[("A", "1"), ("B", "2")]))
    );
    assert_eq!(service("b").environment, pairs(&[("A", "9"), ("B", "2"), ("C", "3")]));
    assert_eq!((service("b").image.as_str(), service("b").restart.clone()), ("b", Restart::Always));
    assert_eq!(
        (service("c").command.clone(), service("c").expose.clone()),
        (Some(words(&["y"])), words(&["80", "81"]))
    );
    assert_eq!(service("c").mounts.len(), 1);
}

#[test]
fn volumes_and_warnings() {
    let parsed = read_with(
        "version: '3.8'\nname: other\nservices:\n  a: { image: a, pull_policy: always, build: ., volumes: ['v:/v', 'w:/w'], depends_on: { b: { condition: service_healthy } } }\n  b: { image: b }\nvolumes: { v: { name: plant-v, driver: local, driver_opts: { type: nfs }, labels: { a: b } }, w: { external: true } }\n",
        &[],
        &[],
    );
    assert_eq!(parsed.project.volumes["v"].name.as_deref(), Some("plant-v"));
    assert!(parsed.project.volumes["w"].external);
    assert_eq!(parsed.project.volumes["w"].name.as_deref(), Some("w"), "no prefix");
    let text: Vec<&str> = parsed.warnings.iter().map(|w| w.message.as_str()).collect();
    assert_eq!(
        text,
        [
            "`version` is ignored",
            "`name` is ignored",
            "service `a` waits until `b` is healthy, but `b` has no `healthcheck` here",
            "`pull_policy` is ignored",
            "`build` is ignored",
        ]
    );
    let named = "name: plant\nservices: { a: { image: a } }\n";
    assert!(read_with(named, &[("COMPOSE_PROJECT_NAME", "plant")], &[]).warnings.is_empty());
}
