//! Pods as they are stored: what of one refers to other objects, without reading the rest. There are many pods, most of their
//! changes are of their status, and their managed fields are longer than all that counts here.

use std::hash::{DefaultHasher, Hasher as _};

use corten_meta::scan;
use serde_json::{Map, Value, json};

use super::references::MIRROR;

/// Where a pod's status names claims that were made for it.
const CLAIMS: [&str; 2] = ["resourceClaimStatuses", "extendedResourceClaimStatus"];

/// A digest of what of a pod refers to other objects: its spec, and the claims that were made for it. None for a pod that has
/// no node: it opens nothing to any.
pub(super) fn outline(pod: &[u8]) -> Option<u64> {
    let spec = scan::value(pod, "spec").filter(|spec| scan::value(spec, "nodeName").is_some())?;
    let mut hasher = DefaultHasher::new();
    hasher.write(spec);
    if let Some(status) = scan::value(pod, "status") {
        for claims in CLAIMS {
            hasher.write(scan::value(status, claims).unwrap_or_default());
        }
    }
    Some(hasher.finish())
}

/// What of a pod refers to other objects.
///
/// # Errors
/// Where these parts are not JSON.
pub(super) fn referring(pod: &[u8], namespace: &str, name: &str) -> serde_json::Result<Value> {
    let read = |part: &[u8]| serde_json::from_slice::<Value>(part);
    let mirror = MIRROR.as_bytes();
    let holds_mirror = |metadata: &[u8]| metadata.windows(mirror.len()).any(|part| part == mirror);
    if scan::value(pod, "metadata").is_none_or(holds_mirror) {
        return read(pod);
    }
    let mut status = Map::new();
    let whole = scan::value(pod, "status").unwrap_or(b"{}");
    for name in CLAIMS {
        if let Some(claims) = scan::value(whole, name) {
            status.insert(name.to_owned(), read(claims)?);
        }
    }
    let spec = read(scan::value(pod, "spec").unwrap_or(b"{}"))?;
    let metadata = json!({"namespace": namespace, "name": name});
    let parts = [
        ("metadata", metadata),
        ("spec", spec),
        ("status", Value::Object(status)),
    ];
    Ok(parts
        .into_iter()
        .map(|(name, part)| (name.to_owned(), part))
        .collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// As the registry writes it: metadata first.
    fn stored(metadata: &Value, rest: &Value) -> Vec<u8> {
        let rest = rest.to_string();
        format!(
            r#"{{"kind":"Pod","apiVersion":"v1","metadata":{metadata},{}"#,
            &rest[1..]
        )
        .into_bytes()
    }

    fn pod(label: &str, secret: &str, phase: &str) -> Vec<u8> {
        let volumes = json!([{"name": "v", "secret": {"secretName": secret}}]);
        stored(
            &json!({"namespace": "a", "name": "p", "labels": {"l": label}}),
            &json!({"spec": {"nodeName": "n", "volumes": volumes}, "status": {"phase": phase}}),
        )
    }

    #[test]
    fn only_what_refers_to_others_counts() {
        let first = outline(&pod("x", "s", "Pending"));
        assert!(first.is_some());
        assert_eq!(first, outline(&pod("y", "s", "Running")));
        assert_ne!(first, outline(&pod("x", "t", "Pending")));
        let claims = stored(
            &json!({"name": "p"}),
            &json!({"spec": {"nodeName": "n"}, "status": {"resourceClaimStatuses": [{"name": "c", "resourceClaimName": "d"}]}}),
        );
        let none = stored(
            &json!({"name": "p"}),
            &json!({"spec": {"nodeName": "n"}, "status": {}}),
        );
        assert_ne!(outline(&claims), outline(&none));
        assert_eq!(
            outline(&stored(&json!({"name": "p"}), &json!({"spec": {}}))),
            None
        );
    }

    #[test]
    fn what_refers_to_others_is_read() {
        let read = referring(&pod("x", "s", "Running"), "a", "p").unwrap();
        let volumes = json!([{"name": "v", "secret": {"secretName": "s"}}]);
        let want = json!({"metadata": {"namespace": "a", "name": "p"}, "status": {},
            "spec": {"nodeName": "n", "volumes": volumes}});
        assert_eq!(read, want);
        let metadata = json!({"name": "p", "annotations": {"kubernetes.io/config.mirror": "x"}});
        let mirror = stored(&metadata, &json!({"spec": {"nodeName": "n"}}));
        assert_eq!(referring(&mirror, "a", "p").unwrap()["metadata"], metadata);
    }
}
