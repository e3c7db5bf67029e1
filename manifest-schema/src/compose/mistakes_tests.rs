//! Mistakes of people, and hostile files.

use super::syntax_tests::try_read;
use proptest::prelude::*;

fn refused(text: &str) -> String {
    try_read(text, &[("PORT", "8080")], &[]).expect_err("it must be refused").to_string()
}

#[test]
fn the_message_shows_place_line_and_hint() {
    for (text, expected) in [
        (
            "services:\n  web:\n    imgae: nginx\n",
            "compose.yaml:2:3: service `web` has no `image`\n  2 |   web:\n    |   ^\n  hint: add a line like `image: acme/api:2.4.0`\n\
             compose.yaml:3:5: unknown key `imgae` in service `web`\n  3 |     imgae: nginx\n    |     ^\n  hint: did you mean `image`?",
        ),
        (
            "services:\n  web:\n    image: nginx\n    ports:\n      - 8080:80\n  api:\n    image: api\n    ports: [\"127.0.0.1:8080:80\"]\n",
            "compose.yaml:8:13: port 8080/tcp is published twice: by service `web` on line 5 and by service `api` on line 8\n  \
               8 |     ports: [\"127.0.0.1:8080:80\"]\n    |             ^\n  hint: give one of them another port on the host",
        ),
        (
            "services:\n  a: { image: a, depends_on: [b] }\n  b: { image: b, depends_on: [c] }\n  c: { image: c, depends_on: [b] }\n",
            "compose.yaml:3:3: services wait for each other in a circle: b → c → b\n  3 |   b: { image: b, depends_on: [c] }\n    |   ^\n  hint: delete one `depends_on`",
        ),
        (
            "services:\n  web:\n    image: nginx\n    depends_on:\n      - datbase\n  database: { image: pg }\n",
            "compose.yaml:5:9: service `web` uses service `datbase`, which does not exist\n  5 |       - datbase\n    |         ^\n  hint: did you mean `database`?",
        ),
        (
            "services:\n  db:\n    image: pg\n    volumes:\n      - pgdata:/var/lib/postgresql/data\n",
            "compose.yaml:5:9: service `db` uses volume `pgdata`, which does not exist\n  5 |       - pgdata:/var/lib/postgresql/data\n    |         ^\n  hint: declare it under the top-level `volumes`",
        ),
        (
            "services:\n  api:\n    build: .\n",
            "compose.yaml:3:5: service `api` has `build`, but no `image`\n  3 |     build: .\n    |     ^\n  hint: build the image first and name it: `image: acme/api:2.4.0`",
        ),
        (
            "services:\n  web:\n    image: nginx\n    ports: [\"${PROT}:80\"]\n",
            "compose.yaml:4:13: `PROT` has no value: `:80` is not a port: the host's port is empty\n  4 |     ports: [\"${PROT}:80\"]\n    |             ^\n  hint: did you mean `${PORT}`?\n\
             compose.yaml: `PROT` has no value\n  hint: declare it under `variables` in the manifest (`ferry init` writes it), or in .env:\n    PROT=",
        ),
        (
            "services:\n  web:\n    image: nginx\n    ports: 8080:80\n    environment: 7\n",
            "compose.yaml:4:12: expected a list for `ports`, found a string `8080:80`\n  4 |     ports: 8080:80\n    |            ^\n  hint: write one entry a line, each after `- `\n\
             compose.yaml:5:18: expected a map for `environment`, found a number `7`\n  5 |     environment: 7\n    |                  ^\n  hint: write one entry a line, as `key: value`",
        ),
        (
            "services:\n  web:\n    image: nginx\n    healthcheck:\n      test: curl localhost\n      interval: 30\n",
            "compose.yaml:6:17: `interval`: `30` is not a duration; write one like 1m30s, 500ms or 2h\n  6 |       interval: 30\n    |                 ^",
        ),
        (
            "x-a: 1\nservices: { a: { image: a, isolation: hyperv } }\n",
            "compose.yaml:2:28: `isolation` is not supported\n  2 | services: { a: { image: a, isolation: hyperv } }\n    |                            ^\n  hint: delete it; it is for Windows containers",
        ),
    ] {
        assert_eq!(refused(text), expected);
    }
}

