//! Pod-level resources (KEP-2837): what a pod as a whole asks for, where only some of it was said.

use corten_meta::Quantity;
use serde_json::{Map, Value};

use super::{Members, set};

type Amounts = Map<String, Value>;

/// Fills pod-level hugepage limits and requests from the containers, then requests from limits.
pub(super) fn default(spec: &mut Members) {
    let Some(Value::Object(resources)) = spec.get("resources") else {
        return;
    };
    let mut limits = amounts(resources, "limits");
    let mut requests = amounts(resources, "requests");
    if limits.is_empty() && requests.is_empty() {
        return;
    }
    for (name, amount) in aggregate(spec, "limits") {
        if name.starts_with("hugepages-") && !requests.contains_key(&name) {
            limits.entry(name).or_insert(amount);
        }
    }
    if !limits.is_empty() {
        for (name, amount) in aggregate(spec, "requests") {
            if name == "cpu" || name == "memory" {
                requests.entry(name).or_insert(amount);
            }
        }
        for (name, amount) in limits.iter().filter(|(name, _)| is_pod_level(name)) {
            requests.entry(name.as_str()).or_insert_with(|| amount.clone());
        }
    }
    let Some(Value::Object(resources)) = spec.get_mut("resources") else {
        return;
    };
    for (name, map) in [("limits", limits), ("requests", requests)] {
        if !map.is_empty() {
            set(resources, name, map);
        }
    }
}

fn is_pod_level(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || name.starts_with("hugepages-")
}

fn amounts(resources: &Members, name: &str) -> Amounts {
    resources
        .get(name)
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default()
}

fn quantity(value: &Value) -> Quantity {
    value
        .as_str()
        .and_then(|text| Quantity::parse(text).ok())
        .unwrap_or_else(Quantity::zero)
}

fn add(into: &mut Amounts, from: &Amounts) {
    for (name, amount) in from {
        let sum = match into.get(name) {
            Some(before) => Value::from(quantity(before).add(&quantity(amount)).to_string()),
            None => amount.clone(),
        };
        into.insert(name.clone(), sum);
    }
}

fn raise(into: &mut Amounts, from: &Amounts) {
    for (name, amount) in from {
        if into
            .get(name)
            .is_none_or(|before| quantity(before) < quantity(amount))
        {
            into.insert(name.clone(), amount.clone());
        }
    }
}

/// What all containers together have: the sum of those that run together, or more where an init container needs it.
fn aggregate(spec: &Members, which: &str) -> Amounts {
    let containers = |list: &str| {
        spec.get(list)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let of = |container: &Value| {
        container["resources"][which]
            .as_object()
            .cloned()
            .unwrap_or_default()
    };
    let mut total = Amounts::new();
    for container in containers("containers") {
        add(&mut total, &of(&container));
    }
    let (mut sidecars, mut peak) = (Amounts::new(), Amounts::new());
    for container in containers("initContainers") {
        let mut needs = of(&container);
        if container["restartPolicy"] == "Always" {
            add(&mut total, &needs);
            add(&mut sidecars, &needs);
            needs = sidecars.clone();
        } else {
            add(&mut needs, &sidecars);
        }
        raise(&mut peak, &needs);
    }
    raise(&mut total, &peak);
    total
}
