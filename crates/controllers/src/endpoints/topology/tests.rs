#![allow(clippy::unwrap_used)]
use serde_json::json;

use super::*;

fn node(name: &str, zone: &str, cpu: &str, status: &str) -> Node {
    serde_json::from_value(json!({"metadata": {"name": name, "labels": {ZONE: zone}},
        "status": {"allocatable": {"cpu": cpu}, "conditions": [{"type": "Ready", "status": status}]}}))
    .unwrap()
}

fn service() -> Service {
    serde_json::from_value(json!({"metadata": {"namespace": "a", "name": "s"}})).unwrap()
}

/// A slice of ready endpoints in these zones, hinted or not.
fn slice(zones: &[(&str, Option<&str>)]) -> EndpointSlice {
    let endpoint = |(zone, hint): &(&str, Option<&str>)| {
        let hints = hint.map(|h| json!({"forZones": [{"name": h}]}));
        json!({"addresses": ["10.0.0.1"], "conditions": {"ready": true}, "zone": zone, "hints": hints})
    };
    let endpoints: Vec<_> = zones.iter().map(endpoint).collect();
    serde_json::from_value(json!({"metadata": {"name": "x"}, "addressType": "IPv4", "endpoints": endpoints}))
        .unwrap()
}

fn hints(slice: &EndpointSlice) -> String {
    let hint = |e: &Endpoint| {
        let zones = e.hints.as_ref().and_then(|h| h.for_zones.as_ref());
        zones.map_or("-".to_owned(), |z| z[0].name.clone())
    };
    endpoints(slice).map(hint).collect::<Vec<_>>().join(" ")
}

fn topology(nodes: &[Node]) -> Topology {
    let mut topology = Topology::default();
    topology.set_nodes(nodes.iter());
    topology
}

fn zones(cpus: &[(&str, &str)]) -> Topology {
    let nodes: Vec<_> = cpus
        .iter()
        .map(|(zone, cpu)| node(zone, zone, cpu, "True"))
        .collect();
    topology(&nodes)
}

/// Assigns hints to one slice to be made.
fn assign(topology: &mut Topology, slice: &mut EndpointSlice) -> String {
    let mut create = vec![slice.clone()];
    let slices = Slices {
        create: &mut create,
        update: &mut Vec::new(),
        unchanged: &mut Vec::new(),
    };
    let note = topology.assign(&service(), AddressType::IPv4, slices);
    *slice = create.remove(0);
    note.map_or(String::new(), |n| format!("{} {}", n.reason, n.message))
}

const NO_NODES: &str = "TopologyAwareHintsDisabled Insufficient Node information: allocatable CPU or zone not specified on one or more nodes, addressType: IPv4";
const ENABLED: &str = "TopologyAwareHintsEnabled Topology Aware Hints has been enabled, addressType: IPv4";

#[test]
fn zones_of_one_size_keep_their_own() {
    let mut topology = zones(&[("a", "1"), ("b", "1000m")]);
    let mut made = slice(&[("a", None), ("b", None)]);
    assert_eq!(assign(&mut topology, &mut made), ENABLED);
    assert_eq!(hints(&made), "a b");
    assert_eq!(assign(&mut topology, &mut made), "", "it is no news");
    assert!(topology.overloaded().is_empty());
    // A zone comes: the Service is to be looked at again.
    topology.shares = zones(&[("a", "1"), ("b", "1"), ("c", "2")]).shares;
    assert_eq!(topology.overloaded(), [Key::new("a", "s")]);
    let gone = topology.disable(&service(), AddressType::IPv4).unwrap();
    assert_eq!(
        gone.message,
        "Topology Aware Hints has been disabled, addressType: IPv4"
    );
    assert!(topology.is_unused());
    assert_eq!(topology.disable(&service(), AddressType::IPv4), None);
}

#[test]
fn endpoints_go_to_zones_that_lack_them() {
    let mut topology = zones(&[("a", "4"), ("b", "4"), ("c", "4")]);
    let mut made = slice(&[
        ("a", None),
        ("a", None),
        ("a", None),
        ("a", None),
        ("b", None),
        ("b", None),
    ]);
    assert_eq!(assign(&mut topology, &mut made), ENABLED);
    assert_eq!(hints(&made), "c c a a b b");
    // Three times the processors, three times the endpoints.
    let mut topology = zones(&[("a", "3"), ("b", "1")]);
    let mut made = slice(&[("a", None), ("a", None), ("b", None), ("b", None)]);
    assert_eq!(assign(&mut topology, &mut made), ENABLED);
    assert_eq!(hints(&made), "a a a b");
}

#[test]
fn it_is_said_why_there_are_no_hints() {
    let mut one = zones(&[("a", "1")]);
    let mut made = slice(&[("a", None), ("a", Some("a"))]);
    assert_eq!(assign(&mut one, &mut made), NO_NODES);
    assert_eq!(hints(&made), "- -");
    let mut three = zones(&[("a", "1"), ("b", "1"), ("c", "1")]);
    let few = "TopologyAwareHintsDisabled Insufficient number of endpoints (2 endpoints, 3 zones), addressType: IPv4";
    assert_eq!(assign(&mut three, &mut made), few);
    let mut two = zones(&[("a", "10"), ("b", "1")]);
    let overloaded = "TopologyAwareHintsDisabled Unable to allocate minimum required endpoints to each zone without exceeding \
                      overload threshold (2 endpoints, 2 zones), addressType: IPv4";
    let mut pair = slice(&[("a", None), ("b", None)]);
    assert_eq!(assign(&mut two, &mut pair), overloaded);
    let mut two = zones(&[("a", "1"), ("b", "1")]);
    let mut nowhere = slice(&[("a", None), ("b", None), ("b", None), ("", None)]);
    let why =
        "TopologyAwareHintsDisabled One or more endpoints do not have a zone specified, addressType: IPv4";
    assert_eq!(assign(&mut two, &mut nowhere), why);
    assert_eq!(hints(&nowhere), "- - - -");
}

#[test]
fn nodes_count_that_are_ready_and_say_where_they_are() {
    let two = [node("1", "a", "2", "True"), node("2", "b", "2", "True")];
    let with = |more: Node| topology(&[two[0].clone(), two[1].clone(), more]).shares;
    assert_eq!(with(node("3", "a", "4", "False")).unwrap()["a"], 0.5);
    assert_eq!(with(node("3", "a", "4", "True")).unwrap()["a"], 0.75);
    assert_eq!(with(node("3", "", "4", "True")), None);
    assert_eq!(with(node("3", "a", "0", "True")), None);
    let mut control_plane = node("3", "", "4", "True");
    control_plane
        .metadata
        .labels
        .get_or_insert_default()
        .insert(EXCLUDED[0].into(), String::new());
    assert_eq!(with(control_plane).unwrap()["a"], 0.5);
}

#[test]
fn slices_whose_hints_still_do_stay() {
    let mut topology = zones(&[("a", "1"), ("b", "1")]);
    let good = slice(&[("a", Some("a")), ("b", Some("b"))]);
    let lacking = slice(&[("a", None), ("b", Some("b"))]);
    let (mut create, mut update, mut unchanged) = (vec![], vec![], vec![&good, &lacking]);
    let slices = Slices {
        create: &mut create,
        update: &mut update,
        unchanged: &mut unchanged,
    };
    topology.assign(&service(), AddressType::IPv4, slices);
    assert_eq!((unchanged.len(), update.len()), (1, 1));
    assert_eq!(hints(&update[0]), "a b");
}