#[test]
fn mistakes_in_services() {
    for (keys, part) in [
        ("ports: ['80:80:80:80']", "is not an IP address"),
        ("ports: ['70000:80']", "`70000` is not a number between 1 and 65535"),
        ("ports: ['8000-8001:80-82']", "different lengths"),
        ("ports: ['1-65535:1-65535']", "more than 1000 ports"),
        ("ports: ['80/icmp']", "the protocol is tcp, udp or sctp"),
        ("ports: [{ published: 80 }]", "the port has no `target`"),
        ("volumes: ['a:b:c:d']", "is not a volume"),
        ("volumes: ['~/x:/x']", "depends on who runs the installer"),
        ("volumes: ['../x:/x']", "not below the manifest's folder"),
        ("volumes: ['.:/x']", "whole folder"),
        ("volumes: ['a/b:/x']", "write `./a/b`"),
        ("volumes: ['./a:x']", "not an absolute path in the container"),
        ("volumes: [{ type: npipe, source: a, target: /a }]", "a volume of type `npipe` is not supported"),
        ("volumes: [{ source: a, target: /a }]", "has no `type`"),
        ("networks: [front]", "uses network `front`, which does not exist"),
        ("networks: { default: { mac_address: x } }", "is not a MAC address like"),
        ("network_mode: 'container:x y'", "it is one of none, host, bridge, service:NAME, container:NAME"),
        ("network_mode: host, networks: [default]", "both `network_mode` and `networks`"),
        ("secrets: [key]", "uses secret `key`, which does not exist"),
        ("configs: [{ target: /x }]", "the config has no `source`"),
        ("depends_on: { a: { condition: healthy } }", "`healthy` is not a condition"),
        ("healthcheck: { test: [curl, x] }", "does not say how it is run"),
        ("restart: allways", "is not a restart policy"),
        ("command: 'echo \"x'", "a quote that is not closed"),
        ("env_file: gone.env", "env_file `gone.env` does not exist"),
        ("env_file: /etc/a.env", "names `/etc/a.env`, which is not below"),
        ("deploy: { replicas: 2 }, ports: ['80:80']", "port 80 of the host can be published once"),
        ("scale: 2, container_name: x", "but one `container_name`"),
        ("deploy: { resources: { reservations: { devices: [{}] } } }", "the device has no `capabilities`"),
        ("scale: 200", "it must lie between 1 and 100"),
        ("gpus: some", "`gpus` is `all` or a list"),
        ("blkio_config: { weight: 5 }", "must lie between 10 and 1000"),
        ("provider: {}", "`provider` is not supported"),
        ("extends: { file: b.yaml, service: x }", "`extends` names `b.yaml`, which does not exist"),
        ("extends: zzz", "service `zzz` does not exist"),
        ("extends: a", "in a circle: a → a"),
        ("mem_limit: lots", "`lots` is not a size"),
        ("cpus: -1", "is not a number of CPUs"),
        ("privileged: maybe", "expected `true` or `false`"),
        ("ulimits: { nofile: { soft: 1 } }", "needs `soft` and `hard`"),
        ("extra_hosts: [plc]", "names no address"),
        ("extra_hosts: { plc: here }", "is not an IP address"),
        ("devices: [ttyUSB0]", "not a device"),
        ("container_name: 'a b'", "may hold only letters"),
        ("stop_grace_period: 10", "is not a duration"),
        ("environment: ['=x']", "has no name"),
        ("profiles: debug", "expected a list for `profiles`"),
        ("secrets: [{ source: k, mode: 440 }]", "write it in octal"),
    ] {
        let text = format!("services: {{ a: {{ image: a, {keys} }} }}\n");
        assert!(refused(&text).contains(part), "{keys}: {}", refused(&text));
    }
}

