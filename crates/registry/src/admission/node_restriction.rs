//! `NodeRestriction`: a kubelet changes its own node and the pods on it, nothing else.

use std::collections::BTreeSet;

use async_trait::async_trait;
use corten_meta::{GroupResource, Result, Status, object, quote};
use serde_json::Value;

use super::{Admission, Attributes, Operation, find};
use crate::context::{User, WriteContext};
use crate::registry::Registry;
use crate::resource::Subresource;

const MIRROR: &str = "kubernetes.io/config.mirror";
const LEASES: &str = "kube-node-lease";
/// Labels with a Kubernetes domain that kubelets may set on their node.
const KUBELET_LABELS: [&str; 11] = [
    "kubernetes.io/hostname",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
];

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct NodeRestriction;

#[async_trait]
impl Admission for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation != Operation::Connect
    }

    async fn admit(
        &self,
        registry: &Registry,
        ctx: &WriteContext,
        attributes: &Attributes<'_>,
        object: &mut Value,
    ) -> Result<()> {
        let Some(node) = node_of(&ctx.user) else {
            return Ok(());
        };
        let refuse = |error: String| Err(attributes.forbidden(object, error));
        let resource = attributes.resource;
        let main = attributes.subresource == Subresource::MAIN;
        let problem = match (resource.group.as_ref(), resource.plural.as_ref()) {
            ("", "pods") if main => return pod(registry, attributes, node, object).await,
            ("", "pods") => pod_subresource(attributes, node, object),
            ("", "nodes") => own_node(attributes, node, object),
            ("", "persistentvolumeclaims") => claim(attributes, node, object),
            ("coordination.k8s.io", "leases") => lease(attributes, node, object),
            ("storage.k8s.io", "csinodes") => (name(attributes, object) != node)
                .then(|| "can only access CSINode with the same name as the requesting node".to_owned()),
            ("resource.k8s.io", "resourceslices") => slice(attributes, node, object),
            _ => None,
        };
        problem.map_or(Ok(()), refuse)
    }
}

/// The node the user is the kubelet of.
fn node_of(user: &User) -> Option<&str> {
    let name = user
        .name
        .strip_prefix("system:node:")
        .filter(|name| !name.is_empty())?;
    user.groups
        .iter()
        .any(|group| group == "system:nodes")
        .then_some(name)
}

fn name<'a>(attributes: &'a Attributes<'_>, object: &'a Value) -> &'a str {
    if attributes.name.is_empty() {
        object::name(object)
    } else {
        attributes.name
    }
}

fn runs_on(pod: &Value, node: &str) -> bool {
    pod["spec"]["nodeName"] == node
}

async fn pod(registry: &Registry, attributes: &Attributes<'_>, node: &str, pod: &Value) -> Result<()> {
    let quoted = quote(node);
    let problem = match attributes.operation {
        Operation::Create => match mirror(node, pod) {
            None => return owner(registry, attributes, node, pod).await,
            problem => problem,
        },
        Operation::Delete => (!attributes.old.is_some_and(|old| runs_on(old, node)))
            .then(|| format!("node {quoted} can only delete pods with spec.nodeName set to itself")),
        operation => Some(format!(
            "unexpected operation {}, node {quoted} can only create and delete mirror pods",
            quote(operation.as_str())
        )),
    };
    problem.map_or(Ok(()), |error| Err(attributes.forbidden(pod, error)))
}

fn mirror(node: &str, pod: &Value) -> Option<String> {
    let quoted = quote(node);
    if object::annotation(pod, MIRROR).is_none() {
        return Some(format!(
            "pod does not have {} annotation, node {quoted} can only create mirror pods",
            quote(MIRROR)
        ));
    }
    if !runs_on(pod, node) {
        return Some(format!(
            "node {quoted} can only create pods with spec.nodeName set to itself"
        ));
    }
    if object::owner_refs(pod).len() > 1 {
        return Some(format!(
            "node {quoted} can only create pods with a single owner reference set to itself"
        ));
    }
    referenced(&pod["spec"]).map(|what| format!("node {quoted} can not create pods that reference {what}"))
}

async fn owner(registry: &Registry, attributes: &Attributes<'_>, node: &str, pod: &Value) -> Result<()> {
    let quoted = quote(node);
    let refuse = |error: String| Err(attributes.forbidden(pod, error));
    let own =
        |owner: &&Value| owner["apiVersion"] == "v1" && owner["kind"] == "Node" && owner["name"] == node;
    let Some(owner) = object::owner_refs(pod).first().filter(own) else {
        return refuse(format!(
            "node {quoted} can only create pods with an owner reference set to itself"
        ));
    };
    if owner["controller"] != true {
        return refuse(format!(
            "node {quoted} can only create pods with a controller owner reference set to itself"
        ));
    }
    if owner["blockOwnerDeletion"] == true {
        return refuse(format!(
            "node {quoted} must not set blockOwnerDeletion on an owner reference"
        ));
    }
    let Some(found) = find(registry, "", "nodes", "", node).await? else {
        return Err(Status::not_found(&GroupResource::new("", "nodes"), node));
    };
    let (given, uid) = (owner["uid"].as_str().unwrap_or_default(), object::uid(&found));
    if given != uid {
        return refuse(format!("node {node} UID mismatch: expected {given} got {uid}"));
    }
    Ok(())
}

