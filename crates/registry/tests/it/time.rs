//! What happens by itself: events that expire, bookmarks, resources that come later.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use corten_registry::strategy::Generic;
use corten_registry::{
    CreateOptions, ListOptions, Options, Registry, ResourceInfo, WatchEvent, WatchOptions,
};
use corten_stdx::ManualClock;
use corten_store::embedded::{Engine, Options as StoreOptions};
use serde_json::json;

use crate::fixture::{Fixture, context, next, next_event};

async fn with_clock(dir: &std::path::Path) -> (Arc<Registry>, Arc<ManualClock>) {
    let clock = ManualClock::at(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let options = StoreOptions {
        clock: clock.clone(),
        compact_interval: None,
        free_bytes_min: 0,
    };
    let store = Arc::new(Engine::open(dir, options).await.unwrap());
    let options = Options {
        clock: clock.clone(),
        ..Options::default()
    };
    (Registry::open(store, options).await.unwrap(), clock)
}

#[tokio::test]
async fn events_leave_after_their_time() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, clock) = with_clock(dir.path()).await;
    let (ctx, options) = (context(), CreateOptions::default());
    let namespaces = registry.resource("", "namespaces").unwrap();
    let default = json!({"metadata": {"name": "default"}});
    registry
        .create(&ctx, &namespaces, "", default, &options)
        .await
        .unwrap();
    let events = registry.resource("", "events").unwrap();
    let event = json!({"metadata": {"name": "e"}, "reason": "Started"});
    registry
        .create(&ctx, &events, "default", event, &options)
        .await
        .unwrap();
    let mut watch = registry
        .watch(&events, None, &WatchOptions::default())
        .await
        .unwrap();
    assert_eq!(next(&mut watch).await, "ADDED e");
    clock.advance(Duration::from_secs(3599));
    assert!(registry.get(&events, "default", "e", "").await.is_ok());
    clock.advance(Duration::from_secs(61));
    assert_eq!(next(&mut watch).await, "DELETED e");
}

#[tokio::test]
async fn bookmarks_come_once_a_minute() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, clock) = with_clock(dir.path()).await;
    let namespaces = registry.resource("", "namespaces").unwrap();
    let options = WatchOptions {
        bookmarks: true,
        ..WatchOptions::default()
    };
    let mut watch = registry.watch(&namespaces, None, &options).await.unwrap();
    clock.advance(Duration::from_secs(60));
    let event = next_event(&mut watch).await;
    assert!(matches!(&event, WatchEvent::Bookmark(object) if object.revision() == registry.revision()));
}

pub fn custom() -> ResourceInfo {
    ResourceInfo {
        versions: None,
        group: "example.com".into(),
        asked_group: None,
        version: "v1".into(),
        kind: "Widget".into(),
        plural: "widgets".into(),
        namespaced: true,
        has_status: false,
        empty_status: serde_json::json!({}),
        has_generation: true,
        prefix: "/registry/example.com/widgets/".to_owned(),
        ttl: None,
        strategy: Arc::new(Generic),
    }
}

#[tokio::test]
async fn resources_can_come_and_go() {
    let f = Fixture::open().await;
    let widgets = f.registry.register(custom()).await.unwrap();
    assert_eq!(f.registry.register(custom()).await.unwrap_err().code, 500);
    let mut watch = f
        .registry
        .watch(&widgets, None, &WatchOptions::default())
        .await
        .unwrap();
    f.create(
        "example.com",
        "widgets",
        "default",
        json!({"metadata": {"name": "w"}}),
    )
    .await
    .unwrap();
    assert_eq!(next(&mut watch).await, "ADDED w");
    f.registry.unregister(&widgets);
    assert!(futures::StreamExt::next(&mut watch).await.is_none());
    assert!(f.registry.resource("example.com", "widgets").is_none());
    // What was stored is there when the resource comes back.
    let widgets = f.registry.register(custom()).await.unwrap();
    let page = f
        .registry
        .list(&widgets, None, &ListOptions::default())
        .await
        .unwrap();
    assert_eq!(page.items.len(), 1);
}