#[test]
fn mistakes_at_the_top() {
    for (text, part) in [
        ("", "the Compose file is empty"),
        ("[]\n", "expected a map for the Compose file, found a list"),
        ("services:\n", "has no services"),
        ("services: {}\n", "has no services"),
        ("service: { a: { image: a } }\n", "did you mean `services`?"),
        ("services: { a: nginx }\n", "expected a map for service `a`, found a string"),
        ("services: { 'a b': { image: a } }\n", "is not a valid service name"),
        ("services: { a: { image: UPPER } }\n", "is not a valid image reference"),
        ("services: { a: { image: } }\n", "expected a string for `image`, found nothing"),
        ("services: { a: { image: a, configs: [c] } }\nconfigs: { c: }\n", "config `c` has no source"),
        (
            "services: { a: { image: a, configs: [c] } }\nconfigs: { c: { file: /etc/x } }\n",
            "not below the Compose file's folder",
        ),
        (
            "services: { a: { image: a, configs: [c] } }\nconfigs: { c: { file: x, content: y } }\n",
            "more than one source",
        ),
        (
            "services: { a: { image: a, configs: [c] } }\nconfigs: { c: { template_driver: golang, file: x } }\n",
            "it needs Swarm",
        ),
        (
            "services: { a: { image: a, secrets: [c] } }\nsecrets: { c: { external: true, name: '../x' } }\n",
            "cannot be the name of an external secret",
        ),
        (
            "services: { a: { image: a, secrets: [c] } }\nsecrets: { c: { environment: NONE } }\n",
            "`NONE` has no value",
        ),
        (
            "services: { a: { image: a, networks: [n] } }\nnetworks: { n: { driver: overlay } }\n",
            "needs Swarm",
        ),
        (
            "services: { a: { image: a, networks: [n] } }\nnetworks: { n: { ipam: { config: [{ subnet: x }] } } }\n",
            "is not a subnet",
        ),
        (
            "services: { a: { image: a, volumes: ['v:/v'] } }\nvolumes: { v: { drivr: x } }\n",
            "did you mean `driver`?",
        ),
        (
            "services: { a: { image: a, container_name: x }, b: { image: b, container_name: x } }\n",
            "have the same `container_name`",
        ),
        (
            "services: { a: { image: a, depends_on: { b: { condition: service_healthy } } }, b: { image: b, healthcheck: { disable: true } } }\n",
            "is switched off",
        ),
        ("services:\n  a:\n    image: a\n   ports: []\n", "not valid YAML"),
        ("services: { a: { image: a, command: 'x ${' } }\n", "`$$` is a dollar sign"),
    ] {
        assert!(refused(text).contains(part), "{text}: {}", refused(text));
    }
}

#[test]
fn mistakes_in_an_env_file_name_that_file() {
    let text = "services: { a: { image: a, env_file: ./x/a.env } }\n";
    let error = try_read(text, &[], &[("x/a.env", "A=1\nB C\n")]).unwrap_err().to_string();
    assert!(error.starts_with("x/a.env:2: `B C` is not the name of a variable"), "{error}");
}

#[test]
fn ports_on_different_addresses_protocols_and_profiles_may_be_equal() {
    for ports in [
        ("'127.0.0.1:80:80'", "'127.0.0.2:80:80'"),
        ("'80:80/udp'", "'80:80/tcp'"),
        ("'80'", "'80'"),
        ("'0.0.0.0:80:80'", "'[::]:80:80'"),
        ("'0.0.0.0:80:80'", "'[::1]:80:80'"),
    ] {
        let text = format!(
            "services: {{ a: {{ image: a, ports: [{}] }}, b: {{ image: b, ports: [{}] }} }}\n",
            ports.0, ports.1
        );
        assert!(try_read(&text, &[], &[]).is_ok(), "{text}");
    }
    let profiles = "services: { a: { image: a, ports: ['80:80'], profiles: [x] }, b: { image: b, ports: ['80:80'], profiles: [y] } }\n";
    assert!(try_read(profiles, &[], &[]).is_ok());
    let left_out =
        "services: { a: { image: a, ports: ['80:80'] }, b: { image: b, ports: ['80:80'], profiles: [y] } }\n";
    assert!(try_read(left_out, &[], &[]).is_ok());
    for ports in [
        ("'80:80'", "'[::]:80:80'"),
        ("'0.0.0.0:80:80'", "'1.2.3.4:80:80'"),
        ("'[::]:80:80'", "'[::1]:80:80'"),
    ] {
        let text = format!(
            "services: {{ a: {{ image: a, ports: [{}] }}, b: {{ image: b, ports: [{}] }} }}\n",
            ports.0, ports.1
        );
        assert!(refused(&text).contains("is published twice"), "{text}");
    }
}

#[test]
fn names_that_begin_with_x_are_names_where_people_choose_them() {
    let text = "x-note: { a: $NONE }\nservices:\n  x-proxy:\n    x-more: $NONE\n    image: a:$PORT\n    labels: { x-team: $PORT }\n    environment: { x-e: $PORT }\n    logging: { x-note: $NONE, options: { x-o: $PORT } }\n    volumes: [{ type: volume, target: /v, x-why: $NONE }]\n";
    let project = try_read(text, &[("PORT", "8080")], &[]).unwrap_or_else(|error| panic!("{error}")).project;
    let service = project.services.values().next().unwrap();
    assert_eq!(service.image, "a:8080");
    assert_eq!((service.labels["x-team"].as_str(), service.environment["x-e"].as_str()), ("8080", "8080"));
    assert_eq!(service.logging.as_ref().unwrap().options["x-o"], "8080");
    assert!(
        refused("services: { a: { image: a, labels: { x-team: $KEY } } }\n").contains("`KEY` has no value")
    );
}

