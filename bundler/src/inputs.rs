//! Reads what a person wrote — manifest, Compose file, `.env`, configs, templates, seeds — and checks
//! everything that could otherwise only fail on site. No image is touched before this has passed.

use anyhow::Result;
use manifest_schema::compose::model::{MountSource, Project, Service};
use manifest_schema::compose::{self, FileUse, NamedFile};
use manifest_schema::manifest::{ConfigSpec, Manifest, SeedSpec, VariableKind};
use manifest_schema::render::Renderer;
use manifest_schema::yaml::{self, Key, Node, Place, Sources, Value};
use manifest_schema::{BundlePath, Diagnostic, Diagnostics, ImageRef, Platform, ServiceName};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::artifacts::{self, ArtifactPlan};
use crate::cancel::Cancel;
use crate::carried::{self, ComposeFile};
use crate::mentions::Mentions;
use crate::renderings::{self, Rendering};
use crate::sources::Wanted;
use crate::texts::{self, LEADS_OUT, PUT_IT_THERE, Texts, plain, read_text};

/// Everything people wrote, read and checked.
#[derive(Debug)]
pub struct Inputs {
    /// Folder of the manifest.
    pub folder: PathBuf,
    /// The manifest's file as messages name it.
    pub manifest_shown: String,
    /// The manifest.
    pub manifest: Manifest,
    /// Its text.
    pub manifest_text: String,
    /// The first Compose file's text.
    pub compose_text: String,
    /// Text of `.env` beside the Compose file.
    pub env_text: Option<String>,
    /// The release with the defaults, and with each file in `sites/`.
    pub renderings: Vec<Rendering>,
    /// Files that the Compose files name.
    pub compose_files: Vec<ComposeFile>,
    /// Templates that other templates name, by their paths from the manifest's folder.
    pub templates: Vec<(BundlePath, String)>,
    /// Configs and templates with their content.
    pub configs: Vec<(ConfigSpec, Vec<u8>)>,
    /// Seeds and where they lie.
    pub seeds: Vec<(SeedSpec, PathBuf)>,
    /// What should be looked at, but stops nothing.
    pub warnings: Vec<Diagnostic>,
}

/// Reads and checks the manifest at `path` (a file, or a folder that holds `ferry.yaml`).
///
/// # Errors
/// All mistakes found, as [`Diagnostics`].
pub fn read(path: &Path, renderer: &dyn Renderer) -> Result<Inputs> {
    from_texts(Texts::read(path)?, renderer)
}

/// Checks what was read.
///
/// # Errors
/// All mistakes found, as [`Diagnostics`].
pub fn from_texts(texts: Texts, renderer: &dyn Renderer) -> Result<Inputs> {
    let mut renderings = renderings::all(&texts, renderer)?;
    let Texts { folder, shown, manifest_text, manifest, mut compose, env_text, configs } = texts;
    let compose_folder = folder.join(manifest.compose_folder());

    let mut found = Diagnostics::default();
    let mut warnings = Vec::new();
    let mentions = Mentions::read(&shown, &manifest_text);
    let seeds = check_seeds(&manifest, &mentions, &folder, &renderings, &mut found);
    let mut compose_files: BTreeMap<BundlePath, ComposeFile> = BTreeMap::new();
    for rendering in &mut renderings {
        let parsed = &mut rendering.made.parsed;
        parsed.files.extend(manifest.override_files().map(|path| NamedFile {
            path: path.to_owned(),
            place: Place::default(),
            used_by: "`compose`".to_owned(),
            kind: FileUse::Compose,
        }));
        warnings.append(&mut parsed.warnings);
        let around = carried::Around {
            manifest: &manifest,
            project: &parsed.project,
            sources: &parsed.sources,
            folder: &compose_folder,
        };
        let files = carried::find(&parsed.files, &around, &mut found, &mut warnings);
        carried::check_places(
            (&manifest, &shown, &manifest_text),
            &parsed.files,
            &files,
            &around,
            &mut found,
        );
        compose_files.extend(files.into_iter().map(|file| (file.path.clone(), file)));
        check_platforms(&manifest, &parsed.sources, &parsed.project, &mut found);
        check_needs(&manifest, &parsed.sources, &parsed.project, &mut found);
        check_secrets(&manifest, &parsed.sources, &parsed.project, &mut found);
    }
    warnings.extend(left_out(&renderings));
    warnings.extend(unused_images(&manifest, &shown, &manifest_text, &renderings));
    warnings.extend(unread_override(&manifest, &compose_folder));
    // Several renderings find the same.
    let mut said = Vec::new();
    warnings.retain(|warning| {
        !said.contains(warning) && {
            said.push(warning.clone());
            true
        }
    });
    let mut said = Vec::new();
    found.0.retain(|mistake| {
        !said.contains(mistake) && {
            said.push(mistake.clone());
            true
        }
    });
    found.or_ok(())?;
    let templates: BTreeSet<String> =
        renderings.iter().flat_map(|rendering| rendering.made.templates.iter().cloned()).collect();
    let templates: Result<Vec<(BundlePath, String)>> = templates
        .into_iter()
        .map(|path| Ok((path.parse()?, read_text(&folder.join(&path)).map_err(Diagnostics::from)?)))
        .collect();
    Ok(Inputs {
        folder,
        manifest_shown: shown,
        manifest_text,
        compose_text: compose.swap_remove(0),
        env_text,
        renderings,
        compose_files: compose_files.into_values().collect(),
        templates: templates?,
        configs,
        seeds,
        warnings,
        manifest,
    })
}

