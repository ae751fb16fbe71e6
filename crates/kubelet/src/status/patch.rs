//! The strategic merge patch that turns the status the API has into the one it should have.
//!
//! Only what changed is sent. `conditions`, `podIPs` and `hostIPs` merge by key on the server, so that conditions set
//! by others survive; every other list is replaced whole.

use super::conditions::OWNED;
use k8s_openapi::api::core::v1::PodStatus;
use serde_json::{Map, Value, json};

/// None when there is nothing to say.
pub fn diff(uid: &str, old: &PodStatus, new: &PodStatus) -> Option<Value> {
    let (Ok(Value::Object(old)), Ok(Value::Object(new))) =
        (serde_json::to_value(old), serde_json::to_value(new))
    else {
        return None;
    };
    let mut status = Map::new();
    for (key, value) in &new {
        let before = old.get(key);
        if before == Some(value) {
            continue;
        }
        let change = match key.as_str() {
            "conditions" => conditions(before, value),
            "podIPs" | "hostIPs" => replaced(before, value),
            _ => Some(value.clone()),
        };
        if let Some(change) = change {
            status.insert(key.clone(), change);
        }
    }
    for key in old.keys().filter(|k| !new.contains_key(*k)) {
        status.insert(key.clone(), Value::Null);
    }
    (!status.is_empty()).then(|| json!({"metadata": {"uid": uid}, "status": status}))
}

fn kind(condition: &Value) -> &str {
    condition["type"].as_str().unwrap_or_default()
}

fn items(list: Option<&Value>) -> &[Value] {
    list.and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// Changed conditions of ours, with deletions for those that are no longer true of the pod.
fn conditions(old: Option<&Value>, new: &Value) -> Option<Value> {
    let before = items(old);
    let after = items(Some(new));
    let ours = |c: &&Value| OWNED.contains(&kind(c)) || kind(c) == "DisruptionTarget";
    let mut out: Vec<Value> = Vec::new();
    for condition in after.iter().filter(ours) {
        let known = before.iter().find(|c| kind(c) == kind(condition));
        if known != Some(condition) {
            let mut condition = condition.clone();
            forget_removed(known, &mut condition);
            out.push(condition);
        }
    }
    for gone in before
        .iter()
        .filter(ours)
        .filter(|c| !after.iter().any(|n| kind(n) == kind(c)))
    {
        out.push(json!({"$patch": "delete", "type": kind(gone)}));
    }
    (!out.is_empty()).then_some(Value::Array(out))
}

/// Merged items keep fields that a patch does not mention: say null for those that went.
fn forget_removed(known: Option<&Value>, condition: &mut Value) {
    let (Some(Value::Object(known)), Value::Object(new)) = (known, condition) else {
        return;
    };
    for key in known.keys() {
        if !new.contains_key(key) {
            new.insert(key.clone(), Value::Null);
        }
    }
}

fn replaced(old: Option<&Value>, new: &Value) -> Option<Value> {
    let mut list = items(Some(new)).to_vec();
    if !items(old).is_empty() {
        list.push(json!({"$patch": "replace"}));
    }
    Some(Value::Array(list))
}
