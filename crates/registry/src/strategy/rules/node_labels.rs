//! Labels of nodes that have newer names, and where they are still asked for. Facts: upstream's `pkg/api/node`.

use corten_meta::names;

use super::At;

/// What to use instead of a label.
const DEPRECATED: [(&str, &str); 8] = [
    (
        "beta.kubernetes.io/arch",
        "deprecated since v1.14; use \"kubernetes.io/arch\" instead",
    ),
    (
        "beta.kubernetes.io/os",
        "deprecated since v1.14; use \"kubernetes.io/os\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
    ),
    (
        "beta.kubernetes.io/instance-type",
        "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead",
    ),
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    (
        "scheduler.alpha.kubernetes.io/preferAvoidPods",
        "deprecated since v1.22; use Taints and Tolerations instead",
    ),
    (
        "node-role.kubernetes.io/master",
        "use \"node-role.kubernetes.io/control-plane\" instead",
    ),
];

/// What is said of a deprecated label.
pub(in crate::strategy) fn deprecated_node_label(key: &str) -> Option<&'static str> {
    DEPRECATED
        .iter()
        .find(|(label, _)| *label == key)
        .map(|(_, message)| *message)
}

/// A field that names a label.
pub(in crate::strategy) fn node_label_warning(at: &At<'_, '_>) -> Option<String> {
    let message = deprecated_node_label(at.str())?;
    Some(format!("{}: {} is {message}", at.path(), at.str()))
}

/// The `matchExpressions` of a selector or of a node selector's term. `with_values` where validation lets values pass that
/// no label can have.
pub(in crate::strategy) fn expression_warnings(selector: &At<'_, '_>, with_values: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    for expression in selector.get("matchExpressions").items() {
        warnings.extend(node_label_warning(&expression.get("key")));
        let values = expression.get("values");
        for value in values.items().filter(|_| with_values) {
            for message in names::is_label_value(value.str()) {
                warnings.push(format!("{}: {} is invalid, {message}", value.path(), value.str()));
            }
        }
    }
    warnings
}

/// A label selector over nodes.
pub(in crate::strategy) fn node_selector_warnings(selector: &At<'_, '_>) -> Vec<String> {
    let labels = selector.get("matchLabels");
    let path = labels.path();
    let of = |(label, _): (&str, _)| {
        let message = deprecated_node_label(label)?;
        Some(format!("{}: {message}", path.child(label)))
    };
    let mut warnings = expression_warnings(selector, false);
    warnings.extend(labels.entries().filter_map(of));
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn old_labels_are_named_with_their_place() {
        let selector = json!({
            "matchExpressions": [{"key": "zone"}, {"key": "beta.kubernetes.io/os", "operator": "Exists"}],
            "matchLabels": {"node-role.kubernetes.io/master": "", "a": "b"},
        });
        assert_eq!(
            node_selector_warnings(&At::top("nodeTopology", &selector)),
            [
                "nodeTopology.matchExpressions[1].key: beta.kubernetes.io/os is deprecated since v1.14; use \"kubernetes.io/os\" instead",
                "nodeTopology.matchLabels.node-role.kubernetes.io/master: use \"node-role.kubernetes.io/control-plane\" instead",
            ]
        );
    }
}
