//! Containers are made by the name of their image, and a name means what it means at that moment.

use crate::engine::support::{FOREVER, IMAGE, Site, archive, load, shell};
use installer::engine::ImageName;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
        }
        times
    });
    site.image_name = Some(name.clone());
    site.add("web", shell(FOREVER)).replicas = Some(CONTAINERS);
    site.install().await;
    stop.store(true, Ordering::Relaxed);
    println!("the name went back and forth {} times", mover.await.unwrap());
    let containers = site.containers().await;
    assert_eq!(containers.len(), usize::from(CONTAINERS));
    for (container, (id, _)) in containers {
        let made = site.engine.inspect(&id).await.unwrap().unwrap();
        assert_eq!(made.image, Some(site.image), "{container}");
    }
    site.clear().await;
    assert!(site.engine.untag(&name).await.unwrap());
}
