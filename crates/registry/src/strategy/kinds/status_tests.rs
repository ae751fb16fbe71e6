//! Wrong statuses, with the texts of upstream's server.
#![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]

use serde_json::json;

use super::*;

/// The object's own spec is the old one's.
fn said(group: &str, plural: &str, object: Value) -> Vec<String> {
    let mut errors = ErrorList::new();
    let old = json!({"spec": object["spec"]});
    (rules_of(group, plural).unwrap().status)(&At::root(&object), &old, &mut errors);
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn conditions_of_a_budget_are_whole() {
    let good =
        json!({"type": "A", "status": "True", "reason": "R", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let budget = |conditions: Value| {
        said(
            "policy",
            "poddisruptionbudgets",
            json!({"status": {"conditions": conditions}}),
        )
    };
    assert!(budget(json!([good])).is_empty());
    assert_eq!(
        budget(json!([good, {"type": "A", "status": "x", "observedGeneration": -1}])),
        [
            "status.conditions[1].type: Duplicate value: \"A\"",
            "status.conditions[1].status: Unsupported value: \"x\": supported values: \"False\", \"True\", \"Unknown\"",
            "status.conditions[1].observedGeneration: Invalid value: -1: must be greater than or equal to zero",
            "status.conditions[1].lastTransitionTime: Required value",
            "status.conditions[1].reason: Required value",
        ]
    );
}

#[test]
fn features_of_a_node_are_named_and_in_order() {
    let node = |features: Value| said("", "nodes", json!({"status": {"declaredFeatures": features}}));
    assert!(node(json!(["A", "B/c", "B/d1"])).is_empty());
    let said = node(json!(["B", "B", "A", "a"]));
    assert_eq!(
        said[..2],
        [
            "status.declaredFeatures[1]: Duplicate value: \"B\"",
            "status.declaredFeatures[2]: Invalid value: \"A\": list must be sorted alphabetically",
        ]
    );
    let start = "status.declaredFeatures[3]: Invalid value: \"a\": invalid feature name \"a\": must start with an \
                 UpperCamelCase segment,";
    assert!(said[2].starts_with(start), "{said:?}");
    for wrong in ["A/", "A b", "A/1", "", &"A".repeat(254)] {
        assert_eq!(node(json!([wrong])).len(), 1, "{wrong}");
    }
}

#[test]
fn errors_of_an_attachment_have_codes_and_its_name_was_checked_before() {
    let spec = json!({"attacher": "-", "nodeName": "n", "source": {"persistentVolumeName": "_"}});
    let attachment = |status: Value| json!({"spec": spec, "status": status});
    let wrong = attachment(json!({"attachError": {"errorCode": -1}, "detachError": {"errorCode": -2}}));
    let range = "must be between 0 and 2147483647, inclusive";
    assert_eq!(
        said("storage.k8s.io", "volumeattachments", wrong),
        [
            format!("status.attachError.errorCode: Invalid value: -1: {range}"),
            format!("status.detachError.errorCode: Invalid value: -2: {range}"),
        ]
    );
}

#[test]
fn a_claim_has_no_negative_amounts() {
    let claim = json!({"status": {"allocatedResources": {"storage": "-1Gi"}}});
    assert_eq!(
        said("", "persistentvolumeclaims", claim),
        ["status.allocatedResources[storage]: Invalid value: -1073741824: must be a valid resource quantity"]
    );
}

#[test]
fn a_condition_of_an_api_service_has_a_known_status() {
    let service = json!({"status": {"conditions": [{"type": "Available"}]}});
    assert_eq!(
        said("apiregistration.k8s.io", "apiservices", service),
        [
            "status.conditions[0].status: Unsupported value: \"\": supported values: \"True\", \"False\", \"Unknown\""
        ]
    );
}
