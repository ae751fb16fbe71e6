//! `ValidateService*` (`pkg/apis/core/validation`).

use std::collections::HashSet;

use corten_meta::names;
use serde_json::Value;

use super::super::rules::{
    At, ErrorList, cidr, dns_label, endpoint_ip, ip_legacy, is_dual_stack, label_map, parse_ip_sloppy,
    port_number, port_number_or_name, qualified,
};
use super::access::{NONE, is_externally_accessible, is_headless, kind, list, needs_health_check};

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const FAMILIES: &[&str] = &["IPv4", "IPv6"];
const FAMILY_POLICIES: &[&str] = &["PreferDualStack", "RequireDualStack", "SingleStack"];
const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
const AFFINITY_SECONDS_MAX: i64 = 86400;
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const MODE: &str = "service.kubernetes.io/topology-mode";
const FOR_LOAD_BALANCERS: &str = "may only be used when `type` is 'LoadBalancer'";
const ONCE: &str = "may not change once set";

pub(super) fn service(service: &Value, old: Option<&Value>, errors: &mut ErrorList) {
    let root = At::root(service);
    let spec = root.get("spec");
    topology_annotations(&root, errors);
    by_type(service, &spec, errors);
    ports(&spec, errors);
    if spec.get("selector").is_set() {
        label_map(&spec.get("selector"), errors);
    }
    affinity(&spec, errors);
    cluster_ips(&spec, old.map(|old| &old["spec"]), errors);
    let before = old.map(|old| list(old, "externalIPs")).unwrap_or_default();
    for ip in spec.get("externalIPs").items() {
        let wrong = errors.len();
        ip_legacy(&ip, &before, errors);
        if errors.len() == wrong {
            endpoint_ip(&ip, errors);
        }
    }
    spec.get("type").one_of(errors, TYPES);
    port_numbers(service, &spec, errors);
    source_ranges(service, old, errors);
    load_balancer(service, &spec, errors);
    external_traffic(service, &spec, errors);
    internal_traffic(&spec, errors);
}

fn topology_annotations(root: &At<'_, '_>, errors: &mut ErrorList) {
    let metadata = root.get("metadata");
    let annotations = metadata.get("annotations");
    let (hints, mode) = (annotations.key(HINTS), annotations.key(MODE));
    if hints.is_set() && mode.is_set() && hints.str() != mode.str() {
        mode.invalid(
            errors,
            &format!("must match annotations[{HINTS}] when both are specified"),
        );
    }
}

fn by_type(service: &Value, spec: &At<'_, '_>, errors: &mut ErrorList) {
    let kind = kind(service);
    if spec.get("ports").is_empty() && !is_headless(service) && kind != "ExternalName" {
        spec.get("ports").required(errors, "");
    }
    match kind {
        "LoadBalancer" | "NodePort" if is_headless(service) => {
            let ips = spec.get("clusterIPs");
            let detail = format!("may not be set to 'None' for {kind} services");
            ips.index(0).invalid(errors, &detail);
        }
        "ExternalName" => {
            for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                if !spec.get(field).is_empty() {
                    spec.get(field)
                        .forbidden(errors, "may not be set for ExternalName services");
                }
            }
            let name = spec.get("externalName");
            match name.str().strip_suffix('.').unwrap_or(name.str()) {
                "" => name.required(errors, ""),
                text => {
                    for message in names::is_dns1123_subdomain(text) {
                        name.invalid_as(errors, text, &message);
                    }
                }
            }
        }
        _ => {}
    }
}

fn ports(spec: &At<'_, '_>, errors: &mut ErrorList) {
    let list = spec.get("ports");
    let mut seen = HashSet::new();
    for port in list.items() {
        let name = port.get("name");
        if name.is_empty() {
            if list.len() > 1 {
                name.required(errors, "");
            }
        } else {
            dns_label(&name, errors);
            if !seen.insert(name.str()) {
                name.duplicate(errors);
            }
        }
        port_number(&port.get("port"), errors);
        port.get("protocol").one_of(errors, PROTOCOLS);
        port_number_or_name(&port.get("targetPort"), errors);
        if port.get("appProtocol").is_set() {
            qualified(&port.get("appProtocol"), errors);
        }
    }
}

