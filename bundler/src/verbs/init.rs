//! `ferry init`: a commented `ferry.yaml` for a folder that has a Compose file, and what goes with it.

mod found;
mod text;

use crate::read::folder::read_text;
use anyhow::Result;
use ferry_terminal::{Class, Failure, whole_file};
use found::Found;
use manifest_schema::Diagnostics;
use manifest_schema::manifest::Manifest;
use manifest_schema::schema;
use std::path::{Path, PathBuf};

/// The file that editors complete and check a manifest with.
const SCHEMA: &str = "ferry.schema.json";

/// Names that git is not to keep: bundles, saved images, the private key of `ferry keygen release`.
const IGNORED: [&str; 3] = ["*.fz", "/images/", "/release"];

/// The outcome.
#[derive(Debug)]
pub(crate) struct Begun {
    /// Files that were written; the manifest is the first.
    pub(crate) written: Vec<PathBuf>,
    /// All that the Compose files have to change first.
    pub(crate) mistakes: Option<Diagnostics>,
    /// Lines that a `.gitignore` which was there lacks.
    pub(crate) to_ignore: Vec<&'static str>,
}

/// Writes `ferry.yaml`, its schema and a `.gitignore` in `folder`.
///
/// # Errors
/// When there is no Compose file or one is no YAML, and nothing is written then; or `ferry.yaml` exists already: what would
/// be added to it is told.
pub(crate) fn init(folder: &Path) -> Result<Begun> {
    let found = found::look(folder)?;
    let target = folder.join("ferry.yaml");
    let written = whole_file::write_new(&target, text::manifest(&found).as_bytes(), 0o644);
    if written.as_ref().is_err_and(whole_file::is_taken) {
        let fact = format!("{} exists already", target.display());
        return Err(Failure::new(Class::Files, fact).hint(to_add(&target, &found)).into());
    }
    written?;
    let mut begun = Begun { written: vec![target], mistakes: found.mistakes, to_ignore: Vec::new() };
    // For editors; whoever has one already keeps it.
    let schema = serde_json::to_vec_pretty(&schema::manifest())?;
    begun.add(folder.join(SCHEMA), &schema)?;
    let ignored: String = IGNORED.iter().map(|line| format!("{line}\n")).collect();
    if !begun.add(folder.join(".gitignore"), ignored.as_bytes())? {
        let there = std::fs::read_to_string(folder.join(".gitignore")).unwrap_or_default();
        let has =
            |line: &str| there.lines().any(|other| other.trim().trim_matches('/') == line.trim_matches('/'));
        begun.to_ignore = IGNORED.into_iter().filter(|line| !has(line)).collect();
    }
    Ok(begun)
}

impl Begun {
    /// Writes a further file, unless there is one.
    fn add(&mut self, path: PathBuf, content: &[u8]) -> Result<bool> {
        match whole_file::write_new(&path, content, 0o644) {
            Err(error) if whole_file::is_taken(&error) => Ok(false),
            Err(error) => Err(error),
            Ok(()) => {
                self.written.push(path);
                Ok(true)
            }
        }
    }
}

/// The hint on a manifest that is there: the lines that it lacks.
fn to_add(target: &Path, found: &Found) -> String {
    const EDIT: &str = "edit it, or move it away first";
    let shown = target.display().to_string();
    let manifest = read_text(target).ok().and_then(|text| Manifest::parse(&shown, &text).ok());
    let Some(manifest) = manifest else { return EDIT.to_owned() };
    let configs = text::configs(found, |from| !manifest.configs.iter().any(|config| config.from == from));
    let variables = text::variables(found, |name| !manifest.variables.contains_key(name));
    let mut lines = String::new();
    for (key, added) in [("configs:\n", configs), ("variables:\n", variables)] {
        if !added.is_empty() {
            lines.push_str(key);
            lines.push_str(&added);
        }
    }
    match lines.trim_end() {
        "" => format!("{EDIT}; it has all that was found"),
        lines => format!("{EDIT}; it could have:\n{lines}"),
    }
}

