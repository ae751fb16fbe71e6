//! OpenAPI documents out of the type table: v2, and v3 one per group and version; as JSON and in gnostic's protobuf (which
//! older kubectl demand). Made on first demand and kept compressed.

pub(crate) use definition::default as default_of;

mod custom;
mod definition;
mod operation;
mod paths;
mod proto;
mod roots;

pub use custom::{Fragment, v2_with, v3_of};

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::sync::{Arc, LazyLock, OnceLock};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Map, Value, json};

use self::roots::Root;
use crate::descriptions::describe;
use crate::resources::{self, Resource, Selection, ServedVersion};
use crate::types::{TypeId, type_of};

/// Media type of the protobuf form of v2.
pub const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// Media type of the protobuf form of v3.
pub const V3_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf";

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
    /// The same in protobuf, of one in JSON that was asked for so.
    protobuf: OnceLock<Vec<u8>>,
}

impl Document {
    fn new(content: &[u8]) -> Self {
        Self {
            hash: hash(content),
            gzip: compressed(content),
            protobuf: OnceLock::new(),
        }
    }

    /// The content, for clients that do not take gzip.
    pub fn plain(&self) -> Vec<u8> {
        plain(&self.gzip)
    }

    /// A document of version 3 in protobuf, gzip-compressed. Its hash is that of the JSON form, as upstream.
    pub fn v3_protobuf(&self) -> &[u8] {
        self.protobuf.get_or_init(|| {
            let json = serde_json::from_slice(&self.plain()).unwrap_or_default();
            compressed(&proto::v3(&json))
        })
    }
}

fn compressed(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing to memory does not fail.
    let _ = encoder.write_all(content);
    encoder.finish().unwrap_or_default()
}

/// Without gzip.
pub fn plain(gzip: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let _ = GzDecoder::new(gzip).read_to_end(&mut out);
    out
}

/// Documents of version 3 by their paths, each made when first asked for.
type Documents = BTreeMap<String, (Source, OnceLock<Arc<Document>>)>;

/// What a document of version 3 is made of.
enum Source {
    Version(ServedVersion),
    Root(Root),
}

static DOCUMENTS: LazyLock<Documents> = LazyLock::new(|| {
    let everything = Selection::of(|_| true);
    let versions = everything.versions();
    let versions = versions.map(|served| (v3_path(served), Source::Version(served)));
    let roots = roots::all(&everything).into_iter();
    let roots = roots.map(|root| (root.document().to_owned(), Source::Root(root)));
    versions
        .chain(roots)
        .map(|(path, source)| (path, (source, OnceLock::new())))
        .collect()
});