/// Services whose profiles no rendering switches on.
fn left_out(renderings: &[Rendering]) -> Vec<Diagnostic> {
    let Some(first) = renderings.first() else { return Vec::new() };
    let sources = &first.made.parsed.sources;
    let started = |name: &ServiceName| {
        renderings.iter().any(|rendering| rendering.made.parsed.project.services.contains_key(name))
    };
    let used: BTreeSet<ImageRef> =
        image_names(renderings).filter_map(|(.., name)| name.parse().ok()).collect();
    let names = first.made.parsed.left_out.iter().filter(|name| !started(name));
    names
        .map(|name| {
            let written = written_service(sources, name);
            let image = written.as_ref().and_then(|(_, service)| service.get("image")?.text());
            // A name with `$` in it can be any.
            let image = image.and_then(|image| image.parse::<ImageRef>().ok());
            let image = match image {
                Some(image) if !used.contains(&image) => " and its image is left out",
                _ => "",
            };
            let message = format!("service `{name}` has profiles; it is not started on site{image}");
            match written {
                Some((key, _)) => sources.mistake(&key, message),
                None => Diagnostic::new(sources.file(0), message),
            }
        })
        .collect()
}

/// A service as the first Compose file that has it writes it.
fn written_service(sources: &Sources, name: &ServiceName) -> Option<(Key, Node)> {
    let numbers = (0..).take_while(|source| !sources.file(*source).is_empty());
    numbers.into_iter().find_map(|source| {
        let root = yaml::parse_compose(sources, source).ok()?;
        let Value::Map(services) = root.get("services")?.value.clone() else { return None };
        services.into_iter().find(|(key, _)| key.text == name.as_str())
    })
}

/// Compose reads an override file by itself, which is mostly for a developer's desk.
fn unread_override(manifest: &Manifest, folder: &Path) -> Option<Diagnostic> {
    if manifest.compose.len() > 1 {
        return None;
    }
    let names = ["compose.override.yaml", "compose.override.yml", "docker-compose.override.yml"];
    let file = names.into_iter().map(|name| folder.join(name)).find(|file| file.is_file())?;
    let first = manifest.compose.first()?;
    let name = file.file_name()?.to_string_lossy().into_owned();
    Some(
        Diagnostic::new(file.display().to_string(), "it is not read: the manifest does not name it")
            .hint(format!("where it shall count on site, write `compose: [{first}, {name}]`")),
    )
}

fn check_seeds(
    manifest: &Manifest,
    mentions: &Mentions,
    folder: &Path,
    renderings: &[Rendering],
    found: &mut Diagnostics,
) -> Vec<(SeedSpec, PathBuf)> {
    let mut seeds = Vec::new();
    let volumes: BTreeSet<&str> = renderings
        .iter()
        .flat_map(|rendering| rendering.made.parsed.project.volumes.keys().map(String::as_str))
        .collect();
    for seed in &manifest.seeds {
        let at = |message: String| mentions.mistake("volumes", &seed.from, seed.line, message);
        if !volumes.contains(seed.volume.as_str()) {
            let known: Vec<&str> = volumes.iter().copied().collect();
            let compose = manifest.compose.first().map_or("compose.yaml", |path| path.as_str());
            found.push(at(format!("there is no volume `{}` in {compose}", seed.volume)).hint(format!(
                "volumes there: {}",
                if known.is_empty() { "none".into() } else { known.join(", ") }
            )));
        }
        let path = folder.join(&seed.from);
        if texts::leads_out(folder, &seed.from) {
            found.push(at(format!("the seed {}: {LEADS_OUT}", seed.from)).hint(PUT_IT_THERE));
            continue;
        }
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() || metadata.is_dir() => seeds.push((seed.clone(), path)),
            Ok(_) => found.push(at(format!("the seed {} is neither a tar file nor a folder", seed.from))),
            Err(error) => {
                let mistake = at(format!("the seed {}: {}", seed.from, plain(&error)));
                found.push(mistake.hint("paths in the manifest start at its own folder"));
            }
        }
    }
    seeds
}

