//! Warnings about Services (`pkg/api/service/warnings.go`).

use serde_json::Value;

use super::super::rules::{At, cidr_warnings, ip_warnings};
use super::access::{NONE, is_headless, kind, list, text};

const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const MODE: &str = "service.kubernetes.io/topology-mode";

pub(super) fn of(service: &Value) -> Vec<String> {
    let root = At::root(service);
    let spec = root.get("spec");
    let mut warnings = Vec::new();
    if service["metadata"]["annotations"].get(HINTS).is_some() {
        warnings.push(format!(
            "annotation {HINTS} is deprecated, please use {MODE} instead"
        ));
    }
    for ip in spec.get("clusterIPs").items().filter(|ip| ip.str() != NONE) {
        warnings.extend(ip_warnings(&ip));
    }
    let headless = kind(service) == "ClusterIP" && is_headless(service);
    let external = !list(service, "externalIPs").is_empty();
    if headless {
        if !text(service, "loadBalancerIP").is_empty() {
            warnings.push("spec.loadBalancerIP is ignored for headless services".to_owned());
        }
        if external {
            warnings.push("spec.externalIPs is ignored for headless services".to_owned());
        }
        if text(service, "sessionAffinity") != NONE {
            warnings.push("spec.SessionAffinity is ignored for headless services".to_owned());
        }
    }
    for ip in spec.get("externalIPs").items() {
        warnings.extend(ip_warnings(&ip));
    }
    let is_name = kind(service) == "ExternalName";
    if external && !headless && !is_name {
        warnings.push(
            "spec.externalIPs is deprecated and may no longer be implemented in some clusters".to_owned(),
        );
    }
    let balancer = spec.get("loadBalancerIP");
    if !balancer.is_empty() {
        warnings.extend(ip_warnings(&balancer));
    }
    for range in spec.get("loadBalancerSourceRanges").items() {
        warnings.extend(cidr_warnings(&range));
    }
    if is_name && external {
        warnings.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".to_owned());
    }
    if !is_name && !text(service, "externalName").is_empty() {
        warnings.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".to_owned());
    }
    if text(service, "trafficDistribution") == "PreferClose" {
        let text = "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"";
        warnings.push(text.to_owned());
    }
    warnings
}
