//! The objects a pod or a persistent volume refers to by name.

use std::collections::HashSet;

use serde_json::Value;

use super::graph::{Kind, text};

/// The annotation of pods that a kubelet made itself.
pub(super) const MIRROR: &str = "kubernetes.io/config.mirror";

/// Volume sources with a secret in the pod's namespace: source, then where in it the secret's name stands.
const POD_VOLUME_SECRETS: &[(&str, &str)] = &[
    ("secret", "/secretName"),
    ("azureFile", "/secretName"),
    ("cephfs", "/secretRef/name"),
    ("cinder", "/secretRef/name"),
    ("flexVolume", "/secretRef/name"),
    ("rbd", "/secretRef/name"),
    ("scaleIO", "/secretRef/name"),
    ("iscsi", "/secretRef/name"),
    ("storageos", "/secretRef/name"),
    ("csi", "/nodePublishSecretRef/name"),
];

/// The same for persistent volumes, as far as kubelets need them: the object with `name` and `namespace`.
const PV_SECRETS: &[&str] = &[
    "/spec/cephfs/secretRef",
    "/spec/cinder/secretRef",
    "/spec/flexVolume/secretRef",
    "/spec/rbd/secretRef",
    "/spec/scaleIO/secretRef",
    "/spec/iscsi/secretRef",
    "/spec/storageos/secretRef",
    "/spec/csi/nodePublishSecretRef",
    "/spec/csi/nodeStageSecretRef",
    "/spec/csi/nodeExpandSecretRef",
];

/// Kind and name, in the pod's namespace.
pub(super) struct PodReferences(pub(super) HashSet<(Kind, String)>);

impl PodReferences {
    pub(super) fn of(pod: &Value) -> Self {
        let mut found = Self(HashSet::new());
        // A kubelet creates mirror pods itself: they must not open anything to it.
        if pod["metadata"]["annotations"].get(MIRROR).is_some() {
            return found;
        }
        let spec = &pod["spec"];
        found.add(Kind::ServiceAccount, text(spec, "/serviceAccountName"));
        for secret in items(&spec["imagePullSecrets"]) {
            found.add(Kind::Secret, text(secret, "/name"));
        }
        for list in ["initContainers", "containers", "ephemeralContainers"] {
            items(&spec[list]).for_each(|container| found.add_container(container));
        }
        let pod_name = text(pod, "/metadata/name");
        items(&spec["volumes"]).for_each(|volume| found.add_volume(volume, pod_name));
        found.add_resource_claims(pod);
        found
    }

    fn add(&mut self, kind: Kind, name: &str) {
        if !name.is_empty() {
            self.0.insert((kind, name.to_owned()));
        }
    }

    fn add_container(&mut self, container: &Value) {
        for source in items(&container["envFrom"]) {
            self.add(Kind::Secret, text(source, "/secretRef/name"));
            self.add(Kind::ConfigMap, text(source, "/configMapRef/name"));
        }
        for env in items(&container["env"]) {
            self.add(Kind::Secret, text(env, "/valueFrom/secretKeyRef/name"));
            self.add(Kind::ConfigMap, text(env, "/valueFrom/configMapKeyRef/name"));
        }
    }

    fn add_volume(&mut self, volume: &Value, pod_name: &str) {
        for (source, name) in POD_VOLUME_SECRETS {
            self.add(Kind::Secret, text(&volume[*source], name));
        }
        self.add(Kind::ConfigMap, text(volume, "/configMap/name"));
        for source in items(&volume["projected"]["sources"]) {
            self.add(Kind::Secret, text(source, "/secret/name"));
            self.add(Kind::ConfigMap, text(source, "/configMap/name"));
        }
        self.add(Kind::Claim, text(volume, "/persistentVolumeClaim/claimName"));
        if volume["ephemeral"].is_object() {
            self.add(Kind::Claim, &format!("{pod_name}-{}", text(volume, "/name")));
        }
    }

    fn add_resource_claims(&mut self, pod: &Value) {
        for claim in items(&pod["spec"]["resourceClaims"]) {
            self.add(Kind::ResourceClaim, text(claim, "/resourceClaimName"));
        }
        for status in items(&pod["status"]["resourceClaimStatuses"]) {
            self.add(Kind::ResourceClaim, text(status, "/resourceClaimName"));
        }
        self.add(
            Kind::ResourceClaim,
            text(pod, "/status/extendedResourceClaimStatus/resourceClaimName"),
        );
    }
}

/// Namespace and name of the secrets a kubelet needs for this volume; `claim_namespace` where none is given.
pub(super) fn pv_secrets(volume: &Value, claim_namespace: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut add = |namespace: &str, name: &str| {
        if !name.is_empty() {
            let namespace = if namespace.is_empty() {
                claim_namespace
            } else {
                namespace
            };
            found.push((namespace.to_owned(), name.to_owned()));
        }
    };
    for reference in PV_SECRETS.iter().filter_map(|pointer| volume.pointer(pointer)) {
        add(text(reference, "/namespace"), text(reference, "/name"));
    }
    add(
        text(volume, "/spec/azureFile/secretNamespace"),
        text(volume, "/spec/azureFile/secretName"),
    );
    found
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().map(Vec::as_slice).unwrap_or_default().iter()
}
