//! From the tree to a [`Manifest`], all mistakes at once.

use super::sources::{Refusal, local_path};
use super::{
    ArtifactFrom, ArtifactSpec, ConfigSpec, ImageSource, MANIFEST_VERSION, Manifest, RequiresSpec,
    SourceSpec, seeds, variables,
};
use crate::diagnostic::{nearest, shown};
use crate::feature::FEATURES;
use crate::limits::{MAX_NEEDS, MAX_SERIAL};
use crate::quantity;
use crate::yaml::{self, Key, Node, Reader, Sources, Value};
use crate::{BundlePath, Diagnostic, Diagnostics, ImageRef, Platform};
use std::collections::BTreeMap;

pub(crate) const KEYS: [&str; 13] = [
    "ferry",
    "needs",
    "name",
    "version",
    "serial",
    "compose",
    "images",
    "artifacts",
    "configs",
    "volumes",
    "variables",
    "requires",
    "limits",
];
const ARCHITECTURES: [&str; 8] = ["amd64", "arm64", "arm", "386", "ppc64le", "s390x", "riscv64", "loong64"];

pub(super) fn manifest(file: &str, text: &str) -> Result<Manifest, Diagnostics> {
    let root = yaml::parse(file, text)?;
    let mut r = Reader::strict(Sources::one(file, text));
    if matches!(root.value, Value::Null) {
        return Err(Diagnostic::new(file, "the manifest is empty")
            .hint("`ferry init` writes one from a folder with a compose.yaml")
            .into());
    }
    let ferry = version(&mut r, &root);
    if !needs(&mut r, &root, ferry) {
        // Nothing else is certain to be a mistake.
        return Err(r.finish(()).err().unwrap_or_default());
    }
    let (mut name, mut release, mut compose) = (None, None, compose_files(&mut r, None));
    let mut serial = None;
    let (mut images, mut artifacts, mut configs, mut seeds) = (vec![], vec![], vec![], vec![]);
    let mut variables = BTreeMap::new();
    let mut requires = requires(&mut r, None);
    let mut unpacked_bytes = None;
    for (key, node) in r.map("the manifest", &root) {
        match key.text.as_str() {
            "ferry" | "needs" => {}
            "name" => name = r.name("name", node),
            "version" => release = r.parsed("version", node, release_version),
            "compose" => compose = compose_files(&mut r, Some(node)),
            "serial" => serial = since_2(&mut r, key, ferry).and_then(|()| self::serial(&mut r, node)),
            "images" => images = image_sources(&mut r, node),
            "artifacts" => artifacts = artifact_specs(&mut r, node),
            "configs" => configs = config_specs(&mut r, node),
            "volumes" => seeds = seeds::decode(&mut r, node, ferry),
            "variables" => variables = variables::decode(&mut r, node),
            "requires" => requires = self::requires(&mut r, Some(node)),
            "limits" => unpacked_bytes = since_2(&mut r, key, ferry).and_then(|()| limits(&mut r, node)),
            _ => r.unknown_key(key, "the manifest", &KEYS),
        }
    }
    for (key, example) in [("name", "name: plant-monitor"), ("version", "version: 2.4.0")] {
        if matches!(root.value, Value::Map(_)) && root.get(key).is_none() {
            r.error(&root, format!("the manifest has no `{key}`"), format!("add a line like `{example}`"));
        }
    }
    let (Some(name), Some(version), Some(compose)) = (name, release, compose) else {
        // Each of them was reported above.
        return Err(r.finish(()).err().unwrap_or_default());
    };
    let manifest = Manifest {
        ferry,
        name,
        version,
        serial,
        compose,
        images,
        artifacts,
        configs,
        seeds,
        variables,
        requires,
        unpacked_bytes,
    };
    r.finish(manifest).map(|(manifest, _)| manifest)
}

