//! Which endpoints a node leaves to others because nearer ones are hinted for it. Upstream: pkg/proxy/topology.go.

use k8s_openapi::api::discovery::v1::Endpoint;

/// The node's place.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) node: &'a str,
    /// Empty without one.
    pub(super) zone: &'a str,
}

/// How near endpoints must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Anywhere,
    Zone,
    Node,
}

fn for_node(endpoint: &Endpoint, name: Option<&str>) -> bool {
    let hints = endpoint.hints.as_ref().and_then(|h| h.for_nodes.as_ref());
    hints
        .into_iter()
        .flatten()
        .any(|hint| name.is_none_or(|name| hint.name == name))
}

fn for_zone(endpoint: &Endpoint, name: Option<&str>) -> bool {
    let hints = endpoint.hints.as_ref().and_then(|h| h.for_zones.as_ref());
    hints
        .into_iter()
        .flatten()
        .any(|hint| name.is_none_or(|name| hint.name == name))
}

pub(super) fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true)
}

/// Hints count only if every ready endpoint has one, and one of them is for this place.
pub(super) fn reach<'a>(
    endpoints: impl IntoIterator<Item = &'a Endpoint> + Clone,
    place: Place<'_>,
) -> Reach {
    let ready = || endpoints.clone().into_iter().filter(|e| is_ready(e));
    if ready().all(|e| for_node(e, None)) && ready().any(|e| for_node(e, Some(place.node))) {
        Reach::Node
    } else if ready().all(|e| for_zone(e, None)) && ready().any(|e| for_zone(e, Some(place.zone))) {
        Reach::Zone
    } else {
        Reach::Anywhere
    }
}

impl Reach {
    pub(super) fn includes(self, endpoint: &Endpoint, place: Place<'_>) -> bool {
        match self {
            Self::Anywhere => true,
            Self::Zone => for_zone(endpoint, Some(place.zone)),
            Self::Node => for_node(endpoint, Some(place.node)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn endpoint(zone: &str, node: &str, ready: bool) -> Endpoint {
        let hint = |name: &str| (!name.is_empty()).then(|| json!([{"name": name}]));
        serde_json::from_value(json!({"addresses": [], "conditions": {"ready": ready},
            "hints": {"forZones": hint(zone), "forNodes": hint(node)}}))
        .unwrap()
    }

    #[test]
    fn the_nearest_hinted_endpoints_are_taken_unless_some_have_no_hint() {
        let here = Place {
            node: "n1",
            zone: "a",
        };
        let all = [endpoint("a", "", true), endpoint("b", "", true)];
        assert_eq!(reach(&all, here), Reach::Zone);
        assert!(Reach::Zone.includes(&all[0], here));
        assert!(!Reach::Zone.includes(&all[1], here));
        let elsewhere = Place { zone: "c", ..here };
        assert_eq!(reach(&all, elsewhere), Reach::Anywhere);
        let one_without = [endpoint("a", "", true), endpoint("", "", true)];
        assert_eq!(reach(&one_without, here), Reach::Anywhere);
        let unready_without = [endpoint("a", "", true), endpoint("", "", false)];
        assert_eq!(reach(&unready_without, here), Reach::Zone);
        let nodes = [endpoint("a", "n1", true), endpoint("a", "n2", true)];
        assert_eq!(reach(&nodes, here), Reach::Node);
        let other = Place { node: "n3", ..here };
        assert_eq!(reach(&nodes, other), Reach::Zone);
        assert_eq!(reach(&[], here), Reach::Anywhere);
    }
}
