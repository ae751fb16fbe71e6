//! Pods resized through the registry.

use corten_registry::Subresource;
use serde_json::{Value, json};

use crate::fixture::{Fixture, pod};

#[tokio::test]
async fn what_a_resize_may_not_change_is_refused() {
    let f = Fixture::open().await;
    let mut object = pod("p", "n");
    object["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1"}});
    object["spec"]["containers"][0]["resizePolicy"] =
        json!([{"resourceName": "cpu", "restartPolicy": "NotRequired"}]);
    f.create("", "pods", "default", object).await.unwrap();
    let resize = async |change: fn(&mut Value)| {
        let updated = f.update_sub(("", "pods"), "p", Subresource::RESIZE, change).await;
        updated.map(|updated| updated.object.value().unwrap())
    };
    let resized = resize(|pod| {
        pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("2");
        pod["spec"]["containers"][0]["image"] = json!("other");
        pod["status"]["phase"] = json!("Failed");
    });
    let resized = resized.await.unwrap();
    let container = &resized["spec"]["containers"][0];
    assert_eq!(container["resources"]["requests"]["cpu"], "2");
    assert_eq!(
        (&container["image"], &resized["status"]["phase"]),
        (&json!("i"), &json!("Pending"))
    );
    let refused = resize(|pod| pod["spec"]["containers"][0]["resizePolicy"] = json!([]));
    let refused = refused.await.unwrap_err();
    assert_eq!(
        refused.message,
        "Pod \"p\" is invalid: spec: Forbidden: only cpu and memory resources are mutable"
    );
    let renamed = resize(|pod| pod["spec"]["containers"][0]["name"] = json!("d"));
    let text = "spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize";
    assert!(renamed.await.unwrap_err().message.ends_with(text));
    let emptied = resize(|pod| {
        pod["spec"] = json!({});
        pod["status"] = json!({});
    });
    let message = emptied.await.unwrap_err().message;
    for text in [
        "spec.containers: Required value",
        "spec: Invalid value: \"\": Pod QOS Class may not change",
        "spec.containers: Forbidden: containers may not be added or removed on resize",
    ] {
        assert!(message.contains(text), "{message}");
    }
}
