//! The process dies, or is called off, at any instant.

use crate::engine::support::{FOREVER, Site, after, check, shell};
use installer::services::switch::{self, SwitchError};
use manifest_schema::compose::model::{Condition, Restart};
use manifest_schema::progress::{Progress, Silent};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Two services in a row, the second release of both.
async fn pair(name: &str) -> Site {
    let mut site = Site::new(name).await;
    site.add("db", shell(FOREVER)).restart = Restart::Always;
    site.service("db").healthcheck = check("true", Duration::from_secs(30));
    let app = site.add("app", shell(FOREVER));
    after(app, "db", Condition::ServiceHealthy);
    site.install().await;
    second(&mut site);
    site
}

fn second(site: &mut Site) {
    site.attempt = "second".to_owned();
    for service in ["db", "app"] {
        site.service(service).environment.insert("V".to_owned(), "2".to_owned());
    }
}

/// Panics when told for the n-th time: with the task that it runs in, the work is gone at that point,
/// as after a kill.
struct DieAt {
    left: AtomicUsize,
}

impl Progress for DieAt {
    fn begin(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn detail(&self, text: &str) {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 0 {
            panic!("killed while {text}");
        }
    }
    fn end(&self, _: &str) {}
    fn warn(&self, _: &str) {}
}

/// Runs a switch in a task and kills it, after so many steps or so long. Whether it was killed.
async fn killed(site: &Site, steps: usize, after: Option<Duration>) -> bool {
    let (engine, target, patience) = (site.engine.clone(), site.target(), site.patience.clone());
    let task = tokio::spawn(async move {
        let progress = DieAt { left: AtomicUsize::new(steps) };
        switch::prepare_networks_volumes(&engine, &target, &Silent).await?;
        switch::switch(&engine, &target, &patience, &progress, &CancellationToken::new()).await
    });
    if let Some(after) = after {
        tokio::time::sleep(after).await;
        task.abort();
    }
    task.await.is_err()
}

#[tokio::test]
#[ignore = "needs FERRY_TEST_ENGINE"]
async fn a_killed_switch_is_finished_by_the_next_run() {
    let site = pair("ferry-finish").await;
    let mut steps = 0;
    // Each turn dies one step later and then finishes; the next turn begins with another release.
    let mut site = site;
    while killed(&site, steps, None).await {
        site.install().await;
        assert_eq!(site.containers().await.len(), 2, "after {steps} steps");
        assert!(site.containers().await.values().all(|(_, runs)| *runs), "after {steps} steps");
        assert_eq!(site.run("db", "echo $V").await, site.service("db").environment["V"]);
        steps += 1;
        let version = (steps + 2).to_string();
        for service in ["db", "app"] {
            site.service(service).environment.insert("V".to_owned(), version.clone());
        }
        site.attempt = format!("attempt-{steps}");
    }
    assert!(steps >= 6, "only {steps} steps were tried");
    site.clear().await;
}

#[tokio::test]
#[ignore = "needs FERRY_TEST_ENGINE"]
async fn a_killed_switch_can_be_undone() {
    let site = pair("ferry-undo").await;
    let before = site.containers().await;
    let mut steps = 0;
    while killed(&site, steps, None).await {
        let report = site.undo().await;
        assert!(report.failures.is_empty(), "{report:?}");
        assert_eq!(site.containers().await, before, "after {steps} steps");
        let db = site.engine.inspect(&site.id("db").await).await.unwrap().unwrap();
        assert_eq!(db.restart, "always", "after {steps} steps");
        steps += 1;
    }
    assert!(steps >= 6, "only {steps} steps were tried");
    site.clear().await;
}

#[tokio::test]
#[ignore = "needs FERRY_TEST_ENGINE"]
async fn a_switch_killed_at_any_time_leaves_nothing_that_undo_cannot_mend() {
    let site = pair("ferry-times").await;
    let before = site.containers().await;
    for milliseconds in (0..1500).step_by(90) {
        if !killed(&site, usize::MAX, Some(Duration::from_millis(milliseconds))).await {
            break;
        }
        let report = site.undo().await;
        assert!(report.failures.is_empty(), "{report:?}");
        let mut now = site.containers().await;
        if now != before {
            // The engine was still making a container that the killed process had asked for: it is
            // worth nothing, never started, and goes with the next run.
            now.retain(|name, (_, runs)| *runs || !name.ends_with(".new"));
            site.undo().await;
        }
        assert_eq!(now, before, "after {milliseconds} ms");
    }
    site.clear().await;
}

#[tokio::test]
#[ignore = "needs FERRY_TEST_ENGINE"]
async fn a_killed_undo_is_finished_by_the_next_one() {
    let mut site = pair("ferry-undo-twice").await;
    let before = site.containers().await;
    for milliseconds in [20, 120, 300, 600, 1000] {
        site.service("app").healthcheck = check("false", Duration::from_secs(1));
        site.patience.timeout = Some(Duration::from_secs(2));
        assert!(site.try_switch(&CancellationToken::new()).await.is_err());
        site.patience.timeout = Some(Duration::from_secs(20));
        let (engine, name, patience) = (site.engine.clone(), site.name.clone(), site.patience.clone());
        let task = tokio::spawn(async move {
            switch::undo(&engine, &name, "second", switch::Volumes::Remove, &patience, &Silent).await
        });
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        task.abort();
        let _ = task.await;
        site.undo().await;
        assert_eq!(site.containers().await, before, "after {milliseconds} ms");
    }
    site.clear().await;
}

#[tokio::test]
#[ignore = "needs FERRY_TEST_ENGINE"]
async fn a_switch_that_is_called_off_ends_at_once() {
    let mut site = pair("ferry-cancel").await;
    let before = site.containers().await;
    site.service("app").healthcheck = check("false", Duration::from_secs(1));
    let cancel = CancellationToken::new();
    let trigger = cancel.clone();
    let caller = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(3)).await;
        trigger.cancel();
    });
    let error = site.try_switch(&cancel).await.unwrap_err();
    assert!(matches!(error, SwitchError::Cancelled), "{error}");
    caller.await.unwrap();
    site.undo().await;
    assert_eq!(site.containers().await, before);
    site.clear().await;
}
