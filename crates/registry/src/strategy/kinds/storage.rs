//! Storage classes and what drivers say of themselves.

use std::collections::{BTreeMap, BTreeSet};

use corten_meta::{names, object};
use serde_json::Value;

use super::super::pod::storage::driver_name;
use super::super::rules::{
    At, ErrorList, deprecated_node_label, dns_subdomain, label_name, label_selector, nanos,
    node_selector_warnings, qualified, show,
};
use super::references::{same, same_at};
use super::{PLAIN, Rules};

const STRICT: Rules = Rules {
    unconditional_update: false,
    ..PLAIN
};

pub(super) const CLASS: Rules = Rules {
    body: class,
    change: class_change,
    warnings: |class, _| class_warnings(class),
    ..PLAIN
};
pub(super) const DRIVER: Rules = Rules {
    prepare_update: |_, driver, old| count_changes(driver, old),
    body: driver,
    change: driver_change,
    warnings: driver_warnings,
    metadata_whole: false,
    ..STRICT
};
pub(super) const NODE: Rules = Rules {
    body: node,
    change: node_change,
    ..STRICT
};
pub(super) const CAPACITY: Rules = Rules {
    body: capacity,
    change: capacity_change,
    warnings: |capacity, _| node_selector_warnings(&At::root(capacity).get("nodeTopology")),
    ..STRICT
};
pub(super) const ATTACHMENT: Rules = Rules {
    create: |at, errors| {
        attachment(at, errors);
        new_attachment(&at.get("spec"), errors);
    },
    change: attachment_change,
    status: attachment_change,
    metadata_twice: false,
    ..STRICT
};
pub(super) const ATTRIBUTES: Rules = Rules {
    body: attributes,
    change: |at, old, errors| unchanged(at, old, &["driverName", "parameters"], errors),
    ..PLAIN
};

const PARAMETERS_MAX: usize = 512;
/// A term of a storage class is told this many times at most that another one says the same.
const DUPLICATE_TERMS_MAX: usize = 1000;
const TOKENS_IN_SECRETS: &str = "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to \
                                 prevent possible logging of tokens in volume attributes";
const PARAMETER_BYTES_MAX: usize = 256 << 10;
const ERROR_BYTES_MAX: usize = 1024;
const NODE_ID_BYTES_MAX: usize = 256;

fn provisioner(at: &At<'_, '_>, errors: &mut ErrorList) {
    if at.is_empty() {
        return at.required(errors, "");
    }
    let lower = at.str().to_lowercase();
    for message in names::is_qualified_name(&lower) {
        at.invalid_as(errors, lower.clone(), &message);
    }
}

fn bytes(at: &At<'_, '_>) -> usize {
    at.entries()
        .map(|(key, value)| key.len() + value.as_str().map_or(0, str::len))
        .sum()
}

fn parameters(at: &At<'_, '_>, needed: bool, errors: &mut ErrorList) {
    if at.len() > PARAMETERS_MAX {
        return at.too_long(errors, PARAMETERS_MAX as i64);
    }
    if at.entries().any(|(key, _)| key.is_empty()) {
        at.invalid_as(errors, "", "field can not be empty.");
    }
    if bytes(at) > PARAMETER_BYTES_MAX {
        at.too_long(errors, PARAMETER_BYTES_MAX as i64);
    }
    if needed && at.is_empty() {
        at.required(errors, "must contain at least one key/value pair");
    }
}

fn class(at: &At<'_, '_>, errors: &mut ErrorList) {
    provisioner(&at.get("provisioner"), errors);
    parameters(&at.get("parameters"), false, errors);
    let policy = at.get("reclaimPolicy");
    if !policy.is_empty() {
        policy.one_of_if_set(errors, &["Delete", "Retain"]);
    }
    let mode = at.get("volumeBindingMode");
    match mode.is_set() {
        false => mode.required(errors, ""),
        true => mode.one_of_if_set(errors, &["Immediate", "WaitForFirstConsumer"]),
    }
    topologies(&at.get("allowedTopologies"), errors);
}

fn topologies(list: &At<'_, '_>, errors: &mut ErrorList) {
    let mut seen: Vec<BTreeMap<&str, BTreeSet<&str>>> = Vec::new();
    for term in list.items() {
        let expressions = term.get("matchLabelExpressions");
        let mut wanted = BTreeMap::new();
        let mut keys: Vec<&str> = Vec::new();
        for expression in expressions.items() {
            let (key, values) = (expression.get("key"), expression.get("values"));
            values.nonempty(errors);
            let mut known: Vec<&str> = Vec::new();
            for value in values.items() {
                if known.contains(&value.str()) {
                    value.duplicate(errors);
                }
                known.push(value.str());
            }
            label_name(&key.with(key.value), errors);
            if keys.contains(&key.str()) {
                key.duplicate(errors);
            }
            keys.push(key.str());
            wanted.insert(key.str(), known.into_iter().collect());
        }
        // Upstream's list of the terms before this one begins with an empty term for each there is.
        let blank = if wanted.is_empty() { list.len() } else { 0 };
        let equal = seen.iter().filter(|before| **before == wanted).count();
        for _ in 0..(blank + equal).min(DUPLICATE_TERMS_MAX) {
            expressions.duplicate_as(errors, "");
        }
        seen.push(wanted);
    }
}

