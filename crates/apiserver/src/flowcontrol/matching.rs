//! Which requests a FlowSchema's rule is about. Rules: upstream's `rule.go`.

use corten_auth::{UserInfo, split_service_account};
use corten_meta::object::str_at;
use serde_json::Value;

use crate::request_info::RequestInfo;

enum Subject {
    User(String),
    Group(String),
    ServiceAccount { namespace: String, name: String },
}

/// A list of names; `*` alone is everything.
struct Names(Option<Vec<String>>);

impl Names {
    fn read(value: &Value) -> Self {
        let all: Vec<String> = value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|v| v.as_str().map(str::to_owned))
            .collect();
        Self(if all == ["*"] { None } else { Some(all) })
    }

    fn has(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|all| all.iter().any(|n| n == name))
    }
}

struct ResourceRule {
    verbs: Names,
    groups: Names,
    resources: Names,
    namespaces: Names,
    cluster_scope: bool,
}

struct PathRule {
    verbs: Names,
    paths: Vec<String>,
}

/// One of `spec.rules`.
pub struct Rule {
    subjects: Vec<Subject>,
    resources: Vec<ResourceRule>,
    paths: Vec<PathRule>,
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

fn subject(value: &Value) -> Option<Subject> {
    let text = |path: &[&str]| str_at(value, path).to_owned();
    match str_at(value, &["kind"]) {
        "User" => Some(Subject::User(text(&["user", "name"]))),
        "Group" => Some(Subject::Group(text(&["group", "name"]))),
        "ServiceAccount" => Some(Subject::ServiceAccount {
            namespace: text(&["serviceAccount", "namespace"]),
            name: text(&["serviceAccount", "name"]),
        }),
        _ => None,
    }
}

impl Rule {
    /// Reads one of `spec.rules`.
    pub fn read(value: &Value) -> Self {
        let resources = list(value, "resourceRules").map(|r| ResourceRule {
            verbs: Names::read(&r["verbs"]),
            groups: Names::read(&r["apiGroups"]),
            resources: Names::read(&r["resources"]),
            namespaces: Names::read(&r["namespaces"]),
            cluster_scope: r["clusterScope"] == true,
        });
        let paths = list(value, "nonResourceRules").map(|r| PathRule {
            verbs: Names::read(&r["verbs"]),
            paths: list(r, "nonResourceURLs")
                .filter_map(|p| p.as_str().map(str::to_owned))
                .collect(),
        });
        Self {
            subjects: list(value, "subjects").filter_map(subject).collect(),
            resources: resources.collect(),
            paths: paths.collect(),
        }
    }

    /// True where one of its subjects does one of its actions.
    pub fn matches(&self, user: &UserInfo, info: &RequestInfo) -> bool {
        if !self.subjects.iter().any(|s| s.is(user)) {
            return false;
        }
        if info.is_resource {
            self.resources.iter().any(|r| r.matches(info))
        } else {
            self.paths.iter().any(|r| r.matches(info))
        }
    }
}

impl Subject {
    fn is(&self, user: &UserInfo) -> bool {
        match self {
            Self::User(name) => name == "*" || *name == user.username,
            Self::Group(name) => name == "*" || user.in_group(name),
            Self::ServiceAccount { namespace, name } => split_service_account(&user.username)
                .is_some_and(|(ns, n)| ns == namespace && (name == "*" || n == name)),
        }
    }
}

impl ResourceRule {
    fn matches(&self, info: &RequestInfo) -> bool {
        let resource = || {
            if info.subresource.is_empty() {
                return self.resources.has(&info.resource);
            }
            self.resources
                .has(&format!("{}/{}", info.resource, info.subresource))
        };
        let scope = || {
            if info.namespace.is_empty() {
                self.cluster_scope
            } else {
                self.namespaces.has(&info.namespace)
            }
        };
        self.verbs.has(&info.verb) && self.groups.has(&info.group) && scope() && resource()
    }
}

impl PathRule {
    fn matches(&self, info: &RequestInfo) -> bool {
        self.verbs.has(&info.verb) && self.paths.iter().any(|rule| path_matches(rule, &info.path))
    }
}

fn path_matches(rule: &str, path: &str) -> bool {
    if rule == "*" || rule == path {
        return true;
    }
    let prefix = rule.strip_suffix('*').unwrap_or(rule);
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::query::Query;
    use serde_json::json;

    fn info(method: &str, path: &str) -> RequestInfo {
        RequestInfo::parse(&method.parse().unwrap(), path, &Query::default()).unwrap()
    }

    #[test]
    fn subjects_and_actions() {
        let rule = Rule::read(&json!({
            "subjects": [{"kind": "ServiceAccount", "serviceAccount": {"namespace": "kube-system", "name": "*"}},
                {"kind": "Group", "group": {"name": "system:nodes"}}],
            "resourceRules": [{"verbs": ["update", "get"], "apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
                "namespaces": ["kube-node-lease"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["/healthz/*"]}],
        }));
        let lease = info(
            "PUT",
            "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n",
        );
        let account = UserInfo::service_account("kube-system", "x", "");
        assert!(rule.matches(&UserInfo::node("n"), &lease));
        assert!(rule.matches(&account, &lease));
        assert!(!rule.matches(&UserInfo::new("u", []), &lease));
        let elsewhere = info("PUT", "/apis/coordination.k8s.io/v1/namespaces/default/leases/n");
        assert!(!rule.matches(&account, &elsewhere));
        assert!(rule.matches(&account, &info("GET", "/healthz/ping")));
        assert!(!rule.matches(&account, &info("GET", "/healthzz")));
    }
}
