//! Custom kinds whose versions a webhook converts, and their documents.

use serde_json::{Value, json};

use crate::custom::{CRDS, WIDGETS, crd, define, refused, version, widget};
use crate::harness::Harness;
use crate::hook_server::{self, Hook, Reply, patch, review};
use crate::policies;
use crate::webhooks::{configure, with};

/// v2 says `length` where v1 says `size`.
pub fn convert(asked: &Value) -> Reply {
    hook_server::convert(asked, |object, version| {
        let (from, to) = if version.ends_with("v2") {
            ("size", "length")
        } else {
            ("length", "size")
        };
        if let Some(n) = object["spec"].as_object_mut().unwrap().remove(from) {
            object["spec"][to] = n;
        }
    })
}

pub fn second_version() -> Value {
    json!({"name": "v2", "served": true, "storage": false, "schema": {"openAPIV3Schema": {
        "type": "object", "properties": {"spec": {"type": "object", "properties": {
            "length": {"type": "integer", "maximum": 9}, "color": {"type": "string"},
        }}},
    }}})
}

#[tokio::test]
async fn a_webhook_converts_what_is_read_and_written() {
    let h = Harness::start().await;
    let hook = Hook::start(|_, asked| convert(asked)).await;
    let mut definition = crd("widgets", "Widget", vec![version("v1", true), second_version()]);
    definition["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
        "conversionReviewVersions": ["v1"], "clientConfig": hook.client_config("/convert"),
    }});
    define(&h, definition).await;
    h.post(WIDGETS, widget("a", json!({"size": 3}))).await.ok();
    assert!(
        hook.requests().is_empty(),
        "the stored version needs no conversion"
    );
    let second = WIDGETS.replace("/v1/", "/v2/");
    let seen = h.get(&format!("{second}/a")).await.ok();
    assert_eq!(
        (&seen["apiVersion"], &seen["spec"]),
        (&json!("example.com/v2"), &json!({"length": 3, "color": "red"}))
    );
    let mut other = widget("b", json!({"length": 4}));
    other["apiVersion"] = json!("example.com/v2");
    assert_eq!(h.post(&second, other.clone()).await.ok()["spec"]["length"], 4);
    assert_eq!(
        h.get(&format!("{WIDGETS}/b")).await.ok()["spec"],
        json!({"size": 4, "color": "red"})
    );
    // Each version's own rules hold for what is written in it.
    other["spec"]["length"] = json!(10);
    refused(
        &h.post(&second, other).await,
        422,
        "spec.length: Invalid value: 10: spec.length in body should be less than or equal to 9",
    );
    let patched = h
        .merge(&format!("{second}/b"), json!({"spec": {"length": 5}}))
        .await
        .ok();
    assert_eq!(patched["spec"]["length"], 5);
    let before = hook.requests().len();
    let list = h.get(&second).await.ok();
    let lengths: Vec<_> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|w| w["spec"]["length"].clone())
        .collect();
    assert_eq!(
        (lengths, hook.requests().len()),
        (vec![json!(3), json!(5)], before),
        "what was shown before is not asked for again"
    );
}

