use crate::engine::support::{FOREVER, IMAGE, Site, after, archive, check, load, replica, replicas, shell};
use installer::engine::EngineKind;
use installer::services::health::Outcome;
use installer::services::switch::{self, SwitchError};
use manifest_schema::compose::model::{Condition, Mount, MountSource, Network, Port, Restart, Volume};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

const LONG: Duration = Duration::from_secs(30);

/// db becomes healthy after a second, app needs it and a job.
async fn shop(name: &str) -> Site {
    let mut site = Site::new(name).await;
    let db = shell(&format!("sleep 1; touch /tmp/ready; {FOREVER}"));
    site.add("db", db).healthcheck = check("test -f /tmp/ready", LONG);
    let job = site.add("job", shell("sleep 1; echo migrated"));
    after(job, "db", Condition::ServiceHealthy);
    let app = site.add("app", shell(FOREVER));
    after(app, "db", Condition::ServiceHealthy);
    after(app, "job", Condition::ServiceCompletedSuccessfully);
    site.service("app").restart = Restart::Always;
    site
}

fn fails(error: SwitchError) -> installer::services::failure::ServiceFailure {
    match error {
        SwitchError::Service(failure) => *failure,
        other => panic!("{other}"),
    }
}

#[tokio::test]
#[ignore = "needs FERRY_TEST_ENGINE"]
async fn services_start_in_order_and_a_second_switch_changes_nothing() {
    let mut site = shop("ferry-order").await;
    let begun = Instant::now();
    let report = site.install().await;
    println!("installed in {:?}", begun.elapsed());
    assert_eq!(report.created, replicas(["app", "db", "job"]));
    assert_eq!(report.outcomes[&replica("db")], Outcome::Healthy);
    assert_eq!(report.outcomes[&replica("job")], Outcome::Completed);
    assert_eq!(report.outcomes[&replica("app")], Outcome::Running);
    // Healthy long before the engine's own first probe.
    assert!(begun.elapsed() < LONG);
    let mut started = Vec::new();
    for service in ["db", "job", "app"] {
        started.push(site.engine.inspect(&site.id(service).await).await.unwrap().unwrap().started_at);
    }
    assert!(started.is_sorted(), "{started:?}");

    let before = site.containers().await;
    site.attempt = "second".to_owned();
    let begun = Instant::now();
    let report = site.install().await;
    println!("again in {:?}", begun.elapsed());
    assert!(!report.changed(), "{report:?}");
    assert_eq!(report.unchanged, replicas(["app", "db", "job"]));
    assert_eq!(site.containers().await, before);
    site.clear().await;
}

#[tokio::test]
#[ignore = "needs FERRY_TEST_ENGINE"]
async fn a_changed_environment_replaces_only_that_service() {
    let mut site = shop("ferry-env").await;
    site.install().await;
    let (db, app) = (site.id("db").await, site.id("app").await);
    site.attempt = "second".to_owned();
    site.service("app").environment.insert("GREETING".to_owned(), "hello".to_owned());
    let (would, obstacles) = switch::compare(&site.engine, &site.target()).await.unwrap();
    assert_eq!(would.changes[&replica("app")], switch::Change::Replace);
    assert!(would.stopped.is_empty() && obstacles.is_empty());
    let report = site.install().await;
    assert_eq!((report.replaced.as_slice(), report.unchanged.len()), (replicas(["app"]).as_slice(), 2));
    assert_eq!(site.id("db").await, db);
    assert_ne!(site.id("app").await, app);
    assert_eq!(site.run("app", "echo $GREETING").await, "hello");
    assert_eq!(site.containers().await.len(), 3, "the replaced one is gone");
    site.clear().await;
}

#[tokio::test]
#[ignore = "needs FERRY_TEST_ENGINE"]
async fn a_failing_health_check_is_explained_and_undone() {
    let mut site = shop("ferry-health").await;
    site.service("db").restart = Restart::Always;
    site.install().await;
    let before = site.containers().await;
    site.attempt = "second".to_owned();
    site.patience.timeout = Some(Duration::from_secs(4));
    site.service("app").healthcheck = check("echo no connection; false", Duration::from_secs(1));
    site.service("app").command = shell(&format!("echo 'app speaks \u{1b}[31mred'; {FOREVER}")).command;
    site.service("db").environment.insert("X".to_owned(), "1".to_owned());
    let failure = fails(site.try_switch(&CancellationToken::new()).await.unwrap_err());
    println!("{failure:?}");
    assert_eq!(failure.replica, replica("app"));
    assert!(failure.reason.to_string().contains("healthy"), "{}", failure.reason);
    assert!(failure.health_log.iter().any(|line| line.contains("no connection")), "{failure:?}");
    assert!(failure.last_logs.iter().any(|line| line == "app speaks red"), "{failure:?}");
    assert!(failure.hint.is_some());

    let report = site.undo().await;
    assert_eq!(report.restored, ["app", "db"]);
    assert!(report.failures.is_empty(), "{report:?}");
    assert_eq!(site.containers().await, before, "the same containers run under their names");
    let app = site.engine.inspect(&site.id("app").await).await.unwrap().unwrap();
    assert_eq!(app.restart, "always");
    assert_eq!(site.undo().await, switch::UndoReport::default(), "undoing twice does nothing");
    site.clear().await;
}

