//! The config hash of existing services never changes: another hash replaces, and so restarts, every
//! container of every site at its next update. `fixtures/golden/v1/config-hash.json` holds what 0.1.0 hashed.
//!
//! The literals below name every member on purpose: a new member of `Service`, or of what is in it, does not
//! compile here until somebody has decided what it does to the hash.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

use manifest_schema::Digest;
use manifest_schema::compose::config_hash;
use manifest_schema::compose::model::{
    Blkio, Condition, Dependency, DeviceRequest, FileMount, HealthCheck, Hook, Logging, Mount, MountSource,
    NetworkAttachment, Port, Resources, Restart, Service,
};
use manifest_schema::yaml::Place;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const WHAT_TO_DO: &str = "
The config hash of services that exist has changed: every container of every installed site would be
replaced, and so restarted, by its next update. The golden file is never edited. Instead:
  - a new member gets #[serde(default, skip_serializing_if = \"…\")], so that services without it hash as before;
    add it to `minimal` and `full` here as that empty value, and test its own effect elsewhere;
  - a member that is renamed, or gets another type, keeps its old name and form in JSON (#[serde(rename = \"…\")],
    #[serde(with = \"…\")]);
  - what is no part of a container's definition gets #[serde(skip)].
";

#[test]
fn services_hash_as_0_1_0_hashed_them() {
    let text = fs::read_to_string(golden()).unwrap();
    let golden: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap();
    let names: Vec<&String> = golden.keys().collect();
    let cases = cases();
    assert_eq!(names, cases.keys().collect::<Vec<_>>());
    for (name, service) in &cases {
        let golden = &golden[*name];
        assert_eq!(hashed(service), golden["text"], "{name}: what is hashed\n{WHAT_TO_DO}");
        let text = golden["text"].as_str().unwrap();
        assert_eq!(golden["hex"], Digest::of(text.as_bytes()).hex(), "{name}: the golden file itself");
        assert_eq!(golden["hex"], config_hash(service, &EXTRA), "{name}: the hash\n{WHAT_TO_DO}");
    }
}

#[test]
fn full_sets_every_member() {
    let (full, minimal) = (serde_json::to_value(full()).unwrap(), serde_json::to_value(minimal()).unwrap());
    let unset = |full: &Value, minimal: &Value| {
        let same = minimal.as_object().unwrap().iter().filter(|(key, value)| full[*key] == **value);
        same.map(|(key, _)| key.clone()).collect::<Vec<_>>()
    };
    assert_eq!(unset(&full, &minimal), [""; 0]);
    assert_eq!(unset(&full["resources"], &minimal["resources"]), [""; 0]);
}

/// Writes the golden file anew, as `HOW` beside it says: only at the commit of 0.1.0.
#[test]
#[ignore = "prints the golden file"]
fn print() {
    let cases = cases().into_iter().map(|(name, service)| {
        let text = hashed(&service);
        (name.to_owned(), json!({ "text": text, "hex": config_hash(&service, &EXTRA) }))
    });
    let cases: serde_json::Map<String, Value> = cases.collect();
    let out = std::env::var_os("GOLDEN_CONFIG_HASH").unwrap();
    fs::write(out, format!("{}\n", serde_json::to_string_pretty(&cases).unwrap())).unwrap();
}

/// Parts that the installer adds: the image's ID, and what is mounted.
const EXTRA: [(&str, &str); 3] = [
    ("bind:config/site.conf", "sha256:6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"),
    ("image", "sha256:d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35"),
    ("volume:records", "plain_records"),
];

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/golden/v1/config-hash.json")
}

/// The text that is hashed, put together from the description of [`config_hash`] and not by its code.
fn hashed(service: &Service) -> String {
    let mut members = serde_json::to_value(service).unwrap();
    for left_out in ["depends_on", "profiles"] {
        assert!(members.as_object_mut().unwrap().shift_remove(left_out).is_some());
    }
    let extra: Vec<Vec<&str>> = EXTRA.iter().map(|(key, value)| vec![*key, *value]).collect();
    canonical(&json!([members, extra]))
}

/// JSON without spaces, keys in order.
fn canonical(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Value::Object(members) => {
            let sorted: BTreeMap<&String, &Value> = members.iter().collect();
            let member = |(key, value): (&String, &Value)| format!("{}:{}", json!(key), canonical(value));
            format!("{{{}}}", sorted.into_iter().map(member).collect::<Vec<_>>().join(","))
        }
        scalar => scalar.to_string(),
    }
}

