//! Nodes.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Cells;
use super::view::{View, or};

fn status(node: &View<'_>) -> String {
    let mut out = match node.condition("Ready") {
        Some(c) if c["status"] == "True" => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if node.at("/spec/unschedulable") == &Value::Bool(true) {
        out.push_str(",SchedulingDisabled");
    }
    out
}

fn roles(node: &View<'_>) -> String {
    let labels = node.at("/metadata/labels").as_object().into_iter().flatten();
    let roles: BTreeSet<&str> = labels
        .filter_map(
            |(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
                Some(role) => Some(role),
                None if key == "kubernetes.io/role" => value.as_str(),
                None => None,
            },
        )
        .filter(|role| !role.is_empty())
        .collect();
    or(&roles.into_iter().collect::<Vec<_>>().join(","), "<none>").to_owned()
}

fn address(node: &View<'_>, kind: &str) -> Value {
    let found = node.list("/status/addresses").iter().find(|a| a["type"] == kind);
    Value::from(found.and_then(|a| a["address"].as_str()).unwrap_or("<none>"))
}

pub(super) fn node(node: &View<'_>) -> Cells {
    let info = |name: &str| or(node.text(&format!("/status/nodeInfo/{name}")), "<unknown>").to_owned();
    let mut kernel = info("kernelVersion");
    let architecture = node.text("/status/nodeInfo/architecture");
    if !architecture.is_empty() {
        kernel.push_str(&format!(" ({architecture})"));
    }
    vec![
        node.name(),
        Value::from(status(node)),
        Value::from(roles(node)),
        node.age(),
        Value::from(node.text("/status/nodeInfo/kubeletVersion")),
        address(node, "InternalIP"),
        address(node, "ExternalIP"),
        Value::from(info("osImage")),
        Value::from(kernel),
        Value::from(info("containerRuntimeVersion")),
    ]
}
