//! Roles and bindings indexed by subject, so that a decision reads only what applies to the user asking.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use corten_meta::quote;
use parking_lot::RwLock;
use serde_json::Value;

use super::model::{Binding, GROUP, PolicyRule, Role, RoleRef, Subject};
use crate::authz::{Attributes, Authorizer, Decision};
use crate::user::{UserInfo, service_account_username};

/// Namespace and name; the namespace is empty for cluster-wide objects.
type Key = (String, String);

/// Answers from the roles and bindings it has been told of. Kept current by whoever watches the RBAC kinds.
#[derive(Default)]
pub struct RbacAuthorizer {
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    roles: HashMap<Key, Arc<[PolicyRule]>>,
    bindings: HashMap<Key, Arc<Binding>>,
    /// Namespace ("" for cluster-wide) to the bindings there by subject, by binding name.
    by_subject: HashMap<String, HashMap<SubjectKey, BTreeSet<String>>>,
}

/// Service accounts are users by their full name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum SubjectKey {
    User(String),
    Group(String),
}

impl RbacAuthorizer {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in a new or changed object of one of the four RBAC kinds, told apart by `resource` (its plural).
    /// Other resources are ignored.
    pub fn upsert(&self, resource: &str, object: &Value) {
        match resource {
            "roles" | "clusterroles" => self.set_role(Role::from_object(object)),
            "rolebindings" | "clusterrolebindings" => self.set_binding(Binding::from_object(object)),
            _ => {}
        }
    }

    /// Forgets a deleted object of one of the four RBAC kinds. `namespace` is empty for the cluster-wide ones.
    pub fn remove(&self, resource: &str, namespace: &str, name: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        let mut state = self.state.write();
        match resource {
            "roles" | "clusterroles" => drop(state.roles.remove(&key)),
            "rolebindings" | "clusterrolebindings" => state.remove_binding(&key),
            _ => {}
        }
    }

    pub fn set_role(&self, role: Role) {
        self.state
            .write()
            .roles
            .insert((role.namespace, role.name), role.rules.into());
    }

    pub fn set_binding(&self, binding: Binding) {
        let key = (binding.namespace.clone(), binding.name.clone());
        let mut state = self.state.write();
        state.remove_binding(&key);
        let subjects = state.by_subject.entry(key.0.clone()).or_default();
        for subject in binding
            .subjects
            .iter()
            .filter_map(|s| SubjectKey::of(s, &binding.namespace))
        {
            subjects.entry(subject).or_default().insert(key.1.clone());
        }
        state.bindings.insert(key, Arc::new(binding));
    }

    /// Every rule that applies to `user` in `namespace` (empty: cluster-wide only), and what went wrong finding them.
    pub fn rules_for(&self, user: &UserInfo, namespace: &str) -> (Vec<PolicyRule>, Vec<String>) {
        let mut rules = Vec::new();
        let errors = self.visit(user, namespace, |_, rule| {
            rules.push(rule.clone());
            true
        });
        (rules, errors)
    }

    /// The rules a binding in `namespace` with this `role_ref` would grant; the error is upstream's not-found text.
    pub fn role_ref_rules(&self, role_ref: &RoleRef, namespace: &str) -> Result<Vec<PolicyRule>, String> {
        self.state
            .read()
            .resolve(role_ref, namespace)
            .map(|rules| rules.to_vec())
    }

    /// Calls `each` with every applying binding and rule until it returns false.
    fn visit(
        &self,
        user: &UserInfo,
        namespace: &str,
        mut each: impl FnMut(&Binding, &PolicyRule) -> bool,
    ) -> Vec<String> {
        let state = self.state.read();
        let mut errors = Vec::new();
        let scopes = if namespace.is_empty() {
            &[""][..]
        } else {
            &["", namespace][..]
        };
        for binding in scopes.iter().flat_map(|scope| state.applying(user, scope)) {
            match state.resolve(&binding.role_ref, &binding.namespace) {
                Ok(rules) => {
                    if !rules.iter().all(|rule| each(&binding, rule)) {
                        return errors;
                    }
                }
                Err(error) if errors.contains(&error) => {}
                Err(error) => errors.push(error),
            }
        }
        errors
    }
}

impl Authorizer for RbacAuthorizer {
    fn authorize(&self, request: &Attributes<'_>) -> Decision {
        let mut allowed_by = None;
        let errors = self.visit(request.user, request.namespace, |binding, rule| {
            if rule.allows(request) {
                allowed_by = Some(describe(binding, request.user));
            }
            allowed_by.is_none()
        });
        if let Some(source) = allowed_by {
            return Decision::Allow(Cow::Owned(format!("RBAC: allowed by {source}")));
        }
        Decision::NoOpinion(match errors.as_slice() {
            [] => Cow::Borrowed(""),
            [one] => Cow::Owned(format!("RBAC: {one}")),
            many => Cow::Owned(format!("RBAC: [{}]", many.join(", "))),
        })
    }
}

impl State {
    fn remove_binding(&mut self, key: &Key) {
        let Some(old) = self.bindings.remove(key) else {
            return;
        };
        let Some(subjects) = self.by_subject.get_mut(&key.0) else {
            return;
        };
        for subject in old
            .subjects
            .iter()
            .filter_map(|s| SubjectKey::of(s, &old.namespace))
        {
            if let Some(names) = subjects.get_mut(&subject) {
                names.remove(&key.1);
                if names.is_empty() {
                    subjects.remove(&subject);
                }
            }
        }
        if subjects.is_empty() {
            self.by_subject.remove(&key.0);
        }
    }

