//! Labels, names and folders that are Ferry's own, in the mouth of others.

use crate::PORT;
use fixtures::small_site::SmallSite;
use std::fs;
use std::path::Path;
use tests::bundle::{self, Built};
use tests::host::Host;
use tests::outcome::Outcome;
use tests::programs;
use tests::snapshot::assert_unchanged;

/// The small site with a seeded volume, which is the ticker's `/data`.
fn seeded(folder: &Path) -> Built {
    bundle::changed(folder, &SmallSite::default(), |site| {
        fixtures::layer::Layer::new().file("row", 0o644, "seed").write(&site.join("row.tar")).unwrap();
        let manifest = site.join("ferry.yaml");
        bundle::replace(&manifest, "artifacts:\n", "volumes:\n  ticks: { seed: row.tar }\nartifacts:\n");
    })
}

fn inside(host: &Host, command: &str) -> String {
    host.docker_text(&["exec", "small-ticker-1", "/bin/sh", "-c", command])
}

/// A site whose answer `evil` gives a service the labels and the name of Ferry's own helpers.
fn evil(folder: &Path) -> Built {
    let site = SmallSite { name: "evil".to_owned(), port: PORT + 1, ..SmallSite::default() };
    bundle::changed(folder, &site, |site| {
        let manifest = site.join("ferry.yaml");
        bundle::replace(&manifest, "variables:\n", "variables:\n  evil: { type: bool, default: false }\n");
        bundle::replace(&manifest, "compose: compose.yaml\n", "compose: compose.yaml.j2\n");
        let (plain, template) = (site.join("compose.yaml"), site.join("compose.yaml.j2"));
        fs::rename(plain, &template).unwrap();
        bundle::replace(
            &template,
            "    image: small/ticker:1\n",
            "    image: small/ticker:1\n{% if evil %}    container_name: evil.filling\n    labels:\n      \
             io.ferry.seed-of: small_ticks\n      com.docker.compose.project: small\n{% endif %}\n",
        );
    })
}

#[test]
fn a_stranger_with_the_label_of_a_helper_does_not_make_a_volume_be_filled_again() {
    let folder = tempfile::tempdir().unwrap();
    let built = seeded(folder.path());
    let host = Host::docker("own-helper");
    let _ = host.install(&built);
    assert_eq!(inside(&host, "cat /data/row"), "seed");
    let _ = inside(&host, "echo precious >/data/row");
    let create = |name: &str, project: &str| {
        let project = format!("com.docker.compose.project={project}");
        let seed_of = "io.ferry.seed-of=small_ticks";
        host.docker_text(&[
            "create",
            "--name",
            name,
            "--label",
            &project,
            "--label",
            seed_of,
            "small/ticker:1",
        ])
    };
    let _ = create("evil.filling", "evil");
    let _ = create("also.filling", "small");
    let _ = host.run(&["uninstall", "--yes"]).succeeds().says("small_ticks");
    let _ = host.run(&[built.path()]).succeeds();
    assert_eq!(inside(&host, "cat /data/row"), "precious", "the data of before is gone");
    assert_eq!(
        host.inspect("evil.filling", "{{.State.Status}}"),
        "created",
        "another's container was touched"
    );
}

#[test]
fn labels_and_names_of_ferrys_own_are_refused_before_an_install_and_left_out_of_what_is_installed() {
    let folder = tempfile::tempdir().unwrap();
    let built = evil(folder.path());
    let host = Host::docker("own-labels");
    let [trust, fingerprint] = built.trust();
    let before = host.snapshot();
    let refused = host.run(&[trust, fingerprint, "--set", "evil=true", built.path()]).exits(3);
    let _ = refused
        .says("the label `io.ferry.seed-of` of service `ticker` is Ferry's own")
        .says("the label `com.docker.compose.project` of service `ticker` is Ferry's own")
        .says("`evil.filling` is a name that Ferry gives to helpers and replaced containers");
    assert_unchanged(&before, &host.snapshot(), "a release that speaks for Ferry");

    let _ = host.install(&built);
    let changed = host.run(&["reconfigure", "--yes", "--set", "evil=true"]).succeeds();
    let _ = changed
        .says("the label `io.ferry.seed-of` of service `ticker` is Ferry's own and is left out")
        .says("the name `evil.filling` of service `ticker` is Ferry's own and is left out");
    assert_eq!(host.inspect("evil-ticker-1", "{{index .Config.Labels \"io.ferry.seed-of\"}}"), "");
    assert_eq!(
        host.inspect("evil-ticker-1", "{{index .Config.Labels \"com.docker.compose.project\"}}"),
        "evil"
    );

    // The site's own file is what somebody writes today.
    fs::write(
        host.root.join("evil/override.yaml"),
        "services: { front: { labels: { io.ferry.job: 'true' } } }\n",
    )
    .unwrap();
    let refused = host.run(&["reconfigure", "--yes", "--set", "evil=false"]).exits(3);
    let _ =
        refused.says("override.yaml:1:").says("the label `io.ferry.job` of service `front` is Ferry's own");
}

#[test]
fn labels_of_an_image_do_not_speak_for_ferry() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::changed(folder.path(), &SmallSite::default(), |site| {
        // As `docker compose build` and a liar would label it.
        let [_, mut ticker] = SmallSite::default().images(&site.join("dist")).unwrap();
        for (key, value) in [
            ("com.docker.compose.project", "small"),
            ("com.docker.compose.service", "builder"),
            ("com.docker.compose.version", "2.40.0"),
            ("io.ferry.job", "true"),
            ("com.acme.team", "plant"),
        ] {
            ticker.config.labels.push((key.to_owned(), value.to_owned()));
        }
        let archive = site.join("dist/ticker.tar");
        fixtures::docker_archive::write(&[ticker], SmallSite::default().ticker_dialect, &archive).unwrap();
    });
    let host = Host::docker("own-image");
    let _ = host.install(&built);
    let label =
        |key: &str| host.inspect("small-ticker-1", &format!("{{{{index .Config.Labels \"{key}\"}}}}"));
    assert_eq!(label("io.ferry.job"), "");
    assert_eq!(label("com.docker.compose.service"), "ticker");
    assert_eq!(label("com.acme.team"), "plant");
    let _ = host.run(&["status", "--check"]).succeeds();

    // A container of that image which nobody but its owner made belongs to no project.
    let _ = host.docker_text(&["create", "--name", "mine", "small/ticker:1"]);
    assert_eq!(host.inspect("mine", "{{index .Config.Labels \"com.docker.compose.project\"}}"), "small");
    let _ = host.run(&["uninstall", "--yes", "--volumes"]).succeeds();
    assert_eq!(host.containers(), ["mine created"]);
}

#[test]
fn a_product_named_as_a_folder_of_ferrys_own_is_neither_built_nor_installed() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["bin", "policy", "products", "store", "trust"] {
        let site = folder.path().join(name);
        SmallSite { name: name.to_owned(), ..SmallSite::default() }.write(&site).unwrap();
        let mut command = programs::command(programs::ferry());
        let refused = Outcome::of(command.arg("lint").arg(&site)).exits(3);
        let _ = refused
            .says(&format!("`{name}` is a folder of Ferry's own on every host"))
            .says("ferry.yaml:2:7");
    }
}
