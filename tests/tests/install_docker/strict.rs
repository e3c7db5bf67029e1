//! Nobody but root may write what Ferry trusts.

use fixtures::small_site::SmallSite;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;
use tests::bundle;
use tests::host::Host;
use tests::outcome::Outcome;
use tests::programs::stock;
use tests::snapshot::assert_unchanged;

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_folder_of_a_users_is_found_before_anything_is_imported() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::small(folder.path(), &SmallSite::default());
    let host = Host::docker("strict-root");
    let home = host.engine.folder().join("users-own");
    fs::create_dir(&home).unwrap();
    chown(&home, Some(1000), Some(1000)).unwrap();
    let [trust, fingerprint] = built.trust();
    let root = home.join("ferry");
    let before = host.snapshot();
    let arguments = ["--root", root.to_str().unwrap(), trust, fingerprint, built.path()];
    let refused = host.run(&arguments).exits(7);
    let _ = refused
        .says(&format!("{} belongs to user 1000, not to root", home.display()))
        .says(&format!("fix: `chown -h root {}`", home.display()))
        .says("nothing was changed");
    let json = host.run(&[&["--json"][..], &arguments[..]].concat()).exits(7).json();
    assert_eq!(json["error"]["exit_code"], 7);
    assert_unchanged(&before, &host.snapshot(), "a folder of a user's");
    assert!(!root.exists());
}

#[test]
fn a_user_without_root_who_reaches_the_engine_is_told_so_before_anything_is_imported() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::small(folder.path(), &SmallSite::default());
    let host = Host::docker("strict-group");
    // The user, the engine's socket, the program, the bundle and a folder of the user's, all within reach.
    let place = tempfile::tempdir().unwrap();
    mode(place.path(), 0o755);
    let own = place.path().join("own");
    fs::create_dir(&own).unwrap();
    chown(&own, Some(65534), Some(65534)).unwrap();
    let (program, file) = (place.path().join("install"), place.path().join("site.fz"));
    fs::copy(tests::programs::install(), &program).unwrap();
    fs::copy(&built.file, &file).unwrap();
    mode(&program, 0o755);
    mode(&file, 0o644);
    let [trust, fingerprint] = built.trust();
    let before = host.snapshot();
    let mut command = host.command(&stock("setpriv"));
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
    command.args(["--no-input", "--root"]).arg(own.join("ferry")).args([trust, fingerprint]).arg(&file);
    let refused = Outcome::of(&mut command).exits(7);
    let _ = refused
        .says("this runs as user 65534, and Ferry's folder is root's")
        .says("fix: run it as root, for example with `sudo`");
    assert_unchanged(&before, &host.snapshot(), "a user without root");
    assert!(!own.join("ferry").exists());
}

#[test]
fn what_others_can_write_is_refused_with_what_helps_until_it_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    let built = bundle::small(folder.path(), &SmallSite::default());
    let host = Host::docker("strict-write");
    let _ = host.install(&built);
    let root = &host.root;
    for (name, code) in [
        ("", 5),
        ("trust", 5),
        ("trust/allowed_signers", 5),
        ("bin", 7),
        ("bin/fz", 7),
        ("products", 7),
        ("products/small", 7),
        ("products/small/installed.json", 7),
    ] {
        let path = root.join(name);
        let path = if name.is_empty() { root.clone() } else { path };
        let was = path.metadata().unwrap().permissions().mode() & 0o7777;
        mode(&path, was | 0o020);
        let before = host.snapshot();
        let fact = format!("{} can be written by its group", path.display());
        let fix = format!("`chmod go-w {}`", path.display());
        let _ = host.run(&[built.path()]).exits(code).says(&fact).says(&fix);
        for command in [&["stop"][..], &["start"], &["uninstall", "--yes"]] {
            let _ = host.run(command).exits(7).says(&fact).says(&fix);
        }
        assert_unchanged(&before, &host.snapshot(), name);
        mode(&path, was);
        let _ = host.run(&[built.path()]).succeeds();
    }

    for name in ["trust/allowed_signers", "bin/fz"] {
        let (path, elsewhere) = (root.join(name), root.join("elsewhere"));
        fs::rename(&path, &elsewhere).unwrap();
        symlink(&elsewhere, &path).unwrap();
        let refused = host.run(&[built.path()]);
        assert!(matches!(refused.code, 5 | 7), "{refused}");
        let _ = refused.says(&format!("{} is a link", path.display()));
        fs::remove_file(&path).unwrap();
        fs::rename(&elsewhere, &path).unwrap();
    }

    let bin = root.join("bin/fz");
    chown(&bin, Some(1000), None).unwrap();
    let _ = host.run(&[built.path()]).exits(7).says(&format!("{} belongs to user 1000", bin.display()));
    chown(&bin, Some(0), None).unwrap();
    let _ = host.run(&[built.path()]).succeeds();
}

#[test]
fn first_installs_at_once_pin_every_key() {
    const SITES: usize = 4;
    let folder = tempfile::tempdir().unwrap();
    let built: Vec<_> = (0..SITES)
        .map(|number| {
            let port = crate::PORT + u16::try_from(number).unwrap();
            let site = SmallSite { name: format!("site-{number}"), port, ..SmallSite::default() };
            let source = folder.path().join(&site.name);
            site.write(&source).unwrap();
            let file = folder.path().join(format!("{}.fz", site.name));
            bundle::signed(folder.path(), &source, &file, u8::try_from(number + 1).unwrap())
        })
        .collect();
    let host = Host::docker("at-once");
    let running: Vec<_> = built
        .iter()
        .map(|built| {
            let [trust, fingerprint] = built.trust();
            host.start(&[trust, fingerprint, built.path()])
        })
        .collect();
    for install in running {
        let _ = install.end().succeeds();
    }
    let pins = fs::read_to_string(host.root.join("trust/allowed_signers")).unwrap();
    for (number, built) in built.iter().enumerate() {
        assert!(pins.contains(&format!("site-{number} ")), "site-{number} is not pinned:\n{pins}");
        let _ = host.run(&[built.path()]).succeeds().says("unchanged: nothing to do");
    }
}
