//! JSON Schemas (draft 2020-12) of what people write, for editors that complete and check while typing.
//!
//! The parser is what decides: a schema says what it can of the same rules, and a test holds the two
//! together. What only the parser knows (a file that is missing, a name that is used twice) is left out.

use crate::feature::FEATURES;
use crate::limits::{MAX_NEEDS, MAX_SERIAL};
use crate::manifest::{Manifest, Variable, VariableKind, in_order};
use serde_json::{Map, Value, json};

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema of `ferry.yaml`.
#[must_use]
pub fn manifest() -> Value {
    json!({
        "$schema": DRAFT,
        "title": "ferry.yaml",
        "description": "Contents of one signed bundle, beside an ordinary compose.yaml",
        "type": "object",
        "required": ["ferry", "name", "version"],
        "patternProperties": { "^x-": true },
        "additionalProperties": false,
        "if": { "properties": { "ferry": { "const": 1 } } },
        "then": { "properties": {
            "needs": false,
            "serial": false,
            "limits": false,
            "volumes": { "additionalProperties": { "properties": { "owner": false, "mode": false } } }
        } },
        "properties": {
            "ferry": { "enum": [1, 2], "description": "Version of this file's format: 2 for keys that only fz 0.2.0 and later read" },
            "needs": {
                "description": "Features that this file uses, so that a Ferry which lacks one says so; needs ferry: 2",
                "type": ["array", "null"],
                "maxItems": MAX_NEEDS,
                "items": { "enum": FEATURES.iter().map(|feature| feature.name).collect::<Vec<_>>() }
            },
            "name": {
                "type": "string",
                "pattern": "^[a-z0-9][a-z0-9_-]*$",
                "description": "Product name, also the Compose project's name"
            },
            "version": {
                "type": ["string", "number"],
                "description": "As the release engineer writes it, 2.4.0"
            },
            "serial": {
                "description": "Place of this version among all of the product, higher for each one, where versions are no semantic ones; needs ferry: 2",
                "type": "integer",
                "minimum": 1,
                "maximum": MAX_SERIAL
            },
            "compose": {
                "description": "The Compose file, or several, later ones over earlier ones; compose.yaml by default",
                "oneOf": [
                    { "type": "string" },
                    { "type": "array", "items": { "type": "string" }, "minItems": 1, "uniqueItems": true }
                ]
            },
            "images": {
                "description": "Sources of images that Compose's image names alone cannot find",
                "type": ["object", "null"],
                "additionalProperties": {
                    "oneOf": [
                        source(),
                        {
                            "type": "object",
                            "required": ["from"],
                            "patternProperties": { "^x-": true },
                            "additionalProperties": false,
                            "properties": {
                                "from": source(),
                                "preserve": {
                                    "type": "boolean",
                                    "description": "Keep manifest and layers byte for byte"
                                }
                            }
                        }
                    ]
                }
            },
            "artifacts": {
                "description": "Build artifacts: files, folders, archives, .deb, .jar, and paths of git repositories",
                "type": ["array", "null"],
                "items": {
                    "oneOf": [
                        { "type": "string" },
                        {
                            "type": "object",
                            "required": ["from"],
                            "patternProperties": { "^x-": true },
                            "additionalProperties": false,
                            "properties": {
                                "from": {
                                    "type": "string",
                                    "description": "A path beside the manifest, or git:REPOSITORY@REF[:PATH]"
                                },
                                "to": {
                                    "type": "string",
                                    "pattern": BELOW,
                                    "description": "Place below the release's artifacts/; with / at its end a folder"
                                }
                            }
                        }
                    ]
                }
            },
            "configs": {
                "description": "Config files; those that end in .j2 are Jinja templates, rendered on site",
                "type": ["array", "null"],
                "items": {
                    "type": "object",
                    "required": ["from", "to"],
                    "patternProperties": { "^x-": true },
                    "additionalProperties": false,
                    "properties": {
                        "from": { "type": "string", "description": "The file, beside the manifest" },
                        "to": { "type": "string", "pattern": BELOW, "description": "Place in the release's folder" },
                        "mode": {
                            "type": ["string", "integer"],
                            "pattern": "^0o?[0-7]{1,4}$",
                            "minimum": 0,
                            "description": "Permission bits in octal, 0644 by default"
                        }
                    }
                }
            },
            "volumes": {
                "description": "First content of named volumes",
                "type": ["object", "null"],
                "additionalProperties": {
                    "type": "object",
                    "patternProperties": { "^x-": true },
                    "additionalProperties": false,
                    "properties": {
                        "seed": {
                            "type": "string",
                            "description": "A folder or a tar file, for a volume that is empty"
                        },
                        "owner": {
                            "type": "string",
                            "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]*:[A-Za-z0-9_][A-Za-z0-9_.-]*$",
                            "description": "USER:GROUP of the volume's root, and of what a folder holds, \"999:999\"; needs ferry: 2"
                        },
                        "mode": {
                            "type": "string",
                            "pattern": "^0o?[0-3]?[0-7]{1,3}$",
                            "description": "Permission bits of the volume's root, \"0750\"; needs ferry: 2"
                        }
                    },
                    "dependentRequired": { "owner": ["seed"], "mode": ["seed"] }
                }
            },
            "variables": {
                "description": "Questions that a site answers once; answers are remembered and checked",
                "type": ["object", "null"],
                "propertyNames": { "pattern": "^[A-Za-z_][A-Za-z0-9_]{0,63}$" },
                "additionalProperties": variable()
            },
            "limits": {
                "description": "Ceilings of the build that are lifted for this site; needs ferry: 2",
                "type": ["object", "null"],
                "patternProperties": { "^x-": true },
                "additionalProperties": false,
                "properties": {
                    "unpacked": {
                        "type": ["string", "integer"],
                        "description": "Size that any compressed layer, archive or seed may unpack to, 40GiB"
                    }
                }
            },
            "requires": {
                "description": "Requirements on the host",
                "type": ["object", "null"],
                "patternProperties": { "^x-": true },
                "additionalProperties": false,
                "properties": {
                    "engine": { "type": ["string", "number"], "description": "Lowest engine, \">=20.10\"" },
                    "arch": {
                        "description": "Architectures that images are packed for; amd64 by default",
                        "oneOf": [
                            architecture(),
                            { "type": "array", "items": architecture(), "uniqueItems": true }
                        ]
                    },
                    "memory": { "type": ["string", "integer"], "description": "Memory, 4GiB" },
                    "disk": {
                        "type": ["string", "integer"],
                        "description": "Free disk beyond what the bundle itself needs"
                    }
                }
            }
        }
    })
}

