use super::*;
use crate::engine::ImageId;
use manifest_schema::Digest;
use manifest_schema::compose::model::{Dependency, Logging, Mount, Network, NetworkAttachment, Volume};

fn name(text: &str) -> ServiceName {
    text.parse().unwrap()
}

fn replica(text: &str) -> Replica {
    text.parse().unwrap()
}

fn image(content: &str) -> ImageId {
    Digest::of(content.as_bytes()).into()
}

fn project() -> Project {
    let mut service = Service {
        image: "acme/api:2".to_owned(),
        environment: BTreeMap::from([("A".to_owned(), "1".to_owned())]),
        ports: vec![
            Port {
                target: 80,
                published: Some(8080),
                among: None,
                host_ip: Some("127.0.0.1".to_owned()),
                protocol: "tcp".to_owned(),
            },
            Port { target: 53, published: None, among: None, host_ip: None, protocol: "udp".to_owned() },
        ],
        expose: vec!["9000".to_owned()],
        mounts: vec![
            Mount {
                source: MountSource::Volume("data".to_owned()),
                target: "/data".to_owned(),
                read_only: false,
                propagation: None,
                nocopy: true,
                subpath: None,
                recursive: None,
                selinux: None,
            },
            Mount {
                source: MountSource::Bind { path: "config/app.conf".to_owned(), create: false },
                target: "/etc/app.conf".to_owned(),
                read_only: true,
                propagation: None,
                nocopy: false,
                subpath: None,
                recursive: None,
                selinux: None,
            },
        ],
        secrets: vec![FileMount {
            source: "password".to_owned(),
            target: "/run/secrets/password".to_owned(),
            uid: None,
            gid: None,
            mode: None,
        }],
        stop_grace_period: Some(Duration::from_millis(1500)),
        ..Default::default()
    };
    service.networks.insert("back".to_owned(), NetworkAttachment::default());
    service.networks.insert(
        "front".to_owned(),
        NetworkAttachment { aliases: vec!["www".to_owned()], priority: 5, ..Default::default() },
    );
    service.depends_on.insert(
        name("db"),
        Dependency { condition: Condition::ServiceHealthy, restart: true, required: true },
    );
    service.healthcheck = Some(HealthCheck::Probe {
        test: None,
        interval: Some(Duration::from_secs(5)),
        timeout: None,
        retries: Some(3),
        start_period: Some(Duration::from_secs(10)),
        start_interval: Some(Duration::from_millis(250)),
    });
    let mut project = Project::default();
    project.services.insert(name("api"), service);
    project
        .services
        .insert(name("db"), Service { restart: Restart::OnFailure(Some(3)), ..Default::default() });
    project.networks.insert("back".to_owned(), Network::default());
    project
        .networks
        .insert("front".to_owned(), Network { name: Some("shared".to_owned()), ..Default::default() });
    project.volumes.insert("data".to_owned(), Volume::default());
    project
}

fn placement() -> Placement {
    let placed = |path: &str, content: &[u8]| Placed {
        path: path.into(),
        known_as: path.into(),
        digest: Some(Digest::of(content)),
    };
    Placement {
        release: "2.4.0-0123456789ab".parse().unwrap(),
        attempt: "a1".to_owned(),
        folder: "2.4.0-0123456789ab-01234567".to_owned(),
        working_dir: "/srv/shop/current".to_owned(),
        config_files: "/srv/shop/current/compose.yaml".to_owned(),
        version: "0.1.0".to_owned(),
        images: BTreeMap::from([(name("api"), image("a")), (name("db"), image("b"))]),
        image_names: BTreeMap::from([(name("api"), "acme/api:2".parse().unwrap())]),
        mounted_images: BTreeMap::new(),
        configs: BTreeMap::new(),
        secrets: BTreeMap::from([("password".to_owned(), placed("/srv/shop/secrets/password", b"x"))]),
        binds: BTreeMap::from([(
            "config/app.conf".to_owned(),
            placed("/srv/shop/releases/2.4.0/config/app.conf", b"conf"),
        )]),
        host_files: BTreeSet::new(),
        networks: [("back", "shop_back"), ("front", "shared")]
            .map(|(key, name)| (key.to_owned(), name.to_owned()))
            .into(),
        is_here: true,
        start_interval: false,
    }
}

fn spec(project: &Project, placement: &Placement) -> ContainerSpec {
    container_spec(&"shop".parse().unwrap(), &replica("api"), project, placement).unwrap()
}

