//! Plans of real folders and repositories, and of those that must be refused.

use super::seed::SeedPlan;
use super::*;
use crate::read::owner::Owner;
use manifest_schema::manifest::SeedSpec;
use std::process::{Command, Stdio};

fn spec(text: &str, to: Option<&str>) -> ArtifactSpec {
    let from = match text.strip_prefix("git:") {
        None => ArtifactFrom::Path(text.to_owned()),
        Some(rest) => {
            let (repository, rest) = rest.split_once('@').unwrap();
            let (reference, path) =
                rest.split_once(':').map_or((rest, None), |(reference, path)| (reference, Some(path)));
            ArtifactFrom::Git {
                repository: repository.into(),
                reference: reference.into(),
                path: path.map(str::to_owned),
            }
        }
    };
    let to_folder = to.is_some_and(|to| to.ends_with('/'));
    let to = to.map(|to| to.trim_end_matches('/').parse().unwrap());
    ArtifactSpec { from, text: text.to_owned(), to, to_folder, line: 3 }
}

fn one(folder: &Path, text: &str, to: Option<&str>) -> ArtifactPlan {
    plan(&[spec(text, to)], folder, ("ferry.yaml", ""), &Cancel::default())
        .unwrap_or_else(|error| panic!("{error}"))
        .remove(0)
}

fn refused(folder: &Path, specs: &[ArtifactSpec], parts: &[&str]) {
    let error = plan(specs, folder, ("ferry.yaml", ""), &Cancel::default()).unwrap_err().to_string();
    for part in parts.iter().chain(&["ferry.yaml:3: artifact"]) {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
}

/// `path kind` of every entry, content included.
fn listed(plan: &ArtifactPlan) -> Vec<String> {
    let describe = |entry: &PlannedEntry| match &entry.kind {
        EntryKind::Folder => format!("{}/", entry.path),
        EntryKind::Symlink { target } => format!("{} -> {target}", entry.path),
        EntryKind::File { size, executable, .. } => {
            let mut content = String::new();
            entry.open().unwrap().read_to_string(&mut content).unwrap();
            assert_eq!(content.len() as u64, *size);
            format!("{}{} = {content}", entry.path, if *executable { "*" } else { "" })
        }
    };
    plan.entries.iter().map(describe).collect()
}

pub(super) fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, content) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

#[cfg(unix)]
fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o4750)).unwrap();
}

#[test]
#[cfg(unix)]
fn a_folder_is_sorted_and_normalised() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(root, &[("dist/b/z", "zz"), ("dist/b.txt", "b"), ("dist/a", "a")]);
    make_executable(&root.join("dist/a"));
    std::fs::create_dir(root.join("dist/empty")).unwrap();
    std::os::unix::fs::symlink("../a", root.join("dist/b/up")).unwrap();
    let plan = one(root, "dist", None);
    assert_eq!(
        listed(&plan),
        [
            "dist/",
            "dist/a* = a",
            "dist/b/",
            "dist/b.txt = b",
            "dist/b/up -> ../a",
            "dist/b/z = zz",
            "dist/empty/"
        ]
    );
    assert_eq!((plan.kind, plan.files(), plan.bytes()), (ArtifactKind::Folder, 3, 4));
    assert_eq!(listed(&one(root, "./dist/", Some("x/y")))[..2], ["x/y/", "x/y/a* = a"]);
    // `.` has a name too: that of the folder it stands for.
    assert_eq!(one(&root.join("dist"), ".", None).to.as_str(), "dist");
}

