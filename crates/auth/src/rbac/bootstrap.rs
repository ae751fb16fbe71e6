//! Upstream's default roles and bindings, and what must be written so that a cluster has them.
//!
//! Rules of reconciliation are upstream's: a missing object is created; labels, annotations, rules and subjects that
//! are missing are added; what is there in excess stays; `rbac.authorization.kubernetes.io/autoupdate: "false"` on an
//! object keeps it as it is; a binding whose `roleRef` differs is deleted and created anew. The rules of aggregated
//! roles are theirs only at creation: afterwards the aggregation controller keeps them.

use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Value, json};

use super::cover::covers;
use super::model::{PolicyRule, Subject, rules_of};

const API_VERSION: &str = "rbac.authorization.k8s.io/v1";
const AUTO_UPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// The four plurals, in the order they are written: what bindings refer to comes first.
pub const RESOURCES: [&str; 4] = ["clusterroles", "clusterrolebindings", "roles", "rolebindings"];

static DEFAULTS: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("generated/defaults.json")).unwrap_or_default());

/// One write to make.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// Plural of the kind, group `rbac.authorization.k8s.io`, version `v1`.
    pub resource: &'static str,
    /// Empty for the cluster-wide kinds.
    pub namespace: String,
    pub name: String,
    pub action: Action,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Create(Value),
    Update(Value),
    /// Delete, then create.
    Replace(Value),
}

/// The default objects of one plural, with `apiVersion` and `kind`.
pub fn defaults(resource: &str) -> &'static [Value] {
    DEFAULTS[resource]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// The rules of the default ClusterRole `name`.
pub fn cluster_role_rules(name: &str) -> Vec<PolicyRule> {
    let found = defaults("clusterroles")
        .iter()
        .find(|role| role["metadata"]["name"] == name);
    found.map(rules_of).unwrap_or_default()
}

/// Objects by plural.
pub type Objects = Vec<(&'static str, Value)>;

/// What a cluster has besides where the gate StorageVersionMigrator is on: the role of its controller.
pub fn storage_version_migrator() -> Objects {
    const CONTROLLER: &str = "storage-version-migrator-controller";
    let name = format!("system:controller:{CONTROLLER}");
    let metadata = json!({"name": name, "annotations": {AUTO_UPDATE: "true"},
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}});
    let rule = |group: &str, resource: &str, verbs: &[&str]| json!({"apiGroups": [group], "resources": [resource], "verbs": verbs});
    let role = json!({"apiVersion": API_VERSION, "kind": "ClusterRole", "metadata": metadata, "rules": [
        // A deleted object that is applied counts as created, until the uid says otherwise.
        rule("*", "*", &["create", "list", "patch"]),
        rule("apiextensions.k8s.io", "customresourcedefinitions", &["get"]),
        rule("apiextensions.k8s.io", "customresourcedefinitions/status", &["patch"]),
        rule("storagemigration.k8s.io", "storageversionmigrations/status", &["update"]),
    ]});
    let subject = json!({"kind": "ServiceAccount", "name": CONTROLLER, "namespace": "kube-system"});
    let role_ref = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name});
    let binding = json!({"apiVersion": API_VERSION, "kind": "ClusterRoleBinding", "metadata": metadata,
        "roleRef": role_ref, "subjects": [subject]});
    vec![("clusterroles", role), ("clusterrolebindings", binding)]
}

/// What to write so that a cluster has the default objects and those of `optional`, given
/// `existing(resource, namespace, name)`, which returns the stored object.
pub fn plan(optional: &Objects, existing: impl Fn(&str, &str, &str) -> Option<Value>) -> Vec<Write> {
    let mut writes = Vec::new();
    for resource in RESOURCES {
        let optional = optional.iter().filter(|(plural, _)| *plural == resource);
        for wanted in defaults(resource)
            .iter()
            .chain(optional.map(|(_, object)| object))
        {
            let field = |name: &str| wanted["metadata"][name].as_str().unwrap_or_default().to_owned();
            let (namespace, name) = (field("namespace"), field("name"));
            let action = match existing(resource, &namespace, &name) {
                None => Some(Action::Create(wanted.clone())),
                Some(stored) => reconcile(stored, wanted),
            };
            writes.extend(action.map(|action| Write {
                resource,
                namespace,
                name,
                action,
            }));
        }
    }
    writes
}

