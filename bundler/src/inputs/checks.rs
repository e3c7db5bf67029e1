//! Checks of everything that could otherwise only fail on site, over all renderings.

use super::mentions::Mentions;
use super::renderings::{self, Rendering};
use crate::read::folder::{LEADS_OUT, PUT_IT_THERE, leads_out, plain};
use manifest_schema::compose;
use manifest_schema::compose::model::{MountSource, Project, Service};
use manifest_schema::manifest::{Manifest, SeedSpec, VariableKind};
use manifest_schema::yaml::{self, Key, Node, Sources, Value};
use manifest_schema::{Diagnostic, Diagnostics, ImageRef, Platform, ServiceName};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Services whose profiles no rendering switches on.
pub(super) fn left_out(renderings: &[Rendering]) -> Vec<Diagnostic> {
    let Some(first) = renderings.first() else { return Vec::new() };
    let sources = &first.made.parsed.sources;
    let started = |name: &ServiceName| {
        renderings.iter().any(|rendering| rendering.made.parsed.project.services.contains_key(name))
    };
    let used: BTreeSet<ImageRef> =
        image_names(renderings).filter_map(|(.., name)| name.parse().ok()).collect();
    let names = first.made.parsed.left_out.iter().filter(|name| !started(name));
    let services = written_services(sources);
    names
        .map(|name| {
            let written = services.get(name.as_str());
            let image = written.and_then(|(_, service)| service.get("image")?.text());
            // A name with `$` in it can be any.
            let image = image.and_then(|image| image.parse::<ImageRef>().ok());
            let image = match image {
                Some(image) if !used.contains(&image) => " and its image is left out",
                _ => "",
            };
            let why = match written.is_some_and(|(_, service)| has_none(service)) {
                true => "has no container (`scale: 0`)",
                false => "has profiles",
            };
            let message = format!("service `{name}` {why}; it is not started on site{image}");
            match written {
                Some((key, _)) => sources.mistake(key, message),
                None => Diagnostic::new(sources.file(0), message),
            }
        })
        .collect()
}

/// True where a service says that it has no container.
fn has_none(service: &Node) -> bool {
    let replicas = service.get("deploy").and_then(|deploy| deploy.get("replicas"));
    [service.get("scale"), replicas].into_iter().flatten().any(|count| count.text() == Some("0"))
}

/// Where something stands in a Compose file.
pub(super) struct At(Diagnostic);

impl At {
    /// True where `mistake` is about it.
    pub(super) fn is_at(&self, mistake: &Diagnostic) -> bool {
        (&self.0.file, self.0.line, self.0.column) == (&mistake.file, mistake.line, mistake.column)
    }
}

/// The `name` of each Compose file that has one.
pub(super) fn own_names(sources: &Sources) -> Vec<At> {
    let keys = roots(sources).filter_map(|root| match root.value {
        Value::Map(entries) => entries.into_iter().find(|(key, _)| key.text == "name"),
        _ => None,
    });
    keys.map(|(key, _)| At(sources.mistake(&key, String::new()))).collect()
}

/// The Compose files that can be read.
fn roots(sources: &Sources) -> impl Iterator<Item = Node> {
    let numbers = (0..).take_while(|source| !sources.file(*source).is_empty());
    numbers.filter_map(|source| yaml::parse_compose(sources, source).ok()).flatten()
}

/// Each service as the first Compose file that has it writes it.
fn written_services(sources: &Sources) -> BTreeMap<String, (Key, Node)> {
    let mut found = BTreeMap::new();
    for mut root in roots(sources) {
        let services =
            root.get_mut("services").map(|services| std::mem::replace(&mut services.value, Value::Null));
        let Some(Value::Map(services)) = services else { continue };
        for (key, service) in services {
            found.entry(key.text.clone()).or_insert((key, service));
        }
    }
    found
}

/// Compose reads the files that `COMPOSE_FILE` in `.env` names, and not the others.
pub(super) fn unread_compose_file(manifest: &Manifest, env: &str, shown: &str) -> Option<Diagnostic> {
    let values = compose::parse_dotenv(shown, env).ok()?;
    let separator = values.get("COMPOSE_PATH_SEPARATOR").filter(|text| !text.is_empty());
    let separator = separator.map_or(":", String::as_str);
    let list = values.get("COMPOSE_FILE").filter(|list| !list.is_empty())?;
    let folder = manifest.compose_folder();
    let named: Vec<String> =
        list.split(separator).map(|path| compose::from_manifest(folder, path.trim())).collect();
    if manifest.compose.iter().map(|path| path.as_str()).eq(named.iter().map(String::as_str)) {
        return None;
    }
    let written = match named.as_slice() {
        [one] => one.clone(),
        _ => format!("[{}]", named.join(", ")),
    };
    let message = format!("`COMPOSE_FILE` names {}, and is not read here", named.join(", "));
    let hint =
        format!("for the same project, write `compose: {written}` in the manifest; otherwise delete it");
    Some(Diagnostic::new(shown, message).hint(hint))
}