/// `compose`: one file or several.
fn compose_files(r: &mut Reader, node: Option<&Node>) -> Option<Vec<BundlePath>> {
    let Some(node) = node else { return "compose.yaml".parse().ok().map(|path| vec![path]) };
    let items = if node.text().is_some() { std::slice::from_ref(node) } else { r.list("compose", node) };
    let mut files: Vec<BundlePath> = Vec::new();
    for item in items {
        let file = folder_path(r, "compose", item)?;
        if files.contains(&file) {
            r.error(item, format!("the Compose file `{file}` is named twice"), "keep one of them");
            return None;
        }
        if let Some((folder, _)) = files.first().and_then(|first| first.as_str().rsplit_once('/'))
            && !crate::release::Release::lies_in(file.as_str(), folder)
        {
            let message =
                format!("the Compose file `{file}` does not lie in the folder of the first, `{folder}`");
            r.error(item, message, "put it there: all paths in Compose files begin in that folder");
            return None;
        }
        files.push(file);
    }
    if files.is_empty() && matches!(node.value, Value::Null | Value::Seq(_)) {
        r.error(node, "`compose` names no file", "write `compose: compose.yaml`");
    }
    (!files.is_empty()).then_some(files)
}

/// The version of the file. Where it is missing or wrong, keys of all versions are read.
fn version(r: &mut Reader, root: &Node) -> i64 {
    match root.get("ferry") {
        None if matches!(root.value, Value::Map(_)) => {
            r.error(root, "the manifest has no `ferry` key", "begin it with `ferry: 1`");
        }
        None => {}
        Some(node) => match node.value {
            Value::Int(found @ 1..=MANIFEST_VERSION, _) => return found,
            Value::Int(found, _) => r.error(
                node,
                format!(
                    "the manifest has version {found}; this program reads versions 1 and {MANIFEST_VERSION}"
                ),
                "build with the Ferry that this manifest was written for",
            ),
            _ => r.error(
                node,
                format!("expected 1 or {MANIFEST_VERSION} for `ferry`, found {}", node.kind()),
                "write `ferry: 1`",
            ),
        },
    }
    MANIFEST_VERSION
}

/// Refuses a key of version 2 in a manifest of version 1.
pub(super) fn since_2(r: &mut Reader, key: &Key, ferry: i64) -> Option<()> {
    if ferry >= 2 {
        return Some(());
    }
    let hint = "write `ferry: 2` in the first line; an `fz` before 0.2.0 refuses the bundle then";
    r.error(key, format!("`{}` needs `ferry: 2`", key.text), hint);
    None
}

/// `needs`: features, for people. False where this program lacks one: what it does not know may be its keys.
fn needs(r: &mut Reader, root: &Node, ferry: i64) -> bool {
    let (Value::Map(entries), true) = (&root.value, root.get("needs").is_some()) else { return true };
    let mut has_all = true;
    for (key, node) in entries.iter().filter(|(key, _)| key.text == "needs") {
        if since_2(r, key, ferry).is_none() {
            continue;
        }
        let names = r.list("needs", node);
        if names.len() > MAX_NEEDS {
            r.error_bare(node, format!("`needs` has {} names; the limit is {MAX_NEEDS}", names.len()));
            continue;
        }
        for item in names {
            let Some(name) = r.string("needs", item) else { continue };
            if !FEATURES.iter().any(|feature| feature.name == name) {
                let known: Vec<&str> = FEATURES.iter().map(|feature| feature.name).collect();
                let hint = format!("build with a later Ferry; this one has {}", known.join(", "));
                r.error(
                    item,
                    format!("the manifest needs `{}`, which this program does not have", shown(&name)),
                    hint,
                );
                has_all = false;
            }
        }
    }
    has_all
}

fn serial(r: &mut Reader, node: &Node) -> Option<u64> {
    let largest = i64::try_from(MAX_SERIAL).unwrap_or(i64::MAX);
    r.integer("serial", node, 1..=largest).and_then(|serial| serial.try_into().ok())
}

/// The version is part of file and folder names.
fn release_version(text: &str) -> Result<String, String> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'+');
    if text.is_empty() || text.len() > 64 {
        return Err("it must have 1 to 64 characters".to_owned());
    }
    if !text.bytes().all(good) || !text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric()) {
        return Err(format!(
            "`{}` may hold only letters, digits, `.`, `_`, `-` and `+`, and starts with a letter or digit",
            shown(text)
        ));
    }
    Ok(text.to_owned())
}