/// Node ports where there may be none, and the same number twice.
fn port_numbers(service: &Value, spec: &At<'_, '_>, errors: &mut ErrorList) {
    let list = spec.get("ports");
    let given = |port: &At<'_, '_>| port.get("nodePort").int().unwrap_or(0) != 0;
    if kind(service) == "ClusterIP" {
        for port in list.items().filter(given) {
            port.get("nodePort")
                .forbidden(errors, "may not be used when `type` is 'ClusterIP'");
        }
    }
    let mut seen = HashSet::new();
    for port in list.items().filter(given) {
        if !seen.insert((port.get("protocol").str(), port.get("nodePort").int())) {
            port.get("nodePort").duplicate(errors);
        }
    }
    let mut seen = HashSet::new();
    for port in list.items() {
        let (protocol, number) = (port.get("protocol").str(), port.get("port").int().unwrap_or(0));
        if !seen.insert((protocol, number)) {
            let shown = format!(
                "{{\"Name\":\"\",\"Protocol\":{},\"AppProtocol\":null,\"Port\":{number},\"TargetPort\":0,\"NodePort\":0}}",
                Value::from(protocol)
            );
            port.duplicate_raw(errors, &shown);
        }
    }
}

fn affinity(spec: &At<'_, '_>, errors: &mut ErrorList) {
    let (affinity, config) = (spec.get("sessionAffinity"), spec.get("sessionAffinityConfig"));
    affinity.one_of(errors, &["ClientIP", "None"]);
    match affinity.str() {
        "None" if config.is_set() => {
            config.forbidden(errors, "must not be set when session affinity is None")
        }
        "ClientIP" => {
            const WHEN: &str = "when session affinity type is ClientIP";
            let client = config.get("clientIP");
            let seconds = client.get("timeoutSeconds");
            if let Some(missing) = [&config, &client, &seconds].iter().find(|at| !at.is_set()) {
                missing.required(errors, WHEN);
            } else if !(1..=AFFINITY_SECONDS_MAX).contains(&seconds.int().unwrap_or(0)) {
                let detail = format!("must be greater than 0 and less than {AFFINITY_SECONDS_MAX}");
                seconds.invalid(errors, &detail);
            }
        }
        _ => {}
    }
}

/// `ValidateServiceClusterIPsRelatedFields`; `old` is the old spec.
pub(super) fn cluster_ips(spec: &At<'_, '_>, old: Option<&Value>, errors: &mut ErrorList) {
    if spec.get("type").str() == "ExternalName" {
        return;
    }
    let (ip, ips) = (spec.get("clusterIP"), spec.get("clusterIPs"));
    match (ip.is_empty(), ips.is_empty()) {
        (false, true) => ips.required(errors, ""),
        (false, false) if ips.index(0).value != ip.value => {
            ips.invalid(errors, "first value must match `clusterIP`")
        }
        (true, false) => ips.invalid(errors, "must be empty when `clusterIP` is not specified"),
        _ => {}
    }
    let families = spec.get("ipFamilies");
    let mut seen = HashSet::new();
    for family in families.items() {
        if !FAMILIES.contains(&family.str()) {
            family.not_supported(errors, FAMILIES);
        }
        if !seen.insert(family.str()) {
            family.duplicate(errors);
        }
    }
    spec.get("ipFamilyPolicy").one_of_if_set(errors, FAMILY_POLICIES);
    let wrong = errors.len();
    let before: Vec<&str> = old
        .and_then(|old| old["clusterIPs"].as_array())
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for (index, ip) in ips.items().enumerate() {
        if index > 0 || ip.str() != NONE {
            ip_legacy(&ip, &before, errors);
        } else if ips.len() > 1 {
            ips.invalid(errors, "'None' must be the first and only value");
        }
    }
    let readable = errors.len() == wrong;
    if ips.len() > 2 {
        ips.invalid(errors, "may only hold up to 2 values");
    }
    if readable {
        families_of_ips(&ips, &families, errors);
    }
}

fn families_of_ips(ips: &At<'_, '_>, families: &At<'_, '_>, errors: &mut ErrorList) {
    if ips.len() > 1 && !is_dual_stack(ips.items().map(|ip| ip.value.as_str().unwrap_or_default())) {
        ips.invalid(errors, "may specify no more than one IP for each IP family");
    }
    for (index, ip) in ips.items().take(families.len()).enumerate() {
        let family = families.index(index);
        let is_v6 = parse_ip_sloppy(ip.str()).is_some_and(|ip| ip.is_ipv6());
        let other = matches!((family.str(), is_v6), ("IPv4", true) | ("IPv6", false));
        if ip.str() != NONE && other {
            let detail = format!(
                "expected an {} value as indicated by `ipFamilies[{index}]`",
                family.str()
            );
            ip.invalid(errors, &detail);
        }
    }
}