#[tokio::test]
#[ignore = "needs FERRY_TEST_ENGINE"]
async fn loops_exits_and_missing_programs_are_told_apart() {
    let mut site = Site::new("ferry-loops").await;
    site.add("web", shell("echo 'bind: Address already in use'; exit 3")).restart = Restart::Always;
    let failure = fails(site.try_switch(&CancellationToken::new()).await.unwrap_err());
    println!("{failure:?}");
    assert!(
        failure.reason.to_string().contains("keeps restarting")
            || failure.reason.to_string().contains("exited"),
        "{}",
        failure.reason
    );
    assert!(failure.hint.as_deref().is_some_and(|hint| hint.contains("port")));
    site.undo().await;
    assert!(site.containers().await.is_empty());
    assert!(site.engine.network("ferry-loops_default").await.unwrap().is_none());

    site.add("web", shell("exit 127"));
    let failure = fails(site.try_switch(&CancellationToken::new()).await.unwrap_err());
    assert_eq!(failure.exit_code, Some(127));
    assert!(failure.reason.to_string().contains("exited with code 127"), "{}", failure.reason);
    assert!(failure.hint.is_some());
    site.undo().await;

    site.service("web").command = Some(vec!["/no/such/program".to_owned()]);
    let failure = fails(site.try_switch(&CancellationToken::new()).await.unwrap_err());
    println!("{failure:?}");
    assert!(failure.reason.to_string().contains("could not be started"), "{}", failure.reason);
    assert!(failure.hint.is_some());
    site.undo().await;
    assert!(site.containers().await.is_empty());
}

#[tokio::test]
#[ignore = "needs FERRY_TEST_ENGINE"]
async fn a_taken_port_is_told_and_the_old_release_comes_back() {
    let mut site = Site::new("ferry-port").await;
    let port = |published| Port {
        target: 80,
        published,
        among: None,
        host_ip: Some("127.0.0.1".to_owned()),
        protocol: "tcp".to_owned(),
    };
    site.add("one", shell(FOREVER)).ports = vec![port(Some(18080))];
    site.add("two", shell(FOREVER));
    site.install().await;
    let before = site.containers().await;
    site.attempt = "second".to_owned();
    site.service("two").ports = vec![port(Some(18080))];
    let failure = fails(site.try_switch(&CancellationToken::new()).await.unwrap_err());
    println!("{failure:?}");
    assert!(failure.hint.as_deref().is_some_and(|hint| hint.contains("port")), "{failure:?}");
    site.undo().await;
    assert_eq!(site.containers().await, before);
    site.clear().await;
}

#[tokio::test]
#[ignore = "needs FERRY_TEST_ENGINE"]
async fn services_that_are_no_longer_wanted_go_and_can_come_back() {
    let mut site = Site::new("ferry-orphans").await;
    site.add("keep", shell(FOREVER));
    site.add("drop", shell(FOREVER)).restart = Restart::UnlessStopped;
    site.project.networks.insert("side".to_owned(), Network::default());
    site.service("drop").networks.insert("side".to_owned(), Default::default());
    site.install().await;
    let side = site.engine.network("ferry-orphans_side").await.unwrap().unwrap();
    assert_eq!(side.containers, 1);
    let before = site.containers().await;
    site.attempt = "second".to_owned();
    site.project.services.remove(&"drop".parse().unwrap());
    site.project.networks.remove("side");
    let report = site.try_switch(&CancellationToken::new()).await.unwrap();
    assert_eq!(report.stopped, replicas(["drop"]));
    site.undo().await;
    assert_eq!(site.containers().await, before);
    site.install().await;
    assert_eq!(site.containers().await.len(), 1);
    assert!(site.engine.network("ferry-orphans_side").await.unwrap().is_none());
    site.clear().await;
}

#[tokio::test]
#[ignore = "needs FERRY_TEST_ENGINE"]
async fn what_belongs_to_others_is_not_touched() {
    let mut site = Site::new("ferry-foreign").await;
    let service = site.add("web", shell(FOREVER));
    service.mounts = vec![Mount {
        source: MountSource::Volume("data".to_owned()),
        target: "/srv".to_owned(),
        read_only: false,
        propagation: None,
        nocopy: false,
        subpath: None,
        recursive: None,
        selinux: None,
    }];
    site.project.volumes.insert(
        "data".to_owned(),
        Volume { external: true, name: Some("ferry-none".to_owned()), ..Default::default() },
    );
    let error = site.try_switch(&CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, SwitchError::MissingExternal { kind: "volume", .. }), "{error}");
    let stranger = installer::engine::volumes::VolumeSpec {
        name: "ferry-foreign_data".to_owned(),
        ..Default::default()
    };
    site.engine.create_volume(&stranger).await.unwrap();
    site.project.volumes.insert("data".to_owned(), Volume::default());
    let error = site.try_switch(&CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, SwitchError::Foreign { kind: "volume", .. }), "{error}");
    site.engine.remove_volume(&stranger.name).await.unwrap();

    let mut other = Site::new("ferry-other").await;
    other.add("x", shell(FOREVER)).container_name = Some("ferry-foreign-web-1".to_owned());
    other.install().await;
    let error = site.try_switch(&CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, SwitchError::Foreign { kind: "container", .. }), "{error}");
    site.undo().await;
    assert!(site.engine.volume("ferry-foreign_data").await.unwrap().is_none());
    other.clear().await;
    site.clear().await;
}

