//! From `ROOT/NAME`, where 0.1.0 put a product, to `ROOT/products/NAME`: the engine is restarted at each step, and the
//! data is what it was.

use super::{Site, UNTOUCHED};
use fixtures::golden;
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use tests::snapshot::assert_unchanged;

impl Site {
    /// Restarts the engine, starts what does not run, and looks at the data of both kinds: a volume, and a folder of the
    /// site's own.
    #[track_caller]
    fn assert_data_after_a_restart(&mut self, version: &str) {
        self.host.engine.restart().unwrap();
        let _ = self.run(&["start"]).succeeds();
        self.assert_whole(version);
        assert_eq!(self.shows("db", "/data/mine"), "precious row");
        assert_eq!(self.shows("web", "/uploads/mine"), "precious upload");
    }

    /// The host's path of the folder of the site's own.
    fn uploads(&self) -> String {
        self.host.inspect(
            "plain-web-1",
            "{{range .Mounts}}{{if eq .Destination \"/uploads\"}}{{.Source}}{{end}}{{end}}",
        )
    }
}

#[test]
fn what_0_1_0_installed_moves_while_it_runs_and_no_restart_of_the_engine_loses_data() {
    let mut site = Site::installed("golden-moving");
    let root = site.host.root.clone();
    let [old, new] = [root.join("plain"), root.join("products/plain")];
    let row = site.folder.path().join("row");
    fs::write(&row, "precious row\n").unwrap();
    let _ = site.host.docker_text(&["cp", row.to_str().unwrap(), "plain-db-1:/data/mine"]);
    fs::write(std::path::Path::new(&site.uploads()).join("mine"), "precious upload\n").unwrap();
    let password = site.password();
    site.assert_data_after_a_restart("1.0.0");
    assert!(old.is_dir() && !old.is_symlink() && !new.exists(), "a restart moves nothing");

    // A move that was cut off before its one step.
    fs::create_dir(root.join("products")).unwrap();
    symlink("products/plain", &new).unwrap();
    site.assert_data_after_a_restart("1.0.0");
    assert!(!old.is_symlink());

    // A change that fails leaves it where it is.
    let _ = site.run(&["reconfigure", "--yes", "--set", "site_name=Bad-1"]).exits(8);
    assert!(!old.is_symlink());
    site.assert_data_after_a_restart("1.0.0");

    let before = site.runs(&UNTOUCHED);
    let _ = site.install("plain-2.fz");
    assert!(new.is_dir() && !new.is_symlink(), "it was not moved");
    assert_eq!(fs::read_link(&old).unwrap(), std::path::Path::new("products/plain"));
    assert_eq!(site.runs(&UNTOUCHED), before, "a container was made anew or restarted");
    let steps = fs::read_to_string(new.join("steps.jsonl")).unwrap();
    let last: serde_json::Value = serde_json::from_str(steps.lines().last().unwrap()).unwrap();
    assert_eq!((&last["step"], &last["phase"]), (&json!("move"), &json!("done")));
    assert!(site.uploads().starts_with(old.to_str().unwrap()), "made before the move: {}", site.uploads());
    site.assert_data_after_a_restart("2.0.0");

    // The move itself changes no service: a path is no definition.
    let before = site.runs(&["plain-web-1", UNTOUCHED[0], UNTOUCHED[1], UNTOUCHED[2], UNTOUCHED[3]]);
    let _ = site.install("plain-2.fz").says("unchanged: nothing to do");
    assert_eq!(site.runs(&["plain-web-1", UNTOUCHED[0], UNTOUCHED[1], UNTOUCHED[2], UNTOUCHED[3]]), before);
    let _ = site.run(&["reconfigure", "--yes", "--set", "site_name=South-8"]).succeeds();
    assert!(site.uploads().starts_with(new.to_str().unwrap()), "{}", site.uploads());
    site.assert_data_after_a_restart("2.0.0");
    assert_eq!(site.password(), password);

    // 0.1.0 finds it by the old path, and changes nothing.
    let whole = site.host.snapshot();
    let _ = site.old(&["--no-input", &site.bundle("plain.fz")]).says("state.json is a folder");
    for command in [&["status"][..], &["stop"], &["uninstall", "--yes", "--volumes", "--product", "plain"]] {
        let refused = site.old(command);
        assert_ne!(refused.code, 0, "{command:?}\n{refused}");
    }
    assert_unchanged(&whole, &site.host.snapshot(), "the program of 0.1.0");

    let _ = site.run(&["uninstall", "--yes"]).succeeds().says("products/plain/data");
    let refused = site.old(&["--no-input", &site.bundle("plain.fz")]);
    assert_ne!(refused.code, 0, "0.1.0 installs over what was kept\n{refused}");
    let _ = site.install("plain-2.fz");
    site.assert_data_after_a_restart("2.0.0");
    site.assert_uninstalls();
    assert!(!old.is_symlink() && !new.exists());
}

#[test]
fn the_program_of_0_1_0_does_not_take_a_product_of_the_new_place_for_a_new_one() {
    let site = Site::new("golden-new-place");
    let fingerprint = golden::fingerprint().unwrap();
    let bundle = site.bundle("plain.fz");
    let _ = site.run(&[&super::ANSWERS[..], &["--trust", &fingerprint, &bundle]].concat()).succeeds();
    assert!(site.host.root.join("products/plain/installed.json").is_file());
    let whole = site.host.snapshot();
    let refused = site.old(&["--no-input", &bundle]);
    assert_ne!(refused.code, 0, "{refused}");
    let _ = refused.says("state.json is a folder");
    let _ = site.old(&["stop", "--product", "plain"]);
    assert_unchanged(&whole, &site.host.snapshot(), "the program of 0.1.0");
    site.assert_whole("1.0.0");
    site.assert_uninstalls();
}
