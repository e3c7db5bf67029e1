//! One bundle, many sites: several Compose files, templates, answers, secrets and what the host provides.

use crate::PORT;
use fixtures::small_site::SmallSite;
use std::fs;
use std::path::Path;
use std::process::Command;
use tests::bundle::{self, Built};
use tests::host::Host;
use tests::outcome::Outcome;
use tests::programs;

/// A release that looks different on each site.
fn release(folder: &Path) -> Built {
    bundle::changed(folder, &SmallSite::default(), |site| {
        let manifest = site.join("ferry.yaml");
        bundle::replace(
            &manifest,
            "compose: compose.yaml\n",
            "compose: [compose.yaml.j2, production.yaml]\n",
        );
        bundle::replace(
            &manifest,
            "variables:\n",
            "variables:\n  cameras: { type: list, default: [] }\n  web_port: { type: port, default: 18080 }\n  \
             tls: { type: bool, default: false }\n  cert: { type: path, when: tls }\n  \
             db_password: { type: secret, generate: 24 }\n",
        );
        fs::rename(site.join("compose.yaml"), site.join("compose.yaml.j2")).unwrap();
        let compose = site.join("compose.yaml.j2");
        bundle::replace(&compose, "127.0.0.1:18080:8080", "127.0.0.1:${web_port}:8080");
        bundle::replace(
            &compose,
            "volumes:\n  ticks:\n",
            "{% for camera in cameras %}\n  cam-{{ camera }}:\n    extends: { file: common/base.yaml, service: worker }\n    \
             environment: { CAMERA: '{{ camera }}' }\n{% endfor %}\nvolumes:\n  ticks:\n\
             secrets:\n  db_password: { environment: db_password }\n  licence: { external: true }\n\
             include: [monitoring/compose.yaml]\n",
        );
        fs::write(
            site.join("production.yaml"),
            "services:\n  front:\n    secrets: [db_password, { source: licence, mode: 0400 }]\n    environment: { STAGE: production }\n",
        )
        .unwrap();
        fs::create_dir_all(site.join("common")).unwrap();
        fs::write(
            site.join("common/base.yaml"),
            "services:\n  worker:\n    image: small/ticker:1\n    env_file: worker.env\n    restart: unless-stopped\n    \
             stop_grace_period: 1s\n    deploy: { replicas: 2 }\n",
        )
        .unwrap();
        fs::write(site.join("common/worker.env"), "MODE=worker\n").unwrap();
        fs::create_dir_all(site.join("monitoring")).unwrap();
        fs::write(
            site.join("monitoring/compose.yaml"),
            "services:\n  watch:\n    image: small/ticker:1\n    environment: { PLACE: '${PLACE}' }\n    \
             volumes: ['./rules.txt:/rules.txt:ro']\n    stop_grace_period: 1s\n    \
             post_start: [{ command: [/bin/sh, -c, 'echo started > /data/hook'] }]\n",
        )
        .unwrap();
        fs::write(site.join("monitoring/.env"), "PLACE=hall\n").unwrap();
        fs::write(site.join("monitoring/rules.txt"), "rule one\n").unwrap();
        fs::create_dir_all(site.join("macros")).unwrap();
        fs::write(site.join("macros/greet.j2"), "{% macro greet(name) %}site {{ name }}{% endmacro %}")
            .unwrap();
        fs::write(
            site.join("templates/banner.txt.j2"),
            "{% from 'macros/greet.j2' import greet %}{{ greet(site_name) }} on {{ ferry.hostname }}\n",
        )
        .unwrap();
        fs::create_dir_all(site.join("sites")).unwrap();
        fs::write(site.join("sites/north.yaml"), "site_name: north\ncameras: [gate, roof]\n").unwrap();
    })
}

fn ferry(arguments: &[&str]) -> Outcome {
    let mut command = Command::new(programs::ferry());
    programs::plain_environment(&mut command);
    Outcome::of(command.args(arguments))
}

