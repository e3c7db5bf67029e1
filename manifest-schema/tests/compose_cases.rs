//! Compose files that people write, each with what Docker Compose makes of it: fields of the project, what is warned of
//! or refused, and the level that a reader needs.

#[cfg(test)]
mod cases {
    use manifest_schema::compose::{self, Beside, Parsed, Text};
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    /// `compose.yaml`, and behind lines `==> NAME` the files beside it. `.env` gives the variables.
    fn read(folder: &str, text: &str) -> Result<Parsed, String> {
        let mut files: BTreeMap<&str, String> = BTreeMap::new();
        let mut name = "compose.yaml";
        for line in text.split_inclusive('\n') {
            match line.strip_prefix("==> ") {
                Some(next) => name = next.trim_end(),
                None => files.entry(name).or_default().push_str(line),
            }
        }
        let entries = files.get(".env").map(|env| compose::parse_env(".env", env).map_err(|e| e.to_string()));
        let entries = entries.transpose()?.unwrap_or_default();
        let mut env = entries.values;
        env.insert("COMPOSE_PROJECT_NAME".to_owned(), "plant".to_owned());
        let load = |path: &str| files.get(path).map(|text| text.clone().into_bytes());
        let texts = [Text { file: "compose.yaml", text: &files["compose.yaml"] }];
        let beside = Beside { folder, ..Beside::default() };
        let mut parsed =
            compose::parse_with_own(&texts, &beside, &env, &load).map_err(|error| error.to_string())?;
        parsed.level = parsed.level.max(entries.level);
        Ok(parsed)
    }

    /// A service `meter` with these keys.
    fn meter(keys: &str) -> String {
        let keys: String = keys.lines().map(|line| format!("    {line}\n")).collect();
        format!("services:\n  meter:\n    image: acme/meter:1.2\n{keys}")
    }

