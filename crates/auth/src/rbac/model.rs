//! The RBAC kinds as far as decisions need them, read from API objects.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Group of the RBAC kinds.
pub const GROUP: &str = "rbac.authorization.k8s.io";

/// `rbac.authorization.k8s.io/v1` `PolicyRule`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyRule {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub verbs: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    #[serde(rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty")]
    pub non_resource_urls: Vec<String>,
}

/// Who a binding grants to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Subject {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_group: String,
    pub kind: String,
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

/// What a binding grants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RoleRef {
    pub api_group: String,
    pub kind: String,
    pub name: String,
}

/// A Role, or a ClusterRole when `namespace` is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role {
    pub namespace: String,
    pub name: String,
    pub rules: Vec<PolicyRule>,
}

/// A RoleBinding, or a ClusterRoleBinding when `namespace` is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Binding {
    pub namespace: String,
    pub name: String,
    pub subjects: Vec<Subject>,
    pub role_ref: RoleRef,
}

impl Role {
    /// Reads a stored Role or ClusterRole. Parts that do not parse grant nothing.
    pub fn from_object(object: &Value) -> Self {
        let (namespace, name) = identity(object);
        Self {
            namespace,
            name,
            rules: rules_of(object),
        }
    }
}

impl Binding {
    /// Reads a stored RoleBinding or ClusterRoleBinding. Parts that do not parse grant nothing.
    pub fn from_object(object: &Value) -> Self {
        let (namespace, name) = identity(object);
        Self {
            namespace,
            name,
            subjects: parsed(&object["subjects"]),
            role_ref: parsed(&object["roleRef"]),
        }
    }
}

/// The `rules` of a role object.
pub(super) fn rules_of(object: &Value) -> Vec<PolicyRule> {
    parsed(&object["rules"])
}

fn identity(object: &Value) -> (String, String) {
    let field = |name: &str| object["metadata"][name].as_str().unwrap_or_default().to_owned();
    (field("namespace"), field("name"))
}

fn parsed<T: serde::de::DeserializeOwned + Default>(value: &Value) -> T {
    T::deserialize(value).unwrap_or_default()
}
