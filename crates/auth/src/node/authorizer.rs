//! Upstream's node authorizer (plugin/pkg/auth/authorizer/node): rules per kind, the graph for single objects, the
//! static rules of the ClusterRole `system:node` for the rest. What a node may write into objects it may write at all
//! is for the NodeRestriction admission.

use std::borrow::Cow;
use std::sync::LazyLock;

use parking_lot::RwLock;
use serde_json::Value;

use super::graph::{Graph, Kind};
use super::pods::Parts;
use crate::authz::{Attributes, Authorizer, Decision};
use crate::rbac::{PolicyRule, bootstrap};
use crate::user::{groups, users};

const NODE_LEASES: &str = "kube-node-lease";

static NODE_RULES: LazyLock<Vec<PolicyRule>> = LazyLock::new(|| bootstrap::cluster_role_rules("system:node"));

/// Answers for users in `system:nodes`; has no opinion about others.
#[derive(Debug, Default)]
pub struct NodeAuthorizer {
    graph: RwLock<Graph>,
}

impl NodeAuthorizer {
    pub fn new() -> Self {
        Self::default()
    }

    /// See [`Graph::upsert`]: persistentvolumes, volumeattachments, resourceslices, podcertificaterequests.
    pub fn upsert(&self, resource: &str, object: &Value) {
        self.graph.write().upsert(resource, object);
    }

    /// Takes in a pod as it is stored. Nothing is read of one whose references are as they were.
    ///
    /// # Errors
    /// Where what refers to other objects is not JSON.
    pub fn upsert_pod(&self, namespace: &str, name: &str, pod: &[u8]) -> serde_json::Result<()> {
        let Some(parts) = Parts::of(pod) else {
            self.remove("pods", namespace, name);
            return Ok(());
        };
        let outline = parts.outline();
        if self.graph.read().has_pod(namespace, name, outline) {
            return Ok(());
        }
        let pod = parts.read(namespace, name)?;
        self.graph.write().set_pod(namespace, name, &pod, outline);
        Ok(())
    }

    /// See [`Graph::remove`].
    pub fn remove(&self, resource: &str, namespace: &str, name: &str) {
        self.graph.write().remove(resource, namespace, name);
    }

    fn decide(&self, node: &str, request: &Attributes<'_>) -> Decision {
        if !request.resource_request {
            return by_rules(request);
        }
        match (request.group, request.resource) {
            ("", "secrets") => self.read_one(node, Kind::Secret, request),
            ("", "configmaps") => self.read_one(node, Kind::ConfigMap, request),
            ("", "persistentvolumeclaims") if request.subresource == "status" => {
                self.write_claim(node, request)
            }
            ("", "persistentvolumeclaims") => self.get_one(node, Kind::Claim, request),
            ("", "persistentvolumes") => self.get_one(node, Kind::Volume, request),
            ("resource.k8s.io", "resourceclaims") => self.get_one(node, Kind::ResourceClaim, request),
            ("storage.k8s.io", "volumeattachments") => self.get_one(node, Kind::VolumeAttachment, request),
            ("", "serviceaccounts") => self.service_account(node, request),
            ("coordination.k8s.io", "leases") => lease(node, request),
            ("storage.k8s.io", "csinodes") => csi_node(node, request),
            ("resource.k8s.io", "resourceslices") => self.resource_slice(node, request),
            ("", "nodes") => node_object(node, request),
            ("", "pods") => self.pod(node, request),
            ("certificates.k8s.io", "podcertificaterequests") => self.pod_certificate(node, request),
            _ => by_rules(request),
        }
    }

    fn related(&self, node: &str, kind: Kind, request: &Attributes<'_>) -> Decision {
        if request.name.is_empty() {
            return no("No Object name found");
        }
        if self
            .graph
            .read()
            .related(node, kind, request.namespace, request.name)
        {
            return yes();
        }
        no(format!(
            "no relationship found between node '{node}' and this object"
        ))
    }

    fn read_one(&self, node: &str, kind: Kind, request: &Attributes<'_>) -> Decision {
        match request {
            _ if !matches!(request.verb, "get" | "list" | "watch") => {
                no("can only read resources of this type")
            }
            _ if !request.subresource.is_empty() => no("cannot read subresource"),
            _ if request.namespace.is_empty() => no("can only read namespaced object of this type"),
            _ => self.related(node, kind, request),
        }
    }

    fn get_one(&self, node: &str, kind: Kind, request: &Attributes<'_>) -> Decision {
        match request {
            _ if request.verb != "get" => no("can only get individual resources of this type"),
            _ if !request.subresource.is_empty() => no("cannot get subresource"),
            _ => self.related(node, kind, request),
        }
    }