/// The stored version changes; lists are of one version all the same.
#[tokio::test]
async fn lists_of_two_stored_versions_are_of_one() {
    let h = Harness::start().await;
    let hook = Hook::start(|_, asked| convert(asked)).await;
    let versions = |first: bool| {
        let mut second = second_version();
        second["storage"] = json!(!first);
        vec![version("v1", first), second]
    };
    let mut definition = crd("widgets", "Widget", versions(true));
    definition["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
        "conversionReviewVersions": ["v1"], "clientConfig": hook.client_config("/convert"),
    }});
    define(&h, definition).await;
    h.post(WIDGETS, widget("a", json!({"size": 1}))).await.ok();
    let swapped = json!({"spec": {"versions": versions(false)}});
    h.merge(&format!("{CRDS}/widgets.example.com"), swapped)
        .await
        .ok();
    let watch = format!("{CRDS}?watch=1&fieldSelector=metadata.name=widgets.example.com");
    let both = json!(["v1", "v2"]);
    h.until(&watch, |crd| crd["status"]["storedVersions"] == both)
        .await;
    let second = WIDGETS.replace("/v1/", "/v2/");
    let mut other = widget("b", json!({"length": 2}));
    other["apiVersion"] = json!("example.com/v2");
    h.post(&second, other).await.ok();
    for (path, version, field) in [(second.as_str(), "v2", "length"), (WIDGETS, "v1", "size")] {
        let list = h.get(path).await.ok();
        for (item, size) in list["items"].as_array().unwrap().iter().zip([1, 2]) {
            assert_eq!(item["apiVersion"], format!("example.com/{version}"));
            assert_eq!(item["spec"][field], size);
        }
    }
}

/// A webhook for v2 sees and changes what a client writes in v1, which is stored.
#[tokio::test]
async fn admission_is_shown_the_version_that_its_rule_names() {
    let h = Harness::start().await;
    let converter = Hook::start(|_, asked| convert(asked)).await;
    let mut definition = crd("widgets", "Widget", vec![version("v1", true), second_version()]);
    definition["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
        "conversionReviewVersions": ["v1"], "clientConfig": converter.client_config("/convert"),
    }});
    define(&h, definition).await;
    let hook = Hook::start(|_, asked| {
        if asked["request"]["object"]["spec"]["length"] == 8 {
            return review(
                asked,
                json!({"allowed": false, "status": {"message": "too long"}}),
            );
        }
        patch(
            asked,
            &json!([{"op": "replace", "path": "/spec/length", "value": 7}]),
        )
    })
    .await;
    let rules = json!([{"operations": ["CREATE", "UPDATE"], "apiGroups": ["example.com"], "apiVersions": ["v2"],
        "resources": ["widgets"]}]);
    let conditions = json!([{"name": "length", "expression": "has(object.spec.length)"}]);
    let webhook = with(
        with(hook.webhook("v2"), "rules", rules.clone()),
        "matchConditions",
        conditions,
    );
    let exact = with(
        with(webhook.clone(), "matchPolicy", json!("Exact")),
        "name",
        json!("exact.example.com"),
    );
    configure(&h, "MutatingWebhookConfiguration", "m", json!([webhook, exact])).await;
    let made = h.post(WIDGETS, widget("a", json!({"size": 3}))).await.ok();
    assert_eq!(
        (&made["apiVersion"], &made["spec"]["size"]),
        (&json!("example.com/v1"), &json!(7))
    );
    let asked = hook.requests();
    assert_eq!(asked.len(), 1);
    assert_eq!(
        (&asked[0]["kind"]["version"], &asked[0]["requestKind"]["version"]),
        (&json!("v2"), &json!("v1"))
    );
    assert_eq!(asked[0]["object"]["apiVersion"], "example.com/v2");
    assert_eq!(asked[0]["object"]["spec"], json!({"length": 3, "color": "red"}));
    let changed = json!({"spec": {"size": 4}});
    assert_eq!(
        h.merge(&format!("{WIDGETS}/a"), changed).await.ok()["spec"]["size"],
        7
    );
    assert_eq!(
        hook.requests()[1]["oldObject"]["spec"],
        json!({"length": 7, "color": "red"})
    );
    let refusal = h.post(WIDGETS, widget("b", json!({"size": 8}))).await;
    refused(&refusal, 400, "too long");
}

