use corten_meta::{fields, labels};
use corten_registry::{DeleteOptions, Subresource, VersionMatch, WatchEvent, WatchOptions};
use futures::StreamExt;
use serde_json::json;

use crate::fixture::{Fixture, next, next_event, pod};

fn after(version: u64) -> WatchOptions {
    WatchOptions {
        resource_version: version.to_string(),
        ..WatchOptions::default()
    }
}

#[tokio::test]
async fn a_watch_resumes_and_sees_every_change_once() {
    let f = Fixture::open().await;
    let first = f.config_map("a").await;
    f.config_map("b").await;
    f.update("configmaps", "a", |object| object["data"]["a"] = json!("2"))
        .await
        .unwrap();
    let mut watch = f.watch("configmaps", after(first.revision())).await;
    assert_eq!(next(&mut watch).await, "ADDED b");
    assert_eq!(next(&mut watch).await, "MODIFIED a");
    let deleted = f
        .delete("configmaps", "b", DeleteOptions::default())
        .await
        .unwrap();
    let event = next_event(&mut watch).await;
    assert!(matches!(event, WatchEvent::Deleted(_)));
    assert_eq!(event.object().unwrap().revision(), deleted.object.revision());
    assert_eq!(event.object().unwrap().json(), deleted.object.json());
}

#[tokio::test]
async fn watchers_of_an_event_share_its_bytes() {
    let f = Fixture::open().await;
    let mut first = f.watch("configmaps", WatchOptions::default()).await;
    let mut second = f.watch("configmaps", WatchOptions::default()).await;
    let created = f.config_map("a").await;
    for watch in [&mut first, &mut second] {
        let event = next_event(watch).await;
        assert_eq!(event.object().unwrap().json().as_ptr(), created.json().as_ptr());
    }
    assert_eq!(f.registry.metrics().watches_open.get(), 2);
    drop(first);
    assert_eq!(f.registry.metrics().watches_open.get(), 1);
}

#[tokio::test]
async fn selector_transitions_are_additions_and_deletions() {
    let f = Fixture::open().await;
    let options = WatchOptions {
        label_selector: Some(labels::Selector::parse("app=p").unwrap()),
        ..WatchOptions::default()
    };
    let mut watch = f.watch("pods", options).await;
    f.create("", "pods", "default", pod("p", "n1")).await.unwrap();
    let relabel = |to: &str| {
        let to = to.to_owned();
        move |object: &mut serde_json::Value| corten_meta::object::set_label(object, "app", &to)
    };
    assert_eq!(next(&mut watch).await, "ADDED p");
    let left = f.update("pods", "p", relabel("q")).await.unwrap().object;
    let event = next_event(&mut watch).await;
    let gone = event.object().unwrap();
    assert!(matches!(event, WatchEvent::Deleted(_)));
    // The object as it was when it matched, at the revision at which it ceased to.
    assert_eq!(
        (gone.revision(), gone.label("app").unwrap()),
        (left.revision(), "p")
    );
    f.update("pods", "p", relabel("p")).await.unwrap();
    assert_eq!(next(&mut watch).await, "ADDED p");
}

#[tokio::test]
async fn a_node_sees_its_own_pods_come_and_go() {
    let f = Fixture::open().await;
    let mine = WatchOptions {
        field_selector: Some(fields::Selector::parse("spec.nodeName=n1").unwrap()),
        ..WatchOptions::default()
    };
    let mut watch = f.watch("pods", mine).await;
    f.create("", "pods", "default", pod("a", "n2")).await.unwrap();
    f.create("", "pods", "default", pod("b", "")).await.unwrap();
    let bind = |object: &mut serde_json::Value| object["spec"]["nodeName"] = json!("n1");
    f.update_sub(("", "pods"), "b", Subresource::BINDING, bind)
        .await
        .unwrap();
    assert_eq!(next(&mut watch).await, "ADDED b");
    let before = f.registry.metrics().events_delivered.get();
    let touch = |object: &mut serde_json::Value| corten_meta::object::set_label(object, "x", "1");
    f.update("pods", "a", touch).await.unwrap();
    f.update("pods", "b", touch).await.unwrap();
    assert_eq!(next(&mut watch).await, "MODIFIED b");
    assert_eq!(f.registry.metrics().events_delivered.get() - before, 1);
}

#[tokio::test]
async fn initial_events_end_with_a_bookmark() {
    let f = Fixture::open().await;
    f.config_map("a").await;
    let options = WatchOptions {
        send_initial_events: Some(true),
        version_match: Some(VersionMatch::NotOlderThan),
        bookmarks: true,
        ..WatchOptions::default()
    };
    let mut watch = f.watch("configmaps", options.clone()).await;
    assert_eq!(next(&mut watch).await, "ADDED a");
    let event = next_event(&mut watch).await;
    assert!(matches!(event, WatchEvent::Bookmark(_)));
    let bookmark: serde_json::Value = event.object().unwrap().value().unwrap();
    assert_eq!(bookmark["kind"], "ConfigMap");
    assert_eq!(
        bookmark["metadata"]["annotations"],
        json!({"k8s.io/initial-events-end": "true"})
    );
    assert_eq!(
        bookmark["metadata"]["resourceVersion"],
        f.registry.revision().to_string()
    );
    f.config_map("b").await;
    assert_eq!(next(&mut watch).await, "ADDED b");
    let without_match = WatchOptions {
        version_match: None,
        ..options
    };
    let maps = f.resource("", "configmaps");
    assert_eq!(
        f.registry
            .watch(&maps, None, &without_match)
            .await
            .err()
            .unwrap()
            .code,
        422
    );
}

#[tokio::test]
async fn too_old_a_start_is_an_expired_error_event() {
    let f = Fixture::open().await;
    let first = f.config_map("a").await.revision();
    let last = f.config_map("b").await.revision();
    f.registry.store().compact(last).await.unwrap();
    let f = f.reopen().await;
    let mut watch = f.watch("configmaps", after(first - 1)).await;
    let WatchEvent::Error(status) = next_event(&mut watch).await else {
        panic!("not an error")
    };
    assert_eq!((status.code, status.reason.as_ref()), (410, "Expired"));
    assert!(
        status
            .message
            .starts_with(&format!("too old resource version: {} (", first - 1))
    );
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn a_watch_ends_at_its_timeout() {
    let f = Fixture::open().await;
    let options = WatchOptions {
        timeout: Some(std::time::Duration::from_millis(20)),
        ..WatchOptions::default()
    };
    let mut watch = f.watch("configmaps", options).await;
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn a_reader_too_slow_is_ended_and_the_others_go_on() {
    let f = Fixture::open().await;
    f.config_map("a").await;
    let mut slow = f.watch("configmaps", WatchOptions::default()).await;
    assert_eq!(next(&mut slow).await, "ADDED a");
    let maps = f.resource("", "configmaps");
    // More events than the buffer holds, none of them read.
    for at in 0..4200 {
        f.update("configmaps", "a", |object| {
            object["data"]["a"] = json!(at.to_string())
        })
        .await
        .unwrap();
    }
    let mut seen = 0;
    while slow.next().await.is_some() {
        seen += 1;
    }
    assert!((4096..4200).contains(&seen), "{seen}");
    assert_eq!(f.registry.metrics().watches_ended_slow.get(), 1);
    assert!(f.registry.get(&maps, "default", "a", "").await.is_ok());
}
