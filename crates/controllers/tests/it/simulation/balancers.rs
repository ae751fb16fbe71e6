//! Services of type LoadBalancer in the simulation: some want the same ports, change what they are, and nodes are kept out.

use corten_client::fake::Fake;
use serde_json::{Value, json};

use super::world::World;

const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
const NAMES: [&str; 3] = ["lb1", "lb2", "lb3"];

/// Of the nodes n1, n2 and so on.
pub fn address(node: &str) -> String {
    format!("192.0.2.{}", node.trim_start_matches('n'))
}

pub fn make(fake: &Fake) {
    for (at, name) in NAMES.iter().enumerate() {
        // Each wants a port of the one before.
        let ports =
            [80 + at, 81 + at].map(|port| json!({"name": port.to_string(), "port": port, "protocol": "TCP"}));
        let made = format!("2026-01-01T10:00:0{at}Z");
        fake.put(
            "services",
            json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"namespace": "a", "name": name, "creationTimestamp": made},
            "spec": {"type": "LoadBalancer", "ipFamilies": ["IPv4"], "ports": ports}}),
        );
    }
}

pub fn change(world: &mut World) {
    let (which, how) = (world.random.below(4) as usize, world.random.below(2) == 0);
    match NAMES.get(which) {
        Some(name) => world.fake.edit("services", "a", name, |service| {
            service["spec"]["type"] = json!(if how { "LoadBalancer" } else { "ClusterIP" });
        }),
        None => world.fake.edit("nodes", "", "n2", |node| {
            let labels = node["metadata"]["labels"].as_object_mut().unwrap();
            labels.remove(EXCLUDED);
            if how {
                labels.insert(EXCLUDED.into(), json!(""));
            }
        }),
    }
}

/// What is not as it should be: the oldest that still want a balancer have one, unless the one before has their port.
pub fn missing(fake: &Fake) -> Vec<String> {
    let fit = |node: &&Value| node["metadata"]["labels"][EXCLUDED].is_null();
    let nodes = fake.list("nodes");
    let mut all: Vec<Value> = nodes
        .iter()
        .filter(fit)
        .map(|node| node["status"]["addresses"][0]["address"].clone())
        .collect();
    all.sort_by_key(Value::to_string);
    let (mut wrong, mut taken) = (Vec::new(), false);
    for name in NAMES {
        let service = fake.get("services", "a", name).unwrap_or_default();
        let wants = service["spec"]["type"] == "LoadBalancer";
        let ingress = service["status"]["loadBalancer"]["ingress"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let has: Vec<Value> = ingress.into_iter().map(|i| i["ip"].clone()).collect();
        let finalizers = service["metadata"]["finalizers"].as_array().map_or(0, Vec::len);
        let gets = wants && !taken;
        taken = gets;
        if has != if gets { all.clone() } else { Vec::new() } || finalizers != usize::from(wants) {
            wrong.push(format!(
                "{name}: {} {has:?} {finalizers} finalizers",
                service["spec"]["type"]
            ));
        }
    }
    wrong
}
