//! Values, variables, and what the silent differences were.

use crate::{meter, of, read, refused, taken};
use serde_json::{Value, json};

#[test]
fn values_of_env_files_may_begin_with_a_hash() {
    let text = meter("env_file: plant.env\nlabels: { pin: \"${PIN}\" }")
        + "==> .env\nPIN=#12\n==> plant.env\nPASSWORD=#7kx\nCOLOUR= #\nPLAIN=a # comment\nTAB=a\t#b\n";
    let environment = json!({ "PASSWORD": "#7kx", "COLOUR": "#", "PLAIN": "a", "TAB": "a\t#b" });
    taken("hash", "", &text, &[(".meter.environment", environment), (".meter.labels.pin", json!("#12"))]);
    let raw = meter("env_file: [{ path: a.env, format: raw }]") + "==> a.env\nA=#1 # b\n";
    assert_eq!(of(&read("", &raw).unwrap())["services"]["meter"]["environment"]["A"], "#1 # b");
    let marked = "==> a.env\n\u{feff}A=1\n";
    for (key, place) in [("env_file", "environment"), ("label_file", "labels")] {
        let raw = if key == "env_file" { "[{ path: a.env, format: raw }]" } else { "a.env" };
        let text = meter(&format!("{key}: {raw}")) + marked;
        let read = read("", &text).unwrap();
        assert_eq!(of(&read)["services"]["meter"][place], json!({ "A": "1" }), "{key}");
        assert_eq!(read.level, if key == "env_file" { 2 } else { 1 }, "{key}");
    }
}

#[test]
fn a_volume_that_is_a_folder_is_mounted_as_one() {
    let volume = |options: &str| {
        meter("volumes: [\"history:/var/lib/meter\"]")
            + &format!("volumes:\n  history: {{ driver: local, driver_opts: {{ type: none, {options} }} }}\n")
    };
    let bind = |path: &str| json!({ "bind": { "path": path, "create": true } });
    taken(
        "folder",
        "",
        &volume("o: bind, device: ./history"),
        &[
            (".meter.mounts.0.source", bind("history")),
            (".volumes", json!({})),
            (".files", json!(["history"])),
            (".warnings", json!("~the volume `history` is the folder `./history`")),
        ],
    );
    taken(
        "bare",
        "",
        &volume("o: \"rbind,ro\", device: data/h"),
        &[(".meter.mounts.0.source", bind("data/h")), (".meter.mounts.0.read_only", json!(true))],
    );
    taken(
        "above",
        "deploy",
        &volume("o: bind, device: ../h"),
        &[(".meter.mounts.0.source", bind(".above/h"))],
    );
    refused("home", "", &volume("o: bind, device: ~/h"), &[("depends on who runs", 1)]);
    for as_it_is in ["o: bind, device: /srv/h", "o: \"addr=10.0.0.1\", device: \":/h\""] {
        let parsed = read("", &volume(as_it_is)).unwrap();
        assert_eq!((parsed.level, parsed.project.volumes.len()), (1, 1), "{as_it_is}");
    }
}

#[test]
fn a_seccomp_profile_is_carried_and_sent() {
    let text = |option: &str| {
        meter(&format!("security_opt: [\"{option}\"]"))
            + "==> p.json\n{ \"b\": 1,\n \"a\": [ \"x y\" ] }\n==> bad.json\n{\n"
    };
    for option in ["seccomp=./p.json", "seccomp:p.json", "seccomp=./x/../p.json"] {
        taken(
            option,
            "",
            &text(option),
            &[
                (".meter.security_opt", json!(["seccomp={\"b\":1,\"a\":[\"x y\"]}"])),
                (".files", json!(["p.json"])),
            ],
        );
    }
    refused("missing", "", &text("seccomp=./q.json"), &[("`./q.json` does not exist", 1)]);
    refused("no JSON", "", &text("seccomp=./bad.json"), &[("`./bad.json` is no JSON", 1)]);
    refused("home", "", &text("seccomp=~/p.json"), &[("depends on who runs", 1)]);
    refused("host", "", &text("seccomp=/etc/p.json"), &[("put the file beside the Compose file", 1)]);
    refused(
        "of the command",
        "",
        &text("systempaths=unconfined"),
        &[("`systempaths=unconfined` is not supported", 1)],
    );
    for option in ["seccomp=unconfined", "seccomp:unconfined", "no-new-privileges:true", "label=disable"] {
        let parsed = read("", &text(option)).unwrap();
        assert_eq!((parsed.level, parsed.files.len()), (1, 0), "{option}");
    }
}

