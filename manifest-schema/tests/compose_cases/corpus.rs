//! Findings in real files of public repositories, each smallest.

use crate::{meter, of, read, refused, taken};
use serde_json::json;

#[test]
fn a_name_without_a_value_is_taken_from_the_image() {
    let text = meter("environment: [A, B=1, C, B]\nenv_file: a.env") + "==> .env\nC=3\n==> a.env\nA=1\nD=2\n";
    taken(
        "list",
        "",
        &text,
        &[(".meter.environment", json!({ "C": "3", "D": "2" })), (".meter.without", json!(["A", "B"]))],
    );
    taken("map", "", &meter("environment: { A: , B: 1 }"), &[(".meter.without", json!(["A"]))]);
}

#[test]
fn numbers_are_what_docker_compose_makes_of_them() {
    let labels = "labels: { a: 1e6, b: 100000000.0, c: 123456789.5, d: 12345678901234567890, e: 999999.5, f: 100000000 }";
    taken(
        "numbers",
        "",
        &meter(labels),
        &[(
            ".meter.labels",
            json!({ "a": "1e+06", "b": "1e+08", "c": "1.234567895e+08", "d": "12345678901234567890", "e": "999999.5", "f": "100000000" }),
        )],
    );
}

#[test]
fn a_restart_policy_without_its_condition() {
    for policy in ["{ delay: 5s }", "{}", "{ condition: \"\" }"] {
        let text = meter(&format!("restart: always\ndeploy: {{ restart_policy: {policy} }}"));
        taken(
            policy,
            "",
            &text,
            &[(".meter.restart", json!("no")), (".warnings", json!("~has no `condition`"))],
        );
    }
    let text = meter("deploy: { restart_policy: { condition: any, max_attempts: 3 } }");
    let said = of(&read("", &text).unwrap());
    assert!(said["warnings"].to_string().contains("`max_attempts` counts only with"), "{said}");
}

#[test]
fn a_block_text_ends_as_the_file_does() {
    for style in ["|", "|+", ">"] {
        let text =
            format!("services:\n  meter:\n    image: i:1\n    environment:\n      A: {style}\n        x y");
        taken(style, "", &text, &[(".meter.environment.A", json!("x y"))]);
        let whole = read("", &(text.clone() + "\n")).unwrap();
        assert_eq!(
            (of(&whole)["services"]["meter"]["environment"]["A"].clone(), whole.level),
            (json!("x y\n"), 1)
        );
        // Another value behind it.
        let other = read(
            "",
            &(text.replace("    environment", "    hostname: h\n    environment") + "\n    tty: true"),
        )
        .unwrap();
        assert_eq!(
            (of(&other)["services"]["meter"]["environment"]["A"].clone(), other.level),
            (json!("x y\n"), 1)
        );
    }
    let stripped =
        read("", "services:\n  meter:\n    image: i:1\n    environment:\n      A: |-\n        x").unwrap();
    assert_eq!(
        (of(&stripped)["services"]["meter"]["environment"]["A"].clone(), stripped.level),
        (json!("x"), 1)
    );
}

#[test]
fn what_does_not_start_and_what_is_not_used_may_be_anything() {
    let idle = "  b:\n    image: \"${NONE}\"\n    profiles: [later]\n    volumes: [\"../../x:/x\", \"~/y:/y\"]\n    env_file: ../../x.env\n    networks: [o]\n";
    let unused = "networks: { o: { driver: overlay }, p: { enable_ipv4: \"${X:-perhaps}\" } }\nvolumes: { v: { driver_opts: { o: bind, device: \"$PWD/d\", type: none } } }\n\
                  secrets: { s: { file: ~/x }, t: { environment: NOPE } }\nconfigs: { c: { file: ../../x }, d: { template_driver: golang, file: x } }\n";
    let text = meter("networks: [default]") + idle + unused;
    taken(
        "idle",
        "",
        &text,
        &[
            (".networks.o", json!(null)),
            (".volumes", json!({})),
            (".secrets", json!({})),
            (".configs", json!({})),
        ],
    );
    // Used, each is a mistake.
    let used = meter("networks: [o]\nsecrets: [s]\nconfigs: [c]") + unused;
    refused(
        "used",
        "",
        &used,
        &[("needs Swarm", 1), ("`~/x`", 1), ("`../../x`, which is not below the manifest's folder", 1)],
    );
}

#[test]
fn variables_in_what_is_ignored_are_none() {
    let text = meter(
        "build: { context: ., args: { GITHUB_TOKEN: \"${GITHUB_TOKEN}\" }, dockerfile: \"$PWD/D\" }\nannotations: { u: \"$USER\" }\n\
                      deploy: { labels: { h: \"${HOSTNAME}\" }, placement: { constraints: [\"node.id == ${NODE}\"] } }",
    ) + "name: ${USER}\n";
    let parsed = read("", &text).unwrap();
    assert!(parsed.unset.is_empty(), "{:?}", parsed.unset);
}

