//! What the containers of a pod ask for together, by the name of the resource.

use std::collections::BTreeMap;

use corten_meta::Quantity;
use serde_json::Value;

/// Quantities by name.
pub(super) type Amounts = BTreeMap<String, Quantity>;

/// The quantities of a map; what cannot be read counts as zero.
pub(super) fn amounts(list: &Value) -> Amounts {
    let entries = list.as_object().into_iter().flatten();
    entries
        .map(|(name, value)| {
            let text = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            (
                name.clone(),
                Quantity::parse(&text).unwrap_or_else(|_| Quantity::zero()),
            )
        })
        .collect()
}

pub(super) fn add(total: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let sum = total
            .get(name)
            .map_or_else(|| amount.clone(), |known| known.add(amount));
        total.insert(name.clone(), sum);
    }
}

fn raise(total: &mut Amounts, other: Amounts) {
    for (name, amount) in other {
        if total.get(&name).is_none_or(|known| amount > *known) {
            total.insert(name, amount);
        }
    }
}

/// `kind` (`requests` or `limits`) of a pod: containers and sidecars together or the greediest moment of
/// initialization; what is stated for the whole pod counts instead.
pub(super) fn of_pod(spec: &Value, kind: &str) -> Amounts {
    let of = |container: &Value| amounts(&container["resources"][kind]);
    let list = |name: &str| spec[name].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut total = Amounts::new();
    list("containers")
        .iter()
        .for_each(|container| add(&mut total, &of(container)));
    let (mut sidecars, mut peak) = (Amounts::new(), Amounts::new());
    for container in list("initContainers") {
        let mut moment = sidecars.clone();
        add(&mut moment, &of(container));
        if container["restartPolicy"] == "Always" {
            add(&mut total, &of(container));
            sidecars.clone_from(&moment);
        }
        raise(&mut peak, moment);
    }
    raise(&mut total, peak);
    total.extend(amounts(&spec["resources"][kind]));
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sidecars_run_beside_and_initialization_before() {
        let container = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
        let mut sidecar = container("100m");
        sidecar["restartPolicy"] = json!("Always");
        let mut spec = json!({"containers": [container("200m"), container("300m")], "initContainers": [sidecar, container("1")]});
        assert_eq!(of_pod(&spec, "requests")["cpu"].to_string(), "1100m");
        spec["resources"] = json!({"requests": {"cpu": "2"}});
        assert_eq!(of_pod(&spec, "requests")["cpu"].to_string(), "2");
    }
}