fn source_ranges(service: &Value, old: Option<&Value>, errors: &mut ErrorList) {
    let root = At::root(service);
    let (spec, metadata) = (root.get("spec"), root.get("metadata"));
    let is_balancer = kind(service) == "LoadBalancer";
    let given = spec.get("loadBalancerSourceRanges");
    if !given.is_empty() {
        let at = spec.get("LoadBalancerSourceRanges").with(given.value);
        if !is_balancer {
            at.forbidden(errors, FOR_LOAD_BALANCERS);
        }
        let before = old
            .map(|old| list(old, "loadBalancerSourceRanges"))
            .unwrap_or_default();
        for range in at.items() {
            let text = range.str().trim();
            if !before.iter().any(|before| before.trim() == text) {
                cidr(&range.with(&text.into()), false, errors);
            }
        }
        return;
    }
    let annotations = metadata.get("annotations");
    let annotation = annotations.key(SOURCE_RANGES);
    if !annotation.is_set() {
        return;
    }
    if !is_balancer {
        annotation.forbidden(errors, FOR_LOAD_BALANCERS);
    }
    let before = old.map(|old| &old["metadata"]["annotations"][SOURCE_RANGES]);
    if before != Some(annotation.value) && !annotation.str().trim().is_empty() {
        for range in annotation.str().trim().split(',') {
            cidr(&annotation.with(&range.trim().into()), false, errors);
        }
    }
}

fn load_balancer(service: &Value, spec: &At<'_, '_>, errors: &mut ErrorList) {
    let is_balancer = kind(service) == "LoadBalancer";
    let allocate = spec.get("allocateLoadBalancerNodePorts");
    match (is_balancer, allocate.is_set()) {
        (false, true) => allocate.forbidden(errors, FOR_LOAD_BALANCERS),
        (true, false) => At::top("allocateLoadBalancerNodePorts", allocate.value).required(errors, ""),
        _ => {}
    }
    let class = spec.get("loadBalancerClass");
    match (is_balancer, class.is_set()) {
        (true, true) => qualified(&class, errors),
        (false, true) => class.forbidden(errors, FOR_LOAD_BALANCERS),
        _ => {}
    }
}

fn external_traffic(service: &Value, spec: &At<'_, '_>, errors: &mut ErrorList) {
    let policy = spec.get("externalTrafficPolicy");
    if is_externally_accessible(service) {
        policy.one_of(errors, &["Cluster", "Local"]);
    } else if !policy.is_empty() {
        policy.invalid(errors, "may only be set for externally-accessible services");
    }
    let port = spec.get("healthCheckNodePort");
    match (needs_health_check(service), port.int().unwrap_or(0)) {
        (true, 0) => port.required(errors, ""),
        (true, _) => port_number(&port, errors),
        (false, 0) => {}
        (false, _) => {
            let detail =
                "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            port.invalid(errors, detail);
        }
    }
}

fn internal_traffic(spec: &At<'_, '_>, errors: &mut ErrorList) {
    let policy = spec.get("internalTrafficPolicy");
    let required = matches!(spec.get("type").str(), "NodePort" | "LoadBalancer" | "ClusterIP");
    if required && !policy.is_set() {
        policy.required(errors, "");
    }
    policy.one_of_if_set(errors, &["Cluster", "Local"]);
    spec.get("trafficDistribution")
        .one_of_if_set(errors, &["PreferClose", "PreferSameZone", "PreferSameNode"]);
}

