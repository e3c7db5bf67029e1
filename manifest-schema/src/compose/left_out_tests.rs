//! Services that are not started, and files that are not carried because of it.

use super::syntax_tests::{read, read_with, try_read};

fn names(parsed: &super::Parsed) -> Vec<&str> {
    parsed.project.services.keys().map(|name| name.as_str()).collect()
}

fn files(parsed: &super::Parsed) -> Vec<&str> {
    parsed.files.iter().map(|file| file.path.as_str()).collect()
}

fn warnings(parsed: &super::Parsed) -> Vec<&str> {
    parsed.warnings.iter().map(|warning| warning.message.as_str()).collect()
}

#[test]
fn services_with_profiles_are_left_out_unless_needed() {
    let text = "services:\n  web: { image: a, depends_on: [db] }\n  db: { image: b, profiles: [data] }\n  tool: { image: c, profiles: [debug] }\n";
    let parsed = read(text);
    assert_eq!(parsed.left_out.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["tool"]);
    assert_eq!(names(&parsed), ["db", "web"]);
    assert!(parsed.project.clone().leave_out_profiles(&[]).is_empty());
}

#[test]
fn what_only_they_need_is_not_carried() {
    let text = "services:
  web: { image: a, env_file: web.env, volumes: ['./www:/www', './both:/b'], configs: [used], secrets: [used] }
  tool: { image: c, profiles: [debug], env_file: tool.env, volumes: ['./dump:/dump', './both:/b'], configs: [tool], secrets: [tool] }
configs: { used: { file: used.conf }, tool: { file: tool.conf }, idle: { file: idle.conf } }
secrets: { used: { file: used.key }, tool: { file: tool.key }, idle: { file: idle.key } }
";
    let parsed = read_with(text, &[], &[("web.env", "A=1\n"), ("tool.env", "B=1\n")]);
    let mut carried = files(&parsed);
    carried.sort_unstable();
    assert_eq!(carried, ["both", "used.conf", "used.key", "web.env", "www"]);
    assert_eq!(parsed.project.configs.keys().collect::<Vec<_>>(), ["used"]);
    assert_eq!(parsed.project.secrets.keys().collect::<Vec<_>>(), ["used"]);
    assert_eq!(
        warnings(&parsed),
        [
            "no service that is started uses the config `tool`; it is left out",
            "no service that is started uses the config `idle`; it is left out",
            "no service that is started uses the secret `tool`; it is left out",
            "no service that is started uses the secret `idle`; it is left out",
        ]
    );
    // Its env file is not asked for, neither here nor on site.
    assert!(try_read(text, &[], &[("web.env", "A=1\n")]).is_ok());
    assert!(try_read(text, &[], &[("tool.env", "A=1\n")]).is_err());
}

#[test]
fn the_network_of_services_that_are_left_out_is_not_made() {
    let parsed =
        read("services: { a: { image: a, network_mode: host }, b: { image: b, profiles: [debug] } }\n");
    assert!(parsed.project.networks.is_empty());
}

#[test]
fn an_optional_dependency_does_not_start_anything() {
    let text = "services:
  web: { image: a, depends_on: { tool: { condition: service_healthy, required: false }, gone: { condition: service_started, required: false }, db: { condition: service_started, required: false } } }
  db: { image: b }
  tool: { image: c, profiles: [debug] }
";
    let parsed = read(text);
    assert_eq!(names(&parsed), ["db", "web"]);
    let web = &parsed.project.services[&"web".parse().unwrap()];
    assert_eq!(web.depends_on.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["db"]);
    assert_eq!(
        warnings(&parsed),
        [
            "service `web` starts without `tool`, which has profiles and is left out",
            "service `web` would wait for `gone`, which does not exist; it starts without it",
        ]
    );
}

#[test]
fn whoever_lives_in_the_network_of_another_needs_it() {
    for keys in [
        "network_mode: 'service:vpn', depends_on: { vpn: { condition: service_started, required: false } }",
        "depends_on: { vpn: { condition: service_started, required: false } }, network_mode: 'service:vpn'",
    ] {
        let parsed = read(&format!(
            "services: {{ web: {{ image: a, {keys} }}, vpn: {{ image: b, profiles: [x] }} }}\n"
        ));
        assert_eq!(names(&parsed), ["vpn", "web"], "{keys}");
    }
}
