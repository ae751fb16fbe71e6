//! Endpoints and EndpointSlices (`ValidateEndpoints`, `pkg/apis/discovery/validation`).

use std::collections::HashSet;

use corten_meta::names;
use corten_meta::object;
use serde_json::Value;

use super::StrategyContext;
use super::kinds::{PLAIN, Rules};
use super::rules::{
    At, ErrorList, dns_label, endpoint_ip, immutable, ip_legacy, ip_strict, ip_warnings, label_map,
    parse_ip_sloppy, port_number, qualified,
};

const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
const ADDRESS_TYPES: &[&str] = &["FQDN", "IPv4", "IPv6"];
const ADDRESSES_MAX: usize = 100;
const ENDPOINTS_MAX: usize = 1000;
const PORTS_MAX: usize = 20000;
const TOPOLOGY_MAX: usize = 16;
const HINTS_MAX: usize = 8;

type NameRule = fn(&str) -> Vec<String>;

pub(super) const ENDPOINTS: Rules = Rules {
    create: |at, errors| subsets(&at.get("subsets"), errors),
    // What was wrong before stays possible.
    change: |at, old, errors| {
        if at.value["subsets"] != old["subsets"] {
            subsets(&at.get("subsets"), errors);
        }
    },
    warnings: |endpoints, _| endpoints_warnings(endpoints),
    create_on_update: true,
    ..PLAIN
};

pub(super) const SLICE: Rules = Rules {
    prepare_update: count_labels,
    create: |at, errors| {
        slice(at, errors);
        endpoints(at, errors);
    },
    change: |at, old, errors| {
        slice(at, errors);
        if at.value["endpoints"] != old["endpoints"] {
            endpoints(at, errors);
        }
        let kind = at.get("addressType");
        immutable(&kind.path(), kind.value, &old["addressType"], errors);
    },
    warnings: slice_warnings,
    metadata_twice: false,
    ..PLAIN
};

fn subsets(list: &At<'_, '_>, errors: &mut ErrorList) {
    for subset in list.items() {
        let (ready, others) = (subset.get("addresses"), subset.get("notReadyAddresses"));
        if ready.is_empty() && others.is_empty() {
            subset.required(errors, "must specify `addresses` or `notReadyAddresses`");
        }
        for list in [&ready, &others] {
            for address in list.items() {
                endpoint_address(&address, errors);
            }
        }
        let ports = subset.get("ports");
        for port in ports.items() {
            let name = port.get("name");
            match name.is_empty() {
                true if ports.len() > 1 => name.required(errors, ""),
                true => {}
                false => dns_label(&name, errors),
            }
            port_number(&port.get("port"), errors);
            port.get("protocol").one_of(errors, PROTOCOLS);
            if port.get("appProtocol").is_set() {
                qualified(&port.get("appProtocol"), errors);
            }
        }
    }
}

fn endpoint_address(address: &At<'_, '_>, errors: &mut ErrorList) {
    ip_legacy(&address.get("ip"), &[], errors);
    if !address.get("hostname").is_empty() {
        dns_label(&address.get("hostname"), errors);
    }
    node_name(&address.get("nodeName"), errors);
    endpoint_ip(&address.get("ip"), errors);
}

fn node_name(name: &At<'_, '_>, errors: &mut ErrorList) {
    if name.is_set() {
        name.invalid_each(errors, names::name_is_dns_subdomain(name.str(), false));
    }
}

fn endpoints_warnings(endpoints: &Value) -> Vec<String> {
    if object::label(endpoints, "endpoints.kubernetes.io/managed-by") == Some("endpoint-controller") {
        return Vec::new();
    }
    let root = At::root(endpoints);
    let subsets = root.get("subsets");
    let mut warnings = Vec::new();
    for subset in subsets.items() {
        for list in ["addresses", "notReadyAddresses"] {
            for address in subset.get(list).items() {
                warnings.extend(ip_warnings(&address.get("ip")));
            }
        }
    }
    warnings
}

/// A slice's labels are part of what the generation counts.
fn count_labels(_: &StrategyContext<'_>, slice: &mut Value, old: &Value) {
    let before = object::generation(old);
    if slice["metadata"]["labels"] != old["metadata"]["labels"] && object::generation(slice) == before {
        object::set_generation(slice, before + 1);
    }
}

