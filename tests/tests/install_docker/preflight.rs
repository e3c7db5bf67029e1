//! Everything that stands in the way is found before anything is changed, and listed at once.

use crate::PORT;
use fixtures::small_site::SmallSite;
use std::fs;
use tests::bundle;
use tests::host::Host;
use tests::port_holder::PortHolder;
use tests::snapshot::assert_unchanged;

#[test]
fn a_taken_port_too_little_memory_and_too_little_disk_are_listed_together() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::changed(folder.path(), &SmallSite::default(), |site| {
        let manifest = site.join("ferry.yaml");
        bundle::replace(
            &manifest,
            "artifacts:\n",
            "requires: { memory: 4096GiB, disk: 9000TiB }\nartifacts:\n",
        );
    });
    let host = Host::docker("preflight");
    let _holder = PortHolder::start(&host, PORT);
    let before = host.snapshot();
    let [trust, fingerprint] = built.trust();
    let refused = host.run(&[trust, fingerprint, built.path()]).exits(7);
    let refused = refused.says("this host is not ready: 3 findings; nothing was changed");
    let refused = refused.says(&format!(
        "  - port {PORT}/tcp of service front is taken on 127.0.0.1 by busybox\n    fix: `ss -lnp | grep :"
    ));
    let refused = refused
        .says("the release needs 4.00 TiB\n    fix: ")
        .says(" free, this release needs 8.79 PiB\n    fix: ");
    assert_eq!(refused.stdout, "");
    assert_unchanged(&before, &host.snapshot(), "an install on a host that is not ready");
    assert!(!host.root.join("trust").exists(), "no key is pinned by an install that was refused");

    let json = host.run(&["--json", trust, fingerprint, built.path()]).exits(7).json();
    assert_eq!(json["error"]["exit_code"], 7);
    assert_unchanged(&before, &host.snapshot(), "an install on a host that is not ready");
}

#[test]
fn an_engine_out_of_reach_a_missing_answer_and_a_read_only_folder_are_listed_together() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::changed(folder.path(), &SmallSite::default(), |site| {
        bundle::replace(&site.join("ferry.yaml"), ", default: \"nowhere\"", "");
    });
    let host = Host::docker("unreachable");
    let stick = host.engine.folder().join("stick");
    fs::create_dir(&stick).unwrap();
    fs::copy(&built.file, stick.join("site.fz")).unwrap();
    let [trust, fingerprint] = built.trust();
    let program = tests::programs::install();
    let program = program.to_str().unwrap();
    let nowhere = format!("unix://{}/nowhere.sock", host.engine.folder().display());
    let before = host.snapshot();
    let refused = host
        .from_stick(
            &stick,
            program,
            &["--root", "ferry", "--engine", &nowhere, trust, fingerprint, "site.fz"],
        )
        .exits(7);
    let refused = refused.says("this host is not ready: 3 findings; nothing was changed");
    let refused = refused.says("ferry cannot be written: ").says("or name a writable folder with --root");
    let refused = refused.says("nowhere.sock does not exist\n    fix: ");
    let _ = refused.says("site_name").says("give it with --set NAME=VALUE");
    assert_unchanged(&before, &host.snapshot(), "an install without an engine");
    assert_eq!(fs::read_dir(&stick).unwrap().count(), 1);

    let missing = host.run(&[trust, fingerprint, built.path()]).exits(3);
    let _ = missing
        .says("`site_name` has no value (Name of this site")
        .says("fix: give it with --set NAME=VALUE, --values FILE or FERRY_VAR_NAME in the environment");
    let _ = host.run(&[trust, fingerprint, "--set", "site_name=x", built.path()]).succeeds();
    let _ = host.run(&[built.path()]).succeeds().says("unchanged");
}

#[test]
fn an_engine_that_does_not_run_is_named_with_its_address_by_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::small(folder.path(), &SmallSite::default());
    let mut host = Host::docker("not-running");
    let _ = host.install(&built);
    host.engine.stop().unwrap();
    let address = host.engine.socket().display().to_string();
    for arguments in [&["status"][..], &["stop"], &["start"], &["logs"], &["uninstall", "--yes"]] {
        let _ = host.run(arguments).exits(6).says(&address).says("hint: ");
    }
    let _ = host.run(&[built.path()]).exits(7).says(&address).says("nothing was changed");
    // Neither a stopped engine nor its restart changes what is installed.
    host.engine.restart().unwrap();
    let _ = host.run(&[built.path()]).succeeds();
    assert_eq!(host.page(PORT), "hello from the small site");
}

#[test]
fn a_disk_that_is_too_small_is_found_before_it_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::small(folder.path(), &SmallSite { ballast: 60 << 20, ..SmallSite::default() });
    let host = Host::of(fixtures::Engine::start_on_disk("small-disk", 64 << 20).unwrap());
    let before = host.snapshot();
    let [trust, fingerprint] = built.trust();
    let refused = host.run(&[trust, fingerprint, built.path()]).exits(7);
    let _ = refused.says("/data has ").says(" free, this release needs ").says("use a larger disk");
    assert_unchanged(&before, &host.snapshot(), "an install on a small disk");
}

