//! A release as it is on one host: the names that templates see, the files and the Compose project that
//! come out.
//!
//! Why here: the build tries every release with sample answers, and the site makes it with its own; both
//! must come to the same. Invariant: the result depends on the texts, the answers and the
//! host's name alone.

use crate::compose::{self, Beside, Entries, Parsed, Reserved, Text};
use crate::manifest::Manifest;
pub use crate::manifest::Values;
use crate::render::{self, Renderer, Template};
use crate::yaml::RENDERED;
use crate::{Diagnostic, Diagnostics};
use serde_json::Value;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;

/// The texts that people wrote, wherever they lie now.
#[derive(Clone, Copy)]
pub struct Written<'a> {
    /// The manifest.
    pub manifest: &'a Manifest,
    /// The prefix, in messages, of paths that begin in the manifest's folder: nothing, or that folder with `/` at
    /// its end.
    pub shown_root: &'a str,
    /// The texts of the Compose files that the manifest names, in its order.
    pub compose: &'a [String],
    /// The text of `.env` beside the first of them.
    pub dotenv: Option<&'a str>,
    /// The content of the manifest's `configs`, in its order.
    pub configs: &'a [Vec<u8>],
    /// The bytes of another file, its path beginning in the folder of the first Compose file.
    pub load: &'a dyn Fn(&str) -> Option<Vec<u8>>,
    /// The text of a template that another one names, its path beginning in the manifest's folder.
    pub template: &'a dyn Fn(&str) -> Option<String>,
    /// A Compose file of the site's own, which goes over all others.
    pub over: Option<Text<'a>>,
    /// The fate of labels and names in the Compose files that are Ferry's own.
    pub reserved: Reserved,
    /// The level of `docs/COMPOSE.md` by which the texts are read.
    pub level: u8,
    /// Renders the templates.
    pub renderer: &'a dyn Renderer,
}

impl std::fmt::Debug for Written<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Written").field("shown_root", &self.shown_root).finish_non_exhaustive()
    }
}

/// The release on one host.
#[derive(Debug, Clone)]
pub struct Made {
    /// The project.
    pub parsed: Parsed,
    /// The content of the manifest's `configs`, in its order, templates filled in.
    pub configs: Vec<Vec<u8>>,
    /// Templates that others name, by their paths from the manifest's folder.
    pub templates: BTreeSet<String>,
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
    /// The release with these `names` (see [`names`]). What `${NAME}` means in a Compose file: the
    /// manifest's variable of that name where it is one word or number, else what `.env` says.
    ///
    /// # Errors
    /// All mistakes of templates, `.env` and Compose files. What is made from a text with mistakes is not looked at:
    /// Compose files that are templates, and all of them where `.env` has a mistake.
    pub fn make(&self, names: &Values) -> Result<Made, Diagnostics> {
        let mut found = Diagnostics::default();
        let templates = self.templates(&mut found);
        let included: BTreeSet<String> =
            templates.iter().flat_map(|template| template.included().map(str::to_owned)).collect();
        let mut outputs = match render::render_all(templates, names, self.renderer) {
            // Where a template cannot be read, `found` ends this before a text is used.
            Ok(outputs) => outputs.into_iter(),
            Err(mistakes) => {
                found.0.extend(mistakes.0);
                Vec::new().into_iter()
            }
        };
        let mut configs = Vec::new();
        for (config, content) in self.manifest.configs.iter().zip(self.configs) {
            configs.push(if render::is_template(&config.from) {
                outputs.next().unwrap_or_default().into_bytes()
            } else {
                content.clone()
            });
        }
        let mut texts = Vec::new();
        for (path, text) in self.manifest.compose.iter().zip(self.compose) {
            let file = format!("{}{path}", self.shown_root);
            texts.push(if render::is_template(path.as_str()) {
                // Its lines are not those of the template.
                (format!("{file}{RENDERED}"), outputs.next().unwrap_or_default())
            } else {
                (file, text.clone())
            });
        }
        let (env, env_is_known) = match self.env(names) {
            Ok(env) => (env, true),
            Err(mistakes) => {
                found.0.extend(mistakes.0);
                (Entries::default(), false)
            }
        };
        // Templates with mistakes have no output. The Compose files can still be read, where none of them is one.
        let is_whole = found.0.is_empty();
        let has_templates = self.manifest.compose.iter().any(|path| render::is_template(path.as_str()));
        if !env_is_known || (!is_whole && has_templates) {
            return Err(found);
        }
        let lacking = RefCell::new(BTreeSet::new());
        let texts: Vec<Text<'_>> = texts.iter().map(|(file, text)| Text { file, text }).collect();
        // On site a config wins over a file of the same path.
        let load = |path: &str| {
            let mut all = self.manifest.configs.iter().zip(&configs);
            match all.find(|(config, _)| config.to.as_str() == path) {
                Some((config, _)) if !is_whole && render::is_template(&config.from) => {
                    lacking.borrow_mut().insert(path.to_owned());
                    Some(Vec::new())
                }
                Some((_, content)) => Some(content.clone()),
                None => (self.load)(path),
            }
        };
        let no_words: Vec<String> =
            names.keys().filter(|name| !env.values.contains_key(*name)).cloned().collect();
        let beside = Beside {
            over: self.over,
            reserved: self.reserved,
            level: self.level,
            folder: self.manifest.compose_folder(),
            no_words: &no_words,
        };
        let parsed = compose::parse_with_own(&texts, &beside, &env.values, &load)
            .map_err(|mistakes| about_lists(mistakes, names));
        let parsed = match parsed {
            Ok(mut parsed) => {
                parsed.level = parsed.level.max(env.level);
                parsed.warnings.splice(0..0, env.warnings);
                found.or_ok(parsed)?
            }
            Err(mistakes) => {
                // An empty text stood in the place of what no template made.
                let lacking = lacking.borrow();
                let is_of = |mistake: &Diagnostic| {
                    lacking.iter().any(|path| mistake.file.ends_with(path) || mistake.message.contains(path))
                };
                found.0.extend(mistakes.0.into_iter().filter(|mistake| !is_of(mistake)));
                return Err(found);
            }
        };
        Ok(Made { parsed, configs, templates: included })
    }

