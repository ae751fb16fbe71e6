//! Whether one set of rules contains another (upstream component-helpers/auth/rbac/validation).

use super::model::PolicyRule;
use super::rule::url_covers;

const ALL: &str = "*";

/// The single-verb, single-resource parts of `wanted` that no rule in `owned` contains; empty means all are covered.
pub fn covers(owned: &[PolicyRule], wanted: &[PolicyRule]) -> Vec<PolicyRule> {
    let mut missing: Vec<PolicyRule> = wanted.iter().flat_map(break_down).collect();
    missing.retain(|part| !owned.iter().any(|rule| contains(rule, part)));
    missing
}

fn break_down(rule: &PolicyRule) -> Vec<PolicyRule> {
    let mut parts = Vec::new();
    let names: Vec<&[String]> = match rule.resource_names.as_slice() {
        [] => vec![&[]],
        names => names.chunks(1).collect(),
    };
    for group in &rule.api_groups {
        for resource in &rule.resources {
            for verb in &rule.verbs {
                parts.extend(names.iter().map(|name| PolicyRule {
                    api_groups: vec![group.clone()],
                    resources: vec![resource.clone()],
                    verbs: vec![verb.clone()],
                    resource_names: name.to_vec(),
                    non_resource_urls: Vec::new(),
                }));
            }
        }
    }
    for url in &rule.non_resource_urls {
        parts.extend(rule.verbs.iter().map(|verb| PolicyRule {
            non_resource_urls: vec![url.clone()],
            verbs: vec![verb.clone()],
            ..PolicyRule::default()
        }));
    }
    parts
}

fn contains(owner: &PolicyRule, part: &PolicyRule) -> bool {
    has_all(&owner.verbs, &part.verbs)
        && has_all(&owner.api_groups, &part.api_groups)
        && part
            .resources
            .iter()
            .all(|resource| has_resource(&owner.resources, resource))
        && part
            .non_resource_urls
            .iter()
            .all(|url| owner.non_resource_urls.iter().any(|own| url_covers(own, url)))
        && (owner.resource_names.is_empty()
            || (!part.resource_names.is_empty()
                && part
                    .resource_names
                    .iter()
                    .all(|name| owner.resource_names.contains(name))))
}

fn has_all(owned: &[String], wanted: &[String]) -> bool {
    wanted
        .iter()
        .all(|item| owned.iter().any(|own| own == ALL || own == item))
}

fn has_resource(owned: &[String], wanted: &str) -> bool {
    let by_subresource = |own: &str| match (own.strip_prefix("*/"), wanted.split_once('/')) {
        (Some(own), Some((_, subresource))) => own == subresource,
        _ => false,
    };
    owned
        .iter()
        .any(|own| own == ALL || own == wanted || by_subresource(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(json: &str) -> Vec<PolicyRule> {
        serde_json::from_str(json).unwrap_or_default()
    }

    #[test]
    fn parts_may_be_covered_by_different_rules() {
        let owned = rules(
            r#"[{"apiGroups":["apps"],"resources":["*/scale"],"verbs":["*"]},
                {"apiGroups":[""],"resources":["pods"],"verbs":["get"]},
                {"nonResourceURLs":["/logs/*"],"verbs":["get"]}]"#,
        );
        let wanted = rules(
            r#"[{"apiGroups":["apps"],"resources":["deployments/scale"],"verbs":["update"]},
                {"apiGroups":[""],"resources":["pods"],"verbs":["get","list"],"resourceNames":["a"]},
                {"nonResourceURLs":["/logs/x","/metrics"],"verbs":["get"]}]"#,
        );
        let missing: Vec<String> = covers(&owned, &wanted).iter().map(PolicyRule::compact).collect();
        assert_eq!(
            missing,
            [
                r#"{APIGroups:[""], Resources:["pods"], ResourceNames:["a"], Verbs:["list"]}"#,
                r#"{NonResourceURLs:["/metrics"], Verbs:["get"]}"#
            ]
        );
    }
}
