//! Affinity terms, parsed: node selector terms, pod (anti-)affinity terms, spread constraints.

use super::pod::PodInfo;
use corten_client::selector::Selector;
use k8s_openapi::api::core::v1::{
    Affinity, NodeSelectorRequirement, NodeSelectorTerm, PodAffinityTerm, TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use std::collections::BTreeMap;

type Labels = BTreeMap<String, String>;

/// A pod's `nodeSelector`, required node affinity and preferred node affinity.
#[derive(Clone, Debug, Default)]
pub struct NodeTerms {
    selector: Labels,
    required: Option<Vec<NodeSelectorTerm>>,
    preferred: Vec<(i64, NodeSelectorTerm)>,
}

impl NodeTerms {
    pub fn new(selector: Option<&Labels>, affinity: Option<&Affinity>) -> Self {
        let node = affinity.and_then(|a| a.node_affinity.as_ref());
        let required = node.and_then(|n| n.required_during_scheduling_ignored_during_execution.as_ref());
        let preferred = node.and_then(|n| n.preferred_during_scheduling_ignored_during_execution.as_ref());
        Self {
            selector: selector.cloned().unwrap_or_default(),
            required: required.map(|r| r.node_selector_terms.clone()),
            preferred: preferred.into_iter().flatten().map(|p| (i64::from(p.weight), p.preference.clone())).collect(),
        }
    }

    /// All of `nodeSelector` and at least one required term.
    pub fn admit(&self, name: &str, labels: &Labels) -> bool {
        self.selector.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.required.as_ref().is_none_or(|terms| terms.iter().any(|term| term_matches(term, name, labels)))
    }

    /// The weights of the preferred terms that match.
    pub fn preference(&self, name: &str, labels: &Labels) -> i64 {
        self.preferred.iter().filter(|(_, term)| term_matches(term, name, labels)).map(|(weight, _)| weight).sum()
    }
}

/// An empty term matches nothing.
fn term_matches(term: &NodeSelectorTerm, name: &str, labels: &Labels) -> bool {
    let (expressions, fields) = (term.match_expressions.as_deref(), term.match_fields.as_deref());
    if expressions.is_none_or(<[_]>::is_empty) && fields.is_none_or(<[_]>::is_empty) {
        return false;
    }
    expressions.into_iter().flatten().all(|r| requirement_matches(r, labels.get(&r.key).map(String::as_str)))
        && fields.into_iter().flatten().all(|r| requirement_matches(r, (r.key == "metadata.name").then_some(name)))
}

fn requirement_matches(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let among = value.is_some_and(|value| values.iter().any(|v| v == value));
    let number = |text: &str| text.parse::<i64>().ok();
    let bound = values.first().and_then(|v| number(v));
    match requirement.operator.as_str() {
        "In" => among,
        "NotIn" => !among,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => matches!((value.and_then(number), bound), (Some(value), Some(bound)) if value > bound),
        "Lt" => matches!((value.and_then(number), bound), (Some(value), Some(bound)) if value < bound),
        _ => false,
    }
}

/// What a term needs to know beside the pods: the labels of namespaces.
pub struct TermContext<'a> {
    pub namespaces: &'a BTreeMap<String, Labels>,
}

/// One pod affinity or anti-affinity term of a pod.
#[derive(Clone, Debug)]
pub struct PodTerm {
    pub topology_key: String,
    selector: Selector,
    namespaces: Vec<String>,
    namespace_selector: Option<Selector>,
    /// Of a preferred term; 0 for a required one.
    pub weight: i64,
}

impl PodTerm {
    /// `own` are the namespace and labels of the pod that carries the term.
    pub fn new(term: &PodAffinityTerm, weight: i32, own: (&str, &Labels)) -> Self {
        let extended = extend(term.label_selector.as_ref(), own.1, term.match_label_keys.as_deref(), term.mismatch_label_keys.as_deref());
        let mut namespaces = term.namespaces.clone().unwrap_or_default();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.push(own.0.to_owned());
        }
        Self {
            topology_key: term.topology_key.clone(),
            selector: Selector::new(extended.as_ref()).unwrap_or_else(|_| Selector::nothing()),
            namespaces,
            namespace_selector: term.namespace_selector.as_ref().and_then(|s| Selector::new(Some(s)).ok()),
            weight: i64::from(weight),
        }
    }

    /// Whether the term speaks of this pod.
    pub fn matches(&self, pod: &PodInfo, context: &TermContext<'_>) -> bool {
        let in_namespace = self.namespaces.iter().any(|ns| *ns == pod.namespace)
            || self.namespace_selector.as_ref().is_some_and(|s| s.matches(context.namespaces.get(&pod.namespace)));
        in_namespace && self.selector.matches(Some(&pod.labels))
    }
}

/// One `topologySpreadConstraints` entry, or a default one.
#[derive(Clone, Debug)]
pub struct SpreadConstraint {
    pub topology_key: String,
    pub max_skew: i64,
    pub min_domains: i64,
    pub hard: bool,
    pub honor_affinity: bool,
    pub honor_taints: bool,
    pub selector: Selector,
}

impl SpreadConstraint {
    pub fn new(constraint: &TopologySpreadConstraint, labels: &Labels) -> Self {
        let extended = extend(constraint.label_selector.as_ref(), labels, constraint.match_label_keys.as_deref(), None);
        Self {
            topology_key: constraint.topology_key.clone(),
            max_skew: i64::from(constraint.max_skew),
            min_domains: i64::from(constraint.min_domains.unwrap_or(1)),
            hard: constraint.when_unsatisfiable == "DoNotSchedule",
            honor_affinity: constraint.node_affinity_policy.as_deref() != Some("Ignore"),
            honor_taints: constraint.node_taints_policy.as_deref() == Some("Honor"),
            selector: Selector::new(extended.as_ref()).unwrap_or_else(|_| Selector::nothing()),
        }
    }
}

/// The selector with the pod's own values of `match_keys` and without those of `mismatch_keys` (KEP-3243, KEP-3633).
fn extend(selector: Option<&LabelSelector>, labels: &Labels, match_keys: Option<&[String]>, mismatch_keys: Option<&[String]>) -> Option<LabelSelector> {
    let mut selector = selector?.clone();
    let mut add = |keys: Option<&[String]>, operator: &str| {
        for key in keys.into_iter().flatten() {
            let Some(value) = labels.get(key) else { continue };
            selector.match_expressions.get_or_insert_default().push(LabelSelectorRequirement {
                key: key.clone(),
                operator: operator.to_owned(),
                values: Some(vec![value.clone()]),
            });
        }
    };
    add(match_keys, "In");
    add(mismatch_keys, "NotIn");
    Some(selector)
}
