//! The site that is installed, what has to be true of it at each moment, and its neighbour on the same host.

use fixtures::layer::Layer;
use fixtures::small_site::SmallSite;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use tests::bundle::{self, Built};
use tests::host::Host;
use tests::outcome::Outcome;

/// The port of the site.
pub(crate) const PORT: u16 = 18080;
const NEIGHBOUR_PORT: u16 = 18081;
/// Its containers, when all is well.
pub(crate) const CONTAINERS: [&str; 3] =
    ["small-front-1 running", "small-prepare-1 exited", "small-ticker-1 running"];
/// Those of the neighbour.
pub(crate) const NEIGHBOURS: [&str; 2] = ["neighbour-front-1 running", "neighbour-ticker-1 running"];

/// Docker 20.10 that is killed as it removes a network can leave one without addresses in its database; then it ends
/// with a panic at every start, in libnetwork's `reservePools`. Nobody else can mend that.
pub(crate) const ENGINE_LOST: &str = "the engine's own database of networks keeps it from starting";

/// Bundles, built once each.
#[derive(Debug)]
pub(crate) struct Bundles {
    folder: tempfile::TempDir,
    good: BTreeMap<u64, Built>,
    failing: BTreeMap<u64, Built>,
    neighbour: Built,
}

impl Bundles {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let site = SmallSite {
            name: "neighbour".to_owned(),
            version: "99.0.0".to_owned(),
            message: "the neighbour".to_owned(),
            port: NEIGHBOUR_PORT,
            ..SmallSite::default()
        };
        let neighbour = bundle::small(folder.path(), &site);
        Self { folder, good: BTreeMap::new(), failing: BTreeMap::new(), neighbour }
    }

    /// Version `number` of the site.
    pub(crate) fn good(&mut self, number: u64) -> &Built {
        let folder = self.folder.path();
        self.good.entry(number).or_insert_with(|| build(folder, number, false))
    }

    /// The same with a service that does not get well, a volume and a network of its own.
    pub(crate) fn failing(&mut self, number: u64) -> &Built {
        let folder = self.folder.path().join("failing");
        fs::create_dir_all(&folder).unwrap();
        self.failing.entry(number).or_insert_with(|| build(&folder, number, true))
    }
}

/// Two services, of which one waits for the other and for a job; a seeded volume, one that is not, a folder of the
/// site's own, a rendered config, a generated secret, a published port.
fn build(folder: &Path, number: u64, failing: bool) -> Built {
    let site = SmallSite {
        version: format!("{number}.0.0"),
        message: format!("page {number}"),
        failing,
        ..SmallSite::default()
    };
    bundle::changed(folder, &site, |site| {
        let seed = Layer::new().file("row", 0o644, "seeded").write(&site.join("store.tar"));
        let _ = seed.unwrap();
        let manifest = site.join("ferry.yaml");
        bundle::replace(
            &manifest,
            "variables:\n",
            "variables:\n  password: { type: secret, generate: 24 }\n",
        );
        let extra = if failing { "  extra: { seed: store.tar }\n" } else { "" };
        let volumes = format!("volumes:\n  store: {{ seed: store.tar }}\n{extra}artifacts:\n");
        bundle::replace(&manifest, "artifacts:\n", &volumes);
        let compose = site.join("compose.yaml");
        bundle::replace(&compose, "  front:\n    image", "  front:\n    secrets: [password]\n    image");
        bundle::replace(
            &compose,
            "      - ticks:/data\n    depends_on:\n      front:\n        condition: service_healthy\n",
            "      - ticks:/data\n      - store:/store\n      - ./own:/own\n    depends_on:\n      front:\n        \
             condition: service_healthy\n      prepare:\n        condition: service_completed_successfully\n",
        );
        bundle::replace(
            &compose,
            "  ticker:\n    image",
            "  prepare:\n    image: small/ticker:1\n    command: [/bin/sh, -c, \"test -s /store/row && echo done >/store/prepared\"]\n    \
             volumes: ['ticks:/data', 'store:/store']\n    healthcheck: { disable: true }\n  ticker:\n    image",
        );
        let (volumes, networks) = if failing { ("  extra:\n", "networks:\n  side:\n") } else { ("", "") };
        let tail = format!(
            "volumes:\n  ticks:\n  store:\n{volumes}{networks}secrets:\n  password: {{ environment: password }}\n"
        );
        bundle::replace(&compose, "volumes:\n  ticks:\n", &tail);
        if failing {
            let sick = "  sick:\n    volumes: ['extra:/extra']\n    networks: [default, side]\n    image";
            bundle::replace(&compose, "  sick:\n    image", sick);
        }
    })
}

/// Data that was put on a site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Data {
    token: String,
    /// The generated password, once it was read.
    pub(crate) password: Option<String>,
}

/// The version that runs, with its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) number: u64,
    pub(crate) place: String,
}

