//! What makes a pod the n-th of its set: name, labels, host name, claims.

use corten_client::Pod;
use corten_client::object::{MetaExt, controller_ref};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod as NewPod, PodTemplateSpec, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::retention::Policy;
use crate::core::pod;

const NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";
const INDEX_LABEL: &str = "apps.kubernetes.io/pod-index";
pub const REVISION_LABEL: &str = "controller-revision-hash";

/// The number at the end of a pod's name, if the rest is the set's.
#[must_use]
pub fn ordinal(pod: &str, set: &str) -> Option<i32> {
    pod.strip_prefix(set)?
        .strip_prefix('-')?
        .parse()
        .ok()
        .filter(|n| *n >= 0)
}

#[must_use]
pub fn claim_name(template: &PersistentVolumeClaim, set: &str, ordinal: i32) -> String {
    format!("{}-{set}-{ordinal}", template.metadata.name())
}

/// The pod with this ordinal, of this revision.
#[must_use]
pub fn new_pod(set: &StatefulSet, template: &PodTemplateSpec, revision: &str, ordinal: i32) -> NewPod {
    let spec = set.spec.clone().unwrap_or_default();
    let name = format!("{}-{ordinal}", set.metadata.name());
    let mut pod = pod::from_template(template, set.metadata.ns(), controller_ref(set));
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.extend(self::labels(&name, ordinal).map(|(k, v)| (k.to_owned(), v)));
    labels.insert(REVISION_LABEL.into(), revision.to_owned());
    pod.metadata.name = Some(name.clone());
    let pod_spec = pod.spec.get_or_insert_default();
    pod_spec.hostname = Some(name);
    pod_spec.subdomain = spec.service_name.clone().filter(|s| !s.is_empty());
    let volumes = pod_spec.volumes.get_or_insert_default();
    for claim in spec.volume_claim_templates.iter().flatten() {
        volumes.retain(|v| v.name != claim.metadata.name());
        volumes.push(Volume {
            name: claim.metadata.name().into(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: claim_name(claim, set.metadata.name(), ordinal),
                read_only: Some(false),
            }),
            ..Volume::default()
        });
    }
    if volumes.is_empty() {
        pod_spec.volumes = None;
    }
    pod
}

/// The labels that say which pod of its set it is.
#[must_use]
pub fn labels(name: &str, ordinal: i32) -> [(&'static str, String); 2] {
    [(NAME_LABEL, name.to_owned()), (INDEX_LABEL, ordinal.to_string())]
}

/// Whether the pod says which one it is; one that was adopted may not.
#[must_use]
pub fn is_labeled(pod: &Pod) -> bool {
    pod.metadata.label(NAME_LABEL) == Some(pod.metadata.name())
}

/// The claims a pod of this ordinal needs.
#[must_use]
pub fn claims(set: &StatefulSet, ordinal: i32) -> Vec<PersistentVolumeClaim> {
    let spec = set.spec.clone().unwrap_or_default();
    let labels = spec.selector.match_labels.clone();
    let owner = Policy::of(set).with_set.then(|| vec![controller_ref(set)]);
    let claim = |template: PersistentVolumeClaim| {
        let mut all = template.metadata.labels.clone().unwrap_or_default();
        all.extend(labels.clone().unwrap_or_default());
        let metadata = ObjectMeta {
            name: Some(claim_name(&template, set.metadata.name(), ordinal)),
            namespace: set.metadata.namespace.clone(),
            labels: Some(all),
            annotations: template.metadata.annotations.clone(),
            owner_references: owner.clone(),
            ..ObjectMeta::default()
        };
        PersistentVolumeClaim {
            metadata,
            spec: template.spec,
            status: None,
        }
    };
    spec.volume_claim_templates
        .into_iter()
        .flatten()
        .map(claim)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinals_are_read_from_names() {
        assert_eq!(ordinal("web-12", "web"), Some(12));
        assert_eq!(ordinal("web-x", "web"), None);
        assert_eq!(ordinal("website-1", "web"), None);
    }
}
