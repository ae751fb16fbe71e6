//! A definition as it is served: a registry handle and a catalog row for each version, and the whole set of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use corten_crd::cel::Cel;
use corten_crd::resource::Version;
use corten_meta::{Status, api_version};
use corten_registry::strategy::custom::CustomStrategy;
use corten_registry::{Registry, Resource, ResourceInfo};
use corten_schema::resources::custom::{self as rows, Row};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::conversion::{Between, Conversion, Reviewer, Strategy};
use crate::catalog::{Rows, Served};

/// What a catalog row of a custom kind has besides what every row has.
pub struct CustomKind {
    /// Its schema and rules.
    pub version: Arc<Version>,
    /// Its definition is being deleted: nothing is created any more.
    pub terminating: bool,
}

/// One definition's registry handles and rows.
pub struct Definition {
    /// The handle whose version is stored.
    pub stored: Resource,
    /// Rows of the served versions.
    pub served: Vec<Arc<Served>>,
    versions: Vec<Arc<Version>>,
}

/// Every custom kind that is served.
#[derive(Default)]
pub struct Kinds {
    /// Counts changes: what is made of the set can be kept by it.
    pub number: u64,
    rows: Rows,
    /// Groups by name, in each the versions in discovery order.
    versions: Vec<(String, String)>,
}

impl Kinds {
    /// The set of these definitions.
    pub fn new<'a>(definitions: impl Iterator<Item = &'a Definition>, number: u64) -> Self {
        let mut kinds = Self {
            number,
            ..Self::default()
        };
        for served in definitions.flat_map(|definition| &definition.served) {
            let row = served.schema;
            let version = (row.group.to_owned(), row.version.to_owned());
            if !kinds.versions.contains(&version) {
                kinds.versions.push(version);
            }
            kinds.rows.insert(served.clone());
        }
        let rank = |version: &(String, String)| {
            let newest_first = std::cmp::Reverse(corten_crd::definition::priority(&version.1));
            (version.0.clone(), newest_first)
        };
        kinds.versions.sort_by_cached_key(rank);
        kinds
    }

    /// The kind of a path.
    pub fn lookup(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Served>> {
        self.rows.find(group, version, plural)
    }

    /// Groups and versions in discovery order.
    pub fn versions(&self) -> &[(String, String)] {
        &self.versions
    }

    /// The kinds of a version by plural name.
    pub fn of_version(&self, group: &str, version: &str) -> Vec<&Arc<Served>> {
        let mut found: Vec<_> = self
            .rows
            .all()
            .filter(|s| s.schema.group == group && s.schema.version == version)
            .collect();
        found.sort_by_key(|s| s.schema.plural);
        found
    }
}

impl Definition {
    /// Registers a definition's objects with the registry, in place of `old` where there is one.
    ///
    /// # Errors
    /// Where the store fails or a version cannot be served.
    pub async fn register(
        registry: &Registry,
        definition: &Value,
        reviewer: &Arc<dyn Reviewer>,
        old: Option<&Self>,
    ) -> Result<Self, Status> {
        let versions = versions_of(definition)?;
        let stored_at = versions.iter().position(|v| v.storage);
        let stored = stored_at.and_then(|at| versions.get(at)).cloned();
        let stored = stored.ok_or_else(|| Status::internal("no version is stored"))?;
        let conversion = Arc::new(conversion(definition, &versions, &stored, reviewer));
        let info = |version: &Arc<Version>| info(definition, version, &stored, &conversion);
        let resource = match old {
            Some(old) => registry.replace(&old.stored, info(&stored)).await?,
            None => registry.register(info(&stored)).await?,
        };
        let mut out = Self {
            stored: resource,
            served: Vec::new(),
            versions,
        };
        out.served = out.rows(definition, |version| {
            if version.storage {
                out.stored.clone()
            } else {
                out.stored.view(info(version))
            }
        })?;
        Ok(out)
    }

    /// The same handles under rows of a definition of which only the status has changed.
    ///
    /// # Errors
    /// At the bound of rows.
    pub fn with_status(&self, definition: &Value) -> Result<Self, Status> {
        let handles: BTreeMap<&str, &Resource> = self
            .served
            .iter()
            .filter_map(|s| Some((s.schema.version, s.stored.as_ref()?)))
            .collect();
        let handle = |version: &Version| {
            let found = handles.get(version.gvk.version.as_ref());
            found.map_or_else(|| self.stored.clone(), |found| (*found).clone())
        };
        Ok(Self {
            stored: self.stored.clone(),
            served: self.rows(definition, |version| handle(version))?,
            versions: self.versions.clone(),
        })
    }

