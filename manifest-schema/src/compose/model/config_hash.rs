//! The hash of a service: another hash means another container.

use super::Service;
use crate::Digest;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// SHA-256 in hexadecimal digits of what makes a container: the service as JSON with sorted keys,
/// and the `extra` pairs, for example the image's ID. When it starts (`depends_on`, `profiles`) is not
/// part of it.
#[must_use]
pub fn config_hash(service: &Service, extra: &[(&str, &str)]) -> String {
    let mut value = serde_json::to_value(service).unwrap_or_default();
    if let Value::Object(members) = &mut value {
        members.remove("depends_on");
        members.remove("profiles");
    }
    let extra: Vec<Value> = extra.iter().map(|(key, value)| Value::from(vec![*key, *value])).collect();
    let mut text = String::new();
    canonical(&Value::Array(vec![value, Value::Array(extra)]), &mut text);
    Digest::of(text.as_bytes()).hex()
}

/// JSON without spaces, keys sorted by their bytes.
fn canonical(value: &Value, output: &mut String) {
    match value {
        Value::Array(items) => {
            output.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    output.push(',');
                }
                canonical(item, output);
            }
            output.push(']');
        }
        Value::Object(members) => {
            output.push('{');
            let sorted: BTreeMap<&String, &Value> = members.iter().collect();
            for (index, (key, item)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    output.push(',');
                }
                let _ = write!(output, "{}:", Value::from(key.as_str()));
                canonical(item, output);
            }
            output.push('}');
        }
        scalar => {
            let _ = write!(output, "{scalar}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_changes_with_what_makes_a_container() {
        let mut service = Service { image: "a".to_owned(), ..Service::default() };
        let hash = config_hash(&service, &[("image", "sha256:1")]);
        assert_eq!(hash.len(), 64);
        service.place.line = 7;
        service.profiles.push("debug".to_owned());
        assert_eq!(config_hash(&service, &[("image", "sha256:1")]), hash);
        assert_ne!(config_hash(&service, &[("image", "sha256:2")]), hash);
        service.environment.insert("A".to_owned(), "1".to_owned());
        assert_ne!(config_hash(&service, &[("image", "sha256:1")]), hash);
    }
}