#[test]
fn only_one_install_at_a_time_changes_a_product() {
    let folder = tempfile::tempdir().unwrap();
    let one = bundle::small(folder.path(), &SmallSite::default());
    let sick = SmallSite { version: "2.0.0".to_owned(), failing: true, ..SmallSite::default() };
    let sick = bundle::changed(folder.path(), &sick, bundle::fail_slowly);
    let host = Host::docker("lock");
    let _ = host.install(&one);
    let mut first = host.start(&["--timeout", "20", sick.path()]);
    assert!(first.wait_for(|line| line.contains("waiting for sick")));
    let _ = host.run(&[one.path()]).exits(7).says("another install is changing this product right now");
    for arguments in [&["uninstall", "--yes"][..], &["stop"], &["start"]] {
        let _ = host.run(arguments).exits(7).says("another install is changing this product right now");
    }
    first.signal(rustix::process::Signal::INT);
    let _ = first.end().exits(130);
    let _ = host.run(&[one.path()]).succeeds().says("unchanged");
}

#[test]
fn an_unknown_word_is_an_unknown_command_and_a_missing_file_is_one_of_the_stick() {
    let host = Host::docker("word");
    let near = host.run(&["stauts"]).exits(2).says("there is no command `stauts`");
    let _ = near.says("did you mean `status`?").does_not_say("stick");
    let far = host.run(&["frobnicate"]).exits(2).says("there is no command `frobnicate`");
    let _ = far.says("status, stop, start").does_not_say("stick");
    for file in ["site.fz", "./site", "/media/usb/site"] {
        let _ = host.run(&[file]).exits(9).says("is the stick mounted?");
    }
}

#[test]
fn options_of_an_install_are_not_ignored_before_a_command() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::small(folder.path(), &SmallSite::default());
    let host = Host::docker("options");
    let _ = host.install(&built);
    let before = host.snapshot();
    for arguments in [
        &["--dry-run", "uninstall", "--yes"][..],
        &["--trust", "SHA256:x", "status"],
        &[built.path(), "stop"],
        &["--no-such-option", "status"],
        &[],
    ] {
        let refused = host.run(arguments).exits(2);
        assert!(!refused.stderr.is_empty(), "{refused}");
    }
    assert_unchanged(&before, &host.snapshot(), "a mistake on the command line");
    // Those that every command has may stand on either side.
    let _ = host.run(&["--json", "status"]).succeeds().json();
    let _ = host.run(&["status", "--json"]).succeeds().json();
}

#[test]
fn a_fixed_address_is_kept_for_its_service_and_ones_that_cannot_be_are_named_before() {
    let folder = tempfile::tempdir().unwrap();
    let with = |version: &str, network: &str, front: &str, ticker: &str| {
        bundle::changed(
            folder.path(),
            &SmallSite { version: version.to_owned(), ..SmallSite::default() },
            |site| {
                let compose = site.join("compose.yaml");
                let front = format!("services:\n  front:\n    networks: {{ n: {front} }}\n");
                bundle::replace(&compose, "services:\n  front:\n", &front);
                let ticker = format!("  ticker:\n    networks: {{ n: {ticker} }}\n");
                bundle::replace(&compose, "  ticker:\n", &ticker);
                let text = fs::read_to_string(&compose).unwrap();
                let networks =
                    format!("networks: {{ n: {{ ipam: {{ config: [{{ subnet: {network} }}] }} }} }}\n");
                fs::write(&compose, text + &networks).unwrap();
            },
        )
    };
    let address = |address: &str| format!("{{ ipv4_address: {address} }}");
    let host = Host::docker("addresses");
    let twice = with("0.1.0", "10.199.8.0/24", &address("10.199.8.2"), &address("10.199.8.2"));
    let [trust, fingerprint] = twice.trust();
    let refused = host.run(&[trust, fingerprint, twice.path()]).exits(7);
    let _ = refused.says("services front and ticker both have the address 10.199.8.2 in network small_n");
    let outside = with("0.2.0", "10.199.8.0/24", "{}", &address("10.199.9.2"));
    let refused = host.run(&[trust, fingerprint, outside.path()]).exits(7);
    let _ = refused.says("service ticker has the address 10.199.9.2, which is not in network small_n");
    let _ = host.docker_text(&["network", "create", "--subnet", "10.199.0.0/16", "theirs"]);
    // `front` starts first, and engines give the lowest free address.
    let good = with("1.0.0", "10.199.8.0/24", "{}", &address("10.199.8.2"));
    let refused = host.run(&[trust, fingerprint, good.path()]).exits(7);
    let _ = refused.says(
        "network small_n wants the subnet 10.199.8.0/24, which overlaps 10.199.0.0/16 of network theirs",
    );
    let _ = host.docker_text(&["network", "rm", "theirs"]);
    let _ = host.run(&[trust, fingerprint, good.path()]).succeeds();
    let own = |name: &str| {
        host.inspect(name, "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.Gateway}}{{end}}")
    };
    assert_eq!(own("small-ticker-1"), "10.199.8.2 10.199.8.1");
    assert!(own("small-front-1").ends_with(" 10.199.8.1") && own("small-front-1") != own("small-ticker-1"));
    let _ = host.run(&[good.path()]).succeeds().says("unchanged: nothing to do");
}
