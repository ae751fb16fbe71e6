//! How much of a device's capacity one request may take.

use serde_json::Value;

use super::super::rules::{At, ErrorList, nanos, quantity_of, show};

const OPTIONS_MAX: usize = 10;

/// `shared` devices may be given to several.
pub(super) fn capacity(at: &At<'_, '_>, shared: bool, errors: &mut ErrorList) {
    let policy = at.get("requestPolicy");
    if !policy.is_set() {
        return;
    }
    if !shared {
        return policy.forbidden(errors, "allowMultipleAllocations must be true");
    }
    let (values, range, default) = (
        policy.get("validValues"),
        policy.get("validRange"),
        policy.get("default"),
    );
    let whole = &at.value["value"];
    match (values.is_empty(), range.is_set()) {
        (false, true) => {
            let detail = "exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the same time";
            policy.forbidden(errors, detail);
        }
        (false, false) if !default.is_set() => {
            default.required(errors, "required when validValues is defined")
        }
        (false, false) => options(&values, default.value, whole, errors),
        (true, true) if !default.is_set() => default.required(errors, "required when validRange is defined"),
        (true, true) => self::range(&range, default.value, whole, errors),
        (true, false) => {}
    }
}

fn options(list: &At<'_, '_>, default: &Value, whole: &Value, errors: &mut ErrorList) {
    for index in 1..list.len() {
        let (before, at) = (list.index(index - 1), list.index(index));
        if nanos(before.value) > nanos(at.value) {
            at.invalid_as(errors, show(at.value), "values must be sorted in ascending order");
        }
    }
    if list.len() > OPTIONS_MAX {
        list.too_many(errors, OPTIONS_MAX as i64);
        return;
    }
    let mut seen = Vec::new();
    for option in list.items() {
        if nanos(option.value) > nanos(whole) {
            let detail = format!("option is larger than capacity value: {}", show(whole));
            option.invalid_as(errors, show(option.value), &detail);
        }
    }
    for option in list.items() {
        let value = quantity_of(option.value).value();
        if seen.contains(&value) {
            option.duplicate_as(errors, value.to_string());
        }
        seen.push(value);
    }
    if !list.items().any(|option| nanos(option.value) == nanos(default)) {
        list.invalid_as(
            errors,
            show(default),
            "default value is not valid according to the requestPolicy",
        );
    }
}

fn range(at: &At<'_, '_>, default: &Value, whole: &Value, errors: &mut ErrorList) {
    let [min, max, step] = ["min", "max", "step"].map(|field| at.get(field));
    if !min.is_set() {
        return min.required(errors, "required when validRange is defined");
    }
    let mut wrong = |at: &At<'_, '_>, shown: &Value, what: &str, limit: &Value| {
        at.invalid_as(errors, show(shown), &format!("{what}: {}", show(limit)));
    };
    if nanos(min.value) > nanos(whole) {
        wrong(&min, min.value, "min is larger than capacity value", whole);
    }
    if nanos(default) < nanos(min.value) {
        wrong(&min, default, "default is less than min", min.value);
    }
    if max.is_set() {
        if nanos(min.value) > nanos(max.value) {
            wrong(&max, min.value, "min is larger than max", max.value);
        }
        if nanos(max.value) > nanos(whole) {
            wrong(&max, max.value, "max is larger than capacity value", whole);
        }
        if nanos(default) > nanos(max.value) {
            wrong(&max, default, "default is more than max", max.value);
        }
    }
    if step.is_set() {
        steps(&step, [min.value, max.value, default, whole], errors);
    }
}

fn steps(step: &At<'_, '_>, [min, max, default, whole]: [&Value; 4], errors: &mut ErrorList) {
    if nanos(min).saturating_add(nanos(step.value)) > nanos(whole) {
        let detail = format!(
            "one step {} is larger than capacity value: {}",
            show(step.value),
            show(whole)
        );
        step.invalid_as(errors, show(step.value), &detail);
    }
    let values = [default, max];
    for value in values.into_iter().filter(|value| !value.is_null()) {
        let width = i128::from(quantity_of(step.value).value());
        let distance = i128::from(quantity_of(value).value()) - i128::from(quantity_of(min).value());
        if width == 0 || distance % width != 0 {
            let detail = format!(
                "value is not a multiple of a given step ({}) from ({})",
                show(step.value),
                show(min)
            );
            step.invalid_as(errors, show(value), &detail);
        }
    }
}
