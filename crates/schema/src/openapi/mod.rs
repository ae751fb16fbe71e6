//! OpenAPI documents out of the type table: v2 as JSON and in gnostic's protobuf (which older kubectl demand), v3 one per
//! group and version. Made on first demand and kept compressed.

pub(crate) use definition::default as default_of;

mod custom;
mod definition;
mod paths;
mod proto;

pub use custom::{Fragment, v2_with, v2_with_protobuf, v3_of};

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::{Arc, LazyLock, OnceLock};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Map, Value, json};

use crate::resources::{self, Resource, ServedVersion};
use crate::types::{TypeId, type_of};

/// Media type of the protobuf form of v2.
pub const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// The documents' own version.
const API_VERSION: &str = "1.36";

/// Which OpenAPI a document is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    V2,
    V3,
}

/// A document as clients receive it.
#[derive(Debug)]
pub struct Document {
    /// Changes when the content does; for `ETag` and the `hash` parameter of v3.
    pub hash: String,
    /// The content, gzip-compressed.
    pub gzip: Vec<u8>,
}

impl Document {
    fn new(content: &[u8]) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        // Writing to memory does not fail.
        let _ = encoder.write_all(content);
        Self {
            hash: hash(content),
            gzip: encoder.finish().unwrap_or_default(),
        }
    }

    /// The content, for clients that do not take gzip.
    pub fn plain(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let _ = GzDecoder::new(self.gzip.as_slice()).read_to_end(&mut out);
        out
    }
}

/// Documents of version 3 by group and version, each made when first asked for.
type Documents = HashMap<(&'static str, &'static str), OnceLock<Arc<Document>>>;

/// FNV-1a in both directions: tells contents apart, and is the same in every build.
fn hash(content: &[u8]) -> String {
    let step = |state: u64, byte: &u8| (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let forward = content.iter().fold(0xcbf2_9ce4_8422_2325, step);
    let backward = content.iter().rev().fold(0xcbf2_9ce4_8422_2325, step);
    format!("{forward:016X}{backward:016X}")
}

/// The whole API as OpenAPI v2 JSON.
pub fn v2() -> Arc<Document> {
    static DOCUMENT: LazyLock<Arc<Document>> =
        LazyLock::new(|| Arc::new(Document::new(v2_value().to_string().as_bytes())));
    DOCUMENT.clone()
}

/// The whole API as OpenAPI v2 in protobuf.
pub fn v2_protobuf() -> Arc<Document> {
    static DOCUMENT: LazyLock<Arc<Document>> =
        LazyLock::new(|| Arc::new(Document::new(&proto::document(&v2_value()))));
    DOCUMENT.clone()
}

/// One group and version as OpenAPI v3 JSON; `None` when it is not served.
pub fn v3(group: &str, version: &str) -> Option<Arc<Document>> {
    static DOCUMENTS: LazyLock<Documents> = LazyLock::new(|| {
        resources::versions()
            .iter()
            .map(|s| ((s.group, s.version), OnceLock::new()))
            .collect()
    });
    let served = resources::versions()
        .iter()
        .find(|s| s.group == group && s.version == version)?;
    let slot = DOCUMENTS.get(&(served.group, served.version))?;
    Some(
        slot.get_or_init(|| Arc::new(Document::new(v3_value(*served).to_string().as_bytes())))
            .clone(),
    )
}

/// The path under `/openapi/v3/` that serves a group and version: `api/v1`, `apis/apps/v1`.
pub fn v3_path(served: ServedVersion) -> String {
    paths::root(served.group, served.version)
        .trim_start_matches('/')
        .to_owned()
}

/// The index at `/openapi/v3`: where each document is, and its hash.
///
/// `custom` are the paths and hashes of documents besides.
pub fn v3_index(custom: &[(String, String)]) -> Vec<u8> {
    let mut entries = Map::new();
    for (path, hash) in custom {
        let url = format!("/openapi/v3/{path}?hash={hash}");
        entries.insert(path.clone(), json!({ "serverRelativeURL": url }));
    }
    for served in resources::versions() {
        let path = v3_path(*served);
        let hash = v3(served.group, served.version)
            .map(|d| d.hash.clone())
            .unwrap_or_default();
        let url = format!("/openapi/v3/{path}?hash={hash}");
        entries.insert(path, json!({ "serverRelativeURL": url }));
    }
    json!({ "paths": entries }).to_string().into_bytes()
}

fn info() -> Value {
    json!({"title": "Kubernetes", "version": API_VERSION})
}

fn v2_value() -> Value {
    let all: Vec<&'static Resource> = resources::all().iter().collect();
    let everywhere = definitions(&all, Dialect::V2, None);
    let paths = paths::paths(&all, Dialect::V2);
    json!({"swagger": "2.0", "info": info(), "paths": paths, "definitions": everywhere})
}

fn v3_value(served: ServedVersion) -> Value {
    let own: Vec<&'static Resource> = resources::all()
        .iter()
        .filter(|r| r.group == served.group && r.version == served.version)
        .collect();
    let schemas = definitions(&own, Dialect::V3, Some(served));
    let paths = paths::paths(&own, Dialect::V3);
    json!({"openapi": "3.0.0", "info": info(), "paths": paths, "components": {"schemas": schemas}})
}

/// Every type that the resources' kinds lead to.
fn definitions(
    resources: &[&'static Resource],
    dialect: Dialect,
    served: Option<ServedVersion>,
) -> Map<String, Value> {
    let mut pending: Vec<TypeId> = Vec::new();
    let mut push = |gvk| pending.extend(type_of(&gvk));
    for resource in resources {
        push(resource.gvk());
        if resource.has_verb("list") {
            push(resource.list_gvk());
        }
        for sub in resource
            .subresources
            .iter()
            .filter(|s| !s.kind.ends_with("Options"))
        {
            push(sub.gvk(resource));
        }
        push(corten_meta::GroupVersionKind::new("", "v1", "APIResourceList"));
        let deletes = resource.has_verb("delete") || resource.has_verb("deletecollection");
        for (needed, machinery) in [
            (deletes, "DeleteOptions"),
            (deletes, "Status"),
            (resource.has_verb("watch"), "WatchEvent"),
        ] {
            if needed {
                push(corten_meta::GroupVersionKind::new("", "v1", machinery));
            }
        }
    }
    let mut out = reached(pending, dialect, served);
    if resources.iter().any(|r| r.has_verb("patch")) {
        out.insert(paths::PATCH.to_owned(), json!({"type": "object"}));
    }
    out
}

/// The definitions of types and of all they refer to.
fn reached(mut pending: Vec<TypeId>, dialect: Dialect, served: Option<ServedVersion>) -> Map<String, Value> {
    let (mut out, mut seen) = (Map::new(), BTreeSet::new());
    while let Some(id) = pending.pop() {
        if seen.insert(id) {
            let mut reached = definition::Reached::default();
            let definition = definition::structure(id, dialect, served, &mut reached);
            out.insert(definition::name_of(id.expr()), definition);
            pending.extend(reached.types);
            for (name, special) in reached.specials {
                out.entry(name)
                    .or_insert_with(|| definition::special(special, dialect));
            }
        }
    }
    out
}
