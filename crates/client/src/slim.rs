//! What a shared cache leaves out. A cluster has more pods than anything else, and most of a pod is for its kubelet alone: how its
//! containers are started, probed and mounted. Controllers and scheduler read none of it, and never write a pod back as
//! a whole: they patch.

use std::any::Any;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, Volume};

/// Drops from an object what only its kubelet reads, if it is a pod. Nothing else is changed.
pub(crate) fn slim<K: 'static>(object: &mut K) {
    if let Some(found) = (object as &mut dyn Any).downcast_mut::<Pod>() {
        pod(found);
    }
}

fn pod(pod: &mut Pod) {
    if let Some(spec) = &mut pod.spec {
        let containers = spec.containers.iter_mut();
        containers
            .chain(spec.init_containers.iter_mut().flatten())
            .for_each(container);
        spec.containers.shrink_to_fit();
        fit(&mut spec.init_containers);
        fit(&mut spec.tolerations);
        if let Some(volumes) = &mut spec.volumes {
            volumes.retain(is_claimed);
        }
        spec.volumes.take_if(|volumes| volumes.is_empty());
        fit(&mut spec.volumes);
        spec.dns_config = None;
        spec.host_aliases = None;
    }
    if let Some(status) = &mut pod.status {
        fit(&mut status.conditions);
        for list in [
            &mut status.container_statuses,
            &mut status.init_container_statuses,
        ] {
            list.iter_mut().flatten().for_each(running);
            fit(list);
        }
    }
    fit(&mut pod.metadata.owner_references);
}

/// Its name, image, ports, resources and restart policy stay.
fn container(container: &mut Container) {
    container.args = None;
    container.command = None;
    container.env = None;
    container.env_from = None;
    container.lifecycle = None;
    container.liveness_probe = None;
    container.readiness_probe = None;
    container.startup_probe = None;
    container.termination_message_path = None;
    container.termination_message_policy = None;
    container.volume_devices = None;
    container.volume_mounts = None;
    container.working_dir = None;
    fit(&mut container.ports);
}

/// Its name, states, readiness and restarts stay.
fn running(status: &mut ContainerStatus) {
    status.container_id = None;
    status.image = String::new();
    status.image_id = String::new();
    status.resources = None;
    status.user = None;
    status.volume_mounts = None;
}

/// Whether a volume is a claim, or makes one. A projected token alone would take 3 KB of each pod.
fn is_claimed(volume: &Volume) -> bool {
    volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some()
}

/// Decoding leaves room for more than there is.
fn fit<T>(list: &mut Option<Vec<T>>) {
    if let Some(list) = list {
        list.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn what_controllers_read_stays() {
        let given = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "annotations": {"a": "b"}},
            "spec": {"nodeName": "n",
                "containers": [{"name": "c", "image": "i", "command": ["x"], "env": [{"name": "A", "value": "b"}],
                    "ports": [{"containerPort": 80, "name": "http"}], "resources": {"requests": {"cpu": "1"}},
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
                "volumes": [{"name": "token", "secret": {"secretName": "s"}},
                    {"name": "data", "persistentVolumeClaim": {"claimName": "data-0"}}]},
            "status": {"phase": "Running", "containerStatuses": [{"name": "c", "image": "i", "imageID": "x",
                "ready": true, "restartCount": 2, "state": {"terminated": {"exitCode": 42}}}]}});
        let mut object: Pod = serde_json::from_value(given).unwrap();
        slim(&mut object);
        let kept = serde_json::to_value(&object).unwrap();
        assert_eq!(
            kept["spec"],
            json!({"nodeName": "n", "containers": [{"name": "c", "image": "i",
                "ports": [{"containerPort": 80, "name": "http"}], "resources": {"requests": {"cpu": "1"}}}],
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-0"}}]})
        );
        assert_eq!(kept["metadata"]["annotations"]["a"], "b");
        let status = &kept["status"]["containerStatuses"][0];
        assert_eq!(
            (
                &status["restartCount"],
                &status["state"]["terminated"]["exitCode"]
            ),
            (&json!(2), &json!(42))
        );
    }
}
