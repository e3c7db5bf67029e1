//! Rendering.
use crate::Diagnostic;
use serde_json::Value;
use std::collections::BTreeMap;

/// Renders a Jinja template with `values`. `file` names the template in messages.
///
/// # Errors
/// The first mistake, with its line and, for an undefined name, the nearest known one.
pub fn render(file: &str, _text: &str, _values: &BTreeMap<String, Value>) -> Result<String, Diagnostic> {
    Err(Diagnostic::new(file, "not read yet"))
}
