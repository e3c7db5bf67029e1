//! The release as it is on this host: variables answered, templates rendered, the Compose file read.
//! Pure but for reading the bundle: what is rendered here is written later, in one go.

use crate::host::{ProductDir, files};
use anyhow::Result;
use bundle_format::texts::{self, Carried, Texts, TextsError};
use bundle_format::{Bundle, ReadAt};
use ferry_terminal::{Class, Failure};
use manifest_schema::compose::model::{FileObject, MountSource, Project};
use manifest_schema::compose::{Reserved, Text};
use manifest_schema::manifest::{self, Given, Manifest, Variable, VariableKind};
use manifest_schema::release::Release;
use manifest_schema::render::Renderer;
use manifest_schema::site;
use manifest_schema::{BundlePath, Diagnostic, Diagnostics, Digest, ServiceName, limits};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

pub(crate) use manifest_schema::site::Values;

/// A file of the release folder, ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RenderedFile {
    pub content: Vec<u8>,
    pub mode: u32,
}

/// The release on this host.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub project: Project,
    /// All Compose files as one, filled in, for people and for `docker compose`.
    pub compose: String,
    /// Labels and names of Ferry's own that the release has and that were left out, in words.
    pub dropped: Vec<String>,
    /// All answers, defaults and generated secrets.
    pub values: Values,
    /// Those that are remembered: all but defaults that nobody was asked about, which the next version may
    /// have better ones for.
    pub answers: Values,
    /// Values that are never shown.
    pub hidden: Vec<String>,
    /// Files that are never shown: those of the Compose file's secrets.
    pub secret_files: BTreeSet<String>,
    /// Small files of the release folder by path: rendered configs, and the files that the Compose
    /// file names. Artifacts are not among them.
    pub files: BTreeMap<BundlePath, RenderedFile>,
    /// Images that only the site's own Compose file names.
    pub images_of_override: BTreeSet<String>,
    /// A secret of this host: see [`crate::host::state::State::salt`].
    pub salt: String,
    /// Content of Compose `configs` and `secrets` by key.
    pub configs: BTreeMap<String, Vec<u8>>,
    pub secrets: BTreeMap<String, Vec<u8>>,
}

/// A config or secret that the sysop provides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct External {
    /// Where it has to lie.
    pub path: PathBuf,
    /// Its content, where it is there.
    pub content: Option<Vec<u8>>,
}

/// Looks an external config or secret up: `kind` is `config` or `secret`.
///
/// # Errors
/// When it is there and cannot be read.
pub(crate) fn external(product: &ProductDir, kind: &str, name: &str) -> Result<External> {
    let path = product.external().join(format!("{kind}s")).join(name);
    if path.exists() && !path.is_file() {
        return Ok(External { path, content: None });
    }
    let content = files::read_bounded(&path, limits::MAX_RENDERED_BYTES as u64)?;
    Ok(External { path, content })
}

pub(crate) use crate::host::OVERRIDE;

/// The host's part of a release, beside answers.
pub(crate) struct HostProvides<'a> {
    /// Looks up external configs and secrets.
    pub external: &'a dyn Fn(&str, &str) -> Result<External>,
    /// The fate of labels and names that are Ferry's own.
    pub reserved: Reserved,
    /// The site's own Compose file: where it lies, and its text.
    pub over: Option<(String, String)>,
    pub salt: &'a str,
    /// Renders templates.
    pub renderer: &'a dyn Renderer,
}

/// The site's own Compose file, where there is one.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn override_file(product: &ProductDir) -> Result<Option<(String, String)>> {
    let path = product.file(OVERRIDE);
    let Some(bytes) = files::read_bounded(&path, limits::MAX_YAML_BYTES as u64)? else { return Ok(None) };
    let shown = path.display().to_string();
    let text = String::from_utf8(bytes).map_err(|_| {
        Failure::new(Class::Input, format!("{shown} is not UTF-8 text")).hint("save it as UTF-8")
    })?;
    Ok(Some((shown, text)))
}

/// Why a release cannot be put together here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unfit {
    /// Answers are missing or do not fit.
    #[error(transparent)]
    Answers(Diagnostics),
    /// Files on this host do not fit the release, or it cannot be rendered with these answers.
    #[error(transparent)]
    Host(Diagnostics),
}

