use corten_meta::object;
use corten_registry::{DeleteOptions, ListOptions, Preconditions, Propagation, WatchOptions};
use serde_json::json;

use crate::fixture::{Fixture, config_map, next, pod};

fn with_propagation(propagation: Propagation) -> DeleteOptions {
    DeleteOptions {
        propagation: Some(propagation),
        ..DeleteOptions::default()
    }
}

fn with_grace(seconds: i64) -> DeleteOptions {
    DeleteOptions {
        grace_period_seconds: Some(seconds),
        ..DeleteOptions::default()
    }
}

#[tokio::test]
async fn a_plain_object_goes_at_once() {
    let f = Fixture::open().await;
    let created = f.config_map("x").await;
    let deleted = f
        .delete("configmaps", "x", DeleteOptions::default())
        .await
        .unwrap();
    assert!(deleted.gone && deleted.object.revision() > created.revision());
    assert!(f.get("configmaps", "x").await.unwrap_err().is_not_found());
    let again = f
        .delete("configmaps", "x", DeleteOptions::default())
        .await
        .unwrap_err();
    assert_eq!(again.message, "configmaps \"x\" not found");
}

#[tokio::test]
async fn finalizers_keep_an_object_until_the_last_is_removed() {
    let f = Fixture::open().await;
    let mut object = config_map("x");
    object["metadata"]["finalizers"] = json!(["example.com/hold"]);
    f.create("", "configmaps", "default", object).await.unwrap();
    let deleted = f
        .delete("configmaps", "x", DeleteOptions::default())
        .await
        .unwrap();
    assert!(!deleted.gone);
    let held = f.get("configmaps", "x").await.unwrap();
    assert_eq!(object::deletion_timestamp(&held), Some("2027-01-15T08:00:00Z"));
    assert_eq!(object::deletion_grace_period_seconds(&held), Some(0));
    let more = ["example.com/hold".to_owned(), "example.com/more".to_owned()];
    let refused = f
        .update("configmaps", "x", |object| object::set_finalizers(object, &more))
        .await
        .unwrap_err();
    assert!(
        refused
            .message
            .contains("no new finalizers can be added if the object is being deleted")
    );
    f.update("configmaps", "x", |object| object::set_finalizers(object, &[]))
        .await
        .unwrap();
    assert!(f.get("configmaps", "x").await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn propagation_becomes_a_finalizer() {
    let f = Fixture::open().await;
    for (name, propagation, finalizer) in [
        ("a", Propagation::Foreground, "foregroundDeletion"),
        ("b", Propagation::Orphan, "orphan"),
    ] {
        f.config_map(name).await;
        let deleted = f
            .delete("configmaps", name, with_propagation(propagation))
            .await
            .unwrap();
        assert!(!deleted.gone);
        assert_eq!(object::finalizers(&deleted.object.value().unwrap()), [finalizer]);
    }
    let wrong = with_propagation(Propagation::Invalid("Sideways".to_owned()));
    let status = f.delete("configmaps", "a", wrong).await.unwrap_err();
    assert_eq!(status.code, 422);
    assert!(
        status
            .message
            .contains("propagationPolicy: Unsupported value: \"Sideways\""),
        "{}",
        status.message
    );
}

#[tokio::test]
async fn preconditions_are_checked() {
    let f = Fixture::open().await;
    f.config_map("x").await;
    let preconditions = Preconditions {
        uid: Some("other".to_owned()),
        resource_version: None,
    };
    let options = DeleteOptions {
        preconditions,
        ..DeleteOptions::default()
    };
    let status = f.delete("configmaps", "x", options).await.unwrap_err();
    assert_eq!(status.code, 409);
    let text = "Operation cannot be fulfilled on ConfigMap \"x\": the UID in the precondition (other) does not match";
    assert!(status.message.starts_with(text), "{}", status.message);
}

#[tokio::test]
async fn pods_on_a_node_wait_for_their_kubelet() {
    let f = Fixture::open().await;
    let created = f.create("", "pods", "default", pod("p", "n1")).await.unwrap();
    let deleted = f.delete("pods", "p", DeleteOptions::default()).await.unwrap();
    let value = deleted.object.value().unwrap();
    assert!(!deleted.gone);
    assert_eq!(object::deletion_timestamp(&value), Some("2027-01-15T08:00:30Z"));
    assert_eq!(object::deletion_grace_period_seconds(&value), Some(30));
    assert_eq!(
        object::generation(&value),
        object::generation(&created.value().unwrap()) + 1
    );
    // Longer is refused silently, shorter is taken, and none at all removes the pod.
    let longer = f.delete("pods", "p", with_grace(60)).await.unwrap();
    assert_eq!(longer.object.revision(), deleted.object.revision());
    let shorter = f
        .delete("pods", "p", with_grace(5))
        .await
        .unwrap()
        .object
        .value()
        .unwrap();
    assert_eq!(object::deletion_timestamp(&shorter), Some("2027-01-15T08:00:05Z"));
    assert!(f.delete("pods", "p", with_grace(0)).await.unwrap().gone);
    assert!(f.get("pods", "p").await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn unscheduled_pods_go_at_once_and_watchers_see_why() {
    let f = Fixture::open().await;
    f.create("", "pods", "default", pod("p", "")).await.unwrap();
    let mut watch = f.watch("pods", WatchOptions::default()).await;
    assert_eq!(next(&mut watch).await, "ADDED p");
    assert!(
        f.delete("pods", "p", DeleteOptions::default())
            .await
            .unwrap()
            .gone
    );
    assert_eq!(next(&mut watch).await, "MODIFIED p");
    assert_eq!(next(&mut watch).await, "DELETED p");
}

#[tokio::test]
async fn a_collection_is_deleted_by_selector() {
    let f = Fixture::open().await;
    for name in ["a", "b", "c"] {
        let mut object = config_map(name);
        object["metadata"]["labels"] = json!({"keep": if name == "b" { "yes" } else { "no" }});
        f.create("", "configmaps", "default", object).await.unwrap();
    }
    let selection = ListOptions {
        label_selector: Some(corten_meta::labels::Selector::parse("keep=no").unwrap()),
        ..ListOptions::default()
    };
    let maps = f.resource("", "configmaps");
    let options = DeleteOptions::default();
    let deleted = f
        .registry
        .delete_collection(&f.ctx, &maps, Some("default"), &options, &selection)
        .await
        .unwrap();
    assert_eq!(deleted.items.len(), 2);
    assert_eq!(f.names("configmaps", ListOptions::default()).await, ["b"]);
}
