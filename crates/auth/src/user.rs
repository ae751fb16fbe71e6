//! The authenticated identity every request carries.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Well-known user names.
pub mod users {
    pub const ANONYMOUS: &str = "system:anonymous";
    pub const API_SERVER: &str = "system:apiserver";
    pub const CONTROLLER_MANAGER: &str = "system:kube-controller-manager";
    pub const SCHEDULER: &str = "system:kube-scheduler";
    pub const PROXY: &str = "system:kube-proxy";
    pub const ADMIN: &str = "kubernetes-admin";
    /// Prefix of every kubelet's user name.
    pub const NODE_PREFIX: &str = "system:node:";
    /// Prefix of every service account's user name.
    pub const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";
}

/// Well-known groups.
pub mod groups {
    pub const MASTERS: &str = "system:masters";
    pub const NODES: &str = "system:nodes";
    pub const AUTHENTICATED: &str = "system:authenticated";
    pub const UNAUTHENTICATED: &str = "system:unauthenticated";
    pub const SERVICE_ACCOUNTS: &str = "system:serviceaccounts";
    /// Prefix of the group of one namespace's service accounts.
    pub const SERVICE_ACCOUNTS_PREFIX: &str = "system:serviceaccounts:";
}

/// Keys of [`UserInfo::extra`].
pub mod extra {
    pub const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";
    pub const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
    pub const POD_UID: &str = "authentication.kubernetes.io/pod-uid";
    pub const NODE_NAME: &str = "authentication.kubernetes.io/node-name";
    pub const NODE_UID: &str = "authentication.kubernetes.io/node-uid";
}

/// A user as authentication established it; the JSON form is `authentication.k8s.io/v1` `UserInfo`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserInfo {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, Vec<String>>,
}

impl UserInfo {
    /// A user in `groups`, to which `system:authenticated` is added as authentication does.
    pub fn new<'a>(username: impl Into<String>, groups: impl IntoIterator<Item = &'a str>) -> Self {
        let groups = groups.into_iter().map(str::to_owned).collect();
        Self {
            username: username.into(),
            groups,
            ..Self::default()
        }
        .authenticated()
    }

    /// The identity of requests without credentials.
    pub fn anonymous() -> Self {
        let groups = vec![groups::UNAUTHENTICATED.to_owned()];
        Self {
            username: users::ANONYMOUS.to_owned(),
            groups,
            ..Self::default()
        }
    }

    /// The API server's own loopback identity: may do everything.
    pub fn api_server() -> Self {
        Self::new(users::API_SERVER, [groups::MASTERS])
    }

    /// A kubelet's identity.
    pub fn node(name: &str) -> Self {
        Self::new(format!("{}{name}", users::NODE_PREFIX), [groups::NODES])
    }

    /// A service account's identity, as its tokens give it.
    pub fn service_account(namespace: &str, name: &str, uid: &str) -> Self {
        let own = format!("{}{namespace}", groups::SERVICE_ACCOUNTS_PREFIX);
        let mut user = Self::new(
            service_account_username(namespace, name),
            [groups::SERVICE_ACCOUNTS, &own],
        );
        uid.clone_into(&mut user.uid);
        user
    }

    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }

    /// The node this user is the kubelet of: `system:node:NAME` in group `system:nodes`.
    pub fn node_name(&self) -> Option<&str> {
        let name = self.username.strip_prefix(users::NODE_PREFIX)?;
        self.in_group(groups::NODES).then_some(name)
    }

    /// Adds `system:authenticated` unless the user is anonymous or has it.
    #[must_use]
    pub fn authenticated(mut self) -> Self {
        if self.username != users::ANONYMOUS && !self.in_group(groups::AUTHENTICATED) {
            self.groups.push(groups::AUTHENTICATED.to_owned());
        }
        self
    }
}

/// `system:serviceaccount:NAMESPACE:NAME`.
pub fn service_account_username(namespace: &str, name: &str) -> String {
    format!("{}{namespace}:{name}", users::SERVICE_ACCOUNT_PREFIX)
}

/// Namespace and name of a service account's user name.
pub fn split_service_account(username: &str) -> Option<(&str, &str)> {
    let (namespace, name) = username
        .strip_prefix(users::SERVICE_ACCOUNT_PREFIX)?
        .split_once(':')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_accounts_have_upstream_names_and_groups() {
        let user = UserInfo::service_account("default", "web", "u1");
        assert_eq!(user.username, "system:serviceaccount:default:web");
        let expected = [
            "system:serviceaccounts",
            "system:serviceaccounts:default",
            "system:authenticated",
        ];
        assert_eq!(user.groups, expected);
        assert_eq!(split_service_account(&user.username), Some(("default", "web")));
        assert_eq!(split_service_account("system:serviceaccount:a"), None);
    }

    #[test]
    fn a_node_needs_name_and_group() {
        assert_eq!(UserInfo::node("n1").node_name(), Some("n1"));
        assert_eq!(UserInfo::new("system:node:n1", []).node_name(), None);
    }
}