fn slice(at: &At<'_, '_>, errors: &mut ErrorList) {
    at.get("addressType").one_of(errors, ADDRESS_TYPES);
    let list = at.get("ports");
    if list.len() > PORTS_MAX {
        return list.too_many(errors, PORTS_MAX as i64);
    }
    let mut seen = HashSet::new();
    for port in list.items() {
        let (name, protocol) = (port.get("name"), port.get("protocol"));
        if !name.is_empty() {
            dns_label(&name, errors);
        }
        if !seen.insert(name.str()) {
            name.duplicate_as(errors, name.str());
        }
        match protocol.is_set() {
            false => protocol.required(errors, ""),
            true => protocol.one_of_if_set(errors, PROTOCOLS),
        }
        if port.get("appProtocol").is_set() {
            qualified(&port.get("appProtocol"), errors);
        }
    }
}

fn endpoints(at: &At<'_, '_>, errors: &mut ErrorList) {
    let (kind, list) = (at.get("addressType"), at.get("endpoints"));
    if list.len() > ENDPOINTS_MAX {
        return list.too_many(errors, ENDPOINTS_MAX as i64);
    }
    for endpoint in list.items() {
        let addresses = endpoint.get("addresses");
        match addresses.len() {
            0 => addresses.required(errors, "must contain at least 1 address"),
            1..=ADDRESSES_MAX => {}
            _ => addresses.too_many(errors, ADDRESSES_MAX as i64),
        }
        for address in addresses.items() {
            slice_address(kind.str(), &addresses, &address, errors);
        }
        node_name(&endpoint.get("nodeName"), errors);
        let topology = endpoint.get("deprecatedTopology");
        if topology.len() > TOPOLOGY_MAX {
            topology.too_many(errors, TOPOLOGY_MAX as i64);
        }
        label_map(&topology, errors);
        if endpoint.get("hostname").is_set() {
            dns_label(&endpoint.get("hostname"), errors);
        }
        hints(&endpoint.get("hints"), errors);
    }
}

fn slice_address(kind: &str, list: &At<'_, '_>, address: &At<'_, '_>, errors: &mut ErrorList) {
    let before = errors.len();
    match kind {
        "IPv4" => ip_legacy(address, &[], errors),
        "IPv6" => ip_strict(address, errors),
        "FQDN" => return fully_qualified(address, errors),
        _ => return,
    }
    if errors.len() > before {
        return;
    }
    if parse_ip_sloppy(address.str()).is_some_and(|ip| ip.is_ipv4() != (kind == "IPv4")) {
        list.invalid_as(errors, address.str(), &format!("must be an {kind} address"));
    }
    endpoint_ip(address, errors);
}

fn fully_qualified(name: &At<'_, '_>, errors: &mut ErrorList) {
    if name.is_empty() {
        return name.required(errors, "");
    }
    let text = name.str().strip_suffix('.').unwrap_or(name.str());
    let messages = names::is_dns1123_subdomain(text);
    if !messages.is_empty() {
        for message in messages {
            name.invalid_as(errors, text, &message);
        }
        return;
    }
    if !text.contains('.') {
        let detail = "should be a domain with at least two segments separated by dots";
        return name.invalid_as(errors, text, detail);
    }
    for label in text.split('.') {
        for message in names::is_dns1123_label(label) {
            name.invalid_as(errors, label, &message);
        }
    }
}

fn hints(hints: &At<'_, '_>, errors: &mut ErrorList) {
    let rules: [(&str, NameRule); 2] = [
        ("forZones", names::is_label_value),
        ("forNodes", |name| names::name_is_dns_subdomain(name, false)),
    ];
    for (field, rule) in rules {
        let list = hints.get(field);
        if list.len() > HINTS_MAX {
            return list.too_many(errors, HINTS_MAX as i64);
        }
        let mut seen = HashSet::new();
        for hint in list.items() {
            let name = hint.get("name");
            if !seen.insert(name.str()) {
                name.duplicate(errors);
            }
            name.invalid_each(errors, rule(name.str()));
        }
    }
}

fn slice_warnings(slice: &Value, old: Option<&Value>) -> Vec<String> {
    const CONTROLLERS: [&str; 2] = [
        "endpointslice-controller.k8s.io",
        "endpointslicemirroring-controller.k8s.io",
    ];
    let mut warnings = Vec::new();
    if old.is_none() && slice["addressType"] == "FQDN" {
        warnings.push("spec.addressType: FQDN endpoints are deprecated".to_owned());
    }
    let manager = object::label(slice, "endpointslice.kubernetes.io/managed-by");
    if manager.is_some_and(|manager| CONTROLLERS.contains(&manager)) {
        return warnings;
    }
    let root = At::root(slice);
    let list = root.get("endpoints");
    for endpoint in list.items() {
        let addresses = endpoint.get("addresses");
        addresses
            .items()
            .for_each(|address| warnings.extend(ip_warnings(&address)));
    }
    warnings
}
