//! Documents with custom resources in them: the definitions and paths that others bring, and the machinery's types that
//! those refer to.

use corten_meta::GroupVersionKind;
use serde_json::{Map, Value, json};

use super::{Dialect, Document, info, paths, reached, v2_value};
use crate::resources::Selection;
use crate::types::{TypeId, named, type_of};

/// What a kind adds to a document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fragment {
    /// By name.
    pub definitions: Map<String, Value>,
    /// By path.
    pub paths: Map<String, Value>,
}

/// The whole API with these fragments as OpenAPI v2; [`super::v2_document`] makes a document of it.
pub fn v2_with(selection: &Selection, fragments: impl IntoIterator<Item = Fragment>) -> Value {
    let mut all = v2_value(selection);
    for fragment in fragments {
        for (key, added) in [("definitions", fragment.definitions), ("paths", fragment.paths)] {
            let Some(known) = all[key].as_object_mut() else {
                continue;
            };
            for (name, value) in added {
                // What is built in stays as it is.
                known.entry(name).or_insert(value);
            }
        }
    }
    all
}

/// One group and version that only has custom resources, as OpenAPI v3 JSON.
pub fn v3_of(fragments: impl IntoIterator<Item = Fragment>) -> Document {
    let meta = |name: &str| named("apimachinery/pkg/apis/meta/v1", name);
    let types = ["ObjectMeta", "ListMeta", "DeleteOptions", "Status"].map(meta);
    let mut pending: Vec<TypeId> = types.into_iter().flatten().collect();
    pending.extend(type_of(&GroupVersionKind::new("autoscaling", "v1", "Scale")));
    let mut schemas = reached(pending, Dialect::V3, None);
    schemas.insert(paths::PATCH.to_owned(), json!({"type": "object"}));
    let mut paths = Map::new();
    for fragment in fragments {
        schemas.extend(fragment.definitions);
        paths.extend(fragment.paths);
    }
    let document =
        json!({"openapi": "3.0.0", "info": info(), "paths": paths, "components": {"schemas": schemas}});
    Document::new(document.to_string().as_bytes())
}
