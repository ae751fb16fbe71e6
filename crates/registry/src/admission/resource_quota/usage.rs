//! What an object counts for.

use corten_meta::{Quantity, object};
use serde_json::Value;

use super::super::pod_amounts::{Amounts, add, amounts, of_pod};
use super::super::{Attributes, Operation};
use crate::resource::{ResourceInfo, Subresource};

const COMPUTE: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
/// Resources every container must state where a quota limits them.
const TO_STATE: [&str; 6] = [
    "cpu",
    "memory",
    "requests.cpu",
    "requests.memory",
    "limits.cpu",
    "limits.memory",
];
const BY_CLASS: &str = ".storageclass.storage.k8s.io/";
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

/// How objects of a kind are measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Measured {
    Pod,
    Service,
    Claim,
    /// By their number, under these names.
    Count(Vec<String>),
}

impl Measured {
    /// How the object of this request is measured; `None` if the request cannot change what is used.
    pub(super) fn of(attributes: &Attributes<'_>, object: &Value) -> Option<Self> {
        if attributes.namespace.is_empty() || attributes.resource.plural == "events" {
            return None;
        }
        let measured = Self::of_kind(attributes.resource);
        let creates = attributes.operation == Operation::Create;
        let touched = match (&measured, attributes.subresource) {
            (Self::Pod, Subresource::RESIZE) => !creates,
            (Self::Pod, Subresource::MAIN) => {
                creates
                    || attributes
                        .old
                        .is_some_and(|old| terminating(old) != terminating(object))
            }
            (Self::Service | Self::Claim, Subresource::MAIN) => true,
            (Self::Count(_), Subresource::MAIN) => creates,
            _ => false,
        };
        touched.then_some(measured)
    }

    fn of_kind(resource: &ResourceInfo) -> Self {
        match (resource.group.as_ref(), resource.plural.as_ref()) {
            ("", "pods") => Self::Pod,
            ("", "services") => Self::Service,
            ("", "persistentvolumeclaims") => Self::Claim,
            ("", plural @ ("configmaps" | "secrets" | "replicationcontrollers" | "resourcequotas")) => {
                Self::Count(vec![format!("count/{plural}"), plural.to_owned()])
            }
            _ => Self::Count(vec![format!("count/{}", resource.group_resource())]),
        }
    }

    /// Of the limited resources those that objects of this kind use.
    pub(super) fn counted<'h>(&self, hard: &'h Amounts) -> Vec<&'h str> {
        let counts = |name: &str| match self {
            Self::Pod => is_pod_resource(name),
            Self::Service => {
                matches!(
                    name,
                    "count/services" | "services" | "services.nodeports" | "services.loadbalancers"
                )
            }
            Self::Claim => is_claim_resource(name),
            Self::Count(names) => names.iter().any(|known| known == name),
        };
        hard.keys()
            .map(String::as_str)
            .filter(|name| counts(name))
            .collect()
    }

    /// What the object uses.
    pub(super) fn usage(&self, object: &Value) -> Amounts {
        let mut usage = Amounts::new();
        match self {
            Self::Pod => pod(object, &mut usage),
            Self::Service => service(object, &mut usage),
            Self::Claim => claim(object, &mut usage),
            Self::Count(names) => usage.extend(names.iter().map(|name| (name.clone(), number(1)))),
        }
        usage
    }

    /// Which containers do not state what the quota limits.
    pub(super) fn unstated(&self, names: &[&str], object: &Value) -> Option<String> {
        let spec = &object["spec"];
        let whole = |kind: &str| {
            spec["resources"][kind]
                .as_object()
                .is_some_and(|list| !list.is_empty())
        };
        if *self != Self::Pod || whole("requests") || whole("limits") {
            return None;
        }
        let mut missing: Vec<String> = Vec::new();
        for name in names.iter().filter(|name| TO_STATE.contains(name)) {
            let lacking = |container: &&Value| !states(container, name);
            let all = ["containers", "initContainers"].map(|field| spec[field].as_array());
            let all = all.into_iter().flatten().flatten();
            let mut containers: Vec<&str> = all
                .filter(lacking)
                .map(|container| container["name"].as_str().unwrap_or_default())
                .collect();
            containers.sort_unstable();
            if !containers.is_empty() {
                missing.push(format!("{name} for: {}", containers.join(",")));
            }
        }
        (!missing.is_empty()).then(|| format!("must specify {}", missing.join("; ")))
    }
}

fn states(container: &Value, name: &str) -> bool {
    let (kind, resource) = match name.split_once('.') {
        Some((kind, resource)) => (kind, resource),
        None => ("requests", name),
    };
    !container["resources"][kind][resource].is_null()
}

fn number(count: i64) -> Quantity {
    Quantity::from_milli(count.saturating_mul(1000))
}

fn is_pod_resource(name: &str) -> bool {
    let plain = name
        .strip_prefix("requests.")
        .or_else(|| name.strip_prefix("limits."))
        .unwrap_or(name);
    let extended = name
        .strip_prefix("requests.")
        .is_some_and(|resource| resource.contains('/') && !resource.contains("kubernetes.io/"));
    matches!(name, "count/pods" | "pods")
        || COMPUTE.contains(&plain)
        || name.starts_with("hugepages-")
        || name.starts_with("requests.hugepages-")
        || extended
}