fn class_warnings(class: &Value) -> Vec<String> {
    let at = At::root(class);
    let topologies = at.get("allowedTopologies");
    let mut warnings = Vec::new();
    for term in topologies.items() {
        for expression in term.get("matchLabelExpressions").items() {
            let key = expression.get("key");
            warnings.extend(deprecated_node_label(key.str()).map(|text| format!("{}: {text}", key.path())));
        }
    }
    warnings
}

fn class_change(at: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    unchanged(at, old, &["parameters", "provisioner", "reclaimPolicy"], errors);
    same(&at.get("volumeBindingMode"), &old["volumeBindingMode"], errors);
}

fn unchanged(at: &At<'_, '_>, old: &Value, fields: &[&str], errors: &mut ErrorList) {
    for field in fields {
        if *at.get(field).value != old[field] {
            at.get(field)
                .forbidden(errors, &format!("updates to {field} are forbidden."));
        }
    }
}

/// A driver has no generation until its spec changes.
fn count_changes(driver: &mut Value, old: &Value) {
    if driver["spec"] != old["spec"] {
        object::set_generation(driver, object::generation(old) + 1);
    }
}

fn driver(at: &At<'_, '_>, errors: &mut ErrorList) {
    let spec = at.get("spec");
    for (field, shown) in [
        ("attachRequired", "attachedRequired"),
        ("podInfoOnMount", "podInfoOnMount"),
        ("storageCapacity", "storageCapacity"),
        ("seLinuxMount", "seLinuxMount"),
    ] {
        if !spec.get(field).is_set() {
            spec.get(shown).required(errors, "");
        }
    }
    spec.get("fsGroupPolicy")
        .one_of_if_set(errors, &["File", "None", "ReadWriteOnceWithFSType"]);
    token_requests(&spec.get("tokenRequests"), errors);
    let modes = spec.get("volumeLifecycleModes");
    for mode in modes
        .items()
        .filter(|mode| !matches!(mode.str(), "Persistent" | "Ephemeral"))
    {
        modes
            .with(mode.value)
            .not_supported(errors, &["Persistent", "Ephemeral"]);
    }
    let period = spec.get("nodeAllocatableUpdatePeriodSeconds");
    if period.int().is_some_and(|seconds| seconds < 10) {
        period.invalid(errors, "must be greater than or equal to 10 seconds");
    }
    let in_secrets = spec.get("serviceAccountTokenInSecrets");
    if in_secrets.is_set() && spec.get("tokenRequests").is_empty() {
        let detail = "serviceAccountTokenInSecrets is set but no tokenRequests are specified";
        in_secrets.invalid(errors, detail);
    }
}

/// Tokens are handed to the driver in a place that is often logged; said when the requests for them change.
fn driver_warnings(driver: &Value, old: Option<&Value>) -> Vec<String> {
    let spec = &driver["spec"];
    let asks = spec["tokenRequests"]
        .as_array()
        .is_some_and(|list| !list.is_empty());
    let unchanged = old.is_some_and(|old| old["spec"]["tokenRequests"] == spec["tokenRequests"]);
    if !asks || unchanged || !spec["serviceAccountTokenInSecrets"].is_null() {
        return Vec::new();
    }
    vec![TOKENS_IN_SECRETS.to_owned()]
}

fn token_requests(list: &At<'_, '_>, errors: &mut ErrorList) {
    let mut audiences: Vec<&str> = Vec::new();
    for request in list.items() {
        let audience = request.get("audience");
        if audiences.contains(&audience.str()) {
            audience.duplicate_as(errors, audience.str());
            continue;
        }
        audiences.push(audience.str());
        let expiration = request.get("expirationSeconds");
        match expiration.int() {
            Some(..600) => expiration.invalid(errors, "may not specify a duration less than 10 minutes"),
            Some(seconds) if seconds > 1 << 32 => {
                expiration.invalid(errors, "may not specify a duration larger than 2^32 seconds");
            }
            _ => {}
        }
    }
}

fn driver_change(at: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    let spec = at.get("spec");
    let before = &old["spec"];
    same_at(
        "spec.attachedRequired",
        &spec.get("attachRequired"),
        &before["attachRequired"],
        errors,
    );
    same(
        &spec.get("volumeLifecycleModes"),
        &before["volumeLifecycleModes"],
        errors,
    );
}

