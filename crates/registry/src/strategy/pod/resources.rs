//! Requests, limits and claims, of containers and of the pod.

use corten_meta::{field::Error, names};
use serde_json::Value;

use super::super::rules::{At, ErrorList, dns_label, go_struct, nanos, quantity_of, show};
use super::spec::{Context, Scope};

const STATIC_PODS: &str = "static pods do not support resource claims";

/// Resources that have meaning without a domain.
const STANDARD: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
    "storage",
    "requests.storage",
];

pub(in crate::strategy) fn is_huge_page(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// In the namespace `kubernetes.io`, where names without one are too.
pub(in crate::strategy) fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

pub(in crate::strategy) fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && names::is_qualified_name(&format!("requests.{name}")).is_empty()
}

fn can_overcommit(name: &str) -> bool {
    is_native(name) && !is_huge_page(name)
}

/// `validateResourceName`: qualified, or standard.
pub(in crate::strategy) fn resource_name(at: &At<'_, '_>, name: &str, errors: &mut ErrorList) {
    let messages = names::is_qualified_name(name);
    if messages.is_empty() && !name.contains('/') && !STANDARD.contains(&name) && !is_huge_page_quota(name) {
        at.invalid_as(
            errors,
            name,
            "must be a standard resource type or fully qualified",
        );
    }
    messages
        .iter()
        .for_each(|message| at.invalid_as(errors, name, message));
}

pub(in crate::strategy) fn is_huge_page_quota(name: &str) -> bool {
    is_huge_page(name) || name.starts_with("requests.hugepages-")
}

pub(in crate::strategy) fn container_resource_name(at: &At<'_, '_>, name: &str, errors: &mut ErrorList) {
    resource_name(at, name, errors);
    if !name.contains('/') {
        if !["cpu", "memory", "ephemeral-storage"].contains(&name) && !is_huge_page(name) {
            at.invalid_as(errors, name, "must be a standard resource for containers");
        }
    } else if !is_native(name) && !is_extended(name) {
        at.invalid_as(errors, name, "doesn't follow extended resource name standard");
    }
}

fn pod_resource_name(at: &At<'_, '_>, name: &str, errors: &mut ErrorList) {
    let before = errors.len();
    resource_name(at, name, errors);
    if errors.len() == before && !["cpu", "memory"].contains(&name) && !is_huge_page(name) {
        errors.push(Error::not_supported(
            &at.path(),
            name,
            &["cpu", "hugepages-", "memory"],
        ));
    }
}

/// Not negative, and whole unless it is cpu-like.
pub(in crate::strategy) fn resource_value(at: &At<'_, '_>, name: &str, errors: &mut ErrorList) {
    let quantity = nanos(at.value);
    if quantity < 0 {
        at.invalid_as(errors, show(at.value), "must be greater than or equal to 0");
    }
    let countable = STANDARD.contains(&name) && is_integer_resource(name);
    if (countable || is_extended(name)) && quantity_of(at.value).milli_value() % 1000 != 0 {
        at.invalid_as(errors, show(at.value), "must be an integer");
    }
}

fn is_integer_resource(name: &str) -> bool {
    [
        "pods",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "services.nodeports",
        "services.loadbalancers",
    ]
    .contains(&name)
}

pub(super) fn validate_container(at: &At<'_, '_>, scope: &Scope<'_>, errors: &mut ErrorList) {
    requirements(at, container_resource_name, errors);
    claims(&at.get("claims"), &scope.claims, errors);
}

/// A pod's overhead, checked as limits.
pub(in crate::strategy) fn overhead(at: &At<'_, '_>, errors: &mut ErrorList) {
    let limits = at.get("limits").with(at.value);
    each_quantity(&limits, container_resource_name, errors);
}

fn each_quantity(
    list: &At<'_, '_>,
    name_rule: fn(&At<'_, '_>, &str, &mut ErrorList),
    errors: &mut ErrorList,
) -> (bool, bool) {
    let (mut compute, mut huge) = (false, false);
    for (name, _) in list.entries() {
        let at = list.key(name);
        name_rule(&at, name, errors);
        resource_value(&at, name, errors);
        huge_page(&at, name, errors);
        compute |= matches!(name, "cpu" | "memory");
        huge |= is_huge_page(name);
    }
    (compute, huge)
}

