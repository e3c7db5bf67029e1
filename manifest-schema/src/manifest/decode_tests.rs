use super::*;
use crate::manifest::VariableKind;
use proptest::prelude::*;

const WHOLE: &str = r#"# yaml-language-server: $schema=./ferry.schema.json
ferry: 1
name: plant-monitor
version: 2.4.0
compose: ./deploy/compose.yaml
images:
  acme/api:2.4.0: docker-archive:dist/api.tar
  acme/db:16: { from: "docker-daemon:acme/db:16", preserve: true }
artifacts:
  - dist/plant-agent.deb
  - from: git:../plc-config@v1.8
    to: plc/
configs:
  - from: templates/nginx.conf.j2
    to: config/nginx.conf
    mode: 0640
volumes:
  pgdata: { seed: seed/pgdata.tar }
variables:
  plant_name: { prompt: "Name of this plant", pattern: "^[A-Z]{3}-[0-9]+$" }
  cameras: { type: list, default: [] }
  db_password: { type: secret, generate: 32 }
requires: { engine: ">=20.10", arch: [amd64, arm64/v8], memory: 4GiB, disk: 512m }
x-note: anything
"#;

fn refused(text: &str) -> String {
    Manifest::parse("ferry.yaml", text).expect_err("it must be refused").to_string()
}

#[test]
fn a_whole_manifest() {
    let manifest = Manifest::parse("ferry.yaml", WHOLE).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(manifest.name.as_str(), "plant-monitor");
    assert_eq!(manifest.version, "2.4.0");
    assert_eq!(manifest.compose[0].as_str(), "deploy/compose.yaml");
    assert_eq!(manifest.images.len(), 2);
    assert_eq!((manifest.images[0].line, manifest.images[0].preserve), (7, false));
    assert_eq!(
        manifest.images[1],
        ImageSource {
            reference: "acme/db:16".parse().unwrap(),
            source: SourceSpec::DockerDaemon { reference: "acme/db:16".into() },
            preserve: true,
            line: 8
        }
    );
    assert_eq!(manifest.artifacts[0].from, ArtifactFrom::Path("dist/plant-agent.deb".into()));
    assert_eq!(manifest.artifacts[0].to, None);
    assert_eq!(manifest.artifacts[1].text, "git:../plc-config@v1.8");
    assert_eq!(manifest.artifacts[1].to.as_ref().unwrap().as_str(), "plc");
    assert!(manifest.artifacts[1].to_folder);
    assert_eq!(manifest.configs[0].mode, Some(0o640));
    assert_eq!(
        (manifest.seeds[0].volume.as_str(), manifest.seeds[0].from.as_str()),
        ("pgdata", "seed/pgdata.tar")
    );
    assert_eq!(manifest.variables["db_password"].kind, VariableKind::Secret);
    let requires = &manifest.requires;
    assert_eq!(requires.engine.as_deref(), Some("20.10"));
    assert_eq!(requires.platforms, ["linux/amd64".parse().unwrap(), "linux/arm64/v8".parse().unwrap()]);
    assert_eq!((requires.memory_bytes, requires.disk_bytes), (Some(4 << 30), Some(512 << 20)));
}

#[test]
fn the_shortest_manifest_and_its_defaults() {
    let manifest = Manifest::parse("ferry.yaml", "ferry: 1\nname: a\nversion: 1.10\n").unwrap();
    assert_eq!(manifest.version, "1.10");
    assert_eq!(manifest.compose[0].as_str(), "compose.yaml");
    assert_eq!(manifest.requires.platforms, ["linux/amd64".parse().unwrap()]);
    let one = "ferry: 1\nname: a\nversion: 1\nrequires: { engine: 20.10, arch: arm64 }\n";
    let requires = Manifest::parse("ferry.yaml", one).unwrap().requires;
    assert_eq!((requires.engine.as_deref(), requires.platforms.len()), (Some("20.10"), 1));
}