#[test]
fn networks_and_volumes_that_no_service_uses_are_not_there() {
    let unused =
        "volumes: { lagoon: { external: true }, pond: }\nnetworks: { wide: { external: true }, near: }\n";
    taken(
        "unused",
        "",
        &(meter("hostname: m") + unused),
        &[
            (".volumes", json!({})),
            (
                ".networks",
                json!({ "default": read("", &meter("hostname: m")).unwrap().project.networks["default"] }),
            ),
        ],
    );
    let text = meter("hostname: m")
        + "  debug: { image: d, profiles: [x], volumes: [\"pond:/p\"], networks: [wide] }\n"
        + unused;
    let parsed = read("", &text).unwrap();
    assert_eq!(parsed.project.volumes.len(), 0);
    assert_eq!(parsed.unused_volumes.len(), 2);
    // One that the engine would make is missed by nobody.
    assert_eq!(read("", &(meter("hostname: m") + "volumes: { pond: }\n")).unwrap().level, 1);
}

#[test]
fn limits_in_two_places_are_the_same() {
    let both = |own: &str, limits: &str| {
        meter(&format!("{own}\ndeploy: {{ resources: {{ limits: {{ {limits} }} }} }}"))
    };
    for (own, limits, key) in [
        ("mem_limit: 1g", "memory: 2g", "`mem_limit` and `deploy.resources.limits.memory`"),
        ("cpus: 1", "cpus: \"2\"", "`cpus` and `deploy.resources.limits.cpus`"),
        ("pids_limit: 10", "pids: 20", "`pids_limit` and `deploy.resources.limits.pids`"),
    ] {
        refused(
            key,
            "",
            &both(own, limits),
            &[(&format!("{key} are not the same"), 1), ("compose.yaml:4:", 1)],
        );
    }
    let reservations = meter("mem_reservation: 1m\ndeploy: { resources: { reservations: { memory: 2m } } }");
    refused(
        "reserved",
        "",
        &reservations,
        &[("`mem_reservation` and `deploy.resources.reservations.memory` are", 1)],
    );
    refused(
        "replicas",
        "",
        &meter("scale: 2\ndeploy: { replicas: 3 }"),
        &[("`scale` and `deploy.replicas` are not the same", 1)],
    );
    for text in [
        both("mem_limit: 1g", "memory: 1024m"),
        both("mem_limit: 1g", "cpus: \"1\""),
        meter("scale: 2\ndeploy: { replicas: 2 }"),
    ] {
        assert_eq!(read("", &text).unwrap().level, 1);
    }
}

#[test]
fn the_restart_policy_of_deploy_counts() {
    let both = |restart: &str, policy: &str| {
        meter(&format!("restart: {restart}\ndeploy: {{ restart_policy: {{ {policy} }} }}"))
    };
    let restart = |value: Value| [(".meter.restart", value)];
    taken(
        "tries",
        "",
        &both("always", "condition: on-failure, max_attempts: 4"),
        &restart(json!({ "on-failure": 4 })),
    );
    taken("none", "", &both("always", "condition: none"), &restart(json!("no")));
    taken(
        "unless",
        "",
        &meter("deploy: { restart_policy: { condition: unless-stopped } }"),
        &restart(json!("unless-stopped")),
    );
    taken(
        "always",
        "",
        &meter("deploy: { restart_policy: { condition: always } }"),
        &restart(json!("always")),
    );
    taken("no", "", &meter("deploy: { restart_policy: { condition: \"no\" } }"), &restart(json!("no")));
    assert_eq!(read("", &both("always", "condition: any")).unwrap().level, 1);
    refused(
        "typo",
        "",
        &meter("deploy: { restart_policy: { condition: allways } }"),
        &[("`allways` is not a restart condition", 1)],
    );
}

#[test]
fn a_dollar_that_means_nothing_is_text() {
    let text = meter(
        "command: [\"sh\", \"-c\", \"for i in $(seq 1 3); do sleep $i; done\"]\n\
         environment:\n  PRICE: costs $5\n  MATCH: \"${RULE:-^[a-z]+$}\"\n  END: \"a$\"\n  HASH: $2y$10$.abc\n  AWK: awk '{print $1}'\n  TWO: a$$b",
    ) + "==> .env\ni=7\n";
    taken(
        "dollar",
        "",
        &text,
        &[
            (".meter.command.2", json!("for i in $(seq 1 3); do sleep 7; done")),
            (
                ".meter.environment",
                json!({
                    "PRICE": "costs $5", "MATCH": "^[a-z]+$", "END": "a$", "HASH": "$2y$10$.abc", "AWK": "awk '{print $1}'", "TWO": "a$b",
                }),
            ),
        ],
    );
    taken(
        "env",
        "",
        &(meter("env_file: a.env") + "==> a.env\nA=costs $5 $\n"),
        &[(".meter.environment.A", json!("costs $5 $"))],
    );
    refused("brace", "", &meter("environment: { A: \"${1}\" }"), &[("not a valid interpolation", 1)]);
}

