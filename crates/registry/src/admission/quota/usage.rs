//! What objects count for (`pkg/quota/v1/evaluator/core`).

use std::time::SystemTime;

use corten_meta::object;
use serde_json::Value;

use super::super::totals::{self, Totals, number};
use super::super::{Attributes, Operation};
use crate::resource::Subresource;

/// How a resource is counted.
pub(super) enum Kind {
    Pod,
    Service,
    Claim,
    /// By number alone: the `count/…` name, and the older one of some core kinds.
    Other {
        count: String,
        alias: Option<String>,
    },
}

const POD: [&str; 11] = [
    "pods",
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "count/pods",
];
const SERVICE: [&str; 4] = [
    "count/services",
    "services",
    "services.nodeports",
    "services.loadbalancers",
];
const CLAIM: [&str; 3] = [
    "count/persistentvolumeclaims",
    "persistentvolumeclaims",
    "requests.storage",
];
const CLASS_SUFFIX: &str = ".storageclass.storage.k8s.io/";

impl Kind {
    pub(super) fn of(attributes: &Attributes<'_>) -> Self {
        let (group, plural) = (&*attributes.resource.group, &*attributes.resource.plural);
        match (group, plural) {
            ("", "pods") => Self::Pod,
            ("", "services") => Self::Service,
            ("", "persistentvolumeclaims") => Self::Claim,
            ("", _) => {
                let old = matches!(
                    plural,
                    "configmaps" | "secrets" | "replicationcontrollers" | "resourcequotas"
                );
                Self::Other {
                    count: format!("count/{plural}"),
                    alias: old.then(|| plural.to_owned()),
                }
            }
            _ => Self::Other {
                count: format!("count/{plural}.{group}"),
                alias: None,
            },
        }
    }

    /// Whether a quota's resource is about this kind.
    pub(super) fn counts(&self, name: &str) -> bool {
        match self {
            Self::Pod => {
                let huge = name.starts_with("hugepages-") || name.starts_with("requests.hugepages-");
                POD.contains(&name) || huge || is_extended(name)
            }
            Self::Service => SERVICE.contains(&name),
            Self::Claim => CLAIM.contains(&name) || name.contains(CLASS_SUFFIX),
            Self::Other { count, alias } => name == count || alias.as_deref() == Some(name),
        }
    }
}

/// `requests.` of something with a vendor's domain.
fn is_extended(name: &str) -> bool {
    name.strip_prefix("requests.").is_some_and(|rest| {
        rest.split_once('/').is_some_and(|(domain, _)| {
            !domain.ends_with("kubernetes.io") || domain.starts_with("deviceclass.")
        })
    })
}

/// Whether the write may change what is used.
pub(super) fn handles(attributes: &Attributes<'_>, new: &Value) -> bool {
    let (resource, sub) = (attributes.resource, attributes.subresource);
    if resource.plural == "events" && matches!(&*resource.group, "" | "events.k8s.io") {
        return false;
    }
    let create = attributes.operation == Operation::Create;
    match (&*resource.group, &*resource.plural) {
        ("", "pods") if sub == Subresource::RESIZE => !create,
        ("", "pods") if sub == Subresource::MAIN && !create => attributes
            .old
            .is_some_and(|old| is_terminating(old) != is_terminating(new)),
        ("", "services" | "persistentvolumeclaims") => sub == Subresource::MAIN,
        _ => create && sub == Subresource::MAIN,
    }
}

/// What the object takes of each resource.
pub(super) fn measure(kind: &Kind, object: &Value, now: SystemTime) -> Totals {
    let mut totals = Totals::new();
    match kind {
        Kind::Pod => pod(&mut totals, object, now),
        Kind::Service => service(&mut totals, &object["spec"]),
        Kind::Claim => claim(&mut totals, object),
        Kind::Other { count, alias } => {
            totals.extend(
                [count]
                    .into_iter()
                    .chain(alias)
                    .map(|name| (name.clone(), number(1))),
            );
        }
    }
    totals
}

fn pod(totals: &mut Totals, pod: &Value, now: SystemTime) {
    totals.insert("count/pods".to_owned(), number(1));
    if is_over(pod, now) {
        return;
    }
    totals.insert("pods".to_owned(), number(1));
    let mut requests = totals::of_pod(&pod["spec"], "requests");
    totals::add_overhead(&mut requests, &pod["spec"], true);
    for (name, amount) in requests {
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-") {
            totals.insert(name.clone(), amount.clone());
        }
        totals.insert(format!("requests.{name}"), amount);
    }
    let mut limits = totals::of_pod(&pod["spec"], "limits");
    totals::add_overhead(&mut limits, &pod["spec"], false);
    totals.extend(
        limits
            .into_iter()
            .map(|(name, amount)| (format!("limits.{name}"), amount)),
    );
}