/// A path below a folder; `./` in front and `/` at the end are taken away.
fn folder_path(r: &mut Reader, what: &str, node: &Node) -> Option<BundlePath> {
    r.parsed(what, node, |text| {
        let short = text.strip_prefix("./").unwrap_or(text).trim_end_matches('/');
        short.parse().map_err(|error: crate::names::BadName| error.to_string())
    })
}

fn refused<T>(r: &mut Reader, node: &Node, result: Result<T, Refusal>) -> Option<T> {
    result.map_err(|(message, hint)| r.error(node, message, hint)).ok()
}

fn image_sources(r: &mut Reader, node: &Node) -> Vec<ImageSource> {
    let mut images: Vec<ImageSource> = Vec::new();
    let mut lines = BTreeMap::new();
    for (key, node) in r.names("images", node) {
        let reference = match key.text.parse::<ImageRef>() {
            Ok(reference) => Some(reference),
            Err(error) => {
                r.error(key, error.to_string(), "write it as Compose's `image` names it");
                None
            }
        };
        if let Some(first) = reference.clone().and_then(|reference| lines.insert(reference, key.place.line)) {
            let message = format!("image `{}` is written twice; the first is on line {first}", key.text);
            r.error(key, message, "keep one of them");
        }
        let Some((source, preserve)) = image_source(r, key, node) else { continue };
        if let Some(reference) = reference {
            images.push(ImageSource { reference, source, preserve, line: key.place.line });
        }
    }
    images
}

fn image_source(r: &mut Reader, key: &Key, node: &Node) -> Option<(SourceSpec, bool)> {
    if !matches!(node.value, Value::Map(_)) {
        let text = r.string(&key.text, node)?;
        return refused(r, node, SourceSpec::parse(&text)).map(|source| (source, false));
    }
    let (mut source, mut preserve) = (None, false);
    for (inner, node) in r.map(&key.text, node) {
        match inner.text.as_str() {
            "from" => {
                if let Some(text) = r.string("from", node) {
                    source = refused(r, node, SourceSpec::parse(&text));
                }
            }
            "preserve" => preserve = r.boolean("preserve", node).unwrap_or(false),
            _ => r.unknown_key(inner, "an image", &["from", "preserve"]),
        }
    }
    if node.get("from").is_none() {
        let message = format!("image `{}` has no `from`", key.text);
        r.error(key, message, "write where it lies, like `from: docker-archive:dist/api.tar`");
    }
    source.map(|source| (source, preserve))
}

fn artifact_specs(r: &mut Reader, node: &Node) -> Vec<ArtifactSpec> {
    let mut artifacts = Vec::new();
    for item in r.list("artifacts", node) {
        let (mut from, mut to) = (None, None);
        if matches!(item.value, Value::Map(_)) {
            for (key, node) in r.map("an artifact", item) {
                match key.text.as_str() {
                    "from" => from = r.string("from", node).map(|text| (text, node)),
                    "to" => {
                        to = Some((folder_path(r, "to", node), node.text().is_some_and(|t| t.ends_with('/'))))
                    }
                    _ => r.unknown_key(key, "an artifact", &["from", "to"]),
                }
            }
            if item.get("from").is_none() {
                r.error(
                    item,
                    "the artifact has no `from`",
                    "write where it lies, like `from: dist/agent.deb`",
                );
            }
        } else {
            from = r.string("artifacts", item).map(|text| (text, item));
        }
        let Some((text, node)) = from else { continue };
        if let Some(from) = refused(r, node, ArtifactFrom::parse(&text)) {
            let (to, to_folder) = to.unwrap_or((None, false));
            artifacts.push(ArtifactSpec { from, text, to, to_folder, line: item.place.line });
        }
    }
    artifacts
}

