//! Slices of device pools, and rules that taint devices.

use corten_meta::names;
use serde_json::Value;

use super::super::StrategyContext;
use super::super::kinds::{PLAIN, Rules};
use super::super::pod::affinity::node_selector;
use super::super::pod::storage::driver_name;
use super::super::rules::{At, ErrorList, conditions, dns_label, go_struct, immutable};
use super::{
    binding_conditions, fits, name_of, pool_name, qualified_name, required_label, taint, text, unique,
};

const DEVICES_MAX: usize = 128;
/// With taints or counters.
const RICH_DEVICES_MAX: usize = 64;
const COUNTER_SETS_MAX: usize = 8;
const COUNTERS_MAX: usize = 32;
const CONSUMPTIONS_MAX: usize = 2;
const TAINTS_MAX: usize = 16;
const ATTRIBUTES_MAX: usize = 32;
const TEXT_MAX: usize = 64;
const RULE_CONDITIONS_MAX: usize = 8;
/// Behind gates that are off: devices' lists of values and mappings to resources of nodes.
const LIST_FIELDS: [&str; 4] = ["bools", "ints", "strings", "versions"];
const MAPPINGS: &str = "nodeAllocatableResourceMappings";

pub(in crate::strategy) const SLICE: Rules = Rules {
    prepare: |_, slice| drop_disabled(slice),
    prepare_update: |_: &StrategyContext<'_>, slice, _| drop_disabled(slice),
    create: |at, errors| slice(&at.get("spec"), None, errors),
    change: |at, old, errors| slice(&at.get("spec"), Some(&old["spec"]), errors),
    warnings: |slice, _| driver_warnings(slice),
    selectable: &["spec.nodeName", "spec.driver"],
    metadata_whole: false,
    ..PLAIN
};

pub(in crate::strategy) const TAINT_RULE: Rules = Rules {
    create: |at, errors| taint_rule(&at.get("spec"), None, errors),
    change: |at, old, errors| taint_rule(&at.get("spec"), Some(&old["spec"]["taint"]["effect"]), errors),
    status: |at, _, errors| {
        let status = at.get("status");
        let list = status.get("conditions");
        conditions(&list, errors);
        if list.len() > RULE_CONDITIONS_MAX {
            list.too_many(errors, RULE_CONDITIONS_MAX as i64);
        }
    },
    metadata_whole: false,
    ..PLAIN
};

fn drop_disabled(slice: &mut Value) {
    let devices = slice.pointer_mut("/spec/devices").and_then(Value::as_array_mut);
    for device in devices.into_iter().flatten().filter_map(Value::as_object_mut) {
        device.remove(MAPPINGS);
        let attributes = device.get_mut("attributes").and_then(Value::as_object_mut);
        for attribute in attributes.into_iter().flat_map(|map| map.values_mut()) {
            if let Some(attribute) = attribute.as_object_mut() {
                attribute.retain(|field, _| !LIST_FIELDS.contains(&field.as_str()));
            }
        }
    }
}

fn driver_warnings(slice: &Value) -> Vec<String> {
    let driver = text(&slice["spec"]["driver"]);
    if driver == driver.to_lowercase() {
        return Vec::new();
    }
    let quoted = corten_meta::quote(driver);
    vec![format!(
        "spec.driver: driver names should be lowercase; {quoted} contains uppercase characters"
    )]
}

fn slice(spec: &At<'_, '_>, old: Option<&Value>, errors: &mut ErrorList) {
    driver_name(&spec.get("driver"), errors);
    let pool = spec.get("pool");
    pool_name(&pool.get("name"), errors);
    pool.get("resourceSliceCount").positive(errors);
    let generation = pool.get("generation");
    if generation.int().is_some_and(|number| number < 0) {
        generation.invalid(errors, "must be greater than or equal to zero");
    }
    if let Some(old) = old {
        let name = pool.get("name");
        immutable(&name.path(), name.value, &old["pool"]["name"], errors);
        for field in ["driver", "nodeName"] {
            immutable(
                &spec.get(field).path(),
                spec.get(field).value,
                &old[field],
                errors,
            );
        }
    }
    where_it_is(spec, errors);
    let (devices, counters) = (spec.get("devices"), spec.get("sharedCounters"));
    if devices.is_set() && counters.is_set() {
        spec.invalid_as(errors, "", "only one of `sharedCounters` or `devices` is allowed");
    }
    let rich =
        |device: At<'_, '_>| !device.get("taints").is_empty() || !device.get("consumesCounters").is_empty();
    let max = if devices.items().any(rich) {
        RICH_DEVICES_MAX
    } else {
        DEVICES_MAX
    };
    if fits(&devices, max, errors) {
        let everywhere = spec.get("perDeviceNodeSelection").bool();
        for device in devices.items() {
            self::device(&device, old, everywhere, errors);
        }
        unique(&devices, name_of, errors);
    }
    if fits(&counters, COUNTER_SETS_MAX, errors) {
        for set in counters.items() {
            required_label(&set.get("name"), errors);
            self::counters(&set.get("counters"), errors);
        }
        unique(&counters, name_of, errors);
    }
}

