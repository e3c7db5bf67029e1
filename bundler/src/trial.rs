//! `ferry try`: the very same bundle, installed on the developer's own engine under a name of its own, with
//! free ports and throw-away volumes, and removed without a trace.
//!
//! The installer is the one that goes onto the stick, run as a program. What differs from a site lies outside
//! the bundle, in the site's own Compose file (`override.yaml` in the product's folder).

use crate::build::{self, Request, Summary};
use crate::cancel::Cancel;
use crate::renderings::{self, HOSTNAME};
use crate::signing::{self, SigningKey};
use crate::sources::ResolveOptions;
use crate::texts::Texts;
use anyhow::{Context, Result};
use bundle_format::PackOptions;
use ferry_terminal::{Class, Failure, human};
use manifest_schema::ProjectName;
use manifest_schema::compose::model::{FileObject, MountSource, Project};
use manifest_schema::manifest::{self, ArtifactFrom, Given};
use manifest_schema::progress::Progress;
use manifest_schema::site::Values;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::SystemTime;

/// What a trial is made with.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The manifest, or the folder that holds it.
    pub manifest: PathBuf,
    /// The answers, as they are handed to the installer.
    pub answers: Given,
    /// The same as options of the installer.
    pub options: Vec<String>,
    /// The installer; `None`: `install` beside this program.
    pub installer: Option<PathBuf>,
    /// The trial's own project name; `None`: the product's with `-try`.
    pub name: Option<ProjectName>,
    /// How images are looked for.
    pub resolve: ResolveOptions,
}

/// A published port of the trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The service.
    pub service: String,
    /// The port in the container, with its protocol: `8080/tcp`.
    pub target: String,
    /// The port of this machine.
    pub port: u16,
}

/// A bundle that is tried.
#[derive(Debug)]
pub struct Trial {
    wish: Wish,
    installer: PathBuf,
    name: ProjectName,
    folder: tempfile::TempDir,
    fingerprint: String,
    /// Ports given so far: a rebuild keeps them.
    ports: BTreeMap<(String, String), u16>,
    notes: BTreeSet<String>,
}

impl Trial {
    /// Makes room for a trial. Nothing is built or installed yet.
    ///
    /// # Errors
    /// When the manifest has mistakes, an answer is missing or bad, or the installer is not there.
    pub fn new(mut wish: Wish) -> Result<Self> {
        let texts = Texts::read(&wish.manifest)?;
        // The same answers for the ports that are chosen here and for the installer, which asks nobody.
        let length = |length| "x".repeat(length);
        manifest::resolve(&texts.manifest.variables, &wish.answers, &Values::new(), &mut { length })
            .map_err(|missing| {
                Failure::new(Class::Input, missing.to_string()).hint(
                    "give answers with --set NAME=VALUE, --values FILE or FERRY_VAR_NAME in the environment",
                )
            })?;
        wish.options.push("--no-input".to_owned());
        let installer = installer(wish.installer.as_deref())?;
        let name = match wish.name.take() {
            Some(name) => name,
            None => {
                let product: String = texts.manifest.name.as_str().chars().take(56).collect();
                format!("{product}-try").parse()?
            }
        };
        let folder = tempfile::Builder::new().prefix("ferry-try-").tempdir()?;
        let key = signing::keygen(&folder.path().join("key"), "ferry try", None)?;
        Ok(Self {
            name,
            installer,
            fingerprint: key.fingerprint,
            folder,
            wish,
            ports: BTreeMap::new(),
            notes: BTreeSet::new(),
        })
    }

