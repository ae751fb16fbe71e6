//! Where pods may go: tolerations against taints, node selectors against labels, ports of the node against those of other
//! pods. Shared by the scheduler, the controllers that place pods themselves, and the kubelet that admits them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, PodSpec, Taint, Toleration};

/// A port of the node that a pod wants: protocol, address (`0.0.0.0` for all) and number.
pub type HostPort<'a> = (&'a str, &'a str, i32);

const ANY_ADDRESS: &str = "0.0.0.0";

/// The ports of the node that a pod wants for as long as it runs.
pub fn host_ports(spec: &PodSpec) -> impl Iterator<Item = HostPort<'_>> {
    let inits = spec.init_containers.iter().flatten();
    let sidecars = inits.filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let all = spec.containers.iter().chain(sidecars);
    all.flat_map(|c| c.ports.iter().flatten()).filter_map(|port| {
        let number = port.host_port.filter(|number| *number > 0)?;
        let address = port.host_ip.as_deref().filter(|ip| !ip.is_empty());
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        Some((protocol, address.unwrap_or(ANY_ADDRESS), number))
    })
}

/// Whether two pods cannot both have these: the wildcard address takes the port on all addresses.
#[must_use]
pub fn collide(a: HostPort<'_>, b: HostPort<'_>) -> bool {
    a.0 == b.0 && a.2 == b.2 && (a.1 == b.1 || a.1 == ANY_ADDRESS || b.1 == ANY_ADDRESS)
}

/// Whether a toleration covers a taint.
#[must_use]
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    if (!effect.is_empty() && effect != taint.effect) || (!key.is_empty() && key != taint.key) {
        return false;
    }
    let (wanted, value) = (
        toleration.value.as_deref().unwrap_or_default(),
        taint.value.as_deref().unwrap_or_default(),
    );
    match toleration.operator.as_deref().unwrap_or("Equal") {
        "Exists" => true,
        "Equal" | "" => !key.is_empty() && wanted == value,
        "Lt" => matches!((value.parse::<i64>(), wanted.parse::<i64>()), (Ok(v), Ok(w)) if v < w),
        "Gt" => matches!((value.parse::<i64>(), wanted.parse::<i64>()), (Ok(v), Ok(w)) if v > w),
        _ => false,
    }
}

/// A term without requirements matches nothing.
#[must_use]
pub fn term(term: &NodeSelectorTerm, labels: &BTreeMap<String, String>, name: &str) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    (!expressions.is_empty() || !fields.is_empty())
        && expressions
            .iter()
            .all(|r| requirement(r, labels.get(&r.key).map(String::as_str)))
        && fields
            .iter()
            .all(|r| requirement(r, (r.key == "metadata.name").then_some(name)))
}

fn requirement(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = |v: &str| values.iter().any(|wanted| wanted == v);
    let compared = |ordering: std::cmp::Ordering| {
        let (Some(Ok(have)), Some(Ok(bound))) = (
            value.map(str::parse::<i64>),
            values.first().map(|v| v.parse::<i64>()),
        ) else {
            return false;
        };
        have.cmp(&bound) == ordering
    };
    match requirement.operator.as_str() {
        "In" => value.is_some_and(listed),
        "NotIn" => value.is_none_or(|v| !listed(v)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared(std::cmp::Ordering::Greater),
        "Lt" => compared(std::cmp::Ordering::Less),
        _ => false,
    }
}

/// Whether a node has what nodeSelector and required node affinity ask for.
#[must_use]
pub fn selects(spec: &PodSpec, labels: Option<&BTreeMap<String, String>>, name: &str) -> bool {
    let none = BTreeMap::new();
    let labels = labels.unwrap_or(&none);
    let selected = spec
        .node_selector
        .iter()
        .flatten()
        .all(|(k, v)| labels.get(k) == Some(v));
    let affinity = spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
    let required = affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    selected && required.is_none_or(|r| r.node_selector_terms.iter().any(|t| term(t, labels, name)))
}
