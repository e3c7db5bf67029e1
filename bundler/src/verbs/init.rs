//! `ferry init`: a commented `ferry.yaml` for a folder that has a Compose file.

use anyhow::{Context, Result};
use ferry_terminal::{Class, Failure, whole_file};
use manifest_schema::compose::{self, Beside, Text, Unset, Used};
use manifest_schema::schema;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Names Compose itself looks for, in its order (Compose Specification, "Compose file").
const COMPOSE_NAMES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];

/// The file that editors complete and check a manifest with.
const SCHEMA: &str = "ferry.schema.json";

/// Writes `ferry.yaml` in `folder` and returns its path and the mistakes that the Compose file has
/// for Ferry, if any. A Compose file one or two folders below is taken where there is no other.
///
/// # Errors
/// When there is no Compose file, or `ferry.yaml` exists already.
pub(crate) fn init(folder: &Path) -> Result<(PathBuf, Option<manifest_schema::Diagnostics>)> {
    let Some(first) = compose_file(folder) else {
        let fact = format!("there is no compose.yaml in {}", folder.display());
        return Err(Failure::new(Class::Input, fact)
            .hint("run this in the folder of your Compose file, or in one above it with no other")
            .into());
    };
    let target = folder.join("ferry.yaml");
    let below = first.rsplit_once('/').map_or("", |(below, _)| below);
    let beside_it = folder.join(below);
    let env = std::fs::read_to_string(beside_it.join(".env")).unwrap_or_default();
    let mut env = compose::parse_dotenv(".env", &env).unwrap_or_default();
    env.insert("COMPOSE_PROJECT_NAME".to_owned(), product_name(folder));
    let named = env.get("COMPOSE_FILE").map(|list| of_compose_file(list, &env, below));
    // Files that are not there, or not below the first, are for the person to look at.
    let all_there = |files: &Vec<String>| {
        !files.is_empty() && files.iter().all(|file| file.starts_with(below) && folder.join(file).is_file())
    };
    let files = named.filter(all_there).unwrap_or_else(|| vec![first.clone()]);
    let mut texts = Vec::new();
    for file in &files {
        let text = std::fs::read_to_string(folder.join(file)).with_context(|| format!("reading {file}"))?;
        texts.push((folder.join(file).display().to_string(), text));
    }
    let texts: Vec<Text<'_>> = texts.iter().map(|(file, text)| Text { file, text }).collect();
    let load = |file: &str| std::fs::read(folder.join(compose::from_manifest(below, file))).ok();
    let beside = Beside { folder: below, ..Beside::default() };
    let variables = compose::unset_variables(&texts, &beside, &env, &load);
    // What becomes a variable is no mistake any more.
    let of_shell = variables.iter().filter(|variable| variable.used != Used::Shell);
    let answered = of_shell.map(|variable| (variable.name.clone(), stand_in(variable.used).to_owned()));
    let answered: BTreeMap<String, String> = answered.chain(env.clone()).collect();
    let (images, volumes, mistakes) = match compose::parse_with_own(&texts, &beside, &answered, &load) {
        Ok(parsed) => {
            let services = parsed.project.services.values();
            // With a stand-in in it, it is no image that anybody has.
            let whole = services.filter(|service| !service.image.contains(STAND_IN));
            let images: BTreeSet<String> = whole.map(|service| service.image.clone()).collect();
            let volumes: Vec<String> = parsed.project.volumes.keys().cloned().collect();
            (images, volumes, None)
        }
        Err(mistakes) => (BTreeSet::new(), Vec::new(), Some(mistakes)),
    };
    let written = match files.as_slice() {
        [one] => one.clone(),
        all => format!("[{}]", all.join(", ")),
    };
    let content = write(&product_name(folder), &written, &images, &volumes, &variables);
    let written = whole_file::write_new(&target, content.as_bytes(), 0o644);
    if written.as_ref().is_err_and(whole_file::is_taken) {
        let fact = format!("{} exists already", target.display());
        return Err(Failure::new(Class::Files, fact).hint("edit it, or move it away first").into());
    }
    written?;
    // For editors; whoever has one already keeps it.
    let schema = serde_json::to_vec_pretty(&schema::manifest())?;
    let described = whole_file::write_new(&folder.join(SCHEMA), &schema, 0o644);
    if described.as_ref().is_err_and(|error| !whole_file::is_taken(error)) {
        described?;
    }
    Ok((target, mistakes))
}