fn is_claim_resource(name: &str) -> bool {
    let own = |name: &str| matches!(name, "persistentvolumeclaims" | "requests.storage");
    name == "count/persistentvolumeclaims"
        || own(name)
        || name
            .split_once(BY_CLASS)
            .is_some_and(|(_, resource)| own(resource))
}

/// A pod that ends by itself after some time.
pub(super) fn terminating(pod: &Value) -> bool {
    pod["spec"]["activeDeadlineSeconds"]
        .as_i64()
        .is_some_and(|seconds| seconds >= 0)
}

fn pod(pod: &Value, usage: &mut Amounts) {
    usage.insert("count/pods".to_owned(), number(1));
    if matches!(pod["status"]["phase"].as_str(), Some("Failed" | "Succeeded")) {
        return;
    }
    usage.insert("pods".to_owned(), number(1));
    let spec = &pod["spec"];
    let (mut requests, mut limits) = (of_pod(spec, "requests"), of_pod(spec, "limits"));
    let overhead = amounts(&spec["overhead"]);
    add(&mut requests, &overhead);
    let limited: Amounts = overhead
        .into_iter()
        .filter(|(name, _)| limits.contains_key(name))
        .collect();
    add(&mut limits, &limited);
    for (name, amount) in requests {
        if COMPUTE.contains(&name.as_str()) || name.starts_with("hugepages-") {
            usage.insert(name.clone(), amount.clone());
        }
        usage.insert(format!("requests.{name}"), amount);
    }
    for name in COMPUTE {
        if let Some(amount) = limits.remove(name) {
            usage.insert(format!("limits.{name}"), amount);
        }
    }
}

fn service(service: &Value, usage: &mut Amounts) {
    let spec = &service["spec"];
    let ports = spec["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of_ports = |count: usize| number(i64::try_from(count).unwrap_or(i64::MAX));
    let stated = || {
        ports
            .iter()
            .filter(|port| port["nodePort"].as_i64().unwrap_or(0) != 0)
            .count()
    };
    let (balancers, node_ports) = match spec["type"].as_str() {
        Some("NodePort") => (0, ports.len()),
        Some("LoadBalancer") if spec["allocateLoadBalancerNodePorts"] == false => (1, stated()),
        Some("LoadBalancer") => (1, ports.len()),
        _ => (0, 0),
    };
    for (name, amount) in [
        ("count/services", number(1)),
        ("services", number(1)),
        ("services.loadbalancers", number(balancers)),
        ("services.nodeports", of_ports(node_ports)),
    ] {
        usage.insert(name.to_owned(), amount);
    }
}

fn claim(claim: &Value, usage: &mut Amounts) {
    let noted = object::annotation(claim, CLASS_ANNOTATION);
    let class = noted
        .or_else(|| claim["spec"]["storageClassName"].as_str())
        .unwrap_or_default();
    let by_class = |resource: &str| (!class.is_empty()).then(|| format!("{class}{BY_CLASS}{resource}"));
    usage.insert("count/persistentvolumeclaims".to_owned(), number(1));
    let storage = |list: &Value| amounts(list).remove("storage");
    let asked = storage(&claim["spec"]["resources"]["requests"]);
    let asked = asked.max(storage(&claim["status"]["allocatedResources"]));
    for (name, amount) in [
        ("persistentvolumeclaims", Some(number(1))),
        ("requests.storage", asked),
    ] {
        let Some(amount) = amount else { continue };
        if let Some(key) = by_class(name) {
            usage.insert(key, amount.clone());
        }
        usage.insert(name.to_owned(), amount);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn kinds_use_what_upstream_says() {
        let pod = json!({"spec": {"containers": [
            {"name": "a", "resources": {"requests": {"cpu": "100m", "x.io/gpu": "1"}, "limits": {"cpu": "1"}}}]}});
        let usage = Measured::Pod.usage(&pod);
        let shown: Vec<String> = usage
            .iter()
            .map(|(name, amount)| format!("{name}={amount}"))
            .collect();
        assert_eq!(
            shown,
            [
                "count/pods=1",
                "cpu=100m",
                "limits.cpu=1",
                "pods=1",
                "requests.cpu=100m",
                "requests.x.io/gpu=1"
            ]
        );
        let hard = ["limits.cpu", "limits.memory", "pods", "services"];
        let hard: Amounts = hard.iter().map(|name| ((*name).to_owned(), number(1))).collect();
        let names = Measured::Pod.counted(&hard);
        assert_eq!(names, ["limits.cpu", "limits.memory", "pods"]);
        assert_eq!(
            Measured::Pod.unstated(&names, &pod).unwrap(),
            "must specify limits.memory for: a"
        );
        let claim =
            json!({"spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "2Gi"}}}});
        assert_eq!(
            Measured::Claim.usage(&claim)["fast.storageclass.storage.k8s.io/requests.storage"].to_string(),
            "2Gi"
        );
    }
}
