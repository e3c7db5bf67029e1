//! Containers that put links where relative binds of others are mounted from.

use fixtures::small_site::SmallSite;
use std::fs;
use std::path::{Path, PathBuf};
use tests::bundle::{self, Built};
use tests::host::Host;
use tests::outcome::Outcome;

/// A bundle of this version with `front`, and these services beside it.
fn built(folder: &Path, version: &str, services: &str) -> Built {
    let site = SmallSite { version: version.to_owned(), template: false, ..SmallSite::default() };
    bundle::changed(folder, &site, |site| {
        let compose = format!("services:\n  front:\n    image: small/front:{version}\n{services}");
        fs::write(site.join("compose.yaml"), compose).unwrap();
    })
}

/// A service that runs a line of shell and mounts `bind`.
fn service(name: &str, bind: &str, line: &str) -> String {
    format!(
        "  {name}:\n    image: small/ticker:1\n    command: [\"/bin/sh\", \"-c\", \"{line}\"]\n    healthcheck: {{ disable: true }}\n    volumes: [\"{bind}\", \"/data\"]\n    stop_grace_period: 1s\n    restart: always\n"
    )
}

/// A folder of the host that no container was given.
struct Outside(PathBuf);

impl Outside {
    fn of(host: &Host) -> Self {
        let folder = host.engine.folder().join("outside");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("marker"), "of the host\n").unwrap();
        Self(folder)
    }

    #[track_caller]
    fn is_untouched(&self) {
        let names: Vec<_> = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["marker"], "something was made or written through a link");
    }
}

fn attempt(host: &Host, built: &Built) -> Outcome {
    let [trust, fingerprint] = built.trust();
    host.run(&[trust, fingerprint, built.path()])
}

/// Writes into its mount, so that a link that was followed shows.
const READER: &str = "echo x >/l/written; mkdir -p /l/made; exec sleep 1000";

#[test]
fn a_link_of_an_earlier_release_is_found_before_anything_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::docker("stale-link");
    let outside = Outside::of(&host);
    let link = format!("busybox ln -sfn {} /d/l; exec sleep 1000", outside.0.display());
    host.install(&built(folder.path(), "1.0.0", &service("writer", "./d:/d", &link)));
    let path = host.root.join("products/small/data/d/l");
    assert!(path.is_symlink());
    for bind in ["./d/l:/l", "./d/l/new/deep:/l"] {
        let next = built(folder.path(), "2.0.0", &service("reader", bind, READER));
        let refused =
            attempt(&host, &next).exits(7).says("this host is not ready: 1 finding; nothing was changed");
        let _ = refused.says(&format!("{} is a link", path.display())).says("fix: look where it leads");
        outside.is_untouched();
        assert!(host.containers().contains(&"small-writer-1 running".to_owned()));
    }
    // As the fix says.
    fs::remove_file(&path).unwrap();
    let next = built(folder.path(), "2.0.0", &service("reader", "./d/m/l:/l", READER));
    host.install(&next);
    outside.is_untouched();
    assert!(host.root.join("products/small/data/d/m/l").is_dir());
}

#[test]
fn a_container_that_swaps_a_folder_for_a_link_all_the_time_gains_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::docker("swapped-link");
    let outside = Outside::of(&host);
    let swap = format!(
        "busybox mkdir -p /d/l; busybox ln -sfn {} /d/k; while :; do mv /d/l /d/x; mv /d/k /d/l; mv /d/l /d/k; mv /d/x /d/l; done",
        outside.0.display()
    );
    host.install(&built(folder.path(), "1.0.0", &service("writer", "./d:/d", &swap)));
    let next = built(folder.path(), "2.0.0", &service("reader", "./d/l:/l", READER));
    let mut codes = Vec::new();
    for _ in 0..6 {
        let outcome = attempt(&host, &next);
        outside.is_untouched();
        // The link is met in preflight, while files are laid out, or once the writer has been stopped; or the folder is
        // missing, in the middle of a swap.
        assert!([0, 6, 7, 8, 9].contains(&outcome.code), "{outcome}");
        if outcome.code != 0 {
            assert!(host.containers().contains(&"small-writer-1 running".to_owned()));
        }
        codes.push(outcome.code);
        if codes.last() == Some(&0) {
            break;
        }
    }
    println!("{codes:?}");
}

#[test]
fn nothing_is_put_back_or_started_through_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::docker("link-put-back");
    let outside = Outside::of(&host);
    let _ = host.install(&built(folder.path(), "1.0.0", &service("reader", "./d/l:/l", "exec sleep 1000")));
    let link = format!("busybox rm -rf /d/l; busybox ln -s {} /d/l; exit 1", outside.0.display());
    let next = built(folder.path(), "2.0.0", &service("reader", "./d:/d", &link));
    let failed = attempt(&host, &next).exits(8);
    let _ = failed.says("products/small/data/d/l is a link");
    outside.is_untouched();
    assert!(!host.containers().contains(&"small-reader-1 running".to_owned()));
    assert!(host.containers().contains(&"small-front-1 running".to_owned()), "the others go on");
    let failed = host.run(&["start"]).exits(8).says("products/small/data/d/l is a link");
    let _ = failed.says("look where it leads");
    outside.is_untouched();
    let path = host.root.join("products/small/data/d/l");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let _ = host.run(&["start"]).succeeds();
    assert!(host.containers().contains(&"small-reader-1 running".to_owned()));
}

#[test]
fn a_link_among_carried_files_is_not_read_into_what_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::docker("carried-link");
    let outside = Outside::of(&host);
    let carried = |version: &str, text: &str| {
        let link = format!(
            "busybox rm /c/a.conf; busybox ln -s {}/marker /c/a.conf; exec sleep 1000",
            outside.0.display()
        );
        let site = SmallSite { version: version.to_owned(), template: false, ..SmallSite::default() };
        bundle::changed(folder.path(), &site, |site| {
            let writer = service("writer", "./conf:/c", &link);
            let compose = format!("services:\n  front:\n    image: small/front:{version}\n{writer}");
            fs::write(site.join("compose.yaml"), compose).unwrap();
            fs::create_dir(site.join("conf")).unwrap();
            fs::write(site.join("conf/a.conf"), text).unwrap();
        })
    };
    let _ = host.install(&carried("1.0.0", "one\n"));
    let next = carried("2.0.0", "two\n");
    let [trust, fingerprint] = next.trust();
    let shown = host.run(&["--dry-run", trust, fingerprint, next.path()]).succeeds();
    let _ = shown.says("conf/a.conf").does_not_say("of the host");
}
