//! Amounts of resources by name, and what a pod takes of each (`component-helpers/resource`).

use std::collections::BTreeMap;

use corten_meta::quantity::Quantity;
use serde_json::Value;

pub(super) type Totals = BTreeMap<String, Quantity>;

/// A resource list of an object; what cannot be read counts nothing.
pub(super) fn list(value: &Value) -> Totals {
    let amount = |v: &Value| match v {
        Value::String(text) => Quantity::parse(text).ok(),
        Value::Number(number) => Quantity::parse(&number.to_string()).ok(),
        _ => None,
    };
    let members = value.as_object().into_iter().flatten();
    members
        .filter_map(|(name, v)| Some((name.clone(), amount(v)?)))
        .collect()
}

/// A whole number of something.
pub(super) fn number(count: usize) -> Quantity {
    Quantity::from_milli(i64::try_from(count).unwrap_or(i64::MAX).saturating_mul(1000))
}

pub(super) fn add(totals: &mut Totals, more: &Totals) {
    for (name, value) in more {
        let sum = totals.entry(name.clone()).or_insert_with(Quantity::zero);
        *sum = sum.add(value);
    }
}

fn raise(highest: &mut Totals, moment: Totals) {
    for (name, value) in moment {
        match highest.get_mut(&name) {
            Some(current) if current.nanos() >= value.nanos() => {}
            Some(current) => *current = value,
            None => {
                highest.insert(name, value);
            }
        }
    }
}

/// What a pod `requests`, or its `limits`: containers and sidecars together, or the greediest moment of initialization;
/// what the pod states for itself replaces that.
pub(super) fn of_pod(spec: &Value, field: &str) -> Totals {
    let lists = |containers: &str| -> Vec<(bool, Totals)> {
        let items = spec[containers].as_array().into_iter().flatten();
        items
            .map(|c| (c["restartPolicy"] == "Always", list(&c["resources"][field])))
            .collect()
    };
    let mut total = Totals::new();
    lists("containers")
        .iter()
        .for_each(|(_, own)| add(&mut total, own));
    let (mut sidecars, mut peak) = (Totals::new(), Totals::new());
    for (sidecar, own) in lists("initContainers") {
        let mut moment = sidecars.clone();
        add(&mut moment, &own);
        if sidecar {
            add(&mut total, &own);
            sidecars.clone_from(&moment);
        }
        raise(&mut peak, moment);
    }
    raise(&mut total, peak);
    let own = list(&spec["resources"][field]);
    total.extend(own.into_iter().filter(|(name, _)| is_for_pods(name)));
    total
}

/// Whether a pod may state it for all of its containers.
fn is_for_pods(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || name.starts_with("hugepages-")
}

/// The pod's overhead, which comes on top: only limits that exist grow.
pub(super) fn add_overhead(totals: &mut Totals, spec: &Value, everywhere: bool) {
    let mut overhead = list(&spec["overhead"]);
    if !everywhere {
        overhead.retain(|name, _| totals.contains_key(name));
    }
    add(totals, &overhead);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_greediest_moment_counts() {
        let pod = json!({"containers": [{"resources": {"requests": {"cpu": "100m"}}}, {"resources": {"requests": {"cpu": "200m"}}}],
            "initContainers": [{"resources": {"requests": {"cpu": "50m"}}, "restartPolicy": "Always"},
                {"resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}], "overhead": {"cpu": "1m"}});
        let mut total = of_pod(&pod, "requests");
        assert_eq!(
            (total["cpu"].to_string(), total["memory"].to_string()),
            ("1050m".to_owned(), "1Gi".to_owned())
        );
        add_overhead(&mut total, &pod, true);
        assert_eq!(total["cpu"].to_string(), "1051m");
        let stated = json!({"containers": [{"resources": {"limits": {"cpu": "1"}}}], "resources": {"limits": {"cpu": "3"}}});
        assert_eq!(of_pod(&stated, "limits")["cpu"].to_string(), "3");
    }
}
