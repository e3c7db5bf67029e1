//! `ferry try`: the very same bundle, installed on the developer's own engine under a name of its own, with
//! free ports and throw-away volumes, and removed without a trace.
//!
//! The installer is the one that goes onto the stick, run as a program. What differs from a site lies outside
//! the bundle: the site's own Compose file (`override.yaml` in the product's folder), and the answers. Both are
//! made from what people wrote as it is at each build: an installer that made services from other answers than
//! its override knows would give them their real names and ports.

mod held;
mod installer;
mod isolation;
mod logs;
mod watched;

pub(crate) use isolation::Published;
pub(crate) use logs::Followers;
pub(crate) use watched::Inputs;

use self::held::{Held, Owner};
use self::installer::Installer;
use self::isolation::Ports;
use crate::cancel::Cancel;
use crate::inputs::answers::Answers;
use crate::inputs::renderings;
use crate::inputs::texts::Texts;
use crate::read::folder::manifest_folder;
use crate::signing::{self, SigningKey};
use crate::sources::{self, ResolveOptions};
use crate::verbs::build::{self, Request, Summary};
use anyhow::{Context, Result};
use bundle_format::PackOptions;
use ferry_terminal::{Class, Failure};
use manifest_schema::ProjectName;
use manifest_schema::compose::model::{FileObject, Project};
use manifest_schema::manifest;
use manifest_schema::progress::Progress;
use manifest_schema::render::Renderer;
use manifest_schema::site::Values;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};

/// Options of a trial.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    /// The manifest, or the folder that holds it.
    pub manifest: PathBuf,
    pub answers: Answers,
    /// Further options of the installer.
    pub options: Vec<String>,
    /// The installer; `None`: `install` beside this program.
    pub installer: Option<PathBuf>,
    /// The trial's own project name; `None`: the product's with `-try`.
    pub name: Option<ProjectName>,
    /// How images are looked for.
    pub resolve: ResolveOptions,
    /// Renders templates.
    pub renderer: &'static dyn Renderer,
}

/// A bundle that is tried.
#[derive(Debug)]
pub(crate) struct Trial {
    wish: Wish,
    installer: Installer,
    name: ProjectName,
    fingerprint: String,
    ports: Ports,
    published: Vec<Published>,
    notes: BTreeSet<String>,
    folder: tempfile::TempDir,
    /// Behind the folder: fields are dropped in this order.
    held: Held,
}

impl Trial {
    /// Makes room for a trial. Nothing is built or installed yet; a trial of the same name whose process was
    /// killed is removed.
    ///
    /// # Errors
    /// When the manifest has mistakes, an answer is missing or bad, the installer is not there, the engine does
    /// not answer, or another trial has the name.
    pub(crate) fn new(mut wish: Wish, progress: &dyn Progress, cancel: &Cancel) -> Result<Self> {
        let texts = Texts::read(&wish.manifest)?;
        answered(&texts, &wish.answers)?;
        let product = &texts.manifest.name;
        let name = match wish.name.take() {
            Some(name) if name == *product => {
                let fact = format!(
                    "{name} is the product's own name: a real installation could be mistaken for the trial"
                );
                let hint = format!("give another one, as in `--project-name {name}-two`");
                return Err(Failure::new(Class::Usage, fact).hint(hint).into());
            }
            Some(name) => name,
            None => {
                let product: String = product.as_str().chars().take(56).collect();
                format!("{product}-try").parse()?
            }
        };
        let program = installer::find(wish.installer.as_deref())?;
        sources::knock(wish.resolve.docker_host.as_deref(), cancel)?;
        let folder = tempfile::Builder::new().prefix(held::PREFIX).tempdir()?;
        let engine = wish.resolve.docker_host.clone().filter(|engine| !engine.is_empty());
        let owner = Owner { project: name.to_string(), engine: engine.clone() };
        let held = Held::new(folder.path(), &owner)?;
        let all = folder.path().parent().unwrap_or(Path::new("/tmp"));
        for killed in held::killed(all, folder.path(), &owner)? {
            progress.warn(&format!(
                "a trial called {name} was killed; what it left in {} and on the engine is removed first",
                killed.folder().display()
            ));
            killed.remove(&program)?;
        }
        let key = signing::keygen(&folder.path().join("key"), "ferry try", None)?;
        Ok(Self {
            name,
            installer: Installer { program, root: folder.path().join("root"), engine },
            fingerprint: key.fingerprint,
            wish,
            ports: Ports::default(),
            published: Vec::new(),
            notes: BTreeSet::new(),
            folder,
            held,
        })
    }