/// Compose reads an override file by itself, which is mostly for a developer's desk.
pub(super) fn unread_override(manifest: &Manifest, folder: &Path) -> Option<Diagnostic> {
    if manifest.compose.len() > 1 {
        return None;
    }
    let names = ["compose.override.yaml", "compose.override.yml", "docker-compose.override.yml"];
    let file = names.into_iter().map(|name| folder.join(name)).find(|file| file.is_file())?;
    let first = manifest.compose.first()?;
    let name = file.file_name()?.to_string_lossy().into_owned();
    Some(
        Diagnostic::new(
            file.display().to_string(),
            "this file is not read, since the manifest does not name it",
        )
        .hint(format!("to use it on site, write `compose: [{first}, {name}]`")),
    )
}

pub(super) fn check_seeds(
    manifest: &Manifest,
    mentions: &Mentions,
    folder: &Path,
    renderings: &[Rendering],
    found: &mut Diagnostics,
) -> Vec<(SeedSpec, PathBuf)> {
    let mut seeds = Vec::new();
    let volumes: BTreeSet<&str> = renderings
        .iter()
        .flat_map(|rendering| {
            let parsed = &rendering.made.parsed;
            parsed.project.volumes.keys().chain(&parsed.unused_volumes).map(String::as_str)
        })
        .collect();
    for seed in &manifest.seeds {
        let at = |message: String| mentions.mistake("volumes", &seed.from, seed.line, message);
        if !volumes.contains(seed.volume.as_str()) {
            let known: Vec<&str> = volumes.iter().copied().collect();
            let compose = manifest.compose.first().map_or("compose.yaml", |path| path.as_str());
            found.push(at(format!("there is no volume `{}` in {compose}", seed.volume)).hint(format!(
                "the volumes are: {}",
                if known.is_empty() { "none".into() } else { known.join(", ") }
            )));
        }
        let path = folder.join(&seed.from);
        if leads_out(folder, &seed.from) {
            found.push(at(format!("the seed {}: {LEADS_OUT}", seed.from)).hint(PUT_IT_THERE));
            continue;
        }
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() || metadata.is_dir() => seeds.push((seed.clone(), path)),
            Ok(_) => found.push(at(format!("the seed {} is neither a tar file nor a folder", seed.from))),
            Err(error) => {
                let mistake = at(format!("the seed {}: {}", seed.from, plain(&error)));
                found.push(mistake.hint(super::missing::FROM_MANIFEST));
            }
        }
    }
    seeds
}

/// A manifest of version 2 that uses nothing of it: older hosts refuse its bundles for nothing.
pub(super) fn needless_version(manifest: &Manifest, shown: &str, text: &str) -> Option<Diagnostic> {
    if manifest.ferry < 2 || !manifest.features().is_empty() || manifest.unpacked_bytes.is_some() {
        return None;
    }
    let line = text.lines().position(|line| line.starts_with("ferry")).map_or(0, |line| line + 1);
    let fact = "`ferry: 2`, and no key that needs it: an `fz` before 0.2.0 refuses the bundle";
    Some(Diagnostic::new(shown, fact).at(text, line, 1).hint("write `ferry: 1`, which every host reads"))
}

/// A service that names its platform gets the image for it, and must be able to run on every host that the
/// bundle is for.
pub(super) fn check_platforms(
    manifest: &Manifest,
    sources: &Sources,
    project: &Project,
    found: &mut Diagnostics,
) {
    let platforms = &manifest.requires.platforms;
    let mut named: BTreeMap<ImageRef, (&Platform, &ServiceName)> = BTreeMap::new();
    for (name, service) in &project.services {
        let Some(platform) = &service.platform else { continue };
        let at = |message: String| sources.mistake(&service.place.line(), message);
        if let Some(other) = platforms.iter().find(|other| !other.accepts(platform)) {
            let message = if platforms.iter().any(|other| other.accepts(platform)) {
                format!(
                    "service `{name}` is for {platform}, but the bundle is also for {other}, where it cannot start"
                )
            } else {
                format!("service `{name}` is for {platform}, but the bundle is for {other}")
            };
            found.push(at(message).hint(format!(
                "delete `platform`, or build a bundle with `requires: {{ arch: [{}] }}` alone",
                platform.as_str().trim_start_matches("linux/")
            )));
        }
        let Ok(reference) = service.image.parse::<ImageRef>() else { continue };
        let (first, other) = *named.entry(reference).or_insert((platform, name));
        if first != platform {
            let message = format!(
                "services `{other}` and `{name}` want the image {} for {first} and for {platform}",
                service.image
            );
            found.push(at(message).hint("name the same platform in both, or give one image another name"));
        }
    }
}

