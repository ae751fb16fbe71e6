//! A pod's metadata.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash};
use std::sync::{Arc, LazyLock};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use serde::Deserialize;

use super::text::Text;
use crate::intern::Table;
use crate::object::MetaExt;

static MAPS: LazyLock<Table<BTreeMap<String, String>>> = LazyLock::new(Table::default);
static OWNERS: LazyLock<Table<[OwnerReference]>> = LazyLock::new(Table::default);
static LISTS: LazyLock<Table<[String]>> = LazyLock::new(Table::default);

/// What kubectl keeps of the last manifest: nobody but kubectl reads it, and it is as long as the pod.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Labels or annotations; pods of one template have the same ones, which are kept once.
pub type Labels = Arc<BTreeMap<String, String>>;

/// `metadata` of a pod without managed fields.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(from = "Wire")]
pub struct Meta {
    pub name: Box<str>,
    pub namespace: Text,
    pub uid: Box<str>,
    pub resource_version: Box<str>,
    pub generation: Option<i64>,
    pub creation_timestamp: Option<Time>,
    pub deletion_timestamp: Option<Time>,
    pub labels: Option<Labels>,
    pub annotations: Option<Labels>,
    pub owner_references: Option<Arc<[OwnerReference]>>,
    pub finalizers: Option<Arc<[String]>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    name: Option<Box<str>>,
    namespace: Option<Text>,
    uid: Option<Box<str>>,
    resource_version: Option<Box<str>>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<OwnerReference>>,
    finalizers: Option<Vec<String>>,
}

fn shared(map: BTreeMap<String, String>) -> Labels {
    MAPS.share(map, |map, hasher| map.hash(hasher))
}

/// Owners differ in their uids; the rest is compared.
fn by_uid(owners: &[OwnerReference], hasher: &mut DefaultHasher) {
    owners.iter().for_each(|owner| owner.uid.hash(hasher));
}

/// Owner references, kept once for all objects that have the same ones.
#[must_use]
pub fn shared_owners(owners: Vec<OwnerReference>) -> Arc<[OwnerReference]> {
    OWNERS.share(owners, by_uid)
}

impl From<Wire> for Meta {
    fn from(wire: Wire) -> Self {
        let mut annotations = wire.annotations.unwrap_or_default();
        annotations.remove(LAST_APPLIED);
        let owners = wire.owner_references.filter(|owners| !owners.is_empty());
        let finalizers = wire.finalizers.filter(|finalizers| !finalizers.is_empty());
        Self {
            name: wire.name.unwrap_or_default(),
            namespace: wire.namespace.unwrap_or_default(),
            uid: wire.uid.unwrap_or_default(),
            resource_version: wire.resource_version.unwrap_or_default(),
            generation: wire.generation,
            creation_timestamp: wire.creation_timestamp,
            deletion_timestamp: wire.deletion_timestamp,
            labels: wire.labels.map(shared),
            annotations: Some(annotations).filter(|all| !all.is_empty()).map(shared),
            owner_references: owners.map(shared_owners),
            finalizers: finalizers.map(|all| LISTS.share(all, |all, hasher| all.hash(hasher))),
        }
    }
}

impl MetaExt for Meta {
    fn name(&self) -> &str {
        &self.name
    }
    fn ns(&self) -> &str {
        &self.namespace
    }
    fn uid(&self) -> &str {
        &self.uid
    }
    fn rv(&self) -> &str {
        &self.resource_version
    }
    fn labels(&self) -> Option<&BTreeMap<String, String>> {
        self.labels.as_deref()
    }
    fn annotations(&self) -> Option<&BTreeMap<String, String>> {
        self.annotations.as_deref()
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
    fn trim(&mut self) {}
}