fn hash(project: &Project, placement: &Placement) -> String {
    spec(project, placement).labels[label::CONFIG_HASH].clone()
}

#[test]
fn a_service_becomes_a_container_of_a_compose_project() {
    let spec = spec(&project(), &placement());
    assert_eq!(spec.name, "shop-api-1");
    assert_eq!(spec.image, image("a").to_string());
    assert_eq!(spec.image_name, Some("acme/api:2".parse().unwrap()));
    let labels: Vec<(&str, &str)> = spec
        .labels
        .iter()
        .filter(|(key, _)| *key != label::CONFIG_HASH)
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        labels,
        [
            ("com.docker.compose.container-number", "1"),
            ("com.docker.compose.depends_on", "db:service_healthy:true"),
            ("com.docker.compose.image", image("a").to_string().as_str()),
            ("com.docker.compose.oneoff", "False"),
            ("com.docker.compose.project", "shop"),
            ("com.docker.compose.project.config_files", "/srv/shop/current/compose.yaml"),
            ("com.docker.compose.project.working_dir", "/srv/shop/current"),
            ("com.docker.compose.service", "api"),
            ("com.docker.compose.version", "0.1.0"),
            ("io.ferry.attempt", "a1"),
            ("io.ferry.folder", "2.4.0-0123456789ab-01234567"),
            ("io.ferry.release", "2.4.0-0123456789ab"),
            ("io.ferry.restart", "no"),
            ("io.ferry.start-interval", "250"),
        ]
    );
    assert_eq!(spec.exposed, ["53/udp", "80/tcp", "9000/tcp"]);
    assert_eq!(spec.ports["80/tcp"], [("127.0.0.1".to_owned(), "8080".to_owned())]);
    assert_eq!(spec.ports["53/udp"], [(String::new(), String::new())]);
    assert_eq!(spec.network_mode.as_deref(), Some("shared"));
    assert_eq!(spec.networks[0].network, "shared");
    assert_eq!(spec.networks[0].aliases, ["api", "shop-api-1", "www"]);
    assert_eq!(spec.networks[1].network, "shop_back");
    assert_eq!(spec.stop_timeout, Duration::from_millis(1500));
    assert_eq!(spec.logging.0.as_deref(), Some("json-file"));
    assert_eq!(spec.logging.1["max-size"], "10m");
    assert_eq!(spec.logging.1["max-file"], "3");
    let mounts: Vec<_> =
        spec.mounts.iter().map(|mount| (&mount.source, mount.target.as_str(), mount.read_only)).collect();
    let bind = |path: &str| MountFrom::Bind {
        path: path.to_owned(),
        create: false,
        propagation: None,
        recursive: None,
        selinux: None,
    };
    assert_eq!(
        mounts,
        [
            (
                &MountFrom::Volume { name: "shop_data".to_owned(), nocopy: true, subpath: None },
                "/data",
                false
            ),
            (&bind("/srv/shop/releases/2.4.0/config/app.conf"), "/etc/app.conf", true),
            (&bind("/srv/shop/secrets/password"), "/run/secrets/password", true),
        ]
    );
}

#[test]
fn old_engines_are_not_sent_a_start_interval() {
    let mut placement = placement();
    assert_eq!(spec(&project(), &placement).health.unwrap().start_interval, None);
    placement.start_interval = true;
    let health = spec(&project(), &placement).health.unwrap();
    assert_eq!(health.start_interval, Some(Duration::from_millis(250)));
    assert!(health.test.is_empty(), "the image's check stays");
}

#[test]
fn the_hash_follows_what_counts_and_not_where_it_lies() {
    let base = hash(&project(), &placement());
    let mut moved = placement();
    moved.release = "2.5.0-ffffffffffff".parse().unwrap();
    moved.attempt = "a2".to_owned();
    moved.folder = "2.5.0-ffffffffffff-01234567".to_owned();
    moved.binds.get_mut("config/app.conf").unwrap().path = "/srv/shop/releases/2.5.0/config/app.conf".into();
    assert_eq!(hash(&project(), &moved), base, "the same content in another release");

    let mut edited = placement();
    edited.binds.get_mut("config/app.conf").unwrap().digest = Some(Digest::of(b"other"));
    assert_ne!(hash(&project(), &edited), base, "a mounted file changed");
    let mut secret = placement();
    secret.secrets.get_mut("password").unwrap().digest = Some(Digest::of(b"other"));
    assert_ne!(hash(&project(), &secret), base, "a secret changed");
    let mut other = placement();
    other.images.insert(name("api"), image("c"));
    assert_ne!(hash(&project(), &other), base, "the image changed");
    let mut changed = project();
    changed.services.get_mut(&name("api")).unwrap().environment.insert("A".to_owned(), "2".to_owned());
    assert_ne!(hash(&changed, &placement()), base, "the environment changed");
    let mut renamed = project();
    renamed.volumes.get_mut("data").unwrap().name = Some("elsewhere".to_owned());
    assert_ne!(hash(&renamed, &placement()), base, "another volume");
}

