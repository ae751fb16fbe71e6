//! What informers and requests need to know of a type: its metadata, and for typed kinds its path.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

/// Anything that can live in an informer's cache.
pub trait Object: DeserializeOwned + Send + Sync + 'static {
    type Meta: MetaExt;
    /// The object's metadata.
    fn meta(&self) -> &Self::Meta;
    /// The object's metadata, to be changed.
    fn meta_mut(&mut self) -> &mut Self::Meta;
}

impl<K> Object for K
where
    K: k8s_openapi::Metadata<Ty: MetaExt> + DeserializeOwned + Send + Sync + 'static,
{
    type Meta = K::Ty;
    fn meta(&self) -> &K::Ty {
        self.metadata()
    }
    fn meta_mut(&mut self) -> &mut K::Ty {
        self.metadata_mut()
    }
}

/// `PartialObjectMetadata`: an object of any kind without spec and status.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Partial {
    #[serde(default)]
    pub api_version: String,
    #[serde(default)]
    pub kind: String,
    #[serde(default, deserialize_with = "lean")]
    pub metadata: ObjectMeta,
}

/// Reads metadata without its managed fields: often half of an object, and of no use to those who call this.
///
/// # Errors
/// Those of the format.
pub fn lean<'de, D: Deserializer<'de>>(from: D) -> Result<ObjectMeta, D::Error> {
    let lean = Lean::deserialize(from)?;
    Ok(ObjectMeta {
        annotations: lean.annotations,
        creation_timestamp: lean.creation_timestamp,
        deletion_grace_period_seconds: lean.deletion_grace_period_seconds,
        deletion_timestamp: lean.deletion_timestamp,
        finalizers: lean.finalizers,
        generate_name: lean.generate_name,
        generation: lean.generation,
        labels: lean.labels,
        managed_fields: None,
        name: lean.name,
        namespace: lean.namespace,
        owner_references: lean.owner_references,
        resource_version: lean.resource_version,
        self_link: None,
        uid: lean.uid,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Lean {
    annotations: Option<BTreeMap<String, String>>,
    creation_timestamp: Option<Time>,
    deletion_grace_period_seconds: Option<i64>,
    deletion_timestamp: Option<Time>,
    finalizers: Option<Vec<String>>,
    generate_name: Option<String>,
    generation: Option<i64>,
    labels: Option<BTreeMap<String, String>>,
    name: Option<String>,
    namespace: Option<String>,
    owner_references: Option<Vec<OwnerReference>>,
    resource_version: Option<String>,
    uid: Option<String>,
}

impl Object for Partial {
    type Meta = ObjectMeta;
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// Metadata of any form: short reads of fields that are optional on the wire and, for stored objects, always there.
pub trait MetaExt: Send + Sync + 'static {
    fn name(&self) -> &str;
    fn ns(&self) -> &str;
    fn uid(&self) -> &str;
    fn rv(&self) -> &str;
    fn labels(&self) -> Option<&BTreeMap<String, String>>;
    fn annotations(&self) -> Option<&BTreeMap<String, String>>;
    fn owners(&self) -> &[OwnerReference];
    fn finalizers(&self) -> &[String];
    fn terminating(&self) -> bool;
    /// Drops what no reader of a cache wants.
    fn trim(&mut self);

    /// The name, or what the server is to begin it with.
    fn name_or_prefix(&self) -> &str {
        self.name()
    }
    /// The revision as a number; 0 if the server's are not numbers.
    fn revision(&self) -> u64 {
        self.rv().parse().unwrap_or(0)
    }
    fn label(&self, key: &str) -> Option<&str> {
        self.labels()?.get(key).map(String::as_str)
    }
    fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations()?.get(key).map(String::as_str)
    }
    fn controller(&self) -> Option<&OwnerReference> {
        self.owners().iter().find(|o| o.controller == Some(true))
    }
    fn controlled_by(&self, uid: &str) -> bool {
        self.controller().is_some_and(|o| o.uid == uid)
    }
}

impl MetaExt for ObjectMeta {
    fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }
    fn ns(&self) -> &str {
        self.namespace.as_deref().unwrap_or_default()
    }
    fn uid(&self) -> &str {
        self.uid.as_deref().unwrap_or_default()
    }
    fn rv(&self) -> &str {
        self.resource_version.as_deref().unwrap_or_default()
    }
    fn labels(&self) -> Option<&BTreeMap<String, String>> {
        self.labels.as_ref()
    }
    fn annotations(&self) -> Option<&BTreeMap<String, String>> {
        self.annotations.as_ref()
    }
    fn owners(&self) -> &[OwnerReference] {
        self.owner_references.as_deref().unwrap_or_default()
    }
    fn finalizers(&self) -> &[String] {
        self.finalizers.as_deref().unwrap_or_default()
    }
    fn terminating(&self) -> bool {
        self.deletion_timestamp.is_some()
    }
    fn name_or_prefix(&self) -> &str {
        let given = self.name.as_deref().or(self.generate_name.as_deref());
        given.unwrap_or_default()
    }
    fn trim(&mut self) {
        // Nobody here reads managedFields, and they are often half of an object.
        self.managed_fields = None;
    }
}

/// The path of a kind, or of one object (`name` given), or of its subresource.
#[must_use]
pub fn path<K: k8s_openapi::Resource>(ns: &str, name: &str, subresource: &str) -> String {
    path_of(K::GROUP, K::VERSION, K::URL_PATH_SEGMENT, ns, name, subresource)
}

/// As [`path`], for a resource known only at run time.
#[must_use]
pub fn path_of(group: &str, version: &str, plural: &str, ns: &str, name: &str, subresource: &str) -> String {
    let mut path = String::with_capacity(96);
    if group.is_empty() {
        path.push_str("/api/");
    } else {
        path.push_str("/apis/");
        path.push_str(group);
        path.push('/');
    }
    path.push_str(version);
    for (prefix, part) in [
        ("/namespaces/", ns),
        ("/", plural),
        ("/", name),
        ("/", subresource),
    ] {
        if !part.is_empty() {
            path.push_str(prefix);
            path.push_str(part);
        }
    }
    path
}

/// The reference events carry to say what they are about.
#[must_use]
pub fn reference<K: k8s_openapi::Metadata<Ty: MetaExt>>(object: &K) -> ObjectReference {
    let meta = object.metadata();
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    ObjectReference {
        api_version: Some(K::API_VERSION.into()),
        kind: Some(K::KIND.into()),
        name: given(meta.name()),
        namespace: given(meta.ns()),
        uid: given(meta.uid()),
        resource_version: given(meta.rv()),
        field_path: None,
    }
}

/// An owner reference that makes `owner` the controller of what carries it.
#[must_use]
pub fn controller_ref<K: k8s_openapi::Metadata<Ty: MetaExt>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::API_VERSION.into(),
        kind: K::KIND.into(),
        name: owner.metadata().name().into(),
        uid: owner.metadata().uid().into(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use k8s_openapi::api::{apps::v1::Deployment, core::v1::Node};

    use super::*;

    #[test]
    fn managed_fields_are_not_read() {
        let text = r#"{"name": "a", "managedFields": [{"manager": "m", "fieldsV1": {"f:a": {}}}], "ownerReferences": [
            {"apiVersion": "v1", "kind": "Pod", "name": "b", "uid": "c"}], "deletionTimestamp": "2026-01-01T00:00:00Z",
            "finalizers": ["f"], "labels": {"l": "m"}, "annotations": {"n": "o"}, "generation": 2, "generateName": "a-",
            "deletionGracePeriodSeconds": 3, "creationTimestamp": "2025-01-01T00:00:00Z", "namespace": "d", "uid": "e",
            "resourceVersion": "5"}"#;
        let mut whole: ObjectMeta = serde_json::from_str(text).unwrap();
        let read: Partial = serde_json::from_str(&format!(r#"{{"metadata": {text}}}"#)).unwrap();
        assert!(whole.managed_fields.take().is_some());
        assert_eq!(read.metadata, whole);
        let none: Partial = serde_json::from_str("{}").unwrap();
        assert_eq!(none.metadata, ObjectMeta::default());
    }

    #[test]
    fn paths_are_those_of_the_api() {
        assert_eq!(
            path::<Deployment>("a", "b", "status"),
            "/apis/apps/v1/namespaces/a/deployments/b/status"
        );
        assert_eq!(path::<Node>("", "n", ""), "/api/v1/nodes/n");
        assert_eq!(path::<Deployment>("", "", ""), "/apis/apps/v1/deployments");
    }
}
