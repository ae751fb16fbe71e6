//! Pods as they are stored: what of one refers to other objects, without reading the rest. There are many pods, most of their
//! changes are of their status, and their managed fields are longer than all that counts here.

use std::hash::{DefaultHasher, Hasher as _};

use corten_meta::scan::{self, Members};
use memchr::memmem;
use serde_json::{Map, Value, json};

use super::references::MIRROR;

/// Where a pod's status names claims that were made for it.
const CLAIMS: [&str; 2] = ["resourceClaimStatuses", "extendedResourceClaimStatus"];

/// The parts of a pod with a node that count here, found but not read. Of any other pod there is nothing to say: it opens nothing
/// to any node.
pub(super) struct Parts<'a> {
    metadata: &'a [u8],
    spec: &'a [u8],
    claims: [Option<&'a [u8]>; CLAIMS.len()],
}

impl<'a> Parts<'a> {
    /// None for a pod that has no node.
    pub fn of(pod: &'a [u8]) -> Option<Self> {
        // Nearly half of all changes are of pods without one: they need not be taken apart.
        memmem::find(pod, br#""nodeName""#)?;
        let [mut metadata, mut spec, mut status] = [b"{}".as_slice(); 3];
        for member in Members::of(pod) {
            match member.name {
                b"metadata" => metadata = member.value(),
                b"spec" => spec = member.value(),
                b"status" => status = member.value(),
                _ => {}
            }
        }
        scan::value(spec, "nodeName")?;
        Some(Self {
            metadata,
            spec,
            claims: CLAIMS.map(|claims| scan::value(status, claims)),
        })
    }

    /// A digest of what refers to other objects: the spec, and the claims that were made for the pod.
    pub fn outline(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write(self.spec);
        for claims in self.claims {
            hasher.write(claims.unwrap_or_default());
        }
        hasher.finish()
    }

    /// The pod with nothing but what refers to other objects.
    ///
    /// # Errors
    /// Where that is not JSON.
    pub fn read(&self, namespace: &str, name: &str) -> serde_json::Result<Value> {
        let read = |part: &[u8]| serde_json::from_slice::<Value>(part);
        let mirror = memmem::find(self.metadata, MIRROR.as_bytes()).is_some();
        let metadata = match mirror {
            true => read(self.metadata)?,
            false => json!({"namespace": namespace, "name": name}),
        };
        let mut status = Map::new();
        for (name, claims) in CLAIMS.into_iter().zip(self.claims) {
            if let Some(claims) = claims {
                status.insert(name.to_owned(), read(claims)?);
            }
        }
        let spec = read(self.spec)?;
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

    fn outline(pod: &[u8]) -> Option<u64> {
        Parts::of(pod).map(|parts| parts.outline())
    }

    fn read(pod: &[u8]) -> Value {
        Parts::of(pod).unwrap().read("a", "p").unwrap()
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
        let read_pod = read(&pod("x", "s", "Running"));
        let volumes = json!([{"name": "v", "secret": {"secretName": "s"}}]);
        let want = json!({"metadata": {"namespace": "a", "name": "p"}, "status": {},
            "spec": {"nodeName": "n", "volumes": volumes}});
        assert_eq!(read_pod, want);
        let metadata = json!({"name": "p", "annotations": {"kubernetes.io/config.mirror": "x"}});
        let mirror = stored(&metadata, &json!({"spec": {"nodeName": "n"}}));
        assert_eq!(read(&mirror)["metadata"], metadata);
    }
}