/// Stands for the part of an image's name that a variable gives.
const STAND_IN: &str = "a-part-to-be-given";

fn stand_in(used: Used) -> &'static str {
    match used {
        Used::Image => STAND_IN,
        Used::Port => "65535",
        Used::Path => "/x",
        Used::Text | Used::Secret | Used::Shell => "x",
    }
}

/// The Compose file of `folder`, or the only one in a folder up to two levels below.
fn compose_file(folder: &Path) -> Option<String> {
    let in_folder = |below: &str| {
        let name = COMPOSE_NAMES.into_iter().find(|name| folder.join(below).join(name).is_file())?;
        Some(if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") })
    };
    let folders = |below: &str| -> Vec<String> {
        let entries = std::fs::read_dir(folder.join(below)).into_iter().flatten().flatten();
        let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let names = folders.filter_map(|entry| entry.file_name().into_string().ok());
        let seen = names.filter(|name| !name.starts_with('.'));
        seen.map(|name| if below.is_empty() { name } else { format!("{below}/{name}") }).collect()
    };
    in_folder("").or_else(|| {
        let first = folders("");
        let second = first.iter().flat_map(|below| folders(below));
        let found: Vec<String> =
            first.iter().cloned().chain(second).filter_map(|below| in_folder(&below)).collect();
        <[String; 1]>::try_from(found).ok().map(|[only]| only)
    })
}

/// The files of `COMPOSE_FILE`, from the manifest's folder.
fn of_compose_file(list: &str, env: &BTreeMap<String, String>, below: &str) -> Vec<String> {
    let separator = env.get("COMPOSE_PATH_SEPARATOR").filter(|text| !text.is_empty());
    let files = list.split(separator.map_or(":", String::as_str)).filter(|file| !file.trim().is_empty());
    files.map(|file| compose::from_manifest(below, file.trim())).collect()
}

/// The folder's name, made into a project name.
fn product_name(folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    let name = folder.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let name: String = name
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_' { c } else { '-' })
        .collect();
    let name = name.trim_matches(['-', '_']).chars().take(63).collect::<String>();
    if name.is_empty() { "site".to_owned() } else { name }
}

fn write(
    name: &str,
    compose: &str,
    images: &BTreeSet<String>,
    volumes: &[String],
    variables: &[Unset],
) -> String {
    let mut text = format!(
        "# yaml-language-server: $schema=./{SCHEMA}\n\
         ferry: 1\n\
         name: {name}            # the product, and the Compose project on site\n\
         version: 0.1.0\n\
         compose: {compose}\n\n\
         # Images are looked for in ./images (saved tarballs), then in the local engine, then in the\n\
         # registry. Name a source only where that does not find the right one:\n\
         # docker-archive:FILE, oci-archive:FILE, oci:FOLDER, docker-daemon:NAME, docker://NAME\n"
    );
    if images.is_empty() {
        text.push_str("# images:\n#   acme/api:1.0: docker-archive:dist/api.tar\n");
    } else {
        text.push_str("# images:\n");
        for (number, image) in images.iter().enumerate() {
            text.push_str(&format!("#   {image}: docker-archive:dist/image-{}.tar\n", number + 1));
        }
    }
    text.push_str(
        "\n# Build artifacts: files, folders, archives, .deb, .jar, and a path of a git repository at a ref.\n\
         # They are laid out below artifacts/ on site.\n\
         # artifacts:\n\
         #   - dist/agent.deb\n\
         #   - { from: \"git:../settings@v1.0\", to: settings }\n\n\
         # Config files; *.j2 are Jinja templates, rendered on site with the variables below.\n\
         # configs:\n\
         #   - { from: templates/nginx.conf.j2, to: config/nginx.conf }\n\n",
    );
    let asked: Vec<&Unset> =
        variables.iter().filter(|variable| !matches!(variable.name.as_str(), "PWD" | "HOME")).collect();
    if asked.is_empty() {
        text.push_str(
            "# variables:\n\
             #   plant_name:  { prompt: \"Name of this plant\", default: PLANT-1 }\n\
             #   db_password: { type: secret, generate: 32 }\n\n",
        );
    } else {
        text.push_str("# What the Compose file names and nothing gives a value: asked on site, but for defaults.\nvariables:\n");
        for Unset { name, used } in asked {
            let what = match used {
                Used::Text => "{ default: \"\" }".to_owned(),
                Used::Port => format!("{{ type: port, prompt: \"{name}\" }}"),
                Used::Path => format!("{{ type: path, prompt: \"{name}\" }}"),
                Used::Image | Used::Secret | Used::Shell => format!("{{ prompt: \"{name}\" }}"),
            };
            text.push_str(&format!("  {name}: {what}\n"));
        }
        text.push('\n');
    }
    match volumes.first() {
        Some(volume) => text.push_str(&format!(
            "# First content of a named volume, used only while it is empty:\n# volumes:\n#   {volume}: {{ seed: seed/{volume}.tar }}\n\n"
        )),
        None => text.push_str("# First content of a named volume, used only while it is empty:\n# volumes:\n#   data: { seed: seed/data.tar }\n\n"),
    }
    text.push_str("requires: { engine: \">=20.10\", arch: [amd64] }\n");
    text
}

/// Every new manifest can be read as one.
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_init_writes_is_a_manifest_with_and_without_its_comments() {
        let images = BTreeSet::from(["acme/api:1.0".to_owned(), "redis:7".to_owned()]);
        for (images, volumes) in [(images, vec!["data".to_owned()]), (BTreeSet::new(), Vec::new())] {
            let text = write("site", "compose.yaml", &images, &volumes, &[]);
            manifest_schema::manifest::Manifest::parse("ferry.yaml", &text).unwrap();
            let uncommented: String = text
                .lines()
                .map(|line| match line.strip_prefix("# ") {
                    Some(rest) if rest.starts_with("  ") || rest.ends_with(':') && !rest.contains(' ') => {
                        rest
                    }
                    _ => line,
                })
                .fold(String::new(), |all, line| all + line + "\n");
            manifest_schema::manifest::Manifest::parse("ferry.yaml", &uncommented).unwrap();
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
        let (path, mistakes) = init(folder.path()).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        for line in [
            "  TAG: { prompt: \"TAG\" }",
            "  PORT: { type: port, prompt: \"PORT\" }",
            "  DATA: { type: path, prompt: \"DATA\" }",
            "  SITE_PROXY: { default: \"\" }",
            "  PG: { prompt: \"PG\" }",
            "  UID: { prompt: \"UID\" }",
        ] {
            assert!(text.contains(&format!("\n{line}\n")), "{line}: {text}");
        }
        assert!(!text.contains(STAND_IN), "{text}");
        let told = mistakes.unwrap().to_string();
        assert!(told.contains("`UID` is a variable of the shell") && !told.contains("`PG`"), "{told}");
        manifest_schema::manifest::Manifest::parse("ferry.yaml", &text).unwrap();
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
        let (path, mistakes) = init(below.path()).unwrap();
        assert_eq!(mistakes, None);
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.contains("compose: [deploy/compose.yaml, deploy/site.yaml]\n"), "{text}");
        // In the folder itself it names the way.
        let (_, mistakes) = init(&below.path().join("deploy")).unwrap();
        assert!(mistakes.unwrap().to_string().contains("run `ferry init` there"));
        let two = folder(&[("a/compose.yaml", "services: {}"), ("b/compose.yaml", "services: {}")]);
        assert!(init(two.path()).is_err());
    }
}