/// What an update may not do with addresses and families; then everything that holds for a new one.
pub(super) fn update(new: &Value, old: &Value, errors: &mut ErrorList) {
    let root = At::root(new);
    let spec = root.get("spec");
    if kind(new) != "ExternalName" && kind(old) != "ExternalName" {
        changed_ips(new, old, &spec, errors);
        changed_families(new, old, &spec, errors);
    }
    let class = spec.get("loadBalancerClass");
    if kind(new) == "LoadBalancer"
        && kind(old) == "LoadBalancer"
        && class.value != &old["spec"]["loadBalancerClass"]
    {
        class.invalid(errors, ONCE);
    }
    if class.is_set() && kind(new) == "LoadBalancer" {
        qualified(&class, errors);
    } else if class.is_set() {
        class.forbidden(errors, FOR_LOAD_BALANCERS);
    }
    let port = spec.get("healthCheckNodePort");
    if needs_health_check(new) && needs_health_check(old) && port.value != &old["spec"]["healthCheckNodePort"]
    {
        port.forbidden(errors, "field is immutable");
    }
    service(new, Some(old), errors);
}

fn changed_ips(new: &Value, old: &Value, spec: &At<'_, '_>, errors: &mut ErrorList) {
    if is_headless(new) && is_headless(old) {
        return;
    }
    let (at, before, now) = (
        spec.get("clusterIPs"),
        list(old, "clusterIPs"),
        list(new, "clusterIPs"),
    );
    let first = at.index(0).with(at.value);
    if before.len() == now.len() {
        for index in (0..now.len()).filter(|index| before[*index] != now[*index]) {
            at.index(index).with(at.value).invalid(errors, ONCE);
        }
        return;
    }
    if now.is_empty() {
        first.invalid(errors, "primary clusterIP can not be unset");
    } else if before.first().is_some_and(|ip| *ip != now[0]) {
        first.invalid(errors, ONCE);
    }
    let policy = spec.get("ipFamilyPolicy");
    if before.len() > now.len() && now.len() == 1 && policy.str() != "SingleStack" {
        policy.invalid(
            errors,
            "must be set to 'SingleStack' when releasing the secondary clusterIP",
        );
    }
}

fn changed_families(new: &Value, old: &Value, spec: &At<'_, '_>, errors: &mut ErrorList) {
    if is_headless(new) || is_headless(old) {
        return;
    }
    let (at, before, now) = (
        spec.get("ipFamilies"),
        list(old, "ipFamilies"),
        list(new, "ipFamilies"),
    );
    let first = at.index(0).with(at.value);
    if before.len() == now.len() {
        for _ in (0..now.len()).filter(|index| before[*index] != now[*index]) {
            first.invalid(errors, ONCE);
        }
        return;
    }
    let shrinks = before.len() > now.len();
    if shrinks && list(new, "clusterIPs").is_empty() {
        first.invalid(errors, "primary ipFamily can not be unset");
    }
    if !before.is_empty() && !now.is_empty() && before[0] != now[0] {
        first.with(&new["spec"]["clusterIPs"]).invalid(errors, ONCE);
    }
    let policy = spec.get("ipFamilyPolicy");
    if shrinks && now.len() == 1 && policy.str() != "SingleStack" {
        policy.invalid(
            errors,
            "must be set to 'SingleStack' when releasing the secondary ipFamily",
        );
    }
}

/// `ValidateLoadBalancerStatus`.
pub(super) fn status(service: &Value, old: &Value, errors: &mut ErrorList) {
    let root = At::root(service);
    let status = root.get("status");
    let balancer = status.get("loadBalancer");
    let list = balancer.get("ingress");
    if kind(service) != "LoadBalancer" && !list.is_empty() {
        return list.forbidden(errors, "may only be used when `spec.type` is 'LoadBalancer'");
    }
    let before = old["status"]["loadBalancer"]["ingress"]
        .as_array()
        .into_iter()
        .flatten();
    let before: Vec<&str> = before.filter_map(|ingress| ingress["ip"].as_str()).collect();
    for ingress in list.items() {
        let (ip, mode, hostname) = (ingress.get("ip"), ingress.get("ipMode"), ingress.get("hostname"));
        if !ip.is_empty() {
            ip_legacy(&ip, &before, errors);
        }
        match (ip.is_empty(), mode.is_set()) {
            (false, false) => mode.required(errors, "must be specified when `ip` is set"),
            (true, true) => mode.forbidden(errors, "may not be specified when `ip` is not set"),
            _ => mode.one_of_if_set(errors, &["Proxy", "VIP"]),
        }
        if !hostname.is_empty() {
            hostname.invalid_each(errors, names::is_dns1123_subdomain(hostname.str()));
            if parse_ip_sloppy(hostname.str()).is_some() {
                hostname.invalid(errors, "must be a DNS name, not an IP address");
            }
        }
    }
}