#[test]
fn kinds_go_by_name_and_first_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(
        root,
        &[
            ("a.deb", "!<arch>\ndebian"),
            ("a.jar", "PK\x03\x04x"),
            ("a.tar", ""),
            ("a.bin", ""),
            ("A.ZIP", "PK\x05\x06"),
        ],
    );
    std::fs::write(root.join("a.tar.gz"), b"\x1f\x8b\x08").unwrap();
    assert_eq!(one(root, "a.deb", Some("debs/")).to.as_str(), "debs/a.deb");
    assert_eq!(one(root, "a.deb", Some("debs")).entries[0].path.as_str(), "debs");
    let kinds = [
        ("a.deb", ArtifactKind::Deb),
        ("a.jar", ArtifactKind::Jar),
        ("a.tar", ArtifactKind::Archive),
        ("a.tar.gz", ArtifactKind::Archive),
        ("A.ZIP", ArtifactKind::Archive),
        ("a.bin", ArtifactKind::File),
    ];
    for (name, kind) in kinds {
        assert_eq!(one(root, name, None).kind, kind, "{name}");
    }
    write(root, &[("b.deb", "<html>"), ("b.jar", ""), ("b.tgz", "no")]);
    refused(root, &[spec("b.deb", None)], &["b.deb", "a Debian package"]);
    refused(root, &[spec("b.jar", None)], &["a Java archive"]);
    refused(root, &[spec("b.tgz", None)], &["a gzip archive"]);
    refused(root, &[spec("gone", None)], &["gone cannot be found"]);
}

#[test]
#[cfg(unix)]
fn what_cannot_be_carried_is_refused() {
    use std::os::unix::fs::symlink;
    for (target, path) in [
        ("/etc/passwd", "l"),
        ("../out", "l"),
        ("../../x", "s/l"),
        ("..", "l"),
        ("s/../../x", "l"),
        ("s/..", "l"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &[("dist/s/f", "")]);
        symlink(target, folder.path().join("dist").join(path)).unwrap();
        refused(folder.path(), &[spec("dist", None)], &[path, target]);
    }
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("dist/f", "")]);
    symlink("x\nfile\tartifacts/y", folder.path().join("dist/l")).unwrap();
    refused(folder.path(), &[spec("dist", None)], &["symbolic link `l` holds a control character"]);
    std::fs::remove_file(folder.path().join("dist/l")).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(folder.path().join("dist/socket")).unwrap();
    refused(folder.path(), &[spec("dist", None)], &["dist/socket is neither a file nor a folder"]);
    refused(folder.path(), &[spec("dist/socket", None)], &["neither a file nor a folder"]);
    drop(socket);
    std::fs::remove_file(folder.path().join("dist/socket")).unwrap();
    for name in ["pipe", "pipe.deb"] {
        let pipe = folder.path().join("dist").join(name);
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        refused(folder.path(), &[spec(&format!("dist/{name}"), None)], &["neither a file nor a folder"]);
        std::fs::remove_file(pipe).unwrap();
    }
    write(folder.path(), &[("dist/back\\slash", "")]);
    refused(folder.path(), &[spec("dist", None)], &["backslash"]);
}

#[test]
fn no_two_artifacts_want_one_place() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(root, &[("a/x", ""), ("b/x", ""), ("c/X", ""), ("d/y", ""), ("x", "")]);
    let pair = |a: (&str, &str), b: (&str, &str)| [spec(a.0, Some(a.1)), spec(b.0, Some(b.1))];
    plan(&pair(("a", "t"), ("d", "t")), root, ("f", ""), &Cancel::default()).unwrap();
    plan(&pair(("a", "t/1"), ("d", "t/2")), root, ("f", ""), &Cancel::default()).unwrap();
    for (specs, part) in [
        (pair(("a", "t"), ("b", "t")), "both want `t/x`"),
        (pair(("a", "t"), ("c", "t")), "differ in case only"),
        (pair(("a", "t"), ("d", "T")), "differ in case only"),
        (pair(("a", "Up/t"), ("d", "up/u")), "differ in case only"),
        (pair(("x", "t"), ("d", "t/u")), "both want `t`"),
    ] {
        refused(root, &specs, &[part]);
    }
}

#[test]
fn what_changes_after_planning_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    std::fs::write(&path, "12345").unwrap();
    let plan = one(folder.path(), "f", None);
    let entry = &plan.entries[0];
    let mut reader = entry.open().unwrap();
    std::fs::write(&path, "1234567").unwrap();
    let error = reader.read_to_string(&mut String::new()).unwrap_err();
    assert!(error.to_string().contains("grew"), "{error}");
    assert!(format!("{:#}", entry.open().map(|_| ()).unwrap_err()).contains("changed"));
    std::fs::write(&path, "12345").unwrap();
    let mut reader = entry.open().unwrap();
    std::fs::write(&path, "1").unwrap();
    assert_eq!(reader.read_to_string(&mut String::new()).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    std::fs::remove_file(&path).unwrap();
    assert!(entry.open().is_err());
}

