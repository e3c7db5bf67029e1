//! Folders as 0.1.0 has left them on a host, put onto another one whose engine is empty.

use super::{Site, USUAL_SOCKET};
use fixtures::golden;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tests::host::Host;

/// A host whose engine is empty, with this folder.
fn restored(name: &str, folder: &str) -> Site {
    let site = Site { usual_socket: true, ..Site::new(name) };
    golden::host(folder, &site.host.root).unwrap();
    site
}

/// The JSON of a file in a golden host folder.
fn golden_json(folder: &str, path: &str) -> Value {
    serde_json::from_slice(&golden::host_file(folder, path).unwrap()).unwrap()
}

/// Every member of `golden` is in `value`, with the same value.
#[track_caller]
fn assert_holds(value: &Value, golden: &Value) {
    for (key, wanted) in golden.as_object().unwrap() {
        assert_eq!(&value[key], wanted, "{key}");
    }
}

/// Names and labels of all containers, networks or volumes of the site, as labels.json has them.
fn labels(host: &Host, kind: &str) -> BTreeMap<String, Value> {
    let listed = match kind {
        "container" => host.docker_text(&["ps", "--all", "--quiet"]),
        _ => host.docker_text(&[kind, "ls", "--quiet", "--filter", "label=com.docker.compose.project=plain"]),
    };
    let mut arguments = vec![kind, "inspect"];
    arguments.extend(listed.lines());
    let found: Vec<Value> = serde_json::from_str(&host.docker_text(&arguments)).unwrap();
    let labels = |one: &Value| if kind == "container" { &one["Config"] } else { one }["Labels"].clone();
    let name = |one: &Value| one["Name"].as_str().unwrap().trim_start_matches('/').to_owned();
    found.iter().map(|one| (name(one), labels(one))).collect()
}

/// Labels that are other ones after every attempt, or in another program.
const OF_THE_ATTEMPT: [&str; 3] = ["io.ferry.attempt", "io.ferry.folder", "com.docker.compose.version"];

/// Labels that say or cover the image's ID. Graph drivers name an image by its configuration, as in the golden folder;
/// the containerd store by a manifest.
const OF_THE_IMAGE: [&str; 2] = ["com.docker.compose.image", "com.docker.compose.config-hash"];

#[test]
fn a_folder_of_0_1_0_and_its_bundle_make_the_same_site_with_the_same_labels() {
    let site = restored("golden-host", "host.tar");
    let (state, values) =
        (golden_json("host.tar", "plain/state.json"), golden_json("host.tar", "plain/values.json"));
    let status = site.status();
    assert_holds(&status["current"], &state["current"]);
    assert_eq!(status["interrupted"], Value::Null);
    assert_eq!(status["missing"], json!(["db", "prepare", "web", "worker", "worker/2"]));

    // The folder says which engine it is of.
    let other = site.host.run(&["--no-input", &site.bundle("plain.fz")]).exits(7);
    let _ = other.says(&format!("it is installed on the engine at {USUAL_SOCKET}"));

    // Trust and answers come from the folder.
    let _ = site.install("plain.fz");
    assert_eq!(site.password(), values["db_password"].as_str().unwrap());
    let conf = String::from_utf8(
        golden::host_file("host.tar", &format!("plain/releases/{}/config/site.conf", folder(&state)))
            .unwrap(),
    );
    assert_eq!(site.shows("web", "/etc/site.conf"), conf.unwrap().trim_end());
    assert_eq!(site.shows("web", "/uploads/log"), "start\nstart", "the site's own data is in the folder");

    let text = std::fs::read_to_string(golden::v1().join("labels.json")).unwrap();
    let golden: BTreeMap<String, BTreeMap<String, BTreeMap<String, String>>> =
        serde_json::from_str(&text).unwrap();
    let root = site.host.root.to_str().unwrap();
    let driver = site.host.docker_text(&["info", "--format", "{{.DriverStatus}}"]);
    let other_ids = driver.contains("io.containerd.snapshotter");
    for (kind, things) in &golden {
        let found = labels(&site.host, kind.trim_end_matches('s'));
        assert_eq!(found.keys().collect::<Vec<_>>(), things.keys().collect::<Vec<_>>());
        for (name, wanted) in things {
            for (label, wanted) in wanted {
                let value = found[name][label].as_str().unwrap_or_else(|| panic!("{name} lacks {label}"));
                // The hash of a service with a folder of the site's own covers where Ferry's folder is.
                let covers_root = name == "plain-web-1" && label == "com.docker.compose.config-hash";
                let covers_id = other_ids && OF_THE_IMAGE.contains(&label.as_str());
                if !OF_THE_ATTEMPT.contains(&label.as_str()) && !covers_root && !covers_id {
                    let wanted = wanted.replace("/var/lib/ferry", root);
                    assert_eq!(value, wanted, "{label} of {name}");
                }
            }
        }
    }
}

/// The name of the folder of the release that runs.
fn folder(state: &Value) -> &str {
    state["current"]["folder"].as_str().unwrap()
}

#[test]
fn a_folder_that_0_1_0_has_reconfigured_keeps_answers_and_the_sites_own_compose_file() {
    let site = restored("golden-own", "host-reconfigured.tar");
    assert_holds(
        &site.status()["current"],
        &golden_json("host-reconfigured.tar", "plain/state.json")["current"],
    );
    let _ = site.install("plain.fz");
    let values = golden_json("host-reconfigured.tar", "plain/values.json");
    assert_eq!(site.password(), values["db_password"].as_str().unwrap());
    assert!(site.shows("web", "/etc/site.conf").starts_with("site South-8\ntls true\nlevel 5\n"));
    assert_eq!(site.environment("worker", "PLACE"), "hall");
}

#[test]
fn a_folder_in_the_middle_of_an_upgrade_says_so_and_the_upgrade_is_finished() {
    let site = restored("golden-middle", "host-switching.tar");
    let state = golden_json("host-switching.tar", "plain/state.json");
    let status = site.status();
    assert_holds(&status["current"], &state["current"]);
    assert_eq!(status["interrupted"], state["attempt"]["release"]);
    let _ = site.install("plain-2.fz");
    let values = golden_json("host-switching.tar", "plain/values.new.json");
    assert_eq!(site.password(), values["db_password"].as_str().unwrap());
    assert!(site.shows("web", "/etc/site.conf").starts_with("site South-8\ntls true\n"));
    assert_eq!(site.shows("web", "/page.txt"), "page of web 2.0.0");
    let _ = site.run(&["status", "--json"]).succeeds().says("\"interrupted\": null");
}

#[test]
fn a_folder_with_a_release_before_is_read_and_that_release_can_be_installed() {
    let site = restored("golden-before", "host-upgraded.tar");
    let state = golden_json("host-upgraded.tar", "plain/state.json");
    assert_holds(&site.status()["current"], &state["current"]);
    let _ = site.install("plain-2.fz");
    let password = site.password();
    let values = golden_json("host-upgraded.tar", "plain/values.json");
    assert_eq!(password, values["db_password"].as_str().unwrap());
    let _ = site.step_back("plain.fz");
    assert_eq!(site.shows("web", "/page.txt"), "page of web 1.0.0");
    assert_eq!(site.password(), password);
    let left = site.run(&["uninstall", "--yes", "--volumes"]).succeeds();
    assert_eq!(site.host.containers(), [""; 0]);
    let own = site.host.root.join("plain/override.yaml");
    assert!(own.is_file(), "the site's own Compose file is nobody's to remove\n{left}");
}
