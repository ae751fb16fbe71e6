//! Revisions of a Deployment: their annotations, the hash of a template, the names of sets.

use corten_client::object::MetaExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub const REVISION: &str = "deployment.kubernetes.io/revision";
pub const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
pub const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";
pub const HASH_LABEL: &str = "pod-template-hash";
/// Annotations of a Deployment that its sets do not get.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    "deprecated.deployment.rollback.to",
];
const MAX_HISTORY_BYTES: usize = 2000;
/// The longest name of a set, so that the names of its pods stay labels.
const MAX_SET_NAME: usize = 253;
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// The revision a set carries; 0 if none.
pub fn of(meta: &ObjectMeta) -> i64 {
    meta.annotation(REVISION)
        .and_then(|r| r.parse().ok())
        .unwrap_or(0)
}

/// Copies the deployment's annotations and raises the revision; returns whether anything changed.
pub fn annotate(deployment: &Deployment, meta: &mut ObjectMeta, revision: i64) -> bool {
    let mut changed = false;
    let (old, had) = (of(meta), meta.annotation(REVISION).is_some());
    let annotations = meta.annotations.get_or_insert_default();
    for (key, value) in deployment.metadata.annotations.iter().flatten() {
        if !NOT_COPIED.contains(&key.as_str()) && annotations.get(key) != Some(value) {
            annotations.insert(key.clone(), value.clone());
            changed = true;
        }
    }
    if old >= revision {
        return changed;
    }
    annotations.insert(REVISION.into(), revision.to_string());
    if had {
        let history = annotations.get(REVISION_HISTORY).cloned().unwrap_or_default();
        let mut all: Vec<&str> = history.split(',').filter(|r| !r.is_empty()).collect();
        let old = old.to_string();
        all.push(&old);
        while all.iter().map(|r| r.len() + 1).sum::<usize>() > MAX_HISTORY_BYTES {
            all.remove(0);
        }
        annotations.insert(REVISION_HISTORY.into(), all.join(","));
    }
    true
}

/// Whether two templates are the same but for the hash label.
pub fn equal_ignoring_hash(a: &PodTemplateSpec, b: &PodTemplateSpec) -> bool {
    let labels = |t: &PodTemplateSpec| {
        let mut labels = t
            .metadata
            .as_ref()
            .and_then(|m| m.labels.clone())
            .unwrap_or_default();
        labels.remove(HASH_LABEL);
        labels
    };
    let annotations = |t: &PodTemplateSpec| {
        t.metadata
            .as_ref()
            .and_then(|m| m.annotations.clone())
            .unwrap_or_default()
    };
    a.spec == b.spec && labels(a) == labels(b) && annotations(a) == annotations(b)
}

/// The hash of a template in the alphabet of generated names. Not upstream's number (that depends on Go's types), but
/// as stable: adopted sets keep the hash they have.
pub fn hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    let mut state = 0x811c_9dc5_u32;
    let mut feed = |bytes: &[u8]| {
        for byte in bytes {
            state = (state ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    };
    feed(crate::core::action::value(template).to_string().as_bytes());
    if let Some(count) = collisions {
        feed(&count.to_le_bytes());
    }
    state
        .to_string()
        .bytes()
        .map(|b| char::from(ALPHABET[usize::from(b) % ALPHABET.len()]))
        .collect()
}

/// The name of the set with this hash.
pub fn set_name(deployment: &str, hash: &str) -> String {
    let room = MAX_SET_NAME - 1 - hash.len();
    let prefix = deployment.get(..room).unwrap_or(deployment);
    format!("{}-{hash}", prefix.trim_end_matches(['-', '.']))
}
