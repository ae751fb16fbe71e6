//! The status of a claim: what was allocated, for whom, and how the devices are.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::super::pod::affinity::node_selector;
use super::super::pod::storage::driver_name;
use super::super::rules::{At, ErrorList, conditions, dns_label, immutable, parse_ip_sloppy};
use super::claims::Requests;
use super::{ITEMS_MAX, binding_conditions, configuration, fits, pool_name, raw, text, unique};

const RESERVED_MAX: usize = 256;
const CONDITIONS_MAX: usize = 8;
const INTERFACE_MAX: usize = 256;
const HARDWARE_MAX: usize = 128;
const ADDRESSES_MAX: usize = 16;

pub(super) fn claim(at: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    let (metadata, spec, status) = (at.get("metadata"), at.get("spec"), at.get("status"));
    let known = Requests::of(&spec.value["devices"]);
    reserved_for(
        &status,
        &old["status"],
        metadata.get("deletionTimestamp").is_set(),
        errors,
    );
    let list = status.get("devices");
    for device in list.items() {
        self::device(&device, &status, errors);
    }
    let mut seen = HashSet::new();
    for device in list.items() {
        if !seen.insert(identity(device.value)) {
            device.duplicate_as(errors, identity(device.value).join("/"));
        }
    }
    let (allocation, before) = (status.get("allocation"), &old["status"]["allocation"]);
    match (allocation.is_set(), before.is_null()) {
        (true, false) => immutable(&allocation.path(), allocation.value, before, errors),
        (true, true) => self::allocation(&allocation, &known, errors),
        _ => {}
    }
}

/// Driver, pool, device and share.
fn identity(device: &Value) -> [&str; 4] {
    ["driver", "pool", "device", "shareID"].map(|field| text(&device[field]))
}

fn reserved_for(status: &At<'_, '_>, old: &Value, deleted: bool, errors: &mut ErrorList) {
    let list = status.get("reservedFor");
    if fits(&list, RESERVED_MAX, errors) {
        for user in list.items() {
            for field in ["resource", "name", "uid"] {
                user.get(field).nonempty(errors);
            }
        }
        unique(&list, |user| text(&user["uid"]), errors);
    }
    if list.is_empty() {
        return;
    }
    let before = old["reservedFor"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if !status.get("allocation").is_set() {
        list.forbidden(errors, "may not be specified when `allocated` is not set");
    } else if deleted && list.items().any(|user| !before.contains(user.value)) {
        let detail =
            "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
        list.forbidden(errors, detail);
    }
}

fn allocation(at: &At<'_, '_>, known: &Requests<'_>, errors: &mut ErrorList) {
    let devices = at.get("devices");
    let results = devices.get("results");
    if fits(&results, ITEMS_MAX, errors) {
        for result in results.items() {
            known.reference(&result.get("request"), errors);
            place(&result, errors);
            binding_conditions(&result, errors);
        }
    }
    let configs = devices.get("config");
    if fits(&configs, 2 * ITEMS_MAX, errors) {
        for config in configs.items() {
            config.get("source").one_of(errors, &["FromClaim", "FromClass"]);
            known.references(&config.get("requests"), errors);
            configuration(&config, errors);
        }
    }
    if at.get("nodeSelector").is_set() {
        node_selector(&at.get("nodeSelector"), true, errors);
    }
}

/// Which device.
fn place(at: &At<'_, '_>, errors: &mut ErrorList) {
    driver_name(&at.get("driver"), errors);
    pool_name(&at.get("pool"), errors);
    dns_label(&at.get("device"), errors);
    let share = at.get("shareID");
    if share.is_set() && !is_uid(share.str()) {
        let detail = "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase \
                      hexadecimal characters";
        share.invalid(errors, detail);
    }
}

fn is_uid(text: &str) -> bool {
    let lower = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    text.len() == 36
        && text.bytes().enumerate().all(|(index, c)| {
            if matches!(index, 8 | 13 | 18 | 23) {
                c == b'-'
            } else {
                lower(c)
            }
        })
}

fn device(at: &At<'_, '_>, status: &At<'_, '_>, errors: &mut ErrorList) {
    place(at, errors);
    let results = status.value["allocation"]["devices"]["results"].as_array();
    let wanted = identity(at.value);
    if !results
        .into_iter()
        .flatten()
        .any(|result| identity(result) == wanted)
    {
        let [driver, pool, device, share] = wanted;
        let shown = json!({"Driver": driver, "Pool": pool, "Device": device, "ShareID": share});
        at.invalid_as(errors, shown, "must be an allocated device in the claim");
    }
    let list = at.get("conditions");
    if list.len() > CONDITIONS_MAX {
        list.too_many(errors, CONDITIONS_MAX as i64);
    }
    conditions(&list, errors);
    if at.get("data").is_set() {
        raw(&at.get("data"), errors);
    }
    let network = at.get("networkData");
    for (field, max) in [
        ("interfaceName", INTERFACE_MAX),
        ("hardwareAddress", HARDWARE_MAX),
    ] {
        if network.get(field).len() > max {
            network
                .get(field)
                .too_long(errors, i64::try_from(max).unwrap_or(i64::MAX));
        }
    }
    let addresses = network.get("ips");
    if fits(&addresses, ADDRESSES_MAX, errors) {
        addresses
            .items()
            .for_each(|address| interface_address(&address, errors));
        unique(&addresses, text, errors);
    }
}

/// `192.168.1.5/24`.
fn interface_address(at: &At<'_, '_>, errors: &mut ErrorList) {
    let parts = at.str().split_once('/');
    let parsed = parts.and_then(|(ip, length)| {
        let ip = parse_ip_sloppy(ip)?;
        let net = ipnet::IpNet::new(ip, length.parse().ok()?).ok()?;
        Some(format!("{ip}/{}", net.prefix_len()))
    });
    match parsed {
        None => at.invalid(
            errors,
            "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)",
        ),
        Some(canonical) if canonical != at.str() => {
            let detail = format!("must be in canonical form ({})", corten_meta::quote(&canonical));
            at.invalid(errors, &detail);
        }
        Some(_) => {}
    }
}