/// FNV-1a in both directions: tells contents apart, and is the same in every build.
fn hash(content: &[u8]) -> String {
    let step = |state: u64, byte: &u8| (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let forward = content.iter().fold(0xcbf2_9ce4_8422_2325, step);
    let backward = content.iter().rev().fold(0xcbf2_9ce4_8422_2325, step);
    format!("{forward:016X}{backward:016X}")
}

/// All that is always served as OpenAPI v2: JSON, or protobuf. With more in it see [`v2_with`].
pub fn v2(protobuf: bool) -> Arc<Document> {
    static DOCUMENTS: [OnceLock<Arc<Document>>; 2] = [OnceLock::new(), OnceLock::new()];
    let make = || Arc::new(v2_document(&v2_value(&Selection::default()), protobuf));
    DOCUMENTS[usize::from(protobuf)].get_or_init(make).clone()
}

/// A document of version 2 that others were merged into, as JSON or in protobuf.
pub fn v2_document(whole: &Value, protobuf: bool) -> Document {
    if protobuf {
        Document::new(&proto::v2(whole))
    } else {
        Document::new(whole.to_string().as_bytes())
    }
}

/// One group and version as OpenAPI v3 JSON; `None` where there is none such.
pub fn v3(group: &str, version: &str) -> Option<Arc<Document>> {
    let everything = Selection::of(|_| true);
    v3_at(&everything, paths::root(group, version).trim_start_matches('/'))
}

/// Whether a path leads to something that is not switched on.
fn is_hidden(selection: &Selection, path: &str) -> bool {
    let mut parts = path.split('/');
    let (root, group, version) = (parts.next(), parts.next(), parts.next());
    let hidden = |of: &ServedVersion| {
        group == Some(of.group)
            && version.is_none_or(|version| version == of.version)
            && !selection.serves(of.group, of.version)
    };
    root == Some("apis") && resources::optional_versions().iter().any(hidden)
}

/// The document of version 3 at a path under `/openapi/v3/`: `api/v1`, `apis/apps/v1`, `apis/apps`, `version`.
pub fn v3_at(selection: &Selection, path: &str) -> Option<Arc<Document>> {
    let (source, slot) = DOCUMENTS.get(path).filter(|_| !is_hidden(selection, path))?;
    let make = || {
        let value = match source {
            Source::Version(served) => v3_value(*served),
            Source::Root(root) => v3_root(root),
        };
        Arc::new(Document::new(value.to_string().as_bytes()))
    };
    Some(slot.get_or_init(make).clone())
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
pub fn v3_index(selection: &Selection, custom: &[(String, String)]) -> Vec<u8> {
    let mut entries = Map::new();
    for (path, hash) in custom {
        let url = format!("/openapi/v3/{path}?hash={hash}");
        entries.insert(path.clone(), json!({ "serverRelativeURL": url }));
    }
    for path in DOCUMENTS.keys() {
        let Some(document) = v3_at(selection, path) else {
            continue;
        };
        let hash = &document.hash;
        let url = format!("/openapi/v3/{path}?hash={hash}");
        entries.insert(path.clone(), json!({ "serverRelativeURL": url }));
    }
    json!({ "paths": entries }).to_string().into_bytes()
}

fn info() -> Value {
    json!({"title": "Kubernetes", "version": API_VERSION})
}

fn security() -> Value {
    json!({"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"}})
}

fn v2_value(selection: &Selection) -> Value {
    let all: Vec<&'static Resource> = selection.resources().collect();
    let mut roots = roots::all(selection);
    roots.extend(selection.versions().map(roots::of_version));
    let everywhere = definitions(&all, &roots, Dialect::V2, None);
    let mut paths = paths::paths(&all, Dialect::V2);
    roots.iter().for_each(|root| root.put(&mut paths, Dialect::V2));
    json!({
        "swagger": "2.0", "info": info(), "paths": paths, "definitions": everywhere,
        "securityDefinitions": security(), "security": [{"BearerToken": []}],
    })
}

fn v3_value(served: ServedVersion) -> Value {
    let all = resources::all().iter().chain(resources::optional());
    let own: Vec<&'static Resource> = all.filter(|r| r.served_version() == served).collect();
    let root = roots::of_version(served);
    let mut paths = paths::paths(&own, Dialect::V3);
    root.put(&mut paths, Dialect::V3);
    let schemas = definitions(&own, &[root], Dialect::V3, Some(served));
    v3_document(paths, schemas)
}

fn v3_root(root: &Root) -> Value {
    let mut paths = Map::new();
    root.put(&mut paths, Dialect::V3);
    v3_document(
        paths,
        definitions(&[], std::slice::from_ref(root), Dialect::V3, None),
    )
}

fn v3_document(paths: Map<String, Value>, schemas: Map<String, Value>) -> Value {
    let mut components = json!({ "securitySchemes": security() });
    if !schemas.is_empty() {
        components["schemas"] = Value::Object(schemas);
    }
    json!({"openapi": "3.0.0", "info": info(), "paths": paths, "components": components})
}

/// Every type that the resources' kinds lead to.
fn definitions(
    resources: &[&'static Resource],
    roots: &[Root],
    dialect: Dialect,
    served: Option<ServedVersion>,
) -> Map<String, Value> {
    let mut pending: Vec<TypeId> = roots.iter().filter_map(Root::kind).collect();
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
    let mut add = |name: &str, mut definition| {
        describe(name, &mut definition);
        out.insert(name.to_owned(), definition);
    };
    if roots.iter().any(Root::is_version) {
        add(roots::VERSION, roots::version(dialect));
    }
    if resources.iter().any(|r| r.has_verb("patch")) {
        add(paths::PATCH, json!({"type": "object"}));
    }
    out
}

/// The definitions of types and of all they refer to.
fn reached(mut pending: Vec<TypeId>, dialect: Dialect, served: Option<ServedVersion>) -> Map<String, Value> {
    let (mut out, mut seen) = (Map::new(), BTreeSet::new());
    while let Some(id) = pending.pop() {
        if seen.insert(id) {
            let mut reached = definition::Reached::default();
            let mut definition = definition::structure(id, dialect, served, &mut reached);
            let name = definition::name_of(id.expr());
            describe(&name, &mut definition);
            out.insert(name, definition);
            pending.extend(reached.types);
            for (name, special) in reached.specials {
                if !out.contains_key(&name) {
                    let mut definition = definition::special(special, dialect);
                    describe(&name, &mut definition);
                    out.insert(name, definition);
                }
            }
        }
    }
    out
}