/// A path below a folder.
const BELOW: &str = r"^(?!/)(?!(.*/)?\.\.(/|$)).+$";

/// A whole number as text.
const WHOLE: &str = r"^\s*([-+]?(0|[1-9][0-9]*)|0x[0-9a-fA-F]+|0o[0-7]+)\s*$";
/// Yes and no as text.
const YES_OR_NO: &str = r"^\s*([Tt][Rr][Uu][Ee]|[Yy]([Ee][Ss])?|[Ff][Aa][Ll][Ss][Ee]|[Nn][Oo]?)\s*$";
const ABSOLUTE: &str = r"^/(?!(.*/)?\.\.(/|$))";
const ADDRESS: &str = r"^([0-9A-Za-z.-]+|[0-9A-Fa-f:.]+)$";
/// A map as text.
const FLOW_MAP: &str = r"^\s*\{[\s\S]*\}\s*$";

fn architecture() -> Value {
    json!({
        "type": "string",
        "pattern": "^(linux/)?(amd64|arm64|arm|386|ppc64le|s390x|riscv64|loong64)(/.+)?$"
    })
}

/// The schema of a value of a kind, without its pattern and range.
fn shape(kind: VariableKind) -> Value {
    match kind {
        VariableKind::Int | VariableKind::Port => json!({ "type": ["integer", "string"], "pattern": WHOLE }),
        VariableKind::Bool => json!({ "type": ["boolean", "string"], "pattern": YES_OR_NO }),
        VariableKind::List => json!({
            "type": ["array", "string", "number", "boolean"],
            "items": { "not": { "type": ["array", "null"] } }
        }),
        VariableKind::Map => json!({ "type": ["object", "string"], "pattern": FLOW_MAP }),
        VariableKind::Path => json!({ "type": "string", "pattern": ABSOLUTE }),
        VariableKind::Address => json!({ "type": "string", "pattern": ADDRESS }),
        // `version: 1.10` is the text as written.
        VariableKind::String | VariableKind::Secret | VariableKind::Choice => {
            json!({ "type": ["string", "number", "boolean"] })
        }
    }
}

