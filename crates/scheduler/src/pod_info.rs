//! A pod as the scheduler sees it: what matters to filters and scores, worked out once.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use corten_client::object::MetaExt;
use corten_client::placement;
use corten_client::selector::Selector;
use k8s_openapi::api::core::v1::{
    Affinity, NodeAffinity, Pod, PodAffinityTerm, PodSpec, TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::resources::{Amounts, Names, requests, scored_requests};

/// A port of the host a pod wants for itself: protocol, address, number.
pub type HostPort = (String, String, i32);

/// Labels by namespace.
pub type NamespaceLabels = HashMap<String, BTreeMap<String, String>>;

/// A term of pod affinity or anti-affinity, ready to match.
#[derive(Debug, Clone)]
pub struct PodTerm {
    pub selector: Selector,
    pub namespaces: Vec<String>,
    /// Namespaces with these labels count as well.
    pub namespace_selector: Option<Selector>,
    pub topology_key: String,
    pub weight: i64,
}

impl PodTerm {
    /// Whether the term is about the pod; `labels` are those of all namespaces.
    #[must_use]
    pub fn matches(&self, pod: &Pod, labels: &NamespaceLabels) -> bool {
        let ns = pod.metadata.ns();
        let selected = |s: &Selector| s.matches(labels.get(ns));
        let here =
            self.namespaces.iter().any(|n| n == ns) || self.namespace_selector.as_ref().is_some_and(selected);
        here && self.selector.matches(pod.metadata.labels.as_ref())
    }
}

/// A constraint on how pods spread over domains.
#[derive(Debug, Clone)]
pub struct Spread {
    pub max_skew: i64,
    pub topology_key: String,
    pub hard: bool,
    pub selector: Selector,
    pub min_domains: i64,
    pub ignore_affinity: bool,
    pub honor_taints: bool,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct PodInfo {
    pub pod: Arc<Pod>,
    pub requests: Amounts,
    pub scored: (i64, i64),
    pub ports: Vec<HostPort>,
    pub priority: i32,
    pub required_affinity: Vec<PodTerm>,
    pub required_anti_affinity: Vec<PodTerm>,
    pub preferred: Vec<PodTerm>,
    pub spread: Vec<Spread>,
    /// Pods with the same number are treated alike on every node.
    pub class: u64,
}

impl PodInfo {
    #[must_use]
    pub fn new(pod: Arc<Pod>, names: &mut Names) -> Self {
        let spec = pod.spec.clone().unwrap_or_default();
        let asked = requests(&spec);
        let scored = scored_requests(&spec, &asked);
        let asked: Amounts = asked
            .iter()
            .filter_map(|(n, v)| Some((names.column(n)?, *v)))
            .collect();
        let affinity = spec.affinity.clone().unwrap_or_default();
        let class = class_of(&pod, &spec);
        let (required_affinity, required_anti_affinity, preferred) = pod_terms(&pod, affinity);
        let spread = spec
            .topology_spread_constraints
            .iter()
            .flatten()
            .map(|c| spread(c, &pod))
            .collect();
        Self {
            requests: asked,
            scored,
            ports: ports(&spec),
            priority: spec.priority.unwrap_or(0),
            required_affinity,
            required_anti_affinity,
            preferred,
            spread,
            class,
            pod,
        }
    }

    #[must_use]
    pub fn spec(&self) -> &PodSpec {
        static EMPTY: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);
        self.pod.spec.as_ref().unwrap_or(&EMPTY)
    }

    #[must_use]
    pub fn node_affinity(&self) -> Option<&NodeAffinity> {
        self.spec().affinity.as_ref()?.node_affinity.as_ref()
    }

    /// The uid of the pod's controller: pods of one controller are kept apart.
    #[must_use]
    pub fn owner(&self) -> &str {
        self.pod.metadata.controller().map_or("", |o| o.uid.as_str())
    }

    /// Whether the fate of the pod on a node depends on pods of other nodes.
    #[must_use]
    pub fn looks_around(&self) -> bool {
        !(self.required_affinity.is_empty()
            && self.required_anti_affinity.is_empty()
            && self.preferred.is_empty()
            && self.spread.is_empty())
    }

    /// The one node this pod is pinned to by affinity to a node's name, as DaemonSet pods are.
    #[must_use]
    pub fn pinned(&self) -> Option<&str> {
        let terms = &self
            .node_affinity()?
            .required_during_scheduling_ignored_during_execution
            .as_ref()?;
        let [term] = terms.node_selector_terms.as_slice() else {
            return None;
        };
        let [field] = term.match_fields.as_deref()? else {
            return None;
        };
        match field.values.as_deref() {
            Some([name]) if field.key == "metadata.name" && field.operator == "In" => Some(name),
            _ => None,
        }
    }
}

fn class_of(pod: &Pod, spec: &PodSpec) -> u64 {
    let mut hasher = DefaultHasher::new();
    pod.metadata.ns().hash(&mut hasher);
    pod.metadata.controller().map(|o| &o.uid).hash(&mut hasher);
    // Labels matter only to those who select pods, and all that do look at them themselves.
    pod.metadata.labels.hash(&mut hasher);
    spec.priority.hash(&mut hasher);
    let relevant = (
        &spec.node_selector,
        &spec.affinity,
        &spec.tolerations,
        &spec.node_name,
        &spec.overhead,
    );
    format!("{relevant:?}").hash(&mut hasher);
    format!("{:?}{:?}", spec.topology_spread_constraints, spec.resources).hash(&mut hasher);
    for container in spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
    {
        let restart = &container.restart_policy;
        format!(
            "{:?}{:?}{restart:?}{:?}",
            container.resources, container.ports, container.image
        )
        .hash(&mut hasher);
    }
    hasher.finish()
}

fn ports(spec: &PodSpec) -> Vec<HostPort> {
    placement::host_ports(spec)
        .map(|(protocol, address, number)| (protocol.to_owned(), address.to_owned(), number))
        .collect()
}

/// Adds the pod's own values of `matchLabelKeys` to a selector.
fn with_keys(selector: Option<&LabelSelector>, keys: Option<&Vec<String>>, pod: &Pod) -> Selector {
    let Some(selector) = selector else {
        return Selector::nothing();
    };
    let mut selector = selector.clone();
    for key in keys.into_iter().flatten() {
        if let Some(value) = pod.metadata.label(key) {
            selector
                .match_labels
                .get_or_insert_with(BTreeMap::new)
                .insert(key.clone(), value.into());
        }
    }
    Selector::new(Some(&selector)).unwrap_or_else(|_| Selector::nothing())
}

fn pod_term(term: &PodAffinityTerm, weight: i64, pod: &Pod) -> PodTerm {
    let mut namespaces = term.namespaces.clone().unwrap_or_default();
    let by_labels = term.namespace_selector.is_some();
    if namespaces.is_empty() && !by_labels {
        namespaces.push(pod.metadata.ns().to_owned());
    }
    PodTerm {
        // The server has merged matchLabelKeys into the selector already.
        selector: with_keys(term.label_selector.as_ref(), None, pod),
        namespaces,
        namespace_selector: term
            .namespace_selector
            .as_ref()
            .map(|s| Selector::new(Some(s)).unwrap_or_else(|_| Selector::nothing())),
        topology_key: term.topology_key.clone(),
        weight,
    }
}

type Terms = (Vec<PodTerm>, Vec<PodTerm>, Vec<PodTerm>);

fn pod_terms(pod: &Pod, affinity: Affinity) -> Terms {
    let toward = affinity.pod_affinity.unwrap_or_default();
    let away = affinity.pod_anti_affinity.unwrap_or_default();
    let hard = |terms: Option<Vec<PodAffinityTerm>>| -> Vec<PodTerm> {
        terms.iter().flatten().map(|t| pod_term(t, 0, pod)).collect()
    };
    let near = toward
        .preferred_during_scheduling_ignored_during_execution
        .into_iter()
        .flatten();
    let far = away
        .preferred_during_scheduling_ignored_during_execution
        .into_iter()
        .flatten();
    let mut soft: Vec<PodTerm> = near
        .map(|t| pod_term(&t.pod_affinity_term, i64::from(t.weight), pod))
        .collect();
    soft.extend(far.map(|t| pod_term(&t.pod_affinity_term, -i64::from(t.weight), pod)));
    (
        hard(toward.required_during_scheduling_ignored_during_execution),
        hard(away.required_during_scheduling_ignored_during_execution),
        soft,
    )
}

fn spread(constraint: &TopologySpreadConstraint, pod: &Pod) -> Spread {
    Spread {
        max_skew: i64::from(constraint.max_skew),
        topology_key: constraint.topology_key.clone(),
        hard: constraint.when_unsatisfiable != "ScheduleAnyway",
        selector: with_keys(
            constraint.label_selector.as_ref(),
            constraint.match_label_keys.as_ref(),
            pod,
        ),
        min_domains: i64::from(constraint.min_domains.unwrap_or(1)),
        ignore_affinity: constraint.node_affinity_policy.as_deref() == Some("Ignore"),
        honor_taints: constraint.node_taints_policy.as_deref() == Some("Honor"),
    }
}
