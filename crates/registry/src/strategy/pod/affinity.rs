//! Node and pod affinity, and node selectors wherever they stand.

use corten_meta::names;

use super::super::rules::{At, ErrorList, label_name, label_selector};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

pub(super) fn validate(at: &At<'_, '_>, errors: &mut ErrorList) {
    let node = at.get("nodeAffinity");
    if node.get(REQUIRED).is_set() {
        node_selector(&node.get(REQUIRED), true, errors);
    }
    for term in node.get(PREFERRED).items() {
        weight(&term, errors);
        node_term(&term.get("preference"), false, errors);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let pods = at.get(kind);
        for term in pods.get(REQUIRED).items() {
            pod_term(&term, errors);
        }
        for term in pods.get(PREFERRED).items() {
            weight(&term, errors);
            pod_term(&term.get("podAffinityTerm"), errors);
        }
    }
}

fn weight(term: &At<'_, '_>, errors: &mut ErrorList) {
    let weight = term.get("weight").int().unwrap_or(0);
    if !(1..=100).contains(&weight) {
        term.get("weight")
            .invalid_as(errors, weight, "must be in the range 1-100");
    }
}

/// `ValidateNodeSelector`; `strict` checks values as label values.
pub(in crate::strategy) fn node_selector(at: &At<'_, '_>, strict: bool, errors: &mut ErrorList) {
    let terms = at.get("nodeSelectorTerms");
    if terms.is_empty() {
        return terms.required(errors, "must have at least one node selector term");
    }
    for term in terms.items() {
        node_term(&term, strict, errors);
    }
}

fn node_term(term: &At<'_, '_>, strict: bool, errors: &mut ErrorList) {
    for requirement in term.get("matchExpressions").items() {
        label_requirement(&requirement, strict, errors);
    }
    for requirement in term.get("matchFields").items() {
        field_requirement(&requirement, errors);
    }
}

fn label_requirement(at: &At<'_, '_>, strict: bool, errors: &mut ErrorList) {
    let (operator, values) = (at.get("operator"), at.get("values"));
    match operator.str() {
        "In" | "NotIn" if values.is_empty() => {
            values.required(errors, "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            values.forbidden(
                errors,
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            );
        }
        "Gt" | "Lt" if values.len() != 1 => {
            values.required(
                errors,
                "must be specified single value when `operator` is 'Lt' or 'Gt'",
            );
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        text => operator.invalid_as(errors, text, "not a valid selector operator"),
    }
    label_name(&at.get("key"), errors);
    if strict {
        for value in values.items() {
            value.invalid_each(errors, names::is_label_value(value.str()));
        }
    }
}

fn field_requirement(at: &At<'_, '_>, errors: &mut ErrorList) {
    let (operator, key, values) = (at.get("operator"), at.get("key"), at.get("values"));
    match operator.str() {
        "In" | "NotIn" if values.len() != 1 => {
            let detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            values.required(errors, detail);
        }
        "In" | "NotIn" => {}
        text => operator.invalid_as(errors, text, "not a valid selector operator"),
    }
    if key.str() != "metadata.name" {
        return key.invalid_as(errors, key.str(), "not a valid field selector key");
    }
    for value in values.items() {
        value.invalid_each(errors, names::name_is_dns_subdomain(value.str(), false));
    }
}

fn pod_term(term: &At<'_, '_>, errors: &mut ErrorList) {
    label_selector(&term.get("labelSelector"), errors);
    label_selector(&term.get("namespaceSelector"), errors);
    for namespace in term.get("namespaces").items() {
        let shown = term.get("namespace").with(namespace.value);
        shown.invalid_each(errors, names::name_is_dns_label(namespace.str(), false));
    }
    match_label_keys(term, errors);
    let topology = term.get("topologyKey");
    if topology.is_empty() {
        topology.required(errors, "can not be empty");
    }
    for message in names::is_qualified_name(topology.str()) {
        topology.invalid_as(errors, topology.str(), &message);
    }
}

/// Keys whose values come from the incoming pod's labels.
pub(super) fn match_label_keys(term: &At<'_, '_>, errors: &mut ErrorList) {
    let selector = term.get("labelSelector");
    let (matched, mismatched) = (term.get("matchLabelKeys"), term.get("mismatchLabelKeys"));
    for keys in [&matched, &mismatched]
        .into_iter()
        .filter(|keys| !keys.is_empty())
    {
        if !selector.is_set() {
            keys.forbidden(errors, "must not be specified when labelSelector is not set");
            continue;
        }
        for key in keys.items() {
            label_name(&key, errors);
        }
    }
    let mut known: Vec<&str> = selector
        .get("matchLabels")
        .entries()
        .map(|(key, _)| key)
        .collect();
    for expression in selector.get("matchExpressions").items() {
        let key = expression.get("key").str();
        // Of a key that stands there twice the later place counts.
        let places = matched.items().enumerate().filter(|(_, item)| item.str() == key);
        if let Some((index, _)) = places.last().filter(|_| known.contains(&key)) {
            term.index(index)
                .invalid_as(errors, key, "exists in both matchLabelKeys and labelSelector");
        }
        known.push(key);
    }
    for key in matched.items() {
        if mismatched.items().any(|other| other.str() == key.str()) {
            key.invalid(errors, "exists in both matchLabelKeys and mismatchLabelKeys");
        }
    }
}