#[test]
fn a_site_gets_exactly_what_render_shows() {
    let folder = tempfile::tempdir().unwrap();
    let built = release(folder.path());
    let host = Host::docker("many-sites");
    let [trust, fingerprint] = built.trust();

    // What only the host has is asked for before anything is changed.
    let missing = host.run(&[trust, fingerprint, "--set", "tls=true", built.path()]).exits(3);
    let _ = missing.says("`cert` has no value");
    let missing = host.run(&[trust, fingerprint, built.path()]).exits(3);
    let _ =
        missing.says("the external secret `licence` is not on this host").says("external/secrets/licence");
    assert!(host.containers().is_empty());
    let secrets = host.root.join("small/external/secrets");
    fs::create_dir_all(&secrets).unwrap();
    fs::write(secrets.join("licence"), "L-42\n").unwrap();

    let values = built.site.join("sites/north.yaml");
    let values = values.to_str().unwrap();
    let _ = host.run(&[trust, fingerprint, "--values", values, built.path()]).succeeds();
    assert_eq!(
        host.containers(),
        [
            "small-cam-gate-1 running",
            "small-cam-gate-2 running",
            "small-cam-roof-1 running",
            "small-cam-roof-2 running",
            "small-front-1 running",
            "small-ticker-1 running",
            "small-watch-1 running"
        ]
    );
    let inside = |name: &str, command: &str| host.docker_text(&["exec", name, "/bin/sh", "-c", command]);
    assert_eq!(inside("small-cam-roof-2", "echo $CAMERA $MODE"), "roof worker");
    assert_eq!(inside("small-watch-1", "echo $PLACE; cat /rules.txt /data/hook"), "hall\nrule one\nstarted");
    assert_eq!(inside("small-front-1", "echo $STAGE; cat /run/secrets/licence"), "production\nL-42");
    let password = inside("small-front-1", "cat /run/secrets/db_password");
    assert_eq!(password.len(), 24);
    assert!(!host.docker_text(&["inspect", "small-front-1"]).contains(&password));

    // The same files, to the byte.
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let out = folder.path().join("rendered");
    let (site, out) = (built.site.to_str().unwrap(), out.to_str().unwrap());
    let _ = ferry(&["render", site, "--values", values, "--hostname", &hostname, "-o", out])
        .succeeds()
        .says("wrote 2 files");
    for file in ["compose.yaml", "config/banner.txt"] {
        let installed = fs::read_to_string(host.root.join("small/current").join(file)).unwrap();
        assert_eq!(fs::read_to_string(Path::new(out).join(file)).unwrap(), installed, "{file}");
    }
    assert!(inside("small-front-1", "cat /www/banner.txt").starts_with("site north on "));

    // Other answers: only what they touch is replaced.
    let before = host.id("small", "ticker");
    let _ = host.run(&["--set", "cameras=gate", built.path()]).succeeds();
    assert_eq!(host.containers().iter().filter(|name| name.contains("cam-")).count(), 2);
    assert_eq!(host.id("small", "ticker"), before);
    assert_eq!(inside("small-front-1", "cat /run/secrets/db_password"), password, "answers are remembered");
    let other = (PORT + 1).to_string();
    let _ = host.run(&["--set", &format!("web_port={other}"), built.path()]).succeeds();
    assert!(host.page(PORT + 1).contains("hello"));

    let _ = host.run(&["uninstall", "--yes", "--volumes"]).succeeds();
    assert!(secrets.join("licence").exists(), "what the host provides is the host's own");
}

#[test]
fn mistakes_that_only_some_answers_show_are_found_on_the_connected_side() {
    let folder = tempfile::tempdir().unwrap();
    let site = folder.path().join("site");
    SmallSite::default().write(&site).unwrap();
    let banner = site.join("templates/banner.txt.j2");
    fs::write(&banner, "{% if site_name == 'north' %}{{ [1][7].name }}{% endif %}{{ site_nam }}\n").unwrap();
    fs::create_dir_all(site.join("sites")).unwrap();
    fs::write(site.join("sites/north.yaml"), "site_name: north\n").unwrap();
    fs::write(site.join("sites/south.yaml"), "site_nmae: south\n").unwrap();
    let shown = site.to_str().unwrap();
    let refused = ferry(&["lint", shown]).exits(3);
    let refused = refused
        .says("sites/south.yaml:1:1: `site_nmae` is not a variable")
        .says("did you mean `site_name`?")
        .says("templates/banner.txt.j2:1:")
        .says("`site_nam` is undefined");
    let _ = refused.does_not_say("panicked");
    fs::write(&banner, "{% if site_name == 'north' %}{{ [1][7].name }}{% endif %}\n").unwrap();
    fs::remove_file(site.join("sites/south.yaml")).unwrap();
    let _ = ferry(&["lint", shown]).exits(3).says("(with the answers in ").says("sites/north.yaml)");
    fs::write(&banner, "{% if ferry.hostname == 'hall-1' %}{{ [1][7].name }}{% endif %}\n").unwrap();
    let _ = ferry(&["lint", shown]).succeeds();
    fs::write(site.join("sites/hall-1.yaml"), "").unwrap();
    let _ = ferry(&["lint", shown]).exits(3).says("sites/hall-1.yaml)");
    let host = ["--values", site.join("sites/hall-1.yaml").to_str().unwrap()].map(str::to_owned);
    let _ = ferry(&["render", shown, &host[0], &host[1]]).exits(3);
    let _ = ferry(&["render", shown, &host[0], &host[1], "--hostname", "hall-2"]).succeeds();
    fs::write(&banner, "{{ site_name }}\n").unwrap();
    let _ = ferry(&["lint", shown]).succeeds().says("has no memory limit");
    let _ = ferry(&["lint", "--strict", shown]).exits(3);

    // A secret in a container's definition is one that everyone can read.
    bundle::replace(&site.join("ferry.yaml"), "variables:\n", "variables:\n  key: { type: secret }\n");
    bundle::replace(
        &site.join("compose.yaml"),
        "image: small/ticker:1\n",
        "image: small/ticker:1\n    environment: { KEY: \"${key}\" }\n",
    );
    let _ = ferry(&["lint", shown]).exits(3).says("has the secret `key` in its `environment`");
}