/// Evaluates the release of `bundle` with the answers in `given`, then those in `remembered`.
///
/// # Errors
/// [`Unfit`]; otherwise what is wrong with the bundle.
pub(crate) fn evaluate<S: ReadAt>(
    bundle: &Bundle<S>,
    given: &Given,
    remembered: &Values,
    hostname: &str,
    host: &HostProvides<'_>,
    random: &mut dyn FnMut(usize) -> String,
) -> Result<Site> {
    let external = host.external;
    let release = bundle.release();
    let texts = Texts::read(bundle).map_err(of_texts)?;
    let manifest = &texts.manifest;
    let values = manifest::resolve(&manifest.variables, given, remembered, random).map_err(Unfit::Answers)?;
    let answers = answered(manifest, &values, given, remembered);
    let over = host.over.as_ref().map(|(file, text)| Text { file, text });
    let make = |values: &Values, over: Option<Text<'_>>| {
        let names = site::names(manifest, values, hostname);
        texts.make(over, host.reserved, host.renderer, &names)
    };
    let made = make(&values, over).map_err(Unfit::Host)?;
    if let Some((file, _)) = &host.over {
        shown_secrets(file, manifest, |marked| Some(make(&marked(&values), over).ok()?.parsed.project))
            .or_ok(())
            .map_err(Unfit::Host)?;
    }
    let (project, compose, dropped) = (made.parsed.project, made.parsed.merged, made.parsed.dropped);
    let images_of_override = match &host.over {
        None => BTreeSet::new(),
        Some(_) => {
            let without = make(&values, None).ok();
            images_beyond(&project, without.as_ref().map(|made| &made.parsed.project))
        }
    };
    let mut files: BTreeMap<BundlePath, RenderedFile> = texts
        .files
        .into_iter()
        .map(|(path, Carried { content, executable })| {
            let mode = if executable { 0o755 } else { 0o644 };
            (path, RenderedFile { content, mode })
        })
        .collect();
    for (config, content) in release.configs.iter().zip(made.configs) {
        files.insert(config.to.clone(), RenderedFile { content, mode: config.mode & 0o777 });
    }
    let salt = host.salt.to_owned();
    let mut missing = Diagnostics::default();
    let configs = objects(&project.configs, &files, "config", external, &mut missing)?;
    let secrets = objects(&project.secrets, &files, "secret", external, &mut missing)?;
    missing.or_ok(()).map_err(Unfit::Host)?;
    // Also the values that they have now.
    let is_secret = |(_, variable): &(&String, &Variable)| variable.kind == VariableKind::Secret;
    let hidden = manifest
        .variables
        .iter()
        .filter(is_secret)
        .flat_map(|(name, _)| [values.get(name), remembered.get(name)])
        .filter_map(|value| value?.as_str().filter(|text| !text.is_empty()).map(str::to_owned))
        .collect();
    let secret_files = project
        .secrets
        .values()
        .filter_map(|object| match object {
            FileObject::File(path) => Some(path.clone()),
            _ => None,
        })
        .collect();
    Ok(Site {
        project,
        compose,
        dropped,
        hidden,
        secret_files,
        values,
        answers,
        files,
        images_of_override,
        salt,
        configs,
        secrets,
    })
}

/// Every image that a service runs or mounts, with the service.
pub(crate) fn images(project: &Project) -> impl Iterator<Item = (&ServiceName, &str)> {
    project.services.iter().flat_map(|(name, service)| {
        let mounted = service.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Image(image) => Some(image),
            _ => None,
        });
        std::iter::once(&service.image).chain(mounted).map(move |image| (name, image.as_str()))
    })
}

/// Images that `project` has and `release`, which is the same without the site's own Compose file, has not. A release
/// that does not come out without that file tells nothing.
fn images_beyond(project: &Project, release: Option<&Project>) -> BTreeSet<String> {
    let Some(release) = release else { return BTreeSet::new() };
    let own: BTreeSet<&str> = images(release).map(|(_, image)| image).collect();
    let images = images(project).map(|(_, image)| image);
    images.filter(|image| !own.contains(image)).map(str::to_owned).collect()
}

/// Secrets that the site's own Compose file, `file`, puts where every user of the engine reads them.
/// `ferry build` has looked at all other files. `project` is made with marks in the places of secrets.
fn shown_secrets(
    file: &str,
    manifest: &Manifest,
    project: impl Fn(&dyn Fn(&Values) -> Values) -> Option<Project>,
) -> Diagnostics {
    let is_secret = |(_, variable): &(&String, &Variable)| variable.kind == VariableKind::Secret;
    let secrets: Vec<&String> = manifest.variables.iter().filter(is_secret).map(|(name, _)| name).collect();
    let mark = |name: &String| format!("a-secret-called-{name}-");
    let marked = |values: &Values| {
        let marks = secrets.iter().map(|name| ((*name).clone(), mark(name).into()));
        values.clone().into_iter().chain(marks).collect()
    };
    let mut found = Diagnostics::default();
    let Some(project) = project(&marked) else { return found };
    for (service, definition) in &project.services {
        let text = serde_json::to_string(definition).unwrap_or_default();
        for secret in secrets.iter().filter(|secret| text.contains(&mark(secret))) {
            let fact = format!(
                "service `{service}` has the secret `{secret}` in its definition, where `docker inspect` shows it"
            );
            let hint = format!("mount it instead, as a file: `secrets: [{secret}]`");
            found.push(Diagnostic::new(file, fact).hint(hint));
        }
    }
    found
}

