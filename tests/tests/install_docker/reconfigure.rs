//! Other answers for what runs, without the stick.

use crate::PORT;
use fixtures::damage;
use fixtures::small_site::SmallSite;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use tests::bundle::{self, Built};
use tests::host::Host;
use tests::snapshot::assert_unchanged;

/// A password and a page that shows the name; healthy only while the site is not called `bad`.
fn built(folder: &std::path::Path) -> Built {
    let site = SmallSite { ballast: 32 << 20, ..SmallSite::default() };
    bundle::changed(folder, &site, |site| {
        bundle::replace(
            &site.join("ferry.yaml"),
            "variables:\n",
            "variables:\n  password: { type: secret, generate: 24 }\n  licence: { type: secret, pattern: '^L-', prompt: Licence }\n",
        );
        fs::write(site.join("templates/banner.txt.j2"), "site {{ site_name }}\nkey {{ password }}\n")
            .unwrap();
        bundle::replace(
            &site.join("compose.yaml"),
            r#"["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/"]"#,
            r#"["CMD-SHELL", "! /bin/busybox grep -q bad /www/banner.txt"]"#,
        );
    })
}

fn banner(host: &Host) -> String {
    host.docker_text(&["exec", "small-front-1", "cat", "/www/banner.txt"])
}

#[test]
fn only_what_the_answers_touch_is_restarted_and_the_old_ones_come_back_on_failure() {
    let folder = tempfile::tempdir().unwrap();
    let built = built(folder.path());
    let host = Host::docker("reconfigure");
    let [trust, fingerprint] = built.trust();
    let _ = host
        .run(&[trust, fingerprint, "--set", "licence=L-1", built.path()])
        .succeeds()
        .says("the secret `licence` was given with --set");
    let (ticker, first) = (host.id("small", "ticker"), banner(&host));

    // The stick is gone; what is kept of the bundle has holes where the layers were.
    let id = host.state("small")["current"]["release"].as_str().unwrap().to_owned();
    let kept = host.root.join(format!("small/bundles/{id}.fz"));
    let metadata = fs::metadata(&kept).unwrap();
    assert_eq!(metadata.len(), fs::metadata(&built.file).unwrap().len());
    assert!(metadata.blocks() * 512 < 1 << 20, "{} bytes on the disk", metadata.blocks() * 512);
    fs::remove_file(&built.file).unwrap();

    let before = host.snapshot();
    let look = host.run(&["reconfigure", "--set", "site_name=north", "--dry-run"]).succeeds();
    let look = look.says("-site nowhere").says("+site north").says("service   front: replace");
    let _ = look.says("service   ticker: unchanged").says("nothing was changed");
    let _ = host.run(&["reconfigure", "--set", "site_name=north"]).exits(2).says("run it again with --yes");
    let _ =
        host.run(&["reconfigure", "--set", "sitename=x", "--yes"]).exits(3).says("did you mean `site_name`?");
    let _ =
        host.run(&["reconfigure", "--set", "licence=x", "--yes"]).exits(3).says("does not match the pattern");
    assert_unchanged(&before, &host.snapshot(), "looking and refused answers");

    let _ =
        host.run(&["reconfigure", "--set", "site_name=north", "--yes"]).succeeds().says("replaced   front");
    assert_eq!(banner(&host), first.replace("nowhere", "north"));
    assert_eq!(host.id("small", "ticker"), ticker);
    let _ = host.run(&["reconfigure", "--set", "site_name=north", "--yes"]).succeeds().says("nothing to do");

    let sick = host.run(&["reconfigure", "--set", "site_name=bad", "--yes", "--timeout", "4"]).exits(8);
    let _ = sick.says("runs again, as before");
    assert_eq!(banner(&host), first.replace("nowhere", "north"));
    let _ = host.run(&["reconfigure", "--set", "site_name=north", "--yes"]).succeeds().says("nothing to do");

    // A Compose file of the site's own goes over that of every release.
    let own = host.root.join("small/override.yaml");
    fs::write(&own, "services:\n  ticker:\n    environment: { PLACE: hall }\n    labels: { site: own }\n")
        .unwrap();
    let _ = host.run(&["reconfigure", "--yes"]).succeeds().says("replaced   ticker").says("unchanged  front");
    assert_eq!(host.docker_text(&["exec", "small-ticker-1", "/bin/sh", "-c", "echo $PLACE"]), "hall");
    fs::write(&own, "services:\n  ticker: { environment: { KEY: \"${licence}\" } }\n").unwrap();
    let shown =
        host.run(&["reconfigure", "--yes"]).exits(3).says("has the secret `licence` in its definition");
    let _ = shown.says("cannot be rendered with this host's files").does_not_say("L-1");
    fs::write(&own, "services:\n  ticker: { image: foo/bar:1 }\n").unwrap();
    let _ = host.run(&["reconfigure", "--yes"]).exits(7).says("take it out of override.yaml");
    fs::write(&own, "services:\n  tikcer: { labels: { a: b } }\n").unwrap();
    let wrong = host.run(&["reconfigure", "--yes"]).exits(3);
    let wrong = wrong.says("override.yaml:2:3: no other file has the service `tikcer`");
    let _ = wrong.says("did you mean `ticker`?");
    fs::write(&own, "# nothing for now\n").unwrap();
    let _ = host.run(&["reconfigure", "--yes"]).succeeds().says("replaced   ticker");
    fs::remove_file(&own).unwrap();
    let _ = host.run(&["reconfigure", "--yes"]).succeeds().says("nothing to do");

    // A kept bundle that was changed is not used.
    damage::flip(&kept, 200).unwrap();
    let _ = host.run(&["reconfigure", "--set", "site_name=south", "--yes"]).exits(5);
    fs::remove_file(&kept).unwrap();
    let gone = host.run(&["reconfigure", "--set", "site_name=south", "--yes"]).exits(7);
    let _ = gone.says("is not retained on this host").says("install the bundle itself");
}

