//! Which node needs which object: counted references, so that each question is two look-ups.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::references::{PodReferences, pv_secrets};

/// A kind of object a kubelet reads one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Secret,
    ConfigMap,
    Claim,
    ResourceClaim,
    ServiceAccount,
    Pod,
    Volume,
    VolumeAttachment,
    ResourceSlice,
    PodCertificateRequest,
}

type Key = (String, String);
type Object = (Kind, String, String);

/// Edges from objects to nodes. Fed with every pod, persistent volume, volume attachment and so on, and with their
/// deletion.
#[derive(Debug, Default)]
pub struct Graph {
    /// Object to nodes, with the number of references from each node.
    nodes_of: HashMap<Object, HashMap<String, usize>>,
    /// What each pod holds in `nodes_of`.
    pods: HashMap<Key, PodEntry>,
    /// Persistent volume to its claim and the secrets it refers to.
    volumes: HashMap<String, VolumeEntry>,
    /// Secret to the volumes that refer to it.
    secret_volumes: HashMap<Key, HashSet<String>>,
    /// The node of each object that names its node itself.
    direct: HashMap<Object, String>,
}

#[derive(Debug)]
struct PodEntry {
    node: String,
    objects: Vec<Object>,
    /// See [`Graph::has_pod`].
    outline: u64,
}

#[derive(Debug)]
struct VolumeEntry {
    claim: Key,
    secrets: Vec<Key>,
}

impl Graph {
    /// Takes in a new or changed object that is no pod, told apart by `resource` (its plural). Other resources are ignored.
    pub fn upsert(&mut self, resource: &str, object: &Value) {
        let (namespace, name) = (
            text(object, "/metadata/namespace"),
            text(object, "/metadata/name"),
        );
        match resource {
            "persistentvolumes" => self.set_volume(name, object),
            _ => {
                if let Some(kind) = direct_kind(resource) {
                    self.set_direct(
                        (kind, namespace.to_owned(), name.to_owned()),
                        text(object, "/spec/nodeName"),
                    );
                }
            }
        }
    }

    /// Whether the pod was taken in with this outline: a digest of what of it can refer to other objects.
    pub(super) fn has_pod(&self, namespace: &str, name: &str, outline: u64) -> bool {
        let key = (namespace.to_owned(), name.to_owned());
        self.pods.get(&key).is_some_and(|pod| pod.outline == outline)
    }

    /// Forgets a deleted object. `namespace` is empty for the cluster-wide kinds.
    pub fn remove(&mut self, resource: &str, namespace: &str, name: &str) {
        match resource {
            "pods" => self.remove_pod(&(namespace.to_owned(), name.to_owned())),
            "persistentvolumes" => self.remove_volume(name),
            _ => {
                if let Some(kind) = direct_kind(resource) {
                    self.set_direct((kind, namespace.to_owned(), name.to_owned()), "");
                }
            }
        }
    }

    /// Whether anything on `node` refers to the object.
    pub(super) fn related(&self, node: &str, kind: Kind, namespace: &str, name: &str) -> bool {
        let object = (kind, namespace.to_owned(), name.to_owned());
        if self
            .nodes_of
            .get(&object)
            .is_some_and(|nodes| nodes.contains_key(node))
        {
            return true;
        }
        match kind {
            Kind::Volume => self.volume_related(node, name),
            Kind::Secret => {
                let volumes = self.secret_volumes.get(&(object.1, object.2));
                volumes.is_some_and(|volumes| volumes.iter().any(|volume| self.volume_related(node, volume)))
            }
            _ => self.direct.get(&object).is_some_and(|own| own == node),
        }
    }

    fn volume_related(&self, node: &str, volume: &str) -> bool {
        let Some(VolumeEntry { claim, .. }) = self.volumes.get(volume) else {
            return false;
        };
        self.related(node, Kind::Claim, &claim.0, &claim.1)
    }

    /// Takes in a pod with its outline.
    pub(super) fn set_pod(&mut self, namespace: &str, name: &str, pod: &Value, outline: u64) {
        let key = (namespace.to_owned(), name.to_owned());
        self.remove_pod(&key);
        let node = text(pod, "/spec/nodeName");
        if node.is_empty() {
            return;
        }
        let mut objects = vec![(Kind::Pod, key.0.clone(), key.1.clone())];
        let references = PodReferences::of(pod);
        objects.extend(
            references
                .0
                .into_iter()
                .map(|(kind, name)| (kind, key.0.clone(), name)),
        );
        for object in &objects {
            *self
                .nodes_of
                .entry(object.clone())
                .or_default()
                .entry(node.to_owned())
                .or_default() += 1;
        }
        self.pods.insert(
            key,
            PodEntry {
                node: node.to_owned(),
                objects,
                outline,
            },
        );
    }

    fn remove_pod(&mut self, key: &Key) {
        let Some(PodEntry { node, objects, .. }) = self.pods.remove(key) else {
            return;
        };
        for object in objects {
            let Some(nodes) = self.nodes_of.get_mut(&object) else {
                continue;
            };
            if let Some(count) = nodes.get_mut(&node) {
                *count -= 1;
                if *count == 0 {
                    nodes.remove(&node);
                }
            }
            if nodes.is_empty() {
                self.nodes_of.remove(&object);
            }
        }
    }

    fn set_volume(&mut self, name: &str, volume: &Value) {
        self.remove_volume(name);
        let claim = (
            text(volume, "/spec/claimRef/namespace"),
            text(volume, "/spec/claimRef/name"),
        );
        if claim.1.is_empty() {
            return;
        }
        let secrets = pv_secrets(volume, claim.0);
        for secret in &secrets {
            self.secret_volumes
                .entry(secret.clone())
                .or_default()
                .insert(name.to_owned());
        }
        let claim = (claim.0.to_owned(), claim.1.to_owned());
        self.volumes
            .insert(name.to_owned(), VolumeEntry { claim, secrets });
    }

    fn remove_volume(&mut self, name: &str) {
        let Some(VolumeEntry { secrets, .. }) = self.volumes.remove(name) else {
            return;
        };
        for secret in secrets {
            let Some(volumes) = self.secret_volumes.get_mut(&secret) else {
                continue;
            };
            volumes.remove(name);
            if volumes.is_empty() {
                self.secret_volumes.remove(&secret);
            }
        }
    }

    fn set_direct(&mut self, object: Object, node: &str) {
        if node.is_empty() {
            self.direct.remove(&object);
        } else {
            self.direct.insert(object, node.to_owned());
        }
    }
}

fn direct_kind(resource: &str) -> Option<Kind> {
    match resource {
        "volumeattachments" => Some(Kind::VolumeAttachment),
        "resourceslices" => Some(Kind::ResourceSlice),
        "podcertificaterequests" => Some(Kind::PodCertificateRequest),
        _ => None,
    }
}

pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}