/// The state that a host has to be in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Truth {
    pub(crate) running: Option<Running>,
    /// Data that must not be lost.
    pub(crate) data: Option<Data>,
    /// An attempt that failed may have left a volume of its own.
    pub(crate) extra: bool,
    /// The password that was last seen.
    pub(crate) last_password: Option<String>,
}

/// A host with the neighbour on it.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) host: Host,
    neighbours: [String; 2],
    pub(crate) truth: Truth,
    /// Operations on this host, as a person would type them.
    pub(crate) story: String,
    titles: usize,
    engine_was_killed: bool,
    /// Ports that the engine published and did not serve.
    pub(crate) deaf: u64,
    /// The engine was killed or restarted in this round: containers need a moment.
    pub(crate) is_shaken: bool,
}

impl Place {
    pub(crate) fn new(name: &str, bundles: &Bundles) -> Self {
        let host = Host::docker(name);
        let [trust, fingerprint] = bundles.neighbour.trust();
        let _ = host.run(&[trust, fingerprint, bundles.neighbour.path()]).succeeds();
        let neighbours = neighbours(&host);
        fs::create_dir(host.engine.folder().join("tmp")).unwrap();
        let place = Self {
            host,
            neighbours,
            truth: Truth::default(),
            story: String::new(),
            titles: 0,
            engine_was_killed: false,
            deaf: 0,
            is_shaken: false,
        };
        write_token(&place.volume("neighbour_ticks"), "neighbour");
        place
    }

