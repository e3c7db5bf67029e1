//! The JSON Schemas against a validator that we did not write: what the parser reads is valid, what it refuses
//! for its shape is not.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::path::Path;
use tests::outcome::Outcome;
use tests::programs;

const VALIDATE: &str = "
import json, sys, yaml, jsonschema
schema = json.load(open(sys.argv[1]))
jsonschema.Draft202012Validator.check_schema(schema)
# Dates and the like are text to us.
class Plain(yaml.SafeLoader): pass
Plain.yaml_implicit_resolvers = {k: [(t, r) for t, r in v if 'timestamp' not in t] for k, v in yaml.SafeLoader.yaml_implicit_resolvers.items()}
errors = list(jsonschema.Draft202012Validator(schema).iter_errors(yaml.load(open(sys.argv[2]), Plain)))
print('\\n'.join(error.message for error in errors))
sys.exit(1 if errors else 0)
";

fn validate(schema: &Path, document: &Path) -> Outcome {
    Outcome::of(programs::command(programs::python()).args(["-c", VALIDATE]).arg(schema).arg(document))
}

fn ferry(arguments: &[&str]) -> Outcome {
    Outcome::of(programs::command(programs::ferry()).args(arguments))
}

fn schema(folder: &Path, arguments: &[&str]) -> std::path::PathBuf {
    let file = folder.join("schema.json");
    fs::write(&file, ferry(arguments).succeeds().stdout).unwrap();
    file
}

#[test]
fn manifests_are_valid_when_the_parser_reads_them() {
    let folder = tempfile::tempdir().unwrap();
    let schema = schema(folder.path(), &["schema"]);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let _ = validate(&schema, &root.join("fixtures/site/ferry.yaml")).succeeds();
    let document = folder.path().join("ferry.yaml");
    let begin = "ferry: 1\nname: plant\nversion: 2.4.0\n";
    let book = fs::read_to_string(root.join("docs/MANIFEST.md")).unwrap();
    let examples = book.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    for example in examples {
        let begin =
            if example.starts_with("ferry: ") { begin.trim_start_matches("ferry: 1\n") } else { begin };
        fs::write(&document, format!("{begin}{example}")).unwrap();
        let _ = validate(&schema, &document).succeeds();
    }
    // Keys of version 2, there and in version 1.
    for line in [
        "serial: 9007199254740991\n",
        "needs: [seed-owner, serial]\n",
        "volumes: { v: { seed: s, owner: '70:71' } }\n",
        "volumes: { v: { seed: s, owner: 'postgres:ssl-cert', mode: '02750' } }\n",
    ] {
        for (version, good) in [("ferry: 2\n", true), ("ferry: 1\n", false)] {
            fs::write(&document, begin.replace("ferry: 1\n", version) + line).unwrap();
            let _ = validate(&schema, &document).exits(i32::from(!good));
            let found = ferry(&["lint", folder.path().to_str().unwrap()]);
            let _ = if good {
                found.does_not_say("needs `ferry: 2`")
            } else {
                found.exits(3).says("needs `ferry: 2`")
            };
        }
    }
    for wrong in [
        "serial: 0\n",
        "serial: 9007199254740992\n",
        "serial: '7'\n",
        "needs: [later]\n",
        "volumes: { v: { seed: s, mode: 0750 } }\n",
        "volumes: { v: { seed: s, mode: '04750' } }\n",
        "volumes: { v: { seed: s, mode: '750' } }\n",
        "volumes: { v: { seed: s, owner: 999 } }\n",
        "volumes: { v: { seed: s, owner: '999' } }\n",
        "volumes: { v: { owner: '9:9' } }\n",
    ] {
        fs::write(&document, begin.replace("ferry: 1\n", "ferry: 2\n") + wrong).unwrap();
        let _ = validate(&schema, &document).exits(1);
        let _ = ferry(&["lint", folder.path().to_str().unwrap()]).exits(3);
    }
    for wrong in [
        "imagse: {}\n",
        "variables: { a: { type: integer } }\n",
        "variables: { a: { promt: x } }\n",
        "images: { a: 'ftp:x' }\n",
        "configs: [{ from: a }]\n",
        "requires: { engnie: '20' }\n",
        "compose: []\n",
        "artifacts: { from: a }\n",
        "variables: { a: { type: secret, default: x } }\n",
        "variables: { a: { type: int, default: abc } }\n",
        "variables: { a: { type: path, default: srv } }\n",
        "variables: { a: { type: int, generate: 8 } }\n",
        "variables: { a: { type: bool, pattern: x } }\n",
        "variables: { a: { type: choice } }\n",
        "variables: { a: { choices: [] } }\n",
        "variables: { a: { choices: [x, x] } }\n",
        "variables: { a: { type: int, choices: [x] } }\n",
        "variables: { a: { generate: 8, default: x } }\n",
        "requires: { arch: amd65 }\n",
        "configs: [{ from: a, to: b, mode: '0999' }]\n",
        "configs: [{ from: a, to: ../b }]\n",
        "artifacts: [{ from: a, to: /b }]\n",
    ] {
        fs::write(&document, format!("{begin}{wrong}")).unwrap();
        let _ = validate(&schema, &document).exits(1);
        let _ = ferry(&["lint", folder.path().to_str().unwrap()]).exits(3);
    }
}

