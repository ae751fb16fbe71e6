use corten_registry::{DeleteOptions, ListOptions, WatchOptions};
use serde_json::json;

use crate::fixture::{Fixture, next};

#[tokio::test]
async fn everything_is_there_after_a_restart_and_watches_resume() {
    let f = Fixture::open().await;
    let first = f.config_map("a").await;
    let second = f.config_map("b").await;
    f.update("configmaps", "a", |object| object["data"]["a"] = json!("2"))
        .await
        .unwrap();
    f.delete("configmaps", "b", DeleteOptions::default())
        .await
        .unwrap();
    let before = f.get("configmaps", "a").await.unwrap();
    let revision = f.registry.revision();
    let f = f.reopen().await;
    assert_eq!(f.get("configmaps", "a").await.unwrap(), before);
    assert_eq!(f.names("configmaps", ListOptions::default()).await, ["a"]);
    assert_eq!(f.registry.revision(), revision);
    // The ring in memory is new; what it lacks comes from the store's history.
    let resume = WatchOptions {
        resource_version: first.revision().to_string(),
        ..WatchOptions::default()
    };
    let mut watch = f.watch("configmaps", resume).await;
    assert_eq!(next(&mut watch).await, "ADDED b");
    assert_eq!(next(&mut watch).await, "MODIFIED a");
    assert_eq!(next(&mut watch).await, "DELETED b");
    let created = f.config_map("c").await;
    assert_eq!(next(&mut watch).await, "ADDED c");
    assert!(created.revision() > second.revision());
}
