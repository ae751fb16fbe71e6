//! MutatingAdmissionPolicy with its bindings.

use serde_json::{Value, json};

use crate::harness::Harness;
use crate::policies::configure;
use crate::webhooks::map;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A policy for new config maps and deployments, bound everywhere.
async fn mutate(h: &Harness, name: &str, mutations: Value, more: Value) {
    let rule = |group: &str, resource: &str| json!({"operations": ["CREATE"], "apiGroups": [group], "apiVersions": ["v1"], "resources": [resource]});
    let mut spec = json!({
        "matchConstraints": {"resourceRules": [rule("", "configmaps"), rule("apps", "deployments")]},
        "reinvocationPolicy": "Never",
        "failurePolicy": "Fail",
        "mutations": mutations,
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    configure(
        h,
        "MutatingAdmissionPolicy",
        "mutatingadmissionpolicies",
        name,
        spec,
    )
    .await;
    let binding = json!({"policyName": name});
    let plural = "mutatingadmissionpolicybindings";
    configure(h, "MutatingAdmissionPolicyBinding", plural, name, binding).await;
}

fn json_patch(expression: &str) -> Value {
    json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}})
}

fn apply(expression: &str) -> Value {
    json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}})
}

#[tokio::test(flavor = "multi_thread")]
async fn patches_change_objects() {
    let h = Harness::start().await;
    let mutations = json!([
        json_patch(
            "[JSONPatch{op: 'add', path: '/metadata/labels', value: {'b/c': 'x'}}, JSONPatch{op: 'replace', path: '/metadata/labels/' + jsonpatch.escapeKey('b/c'), value: variables.who}]"
        ),
        json_patch(
            "[JSONPatch{op: 'test', path: '/data/a', value: 'other'}, JSONPatch{op: 'remove', path: '/data/a'}]"
        ),
    ]);
    let more = json!({
        "variables": [{"name": "who", "expression": "request.userInfo.username"}],
        "matchConditions": [{"name": "maps", "expression": "request.kind.kind == 'ConfigMap'"}],
    });
    mutate(&h, "map", mutations, more).await;
    let made = h.post(MAPS, map("one")).await.ok();
    assert_eq!(made["metadata"]["labels"], json!({"b/c": "admin"}));
    assert_eq!(made["data"], json!({"a": "1"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn configurations_merge_into_objects() {
    let h = Harness::start().await;
    let configuration = "Object{spec: Object.spec{replicas: object.spec.replicas * 2, template: Object.spec.template{\
        spec: Object.spec.template.spec{initContainers: [Object.spec.template.spec.initContainers{name: 'mesh', \
        image: 'mesh:1', restartPolicy: 'Always'}]}}}}";
    let more = json!({"matchConditions": [{"name": "d", "expression": "request.kind.kind == 'Deployment'"}]});
    mutate(&h, "mesh", json!([apply(configuration)]), more).await;
    let labels = json!({"app": "d"});
    let pod = json!({
        "containers": [{"name": "c", "image": "i"}], "initContainers": [{"name": "i", "image": "i"}],
    });
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    });
    let at = "/apis/apps/v1/namespaces/default/deployments";
    let made = h.post(at, deployment).await.ok();
    assert_eq!(made["spec"]["replicas"], 4);
    let init = made["spec"]["template"]["spec"]["initContainers"]
        .as_array()
        .unwrap();
    let names: Vec<_> = init.iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["i", "mesh"]);
    // Defaults are filled in afterwards.
    assert_eq!(init[1]["terminationMessagePath"], "/dev/termination-log");
}

#[tokio::test(flavor = "multi_thread")]
async fn deployments_are_annotated() {
    let h = Harness::start().await;
    let patch = "has(object.metadata.annotations) ? [] : [JSONPatch{op: 'add', path: '/metadata/annotations', value: {'by': 'policy'}}]";
    let more = json!({"matchConditions": [{"name": "d", "expression": "request.kind.kind == 'Deployment'"}]});
    mutate(&h, "annotate", json!([json_patch(patch)]), more).await;
    let labels = json!({"app": "d"});
    let template =
        json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": labels}, "template": template}});
    let at = "/apis/apps/v1/namespaces/default/deployments";
    let made = h.post(at, deployment).await.ok();
    assert_eq!(made["metadata"]["annotations"], json!({"by": "policy"}));
    assert_eq!(
        h.get(&format!("{at}/d")).await.ok()["metadata"]["annotations"],
        json!({"by": "policy"})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_told_or_forgiven() {
    let h = Harness::start().await;
    mutate(&h, "good", json!([apply("Object{immutable: true}")]), json!({})).await;
    let made = h.post(MAPS, map("one")).await.ok();
    assert_eq!(made["immutable"], true);
    let source = "[JSONPatch{op: 'add', path: '/data/x', value: object.data['no']}]";
    mutate(&h, "bad", json!([json_patch(source)]), json!({})).await;
    let reply = h.post(MAPS, map("two")).await;
    let status = reply.json();
    assert_eq!((reply.code, &status["reason"]), (403, &json!("Invalid")));
    let text = format!(
        "policy 'bad' with binding 'bad' denied request: expression '{source}' resulted in error: no such key: no"
    );
    assert_eq!(status["message"], text);
    assert_eq!(status["details"]["causes"][0]["message"], text);
    let at = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies/bad";
    h.merge(at, json!({"spec": {"failurePolicy": "Ignore"}}))
        .await
        .ok();
    h.get(at).await.ok();
    h.post(MAPS, map("two")).await.ok();
    // What has no keys would be replaced whole.
    let finalizers = "Object{metadata: Object.metadata{managedFields: [{'manager': 'me'}]}}";
    mutate(&h, "whole", json!([apply(finalizers)]), json!({})).await;
    let reply = h.post(MAPS, map("three")).await;
    assert_eq!(
        reply.json()["message"],
        "policy 'whole' with binding 'whole' denied request: error applying patch: invalid ApplyConfiguration: \
         may not mutate atomic arrays, maps or structs: .metadata.managedFields"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_are_run_once_more_where_they_ask_for_it() {
    let h = Harness::start().await;
    let count = json_patch("[JSONPatch{op: 'add', path: '/data/seen', value: string(size(object.data))}]");
    mutate(&h, "a", json!([count]), json!({"reinvocationPolicy": "IfNeeded"})).await;
    let add =
        json_patch("'late' in object.data ? [] : [JSONPatch{op: 'add', path: '/data/late', value: 'yes'}]");
    mutate(&h, "b", json!([add]), json!({})).await;
    let made = h.post(MAPS, map("one")).await.ok();
    // First it saw one entry; then its own and the other policy's as well.
    assert_eq!(made["data"], json!({"a": "1", "late": "yes", "seen": "3"}));
}