#[test]
fn all_mistakes_are_told_together_with_place_line_and_hint() {
    let text = "ferry: 1\nname: Plant\nversion: 2.4.0\nimags:\n  a: b\nartifacts: dist/x.deb\nconfigs:\n  - from: a.j2\n    mode: 640\n";
    assert_eq!(
        refused(text),
        "ferry.yaml:2:7: `name`: `Plant` is not a valid project name: it must start with a lower-case letter or a digit\n  \
           2 | name: Plant\n    |       ^\n\
         ferry.yaml:4:1: unknown key `imags` in the manifest\n  4 | imags:\n    | ^\n  hint: did you mean `images`?\n\
         ferry.yaml:6:12: expected a list for `artifacts`, found a string `dist/x.deb`\n  6 | artifacts: dist/x.deb\n    |            ^\n  hint: write one entry a line, each after `- `\n\
         ferry.yaml:8:5: the config has no `to`\n  8 |   - from: a.j2\n    |     ^\n  hint: add it, like `to: config/nginx.conf`\n\
         ferry.yaml:9:11: `mode`: `640` is not a file mode; write it in octal with a leading zero, like 0644\n  9 |     mode: 640\n    |           ^"
    );
}

#[test]
fn realistic_mistakes() {
    let with = |more: &str| refused(&format!("ferry: 1\nname: a\nversion: 1\n{more}"));
    assert_eq!(
        with("images:\n  acme/api:2: dist/api.tar\n"),
        "ferry.yaml:5:15: `dist/api.tar` names no transport\n  5 |   acme/api:2: dist/api.tar\n    |               ^\n  \
         hint: write `docker-archive:dist/api.tar` for a file of `docker save`, `oci:dist/api.tar` for a layout folder"
    );
    assert_eq!(
        with("requires: { arch: [x86_64] }\n"),
        "ferry.yaml:4:20: `x86_64` is not a known architecture\n  4 | requires: { arch: [x86_64] }\n    |                    ^\n  hint: did you mean `amd64`?"
    );
    assert_eq!(
        with("images:\n  nginx: docker://nginx\n  nginx:latest: docker://nginx\n"),
        "ferry.yaml:6:3: image `nginx:latest` is written twice; the first is on line 5\n  6 |   nginx:latest: docker://nginx\n    |   ^\n  hint: keep one of them"
    );
    for (more, part) in [
        ("images: [a]\n", "expected a map for `images`, found a list"),
        (
            "images: { a: { preserve: yes } }\n",
            "expected `true` or `false` for `preserve`, found a string `yes`",
        ),
        ("images: { a: { preserve: true } }\n", "image `a` has no `from`"),
        ("images: { 'A B': docker://x }\n", "write it as Compose's `image` names it"),
        ("artifacts: [{ to: x }]\n", "the artifact has no `from`"),
        ("artifacts: [{ from: x, to: /etc }]\n", "it is absolute"),
        ("artifacts: [{ from: x, to: ../y }]\n", "`.` or `..` component"),
        ("artifacts: [git:../x]\n", "names no tag, branch or commit"),
        ("artifacts: [7]\n", "put it in quotes: \"7\""),
        ("configs: [a.conf]\n", "expected a map for an entry of `configs`"),
        ("configs: [{from: a, to: c}, {from: b, to: ./c}]\n", "`c` is written by two configs"),
        ("volumes: { pg: { sead: x } }\n", "did you mean `seed`?"),
        ("requires: { engine: new }\n", "is not a minimum version"),
        ("requires: { memory: lots }\n", "`lots` is not a size"),
        ("requires: { cpu: 4 }\n", "known keys: engine, arch, memory, disk"),
        ("compose: ../compose.yaml\n", "`.` or `..` component"),
    ] {
        assert!(with(more).contains(part), "{more}: {}", with(more));
    }
    for (text, part) in [
        ("", "the manifest is empty"),
        ("- a\n", "expected a map for `the manifest`, found a list"),
        ("name: a\nversion: 1\n", "begin it with `ferry: 1`"),
        ("ferry: 3\nname: a\nversion: 1\n", "has version 3; this program reads versions 1 and 2"),
        ("ferry: 0\nname: a\nversion: 1\n", "has version 0; this program reads versions 1 and 2"),
        ("ferry: '1'\nname: a\nversion: 1\n", "write `ferry: 1`"),
        ("ferry: 1\n", "the manifest has no `version`"),
        ("ferry: 1\nname: a\nversion: 1/2\n", "may hold only letters"),
        ("ferry: 1\nname: [a]\nversion: 1\n", "expected a string for `name`, found a list"),
    ] {
        assert!(refused(text).contains(part), "{text}: {}", refused(text));
    }
}

