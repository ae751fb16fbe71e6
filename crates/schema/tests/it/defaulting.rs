//! Defaults against recorded answers: what upstream made of least objects.

use std::collections::BTreeMap;

use corten_meta::object;
use corten_schema::decode::{self, Media};
use corten_schema::{Mode, default, resources, type_of};
use serde_json::{Value, json};

use crate::facts;
use crate::golden::differs;

/// Members that admission and the registry's strategies set, not defaulting, by where they stand.
const OF_OTHERS: [(&str, &[&str]); 13] = [
    ("", &["status"]),
    (
        "/metadata",
        &[
            "uid",
            "creationTimestamp",
            "managedFields",
            "generation",
            "namespace",
            "annotations",
        ],
    ),
    ("/metadata", &["resourceVersion", "finalizers", "labels"]),
    (
        "/spec",
        &[
            "finalizers",
            "clusterIP",
            "clusterIPs",
            "ipFamilies",
            "ipFamilyPolicy",
            "taints",
        ],
    ),
    (
        "/spec",
        &[
            "volumes",
            "tolerations",
            "preemptionPolicy",
            "priority",
            "serviceAccount",
            "serviceAccountName",
        ],
    ),
    ("/spec/containers/0", &["volumeMounts"]),
    ("/spec/initContainers/0", &["volumeMounts"]),
    ("/spec/ports/0", &["nodePort"]),
    ("/spec/ports/1", &["nodePort"]),
    ("/involvedObject", &["resourceVersion", "uid"]),
    ("/related", &["resourceVersion", "uid"]),
    ("/spec/template/metadata", &["labels"]),
    ("/spec", &["selector"]),
];

fn prune(value: &mut Value) {
    for (parent, members) in OF_OTHERS {
        if let Some(Value::Object(map)) = value.pointer_mut(parent) {
            map.retain(|key, _| !members.contains(&key.as_str()));
        }
    }
}

#[test]
fn least_objects_become_what_upstream_made_of_them() {
    let (mut failures, mut seen) = (Vec::new(), 0);
    for case in facts::cases() {
        let name = case["name"].as_str().unwrap();
        let answer = &case["response"];
        let created = case["status"] == 201 && answer["kind"] != "Status";
        if name.contains("SelfSubjectRulesReview") {
            continue; // its metadata is not echoed
        }
        if !created || !["least/", "golden/"].iter().any(|p| name.starts_with(p)) {
            continue;
        }
        seen += 1;
        let gvk = object::gvk(answer).unwrap();
        let body = match &case["request"]["body"] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let mut got = decode::object(body.as_bytes(), Media::Json, &gvk, Mode::Strict)
            .unwrap()
            .value;
        default(type_of(&gvk).unwrap(), &mut got);
        let mut want = answer.clone();
        prune(&mut got);
        prune(&mut want);
        if let Some(difference) = differs(&got, &want, "") {
            failures.push(format!("{name} {}: {difference}", gvk.kind));
        }
    }
    assert!(seen > 25, "only {seen} cases");
    assert!(
        failures.is_empty(),
        "{} of {seen}\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// Every served kind has a type, and types fit the reader's set of seen members.
#[test]
fn every_served_kind_has_a_type() {
    let mut missing = BTreeMap::new();
    for resource in resources::all() {
        if type_of(&resource.gvk()).is_none() {
            missing.insert(resource.plural, resource.gvk().to_string());
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
    assert!(corten_schema::types::all().all(|(_, ty)| ty.fields.len() < 128));
}

/// What JSON of a kind comes to when it is read and defaulted.
fn defaulted(group: &'static str, version: &'static str, kind: &'static str, body: &Value) -> Value {
    let gvk = corten_meta::GroupVersionKind::new(group, version, kind);
    let mut value = decode::object(body.to_string().as_bytes(), Media::Json, &gvk, Mode::Strict)
        .unwrap()
        .value;
    default(type_of(&gvk).unwrap(), &mut value);
    value
}

#[test]
fn an_empty_text_is_given_where_a_pointer_holds_it() {
    for (group, kind, body, at, expected) in [
        (
            "storage.k8s.io",
            "StorageClass",
            json!({"reclaimPolicy": ""}),
            "/reclaimPolicy",
            "",
        ),
        (
            "",
            "PersistentVolume",
            json!({"spec": {"volumeMode": ""}}),
            "/spec/volumeMode",
            "",
        ),
        (
            "batch",
            "Job",
            json!({"spec": {"completionMode": ""}}),
            "/spec/completionMode",
            "",
        ),
        (
            "apps",
            "Deployment",
            json!({"spec": {"strategy": {"rollingUpdate": {"maxSurge": ""}}}}),
            "/spec/strategy/rollingUpdate/maxSurge",
            "",
        ),
        ("", "Secret", json!({"type": ""}), "/type", "Opaque"),
        (
            "",
            "Service",
            json!({"spec": {"ports": [{"protocol": ""}]}}),
            "/spec/ports/0/protocol",
            "TCP",
        ),
        (
            "rbac.authorization.k8s.io",
            "RoleBinding",
            json!({"roleRef": {"apiGroup": ""}}),
            "/roleRef/apiGroup",
            "rbac.authorization.k8s.io",
        ),
    ] {
        let value = defaulted(group, "v1", kind, &body);
        assert_eq!(value.pointer(at), Some(&json!(expected)), "{kind} {at}");
    }
}

#[test]
fn policies_that_are_given_empty_stay_so() {
    let body = json!({"spec": {"behavior": {"scaleUp": {"policies": []}}}});
    let behavior = &defaulted("autoscaling", "v2", "HorizontalPodAutoscaler", &body)["spec"]["behavior"];
    assert_eq!(behavior["scaleUp"]["policies"], json!([]));
    assert_eq!(
        behavior["scaleDown"]["policies"].as_array().map(Vec::len),
        Some(1)
    );
}

#[test]
fn autoscalers_of_v1_have_a_target_unless_annotations_have_one() {
    let metrics = "autoscaling.alpha.kubernetes.io/metrics";
    for (annotations, expected) in [
        (json!({}), json!(80)),
        (json!({metrics: "[]"}), json!(80)),
        (json!({metrics: r#"[{"type":"Pods"}]"#}), Value::Null),
    ] {
        let body = json!({"metadata": {"annotations": annotations}, "spec": {}});
        let value = defaulted("autoscaling", "v1", "HorizontalPodAutoscaler", &body);
        assert_eq!(
            value["spec"]["targetCPUUtilizationPercentage"], expected,
            "{body}"
        );
    }
}

#[test]
fn exit_codes_that_are_given_empty_stay_so() {
    let body = json!({"spec": {"podFailurePolicy": {"rules": [{"action": "Ignore", "onExitCodes": {"operator": "In", "values": []}}]}}});
    let job = defaulted("batch", "v1", "Job", &body);
    let at = "/spec/podFailurePolicy/rules/0/onExitCodes/values";
    assert_eq!(job.pointer(at), Some(&json!([])));
}

/// Protobuf has no empty lists.
#[test]
fn empty_lists_are_null_where_storage_is_protobuf() {
    let role = defaulted("rbac.authorization.k8s.io", "v1", "Role", &json!({"rules": []}));
    assert_eq!(role["rules"], Value::Null);
    let kind = "CustomResourceDefinition";
    let body = json!({"spec": {"versions": []}});
    assert_eq!(
        defaulted("apiextensions.k8s.io", "v1", kind, &body)["spec"]["versions"],
        json!([])
    );
}
