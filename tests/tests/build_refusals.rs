//! Refusals and warnings of `lint` and `build`, before any work: files that are none, links out of the folder, names
//! that differ, and Ctrl-C.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

use fixtures::keys;
use fixtures::small_site::SmallSite;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tests::bundle::replace;
use tests::outcome::Outcome;
use tests::programs::{self, stock};
use tests::running::Running;

/// The small site, in which something is to be wrong.
struct Site {
    folder: TempDir,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        SmallSite::default().write(&folder.path().join("site")).unwrap();
        Self { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("site")
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        replace(&self.path().join(file), from, to);
    }

    /// `ferry` with a command and this site.
    fn run(&self, arguments: &[&str]) -> Outcome {
        let mut command = programs::command(programs::ferry());
        Outcome::of(command.args(arguments).arg(self.path()))
    }

    /// Puts what is no ordinary file where one was.
    fn instead(&self, name: &str, make: impl FnOnce(&Path)) {
        let path = self.path().join(name);
        let _ = fs::remove_file(&path);
        make(&path);
    }
}

fn pipe(path: &Path) {
    assert!(programs::command(stock("mkfifo")).arg(path).status().unwrap().success());
}

#[test]
fn what_is_no_ordinary_file_is_not_waited_for() {
    let site = Site::new();
    site.instead("templates/banner.txt.j2", pipe);
    let _ = site
        .run(&["lint"])
        .exits(3)
        .says("ferry.yaml:11:11: the config templates/banner.txt.j2: it is not a file");
    site.instead("templates/banner.txt.j2", |path| std::os::unix::fs::symlink("/dev/zero", path).unwrap());
    let _ = site.run(&["lint"]).exits(3).says("it is a link that leads out of the folder");
    site.edit("ferry.yaml", "from: templates/banner.txt.j2", "from: /dev/zero");
    let _ = site.run(&["lint"]).exits(3).says("the config /dev/zero: it is not a file");
    let site = Site::new();
    site.instead("dist/front.tar", pipe);
    let key = keys::write(site.folder.path(), "key", 1).unwrap();
    let key = key.private.to_str().unwrap();
    let _ = site.run(&["build", "--offline", "--key", key]).exits(3).says("it is not a file");
    let site = Site::new();
    site.edit("ferry.yaml", "artifacts:\n", "artifacts:\n  - waits\n");
    site.instead("waits", pipe);
    let _ = site
        .run(&["lint"])
        .exits(3)
        .says("ferry.yaml:9:5: artifact `waits`")
        .says("neither a file nor a folder");
}

#[test]
fn links_that_lead_out_of_the_folder_bring_nothing_along() {
    let outside = |site: &Site| {
        let outside = site.folder.path().join("outside");
        fs::create_dir_all(&outside).unwrap();
        fs::write(outside.join("secret.txt"), "secret").unwrap();
        outside
    };
    let link = |site: &Site, name: &str, to: PathBuf| {
        site.instead(name, |path| std::os::unix::fs::symlink(to, path).unwrap());
    };
    let site = Site::new();
    link(&site, "templates/banner.txt.j2", outside(&site).join("secret.txt"));
    let _ = site.run(&["lint"]).exits(3).says("leads out of the folder").says("put the file itself there");
    // Who writes the place openly means it, and links that stay inside are links.
    site.edit("ferry.yaml", "from: templates/banner.txt.j2", "from: ../outside/secret.txt");
    let _ = site.run(&["lint"]).succeeds();
    fs::write(site.path().join("real.j2"), "x\n").unwrap();
    link(&site, "templates/banner.txt.j2", "../real.j2".into());
    site.edit("ferry.yaml", "from: ../outside/secret.txt", "from: templates/banner.txt.j2");
    let _ = site.run(&["lint"]).succeeds();
    // A folder, for a service and as an artifact.
    link(&site, "d", outside(&site));
    site.edit("ferry.yaml", "artifacts:\n", "artifacts:\n  - d\n");
    let _ = site
        .run(&["lint"])
        .exits(3)
        .says("ferry.yaml:9:5: artifact `d`: it is a link that leads out of the folder");
    site.edit("ferry.yaml", "artifacts:\n  - d\n", "artifacts:\n");
    site.edit("compose.yaml", "      - ticks:/data\n", "      - ticks:/data\n      - ./d:/d:ro\n");
    let said = site.run(&["lint"]).exits(3).says("compose.yaml:19:9: ");
    let _ = said.says("names d, a link that leads out of the folder");
}

#[test]
fn lint_looks_for_artifacts_and_tells_programs_where_each_mistake_is() {
    let site = Site::new();
    site.edit("ferry.yaml", "from: files", "from: filez");
    let told = site.run(&["lint", "--json"]).exits(3).json();
    let mistakes = told["error"]["mistakes"].as_array().unwrap();
    assert_eq!(mistakes.len(), 1, "{told}");
    assert_eq!((&mistakes[0]["line"], &mistakes[0]["column"]), (&json!(9), &json!(11)));
    assert!(mistakes[0]["message"].as_str().unwrap().starts_with("artifact `filez`: "), "{told}");
}

#[test]
fn what_is_not_started_is_told_where_it_stands() {
    let site = Site::new();
    let tool = "  tool: { image: small/front:1.0.0, profiles: [debug] }\n  other: { image: small/other:1, profiles: [debug] }\n";
    site.edit("compose.yaml", "  ticker:\n", &format!("{tool}  ticker:\n"));
    let _ = site
        .run(&["lint"])
        .succeeds()
        .says("compose.yaml:15:3: service `tool` has profiles; it is not started on site\n")
        .says("compose.yaml:16:3: service `other` has profiles; it is not started on site and its image is left out\n");
}

#[test]
fn an_image_of_another_name_is_taken_with_a_warning() {
    let site = Site::new();
    for file in ["ferry.yaml", "compose.yaml"] {
        site.edit(file, "small/front:1.0.0", "small/frnt:1.0.0");
    }
    let key = keys::write(site.folder.path(), "key", 1).unwrap();
    let out = site.folder.path().join("site.fz");
    let build = ["build", "--offline", "--key", key.private.to_str().unwrap(), "-o", out.to_str().unwrap()];
    let called = "image small/frnt:1.0.0 is the one that";
    let _ = site.run(&build).succeeds().says(called).says("calls `small/front:1.0.0`");
    // Who names the member means it.
    site.edit("ferry.yaml", "dist/front.tar", "dist/front.tar:small/front:1.0.0");
    let _ = site.run(&build).succeeds().does_not_say(called);
}

#[test]
fn a_build_that_is_stopped_says_only_that() {
    let site = Site::new();
    let file = fs::File::create(site.path().join("files/huge")).unwrap();
    file.set_len(64 << 30).unwrap();
    let key = keys::write(site.folder.path(), "key", 1).unwrap();
    let mut command = programs::command(programs::ferry());
    command.arg("build").arg(site.path()).args(["--offline", "--key"]).arg(&key.private);
    let mut running = Running::start(command.arg("--json").current_dir(site.folder.path()));
    assert!(running.wait_for(|line| line.contains("\"begin\"") && line.contains("\"packing\"")));
    running.signal(rustix::process::Signal::INT);
    let stopped = running.end().exits(130).does_not_say("because").does_not_say("\"summary\":\"failed\"");
    assert_eq!(stopped.json()["error"]["message"], "stopped by Ctrl-C; nothing was written");
}
