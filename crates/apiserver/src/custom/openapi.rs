//! OpenAPI documents with more in them than what is built in: custom kinds, and (version 2 only) what remote APIServices
//! have, or with what is switched on. Made on first demand after a change, and kept; a server without any of it serves the
//! schema's own.

use std::collections::HashMap;
use std::sync::Arc;

use corten_crd::openapi as fragments;
use corten_meta::Status;
use corten_registry::{ListOptions, Object, Registry};
use corten_schema::openapi::{self, Document, Fragment};
use corten_schema::resources::Selection;
use parking_lot::Mutex;
use serde_json::Value;

use super::served::Kinds;
use crate::aggregator;
use crate::server::Inner;

/// Documents kept; at the bound all are made anew.
const DOCUMENTS_MAX: usize = 256;

/// Which document.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    /// The whole API, as JSON.
    V2,
    /// The whole API, in protobuf.
    V2Protobuf,
    /// A group and version.
    V3(String, String),
}

/// What documents are made of.
#[derive(Clone, Default)]
struct Parts {
    /// The number of the custom kinds.
    kinds: u64,
    /// What remote servers add to version 2.
    remote: Vec<Arc<Value>>,
}

impl PartialEq for Parts {
    fn eq(&self, other: &Self) -> bool {
        let same = |(a, b): (&Arc<Value>, &Arc<Value>)| Arc::ptr_eq(a, b);
        self.kinds == other.kinds
            && self.remote.len() == other.remote.len()
            && self.remote.iter().zip(&other.remote).all(same)
    }
}

/// Documents of one state of their parts.
#[derive(Default)]
pub struct Kept(Mutex<(Parts, HashMap<Name, Arc<Document>>)>);

/// A document with more in it than what is built in; `None` where it is the schema's own or there is none.
///
/// # Errors
/// Where definitions cannot be read.
pub async fn document(server: &Arc<Inner>, name: Name) -> Result<Option<Arc<Document>>, Status> {
    let kinds = server.catalog.custom();
    let parts = Parts {
        kinds: kinds.number,
        remote: aggregator::v2_parts(&server.aggregator),
    };
    let selection = server.catalog.selection().clone();
    let concerned = match &name {
        Name::V3(group, version) => kinds.versions().iter().any(|(g, v)| (g, v) == (group, version)),
        Name::V2 | Name::V2Protobuf => {
            !kinds.versions().is_empty() || !parts.remote.is_empty() || !selection.is_default()
        }
    };
    if !concerned {
        return Ok(None);
    }
    if let Some(found) = server.openapi.found(&parts, &name) {
        return Ok(Some(found));
    }
    let group = match &name {
        Name::V3(group, _) => Some(group.as_str()),
        Name::V2 | Name::V2Protobuf => None,
    };
    let definitions = definitions(&server.registry, group).await?;
    let (asked, remote) = (name.clone(), parts.remote.clone());
    let made = tokio::task::spawn_blocking(move || make(&selection, &kinds, &definitions, &remote, &asked))
        .await
        .map_err(Status::internal)?;
    server.openapi.keep(parts, name, made.clone());
    Ok(Some(made))
}

impl Kept {
    fn found(&self, parts: &Parts, name: &Name) -> Option<Arc<Document>> {
        let kept = self.0.lock();
        kept.1.get(name).filter(|_| kept.0 == *parts).cloned()
    }

    fn keep(&self, parts: Parts, name: Name, document: Arc<Document>) {
        let mut kept = self.0.lock();
        if kept.0 != parts || kept.1.len() >= DOCUMENTS_MAX {
            *kept = (parts, HashMap::new());
        }
        kept.1.insert(name, document);
    }
}

/// Definitions as they are in the cache, of one group or of all.
async fn definitions(registry: &Registry, group: Option<&str>) -> Result<Definitions, Status> {
    let Some(resource) = registry.resource(super::GROUP, super::PLURAL) else {
        return Ok(Definitions::new());
    };
    let options = ListOptions {
        resource_version: "0".to_owned(),
        ..ListOptions::default()
    };
    let mut page = registry.open_list(&resource, None, &options).await?;
    let mut found = Definitions::new();
    page.items.read(|item| {
        let of = item.name().split_once('.').map(|(_, group)| group);
        if group.is_none() || group == of {
            found.insert(item.name().to_owned(), item.clone());
        }
        true
    })?;
    Ok(found)
}

/// By name, not parsed: as values they take ten times as much, and one after the other is enough.
type Definitions = HashMap<String, Object>;

fn make(
    selection: &Selection,
    kinds: &Kinds,
    definitions: &Definitions,
    remote: &[Arc<Value>],
    name: &Name,
) -> Arc<Document> {
    let whole = || {
        let versions = kinds.versions().iter();
        let each = versions
            .flat_map(|(group, version)| fragments_of(kinds, definitions, group, version, fragments::v2));
        let mut whole = openapi::v2_with(selection, each);
        remote
            .iter()
            .for_each(|part| aggregator::merge_v2(&mut whole, part));
        whole
    };
    Arc::new(match name {
        Name::V3(group, version) => {
            openapi::v3_of(fragments_of(kinds, definitions, group, version, fragments::v3))
        }
        Name::V2 => openapi::v2_document(&whole(), false),
        Name::V2Protobuf => openapi::v2_document(&whole(), true),
    })
}

/// What each kind of a version adds.
fn fragments_of<'a>(
    kinds: &'a Kinds,
    definitions: &'a Definitions,
    group: &'a str,
    version: &'a str,
    fragment: fn(&Value, &str) -> Option<Fragment>,
) -> impl Iterator<Item = Fragment> + 'a {
    let kinds = kinds.of_version(group, version).into_iter();
    kinds.filter_map(move |served| {
        let definition = definitions.get(&format!("{}.{group}", served.schema.plural))?;
        fragment(&definition.value().ok()?, version)
    })
}