/// Ended, or past the time it was given to end.
fn is_over(pod: &Value, now: SystemTime) -> bool {
    if matches!(pod["status"]["phase"].as_str(), Some("Failed" | "Succeeded")) {
        return true;
    }
    let grace = pod["metadata"]["deletionGracePeriodSeconds"].as_i64();
    let end = object::deletion_timestamp(pod).and_then(|text| corten_meta::time::parse(text).zip(grace));
    let now = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX));
    end.is_some_and(|(at, grace)| now > at.as_second().saturating_add(grace))
}

fn service(totals: &mut Totals, spec: &Value) {
    let ports = spec["ports"].as_array().map_or(&[][..], Vec::as_slice);
    let own = ports
        .iter()
        .filter(|port| port["nodePort"].as_i64().unwrap_or(0) != 0)
        .count();
    let (balancers, node_ports) = match spec["type"].as_str() {
        Some("NodePort") => (0, ports.len()),
        Some("LoadBalancer") if spec["allocateLoadBalancerNodePorts"] == false => (1, own),
        Some("LoadBalancer") => (1, ports.len()),
        _ => (0, 0),
    };
    for (name, count) in SERVICE.into_iter().zip([1, 1, node_ports, balancers]) {
        totals.insert(name.to_owned(), number(count));
    }
}

fn claim(totals: &mut Totals, claim: &Value) {
    let asked = totals::list(&claim["spec"]["resources"]["requests"]).remove("storage");
    for name in &CLAIM[..2] {
        totals.insert((*name).to_owned(), number(1));
    }
    let class = claim["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"].as_str();
    let class = class
        .or_else(|| claim["spec"]["storageClassName"].as_str())
        .filter(|class| !class.is_empty());
    if let Some(class) = class {
        totals.insert(format!("{class}{CLASS_SUFFIX}persistentvolumeclaims"), number(1));
    }
    if let Some(asked) = asked {
        if let Some(class) = class {
            totals.insert(format!("{class}{CLASS_SUFFIX}requests.storage"), asked.clone());
        }
        totals.insert("requests.storage".to_owned(), asked);
    }
}

/// Whether the quota's scopes take the object in; only pods have any.
pub(super) fn in_scope(kind: &Kind, quota: &Value, object: &Value) -> bool {
    let each = |field: &Value| field.as_array().cloned().unwrap_or_default();
    let scopes = each(&quota["spec"]["scopes"]);
    let selectors = each(&quota["spec"]["scopeSelector"]["matchExpressions"]);
    if !matches!(kind, Kind::Pod) {
        return scopes.is_empty() && selectors.is_empty();
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    scopes
        .iter()
        .all(|scope| has_scope(&text(scope), "Exists", &[], object))
        && selectors.iter().all(|s| {
            has_scope(
                &text(&s["scopeName"]),
                &text(&s["operator"]),
                &each(&s["values"]),
                object,
            )
        })
}

fn has_scope(scope: &str, operator: &str, values: &[Value], pod: &Value) -> bool {
    match scope {
        "Terminating" => is_terminating(pod),
        "NotTerminating" => !is_terminating(pod),
        "BestEffort" => is_best_effort(&pod["spec"]),
        "NotBestEffort" => !is_best_effort(&pod["spec"]),
        "PriorityClass" => {
            let class = object::str_at(pod, &["spec", "priorityClassName"]);
            let named = !class.is_empty() && values.iter().any(|v| v == class);
            match operator {
                "In" => named,
                "NotIn" => !named,
                "DoesNotExist" => class.is_empty(),
                _ => !class.is_empty(),
            }
        }
        "CrossNamespacePodAffinity" => looks_abroad(&pod["spec"]["affinity"]),
        _ => false,
    }
}

fn is_terminating(pod: &Value) -> bool {
    pod["spec"]["activeDeadlineSeconds"]
        .as_i64()
        .is_some_and(|seconds| seconds >= 0)
}

fn is_best_effort(spec: &Value) -> bool {
    let states = |holder: &Value| {
        ["requests", "limits"].iter().any(|list| {
            let amounts = totals::list(&holder["resources"][list]);
            amounts
                .iter()
                .any(|(name, v)| matches!(name.as_str(), "cpu" | "memory") && v.nanos() > 0)
        })
    };
    let mut all = ["containers", "initContainers"]
        .into_iter()
        .flat_map(|f| spec[f].as_array().into_iter().flatten());
    !states(spec) && !all.any(states)
}

fn looks_abroad(affinity: &Value) -> bool {
    let terms = |list: &Value| list.as_array().cloned().unwrap_or_default();
    let abroad = |term: &Value| {
        !term["namespaceSelector"].is_null() || term["namespaces"].as_array().is_some_and(|n| !n.is_empty())
    };
    ["podAffinity", "podAntiAffinity"].iter().any(|side| {
        let hard = terms(&affinity[side]["requiredDuringSchedulingIgnoredDuringExecution"]);
        let soft = terms(&affinity[side]["preferredDuringSchedulingIgnoredDuringExecution"]);
        hard.iter().any(abroad) || soft.iter().any(|weighted| abroad(&weighted["podAffinityTerm"]))
    })
}