    fn write_claim(&self, node: &str, request: &Attributes<'_>) -> Decision {
        if !matches!(request.verb, "update" | "patch") {
            return no("can only get/update/patch this type");
        }
        self.related(node, Kind::Claim, request)
    }

    fn service_account(&self, node: &str, request: &Attributes<'_>) -> Decision {
        match request {
            _ if request.verb == "get" && request.subresource.is_empty() => {
                self.read_one(node, Kind::ServiceAccount, request)
            }
            _ if request.verb != "create" || request.name.is_empty() => {
                no("can only create tokens for individual service accounts")
            }
            _ if request.subresource != "token" => no("can only create token subresource of serviceaccount"),
            _ => self.related(node, Kind::ServiceAccount, request),
        }
    }

    fn resource_slice(&self, node: &str, request: &Attributes<'_>) -> Decision {
        match request.verb {
            _ if !request.subresource.is_empty() => no("cannot authorize ResourceSlice subresources"),
            "create" => yes(),
            "get" | "update" | "patch" | "delete" => self.related(node, Kind::ResourceSlice, request),
            "watch" | "list" | "deletecollection" if request.selects("spec.nodeName", node) => yes(),
            "watch" | "list" | "deletecollection" => {
                no("can only list/watch/deletecollection resourceslices with nodeName field selector")
            }
            _ => no(
                "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, \
                     patch, delete, deletecollection",
            ),
        }
    }

    fn pod_certificate(&self, node: &str, request: &Attributes<'_>) -> Decision {
        match request.verb {
            _ if !request.subresource.is_empty() => {
                no("nodes may not access the status subresource of PodCertificateRequests")
            }
            "create" => yes(),
            "get" => self.related(node, Kind::PodCertificateRequest, request),
            "list" | "watch" if request.selects("spec.nodeName", node) => yes(),
            "list" | "watch" => no("can only list/watch podcertificaterequests with nodeName field selector"),
            verb => no(format!("nodes may not {verb} podcertificaterequests")),
        }
    }

    fn pod(&self, node: &str, request: &Attributes<'_>) -> Decision {
        match (request.subresource, request.verb) {
            ("", "get") => self.get_one(node, Kind::Pod, request),
            ("", "list" | "watch") if request.selects("spec.nodeName", node) => yes(),
            ("", "list" | "watch") if !request.name.is_empty() => self.related(node, Kind::Pod, request),
            ("", "list" | "watch") => no("can only list/watch pods with spec.nodeName field selector"),
            // Own mirror pods, own pods' status, own pods' eviction: NodeRestriction looks at the objects.
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => yes(),
            _ => no(""),
        }
    }
}

impl Authorizer for NodeAuthorizer {
    fn authorize(&self, request: &Attributes<'_>) -> Decision {
        if !request.user.in_group(groups::NODES) {
            return no("");
        }
        match request.user.username.strip_prefix(users::NODE_PREFIX) {
            // Not a node's name: no node identity, as upstream's identifier has it.
            None => no(""),
            Some("") => no(format!(
                "unknown node for user {}",
                corten_meta::quote(&request.user.username)
            )),
            Some(node) => self.decide(node, request),
        }
    }
}

fn node_object(node: &str, request: &Attributes<'_>) -> Decision {
    match (request.subresource, request.verb, request.name) {
        ("", "create" | "update" | "patch", _) | ("status", "update" | "patch", _) => yes(),
        ("", "get" | "list" | "watch", name) if name == node => yes(),
        ("", "get" | "list" | "watch", "") => no(format!(
            "node '{node}' cannot read all nodes, only its own Node object"
        )),
        ("", "get" | "list" | "watch", name) => no(format!(
            "node '{node}' cannot read '{name}', only its own Node object"
        )),
        _ => no(""),
    }
}

fn lease(node: &str, request: &Attributes<'_>) -> Decision {
    match request {
        _ if !is_single_write_or_get(request.verb) => {
            no("can only get, create, update, patch, or delete a node lease")
        }
        _ if request.namespace != NODE_LEASES => no(format!(
            "can only access leases in the {NODE_LEASES:?} system namespace"
        )),
        _ if request.verb != "create" && request.name != node => {
            no("can only access node lease with the same name as the requesting node")
        }
        _ => yes(),
    }
}

