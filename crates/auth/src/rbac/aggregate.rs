//! Aggregated ClusterRoles: their rules are the union of the rules of the roles their selectors match.

use corten_meta::labels::Selector;
use serde_json::Value;

use super::model::{PolicyRule, rules_of};

/// Whether the aggregation rule of `aggregated` (a ClusterRole object) selects the ClusterRole `candidate`.
pub fn selects_role(aggregated: &Value, candidate: &Value) -> bool {
    if aggregated["metadata"]["name"] == candidate["metadata"]["name"] {
        return false;
    }
    let selectors = aggregated["aggregationRule"]["clusterRoleSelectors"].as_array();
    selectors.is_some_and(|selectors| selectors.iter().any(|selector| matches(selector, candidate)))
}

/// The rules an aggregated ClusterRole must hold, from all ClusterRoles: selector by selector, roles by name, no rule
/// twice. `None` when `aggregated` has no aggregation rule, so that its rules are its own.
pub fn aggregated_rules<'a>(
    aggregated: &Value,
    all: impl IntoIterator<Item = &'a Value>,
) -> Option<Vec<PolicyRule>> {
    let selectors = aggregated["aggregationRule"]["clusterRoleSelectors"].as_array()?;
    let own_name = &aggregated["metadata"]["name"];
    let mut candidates: Vec<&Value> = all
        .into_iter()
        .filter(|role| role["metadata"]["name"] != *own_name)
        .collect();
    candidates.sort_by_key(|role| role["metadata"]["name"].as_str().unwrap_or_default());
    let mut rules: Vec<PolicyRule> = Vec::new();
    for selector in selectors {
        for role in candidates.iter().filter(|role| matches(selector, role)) {
            for rule in rules_of(role) {
                if !rules.contains(&rule) {
                    rules.push(rule);
                }
            }
        }
    }
    Some(rules)
}

/// A selector that does not parse selects nothing.
fn matches(selector: &Value, role: &Value) -> bool {
    Selector::from_label_selector(selector).is_ok_and(|selector| selector.matches_object(role))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selected_roles_are_joined_once() {
        let rule = json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]});
        let role = |name: &str, label: &str| json!({"metadata": {"name": name, "labels": {"to": label}}, "rules": [rule]});
        let all = [role("b", "view"), role("a", "view"), role("c", "edit")];
        let view = json!({"metadata": {"name": "view"},
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"to": "view"}}]}});
        let rules = aggregated_rules(&view, &all).unwrap_or_default();
        assert_eq!(rules.len(), 1);
        assert!(selects_role(&view, &all[0]) && !selects_role(&view, &all[2]));
        assert!(aggregated_rules(&all[0], &all).is_none());
    }
}