    fn of(parsed: &Parsed) -> Value {
        let mut project = serde_json::to_value(&parsed.project).unwrap();
        let files: Vec<&str> = parsed.files.iter().map(|file| file.path.as_str()).collect();
        project["files"] = json!(files);
        project["warnings"] =
            json!(parsed.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
        project["replicas"] = parsed
            .project
            .services
            .iter()
            .map(|(name, service)| (name.to_string(), Value::from(service.containers())))
            .collect();
        project
    }

    /// Each is taken, at level 2, with these values at these places; a text that begins with `~` is contained there.
    fn taken(name: &str, folder: &str, text: &str, wanted: &[(&str, Value)]) {
        let parsed = read(folder, text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(parsed.level, 2, "{name}: readers before have it otherwise");
        let project = of(&parsed);
        for (place, value) in wanted {
            let found = project
                .pointer(&place.replace('.', "/").replace('|', ".").replace("meter/", "services/meter/"));
            let found = found.cloned().unwrap_or_default();
            match value.as_str().and_then(|text| text.strip_prefix('~')) {
                Some(part) => {
                    let found = found.as_str().unwrap_or_default();
                    assert!(found.contains(part), "{name}: {place}: {found}");
                }
                None => assert_eq!(found, *value, "{name}: {place}"),
            }
        }
    }

    /// Each is refused with these parts, each as often as it is told.
    fn refused(name: &str, folder: &str, text: &str, parts: &[(&str, usize)]) {
        let error = read(folder, text).map(|parsed| parsed.project).expect_err(name);
        for (part, times) in parts {
            assert_eq!(error.matches(part).count(), *times, "{name}: {part}: {error}");
        }
    }

    #[test]
    fn values_of_env_files_may_begin_with_a_hash() {
        let text = meter("env_file: plant.env\nlabels: { pin: \"${PIN}\" }")
            + "==> .env\nPIN=#12\n==> plant.env\nPASSWORD=#7kx\nCOLOUR= #\nPLAIN=a # comment\nTAB=a\t#b\n";
        let environment = json!({ "PASSWORD": "#7kx", "COLOUR": "#", "PLAIN": "a", "TAB": "a\t#b" });
        taken("hash", "", &text, &[(".meter.environment", environment), (".meter.labels.pin", json!("#12"))]);
        let raw = meter("env_file: [{ path: a.env, format: raw }]") + "==> a.env\nA=#1 # b\n";
        assert_eq!(of(&read("", &raw).unwrap())["services"]["meter"]["environment"]["A"], "#1 # b");
    }

    #[test]
    fn a_volume_that_is_a_folder_is_mounted_as_one() {
        let volume = |options: &str| {
            meter("volumes: [\"history:/var/lib/meter\"]")
                + &format!(
                    "volumes:\n  history: {{ driver: local, driver_opts: {{ type: none, {options} }} }}\n"
                )
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
        for option in ["seccomp=unconfined", "seccomp:unconfined", "no-new-privileges:true", "label=disable"]
        {
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
        let reservations =
            meter("mem_reservation: 1m\ndeploy: { resources: { reservations: { memory: 2m } } }");
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
            (
                "volumes: [{ type: bind, source: \"${DATA}\", target: /db }]",
                "`DATA` has no value, and a path",
            ),
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
            (
                "command: [run, --token, \"${API_TOKEN}\"]",
                "`API_TOKEN` has no value, and it is used as a secret",
            ),
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
                    ("or in .env:", 1),
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
        let message = meter("environment: { A: \"${A:?say which}\" }");
        refused("message", "", &message, &[("`A` has no value: say which", 1)]);
    }

    #[test]
    fn empty_is_absent() {
        let text = meter(
            "platform: ${P:-}\nrestart: \"${P:-}\"\nnetwork_mode: \"${P:-}\"\nipc: ''\npid: ''\nuts: ''\ncgroup: ''\ncontainer_name: ''\n\
             dns: \"${P:-}\"\ndns_search: ['']\ntmpfs: ''\nmac_address: ''\nmem_limit: ''\ncpus: ''\npids_limit: ''\nprivileged: ''\ninit: ''\n\
             stop_grace_period: ''\nshm_size: ''\nscale: ''\nports: [\"${P:-}:8443:443\", '', { target: 80, host_ip: '', published: '' }]\n\
             networks: { default: { ipv4_address: '', ipv6_address: '', mac_address: '' } }\nhealthcheck: { interval: '' }",
        );
        let plain =
            serde_json::to_value(&read("", &meter("tty: false")).unwrap().project.services.values().next())
                .unwrap();
        let parsed = read("", &text).unwrap_or_else(|error| panic!("{error}"));
        let mut service = serde_json::to_value(parsed.project.services.values().next()).unwrap();
        assert_eq!(
            service["ports"],
            json!([
                { "target": 443, "published": 8443, "host_ip": null, "protocol": "tcp" },
                { "target": 80, "published": null, "host_ip": null, "protocol": "tcp" },
            ])
        );
        for key in ["ports", "healthcheck"] {
            service[key] = plain[key].clone();
        }
        assert_eq!(service, plain);
        assert_eq!(parsed.level, 2);
        refused("image", "", "services: { a: { image: '' } }\n", &[("service `a` has no `image`", 1)]);
    }

    #[test]
    fn unknown_options_of_a_mount_are_ignored_and_labels_are_not() {
        let text = meter(
            "volumes: [\"traps:/traps:roz\", \"./conf:/conf:ro,noatime\", \"./z:/z:Z\", \"./u:/u:U\", { type: bind, source: ./s, target: /s, bind: { selinux: z } }]",
        ) + "volumes: { traps: }\n";
        taken(
            "options",
            "",
            &text,
            &[
                (".meter.mounts.0.source.volume", json!("traps")),
                (".meter.mounts.0.read_only", json!(false)),
                (".meter.mounts.1.read_only", json!(true)),
                (".meter.mounts.2.selinux", json!("Z")),
                (".meter.mounts.3.selinux", Value::Null),
                (".meter.mounts.4.selinux", json!("z")),
                (".warnings", json!("~`roz` is no option of a volume")),
                (".warnings", json!("~`noatime` is no option of a volume")),
                (".warnings", json!("~only Podman's own command knows it")),
            ],
        );
    }

    #[test]
    fn paths_may_leave_the_folder_and_not_the_manifests() {
        let text = meter(
            "volumes: [\"../shared/rules:/rules:ro\", \"./a/../b:/b\", \"../deploy/c:/c\"]\nenv_file: ../common.env\nextends: { file: ../base/x.yaml, service: x }\nconfigs: [k]",
        ) + "configs: { k: { file: ../k } }\n==> .above/common.env\nUNIT=kWh\n==> .above/base/x.yaml\nservices: { x: { volumes: [\"./y:/y\", \"../deploy/w:/w\"] } }\n";
        let source = |path: &str| json!({ "path": path, "create": true });
        taken(
            "above",
            "deploy",
            &text,
            &[
                (".meter.environment.UNIT", json!("kWh")),
                (".meter.mounts.0.source.bind", source(".above/base/y")),
                (".meter.mounts.1.source.bind", source("w")),
                (".meter.mounts.2.source.bind", source(".above/shared/rules")),
                (".meter.mounts.3.source.bind", source("b")),
                (".meter.mounts.4.source.bind", source("c")),
                (".configs.k.file", json!(".above/k")),
            ],
        );
        taken(
            "inside",
            "",
            &meter("volumes: [\"./conf/../rules:/rules:ro\"]"),
            &[(".meter.mounts.0.source.bind", source("rules"))],
        );
        for keys in [
            "volumes: [\"../a:/a\"]",
            "env_file: ../a.env",
            "volumes: [{ type: bind, source: ../../x/../a, target: /a }]",
        ] {
            refused(
                keys,
                "",
                &meter(keys),
                &[("is not below the manifest's folder", 1), ("run `ferry init` there", 1)],
            );
        }
        refused("whole", "", &meter("volumes: [\"a/..:/a\"]"), &[("is neither a volume nor a path", 1)]);
        refused(
            "dots",
            "",
            &meter("volumes: [\"./a/..:/a\"]"),
            &[("the whole folder of the Compose file", 1)],
        );
    }

    #[test]
    fn services_that_do_not_start_are_not_looked_at() {
        let text = meter("hostname: m")
            + "  debug: { image: acme/debug:1, profiles: [debug], networks: [lab], nonsense: 1, environment: { KEY: \"${KEY}\" } }\n";
        taken("profile", "", &text, &[(".services.debug", Value::Null), (".warnings", json!(""))]);
        let used = meter("depends_on: [debug]")
            + "  debug: { image: acme/debug:1, profiles: [debug], networks: [lab] }\n";
        refused("needed", "", &used, &[("network `lab`, which does not exist", 1)]);
        let none = meter("depends_on: [spare, more]")
            + "  spare: { image: s, deploy: { replicas: 0 }, ports: [x] }\n  more: { image: s, scale: \"${N:-0}\" }\n";
        taken("none", "", &none, &[(".replicas", json!({ "meter": 1 })), (".meter.depends_on", json!({}))]);
        let lives = meter("network_mode: service:spare") + "  spare: { image: s, scale: 0 }\n";
        refused("lives", "", &lives, &[("service `meter` lives in `spare`, which has no container", 1)]);
        let quiet = meter("hostname: m") + "  debug: { image: acme/debug:1, profiles: [debug] }\n";
        assert_eq!(read("", &quiet).unwrap().level, 1);
    }

    #[test]
    fn networks_containers_and_devices_of_the_host() {
        taken(
            "network",
            "",
            &meter("network_mode: plant_lan"),
            &[(".meter.network_mode", json!("plant_lan")), (".networks", json!({}))],
        );
        for key in ["network_mode", "pid", "ipc"] {
            let place = format!(".meter.{key}");
            taken(key, "", &meter(&format!("{key}: \"container:vpn\"")), &[(&place, json!("container:vpn"))]);
        }
        refused("ipc", "", &meter("ipc: other"), &[("`other` is not supported for `ipc`", 1)]);
        taken(
            "cdi",
            "",
            &meter("devices: [\"acme.com/npu=all\", \"/dev/ttyS0\", \"acme.com/npu=1\"]"),
            &[
                (".meter.devices", json!([["/dev/ttyS0", "/dev/ttyS0", "rwm"]])),
                (".meter.resources.device_requests.0.driver", json!("cdi")),
                (
                    ".meter.resources.device_requests.0.device_ids",
                    json!(["acme.com/npu=all", "acme.com/npu=1"]),
                ),
            ],
        );
        let parsed = read("", &meter("devices: [\"acme.com/npu=all\"]")).unwrap();
        assert_eq!(compose::needs(&parsed.project)[0].engine, (25, 0));
    }

    #[test]
    fn forms_of_ports_mounts_and_limits() {
        let port = |target: u16, published: Value| json!({ "target": target, "published": published, "host_ip": null, "protocol": "tcp" });
        let ports = meter(
            "ports: [\"0:80\", \"::81\", \"9000-9010:90\", { target: 91, published: \"9100-9110\" }, { target: 92, published: 0 }]",
        );
        let mut chosen = port(90, Value::Null);
        chosen["among"] = json!([9000, 9010]);
        taken(
            "ports",
            "",
            &ports,
            &[
                (".meter.ports.0", port(80, Value::Null)),
                (".meter.ports.1", port(81, Value::Null)),
                (".meter.ports.2", chosen),
                (".meter.ports.3.among", json!([9100, 9110])),
                (".meter.ports.4", port(92, Value::Null)),
            ],
        );
        let twice = meter("ports: [\"127.0.0.1:9100:9100\", \"${IP:-127.0.0.1}:9100:9100\"]");
        taken(
            "twice",
            "",
            &twice,
            &[(".meter.ports.1", Value::Null), (".meter.ports.0.published", json!(9100))],
        );
        refused(
            "other",
            "",
            &meter("ports: [\"127.0.0.1:9100:9100\", \"9100:9100\"]"),
            &[("published twice", 1)],
        );
        taken(
            "targets",
            "",
            &meter("volumes: [\"./a:/conf\", \"./b:/conf\"]"),
            &[
                (".meter.mounts.0.source.bind.path", json!("b")),
                (".meter.mounts.1", Value::Null),
                (".warnings", json!("~two volumes are mounted at `/conf`; this one counts")),
            ],
        );
        taken(
            "cpus",
            "",
            &meter("cpus: \"${CPU_LIMIT:-0}\"\ndeploy: { resources: { limits: { cpus: '0.0' } } }"),
            &[(".meter.resources.nano_cpus", Value::Null)],
        );
        let labels = meter(
            "labels: { rev: 1.0, mask: 0x10, text: \"010\" }\nsysctls: { a: 010 }\nlogging: { driver: json-file, options: { max-file: 3 } }\nenvironment: { A: 010 }",
        );
        taken(
            "numbers",
            "",
            &labels,
            &[
                (".meter.labels", json!({ "rev": "1", "mask": "16", "text": "010" })),
                (".meter.sysctls.a", json!("8")),
                (".meter.environment.A", json!("010")),
            ],
        );
    }

    #[test]
    fn several_documents_go_over_each_other() {
        let text = "services:\n  meter: { image: \"acme/meter:1.2\" }\n---\nservices:\n  meter: { hostname: h }\n  probe: { image: \"acme/probe:1\" }\n---\n";
        taken(
            "documents",
            "",
            text,
            &[
                (".meter.hostname", json!("h")),
                (".meter.image", json!("acme/meter:1.2")),
                (".services.probe.image", json!("acme/probe:1")),
            ],
        );
        refused(
            "mistake",
            "",
            "services: { a: { image: a } }\n---\n- a\n",
            &[("expected a map for the Compose file", 1)],
        );
    }

    #[test]
    fn mistakes_lead_somewhere() {
        for section in ["configs", "secrets"] {
            let text = meter(&format!("{section}: [site]"))
                + &format!("{section}:\n  site: {{ file: ~/site.toml }}\n");
            refused(section, "", &text, &[("`~/site.toml` depends on who runs", 1), ("to: ~", 0)]);
        }
        refused("env_file", "", &meter("env_file: ~/a.env"), &[("`~/a.env` depends on who runs", 1)]);
        refused(
            "extends",
            "",
            &meter("extends: { file: ~/a.yaml, service: a }"),
            &[("which depends on who runs", 1)],
        );
        refused(
            "provider",
            "",
            "services: { db: { provider: { type: acme-cloud } } }\n",
            &[
                ("`provider` is not supported", 1),
                ("has no `image`", 0),
                ("run the service from an image", 1),
            ],
        );
        refused(
            "pre_start",
            "",
            &meter("pre_start: [{ command: [/bin/migrate] }]"),
            &[("`pre_start` is not supported", 1), ("service_completed_successfully", 1)],
        );
        for block in ["|", ">", "|-"] {
            let text = meter(&format!(
                "command:\n  - sh\n  - -c\n  - {block}\n    echo one\n    echo two\n    echo ${{PIN_CODE:?}} ${{1}}"
            ));
            refused(block, "", &text, &[("compose.yaml:10:14: `PIN_CODE` has no value", 1)]);
            refused(block, "", &text.replace(":?", ""), &[("compose.yaml:10:26: `${1}` is not a valid", 1)]);
            refused(
                block,
                "",
                &text.replace(":?} ${1}", "_TOKEN}"),
                &[("compose.yaml:10:14: `PIN_CODE_TOKEN` has no value", 1)],
            );
        }
    }
}