fn reconcile(stored: Value, wanted: &Value) -> Option<Action> {
    if stored["metadata"]["annotations"][AUTO_UPDATE] == "false" {
        return None;
    }
    if stored["roleRef"] != wanted["roleRef"] {
        return Some(Action::Replace(wanted.clone()));
    }
    let mut updated = stored.clone();
    for map in ["labels", "annotations"] {
        add_missing_entries(&mut updated["metadata"][map], &wanted["metadata"][map]);
    }
    if wanted.get("roleRef").is_some() {
        add_missing_subjects(&mut updated, wanted);
    } else {
        reconcile_rules(&mut updated, wanted);
    }
    without_nulls(&mut updated);
    (updated != stored).then_some(Action::Update(updated))
}

fn add_missing_entries(target: &mut Value, wanted: &Value) {
    for (key, value) in wanted.as_object().into_iter().flatten() {
        if target.get(key).is_none() {
            target[key] = value.clone();
        }
    }
}

fn add_missing_subjects(updated: &mut Value, wanted: &Value) {
    let subjects = |object: &Value| Vec::<Subject>::deserialize(&object["subjects"]).unwrap_or_default();
    let mut all = subjects(updated);
    let held = all.len();
    for subject in subjects(wanted) {
        if !all.contains(&subject) {
            all.push(subject);
        }
    }
    if all.len() > held {
        updated["subjects"] = json!(all);
    }
}

fn reconcile_rules(updated: &mut Value, wanted: &Value) {
    let Some(selectors) = wanted["aggregationRule"]["clusterRoleSelectors"].as_array() else {
        let mut rules = rules_of(updated);
        let missing = covers(&rules, &rules_of(wanted));
        if !missing.is_empty() {
            rules.extend(missing);
            updated["rules"] = json!(rules);
        }
        updated["aggregationRule"] = Value::Null;
        return;
    };
    let held = updated["aggregationRule"]["clusterRoleSelectors"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let missing: Vec<Value> = selectors
        .iter()
        .filter(|selector| !held.contains(selector))
        .cloned()
        .collect();
    if !missing.is_empty() {
        updated["aggregationRule"]["clusterRoleSelectors"] = Value::Array([held, missing].concat());
    }
}

/// Indexing a missing field makes it null; stored objects have none.
fn without_nulls(object: &mut Value) {
    for part in ["/metadata", ""] {
        if let Some(map) = object.pointer_mut(part).and_then(Value::as_object_mut) {
            map.retain(|_, field| !field.is_null());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use corten_meta::object;

    fn stored(resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let matches = |own: &&Value| object::name(own) == name && object::namespace(own) == namespace;
        defaults(resource).iter().find(matches).cloned()
    }

    fn plan_with(changed: Option<Value>) -> Vec<Write> {
        plan(&Objects::new(), |resource, namespace, name| {
            match (&changed, stored(resource, namespace, name)) {
                (Some(object), Some(own))
                    if object["kind"] == own["kind"] && object["metadata"]["name"] == name =>
                {
                    Some(object.clone())
                }
                (_, own) => own,
            }
        })
    }

    #[test]
    fn an_empty_cluster_gets_everything_and_a_full_one_nothing() {
        assert_eq!(plan(&Objects::new(), |_, _, _| None).len(), 70 + 51 + 7 + 7);
        assert_eq!(plan_with(None), []);
    }

    #[test]
    fn what_is_missing_is_added_and_what_is_extra_stays() {
        let mut role = stored("clusterroles", "", "system:basic-user").unwrap_or_default();
        role["rules"] = json!([{"apiGroups": ["x"], "resources": ["y"], "verbs": ["get"]}]);
        let writes = plan_with(Some(role.clone()));
        let [
            Write {
                action: Action::Update(updated),
                ..
            },
        ] = writes.as_slice()
        else {
            panic!("{writes:?}")
        };
        assert_eq!(updated["rules"][0], role["rules"][0]);
        assert!(rules_of(updated).len() > 1);
        role["metadata"]["annotations"][AUTO_UPDATE] = json!("false");
        assert_eq!(plan_with(Some(role)), []);
    }

    #[test]
    fn a_binding_to_another_role_is_replaced() {
        let mut binding = stored("clusterrolebindings", "", "cluster-admin").unwrap_or_default();
        binding["roleRef"]["name"] = json!("view");
        let writes = plan_with(Some(binding));
        assert!(matches!(
            writes.as_slice(),
            [Write {
                action: Action::Replace(_),
                ..
            }]
        ));
    }
}