fn cases() -> BTreeMap<&'static str, Service> {
    let with = |change: fn(&mut Service)| {
        let mut service = minimal();
        change(&mut service);
        service
    };
    BTreeMap::from([
        ("minimal", minimal()),
        ("full", full()),
        (
            "disabled",
            with(|service| {
                service.healthcheck = Some(HealthCheck::Disabled);
                service.restart = Restart::UnlessStopped;
                service.entrypoint = Some(Vec::new());
                service.init = Some(false);
            }),
        ),
        ("always", with(|service| service.restart = Restart::Always)),
        ("on failure", with(|service| service.restart = Restart::OnFailure(None))),
    ])
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn list<const N: usize>(items: [&str; N]) -> Vec<String> {
    items.map(str::to_owned).into()
}

fn map<const N: usize, V>(pairs: [(&str, V); N]) -> BTreeMap<String, V> {
    pairs.map(|(key, value)| (key.to_owned(), value)).into()
}

/// A service as Compose files mostly have them: an image, and nothing else.
fn minimal() -> Service {
    Service {
        image: text("acme/web:1"),
        platform: None,
        container_name: None,
        command: None,
        entrypoint: None,
        environment: BTreeMap::new(),
        without: BTreeSet::new(),
        ports: Vec::new(),
        expose: Vec::new(),
        mounts: Vec::new(),
        tmpfs: BTreeMap::new(),
        networks: BTreeMap::new(),
        network_mode: None,
        depends_on: BTreeMap::new(),
        healthcheck: None,
        restart: Restart::No,
        labels: BTreeMap::new(),
        logging: None,
        configs: Vec::new(),
        secrets: Vec::new(),
        resources: Resources {
            memory_bytes: None,
            memory_reservation_bytes: None,
            memory_swap_bytes: None,
            nano_cpus: None,
            cpu_shares: None,
            cpuset: None,
            pids: None,
            oom_score_adj: None,
            oom_kill_disable: false,
            memory_swappiness: None,
            cpu_period: None,
            cpu_quota: None,
            cpu_rt_period: None,
            cpu_rt_runtime: None,
            cgroup_parent: None,
            device_cgroup_rules: Vec::new(),
            device_requests: Vec::new(),
            blkio: None,
        },
        user: None,
        group_add: Vec::new(),
        working_dir: None,
        hostname: None,
        domainname: None,
        extra_hosts: Vec::new(),
        dns: Vec::new(),
        dns_search: Vec::new(),
        dns_opt: Vec::new(),
        init: None,
        read_only: false,
        privileged: false,
        tty: false,
        stdin_open: false,
        cap_add: Vec::new(),
        cap_drop: Vec::new(),
        security_opt: Vec::new(),
        sysctls: BTreeMap::new(),
        ulimits: BTreeMap::new(),
        devices: Vec::new(),
        shm_bytes: None,
        ipc: None,
        pid: None,
        userns_mode: None,
        stop_signal: None,
        stop_grace_period: None,
        profiles: Vec::new(),
        replicas: None,
        cgroup: None,
        uts: None,
        runtime: None,
        storage_opt: BTreeMap::new(),
        volumes_from: BTreeMap::new(),
        post_start: Vec::new(),
        pre_stop: Vec::new(),
        place: Place { source: 0, line: 1, column: 1 },
    }
}

/// A service with every member set, and every member of what is in it.
fn full() -> Service {
    Service {
        image: text("registry.plant.local:5000/acme/web:1.2"),
        platform: Some("linux/arm64/v8".parse().unwrap()),
        container_name: some("web-of-the-plant"),
        command: Some(list(["run", "--name=\"ü\"\n"])),
        entrypoint: Some(list(["/bin/entry"])),
        environment: map([("A", text("1")), ("B", text("zwei \\ \u{1f6a2}"))]),
        // Of a later level: the golden hash has none.
        without: BTreeSet::new(),
        ports: vec![Port {
            target: 8080,
            published: Some(80),
            among: None,
            host_ip: some("127.0.0.1"),
            protocol: text("tcp"),
        }],
        expose: list(["3000", "3000/udp"]),
        mounts: mounts(),
        tmpfs: map([("/run", text("size=1m")), ("/tmp", text(""))]),
        networks: map([("back", attachment())]),
        network_mode: some("service:db"),
        depends_on: BTreeMap::from([(
            "db".parse().unwrap(),
            Dependency { condition: Condition::ServiceHealthy, restart: true, required: true },
        )]),
        healthcheck: Some(HealthCheck::Probe {
            test: Some(list(["CMD", "/bin/check"])),
            interval: Some(Duration::from_secs(30)),
            timeout: Some(Duration::from_millis(1500)),
            retries: Some(3),
            start_period: Some(Duration::from_secs(60)),
            start_interval: Some(Duration::from_nanos(1)),
        }),
        restart: Restart::OnFailure(Some(3)),
        labels: map([("com.example.tier", text("front"))]),
        logging: Some(Logging { driver: some("json-file"), options: map([("max-size", text("1m"))]) }),
        configs: vec![file_mount("settings", "/etc/settings", 0o444)],
        secrets: vec![file_mount("password", "/run/secrets/password", 0o400)],
        resources: resources(),
        user: some("1000:1000"),
        group_add: list(["dialout"]),
        working_dir: some("/srv"),
        hostname: some("web"),
        domainname: some("plant.local"),
        extra_hosts: list(["plc:10.0.0.5"]),
        dns: list(["10.0.0.1"]),
        dns_search: list(["plant.local"]),
        dns_opt: list(["rotate"]),
        init: Some(true),
        read_only: true,
        privileged: true,
        tty: true,
        stdin_open: true,
        cap_add: list(["NET_ADMIN"]),
        cap_drop: list(["ALL"]),
        security_opt: list(["no-new-privileges:true"]),
        sysctls: map([("net.core.somaxconn", text("1024"))]),
        ulimits: map([("nofile", (1024, -1))]),
        devices: vec![(text("/dev/ttyUSB0"), text("/dev/tty0"), text("rwm"))],
        shm_bytes: Some(64 << 20),
        ipc: some("shareable"),
        pid: some("host"),
        userns_mode: some("host"),
        stop_signal: some("SIGINT"),
        stop_grace_period: Some(Duration::from_secs(20)),
        profiles: list(["debug"]),
        replicas: Some(3),
        cgroup: some("private"),
        uts: some("host"),
        runtime: some("runc"),
        storage_opt: map([("size", text("1G"))]),
        volumes_from: BTreeMap::from([("db".parse().unwrap(), true)]),
        post_start: vec![hook("after")],
        pre_stop: vec![hook("before")],
        place: Place { source: 1, line: 7, column: 3 },
    }
}