/// The first thing of the API that a pod refers to.
fn referenced(spec: &Value) -> Option<&'static str> {
    if spec["serviceAccountName"]
        .as_str()
        .is_some_and(|name| !name.is_empty())
    {
        return Some("serviceaccounts");
    }
    let list = |value: &'_ Value| value.as_array().cloned().unwrap_or_default();
    let holders = ["containers", "initContainers", "ephemeralContainers"]
        .map(|field| list(&spec[field]))
        .concat();
    let refers = |from: &str, key: &str| {
        holders.iter().any(|container| {
            list(&container["envFrom"])
                .iter()
                .any(|source| source[from].is_object())
                || list(&container["env"])
                    .iter()
                    .any(|variable| variable["valueFrom"][key].is_object())
        })
    };
    if !list(&spec["imagePullSecrets"]).is_empty() || refers("secretRef", "secretKeyRef") {
        return Some("secrets");
    }
    if refers("configMapRef", "configMapKeyRef") {
        return Some("configmaps");
    }
    if !list(&spec["resourceClaims"]).is_empty() {
        return Some("resourceclaims");
    }
    list(&spec["volumes"]).iter().find_map(by_volume)
}

fn by_volume(volume: &Value) -> Option<&'static str> {
    const VOLUMES: [(&str, &str); 7] = [
        ("configMap", "configmaps (via configmap volumes)"),
        ("secret", "secrets (via secret volumes)"),
        ("csi", "csidrivers (via CSI volumes)"),
        ("glusterfs", "endpoints (via glusterFS volumes)"),
        ("persistentVolumeClaim", "persistentvolumeclaims"),
        ("ephemeral", "persistentvolumeclaims (via ephemeral volumes)"),
        ("azureFile", "secrets (via azureFile volumes)"),
    ];
    const SOURCES: [(&str, &str); 5] = [
        ("configMap", "configmaps (via projected volumes)"),
        ("secret", "secrets (via projected volumes)"),
        ("serviceAccountToken", "serviceaccounts (via projected volumes)"),
        ("clusterTrustBundle", "clustertrustbundles"),
        ("podCertificate", "podcertificates"),
    ];
    let first = |value: &Value, table: &[(&str, &'static str)]| {
        table
            .iter()
            .find(|(field, _)| value[*field].is_object())
            .map(|(_, what)| *what)
    };
    let sources = volume["projected"]["sources"].as_array().into_iter().flatten();
    first(volume, &VOLUMES).or_else(|| sources.into_iter().find_map(|source| first(source, &SOURCES)))
}

fn pod_subresource(attributes: &Attributes<'_>, node: &str, pod: &Value) -> Option<String> {
    let quoted = quote(node);
    if attributes.subresource == Subresource::EVICTION {
        return None;
    }
    if attributes.subresource != Subresource::STATUS {
        return Some(format!(
            "unexpected pod subresource {}, only 'status' and 'eviction' are allowed",
            quote(attributes.subresource.0)
        ));
    }
    let old = attributes.old?;
    if !runs_on(old, node) {
        return Some(format!(
            "node {quoted} can only update pod status for pods with spec.nodeName set to itself"
        ));
    }
    if pod["metadata"]["labels"] != old["metadata"]["labels"] {
        return Some(format!("node {quoted} cannot update labels through pod status"));
    }
    if pod["status"]["resourceClaimStatuses"] != old["status"]["resourceClaimStatuses"] {
        return Some(format!("node {quoted} cannot update resource claim statues"));
    }
    (pod["status"]["extendedResourceClaimStatus"] != old["status"]["extendedResourceClaimStatus"])
        .then(|| format!("node {quoted} cannot update extended resource claim status"))
}

