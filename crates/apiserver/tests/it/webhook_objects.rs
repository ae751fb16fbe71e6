//! What webhooks do to pods, custom resources and definitions.

use serde_json::{Value, json};

use crate::custom::{CRDS, WIDGETS, crd, define, refused, version, widget};
use crate::harness::Harness;
use crate::hook_server::{Hook, Reply, allow, patch, review};
use crate::webhooks::{MAPS, configure, map, with};

const MUTATING: &str = "MutatingWebhookConfiguration";
const VALIDATING: &str = "ValidatingWebhookConfiguration";
const PODS: &str = "/api/v1/namespaces/default/pods";

fn rule(operations: &[&str], group: &str, resource: &str) -> Value {
    json!({"operations": operations, "apiGroups": [group], "apiVersions": ["*"], "resources": [resource]})
}

fn deny(asked: &Value, message: &str) -> Reply {
    review(asked, json!({"allowed": false, "status": {"message": message}}))
}

/// Refuses what says so in its data, labels or spec.
fn judge(_: &str, asked: &Value) -> Reply {
    let object = match &asked["request"]["object"] {
        Value::Null => &asked["request"]["oldObject"],
        object => object,
    };
    let bad = [
        &object["data"]["a"],
        &object["metadata"]["labels"]["a"],
        &object["spec"]["color"],
    ];
    if bad.iter().any(|value| **value == "bad") {
        return deny(asked, "not like this");
    }
    allow(asked)
}

async fn account(h: &Harness, namespace: &str) {
    let account = json!({"metadata": {"name": "default"}});
    h.post(
        &format!("/api/v1/namespaces/{namespace}/serviceaccounts"),
        account,
    )
    .await
    .ok();
}

