//! Reading and setting a Service's fields.

use serde_json::{Value, json};

pub(super) const NONE: &str = "None";

pub(super) fn text<'a>(service: &'a Value, field: &str) -> &'a str {
    service["spec"][field].as_str().unwrap_or_default()
}

pub(super) fn kind(service: &Value) -> &str {
    text(service, "type")
}

pub(super) fn list<'a>(service: &'a Value, field: &str) -> Vec<&'a str> {
    let items = service["spec"][field].as_array().into_iter().flatten();
    items.filter_map(Value::as_str).collect()
}

pub(super) fn same_list(a: &Value, b: &Value, field: &str) -> bool {
    list(a, field) == list(b, field)
}

/// Sets a list, or removes it when it is empty.
pub(super) fn set_list(service: &mut Value, field: &str, items: &[impl AsRef<str>]) {
    let items: Vec<&str> = items.iter().map(AsRef::as_ref).collect();
    set(
        service,
        field,
        if items.is_empty() {
            Value::Null
        } else {
            json!(items)
        },
    );
}

/// Sets a field of the spec; null removes it.
pub(super) fn set(service: &mut Value, field: &str, value: Value) {
    let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    match value {
        Value::Null => drop(spec.remove(field)),
        value => drop(spec.insert(field.to_owned(), value)),
    }
}

pub(super) fn ports(service: &Value) -> &[Value] {
    service["spec"]["ports"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
}

pub(super) fn ports_mut(service: &mut Value) -> impl Iterator<Item = &mut Value> {
    service
        .get_mut("spec")
        .and_then(|spec| spec.get_mut("ports"))
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
}

/// 0 when there is none.
pub(super) fn node_port(port: &Value) -> i64 {
    port["nodePort"].as_i64().unwrap_or(0)
}

/// The node ports of a Service, without the health check's.
pub(super) fn node_ports(service: &Value) -> Vec<i64> {
    ports(service)
        .iter()
        .map(node_port)
        .filter(|port| *port != 0)
        .collect()
}

pub(super) fn health_port(service: &Value) -> i64 {
    service["spec"]["healthCheckNodePort"].as_i64().unwrap_or(0)
}

pub(super) fn is_headless(service: &Value) -> bool {
    list(service, "clusterIPs") == [NONE]
}

pub(super) fn needs_cluster_ip(service: &Value) -> bool {
    kind(service) != "ExternalName"
}

pub(super) fn may_have_node_ports(service: &Value) -> bool {
    matches!(kind(service), "NodePort" | "LoadBalancer")
}

pub(super) fn gets_node_ports(service: &Value) -> bool {
    match kind(service) {
        "NodePort" => true,
        "LoadBalancer" => service["spec"]["allocateLoadBalancerNodePorts"] != false,
        _ => false,
    }
}

pub(super) fn needs_health_check(service: &Value) -> bool {
    kind(service) == "LoadBalancer" && text(service, "externalTrafficPolicy") == "Local"
}

pub(super) fn is_externally_accessible(service: &Value) -> bool {
    may_have_node_ports(service) || (kind(service) == "ClusterIP" && !list(service, "externalIPs").is_empty())
}