fn config_specs(r: &mut Reader, node: &Node) -> Vec<ConfigSpec> {
    let mut configs: Vec<ConfigSpec> = Vec::new();
    let mut lines = BTreeMap::new();
    for item in r.list("configs", node) {
        let (mut from, mut to, mut mode) = (None, None, None);
        if !matches!(item.value, Value::Map(_)) {
            let message = format!("expected a map for an entry of `configs`, found {}", item.kind());
            r.error(item, message, "write `{ from: templates/nginx.conf.j2, to: config/nginx.conf }`");
            continue;
        }
        for (key, node) in r.map("a config", item) {
            match key.text.as_str() {
                "from" => from = r.parsed("from", node, local_path),
                "to" => to = folder_path(r, "to", node),
                "mode" => mode = r.parsed("mode", node, quantity::mode),
                _ => r.unknown_key(key, "a config", &["from", "to", "mode"]),
            }
        }
        for (key, example) in [("from", "from: templates/nginx.conf.j2"), ("to", "to: config/nginx.conf")] {
            if item.get(key).is_none() {
                r.error(item, format!("the config has no `{key}`"), format!("add it, like `{example}`"));
            }
        }
        let (Some(from), Some(to)) = (from, to) else { continue };
        if let Some(first) = lines.insert(to.clone(), item.place.line) {
            let message = format!("`{to}` is written by two configs; the first is on line {first}");
            r.error(item, message, "give each its own `to`");
        }
        configs.push(ConfigSpec { from, to, mode, line: item.place.line });
    }
    configs
}

/// `limits`: the ceilings of the build that a person lifts.
fn limits(r: &mut Reader, node: &Node) -> Option<u64> {
    let mut unpacked = None;
    for (key, node) in r.map("limits", node) {
        match key.text.as_str() {
            "unpacked" => unpacked = r.parsed("unpacked", node, quantity::bytes),
            _ => r.unknown_key(key, "`limits`", &["unpacked"]),
        }
    }
    unpacked
}

fn requires(r: &mut Reader, node: Option<&Node>) -> RequiresSpec {
    let mut requires = RequiresSpec { engine: None, platforms: vec![], memory_bytes: None, disk_bytes: None };
    for (key, node) in node.map(|node| r.map("requires", node)).unwrap_or_default() {
        match key.text.as_str() {
            "engine" => requires.engine = r.parsed("engine", node, engine_version),
            "arch" => requires.platforms = platforms(r, node),
            "memory" => requires.memory_bytes = r.parsed("memory", node, quantity::bytes),
            "disk" => requires.disk_bytes = r.parsed("disk", node, quantity::bytes),
            _ => r.unknown_key(key, "`requires`", &["engine", "arch", "memory", "disk"]),
        }
    }
    if requires.platforms.is_empty() {
        requires.platforms.extend("linux/amd64".parse());
    }
    requires
}

/// `>=20.10`, `20.10` or `20.10.24`.
fn engine_version(text: &str) -> Result<String, String> {
    let version = text.trim().strip_prefix(">=").unwrap_or(text).trim();
    let numbers = version.split('.').collect::<Vec<_>>();
    let good = |part: &&str| !part.is_empty() && part.len() <= 6 && part.bytes().all(|b| b.is_ascii_digit());
    if numbers.len() > 3 || !numbers.iter().all(good) {
        return Err(format!("`{}` is not a minimum version; write it like \">=20.10\"", shown(text)));
    }
    Ok(version.to_owned())
}

fn platforms(r: &mut Reader, node: &Node) -> Vec<Platform> {
    let items = if node.text().is_some() { std::slice::from_ref(node) } else { r.list("arch", node) };
    let mut platforms = Vec::new();
    for item in items {
        let Some(text) = r.scalar_text("arch", item) else { continue };
        let architecture = text.strip_prefix("linux/").unwrap_or(&text);
        let known = architecture.split('/').next().is_some_and(|first| ARCHITECTURES.contains(&first));
        let platform = format!("linux/{architecture}").parse::<Platform>().ok().filter(|_| known);
        let Some(platform) = platform else {
            let near = match architecture {
                "x86_64" | "x86-64" | "x64" => Some("amd64"),
                "aarch64" => Some("arm64"),
                "armhf" | "armv7" | "armv7l" => Some("arm/v7"),
                "i386" | "i686" => Some("386"),
                other => nearest(other, ARCHITECTURES),
            };
            let hint = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known architectures: {}", ARCHITECTURES.join(", ")),
            };
            r.error(item, format!("`{}` is not a known architecture", shown(&text)), hint);
            continue;
        };
        if platforms.contains(&platform) {
            r.error(item, format!("`{text}` is written twice"), "keep one of them");
        } else {
            platforms.push(platform);
        }
    }
    platforms
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