fn node_name(at: &At<'_, '_>, errors: &mut ErrorList) {
    at.invalid_each(errors, names::name_is_dns_subdomain(at.str(), false));
}

/// Exactly one of the ways to say which nodes reach the devices.
fn where_it_is(spec: &At<'_, '_>, errors: &mut ErrorList) {
    let mut set = Vec::new();
    let name = spec.get("nodeName");
    if name.is_set() && name.is_empty() {
        name.invalid(errors, "must be either unset or set to a non-empty string");
    } else if name.is_set() {
        set.push("`nodeName`");
        node_name(&name, errors);
    }
    let selector = spec.get("nodeSelector");
    if selector.is_set() {
        set.push("`nodeSelector`");
        node_selector(&selector, true, errors);
        let terms = selector.get("nodeSelectorTerms");
        if terms.len() != 1 {
            terms.invalid(errors, "must have exactly one node selector term");
        }
    }
    for (field, shown) in [
        ("allNodes", "`allNodes`"),
        ("perDeviceNodeSelection", "`perDeviceNodeSelection`"),
    ] {
        flag(&spec.get(field), shown, &mut set, errors);
    }
    const ONE: &str =
        "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    match set.len() {
        0 => spec.required(errors, ONE),
        1 => {}
        _ => spec.invalid_as(
            errors,
            format!("{{{}}}", set.join(", ")),
            &format!("{ONE}, but multiple fields are set"),
        ),
    }
}

fn flag<'a>(at: &At<'_, '_>, shown: &'a str, set: &mut Vec<&'a str>, errors: &mut ErrorList) {
    if at.bool() {
        set.push(shown);
    } else if at.is_set() {
        at.invalid(errors, "must be either unset or set to true");
    }
}

/// Values by label, at least one.
fn counters(map: &At<'_, '_>, errors: &mut ErrorList) {
    if map.is_empty() {
        return map.required(errors, "");
    }
    if !fits(map, COUNTERS_MAX, errors) {
        return;
    }
    for (key, _) in map.entries() {
        for message in names::is_dns1123_label(key) {
            map.invalid_as(errors, key, &message);
        }
    }
}

fn device(at: &At<'_, '_>, old: Option<&Value>, per_device: bool, errors: &mut ErrorList) {
    dns_label(&at.get("name"), errors);
    let (attributes, capacity) = (at.get("attributes"), at.get("capacity"));
    let count = attributes.len() + capacity.len();
    if count > ATTRIBUTES_MAX {
        let detail =
            format!("the total number of attributes and capacities must not exceed {ATTRIBUTES_MAX}");
        at.invalid_as(errors, count, &detail);
    }
    for (key, _) in attributes.entries() {
        qualified_name(&attributes, key, errors);
        attribute(&attributes.key(key), errors);
    }
    let shared = at.get("allowMultipleAllocations").bool();
    for (key, _) in capacity.entries() {
        qualified_name(&capacity, key, errors);
        super::capacity::capacity(&capacity.key(key), shared, errors);
    }
    let (taints, before) = (
        at.get("taints"),
        old.map(|old| old_device(old, name_of(at.value))),
    );
    if before.is_none_or(|before| before["taints"] != *taints.value) && fits(&taints, TAINTS_MAX, errors) {
        taints
            .items()
            .for_each(|taint| super::taint(&taint, None, errors));
    }
    let consumed = at.get("consumesCounters");
    if fits(&consumed, CONSUMPTIONS_MAX, errors) {
        for consumption in consumed.items() {
            required_label(&consumption.get("counterSet"), errors);
            counters(&consumption.get("counters"), errors);
        }
        unique(&consumed, |consumption| text(&consumption["counterSet"]), errors);
    }
    device_nodes(at, per_device, errors);
    binding_conditions(at, errors);
}

