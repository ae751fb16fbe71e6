//! StorageVersionMigrations (`pkg/apis/storagemigration/validation`).

use corten_meta::{names, resource_version};
use serde_json::Value;

use super::super::rules::{At, ErrorList, conditions};
use super::{PLAIN, Rules};

pub(super) const RULES: Rules = Rules {
    body,
    change,
    status,
    unconditional_update: false,
    ..PLAIN
};

const IMMUTABLE: &str = "field is immutable";

fn body(at: &At<'_, '_>, errors: &mut ErrorList) {
    let spec = at.get("spec");
    let of = spec.get("resource");
    let (group, resource) = (of.get("group"), of.get("resource"));
    if resource.is_empty() {
        resource.required(errors, "resource is required to be set");
    } else {
        all(&resource, names::is_dns1035_label(resource.str()), errors);
    }
    if !group.is_empty() {
        all(&group, names::is_dns1123_subdomain(group.str()), errors);
    }
}

/// What is wrong, in one error.
fn all(at: &At<'_, '_>, texts: Vec<String>, errors: &mut ErrorList) {
    if !texts.is_empty() {
        at.invalid(errors, &texts.join(","));
    }
}

fn change(at: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    let spec = at.get("spec");
    let of = spec.get("resource");
    if *of.value != old["spec"]["resource"] {
        let text = |field: &str| corten_meta::quote(of.get(field).str());
        let shown = format!(
            "{{\"Resource\":{{\"group\":{},\"resource\":{}}}}}",
            text("group"),
            text("resource")
        );
        spec.invalid_raw(errors, &shown, IMMUTABLE);
    }
}

fn status(at: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    let status = at.get("status");
    let (version, list) = (status.get("resourceVersion"), status.get("conditions"));
    if !version.is_empty()
        && let Err(text) = resource_version::check(version.str())
    {
        version.invalid(errors, &text);
    }
    conditions(&list, errors);
    let before = old["status"]["resourceVersion"].as_str().unwrap_or_default();
    if !before.is_empty() && before != version.str() {
        version.invalid(errors, IMMUTABLE);
    }
    let holds = |conditions: &Value, kind: &str| {
        let mut own = conditions.as_array().into_iter().flatten();
        own.find(|c| c["type"] == kind)
            .is_some_and(|c| c["status"] == "True")
    };
    if holds(list.value, "Succeeded") && holds(list.value, "Failed") {
        let text = "Both success and failed conditions cannot be true at the same time";
        list.invalid_raw(errors, &shown(list.value), text);
    }
    for (kind, name) in [("Succeeded", "Success"), ("Failed", "Failed")] {
        if holds(&old["status"]["conditions"], kind) && !holds(list.value, kind) {
            let text = format!("{name} condition cannot be set to false once it is true");
            list.invalid_raw(errors, &shown(list.value), &text);
        }
    }
}

/// Members in the order of Go's type.
fn shown(conditions: &Value) -> String {
    const MEMBERS: [&str; 6] = [
        "type",
        "status",
        "observedGeneration",
        "lastTransitionTime",
        "reason",
        "message",
    ];
    let Some(conditions) = conditions.as_array() else {
        return "null".to_owned();
    };
    let condition = |c: &Value| {
        let member = |name: &&str| Some(format!("\"{name}\":{}", c.get(*name)?));
        let members: Vec<String> = MEMBERS.iter().filter_map(member).collect();
        format!("{{{}}}", members.join(","))
    };
    let all: Vec<String> = conditions.iter().map(condition).collect();
    format!("[{}]", all.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(check: impl FnOnce(&mut ErrorList)) -> Vec<String> {
        let mut errors = ErrorList::new();
        check(&mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    fn migration(group: &str, resource: &str, status: Value) -> Value {
        json!({"spec": {"resource": {"group": group, "resource": resource}}, "status": status})
    }

    #[test]
    fn a_migration_names_a_resource() {
        let wrong = |m: &Value| told(|errors| body(&At::root(m), errors));
        assert!(wrong(&migration("", "secrets", json!({}))).is_empty());
        assert_eq!(
            wrong(&migration("", "", json!({}))),
            ["spec.resource.resource: Required value: resource is required to be set"]
        );
        let both = wrong(&migration("Apps", "1s", json!({})));
        assert!(both[0].starts_with("spec.resource.resource: Invalid value: \"1s\": a DNS-1035 label must"));
        assert!(both[1].starts_with("spec.resource.group: Invalid value: \"Apps\": a lowercase RFC 1123"));
        let (new, old) = (
            migration("", "pods", json!({})),
            migration("", "secrets", json!({})),
        );
        assert_eq!(
            told(|errors| change(&At::root(&new), &old, errors)),
            [
                "spec: Invalid value: {\"Resource\":{\"group\":\"\",\"resource\":\"pods\"}}: field is immutable"
            ]
        );
    }

    #[test]
    fn what_has_ended_stays_ended() {
        let condition = |kind: &str, status: &str| {
            json!({"type": kind, "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "R",
                "message": ""})
        };
        let of = |version: &str, conditions: Value| {
            migration(
                "",
                "pods",
                json!({"resourceVersion": version, "conditions": conditions}),
            )
        };
        let wrong = |new: &Value, old: &Value| told(|errors| status(&At::root(new), old, errors));
        let ended = of("7", json!([condition("Succeeded", "True")]));
        assert!(wrong(&ended, &of("", json!([]))).is_empty());
        assert_eq!(
            wrong(&of("8", json!([condition("Succeeded", "False")])), &ended),
            [
                "status.resourceVersion: Invalid value: \"8\": field is immutable",
                "status.conditions: Invalid value: [{\"type\":\"Succeeded\",\"status\":\"False\",\"lastTransitionTime\":\
                 \"2026-01-01T00:00:00Z\",\"reason\":\"R\",\"message\":\"\"}]: Success condition cannot be set to false once \
                 it is true"
            ]
        );
        assert_eq!(
            wrong(&of("07", json!([])), &of("", json!([]))),
            ["status.resourceVersion: Invalid value: \"07\": resource version is not well formed: 07"]
        );
    }
}
