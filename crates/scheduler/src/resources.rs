//! Resource amounts of pods and nodes as numbers in columns.

use std::collections::BTreeMap;

use corten_client::pod::{Container, PodSpec};
use corten_meta::quantity::Quantity as Amount;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Column numbers of the resources every node has; extended ones follow as they are seen.
pub const CPU: usize = 0;
pub const MEMORY: usize = 1;
/// Extended resources one scheduler tells apart; pods that ask for more fit nowhere.
pub const MAX_RESOURCES: usize = 1024;
/// What scoring assumes of containers that request nothing.
pub const DEFAULT_CPU_MILLI: i64 = 100;
pub const DEFAULT_MEMORY: i64 = 200 << 20;

/// Resource names to column numbers.
#[derive(Debug)]
pub struct Names(Vec<String>);

impl Default for Names {
    fn default() -> Self {
        Self(vec!["cpu".into(), "memory".into(), "ephemeral-storage".into()])
    }
}

impl Names {
    /// The column of a resource, new if it has none.
    pub fn column(&mut self, name: &str) -> Option<usize> {
        if let Some(found) = self.0.iter().position(|n| n == name) {
            return Some(found);
        }
        if self.0.len() >= MAX_RESOURCES {
            tracing::error!(
                name,
                bound = MAX_RESOURCES,
                "too many extended resources; one is ignored"
            );
            return None;
        }
        self.0.push(name.to_owned());
        Some(self.0.len() - 1)
    }
    #[must_use]
    pub fn name(&self, column: usize) -> &str {
        self.0.get(column).map_or("", |n| n)
    }
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// Amounts by column: thousandths for cpu, whole units for all else.
pub type Amounts = Vec<(usize, i64)>;
type ResourceList = BTreeMap<String, Quantity>;

/// A quantity in the unit of its column.
#[must_use]
pub fn amount(name: &str, quantity: &Quantity) -> i64 {
    let parsed = Amount::parse(&quantity.0).unwrap_or_else(|_| Amount::zero());
    if name == "cpu" {
        parsed.milli_value()
    } else {
        parsed.value()
    }
}

fn add(total: &mut BTreeMap<String, i64>, list: Option<&ResourceList>) {
    for (name, quantity) in list.into_iter().flatten() {
        *total.entry(name.clone()).or_default() += amount(name, quantity);
    }
}

/// What a pod requests: containers and sidecars together, or the greediest moment of initialization, plus overhead.
#[must_use]
pub fn requests(spec: &PodSpec) -> BTreeMap<String, i64> {
    let requests = |c: &Container| c.resources.as_ref().and_then(|r| r.requests.clone());
    let mut total = BTreeMap::new();
    for container in &spec.containers {
        add(&mut total, requests(container).as_ref());
    }
    let (mut sidecars, mut peak) = (BTreeMap::new(), BTreeMap::<String, i64>::new());
    for container in spec.init_containers.iter().flatten() {
        let mut moment = sidecars.clone();
        add(&mut moment, requests(container).as_ref());
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut total, requests(container).as_ref());
            sidecars.clone_from(&moment);
        }
        for (name, value) in moment {
            let highest = peak.entry(name).or_default();
            *highest = value.max(*highest);
        }
    }
    for (name, value) in peak {
        let sum = total.entry(name).or_default();
        *sum = value.max(*sum);
    }
    for (name, quantity) in spec.resources.iter().flat_map(|r| r.requests.iter().flatten()) {
        if matches!(name.as_str(), "cpu" | "memory") || name.starts_with("hugepages-") {
            total.insert(name.clone(), amount(name, quantity));
        }
    }
    add(&mut total, spec.overhead.as_ref());
    total
}

/// cpu and memory as scoring sees them: containers without requests count with the defaults.
#[must_use]
pub fn scored_requests(spec: &PodSpec, requests: &BTreeMap<String, i64>) -> (i64, i64) {
    let lacks = |name: &str| {
        let lists = spec
            .containers
            .iter()
            .map(|c| c.resources.as_ref().and_then(|r| r.requests.as_ref()));
        i64::try_from(lists.filter(|l| l.is_none_or(|l| !l.contains_key(name))).count()).unwrap_or(0)
    };
    let get = |name: &str| requests.get(name).copied().unwrap_or(0);
    (
        get("cpu") + lacks("cpu") * DEFAULT_CPU_MILLI,
        get("memory") + lacks("memory") * DEFAULT_MEMORY,
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn the_greediest_moment_counts() {
        let container = |cpu: &str| json!({"name": "c", "resources": {"requests": {"cpu": cpu}}});
        let mut sidecar = container("200m");
        sidecar["restartPolicy"] = json!("Always");
        let spec: PodSpec = serde_json::from_value(json!({
            "containers": [container("1")],
            "initContainers": [sidecar, container("1500m")],
            "overhead": {"cpu": "10m"}
        }))
        .unwrap();
        assert_eq!(requests(&spec)["cpu"], 1710);
    }
}
