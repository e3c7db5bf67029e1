//! A project on a real engine, small enough to be made and torn down by each test.

use installer::engine::{Engine, ImageId, ImageName};
use installer::operate::{self, Uninstall};
use installer::services::Replica;
use installer::services::health::Patience;
use installer::services::network_names::network_names;
use installer::services::parking::Standing;
use installer::services::spec::{Placed, Placement};
use installer::services::switch::{self, SwitchError, SwitchReport, UndoReport, Volumes};
use installer::services::target::Target;
use manifest_schema::compose::model::{
    Condition, Dependency, HealthCheck, MountSource, Network, NetworkAttachment, Project, Service,
};
use manifest_schema::progress::{Progress, Silent};
use manifest_schema::{ProjectName, ServiceName};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The image all tests use: a static busybox.
pub(crate) const IMAGE: &str = "localhost/ferry-test/box";

/// An image archive (`docker save`, version 1.2) with one image of one layer that holds busybox.
pub(crate) fn archive(tag: &str, config: &serde_json::Value) -> (Vec<u8>, manifest_schema::Digest) {
    let busybox = std::fs::read(fixtures::machine::busybox().unwrap()).unwrap();
    let mut layer = tar::Builder::new(Vec::new());
    let mut add = |name: &str, kind, mode, content: &[u8], link: Option<&str>| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        match link {
            Some(link) => layer.append_link(&mut header, name, link).unwrap(),
            None => layer.append_data(&mut header, name, content).unwrap(),
        }
    };
    for folder in ["bin/", "etc/", "tmp/", "data/"] {
        add(folder, tar::EntryType::Directory, 0o777, b"", None);
    }
    add("bin/busybox", tar::EntryType::Regular, 0o755, &busybox, None);
    for applet in
        ["sh", "sleep", "cat", "echo", "test", "true", "false", "touch", "ls", "date", "mkdir", "nc"]
    {
        add(&format!("bin/{applet}"), tar::EntryType::Symlink, 0o777, b"", Some("busybox"));
    }
    let layer = layer.into_inner().unwrap();
    let diff_id = manifest_schema::Digest::of(&layer);
    let config = serde_json::to_vec(&serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": config,
        "rootfs": { "type": "layers", "diff_ids": [diff_id] },
        "history": [{ "created_by": "ferry test" }],
    }))
    .unwrap();
    let name = format!("{}.json", manifest_schema::Digest::of(&config).hex());
    let list = serde_json::to_vec(&serde_json::json!([
        { "Config": name, "RepoTags": [format!("{IMAGE}:{tag}")], "Layers": ["layer.tar"] }
    ]))
    .unwrap();
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in [("layer.tar", &layer), (&name, &config), ("manifest.json", &list)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, content.as_slice()).unwrap();
    }
    (archive.into_inner().unwrap(), diff_id)
}

pub(crate) async fn load(engine: &Engine, archive: Vec<u8>) -> Result<(), installer::engine::EngineError> {
    let chunks: Vec<std::io::Result<bytes::Bytes>> =
        archive.chunks(64 << 10).map(|chunk| Ok(bytes::Bytes::copy_from_slice(chunk))).collect();
    engine.load(futures_util::stream::iter(chunks), &mut |_| {}).await
}

pub(crate) async fn connect() -> Engine {
    let address = std::env::var("FERRY_TEST_ENGINE")
        .expect("FERRY_TEST_ENGINE must name the engine to test against, as in unix:///run/docker.sock");
    Engine::connect(Some(&address.parse().unwrap())).await.unwrap()
}

/// One project of its own on the engine.
pub(crate) struct Site {
    pub(crate) engine: Engine,
    pub(crate) name: ProjectName,
    pub(crate) image: ImageId,
    /// The name that lists show.
    pub(crate) image_name: Option<ImageName>,
    pub(crate) patience: Patience,
    pub(crate) project: Project,
    pub(crate) attempt: String,
    pub(crate) folder: tempfile::TempDir,
}

impl Site {
    pub(crate) async fn new(name: &str) -> Self {
        let engine = connect().await;
        let config =
            serde_json::json!({ "Cmd": ["/bin/sh"], "Env": ["PATH=/bin"], "Volumes": { "/data": {} } });
        let (archive, _) = archive("1", &config);
        load(&engine, archive).await.unwrap();
        let image = engine.inspect_image(format!("{IMAGE}:1")).await.unwrap().unwrap();
        let mut project = Project::default();
        project.networks.insert("default".to_owned(), Network::default());
        let site = Self {
            engine,
            name: name.parse().unwrap(),
            image: image.id,
            image_name: None,
            patience: Patience {
                least: Duration::from_secs(20),
                settle: Duration::from_millis(300),
                restarts: 2,
                restarts_for: Duration::from_secs(1),
                ..Patience::default()
            },
            project,
            attempt: "first".to_owned(),
            folder: tempfile::tempdir().unwrap(),
        };
        site.clear().await;
        site
    }

    pub(crate) fn add(&mut self, name: &str, service: Service) -> &mut Service {
        let name: ServiceName = name.parse().unwrap();
        self.project.services.insert(name.clone(), service);
        self.project.services.get_mut(&name).unwrap()
    }

    pub(crate) fn service(&mut self, name: &str) -> &mut Service {
        self.project.services.get_mut(&name.parse::<ServiceName>().unwrap()).unwrap()
    }

