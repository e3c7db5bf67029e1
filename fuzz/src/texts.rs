//! Texts of people: manifest, Compose files, `.env`, answers, and the YAML below them.

use manifest_schema::compose::model::Project;
use manifest_schema::compose::{self, Beside, Reserved, Text, config_hash, interpolated, parse_dotenv};
use manifest_schema::manifest::{Given, Manifest};
use manifest_schema::site::Values;
use manifest_schema::yaml::{self, Node, Place, Sources, Value};
use manifest_schema::{
    BundlePath, Diagnostics, Digest, ImageRef, Platform, ProjectName, ServiceName, limits, order,
};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

/// Reads a YAML text, and what its tree is written as.
pub fn yaml_tree(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let tree = yaml::parse("a.yaml", text);
    let sources = Sources::one("a.yaml", text);
    let merging = yaml::parse_compose(&sources, 0);
    let read = merging.is_ok();
    if let Ok(tree) = &tree {
        // It knows two tags more, ends a block text as the file ends, and is otherwise the same reader.
        let ends = text.ends_with(['\n', '\r']);
        let is_same = |merging: &[Node]| matches!(merging, [one] if !ends || shape(one) == shape(tree));
        assert!(merging.as_deref().is_ok_and(is_same));
    }
    let merging: Vec<_> = match merging {
        Ok(documents) => documents.into_iter().map(Ok).collect(),
        Err(mistake) => vec![Err(mistake)],
    };
    for tree in std::iter::once(tree).chain(merging) {
        match tree {
            Ok(tree) => written(&tree),
            Err(mistake) => {
                // A carriage return alone ends a line too.
                let lines = text.lines().flat_map(|line| line.split('\r')).count();
                assert!(mistake.line <= lines.max(1), "{mistake}");
                assert_eq!(mistake.source_line.is_some(), mistake.line > 0 && lines > 0, "{mistake}");
            }
        }
    }
    read
}

fn written(tree: &Node) {
    let (mut nodes, mut depth) = (0, 0);
    measure(tree, 0, &mut nodes, &mut depth);
    assert!(nodes <= limits::MAX_YAML_NODES && depth <= limits::MAX_YAML_DEPTH, "{nodes} {depth}");
    let text = yaml::write(tree, &str::to_owned);
    if text.len() > limits::MAX_YAML_BYTES {
        // Aliases are written out.
        return;
    }
    let again = yaml::parse("again.yaml", &text);
    // Compared as text, since a number can be `.nan`, which equals nothing.
    assert!(
        matches!(&again, Ok(again) if shape(again) == shape(tree)),
        "a tree that was written is read otherwise:\n{text}\n{again:?}"
    );
    assert!(serde_json::to_vec(&tree.to_json()).is_ok());
}

fn measure(node: &Node, level: usize, nodes: &mut usize, depth: &mut usize) {
    *nodes += 1;
    match &node.value {
        Value::Seq(items) => {
            *depth = (*depth).max(level + 1);
            items.iter().for_each(|item| measure(item, level + 1, nodes, depth));
        }
        Value::Map(entries) => {
            *depth = (*depth).max(level + 1);
            entries.iter().for_each(|(_, item)| measure(item, level + 1, nodes, depth));
        }
        _ => {}
    }
}