fn source() -> Value {
    json!({
        "type": "string",
        "pattern": "^(docker-archive|oci|oci-archive|docker-daemon|docker):",
        "description": "As skopeo names it: docker-archive:PATH, oci:PATH, oci-archive:PATH, docker-daemon:NAME, docker://NAME"
    })
}

fn variable() -> Value {
    json!({
        "type": ["object", "null"],
        "patternProperties": { "^x-": true },
        "additionalProperties": false,
        "properties": {
            "type": {
                "enum": ["string", "int", "bool", "choice", "list", "map", "path", "port", "address", "secret"],
                "description": "Kind of the answer; string by default"
            },
            "prompt": { "type": "string", "description": "The question" },
            "help": { "type": "string", "description": "More about it, shown for ?" },
            "default": { "description": "The answer where none is given" },
            "pattern": { "type": "string", "description": "A regular expression that the text must match" },
            "generate": {
                "type": "integer",
                "minimum": 1,
                "maximum": 256,
                "description": "This many random characters where no answer is given"
            },
            "choices": {
                "type": "array",
                "minItems": 1,
                "uniqueItems": true,
                "items": { "type": ["string", "number", "boolean"] },
                "description": "Possible answers"
            },
            "min": { "type": "integer", "description": "Least number, or least length" },
            "max": { "type": "integer", "description": "Greatest number, or greatest length" },
            "when": {
                "type": "string",
                "description": "An expression over variables above: it is asked only where that is true"
            }
        },
        "allOf": rules()
    })
}

/// Which keys go together, by type.
fn rules() -> Value {
    let when = |types: &[&str], then: Value| json!({ "if": { "required": ["type"], "properties": { "type": { "enum": types } } }, "then": then });
    let without = |keys: &[&str]| {
        let none: Map<String, Value> =
            keys.iter().map(|key| ((*key).to_owned(), Value::Bool(false))).collect();
        json!({ "properties": none })
    };
    let default = |kind: VariableKind| json!({ "properties": { "default": shape(kind) } });
    json!([
        when(&["secret"], without(&["default"])),
        when(&["int", "port"], default(VariableKind::Int)),
        when(&["bool"], default(VariableKind::Bool)),
        when(&["list"], default(VariableKind::List)),
        when(&["map"], default(VariableKind::Map)),
        when(&["path"], default(VariableKind::Path)),
        when(&["address"], default(VariableKind::Address)),
        when(&["string", "choice"], default(VariableKind::String)),
        when(&["int", "bool", "choice", "list", "map", "path", "port", "address"], without(&["generate"])),
        when(&["int", "bool", "choice", "list", "map", "port"], without(&["pattern"])),
        when(&["bool", "choice"], without(&["min", "max"])),
        when(
            &["string", "int", "bool", "list", "map", "path", "port", "address", "secret"],
            without(&["choices"])
        ),
        when(&["choice"], json!({ "required": ["choices"] })),
        { "if": { "required": ["choices"] }, "then": without(&["generate", "pattern", "min", "max"]) },
        { "if": { "required": ["generate"] }, "then": without(&["default", "pattern"]) }
    ])
}

/// The schema of a values file for the variables of `manifest`.
#[must_use]
pub fn values(manifest: &Manifest) -> Value {
    let properties: Map<String, Value> = in_order(&manifest.variables)
        .into_iter()
        .map(|(name, variable)| (name.clone(), answer(variable)))
        .collect();
    json!({
        "$schema": DRAFT,
        "title": format!("Answers for {} {}", manifest.name, manifest.version),
        "type": ["object", "null"],
        "additionalProperties": false,
        "properties": properties,
    })
}