    /// Builds the bundle and puts what only the trial has beside it.
    ///
    /// # Errors
    /// Mistakes in the inputs, and what could not be read or written.
    pub(crate) fn build(&mut self, progress: &dyn Progress, cancel: &Cancel) -> Result<Summary> {
        let texts = Texts::read(&self.wish.manifest)?;
        let values = answered(&texts, &self.wish.answers)?;
        let project = texts.make(&values.all, &this_host(), self.wish.renderer)?.parsed.project;
        isolation::check_images(&texts.manifest.name, &project)?;
        let key = SigningKey::open(&self.folder.path().join("key"), &|_| None)?;
        let request = Request {
            manifest: self.wish.manifest.clone(),
            output: Some(self.bundle()),
            keys: vec![key],
            // Nobody carries it: fast, not small.
            pack: PackOptions {
                level: 1,
                threads: std::thread::available_parallelism().map_or(1, usize::from),
            },
            resolve: self.wish.resolve.clone(),
            rename: Some(self.name.clone()),
            renderer: self.wish.renderer,
        };
        let summary = build::build(&request, progress, cancel)?;
        self.provide(&project, &values)?;
        Ok(summary)
    }

    /// The files that only the trial has beside its bundle.
    fn provide(&mut self, project: &Project, values: &Answered) -> Result<()> {
        let product = self.installer.make_product(self.name.as_str())?;
        let (over, published) = isolation::over(project, &mut self.ports)?;
        installer::write_own(&product.join("override.yaml"), over.as_bytes())?;
        // YAML takes JSON as it is.
        fs::write(self.values(), serde_json::to_vec(&values.given)?)?;
        for (kind, objects) in [("configs", &project.configs), ("secrets", &project.secrets)] {
            for object in objects.values() {
                if let FileObject::External(name) = object {
                    let folder = product.join("external").join(kind);
                    installer::make_folder(&folder)?;
                    fs::write(folder.join(name), renderings::secret(name))?;
                }
            }
        }
        self.published = published;
        self.notes = isolation::shared(project);
        Ok(())
    }

    fn bundle(&self) -> PathBuf {
        self.folder.path().join("try.fz")
    }

    fn values(&self) -> PathBuf {
        self.folder.path().join("values.yaml")
    }

    /// Installs what was built, as a technician would. When `stop` says so, the installer is asked to put
    /// things back, and waited for.
    ///
    /// # Errors
    /// When the installer cannot be run.
    pub(crate) fn install(&self, stop: &mut dyn FnMut() -> bool) -> Result<ExitStatus> {
        let mut command = self.installer.command(&["--no-input", "--trust", &self.fingerprint, "--values"]);
        command.arg(self.values()).args(&self.wish.options).arg(self.bundle());
        command.stdin(self.held.shared()?);
        installer::run(command, stop)
    }

    /// Shows what the services print, until somebody ends it.
    ///
    /// # Errors
    /// When the installer cannot be run.
    pub(crate) fn follow(&self) -> Result<Child> {
        self.installer.command(&["logs", "--follow"]).spawn().context("running the installer")
    }

    /// Has `followers` follow what is installed now.
    ///
    /// # Errors
    /// When the installer cannot be run.
    pub(crate) fn follow_on(&self, followers: &mut Followers) -> Result<()> {
        followers.refresh(&self.installer)
    }

    /// Removes all of it: containers, networks, volumes, images that the engine had not before, files.
    ///
    /// # Errors
    /// When the installer cannot be run, or could not remove everything.
    pub(crate) fn remove(self) -> Result<()> {
        let removed = self.installer.uninstall(self.name.as_str());
        if removed.is_err() {
            // What is left can still be removed by hand, or by the next trial, with what lies there.
            let _ = self.folder.keep();
        }
        removed
    }

