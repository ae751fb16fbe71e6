//! Whether one rule allows one request (upstream pkg/apis/rbac/v1/evaluation_helpers.go), and rules as text.

use corten_meta::quote;

use super::model::PolicyRule;
use crate::authz::Attributes;

const ALL: &str = "*";

impl PolicyRule {
    /// Whether this rule alone allows the request.
    pub fn allows(&self, request: &Attributes<'_>) -> bool {
        if !any(&self.verbs, request.verb) {
            return false;
        }
        if !request.resource_request {
            return self
                .non_resource_urls
                .iter()
                .any(|url| url_covers(url, request.path));
        }
        any(&self.api_groups, request.group)
            && self
                .resources
                .iter()
                .any(|pattern| resource_matches(pattern, request))
            && (self.resource_names.is_empty() || self.resource_names.iter().any(|name| name == request.name))
    }

    /// The form upstream prints in escalation errors: `{APIGroups:["apps"], Resources:["deployments"], Verbs:["get"]}`.
    pub fn compact(&self) -> String {
        let parts = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        let printed: Vec<String> = parts
            .iter()
            .filter(|(_, values)| !values.is_empty())
            .map(|(key, values)| format!("{key}:{}", go_list(values)))
            .collect();
        format!("{{{}}}", printed.join(", "))
    }
}

/// A list of strings as Go's `%q` prints it.
pub(super) fn go_list(values: &[String]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| quote(value)).collect();
    format!("[{}]", quoted.join(" "))
}

fn any(patterns: &[String], wanted: &str) -> bool {
    patterns.iter().any(|pattern| pattern == ALL || pattern == wanted)
}

fn resource_matches(pattern: &str, request: &Attributes<'_>) -> bool {
    if pattern == ALL {
        return true;
    }
    if request.subresource.is_empty() {
        return pattern == request.resource;
    }
    match pattern.split_once('/') {
        Some((resource, subresource)) => {
            subresource == request.subresource && (resource == ALL || resource == request.resource)
        }
        None => false,
    }
}

/// Whether the URL pattern `owner` takes in `path`, which may be a pattern itself.
pub(super) fn url_covers(owner: &str, path: &str) -> bool {
    owner == path || (owner.ends_with('*') && path.starts_with(owner.trim_end_matches('*')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::UserInfo;

    fn rule(groups: &[&str], resources: &[&str], verbs: &[&str], names: &[&str]) -> PolicyRule {
        let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        PolicyRule {
            api_groups: own(groups),
            resources: own(resources),
            verbs: own(verbs),
            resource_names: own(names),
            non_resource_urls: Vec::new(),
        }
    }

    #[test]
    fn resources_subresources_and_names() {
        let user = UserInfo::anonymous();
        let pods = Attributes::resource(&user, "get", "", "pods");
        let log = Attributes {
            subresource: "log",
            ..pods
        };
        let scale = Attributes {
            group: "apps",
            resource: "deployments",
            subresource: "scale",
            ..pods
        };
        assert!(rule(&[""], &["pods"], &["*"], &[]).allows(&pods));
        assert!(!rule(&[""], &["pods"], &["*"], &[]).allows(&log));
        assert!(rule(&[""], &["pods/log"], &["get"], &[]).allows(&log));
        assert!(rule(&["*"], &["*/scale"], &["get"], &[]).allows(&scale));
        assert!(!rule(&["*"], &["*/scale"], &["get"], &[]).allows(&log));
        assert!(rule(&["*"], &["*"], &["get"], &[]).allows(&scale));
        let named = rule(&[""], &["pods"], &["get"], &["a"]);
        assert!(!named.allows(&pods));
        assert!(named.allows(&Attributes { name: "a", ..pods }));
    }

    #[test]
    fn urls_take_a_trailing_star() {
        let rule = PolicyRule {
            verbs: vec!["get".into()],
            non_resource_urls: vec!["/healthz".into(), "/openapi/*".into()],
            ..PolicyRule::default()
        };
        let user = UserInfo::anonymous();
        assert!(rule.allows(&Attributes::non_resource(&user, "get", "/openapi/v2")));
        assert!(!rule.allows(&Attributes::non_resource(&user, "get", "/healthz/etcd")));
        assert!(!rule.allows(&Attributes::non_resource(&user, "post", "/healthz")));
    }
}
