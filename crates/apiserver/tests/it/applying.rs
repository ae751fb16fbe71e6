//! Server-side apply over HTTP: what repeats changes nothing, what kubectl applied on its side is taken over, scales.

use serde_json::{Value, json};

use crate::harness::{Harness, Reply};

const APPLY: &str = "application/apply-patch+yaml";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

async fn apply(h: &Harness, path: &str, manager: &str, configuration: &Value) -> Reply {
    let mark = if path.contains('?') { '&' } else { '?' };
    let path = format!("{path}{mark}fieldManager={manager}");
    h.body("PATCH", &path, APPLY, configuration.to_string()).await
}

fn map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

fn deployment(name: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "creationTimestamp": null},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "strategy": {}, "template": {
            "metadata": {"labels": {"a": "b"}, "creationTimestamp": null},
            "spec": {"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "1000m"}}}]}}}})
}

fn entry<'a>(object: &'a Value, manager: &str, subresource: Option<&str>) -> &'a Value {
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    let of = |e: &&Value| e["manager"] == manager && e["subresource"].as_str() == subresource;
    entries.iter().find(of).unwrap_or(&Value::Null)
}

#[tokio::test]
async fn what_is_applied_again_is_not_written_again() {
    let h = Harness::start().await;
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "b"}});
    let secrets = "/api/v1/namespaces/default/secrets";
    let mut null = map("n", json!({"a": "b"}));
    null["metadata"]["creationTimestamp"] = Value::Null;
    let all = [
        (format!("{MAPS}/n"), null),
        (format!("{secrets}/s"), secret),
        (format!("{DEPLOYMENTS}/d"), deployment("d")),
    ];
    for (path, configuration) in all {
        apply(&h, &path, "m", &configuration).await.ok();
        // In an entry of another second: only the times would differ.
        let old = json!({"metadata": {"labels": {"other": "too"}, "managedFields": [{
            "manager": "m", "operation": "Apply", "apiVersion": configuration["apiVersion"], "fieldsType": "FieldsV1",
            "time": "2020-01-01T00:00:00Z", "fieldsV1": entry(&h.get(&path).await.ok(), "m", None)["fieldsV1"],
        }]}});
        h.merge(&format!("{path}?fieldManager=m"), old).await.ok();
        let first = h.get(&path).await.ok();
        assert_eq!(entry(&first, "m", None)["time"], "2020-01-01T00:00:00Z");
        let second = apply(&h, &path, "m", &configuration).await.ok();
        assert_eq!(first["metadata"], second["metadata"], "{path}");
    }
}

#[tokio::test]
async fn who_says_what_is_there_has_no_time() {
    let h = Harness::start().await;
    let path = format!("{MAPS}/a");
    apply(&h, &path, "first", &map("a", json!({"x": "1"}))).await.ok();
    let both = apply(&h, &path, "second", &map("a", json!({"x": "1"})))
        .await
        .ok();
    assert!(!entry(&both, "first", None)["time"].is_null(), "{both}");
    assert!(entry(&both, "second", None)["fieldsV1"].is_object(), "{both}");
    assert!(entry(&both, "second", None)["time"].is_null(), "{both}");
}

#[tokio::test]
async fn kubectl_takes_over_what_it_applied_on_its_side() {
    let h = Harness::start().await;
    let note = "kubectl.kubernetes.io/last-applied-configuration";
    let made = |name: &str, applied: Value| {
        let mut object = map(name, json!({"x": "1", "y": "<1>"}));
        object["metadata"]["annotations"] = json!({note: applied.to_string()});
        object
    };
    let made_by = |name: &str| format!("{MAPS}?fieldManager=kubectl-client-side-apply&{name}");
    h.post(&made_by("a"), made("a", map("a", json!({"x": "1", "y": "<1>"}))))
        .await
        .ok();
    let wanted = map("a", json!({"x": "2", "y": "<2>"}));
    let path = format!("{MAPS}/a");
    assert_eq!(apply(&h, &path, "other", &wanted).await.code, 409);
    let taken = apply(&h, &path, "kubectl", &wanted).await.ok();
    assert_eq!(taken["data"], json!({"x": "2", "y": "<2>"}));
    assert_eq!(
        taken["metadata"]["annotations"][note],
        "{\"apiVersion\":\"v1\",\"data\":{\"x\":\"2\",\"y\":\"\\u003c2\\u003e\"},\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\"}}\n"
    );
    // What has changed since is a conflict, and so is what was never applied.
    h.post(&made_by("b"), made("b", map("b", json!({"x": "0"}))))
        .await
        .ok();
    let refused = apply(
        &h,
        &format!("{MAPS}/b"),
        "kubectl",
        &map("b", json!({"x": "2", "y": "2"})),
    )
    .await;
    assert_eq!(refused.code, 409);
    assert_eq!(
        refused.json()["details"]["causes"].as_array().map(Vec::len),
        Some(2)
    );
}

