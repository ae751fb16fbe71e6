//! Nobody grants what they do not hold (upstream pkg/registry/rbac/escalation_check.go and validation/rule.go).

use super::cover::covers;
use super::index::RbacAuthorizer;
use super::model::{GROUP, PolicyRule, RoleRef};
use super::rule::go_list;
use crate::authz::{Attributes, Authorizer};
use crate::user::{UserInfo, groups};

/// A write that grants permissions, to be checked before it is stored.
#[derive(Clone, Copy, Debug)]
pub enum Escalation<'a> {
    /// Creating or changing a role: its rules after the change. `namespace` is empty for a ClusterRole.
    /// `aggregated`: it has an aggregation rule, now or before the change.
    Role {
        namespace: &'a str,
        name: &'a str,
        rules: &'a [PolicyRule],
        aggregated: bool,
    },
    /// Creating or changing a binding: what it refers to. `namespace` is empty for a ClusterRoleBinding.
    Binding {
        namespace: &'a str,
        role_ref: &'a RoleRef,
    },
}

/// Why a granting write is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The text after `is forbidden: `.
    Forbidden(String),
    /// The binding refers to a role that does not exist: upstream answers 404 with this text.
    RoleNotFound(String),
}

/// Allows the write, or says in upstream's words what the user lacks.
///
/// Members of `system:masters` may write anything; the verbs `escalate` and `bind`, asked of `authorizer`, lift the check.
/// Callers skip the check on updates that change nothing but `ownerReferences` and `finalizers`.
pub fn confirm_no_escalation(
    rbac: &RbacAuthorizer,
    authorizer: &dyn Authorizer,
    user: &UserInfo,
    write: Escalation<'_>,
) -> Result<(), Refused> {
    if user.in_group(groups::MASTERS) || explicitly_allowed(authorizer, user, write) {
        return Ok(());
    }
    match write {
        Escalation::Role {
            namespace,
            rules,
            aggregated,
            ..
        } => {
            holds(rbac, user, namespace, rules).map_err(Refused::Forbidden)?;
            if aggregated && holds(rbac, user, "", &everything()).is_err() {
                return Err(Refused::Forbidden(AGGREGATION.to_owned()));
            }
            Ok(())
        }
        Escalation::Binding { namespace, role_ref } => {
            let rules = rbac
                .role_ref_rules(role_ref, namespace)
                .map_err(Refused::RoleNotFound)?;
            holds(rbac, user, namespace, &rules).map_err(Refused::Forbidden)
        }
    }
}

/// An aggregation rule can come to grant anything.
const AGGREGATION: &str = "must have cluster-admin privileges to use the aggregationRule";

fn everything() -> [PolicyRule; 2] {
    let all = || vec!["*".to_owned()];
    let resources = PolicyRule {
        verbs: all(),
        api_groups: all(),
        resources: all(),
        ..PolicyRule::default()
    };
    let urls = PolicyRule {
        verbs: all(),
        non_resource_urls: all(),
        ..PolicyRule::default()
    };
    [resources, urls]
}

fn explicitly_allowed(authorizer: &dyn Authorizer, user: &UserInfo, write: Escalation<'_>) -> bool {
    let (verb, namespace, name, kind) = match write {
        Escalation::Role {
            namespace: "", name, ..
        } => ("escalate", "", name, "ClusterRole"),
        Escalation::Role { namespace, name, .. } => ("escalate", namespace, name, "Role"),
        Escalation::Binding { namespace, role_ref } => {
            ("bind", namespace, role_ref.name.as_str(), role_ref.kind.as_str())
        }
    };
    let resource = match kind {
        "ClusterRole" => "clusterroles",
        "Role" => "roles",
        _ => return false,
    };
    let question = Attributes {
        namespace,
        name,
        ..Attributes::resource(user, verb, GROUP, resource)
    };
    authorizer.authorize(&question).is_allowed()
}

