//! IP families of a Service, following from what it says and what the cluster has (`alloc.go: initIPFamilyFields`).

use corten_meta::field::ErrorList;
use corten_meta::{GroupKind, Result, Status, object};
use serde_json::{Value, json};

use super::super::rules::{At, Ip, parse_ip_sloppy};
use super::access::{
    NONE, health_port, is_headless, kind, list, needs_cluster_ip, node_port, ports, same_list, set, set_list,
    text,
};
use super::ranges::Ranges;
use super::{access, validate};

const SINGLE: &str = "SingleStack";
const PREFER: &str = "PreferDualStack";
const REQUIRE: &str = "RequireDualStack";

pub(super) fn invalid(service: &Value, errors: ErrorList) -> Status {
    let kind = GroupKind {
        group: "".into(),
        kind: "Service".into(),
    };
    Status::invalid(&kind, object::name(service), errors)
}

/// What an update does not say stays: addresses and ports were given by the server.
pub(super) fn keep_allocated(service: &mut Value, old: &Value) {
    if needs_cluster_ip(old) && needs_cluster_ip(service) {
        if text(service, "clusterIP").is_empty() {
            set(service, "clusterIP", old["spec"]["clusterIP"].clone());
        }
        if list(service, "clusterIPs").is_empty() {
            set_list(service, "clusterIPs", &list(old, "clusterIPs"));
        }
    }
    if access::gets_node_ports(old) && access::gets_node_ports(service) {
        keep_node_ports(service, old);
    }
    if access::needs_health_check(old) && access::needs_health_check(service) && health_port(service) == 0 {
        set(
            service,
            "healthCheckNodePort",
            old["spec"]["healthCheckNodePort"].clone(),
        );
    }
}

fn keep_node_ports(service: &mut Value, old: &Value) {
    let taken = access::node_ports(service);
    for port in access::ports_mut(service).filter(|port| node_port(port) == 0) {
        let name = port["name"].as_str().unwrap_or_default();
        let before = ports(old)
            .iter()
            .rev()
            .find(|old| old["name"].as_str().unwrap_or_default() == name);
        let before = before.map_or(0, node_port);
        if before != 0 && !taken.contains(&before) {
            port["nodePort"] = before.into();
        }
    }
}

/// `clusterIPs` follows `clusterIP` for clients that know only that.
pub(super) fn normalize(service: &mut Value, old: Option<&Value>) {
    let ip = text(service, "clusterIP").to_owned();
    let Some(old) = old else {
        if !ip.is_empty() && list(service, "clusterIPs").is_empty() {
            set_list(service, "clusterIPs", &[ip]);
        }
        return;
    };
    let before = text(old, "clusterIP");
    if before == ip {
        if list(service, "clusterIPs").is_empty() {
            set_list(service, "clusterIPs", &list(old, "clusterIPs"));
        }
    } else if same_list(old, service, "clusterIPs") {
        let ips = if ip.is_empty() { vec![] } else { vec![ip] };
        set_list(service, "clusterIPs", &ips);
    }
}

/// An update that leaves everything about a `PreferDualStack` Service as it was.
pub(super) fn is_unchanged_preference(service: &Value, old: Option<&Value>) -> bool {
    let Some(old) = old else { return false };
    let prefers = |service: &Value| text(service, "ipFamilyPolicy") == PREFER;
    let old_prefers = prefers(old) || old["spec"]["ipFamilyPolicy"].is_null();
    kind(service) == kind(old)
        && needs_cluster_ip(service)
        && prefers(service)
        && old_prefers
        && same_list(old, service, "clusterIPs")
        && same_list(old, service, "ipFamilies")
}

pub(super) fn init(service: &mut Value, old: Option<&Value>, ranges: &Ranges) -> Result<()> {
    if !needs_cluster_ip(service) || is_unchanged_preference(service, old) {
        return Ok(());
    }
    let manual = text(service, "clusterIP") == NONE && !has_selector(service);
    if service["spec"]["ipFamilyPolicy"].is_null() {
        let before = old.map(|old| text(old, "ipFamilyPolicy")).unwrap_or_default();
        let policy = match before {
            "" if manual => REQUIRE,
            "" => SINGLE,
            before => before,
        };
        set(service, "ipFamilyPolicy", json!(policy));
    }
    refuse(service, |service, errors| {
        validate::cluster_ips(
            &At::root(service).get("spec"),
            old.map(|old| &old["spec"]),
            errors,
        );
    })?;
    shrink(service, old);
    refuse(service, |service, errors| conflicts(service, old, errors))?;
    families_of_addresses(service, ranges)?;
    if manual {
        complete_manual(service, ranges);
        return Ok(());
    }
    refuse(service, |service, errors| unconfigured(service, ranges, errors))?;
    complete(service, ranges);
    Ok(())
}

