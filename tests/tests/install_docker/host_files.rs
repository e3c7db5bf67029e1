//! Files on the host afterwards, and who may read them.

use fixtures::small_site::SmallSite;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use tests::bundle::{self, Built};
use tests::host::Host;
use tests::outcome::Outcome;
use tests::programs::stock;

const SECRET: &str = "correct horse battery staple";

fn with_secret(folder: &Path) -> Built {
    bundle::changed(folder, &SmallSite::default(), |site| {
        fs::write(site.join("token.txt"), SECRET).unwrap();
        let compose = site.join("compose.yaml");
        bundle::replace(&compose, "  ticker:\n", "    secrets: [token]\n  ticker:\n");
        bundle::replace(
            &compose,
            "volumes:\n  ticks:\n",
            "volumes:\n  ticks:\nsecrets:\n  token:\n    file: ./token.txt\n",
        );
    })
}

/// Files below `folder` that hold the secret.
fn holders(folder: &Path) -> Vec<String> {
    let found = Outcome::of(
        tests::programs::command(stock("grep"))
            .args(["--recursive", "--files-with-matches", SECRET])
            .arg(folder),
    );
    found.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn secrets_are_for_the_service_alone() {
    let folder = tempfile::tempdir().unwrap();
    let built = with_secret(folder.path());
    let host = Host::docker("secrets");
    // The engine's folder is entered by root alone; here only Ferry's own modes shall count.
    fs::set_permissions(host.engine.folder(), fs::Permissions::from_mode(0o755)).unwrap();
    let _ = host.install(&built);
    for user in ["root", "nobody"] {
        let read = host.docker_text(&["exec", "--user", user, "small-front-1", "cat", "/run/secrets/token"]);
        assert_eq!(read, SECRET, "{user}");
    }
    let other = host.engine.docker(&["exec", "small-ticker-1", "cat", "/run/secrets/token"]).unwrap();
    assert!(!other.status.success(), "a service that was not given the secret reads it");
    assert!(!host.inspect("small-front-1", "{{json .}}").contains(SECRET), "it is no environment variable");

    let files = holders(&host.root);
    assert!(!files.is_empty(), "the secret lies somewhere below {}", host.root.display());
    for file in &files {
        let mut read = tests::programs::command(stock("setpriv"));
        read.args(["--reuid=65534", "--regid=65534", "--clear-groups", "cat", file]);
        let refused = Outcome::of(&mut read);
        assert!(refused.code != 0 && !refused.stdout.contains(SECRET), "nobody reads {file}: {refused}");
    }
    let installed = host.run(&["logs"]).succeeds();
    let _ = installed.does_not_say(SECRET);
    let _ = host.run(&["uninstall", "--yes", "--volumes"]).succeeds();
    assert_eq!(holders(&host.engine.folder().join("ferry")), [""; 0]);
}

#[test]
fn a_mounted_script_can_be_run() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::changed(folder.path(), &SmallSite::default(), |site| {
        fs::create_dir(site.join("hooks")).unwrap();
        fs::write(site.join("hooks/hello"), "#!/bin/sh\necho hello from a hook\n").unwrap();
        fs::set_permissions(site.join("hooks/hello"), fs::Permissions::from_mode(0o755)).unwrap();
        bundle::replace(
            &site.join("compose.yaml"),
            "      - ticks:/data\n",
            "      - ticks:/data\n      - ./hooks:/hooks:ro\n",
        );
    });
    let host = Host::docker("hooks");
    let _ = host.install(&built);
    assert_eq!(host.docker_text(&["exec", "small-ticker-1", "/hooks/hello"]), "hello from a hook");
}

#[test]
fn answers_and_generated_secrets_stay_with_root() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::changed(folder.path(), &SmallSite::default(), |site| {
        bundle::replace(
            &site.join("ferry.yaml"),
            "variables:\n",
            "variables:\n  pass: { type: secret, generate: 24 }\n",
        );
        fs::write(site.join("templates/banner.txt.j2"), "{{ site_name }} {{ pass }}\n").unwrap();
    });
    let host = Host::docker("answers");
    let _ = host.install(&built);
    let banner = || host.docker_text(&["exec", "small-front-1", "cat", "/www/banner.txt"]);
    let first = banner();
    let (name, pass) = first.split_once(' ').unwrap();
    assert_eq!((name, pass.len()), ("nowhere", 24));
    let values = host.root.join("small/answers.json");
    assert_eq!(fs::metadata(&values).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(fs::read_to_string(&values).unwrap().contains(pass));
    let _ = host.run(&[built.path()]).succeeds().says("unchanged").does_not_say(pass);
    let _ = host.run(&["--set", "site_name=elsewhere", built.path()]).succeeds().does_not_say(pass);
    assert_eq!(banner(), format!("elsewhere {pass}"), "what was generated once stays");
}

#[test]
fn no_half_written_files_pile_up() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::docker("piles");
    for number in 1..=4 {
        let site = SmallSite {
            version: format!("{number}.0.0"),
            message: number.to_string(),
            ..SmallSite::default()
        };
        let built = bundle::small(folder.path(), &site);
        let _ = host.install(&built);
    }
    let entries = |path: &Path| -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let product = host.root.join("small");
    assert_eq!(
        entries(&product),
        [
            "answers.json",
            "bundles",
            "current",
            "installed.json",
            "lock",
            "releases",
            "state.json",
            "steps.jsonl"
        ],
        "temporary files were left"
    );
    assert_eq!(entries(&product.join("bundles")).len(), 3, "of what runs and the two before");
    assert!(entries(&product.join("releases")).iter().any(|name| name.starts_with("4.0.0-")));
    let journal = fs::read_to_string(product.join("steps.jsonl")).unwrap();
    let last: serde_json::Value = serde_json::from_str(journal.lines().last().unwrap()).unwrap();
    assert_eq!((&last["step"], &last["phase"]), (&"commit".into(), &"done".into()));
}

#[test]
fn services_reach_their_files_whatever_the_umask() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::small(folder.path(), &SmallSite::default());
    let host = Host::docker("umask");
    let mut command = host.command(&stock("sh"));
    let [trust, fingerprint] = built.trust();
    let install = tests::programs::install();
    command.args(["-c", "umask 077; exec \"$@\"", "sh"]).arg(install).args([
        trust,
        fingerprint,
        built.path(),
    ]);
    let _ = Outcome::of(&mut command).succeeds();
    let current = fs::canonicalize(host.root.join("small/current")).unwrap();
    let folders = |narrowed: &[&str]| {
        let mut find = tests::programs::command(stock("find"));
        find.arg(&current).args(["-type", "d"]).args(narrowed);
        Outcome::of(&mut find).succeeds().stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(folders(&[]).len() > 1, "the release has folders");
    assert_eq!(folders(&["!", "-perm", "-005"]), [""; 0]);
    let values = fs::metadata(host.root.join("small/answers.json")).unwrap();
    assert_eq!(values.permissions().mode() & 0o777, 0o600);
}