    /// Builds the bundle and puts what only the trial has beside it.
    ///
    /// # Errors
    /// Mistakes in the inputs, and what could not be read or written.
    pub fn build(&mut self, progress: &dyn Progress, cancel: &Cancel) -> Result<Summary> {
        let texts = Texts::read(&self.wish.manifest)?;
        let values = renderings::answers(&texts.manifest, &self.wish.answers)?;
        let project = texts.make(&values, HOSTNAME)?.parsed.project;
        check_images(&texts.manifest.name, &project)?;
        self.notes = shared(&project);
        let product = self.root().join(self.name.as_str());
        fs::create_dir_all(&product)?;
        let over = self.override_text(&project)?;
        fs::write(product.join("override.yaml"), over)?;
        for (kind, objects) in [("configs", &project.configs), ("secrets", &project.secrets)] {
            for object in objects.values() {
                if let FileObject::External(name) = object {
                    let folder = product.join("external").join(kind);
                    fs::create_dir_all(&folder)?;
                    fs::write(folder.join(name), renderings::secret(name))?;
                }
            }
        }
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
        };
        build::build(&request, progress, cancel)
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn bundle(&self) -> PathBuf {
        self.folder.path().join("try.fz")
    }

    /// The installer, for the trial's own folder.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.installer);
        command.arg("--root").arg(self.root());
        if let Some(engine) = &self.wish.resolve.docker_host {
            command.arg("--engine").arg(engine);
        }
        command.args(arguments);
        command
    }

    /// Installs what was built, as a technician would.
    ///
    /// # Errors
    /// When the installer cannot be run.
    pub fn install(&self) -> Result<ExitStatus> {
        let bundle = self.bundle();
        let mut command = self.command(&["--trust", &self.fingerprint]);
        command.args(&self.wish.options).arg(bundle).status().context("running the installer")
    }

    /// Shows what the services print, until somebody ends it.
    ///
    /// # Errors
    /// When the installer cannot be run.
    pub fn follow(&self) -> Result<Child> {
        self.command(&["logs", "--follow"]).spawn().context("running the installer")
    }

    /// Removes all of it: containers, networks, volumes, images that the engine had not before, files.
    ///
    /// # Errors
    /// When the installer cannot be run, or could not remove everything.
    pub fn remove(self) -> Result<()> {
        let product = self.root().join(self.name.as_str());
        if !product.join("state.json").is_file() {
            return Ok(());
        }
        // On a site these are the site's own, and stay.
        fs::remove_file(product.join("override.yaml"))?;
        if product.join("external").is_dir() {
            fs::remove_dir_all(product.join("external"))?;
        }
        let mut command = self.command(&["uninstall", "--volumes", "--yes"]);
        // A further Ctrl-C is not for it: half a removal helps nobody.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let status = command.status().context("running the installer")?;
        if status.success() {
            return Ok(());
        }
        // What is left can still be removed by hand with what lies there.
        let kept = self.folder.keep();
        Err(Failure::new(Class::Other, format!("the trial {} was not removed whole", self.name))
            .hint(format!(
                "run `{} --root {} uninstall --volumes --yes`",
                self.installer.display(),
                kept.join("root").display()
            ))
            .into())
    }

    /// What of this machine the trial shares, for people.
    #[must_use]
    pub fn notes(&self) -> &BTreeSet<String> {
        &self.notes
    }

    /// Where the services can be reached.
    #[must_use]
    pub fn published(&self) -> Vec<Published> {
        let ports = self.ports.iter();
        ports
            .map(|((service, target), port)| Published {
                service: service.clone(),
                target: target.clone(),
                port: *port,
            })
            .collect()
    }

    /// What makes the project a trial: free ports of the loopback, and no name that something else may have.
    fn override_text(&mut self, project: &Project) -> Result<String> {
        let mut text = String::from("services:\n");
        for (name, service) in &project.services {
            writeln!(text, "  {name}:\n    container_name: !reset null")?;
            // Where only the engine chooses, it chooses free ones.
            if service.ports.iter().all(|port| port.published.is_none()) {
                continue;
            }
            text.push_str("    ports: !override\n");
            for port in &service.ports {
                let target = format!("{}/{}", port.target, port.protocol);
                let free = self.free_port(name.as_str(), &target)?;
                writeln!(text, "      - \"127.0.0.1:{free}:{target}\"")?;
            }
        }
        for (section, keys) in [
            ("volumes", project.volumes.keys().collect::<Vec<_>>()),
            (
                "networks",
                project
                    .networks
                    .iter()
                    .filter(|(_, network)| network.external || network.name.is_some())
                    .map(|(key, _)| key)
                    .collect(),
            ),
        ] {
            if !keys.is_empty() {
                writeln!(text, "{section}:")?;
            }
            for key in keys {
                // Its own, empty, and gone afterwards, whatever it is on site.
                writeln!(text, "  {}: !override {{}}", serde_json::to_string(key)?)?;
            }
        }
        Ok(text)
    }

    fn free_port(&mut self, service: &str, target: &str) -> Result<u16> {
        let key = (service.to_owned(), target.to_owned());
        if let Some(port) = self.ports.get(&key) {
            return Ok(*port);
        }
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr())?.port();
        self.ports.insert(key, port);
        Ok(port)
    }

    /// What decides whether the trial is out of date: files in the manifest's folder, and the commits that
    /// refs of git artifacts mean.
    #[must_use]
    pub fn inputs(&self) -> Inputs {
        let mut found = Inputs::default();
        let Ok(texts) = Texts::read(&self.wish.manifest) else {
            // Somebody is writing; the next look tells.
            return found;
        };
        look(&texts.folder, 0, &mut found.files);
        for artifact in &texts.manifest.artifacts {
            if let ArtifactFrom::Git { repository, reference, .. } = &artifact.from {
                let commit = Command::new("git")
                    .arg("-C")
                    .arg(texts.folder.join(repository))
                    .args(["rev-parse", "--verify", "--quiet", "--end-of-options"])
                    .arg(format!("{reference}^{{commit}}"))
                    .output()
                    .map(|output| output.stdout)
                    .unwrap_or_default();
                found.commits.push(commit);
            }
        }
        found
    }
}

