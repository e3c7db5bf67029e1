//! Podman's answers where they are not quite Docker's.
//!
//! Podman 4.3 calls a container `stopped` between its end and its clean-up, and leaves it so when the
//! clean-up fails. bollard knows no such state and refuses the whole answer, a list of all containers
//! included. So these answers are read here as JSON, and the word is replaced before bollard's types
//! see it.

use super::{Engine, EngineError, Result, failure};
use futures_util::StreamExt as _;
use hyper::Uri;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Largest answer. A container takes about 8 KiB in an inspect.
const MAX_ANSWER_BYTES: usize = 32 << 20;

impl Engine {
    /// `GET path?query`, with states in Docker's words.
    pub(super) async fn ask_podman<T: DeserializeOwned>(
        &self,
        action: &str,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T> {
        let pairs: Vec<String> =
            query.iter().map(|(key, value)| format!("{key}={}", percent_encoded(value))).collect();
        let path_and_query =
            if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) };
        // bollard has no call that gives an answer as it came, except for the export of an image: so
        // that one is sent elsewhere.
        let docker = self.docker.clone().with_request_modifier(move |mut request| {
            let mut parts = request.uri().clone().into_parts();
            parts.path_and_query = path_and_query.parse().ok();
            if let Ok(uri) = Uri::from_parts(parts) {
                *request.uri_mut() = uri;
            }
            request
        });
        let mut chunks = docker.export_image("x").boxed();
        let mut answer = Vec::new();
        while let Some(chunk) = chunks.next().await {
            answer.extend_from_slice(&chunk.map_err(|e| failure(action, e))?);
            if answer.len() > MAX_ANSWER_BYTES {
                return Err(EngineError::Failed {
                    action: action.to_owned(),
                    message: format!("its answer is larger than {} MiB", MAX_ANSWER_BYTES >> 20),
                });
            }
        }
        let unreadable = |error: serde_json::Error| EngineError::Transport {
            action: action.to_owned(),
            source: Box::new(error),
        };
        let mut answer: Value = serde_json::from_slice(&answer).map_err(unreadable)?;
        translate(&mut answer);
        serde_json::from_value(answer).map_err(unreadable)
    }
}

/// Puts the states of one container, or of a list of them, into Docker's words.
fn translate(answer: &mut Value) {
    match answer {
        Value::Array(list) => list.iter_mut().for_each(translate),
        Value::Object(container) => {
            let state = match container.get_mut("State") {
                Some(Value::Object(state)) => state.get_mut("Status"),
                state => state,
            };
            if let Some(Value::String(state)) = state {
                let word = match state.as_str() {
                    "stopped" => "exited",
                    "configured" | "initialized" | "unknown" => "created",
                    _ => return,
                };
                word.clone_into(state);
            }
        }
        _ => {}
    }
}

fn percent_encoded(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn states_are_put_into_dockers_words() {
        let mut list = json!([{ "State": "stopped" }, { "State": "running" }, { "State": "initialized" }, 1]);
        translate(&mut list);
        assert_eq!(list, json!([{ "State": "exited" }, { "State": "running" }, { "State": "created" }, 1]));
        let mut one = json!({ "Id": "1", "State": { "Status": "stopped", "ExitCode": 1 } });
        translate(&mut one);
        let one: bollard::models::ContainerInspectResponse = serde_json::from_value(one).unwrap();
        assert_eq!(one.state.unwrap().exit_code, Some(1));
    }

    #[test]
    fn queries_are_encoded() {
        assert_eq!(percent_encoded(r#"{"label":["a=b c"]}"#), "%7B%22label%22%3A%5B%22a%3Db%20c%22%5D%7D");
    }
}
