//! Calls into the schema crate that it does not have yet.

use corten_meta::{GroupVersionKind, Status};
use serde_json::{Value, json};

pub fn default(_gvk: &GroupVersionKind, _value: &mut Value) {}

pub fn strategic_merge(_gvk: &GroupVersionKind, current: &Value, patch: &Value) -> Result<Value, Status> {
    let mut out = current.clone();
    corten_meta::patch::merge_patch(&mut out, patch);
    Ok(out)
}

pub fn table_cells(_r: &corten_schema::Resource, value: &Value) -> Value {
    json!([value["metadata"]["name"], value["metadata"]["creationTimestamp"]])
}

pub fn table_columns(_r: &corten_schema::Resource) -> Value {
    json!([{"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0},
           {"name": "Created At", "type": "date", "format": "", "description": "", "priority": 0}])
}