    /// Bindings of one scope that name the user or one of its groups, each once, by name.
    fn applying(&self, user: &UserInfo, scope: &str) -> Vec<Arc<Binding>> {
        let Some(subjects) = self.by_subject.get(scope) else {
            return Vec::new();
        };
        let groups = user.groups.iter().cloned().map(SubjectKey::Group);
        let keys = std::iter::once(SubjectKey::User(user.username.clone())).chain(groups);
        let mut found = BTreeMap::new();
        for name in keys.filter_map(|key| subjects.get(&key)).flatten() {
            if let Some(binding) = self.bindings.get(&(scope.to_owned(), name.clone())) {
                found.insert(name, Arc::clone(binding));
            }
        }
        found.into_values().collect()
    }

    fn resolve(&self, role_ref: &RoleRef, namespace: &str) -> Result<Arc<[PolicyRule]>, String> {
        let (scope, singular) = match role_ref.kind.as_str() {
            "Role" => (namespace, "role"),
            "ClusterRole" => ("", "clusterrole"),
            other => return Err(format!("unsupported role reference kind: {}", quote(other))),
        };
        let key = (scope.to_owned(), role_ref.name.clone());
        let found = self.roles.get(&key).cloned();
        found.ok_or_else(|| format!("{singular}.{GROUP} {} not found", quote(&role_ref.name)))
    }
}

impl SubjectKey {
    fn of(subject: &Subject, binding_namespace: &str) -> Option<Self> {
        match subject.kind.as_str() {
            "User" => Some(Self::User(subject.name.clone())),
            "Group" => Some(Self::Group(subject.name.clone())),
            "ServiceAccount" => {
                let own = subject.namespace.as_str();
                let namespace = if own.is_empty() { binding_namespace } else { own };
                (!namespace.is_empty())
                    .then(|| Self::User(service_account_username(namespace, &subject.name)))
            }
            _ => None,
        }
    }

    fn applies_to(&self, user: &UserInfo) -> bool {
        match self {
            Self::User(name) => *name == user.username,
            Self::Group(name) => user.in_group(name),
        }
    }
}

/// Upstream's description of the grant, as audit logs and SubjectAccessReviews show it.
fn describe(binding: &Binding, user: &UserInfo) -> String {
    let RoleRef { kind, name: role, .. } = &binding.role_ref;
    let role = quote(role);
    let applies =
        |s: &&Subject| SubjectKey::of(s, &binding.namespace).is_some_and(|key| key.applies_to(user));
    let subject = binding
        .subjects
        .iter()
        .find(applies)
        .map(|s| describe_subject(s, &binding.namespace));
    let subject = subject.unwrap_or_default();
    if binding.namespace.is_empty() {
        return format!(
            "ClusterRoleBinding {} of {kind} {role} to {subject}",
            quote(&binding.name)
        );
    }
    let own = quote(&format!("{}/{}", binding.name, binding.namespace));
    format!("RoleBinding {own} of {kind} {role} to {subject}")
}

fn describe_subject(subject: &Subject, binding_namespace: &str) -> String {
    let Subject {
        kind,
        name,
        namespace,
        ..
    } = subject;
    if kind != "ServiceAccount" {
        return format!("{kind} {}", quote(name));
    }
    let namespace = if namespace.is_empty() {
        binding_namespace
    } else {
        namespace
    };
    format!("{kind} {}", quote(&format!("{name}/{namespace}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn authorizer() -> RbacAuthorizer {
        let rbac = RbacAuthorizer::new();
        let read = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]);
        rbac.upsert(
            "clusterroles",
            &json!({"metadata": {"name": "reader"}, "rules": read}),
        );
        rbac.upsert(
            "rolebindings",
            &json!({"metadata": {"name": "b", "namespace": "n"},
                "subjects": [{"kind": "ServiceAccount", "name": "sa"}, {"kind": "Group", "name": "devs"}],
                "roleRef": {"kind": "ClusterRole", "name": "reader"}}),
        );
        rbac
    }

    fn get_pods<'a>(user: &'a UserInfo, namespace: &'a str) -> Attributes<'a> {
        Attributes {
            namespace,
            ..Attributes::resource(user, "get", "", "pods")
        }
    }

    #[test]
    fn a_role_binding_grants_in_its_namespace_only() {
        let rbac = authorizer();
        let sa = UserInfo::service_account("n", "sa", "");
        let decision = rbac.authorize(&get_pods(&sa, "n"));
        let reason = r#"RBAC: allowed by RoleBinding "b/n" of ClusterRole "reader" to ServiceAccount "sa/n""#;
        assert_eq!(decision, Decision::Allow(reason.into()));
        assert!(!rbac.authorize(&get_pods(&sa, "other")).is_allowed());
        assert!(!rbac.authorize(&get_pods(&sa, "")).is_allowed());
        assert!(
            rbac.authorize(&get_pods(&UserInfo::new("x", ["devs"]), "n"))
                .is_allowed()
        );
    }

    #[test]
    fn changes_and_deletions_take_effect() {
        let rbac = authorizer();
        let sa = UserInfo::service_account("n", "sa", "");
        rbac.remove("clusterroles", "", "reader");
        let reason = r#"RBAC: clusterrole.rbac.authorization.k8s.io "reader" not found"#;
        assert_eq!(
            rbac.authorize(&get_pods(&sa, "n")),
            Decision::NoOpinion(reason.into())
        );
        rbac.remove("rolebindings", "n", "b");
        assert_eq!(
            rbac.authorize(&get_pods(&sa, "n")),
            Decision::NoOpinion("".into())
        );
        assert!(rbac.state.read().by_subject.is_empty());
    }
}