    /// Resources of this machine that the trial shares, for people.
    #[must_use]
    pub(crate) fn notes(&self) -> &BTreeSet<String> {
        &self.notes
    }

    /// Where the services can be reached.
    #[must_use]
    pub(crate) fn published(&self) -> &[Published] {
        &self.published
    }

    /// The inputs that make the trial out of date when they change.
    #[must_use]
    pub(crate) fn inputs(&self) -> Inputs {
        let folder = manifest_folder(&self.wish.manifest);
        let mut inputs = Inputs::below(&folder);
        if let Some(file) = &self.wish.answers.file {
            inputs.file(file);
        }
        // Without a manifest that can be read its refs are not known; the files tell when it is mended.
        if let Ok(texts) = Texts::read(&self.wish.manifest) {
            inputs.commits(&texts.manifest.artifacts, &folder);
        }
        inputs
    }
}

/// The name that the installer finds for this machine: a service can depend on it.
fn this_host() -> String {
    #[cfg(unix)]
    return rustix::system::uname().nodename().to_string_lossy().into_owned();
    #[cfg(not(unix))]
    renderings::HOSTNAME.to_owned()
}

/// Answers to all variables.
struct Answered {
    /// Answers as templates see them; those that the installer generates have the same length here.
    all: Values,
    /// The values for the installer: all but that and what is not asked. Had it only what a person gives, an
    /// answer that is taken out of the values file would be remembered from the build before.
    given: Values,
}

/// The answers as they are now: nobody is asked, so none may be missing.
fn answered(texts: &Texts, answers: &Answers) -> Result<Answered> {
    let given = answers.read()?;
    let variables = &texts.manifest.variables;
    let length = |length| "x".repeat(length);
    let all = manifest::resolve(variables, &given, &Values::new(), &mut { length }).map_err(|missing| {
        Failure::new(Class::Input, missing.to_string())
            .because(missing)
            .hint("give answers with --set NAME=VALUE, --values FILE or FERRY_VAR_NAME in the environment")
    })?;
    let generated = |name: &String| {
        !given.values().contains_key(name)
            && variables
                .get(name)
                .is_some_and(|variable| variable.default.is_none() && variable.generate.is_some())
    };
    let told = all.iter().filter(|(name, value)| !value.is_null() && !generated(name));
    let told = told.map(|(name, value)| (name.clone(), value.clone())).collect();
    Ok(Answered { all, given: told })
}

#[cfg(test)]
mod tests {
    use super::*;
    use manifest_schema::manifest::Given;

    #[test]
    fn the_installer_is_given_every_answer_but_those_it_generates() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write(
            "ferry.yaml",
            "ferry: 1\nname: small\nversion: 1.0.0\ncompose: compose.yaml\nvariables:\n  \
             port: { type: port, default: 80 }\n  code: { default: '1.10' }\n  key: { type: secret, generate: 8 }\n  \
             far: { type: bool, default: false }\n  host: { when: far, default: x }\n",
        );
        write("compose.yaml", "services: { web: { image: 'a:1' } }\n");
        write("values.yaml", "port: 8080\n");
        let texts = Texts::read(folder.path()).unwrap();
        let mut answers = Answers { file: Some(folder.path().join("values.yaml")), ..Answers::default() };
        let given = |answers: &Answers| {
            let told = answered(&texts, answers).unwrap().given;
            // As the installer reads it.
            let text = serde_json::to_string(&told).unwrap();
            let read = Given::from_file("values.yaml", &text).unwrap();
            manifest::resolve(&texts.manifest.variables, &read, &Values::new(), &mut |_| "made".repeat(2))
                .unwrap()
        };
        let values = given(&answers);
        let text = |name: &str| values.get(name).map(ToString::to_string).unwrap_or_default();
        assert_eq!(
            ["port", "code", "key", "far", "host"].map(text),
            ["8080", "\"1.10\"", "\"mademade\"", "false", "null"]
        );
        // An answer that is taken away is the default again, and said to be.
        write("values.yaml", "\n");
        assert_eq!(answered(&texts, &answers).unwrap().given.get("port").unwrap(), 80);
        answers.single.push("port=x".to_owned());
        assert!(answered(&texts, &answers).is_err());
    }
}