fn huge_page(at: &At<'_, '_>, name: &str, errors: &mut ErrorList) {
    if let Some(size) = name.strip_prefix("hugepages-") {
        let size = corten_meta::Quantity::parse(size).map_or(0, |size| size.nanos());
        let quantity = nanos(at.value);
        if size <= 0 || quantity < 0 || quantity % size != 0 {
            let shown = show(at.value);
            let detail = format!("{shown} is not positive integer multiple of {name}");
            at.invalid_as(errors, shown, &detail);
        }
    }
}

fn requirements(at: &At<'_, '_>, name_rule: fn(&At<'_, '_>, &str, &mut ErrorList), errors: &mut ErrorList) {
    let (limits, requests) = (at.get("limits"), at.get("requests"));
    let (mut compute, mut huge) = each_quantity(&limits, name_rule, errors);
    for (name, request) in requests.entries() {
        let own = requests.key(name);
        name_rule(&own, name, errors);
        resource_value(&own, name, errors);
        request_within_limit(&requests, &limits, name, request, errors);
        huge_page(&own, name, errors);
        compute |= matches!(name, "cpu" | "memory");
        huge |= is_huge_page(name);
    }
    if huge && !compute {
        at.forbidden(errors, "HugePages require cpu or memory");
    }
}

fn request_within_limit(
    requests: &At<'_, '_>,
    limits: &At<'_, '_>,
    name: &str,
    request: &Value,
    errors: &mut ErrorList,
) {
    let limit = limits.key(name);
    if !limit.is_set() {
        if !can_overcommit(name) {
            limits.required(errors, "Limit must be set for non overcommitable resources");
        }
        return;
    }
    let (own, most) = (nanos(request), nanos(limit.value));
    let shown = show(limit.value);
    if own != most && !can_overcommit(name) {
        requests.invalid_as(
            errors,
            show(request),
            &format!("must be equal to {name} limit of {shown}"),
        );
    } else if own > most {
        let detail = format!("must be less than or equal to {name} limit of {shown}");
        requests.invalid_as(errors, show(request), &detail);
    }
}

fn claims(list: &At<'_, '_>, pod_claims: &[&str], errors: &mut ErrorList) {
    let mut taken: Vec<String> = Vec::new();
    for claim in list.items() {
        let (name, request) = (claim.get("name").str(), claim.get("request"));
        if name.is_empty() {
            claim.required(errors, "");
            continue;
        }
        claim_twice(&claim, name, &request, &mut taken, errors);
        if !pod_claims.contains(&name) {
            let mut error = Error::not_found(&claim.path(), name);
            let mut sorted = pod_claims.to_vec();
            sorted.sort_unstable();
            error.detail = match sorted.is_empty() {
                true => "must be one of the names in pod.spec.resourceClaims which is empty".to_owned(),
                false => format!(
                    "must be one of the names in pod.spec.resourceClaims: {}",
                    sorted.join(", ")
                ),
            };
            errors.push(error);
        }
    }
}

fn claim_twice(
    claim: &At<'_, '_>,
    name: &str,
    request: &At<'_, '_>,
    taken: &mut Vec<String>,
    errors: &mut ErrorList,
) {
    if taken.iter().any(|known| known == name) {
        return claim.duplicate_as(errors, name);
    }
    let mut key = name.to_owned();
    if !request.is_empty() {
        dns_label(request, errors);
        key = format!("{name}/{}", request.str());
    }
    if taken.contains(&key) {
        claim.duplicate_as(errors, key.clone());
    } else if request.is_empty() {
        let prefix = format!("{name}/");
        for _ in taken.iter().filter(|known| known.starts_with(&prefix)) {
            claim.duplicate_as(errors, name);
        }
    }
    taken.push(key);
}

/// Names in `spec.resourceClaims`.
pub(super) fn claim_names<'v>(claims: &At<'_, 'v>) -> Vec<&'v str> {
    let names = claims.items().map(|claim| claim.get("name").str());
    names.filter(|name| !name.is_empty()).collect()
}

