//! A disk under Ferry's own folder that fills at any moment: what runs goes on, nothing is lost, and with room the same
//! command finishes.

use crate::PORT;
use fixtures::small_site::SmallSite;
use serde_json::json;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use tests::bundle;
use tests::host::Host;
use tests::outcome::Outcome;
use tests::snapshot::assert_unchanged;

fn version(number: usize) -> SmallSite {
    SmallSite { version: format!("{number}.0.0"), message: format!("page {number}"), ..SmallSite::default() }
}

/// A host whose folder for Ferry is a file system of its own.
fn host_with_own_disk(name: &str) -> Host {
    let mut host = Host::docker(name);
    // The engine sees mounts that were there when it started.
    host.engine.stop().unwrap();
    fs::create_dir(&host.root).unwrap();
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=512m,mode=0755", "none"]).arg(&host.root);
    let _ = Outcome::of(&mut mount).succeeds();
    host.engine.restart().unwrap();
    host
}

/// Fills the disk of a folder until `left` bytes are free.
fn fill(folder: &Path, left: u64) {
    let mut file = fs::File::create(folder.join("filler")).unwrap();
    for piece in [1 << 20, 4096, 1] {
        while file.write_all(&vec![1; piece]).is_ok() {}
    }
    let full = file.metadata().unwrap().len();
    file.set_len(full - left.min(full)).unwrap();
}

#[test]
fn a_disk_that_fills_under_ferrys_own_folder_loses_nothing_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let host = host_with_own_disk("own-disk");
    let _ = host.install(&bundle::small(folder.path(), &version(1)));
    // Room for all but the records of a switch: known before anything is changed.
    let two = bundle::small(folder.path(), &version(2));
    fill(&host.root, 900 << 10);
    let before = host.snapshot();
    let _ = host.run(&[two.path()]).exits(7).says("has 900.0 KiB free, the release folder needs");
    assert_unchanged(&before, &host.snapshot(), "a disk without room");
    // And later, at any moment: what is needed from then on has been taken.
    let moments = ["\"importing\"", "\"laying out\"", "\"starting\"", "stopping front", "waiting for front"];
    for (number, moment) in (1..).zip(moments) {
        let _ = fs::remove_file(host.root.join("filler"));
        let next = bundle::small(folder.path(), &version(number + 1));
        let mut running = host.start(&[next.path()]);
        assert!(running.wait_for(|line| line.contains(moment)), "{moment}: {}", running.end());
        fill(&host.root, 0);
        let mut ended = running.end();
        if moment == "\"importing\"" && ended.code == 9 {
            ended = ended.says("the disk is full").says("are free").says("\"hint\"");
            assert_eq!(host.page(PORT), format!("page {number}"), "{ended}");
            fs::remove_file(host.root.join("filler")).unwrap();
            ended = host.run(&[next.path()]);
        }
        let _ = ended.succeeds();
        assert_eq!(host.page(PORT), format!("page {}", number + 1), "{moment}");
        assert_eq!(host.state("small")["attempt"], json!(null), "{moment}");
        let _ = host.run(&["status", "--check"]).succeeds();
    }
    fs::remove_file(host.root.join("filler")).unwrap();
    let _ = host.run(&["uninstall", "--yes", "--volumes"]).succeeds();
}