#[tokio::test]
async fn a_configuration_is_of_the_paths_kind() {
    let h = Harness::start().await;
    for (api_version, kind, shown) in [
        ("v1", "Other", "/v1, Kind=Other"),
        ("v9", "ConfigMap", "/v9, Kind=ConfigMap"),
        ("", "", "/, Kind="),
    ] {
        let mut configuration = map("a", json!({}));
        configuration["apiVersion"] = json!(api_version);
        configuration["kind"] = json!(kind);
        let refused = apply(&h, &format!("{MAPS}/a"), "m", &configuration).await;
        assert_eq!(refused.code, 400, "{shown}");
        assert_eq!(refused.json()["message"], format!("invalid object type: {shown}"));
    }
    let mut gone = map("a", json!({}));
    gone["metadata"]["uid"] = json!("u");
    let refused = apply(&h, &format!("{MAPS}/a"), "m", &gone).await;
    let text = "Operation cannot be fulfilled on configmaps \"a\": uid mismatch: the provided object specified uid u, and no \
                existing object was found";
    assert_eq!((refused.code, &refused.json()["message"]), (409, &json!(text)));
}

#[tokio::test]
async fn sets_of_numbers_are_applied() {
    let h = Harness::start().await;
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {
        "podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1, 2]}}]},
        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}});
    let path = "/apis/batch/v1/namespaces/default/jobs/j";
    let made = apply(&h, path, "m", &job).await.ok();
    assert_eq!(
        made["spec"]["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"],
        json!([1, 2])
    );
    let mut wrong = job;
    wrong["spec"]["parallelism"] = json!("x");
    let refused = apply(&h, path, "m", &wrong).await;
    let text = "failed to create typed patch object (/j; batch/v1, Kind=Job): .spec.parallelism: expected numeric (int or \
                float), got string";
    assert_eq!(refused.json()["message"], text);
    let mut map = map("a", json!({}));
    map["data"] = json!({"x": 5});
    let refused = apply(&h, &format!("{MAPS}/a"), "m", &map).await;
    let text = "failed to create typed patch object (/a; /v1, Kind=ConfigMap): .data.x: expected string, got \
                &value.valueUnstructured{Value:5}";
    assert_eq!(refused.json()["message"], text);
}

#[tokio::test]
async fn a_scale_is_applied() {
    let h = Harness::start().await;
    let path = format!("{DEPLOYMENTS}/d");
    let scale = format!("{path}/scale");
    h.post(&format!("{DEPLOYMENTS}?fieldManager=maker"), deployment("d"))
        .await
        .ok();
    let wanted = |replicas: i64| json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"}, "spec": {"replicas": replicas}});
    h.put(&format!("{scale}?fieldManager=putter"), wanted(2))
        .await
        .ok();
    let refused = apply(&h, &scale, "m", &wanted(3)).await;
    assert_eq!(refused.code, 409);
    assert_eq!(
        refused.json()["message"],
        "Apply failed with 1 conflict: conflict with \"putter\" with subresource \"scale\" using autoscaling/v1: .spec.replicas"
    );
    let scaled = apply(&h, &format!("{scale}?force=true"), "m", &wanted(3))
        .await
        .ok();
    assert_eq!(scaled["spec"]["replicas"], 3);
    let object = h.get(&path).await.ok();
    let own = entry(&object, "m", Some("scale"));
    assert_eq!(
        (&own["operation"], &own["apiVersion"], &own["fieldsV1"]),
        (
            &json!("Apply"),
            &json!("apps/v1"),
            &json!({"f:spec": {"f:replicas": {}}})
        )
    );
    assert!(entry(&object, "putter", Some("scale")).is_null(), "{object}");
    assert!(
        entry(&object, "maker", None)["fieldsV1"]["f:spec"].is_object(),
        "{object}"
    );
    // The object's own applier meets it there, too.
    let mut whole = deployment("d");
    whole["spec"]["replicas"] = json!(4);
    let refused = apply(&h, &path, "m2", &whole).await;
    assert!(
        refused
            .text()
            .contains("conflict with \\\"m\\\" with subresource"),
        "{}",
        refused.text()
    );
    for version in ["autoscaling/v2", "apps/v1"] {
        assert_eq!(h.merge(&scale, json!({"apiVersion": version})).await.code, 422);
    }
}