fn csi_node(node: &str, request: &Attributes<'_>) -> Decision {
    match request {
        _ if !is_single_write_or_get(request.verb) => {
            no("can only get, create, update, patch, or delete a CSINode")
        }
        _ if !request.subresource.is_empty() => no("cannot authorize CSINode subresources"),
        _ if request.verb != "create" && request.name != node => {
            no("can only access CSINode with the same name as the requesting node")
        }
        _ => yes(),
    }
}

fn is_single_write_or_get(verb: &str) -> bool {
    matches!(verb, "get" | "create" | "update" | "patch" | "delete")
}

fn by_rules(request: &Attributes<'_>) -> Decision {
    if NODE_RULES.iter().any(|rule| rule.allows(request)) {
        yes()
    } else {
        no("")
    }
}

fn yes() -> Decision {
    Decision::Allow(Cow::Borrowed(""))
}

fn no(reason: impl Into<Cow<'static, str>>) -> Decision {
    Decision::NoOpinion(reason.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::user::UserInfo;
    use serde_json::json;

    fn pod(node: &str) -> Value {
        json!({"metadata": {"namespace": "n", "name": "p"}, "spec": {"nodeName": node,
            "serviceAccountName": "sa",
            "containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "env"}}}]}],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}},
                        {"name": "p", "projected": {"sources": [{"configMap": {"name": "cm"}}]}}]}})
    }

    fn upsert_pod(nodes: &NodeAuthorizer, pod: &Value) {
        nodes.upsert_pod("n", "p", pod.to_string().as_bytes()).unwrap();
    }

    fn allowed(authorizer: &NodeAuthorizer, node: &str, verb: &str, resource: &str, name: &str) -> bool {
        let user = UserInfo::node(node);
        let request = Attributes {
            namespace: "n",
            name,
            ..Attributes::resource(&user, verb, "", resource)
        };
        authorizer.authorize(&request).is_allowed()
    }

    #[test]
    fn a_node_reads_what_its_pods_refer_to() {
        let nodes = NodeAuthorizer::new();
        upsert_pod(&nodes, &pod("a"));
        for (resource, name) in [
            ("secrets", "env"),
            ("configmaps", "cm"),
            ("persistentvolumeclaims", "data"),
        ] {
            assert!(allowed(&nodes, "a", "get", resource, name), "{resource}");
            assert!(!allowed(&nodes, "b", "get", resource, name), "{resource}");
        }
        assert!(!allowed(&nodes, "a", "get", "secrets", "other"));
        assert!(!allowed(&nodes, "a", "list", "secrets", ""));
        nodes.remove("pods", "n", "p");
        assert!(!allowed(&nodes, "a", "get", "secrets", "env"));
        let graph = nodes.graph.read();
        assert!(graph_is_empty(&graph));
    }

    fn graph_is_empty(graph: &Graph) -> bool {
        !graph.related("a", Kind::Pod, "n", "p")
    }

    #[test]
    fn secrets_of_a_bound_volume_follow_its_claim() {
        let nodes = NodeAuthorizer::new();
        upsert_pod(&nodes, &pod("a"));
        let volume = json!({"metadata": {"name": "pv"}, "spec": {"claimRef": {"namespace": "n", "name": "data"},
            "csi": {"nodeStageSecretRef": {"namespace": "n", "name": "stage"}}}});
        nodes.upsert("persistentvolumes", &volume);
        assert!(allowed(&nodes, "a", "get", "secrets", "stage"));
        assert!(!allowed(&nodes, "b", "get", "secrets", "stage"));
        nodes.remove("persistentvolumes", "", "pv");
        assert!(!allowed(&nodes, "a", "get", "secrets", "stage"));
    }

    #[test]
    fn nodes_list_only_their_own_pods_and_leases() {
        let nodes = NodeAuthorizer::new();
        let user = UserInfo::node("a");
        let list = Attributes::resource(&user, "list", "", "pods");
        assert!(!nodes.authorize(&list).is_allowed());
        let own = corten_meta::fields::Selector::equal("spec.nodeName", "a");
        assert!(
            nodes
                .authorize(&Attributes {
                    field_selector: Some(&own),
                    ..list
                })
                .is_allowed()
        );
        let lease = Attributes {
            namespace: NODE_LEASES,
            name: "b",
            ..Attributes::resource(&user, "update", "coordination.k8s.io", "leases")
        };
        assert!(!nodes.authorize(&lease).is_allowed());
        assert!(nodes.authorize(&Attributes { name: "a", ..lease }).is_allowed());
        assert!(
            nodes
                .authorize(&Attributes::resource(&user, "list", "", "services"))
                .is_allowed()
        );
    }
}