#[test]
fn what_has_no_value_is_empty_and_listed_once() {
    let text = meter(
        "environment:\n  PROXY: ${SITE_PROXY}\n  OPTS: a${EXTRA_OPTS}b ${SITE_PROXY}\nports: [\"${IP}:443:443\"]",
    );
    taken(
        "unset",
        "",
        &text,
        &[
            (".meter.environment", json!({ "PROXY": "", "OPTS": "ab " })),
            (".meter.ports.0.host_ip", Value::Null),
            (
                ".warnings",
                json!(
                    "~3 variables have no value, and nothing stands in their places: EXTRA_OPTS, IP, SITE_PROXY"
                ),
            ),
            (".warnings", json!("~in .env:\n    EXTRA_OPTS=\n    IP=\n    SITE_PROXY=")),
        ],
    );
    for (keys, what) in [
        ("image: acme/x:${TAG}", "`TAG` has no value: "),
        ("image: ${IMAGE}", "`IMAGE` has no value: "),
        ("ports: [\"${PORT}:80\"]", "`PORT` has no value: `:80` is not a port: the host's port is empty"),
        ("ports: [\"80:${PORT}\"]", "`PORT` has no value: "),
        ("volumes: [\"${DATA}/db:/db\"]", "`DATA` has no value, and a path is made with it"),
        ("volumes: [{ type: bind, source: \"${DATA}\", target: /db }]", "`DATA` has no value, and a path"),
        ("env_file: ${NAME}.env", "`NAME` has no value, and a path is made with it"),
        (
            "environment: { POSTGRES_PASSWORD: \"${PG}\" }",
            "`PG` has no value, and it is used as a secret `POSTGRES_PASSWORD`",
        ),
        ("environment: [\"URL=x:${DB_PASS}@db\"]", "`DB_PASS` has no value, and it is used as a secret"),
        (
            "environment: { CERT_FILE: \"${CERT}\" }",
            "`CERT` has no value, and it is used as a secret `CERT_FILE`",
        ),
        ("command: [run, --token, \"${API_TOKEN}\"]", "`API_TOKEN` has no value, and it is used as a secret"),
        ("volumes: [\"${PWD}/conf:/conf:ro\"]", "`PWD` is a variable of the shell"),
        ("user: \"${UID}:${GID}\"", "`UID` is a variable of the shell"),
        ("environment: { H: \"${HOME}\" }", "`HOME` is a variable of the shell"),
        ("shm_size: ${SIZE}x", "`SIZE` has no value: "),
    ] {
        let text = format!("services:\n  meter:\n    image: i\n    {keys}\n")
            .replace("image: i\n    image:", "image:");
        refused(
            keys,
            "",
            &text,
            &[
                (what, 1),
                (":4:", if keys.starts_with("image") { 0 } else { 1 + keys.contains("GID") as usize }),
                ("or in .env:", usize::from(!keys.contains("PWD") && !keys.contains("HOME"))),
            ],
        );
    }
    let many = meter("environment:\n  A_KEY: ${A_KEY}\n  B_KEY: ${B_KEY}\n  C: ${C}");
    refused(
        "many",
        "",
        &many,
        &[("where it may be empty", 1), ("3 variables have no value: A_KEY, B_KEY, C", 1)],
    );
    let said = meter("environment: { DB_PASSWORD: \"${DB_PASSWORD:-}\", U: \"${UID:-1000}\" }");
    assert_eq!(read("", &said).unwrap().level, 1);
    refused(
        "env",
        "",
        &(meter("env_file: a.env") + "==> a.env\nDB_PASSWORD=pa$word\n"),
        &[("a.env:1: `DB_PASSWORD`: `word` has no value", 1)],
    );
    let home = meter("environment: { H: \"${HOME:-/root}\", I: \"${HOME:+x}\", P: \"a${B:-${USER-me}}\" }");
    let parsed = read("", &home).unwrap();
    assert_eq!(of(&parsed)["services"]["meter"]["environment"], json!({ "H": "/root", "I": "", "P": "ame" }));
    for name in ["HOME", "USER"] {
        let said = of(&parsed)["warnings"].to_string();
        assert_eq!(
            said.matches(&format!("`{name}` is a variable of the shell, which is not read: what")).count(),
            1
        );
    }
    let message = meter("environment: { A: \"${A:?say which}\" }");
    refused("message", "", &message, &[("`A` has no value: say which", 1)]);
}