fn node(at: &At<'_, '_>, errors: &mut ErrorList) {
    let mut known: Vec<&str> = Vec::new();
    let spec = at.get("spec");
    for driver in spec.get("drivers").items() {
        let (name, id) = (driver.get("name"), driver.get("nodeID"));
        driver_name(&name, errors);
        id.nonempty(errors);
        if id.len() > NODE_ID_BYTES_MAX {
            id.invalid(errors, &format!("must be {NODE_ID_BYTES_MAX} characters or less"));
        }
        driver.get("allocatable").get("count").nonnegative(errors);
        if known.contains(&name.str()) {
            name.duplicate(errors);
        }
        known.push(name.str());
        let mut keys: Vec<&str> = Vec::new();
        for key in driver.get("topologyKeys").items() {
            let place = driver.with(key.value);
            place.nonempty(errors);
            if keys.contains(&key.str()) {
                place.duplicate(errors);
            }
            keys.push(key.str());
            qualified(&place, errors);
        }
    }
}

/// A driver that stays is what it was, but for how many volumes it can attach.
fn node_change(at: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    let spec = at.get("spec");
    let drivers = spec.get("drivers");
    let fixed = |driver: &Value| {
        let mut driver = driver.clone();
        driver.as_object_mut().map(|fields| fields.remove("allocatable"));
        driver
    };
    for before in old["spec"]["drivers"].as_array().into_iter().flatten() {
        for driver in drivers
            .items()
            .filter(|driver| driver.value["name"] == before["name"])
        {
            let (new, before) = (fixed(driver.value), fixed(before));
            same(&drivers.with(&new), &before, errors);
        }
    }
}

fn capacity(at: &At<'_, '_>, errors: &mut ErrorList) {
    label_selector(&at.get("nodeTopology"), errors);
    dns_subdomain(&at.get("storageClassName"), errors);
    let amount = at.get("capacity");
    if nanos(amount.value) < 0 {
        amount.invalid_as(errors, show(amount.value), "must be greater than or equal to 0");
    }
}

fn capacity_change(at: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    for field in ["nodeTopology", "storageClassName"] {
        same(&at.get(field), &old[field], errors);
    }
}

fn attachment(at: &At<'_, '_>, errors: &mut ErrorList) {
    let spec = at.get("spec");
    spec.get("attacher").nonempty(errors);
    let source = spec.get("source");
    let (inline, name) = (source.get("inlineVolumeSpec"), source.get("persistentVolumeName"));
    let one = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    match (inline.is_set(), name.is_set()) {
        (false, false) => source.required(errors, one),
        (true, true) => source.forbidden(errors, one),
        (false, true) if name.is_empty() => {
            name.required(errors, "must specify non empty persistentVolumeName")
        }
        (true, false) if !inline.get("csi").is_set() => {
            inline
                .get("csi")
                .required(errors, "has to be specified in the context of inline volumes");
        }
        _ => {}
    }
    dns_subdomain(&spec.get("nodeName"), errors);
    let status = at.get("status");
    let metadata = status.get("attachmentMetadata");
    if bytes(&metadata) > PARAMETER_BYTES_MAX {
        metadata.too_long(errors, PARAMETER_BYTES_MAX as i64);
    }
    for error in [status.get("attachError"), status.get("detachError")] {
        if error.get("message").len() > ERROR_BYTES_MAX {
            error.get("message").too_long(errors, PARAMETER_BYTES_MAX as i64);
        }
        error.get("errorCode").within(errors, 0, i64::from(i32::MAX));
    }
}

/// What the first version added, which asks for an attacher once more.
fn new_attachment(spec: &At<'_, '_>, errors: &mut ErrorList) {
    driver_name(&spec.get("attacher"), errors);
    let source = spec.get("source");
    let name = source.get("persistentVolumeName");
    if name.is_set() {
        dns_subdomain(&name, errors);
    }
}

fn attachment_change(at: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    attachment(at, errors);
    same(&at.get("spec"), &old["spec"], errors);
}

fn attributes(at: &At<'_, '_>, errors: &mut ErrorList) {
    provisioner(&at.get("driverName"), errors);
    parameters(&at.get("parameters"), true, errors);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_term_without_requirements_is_told_so_for_every_term() {
        let count = |terms: Value| {
            let mut errors = ErrorList::new();
            topologies(&At::top("allowedTopologies", &terms), &mut errors);
            errors.into_vec().len()
        };
        let zone = json!({"matchLabelExpressions": [{"key": "z", "values": ["a", "b"]}]});
        let turned = json!({"matchLabelExpressions": [{"key": "z", "values": ["b", "a"]}]});
        assert_eq!(count(json!([zone, turned])), 1);
        assert_eq!(count(json!([zone, {}])), 2);
        assert_eq!(count(json!([{}, {}])), 5);
    }

    #[test]
    fn a_driver_is_warned_of_tokens_when_it_begins_to_ask_for_them() {
        let asks = json!({"spec": {"tokenRequests": [{"audience": "a"}]}});
        let silent = json!({"spec": {}});
        let told =
            json!({"spec": {"tokenRequests": [{"audience": "a"}], "serviceAccountTokenInSecrets": false}});
        assert_eq!(driver_warnings(&asks, None).len(), 1);
        assert_eq!(driver_warnings(&asks, Some(&silent)).len(), 1);
        assert!(driver_warnings(&asks, Some(&asks)).is_empty());
        assert!(driver_warnings(&told, None).is_empty());
    }
}