#[test]
fn the_sites_own_data_belongs_to_no_release() {
    let mut data = placement();
    data.binds.insert(
        "config/app.conf".to_owned(),
        Placed { path: "/srv/shop/data".into(), known_as: "/srv/shop/data".into(), digest: None },
    );
    let first = hash(&project(), &data);
    data.release = "2.5.0-ffffffffffff".parse().unwrap();
    assert_eq!(hash(&project(), &data), first);
    data.binds.clear();
    let error = container_spec(&"shop".parse().unwrap(), &replica("api"), &project(), &data).unwrap_err();
    assert_eq!(error.to_string(), "service api: there is no file `config/app.conf`");
}

#[test]
fn no_engine_makes_a_folder_where_a_file_is_mounted() {
    let mut project = project();
    let service = project.services.get_mut(&name("api")).unwrap();
    service.mounts[1].source = MountSource::Bind { path: "/etc/timezone".to_owned(), create: true };
    let made = |placement: &Placement| {
        let mounts = spec(&project, placement).mounts;
        let made = mounts.iter().find_map(|mount| match &mount.source {
            MountFrom::Bind { path, create, .. } if path == "/etc/timezone" => Some(*create),
            _ => None,
        });
        (made, hash(&project, placement))
    };
    let (unknown, mut known) = (placement(), placement());
    known.host_files.insert("/etc/timezone".to_owned());
    assert_eq!((made(&unknown).0, made(&known).0), (Some(true), Some(false)));
    assert_eq!(made(&unknown).1, made(&known).1, "what a host has is no change of the service");
}

#[test]
fn a_bind_cannot_leave_the_release_folder() {
    let mut project = project();
    let service = project.services.get_mut(&name("api")).unwrap();
    service.mounts[1].source = MountSource::Bind { path: "config/../../../etc".to_owned(), create: true };
    let error =
        container_spec(&"shop".parse().unwrap(), &replica("api"), &project, &placement()).unwrap_err();
    assert!(matches!(error, SpecError::Outside { .. }), "{error}");
}

#[test]
fn what_is_missing_is_named() {
    let shop: ProjectName = "shop".parse().unwrap();
    let mut without = placement();
    without.images.clear();
    let error = container_spec(&shop, &replica("api"), &project(), &without).unwrap_err();
    assert_eq!(error.to_string(), "service api: no image for acme/api:2");
    let mut without = placement();
    without.secrets.clear();
    let error = container_spec(&shop, &replica("api"), &project(), &without).unwrap_err();
    assert_eq!(error.to_string(), "service api: there is no secret `password`");
    let mut without = placement();
    without.networks.remove("back");
    let error = container_spec(&shop, &replica("api"), &project(), &without).unwrap_err();
    assert_eq!(error.to_string(), "service api: there is no network `back`");
}

#[test]
fn special_cases_of_compose() {
    let mut project = project();
    let service = project.services.get_mut(&name("api")).unwrap();
    service.logging = Some(Logging { driver: None, options: BTreeMap::new() });
    service.healthcheck = Some(HealthCheck::Disabled);
    service.container_name = Some("api".to_owned());
    service.networks.clear();
    service.network_mode = Some("service:db".to_owned());
    let spec = spec(&project, &placement());
    assert_eq!(spec.logging, (None, BTreeMap::new()));
    assert_eq!(spec.health.unwrap().test, ["NONE"]);
    assert_eq!(spec.name, "api");
    assert_eq!(spec.network_mode.as_deref(), Some("service:db"));
    assert_eq!(spec.labels[label::DEPENDS_ON], "db:service_healthy:true");
    let db = container_spec(&"shop".parse().unwrap(), &replica("db"), &project, &placement()).unwrap();
    assert_eq!(db.restart, "on-failure:3");
    assert_eq!(db.stop_timeout, Duration::from_secs(10));
    assert!(!db.labels.contains_key(label::JOB));
}
