//! The recorded requests that the API server's tests repeat, in a compact form: a request and what is known of its answer
//! on one line. Whole golden objects are left out: the registry's tests have them from the facts.

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

/// Of an answer's parts, those that say nothing a test can compare.
const NOT_KEPT: [&str; 3] = ["managedFields", "resourceVersion", "uid"];

/// One line for each case of `cases`, which has one JSON object on each line.
pub(super) fn render(cases: &str) -> Result<String> {
    let mut out = String::new();
    for line in cases.lines() {
        let case: Value = serde_json::from_str(line).context("parsing a case")?;
        if super::text(&case, "name").starts_with("golden/") {
            continue;
        }
        out += &compact(&case).to_string();
        out.push('\n');
    }
    Ok(out)
}

fn compact(case: &Value) -> Value {
    let request = &case["request"];
    let mut out = Map::new();
    let mut put = |key: &str, value: &Value| {
        if !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()) {
            out.insert(key.to_owned(), value.clone());
        }
    };
    put("case", &case["name"]);
    put("send", &json!([request["method"], request["path"]]));
    if request["contentType"] != "application/json" {
        put("type", &request["contentType"]);
    }
    if request["accept"] != "application/json" {
        put("accept", &request["accept"]);
    }
    if case["name"] != "life/stale-put" {
        put("body", &request["body"]);
    }
    put("code", &case["status"]);
    put("warnings", &case["warnings"]);
    put("names", &case["names"]);
    put("managers", &managers(&case["managedFields"]));
    put("answer", &known(&case["response"]));
    Value::Object(out)
}

/// Who owns what, of those that the requests name.
fn managers(entries: &Value) -> Value {
    let mut all = Vec::new();
    for entry in entries.as_array().into_iter().flatten() {
        let named = ["one", "two"].iter().any(|name| entry["manager"] == *name);
        if named && entry["subresource"].is_null() {
            all.push(json!([entry["manager"], entry["operation"], entry["fieldsV1"]]));
        }
    }
    Value::Array(all)
}

/// An answer without what differs each time, and without sentences that only describe.
fn known(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let is_column = map.contains_key("priority") && map.contains_key("format");
            let kept = map.iter().filter(|(key, value)| {
                let described = is_column && *key == "description";
                !described && !NOT_KEPT.contains(&key.as_str()) && *value != "<volatile>"
            });
            Value::Object(kept.map(|(key, value)| (key.clone(), known(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(known).collect()),
        other => other.clone(),
    }
}
