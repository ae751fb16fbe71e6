//! What objects count for. Upstream: pkg/quota/v1/evaluator/core.

use std::collections::BTreeMap;
use std::sync::Arc;

use corten_client::pod::{Container, Pod, PodSpec};
use corten_meta::quantity::Quantity as Amount;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, ResourceQuotaSpec, ScopedResourceSelectorRequirement, Service,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::core::pod;

/// The objects of a namespace that quotas measure.
#[derive(Default)]
pub struct Counted {
    pub pods: Vec<Arc<Pod>>,
    pub services: Vec<Arc<Service>>,
    pub claims: Vec<Arc<PersistentVolumeClaim>>,
    /// Numbers of objects of other kinds, by the name of the quota's resource.
    pub others: BTreeMap<String, i64>,
}

type Totals = BTreeMap<String, Amount>;

/// Exact value of a quantity, in billionths; 0 if it cannot be read.
#[must_use]
pub fn nanos(quantity: &Quantity) -> i128 {
    amount(quantity).nanos()
}

fn amount(quantity: &Quantity) -> Amount {
    Amount::parse(&quantity.0).unwrap_or_else(|_| Amount::zero())
}

/// The `plural.group` a quota's resource counts objects of, unless they are measured in some other way.
#[must_use]
pub fn counted_kind(name: &str) -> Option<&str> {
    match name {
        "configmaps" | "secrets" | "replicationcontrollers" | "resourcequotas" => Some(name),
        _ => name.strip_prefix("count/"),
    }
}

/// The used amounts of everything a quota limits.
#[must_use]
pub fn measure(spec: Option<&ResourceQuotaSpec>, counted: &Counted) -> BTreeMap<String, Quantity> {
    let Some(spec) = spec else { return BTreeMap::new() };
    let mut totals = Totals::new();
    for pod in counted
        .pods
        .iter()
        .filter(|p| !pod::is_finished(p) && in_scope(spec, p))
    {
        add_pod(&mut totals, &pod.spec.clone().unwrap_or_default());
    }
    let scoped = spec.scopes.as_ref().is_some_and(|s| !s.is_empty()) || spec.scope_selector.is_some();
    if !scoped {
        counted.services.iter().for_each(|s| add_service(&mut totals, s));
        counted.claims.iter().for_each(|c| add_claim(&mut totals, c));
    }
    for (name, count) in &counted.others {
        totals.insert(name.clone(), number(*count));
    }
    let hard = spec.hard.iter().flatten();
    hard.map(|(name, _)| {
        let used = totals.get(name).cloned().unwrap_or_else(Amount::zero);
        (name.clone(), Quantity(used.to_string()))
    })
    .collect()
}

fn number(count: i64) -> Amount {
    Amount::from_milli(count.saturating_mul(1000))
}

fn add(totals: &mut Totals, name: &str, value: &Amount) {
    let sum = totals.entry(name.to_owned()).or_insert_with(Amount::zero);
    *sum = sum.add(value);
}

fn add_pod(totals: &mut Totals, spec: &PodSpec) {
    add(totals, "pods", &number(1));
    let requests = effective(spec, |c| c.resources.as_ref().and_then(|r| r.requests.as_ref()));
    let limits = effective(spec, |c| c.resources.as_ref().and_then(|r| r.limits.as_ref()));
    for (name, value) in &requests {
        add(totals, &format!("requests.{name}"), value);
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-") {
            add(totals, name, value);
        }
    }
    for (name, value) in &limits {
        add(totals, &format!("limits.{name}"), value);
    }
}

type List = BTreeMap<String, Quantity>;

/// Containers and sidecars together, or the greediest moment of initialization, plus overhead.
fn effective(spec: &PodSpec, list: fn(&Container) -> Option<&List>) -> Totals {
    let mut total = Totals::new();
    let plus = |total: &mut Totals, c: &Container| {
        for (name, quantity) in list(c).into_iter().flatten() {
            add(total, name, &amount(quantity));
        }
    };
    spec.containers.iter().for_each(|c| plus(&mut total, c));
    let (mut sidecars, mut peak) = (Totals::new(), Totals::new());
    for container in spec.init_containers.iter().flatten() {
        let mut moment = sidecars.clone();
        plus(&mut moment, container);
        if container.restart_policy.as_deref() == Some("Always") {
            plus(&mut total, container);
            sidecars.clone_from(&moment);
        }
        raise(&mut peak, moment);
    }
    raise(&mut total, peak);
    for (name, quantity) in spec.overhead.iter().flatten() {
        add(&mut total, name, &amount(quantity));
    }
    total
}

fn raise(highest: &mut Totals, moment: Totals) {
    for (name, value) in moment {
        let current = highest.entry(name).or_insert_with(Amount::zero);
        if value.nanos() > current.nanos() {
            *current = value;
        }
    }
}