#[tokio::test]
async fn status_writes_own_what_they_keep() {
    let h = Harness::start().await;
    let labels =
        json!({"metadata": {"labels": {"l": "1"}, "annotations": {"n": "1"}}, "status": {"replicas": 1}});
    h.post(DEPLOYMENTS, deployment("d")).await.ok();
    let path = format!("{DEPLOYMENTS}/d");
    let written = h
        .merge(&format!("{path}/status?fieldManager=st"), labels.clone())
        .await
        .ok();
    assert!(written["metadata"]["labels"].is_null(), "{written}");
    assert_eq!(written["metadata"]["annotations"], json!({"n": "1"}));
    assert!(entry(&written, "st", Some("status"))["fieldsV1"]["f:metadata"]["f:labels"].is_null());
    let quotas = "/api/v1/namespaces/default/resourcequotas";
    h.post(
        quotas,
        json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1"}}}),
    )
    .await
    .ok();
    let written = h
        .merge(&format!("{quotas}/q/status?fieldManager=st"), labels)
        .await
        .ok();
    assert_eq!(written["metadata"]["labels"], json!({"l": "1"}));
    assert!(entry(&written, "st", Some("status"))["fieldsV1"]["f:metadata"]["f:labels"].is_object());
    let levels = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas";
    let schema = json!({"metadata": {"name": "f"}, "spec": {"priorityLevelConfiguration": {"name": "global-default"}}});
    h.post(levels, schema).await.ok();
    let odd = json!({"metadata": {"labels": {"l": "not a label!"}, "uid": "other", "finalizers": ["x"]}});
    let kept = h.merge(&format!("{levels}/f/status"), odd).await.ok();
    assert!(
        kept["metadata"]["labels"].is_null() && kept["metadata"]["finalizers"].is_null(),
        "{kept}"
    );
}

#[tokio::test]
async fn versions_of_a_kind_know_each_others_owners() {
    let h = Harness::start().await;
    let path = |version: &str, name: &str| {
        format!("/apis/autoscaling/{version}/namespaces/default/horizontalpodautoscalers/{name}")
    };
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"});
    let scaler = |version: &str, name: &str, more: Value| {
        let mut spec = json!({"maxReplicas": 3, "scaleTargetRef": target});
        spec.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!({"apiVersion": format!("autoscaling/{version}"), "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": name}, "spec": spec})
    };
    let metrics = json!({"metrics": [{"type": "Resource", "resource": {
        "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}}]});
    let percentage = |n: i64| json!({"targetCPUUtilizationPercentage": n});
    apply(&h, &path("v2", "a"), "a", &scaler("v2", "a", metrics))
        .await
        .ok();
    let refused = apply(&h, &path("v1", "a"), "b", &scaler("v1", "a", percentage(70))).await;
    assert_eq!(
        refused.json()["message"],
        "Apply failed with 1 conflict: conflict with \"a\": .spec.metrics"
    );
    apply(&h, &path("v1", "b"), "a", &scaler("v1", "b", percentage(50)))
        .await
        .ok();
    let other = json!({"metrics": [{"type": "Resource", "resource": {
        "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]});
    let refused = apply(&h, &path("v2", "b"), "b", &scaler("v2", "b", other)).await;
    assert_eq!(
        refused.json()["message"],
        "Apply failed with 1 conflict: conflict with \"a\": .spec.targetCPUUtilizationPercentage"
    );
    // What one gives up in its version stays while another has it in the other.
    let same = json!({"metrics": [{"type": "Resource", "resource": {
        "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]});
    apply(&h, &path("v2", "b"), "b", &scaler("v2", "b", same))
        .await
        .ok();
    let kept = apply(&h, &path("v1", "b"), "a", &scaler("v1", "b", json!({})))
        .await
        .ok();
    assert_eq!(kept["spec"]["targetCPUUtilizationPercentage"], 50);
}

#[tokio::test]
async fn what_was_there_before_is_of_the_same_subresource() {
    let h = Harness::start().await;
    let path = format!("{DEPLOYMENTS}/d");
    h.post(DEPLOYMENTS, deployment("d")).await.ok();
    let forget = json!({"metadata": {"managedFields": [{}]}});
    assert!(h.merge(&path, forget).await.ok()["metadata"]["managedFields"].is_null());
    let status = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "status": {"replicas": 1}});
    let applied = apply(&h, &format!("{path}/status"), "m", &status).await.ok();
    let before = entry(&applied, "before-first-apply", None);
    assert!(before.is_null(), "the spec is not the status's: {before}");
    assert!(entry(&applied, "m", Some("status"))["fieldsV1"]["f:status"].is_object());
}

#[tokio::test]
async fn an_applied_job_shares_its_templates_labels() {
    let h = Harness::start().await;
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"template": {
        "metadata": {"labels": {"a": "1"}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}});
    let made = apply(&h, "/apis/batch/v1/namespaces/default/jobs/j", "m", &job)
        .await
        .ok();
    let labels = made["metadata"]["labels"].as_object().unwrap();
    let names: Vec<&str> = labels.keys().map(String::as_str).collect();
    let generated = [
        "a",
        "batch.kubernetes.io/controller-uid",
        "batch.kubernetes.io/job-name",
        "controller-uid",
        "job-name",
    ];
    assert_eq!(names, generated);
}