    /// All templates among the configs and Compose files, in this order.
    fn templates(&self, found: &mut Diagnostics) -> Vec<Template> {
        let configs = self.manifest.configs.iter().zip(self.configs);
        let configs =
            configs.map(|(config, content)| (config.from.as_str(), String::from_utf8_lossy(content)));
        let compose = self.manifest.compose.iter().zip(self.compose);
        let compose = compose.map(|(path, text)| (path.as_str(), Cow::Borrowed(text.as_str())));
        let mut templates = Vec::new();
        for (path, text) in configs.chain(compose).filter(|(path, _)| render::is_template(path)) {
            let file = format!("{}{path}", self.shown_root);
            match Template::read(&file, path, &text, self.template) {
                Ok(template) => templates.push(template),
                Err(mistakes) => found.0.extend(mistakes.0),
            }
        }
        templates
    }

    /// The meaning of `${NAME}`.
    fn env(&self, names: &Values) -> Result<Entries, Diagnostics> {
        let file = match self.manifest.compose_folder() {
            "" => format!("{}.env", self.shown_root),
            folder => format!("{}{folder}/.env", self.shown_root),
        };
        let mut entries = match self.dotenv {
            Some(text) => compose::parse_env(&file, text, self.level)?,
            None => Entries::default(),
        };
        let env = &mut entries.values;
        for (name, value) in names {
            match value {
                Value::String(text) => env.insert(name.clone(), text.clone()),
                Value::Number(_) | Value::Bool(_) => env.insert(name.clone(), value.to_string()),
                _ => None,
            };
        }
        env.insert("COMPOSE_PROJECT_NAME".to_owned(), self.manifest.name.to_string());
        Ok(entries)
    }
}

/// A variable that is there, but no word, has a value that `${NAME}` cannot take.
fn about_lists(mut mistakes: Diagnostics, names: &Values) -> Diagnostics {
    for mistake in &mut mistakes.0 {
        let name = mistake.message.strip_prefix('`').and_then(|rest| rest.split_once("` has no value"));
        let Some((name, value)) = name.and_then(|(name, _)| names.get_key_value(name)) else { continue };
        let what = match value {
            Value::Array(_) => "a list",
            Value::Object(_) => "a map",
            Value::Null => {
                mistake.message = format!("`{name}` is not asked for with these answers, so it has no value");
                mistake.hint = Some(format!("write `${{{name}:-default}}`"));
                continue;
            }
            _ => continue,
        };
        mistake.message = format!("`{name}` is {what}, and `${{{name}}}` takes one word or number");
        mistake.hint = Some(format!(
            "name the file with `.j2` at its end, here and in the manifest, and write `{{% for entry in {name} %}}` in it"
        ));
    }
    mistakes
}

/// Mistakes of a rendering with the answers in `site`, a values file.
#[must_use]
pub fn with_answers_of(site: &str, mut mistakes: Diagnostics) -> Diagnostics {
    for mistake in &mut mistakes.0 {
        mistake.message = format!("{} (with the answers in {site})", mistake.message);
    }
    mistakes
}

