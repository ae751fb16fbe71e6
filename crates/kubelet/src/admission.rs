//! Whether a pod that was bound to this node may start here: pure. The scheduler decides with what it knows; what was
//! bound past it, or at the same moment, is refused here (upstream's `GeneralPredicates` of the kubelet).

use crate::pod::PodExt;
use crate::quantity::{self, Resources};
use crate::spec::resources::{add, pod_total};
use corten_client::placement::{collide, host_ports};
use k8s_openapi::api::core::v1::Pod;

/// Why a pod is refused: reason and message of its status.
pub type Refusal = (String, String);

/// Checks `pod` against what the node has left beside `others`.
///
/// # Errors
/// The refusal, in upstream's words.
pub fn check<'a>(
    pod: &Pod,
    others: impl IntoIterator<Item = &'a Pod>,
    allocatable: &Resources,
) -> Result<(), Refusal> {
    if let Some(os) = pod.spec().os.as_ref().filter(|os| os.name != "linux") {
        tracing::debug!(os = os.name, "pod for another operating system");
        let message = "Failed to admit pod as the OS field doesn't match node OS";
        return Err(("PodOSNotSupported".into(), rejected(message)));
    }
    let mut used = Resources::new();
    let mut pods: i64 = 0;
    let mut ports_are_free = true;
    for other in others {
        pods += 1;
        ports_are_free &= !share_a_port(pod, other);
        add(&mut used, &pod_total(other, false));
    }
    let capacity = allocatable.get("pods").map_or(i64::MAX, quantity::value);
    if pods + 1 > capacity {
        return Err(short("pods", 1, pods, capacity));
    }
    let wanted = pod_total(pod, false);
    for name in ["cpu", "memory", "ephemeral-storage"] {
        let of = if name == "cpu" {
            quantity::milli
        } else {
            quantity::value
        };
        let Some(capacity) = allocatable.get(name).map(of) else {
            continue;
        };
        let asked = wanted.get(name).map_or(0, of);
        let taken = used.get(name).map_or(0, of);
        if asked > 0 && taken.saturating_add(asked) > capacity {
            return Err(short(name, asked, taken, capacity));
        }
    }
    if !ports_are_free {
        let message =
            "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
        return Err(("NodePorts".into(), rejected(message)));
    }
    Ok(())
}

/// Whether both want the same port of the node.
fn share_a_port(a: &Pod, b: &Pod) -> bool {
    host_ports(a.spec()).any(|mine| host_ports(b.spec()).any(|theirs| collide(mine, theirs)))
}

fn rejected(message: &str) -> String {
    format!("Pod was rejected: {message}")
}

fn short(name: &str, requested: i64, used: i64, capacity: i64) -> Refusal {
    let message = format!(
        "Node didn't have enough resource: {name}, requested: {requested}, used: {used}, capacity: {capacity}"
    );
    (format!("OutOf{name}"), rejected(&message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(cpu: &str) -> Pod {
        let container = json!({"name": "c", "resources": {"requests": {"cpu": cpu}}});
        serde_json::from_value(json!({"metadata": {}, "spec": {"containers": [container]}})).unwrap()
    }

    #[test]
    fn a_port_of_the_node_is_one_pods() {
        let with = |ports: serde_json::Value| -> Pod {
            let container = json!({"name": "c", "ports": ports});
            serde_json::from_value(json!({"metadata": {}, "spec": {"containers": [container]}})).unwrap()
        };
        let here = with(json!([{"containerPort": 80, "hostPort": 80, "hostIP": "10.0.0.1"}]));
        for (ports, fits) in [
            (json!([{"containerPort": 1, "hostPort": 80}]), false),
            (
                json!([{"containerPort": 1, "hostPort": 80, "hostIP": "10.0.0.1"}]),
                false,
            ),
            (
                json!([{"containerPort": 1, "hostPort": 80, "hostIP": "10.0.0.2"}]),
                true,
            ),
            (
                json!([{"containerPort": 1, "hostPort": 80, "protocol": "UDP"}]),
                true,
            ),
            (json!([{"containerPort": 80}]), true),
        ] {
            let refused = check(&with(ports.clone()), [&here], &Resources::new()).err();
            assert_eq!(refused.is_none(), fits, "{ports}");
            assert!(refused.is_none_or(|(reason, _)| reason == "NodePorts"));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let allocatable: Resources = serde_json::from_value(json!({"cpu": "2", "pods": "2"})).unwrap();
        let other = pod("1500m");
        assert!(check(&pod("500m"), [&other], &allocatable).is_ok());
        let (reason, message) = check(&pod("600m"), [&other], &allocatable).unwrap_err();
        assert_eq!(reason, "OutOfcpu");
        let text = "Pod was rejected: Node didn't have enough resource: cpu, requested: 600, used: 1500, capacity: 2000";
        assert_eq!(message, text);
        let (reason, _) = check(&pod("1m"), [&other, &other], &allocatable).unwrap_err();
        assert_eq!(reason, "OutOfpods");
    }
}