    fn rows(
        &self,
        definition: &Value,
        handle: impl Fn(&Arc<Version>) -> Resource,
    ) -> Result<Vec<Arc<Served>>, Status> {
        let terminating = super::conditions::holds(definition, "Terminating", "True");
        let hash = self
            .versions
            .iter()
            .find(|v| v.storage && v.served)
            .map_or_else(String::new, |v| {
                storage_version_hash(&v.gvk.group, &v.gvk.version, &v.gvk.kind)
            });
        let served = self.versions.iter().filter(|version| version.served);
        let row = |version: &Arc<Version>| {
            let schema = rows::row(&row(definition, version, &hash))
                .ok_or_else(|| Status::internal("too many different custom kinds were served"))?;
            let kind = CustomKind {
                version: version.clone(),
                terminating,
            };
            Ok(Arc::new(Served::custom(schema, handle(version), kind)))
        };
        served.map(row).collect()
    }
}

fn versions_of(definition: &Value) -> Result<Vec<Arc<Version>>, Status> {
    let names = definition["spec"]["versions"].as_array().into_iter().flatten();
    names
        .filter_map(|version| version["name"].as_str())
        .map(|name| {
            Version::new(definition, name, Some(&Cel))
                .map(Arc::new)
                .ok_or_else(|| Status::internal(format!("version {name} cannot be served")))
        })
        .collect()
}

fn conversion(
    definition: &Value,
    versions: &[Arc<Version>],
    stored: &Version,
    reviewer: &Arc<dyn Reviewer>,
) -> Conversion {
    let spec = &definition["spec"]["conversion"];
    let strategy = if spec["strategy"] == "Webhook" {
        Strategy::Webhook {
            webhook: spec["webhook"].clone(),
            reviewer: reviewer.clone(),
        }
    } else {
        Strategy::None
    };
    let by_name = versions.iter().map(|v| (v.gvk.api_version(), v.clone()));
    Conversion {
        versions: by_name.collect(),
        order: versions.iter().map(|v| v.gvk.api_version()).collect(),
        kind: stored.gvk.kind.to_string(),
        stored: stored.gvk.api_version(),
        strategy,
    }
}

fn info(
    definition: &Value,
    version: &Arc<Version>,
    stored: &Arc<Version>,
    conversion: &Arc<Conversion>,
) -> ResourceInfo {
    let group = definition["spec"]["group"].as_str().unwrap_or_default();
    let by_name = || conversion.order.iter().filter_map(|v| conversion.versions.get(v));
    // What a webhook converts to has fields of its own, which the stored object has not.
    let kept: Vec<_> = match conversion.strategy {
        Strategy::None => by_name().cloned().collect(),
        Strategy::Webhook { .. } => vec![stored.clone()],
    };
    let strategy = CustomStrategy::new(version.clone(), &kept);
    let between = Between::new(
        conversion.clone(),
        api_version(group, version.gvk.version.as_ref()),
    );
    ResourceInfo {
        group: group.to_owned().into(),
        asked_group: None,
        version: version.gvk.version.to_string().into(),
        kind: version.gvk.kind.to_string().into(),
        plural: version.plural.to_string().into(),
        namespaced: version.namespaced,
        has_status: version.has_status,
        empty_status: json!({}),
        has_generation: true,
        prefix: format!("/registry/{group}/{}/", version.plural),
        ttl: None,
        versions: Some(Arc::new(between)),
        strategy: Arc::new(strategy),
    }
}

fn row(definition: &Value, version: &Version, hash: &str) -> Row {
    let names = &definition["status"]["acceptedNames"];
    let text = |field: &str| names[field].as_str().unwrap_or_default().to_owned();
    let words = |field: &str| {
        let list = names[field].as_array().into_iter().flatten();
        list.filter_map(|word| word.as_str().map(str::to_owned)).collect()
    };
    Row {
        group: version.gvk.group.to_string(),
        version: version.gvk.version.to_string(),
        kind: text("kind"),
        list_kind: text("listKind"),
        plural: text("plural"),
        singular: text("singular"),
        short_names: words("shortNames"),
        categories: words("categories"),
        namespaced: version.namespaced,
        storage_version_hash: hash.to_owned(),
        status: version.has_status,
        scale: version.scale.is_some(),
    }
}

/// Upstream's `discovery.StorageVersionHash`.
fn storage_version_hash(group: &str, version: &str, kind: &str) -> String {
    let digest = Sha256::digest(format!("{group}/{version}/{kind}"));
    base64::engine::general_purpose::STANDARD.encode(&digest[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_upstreams() {
        // As upstream's discovery shows them.
        assert_eq!(storage_version_hash("", "v1", "ConfigMap"), "qFsyl6wFWjQ=");
        assert_eq!(storage_version_hash("apps", "v1", "Deployment"), "8aSe+NMegvE=");
    }
}