/// An image that is named after the project has another name in a trial.
fn check_images(product: &ProjectName, project: &Project) -> Result<()> {
    for (name, service) in &project.services {
        if service.image == format!("{product}-{name}") {
            let fact = format!("the image of service `{name}` is named after the project");
            let hint = format!(
                "name it in the Compose file, so that a trial has it too: `image: {}`",
                service.image
            );
            return Err(Failure::new(Class::Input, fact).hint(hint).into());
        }
    }
    Ok(())
}

/// What of this machine a trial of `project` does not get its own of.
fn shared(project: &Project) -> BTreeSet<String> {
    let mut notes = BTreeSet::new();
    for (name, service) in &project.services {
        if service.network_mode.as_deref() == Some("host") {
            notes.insert(format!("{name} uses the network of this machine: its ports are not moved"));
        }
        for mount in &service.mounts {
            if let MountSource::Bind { path, .. } = &mount.source
                && path.starts_with('/')
                && !mount.read_only
            {
                notes.insert(format!("{name} writes into {} of this machine", human::printable(path)));
            }
        }
    }
    notes
}

/// The state of all inputs at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inputs {
    files: BTreeMap<PathBuf, (u64, Option<SystemTime>)>,
    commits: Vec<Vec<u8>>,
}

/// Folders deeper than this, and more files than this, are nobody's sources.
const MAX_DEPTH: usize = 16;
const MAX_FILES: usize = 100_000;

fn look(folder: &Path, depth: usize, files: &mut BTreeMap<PathBuf, (u64, Option<SystemTime>)>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // What Ferry writes itself, and what git does.
        let own = name.starts_with('.') && name != ".env"
            || (depth == 0 && name == "images")
            || name.ends_with(".fz");
        let Ok(metadata) = entry.metadata() else { continue };
        if own || files.len() >= MAX_FILES {
            continue;
        }
        if metadata.is_dir() && depth < MAX_DEPTH {
            look(&entry.path(), depth + 1, files);
        } else if metadata.is_file() {
            files.insert(entry.path(), (metadata.len(), metadata.modified().ok()));
        }
    }
}

/// The installer, which lies beside this program as on a stick.
fn installer(named: Option<&Path>) -> Result<PathBuf> {
    let path = match named {
        Some(path) => path.to_path_buf(),
        None => std::env::current_exe()?.with_file_name("install"),
    };
    if path.is_file() {
        return Ok(path.canonicalize()?);
    }
    Err(Failure::new(Class::Usage, format!("the installer {} is not there", path.display()))
        .hint("put `install` beside `ferry`, or name it with --installer")
        .into())
}
