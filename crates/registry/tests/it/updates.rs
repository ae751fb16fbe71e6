//! What updates are refused for, and what they count.

use corten_registry::Subresource;
use serde_json::{Value, json};

use crate::fixture::Fixture;

type Place = (&'static str, &'static str);

const POLICY_SPEC: &str = r#"{"matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"],
    "operations": ["CREATE"], "resources": ["pods"]}]}, "validations": [{"expression": "true"}]}"#;

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

/// Kinds that have rules for finalizers of their own are those of the core's helper.
#[tokio::test]
async fn finalizers_need_a_domain_where_the_kind_says_so() {
    let fixture = Fixture::open().await;
    let policy: Value = serde_json::from_str(POLICY_SPEC).unwrap();
    let job = json!({"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}});
    let cron = json!({"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": job}}});
    let service = json!({
        "metadata": {"name": "v1.x"},
        "spec": {"group": "x", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1},
    });
    let binding = json!({"spec": {"policyName": "x", "validationActions": ["Deny"]}});
    let mut accepting: Vec<(Place, Value)> = vec![
        (("coordination.k8s.io", "leases"), json!({"spec": {}})),
        (("policy", "poddisruptionbudgets"), json!({"spec": {}})),
        (("node.k8s.io", "runtimeclasses"), json!({"handler": "h"})),
        (("apiregistration.k8s.io", "apiservices"), service),
    ];
    let admission = [
        ("validatingwebhookconfigurations", json!({})),
        ("mutatingwebhookconfigurations", json!({})),
        ("validatingadmissionpolicies", json!({"spec": policy})),
        ("validatingadmissionpolicybindings", binding),
    ];
    accepting.extend(admission.map(|(plural, object)| (("admissionregistration.k8s.io", plural), object)));
    let one = json!({"metadata": {"finalizers": ["a"]}});
    for (place, object) in accepting {
        let name = object["metadata"]["name"].as_str().unwrap_or("x").to_owned();
        created(&fixture, place, object).await;
        let set = |object: &mut Value| json_patch(object, &one);
        fixture
            .update_sub(place, &name, Subresource::MAIN, set)
            .await
            .unwrap();
    }
    let (budgets, crons) = (("policy", "poddisruptionbudgets"), ("batch", "cronjobs"));
    let two = json!({"metadata": {"finalizers": ["a", "b"]}});
    assert_eq!(refusal(&fixture, budgets, Subresource::STATUS, two).await, "");
    created(&fixture, crons, cron).await;
    let wrong = refusal(&fixture, crons, Subresource::MAIN, one.clone()).await;
    let told = "name is neither a standard finalizer name nor is it fully qualified";
    assert!(wrong.ends_with(told), "{wrong}");
    assert_eq!(
        refusal(&fixture, crons, Subresource::STATUS, one.clone()).await,
        ""
    );
    created(&fixture, ("", "configmaps"), json!({})).await;
    let wrong = refusal(&fixture, ("", "configmaps"), Subresource::MAIN, one).await;
    assert!(wrong.contains(told), "{wrong}");
}

#[tokio::test]
async fn names_rules_hold_for_what_updates_say_names_are_made_of() {
    let fixture = Fixture::open().await;
    let parent = json!({"resource": "services", "name": "s", "namespace": "default"});
    let address = json!({"metadata": {"name": "10.1.1.1"}, "spec": {"parentRef": parent}});
    let addresses = ("networking.k8s.io", "ipaddresses");
    created(&fixture, addresses, address).await;
    let base = |object: &mut Value| object["metadata"]["generateName"] = json!("x");
    let refused = fixture
        .update_sub(addresses, "10.1.1.1", Subresource::MAIN, base)
        .await
        .unwrap_err();
    assert!(
        refused
            .message
            .contains("metadata.generateName: Invalid value: \"x\": ")
    );
    // A lease's name is not looked at again.
    let leases = ("coordination.k8s.io", "leases");
    created(&fixture, leases, json!({"spec": {}})).await;
    let base = json!({"metadata": {"generateName": "X_"}});
    assert_eq!(refusal(&fixture, leases, Subresource::MAIN, base).await, "");
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