/// A service that names its platform gets the image for it, and must be able to run on every host that the
/// bundle is for.
fn check_platforms(manifest: &Manifest, sources: &Sources, project: &Project, found: &mut Diagnostics) {
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

/// What only newer engines can do has to stand in `requires`.
fn check_needs(manifest: &Manifest, sources: &Sources, project: &Project, found: &mut Diagnostics) {
    let least = manifest.requires.engine.as_deref().map_or((0, 0), |text| {
        let mut parts = text.split('.').map(|part| part.parse::<u32>().unwrap_or_default());
        (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
    });
    for need in compose::needs(project).into_iter().filter(|need| need.engine > least) {
        let place = project.services.get(need.service).map(|service| service.place.line());
        let (major, minor) = need.engine;
        let message = format!("service `{}`: {} needs Docker Engine {major}.{minor}", need.service, need.key);
        found.push(sources.mistake(&place.unwrap_or_default(), message).hint(format!(
            "write `requires: {{ engine: \">={major}.{minor}\" }}` in the manifest, so that older hosts are told"
        )));
    }
}

fn unused_images(manifest: &Manifest, shown: &str, text: &str, renderings: &[Rendering]) -> Vec<Diagnostic> {
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
fn image_names(renderings: &[Rendering]) -> impl Iterator<Item = (&Rendering, &Service, &String)> {
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
fn check_secrets(manifest: &Manifest, sources: &Sources, project: &Project, found: &mut Diagnostics) {
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
            let message =
                format!("the secret `{secret}` stands in `{section}`, where `docker inspect` shows it");
            found.push(Diagnostic::new(sources.file(0), message).hint(&hint));
        }
    }
}

impl Inputs {
    /// The images that the services need, each once, in the order of their names.
    #[must_use]
    pub fn wanted(&self) -> Vec<Wanted> {
        let mut wanted: BTreeMap<ImageRef, Wanted> = BTreeMap::new();
        for (rendering, service, name) in image_names(&self.renderings) {
            let Ok(reference) = name.parse::<ImageRef>() else { continue };
            let named = self.manifest.images.iter().find(|image| image.reference == reference);
            let pinned = reference.digest().is_some();
            let wanted = wanted.entry(reference.clone()).or_insert_with(|| Wanted {
                reference,
                platform: None,
                source: named.map(|image| image.source.clone()),
                place: match named {
                    Some(image) => (self.manifest_shown.clone(), image.line),
                    None => {
                        let file = rendering.made.parsed.sources.file(service.place.source);
                        (file.to_owned(), service.place.line)
                    }
                },
                preserve: pinned || named.is_some_and(|image| image.preserve),
            });
            if wanted.platform.is_none() {
                wanted.platform.clone_from(&service.platform);
            }
        }
        wanted.into_values().collect()
    }

    /// The artifacts, with all their files found; none is read.
    ///
    /// # Errors
    /// Lists every artifact that cannot be packed, and every mount that no artifact provides.
    pub fn artifacts(&self, cancel: &Cancel) -> Result<Vec<ArtifactPlan>> {
        let manifest = (self.manifest_shown.as_str(), self.manifest_text.as_str());
        let artifacts = artifacts::plan(&self.manifest.artifacts, &self.folder, manifest, cancel);
        // What was not looked at is not missing.
        cancel.check()?;
        let artifacts = artifacts?;
        artifacts::check_binds(self, &artifacts)?;
        Ok(artifacts)
    }

    /// Mistakes that know their lines, with the lines themselves.
    #[must_use]
    pub fn shown_in(&self, mistakes: Diagnostics) -> Diagnostics {
        let mistakes = mistakes.in_text(&self.manifest_shown, &self.manifest_text);
        let sources = self.renderings.iter().map(|rendering| &rendering.made.parsed.sources);
        sources.fold(mistakes, |mistakes, sources| sources.complete(mistakes))
    }

    /// The platforms to pack images for.
    #[must_use]
    pub fn platforms(&self) -> &[Platform] {
        &self.manifest.requires.platforms
    }
}
