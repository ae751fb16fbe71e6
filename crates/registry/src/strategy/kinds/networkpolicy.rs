//! NetworkPolicies.

use corten_meta::names;
use serde_json::Value;

use super::super::rules::{At, ErrorList, cidr, cidr_warnings, label_selector, parse_ip_sloppy, port_number};
use super::{PLAIN, Rules};

pub(super) const RULES: Rules = Rules {
    body,
    // Upstream's rules of an update have those of every object among them: their causes come twice.
    change: |at, _, errors| body(at, errors),
    warnings: |policy, _| warnings(policy),
    ..PLAIN
};

const DIRECTIONS: [(&str, &str); 2] = [("ingress", "from"), ("egress", "to")];

fn warnings(policy: &Value) -> Vec<String> {
    let at = At::root(policy);
    let spec = at.get("spec");
    let mut warnings = Vec::new();
    for (direction, peers) in DIRECTIONS {
        for rule in spec.get(direction).items() {
            for peer in rule.get(peers).items() {
                let block = peer.get("ipBlock");
                warnings.extend(cidr_warnings(&block.get("cidr")));
                let except = block.get("except");
                warnings.extend(except.items().flat_map(|range| cidr_warnings(&range)));
            }
        }
    }
    warnings
}

fn body(at: &At<'_, '_>, errors: &mut ErrorList) {
    let spec = at.get("spec");
    label_selector(&spec.get("podSelector"), errors);
    for (direction, peers) in DIRECTIONS {
        for rule in spec.get(direction).items() {
            rule.get("ports").items().for_each(|place| port(&place, errors));
            rule.get(peers).items().for_each(|place| peer(&place, errors));
        }
    }
    let types = spec.get("policyTypes");
    if types.len() > 2 {
        return types.invalid(errors, "may not specify more than two policyTypes");
    }
    types
        .items()
        .for_each(|kind| kind.one_of_if_set(errors, &["Ingress", "Egress"]));
}

fn port(at: &At<'_, '_>, errors: &mut ErrorList) {
    at.get("protocol").one_of_if_set(errors, &["TCP", "UDP", "SCTP"]);
    let (first, last) = (at.get("port"), at.get("endPort"));
    if let Some(number) = first.int() {
        port_number(&first, errors);
        if last.is_set() {
            if last.int() < Some(number) {
                last.invalid_as(errors, number, "must be greater than or equal to `port`");
            }
            port_number(&last, errors);
        }
        return;
    }
    if last.is_set() {
        let what = if first.is_set() {
            "non-numeric"
        } else {
            "not specified"
        };
        last.invalid(errors, &format!("may not be specified when `port` is {what}"));
    }
    if first.is_set() {
        first.invalid_each(errors, names::is_port_name(first.str()));
    }
}

fn peer(at: &At<'_, '_>, errors: &mut ErrorList) {
    let (pods, namespaces, block) = (
        at.get("podSelector"),
        at.get("namespaceSelector"),
        at.get("ipBlock"),
    );
    label_selector(&pods, errors);
    label_selector(&namespaces, errors);
    if block.is_set() {
        ip_block(&block, errors);
    }
    match (pods.is_set() || namespaces.is_set(), block.is_set()) {
        (false, false) => at.required(errors, "must specify a peer"),
        (true, true) => at.forbidden(errors, "may not specify both ipBlock and another peer"),
        _ => {}
    }
}

fn ip_block(at: &At<'_, '_>, errors: &mut ErrorList) {
    let range = at.get("cidr");
    if range.is_empty() {
        return range.required(errors, "");
    }
    cidr(&range, false, errors);
    let Some(whole) = net(range.str()) else { return };
    for except in at.get("except").items() {
        cidr(&except, false, errors);
        if let Some(part) = net(except.str())
            && (!whole.contains(&part) || whole.prefix_len() >= part.prefix_len())
        {
            except.invalid(errors, "must be a strict subset of `cidr`");
        }
    }
}

fn net(text: &str) -> Option<ipnet::IpNet> {
    let (address, length) = text.split_once('/')?;
    ipnet::IpNet::new(parse_ip_sloppy(address)?, length.parse().ok()?)
        .ok()
        .map(|net| net.trunc())
}