#[test]
fn words_that_only_look_secret() {
    for name in ["BASIC_AUTH_CREDENTIALS_SOURCE", "IDP_TOKEN_ENDPOINT", "TOKENIZER"] {
        let _ = read("", &meter(&format!("environment: {{ {name}: \"${{{name}}}\" }}"))).unwrap();
    }
}

#[test]
fn entries_with_nothing_in_them() {
    let text = meter(
        "environment: [\"${EXTRA:-}\", A=1]\ndevices: [{ source: /dev/a, permissions: \"\" }]\nhealthcheck: { test: [] }\n\
                      volumes: [{ type: volume, source: \"\", target: /x }]",
    );
    taken(
        "empty",
        "",
        &text,
        &[
            (".meter.environment", json!({ "A": "1" })),
            (".meter.devices", json!([["/dev/a", "/dev/a", "rwm"]])),
            (".meter.mounts.0.source", json!("anonymous")),
        ],
    );
    refused("drive", "", &meter("volumes: [\"C:/x:/x\"]"), &[("`C:/x:/x` is a path of Windows", 1)]);
}

#[test]
fn a_path_is_called_as_it_is_written() {
    let text = meter("volumes: [\"../deployment/map:/m\", \"../deployment/map/a:/a:ro\"]");
    refused(
        "above",
        "deploy",
        &text,
        &[("mounts `../deployment/map/a` below `../deployment/map`", 1), (".above", 0)],
    );
    refused("whole", "deploy", &meter("volumes: [\"..:/w\"]"), &[("the whole folder of the manifest", 1)]);
}

#[test]
fn names_are_not_filled_in_with_a_warning() {
    let parsed = read("", &meter("environment: { \"${K:-k}\": v, \"$$K\": v }")).unwrap();
    assert_eq!(parsed.warnings.len(), 1, "{:?}", parsed.warnings);
    assert!(parsed.warnings[0].message.contains("`${K:-k}` stays as it is"));
}

/// The meaning that an older build gave to a text stays on the hosts that have its bundle.
#[test]
fn a_text_of_level_1_keeps_its_meaning() {
    let text = meter(
        "restart: always\nscale: 2\nmem_limit: 512m\nenvironment: [TERM, A=1]\nlabels: { n: 010 }\nvolumes: [\"./d:/d:Z\"]\nsecurity_opt: [\"seccomp=/etc/p.json\"]\n\
         env_file: a.env\ndeploy:\n  replicas: 3\n  resources: { limits: { memory: 256m } }\n  restart_policy: { condition: on-failure }",
    ) + "  other:\n    image: i:1\n    deploy: { restart_policy: { delay: 5s } }\n    mem_limit: 0\n==> a.env\nPIN=#12\nT=a\t# b\n";
    let files = text.split_once("==> a.env\n").unwrap();
    let load = |path: &str| (path == "a.env").then(|| files.1.as_bytes().to_vec());
    let read = |level: u8| {
        let texts = [manifest_schema::compose::Text { file: "compose.yaml", text: files.0 }];
        let beside = manifest_schema::compose::Beside { level, ..Default::default() };
        manifest_schema::compose::parse_with_own(&texts, &beside, &Default::default(), &load)
    };
    let newest = read(2).unwrap_err().to_string();
    assert!(newest.contains("`mem_limit` and") && newest.contains("`scale` and"), "{newest}");
    let old = of(&read(1).unwrap());
    let (meter, other) = (&old["services"]["meter"], &old["services"]["other"]);
    assert_eq!(meter["restart"], "always");
    assert_eq!(other["restart"], "always");
    assert_eq!(
        (&old["replicas"]["meter"], &meter["resources"]["memory_bytes"]),
        (&json!(3), &json!(256 << 20))
    );
    assert_eq!(meter["environment"], json!({ "A": "1", "PIN": "", "T": "a" }));
    assert_eq!((&meter["labels"], &meter["without"]), (&json!({ "n": "010" }), &json!(null)));
    assert_eq!(
        (&meter["security_opt"], &meter["mounts"][0]["selinux"]),
        (&json!(["seccomp=/etc/p.json"]), &json!(null))
    );
}

#[test]
fn each_entry_alone_needs_the_level() {
    for keys in [
        "devices: [{ source: /dev/a, permissions: \"\" }]",
        "healthcheck: { test: [] }",
        "deploy: { mode: \"\" }",
        "volumes: [{ type: volume, source: \"\", target: /x }]",
        "environment: [\"${EXTRA:-}\"]",
        "deploy: { resources: { limits: { memory: 1g } } }\nmem_limit: 0",
        "mem_limit: 1g\ndeploy: { resources: { limits: { memory: 0 } } }",
    ] {
        let level = read("", &meter(keys)).unwrap_or_else(|error| panic!("{keys}: {error}")).level;
        assert_eq!(level, 2, "{keys}");
    }
    refused(
        "nothing",
        "",
        &(meter("volumes: [\"${DATA}:/d\"]") + "==> .env\nDATA=\n"),
        &[("`:/d` has no source", 1)],
    );
}