fn add_service(totals: &mut Totals, service: &Service) {
    let spec = service.spec.clone().unwrap_or_default();
    let ports = i64::try_from(spec.ports.as_ref().map_or(0, Vec::len)).unwrap_or(0);
    add(totals, "services", &number(1));
    match spec.type_.as_deref() {
        Some("NodePort") => add(totals, "services.nodeports", &number(ports)),
        Some("LoadBalancer") => {
            add(totals, "services.loadbalancers", &number(1));
            let with_ports = spec.allocate_load_balancer_node_ports != Some(false);
            let own = spec
                .ports
                .iter()
                .flatten()
                .filter(|p| p.node_port.unwrap_or(0) > 0)
                .count();
            let taken = if with_ports {
                ports
            } else {
                i64::try_from(own).unwrap_or(0)
            };
            add(totals, "services.nodeports", &number(taken));
        }
        _ => {}
    }
}

fn add_claim(totals: &mut Totals, claim: &PersistentVolumeClaim) {
    let spec = claim.spec.clone().unwrap_or_default();
    let asked = spec
        .resources
        .as_ref()
        .and_then(|r| r.requests.as_ref()?.get("storage"));
    let asked = asked.map_or_else(Amount::zero, amount);
    add(totals, "persistentvolumeclaims", &number(1));
    add(totals, "requests.storage", &asked);
    if let Some(class) = spec.storage_class_name.filter(|c| !c.is_empty()) {
        let prefix = format!("{class}.storageclass.storage.k8s.io");
        add(totals, &format!("{prefix}/persistentvolumeclaims"), &number(1));
        add(totals, &format!("{prefix}/requests.storage"), &asked);
    }
}

/// Whether a quota's scopes take a pod in.
fn in_scope(spec: &ResourceQuotaSpec, pod: &Pod) -> bool {
    let plain = spec
        .scopes
        .iter()
        .flatten()
        .all(|scope| has_scope(scope, "Exists", &[], pod));
    let selected = spec
        .scope_selector
        .iter()
        .flat_map(|s| s.match_expressions.iter().flatten());
    plain
        && selected.into_iter().all(|e: &ScopedResourceSelectorRequirement| {
            has_scope(
                &e.scope_name,
                &e.operator,
                e.values.as_deref().unwrap_or_default(),
                pod,
            )
        })
}

fn has_scope(scope: &str, operator: &str, values: &[String], pod: &Pod) -> bool {
    let spec = pod.spec.clone().unwrap_or_default();
    let class = spec.priority_class_name.clone().unwrap_or_default();
    match scope {
        "Terminating" => spec.active_deadline_seconds.is_some(),
        "NotTerminating" => spec.active_deadline_seconds.is_none(),
        "BestEffort" => is_best_effort(&spec),
        "NotBestEffort" => !is_best_effort(&spec),
        "PriorityClass" => match operator {
            "In" => values.contains(&class),
            "NotIn" => !values.contains(&class),
            "DoesNotExist" => class.is_empty(),
            _ => !class.is_empty(),
        },
        "CrossNamespacePodAffinity" => looks_abroad(&spec),
        _ => false,
    }
}

fn is_best_effort(spec: &PodSpec) -> bool {
    let lists = |c: &Container| {
        let resources = c.resources.clone().unwrap_or_default();
        [resources.requests, resources.limits]
            .into_iter()
            .flatten()
            .any(|l| l.values().any(|q| nanos(q) > 0))
    };
    !spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
        .any(lists)
}

fn looks_abroad(spec: &PodSpec) -> bool {
    let Some(affinity) = &spec.affinity else {
        return false;
    };
    let (near, far) = (
        affinity.pod_affinity.clone().unwrap_or_default(),
        affinity.pod_anti_affinity.clone().unwrap_or_default(),
    );
    let hard = near
        .required_during_scheduling_ignored_during_execution
        .into_iter()
        .flatten();
    let hard = hard.chain(
        far.required_during_scheduling_ignored_during_execution
            .into_iter()
            .flatten(),
    );
    let soft = near
        .preferred_during_scheduling_ignored_during_execution
        .into_iter()
        .flatten();
    let soft = soft.chain(
        far.preferred_during_scheduling_ignored_during_execution
            .into_iter()
            .flatten(),
    );
    hard.chain(soft.map(|w| w.pod_affinity_term))
        .any(|t| t.namespace_selector.is_some() || t.namespaces.is_some_and(|n| !n.is_empty()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn pods_count_for_what_they_request() {
        let pod: Pod = serde_json::from_value(json!({"spec": {"containers": [
            {"name": "c", "resources": {"requests": {"cpu": "600m", "memory": "1Gi"}, "limits": {"cpu": "1"}}}]}}))
        .unwrap();
        let counted = Counted {
            pods: vec![Arc::new(pod)],
            others: [("count/configmaps".to_string(), 2)].into(),
            ..Counted::default()
        };
        let spec: ResourceQuotaSpec = serde_json::from_value(json!({"hard": {
            "pods": "2", "requests.cpu": "1", "count/configmaps": "5", "limits.cpu": "4", "memory": "8Gi", "services": "3"}}))
        .unwrap();
        let used: BTreeMap<_, _> = measure(Some(&spec), &counted)
            .into_iter()
            .map(|(k, v)| (k, v.0))
            .collect();
        let text = serde_json::to_string(&used).unwrap();
        assert_eq!(
            text,
            r#"{"count/configmaps":"2","limits.cpu":"1","memory":"1Gi","pods":"1","requests.cpu":"600m","services":"0"}"#
        );
    }
}
