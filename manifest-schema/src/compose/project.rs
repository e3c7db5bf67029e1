//! A project from its texts: load, decode, leave out what does not start, check.

use super::decode::active::{left_out, used};
use super::decode::context::{Context, Mention, Target};
use super::decode::{self, check, environment};
use super::load::{self, Beside, Text, unset, unset::Unset};
use super::model::{NamedFile, Project};
use crate::diagnostic::shown;
use crate::yaml::{self, Node, Place, Reader, Sources, Value};
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
    /// The level of `docs/COMPOSE.md` that the texts need: 1 for what every reader takes alike.
    pub level: u8,
    /// Volumes that are declared and no service that is started uses: none is made.
    pub unused_volumes: BTreeSet<String>,
    /// Variables without a value, each once, with the first text that nothing stands in for it.
    pub unset: Vec<(String, Place)>,
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
    parse_with_own(texts, &Beside::default(), env, load)
}

/// As [`parse`], with what is `beside` the texts.
///
/// # Errors
/// All mistakes of the texts, each with its place.
pub fn parse_with_own(
    texts: &[Text<'_>],
    beside: &Beside<'_>,
    env: &BTreeMap<String, String>,
    load: &dyn Fn(&str) -> Option<Vec<u8>>,
) -> Result<Parsed, Diagnostics> {
    let loaded = load::load(texts, beside, env, load)?;
    let root = loaded.root;
    let active = active_profiles(env);
    let resting = left_out(&root, &active);
    let mut context = Context::new(loaded.reader, env, load);
    (context.overrides, context.site) = (loaded.overrides, loaded.site);
    (context.reserved, context.folder) = (beside.reserved, beside.folder);
    context.left_out = resting.names();
    context.used = used(&root, &context.left_out);
    if !resting.empty.is_empty() || (!resting.inactive.is_empty() && has_mistakes(&context, &root)) {
        context.r.needs_level(2);
    }
    let counts = unset::Counts { left_out: &context.left_out, used: &context.used };
    let _ = unset::judge(&mut context.r, &root, counts, beside.no_words);
    context.files =
        loaded.files.into_iter().map(|file| Mention { file, service: None, object: None }).collect();
    let mut project = decode::project(&mut context, &root);
    check::references(&mut context, &project);
    let optional = optional_waits(&project);
    without_empty(&mut context, &mut project, &resting.empty);
    let mut left_out = project.leave_out_profiles(&active);
    left_out.extend(context.left_out.iter().filter_map(|name| name.parse().ok()));
    left_out.sort();
    for (name, other, place) in optional {
        if project.services.contains_key(&name) && left_out.contains(&other) {
            let message =
                format!("service `{name}` starts without `{other}`, which has profiles and is left out");
            context.r.warn(&place, message, "delete `profiles` there, or this `depends_on`");
        }
    }
    decode::volumes_of_folders(&mut context, &root, &mut project);
    warn_of_unused(&mut context, &root, project.leave_out_unused());
    environment::from_files(&mut context, &mut project);
    environment::labels_from_files(&mut context, &mut project);
    decode::default_network(&mut project, &context.link_aliases);
    let declared: Vec<String> = project.volumes.keys().cloned().collect();
    if project.leave_out_unused_engine_objects() {
        context.r.needs_level(2);
    }
    let unused = declared.into_iter().filter(|key| !project.volumes.contains_key(key));
    let unused_volumes: BTreeSet<String> = unused.collect();
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
    let (level, unset) = (context.r.level(), context.r.unset_names().to_vec());
    let (project, warnings) = context.r.finish(project)?;
    Ok(Parsed { merged, project, left_out, sources, warnings, files, dropped, level, unused_volumes, unset })
}

/// The profiles that are switched on.
fn active_profiles(env: &BTreeMap<String, String>) -> Vec<&str> {
    let list = env.get("COMPOSE_PROFILES").map_or("", String::as_str);
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).collect()
}

/// The variables without a value that the texts of a project name, by name: also of one with mistakes, as long as it
/// can be read.
pub fn unset_variables(
    texts: &[Text<'_>],
    beside: &Beside<'_>,
    env: &BTreeMap<String, String>,
    load: &dyn Fn(&str) -> Option<Vec<u8>>,
) -> Vec<Unset> {
    let Ok(mut loaded) = load::load(texts, beside, env, load) else { return Vec::new() };
    let active = active_profiles(env);
    let resting = left_out(&loaded.root, &active).names();
    let used = used(&loaded.root, &resting);
    let counts = unset::Counts { left_out: &resting, used: &used };
    unset::judge(&mut loaded.reader, &loaded.root, counts, beside.no_words)
}

/// True where readers of level 1, which look at every service, find a mistake in one that does not start.
fn has_mistakes(context: &Context<'_>, root: &Node) -> bool {
    let reader = Reader::lenient(context.r.sources().clone());
    let mut all = Context::new(reader, context.env, context.load);
    all.overrides.clone_from(&context.overrides);
    let project = decode::project(&mut all, root);
    check::references(&mut all, &project);
    !all.r.is_whole() || all.r.level() > 1
}

/// Waits for no service that has no container. One that lives in such a service cannot be made.
fn without_empty(context: &mut Context<'_>, project: &mut Project, empty: &BTreeSet<String>) {
    for (name, service) in &mut project.services {
        let shared = [&service.network_mode, &service.ipc, &service.pid];
        let mut owners = shared.into_iter().flatten().filter_map(|mode| mode.strip_prefix("service:"));
        let volumes = service.volumes_from.keys().map(ServiceName::as_str);
        if let Some(owner) = owners
            .find(|owner| empty.contains(*owner))
            .or(volumes.clone().find(|owner| empty.contains(*owner)))
        {
            let message = format!("service `{name}` lives in `{owner}`, which has no container (`scale: 0`)");
            context.r.error(
                &service.place.line(),
                message,
                "give that one a container, or write `scale: 0` here too",
            );
        }
        service.depends_on.retain(|other, _| !empty.contains(other.as_str()));
    }
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