fn answer(variable: &Variable) -> Value {
    let mut schema = Map::new();
    if let Some(question) = variable.question() {
        schema.insert("description".to_owned(), question.into());
    }
    if let Some(default) = &variable.default {
        schema.insert("default".to_owned(), default.clone());
    }
    let (low, high) = match variable.kind {
        VariableKind::Int | VariableKind::Port => ("minimum", "maximum"),
        VariableKind::List => ("minItems", "maxItems"),
        VariableKind::Map => ("minProperties", "maxProperties"),
        _ => ("minLength", "maxLength"),
    };
    let (mut min, mut max) = (variable.min, variable.max);
    if variable.kind == VariableKind::Port {
        min = Some(min.unwrap_or(1).max(1));
        max = Some(max.unwrap_or(65_535).min(65_535));
    }
    if variable.kind == VariableKind::Choice {
        // `8` is the choice "8".
        let numbers =
            variable.choices.iter().filter_map(|choice| choice.parse::<i64>().ok().map(Value::from));
        let choices: Vec<Value> =
            variable.choices.iter().map(|choice| choice.clone().into()).chain(numbers).collect();
        schema.insert("enum".to_owned(), choices.into());
    } else if let Value::Object(shape) = shape(variable.kind) {
        schema.extend(shape);
    }
    for (key, bound) in [(low, min), (high, max)] {
        if let Some(bound) = bound {
            schema.insert(key.to_owned(), bound.into());
        }
    }
    if let Some(pattern) = &variable.pattern {
        // A path has one of its own.
        let key = if schema.contains_key("pattern") { "allOf" } else { "pattern" };
        let pattern = match key {
            "allOf" => json!([{ "pattern": pattern }]),
            _ => pattern.clone().into(),
        };
        schema.insert(key.to_owned(), pattern);
    }
    Value::Object(schema)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn keys(schema: &Value) -> BTreeSet<&str> {
        schema["properties"].as_object().unwrap().keys().map(String::as_str).collect()
    }

    #[test]
    fn the_schema_has_the_keys_that_the_parser_has() {
        let manifest = manifest();
        assert_eq!(keys(&manifest), crate::manifest::KEYS.into_iter().collect());
        let variable = &manifest["properties"]["variables"]["additionalProperties"];
        assert_eq!(keys(variable), crate::manifest::VARIABLE_KEYS.into_iter().collect());
        let kinds = variable["properties"]["type"]["enum"].as_array().unwrap();
        for kind in kinds {
            let choices = if kind == "choice" { ", choices: [a]" } else { "" };
            let text =
                format!("ferry: 1\nname: a\nversion: 1\nvariables: {{ v: {{ type: {kind}{choices} }} }}\n");
            Manifest::parse("ferry.yaml", &text.replace('"', "")).unwrap_or_else(|error| panic!("{error}"));
        }
    }

    #[test]
    fn answers_are_described_as_they_are_checked() {
        let text = "ferry: 1\nname: a\nversion: 1\nvariables:\n  plant: { prompt: Name, pattern: '^[A-Z]+$' }\n  web: { type: port, default: 80 }\n  side: { choices: [north, south] }\n  cameras: { type: list, max: 4, default: [] }\n";
        let schema = values(&Manifest::parse("ferry.yaml", text).unwrap());
        let of = |name: &str| schema["properties"][name].clone();
        assert_eq!(
            of("plant"),
            json!({ "description": "Name", "type": ["string", "number", "boolean"], "pattern": "^[A-Z]+$" })
        );
        assert_eq!(of("web")["type"], json!(["integer", "string"]));
        assert_eq!((&of("web")["minimum"], &of("web")["maximum"]), (&json!(1), &json!(65535)));
        assert_eq!(of("side"), json!({ "enum": ["north", "south"] }));
        assert_eq!((&of("cameras")["default"], &of("cameras")["maxItems"]), (&json!([]), &json!(4)));
    }
}