/// Every new manifest can be read as one.
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_init_writes_is_a_manifest_with_and_without_its_comments() {
        let images = ["acme/api:1.0".to_owned(), "redis:7".to_owned()].into();
        let whole = Found {
            images,
            volumes: vec!["data".to_owned(), "rows".to_owned()],
            defaults: [("PORT".to_owned(), "8080".to_owned())].into(),
            templates: vec![("a.conf.j2".to_owned(), "config/a.conf".to_owned())],
            ..Found::default()
        };
        for found in [whole, Found::default()] {
            let found = Found { name: "site".to_owned(), compose: vec!["compose.yaml".to_owned()], ..found };
            let text = text::manifest(&found);
            Manifest::parse("ferry.yaml", &text).unwrap();
            let uncommented: String = text
                .lines()
                .map(|line| match line.strip_prefix("# ") {
                    Some(rest) if rest.starts_with("  ") || rest.ends_with(':') && !rest.contains(' ') => {
                        rest
                    }
                    _ => line,
                })
                .fold(String::new(), |all, line| all + line + "\n");
            Manifest::parse("ferry.yaml", &uncommented).unwrap();
        }
    }

    /// A folder with these files.
    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        folder
    }

    #[test]
    fn variables_without_a_value_are_written_with_what_they_are_for() {
        let compose = "services:\n  a:\n    image: acme/a:${TAG}\n    ports: [\"${PORT}:80\"]\n    volumes: [\"${DATA}:/d\"]\n    \
                       environment: { P: \"${SITE_PROXY}\", PG_PASSWORD: \"${PG}\", U: \"${UID}\" }\n    build: .\n";
        let folder = folder(&[("compose.yaml", compose)]);
        let Begun { written, mistakes, .. } = init(folder.path()).unwrap();
        let text = std::fs::read_to_string(&written[0]).unwrap();
        for line in [
            "  TAG: { prompt: \"TAG\" }",
            "  PORT: { type: port, prompt: \"PORT\" }",
            "  DATA: { type: path, prompt: \"DATA\" }",
            "  SITE_PROXY: { default: \"\" }",
            "  PG: { prompt: \"PG\" } # `type: secret` hides it, for a file under `secrets:` in the Compose file",
            "  UID: { prompt: \"UID\" }",
        ] {
            assert!(text.contains(&format!("\n{line}\n")), "{line}: {text}");
        }
        assert!(!text.contains(found::STAND_IN), "{text}");
        let told = mistakes.unwrap().to_string();
        assert!(told.contains("`UID` is a variable of the shell") && !told.contains("`PG`"), "{told}");
        Manifest::parse("ferry.yaml", &text).unwrap();
    }

    #[test]
    fn the_folder_above_has_a_manifest_for_a_compose_file_below() {
        let files = [
            ("deploy/compose.yaml", "services: { a: { image: a:1, volumes: ['../rules:/r:ro'] } }\n"),
            ("deploy/site.yaml", "services: { a: { hostname: h } }\n"),
            ("deploy/.env", "COMPOSE_FILE=compose.yaml:site.yaml\n"),
            ("rules/a", "1"),
        ];
        let below = folder(&files);
        let Begun { written, mistakes, .. } = init(below.path()).unwrap();
        assert_eq!(mistakes, None);
        let text = std::fs::read_to_string(&written[0]).unwrap();
        assert!(text.contains("compose: [deploy/compose.yaml, deploy/site.yaml]\n"), "{text}");
        // In the folder itself it names the way.
        let mistakes = init(&below.path().join("deploy")).unwrap().mistakes;
        assert!(mistakes.unwrap().to_string().contains("run `ferry init` there"));
        let two = folder(&[("a/compose.yaml", "services: {}"), ("b/compose.yaml", "services: {}")]);
        assert!(init(two.path()).is_err());
    }

    #[test]
    fn templates_get_the_places_that_the_compose_file_has_for_them() {
        let compose = "services:\n  a:\n    image: a:1\n    volumes: [\"./conf/nginx.conf:/n:ro\", \"./settings/app.toml:/t:ro\"]\n    \
                       environment: { P: \"${PORT:-8080}\", Q: \"${NAME-x}${OTHER:-$NAME}\" }\n    # ${NOT:-1}\n";
        let files = [
            ("compose.yaml", compose),
            (".env", "NAME=y\n"),
            ("conf/nginx.conf.j2", "x"),
            ("templates/app.toml.j2", "x"),
            ("templates/other.j2", "x"),
            (".git/hidden.j2", "x"),
            (".gitignore", "images\nmine\n"),
        ];
        let folder = folder(&files);
        let begun = init(folder.path()).unwrap();
        assert_eq!(begun.to_ignore, ["*.fz", "/release"]);
        let text = std::fs::read_to_string(&begun.written[0]).unwrap();
        let configs = "\nconfigs:\n  - { from: conf/nginx.conf.j2, to: conf/nginx.conf }\n  - { from: templates/app.toml.j2, to: settings/app.toml }\n  \
                       - { from: templates/other.j2, to: config/other }\n\n";
        assert!(text.contains(configs), "{text}");
        assert!(text.contains("#   PORT: { prompt: \"PORT\", default: \"8080\" }\n"), "{text}");
        assert!(!text.contains("NAME:") && !text.contains("NOT:"), "{text}");

        // What came later is told.
        std::fs::write(folder.path().join("templates/new.j2"), "x").unwrap();
        let compose = format!("{compose}    hostname: \"${{TAG}}\"\n");
        std::fs::write(folder.path().join("compose.yaml"), compose).unwrap();
        let error = init(folder.path()).unwrap_err();
        let failure = format!("{:?}", error.downcast_ref::<Failure>().unwrap());
        let hint = "it could have:\\nconfigs:\\n  - { from: templates/new.j2, to: config/new }\\nvariables:\\n  TAG: { default: \\\"\\\" }\")";
        assert!(failure.contains(hint), "{failure}");
        assert_eq!(std::fs::read_to_string(&begun.written[0]).unwrap(), text);
    }

    #[test]
    fn of_what_is_no_yaml_nothing_is_written() {
        let broken = folder(&[("compose.yaml", "services:\n  a: [\n")]);
        let error = init(broken.path()).unwrap_err().to_string();
        assert!(error.contains("compose.yaml:"), "{error}");
        assert_eq!(std::fs::read_dir(broken.path()).unwrap().count(), 1);
    }

    #[test]
    fn stand_ins_make_no_mistakes_of_their_own() {
        let compose = "services:\n  a:\n    image: a:1\n    ports: [\"${HTTP}:80\", \"${HTTPS}:443\", \"${BIND_IP}:8080:81\"]\n    mem_limit: ${MEM}\n    privileged: ${P}\n";
        let folder = folder(&[("compose.yaml", compose), (".env", "COMPOSE_FILE=../other/compose.yaml\n")]);
        let begun = init(folder.path()).unwrap();
        assert_eq!(begun.mistakes, None);
        let text = std::fs::read_to_string(&begun.written[0]).unwrap();
        assert!(
            text.contains("compose: compose.yaml\n") && text.contains("BIND_IP: { type: address"),
            "{text}"
        );
    }
}