/// One mount of each kind.
fn mounts() -> Vec<Mount> {
    let kinds = [
        MountSource::Volume(text("records")),
        MountSource::Anonymous,
        MountSource::Image(text("acme/files:1")),
        MountSource::Bind { path: text("config/site.conf"), create: true },
        MountSource::Tmpfs { size: Some(1 << 20), mode: Some(0o1777) },
    ];
    let mount = |(number, source)| Mount {
        source,
        target: format!("/mnt/{number}"),
        read_only: true,
        propagation: some("rslave"),
        nocopy: true,
        subpath: some("below"),
        recursive: some("readonly"),
        selinux: None,
    };
    let plain = Mount {
        source: MountSource::Bind { path: text("/srv/data"), create: false },
        target: text("/data"),
        read_only: false,
        propagation: None,
        nocopy: false,
        subpath: None,
        recursive: None,
        selinux: None,
    };
    kinds.into_iter().enumerate().map(mount).chain([plain]).collect()
}

fn attachment() -> NetworkAttachment {
    NetworkAttachment {
        aliases: list(["store"]),
        ipv4_address: some("172.28.0.5"),
        ipv6_address: some("fd00::5"),
        priority: 100,
        link_local_ips: list(["169.254.8.8"]),
        mac_address: some("02:42:ac:11:00:05"),
        driver_opts: map([("com.docker.network.endpoint.ifname", text("eth7"))]),
        gw_priority: Some(-1),
    }
}

fn file_mount(source: &str, target: &str, mode: u32) -> FileMount {
    FileMount {
        source: text(source),
        target: text(target),
        uid: some("1000"),
        gid: some("100"),
        mode: Some(mode),
    }
}

fn resources() -> Resources {
    Resources {
        memory_bytes: Some(256 << 20),
        memory_reservation_bytes: Some(128 << 20),
        memory_swap_bytes: Some(-1),
        nano_cpus: Some(1_500_000_000),
        cpu_shares: Some(512),
        cpuset: some("0-1"),
        pids: Some(100),
        oom_score_adj: Some(500),
        oom_kill_disable: true,
        memory_swappiness: Some(10),
        cpu_period: Some(100_000),
        cpu_quota: Some(50_000),
        cpu_rt_period: Some(1_000_000),
        cpu_rt_runtime: Some(950_000),
        cgroup_parent: some("/plant"),
        device_cgroup_rules: list(["c 188:* rwm"]),
        device_requests: vec![DeviceRequest {
            driver: some("nvidia"),
            count: -1,
            device_ids: list(["0"]),
            capabilities: list(["gpu"]),
            options: map([("virtualization", text("false"))]),
        }],
        blkio: Some(Blkio {
            weight: Some(300),
            weight_device: map([("/dev/sda", 400)]),
            read_bps: map([("/dev/sda", 1 << 20)]),
            write_bps: map([("/dev/sda", 1 << 21)]),
            read_iops: map([("/dev/sda", 120)]),
            write_iops: map([("/dev/sda", 30)]),
        }),
    }
}

fn hook(name: &str) -> Hook {
    Hook {
        command: list(["/bin/hook", name]),
        user: some("root"),
        privileged: true,
        working_dir: some("/srv"),
        environment: map([("WHEN", text(name))]),
    }
}