/// Policies too; and what one applies is merged by the lists of the version's own schema.
#[tokio::test]
async fn policies_apply_to_lists_as_the_schema_has_them() {
    let h = Harness::start().await;
    define(
        &h,
        crd(
            "widgets",
            "Widget",
            vec![version("v1", true), version("v2", false)],
        ),
    )
    .await;
    let expression = "Object{spec: Object.spec{parts: [Object.spec.parts{name: 'a', count: 2}, \
        Object.spec.parts{name: 'c', count: object.apiVersion == 'example.com/v2' ? 3 : 0}]}}";
    let rules = json!([{"operations": ["CREATE"], "apiGroups": ["example.com"], "apiVersions": ["v2"], "resources": ["widgets"]}]);
    let spec = json!({"matchConstraints": {"resourceRules": rules}, "reinvocationPolicy": "Never", "failurePolicy": "Fail",
        "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}]});
    let kind = "MutatingAdmissionPolicy";
    policies::configure(&h, kind, "mutatingadmissionpolicies", "p", spec).await;
    let (binding, plural) = (json!({"policyName": "p"}), "mutatingadmissionpolicybindings");
    policies::configure(&h, "MutatingAdmissionPolicyBinding", plural, "p", binding).await;
    let parts = json!([{"name": "a", "count": 1}, {"name": "b", "count": 1}]);
    let made = h
        .post(WIDGETS, widget("a", json!({"size": 1, "parts": parts})))
        .await
        .ok();
    assert_eq!(
        made["spec"]["parts"],
        json!([{"name": "a", "count": 2}, {"name": "b", "count": 1}, {"name": "c", "count": 3}])
    );
}

#[tokio::test]
async fn a_failing_conversion_is_told() {
    let h = Harness::start().await;
    let hook = Hook::start(|_, asked| {
        let response = json!({"uid": asked["request"]["uid"], "result": {"status": "Failed", "message": "no way"}});
        Reply::Json(json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": response}))
    })
    .await;
    let mut definition = crd("widgets", "Widget", vec![version("v1", true), second_version()]);
    definition["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
        "conversionReviewVersions": ["v1"], "clientConfig": hook.client_config("/convert"),
    }});
    define(&h, definition).await;
    h.post(WIDGETS, widget("a", json!({"size": 3}))).await.ok();
    let reply = h.get(&format!("{}/a", WIDGETS.replace("/v1/", "/v2/"))).await;
    refused(
        &reply,
        500,
        "conversion webhook for example.com/v1, Kind=Widget failed: no way",
    );
}

#[tokio::test]
async fn documents_follow_the_definitions() {
    let h = Harness::start().await;
    let hash = |index: &Value, path: &str| {
        index["paths"][path]["serverRelativeURL"]
            .as_str()
            .map(str::to_owned)
    };
    let before = h.get("/openapi/v3").await.ok();
    assert_eq!(hash(&before, "apis/example.com/v1"), None);
    let tag = h.get("/openapi/v2").await.headers["etag"].clone();
    define(&h, crd("widgets", "Widget", vec![version("v1", true)])).await;
    let after = h.get("/openapi/v3").await.ok();
    let address = hash(&after, "apis/example.com/v1").unwrap();
    assert_eq!(hash(&before, "apis/apps/v1"), hash(&after, "apis/apps/v1"));
    let document = h.get(&address).await.ok();
    let schema = &document["components"]["schemas"]["com.example.v1.Widget"];
    assert_eq!(
        schema["properties"]["spec"]["properties"]["color"]["default"],
        "red"
    );
    assert!(document["paths"]["/apis/example.com/v1/namespaces/{namespace}/widgets/{name}"].is_object());
    let second = h.get("/openapi/v2").await;
    assert_ne!(second.headers["etag"], tag);
    assert!(second.json()["definitions"]["com.example.v1.Widget"].is_object());
    h.merge(
        &format!("{CRDS}/widgets.example.com"),
        json!({"spec": {"versions": [{"name": "v1", "served": true, "storage": true,
            "schema": {"openAPIV3Schema": {"type": "object"}}}]}}),
    )
    .await
    .ok();
    let changed = async {
        while hash(&h.get("/openapi/v3").await.ok(), "apis/example.com/v1") == Some(address.clone()) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), changed)
        .await
        .unwrap();
}
