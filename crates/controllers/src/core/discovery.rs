//! What the server serves: every resource, once, in the version its group prefers.

use std::collections::BTreeSet;

use corten_client::object::path_of;
use corten_client::{Caller, Error};
use kube::client::APIGroupDiscovery;

/// One served resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Served {
    pub group: String,
    pub version: String,
    pub plural: String,
    pub kind: String,
    pub namespaced: bool,
    pub verbs: BTreeSet<String>,
}

impl Served {
    #[must_use]
    pub fn path(&self, ns: &str, name: &str) -> String {
        path_of(&self.group, &self.version, &self.plural, ns, name, "")
    }
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
    /// As Go prints a GroupVersionResource.
    #[must_use]
    pub fn gvr(&self) -> String {
        format!("{}/{}, Resource={}", self.group, self.version, self.plural)
    }
    #[must_use]
    pub fn can(&self, verbs: &[&str]) -> bool {
        verbs.iter().all(|v| self.verbs.contains(*v))
    }
}

/// Asks the server (aggregated discovery, two requests).
///
/// # Errors
/// When it cannot be asked.
pub async fn served(caller: &Caller) -> Result<Vec<Served>, Error> {
    let core = caller.client().list_core_api_versions_aggregated().await?;
    let groups = caller.client().list_api_groups_aggregated().await?;
    let mut all = Vec::new();
    for group in core.items.iter().chain(&groups.items) {
        preferred(group, &mut all);
    }
    Ok(all)
}

fn preferred(group: &APIGroupDiscovery, all: &mut Vec<Served>) {
    let name = group
        .metadata
        .as_ref()
        .and_then(|m| m.name.clone())
        .unwrap_or_default();
    let mut seen = BTreeSet::new();
    for version in &group.versions {
        for resource in &version.resources {
            if !seen.insert(resource.resource.clone()) {
                continue;
            }
            let kind = resource
                .response_kind
                .as_ref()
                .and_then(|k| k.kind.clone())
                .unwrap_or_default();
            all.push(Served {
                group: name.clone(),
                version: version.version.clone().unwrap_or_default(),
                plural: resource.resource.clone().unwrap_or_default(),
                kind,
                namespaced: resource.scope.as_deref() == Some("Namespaced"),
                verbs: resource.verbs.iter().cloned().collect(),
            });
        }
    }
}
