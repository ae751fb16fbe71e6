//! PriorityClasses.

use corten_meta::object;
use serde_json::Value;

use super::super::rules::{At, ErrorList};
use super::references::same;
use super::{PLAIN, Rules};

pub(super) const RULES: Rules = Rules {
    // The generation stays 1.
    prepare_update: |_, class, old| object::set_generation(class, object::generation(old)),
    create,
    change,
    metadata_whole: false,
    ..PLAIN
};

const USER_VALUE_MAX: i64 = 1_000_000_000;
const SYSTEM: [(&str, i64); 2] = [
    ("system-node-critical", 2_000_001_000),
    ("system-cluster-critical", 2_000_000_000),
];

fn create(at: &At<'_, '_>, errors: &mut ErrorList) {
    let metadata = at.get("metadata");
    let name = metadata.get("name");
    let value = at.get("value").int().unwrap_or(0);
    if name.str().starts_with("system-") {
        if let Some(problem) = system_problem(name.str(), value, at.get("globalDefault").bool()) {
            let detail = format!(
                "priority class names with 'system-' prefix are reserved for system use only. error: {problem}"
            );
            name.forbidden(errors, &detail);
        }
    } else if value > USER_VALUE_MAX {
        let detail = format!("maximum allowed value of a user defined priority is {USER_VALUE_MAX}");
        at.get("value").forbidden(errors, &detail);
    }
    let policy = at.get("preemptionPolicy");
    if policy.is_set() {
        policy.one_of(errors, &["PreemptLowerPriority", "Never"]);
    }
}

fn system_problem(name: &str, value: i64, global_default: bool) -> Option<String> {
    match SYSTEM.iter().find(|(known, _)| *known == name) {
        None => Some(format!("{name} is not a known system priority class")),
        Some((_, wanted)) if *wanted != value => {
            Some(format!("value of {name} PriorityClass must be {wanted}"))
        }
        Some(_) => global_default.then(|| format!("globalDefault of {name} PriorityClass must be false")),
    }
}

fn change(at: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    if at.get("value").int().unwrap_or(0) != old["value"].as_i64().unwrap_or(0) {
        at.get("value")
            .forbidden(errors, "may not be changed in an update.");
    }
    same(&at.get("preemptionPolicy"), &old["preemptionPolicy"], errors);
}