/// A tree without its places.
fn shape(node: &Node) -> String {
    match &node.value {
        Value::Seq(items) => format!("[{}]", items.iter().map(shape).collect::<Vec<_>>().join(",")),
        Value::Map(entries) => {
            let entries = entries.iter().map(|(key, node)| format!("{:?}:{}", key.text, shape(node)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
        }
        value => format!("{value:?}"),
    }
}

/// Reads a Compose project, and what it is merged into.
///
/// A line `==> NAME` begins a file; what stands before the first is `compose.yaml`. `.env` gives the variables,
/// `over.yaml` is a second Compose file, `site.yaml` the site's own; the rest is found where it is named. With a file `installed` the release is one that a host has already.
pub fn compose(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let mut files: BTreeMap<&str, String> = BTreeMap::new();
    let mut name = "compose.yaml";
    for line in text.split_inclusive('\n') {
        match line.strip_prefix("==> ") {
            Some(next) => name = next.trim_end(),
            None => files.entry(name).or_default().push_str(line),
        }
    }
    let env = files.get(".env").map(|env| parse_dotenv(".env", env).unwrap_or_default()).unwrap_or_default();
    let load = |path: &str| files.get(path).map(|text| text.clone().into_bytes());
    let file = |name: &'static str| files.get(name).map(|text| Text { file: name, text });
    let texts: Vec<Text<'_>> = file("compose.yaml").into_iter().chain(file("over.yaml")).collect();
    if texts.is_empty() {
        return false;
    }
    let reserved = if files.contains_key("installed") { Reserved::Dropped } else { Reserved::Refused };
    let parsed = match compose::parse_with_own(
        &texts,
        &Beside { over: file("site.yaml"), reserved, ..Beside::default() },
        &env,
        &load,
    ) {
        Ok(parsed) => parsed,
        Err(mistakes) => return told(&mistakes),
    };
    let project = &parsed.project;
    let names: Vec<_> = project.services.keys().collect();
    let position = |name| names.iter().position(|other| *other == name);
    let needs: Vec<Vec<usize>> = project
        .services
        .values()
        .map(|service| service.depends_on.keys().filter_map(position).collect())
        .collect();
    let ordered = order::ordered(&needs);
    assert!(ordered.stuck.is_empty(), "a circle of services was accepted: {:?}", ordered.stuck);
    assert_eq!(ordered.order.len(), names.len());
    for service in project.services.values() {
        assert_eq!(config_hash(service, &[]), config_hash(&service.clone(), &[]));
    }
    for named in &parsed.files {
        assert!(named.path.parse::<BundlePath>().is_ok(), "`{}` leaves the folder", named.path);
    }
    assert!(compose::needs(project).len() <= text.len());
    // What was merged is what `docker compose` gets: it says the same.
    let merged = [Text { file: "compose.yaml", text: &parsed.merged }];
    match compose::parse(&merged, &env, &load) {
        Ok(again) => {
            assert!(
                without_places(&again.project) == without_places(project),
                "the merged text says something else:\n{}",
                parsed.merged
            )
        }
        Err(mistakes) => {
            assert!(parsed.merged.len() > limits::MAX_YAML_BYTES, "{mistakes}\nin\n{}", parsed.merged);
        }
    }
    true
}

fn without_places(project: &Project) -> Project {
    let mut project = project.clone();
    project.services.values_mut().for_each(|service| service.place = Place::default());
    project
}

/// Mistakes are told with words, and few enough to be read.
fn told(mistakes: &Diagnostics) -> bool {
    assert!(!mistakes.0.is_empty(), "refused without a reason");
    assert!(mistakes.0.len() <= 1000, "{} mistakes", mistakes.0.len());
    assert!(mistakes.0.iter().all(|mistake| !mistake.message.is_empty()));
    assert!(!mistakes.to_string().is_empty());
    false
}

/// Fills in one value. The first line holds the limit, then `NAME=VALUE` lines up to an empty one; the rest is
/// the value.
pub fn interpolation(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let (first, rest) = text.split_once('\n').unwrap_or(("", text));
    let limit = first.trim().parse::<u16>().map_or(1 << 20, usize::from);
    let (names, value) = rest.split_once("\n\n").unwrap_or(("", rest));
    let pairs = names.lines().filter_map(|line| line.split_once('='));
    let env: BTreeMap<String, String> =
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    match interpolated(value, &env, limit) {
        Ok(done) => {
            assert!(done.len() <= limit, "{} bytes, {limit} are allowed", done.len());
            assert!(value.contains('$') || done == value, "a value without a variable changes");
            // A value is filled in once: what variables hold stays as it is.
            let literal = done.replace('$', "$$");
            assert_eq!(interpolated(&literal, &BTreeMap::new(), done.len()), Ok(done));
        }
        Err(message) => {
            assert!(!message.is_empty());
            assert!(value.contains('$') || value.len() > limit, "refused without a variable: {message}");
            return false;
        }
    }
    true
}

/// Reads a `.env` file, and its values written in double quotes.
pub fn dotenv(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let values = match parse_dotenv(".env", text) {
        Ok(values) => values,
        Err(mistakes) => return told(&mistakes),
    };
    let mut written = String::new();
    let mut bytes = 0;
    for (name, value) in &values {
        assert!(!name.is_empty() && !name.contains(['=', '\n']));
        bytes += value.len();
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$");
        let value = value.replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t");
        written.push_str(&format!("{name}=\"{value}\"\n"));
    }
    assert!(bytes <= limits::MAX_YAML_BYTES);
    if written.len() <= limits::MAX_YAML_BYTES {
        let again = parse_dotenv(".env", &written);
        assert!(
            matches!(&again, Ok(again) if *again == values),
            "written and read otherwise:\n{written}\n{again:?}"
        );
    }
    true
}

/// Reads a manifest, and its tree written anew.
pub fn manifest(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let manifest = match Manifest::parse("ferry.yaml", text) {
        Ok(manifest) => manifest,
        Err(mistakes) => return told(&mistakes),
    };
    let folder = manifest.compose_folder();
    assert!(!manifest.compose.is_empty());
    for path in &manifest.compose {
        assert!(folder.is_empty() || path.as_str().starts_with(&format!("{folder}/")), "{path} is not below");
    }
    assert!(!manifest.version.contains(['/', '\0']) && !manifest.version.is_empty());
    assert!(!manifest.requires.platforms.is_empty());
    let Ok(tree) = yaml::parse("ferry.yaml", text) else { unreachable!("a manifest that is no YAML") };
    let written = yaml::write(&tree, &str::to_owned);
    if written.len() <= limits::MAX_YAML_BYTES {
        let again = Manifest::parse("ferry.yaml", &written);
        assert!(
            matches!(again.clone().map(without_lines), Ok(again) if again == without_lines(manifest)),
            "another manifest when it is written anew:\n{written}\n{again:?}"
        );
    }
    true
}

fn without_lines(mut manifest: Manifest) -> Manifest {
    manifest.images.iter_mut().for_each(|image| image.line = 0);
    manifest.artifacts.iter_mut().for_each(|artifact| artifact.line = 0);
    manifest.configs.iter_mut().for_each(|config| config.line = 0);
    for seed in &mut manifest.seeds {
        seed.line = 0;
        seed.owner.iter_mut().for_each(|owner| owner.line = 0);
    }
    manifest.variables.values_mut().for_each(|variable| variable.line = 0);
    manifest
}

/// Reads a file of answers. No mistake repeats what the file holds.
pub fn answers(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    match Given::from_file("site.yaml", text) {
        Ok(given) => {
            let again =
                serde_json::to_vec(given.values()).map(|json| serde_json::from_slice::<Values>(&json));
            assert!(matches!(again, Ok(Ok(again)) if &again == given.values()));
        }
        Err(mistakes) => return told(&mistakes),
    }
    true
}

/// Parses names, paths, references, platforms and digests, and what they are shown as.
pub fn names(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let read = [
        shown_and_read::<BundlePath>(text),
        shown_and_read::<ProjectName>(text),
        shown_and_read::<ServiceName>(text),
        shown_and_read::<Platform>(text),
        shown_and_read::<Digest>(text),
        shown_and_read::<ImageRef>(text),
    ];
    if let Ok(reference) = text.parse::<ImageRef>() {
        assert!(reference.canonical().parse::<ImageRef>().is_ok_and(|again| again == reference));
    }
    read.contains(&true)
}

fn shown_and_read<T: FromStr<Err: Display> + Display + PartialEq>(text: &str) -> bool {
    match text.parse::<T>() {
        Ok(name) => {
            let shown = name.to_string();
            assert!(!shown.chars().any(char::is_control), "`{}` is a name", shown.escape_debug());
            assert!(shown.parse::<T>().is_ok_and(|again| again == name), "`{shown}` is read otherwise");
            true
        }
        Err(why) => {
            assert!(!why.to_string().is_empty());
            false
        }
    }
}