pub(super) fn validate_claims(list: &At<'_, '_>, context: Context<'_>, errors: &mut ErrorList) {
    let mut taken: Vec<&str> = Vec::new();
    for claim in list.items() {
        if context.is_mirror {
            At::root(&Value::Null).forbidden(errors, STATIC_PODS);
            continue;
        }
        let name = claim.get("name");
        if name.is_empty() {
            name.required(errors, "");
        } else if taken.contains(&name.str()) {
            name.duplicate(errors);
        } else {
            dns_label(&name, errors);
            taken.push(name.str());
        }
        let (direct, template) = (
            claim.get("resourceClaimName"),
            claim.get("resourceClaimTemplateName"),
        );
        let shown = || {
            let names = ["Name", "ResourceClaimName", "ResourceClaimTemplateName"];
            let fields = ["name", "resourceClaimName", "resourceClaimTemplateName"];
            go_struct(claim.value, &names.into_iter().zip(fields).collect::<Vec<_>>())
        };
        match (direct.is_set(), template.is_set()) {
            (true, true) => {
                let detail =
                    "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified";
                claim.invalid_raw(errors, &shown(), detail);
            }
            (false, false) => {
                let detail = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`";
                claim.invalid_raw(errors, &shown(), detail);
            }
            _ => {}
        }
        for reference in [direct, template].iter().filter(|reference| reference.is_set()) {
            reference.invalid_each(errors, names::name_is_dns_subdomain(reference.str(), false));
        }
    }
}

/// `spec.resources`: the whole pod's.
pub(super) fn validate_pod(spec: &At<'_, '_>, scope: &Scope<'_>, errors: &mut ErrorList) {
    let at = spec.get("resources");
    if !at.is_set() {
        return;
    }
    if scope.os == "windows" {
        return at.forbidden(errors, "may not be set for a windows pod");
    }
    if at.get("claims").is_set() {
        at.get("claims")
            .forbidden(errors, "claims may not be set for Resources at pod-level");
    }
    requirements(&at, pod_resource_name, errors);
    claims(&at.get("claims"), &scope.claims, errors);
    consistency(spec, &at, errors);
}

/// The pod's own numbers hold those of its containers.
fn consistency(spec: &At<'_, '_>, at: &At<'_, '_>, errors: &mut ErrorList) {
    let requests = at.get("requests");
    for (name, own) in requests.entries() {
        let needed = aggregate(spec, "requests", name);
        if needed > nanos(own) {
            let detail = format!(
                "must be greater than or equal to aggregate container requests of {}",
                text(needed, own)
            );
            requests.key(name).invalid_as(errors, show(own), &detail);
        }
    }
    let limits = at.get("limits");
    for (name, own) in limits.entries().filter(|(name, _)| is_huge_page(name)) {
        let needed = aggregate(spec, "limits", name);
        if needed > nanos(own) {
            let detail = format!(
                "must be greater than or equal to aggregate container limits of {}",
                text(needed, own)
            );
            limits.key(name).invalid_as(errors, show(own), &detail);
        }
    }
    let containers = at.get("containers");
    for (index, container) in spec.get("containers").items().enumerate() {
        for (name, limit) in container.get("resources").get("limits").entries() {
            let most = limits.key(name);
            if most.is_set() && nanos(limit) > nanos(most.value) {
                let detail = format!("must be less than or equal to pod limits of {}", show(most.value));
                let place = containers.index(index);
                place
                    .key(name)
                    .get("limits")
                    .invalid_as(errors, show(limit), &detail);
            }
        }
    }
}

/// A sum in the format of `like`.
fn text(nanos: i128, like: &Value) -> String {
    corten_meta::Quantity::from_nanos(nanos, quantity_of(like).format()).canonical()
}

/// What the containers need together: sidecars add to all that runs after them, other init containers run alone.
fn aggregate(spec: &At<'_, '_>, kind: &str, name: &str) -> i128 {
    let of = |container: &At<'_, '_>| {
        let resources = container.get("resources");
        let list = resources.get(kind);
        nanos(list.key(name).value)
    };
    let mut running: i128 = spec
        .get("containers")
        .items()
        .map(|container| of(&container))
        .sum();
    let (mut sidecars, mut peak) = (0, 0);
    for container in spec.get("initContainers").items() {
        if container.get("restartPolicy").str() == "Always" {
            sidecars += of(&container);
            running += of(&container);
            peak = peak.max(sidecars);
        } else {
            peak = peak.max(sidecars + of(&container));
        }
    }
    running.max(peak)
}
