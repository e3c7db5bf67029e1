//! Messages after mistakes of a release engineer: the exact words, before any work is done.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

use fixtures::small_site::SmallSite;
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use tests::bundle;
use tests::outcome::Outcome;
use tests::programs;

/// The small site with a mistake in it.
struct Site {
    folder: TempDir,
}

impl Site {
    fn with(mistake: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        SmallSite::default().write(folder.path()).unwrap();
        fixtures::keys::write(folder.path(), "key", 1).unwrap();
        mistake(folder.path());
        Self { folder }
    }

    fn edited(file: &str, from: &str, to: &str) -> Self {
        Self::with(|folder| bundle::replace(&folder.join(file), from, to))
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn build(&self, arguments: &[&str]) -> Outcome {
        let mut command = programs::command(programs::ferry());
        Outcome::of(command.current_dir(self.path()).arg("build").args(arguments))
    }

    /// Builds, and compares everything that is said: `code`, and `transcript` on standard error.
    #[track_caller]
    fn says(&self, code: i32, transcript: &str) {
        let before = self.files();
        let outcome = self.build(&["--key", "key", "--offline"]);
        // A stage that was open ends with a line of its own, which has a time in it.
        let failed_stage = outcome.stderr.strip_prefix("✗ finding    failed (");
        let error = failed_stage.and_then(|rest| rest.split_once('\n')).map(|(_, error)| error);
        let error = error.unwrap_or(&outcome.stderr);
        assert!(
            outcome.code == code && outcome.stdout.is_empty() && error == transcript,
            "expected exit code {code} and\n{transcript}--- but this came:\n{outcome}"
        );
        assert_eq!(before, self.files(), "a build that failed left files behind");
    }

    fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

#[test]
fn an_unknown_key_of_the_manifest() {
    Site::edited("ferry.yaml", "artifacts:", "artefacts:").says(
        3,
        "error: ferry.yaml:8:1: unknown key `artefacts` in the manifest
  8 | artefacts:
    | ^
  hint: did you mean `artifacts`?
",
    );
}

#[test]
fn a_wrong_type() {
    Site::edited("ferry.yaml", "version: 1.0.0", "version: [1, 2]").says(
        3,
        "error: ferry.yaml:3:10: expected a string for `version`, found a list
  3 | version: [1, 2]
    |          ^
  hint: write text, in quotes where it looks like something else
",
    );
}

#[test]
fn broken_yaml() {
    Site::with(|folder| fs::write(folder.join("ferry.yaml"), "ferry: 1\nname: [x\n").unwrap()).says(
        3,
        "error: ferry.yaml:2:7: not valid YAML: unclosed bracket '['
  2 | name: [x
    |       ^
  hint: close each `[` and `{`, and separate entries with commas
",
    );
}

#[test]
fn several_mistakes_at_once() {
    Site::with(|folder| {
        bundle::replace(&folder.join("ferry.yaml"), "name: small\n", "name: Small Site\n");
        bundle::replace(&folder.join("ferry.yaml"), "artifacts:", "artefacts:");
    })
    .says(
        3,
        "error: ferry.yaml:2:7: `name`: `Small Site` is not a valid project name: it must start with a lower-case letter or a digit
  2 | name: Small Site
    |       ^
ferry.yaml:8:1: unknown key `artefacts` in the manifest
  8 | artefacts:
    | ^
  hint: did you mean `artifacts`?
",
    );
}

#[test]
fn missing_files() {
    let removed = |name: &'static str| Site::with(move |folder| fs::remove_file(folder.join(name)).unwrap());
    removed("ferry.yaml").says(
        3,
        "error: ferry.yaml: there is no such file
  hint: run `ferry init` in the folder of your compose.yaml to make one
",
    );
    removed("compose.yaml").says(
        3,
        "error: compose.yaml: there is no such file
  hint: the manifest ferry.yaml names it as `compose`
",
    );
    removed("templates/banner.txt.j2").says(
        3,
        "error: ferry.yaml:11:11: the config templates/banner.txt.j2: there is no such file
  11 |   - from: templates/banner.txt.j2
     |           ^
  hint: paths in the manifest start at its own folder
",
    );
    removed("dist/front.tar").says(
        3,
        "error: ferry.yaml:6:3: image `small/front:1.0.0`: ./dist/front.tar cannot be opened: No such file or directory (os error 2)
  6 |   small/front:1.0.0: docker-archive:dist/front.tar
    |   ^
  hint: save the image again, or name another source under `images:`
",
    );
    Site::edited("ferry.yaml", "from: files", "from: filez").says(
        3,
        "error: ferry.yaml:9:11: artifact `filez`: ./filez cannot be found: No such file or directory (os error 2)
  9 |   - from: filez
    |           ^
  hint: paths in the manifest start at its own folder
",
    );
}

#[test]
fn an_image_that_is_nowhere() {
    Site::edited("ferry.yaml", "  small/ticker:1: docker-archive:dist/ticker.tar\n", "").says(
        3,
        "error: compose.yaml:15:3: image `small/ticker:1` for linux/amd64 was not found: images/ holds no archive of your own; the engine at unix:///nonexistent/no-engine-was-named.sock does not answer (Socket not found: /nonexistent/no-engine-was-named.sock); registry docker.io: it was not asked, since the build is offline
  15 |   ticker:
     |   ^
  hint: put an archive made by `docker save` into the folder images/ beside the manifest, or name a source under `images:`
",
    );
}

#[test]
fn a_port_that_is_published_twice() {
    let ports = "    image: small/ticker:1\n    ports: [\"127.0.0.1:18080:80\"]\n";
    Site::edited("compose.yaml", "    image: small/ticker:1\n", ports).says(
        3,
        "error: compose.yaml:17:13: port 18080/tcp is published twice: by service `front` on line 5 and by service `ticker` on line 17
  17 |     ports: [\"127.0.0.1:18080:80\"]
     |             ^
  hint: give one of them another port on the host
",
    );
}

#[test]
fn services_that_wait_for_each_other() {
    let waits = "    image: small/front:1.0.0\n    depends_on: [ticker]\n";
    Site::edited("compose.yaml", "    image: small/front:1.0.0\n", waits).says(
        3,
        "error: compose.yaml:2:3: services wait for each other in a circle: front → ticker → front
  2 |   front:
    |   ^
  hint: delete one `depends_on`
",
    );
}

#[test]
fn a_compose_key_that_is_not_supported() {
    let key = "    image: small/ticker:1\n    isolation: hyperv\n";
    Site::edited("compose.yaml", "    image: small/ticker:1\n", key).says(
        3,
        "error: compose.yaml:17:5: `isolation` is not supported
  17 |     isolation: hyperv
     |     ^
  hint: delete it; it is for Windows containers
",
    );
}

#[test]
fn templates_that_do_not_render() {
    let template = |text: &'static str| {
        Site::with(move |folder| fs::write(folder.join("templates/banner.txt.j2"), text).unwrap())
    };
    template("x {{ site_name\n").says(
        3,
        "error: templates/banner.txt.j2:1:6: not a valid template: unexpected end of input, expected end of variable block
  1 | x {{ site_name
    |      ^
  hint: check that each `{{`, `{%`, `for` and `if` is closed; write literal braces as {{ '{{' }}
",
    );
    template("x {{ sitename }}\n").says(
        3,
        "error: templates/banner.txt.j2:1:6: `sitename` is undefined
  1 | x {{ sitename }}
    |      ^
  hint: did you mean `site_name`?
",
    );
}

#[test]
fn keys_that_cannot_be_used() {
    Site::with(|folder| fs::remove_file(folder.join("key")).unwrap()).says(
        9,
        "error: the key key cannot be read
  because: No such file or directory (os error 2)
hint: make a key with `ferry keygen`, or name yours with --key
",
    );
    let site = Site::with(|_| {});
    let none = site.build(&[]).exits(2);
    assert_eq!(
        none.stderr,
        "error: no key to sign with\n\
         hint: make one with `ferry keygen release` and give it with `--key release` or FERRY_KEY\n"
    );
}

#[test]
fn a_damaged_archive_stops_the_build_and_leaves_nothing() {
    let site = Site::with(|folder| {
        // Inside a layer: found only while packing, when the output has been begun.
        fixtures::damage::flip(&folder.join("dist/front.tar"), 500_000).unwrap();
    });
    let before = site.files();
    let old = [&[0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 1, 0, 0][..], b"the bundle of before"].concat();
    fs::write(site.path().join("small-1.0.0.fz"), &old).unwrap();
    let failed = site.build(&["--key", "key", "--offline"]).exits(3);
    let failed = failed
        .says("a layer of image small/front:1.0.0 in ")
        .says("front.tar is damaged: its content has digest ");
    let _ = failed.says("hint: save the image again, from where it was built");
    assert_eq!(fs::read(site.path().join("small-1.0.0.fz")).unwrap(), old);
    fs::remove_file(site.path().join("small-1.0.0.fz")).unwrap();
    assert_eq!(before, site.files(), "a build that failed left files behind");
}

#[test]
fn ctrl_c_leaves_nothing() {
    let site = Site::with(|folder| {
        SmallSite { ballast: 400 << 20, ..SmallSite::default() }.write(folder).unwrap();
    });
    let before = site.files();
    let mut command = programs::command(programs::ferry());
    command.current_dir(site.path()).args(["build", "--json", "--key", "key", "--offline"]);
    let mut running = tests::running::Running::start(&mut command);
    assert!(running.wait_for(|line| line.contains("packing") && line.contains("detail")));
    running.signal(rustix::process::Signal::INT);
    let stopped = running.end().exits(130);
    assert_eq!(stopped.json()["error"]["message"], "stopped by Ctrl-C; nothing was written");
    assert_eq!(before, site.files(), "a build that was stopped left files behind");
}
