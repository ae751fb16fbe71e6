//! Event: events.k8s.io/v1 and core/v1 differ in six names.

use corten_meta::object::object_mut;
use serde_json::{Value, json};

/// core/v1 name, events.k8s.io/v1 name.
const NAMES: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("source", "deprecatedSource"),
    ("message", "note"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// From core/v1. What events.k8s.io leaves out when empty is left out.
pub fn to_events_v1(event: &mut Value) {
    let members = object_mut(event);
    for (core, new) in NAMES {
        if let Some(v) = members.remove(core) {
            let empty = v.is_null() && core.ends_with("Timestamp");
            let blank = v == json!("") && core != "involvedObject";
            if !empty && !blank {
                members.insert(new.to_owned(), v);
            }
        }
    }
    if members.get("reportingInstance") == Some(&json!("")) {
        members.remove("reportingInstance");
    }
}

/// To core/v1, which writes some members even when empty.
pub fn to_core_v1(event: &mut Value) {
    let members = object_mut(event);
    for (core, new) in NAMES {
        if let Some(v) = members.remove(new) {
            members.insert(core.to_owned(), v);
        }
    }
    for (name, empty) in [
        ("involvedObject", json!({})),
        ("source", json!({})),
        ("firstTimestamp", Value::Null),
        ("lastTimestamp", Value::Null),
        ("eventTime", Value::Null),
        ("reportingComponent", json!("")),
        ("reportingInstance", json!("")),
    ] {
        members.entry(name).or_insert(empty);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let new = json!({"kind": "Event", "regarding": {"kind": "Pod"}, "note": "n", "reportingController": "c",
            "reportingInstance": "i", "eventTime": "2026-01-01T00:00:00.000000Z", "deprecatedSource": {}});
        let mut e = new.clone();
        to_core_v1(&mut e);
        assert_eq!(
            (&e["message"], &e["involvedObject"]["kind"], &e["firstTimestamp"]),
            (&json!("n"), &json!("Pod"), &Value::Null)
        );
        to_events_v1(&mut e);
        assert_eq!(e, new);
    }
}
