//! Commands after a start and before a stop.

use crate::engine::support::{FOREVER, Site, shell};
use installer::operate;
use installer::services::switch::SwitchError;
use manifest_schema::compose::model::{Hook, Mount, MountSource};
use std::collections::BTreeMap;
use tokio_util::sync::CancellationToken;

fn hook(script: &str) -> Hook {
    Hook {
        command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        environment: BTreeMap::from([("WHO".to_owned(), "hook".to_owned())]),
        ..Default::default()
    }
}

/// Lines that the hooks have written, oldest first.
fn written(site: &Site) -> Vec<String> {
    let text = std::fs::read_to_string(site.folder.path().join("log/hooks")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[tokio::test]
#[ignore = "needs FERRY_TEST_ENGINE"]
async fn hooks_run_after_each_start_and_before_each_stop() {
    let mut site = Site::new("ferry-hooks").await;
    let service = site.add("web", shell(FOREVER));
    service.mounts = vec![Mount {
        source: MountSource::Bind { path: "log".to_owned(), create: true },
        target: "/log".to_owned(),
        read_only: false,
        propagation: None,
        nocopy: false,
        subpath: None,
        recursive: None,
        selinux: None,
    }];
    service.post_start = vec![hook("echo started by $WHO >> /log/hooks")];
    service.pre_stop = vec![hook("echo stopping >> /log/hooks")];
    site.install().await;
    assert_eq!(written(&site), ["started by hook"]);

    let (name, cancel) = (site.name.clone(), CancellationToken::new());
    operate::stop(&site.engine, &name, &site.progress(), &cancel).await.unwrap();
    assert_eq!(written(&site), ["started by hook", "stopping"]);
    let done = Default::default();
    operate::start(&site.engine, &name, &done, &site.patience, &site.progress(), &cancel).await.unwrap();
    assert_eq!(written(&site).len(), 3);

    // Nothing has changed, nothing is run.
    site.attempt = "second".to_owned();
    site.install().await;
    assert_eq!(written(&site).len(), 3);

    // A replaced one is stopped before its successor starts.
    site.attempt = "third".to_owned();
    site.service("web").environment.insert("A".to_owned(), "1".to_owned());
    site.install().await;
    assert_eq!(written(&site)[3..], ["stopping", "started by hook"]);
    site.clear().await;
    assert_eq!(written(&site)[5..], ["stopping"]);
}

#[tokio::test]
#[ignore = "needs FERRY_TEST_ENGINE"]
async fn a_failing_hook_fails_the_service_and_the_old_one_comes_back() {
    let mut site = Site::new("ferry-hook-fails").await;
    site.add("web", shell(FOREVER)).pre_stop = vec![hook("echo cannot flush; exit 3")];
    site.install().await;
    let before = site.id("web").await;
    site.attempt = "second".to_owned();
    site.service("web").post_start = vec![hook("true"), hook("echo no licence; exit 7")];
    let error = site.try_switch(&CancellationToken::new()).await.unwrap_err();
    let SwitchError::Service(failure) = error else { panic!("{error}") };
    assert!(
        failure.reason.to_string().starts_with(
            "failed after its start: `/bin/sh -c echo no licence; exit 7` ended with code 7: no licence"
        ),
        "{}",
        failure.reason
    );
    // What fails before a stop does not keep the service from being stopped.
    let undone = site.undo().await;
    assert_eq!(undone.restored, ["web"]);
    assert_eq!(site.id("web").await, before);

    site.attempt = "third".to_owned();
    site.service("web").post_start =
        vec![Hook { command: vec!["/no/such".to_owned()], ..Default::default() }];
    let error = site.try_switch(&CancellationToken::new()).await.unwrap_err().to_string();
    assert!(error.contains("failed after its start: `/no/such`"), "{error}");
    site.undo().await;
    site.clear().await;
}