fn refuse(service: &Value, check: impl FnOnce(&Value, &mut ErrorList)) -> Result<()> {
    let mut errors = ErrorList::new();
    check(service, &mut errors);
    if errors.is_empty() {
        return Ok(());
    }
    Err(invalid(service, errors))
}

fn has_selector(service: &Value) -> bool {
    service["spec"]["selector"]
        .as_object()
        .is_some_and(|selector| !selector.is_empty())
}

/// Going back to one family drops the second of each, if only the policy was changed.
fn shrink(service: &mut Value, old: Option<&Value>) {
    let Some(old) = old.filter(|_| text(service, "ipFamilyPolicy") == SINGLE) else {
        return;
    };
    for field in ["clusterIPs", "ipFamilies"] {
        if same_list(old, service, field) {
            let first: Vec<String> = list(service, field)
                .into_iter()
                .take(1)
                .map(str::to_owned)
                .collect();
            set_list(service, field, &first);
        }
    }
}

fn conflicts(service: &Value, old: Option<&Value>, errors: &mut ErrorList) {
    let root = At::root(service);
    let spec = root.get("spec");
    let policy = spec.get("ipFamilyPolicy");
    let (ips, families) = (list(service, "clusterIPs"), list(service, "ipFamilies"));
    if policy.str() == SINGLE {
        if ips.len() == 2 {
            let detail =
                "must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are specified";
            policy.invalid(errors, detail);
        }
        if families.len() == 2 {
            let detail =
                "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified";
            policy.invalid(errors, detail);
        }
    } else if let Some(old) = old {
        let reduced = |field: &str| {
            let now = list(service, field).len();
            now > 0 && now < list(old, field).len()
        };
        if reduced("clusterIPs") {
            policy.invalid(
                errors,
                "must be 'SingleStack' to release the secondary cluster IP",
            );
        }
        if reduced("ipFamilies") {
            policy.invalid(errors, "must be 'SingleStack' to release the secondary IP family");
        }
    }
}

/// Addresses that were asked for say their families.
fn families_of_addresses(service: &mut Value, ranges: &Ranges) -> Result<()> {
    let mut families: Vec<String> = list(service, "ipFamilies")
        .into_iter()
        .map(str::to_owned)
        .collect();
    let mut errors = ErrorList::new();
    let ips = list(service, "clusterIPs");
    for (index, ip) in ips.iter().enumerate().take_while(|(_, ip)| **ip != NONE) {
        if index < families.len() {
            continue;
        }
        let family = parse_ip_sloppy(ip).map_or("", |ip| Ip::of(ip).family());
        if ranges.has(family) {
            families.push(family.to_owned());
        } else {
            let root = At::root(service);
            let spec = root.get("spec");
            let at = spec.get("clusterIPs");
            let detail = format!("{family} is not configured on this cluster");
            at.index(index).invalid_as(&mut errors, at.value.clone(), &detail);
        }
    }
    if !errors.is_empty() {
        return Err(invalid(service, errors));
    }
    set_list(service, "ipFamilies", &families);
    Ok(())
}

fn other(family: &str) -> &'static str {
    if family == "IPv4" { "IPv6" } else { "IPv4" }
}

/// Endpoints of any family may be behind a headless Service whose endpoints are managed by hand.
fn complete_manual(service: &mut Value, ranges: &Ranges) {
    let mut families: Vec<String> = list(service, "ipFamilies")
        .into_iter()
        .map(str::to_owned)
        .collect();
    if families.is_empty() {
        families.push(ranges.default_family().family().to_owned());
    }
    if families.len() < 2 && text(service, "ipFamilyPolicy") != SINGLE {
        families.push(other(&families[0]).to_owned());
    }
    set_list(service, "ipFamilies", &families);
}

fn unconfigured(service: &Value, ranges: &Ranges, errors: &mut ErrorList) {
    let root = At::root(service);
    let spec = root.get("spec");
    let policy = spec.get("ipFamilyPolicy");
    if policy.str() == REQUIRE && !ranges.is_dual_stack() {
        policy.invalid(errors, "this cluster is not configured for dual-stack services");
    }
    for family in spec.get("ipFamilies").items() {
        if !ranges.has(family.str()) {
            family.invalid(errors, "not configured on this cluster");
        }
    }
}

fn complete(service: &mut Value, ranges: &Ranges) {
    let mut families: Vec<String> = list(service, "ipFamilies")
        .into_iter()
        .map(str::to_owned)
        .collect();
    if families.is_empty() {
        families.push(ranges.default_family().family().to_owned());
    }
    if text(service, "ipFamilyPolicy") != SINGLE && families.len() == 1 && ranges.is_dual_stack() {
        families.push(other(&families[0]).to_owned());
    }
    set_list(service, "ipFamilies", &families);
}

/// Whether a Service takes addresses at all.
pub(super) fn takes_addresses(service: &Value) -> bool {
    needs_cluster_ip(service) && !is_headless(service)
}