/// Refuses features of newer engines that `requires` does not name.
pub(super) fn check_needs(
    manifest: &Manifest,
    sources: &Sources,
    project: &Project,
    found: &mut Diagnostics,
) {
    let least = manifest.requires.engine.as_deref().map_or((0, 0), |text| {
        let mut parts = text.split('.').map(|part| part.parse::<u32>().unwrap_or_default());
        (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
    });
    for need in compose::needs(project).into_iter().filter(|need| need.engine > least) {
        let place = project.services.get(need.service).map(|service| service.place.line());
        let (major, minor) = need.engine;
        let message = format!("service `{}`: {} needs Docker Engine {major}.{minor}", need.service, need.key);
        found.push(sources.mistake(&place.unwrap_or_default(), message).hint(format!(
            "write `requires: {{ engine: \">={major}.{minor}\" }}` in the manifest, so that older hosts are refused before anything is changed"
        )));
    }
}

pub(super) fn unused_images(
    manifest: &Manifest,
    shown: &str,
    text: &str,
    renderings: &[Rendering],
) -> Vec<Diagnostic> {
    let used: BTreeSet<ImageRef> =
        image_names(renderings).filter_map(|(.., name)| name.parse().ok()).collect();
    let unused = manifest.images.iter().filter(|image| !used.contains(&image.reference));
    unused
        .map(|image| {
            Diagnostic::new(shown, format!("no service uses the image {}; it is left out", image.reference))
                .at(text, image.line, 0)
        })
        .collect()
}

/// Every image that a service runs or mounts, in any rendering.
pub(super) fn image_names(renderings: &[Rendering]) -> impl Iterator<Item = (&Rendering, &Service, &String)> {
    renderings.iter().flat_map(|rendering| {
        rendering.made.parsed.project.services.values().flat_map(move |service| {
            let mounted = service.mounts.iter().filter_map(|mount| match &mount.source {
                MountSource::Image(name) => Some(name),
                _ => None,
            });
            std::iter::once(&service.image).chain(mounted).map(move |name| (rendering, service, name))
        })
    })
}

/// A secret that stands in a container's definition can be read by everyone who may ask the engine.
pub(super) fn check_secrets(
    manifest: &Manifest,
    sources: &Sources,
    project: &Project,
    found: &mut Diagnostics,
) {
    let secrets = manifest.variables.iter().filter(|(_, variable)| variable.kind == VariableKind::Secret);
    for (secret, _) in secrets {
        let marker = renderings::secret(secret);
        // The whole definition: what is not in a container's own definition is in a label of it.
        let shows = |value: serde_json::Value| value.to_string().contains(&marker);
        let hint = format!(
            "mount it: `secrets: {{ {secret}: {{ environment: {secret} }} }}` at the top, `secrets: [{secret}]` in the service; it is the file /run/secrets/{secret}"
        );
        for (name, service) in &project.services {
            let members = match serde_json::to_value(service) {
                Ok(serde_json::Value::Object(members)) => members,
                _ => continue,
            };
            for (key, _) in members.into_iter().filter(|(_, value)| shows(value.clone())) {
                let message = format!(
                    "service `{name}` has the secret `{secret}` in its `{key}`, where `docker inspect` shows it"
                );
                found.push(sources.mistake(&service.place.line(), message).hint(&hint));
            }
        }
        let others = [
            ("networks", serde_json::to_value(&project.networks)),
            ("volumes", serde_json::to_value(&project.volumes)),
        ];
        for (section, _) in
            others.into_iter().filter(|(_, value)| value.as_ref().is_ok_and(|value| shows(value.clone())))
        {
            let message = format!("the secret `{secret}` is in `{section}`, where `docker inspect` shows it");
            found.push(Diagnostic::new(sources.file(0), message).hint(&hint));
        }
    }
}
