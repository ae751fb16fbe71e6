//! What a pod must do to be restricted.

use std::collections::BTreeSet;

use serde_json::Value;

use super::baseline;
use super::checks::{Pod, Violation, named, quoted, security, setters, violation};

/// Volumes that anybody may have.
const VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];
const OTHER_VOLUMES: [&str; 21] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "gitRepo",
    "nfs",
    "iscsi",
    "glusterfs",
    "rbd",
    "flexVolume",
    "cinder",
    "cephfs",
    "flocker",
    "fc",
    "azureFile",
    "vsphereVolume",
    "quobyte",
    "azureDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "storageos",
];

pub(super) fn privilege_escalation(pod: Pod<'_>) -> Option<Violation> {
    let containers = pod.names(|container| security(container, "allowPrivilegeEscalation") != false);
    if containers.is_empty() {
        return None;
    }
    let who = named("container", &containers);
    let detail = format!("{who} must set securityContext.allowPrivilegeEscalation=false");
    violation("allowPrivilegeEscalation != false", detail)
}

pub(super) fn capabilities(pod: Pod<'_>) -> Option<Violation> {
    fn listed<'a>(container: &'a Value, list: &str) -> impl Iterator<Item = &'a str> {
        let items = security(container, "capabilities")[list].as_array();
        items.into_iter().flatten().filter_map(Value::as_str)
    }
    fn added(container: &Value) -> impl Iterator<Item = &str> {
        listed(container, "add").filter(|capability| *capability != "NET_BIND_SERVICE")
    }
    let keeping = pod.names(|container| !listed(container, "drop").any(|capability| capability == "ALL"));
    let adding = pod.names(|container| added(container).next().is_some());
    let mut details = Vec::new();
    if !keeping.is_empty() {
        let who = named("container", &keeping);
        details.push(format!(
            "{who} must set securityContext.capabilities.drop=[\"ALL\"]"
        ));
    }
    if !adding.is_empty() {
        let all: BTreeSet<&str> = pod.containers().flat_map(added).collect();
        let (who, what) = (
            named("container", &adding),
            quoted(&all.into_iter().collect::<Vec<_>>()),
        );
        details.push(format!(
            "{who} must not include {what} in securityContext.capabilities.add"
        ));
    }
    if details.is_empty() {
        return None;
    }
    violation("unrestricted capabilities", details.join("; "))
}

pub(super) fn volumes(pod: Pod<'_>) -> Option<Violation> {
    let has = |volume: &Value, kind: &&&str| !volume[**kind].is_null();
    let (mut names, mut kinds) = (Vec::new(), BTreeSet::new());
    for volume in pod.spec["volumes"].as_array().into_iter().flatten() {
        if VOLUMES.iter().any(|kind| has(volume, &kind)) {
            continue;
        }
        names.push(volume["name"].as_str().unwrap_or_default());
        kinds.insert(
            *OTHER_VOLUMES
                .iter()
                .find(|kind| has(volume, kind))
                .unwrap_or(&"unknown"),
        );
    }
    if names.is_empty() {
        return None;
    }
    let kinds: Vec<&str> = kinds.into_iter().collect();
    let verb = if names.len() == 1 { "uses" } else { "use" };
    let detail = format!(
        "{} {verb} {}",
        named("volume", &names),
        named("restricted volume type", &kinds)
    );
    violation("restricted volume types", detail)
}

pub(super) fn non_root(pod: Pod<'_>) -> Option<Violation> {
    const REASON: &str = "runAsNonRoot != true";
    const FIELD: &str = "runAsNonRoot";
    let of_pod = pod.security(FIELD);
    let wrong = pod.names(|container| security(container, FIELD) == false);
    if let Some(who) = setters(of_pod == false, &wrong) {
        return violation(
            REASON,
            format!("{who} must not set securityContext.runAsNonRoot=false"),
        );
    }
    let missing = pod.names(|container| of_pod != true && security(container, FIELD).is_null());
    if missing.is_empty() {
        return None;
    }
    let who = named("container", &missing);
    violation(
        REASON,
        format!("pod or {who} must set securityContext.runAsNonRoot=true"),
    )
}

pub(super) fn user(pod: Pod<'_>) -> Option<Violation> {
    let containers = pod.names(|container| security(container, "runAsUser") == 0);
    let who = setters(pod.security("runAsUser") == 0, &containers)?;
    violation("runAsUser=0", format!("{who} must not set runAsUser=0"))
}

pub(super) fn seccomp(pod: Pod<'_>) -> Option<Violation> {
    const FIELD: &str = "seccompProfile";
    if let Some(wrong) = baseline::seccomp(pod) {
        return Some(wrong);
    }
    let of_pod = !pod.security(FIELD).is_null();
    let missing = pod.names(|container| !of_pod && security(container, FIELD).is_null());
    if missing.is_empty() {
        return None;
    }
    let who = named("container", &missing);
    let detail = format!(
        "pod or {who} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\""
    );
    violation("seccompProfile", detail)
}
