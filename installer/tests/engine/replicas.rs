//! Several containers of one service, and services that share volumes.

use crate::engine::support::{FOREVER, Site, after, check, replicas, shell};
use manifest_schema::compose::model::Condition;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

async fn running(site: &Site) -> Vec<String> {
    site.containers().await.into_iter().filter(|(_, (_, runs))| *runs).map(|(name, _)| name).collect()
}

#[tokio::test]
#[ignore = "needs FERRY_TEST_ENGINE"]
async fn a_service_has_as_many_containers_as_it_says() {
    let mut site = Site::new("ferry-scale").await;
    site.add("web", shell(&format!("sleep 1; touch /tmp/ready; {FOREVER}"))).replicas = Some(3);
    site.service("web").healthcheck = check("test -f /tmp/ready", Duration::from_secs(30));
    let proxy = site.add("proxy", shell(FOREVER));
    after(proxy, "web", Condition::ServiceHealthy);
    let report = site.install().await;
    assert_eq!(report.created, replicas(["proxy", "web", "web/2", "web/3"]));
    let all = ["ferry-scale-proxy-1", "ferry-scale-web-1", "ferry-scale-web-2", "ferry-scale-web-3"];
    assert_eq!(running(&site).await, all);
    // Whoever waits for the service waits for all of them.
    let started =
        async |place: &str| site.engine.inspect(&site.id(place).await).await.unwrap().unwrap().started_at;
    for place in ["web", "web/2", "web/3"] {
        assert!(started(place).await < started("proxy").await, "{place}");
    }
    // They share the service's name on the network.
    let found = site.run("proxy", "busybox nslookup web 2>/dev/null | busybox grep -c Address").await;
    println!("addresses of web: {found}");

    // Fewer: the others go on as they are.
    let kept = site.id("web/2").await;
    site.attempt = "second".to_owned();
    site.service("web").replicas = Some(2);
    let report = site.install().await;
    assert_eq!((report.stopped, report.unchanged.len()), (replicas(["web/3"]).to_vec(), 3));
    assert_eq!(site.id("web/2").await, kept);
    assert_eq!(running(&site).await.len(), 3);

    // Another definition replaces all, and a failure brings all back.
    site.attempt = "third".to_owned();
    site.service("web").healthcheck = check("false", Duration::from_secs(1));
    site.try_switch(&CancellationToken::new()).await.unwrap_err();
    let undone = site.undo().await;
    assert!(undone.restored.contains(&"web".to_owned()), "{undone:?}");
    assert_eq!(site.id("web/2").await, kept);
    assert_eq!(running(&site).await.len(), 3);
    site.clear().await;
    assert!(site.containers().await.is_empty());
}

#[tokio::test]
#[ignore = "needs FERRY_TEST_ENGINE"]
async fn volumes_of_another_service() {
    let mut site = Site::new("ferry-volumes-from").await;
    // The image declares /data as a volume.
    site.add("owner", shell(FOREVER));
    let guest = site.add("guest", shell(FOREVER));
    guest.volumes_from.insert("owner".parse().unwrap(), true);
    site.install().await;
    site.run("owner", "echo shared > /data/x").await;
    let seen = site.run("guest", "cat /data/x; touch /data/y 2>/dev/null || echo sealed").await;
    assert_eq!(seen, "shared\nsealed");
    let guest = site.id("guest").await;
    site.attempt = "second".to_owned();
    site.service("owner").environment.insert("A".to_owned(), "1".to_owned());
    site.install().await;
    assert_ne!(site.id("guest").await, guest, "it follows the owner");
    assert_eq!(site.run("guest", "cat /data/x").await, "shared");
    site.clear().await;
}