#[test]
fn container_names_cannot_collide_on_site() {
    let text = "services: { a: { image: a, container_name: api.new } }\n";
    assert!(refused(text).contains("`api.new` is a name that Ferry gives to"), "{}", refused(text));
    let ours = "api.old-0123456789ab api.idle-0123456789ab api.old-x.idle-0123456789ab api.filling ferry-seed-a-0123456789ab";
    for name in ours.split(' ') {
        let text = format!("services: {{ a: {{ image: a, container_name: {name} }} }}\n");
        assert!(refused(&text).contains("is a name that Ferry gives to"), "{name}");
    }
    for name in ["api.old-1", "api.newer", "ferry-seeds", "filling"] {
        let text = format!("services: {{ a: {{ image: a, container_name: {name} }} }}\n");
        assert!(try_read(&text, &[], &[]).is_ok(), "{name}");
    }
    let text = "services: { a: { image: a }, b: { image: b, container_name: plant-a-1 } }\n";
    let error = try_read(text, &[("COMPOSE_PROJECT_NAME", "plant")], &[]).unwrap_err().to_string();
    assert!(error.contains("services `a` and `b` have the same `container_name` `plant-a-1`"), "{error}");
}

#[test]
fn one_file_has_one_owner_and_one_mode() {
    let text = |other: &str| {
        format!(
            "services:\n  a:\n    image: a\n    secrets:\n      - key\n  b:\n    image: b\n    secrets:\n      - {other}\nsecrets: {{ key: {{ file: ./k }}, mine: {{ file: ./k }} }}\n"
        )
    };
    for other in ["{ source: key, uid: '1000' }", "{ source: key, gid: 7 }", "{ source: key, mode: 0400 }"] {
        let error = refused(&text(other));
        assert!(error.contains("compose.yaml:9:9: service `b` wants secret `key` with another owner or mode than service `a` on line 5"), "{error}");
        assert!(error.contains("two entries under `secrets` with the same file"), "{error}");
    }
    for other in [
        "key",
        "{ source: key, target: x }",
        "{ source: key, mode: 0444, uid: '0' }",
        "{ source: mine, mode: 0400 }",
    ] {
        assert!(try_read(&text(other), &[], &[]).is_ok(), "{other}");
    }
}

#[test]
fn hostile_files_end_in_a_mistake() {
    let mut extends = "services:\n  s0: { image: a, environment: { A: 1 } }\n".to_owned();
    for n in 1..200 {
        extends += &format!("  s{n}: {{ extends: s{}, environment: {{ A{n}: 1 }} }}\n", n - 1);
    }
    // A chain of 200 is cut.
    assert!(refused(&extends).contains("more than 32 services extend each other"));

    let many: String = (0..1001).map(|n| format!("  s{n}: {{ image: a }}\n")).collect();
    assert!(refused(&format!("services:\n{many}")).contains("at most 1000 are read"));

    let value = "x".repeat(1 << 20);
    let uses: String = (0..100).map(|n| format!("  x{n}: $V\n")).collect();
    let error =
        try_read(&format!("services: {{ a: {{ image: a }} }}\nvolumes:\n{uses}"), &[("V", &value)], &[]);
    assert!(error.unwrap_err().to_string().contains("interpolation makes more than"));

    let ranges = "'3000-3999:3000-3999', ".repeat(20_000);
    let text = format!("services: {{ a: {{ image: a, ports: [{ranges}] }} }}\n");
    assert!(refused(&text).contains("more than 10000 ports"));
    let text = text.replace(":3000-3999", "").replace("ports", "expose");
    assert!(refused(&text).contains("more than 10000 ports"));

    let names: String = (0..100_000).map(|n| format!("wrongname{n}, ")).collect();
    let text = format!("services: {{ a: {{ image: a, depends_on: [{names}] }} }}\n");
    assert!(refused(&text).contains("`wrongname0`, which does not exist"));
    let mounts: String = (0..100_000).map(|n| format!("'./f{n}:/f{n}', ")).collect();
    let text = format!("services: {{ a: {{ image: a, volumes: [{mounts}] }} }}\n");
    assert!(refused(&text).contains("more than 10000 ports"));
    let keys: String = (0..100_000).map(|n| format!("volume{n}: 1, ")).collect();
    let text = format!("services: {{ a: {{ image: a, {keys} }} }}\n");
    assert!(refused(&text).contains("more mistakes are not shown"));

    let control = refused("services: { a: { image: a, \"bad\\e[31mkey\": 1 } }\n");
    assert!(!control.contains('\u{1b}'), "{control:?}");
}