    /// The installer's folder for temporary files.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.host.engine.folder().join("tmp")
    }

    /// Adds to the story.
    pub(crate) fn tell(&mut self, text: &str) {
        self.story.push_str(text);
        self.story.push('\n');
    }

    /// Of a round that went well its first line is enough.
    pub(crate) fn end_story(&mut self, title: &str) {
        self.story.truncate(self.titles);
        self.tell(title);
        self.titles = self.story.len();
    }

    /// Processes of this host, by their command line and program.
    pub(crate) fn processes(&self, chosen: impl Fn(&str, &Path) -> bool) -> Vec<i32> {
        let name = self.host.engine.namespace().name();
        let namespace = fs::metadata(Path::new("/run/netns").join(name)).unwrap().ino();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
                continue;
            };
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            let exe = fs::read_link(entry.path().join("exe")).unwrap_or_default();
            let inside = fs::metadata(entry.path().join("ns/net")).is_ok_and(|net| net.ino() == namespace);
            // A zombie has no program.
            if inside && !exe.as_os_str().is_empty() && chosen(&command, &exe) {
                found.push(pid);
            }
        }
        found
    }

    /// The folder of a volume, read from outside, so that no service has to run.
    fn volume(&self, name: &str) -> PathBuf {
        self.host.engine.folder().join("data/volumes").join(name).join("_data")
    }

    /// The site's own folders.
    fn own(&self) -> PathBuf {
        self.host.root.join("small/data/own")
    }

    /// Puts data on the site, as services do that have run for a while.
    pub(crate) fn write_data(&mut self, token: &str) {
        for folder in [self.volume("small_ticks"), self.volume("small_store"), self.own()] {
            write_token(&folder, token);
        }
        self.truth.data = Some(Data { token: token.to_owned(), password: None });
    }

    /// The services that write have been created, so their folders are there.
    pub(crate) fn can_write(&self) -> bool {
        self.host.containers().iter().any(|name| name == "small-ticker-1 running")
    }

    /// Demands all data.
    #[track_caller]
    pub(crate) fn assert_data(&self, when: &str) {
        let Some(data) = &self.truth.data else { return };
        for folder in [self.volume("small_ticks"), self.volume("small_store"), self.own()] {
            assert_token(&folder, &data.token, when);
        }
        let row = fs::read_to_string(self.volume("small_store").join("row"));
        assert_eq!(row.ok().as_deref(), Some("seeded"), "the seed of the volume `store`, {when}");
    }

    /// Starts the engine again, or in order when it runs.
    pub(crate) fn bring_engine_back(&mut self) {
        if let Err(error) = self.host.engine.restart() {
            let text = format!("{error:#}");
            let lost = text.contains("reservePools")
                || self.host.engine.log().contains("(*controller).reservePools");
            assert!(!lost, "{ENGINE_LOST}");
            panic!("{text}");
        }
    }

    /// Ends processes of containers that do not run, as the engine has it, or that it does not know: Docker that was
    /// killed as it stopped one can forget its processes, which serve on under an address that the next container
    /// gets. Nobody sees them through the engine; a restart of the host ends them, too. Returns the containers' ids.
    pub(crate) fn end_orphans(&mut self) -> Vec<String> {
        let group = self.host.engine.namespace().name();
        let members = |folder: &Path| -> Vec<i32> {
            let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            text.lines().filter_map(|pid| pid.parse().ok()).collect()
        };
        let hierarchies = fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path());
        let groups = hierarchies.chain([PathBuf::from("/sys/fs/cgroup")]).map(|folder| folder.join(group));
        let groups = groups.flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
        let mut found: BTreeMap<String, Vec<i32>> = BTreeMap::new();
        for folder in groups.map(|entry| entry.path()).filter(|path| path.is_dir()) {
            let id = folder.file_name().unwrap().to_string_lossy().into_owned();
            found.entry(id).or_default().extend(members(&folder));
        }
        found.retain(|_, pids| !pids.is_empty());
        // Asked for afterwards: one that was just started is in the list.
        let running = self.host.docker_text(&["ps", "--quiet", "--no-trunc"]);
        found.retain(|id, _| !running.lines().any(|running| running == id));
        // One that has just ended is leaving its group.
        std::thread::sleep(std::time::Duration::from_millis(if found.is_empty() { 0 } else { 500 }));
        found.retain(|_, pids| {
            pids.iter().any(|pid| Path::new("/proc").join(pid.to_string()).join("exe").exists())
        });
        for pid in found.values().flatten() {
            let _ = rustix::process::kill_process(
                rustix::process::Pid::from_raw(*pid).unwrap(),
                rustix::process::Signal::KILL,
            );
        }
        for id in found.keys() {
            self.tell(&format!("the engine has forgotten processes of container {id}, which are ended"));
        }
        found.into_keys().collect()
    }

    /// No container of the site is there.
    pub(crate) fn is_without_containers(&self) -> bool {
        let names = self.host.engine.docker_text(&["ps", "--all", "--format", "{{.Names}}"]);
        names.is_ok_and(|names| !names.lines().any(|name| name.starts_with("small-")))
    }

    /// Kills the engine.
    pub(crate) fn kill_engine(&mut self) {
        (self.engine_was_killed, self.is_shaken) = (true, true);
        self.host.engine.kill9().unwrap();
    }

    /// The program says that the engine, which was killed, holds a port and has to be restarted.
    pub(crate) fn must_restart(&mut self, outcome: &Outcome) -> bool {
        let told = format!("{}{}", outcome.stdout, outcome.stderr).contains("by the engine itself");
        let must = self.engine_was_killed && outcome.code == 7 && told;
        if must {
            self.tell(&format!("{outcome}\nthe engine is restarted in order, as told"));
            self.is_shaken = true;
        }
        must
    }

    /// Starts a product, as a person does after the engine was killed: Docker may come back without starting what it
    /// had run.
    pub(crate) fn start(&mut self, product: &str) -> Outcome {
        let start = ["start", "--product", product];
        let mut started = self.host.run(&start);
        if self.must_restart(&started) {
            self.bring_engine_back();
            started = self.host.run(&start);
        }
        self.tell(&started.to_string());
        started
    }

    /// Starts the neighbour after the engine was killed. A task that the engine has left behind is gone only with a new
    /// container.
    pub(crate) fn revive_neighbour(&mut self, bundles: &Bundles) {
        let mut started = self.start("neighbour");
        if started.code == 8 && started.stderr.contains("makes it anew") {
            started = self.host.run(&[bundles.neighbour.path()]);
            self.tell(&started.to_string());
            self.neighbours = neighbours(&self.host);
        }
        let _ = started.succeeds();
        self.restart_unless_served(NEIGHBOUR_PORT);
    }

    /// Restarts the engine in order when it was killed and a port that it publishes leads nowhere, although the container
    /// behind it is healthy: its own forwarding is broken then.
    pub(crate) fn restart_unless_served(&mut self, port: u16) {
        let url = format!("http://127.0.0.1:{port}/");
        if self.engine_was_killed && self.host.engine.wait_for_page(&url).is_err() {
            self.tell(&format!("port {port} leads nowhere: the engine is restarted in order"));
            self.is_shaken = true;
            self.deaf += 1;
            self.bring_engine_back();
        }
    }

    /// Demands that the neighbour has noticed nothing.
    #[track_caller]
    pub(crate) fn assert_neighbour(&self, when: &str) {
        assert_token(&self.volume("neighbour_ticks"), "neighbour", when);
        assert_eq!(neighbours(&self.host), self.neighbours, "the neighbour was replaced, {when}");
        assert_eq!(self.host.page(NEIGHBOUR_PORT), "the neighbour", "{when}");
    }
}

/// Ids of the neighbour's containers.
fn neighbours(host: &Host) -> [String; 2] {
    [host.id("neighbour", "front"), host.id("neighbour", "ticker")]
}

fn write_token(folder: &Path, token: &str) {
    fs::write(folder.join("precious"), token).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
}

#[track_caller]
fn assert_token(folder: &Path, token: &str, when: &str) {
    let found = fs::read_to_string(folder.join("precious"));
    assert_eq!(found.ok().as_deref(), Some(token), "data in {}, {when}", folder.display());
}
