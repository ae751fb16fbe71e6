//! Admission webhooks that answer as they should.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::harness::Harness;
use crate::hook_server::{Hook, allow, patch, review};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

pub async fn configure(h: &Harness, kind: &str, name: &str, webhooks: Value) {
    let plural = format!("{}s", kind.to_lowercase());
    let body = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
        "metadata": {"name": name}, "webhooks": webhooks,
    });
    h.post(&format!("/apis/admissionregistration.k8s.io/v1/{plural}"), body)
        .await
        .ok();
    // Reads wait for the cache, which admission reads without waiting.
    h.get(&format!("/apis/admissionregistration.k8s.io/v1/{plural}/{name}"))
        .await
        .ok();
}

pub fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}})
}

fn with(mut webhook: Value, key: &str, value: Value) -> Value {
    webhook[key] = value;
    webhook
}

#[tokio::test(flavor = "multi_thread")]
async fn the_question_says_everything() {
    let h = Harness::start().await;
    let hook = Hook::start(|_, asked| allow(asked)).await;
    configure(
        &h,
        "ValidatingWebhookConfiguration",
        "v",
        json!([hook.webhook("v")]),
    )
    .await;
    h.post(&format!("{MAPS}?fieldManager=me"), map("one")).await.ok();
    h.merge(&format!("{MAPS}/one"), json!({"data": {"a": "2"}}))
        .await
        .ok();
    h.delete(&format!("{MAPS}/one?gracePeriodSeconds=3")).await.ok();
    let asked = hook.requests();
    assert_eq!(asked.len(), 3);
    let create = &asked[0];
    assert_eq!(
        create["kind"],
        json!({"group": "", "version": "v1", "kind": "ConfigMap"})
    );
    assert_eq!(create["requestKind"], create["kind"]);
    assert_eq!(
        create["resource"],
        json!({"group": "", "version": "v1", "resource": "configmaps"})
    );
    assert_eq!(create["requestResource"], create["resource"]);
    assert_eq!(
        (
            &create["operation"],
            &create["name"],
            &create["namespace"],
            &create["dryRun"]
        ),
        (&json!("CREATE"), &json!("one"), &json!("default"), &json!(false))
    );
    assert_eq!(create["userInfo"]["username"], "admin");
    assert_eq!(create["object"]["data"]["a"], "1");
    assert_eq!(create["object"]["kind"], "ConfigMap");
    assert_eq!(create["oldObject"], Value::Null);
    assert_eq!(
        create["options"],
        json!({"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "me"})
    );
    assert!(create.get("subResource").is_none());
    let (update, delete) = (&asked[1], &asked[2]);
    assert_eq!(update["operation"], "UPDATE");
    assert_eq!(
        (&update["object"]["data"]["a"], &update["oldObject"]["data"]["a"]),
        (&json!("2"), &json!("1"))
    );
    assert_eq!(update["options"]["kind"], "UpdateOptions");
    assert_eq!(delete["operation"], "DELETE");
    assert_eq!(delete["object"], Value::Null);
    assert_eq!(delete["oldObject"]["data"]["a"], "2");
    assert_eq!(delete["options"]["gracePeriodSeconds"], 3);
    // One connection did for all.
    assert_eq!(hook.connections.load(Ordering::Relaxed), 1);
    let (path, review) = &hook.seen.lock()[0];
    assert_eq!(path, "/v?timeout=10s");
    assert_eq!(review["apiVersion"], "admission.k8s.io/v1");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_and_warnings_reach_the_client() {
    let h = Harness::start().await;
    let hook = Hook::start(|_, asked| {
        let warned = json!(["mind the gap", "mind the gap", "and \"this\""]);
        match asked["request"]["name"].as_str() {
            Some("warned") => review(asked, json!({"allowed": true, "warnings": warned})),
            Some("coded") => review(
                asked,
                json!({"allowed": false, "status": {"code": 409, "reason": "Conflict", "message": "no"}}),
            ),
            Some("reason") => review(asked, json!({"allowed": false, "status": {"reason": "Because"}})),
            _ => review(asked, json!({"allowed": false, "status": {"code": 200}})),
        }
    })
    .await;
    configure(
        &h,
        "ValidatingWebhookConfiguration",
        "v",
        json!([hook.webhook("v")]),
    )
    .await;
    let reply = h.post(MAPS, map("warned")).await;
    assert_eq!(reply.code, 201);
    let warnings: Vec<_> = reply.headers.get_all("warning").iter().collect();
    assert_eq!(warnings, ["299 - \"mind the gap\"", "299 - \"and \\\"this\\\"\""]);
    for (name, code, reason, message) in [
        ("coded", 409, json!("Conflict"), "denied the request: no"),
        ("reason", 400, json!("Because"), "denied the request: Because"),
        (
            "silent",
            400,
            Value::Null,
            "denied the request without explanation",
        ),
    ] {
        let reply = h.post(MAPS, map(name)).await;
        let status = reply.json();
        assert_eq!((reply.code, &status["reason"]), (code, &reason), "{status}");
        assert_eq!(
            status["message"],
            format!("admission webhook \"v.example.com\" {message}")
        );
        assert_eq!(h.get(&format!("{MAPS}/{name}")).await.code, 404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn patches_change_what_is_stored_and_what_follows_sees() {
    let h = Harness::start().await;
    let hook = Hook::start(|path, asked| {
        let key = path
            .trim_start_matches('/')
            .split('?')
            .next()
            .unwrap_or_default()
            .to_owned();
        patch(
            asked,
            &json!([{"op": "add", "path": format!("/data/{key}"), "value": "yes"}]),
        )
    })
    .await;
    let see = Hook::start(|_, asked| allow(asked)).await;
    // Configurations are called in the order of their names, not of their making.
    configure(
        &h,
        "MutatingWebhookConfiguration",
        "b",
        json!([hook.webhook("second")]),
    )
    .await;
    configure(
        &h,
        "MutatingWebhookConfiguration",
        "a",
        json!([hook.webhook("first")]),
    )
    .await;
    configure(
        &h,
        "ValidatingWebhookConfiguration",
        "v",
        json!([see.webhook("v")]),
    )
    .await;
    let made = h.post(MAPS, map("one")).await.ok();
    assert_eq!(made["data"], json!({"a": "1", "first": "yes", "second": "yes"}));
    assert_eq!(hook.paths(), ["/first", "/second"]);
    assert_eq!(hook.requests()[1]["object"]["data"]["first"], "yes");
    assert_eq!(see.requests()[0]["object"]["data"]["second"], "yes");
    // What is no object of its kind any more is refused.
    let broken =
        Hook::start(|_, asked| patch(asked, &json!([{"op": "add", "path": "/data", "value": 3}]))).await;
    configure(
        &h,
        "MutatingWebhookConfiguration",
        "c",
        json!([broken.webhook("c")]),
    )
    .await;
    let reply = h.post(MAPS, map("two")).await;
    assert_eq!(
        (reply.code, &reply.json()["reason"]),
        (500, &json!("InternalError"))
    );
    // A delete has nothing to change.
    let reply = h.delete(&format!("{MAPS}/one")).await;
    assert_eq!(
        reply.json()["message"],
        "Internal error occurred: admission webhook \"first.example.com\" attempted to modify the object, which is not \
         supported for this operation"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asked_for_it_is_called_once_more() {
    let h = Harness::start().await;
    let early = Hook::start(|_, asked| allow(asked)).await;
    let late = Hook::start(|_, asked| {
        if asked["request"]["object"]["data"]["b"].is_string() {
            return allow(asked);
        }
        patch(asked, &json!([{"op": "add", "path": "/data/b", "value": "2"}]))
    })
    .await;
    let webhooks = json!([
        with(early.webhook("again"), "reinvocationPolicy", json!("IfNeeded")),
        early.webhook("once"),
        with(late.webhook("late"), "reinvocationPolicy", json!("IfNeeded")),
    ]);
    configure(&h, "MutatingWebhookConfiguration", "m", webhooks).await;
    h.post(MAPS, map("one")).await.ok();
    assert_eq!(early.paths(), ["/again", "/once", "/again"]);
    assert_eq!(early.requests()[2]["object"]["data"]["b"], "2");
    // It changed the object itself: nothing happened since.
    assert_eq!(late.paths(), ["/late"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_and_selectors_choose() {
    let h = Harness::start().await;
    let hook = Hook::start(|_, asked| allow(asked)).await;
    let rule = |operations: &[&str], groups: &str, versions: &str, resource: &str, scope: &str| json!([{"operations": operations, "apiGroups": [groups], "apiVersions": [versions], "resources": [resource], "scope": scope}]);
    let make = |name: &str, rules: Value| with(hook.webhook(name), "rules", rules);
    let labelled = json!({"matchLabels": {"team": "blue"}});
    let webhooks = json!([
        make("creates", rule(&["CREATE"], "", "v1", "configmaps", "*")),
        make("other-version", rule(&["*"], "", "v2", "configmaps", "*")),
        make("everything", rule(&["*"], "*", "*", "*", "Namespaced")),
        make("clustered", rule(&["*"], "*", "*", "*", "Cluster")),
        make("subresources", rule(&["*"], "*", "*", "*/*", "*")),
        make("status", rule(&["UPDATE"], "*", "*", "*/status", "*")),
        with(
            make("by-object", rule(&["*"], "", "v1", "configmaps", "*")),
            "objectSelector",
            labelled.clone()
        ),
        with(
            make("by-namespace", rule(&["*"], "", "v1", "*", "*")),
            "namespaceSelector",
            labelled.clone()
        ),
    ]);
    let ns = |labels: Value| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "blue", "labels": labels}});
    configure(&h, "ValidatingWebhookConfiguration", "v", webhooks).await;
    let took = |expected: &[&str]| {
        let mut paths = hook.paths();
        paths.sort();
        hook.seen.lock().clear();
        assert_eq!(paths, expected);
    };
    h.post(MAPS, map("one")).await.ok();
    took(&["/creates", "/everything", "/subresources"]);
    h.merge(
        &format!("{MAPS}/one"),
        json!({"metadata": {"labels": {"team": "blue"}}}),
    )
    .await
    .ok();
    took(&["/by-object", "/everything", "/subresources"]);
    // The old object has the label still.
    h.merge(&format!("{MAPS}/one"), json!({"metadata": {"labels": null}}))
        .await
        .ok();
    took(&["/by-object", "/everything", "/subresources"]);
    h.post("/api/v1/namespaces", ns(json!({"team": "blue"})))
        .await
        .ok();
    took(&["/by-namespace", "/clustered", "/subresources"]);
    h.merge(
        "/api/v1/namespaces/blue/status",
        json!({"status": {"phase": "Active"}}),
    )
    .await
    .ok();
    took(&["/status", "/subresources"]);
    h.post("/api/v1/namespaces/blue/configmaps", map("two"))
        .await
        .ok();
    took(&["/by-namespace", "/creates", "/everything", "/subresources"]);
    // Configuration of admission is out of reach.
    h.delete("/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/v")
        .await
        .ok();
    took(&[]);
    h.get("/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations")
        .await
        .ok();
    h.post(MAPS, map("three")).await.ok();
    took(&[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn equivalent_resources_are_shown_as_the_rule_names_them() {
    let h = Harness::start().await;
    let hook = Hook::start(|_, asked| {
        patch(
            asked,
            &json!([{"op": "replace", "path": "/spec/maxReplicas", "value": 7}]),
        )
    })
    .await;
    let rules = json!([{"operations": ["*"], "apiGroups": ["autoscaling"], "apiVersions": ["v1"], "resources": ["horizontalpodautoscalers"]}]);
    let equivalent = with(hook.webhook("equivalent"), "rules", rules);
    let exact = with(
        with(equivalent.clone(), "matchPolicy", json!("Exact")),
        "name",
        json!("exact.example.com"),
    );
    configure(
        &h,
        "MutatingWebhookConfiguration",
        "m",
        json!([equivalent, exact]),
    )
    .await;
    let hpa = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"},
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]},
    });
    let made = h
        .post(
            "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
            hpa,
        )
        .await
        .ok();
    assert_eq!(made["spec"]["maxReplicas"], 7);
    assert_eq!(
        made["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"],
        50
    );
    let asked = hook.requests();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0]["kind"]["version"], "v1");
    assert_eq!(asked[0]["requestKind"]["version"], "v2");
    assert_eq!(asked[0]["object"]["apiVersion"], "autoscaling/v1");
    assert_eq!(asked[0]["object"]["spec"]["targetCPUUtilizationPercentage"], 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn subresources_have_their_own_kinds() {
    let h = Harness::start().await;
    let hook = Hook::start(|_, asked| match asked["request"]["kind"]["kind"].as_str() {
        Some("Scale") => patch(
            asked,
            &json!([{"op": "replace", "path": "/spec/replicas", "value": 5}]),
        ),
        Some("PodExecOptions") => review(
            asked,
            json!({"allowed": false, "status": {"message": "no shells"}}),
        ),
        _ => allow(asked),
    })
    .await;
    let rules = json!([
        {"operations": ["*"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments/scale"]},
        {"operations": ["CONNECT", "CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/*", "serviceaccounts/token"]},
    ]);
    configure(
        &h,
        "MutatingWebhookConfiguration",
        "m",
        json!([with(hook.webhook("m"), "rules", rules)]),
    )
    .await;
    let labels = json!({"app": "d"});
    let pod = json!({"containers": [{"name": "c", "image": "i"}]});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}},
    });
    let at = "/apis/apps/v1/namespaces/default/deployments";
    h.post(at, deployment).await.ok();
    let scale = h
        .merge(&format!("{at}/d/scale"), json!({"spec": {"replicas": 3}}))
        .await
        .ok();
    assert_eq!(scale["spec"]["replicas"], 5);
    assert_eq!(h.get(&format!("{at}/d")).await.ok()["spec"]["replicas"], 5);
    let asked = hook.requests();
    assert_eq!(asked[0]["subResource"], "scale");
    assert_eq!(
        asked[0]["kind"],
        json!({"group": "autoscaling", "version": "v1", "kind": "Scale"})
    );
    assert_eq!(asked[0]["resource"]["resource"], "deployments");
    assert_eq!(
        (
            &asked[0]["object"]["spec"]["replicas"],
            &asked[0]["oldObject"]["spec"]["replicas"]
        ),
        (&json!(3), &json!(1))
    );
    let exec = h
        .get("/api/v1/namespaces/default/pods/p/exec?command=sh&command=-c&stdin=true&container=c")
        .await;
    assert_eq!(
        exec.json()["message"],
        "admission webhook \"m.example.com\" denied the request: no shells"
    );
    let asked = hook.requests().pop().unwrap();
    assert_eq!(
        (&asked["operation"], &asked["name"]),
        (&json!("CONNECT"), &json!("p"))
    );
    assert_eq!(
        asked["object"],
        json!({"kind": "PodExecOptions", "apiVersion": "v1", "stdin": true, "container": "c", "command": ["sh", "-c"]})
    );
    assert_eq!(asked["options"], Value::Null);
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "sa"}});
    h.post("/api/v1/namespaces/default/serviceaccounts", account)
        .await
        .ok();
    let token = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    h.post("/api/v1/namespaces/default/serviceaccounts/sa/token", token)
        .await
        .ok();
    let asked = hook.requests().pop().unwrap();
    assert_eq!(
        (&asked["kind"]["kind"], &asked["operation"]),
        (&json!("TokenRequest"), &json!("CREATE"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn collections_are_deleted_one_by_one() {
    let h = Harness::start().await;
    let hook = Hook::start(
        |_, asked| match asked["request"]["oldObject"]["metadata"]["name"].as_str() {
            Some("kept") => review(asked, json!({"allowed": false})),
            _ => allow(asked),
        },
    )
    .await;
    for name in ["gone", "kept"] {
        h.post(MAPS, map(name)).await.ok();
    }
    configure(
        &h,
        "ValidatingWebhookConfiguration",
        "v",
        json!([hook.webhook("v")]),
    )
    .await;
    let reply = h.delete(MAPS).await;
    assert_eq!(reply.code, 400, "{}", reply.text());
    assert_eq!(h.get(&format!("{MAPS}/gone")).await.code, 404);
    assert_eq!(h.get(&format!("{MAPS}/kept")).await.code, 200);
    assert!(hook.requests().iter().all(|asked| asked.get("name").is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn services_lead_to_ready_endpoints() {
    let h = Harness::start().await;
    let hook = Hook::start(|_, asked| allow(asked)).await;
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "hook"},
        "spec": {"ports": [{"name": "https", "port": 443}]},
    });
    let mut webhook = hook.webhook("v");
    webhook["clientConfig"] =
        json!({"service": {"namespace": "default", "name": "hook", "path": "/s"}, "caBundle": hook.ca});
    configure(&h, "ValidatingWebhookConfiguration", "v", json!([webhook])).await;
    let failed = |why: &str| {
        format!(
            "Internal error occurred: failed calling webhook \"v.example.com\": failed to call webhook: \
             Post \"https://hook.default.svc:443/s?timeout=10s\": {why}"
        )
    };
    let reply = h.post(MAPS, map("one")).await;
    assert_eq!(reply.json()["message"], failed("services \"hook\" not found"));
    h.post("/api/v1/namespaces/default/services", service).await.ok();
    let reply = h.post(MAPS, map("one")).await;
    assert_eq!(
        reply.json()["message"],
        failed("no endpoints available for service \"hook\"")
    );
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "hook-1", "labels": {"kubernetes.io/service-name": "hook"}},
        "ports": [{"name": "https", "port": hook.address.port()}],
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": true}}],
    });
    let slice = {
        // Loopback is no address for an endpoint that clients make.
        let mut slice = slice;
        slice["endpoints"][0]["addresses"] = json!([h.address.ip().to_string()]);
        slice
    };
    let reply = h
        .post(
            "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
            slice,
        )
        .await;
    if reply.code == 422 {
        return assert!(reply.text().contains("loopback"), "{}", reply.text());
    }
    reply.ok();
    h.post(MAPS, map("one")).await.ok();
    assert_eq!(hook.paths(), ["/s"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_calls_only_webhooks_without_side_effects() {
    let h = Harness::start().await;
    let hook = Hook::start(|_, asked| allow(asked)).await;
    configure(
        &h,
        "ValidatingWebhookConfiguration",
        "a",
        json!([hook.webhook("none")]),
    )
    .await;
    h.post(&format!("{MAPS}?dryRun=All"), map("one")).await.ok();
    assert_eq!(hook.requests()[0]["dryRun"], true);
    assert_eq!(hook.requests()[0]["options"]["dryRun"], json!(["All"]));
    let some = with(hook.webhook("some"), "sideEffects", json!("NoneOnDryRun"));
    configure(&h, "ValidatingWebhookConfiguration", "b", json!([some])).await;
    h.post(&format!("{MAPS}?dryRun=All"), map("one")).await.ok();
    assert_eq!(hook.requests().len(), 3);
    assert_eq!(h.get(&format!("{MAPS}/one")).await.code, 404);
}
