//! The findings in a folder for a manifest: its Compose files with their images, volumes and variables, and its templates.

use anyhow::{Context as _, Result};
use ferry_terminal::{Class, Failure};
use manifest_schema::compose::{self, Beside, Text, Unset, Used};
use manifest_schema::yaml::{self, Sources};
use manifest_schema::{BundlePath, Diagnostics, ProjectName};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Names Compose itself looks for, in its order (Compose Specification, "Compose file").
const COMPOSE_NAMES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];

/// Entries of the folder that are looked at for templates.
const MAX_ENTRIES: usize = 10_000;

/// Folders that are none of a person's.
const FOREIGN: [&str; 4] = ["node_modules", "target", "venv", "__pycache__"];

/// The folder, as far as a manifest is concerned.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The product: the folder's name.
    pub(super) name: String,
    /// The Compose files, from the manifest's folder.
    pub(super) compose: Vec<String>,
    pub(super) images: BTreeSet<String>,
    pub(super) volumes: Vec<String>,
    /// Variables without a value.
    pub(super) variables: Vec<Unset>,
    /// Variables with a default in the Compose files: name and default.
    pub(super) defaults: BTreeMap<String, String>,
    /// Templates, each with its place in the release.
    pub(super) templates: Vec<(String, String)>,
    /// All that the Compose files have to change first.
    pub(super) mistakes: Option<Diagnostics>,
}

/// Looks at `folder`. A Compose file one or two folders below is taken where there is no other.
///
/// # Errors
/// When there is no Compose file, or one is no YAML.
pub(super) fn look(folder: &Path) -> Result<Found> {
    let Some(first) = compose_file(folder) else {
        let fact = format!("there is no compose.yaml in {}", folder.display());
        return Err(Failure::new(Class::Input, fact)
            .hint("run this in the folder of your Compose file, or in one above it with no other")
            .into());
    };
    let name = product_name(folder);
    let below = first.rsplit_once('/').map_or("", |(below, _)| below);
    let env = std::fs::read_to_string(folder.join(below).join(".env")).unwrap_or_default();
    let mut env = compose::parse_dotenv(".env", &env).unwrap_or_default();
    env.insert("COMPOSE_PROJECT_NAME".to_owned(), name.clone());
    let named = env.get("COMPOSE_FILE").map(|list| of_compose_file(list, &env, below));
    // Files that are not there, or not below the first, are for the person to look at.
    let all_there = |files: &Vec<String>| {
        let is_here = |file: &String| {
            let beside =
                file.strip_prefix(below).is_some_and(|rest| below.is_empty() || rest.starts_with('/'));
            beside && file.parse::<BundlePath>().is_ok() && folder.join(file).is_file()
        };
        !files.is_empty() && files.iter().all(is_here)
    };
    let files = named.filter(all_there).unwrap_or_else(|| vec![first.clone()]);
    let mut texts = Vec::new();
    for file in &files {
        let text = std::fs::read_to_string(folder.join(file)).with_context(|| format!("reading {file}"))?;
        texts.push((folder.join(file).display().to_string(), text));
    }
    are_yaml(&texts)?;
    let defaults = texts.iter().flat_map(|(_, text)| defaults(text)).collect();
    let texts: Vec<Text<'_>> = texts.iter().map(|(file, text)| Text { file, text }).collect();
    let load = |file: &str| std::fs::read(folder.join(compose::from_manifest(below, file))).ok();
    let beside = Beside { folder: below, ..Beside::default() };
    let variables = compose::unset_variables(&texts, &beside, &env, &load);
    // What becomes a variable is no mistake any more.
    let of_shell = variables.iter().filter(|variable| variable.used != Used::Shell);
    let answered =
        of_shell.zip(0_u16..).map(|(variable, number)| (variable.name.clone(), stand_in(variable, number)));
    let answered: BTreeMap<String, String> = answered.chain(env.clone()).collect();
    let mut found = Found { name, variables, defaults, ..Found::default() };
    found.defaults.retain(|name, _| !env.contains_key(name));
    let mut named_files = Vec::new();
    match compose::parse_with_own(&texts, &beside, &answered, &load) {
        Ok(parsed) => {
            let services = parsed.project.services.values();
            // With a stand-in in it, it is no image that anybody has.
            let whole = services.filter(|service| !service.image.contains(STAND_IN));
            found.images = whole.map(|service| service.image.clone()).collect();
            found.volumes = parsed.project.volumes.keys().cloned().collect();
            named_files = parsed.files.into_iter().map(|file| file.path).collect();
        }
        Err(mut mistakes) => {
            // A stand-in at fault is none of the person's.
            let own = answered.iter().filter(|(name, _)| !env.contains_key(*name)).map(|(_, value)| value);
            let own: Vec<&String> = own.filter(|value| !value.is_empty()).collect();
            mistakes.0.retain(|mistake| !own.iter().any(|value| mistake.message.contains(value.as_str())));
            found.mistakes = (!mistakes.0.is_empty()).then_some(mistakes);
        }
    }
    found.templates = templates(folder, below, &named_files);
    found.compose = files;
    Ok(found)
}

