//! What a resize may change, with the texts of upstream's server.

use serde_json::json;

use super::*;

/// A burstable pod; `change` makes the resized one of it.
fn said(change: impl Fn(&mut Value), already: impl Fn(&mut Value)) -> Vec<String> {
    let mut pod = json!({
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {
            "restartPolicy": "Always",
            "dnsPolicy": "ClusterFirst",
            "terminationGracePeriodSeconds": 30,
            "containers": [{
                "name": "c", "image": "i", "imagePullPolicy": "Always", "terminationMessagePolicy": "File",
                "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
                "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"}],
            }],
        },
        "status": {"phase": "Running", "qosClass": "Burstable"},
    });
    already(&mut pod);
    let old = pod.clone();
    change(&mut pod);
    let errors = validate(&pod, &old);
    errors.iter().map(ToString::to_string).collect()
}

fn of_container(pod: &mut Value) -> &mut Value {
    &mut pod["spec"]["containers"][0]
}

#[test]
fn amounts_change_and_nothing_else_does() {
    let nothing = |_: &mut Value| {};
    let cpu = |pod: &mut Value| of_container(pod)["resources"]["requests"]["cpu"] = json!("2");
    assert!(said(cpu, nothing).is_empty());
    let words = |pod: &mut Value| of_container(pod)["resources"]["requests"]["memory"] = json!("1024Mi");
    assert!(said(words, nothing).is_empty());
    let refused = ["spec: Forbidden: only cpu and memory resources are mutable"];
    let policy =
        |pod: &mut Value| of_container(pod)["resizePolicy"][0]["restartPolicy"] = json!("RestartContainer");
    assert_eq!(said(policy, nothing), refused);
    let dropped = |pod: &mut Value| of_container(pod)["resizePolicy"] = Value::Null;
    assert_eq!(said(dropped, nothing), refused);
    let disk =
        |pod: &mut Value| of_container(pod)["resources"]["requests"]["ephemeral-storage"] = json!("1Gi");
    assert_eq!(said(disk, nothing), refused);
    let block = |pod: &mut Value| pod["spec"]["resources"] = json!({});
    assert_eq!(said(block, nothing), refused);
}

#[test]
fn init_containers_are_told_apart() {
    let init = |sidecar: bool| {
        move |pod: &mut Value| {
            let mut container = of_container(pod).clone();
            container["name"] = json!("first");
            if sidecar {
                container["restartPolicy"] = json!("Always");
            }
            pod["spec"]["initContainers"] = json!([container]);
        }
    };
    let disk = |pod: &mut Value| {
        pod["spec"]["initContainers"][0]["resources"]["requests"]["ephemeral-storage"] = json!("1Gi");
    };
    let cpu = |pod: &mut Value| pod["spec"]["initContainers"][0]["resources"]["requests"]["cpu"] = json!("2");
    assert_eq!(
        said(disk, init(true)),
        ["spec: Forbidden: only cpu and memory resources for sidecar containers are mutable"]
    );
    assert!(said(cpu, init(true)).is_empty());
    assert_eq!(
        said(cpu, init(false)),
        ["spec: Forbidden: resources for non-sidecar init containers are immutable"]
    );
}

#[test]
fn resources_of_the_pod_stay_and_change_in_amount_only() {
    let whole = |pod: &mut Value| {
        pod["spec"]["resources"] =
            json!({"requests": {"cpu": "2", "memory": "2Gi"}, "limits": {"memory": "4Gi"}});
    };
    let more = |pod: &mut Value| pod["spec"]["resources"]["requests"]["cpu"] = json!("3");
    assert!(said(more, whole).is_empty());
    let gone = |pod: &mut Value| pod["spec"]["resources"] = Value::Null;
    assert_eq!(
        said(gone, whole),
        ["spec.resources: Forbidden: pod-level resources cannot be removed"]
    );
    let less = |pod: &mut Value| {
        pod["spec"]["resources"]["requests"] = json!({"cpu": "2"});
        pod["spec"]["resources"]["limits"] = Value::Null;
    };
    assert_eq!(
        said(less, whole),
        [
            "spec.resources.requests: Forbidden: pod-level resource requests cannot be removed",
            "spec.resources.limits: Forbidden: pod-level resource limits cannot be removed",
        ]
    );
    let pages = |pod: &mut Value| {
        for list in LISTS {
            pod["spec"]["resources"][list]["hugepages-2Mi"] = json!("2Mi");
        }
    };
    assert_eq!(
        said(pages, whole),
        ["spec: Forbidden: only cpu and memory resources are mutable at pod-level"]
    );
}

#[test]
fn a_pod_without_containers_is_told_all_of_it() {
    let empty = |pod: &mut Value| {
        pod["spec"]["containers"] = Value::Null;
        pod["status"] = json!({});
    };
    assert_eq!(
        said(empty, |_| {}),
        [
            "spec.containers: Required value",
            "spec: Invalid value: \"\": Pod QOS Class may not change as a result of resizing",
            "spec.containers: Forbidden: containers may not be added or removed on resize",
        ]
    );
}

#[test]
fn a_pod_refused_as_a_whole_has_a_path_without_a_name() {
    let mirror = |pod: &mut Value| pod["metadata"]["annotations"] = json!({MIRROR: "x"});
    assert_eq!(
        said(|_| {}, mirror),
        ["[]: Forbidden: static pods cannot be resized"]
    );
    let windows = |pod: &mut Value| pod["spec"]["os"] = json!({"name": "windows"});
    assert_eq!(
        said(|_| {}, windows),
        ["[]: Forbidden: windows pods cannot be resized"]
    );
    let pod = json!({"metadata": {"annotations": {MIRROR: "x"}}});
    let ephemeral = super::super::update::validate_ephemeral(&pod, &pod);
    assert_eq!(
        ephemeral[0].to_string(),
        "[]: Forbidden: static pods do not support ephemeral containers"
    );
}

#[test]
fn a_kubelet_that_does_not_say_what_a_container_has_cannot_resize() {
    let runs = |resources: Value| {
        move |pod: &mut Value| {
            let status = json!({"name": "c", "state": {"running": {}}, "resources": resources});
            pod["status"]["containerStatuses"] = json!([status]);
        }
    };
    assert!(said(|_| {}, runs(json!({}))).is_empty());
    assert_eq!(
        said(|_| {}, runs(Value::Null)),
        ["spec: Forbidden: Pod running on node without support for resize"]
    );
}