#[test]
fn values_files_are_valid_when_they_are_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = "ferry: 1\nname: plant\nversion: 1\nvariables:\n  plant: { pattern: '^[A-Z]{3}-[0-9]+$' }\n  \
                    port: { type: port, default: 80 }\n  side: { choices: [north, south], default: north }\n  \
                    cameras: { type: list, max: 2, default: [] }\n  n: { type: int, default: 1 }\n  \
                    debug: { type: bool, default: false }\n  data: { type: path, default: /srv, pattern: 'v' }\n  \
                    host: { type: address, default: a }\n  plcs: { type: map, default: {} }\n  \
                    key: { type: secret, generate: 8 }\n";
    fs::write(folder.path().join("ferry.yaml"), manifest).unwrap();
    fs::write(folder.path().join("compose.yaml"), "services: { web: { image: a } }\n").unwrap();
    let schema = schema(folder.path(), &["schema", "values", folder.path().to_str().unwrap()]);
    let values = folder.path().join("values.yaml");
    let render = ["render", folder.path().to_str().unwrap(), "--values", values.to_str().unwrap()];
    for (text, good) in [
        ("plant: NOR-7\nport: 8080\ncameras: [gate]\n", true),
        ("side: south\nplant: NOR-7\n", true),
        ("plant: nor7\n", false),
        ("port: 70000\n", false),
        ("side: west\n", false),
        ("cameras: [a, b, c]\n", false),
        ("plnt: NOR-7\n", false),
        ("plant: NOR-7\nn: \"3\"\ndebug: \"yes\"\ncameras: \"a,b\"\nkey: 12345678\n", true),
        ("plant: NOR-7\nplcs: '{a: b}'\ncameras: '[a, b]'\nport: '81'\n", true),
        ("plant: NOR-7\nplcs: {a: b}\ndata: /var\nhost: 10.0.0.1\n", true),
        ("plant: NOR-7\nhost: fe80::1\n", true),
        ("plant: NOR-7\nn: x\n", false),
        ("plant: NOR-7\ndebug: perhaps\n", false),
        ("plant: NOR-7\ndata: srv\n", false),
        ("plant: NOR-7\ndata: /usr\n", false),
        ("plant: NOR-7\nhost: a b\n", false),
        ("plant: NOR-7\nplcs: a\n", false),
        ("plant: NOR-7\ncameras: [a, [b]]\n", false),
    ] {
        fs::write(&values, text).unwrap();
        let _ = validate(&schema, &values).exits(i32::from(!good));
        let _ = ferry(&render).exits(if good { 0 } else { 3 });
    }
}