fn pod(name: &str, labels: Value) -> Value {
    json!({"metadata": {"name": name, "labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

#[tokio::test(flavor = "multi_thread")]
async fn attaching_is_refused() {
    let h = Harness::start().await;
    let hook = Hook::start(|_, asked| deny(asked, "attaching to pod 'p' is not allowed")).await;
    let rules = json!([rule(&["CONNECT"], "", "pods/attach")]);
    configure(
        &h,
        VALIDATING,
        "v",
        json!([with(hook.webhook("v"), "rules", rules)]),
    )
    .await;
    account(&h, "default").await;
    h.post(PODS, pod("p", json!({}))).await.ok();
    let reply = h.get(&format!("{PODS}/p/attach?stdin=true&container=c")).await;
    refused(
        &reply,
        400,
        "denied the request: attaching to pod 'p' is not allowed",
    );
    let asked = hook.requests();
    assert_eq!(
        (&asked[0]["kind"]["kind"], &asked[0]["operation"]),
        (&json!("PodAttachOptions"), &json!("CONNECT"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_and_maps_are_refused() {
    let h = Harness::start().await;
    let hook = Hook::start(judge).await;
    let rules = json!([
        rule(&["CREATE", "UPDATE"], "", "pods"),
        rule(&["CREATE", "UPDATE"], "", "configmaps")
    ]);
    let selector = json!({"matchExpressions": [{"key": "skip", "operator": "DoesNotExist"}]});
    let webhook = with(
        with(hook.webhook("v"), "rules", rules),
        "namespaceSelector",
        selector,
    );
    configure(&h, VALIDATING, "v", json!([webhook])).await;
    account(&h, "default").await;
    refused(
        &h.post(PODS, pod("p", json!({"a": "bad"}))).await,
        400,
        "not like this",
    );
    h.post(PODS, pod("p", json!({}))).await.ok();
    let labelled = json!({"metadata": {"labels": {"a": "bad"}}});
    refused(
        &h.merge(&format!("{PODS}/p"), labelled).await,
        400,
        "not like this",
    );
    let mut bad = map("m");
    bad["data"]["a"] = json!("bad");
    refused(&h.post(MAPS, bad.clone()).await, 400, "not like this");
    h.post(MAPS, map("m")).await.ok();
    refused(
        &h.put(&format!("{MAPS}/m"), bad.clone()).await,
        400,
        "not like this",
    );
    let patch = json!({"data": {"a": "bad"}});
    refused(&h.merge(&format!("{MAPS}/m"), patch).await, 400, "not like this");
    assert_eq!(h.get(&format!("{MAPS}/m")).await.ok()["data"], json!({"a": "1"}));
    let skipped = json!({"metadata": {"name": "skipped", "labels": {"skip": "yes"}}});
    h.post("/api/v1/namespaces", skipped).await.ok();
    h.get("/api/v1/namespaces/skipped").await.ok();
    h.post("/api/v1/namespaces/skipped/configmaps", bad).await.ok();
}

/// A webhook that does not answer holds a request up for its timeout; then its failure policy decides.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_answer_is_waited_for_as_long_as_it_says() {
    let h = Harness::start().await;
    let hook = Hook::start(|path, asked| match path.starts_with("/never") {
        true => Reply::Never,
        false => allow(asked),
    })
    .await;
    let at = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/v";
    configure(
        &h,
        VALIDATING,
        "v",
        json!([with(hook.webhook("never"), "timeoutSeconds", json!(1))]),
    )
    .await;
    let reply = h.post(MAPS, map("a")).await;
    refused(&reply, 500, "context deadline exceeded");
    let webhooks = |webhook: Value| json!({"webhooks": [webhook]});
    let ignoring = with(hook.webhook("never"), "timeoutSeconds", json!(1));
    h.merge(at, webhooks(with(ignoring, "failurePolicy", json!("Ignore"))))
        .await
        .ok();
    h.get(at).await.ok();
    h.post(MAPS, map("a")).await.ok();
    let answering = with(hook.webhook("soon"), "timeoutSeconds", json!(10));
    h.merge(at, webhooks(answering)).await.ok();
    h.get(at).await.ok();
    h.post(MAPS, map("b")).await.ok();
    let unsaid = h.merge(at, webhooks(hook.webhook("soon"))).await.ok();
    assert_eq!(unsaid["webhooks"][0]["timeoutSeconds"], 10);
    h.get(at).await.ok();
    h.post(MAPS, map("c")).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn custom_resources_are_refused() {
    let h = Harness::start().await;
    define(&h, crd("widgets", "Widget", vec![version("v1", true)])).await;
    let bad = widget("bad", json!({"size": 1, "color": "bad"}));
    h.post(WIDGETS, bad.clone()).await.ok();
    let hook = Hook::start(judge).await;
    let rules = json!([rule(&["CREATE", "UPDATE", "DELETE"], "example.com", "widgets")]);
    configure(
        &h,
        VALIDATING,
        "v",
        json!([with(hook.webhook("v"), "rules", rules)]),
    )
    .await;
    let mut other = bad.clone();
    other["metadata"]["name"] = json!("other");
    refused(&h.post(WIDGETS, other).await, 400, "not like this");
    h.post(WIDGETS, widget("good", json!({"size": 1}))).await.ok();
    let change = json!({"spec": {"color": "bad"}});
    refused(
        &h.merge(&format!("{WIDGETS}/good"), change).await,
        400,
        "not like this",
    );
    refused(&h.delete(&format!("{WIDGETS}/bad")).await, 400, "not like this");
    h.merge(&format!("{WIDGETS}/bad"), json!({"spec": {"color": "red"}}))
        .await
        .ok();
    h.delete(&format!("{WIDGETS}/bad")).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_are_refused() {
    let h = Harness::start().await;
    let hook = Hook::start(judge).await;
    let rules = json!([rule(
        &["CREATE"],
        "apiextensions.k8s.io",
        "customresourcedefinitions"
    )]);
    configure(
        &h,
        VALIDATING,
        "v",
        json!([with(hook.webhook("v"), "rules", rules)]),
    )
    .await;
    let mut bad = crd("widgets", "Widget", vec![version("v1", true)]);
    bad["metadata"]["labels"] = json!({"a": "bad"});
    refused(&h.post(CRDS, bad).await, 400, "not like this");
    define(&h, crd("widgets", "Widget", vec![version("v1", true)])).await;
}

/// What two webhooks add to a custom resource: the second sees the first, and what the schema does not know is pruned.
#[tokio::test(flavor = "multi_thread")]
async fn custom_resources_are_changed_and_pruned() {
    let h = Harness::start().await;
    define(&h, crd("widgets", "Widget", vec![version("v1", true)])).await;
    let hook = Hook::start(|path, asked| match path.starts_with("/first") {
        true => patch(asked, &json!([{"op": "add", "path": "/spec/color", "value": "blue"}])),
        false => patch(asked, &json!([{"op": "test", "path": "/spec/color", "value": "blue"},
            {"op": "add", "path": "/spec/replicas", "value": 2}, {"op": "add", "path": "/spec/unknown", "value": 1}])),
    })
    .await;
    let rules = json!([rule(&["CREATE"], "example.com", "widgets")]);
    let both = ["first", "second"].map(|name| with(hook.webhook(name), "rules", rules.clone()));
    configure(&h, MUTATING, "m", json!(both)).await;
    let made = h.post(WIDGETS, widget("a", json!({"size": 1}))).await.ok();
    assert_eq!(made["spec"], json!({"size": 1, "color": "blue", "replicas": 2}));
    assert_eq!(h.get(&format!("{WIDGETS}/a")).await.ok()["spec"], made["spec"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn custom_resources_are_changed_while_their_storage_does() {
    let h = Harness::start().await;
    let versions = vec![version("v1", true), version("v2", false)];
    define(&h, crd("widgets", "Widget", versions)).await;
    let hook = Hook::start(|_, asked| {
        patch(
            asked,
            &json!([{"op": "add", "path": "/spec/color", "value": "blue"}]),
        )
    })
    .await;
    let rules = json!([rule(&["CREATE", "UPDATE"], "example.com", "widgets")]);
    configure(
        &h,
        MUTATING,
        "m",
        json!([with(hook.webhook("m"), "rules", rules)]),
    )
    .await;
    h.post(WIDGETS, widget("a", json!({"size": 1}))).await.ok();
    let swapped = json!({"spec": {"versions": [version("v1", false), version("v2", true)]}});
    let at = format!("{CRDS}/widgets.example.com");
    h.merge(&at, swapped).await.ok();
    let both = json!(["v1", "v2"]);
    let watch = format!("{CRDS}?watch=1&fieldSelector=metadata.name=widgets.example.com");
    h.until(&watch, |crd| crd["status"]["storedVersions"] == both)
        .await;
    let path = format!("{WIDGETS}/a");
    let changed = h
        .merge(&path, json!({"spec": {"size": 2, "color": "red"}}))
        .await
        .ok();
    assert_eq!(changed["spec"], json!({"size": 2, "color": "blue"}));
    let second = h.get(&path.replace("/v1/", "/v2/")).await.ok();
    assert_eq!(
        (&second["apiVersion"], &second["spec"]),
        (&json!("example.com/v2"), &changed["spec"])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_changed_and_defaulted_after() {
    let h = Harness::start().await;
    let hook = Hook::start(|_, asked| {
        let init = json!([{"name": "added", "image": "webhook:1"}]);
        patch(
            asked,
            &json!([{"op": "add", "path": "/spec/initContainers", "value": init}]),
        )
    })
    .await;
    let rules = json!([rule(&["CREATE"], "", "pods")]);
    configure(
        &h,
        MUTATING,
        "m",
        json!([with(hook.webhook("m"), "rules", rules)]),
    )
    .await;
    account(&h, "default").await;
    let made = h.post(PODS, pod("p", json!({}))).await.ok();
    let init = &made["spec"]["initContainers"][0];
    assert_eq!(
        (&init["name"], &init["terminationMessagePolicy"]),
        (&json!("added"), &json!("File"))
    );
}
