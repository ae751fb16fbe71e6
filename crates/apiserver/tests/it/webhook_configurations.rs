//! Webhook configurations as objects: changed, deleted together, out of their own reach.

use serde_json::{Value, json};

use crate::custom::refused;
use crate::harness::Harness;
use crate::hook_server::{Hook, Reply, patch, review};
use crate::webhooks::{MAPS, configure, map, with};

const MUTATING: &str = "MutatingWebhookConfiguration";
const VALIDATING: &str = "ValidatingWebhookConfiguration";

fn plural(kind: &str) -> String {
    format!("/apis/admissionregistration.k8s.io/v1/{}s", kind.to_lowercase())
}

/// Adds a member to config maps where it is asked to mutate, else refuses everything.
fn answer(path: &str, asked: &Value) -> Reply {
    if path.starts_with("/mutate") {
        return patch(
            asked,
            &json!([{"op": "add", "path": "/data/changed", "value": "yes"}]),
        );
    }
    review(asked, json!({"allowed": false, "status": {"message": "never"}}))
}

/// Whether a new config map meets the webhooks of this kind.
async fn meets(h: &Harness, kind: &str, name: &str) -> bool {
    let reply = h.post(MAPS, map(name)).await;
    match kind {
        MUTATING => reply.ok()["data"]["changed"] == "yes",
        _ => {
            let met = reply.code == 400;
            if met {
                refused(&reply, 400, "denied the request: never");
            }
            met
        }
    }
}

fn named(kind: &str, hook: &Hook) -> Value {
    hook.webhook(if kind == MUTATING { "mutate" } else { "refuse" })
}

async fn are_deleted_together(kind: &str) {
    let h = Harness::start().await;
    let hook = Hook::start(answer).await;
    for at in 0..10 {
        let body = json!({"metadata": {"name": format!("c{at}"), "labels": {"many": "yes"}}, "webhooks": [named(kind, &hook)]});
        h.post(&plural(kind), body).await.ok();
    }
    let other = json!({"metadata": {"name": "other"}, "webhooks": []});
    h.post(&plural(kind), other).await.ok();
    let marked = format!("{}?labelSelector=many%3Dyes", plural(kind));
    assert_eq!(h.get(&marked).await.ok()["items"].as_array().unwrap().len(), 10);
    assert!(meets(&h, kind, "one").await);
    h.delete(&marked).await.ok();
    let left = h.get(&plural(kind)).await.ok();
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
    assert!(!meets(&h, kind, "two").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn mutating_ones_are_deleted_together() {
    are_deleted_together(MUTATING).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn validating_ones_are_deleted_together() {
    are_deleted_together(VALIDATING).await;
}

async fn rules_are_changed(kind: &str) {
    let h = Harness::start().await;
    let hook = Hook::start(answer).await;
    configure(&h, kind, "c", json!([named(kind, &hook)])).await;
    let at = format!("{}/c", plural(kind));
    let mut changed = h.get(&at).await.ok();
    changed["webhooks"][0]["rules"][0]["operations"] = json!(["UPDATE"]);
    h.put(&at, changed).await.ok();
    h.get(&at).await.ok();
    assert!(!meets(&h, kind, "one").await);
    let patch = json!([{"op": "replace", "path": "/webhooks/0/rules/0/operations", "value": ["CREATE"]}]);
    let patched = h
        .body("PATCH", &at, "application/json-patch+json", patch.to_string())
        .await;
    patched.ok();
    h.get(&at).await.ok();
    assert!(meets(&h, kind, "two").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_of_mutating_ones_are_changed() {
    rules_are_changed(MUTATING).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_of_validating_ones_are_changed() {
    rules_are_changed(VALIDATING).await;
}

async fn conditions_are_kept_and_checked(kind: &str) {
    let h = Harness::start().await;
    let hook = Hook::start(answer).await;
    let conditions = |expression: &str| json!([{"name": "only", "expression": expression}]);
    let webhook = |expression: &str| with(named(kind, &hook), "matchConditions", conditions(expression));
    configure(&h, kind, "c", json!([webhook("request.kind.kind == 'A'")])).await;
    let at = format!("{}/c", plural(kind));
    let mut seen = h.get(&at).await.ok();
    assert_eq!(
        seen["webhooks"][0]["matchConditions"],
        conditions("request.kind.kind == 'A'")
    );
    seen["webhooks"][0]["matchConditions"] = conditions("request.kind.kind == 'B'");
    h.put(&at, seen).await.ok();
    let seen = h.get(&at).await.ok();
    assert_eq!(
        seen["webhooks"][0]["matchConditions"],
        conditions("request.kind.kind == 'B'")
    );
    let wrong = json!({"metadata": {"name": "w"}, "webhooks": [webhook("... [] bad expression")]});
    let refusal = h.post(&plural(kind), wrong).await;
    refused(&refusal, 422, "compilation failed");
    refused(
        &refusal,
        422,
        "webhooks[0].matchConditions[0].expression: Invalid value",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_of_mutating_ones_are_kept_and_checked() {
    conditions_are_kept_and_checked(MUTATING).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_of_validating_ones_are_kept_and_checked() {
    conditions_are_kept_and_checked(VALIDATING).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_leave_one_name_alone() {
    let h = Harness::start().await;
    let hook = Hook::start(answer).await;
    let conditions = json!([{"name": "skip", "expression": "object.metadata.name != 'skip-me'"}]);
    let webhook = with(hook.webhook("mutate"), "matchConditions", conditions);
    configure(&h, MUTATING, "c", json!([webhook])).await;
    assert!(!meets(&h, MUTATING, "skip-me").await);
    assert!(meets(&h, MUTATING, "other").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_out_of_their_own_reach() {
    let h = Harness::start().await;
    let hook = Hook::start(|path, asked| match path.starts_with("/mutate") {
        true => patch(
            asked,
            &json!([{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}]),
        ),
        false => answer(path, asked),
    })
    .await;
    let rules = json!([{"operations": ["*"], "apiGroups": ["admissionregistration.k8s.io"], "apiVersions": ["*"], "resources": ["*"]}]);
    configure(
        &h,
        MUTATING,
        "m",
        json!([with(hook.webhook("mutate"), "rules", rules.clone())]),
    )
    .await;
    configure(
        &h,
        VALIDATING,
        "v",
        json!([with(hook.webhook("refuse"), "rules", rules)]),
    )
    .await;
    for kind in [MUTATING, VALIDATING] {
        let body = json!({"metadata": {"name": "new"}, "webhooks": []});
        let made = h.post(&plural(kind), body).await.ok();
        assert_eq!(made["metadata"].get("labels"), None);
        h.delete(&format!("{}/new", plural(kind))).await.ok();
    }
    assert_eq!(hook.paths(), Vec::<String>::new());
}