/// Runs git as a person would, without that person's configuration.
fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "protocol.file.allow=always"])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .current_dir(folder)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
#[cfg(unix)]
fn a_repository_gives_what_the_commit_holds() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let repository = root.join("plc config");
    write(
        &repository,
        &[
            ("a/deep/f", "one\r\n"),
            ("run", "#!"),
            ("z", ""),
            (".gitattributes", "* text eol=crlf\n* export-ignore\n"),
        ],
    );
    make_executable(&repository.join("run"));
    std::os::unix::fs::symlink("deep/f", repository.join("a/l")).unwrap();
    git(&repository, &["init", "-q", "-b", "main"]);
    git(&repository, &["add", "-A"]);
    git(&repository, &["commit", "-q", "-m", "1"]);
    git(&repository, &["tag", "-a", "v1.8", "-m", "annotated"]);
    let commit = git(&repository, &["rev-parse", "HEAD"]);
    let content = git(&repository, &["cat-file", "blob", "HEAD:a/deep/f"]);
    // Later work in the folder and on the branch does not matter.
    write(&repository, &[("a/deep/f", "changed"), ("new", "x")]);

    let all = one(root, "git:plc config@v1.8", None);
    assert_eq!(all.commit.as_deref(), Some(commit.as_str()));
    assert_eq!((all.kind, all.to.as_str()), (ArtifactKind::Git, "plc config"));
    let text = listed(&all);
    assert_eq!(text[0], "plc config/");
    assert!(text.contains(&"plc config/a/l -> deep/f".to_owned()), "{text:?}");
    assert!(text.contains(&"plc config/run* = #!".to_owned()), "{text:?}");
    assert!(
        text.iter().any(|line| line.starts_with("plc config/a/deep/f = ") && line.contains(&content)),
        "{text:?}"
    );
    assert!(!text.iter().any(|line| line.contains("new")));

    assert_eq!(listed(&one(root, &format!("git:plc config@{commit}:a/deep"), Some("plc")))[..1], ["plc/"]);
    let single = one(root, "git:plc config@main:run", None);
    assert_eq!(listed(&single), ["run* = #!"]);
    assert_eq!(listed(&one(root, "git:plc config@main:run", Some("bin/"))), ["bin/run* = #!"]);
    assert_eq!(listed(&one(root, "git:plc config@HEAD:a/l", None)), ["l -> deep/f"]);
    assert_eq!(one(&repository, "git:.@HEAD", None).to.as_str(), "plc config");
    // Blobs can be opened again, in any order, and left half-read.
    let files: Vec<&PlannedEntry> =
        all.entries.iter().filter(|e| matches!(e.kind, EntryKind::File { .. })).collect();
    drop(files[0].open().unwrap());
    let (mut first, mut second) = (files[0].open().unwrap(), files[1].open().unwrap());
    assert!(
        first.read_to_string(&mut String::new()).is_ok() && second.read_to_string(&mut String::new()).is_ok()
    );

    refused(root, &[spec("git:plc config@v9", None)], &["no commit, tag or branch `v9`"]);
    refused(root, &[spec("git:plc config@HEAD:nothing", None)], &["no `nothing` at `HEAD`"]);
    refused(root, &[spec("git:plc config@--output=x", None)], &["is not the name of a commit"]);
    refused(root, &[spec("git:nowhere@HEAD", None)], &["nowhere is not a git repository"]);
    // A folder inside a repository is not that repository.
    refused(&repository, &[spec("git:a@HEAD", None)], &["not a git repository"]);
}