fn own_node(attributes: &Attributes<'_>, node: &str, object: &Value) -> Option<String> {
    let (quoted, asked) = (quote(node), name(attributes, object));
    if asked != node {
        return Some(format!(
            "node {quoted} is not allowed to modify node {}",
            quote(asked)
        ));
    }
    let config = &object["spec"]["configSource"];
    match (attributes.operation, attributes.old) {
        (Operation::Create, _) => {
            if !config.is_null() {
                return Some(format!(
                    "node {quoted} is not allowed to create pods with a non-nil configSource"
                ));
            }
            let labels = forbidden_labels(object, &Value::Null);
            (!labels.is_empty())
                .then(|| format!("node {quoted} is not allowed to set the following labels: {labels}"))
        }
        (Operation::Update, Some(old)) => {
            if !config.is_null() && *config != old["spec"]["configSource"] {
                return Some(format!(
                    "node {quoted} is not allowed to update configSource to a new non-nil configSource"
                ));
            }
            if list(&object["spec"]["taints"]) != list(&old["spec"]["taints"]) {
                return Some(format!("node {quoted} is not allowed to modify taints"));
            }
            if object::owner_refs(object) != object::owner_refs(old) {
                return Some(format!("node {quoted} is not allowed to modify ownerReferences"));
            }
            let labels = forbidden_labels(object, old);
            (!labels.is_empty()).then(|| format!("is not allowed to modify labels: {labels}"))
        }
        _ => None,
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Labels that differ and are not the kubelet's to change, by name.
fn forbidden_labels(new: &Value, old: &Value) -> String {
    let (new, old) = (&new["metadata"]["labels"], &old["metadata"]["labels"]);
    let keys = [new, old].map(|labels| {
        labels
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, _)| key.as_str())
    });
    let keys: BTreeSet<&str> = keys.into_iter().flatten().collect();
    let wrong = keys
        .into_iter()
        .filter(|key| new[*key] != old[*key] && is_forbidden(key));
    wrong.collect::<Vec<_>>().join(", ")
}

fn is_forbidden(label: &str) -> bool {
    let domain = label.split_once('/').map_or("", |(domain, _)| domain);
    let within =
        |zone: &str| domain == zone || domain.strip_suffix(zone).is_some_and(|rest| rest.ends_with('.'));
    if within("node-restriction.kubernetes.io") {
        return true;
    }
    let kubelets =
        KUBELET_LABELS.contains(&label) || within("kubelet.kubernetes.io") || within("node.kubernetes.io");
    (within("kubernetes.io") || within("k8s.io")) && !kubelets
}

fn claim(attributes: &Attributes<'_>, node: &str, claim: &Value) -> Option<String> {
    if attributes.subresource != Subresource::STATUS {
        return Some("may only update PVC status".to_owned());
    }
    let rest = |claim: &Value| {
        let mut rest = claim.clone();
        for field in [
            "capacity",
            "conditions",
            "allocatedResourceStatuses",
            "allocatedResources",
        ] {
            rest["status"].as_object_mut().map(|status| status.remove(field));
        }
        for field in ["resourceVersion", "managedFields"] {
            object::metadata_mut(&mut rest).remove(field);
        }
        rest
    };
    let same = attributes.old.is_none_or(|old| rest(old) == rest(claim));
    (!same).then(|| {
        format!(
            "node {} is not allowed to update fields other than status.quantity and status.conditions: ",
            quote(node)
        )
    })
}

fn lease(attributes: &Attributes<'_>, node: &str, lease: &Value) -> Option<String> {
    if attributes.namespace != LEASES {
        return Some(format!(
            "can only access leases in the {} system namespace",
            quote(LEASES)
        ));
    }
    (name(attributes, lease) != node)
        .then(|| "can only access node lease with the same name as the requesting node".to_owned())
}

fn slice(attributes: &Attributes<'_>, node: &str, slice: &Value) -> Option<String> {
    let (object, verb) = match attributes.operation {
        Operation::Create => (slice, "create"),
        Operation::Delete => (attributes.old?, "delete"),
        _ => return None,
    };
    (object["spec"]["nodeName"] != node)
        .then(|| format!("can only {verb} ResourceSlice with the same NodeName as the requesting node"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn kubelets_are_told_by_name_and_group() {
        let user = |name: &str, group: &str| User {
            name: name.to_owned(),
            groups: vec![group.to_owned()],
            ..User::default()
        };
        assert_eq!(node_of(&user("system:node:a", "system:nodes")), Some("a"));
        assert_eq!(node_of(&user("system:node:a", "others")), None);
        assert_eq!(node_of(&user("someone", "system:nodes")), None);
    }

    #[test]
    fn labels_of_the_cluster_are_not_the_kubelets() {
        let labels = json!({"metadata": {"labels": {
            "kubernetes.io/hostname": "a", "node.kubernetes.io/x": "1", "example.com/x": "1",
            "node-role.kubernetes.io/control-plane": "", "node-restriction.kubernetes.io/zone": "z"}}});
        let expected = "node-restriction.kubernetes.io/zone, node-role.kubernetes.io/control-plane";
        assert_eq!(forbidden_labels(&labels, &Value::Null), expected);
        assert_eq!(forbidden_labels(&labels, &labels), "");
    }
}
