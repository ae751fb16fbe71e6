//! What a kubelet (or anyone) can say of a pod's state (`ValidatePodStatusUpdate`).

mod containers;
mod extended;

use corten_meta::field::Error;
use corten_meta::{names, object};
use serde_json::Value;

use super::super::rules::{
    At, ErrorList, go_struct, immutable, ip_legacy, is_dual_stack, parse_ip_sloppy, qualified,
};
use super::update;

pub(super) fn validate_update(pod: &Value, old: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    super::super::rules::object_meta_update(pod, &mut errors);
    update::annotation_changes(pod, old, &mut errors);
    let root = At::root(pod);
    let (status, spec) = (root.get("status"), &old["spec"]);
    conditions(&status.get("conditions"), &mut errors);
    nominated_node(&status.get("nominatedNodeName"), old, &mut errors);
    if status
        .get("observedGeneration")
        .int()
        .is_some_and(|generation| generation < 0)
    {
        status
            .get("observedGeneration")
            .invalid(&mut errors, "must be a non-negative integer");
    }
    let class = status.get("qosClass");
    immutable(
        &class.path(),
        class.value,
        &old["status"]["qosClass"],
        &mut errors,
    );
    for kind in [
        "containerStatuses",
        "initContainerStatuses",
        "ephemeralContainerStatuses",
    ] {
        transitions(&status.get(kind), &old["status"][kind], kind, spec, &mut errors);
    }
    claims(&status.get("resourceClaimStatuses"), spec, &mut errors);
    extended::claim(&status.get("extendedResourceClaimStatus"), spec, &mut errors);
    addresses(&status, &old["status"], &mut errors);
    containers::validate(&status, spec, &mut errors);
    errors
}

fn conditions(list: &At<'_, '_>, errors: &mut ErrorList) {
    for condition in list.items() {
        if condition
            .get("observedGeneration")
            .int()
            .is_some_and(|generation| generation < 0)
        {
            condition
                .get("observedGeneration")
                .invalid(errors, "must be a non-negative integer");
        }
        let kind = condition.get("type");
        if !matches!(kind.str(), "PodScheduled" | "Ready" | "Initialized") {
            qualified(&condition.get("Type").with(kind.value), errors);
        }
    }
}

fn nominated_node(at: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    if at.is_empty() || *at.value == old["status"]["nominatedNodeName"] {
        return;
    }
    at.invalid_each(errors, names::name_is_dns_subdomain(at.str(), false));
    if !object::str_at(old, &["spec", "nodeName"]).is_empty() {
        at.forbidden(errors, "may not be set on pods that are already bound to a node");
    }
}

/// A container that has ended for good does not come back.
fn transitions(at: &At<'_, '_>, old: &Value, kind: &str, spec: &Value, errors: &mut ErrorList) {
    for (index, before) in old.as_array().into_iter().flatten().enumerate() {
        let Some(code) = before["state"]["terminated"]
            .as_object()
            .map(|end| end.get("exitCode"))
        else {
            continue;
        };
        let code = code.and_then(Value::as_i64).unwrap_or(0);
        let now = at.items().find(|status| status.value["name"] == before["name"]);
        let revived = now.is_some_and(|status| !status.value["state"]["terminated"].is_object());
        let containers = match kind {
            "containerStatuses" => &spec["containers"],
            "initContainerStatuses" => &spec["initContainers"],
            _ => &Value::Null,
        };
        let own = containers
            .as_array()
            .into_iter()
            .flatten()
            .find(|own| own["name"] == before["name"]);
        if revived && !own.is_some_and(|own| may_restart(own, spec, code)) {
            let place = at.index(index);
            place
                .get("state")
                .forbidden(errors, "may not be transitioned to non-terminated state");
        }
    }
}

/// By its rules, its own policy, or the pod's.
fn may_restart(container: &Value, spec: &Value, code: i64) -> bool {
    let Some(own) = container["restartPolicy"].as_str() else {
        return allowed_by(spec["restartPolicy"].as_str().unwrap_or_default(), code);
    };
    let applies = |rule: &&Value| {
        let codes = &rule["exitCodes"];
        let listed = codes["values"]
            .as_array()
            .is_some_and(|values| values.contains(&code.into()));
        if codes["operator"] == "In" {
            listed
        } else {
            !listed
        }
    };
    let rules = container["restartPolicyRules"].as_array().into_iter().flatten();
    rules.into_iter().any(|rule| applies(&rule)) || allowed_by(own, code)
}

fn allowed_by(policy: &str, code: i64) -> bool {
    match policy {
        "Always" => true,
        "OnFailure" => code != 0,
        _ => false,
    }
}

fn claims(list: &At<'_, '_>, spec: &Value, errors: &mut ErrorList) {
    let mut seen: Vec<&str> = Vec::new();
    for status in list.items() {
        let name = status.get("name");
        let known = spec["resourceClaims"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|claim| claim["name"] == *name.value);
        if !known {
            name.invalid(errors, "must match the name of an entry in `spec.resourceClaims`");
        }
        if seen.contains(&name.str()) {
            name.duplicate(errors);
        }
        seen.push(name.str());
        let claim = status.get("resourceClaimName");
        if claim.is_set() {
            // Upstream names the other field.
            let messages = names::name_is_dns_subdomain(claim.str(), false);
            name.with(claim.value).invalid_each(errors, messages);
        }
    }
}

fn addresses(status: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    for field in ["podIPs", "hostIPs"] {
        let list = status.get(field);
        let first = list.index(0);
        if field == "hostIPs" && !list.is_empty() && first.get("ip").str() != status.get("hostIP").str() {
            first.get("ip").invalid(errors, "must be equal to `hostIP`");
        }
        let before: Vec<&str> = old[field]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|entry| entry["ip"].as_str())
            .collect();
        for entry in list.items() {
            ip_legacy(&entry.with(entry.get("ip").value), &before, errors);
        }
        if list.len() > 1 {
            families(&list, errors);
        }
    }
}

/// At most one address of each family.
fn families(list: &At<'_, '_>, errors: &mut ErrorList) {
    let texts: Vec<&str> = list.items().map(|entry| entry.get("ip").str()).collect();
    let unreadable = texts.iter().position(|text| parse_ip_sloppy(text).is_none());
    if let Some(index) = unreadable {
        let text = texts[index];
        let detail = format!("failed to check for dual stack with error:invalid IP[{index}]: {text}");
        errors.push(Error::internal(&list.path(), detail));
    }
    if unreadable.is_some() || list.len() > 2 || !is_dual_stack(texts.into_iter()) {
        let shown = list.items().map(|entry| go_struct(entry.value, &[("IP", "ip")]));
        let shown = format!("[{}]", shown.collect::<Vec<_>>().join(","));
        list.invalid_raw(
            errors,
            &shown,
            "may specify no more than one IP for each IP family",
        );
    }
}

#[cfg(test)]
mod tests;