#[test]
fn content_that_is_elsewhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    // Another file: equal ones give equal commits within a second, and the submodule's would be in both.
    write(root, &[("other/f", "y"), ("repo/f", "x")]);
    for name in ["other", "repo"] {
        git(&root.join(name), &["init", "-q"]);
        git(&root.join(name), &["add", "-A"]);
        git(&root.join(name), &["commit", "-q", "-m", "1"]);
    }
    git(&root.join("repo"), &["submodule", "--quiet", "add", "../other", "libs/other"]);
    git(&root.join("repo"), &["commit", "-q", "-m", "2"]);
    refused(root, &[spec("git:repo@HEAD", None)], &["submodules", "libs/other"]);
    refused(root, &[spec("git:repo@HEAD:libs/other", None)], &["is a submodule"]);
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n";
    write(root, &[("other/big.bin", pointer)]);
    git(&root.join("other"), &["add", "-A"]);
    git(&root.join("other"), &["commit", "-q", "-m", "lfs"]);
    refused(root, &[spec("git:other@HEAD", None)], &["big.bin", "LFS"]);
    // A hook or filter of the repository is never run.
    write(root, &[("evil/f", "x"), ("evil/.gitattributes", "* filter=evil\n")]);
    git(&root.join("evil"), &["init", "-q"]);
    git(&root.join("evil"), &["add", "-A"]);
    git(&root.join("evil"), &["commit", "-q", "-m", "1"]);
    let witness = root.join("ran");
    for key in ["filter.evil.smudge", "filter.evil.clean", "core.fsmonitor", "core.pager", "core.sshCommand"]
    {
        git(&root.join("evil"), &["config", key, &format!("touch {}", witness.display())]);
    }
    assert_eq!(one(root, "git:evil@HEAD:f", None).bytes(), 1);
    assert!(!witness.exists());
}

fn seed_plan(place: &Path) -> anyhow::Result<SeedPlan> {
    written_plan(place, None)
}

pub(super) fn written_plan(place: &Path, mode: Option<u32>) -> anyhow::Result<SeedPlan> {
    let spec = SeedSpec { volume: "data".to_owned(), from: "seed".to_owned(), owner: None, mode, line: 3 };
    SeedPlan::new(&spec, place, None, &Cancel::default())
}

#[test]
fn a_seed_that_is_no_tar_is_named() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("seed", "version https://git-lfs.github.com/spec/v1\n")]);
    let error = seed_plan(&folder.path().join("seed")).unwrap_err().to_string();
    assert!(error.contains("is not a tar file") && error.contains("git lfs pull"), "{error}");
}

pub(super) fn seed_tar(plan: &SeedPlan) -> Vec<u8> {
    let mut bytes = Vec::new();
    plan.open(&Cancel::default()).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(plan.bytes(&Cancel::default()).unwrap(), bytes.len() as u64);
    bytes
}

#[test]
#[cfg(unix)]
fn seeds_are_tars_that_say_the_same_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let long = format!("seed/{}/f", "long-name".repeat(20));
    write(root, &[("seed/b", &"x".repeat(700)), ("seed/a/c", ""), (&long, "deep")]);
    make_executable(&root.join("seed/a/c"));
    std::os::unix::fs::symlink("a/c", root.join("seed/l")).unwrap();
    let read = |place: &Path| seed_tar(&seed_plan(place).unwrap());
    let bytes = read(&root.join("seed"));
    let mut archive = tar::Archive::new(&bytes[..]);
    let entries: Vec<String> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            let header = entry.header();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()), (0, 0, 0));
            format!("{} {:o} {}", entry.path().unwrap().display(), header.mode().unwrap(), content.len())
        })
        .collect();
    let name = "long-name".repeat(20);
    let expected = [
        "a/ 755 0",
        "a/c 755 0",
        "b 644 700",
        "l 777 0",
        &format!("{name}/ 755 0"),
        &format!("{name}/f 644 4"),
    ];
    assert_eq!(entries, expected);
    for (name, content) in [("s.tar", bytes.clone()), ("s.tar.zst", zstd::encode_all(&bytes[..], 3).unwrap())]
    {
        std::fs::write(root.join(name), content).unwrap();
        assert_eq!(read(&root.join(name)), bytes);
    }
    std::fs::write(root.join("no.tar"), "no tar at all").unwrap();
    assert!(seed_plan(&root.join("no.tar")).is_err());
    assert!(seed_plan(&root.join("gone")).is_err());
}

/// An entry of a tar without content, of user 70, group 71 and mode 0700.
pub(super) fn entry(name: &str, kind: tar::EntryType) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_path(name).unwrap();
    header.set_uid(70);
    header.set_gid(71);
    header.set_mode(0o700);
    header.set_size(0);
    header.set_cksum();
    header.as_bytes().to_vec()
}