fn old_device<'v>(spec: &'v Value, name: &str) -> &'v Value {
    let mut devices = spec["devices"].as_array().into_iter().flatten();
    devices
        .find(|device| name_of(device) == name)
        .unwrap_or(&Value::Null)
}

fn device_nodes(at: &At<'_, '_>, per_device: bool, errors: &mut ErrorList) {
    const ONE: &str = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when \
                       `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
    let [name, selector, all] = ["nodeName", "nodeSelector", "allNodes"].map(|field| at.get(field));
    if !per_device {
        if name.is_set() || selector.is_set() || all.is_set() {
            let detail = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is \
                          set to true in the ResourceSlice spec";
            at.invalid_as(errors, Value::Null, detail);
        }
        return;
    }
    let mut set = Vec::new();
    if name.is_set() && name.is_empty() {
        name.invalid(errors, "must not be empty");
    } else if name.is_set() {
        set.push("`nodeName`");
        node_name(&name, errors);
    }
    if selector.is_set() {
        set.push("`nodeSelector`");
        node_selector(&selector, true, errors);
    }
    flag(&all, "`allNodes`", &mut set, errors);
    match set.len() {
        0 => at.required(errors, ONE),
        1 => {}
        _ => at.invalid_as(errors, format!("{{{}}}", set.join(", ")), ONE),
    }
}

fn attribute(at: &At<'_, '_>, errors: &mut ErrorList) {
    const FIELDS: [(&str, &str); 8] = [
        ("IntValue", "int"),
        ("BoolValue", "bool"),
        ("StringValue", "string"),
        ("VersionValue", "version"),
        ("IntValues", "ints"),
        ("BoolValues", "bools"),
        ("StringValues", "strings"),
        ("VersionValues", "versions"),
    ];
    let (string, version) = (at.get("string"), at.get("version"));
    if version.is_set() && !is_semantic_version(version.str()) {
        version.invalid(errors, "must be a string compatible with semver.org spec 2.0.0");
    }
    for text in [&string, &version] {
        if text.len() > TEXT_MAX {
            text.too_long(errors, TEXT_MAX as i64);
        }
    }
    const DETAIL: &str = "exactly one value must be specified";
    match FIELDS.iter().filter(|(_, field)| at.get(field).is_set()).count() {
        0 => at.invalid_as(errors, "", DETAIL),
        1 => {}
        _ => at.invalid_raw(errors, &go_struct(at.value, &FIELDS), DETAIL),
    }
}

/// `1.2.3`, `1.2.3-rc.1+build`.
fn is_semantic_version(text: &str) -> bool {
    let (rest, build) = match text.split_once('+') {
        Some((rest, build)) => (rest, Some(build)),
        None => (text, None),
    };
    let (core, pre) = match rest.split_once('-') {
        Some((core, pre)) => (core, Some(pre)),
        None => (rest, None),
    };
    let word = |part: &str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
    let number = |part: &str| part == "0" || (!part.starts_with('0') && !part.is_empty());
    let digits = |part: &str| part.bytes().all(|c| c.is_ascii_digit());
    core.split('.').count() == 3
        && core.split('.').all(|part| digits(part) && number(part))
        && pre.is_none_or(|pre| {
            pre.split('.')
                .all(|part| word(part) && (!digits(part) || number(part)))
        })
        && build.is_none_or(|build| build.split('.').all(word))
}

fn taint_rule(spec: &At<'_, '_>, old_effect: Option<&Value>, errors: &mut ErrorList) {
    let selector = spec.get("deviceSelector");
    let [driver, pool, device] = ["driver", "pool", "device"].map(|field| selector.get(field));
    if driver.is_set() {
        driver_name(&driver, errors);
    }
    if pool.is_set() {
        pool_name(&pool, errors);
    }
    if device.is_set() {
        dns_label(&device, errors);
    }
    taint(&spec.get("taint"), old_effect, errors);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_semantic() {
        for good in ["0.1.2", "1.2.3-rc.1+build.01", "1.0.0--x"] {
            assert!(is_semantic_version(good), "{good}");
        }
        for bad in ["1.2", "01.2.3", "1.2.3-01", "1.2.3-", "v1.2.3"] {
            assert!(!is_semantic_version(bad), "{bad}");
        }
    }
}
