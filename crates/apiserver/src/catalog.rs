//! The resources this server serves: schema rows joined with the registry's handles.
//! Immutable once made; a change (a new CRD) makes a new one, so that requests read it without locks.

use std::collections::HashMap;
use std::sync::Arc;

use corten_registry::Registry;
use corten_schema::resources::{self, ServedVersion};

/// One served resource.
pub struct Served {
    /// Names, verbs, columns.
    pub schema: &'static corten_schema::Resource,
    /// Where its objects are; none for virtual kinds (reviews, ComponentStatus).
    pub stored: Option<corten_registry::Resource>,
    /// `{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"`: how every list begins.
    pub list_head: String,
    /// `{"kind":"Pod","apiVersion":"v1",`: how every stored object of it begins.
    pub item_head: String,
    /// `v1` or `apps/v1`.
    pub api_version: String,
}

impl Served {
    fn new(schema: &'static corten_schema::Resource, registry: &Registry) -> Self {
        let at = schema.storage_resource();
        let stored = if schema.has_verb("list") {
            registry.resource(at.group, at.plural)
        } else {
            None
        };
        let api_version = schema.api_version();
        let list_head = format!(
            "{{\"kind\":\"{}\",\"apiVersion\":\"{api_version}\",\"metadata\":{{\"resourceVersion\":\"",
            schema.list_kind
        );
        let item_head = format!("{{\"kind\":\"{}\",\"apiVersion\":\"{api_version}\",", schema.kind);
        Self {
            schema,
            stored,
            list_head,
            item_head,
            api_version,
        }
    }

    /// True where objects are stored in another version than this one.
    pub fn converts(&self) -> bool {
        self.schema.storage
            != ServedVersion {
                group: self.schema.group,
                version: self.schema.version,
            }
    }
}

type Key = (String, String, String);

/// See the module.
pub struct Catalog {
    by_path: HashMap<Key, Arc<Served>>,
    versions: Vec<(String, String)>,
}

impl Catalog {
    /// Every built-in resource.
    pub fn builtin(registry: &Registry) -> Self {
        let served = resources::all().iter().map(|schema| {
            let key = (
                schema.group.to_owned(),
                schema.version.to_owned(),
                schema.plural.to_owned(),
            );
            (key, Arc::new(Served::new(schema, registry)))
        });
        let versions = resources::versions()
            .iter()
            .map(|v| (v.group.to_owned(), v.version.to_owned()));
        Self {
            by_path: served.collect(),
            versions: versions.collect(),
        }
    }

    /// The resource of a path.
    pub fn lookup(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Served>> {
        self.by_path
            .get(&(group.to_owned(), version.to_owned(), plural.to_owned()))
    }

    /// True where the path names a resource.
    pub fn has(&self, group: &str, version: &str, plural: &str) -> bool {
        self.lookup(group, version, plural).is_some()
    }

    /// True where the path names a subresource of a resource.
    pub fn has_sub(&self, group: &str, version: &str, plural: &str, sub: &str) -> bool {
        self.lookup(group, version, plural)
            .is_some_and(|r| r.schema.subresource(sub).is_some())
    }

    /// True where the group is served in this version.
    pub fn has_version(&self, group: &str, version: &str) -> bool {
        self.versions.iter().any(|(g, v)| g == group && v == version)
    }

    /// Groups and versions in discovery order.
    pub fn group_versions(&self) -> impl Iterator<Item = (&str, &str)> {
        self.versions.iter().map(|(g, v)| (g.as_str(), v.as_str()))
    }
}