#[test]
fn keys_of_version_2_are_read_there_and_nowhere_else() {
    let text = "ferry: 2\nneeds: [seed-owner, serial]\nname: a\nversion: summer\nserial: 9007199254740991\n";
    let manifest = Manifest::parse("ferry.yaml", text).unwrap();
    assert_eq!((manifest.ferry, manifest.serial), (2, Some((1 << 53) - 1)));
    let names =
        |manifest: &Manifest| manifest.features().iter().map(|feature| feature.name).collect::<Vec<_>>();
    // What is used counts, whether it is listed or not.
    assert_eq!(names(&manifest), ["serial"]);
    let owner = "ferry: 2\nname: a\nversion: 1\nvolumes: { v: { seed: s, mode: '0700' } }\n";
    assert_eq!(names(&Manifest::parse("ferry.yaml", owner).unwrap()), ["seed-owner"]);
    let plain = Manifest::parse("ferry.yaml", "ferry: 2\nname: a\nversion: 1\n").unwrap();
    assert_eq!((plain.ferry, names(&plain)), (2, vec![]));
    // A limit of the build is no matter of its readers.
    let lifted =
        Manifest::parse("ferry.yaml", "ferry: 2\nname: a\nversion: 1\nlimits: { unpacked: 40GiB }\n")
            .unwrap();
    assert_eq!((lifted.unpacked_bytes, names(&lifted)), (Some(40 << 30), vec![]));
    let begin = "name: a\nversion: 1\n";
    for (key, line) in [
        ("serial", "serial: 7"),
        ("limits", "limits: { unpacked: 40GiB }"),
        ("needs", "needs: [serial]"),
        ("owner", "volumes: { v: { seed: s, owner: '1:1' } }"),
        ("mode", "volumes: { v: { seed: s, mode: '0700' } }"),
    ] {
        let found = refused(&format!("ferry: 1\n{begin}{line}\n"));
        assert!(found.contains(&format!("`{key}` needs `ferry: 2`")), "{found}");
        assert!(found.contains("write `ferry: 2` in the first line"), "{found}");
        assert!(Manifest::parse("ferry.yaml", &format!("ferry: 2\n{begin}{line}\n")).is_ok(), "{line}");
    }
    for (line, says) in [
        ("serial: 0", "must lie between 1 and 9007199254740991"),
        ("serial: 9007199254740992", "must lie between 1 and 9007199254740991"),
        ("serial: '7'", "expected a whole number for `serial`"),
        ("serial: 1.5", "expected a whole number for `serial`"),
        ("needs: serial", "expected a list for `needs`"),
        ("limits: { unpacked: much }", "`unpacked`"),
        ("limits: { packed: 1GiB }", "unknown key `packed` in `limits`"),
    ] {
        let found = refused(&format!("ferry: 2\n{begin}{line}\n"));
        assert!(found.contains(says), "{line}: {found}");
    }
    // A later Ferry's keys are no mistakes here: the feature is missing, and says so alone.
    let later = refused(&format!("ferry: 2\nneeds: [keep, serial]\n{begin}keep: 3\n"));
    assert!(later.contains("the manifest needs `keep`, which this program does not have"), "{later}");
    assert!(
        later.contains("this one has compose-2, seed-owner, serial") && !later.contains("unknown key"),
        "{later}"
    );
    let many = (0..33).map(|_| "serial").collect::<Vec<_>>().join(", ");
    assert!(refused(&format!("ferry: 2\n{begin}needs: [{many}]\n")).contains("the limit is 32"));
}

#[test]
fn a_thousand_mistakes_end_in_a_hundred_and_a_count() {
    let text: String = (0..1000).map(|n| format!("bad{n}: 1\n")).collect();
    let error = Manifest::parse("ferry.yaml", &text).unwrap_err();
    assert_eq!(error.0.len(), 101);
    assert_eq!(error.0[100].message, "903 more mistakes are not shown");
}

proptest! {
    #[test]
    fn a_damaged_manifest_is_read_or_refused(at in 0..WHOLE.len(), cut in 0..12_usize, put in "[-:{}\\[\\]#&*'\" a1\\n]{0,4}") {
        let (start, end) = (at, (at + cut).min(WHOLE.len()));
        let text = format!("{}{put}{}", &WHOLE[..start], &WHOLE[end..]);
        if let Err(error) = Manifest::parse("ferry.yaml", &text) {
            prop_assert!(!error.0.is_empty());
            let _ = error.to_string();
        }
    }
}
