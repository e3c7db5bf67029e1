use crate::engine::support::{IMAGE, archive, connect, load};
use installer::engine::EngineError;
use serde_json::json;

#[tokio::test]
#[ignore = "needs FERRY_TEST_ENGINE"]
async fn an_image_is_loaded_found_named_and_removed() {
    let engine = connect().await;
    let facts = engine.facts();
    println!("{facts:?}");
    assert!(facts.version > (0, 0) && facts.api >= (1, 40));
    assert!(facts.memory_bytes.is_some_and(|bytes| bytes > 1 << 20));
    assert!(facts.data_root.is_some());
    let config = json!({
        "Cmd": ["/bin/sh"], "ExposedPorts": { "80/tcp": {} }, "Volumes": { "/data": {} },
        "Healthcheck": { "Test": ["CMD", "/bin/true"] }, "Labels": { "own": "images" },
    });
    let (bytes, diff_id) = archive("images", &config);
    load(&engine, bytes).await.unwrap();
    let name = format!("{IMAGE}:images");
    let image = engine.inspect_image(&name).await.unwrap().unwrap();
    assert_eq!(image.diff_ids, [diff_id]);
    assert_eq!(image.volumes, ["/data"]);
    let inventory = engine.inventory().await.unwrap();
    assert!(inventory.named(&name.parse().unwrap()).is_some_and(|found| found.id == image.id));
    assert!(inventory.layers().contains(&diff_id));

    engine.tag(image.id, &format!("{IMAGE}:second").parse().unwrap()).await.unwrap();
    assert!(engine.untag(&name).await.unwrap());
    assert!(!engine.untag(&name).await.unwrap());
    assert_eq!(engine.inspect_image(format!("{IMAGE}:second")).await.unwrap().unwrap().id, image.id);
    assert!(engine.remove_image(image.id).await.unwrap());
    assert!(engine.inspect_image(image.id).await.unwrap().is_none());
}

#[tokio::test]
#[ignore = "needs FERRY_TEST_ENGINE"]
async fn an_unreachable_registry_and_a_broken_archive_are_errors() {
    let engine = connect().await;
    let error = engine.pull("127.0.0.1:1/x", "tag", None, &mut |_| {}).await.unwrap_err();
    assert!(matches!(error, EngineError::CannotReachRegistry { .. }), "{error}");
    let error = load(&engine, vec![b'x'; 100_000]).await.unwrap_err();
    println!("{error}");
    let config = json!({ "Cmd": ["/bin/sh"] });
    let (mut bytes, _) = archive("broken", &config);
    bytes.truncate(bytes.len() / 2);
    let error = load(&engine, bytes).await.unwrap_err();
    println!("{error}");
    assert!(engine.inspect_image(format!("{IMAGE}:broken")).await.unwrap().is_none());
    assert!(engine.inspect_image("localhost/none/such:1").await.unwrap().is_none());
}
