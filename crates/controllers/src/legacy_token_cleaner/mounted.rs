//! The Secrets a pod names. Upstream: `VisitPodSecretNames` of pkg/api/v1/pod.

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, LocalObjectReference, Pod, Volume};

/// Names; some may be there twice.
pub fn secrets(pod: &Pod) -> impl Iterator<Item = &str> {
    let spec = pod.spec.iter();
    spec.flat_map(|spec| {
        let pulled = spec.image_pull_secrets.iter().flatten();
        let inits = spec.init_containers.iter().flatten();
        let containers = inits.chain(&spec.containers);
        let containers = containers.flat_map(|c| environment(c.env.as_deref(), c.env_from.as_deref()));
        let ephemeral = spec.ephemeral_containers.iter().flatten();
        let ephemeral = ephemeral.flat_map(|c| environment(c.env.as_deref(), c.env_from.as_deref()));
        let volumes = spec.volumes.iter().flatten().flat_map(volume);
        pulled
            .map(|r| r.name.as_str())
            .chain(containers)
            .chain(ephemeral)
            .chain(volumes)
    })
}

fn environment<'a>(
    env: Option<&'a [EnvVar]>,
    from: Option<&'a [EnvFromSource]>,
) -> impl Iterator<Item = &'a str> {
    let from = from.unwrap_or_default().iter();
    let whole = from.filter_map(|f| Some(f.secret_ref.as_ref()?.name.as_str()));
    let env = env.unwrap_or_default().iter();
    let single = env.filter_map(|e| {
        let key = e.value_from.as_ref()?.secret_key_ref.as_ref()?;
        Some(key.name.as_str())
    });
    whole.chain(single)
}

fn volume(v: &Volume) -> Vec<&str> {
    let references: [Option<&LocalObjectReference>; 8] = [
        v.cephfs.as_ref().and_then(|s| s.secret_ref.as_ref()),
        v.cinder.as_ref().and_then(|s| s.secret_ref.as_ref()),
        v.flex_volume.as_ref().and_then(|s| s.secret_ref.as_ref()),
        v.rbd.as_ref().and_then(|s| s.secret_ref.as_ref()),
        v.iscsi.as_ref().and_then(|s| s.secret_ref.as_ref()),
        v.storageos.as_ref().and_then(|s| s.secret_ref.as_ref()),
        v.csi.as_ref().and_then(|s| s.node_publish_secret_ref.as_ref()),
        v.scale_io.as_ref().map(|s| &s.secret_ref),
    ];
    let projected = v.projected.iter().flat_map(|p| p.sources.iter().flatten());
    let projected = projected.filter_map(|s| Some(s.secret.as_ref()?.name.as_str()));
    let named = [
        v.azure_file.as_ref().map(|s| s.secret_name.as_str()),
        v.secret.as_ref().and_then(|s| s.secret_name.as_deref()),
    ];
    let references = references.into_iter().flatten().map(|r| r.name.as_str());
    references
        .chain(named.into_iter().flatten())
        .chain(projected)
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn all_ways_to_name_a_secret_are_seen() {
        let pod: Pod = serde_json::from_value(serde_json::json!({"spec": {
            "imagePullSecrets": [{"name": "pull"}],
            "initContainers": [{"name": "i", "env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "key", "key": "k"}}}]}],
            "containers": [{"name": "c", "envFrom": [{"secretRef": {"name": "env"}}, {"configMapRef": {"name": "map"}}]}],
            "volumes": [
                {"name": "a", "secret": {"secretName": "volume"}},
                {"name": "b", "projected": {"sources": [{"secret": {"name": "projected"}}, {"configMap": {"name": "map"}}]}},
                {"name": "c", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "csi"}}},
                {"name": "d", "azureFile": {"secretName": "azure", "shareName": "s"}},
            ]}}))
        .unwrap();
        let mut all: Vec<_> = secrets(&pod).collect();
        all.sort_unstable();
        assert_eq!(all, ["azure", "csi", "env", "key", "projected", "pull", "volume"]);
    }
}
