//! Containers are made by the name of their image, and a name means what it means at that moment.

use crate::engine::support::{FOREVER, IMAGE, Site, archive, load, shell};
use installer::engine::{EngineKind, ImageName};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[tokio::test]
#[ignore = "needs FERRY_TEST_ENGINE"]
async fn a_name_that_moves_never_decides_what_runs() {
    const CONTAINERS: u16 = 24;
    let mut site = Site::new("ferry-moving-name").await;
    let config = serde_json::json!({ "Cmd": ["/bin/sh"], "Env": ["OTHER=1"] });
    load(&site.engine, archive("other", &config).0).await.unwrap();
    let other = site.engine.inspect_image(format!("{IMAGE}:other")).await.unwrap().unwrap().id;
    let name: ImageName = "localhost/ferry-test/moving:1".parse().unwrap();
    assert_ne!(other, site.image);

    let stop = Arc::new(AtomicBool::new(false));
    let (engine, image, moves) = (site.engine.clone(), site.image, name.clone());
    let stopped = Arc::clone(&stop);
    let mover = tokio::spawn(async move {
        let mut times = 0;
        while !stopped.load(Ordering::Relaxed) {
            engine.tag(other, &moves).await.unwrap();
            engine.tag(image, &moves).await.unwrap();
            times += 1;
            // Podman is asked by ID alone, and its store fails others who look while names move without pause.
            if engine.facts().kind == EngineKind::Podman {
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        }
        times
    });
    site.image_name = Some(name.clone());
    site.add("web", shell(FOREVER)).replicas = Some(CONTAINERS);
    site.install().await;
    stop.store(true, Ordering::Relaxed);
    assert!(mover.await.unwrap() > 0, "the name has to move");
    let containers = site.containers().await;
    assert_eq!(containers.len(), usize::from(CONTAINERS));
    for (container, (id, _)) in containers {
        let made = site.engine.inspect(&id).await.unwrap().unwrap();
        assert_eq!(made.image, Some(site.image), "{container}");
    }
    site.clear().await;
    assert!(site.engine.untag(&name).await.unwrap());
}