/// Names and subnets of the project's networks.
fn networks(host: &Host) -> Vec<String> {
    let filter = "label=com.docker.compose.project=small";
    let names = host.docker_text(&["network", "ls", "--filter", filter, "--format", "{{.Name}}"]);
    let subnet = "{{range .IPAM.Config}}{{.Subnet}}{{end}}";
    let line =
        |name| format!("{name} {}", host.docker_text(&["network", "inspect", "--format", subnet, name]));
    names.lines().map(line).collect()
}

#[test]
fn a_network_that_is_defined_otherwise_is_made_anew_and_the_old_one_comes_back_on_failure() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::changed(folder.path(), &SmallSite::default(), |site| {
        bundle::replace(
            &site.join("ferry.yaml"),
            "variables:\n",
            "variables:\n  subnet: { default: 10.213.7.0/24 }\n  internal: { type: bool, default: false }\n",
        );
        bundle::replace(
            &site.join("compose.yaml"),
            "volumes:\n  ticks:\n",
            "volumes:\n  ticks:\nnetworks:\n  default:\n    internal: ${internal}\n    ipam: { config: [subnet: \"${subnet}\"] }\n",
        );
        bundle::replace(
            &site.join("compose.yaml"),
            r#"["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/"]"#,
            r#"["CMD-SHELL", "! /bin/busybox grep -q bad /www/banner.txt"]"#,
        );
    });
    let host = Host::docker("moved");
    let _ = host.install(&built);
    assert_eq!(networks(&host), ["small_default 10.213.7.0/24"]);

    let arguments = ["reconfigure", "--yes", "--set", "subnet=10.213.8.0/24"];
    let _ = host.run(&arguments).succeeds().says("replaced   front, ticker");
    let moved = networks(&host);
    assert_eq!(moved.len(), 1, "{moved:?}");
    assert!(moved[0].starts_with("small_default-") && moved[0].ends_with(" 10.213.8.0/24"), "{moved:?}");
    assert_eq!(host.page(PORT), "hello from the small site");
    let _ = host.run(&arguments).succeeds().says("nothing to do");
    let _ = host.run(&[built.path()]).succeeds().says("unchanged");

    let sick = ["--set", "subnet=10.213.9.0/24", "--set", "site_name=bad", "--timeout", "4"];
    let sick = host.run(&[&["reconfigure", "--yes"], &sick[..]].concat()).exits(8);
    let _ = sick.says("runs again, as before");
    assert_eq!(networks(&host), moved);
    assert_eq!(host.page(PORT), "hello from the small site");

    // Two networks cannot have one range.
    let _ = host
        .run(&["reconfigure", "--yes", "--set", "internal=true"])
        .succeeds()
        .says("was created with another definition and stays as it is");
    assert_eq!(networks(&host), moved);

    let back = ["reconfigure", "--yes", "--set", "subnet=10.213.7.0/24", "--set", "internal=false"];
    let _ = host.run(&back).succeeds().says("replaced   front, ticker");
    assert_eq!(networks(&host), ["small_default 10.213.7.0/24"]);
    let _ = host.run(&["uninstall", "--yes"]).succeeds();
    assert_eq!(networks(&host), [""; 0]);
}

#[test]
fn secrets_are_listed_and_rotated_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let built = built(folder.path());
    let host = Host::docker("secrets");
    let [trust, fingerprint] = built.trust();
    let _ = host.run(&[trust, fingerprint, "--set", "licence=L-1", built.path()]).succeeds();
    let first = banner(&host);
    let password = |banner: &str| banner.lines().last().unwrap().trim_start_matches("key ").to_owned();
    let list = host.run(&["secret", "list"]).succeeds();
    let _ = list
        .says("password             set      generated, 24 characters")
        .says("licence              set      Licence");
    let _ =
        host.run(&["secret", "rotate", "site_name", "--yes"]).exits(2).says("is no secret of this product");
    let _ =
        host.run(&["secret", "rotate", "licence", "--yes"]).exits(2).says("is not generated: give its value");
    let rotated = host.run(&["secret", "rotate", "password", "--yes"]).succeeds();
    let second = banner(&host);
    assert_ne!(password(&first), password(&second));
    for secret in [password(&first), password(&second)] {
        let _ = rotated.clone().does_not_say(&secret);
        assert!(!host.docker_text(&["inspect", "small-front-1"]).contains(&secret));
    }
    let values = host.root.join("small/answers.json");
    assert_eq!(fs::metadata(values).unwrap().mode() & 0o777, 0o600);
}
