//! ValidatingAdmissionPolicy with its bindings and parameters.

use serde_json::{Value, json};

use crate::harness::{Harness, Reply};
use crate::webhooks::map;

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Creates an object of the group and waits until the cache has it.
pub async fn configure(h: &Harness, kind: &str, plural: &str, name: &str, spec: Value) {
    let body = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec,
    });
    h.post(&format!("{GROUP}/{plural}"), body).await.ok();
    h.get(&format!("{GROUP}/{plural}/{name}")).await.ok();
}

pub async fn policy(h: &Harness, name: &str, mut spec: Value) {
    let rule =
        json!({"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]});
    if spec["matchConstraints"].is_null() {
        spec["matchConstraints"] = json!({"resourceRules": [rule]});
    }
    configure(
        h,
        "ValidatingAdmissionPolicy",
        "validatingadmissionpolicies",
        name,
        spec,
    )
    .await;
}

pub async fn bind(h: &Harness, name: &str, mut spec: Value) {
    if spec["validationActions"].is_null() {
        spec["validationActions"] = json!(["Deny"]);
    }
    let plural = "validatingadmissionpolicybindings";
    configure(h, "ValidatingAdmissionPolicyBinding", plural, name, spec).await;
}

fn refusal(reply: &Reply) -> (u16, String, String) {
    let status = reply.json();
    let text = |key: &str| status[key].as_str().unwrap_or_default().to_owned();
    (reply.code, text("reason"), text("message"))
}

pub fn with(name: &str, data: Value) -> Value {
    let mut map = map(name);
    map["data"] = data;
    map
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_judges_deployments() {
    let h = Harness::start().await;
    let rule = json!({"operations": ["CREATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]});
    let spec = json!({"matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "object.spec.replicas > 1", "messageExpression": "'wants replicas > 1, got ' + string(object.spec.replicas)"}]});
    policy(&h, "p", spec).await;
    bind(&h, "b", json!({"policyName": "p"})).await;
    let labels = json!({"app": "d"});
    let template =
        json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let deployment = |replicas: u32| {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}})
    };
    let at = "/apis/apps/v1/namespaces/default/deployments";
    let (code, _, text) = refusal(&h.post(at, deployment(1)).await);
    assert_eq!(code, 422);
    assert!(
        text.ends_with("denied request: wants replicas > 1, got 1"),
        "{text}"
    );
    h.post(at, deployment(2)).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_policy_denies() {
    let h = Harness::start().await;
    let spec = json!({
        "variables": [
            {"name": "data", "expression": "has(object.data) ? object.data : {}"},
            {"name": "keys", "expression": "size(variables.data)"},
        ],
        "validations": [
            {"expression": "variables.keys <= 2"},
            {"expression": "!('secret' in variables.data)", "message": "no secrets here", "reason": "Forbidden"},
            {
                "expression": "!('size' in variables.data) || int(variables.data['size']) < 10",
                "messageExpression": "'size is ' + variables.data['size'] + ' in ' + namespaceObject.metadata.name",
                "message": "too large",
            },
        ],
        "matchConditions": [{"name": "no-deletes", "expression": "request.operation != 'DELETE'"}],
    });
    policy(&h, "p", spec).await;
    // Nothing is in force without a binding.
    let many = json!({"a": "1", "b": "2", "c": "3"});
    h.post(MAPS, with("before", many.clone())).await.ok();
    bind(&h, "b", json!({"policyName": "p"})).await;
    let reply = h.post(MAPS, with("many", many)).await;
    let denied = |name: &str, why: &str| {
        format!(
            "configmaps \"{name}\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: {why}"
        )
    };
    let why = denied("many", "failed expression: variables.keys <= 2");
    assert_eq!(refusal(&reply), (422, "Invalid".to_owned(), why));
    assert_eq!(
        reply.json()["details"]["causes"][0]["message"],
        "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: failed expression: variables.keys <= 2"
    );
    let reply = h.post(MAPS, with("s", json!({"secret": "x"}))).await;
    let wanted = (403, "Forbidden".to_owned(), denied("s", "no secrets here"));
    assert_eq!(refusal(&reply), wanted);
    let reply = h.post(MAPS, with("s", json!({"size": "11"}))).await;
    let wanted = (422, "Invalid".to_owned(), denied("s", "size is 11 in default"));
    assert_eq!(refusal(&reply), wanted);
    let (code, _, text) = refusal(&h.post(MAPS, with("s", json!({"size": "eleven"}))).await);
    assert_eq!(code, 422);
    assert!(text.contains("' resulted in error: "), "{text}");
    h.post(MAPS, with("good", json!({"size": "9"}))).await.ok();
    h.delete(&format!("{MAPS}/before")).await.ok();
    // A change of the policy counts at once.
    let at = format!("{GROUP}/validatingadmissionpolicies/p");
    let change = json!({"spec": {"validations": [{"expression": "true"}]}});
    h.merge(&at, change).await.ok();
    h.get(&at).await.ok();
    h.post(MAPS, with("s", json!({"secret": "x"}))).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn warnings_and_failure_policies() {
    let h = Harness::start().await;
    policy(
        &h,
        "warn",
        json!({"validations": [{"expression": "object.data['a'] == '2'"}]}),
    )
    .await;
    let actions = json!({"policyName": "warn", "validationActions": ["Warn", "Audit"]});
    bind(&h, "warn", actions).await;
    let reply = h.post(MAPS, map("one")).await;
    assert_eq!(reply.code, 201);
    let warnings: Vec<_> = reply.headers.get_all("warning").iter().collect();
    let text = "299 - \"Validation failed for ValidatingAdmissionPolicy 'warn' with binding 'warn': \
                failed expression: object.data['a'] == '2'\"";
    assert_eq!(warnings, [text]);
    // Errors of evaluation are forgiven where the policy says so.
    let spec =
        json!({"failurePolicy": "Ignore", "validations": [{"expression": "object.data['no'] == 'x'"}]});
    policy(&h, "error", spec).await;
    bind(&h, "error", json!({"policyName": "error"})).await;
    h.post(MAPS, map("two")).await.ok();
    let at = format!("{GROUP}/validatingadmissionpolicies/error");
    h.merge(&at, json!({"spec": {"failurePolicy": "Fail"}}))
        .await
        .ok();
    h.get(&at).await.ok();
    let wanted = "configmaps \"three\" is forbidden: ValidatingAdmissionPolicy 'error' with binding 'error' denied request: \
                  expression 'object.data['no'] == 'x'' resulted in error: no such key: no";
    assert_eq!(refusal(&h.post(MAPS, map("three")).await).2, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_fill_in_values() {
    let h = Harness::start().await;
    let spec = json!({
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConstraints": {"resourceRules": [
            {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["secrets"]},
        ]},
        "validations": [{"expression": "params == null || object.metadata.name.startsWith(params.data.prefix)"}],
    });
    policy(&h, "p", spec).await;
    let named = json!({"name": "limits", "parameterNotFoundAction": "Deny"});
    bind(&h, "b", json!({"policyName": "p", "paramRef": named})).await;
    let at = "/api/v1/namespaces/default/secrets";
    let secret = |name: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}});
    let denied = |name: &str, why: &str| {
        format!(
            "secrets \"{name}\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: {why}"
        )
    };
    let missing =
        "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction";
    assert_eq!(
        refusal(&h.post(at, secret("a-1")).await).2,
        denied("a-1", missing)
    );
    let mut limits = with("limits", json!({"prefix": "a-"}));
    limits["metadata"]["labels"] = json!({"kind": "limits"});
    h.post(MAPS, limits.clone()).await.ok();
    h.get(&format!("{MAPS}/limits")).await.ok();
    h.post(at, secret("a-1")).await.ok();
    let why = "failed expression: params == null || object.metadata.name.startsWith(params.data.prefix)";
    assert_eq!(refusal(&h.post(at, secret("b-1")).await).2, denied("b-1", why));
    // By selector each of them has to be content.
    let binding = format!("{GROUP}/validatingadmissionpolicybindings/b");
    let chosen = json!({"selector": {"matchLabels": {"kind": "limits"}}, "name": null, "parameterNotFoundAction": "Allow"});
    h.merge(&binding, json!({"spec": {"paramRef": chosen}}))
        .await
        .ok();
    h.get(&binding).await.ok();
    h.post(at, secret("a-2")).await.ok();
    limits["metadata"]["name"] = json!("more");
    limits["data"]["prefix"] = json!("b-");
    h.post(MAPS, limits).await.ok();
    h.get(&format!("{MAPS}/more")).await.ok();
    assert_eq!(refusal(&h.post(at, secret("a-3")).await).2, denied("a-3", why));
    // Without any the binding says nothing.
    h.delete(MAPS).await.ok();
    h.get(MAPS).await.ok();
    h.post(at, secret("c-1")).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_kind_has_to_be_served() {
    let h = Harness::start().await;
    let kind = json!({"apiVersion": "example.com/v1", "kind": "Limit"});
    policy(
        &h,
        "q",
        json!({"paramKind": kind, "validations": [{"expression": "true"}]}),
    )
    .await;
    let named = json!({"name": "x", "parameterNotFoundAction": "Deny"});
    bind(&h, "q", json!({"policyName": "q", "paramRef": named})).await;
    assert_eq!(
        refusal(&h.post(MAPS, map("one")).await).2,
        "configmaps \"one\" is forbidden: ValidatingAdmissionPolicy 'q' denied request: failed to configure policy: \
         failed to find resource referenced by paramKind: 'example.com/v1, Kind=Limit'"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bindings_and_exclusions_narrow() {
    let h = Harness::start().await;
    let rule = json!({"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]});
    let excluded = json!({
        "operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"],
        "resourceNames": ["spared"],
    });
    let spec = json!({
        "matchConstraints": {"resourceRules": [rule], "excludeResourceRules": [excluded]},
        "validations": [{"expression": "request.userInfo.username == 'nobody'", "message": "no"}],
    });
    policy(&h, "p", spec).await;
    let creates = json!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]});
    let narrow = json!({"namespaceSelector": {"matchLabels": {"team": "blue"}}, "resourceRules": [creates]});
    bind(&h, "b", json!({"policyName": "p", "matchResources": narrow})).await;
    let blue = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "blue", "labels": {"team": "blue"}}});
    h.post("/api/v1/namespaces", blue).await.ok();
    h.post(MAPS, map("one")).await.ok();
    let at = "/api/v1/namespaces/blue/configmaps";
    assert_eq!(h.post(at, map("one")).await.code, 422);
    h.post(at, map("spared")).await.ok();
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}});
    h.post("/api/v1/namespaces/blue/secrets", secret).await.ok();
    h.delete(&format!("{at}/spared")).await.ok();
    // Policies are out of their own reach.
    bind(&h, "all", json!({"policyName": "p"})).await;
    assert_eq!(h.post(MAPS, map("two")).await.code, 422);
    h.delete(&format!("{GROUP}/validatingadmissionpolicies/p"))
        .await
        .ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn expressions_are_checked_against_their_kinds() {
    let h = Harness::start().await;
    let rule = json!({"operations": ["*"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]});
    let spec = json!({
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "object.spec.replicas > 1"}, {"expression": "object.replicas > 1"}],
    });
    policy(&h, "p", spec).await;
    let at = format!("{GROUP}/validatingadmissionpolicies");
    let watch = format!("{at}?watch=true&fieldSelector=metadata.name=p");
    let request = h
        .request("GET", &watch, crate::harness::ADMIN)
        .body(Default::default())
        .unwrap();
    let mut body = h.send(request).await.into_body();
    let mut text = Vec::new();
    let status = loop {
        use http_body_util::BodyExt;
        text.extend(body.frame().await.unwrap().unwrap().into_data().unwrap());
        let events = String::from_utf8_lossy(&text).into_owned();
        let last = events
            .lines()
            .last()
            .and_then(|line| serde_json::from_str::<Value>(line).ok());
        let status = last
            .map(|event| event["object"]["status"].clone())
            .unwrap_or_default();
        if status["observedGeneration"] == 1 {
            break status;
        }
    };
    let warnings = status["typeChecking"]["expressionWarnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 1, "{status}");
    assert_eq!(warnings[0]["fieldRef"], "spec.validations[1].expression");
    let text = warnings[0]["warning"].as_str().unwrap();
    assert!(
        text.starts_with("apps/v1, Kind=Deployment: ERROR: <input>:1:7: undefined field 'replicas'"),
        "{text}"
    );
}
