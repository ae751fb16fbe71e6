//! Ranges of cluster IPs and the addresses taken from them (`pkg/apis/networking/validation`).

use corten_meta::names;
use serde_json::Value;

use super::kinds::{PLAIN, Rules};
use super::rules::{At, ErrorList, cidr, immutable, ip_strict, parse_ip_sloppy};

pub(super) const ADDRESS: Rules = Rules {
    name: address_name,
    body: address,
    change: |at, old, errors| {
        let (spec, before) = (at.get("spec"), &old["spec"]["parentRef"]);
        immutable(
            &spec.get("parentRef").path(),
            spec.get("parentRef").value,
            before,
            errors,
        );
    },
    ..PLAIN
};

pub(super) const RANGE: Rules = Rules {
    create: range,
    change: range_change,
    status_on_create: true,
    status_on_update: true,
    metadata_whole: false,
    ..PLAIN
};

/// An address is named by itself, in canonical form.
fn address_name(name: &str, _prefix: bool) -> Vec<String> {
    let value = Value::from(name);
    let mut errors = ErrorList::new();
    ip_strict(&At::top("name", &value), &mut errors);
    errors.iter().map(|error| error.detail.clone()).collect()
}

fn address(at: &At<'_, '_>, errors: &mut ErrorList) {
    let spec = at.get("spec");
    let parent = spec.get("parentRef");
    if !parent.is_set() {
        return parent.required(errors, "");
    }
    let group = parent.get("group");
    if !group.is_empty() {
        group.invalid_each(errors, names::is_dns1123_subdomain(group.str()));
    }
    for (field, required) in [("resource", true), ("name", true), ("namespace", false)] {
        let field = parent.get(field);
        match (field.is_empty(), required) {
            (true, true) => field.required(errors, ""),
            (true, false) => {}
            _ => field.invalid_each(errors, names::is_path_segment(field.str(), false)),
        }
    }
}

fn range(at: &At<'_, '_>, errors: &mut ErrorList) {
    let spec = at.get("spec");
    let list = spec.get("cidrs");
    match list.len() {
        0 => return list.required(errors, "at least one CIDR required"),
        1 | 2 => {}
        _ => {
            let shown = format!("{{\"CIDRs\":{}}}", list.value);
            return list.invalid_raw(errors, &shown, "may only hold up to 2 values");
        }
    }
    for range in list.items() {
        cidr(&range, true, errors);
    }
    let family = |index: usize| {
        let range = list.index(index);
        let address = range.str().split('/').next().and_then(parse_ip_sloppy)?;
        Some(address.is_ipv4())
    };
    if list.len() == 2 && family(0).is_some() && family(0) == family(1) {
        let detail =
            "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        list.invalid(errors, detail);
    }
}

/// A second family may be added, nothing else.
fn range_change(at: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    const IMMUTABLE: &str = "field is immutable";
    let spec = at.get("spec");
    let list = spec.get("cidrs");
    let before = old["spec"]["cidrs"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if list.len() != before.len() && (before.len(), list.len()) != (1, 2) {
        return list.invalid(errors, IMMUTABLE);
    }
    for (index, before) in before.iter().enumerate() {
        if list.index(index).value != before {
            list.index(index).invalid(errors, IMMUTABLE);
        }
    }
    if list.len() > before.len() {
        range(at, errors);
    }
}
