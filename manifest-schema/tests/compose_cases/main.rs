//! Compose files that people write, each with what Docker Compose makes of it: fields of the project, what is warned of
//! or refused, and the level that a reader needs.

#![cfg(test)]

mod corpus;
mod keys;
mod values;

use manifest_schema::compose::{self, Beside, Parsed, Text};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// `compose.yaml`, and behind lines `==> NAME` the files beside it. `.env` gives the variables.
pub(crate) fn read(folder: &str, text: &str) -> Result<Parsed, String> {
    let mut files: BTreeMap<&str, String> = BTreeMap::new();
    let mut name = "compose.yaml";
    for line in text.split_inclusive('\n') {
        match line.strip_prefix("==> ") {
            Some(next) => name = next.trim_end(),
            None => files.entry(name).or_default().push_str(line),
        }
    }
    let entries = files
        .get(".env")
        .map(|env| compose::parse_env(".env", env, compose::LEVEL).map_err(|e| e.to_string()));
    let entries = entries.transpose()?.unwrap_or_default();
    let mut env = entries.values;
    env.insert("COMPOSE_PROJECT_NAME".to_owned(), "plant".to_owned());
    let load = |path: &str| files.get(path).map(|text| text.clone().into_bytes());
    let texts = [Text { file: "compose.yaml", text: &files["compose.yaml"] }];
    let beside = Beside { folder, ..Beside::default() };
    let mut parsed =
        compose::parse_with_own(&texts, &beside, &env, &load).map_err(|error| error.to_string())?;
    parsed.level = parsed.level.max(entries.level);
    Ok(parsed)
}

/// A service `meter` with these keys.
pub(crate) fn meter(keys: &str) -> String {
    let keys: String = keys.lines().map(|line| format!("    {line}\n")).collect();
    format!("services:\n  meter:\n    image: acme/meter:1.2\n{keys}")
}

pub(crate) fn of(parsed: &Parsed) -> Value {
    let mut project = serde_json::to_value(&parsed.project).unwrap();
    let files: Vec<&str> = parsed.files.iter().map(|file| file.path.as_str()).collect();
    project["files"] = json!(files);
    project["warnings"] =
        json!(parsed.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    project["replicas"] = parsed
        .project
        .services
        .iter()
        .map(|(name, service)| (name.to_string(), Value::from(service.containers())))
        .collect();
    project
}

/// Each is taken, at level 2, with these values at these places; a text that begins with `~` is contained there.
pub(crate) fn taken(name: &str, folder: &str, text: &str, wanted: &[(&str, Value)]) {
    let parsed = read(folder, text).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(parsed.level, 2, "{name}: readers before have it otherwise");
    let project = of(&parsed);
    for (place, value) in wanted {
        let found =
            project.pointer(&place.replace('.', "/").replace('|', ".").replace("meter/", "services/meter/"));
        let found = found.cloned().unwrap_or_default();
        match value.as_str().and_then(|text| text.strip_prefix('~')) {
            Some(part) => {
                let found = found.as_str().unwrap_or_default();
                assert!(found.contains(part), "{name}: {place}: {found}");
            }
            None => assert_eq!(found, *value, "{name}: {place}"),
        }
    }
}

/// Each is refused with these parts, each as often as it is told.
pub(crate) fn refused(name: &str, folder: &str, text: &str, parts: &[(&str, usize)]) {
    let error = read(folder, text).map(|parsed| parsed.project).expect_err(name);
    for (part, times) in parts {
        assert_eq!(error.matches(part).count(), *times, "{name}: {part}: {error}");
    }
}
