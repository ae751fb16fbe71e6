use corten_registry::{DeleteOptions, Subresource};
use serde_json::json;

use crate::fixture::{Fixture, config_map};

#[tokio::test]
async fn nothing_is_created_in_a_namespace_that_is_not_there() {
    let f = Fixture::open().await;
    let status = f
        .create("", "configmaps", "nowhere", config_map("x"))
        .await
        .unwrap_err();
    assert_eq!(
        (status.code, status.message.as_str()),
        (404, "namespaces \"nowhere\" not found")
    );
}

#[tokio::test]
async fn default_cannot_be_deleted() {
    let f = Fixture::open().await;
    let status = f
        .delete("namespaces", "default", DeleteOptions::default())
        .await
        .unwrap_err();
    let text = "namespaces \"default\" is forbidden: this namespace may not be deleted";
    assert_eq!((status.code, status.message.as_str()), (403, text));
}

#[tokio::test]
async fn a_namespace_terminates_until_it_is_finalized() {
    let f = Fixture::open().await;
    let created = f
        .create("", "namespaces", "", json!({"metadata": {"name": "gone"}}))
        .await
        .unwrap();
    let value = created.value().unwrap();
    assert_eq!(value["spec"], json!({"finalizers": ["kubernetes"]}));
    assert_eq!(value["status"], json!({"phase": "Active"}));
    assert_eq!(
        value["metadata"]["labels"],
        json!({"kubernetes.io/metadata.name": "gone"})
    );
    let deleted = f
        .delete("namespaces", "gone", DeleteOptions::default())
        .await
        .unwrap();
    assert!(!deleted.gone);
    assert_eq!(deleted.object.value().unwrap()["status"]["phase"], "Terminating");
    let again = f
        .delete("namespaces", "gone", DeleteOptions::default())
        .await
        .unwrap();
    assert_eq!(
        (again.gone, again.object.revision()),
        (false, deleted.object.revision())
    );
    let status = f
        .create("", "configmaps", "gone", config_map("x"))
        .await
        .unwrap_err();
    let text = "configmaps \"x\" is forbidden: unable to create new content in namespace gone because it is being \
                terminated";
    assert_eq!((status.code, status.message.as_str()), (403, text));
    // The main resource cannot take the finalizer away, the finalize subresource can.
    let clear = |object: &mut serde_json::Value| object["spec"] = json!({});
    let which = ("", "namespaces");
    f.update_sub(which, "gone", Subresource::MAIN, clear)
        .await
        .unwrap();
    assert_eq!(
        f.get("namespaces", "gone").await.unwrap()["spec"]["finalizers"],
        json!(["kubernetes"])
    );
    f.update_sub(which, "gone", Subresource::FINALIZE, clear)
        .await
        .unwrap();
    assert!(f.get("namespaces", "gone").await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn a_wrong_finalizer_is_told_by_its_place_on_finalizing() {
    let f = Fixture::open().await;
    let refused = |place: &str| {
        let detail = "name is neither a standard finalizer name nor is it fully qualified";
        format!("Namespace \"x\" is invalid: {place}: Invalid value: \"a\": {detail}")
    };
    let wrong = json!({"metadata": {"name": "x"}, "spec": {"finalizers": ["kubernetes", "a"]}});
    let created = f.create("", "namespaces", "", wrong).await.unwrap_err();
    assert_eq!(created.message, refused("spec.finalizers"));
    f.create("", "namespaces", "", json!({"metadata": {"name": "x"}}))
        .await
        .unwrap();
    let which = ("", "namespaces");
    let add = |object: &mut serde_json::Value| object["spec"]["finalizers"] = json!(["kubernetes", "a"]);
    let finalized = f.update_sub(which, "x", Subresource::FINALIZE, add).await;
    assert_eq!(
        finalized.map(|_| ()).unwrap_err().message,
        refused("spec.finalizers[1]")
    );
}
