//! A pod as a shared cache keeps it. A cluster has more pods than anything else, and most of a pod is for its kubelet
//! alone: how its containers are started, probed and mounted. Controllers and scheduler read none of it, and never write
//! a pod back as a whole: they patch.
//!
//! So this type has the fields they read and no others, under the names of the API, and keeps once what pods of a template
//! have in common. Who needs the whole pod uses `k8s_openapi`'s.

mod meta;
mod spec;
mod status;
mod text;

use k8s_openapi::api::core::v1::Pod as Whole;
use serde::Deserialize;

pub use meta::{Labels, Meta, shared_owners};
pub use spec::{Common, Container, PodSpec, Volume};
pub use status::{ContainerState, ContainerStatus, PodCondition, PodStatus, Saying, Terminated};
pub use text::Text;

/// See the module.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Pod {
    #[serde(default)]
    pub metadata: Meta,
    pub spec: Option<PodSpec>,
    pub status: Option<PodStatus>,
}

impl k8s_openapi::Resource for Pod {
    const API_VERSION: &'static str = <Whole as k8s_openapi::Resource>::API_VERSION;
    const GROUP: &'static str = <Whole as k8s_openapi::Resource>::GROUP;
    const KIND: &'static str = <Whole as k8s_openapi::Resource>::KIND;
    const VERSION: &'static str = <Whole as k8s_openapi::Resource>::VERSION;
    const URL_PATH_SEGMENT: &'static str = <Whole as k8s_openapi::Resource>::URL_PATH_SEGMENT;
    type Scope = <Whole as k8s_openapi::Resource>::Scope;
}

impl k8s_openapi::Metadata for Pod {
    type Ty = Meta;
    fn metadata(&self) -> &Meta {
        &self.metadata
    }
    fn metadata_mut(&mut self) -> &mut Meta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::object::MetaExt;

    fn pod(name: &str, change: impl FnOnce(&mut Value)) -> Pod {
        let mut given = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "a", "uid": name, "labels": {"app": "x"}, "annotations": {"a": "b"},
                "finalizers": ["f"], "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r",
                    "uid": "u", "controller": true}], "managedFields": [{"manager": "m"}]},
            "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i", "command": ["x"],
                "env": [{"name": "A", "value": "b"}], "ports": [{"containerPort": 80, "name": "http"}],
                "resources": {"requests": {"cpu": "1"}}, "volumeMounts": [{"name": name, "mountPath": "/data"}]}],
                "initContainers": [{"name": "s", "restartPolicy": "Always", "ports": [{"containerPort": 90}]}],
                "volumes": [{"name": name, "secret": {"secretName": "s"}},
                    {"name": "data", "persistentVolumeClaim": {"claimName": "data-0"}},
                    {"name": "made", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}]},
            "status": {"phase": "Running", "podIP": "10.0.0.1", "containerStatuses": [{"name": "c", "image": "i",
                "imageID": "x", "ready": true, "restartCount": 2, "state": {"terminated": {"exitCode": 42}}}],
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
        change(&mut given);
        serde_json::from_str(&given.to_string()).unwrap()
    }

    #[test]
    fn what_controllers_read_stays() {
        let pod = pod("p", |_| {});
        let (meta, spec, status) = (
            &pod.metadata,
            pod.spec.as_ref().unwrap(),
            pod.status.as_ref().unwrap(),
        );
        assert_eq!((meta.name(), meta.ns(), meta.label("app")), ("p", "a", Some("x")));
        assert_eq!(
            (meta.annotation("a"), meta.finalizers()),
            (Some("b"), &["f".to_owned()][..])
        );
        assert_eq!(meta.controller().map(|owner| owner.name.as_str()), Some("r"));
        let claims: Vec<_> = spec.volumes.iter().map(|volume| volume.claim("p")).collect();
        assert_eq!(claims, ["data-0", "p-made"]);
        let ports: Vec<_> = spec.ports().map(|port| port.container_port).collect();
        assert_eq!(ports, [80, 90]);
        assert_eq!(
            spec.containers[0]
                .resources
                .as_ref()
                .unwrap()
                .requests
                .as_ref()
                .unwrap()["cpu"]
                .0,
            "1"
        );
        let container = &status.container_statuses.as_ref().unwrap()[0];
        let code = container
            .state
            .as_ref()
            .unwrap()
            .terminated
            .as_ref()
            .unwrap()
            .exit_code;
        assert_eq!((container.restart_count, code), (2, 42));
        assert_eq!(
            (&*status.conditions.as_ref().unwrap()[0].type_, &*status.ips[0]),
            ("Ready", "10.0.0.1")
        );
    }

    #[test]
    fn pods_of_a_template_share_what_they_have_in_common() {
        let common = |pod: &Pod| Arc::clone(pod.spec.as_ref().unwrap().common());
        let (one, two) = (pod("one", |_| {}), pod("two", |_| {}));
        assert!(Arc::ptr_eq(&common(&one), &common(&two)));
        assert!(Arc::ptr_eq(
            one.metadata.labels.as_ref().unwrap(),
            two.metadata.labels.as_ref().unwrap()
        ));
        // A difference that the fingerprint leaves out is one nevertheless.
        for (pointer, value) in [
            ("/spec/containers/0/ports/0/name", json!("other")),
            ("/spec/containers/0/image", json!("other")),
            ("/spec/initContainers/0/restartPolicy", Value::Null),
        ] {
            let other = pod("other", |pod| *pod.pointer_mut(pointer).unwrap() = value);
            assert!(!Arc::ptr_eq(&common(&one), &common(&other)), "{pointer}");
            assert!(one.spec != other.spec, "{pointer}");
        }
        assert!(one.spec == two.spec);
    }

    #[test]
    fn absent_and_null_fields_are_none() {
        let pod = pod("p", |pod| {
            pod["spec"] = json!({"containers": null, "volumes": null});
            pod["status"] = json!({"conditions": null});
            pod["metadata"]["labels"] = Value::Null;
        });
        assert!(pod.metadata.labels().is_none() && pod.spec.unwrap().containers.is_empty());
        assert!(pod.status.unwrap().conditions.is_none());
        assert!(serde_json::from_str::<Pod>("{}").unwrap().spec.is_none());
    }
}