/// Checks that a config template is text, before it is rendered.
///
/// # Errors
/// When it is not UTF-8.
pub fn check_text(file: &str, content: &[u8]) -> Result<(), Diagnostic> {
    match crate::encoding::text(file, content.to_vec()) {
        Ok(_) => Ok(()),
        Err(mistake) => {
            Err(mistake.hint("save it as UTF-8, or take `.j2` from its name to carry it as it is"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_no_words() {
        let manifest = "ferry: 1\nname: a\nversion: 1\nvariables: { l: { type: list }, e: {}, n: { when: \"false\" } }\n";
        let manifest = Manifest::parse("ferry.yaml", manifest).unwrap();
        let compose = ["services: { a: { image: \"${l}\", user: \"${n}\", command: \"${e}\" } }".to_owned()];
        let written = Written {
            manifest: &manifest,
            shown_root: "",
            compose: &compose,
            dotenv: None,
            configs: &[],
            load: &|_| None,
            template: &|_| None,
            over: None,
            reserved: Reserved::Refused,
            level: compose::LEVEL,
            renderer: &render::InProcess,
        };
        let values = serde_json::json!({ "l": ["x"], "e": "x", "n": null });
        let values: Values = serde_json::from_value(values).unwrap();
        let error = written.make(&names(&manifest, &values, "host")).unwrap_err().to_string();
        assert!(error.contains("`l` is a list, and `${l}` takes one word or number"), "{error}");
        assert!(error.contains("name the file with `.j2`") && !error.contains("did you mean"), "{error}");
        assert!(error.contains("`n` is not asked for with these answers"), "{error}");
    }

    /// Counts the jobs.
    #[derive(Debug, Default)]
    struct Counted(std::sync::Mutex<Vec<usize>>);

    impl Renderer for Counted {
        fn render(&self, job: &render::Job) -> Result<Vec<String>, Diagnostics> {
            self.0.lock().unwrap().push(job.templates.len());
            render::InProcess.render(job)
        }
    }

    #[test]
    fn one_job_renders_all_templates_and_plain_text_none() {
        let manifest = "ferry: 1\nname: a\nversion: 1\ncompose: compose.yaml.j2\nvariables: { v: { default: x } }\n\
            configs: [{ from: a.j2, to: a }, { from: b.txt, to: b }, { from: c.j2, to: c }]\n";
        let manifest = Manifest::parse("ferry.yaml", manifest).unwrap();
        let made = |compose: &str, a: &str, c: &str| {
            let counted = Counted::default();
            let configs = [a, "{{ v }}", c].map(|text| text.as_bytes().to_vec());
            let written = Written {
                manifest: &manifest,
                shown_root: "",
                compose: &[compose.to_owned()],
                dotenv: None,
                configs: &configs,
                load: &|_| None,
                template: &|_| None,
                over: None,
                reserved: Reserved::Refused,
                level: compose::LEVEL,
                renderer: &counted,
            };
            let values = Values::from([("v".to_owned(), "w".into())]);
            let made = written.make(&names(&manifest, &values, "host")).map_err(|error| error.to_string());
            (made, counted.0.into_inner().unwrap())
        };
        let compose = "services: { s: { image: 'i' } }\n";
        let (plain, jobs) = made(compose, "a\r\n", "} c");
        assert_eq!(plain.unwrap().configs, [&b"a\r\n"[..], b"{{ v }}", b"} c"]);
        assert_eq!(jobs, [0; 0]);
        let (rendered, jobs) = made(&compose.replace("'i'", "'{{ v }}'"), "a", "c {{ v }}\n");
        let rendered = rendered.unwrap();
        assert_eq!(rendered.configs, [&b"a"[..], b"{{ v }}", b"c w\n"]);
        assert_eq!(rendered.parsed.project.services.values().next().unwrap().image, "w");
        assert_eq!(jobs, [2]);
        // What cannot be read hides no mistake of what can.
        let (mistakes, jobs) = made(compose, "{% include v %}", "{{ nope }}");
        let mistakes = mistakes.unwrap_err();
        assert!(mistakes.contains("a.j2:1:4: ") && mistakes.contains("c.j2:1:4: `nope`"), "{mistakes}");
        assert_eq!(jobs, [1]);
    }

    #[test]
    fn a_mistake_in_a_config_hides_none_in_the_compose_file() {
        let manifest = "ferry: 1\nname: a\nversion: 1\nconfigs: [{ from: a.j2, to: config/a.env }]\n";
        let manifest = Manifest::parse("ferry.yaml", manifest).unwrap();
        let mistakes = |compose: &str, dotenv: Option<&str>| {
            let written = Written {
                manifest: &manifest,
                shown_root: "",
                compose: &[compose.to_owned()],
                dotenv,
                configs: &[b"{{ nope }}".to_vec()],
                load: &|_| None,
                template: &|_| None,
                over: None,
                reserved: Reserved::Refused,
                level: compose::LEVEL,
                renderer: &render::InProcess,
            };
            let mistakes = written.make(&names(&manifest, &Values::new(), "host")).unwrap_err();
            mistakes.0.into_iter().map(|mistake| mistake.message).collect::<Vec<_>>()
        };
        let nope = "`nope` is undefined";
        let all = mistakes("services: { s: { image: i, imgae: i } }\n", None);
        assert_eq!(all, [nope, "unknown key `imgae` in service `s`"]);
        // Neither would be a mistake once the others are mended.
        assert_eq!(mistakes("services: { s: { image: i, env_file: config/a.env } }\n", None), [nope]);
        assert_eq!(mistakes("services: { s: { image: '${A:?}' } }\n", Some("A B\n")).len(), 2);
    }
}