    pub(crate) fn target(&self) -> Target {
        let placement = Placement {
            is_here: true,
            release: "1.0-0123456789ab".parse().unwrap(),
            attempt: self.attempt.clone(),
            folder: "1.0-0123456789ab-01234567".to_owned(),
            working_dir: "/srv".to_owned(),
            config_files: "/srv/compose.yaml".to_owned(),
            version: "0.1.0".to_owned(),
            images: self.project.services.keys().map(|name| (name.clone(), self.image)).collect(),
            image_names: self
                .project
                .services
                .keys()
                .filter_map(|name| Some((name.clone(), self.image_name.clone()?)))
                .collect(),
            mounted_images: BTreeMap::new(),
            configs: BTreeMap::new(),
            secrets: BTreeMap::new(),
            binds: self.binds(),
            host_files: BTreeSet::new(),
            networks: network_names(&self.name, &self.project, &[]),
            start_interval: self.engine.facts().has_start_interval(),
        };
        Target::new(&self.name, &self.project, &placement).unwrap()
    }

    /// Relative bind mounts lie in a folder of the test.
    fn binds(&self) -> BTreeMap<String, Placed> {
        let mounts = self.project.services.values().flat_map(|service| &service.mounts);
        mounts
            .filter_map(|mount| match &mount.source {
                MountSource::Bind { path, .. } if !path.starts_with('/') => {
                    let folder = self.folder.path().join(path);
                    // As the installer makes data folders before a switch: no engine does.
                    if !folder.exists() {
                        std::fs::create_dir_all(&folder).unwrap();
                    }
                    let placed = Placed { known_as: folder.clone(), path: folder, digest: None };
                    Some((path.clone(), placed))
                }
                _ => None,
            })
            .collect()
    }

    /// Networks, volumes and switch, without commit.
    pub(crate) async fn try_switch(&self, cancel: &CancellationToken) -> Result<SwitchReport, SwitchError> {
        let target = self.target();
        switch::prepare_networks_volumes(&self.engine, &target, &Silent).await?;
        switch::switch(&self.engine, &target, &self.patience, &self.progress(), cancel).await
    }

    pub(crate) async fn install(&self) -> SwitchReport {
        let report = self.try_switch(&CancellationToken::new()).await.unwrap();
        self.commit().await;
        report
    }

    pub(crate) async fn undo(&self) -> UndoReport {
        let (name, attempt) = (&self.name, &self.attempt);
        let progress = self.progress();
        switch::undo(&self.engine, name, attempt, Volumes::Remove, &self.patience, &progress).await.unwrap()
    }

    pub(crate) async fn commit(&self) -> Vec<String> {
        let wanted = self.target().network_names();
        switch::commit_cleanup(&self.engine, self.name.as_str(), &wanted, &Silent).await.unwrap()
    }

    pub(crate) fn progress(&self) -> impl Progress + use<> {
        Told
    }

    /// Every container of the project: name, ID, whether it runs.
    pub(crate) async fn containers(&self) -> BTreeMap<String, (String, bool)> {
        let found = self.engine.containers("com.docker.compose.project", self.name.as_str()).await.unwrap();
        found
            .into_iter()
            .map(|c| (c.name, (c.id, c.state == installer::engine::containers::RunState::Running)))
            .collect()
    }

    pub(crate) async fn id(&self, service: &str) -> String {
        let standing = Standing::read(&self.engine, self.name.as_str()).await.unwrap();
        standing.replicas[&replica(service)].current.as_ref().unwrap().id.clone()
    }

    /// Runs a command in a service's container; its output.
    pub(crate) async fn run(&self, service: &str, command: &str) -> String {
        let test = ["CMD-SHELL".to_owned(), command.to_owned()];
        let id = self.id(service).await;
        self.engine.probe(&id, &test, Duration::from_secs(20)).await.unwrap().output
    }

    pub(crate) async fn clear(&self) {
        let request = Uninstall { volumes: true, images: BTreeSet::new() };
        operate::uninstall(&self.engine, &self.name, &request, &Silent).await.unwrap();
    }
}

/// Shown when a test fails.
struct Told;

impl Progress for Told {
    fn begin(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn detail(&self, text: &str) {
        println!("  {text}");
    }
    fn end(&self, _: &str) {}
    fn warn(&self, text: &str) {
        println!("  warning: {text}");
    }
}

/// A service that runs `script` and can be killed at once.
pub(crate) fn shell(script: &str) -> Service {
    Service {
        image: IMAGE.to_owned(),
        command: Some(vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()]),
        stop_signal: Some("SIGKILL".to_owned()),
        networks: BTreeMap::from([("default".to_owned(), NetworkAttachment::default())]),
        ..Default::default()
    }
}

pub(crate) fn replica(text: &str) -> Replica {
    text.parse().unwrap()
}

pub(crate) fn replicas<const N: usize>(texts: [&str; N]) -> [Replica; N] {
    texts.map(replica)
}

pub(crate) const FOREVER: &str = "while :; do sleep 1; done";

pub(crate) fn check(script: &str, interval: Duration) -> Option<HealthCheck> {
    Some(HealthCheck::Probe {
        test: Some(vec!["CMD-SHELL".to_owned(), script.to_owned()]),
        interval: Some(interval),
        timeout: Some(Duration::from_secs(5)),
        retries: Some(2),
        start_period: None,
        start_interval: None,
    })
}

pub(crate) fn after(service: &mut Service, other: &str, condition: Condition) {
    service
        .depends_on
        .insert(other.parse().unwrap(), Dependency { condition, restart: false, required: true });
}
