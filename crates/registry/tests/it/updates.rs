//! What updates are refused for, and what they count.

use corten_registry::Subresource;
use serde_json::{Value, json};

use crate::fixture::Fixture;

type Place = (&'static str, &'static str);

fn named(mut object: Value) -> Value {
    object["metadata"]["name"] = json!("x");
    object
}

/// Creates an object named `x`, unless its metadata says otherwise.
async fn created(fixture: &Fixture, (group, plural): Place, object: Value) {
    let namespace = match fixture.resource(group, plural).namespaced {
        true => "default",
        false => "",
    };
    let object = match object["metadata"]["name"].is_null() {
        true => named(object),
        false => object,
    };
    fixture.create(group, plural, namespace, object).await.unwrap();
}

/// What an update of `x` is refused for; empty where it is not.
async fn refusal(fixture: &Fixture, place: Place, subresource: Subresource, change: Value) -> String {
    let change = |object: &mut Value| json_patch(object, &change);
    let updated = fixture.update_sub(place, "x", subresource, change).await;
    updated.err().map(|status| status.message).unwrap_or_default()
}

fn json_patch(object: &mut Value, change: &Value) {
    match (object, change) {
        (Value::Object(object), Value::Object(change)) => {
            for (key, value) in change {
                json_patch(object.entry(key).or_insert(Value::Null), value);
            }
        }
        (object, change) => *object = change.clone(),
    }
}

#[tokio::test]
async fn classes_are_checked_again() {
    let fixture = Fixture::open().await;
    let runtimes = ("node.k8s.io", "runtimeclasses");
    created(&fixture, runtimes, json!({"handler": "h"})).await;
    let toleration = json!({"scheduling": {"tolerations": [{"key": "a", "operator": "Nope"}]}});
    let refused = refusal(&fixture, runtimes, Subresource::MAIN, toleration).await;
    assert!(
        refused.contains("scheduling.tolerations[0].operator: "),
        "{refused}"
    );
    let classes = ("storage.k8s.io", "storageclasses");
    created(&fixture, classes, json!({"provisioner": "p"})).await;
    let refusal = async |change: Value| refusal(&fixture, classes, Subresource::MAIN, change).await;
    let term = json!({"matchLabelExpressions": [{"key": "z", "values": []}]});
    assert_eq!(
        refusal(json!({"allowedTopologies": [term]})).await,
        "StorageClass.storage.k8s.io \"x\" is invalid: allowedTopologies[0].matchLabelExpressions[0].values: Required value"
    );
    assert_eq!(
        refusal(json!({"parameters": {"a": "b"}})).await,
        "StorageClass.storage.k8s.io \"x\" is invalid: parameters: Forbidden: updates to parameters are forbidden."
    );
}

#[tokio::test]
async fn changes_of_a_drivers_spec_are_counted() {
    let fixture = Fixture::open().await;
    let drivers = ("storage.k8s.io", "csidrivers");
    created(&fixture, drivers, json!({"spec": {}})).await;
    let generation = async |change: Value| {
        let change = |object: &mut Value| json_patch(object, &change);
        let updated = fixture.update_sub(drivers, "x", Subresource::MAIN, change).await;
        let driver = updated.unwrap().object.value().unwrap();
        driver["metadata"]["generation"].clone()
    };
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    assert_eq!(generation(label.clone()).await, json!(null));
    let capacity = |tracked: bool| json!({"spec": {"storageCapacity": tracked}});
    assert_eq!(generation(capacity(true)).await, 1);
    assert_eq!(generation(capacity(false)).await, 2);
    assert_eq!(generation(label).await, 2);
}