/// `path uid:gid mode` of every entry of a tar.
pub(super) fn owners(tar: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().unwrap().map(Result::unwrap);
    let one = |entry: tar::Entry<'_, &[u8]>| {
        let header = entry.header();
        let path = entry.path().unwrap().display().to_string();
        format!("{path} {}:{} {:o}", header.uid().unwrap(), header.gid().unwrap(), header.mode().unwrap())
    };
    entries.map(one).collect()
}

#[test]
fn the_owner_of_a_seed_stands_in_its_tar() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(root, &[("seed/sub/row", "x")]);
    let mine = Owner { uid: 1000, gid: 1001, mode: 0o2750 };
    let mut plan = seed_plan(&root.join("seed")).unwrap();
    let plain = seed_tar(&plan);
    assert_eq!(owners(&plain), ["sub/ 0:0 755", "sub/row 0:0 644"]);
    plan.give_owner(mine, None);
    assert_eq!(owners(&seed_tar(&plan)), [". 1000:1001 2750", "sub/ 1000:1001 755", "sub/row 1000:1001 644"]);

    // A tar keeps what it says, and is told only what it does not say.
    let (dot, row) = (entry(".", tar::EntryType::Directory), entry("row", tar::EntryType::Regular));
    let bare = [&row[..], &[0; 1024]].concat();
    std::fs::write(root.join("bare.tar"), &bare).unwrap();
    let mut plan = seed_plan(&root.join("bare.tar")).unwrap();
    assert_eq!((seed_tar(&plan), plan.root()), (bare, Owner::default()));
    plan.give_owner(mine, None);
    assert_eq!(owners(&seed_tar(&plan)), [". 1000:1001 2750", "row 70:71 700"]);
    let named = [&row[..], &dot, &[0; 1024]].concat();
    std::fs::write(root.join("named.tar"), &named).unwrap();
    let mut plan = seed_plan(&root.join("named.tar")).unwrap();
    plan.give_owner(mine, None);
    assert_eq!((seed_tar(&plan), plan.root()), (named, Owner { uid: 70, gid: 71, mode: 0o700 }));
}

#[test]
fn a_seed_of_tars_oldest_format_is_read_and_a_damaged_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v7.tar");
    let mut header = tar::Header::new_old();
    header.set_path("row").unwrap();
    header.set_uid(70);
    header.set_gid(71);
    header.set_mode(0o600);
    header.set_size(1);
    header.set_cksum();
    let tar = [&header.as_bytes()[..], &[b'x'; 1], &[0; 511 + 1024]].concat();
    std::fs::write(&path, &tar).unwrap();
    assert_eq!(owners(&seed_tar(&seed_plan(&path).unwrap())), ["row 70:71 600"]);
    assert_eq!(std::fs::read(&path).unwrap(), tar);
    for damaged in [&tar[..513], &[&tar[..512], &[7; 512], &tar[..512], b"no header"].concat()] {
        std::fs::write(&path, damaged).unwrap();
        let error = format!("{:#}", seed_plan(&path).unwrap_err());
        assert!(error.contains("v7.tar"), "{error}");
    }
}

#[test]
fn what_leads_out_of_a_seed_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("seed.tar");
    let plan = |name: &str, kind, link: &str| {
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mode(0o777);
        header.set_size(0);
        header.set_cksum();
        std::fs::write(&path, [&header.as_bytes()[..], &[0; 1024]].concat()).unwrap();
        seed_plan(&path)
    };
    let (soft, hard, file) = (tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Regular);
    for (name, kind, link) in [
        ("conf/out", soft, "../../etc/localtime"),
        ("out", soft, ".."),
        ("./conf/out", hard, "../x"),
        ("../out", file, ""),
        ("a/../../out", file, ""),
    ] {
        let error = format!("{:#}", plan(name, kind, link).unwrap_err());
        assert!(error.contains(&format!("`{name}` leads")) && error.contains(link), "{error}");
    }
    for (name, kind, link) in [
        ("conf/up", soft, "../x"),
        ("conf/zone", soft, "/usr/share/zoneinfo/UTC"),
        ("./conf/deep/up", soft, "../../x"),
        ("conf/hard", hard, "./conf/x"),
        ("/row", file, ""),
    ] {
        assert!(plan(name, kind, link).is_ok(), "{name} -> {link}");
    }
}