#[tokio::test]
#[ignore = "needs FERRY_TEST_ENGINE"]
async fn unnamed_data_survives_and_shared_namespaces_follow() {
    let mut site = Site::new("ferry-shared").await;
    // The image declares /data as a volume.
    site.add("owner", shell(FOREVER));
    let guest = site.add("guest", shell(FOREVER));
    guest.networks.clear();
    guest.network_mode = Some("service:owner".to_owned());
    site.install().await;
    site.run("owner", "echo precious > /data/x").await;
    let guest = site.id("guest").await;
    site.attempt = "second".to_owned();
    site.service("owner").environment.insert("A".to_owned(), "1".to_owned());
    let report = site.install().await;
    assert_eq!(report.replaced, replicas(["guest", "owner"]));
    assert_ne!(site.id("guest").await, guest);
    assert_eq!(site.run("owner", "cat /data/x").await, "precious");
    site.clear().await;
}

#[tokio::test]
#[ignore = "needs FERRY_TEST_ENGINE"]
async fn a_health_check_of_the_image_is_waited_for() {
    let mut site = Site::new("ferry-image-check").await;
    let config = serde_json::json!({
        "Cmd": ["/bin/sh"], "Env": ["PATH=/bin"],
        "Healthcheck": { "Test": ["CMD-SHELL", "test -f /tmp/ready"], "Interval": 30_000_000_000_u64 },
    });
    let (bytes, _) = archive("check", &config);
    load(&site.engine, bytes).await.unwrap();
    site.image = site.engine.inspect_image(format!("{IMAGE}:check")).await.unwrap().unwrap().id;
    site.add("web", shell(&format!("sleep 2; touch /tmp/ready; {FOREVER}")));
    let report = site.install().await;
    assert_eq!(report.outcomes[&replica("web")], Outcome::Healthy);
    site.clear().await;
}

#[tokio::test]
#[ignore = "needs FERRY_TEST_ENGINE"]
async fn many_settings_reach_the_container() {
    let mut site = Site::new("ferry-settings").await;
    let docker = site.engine.facts().kind == EngineKind::Docker;
    std::fs::create_dir_all(site.folder.path().join("config")).unwrap();
    std::fs::write(site.folder.path().join("config/app.conf"), "shown\n").unwrap();
    let service = site.add("web", shell(FOREVER));
    service.environment.insert("WORD".to_owned(), "with spaces = and 'quotes'".to_owned());
    service.hostname = Some("webhost".to_owned());
    service.extra_hosts = vec!["upstream:10.1.2.3".to_owned()];
    service.tmpfs.insert("/scratch".to_owned(), String::new());
    if docker {
        // Podman adds limits of its own as soon as one is given, which only root without bounds may set.
        // Not `nofile`: runc sometimes starts an exec with the hard limit in place of the soft one.
        service.ulimits.insert("nproc".to_owned(), (1000, 2000));
    }
    service.user = Some("1000:1000".to_owned());
    service.working_dir = Some("/tmp".to_owned());
    service.cap_drop = vec!["NET_RAW".to_owned()];
    service.read_only = true;
    let bind = |path: &str, target: &str, create, read_only| Mount {
        source: MountSource::Bind { path: path.to_owned(), create },
        target: target.to_owned(),
        read_only,
        propagation: None,
        nocopy: false,
        subpath: None,
        recursive: None,
        selinux: None,
    };
    service.mounts = vec![
        bind("config/app.conf", "/etc/app.conf", false, true),
        bind("made/here", "/made", true, false),
        Mount {
            source: MountSource::Tmpfs { size: Some(1 << 20), mode: Some(0o1777) },
            ..bind("", "/small", false, false)
        },
    ];
    site.install().await;
    let seen = site
        .run("web", "echo $WORD; busybox hostname; cat /etc/app.conf; busybox id -u; busybox pwd; busybox grep -c upstream /etc/hosts; touch /x 2>/dev/null || echo sealed; busybox df -k /small | busybox tail -n 1 | busybox awk '{print $2}'")
        .await;
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(
        lines,
        ["with spaces = and 'quotes'", "webhost", "shown", "1000", "/tmp", "1", "sealed", "1024"]
    );
    if docker {
        let limit = site.run("web", "busybox grep 'Max processes' /proc/self/limits").await;
        assert_eq!(
            limit.split_whitespace().collect::<Vec<_>>(),
            ["Max", "processes", "1000", "2000", "processes"]
        );
    }
    site.commit().await;
    site.clear().await;
}
