//! The downward API: fields of the pod and resources of its containers as text.

use crate::machine::NodeFacts;
use crate::pod::PodExt;
use crate::quantity::{milli, value};
use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;

/// A field by its path; `labels` and `annotations` whole are for volumes.
///
/// # Errors
/// When there is no such field.
pub fn pod_field(pod: &Pod, path: &str, ips: &[String], hosts: &[String]) -> Result<String, String> {
    let meta = &pod.metadata;
    if let Some((map, key)) = subscript(path) {
        let of = match map {
            "metadata.labels" => &meta.labels,
            "metadata.annotations" => &meta.annotations,
            _ => return Err(format!("fieldPath \"{path}\" does not support subscript")),
        };
        return Ok(of.as_ref().and_then(|m| m.get(key)).cloned().unwrap_or_default());
    }
    let spec = pod.spec();
    Ok(match path {
        "metadata.name" => pod.name().to_owned(),
        "metadata.namespace" => pod.namespace().to_owned(),
        "metadata.uid" => pod.uid().to_owned(),
        "metadata.labels" => format_map(meta.labels.as_ref()),
        "metadata.annotations" => format_map(meta.annotations.as_ref()),
        "spec.nodeName" => spec.node_name.clone().unwrap_or_default(),
        "spec.serviceAccountName" => spec.service_account_name.clone().unwrap_or_default(),
        "status.hostIP" => hosts.first().cloned().unwrap_or_default(),
        "status.hostIPs" => hosts.join(","),
        "status.podIP" => ips.first().cloned().unwrap_or_default(),
        "status.podIPs" => ips.join(","),
        _ => return Err(format!("unsupported fieldPath: {path}")),
    })
}

/// `metadata.labels['key']` in its two parts.
fn subscript(path: &str) -> Option<(&str, &str)> {
    path.strip_suffix("']")?.split_once("['")
}

/// `key="value"` lines in key order, values quoted as Go's `%q`.
pub fn format_map(map: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<String> = map
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", quote(v)))
        .collect();
    lines.join("\n")
}

fn quote(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A container's request or limit, in units of the divisor, rounded up. Limits that are not set are the node's.
///
/// # Errors
/// When there is no such container or resource.
pub fn resource(
    pod: &Pod,
    own: &Container,
    r: &ResourceFieldSelector,
    node: &NodeFacts,
) -> Result<String, String> {
    let named = r.container_name.as_deref().filter(|n| !n.is_empty());
    let found = match named {
        Some(name) => Some(
            pod.container(name)
                .ok_or_else(|| format!("container {name} not found"))?
                .1,
        ),
        None => None,
    };
    let c = found.as_ref().unwrap_or(own);
    let divisor = r.divisor.clone().unwrap_or_else(|| Quantity("0".into()));
    let resources = c.resources.clone().unwrap_or_default();
    let (list, limit, name) = match r.resource.split_once('.') {
        Some(("limits", name)) => (resources.limits, true, name),
        Some(("requests", name)) => (resources.requests, false, name),
        _ => return Err(format!("unsupported container resource : {}", r.resource)),
    };
    let set = list.and_then(|l| l.get(name).cloned());
    let (amount, unit) = match name {
        "cpu" => {
            let amount = set.map(|q| milli(&q)).filter(|m| *m > 0);
            (
                amount.unwrap_or(if limit { node.cpu_milli } else { 0 }),
                milli(&divisor).max(0),
            )
        }
        _ => {
            let amount = set.map(|q| value(&q)).filter(|m| *m > 0);
            let default = if limit && name == "memory" {
                node.memory_bytes
            } else {
                0
            };
            (amount.unwrap_or(default), value(&divisor).max(0))
        }
    };
    let unit = match (unit, name) {
        (0, "cpu") => 1000,
        (0, _) => 1,
        (unit, _) => unit,
    };
    Ok(((amount + unit - 1) / unit).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_divisors() {
        let mut pod = Pod {
            spec: Some(Default::default()),
            ..Pod::default()
        };
        pod.metadata.labels = Some(
            [
                ("a".to_owned(), "x\"y".to_owned()),
                ("b".to_owned(), "z".to_owned()),
            ]
            .into(),
        );
        assert_eq!(
            pod_field(&pod, "metadata.labels", &[], &[]).unwrap(),
            "a=\"x\\\"y\"\nb=\"z\""
        );
        assert_eq!(pod_field(&pod, "metadata.labels['b']", &[], &[]).unwrap(), "z");
        assert!(pod_field(&pod, "spec.nope", &[], &[]).is_err());
        let node = NodeFacts {
            cpu_milli: 2000,
            memory_bytes: 1 << 30,
            ..NodeFacts::default()
        };
        let ask = |resource: &str, divisor: Option<&str>| {
            let r = ResourceFieldSelector {
                resource: resource.into(),
                divisor: divisor.map(|d| Quantity(d.into())),
                container_name: None,
            };
            super::resource(&pod, &Container::default(), &r, &node).unwrap()
        };
        assert_eq!(ask("limits.cpu", None), "2");
        assert_eq!(ask("limits.cpu", Some("1m")), "2000");
        assert_eq!(ask("limits.memory", Some("1Mi")), "1024");
        assert_eq!(ask("requests.memory", None), "0");
    }
}
