use crate::engine::support::{FOREVER, Site, after, check, replica, shell};
use futures_util::StreamExt as _;
use installer::engine::containers::{Health, RunState};
use installer::operate::{self, Uninstall};
use installer::services::health::Outcome;
use manifest_schema::compose::model::{Condition, Port};
use manifest_schema::progress::Silent;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

#[tokio::test]
#[ignore = "needs FERRY_TEST_ENGINE"]
async fn a_project_is_looked_at_stopped_started_read_and_removed() {
    let mut site = Site::new("ferry-life").await;
    let db =
        site.add("db", shell(&format!("trap 'echo bye; exit 0' TERM; echo db up; echo oops >&2; {FOREVER}")));
    db.stop_signal = None;
    db.healthcheck = check("true", Duration::from_millis(500));
    db.ports = vec![Port {
        target: 80,
        published: Some(18081),
        among: None,
        host_ip: Some("127.0.0.1".to_owned()),
        protocol: "tcp".to_owned(),
    }];
    let job = site.add("job", shell("echo done"));
    after(job, "db", Condition::ServiceStarted);
    let app = site.add("app", shell(FOREVER));
    after(app, "job", Condition::ServiceCompletedSuccessfully);
    let report = site.install().await;
    assert_eq!(report.outcomes[&replica("db")], Outcome::Healthy);
    tokio::time::sleep(Duration::from_secs(1)).await;

    let status = operate::status(&site.engine, &site.name).await.unwrap();
    println!("{}", serde_json::to_string_pretty(&status).unwrap());
    let names: Vec<&str> = status.iter().map(|status| status.service.as_str()).collect();
    assert_eq!(names, ["app", "db", "job"]);
    assert_eq!((status[1].state, status[1].health), (RunState::Running, Some(Health::Healthy)));
    assert_eq!(status[1].ports, ["127.0.0.1:18081->80/tcp"]);
    assert!(!status[1].since.is_empty());
    assert_eq!((status[2].state, status[2].exit_code), (RunState::Exited, Some(0)));

    let lines: Vec<_> = operate::logs(&site.engine, &site.name, Some("db"), Some(10), false)
        .await
        .unwrap()
        .map(|line| line.unwrap())
        .collect()
        .await;
    let mut texts: Vec<(&str, bool)> = lines.iter().map(|line| (line.text.as_str(), line.stderr)).collect();
    texts.sort_unstable();
    assert_eq!(texts, [("db up", false), ("oops", true)]);
    assert!(operate::logs(&site.engine, &site.name, Some("nobody"), None, false).await.is_err());

    let never = CancellationToken::new();
    let followed = operate::logs(&site.engine, &site.name, None, None, true).await.unwrap();
    let stopped = operate::stop(&site.engine, &site.name, &site.progress(), &never).await.unwrap();
    assert_eq!(stopped, ["app", "db"]);
    // Following ends when nothing runs any more.
    let all: Vec<String> = followed.map(|line| line.unwrap().text).collect().await;
    assert!(all.contains(&"bye".to_owned()), "a graceful stop: {all:?}");
    assert!(operate::stop(&site.engine, &site.name, &Silent, &never).await.unwrap().is_empty());

    let outcomes =
        operate::start(&site.engine, &site.name, &BTreeSet::new(), &site.patience, &site.progress(), &never)
            .await
            .unwrap();
    assert_eq!(outcomes.get(&replica("db")), Some(&Outcome::Healthy));
    assert_eq!(outcomes.get(&replica("app")), Some(&Outcome::Running));
    let job = site.engine.inspect(&site.id("job").await).await.unwrap().unwrap();
    assert!(
        job.started_at <= site.engine.inspect(&site.id("db").await).await.unwrap().unwrap().started_at,
        "the job did not run again"
    );

    let removed = operate::uninstall(&site.engine, &site.name, &Uninstall::default(), &Silent).await.unwrap();
    assert_eq!(removed.containers.len(), 3);
    assert_eq!(removed.networks, ["ferry-life_default"]);
    assert!(operate::status(&site.engine, &site.name).await.unwrap().is_empty());
}
