//! A project from its texts: load, decode, leave out what does not start, check.

use super::decode::context::{Context, Mention, Target};
use super::decode::{self, check, environment};
use super::load::{self, Text};
use super::model::{NamedFile, Project, Reserved};
use crate::diagnostic::shown;
use crate::yaml::{self, Node, Place, Sources, Value};
use crate::{Diagnostic, Diagnostics, ServiceName};
use std::collections::{BTreeMap, BTreeSet};

/// A Compose file, read and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// All files as one, interpolated, as text that Compose reads: what `docker compose config` shows.
    pub merged: String,
    /// The project, without what [`Parsed::left_out`] names and without configs and secrets that no
    /// service uses.
    pub project: Project,
    /// Services with profiles, which are not started.
    pub left_out: Vec<ServiceName>,
    /// The texts that were read, so that more mistakes can be shown in them.
    pub sources: Sources,
    /// Keys that are ignored, and what looks wrong but stops nothing.
    pub warnings: Vec<Diagnostic>,
    /// Every relative path that the services of the project need from the Compose file's folder, each
    /// once, without a leading `./`.
    pub files: Vec<NamedFile>,
    /// Labels and names of Ferry's own that were left out, in words; none where they are refused.
    pub dropped: Vec<String>,
}

/// Reads the Compose files of a project; later ones go over earlier ones (Compose Specification, "Merge and
/// override"). All relative paths in them begin in the folder of the first. `env` holds the values for
/// interpolation, `load` returns the bytes of a file that a Compose file names (`include`, `extends`,
/// `env_file`), relative to that folder.
///
/// # Errors
/// All mistakes of the texts, each with its place.
pub fn parse(
    texts: &[Text<'_>],
    env: &BTreeMap<String, String>,
    load: &dyn Fn(&str) -> Option<Vec<u8>>,
) -> Result<Parsed, Diagnostics> {
    parse_with_own(texts, None, Reserved::Refused, env, load)
}

/// As [`parse`], with the site's own Compose file `over` all others, and `reserved` for what is Ferry's own in them. Hints about that file name neither the manifest
/// nor `.env`, which its author does not have.
pub fn parse_with_own(
    texts: &[Text<'_>],
    over: Option<Text<'_>>,
    reserved: Reserved,
    env: &BTreeMap<String, String>,
    load: &dyn Fn(&str) -> Option<Vec<u8>>,
) -> Result<Parsed, Diagnostics> {
    let loaded = load::load(texts, over, env, load)?;
    let root = loaded.root;
    let mut context = Context::new(loaded.reader, env, load);
    (context.overrides, context.site) = (loaded.overrides, loaded.site);
    context.reserved = reserved;
    context.files =
        loaded.files.into_iter().map(|file| Mention { file, service: None, object: None }).collect();
    let mut project = decode::project(&mut context, &root);
    check::references(&mut context, &project);
    let optional = optional_waits(&project);
    let active = env.get("COMPOSE_PROFILES").map_or("", String::as_str);
    let active: Vec<&str> = active.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let left_out = project.leave_out_profiles(&active);
    for (name, other, place) in optional {
        if project.services.contains_key(&name) && left_out.contains(&other) {
            let message =
                format!("service `{name}` starts without `{other}`, which has profiles and is left out");
            context.r.warn(&place, message, "delete `profiles` there, or this `depends_on`");
        }
    }
    warn_of_unused(&mut context, &root, project.leave_out_unused());
    environment::from_files(&mut context, &mut project);
    environment::labels_from_files(&mut context, &mut project);
    decode::default_network(&mut project, &context.link_aliases);
    check::waits(&mut context, &project);
    check::ports(&mut context, &project);
    check::container_names(&mut context, &project);
    check::replicas(&mut context, &project);
    check::mount_points(&mut context, &project);
    check::nested_binds(&mut context, &project);
    check::mounted_files(&mut context, &project);
    check::cycles(&mut context, &project);
    let files = needed_files(std::mem::take(&mut context.files), &project);
    // What Compose would interpolate again.
    let merged = yaml::write(&root, &|text| text.replace('$', "$$"));
    let sources = context.r.sources().clone();
    let dropped = std::mem::take(&mut context.dropped);
    let (project, warnings) = context.r.finish(project)?;
    Ok(Parsed { merged, project, left_out, sources, warnings, files, dropped })
}

/// Pairs of services, the first of which would wait for the second, with the place.
fn optional_waits(project: &Project) -> Vec<(ServiceName, ServiceName, Place)> {
    let mut waits = Vec::new();
    for (name, service) in &project.services {
        for (other, _) in service.depends_on.iter().filter(|(_, dependency)| !dependency.required) {
            waits.push((name.clone(), other.clone(), service.place.line()));
        }
    }
    waits
}

/// The files that the remaining services and their objects name; each path once.
fn needed_files(mentions: Vec<Mention>, project: &Project) -> Vec<NamedFile> {
    let mut seen = BTreeSet::new();
    let needed = mentions.into_iter().filter(|mention| match (&mention.object, &mention.service) {
        (Some((Target::Secret, key)), _) => project.secrets.contains_key(key),
        (Some((_, key)), _) => project.configs.contains_key(key),
        (None, Some(name)) => {
            name.parse().is_ok_and(|name: ServiceName| project.services.contains_key(&name))
        }
        (None, None) => true,
    });
    needed.map(|mention| mention.file).filter(|file| seen.insert(file.path.clone())).collect()
}

fn warn_of_unused(context: &mut Context<'_>, root: &Node, (configs, secrets): (Vec<String>, Vec<String>)) {
    for (section, word, keys) in [("configs", "config", configs), ("secrets", "secret", secrets)] {
        let Some(Value::Map(entries)) = root.get(section).map(|node| &node.value) else { continue };
        for (key, _) in entries.iter().filter(|(key, _)| keys.contains(&key.text)) {
            let message =
                format!("no service that is started uses the {word} `{}`; it is left out", shown(&key.text));
            context.r.warn(key, message, "delete it, or name it in a service");
        }
    }
}
