//! A release as it is on one host: the names that templates see, and the Compose project that comes out.
//!
//! Why here: the build tries every release with sample answers, and the site makes it with its own; both
//! must come to the same. What must stay true: the result depends on the texts, the answers and the
//! host's name alone.

use crate::compose::{self, Parsed, Text};
use crate::manifest::Manifest;
use crate::{Diagnostics, render};
use serde_json::Value;
use std::collections::BTreeMap;

/// Answers by variable.
pub type Values = BTreeMap<String, Value>;

/// What people wrote, wherever it lies now.
#[derive(Clone, Copy)]
pub struct Written<'a> {
    /// The manifest.
    pub manifest: &'a Manifest,
    /// The Compose files, as many as the manifest names, in its order.
    pub compose: &'a [Text<'a>],
    /// `.env` beside the first of them.
    pub dotenv: Option<Text<'a>>,
    /// The bytes of another file, its path beginning in the folder of the first Compose file.
    pub load: &'a dyn Fn(&str) -> Option<Vec<u8>>,
}

impl std::fmt::Debug for Written<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Written").field("compose", &self.compose).finish_non_exhaustive()
    }
}

/// The names that a template sees: every variable, and `ferry` with `name`, `version` and `hostname`.
#[must_use]
pub fn names(manifest: &Manifest, values: &Values, hostname: &str) -> Values {
    let mut names = values.clone();
    let about =
        serde_json::json!({ "name": manifest.name, "version": manifest.version, "hostname": hostname });
    names.insert("ferry".to_owned(), about);
    names
}

impl Written<'_> {
    /// The project with these `names` (see [`names`]). What `${NAME}` means in a Compose file: the
    /// manifest's variable of that name where it is one word or number, else what `.env` says.
    ///
    /// # Errors
    /// All mistakes of the first kind that is found: of `.env`, of templates, of the Compose files.
    pub fn project(&self, names: &Values) -> Result<Parsed, Diagnostics> {
        let mut env = match self.dotenv {
            Some(dotenv) => compose::parse_dotenv(dotenv.file, dotenv.text)?,
            None => BTreeMap::new(),
        };
        for (name, value) in names {
            match value {
                Value::String(text) => env.insert(name.clone(), text.clone()),
                Value::Number(_) | Value::Bool(_) => env.insert(name.clone(), value.to_string()),
                _ => None,
            };
        }
        env.insert("COMPOSE_PROJECT_NAME".to_owned(), self.manifest.name.to_string());
        let mut found = Diagnostics::default();
        let mut rendered = Vec::new();
        for text in self.compose {
            if !render::is_template(text.file) {
                rendered.push((text.file.to_owned(), text.text.to_owned()));
                continue;
            }
            match render::render(text.file, text.text, names) {
                // Its lines are not those of the template.
                Ok(output) => rendered.push((format!("{} (rendered)", text.file), output)),
                Err(mistake) => found.push(mistake),
            }
        }
        found.or_ok(())?;
        let texts: Vec<Text<'_>> = rendered.iter().map(|(file, text)| Text { file, text }).collect();
        compose::parse(&texts, &env, self.load)
    }
}
