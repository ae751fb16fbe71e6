//! LimitRanges.

use std::collections::BTreeSet;

use corten_meta::{Quantity, names, object};
use serde_json::Value;

use super::super::pod::resources::{container_resource_name, is_huge_page, is_native, resource_name};
use super::super::rules::{At, ErrorList, quantity_of, show};
use super::{PLAIN, Rules};

pub(super) const RULES: Rules = Rules {
    prepare: |_, range| name(range),
    body,
    metadata_twice: false,
    ..PLAIN
};

/// A range without a name gets one that nothing else has.
fn name(range: &mut Value) {
    if object::name(range).is_empty() {
        object::set_name(range, &object::new_uid());
    }
}

fn body(at: &At<'_, '_>, errors: &mut ErrorList) {
    let spec = at.get("spec");
    let mut seen: Vec<&str> = Vec::new();
    for limit in spec.get("limits").items() {
        let kind = limit.get("type");
        type_name(&kind, errors);
        if seen.contains(&kind.str()) {
            kind.duplicate(errors);
        }
        seen.push(kind.str());
        lists(&limit, errors);
        for key in keys(&limit) {
            order(&limit, key, errors);
            ratio(&limit, key, errors);
        }
    }
}

fn type_name(at: &At<'_, '_>, errors: &mut ErrorList) {
    let messages = names::is_qualified_name(at.str());
    let standard = ["Pod", "Container", "PersistentVolumeClaim"].contains(&at.str());
    if messages.is_empty() && !at.str().contains('/') && !standard {
        at.invalid(errors, "must be a standard limit type or fully qualified");
    }
    for message in messages {
        at.invalid_as(errors, at.str(), &message);
    }
}

const LISTS: [&str; 5] = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];

/// Names of resources in the lists that count for the type.
fn keys<'v>(limit: &At<'_, 'v>) -> BTreeSet<&'v str> {
    let counted = |list: &&&str| limit.get("type").str() != "Pod" || !list.starts_with("default");
    let lists = LISTS.iter().filter(counted).map(|list| limit.get(list));
    lists
        .flat_map(|list| list.entries().map(|(key, _)| key).collect::<Vec<_>>())
        .collect()
}

fn lists(limit: &At<'_, '_>, errors: &mut ErrorList) {
    let kind = limit.get("type").str();
    let rule = if matches!(kind, "Pod" | "Container") {
        container_resource_name
    } else {
        resource_name
    };
    for name in LISTS {
        let list = limit.get(name);
        if kind == "Pod" && name.starts_with("default") {
            if !list.is_empty() {
                list.forbidden(errors, "may not be specified when `type` is 'Pod'");
            }
            continue;
        }
        for (key, _) in list.entries() {
            rule(&list.key(key), key, errors);
        }
    }
    let bounded = ["min", "max"]
        .iter()
        .any(|list| limit.get(list).key("storage").is_set());
    if kind == "PersistentVolumeClaim" && !bounded {
        let detail = "either minimum or maximum storage value is required, but neither was provided";
        limit.get("limits").required(errors, detail);
    }
}

/// min, default request, default, max: none above the next.
fn order(limit: &At<'_, '_>, key: &str, errors: &mut ErrorList) {
    let of = |list: &str| {
        let list = limit.get(list);
        let at = list.key(key);
        at.is_set().then(|| (quantity_of(at.value), show(at.value)))
    };
    let pods = limit.get("type").str() == "Pod";
    let (min, max) = (of("min"), of("max"));
    let (default, request) = if pods {
        (None, None)
    } else {
        (of("default"), of("defaultRequest"))
    };
    let mut check = |low: &Option<(Quantity, String)>,
                     high: &Option<(Quantity, String)>,
                     list: &str,
                     shown: usize,
                     words: (&str, &str)| {
        if let (Some((a, low)), Some((b, high))) = (low, high)
            && a > b
        {
            let detail = format!("{} value {low} is greater than {} value {high}", words.0, words.1);
            let value = if shown == 0 { low.clone() } else { high.clone() };
            limit.get(list).key(key).invalid_as(errors, value, &detail);
        }
    };
    check(&min, &max, "min", 0, ("min", "max"));
    check(&min, &request, "defaultRequest", 1, ("min", "default request"));
    check(&request, &max, "defaultRequest", 0, ("default request", "max"));
    check(
        &request,
        &default,
        "defaultRequest",
        0,
        ("default request", "default limit"),
    );
    check(&min, &default, "default", 0, ("min", "default"));
    check(&default, &max, "default", 1, ("default", "max"));
    let overcommit = is_native(key) && !is_huge_page(key);
    if let (false, Some((a, default)), Some((b, request))) = (overcommit, &default, &request)
        && a != b
    {
        let detail = format!("default value {default} must equal to defaultRequest value {request} in {key}");
        limit
            .get("defaultRequest")
            .key(key)
            .invalid_as(errors, request.clone(), &detail);
    }
}

fn ratio(limit: &At<'_, '_>, key: &str, errors: &mut ErrorList) {
    let list = limit.get("maxLimitRequestRatio");
    let at = list.key(key);
    if !at.is_set() {
        return;
    }
    let (ratio, shown) = (quantity_of(at.value), show(at.value));
    if ratio.nanos() < 1_000_000_000 {
        at.invalid_as(errors, shown.clone(), &format!("ratio {shown} is less than 1"));
    }
    let (min, max) = (limit.get("min"), limit.get("max"));
    let (min, max) = (min.key(key), max.key(key));
    if min.is_set() && max.is_set() {
        let most = quantity_of(max.value).as_f64() / quantity_of(min.value).as_f64();
        if ratio.as_f64() > most {
            let detail = format!("ratio {shown} is greater than max/min = {most:.6}");
            at.invalid_as(errors, shown, &detail);
        }
    }
}