fn holds(
    rbac: &RbacAuthorizer,
    user: &UserInfo,
    namespace: &str,
    rules: &[PolicyRule],
) -> Result<(), String> {
    let (owned, errors) = rbac.rules_for(user, namespace);
    let missing = covers(&owned, rules);
    if missing.is_empty() {
        return Ok(());
    }
    let mut lines: Vec<String> = merge_verbs(missing).iter().map(PolicyRule::compact).collect();
    lines.sort();
    lines.dedup();
    let mut message = format!(
        "user {} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        corten_meta::quote(&user.username),
        go_list(&user.groups),
        lines.join("\n")
    );
    if !errors.is_empty() {
        message.push_str(&format!("; resolution errors: [{}]", errors.join(", ")));
    }
    Err(message)
}

/// Joins single-verb rules for the same resource and name into one.
fn merge_verbs(rules: Vec<PolicyRule>) -> Vec<PolicyRule> {
    let mut merged: Vec<PolicyRule> = Vec::new();
    for rule in rules {
        let same = |other: &&mut PolicyRule| {
            rule.non_resource_urls.is_empty()
                && other.api_groups == rule.api_groups
                && other.resources == rule.resources
                && other.resource_names == rule.resource_names
                && other.non_resource_urls.is_empty()
        };
        match merged.iter_mut().find(same) {
            Some(other) => other.verbs.extend(rule.verbs),
            None => merged.push(rule),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rbac::{Binding, Role, Subject};

    fn rule(resource: &str, verbs: &[&str]) -> PolicyRule {
        PolicyRule {
            api_groups: vec![String::new()],
            resources: vec![resource.to_owned()],
            verbs: verbs.iter().map(|v| (*v).to_owned()).collect(),
            ..PolicyRule::default()
        }
    }

    fn holding(rules: Vec<PolicyRule>) -> RbacAuthorizer {
        let rbac = RbacAuthorizer::new();
        rbac.set_role(Role {
            name: "own".into(),
            rules,
            ..Role::default()
        });
        let role_ref = RoleRef {
            kind: "ClusterRole".into(),
            name: "own".into(),
            ..RoleRef::default()
        };
        let subjects = vec![Subject {
            kind: "User".into(),
            name: "u".into(),
            ..Subject::default()
        }];
        rbac.set_binding(Binding {
            name: "b".into(),
            subjects,
            role_ref,
            ..Binding::default()
        });
        rbac
    }

    #[test]
    fn granting_more_than_held_is_refused_with_upstreams_text() {
        let rbac = holding(vec![rule("pods", &["get"])]);
        let user = UserInfo::new("u", []);
        let wanted = [rule("pods", &["get", "list", "watch"])];
        let write = Escalation::Role {
            namespace: "n",
            name: "r",
            rules: &wanted,
            aggregated: false,
        };
        assert_eq!(
            confirm_no_escalation(&rbac, &rbac, &user, write),
            Err(Refused::Forbidden(
                "user \"u\" (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not \
                 currently held:\n{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"list\" \"watch\"]}"
                    .to_owned()
            ))
        );
        let own = RoleRef {
            kind: "ClusterRole".into(),
            name: "own".into(),
            api_group: GROUP.into(),
        };
        let bind = Escalation::Binding {
            namespace: "",
            role_ref: &own,
        };
        assert_eq!(confirm_no_escalation(&rbac, &rbac, &user, bind), Ok(()));
    }

    #[test]
    fn escalate_lifts_the_check() {
        let mut escalate = rule("clusterroles", &["escalate"]);
        escalate.api_groups = vec![GROUP.to_owned()];
        let rbac = holding(vec![escalate]);
        let user = UserInfo::new("u", []);
        let wanted = [rule("secrets", &["*"])];
        let role = |namespace| Escalation::Role {
            namespace,
            name: "r",
            rules: &wanted,
            aggregated: false,
        };
        assert_eq!(confirm_no_escalation(&rbac, &rbac, &user, role("")), Ok(()));
        assert!(confirm_no_escalation(&rbac, &rbac, &user, role("n")).is_err());
    }
}
