//! Keys of services, forms of their values, and where mistakes lead.

use crate::{meter, read, refused, taken};
use manifest_schema::compose;
use serde_json::{Value, json};

#[test]
fn empty_is_absent() {
    let text = meter(
        "platform: ${P:-}\nrestart: \"${P:-}\"\nnetwork_mode: \"${P:-}\"\nipc: ''\npid: ''\nuts: ''\ncgroup: ''\ncontainer_name: ''\n\
         dns: \"${P:-}\"\ndns_search: ['']\ntmpfs: ''\nmac_address: ''\nmem_limit: ''\ncpus: ''\npids_limit: ''\nprivileged: ''\ninit: ''\n\
         stop_grace_period: ''\nshm_size: ''\nscale: ''\nports: [\"${P:-}:8443:443\", '', { target: 80, host_ip: '', published: '' }]\n\
         networks: { default: { ipv4_address: '', ipv6_address: '', mac_address: '' } }\nhealthcheck: { interval: '' }",
    );
    let plain =
        serde_json::to_value(read("", &meter("tty: false")).unwrap().project.services.values().next())
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
    refused("dots", "", &meter("volumes: [\"./a/..:/a\"]"), &[("the whole folder of the Compose file", 1)]);
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
            (".meter.resources.device_requests.0.device_ids", json!(["acme.com/npu=all", "acme.com/npu=1"])),
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
    taken("twice", "", &twice, &[(".meter.ports.1", Value::Null), (".meter.ports.0.published", json!(9100))]);
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
        let text =
            meter(&format!("{section}: [site]")) + &format!("{section}:\n  site: {{ file: ~/site.toml }}\n");
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
        &[("`provider` is not supported", 1), ("has no `image`", 0), ("run the service from an image", 1)],
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
