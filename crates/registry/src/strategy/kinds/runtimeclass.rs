//! RuntimeClasses.

use serde_json::Value;

use super::super::pod::resources::overhead;
use super::super::pod::scheduling::tolerations;
use super::super::rules::{At, ErrorList, deprecated_node_label, label_map, required_label};
use super::references::same;
use super::{PLAIN, Rules};

pub(super) const RULES: Rules = Rules {
    body,
    change: |at, old, errors| same(&at.get("handler"), &old["handler"], errors),
    create_on_update: true,
    unconditional_update: false,
    warnings: |class, _| warnings(class),
    kube_finalizers: false,
    ..PLAIN
};

fn warnings(class: &Value) -> Vec<String> {
    let at = At::root(class);
    let scheduling = at.get("scheduling");
    let selector = scheduling.get("nodeSelector");
    let messages = selector
        .entries()
        .filter_map(|(key, _)| deprecated_node_label(key));
    messages
        .map(|message| format!("scheduling.nodeSelector: {message}"))
        .collect()
}

fn body(at: &At<'_, '_>, errors: &mut ErrorList) {
    required_label(&at.get("handler"), errors);
    let fixed = at.get("overhead");
    if fixed.is_set() {
        overhead(&fixed.with(fixed.get("podFixed").value), errors);
    }
    let scheduling = at.get("scheduling");
    label_map(&scheduling.get("nodeSelector"), errors);
    let list = scheduling.get("tolerations");
    tolerations(&list, errors);
    let mut seen = Vec::new();
    for toleration in list.items() {
        let key = ["key", "operator", "value", "effect"].map(|field| toleration.value[field].clone());
        match seen.contains(&key) {
            true => toleration.duplicate(errors),
            false => seen.push(key),
        }
    }
}
