//! Where a pod is to run: node labels with new names, selectors that select nothing.

use super::super::super::rules::{At, deprecated_node_label, expression_warnings, node_label_warning};
use super::Warnings;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Node selector, node affinity, topology.
pub(super) fn nodes(spec: &At<'_, '_>) -> Warnings {
    let mut warnings = Warnings::new();
    let selector = spec.get("nodeSelector");
    for (label, _) in selector.entries() {
        if let Some(message) = deprecated_node_label(label) {
            warnings.push(format!("{}: {message}", selector.key(label).path()));
        }
    }
    let affinity = spec.get("affinity");
    let affinity = affinity.get("nodeAffinity");
    for term in affinity.get(REQUIRED).get("nodeSelectorTerms").items() {
        warnings.extend(expression_warnings(&term, false));
    }
    for term in affinity.get(PREFERRED).items() {
        warnings.extend(expression_warnings(&term.get("preference"), true));
    }
    for constraint in spec.get("topologySpreadConstraints").items() {
        warnings.extend(node_label_warning(&constraint.get("topologyKey")));
        warnings.extend(selects_nothing(&constraint));
    }
    warnings
}

/// Affinity to pods and against them.
pub(super) fn pods(spec: &At<'_, '_>) -> Warnings {
    let mut warnings = Warnings::new();
    let affinity = spec.get("affinity");
    for kind in ["podAffinity", "podAntiAffinity"] {
        let terms = affinity.get(kind);
        for term in terms.get(REQUIRED).items() {
            warnings.extend(selects_nothing(&term));
        }
        for term in terms.get(PREFERRED).items() {
            warnings.extend(selects_nothing(&term.get("podAffinityTerm")));
        }
    }
    warnings
}

/// An empty selector selects everything, an absent one nothing.
fn selects_nothing(term: &At<'_, '_>) -> Option<String> {
    let selector = term.get("labelSelector");
    (!selector.is_set()).then(|| {
        format!(
            "{}: a null labelSelector results in matching no pod",
            selector.path()
        )
    })
}
