//! What informers and requests need to know of a type: its metadata, and for typed kinds its path.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Anything that can live in an informer's cache.
pub trait Object: DeserializeOwned + Send + Sync + 'static {
    /// The object's metadata.
    fn meta(&self) -> &ObjectMeta;
    /// The object's metadata, to be changed.
    fn meta_mut(&mut self) -> &mut ObjectMeta;
}

impl<K> Object for K
where
    K: k8s_openapi::Metadata<Ty = ObjectMeta> + DeserializeOwned + Send + Sync + 'static,
{
    fn meta(&self) -> &ObjectMeta {
        self.metadata()
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
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
    #[serde(default)]
    pub metadata: ObjectMeta,
}

impl Object for Partial {
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// Short reads of metadata fields that are optional on the wire and, for stored objects, always there.
pub trait MetaExt {
    fn name(&self) -> &str;
    fn ns(&self) -> &str;
    fn uid(&self) -> &str;
    fn rv(&self) -> &str;
    /// The revision as a number; 0 if the server's are not numbers.
    fn revision(&self) -> u64;
    fn label(&self, key: &str) -> Option<&str>;
    fn annotation(&self, key: &str) -> Option<&str>;
    fn controller(&self) -> Option<&OwnerReference>;
    fn controlled_by(&self, uid: &str) -> bool;
    fn terminating(&self) -> bool;
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
    fn revision(&self) -> u64 {
        self.rv().parse().unwrap_or(0)
    }
    fn label(&self, key: &str) -> Option<&str> {
        self.labels.as_ref()?.get(key).map(String::as_str)
    }
    fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(String::as_str)
    }
    fn controller(&self) -> Option<&OwnerReference> {
        self.owner_references
            .as_ref()?
            .iter()
            .find(|o| o.controller == Some(true))
    }
    fn controlled_by(&self, uid: &str) -> bool {
        self.controller().is_some_and(|o| o.uid == uid)
    }
    fn terminating(&self) -> bool {
        self.deletion_timestamp.is_some()
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
pub fn reference<K: k8s_openapi::Metadata<Ty = ObjectMeta>>(object: &K) -> ObjectReference {
    let meta = object.metadata();
    ObjectReference {
        api_version: Some(K::API_VERSION.into()),
        kind: Some(K::KIND.into()),
        name: meta.name.clone(),
        namespace: meta.namespace.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        field_path: None,
    }
}

/// An owner reference that makes `owner` the controller of what carries it.
#[must_use]
pub fn controller_ref<K: k8s_openapi::Metadata<Ty = ObjectMeta>>(owner: &K) -> OwnerReference {
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
    use k8s_openapi::api::{apps::v1::Deployment, core::v1::Node};

    use super::*;

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
