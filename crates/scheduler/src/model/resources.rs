//! Amounts of resources, and what a pod asks for (upstream `resourcehelper.PodRequests`).

use corten_meta::quantity::Quantity as Parsed;
use k8s_openapi::api::core::v1::{Container, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;

/// What a container without a CPU request counts as when nodes are scored, so that such pods spread too.
const DEFAULT_MILLI_CPU: i64 = 100;
/// The same for memory.
const DEFAULT_MEMORY: i64 = 200 * 1024 * 1024;

type List = BTreeMap<String, Quantity>;

/// CPU in thousandths of a core, memory and ephemeral storage in bytes, everything else by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Resources {
    pub milli_cpu: i64,
    pub memory: i64,
    pub ephemeral_storage: i64,
    pub pods: i64,
    pub scalar: BTreeMap<String, i64>,
}

impl Resources {
    /// Reads a resource list. An amount that does not parse counts as none: the API server admits none such.
    pub fn of(list: Option<&List>) -> Self {
        let mut resources = Self::default();
        for (name, quantity) in list.into_iter().flatten() {
            let Ok(parsed) = Parsed::parse(&quantity.0) else { continue };
            match name.as_str() {
                "cpu" => resources.milli_cpu = parsed.milli_value(),
                "memory" => resources.memory = parsed.value(),
                "ephemeral-storage" => resources.ephemeral_storage = parsed.value(),
                "pods" => resources.pods = parsed.value(),
                _ => {
                    resources.scalar.insert(name.clone(), parsed.value());
                }
            }
        }
        resources
    }

    pub fn add(&mut self, other: &Self) {
        self.combine(other, |a, b| a + b);
    }

    pub fn subtract(&mut self, other: &Self) {
        self.combine(other, |a, b| a - b);
    }

    /// The greater of each.
    pub fn raise(&mut self, other: &Self) {
        self.combine(other, i64::max);
    }

    fn combine(&mut self, other: &Self, f: impl Fn(i64, i64) -> i64) {
        self.milli_cpu = f(self.milli_cpu, other.milli_cpu);
        self.memory = f(self.memory, other.memory);
        self.ephemeral_storage = f(self.ephemeral_storage, other.ephemeral_storage);
        for (name, amount) in &other.scalar {
            let slot = self.scalar.entry(name.clone()).or_default();
            *slot = f(*slot, *amount);
        }
    }

    /// What the pod must find free: containers and sidecars together, or the greediest moment of initialization.
    pub fn of_pod(spec: &PodSpec) -> Self {
        Self::sum(spec, |container| Self::of(container.resources.as_ref().and_then(|r| r.requests.as_ref())))
    }

    /// The same with defaults for containers that ask for nothing: what scoring counts.
    pub fn non_zero_of_pod(spec: &PodSpec) -> Self {
        Self::sum(spec, |container| {
            let requests = container.resources.as_ref().and_then(|r| r.requests.as_ref());
            let mut resources = Self::of(requests);
            if requests.is_none_or(|r| !r.contains_key("cpu")) {
                resources.milli_cpu = DEFAULT_MILLI_CPU;
            }
            if requests.is_none_or(|r| !r.contains_key("memory")) {
                resources.memory = DEFAULT_MEMORY;
            }
            resources
        })
    }

    fn sum(spec: &PodSpec, of: impl Fn(&Container) -> Self) -> Self {
        let mut total = Self::default();
        for container in &spec.containers {
            total.add(&of(container));
        }
        let (mut sidecars, mut greediest) = (Self::default(), Self::default());
        for container in spec.init_containers.iter().flatten() {
            let mut now = of(container);
            if container.restart_policy.as_deref() == Some("Always") {
                total.add(&now);
                sidecars.add(&now);
                now.clone_from(&sidecars);
            } else {
                now.add(&sidecars);
            }
            greediest.raise(&now);
        }
        total.raise(&greediest);
        total.override_with(spec);
        total.add(&Self::of(spec.overhead.as_ref()));
        total
    }

    /// Requests at pod level replace the sum of the containers' (KEP-2837).
    fn override_with(&mut self, spec: &PodSpec) {
        let Some(requests) = spec.resources.as_ref().and_then(|r| r.requests.as_ref()) else { return };
        let pod = Self::of(Some(requests));
        if requests.contains_key("cpu") {
            self.milli_cpu = pod.milli_cpu;
        }
        if requests.contains_key("memory") {
            self.memory = pod.memory;
        }
        self.scalar.extend(pod.scalar);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: serde_json::Value) -> PodSpec {
        serde_json::from_value(json).expect("a pod spec")
    }

    #[test]
    fn the_greediest_init_container_counts_with_the_sidecars_before_it() {
        let spec = spec(serde_json::json!({
            "initContainers": [
                {"name": "side", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}},
                {"name": "init", "resources": {"requests": {"cpu": "1"}}}],
            "containers": [{"name": "a", "resources": {"requests": {"cpu": "300m", "memory": "1Gi"}}}],
            "overhead": {"cpu": "10m"}}));
        let requests = Resources::of_pod(&spec);
        assert_eq!(requests.milli_cpu, 1100 + 10);
        assert_eq!(requests.memory, 1 << 30);
        assert_eq!(Resources::non_zero_of_pod(&spec).memory, (1 << 30) + DEFAULT_MEMORY);
    }
}
