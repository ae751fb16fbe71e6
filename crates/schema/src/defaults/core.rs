//! core/v1, other than pods.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::{Entry, Members, child, int, is_unset, items, list_is_empty, set, set_absent, text};

const CORE: &str = "api/core/v1";

pub(super) const HOOKS: &[Entry] = &[
    (CORE, "ReplicationController", replication_controller),
    (CORE, "Service", service),
    (CORE, "Secret", secret),
    (CORE, "PersistentVolume", persistent_volume),
    (CORE, "PersistentVolumeClaim", claim),
    (CORE, "PersistentVolumeClaimSpec", claim_spec),
    (CORE, "Endpoints", endpoints),
    (CORE, "Namespace", namespace),
    (CORE, "NamespaceStatus", namespace_status),
    (CORE, "NodeStatus", node_status),
    (CORE, "LimitRangeItem", limit_range_item),
];

pub(super) const CANONICAL: &[Entry] = &[(CORE, "Secret", string_data), (CORE, "NodeSpec", pod_cidrs)];

fn replication_controller(obj: &mut Members) {
    let labels = obj
        .get("spec")
        .and_then(|s| s.get("template")?.get("metadata")?.get("labels"))
        .cloned();
    if let Some(labels @ Value::Object(_)) = labels {
        let spec = child(obj, "spec");
        if spec
            .get("selector")
            .and_then(Value::as_object)
            .is_none_or(Map::is_empty)
        {
            set(spec, "selector", labels);
        }
        super::batch::labels_from_template(obj);
    }
}

fn service(obj: &mut Members) {
    let spec = child(obj, "spec");
    set_absent(spec, "sessionAffinity", "None");
    match text(spec, "sessionAffinity") {
        "None" => drop(spec.remove("sessionAffinityConfig")),
        "ClientIP" => {
            let config = child(child(spec, "sessionAffinityConfig"), "clientIP");
            set_absent(config, "timeoutSeconds", 10_800);
        }
        _ => {}
    }
    set_absent(spec, "type", "ClusterIP");
    items(spec, "ports").for_each(service_port);
    let kind = text(spec, "type").to_owned();
    let reachable = matches!(kind.as_str(), "NodePort" | "LoadBalancer");
    let external = kind == "ClusterIP" && !list_is_empty(spec, "externalIPs");
    if reachable || external {
        set_absent(spec, "externalTrafficPolicy", "Cluster");
    }
    if reachable || kind == "ClusterIP" {
        set_absent(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        set_absent(spec, "allocateLoadBalancerNodePorts", true);
        let balancer = child(child(obj, "status"), "loadBalancer");
        for ingress in items(balancer, "ingress").filter(|i| !is_unset(i, "ip")) {
            set_absent(ingress, "ipMode", "VIP");
        }
    }
}

fn service_port(port: &mut Members) {
    set_absent(port, "protocol", "TCP");
    let target = port.get("targetPort");
    if target.is_none_or(|t| t.is_null() || *t == json!(0) || *t == json!("")) {
        let number = int(port, "port");
        set(port, "targetPort", number);
    }
}

fn secret(obj: &mut Members) {
    set_absent(obj, "type", "Opaque");
}

/// `stringData` is written over `data` and never read back.
fn string_data(obj: &mut Members) {
    let Some(Value::Object(texts)) = obj.remove("stringData") else {
        return;
    };
    let data = child(obj, "data");
    for (key, value) in texts {
        let bytes = STANDARD.encode(value.as_str().unwrap_or_default());
        data.insert(key, Value::from(bytes));
    }
}

fn persistent_volume(obj: &mut Members) {
    set_absent(child(obj, "status"), "phase", "Pending");
    let spec = child(obj, "spec");
    set_absent(spec, "persistentVolumeReclaimPolicy", "Retain");
    set_absent(spec, "volumeMode", "Filesystem");
}

fn claim(obj: &mut Members) {
    set_absent(child(obj, "status"), "phase", "Pending");
}

fn claim_spec(spec: &mut Members) {
    set_absent(spec, "volumeMode", "Filesystem");
}

fn endpoints(obj: &mut Members) {
    for subset in items(obj, "subsets") {
        for port in items(subset, "ports") {
            set_absent(port, "protocol", "TCP");
        }
    }
}

fn namespace(obj: &mut Members) {
    let meta = child(obj, "metadata");
    let name = text(meta, "name").to_owned();
    if !name.is_empty() {
        set(child(meta, "labels"), "kubernetes.io/metadata.name", name);
    }
}

fn namespace_status(status: &mut Members) {
    set_absent(status, "phase", "Active");
}

fn node_status(status: &mut Members) {
    if let Some(capacity) = status.get("capacity").filter(|c| c.is_object()).cloned() {
        set_absent(status, "allocatable", capacity);
    }
}

/// A node's one CIDR and its list of them say the same; the one wins.
fn pod_cidrs(spec: &mut Members) {
    mirror_first(
        spec,
        "podCIDR",
        "podCIDRs",
        |v| Some(v.as_str()?.to_owned()),
        |text| json!(text),
    );
}

/// Keeps a single field and the first element of its plural equal: the single one is authoritative when set.
pub(super) fn mirror_first(
    members: &mut Members,
    one: &str,
    many: &str,
    read: fn(&Value) -> Option<String>,
    write: fn(&str) -> Value,
) {
    let single = text(members, one).to_owned();
    let first = members
        .get(many)
        .and_then(|m| read(m.get(0)?))
        .unwrap_or_default();
    if !single.is_empty() && single != first {
        set(members, many, json!([write(&single)]));
    } else if single.is_empty() && !first.is_empty() {
        set(members, one, first);
    }
}

fn limit_range_item(item: &mut Members) {
    if text(item, "type") != "Container" {
        return;
    }
    let amounts = |item: &Members, name: &str| match item.get(name) {
        Some(Value::Object(map)) => map.clone(),
        _ => Map::new(),
    };
    let mut limits = amounts(item, "default");
    let mut requests = amounts(item, "defaultRequest");
    let fill = |into: &mut Members, from: Members| {
        for (key, value) in from {
            into.entry(key).or_insert(value);
        }
    };
    fill(&mut limits, amounts(item, "max"));
    fill(&mut requests, limits.clone());
    fill(&mut requests, amounts(item, "min"));
    for (name, map) in [("default", limits), ("defaultRequest", requests)] {
        if map.is_empty() {
            item.remove(name);
        } else {
            set(item, name, map);
        }
    }
}
