//! The resources this server serves: schema rows joined with the registry's handles.
//! The built-in ones never change; those of CustomResourceDefinitions are replaced as a set, so that requests read it
//! without locks.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use corten_registry::Registry;
use corten_schema::resources::{Selection, ServedVersion};

use crate::custom::{CustomKind, Kinds};

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
    /// What a custom kind has besides.
    pub custom: Option<CustomKind>,
}

impl Served {
    fn new(schema: &'static corten_schema::Resource, registry: &Registry) -> Self {
        let at = schema.storage_resource();
        let stored = if schema.has_verb("list") {
            let stored = registry.resource(at.group, at.plural);
            stored.map(|stored| match schema.group == at.group {
                true => stored,
                false => stored.asked_in(schema.group),
            })
        } else {
            None
        };
        Self::make(schema, stored, None)
    }

    /// A version of a custom kind.
    pub fn custom(
        schema: &'static corten_schema::Resource,
        stored: corten_registry::Resource,
        custom: CustomKind,
    ) -> Self {
        Self::make(schema, Some(stored), Some(custom))
    }

    fn make(
        schema: &'static corten_schema::Resource,
        stored: Option<corten_registry::Resource>,
        custom: Option<CustomKind>,
    ) -> Self {
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
            custom,
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

/// Rows by plural name, in each those of all groups and versions: found without making a key.
#[derive(Default)]
pub struct Rows(HashMap<&'static str, Vec<Arc<Served>>>);

impl Rows {
    /// Adds a row; one of the same group, version and plural is replaced.
    pub fn insert(&mut self, row: Arc<Served>) {
        let rows = self.0.entry(row.schema.plural).or_default();
        let same =
            |s: &Arc<Served>| (s.schema.group, s.schema.version) == (row.schema.group, row.schema.version);
        match rows.iter().position(same) {
            Some(at) => rows[at] = row,
            None => rows.push(row),
        }
    }

    /// The row of a path.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Served>> {
        let rows = self.0.get(plural)?;
        rows.iter()
            .find(|s| s.schema.group == group && s.schema.version == version)
    }

    /// Every row.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Served>> {
        self.0.values().flatten()
    }
}

/// See the module.
pub struct Catalog {
    rows: Rows,
    versions: Vec<(String, String)>,
    selection: Selection,
    custom: ArcSwap<Kinds>,
}

impl Catalog {
    /// The built-in resources of a selection.
    pub fn builtin(registry: &Registry, selection: &Selection) -> Self {
        let mut rows = Rows::default();
        for schema in selection.resources() {
            rows.insert(Arc::new(Served::new(schema, registry)));
        }
        let versions = selection
            .versions()
            .map(|v| (v.group.to_owned(), v.version.to_owned()));
        Self {
            rows,
            versions: versions.collect(),
            selection: selection.clone(),
            custom: ArcSwap::default(),
        }
    }

    /// The resource of a path.
    pub fn lookup(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Served>> {
        match self.rows.find(group, version, plural) {
            Some(found) => Some(found.clone()),
            None => self.custom.load().lookup(group, version, plural).cloned(),
        }
    }

    /// Which built-in resources are served.
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// The custom kinds as they are now.
    pub fn custom(&self) -> Arc<Kinds> {
        self.custom.load_full()
    }

    /// Replaces the custom kinds.
    pub fn set_custom(&self, kinds: Kinds) {
        self.custom.store(Arc::new(kinds));
    }

    /// True where the group has built-in versions.
    pub fn is_builtin_group(&self, group: &str) -> bool {
        self.versions.iter().any(|(g, _)| g == group)
    }

    /// Groups and versions in discovery order: the built-in ones, then those of custom kinds.
    pub fn group_versions(&self) -> Vec<(String, String)> {
        let custom = self.custom.load();
        let others = custom.versions().iter().filter(|v| !self.versions.contains(v));
        self.versions.iter().chain(others).cloned().collect()
    }
}