fn answered(manifest: &Manifest, values: &Values, given: &Given, remembered: &Values) -> Values {
    let by_default = |name: &String| {
        let answered = given.values().contains_key(name) || remembered.contains_key(name);
        !answered && manifest.variables.get(name).is_some_and(|variable| variable.default.is_some())
    };
    // What is not asked for now may be again: the answer of an earlier time stays.
    let remembered = values.iter().filter(|(name, value)| !value.is_null() && !by_default(name));
    remembered.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The manifest that `bundle` carries.
///
/// # Errors
/// When it cannot be read, or is none.
pub(crate) fn manifest<S: ReadAt>(bundle: &Bundle<S>) -> Result<Manifest> {
    texts::manifest(bundle).map_err(of_texts)
}

fn of_texts(error: TextsError) -> anyhow::Error {
    match error {
        TextsError::Format(error) => error.into(),
        TextsError::Manifest(mistakes) => mistakes.into(),
    }
}

fn objects(
    objects: &BTreeMap<String, FileObject>,
    files: &BTreeMap<BundlePath, RenderedFile>,
    kind: &str,
    external: &dyn Fn(&str, &str) -> Result<External>,
    missing: &mut Diagnostics,
) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for (key, object) in objects {
        let content = match object {
            FileObject::Content(text) | FileObject::Environment(text) => Some(text.clone().into_bytes()),
            FileObject::File(name) => name
                .parse()
                .ok()
                .and_then(|path: BundlePath| files.get(&path))
                .map(|file| file.content.clone()),
            FileObject::External(name) => {
                let External { path, content } = external(kind, name)?;
                if content.is_none() {
                    let what = if path.exists() { "is not a file" } else { "is not on this host" };
                    let message = format!("the external {kind} `{key}` {what}");
                    let hint = format!("put it into {} as root, with mode 0600", path.display());
                    missing.push(Diagnostic::new("compose.yaml", message).hint(hint));
                    continue;
                }
                content
            }
        };
        match content {
            Some(content) => {
                found.insert(key.clone(), content);
            }
            None => missing.push(Diagnostic::new(
                "compose.yaml",
                format!("the file of {kind} `{key}` is not in the bundle"),
            )),
        }
    }
    Ok(found)
}

impl Site {
    /// Digest of what lies at `path` of the release folder, a file or a folder; `None` where nothing does.
    #[must_use]
    pub(crate) fn digest_at(&self, release: &Release, path: &str) -> Option<Digest> {
        let below =
            |name: &str| name == path || name.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        let mut listing = String::new();
        for (name, file) in self.files.iter().filter(|(name, _)| below(name.as_str())) {
            listing.push_str(&format!("{name}\t{:o}\t{}\n", file.mode, Digest::of(&file.content)));
        }
        for artifact in &release.artifacts {
            let name = format!("artifacts/{}", artifact.to);
            let inside =
                path.strip_prefix(&name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            if inside || below(&name) {
                listing.push_str(&format!("{name}\t{}\n", artifact.digest));
            }
        }
        (!listing.is_empty()).then(|| Digest::of(listing.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use manifest_schema::compose::model::{Mount, Service};

    fn project(services: &[(&str, &str)], mounted: &str) -> Project {
        let mount = Mount {
            source: MountSource::Image(mounted.to_owned()),
            target: "/files".to_owned(),
            read_only: true,
            propagation: None,
            nocopy: false,
            subpath: None,
            recursive: None,
            selinux: None,
        };
        let service = |image: &str| Service {
            image: image.to_owned(),
            mounts: vec![mount.clone()],
            ..Service::default()
        };
        let services = services.iter().map(|(name, image)| (name.parse().unwrap(), service(image)));
        Project { services: services.collect(), ..Project::default() }
    }

    #[test]
    fn images_of_the_override_are_those_that_the_release_alone_does_not_have() {
        let release = project(&[("web", "acme/web:1"), ("db", "acme/db:1")], "acme/files:1");
        let whole = project(&[("web", "acme/web:2"), ("db", "acme/db:1"), ("x", "acme/x:1")], "acme/files:2");
        let expected = ["acme/files:2", "acme/web:2", "acme/x:1"].map(str::to_owned);
        assert_eq!(images_beyond(&whole, Some(&release)), BTreeSet::from(expected));
        assert_eq!(images_beyond(&whole, Some(&whole)), BTreeSet::new());
        assert_eq!(images_beyond(&whole, None), BTreeSet::new());
    }
}
