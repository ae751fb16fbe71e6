//! Calls into the schema crate that it does not have yet.

use serde_json::{Value, json};

pub fn table_cells(_r: &corten_schema::Resource, value: &Value) -> Value {
    json!([value["metadata"]["name"], value["metadata"]["creationTimestamp"]])
}

pub fn table_columns(_r: &corten_schema::Resource) -> Value {
    json!([{"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0},
           {"name": "Created At", "type": "date", "format": "", "description": "", "priority": 0}])
}