const SITE: &str = "x-log: &log { logging: { driver: json-file, options: { max-size: 10m } } }
services:
  web:
    <<: *log
    image: acme/web:1.0
    ports: [\"${PORT:-80}:80\", { target: 443, published: 443 }]
    volumes: [\"./config/nginx.conf:/etc/nginx/nginx.conf:ro\", { type: tmpfs, target: /tmp, tmpfs: { size: 1m } }]
    depends_on: { api: { condition: service_healthy } }
  api:
    image: acme/api:2.4.0
    command: python3 -m api --port 8000
    environment: { DB: \"postgres://${DB_USER:?set it}@db/plant\", CACHE: cache }
    secrets: [db_password]
    healthcheck: { test: [CMD, curl, -f, http://localhost:8000], interval: 5s }
    deploy: { resources: { limits: { cpus: '0.5', memory: 256m } } }
    extends: { service: base }
  base: { image: base, restart: unless-stopped }
volumes: { pgdata: { driver: local } }
networks: { default: { ipam: { config: [{ subnet: 10.9.0.0/24 }] } } }
secrets: { db_password: { file: ./secrets/db } }
";

#[test]
fn a_realistic_site() {
    let parsed = try_read(SITE, &[("DB_USER", "plant")], &[]).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(parsed.project.services.len(), 3);
    assert!(parsed.warnings.is_empty(), "{:?}", parsed.warnings);
    let again = try_read(SITE, &[("DB_USER", "plant")], &[]).unwrap();
    assert_eq!(
        serde_json::to_string(&parsed.project).unwrap(),
        serde_json::to_string(&again.project).unwrap()
    );
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC*") {
        let _ = try_read(&text, &[], &[]);
    }

    #[test]
    fn a_damaged_file_is_read_or_refused(at in 0..SITE.len(), cut in 0..20_usize, put in "[-:{}\\[\\]#&*'\"$ a0\\n]{0,5}") {
        let (start, end) = (at, (at + cut).min(SITE.len()));
        let text = format!("{}{put}{}", &SITE[..start], &SITE[end..]);
        if let Err(error) = try_read(&text, &[("DB_USER", "plant")], &[]) {
            prop_assert!(!error.0.is_empty());
            let _ = error.to_string();
        }
    }

    #[test]
    fn values_of_any_type_anywhere_never_panic(key in prop::sample::select(vec![
        "ports", "volumes", "environment", "env_file", "depends_on", "healthcheck", "deploy", "networks", "configs",
        "secrets", "ulimits", "extra_hosts", "devices", "tmpfs", "logging", "command", "restart", "expose", "extends",
        "labels", "links", "sysctls", "image", "cpus", "mem_limit", "network_mode", "platform", "stop_grace_period",
    ]), value in "([\\[\\]{}a-c0-9:,/.\\- ]|target: |test: |type: bind|source: |'|null|true){0,20}") {
        let _ = try_read(&format!("services: {{ a: {{ image: a, {key}: {value} }} }}\n"), &[], &[]);
    }
}

#[test]
fn hints_do_not_lead_astray() {
    for (text, files, part, without) in [
        ("services: { a: { image: a, depends_on: [b] } }", vec![], "hint: add that service", "did you mean"),
        (
            "services: { a: { image: a, depends_on: [a1], }, }",
            vec![],
            "hint: add that service",
            "did you mean",
        ),
        ("services: { a: { image: a, extends: b } }", vec![], "hint: add that service there", "did you mean"),
        (
            "services: { a: { image: a, env_file: ../x.env } }",
            vec![],
            "names `../x.env`, which is not below the manifest's folder",
            "does not exist",
        ),
        (
            "services: { a: { image: a, configs: [c] } }\nconfigs: { c: { file: ../c } }\n",
            vec![],
            "names `../c`, which is not below the manifest's folder",
            "does not exist",
        ),
        (
            "services: { a: { extends: { file: b.yaml, service: b } } }",
            vec![("b.yaml", "services: { b: { image: b, volumes: ['data:/data'] } }\nvolumes: { data: }")],
            "declare it under the top-level `volumes` of compose.yaml",
            "zebra",
        ),
        ("services: { a: { image: a, scale: 3000 } }", vec![], "must lie between 1 and 100", "0 and"),
        (
            "services: { a: { image: a, ports: [{ target: '80-81', published: '1-3' }] } }",
            vec![],
            "the ranges 1-3 and 80-81 have different lengths",
            "127.0.0.1",
        ),
        ("services: { a: { image: {{ img }} } }", vec![], "name the file with `.j2`", "quotes"),
        (
            "services:\n{% for a in b %}\n  a: { image: b }\n{% endfor %}\n",
            vec![],
            "name the file with `.j2`",
            "quotes",
        ),
        (
            "services:\n  a:\n    image: @foo\n",
            vec![],
            "put quotes around a value that starts with `@`",
            "indented",
        ),
        ("services: { \"a\\nerror: x\": { image: a } }", vec![], "a", "\nerror"),
        (
            "services: { a: { image: a, \"x\\ny\": 1, labels: { \"a\\nb\": [] } } }",
            vec![],
            "unknown key",
            "\ny",
        ),
    ] {
        let error = try_read(text, &[], &files).expect_err(text).to_string();
        assert!(error.contains(part) && !error.contains(without), "{text}: {error}");
    }
}

#[test]
fn a_file_over_others_may_be_empty_and_has_no_manifest_beside_it() {
    let read = |over: &str| {
        let texts = [super::Text { file: "compose.yaml", text: "services: { gateway: { image: a } }" }];
        let over = super::Text { file: "override.yaml", text: over };
        super::parse_with_own(
            &texts,
            &super::Beside { over: Some(over), ..super::Beside::default() },
            &[("plant".to_owned(), "A".to_owned())].into(),
            &|_| None,
        )
    };
    for empty in ["", "\n", "# later\n\n  # more\n", "---\n"] {
        assert_eq!(read(empty).unwrap().project.services.len(), 1, "{empty:?}");
    }
    let error = read("services: { gatewy: { restart: always } }").unwrap_err().to_string();
    assert!(error.contains("override.yaml:1:13: no other file has the service `gatewy`"), "{error}");
    assert!(error.contains("did you mean `gateway`?") && !error.contains("has no `image`"), "{error}");
    let error = read("services: { gateway: { image: \"${NOPE}\" } }").unwrap_err().to_string();
    assert!(
        error.contains("write a default, like `${NAME:-default}`") && error.contains("${plant}"),
        "{error}"
    );
    assert!(!error.contains("manifest") && !error.contains(".env"), "{error}");
}

#[test]
fn a_value_without_its_variable_hides_nothing_and_is_told_once() {
    let text = "services:
  web:
    image: '${A:?}'
    imgae: x
    command: ['${A:?}']
    depends_on: ['${A:?}']
    networks: ['${A:?}']
    ports: ['${A:?}:80', { target: '${A:?}', published: 80 }]
    volumes: ['${A:?}:/x', { type: bind, source: '${A:?}', target: '${A:?}' }, '/ok:${A:?}']
    configs: ['${A:?}']
    secrets: [{ source: '${A:?}' }]
    env_file: ['${A:?}']
    environment: { X: '${A:?}' }
    restart: '${A:?}'
    mem_limit: '${A:?}'
    read_only: '${A:?}'
    healthcheck: { test: ['${A:?}'], interval: '${A:?}' }
    ulimits: { nofile: { soft: '${A:?}', hard: 9 } }
    deploy: { replicas: '${A:?}', resources: { limits: { cpus: '${A:?}' } } }
    logging: { driver: '${A:?}' }
    devices: ['${A:?}']
    extra_hosts: ['${A:?}']
    tmpfs: '${A:?}'
    platform: '${A:?}'
    stop_grace_period: '${A:?}'
  db: { image: db, prots: [] }
networks: { back: { driver: '${A:?}', ipam: { config: [{ subnet: '${A:?}' }] } } }
configs: { c: { file: '${A:?}' } }
";
    let mistakes = try_read(text, &[], &[]).unwrap_err();
    let (values, others): (Vec<_>, Vec<_>) =
        mistakes.0.iter().partition(|mistake| mistake.message.contains("`A` has no value"));
    assert_eq!(values.len(), text.matches("${A:?}").count(), "{mistakes}");
    let others: Vec<&str> = others.iter().map(|mistake| mistake.message.as_str()).collect();
    assert_eq!(others, ["unknown key `imgae` in service `web`", "unknown key `prots` in service `db`"]);
}
