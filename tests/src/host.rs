//! A disconnected host: an engine in a namespace without a route out, a folder for Ferry, and a
//! stick that cannot be written.

use crate::bundle::Built;
use crate::leftovers::NothingLeft;
use crate::outcome::Outcome;
use crate::programs;
use crate::running::Running;
use crate::snapshot::{self, Snapshot};
use fixtures::{Engine, Podman};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A host to install on.
#[derive(Debug)]
pub struct Host {
    /// Its engine.
    pub engine: Engine,
    /// Ferry's folder on it.
    pub root: PathBuf,
    /// Behind the engine: fields are dropped in this order.
    _nothing_left: NothingLeft,
}

impl Host {
    /// A host with Debian's Docker Engine.
    ///
    /// # Panics
    /// When the engine is missing or does not answer.
    #[track_caller]
    #[must_use]
    pub fn docker(name: &str) -> Self {
        Self::of(Engine::start(name).unwrap_or_else(|error| panic!("{error:#}")))
    }

    /// A host whose Docker Engine maps users.
    ///
    /// # Panics
    /// When the engine is missing or does not answer.
    #[track_caller]
    #[must_use]
    pub fn remapped(name: &str) -> Self {
        Self::of(Engine::start_remapped(name).unwrap_or_else(|error| panic!("{error:#}")))
    }

    /// A host with Podman.
    ///
    /// # Panics
    /// When it is missing or does not answer.
    #[track_caller]
    #[must_use]
    pub fn podman(name: &str) -> Self {
        Self::of(Podman::start(name).unwrap_or_else(|error| panic!("{error:#}")))
    }

    /// A host with this engine.
    ///
    /// # Panics
    /// When the namespace has a route out.
    #[track_caller]
    #[must_use]
    pub fn of(engine: Engine) -> Self {
        let routes = engine.run_inside(&["ip", "route", "show", "default"]).unwrap();
        assert!(routes.status.success() && routes.stdout.is_empty(), "a route out: {routes:?}");
        let root = engine.folder().join("ferry");
        let nothing_left = NothingLeft(engine.namespace().name().to_owned());
        Self { engine, root, _nothing_left: nothing_left }
    }

    /// `install`, to run on this host.
    #[must_use]
    pub fn installer(&self) -> Command {
        self.command(&programs::install())
    }

    /// A program, to run on this host with its engine and folder named.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        // The engine's own command, with an environment that says nothing about this machine.
        let from = self.engine.command(program);
        let mut command = Command::new(from.get_program());
        command.args(from.get_args());
        programs::plain_environment(&mut command);
        command.env("DOCKER_HOST", self.engine.host()).env("FERRY_ROOT", &self.root);
        command
    }

    /// A shell on this host, in a folder, with the built programs and the resident one in its PATH.
    #[must_use]
    pub fn shell(&self, folder: &Path) -> Command {
        let mut shell = self.command(Path::new("/bin/sh"));
        shell.current_dir(folder).env("PATH", programs::path(Some(&self.root)));
        shell
    }

    /// Runs `install` with these arguments.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        Outcome::of(self.installer().args(arguments))
    }

    /// Starts `install --json`, to be watched.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    #[must_use]
    pub fn start(&self, arguments: &[&str]) -> Running {
        Running::start(self.installer().arg("--json").args(arguments))
    }

    /// Starts `install` on a terminal, to be typed to. All that it shows is standard output then; a prompt
    /// is no line, so wait for the line before it.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    #[must_use]
    pub fn on_terminal(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(&programs::stock("script"));
        let line = format!("{} {}", programs::install().display(), arguments.join(" "));
        command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        Running::start_with_input(&mut command)
    }

    /// Installs a bundle, trusting its key, and demands success.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn install(&self, bundle: &Built) -> Outcome {
        let [trust, fingerprint] = bundle.trust();
        self.run(&[trust, fingerprint, bundle.path()]).succeeds()
    }

    /// Runs a program of a stick, a folder mounted read-only where nobody else sees it.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    #[must_use]
    pub fn from_stick(&self, stick: &Path, program: &str, arguments: &[&str]) -> Outcome {
        let mut command = self.command(&programs::stock("unshare"));
        command.args(["--mount", "--propagation=private", "--", "/bin/sh", "-c"]);
        command
            .arg("mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" && cd \"$0\" && exec \"$@\"");
        command.arg(stick).arg(program).args(arguments);
        Outcome::of(&mut command)
    }

    /// The page that the small site publishes.
    ///
    /// # Panics
    /// When it does not come.
    #[track_caller]
    #[must_use]
    pub fn page(&self, port: u16) -> String {
        let url = format!("http://127.0.0.1:{port}/");
        self.engine.wait_for_page(&url).unwrap_or_else(|error| panic!("{error:#}")).trim_end().to_owned()
    }

    /// Output of Docker's client.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    #[must_use]
    pub fn docker_text(&self, arguments: &[&str]) -> String {
        self.engine.docker_text(arguments).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// One value of a container, volume, image or network, by Docker's format.
    ///
    /// # Panics
    /// When there is no such thing.
    #[track_caller]
    #[must_use]
    pub fn inspect(&self, name: &str, format: &str) -> String {
        self.docker_text(&["inspect", "--format", format, name])
    }

    /// Names of all containers in their order, each with the image that lists show.
    ///
    /// # Panics
    /// When the engine does not answer.
    #[track_caller]
    #[must_use]
    pub fn images_shown(&self) -> Vec<String> {
        self.listed("{{.Names}} {{.Image}}")
    }

    /// A line for each container in this format, sorted.
    #[track_caller]
    fn listed(&self, format: &str) -> Vec<String> {
        let list = self.docker_text(&["ps", "--all", "--format", format]);
        let mut lines: Vec<String> = list.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// The id of a service's container.
    ///
    /// # Panics
    /// When it has none.
    #[track_caller]
    #[must_use]
    pub fn id(&self, project: &str, service: &str) -> String {
        self.inspect(&format!("{project}-{service}-1"), "{{.Id}}")
    }

    /// Names of all containers, with whether each runs.
    ///
    /// # Panics
    /// When the engine does not answer.
    #[track_caller]
    #[must_use]
    pub fn containers(&self) -> Vec<String> {
        self.listed("{{.Names}} {{.State}}")
    }

    /// All that is on the host: what the engine holds and what lies in Ferry's folder.
    ///
    /// # Panics
    /// When the engine does not answer.
    #[track_caller]
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        snapshot::take(self)
    }

    /// The recorded state of a product.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    #[must_use]
    pub fn state(&self, product: &str) -> Value {
        let path = self.root.join(product).join("installed.json");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut file: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(file["format"], 2);
        file["content"].take()
    }
}
