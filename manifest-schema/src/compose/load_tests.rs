//! Several files as one project: override files, `extends` from elsewhere, `include`.

use super::model::{MountSource, Service};
use super::syntax_tests::{try_read, try_read_all};
use super::{FileUse, Parsed};
use proptest::prelude::*;

const MAIN: &str = "services:\n  web:\n    image: web:1\n    command: [a, b]\n    environment: { A: 1, B: 2 }\n    ports: ['80:80', '443:443']\n    dns: 10.0.0.1\n    volumes: ['data:/data', './conf:/etc/conf:ro']\n    labels: [x=1]\n    depends_on: [db]\n    logging: { driver: json-file, options: { max-size: 1m } }\n    healthcheck: { test: [CMD, a], interval: 5s }\n    cap_add: [NET_ADMIN]\n  db: { image: db:1 }\nvolumes: { data: }\n";

fn over(text: &str) -> Parsed {
    try_read_all(&[("compose.yaml", MAIN), ("site.yaml", text)], &[], &[])
        .unwrap_or_else(|error| panic!("{error}"))
}

fn web(parsed: &Parsed) -> &Service {
    &parsed.project.services[&"web".parse().unwrap()]
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn an_override_file_goes_over_the_first() {
    let parsed = over(
        "services:\n  web:\n    image: web:2\n    command: [c]\n    environment: [B=3, C=4]\n    ports: ['443:443', '8080:80']\n    dns: [10.0.0.2]\n    volumes: ['other:/data', './more:/more']\n    labels: { y: 2 }\n    depends_on: { cache: { condition: service_healthy } }\n    healthcheck: { test: [CMD, b] }\n    cap_add: [SYS_TIME, NET_ADMIN]\n  cache: { image: cache:1, healthcheck: { test: x } }\nvolumes: { other: }\n",
    );
    let web = web(&parsed);
    assert_eq!((web.image.as_str(), web.command.clone()), ("web:2", Some(words(&["c"]))));
    let environment: Vec<(&str, &str)> =
        web.environment.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(environment, [("A", "1"), ("B", "3"), ("C", "4")]);
    let ports: Vec<Option<u16>> = web.ports.iter().map(|port| port.published).collect();
    assert_eq!(ports, [Some(80), Some(443), Some(8080)]);
    assert_eq!(web.dns, ["10.0.0.1", "10.0.0.2"]);
    let mounts: Vec<(&str, bool)> = web
        .mounts
        .iter()
        .map(|m| (m.target.as_str(), m.source == MountSource::Volume("other".to_owned())))
        .collect();
    assert_eq!(mounts, [("/data", true), ("/etc/conf", false), ("/more", false)]);
    assert_eq!(web.labels.len(), 2);
    assert_eq!(web.depends_on.len(), 2);
    assert_eq!(web.cap_add, ["NET_ADMIN", "SYS_TIME"]);
    let Some(super::model::HealthCheck::Probe { test, interval, .. }) = &web.healthcheck else { panic!() };
    assert_eq!((test.clone(), interval.map(|i| i.as_secs())), (Some(words(&["CMD", "b"])), Some(5)));
}

#[test]
fn what_is_reset_is_gone_and_what_overrides_stands_alone() {
    let text = "services:\n  web:\n    ports: !override ['9000:80']\n    environment:\n      A: !reset null\n    dns: !reset []\n    logging: { driver: none }\n    healthcheck: !reset\n    depends_on:\n";
    let parsed = over(text);
    let web = web(&parsed);
    assert_eq!(web.ports.iter().map(|port| port.published).collect::<Vec<_>>(), [Some(9000)]);
    assert_eq!(web.environment.keys().collect::<Vec<_>>(), ["B"]);
    assert!(web.dns.is_empty() && web.healthcheck.is_none());
    let logging = web.logging.as_ref().unwrap();
    assert_eq!((logging.driver.as_deref(), logging.options.len()), (Some("none"), 0));
    assert_eq!(web.depends_on.len(), 1, "nothing says nothing");
    // In a file of its own there is nothing to go over.
    let alone = try_read(
        "services: { web: { image: a, dns: !reset [1.1.1.1], ports: !override ['1:1'] } }\n",
        &[],
        &[],
    )
    .unwrap();
    assert!(self::web(&alone).dns.is_empty() && self::web(&alone).ports.len() == 1);
}

#[test]
fn names_that_are_repeated_count_once() {
    let read = |base: &str, over: &str| {
        let texts = [
            format!("services: {{ web: {{ image: a, environment: {base} }} }}\n"),
            format!("services: {{ web: {{ environment: {over} }} }}\n"),
        ];
        let parsed =
            try_read_all(&[("compose.yaml", &texts[0]), ("over.yaml", &texts[1])], &[], &[]).unwrap();
        assert!(crate::yaml::parse("merged", &parsed.merged).is_ok(), "{}", parsed.merged);
        web(&parsed).environment["A"].clone()
    };
    assert_eq!(read("[A=1, A=2]", "[A=3]"), "3");
    assert_eq!(read("[A=0]", "[A=1, A=2]"), "2");
    assert_eq!(read("{ A: 0 }", "[A=1, A=2]"), "2");
}

#[test]
fn what_a_base_takes_away_does_not_come_back() {
    let text = "services:\n  only: { image: 'a:1', environment: !reset { X: '1' } }\n  web: { extends: only, environment: { Y: '2' } }\n";
    let parsed = try_read(text, &[], &[]).unwrap();
    assert_eq!(web(&parsed).environment.keys().collect::<Vec<_>>(), ["Y"]);
}

#[test]
fn one_place_of_a_container_holds_one_thing() {
    for keys in [
        "volumes: ['d:/t'], tmpfs: /t",
        "secrets: [s, { source: s, target: /run/secrets/s }]",
        "volumes: ['d:/run/secrets/s'], secrets: [s]",
        "configs: [{ source: c, target: /x }], volumes: ['d:/x']",
    ] {
        let text = format!(
            "services: {{ web: {{ image: a, {keys} }} }}\nvolumes: {{ d: }}\nsecrets: {{ s: {{ file: ./s }} }}\nconfigs: {{ c: {{ content: x }} }}\n"
        );
        let error = try_read(&text, &[], &[]).unwrap_err().to_string();
        assert!(error.contains("mounts two things at"), "{keys}: {error}");
    }
}

#[test]
fn mistakes_name_the_file_they_are_in() {
    let error = try_read_all(
        &[
            ("plant/compose.yaml", MAIN),
            ("plant/site.yaml", "services:\n  web:\n    imgae: x\n  api: { image: a, ports: ['80:1'] }\n"),
        ],
        &[],
        &[],
    )
    .unwrap_err()
    .to_string();
    assert_eq!(
        error,
        "plant/site.yaml:3:5: unknown key `imgae` in service `web`\n  3 |     imgae: x\n    |     ^\n  hint: did you mean `image`?\n\
         plant/site.yaml:4:28: port 80/tcp is published twice: by service `web` on line 6 of plant/compose.yaml and by service `api` on line 4\n  \
           4 |   api: { image: a, ports: ['80:1'] }\n    |                            ^\n  hint: give one of them another port on the host"
    );
}

#[test]
fn a_service_of_another_file_is_extended_and_its_paths_are_its_own() {
    let base = "services:\n  base:\n    image: base:${TAG}\n    env_file: base.env\n    volumes: ['./conf:/etc/conf:ro', '../shared:/shared:ro', 'data:/data']\n    extends: { file: ../more/root.yaml, service: root }\n";
    let root = "services:\n  root: { restart: always, env_file: [{ path: root.env, required: false }] }\n";
    let parsed = try_read(
        "services:\n  api: { extends: { file: ./common/base.yaml, service: base }, environment: { A: own } }\nvolumes: { data: }\n",
        &[("TAG", "7")],
        &[("common/base.yaml", base), ("more/root.yaml", root), ("common/base.env", "A=1\nB=2\n")],
    )
    .unwrap_or_else(|error| panic!("{error}"));
    let api = &parsed.project.services[&"api".parse().unwrap()];
    assert_eq!((api.image.as_str(), &api.restart), ("base:7", &super::model::Restart::Always));
    assert_eq!((api.environment["A"].as_str(), api.environment["B"].as_str()), ("own", "2"));
    let sources: Vec<&str> = api
        .mounts
        .iter()
        .filter_map(|mount| match &mount.source {
            MountSource::Bind { path, .. } => Some(path.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(sources, ["common/conf", "shared"]);
    let files: Vec<(&str, FileUse)> =
        parsed.files.iter().map(|file| (file.path.as_str(), file.kind)).collect();
    for expected in [
        ("common/base.yaml", FileUse::Compose),
        ("more/root.yaml", FileUse::Compose),
        ("common/base.env", FileUse::EnvFile),
        ("common/conf", FileUse::Bind),
    ] {
        assert!(files.contains(&expected), "{expected:?}: {files:?}");
    }
}

#[test]
fn an_included_project_has_its_own_folder_and_values() {
    let monitoring = "services:\n  watch:\n    image: watch:${TAG}\n    environment: [TAG, PLACE]\n    configs: [rules]\nconfigs: { rules: { file: ./rules.yml } }\nnetworks: { inner: }\n";
    let files = [
        ("monitoring/compose.yaml", monitoring),
        ("monitoring/.env", "TAG=7\nPLACE=hall\n"),
        ("extra.yaml", "services: { watch: { image: watch:9 } }\n"),
    ];
    let read = |include: &str, env: &[(&str, &str)]| {
        try_read(
            &format!("include: [{include}]\nservices: {{ web: {{ image: a, depends_on: [watch] }} }}\n"),
            env,
            &files,
        )
    };
    let watch = |parsed: &Parsed| parsed.project.services[&"watch".parse().unwrap()].clone();
    let parsed = read("monitoring/compose.yaml", &[]).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(watch(&parsed).image, "watch:7");
    assert_eq!(watch(&parsed).environment["PLACE"], "hall");
    let files_read: Vec<&str> = parsed.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(files_read, ["monitoring/.env", "monitoring/compose.yaml", "monitoring/rules.yml"]);
    // The project's own values win.
    assert_eq!(watch(&read("monitoring/compose.yaml", &[("TAG", "8")]).unwrap()).image, "watch:8");
    // Several paths of one entry are merged.
    let merged = read("{ path: [monitoring/compose.yaml, extra.yaml] }", &[]).unwrap();
    assert_eq!(watch(&merged).image, "watch:9");
    // The same twice is the same.
    assert!(read("monitoring/compose.yaml, monitoring/compose.yaml", &[]).is_ok());
    // Another one of the same name is not.
    let error = read("monitoring/compose.yaml, { path: extra.yaml }", &[]).unwrap_err().to_string();
    assert!(error.contains("monitoring/compose.yaml:2:3: service `watch` is also in an included file, on line 1 of extra.yaml"), "{error}");
}

#[test]
fn what_cannot_be_read_is_told_with_its_place() {
    let files = [
        ("a.yaml", "include: [b.yaml]\nservices: { x: { image: x } }\n"),
        ("b.yaml", "include: [a.yaml]\n"),
        ("empty.yaml", ""),
        ("bad.yaml", "services: {\n"),
        ("list.yaml", "- a\n"),
        ("typo.yaml", "servces: { y: { image: y } }\n"),
        ("c.yaml", "services:\n  p: { extends: { service: q } }\n  q: { extends: { service: p } }\n"),
    ];
    for (text, expected) in [
        (
            "include: [a.yaml]\n",
            "b.yaml:1:11: `a.yaml` includes itself: compose.yaml → a.yaml → b.yaml → a.yaml",
        ),
        ("include: [gone.yaml]\n", "compose.yaml:1:11: `include` names `gone.yaml`, which does not exist"),
        ("include: [../up.yaml]\n", "`include` names `../up.yaml`, which is not below the manifest's folder"),
        ("include: [/etc/passwd]\n", "`include` names `/etc/passwd`, which is not below"),
        ("include: ['https://example.com/c.yaml']\n", "would be fetched from elsewhere"),
        ("include: [empty.yaml]\n", "empty.yaml: the Compose file is empty"),
        ("include: [list.yaml]\n", "list.yaml:1:1: expected a map for the Compose file, found a list"),
        ("include: [typo.yaml]\n", "typo.yaml:1:1: unknown key `servces` in the Compose file"),
        ("include: [bad.yaml]\n", "bad.yaml:1:"),
        ("include: [{ paht: a.yaml }]\n", "unknown key `paht` in `include`"),
        ("include: [{ env_file: a.env }]\n", "`include` names no file"),
        (
            "services: { x: { extends: { file: c.yaml, service: p } } }\n",
            "c.yaml:3:17: services extend each other in a circle: p → q → p",
        ),
        (
            "services: { x: { extends: { file: c.yaml, service: pp } } }\n",
            "service `pp` does not exist in c.yaml",
        ),
        ("services: { x: { extends: { file: c.yaml } } }\n", "`extends` names no service"),
        ("services: { x: { extends: { srvice: c } } }\n", "unknown key `srvice` in `extends`"),
    ] {
        let error = try_read(text, &[], &files).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn values_that_double_from_file_to_file_are_bounded() {
    let value = "x".repeat(1 << 20);
    let files: Vec<(String, String)> = (0..60)
        .map(|n| {
            (
                format!("f{n}.yaml"),
                format!("services: {{ s{n}: {{ image: a, environment: [A=$A, B=$A, C=$A] }} }}\n"),
            )
        })
        .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let include: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
    let text = format!("include: [{}]\n", include.join(", "));
    let error = try_read(&text, &[("A", &value)], &files).unwrap_err().to_string();
    assert!(
        error.contains("interpolation makes more than") || error.contains("bytes"),
        "{}",
        &error[..500.min(error.len())]
    );
}

proptest! {
    #[test]
    fn any_override_never_panics(text in "(services|web|ports|volumes|dns|logging|driver|depends_on|!reset|!override|[:\\[\\]{}a-c0-9,'\\n -]){0,30}") {
        let _ = try_read_all(&[("compose.yaml", MAIN), ("site.yaml", &text)], &[], &[]);
    }

    #[test]
    fn any_path_never_leaves_the_folder(path in "[a./:~-]{0,12}") {
        let asked = std::cell::RefCell::new(Vec::new());
        let load = |path: &str| { asked.borrow_mut().push(path.to_owned()); None };
        let text = format!("include: ['{path}']\nservices: {{ a: {{ image: a, extends: {{ file: '{path}', service: b }} }} }}\n");
        let _ = super::parse(&[super::Text { file: "compose.yaml", text: &text }], &Default::default(), &load);
        for path in asked.into_inner() {
            prop_assert!(path.parse::<crate::BundlePath>().is_ok(), "{path}");
        }
    }
}

#[test]
fn what_people_write_for_their_own_machines_works_too() {
    let text = "services:\n  web: { build: ., links: ['db:store'], networks: [front] }\n  db: { image: db, networks: [front] }\nnetworks: { front: }\n";
    let parsed =
        try_read(text, &[("COMPOSE_PROJECT_NAME", "shop")], &[]).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(web(&parsed).image, "shop-web");
    let db = &parsed.project.services[&"db".parse().unwrap()];
    assert_eq!(db.networks["front"].aliases, ["store"]);
    let warnings: Vec<&str> = parsed.warnings.iter().map(|warning| warning.message.as_str()).collect();
    assert_eq!(
        warnings,
        ["`build` is not run here: the image `shop-web` has to be there", "`links` is read as `depends_on`"]
    );
}