/// # Errors
/// The mistake of a text that nothing can be read from.
fn are_yaml(texts: &[(String, String)]) -> Result<()> {
    let mut mistakes = Diagnostics::default();
    for (file, text) in texts {
        if let Err(mistake) = yaml::parse_compose(&Sources::one(file, text), 0) {
            mistakes.push(mistake);
        }
    }
    Ok(mistakes.or_ok(())?)
}

/// Stands for the part of an image's name that a variable gives.
pub(super) const STAND_IN: &str = "a-part-to-be-given";

fn stand_in(variable: &Unset, number: u16) -> String {
    match variable.used {
        Used::Image => STAND_IN.to_owned(),
        Used::Port if is_address(variable) => "127.0.0.1".to_owned(),
        // No two publish the same.
        Used::Port => (u16::MAX - number).to_string(),
        Used::Path => format!("./{STAND_IN}"),
        Used::Secret => STAND_IN.to_owned(),
        Used::Text | Used::Shell => String::new(),
    }
}

/// True for the name of an address before a port.
pub(super) fn is_address(variable: &Unset) -> bool {
    let name = variable.name.to_ascii_uppercase();
    variable.used == Used::Port
        && ["IP", "ADDR", "BIND", "HOST"].iter().any(|word| name.contains(word))
        && !name.contains("PORT")
}

/// Plain defaults, as in `${PORT:-8080}`, outside comments.
fn defaults(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let begins = lines.flat_map(|line| line.split("${").skip(1));
    let mut found = BTreeMap::new();
    for rest in begins {
        let Some((inside, _)) = rest.split_once('}') else { continue };
        let Some((name, default)) = inside.split_once(":-").or_else(|| inside.split_once('-')) else {
            continue;
        };
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if is_name && !default.contains(['$', '"', '\\']) && !default.is_empty() {
            found.entry(name.to_owned()).or_insert_with(|| default.to_owned());
        }
    }
    found
}

/// The templates below `folder`, each with the place that a Compose file has for what it makes; `config/NAME` where none
/// has. `named` are the files that the Compose files name, from the folder `below`.
fn templates(folder: &Path, below: &str, named: &[String]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut left = MAX_ENTRIES;
    collect(folder, "", 0, &mut left, &mut found);
    found.sort();
    let place = |template: &str| {
        let made = template.strip_suffix(".j2").unwrap_or(template);
        let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let same = named.iter().find(|path| compose::from_manifest(below, path) == made);
        let mut missing = named.iter().filter(|path| {
            last(path) == last(made) && !folder.join(compose::from_manifest(below, path)).exists()
        });
        let only = missing.next().filter(|_| missing.next().is_none());
        same.or(only).cloned().unwrap_or_else(|| format!("config/{}", last(made)))
    };
    found.into_iter().map(|template| (place(&template), template)).map(|(to, from)| (from, to)).collect()
}

fn collect(folder: &Path, below: &str, depth: u32, left: &mut usize, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder.join(below)).into_iter().flatten().flatten() {
        let Some(rest) = left.checked_sub(1) else { return };
        *left = rest;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with('.') || FOREIGN.contains(&name.as_str()) {
            continue;
        }
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth < 4 => collect(folder, &path, depth + 1, left, found),
            // Others cannot be named in a manifest.
            Ok(kind) if kind.is_file() && path.ends_with(".j2") && path.parse::<BundlePath>().is_ok() => {
                found.push(path);
            }
            _ => {}
        }
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
        let seen = names.filter(|name| !name.starts_with('.') && !FOREIGN.contains(&name.as_str()));
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
    match name.parse::<ProjectName>() {
        Ok(own) if own.is_ferrys() => format!("{name}-site"),
        Ok(_) => name,
        Err(_) => "site".to_owned(),
    }
}
