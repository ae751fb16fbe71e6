//! Ingresses and their classes.

use corten_meta::names;
use serde_json::Value;

use super::super::rules::{
    At, ErrorList, dns_subdomain, ip_legacy, ip_warnings, parse_ip_sloppy, port_number,
};
use super::references::{domain_prefixed_path, group_if_set, same, segment, typed_local};
use super::{PLAIN, Rules};

pub(super) const RULES: Rules = Rules {
    create,
    body,
    status,
    warnings,
    status_warnings: address_warnings,
    ..PLAIN
};
pub(super) const CLASS: Rules = Rules {
    body: class,
    change: |at, old, errors| {
        same(
            &at.get("spec").get("controller"),
            &old["spec"]["controller"],
            errors,
        )
    },
    ..PLAIN
};

const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
const CONTROLLER_BYTES_MAX: usize = 250;

fn create(at: &At<'_, '_>, errors: &mut ErrorList) {
    let metadata = at.get("metadata");
    let noted = metadata.get("annotations").get(CLASS_ANNOTATION).value;
    let class = at.get("spec").get("ingressClassName").value;
    if !noted.is_null() && !class.is_null() && noted != class {
        let place = At::top("annotations", &Value::Null);
        let detail = "must match `ingressClassName` when both are specified";
        place
            .get(CLASS_ANNOTATION)
            .invalid_as(errors, noted.clone(), detail);
    }
}

fn address_warnings(ingress: &Value) -> Vec<String> {
    let at = At::root(ingress);
    let status = at.get("status");
    let balancer = status.get("loadBalancer");
    let list = balancer.get("ingress");
    // The path is that of the entry.
    let of = |entry: At<'_, '_>| ip_warnings(&entry.with(&entry.value["ip"]));
    list.items().flat_map(of).collect()
}

fn warnings(ingress: &Value, old: Option<&Value>) -> Vec<String> {
    let noted = |ingress: &Value| corten_meta::object::annotation(ingress, CLASS_ANNOTATION).is_some();
    if old.is_some() || !noted(ingress) {
        return Vec::new();
    }
    vec![format!(
        "annotation \"{CLASS_ANNOTATION}\" is deprecated, please use 'spec.ingressClassName' instead"
    )]
}

fn body(at: &At<'_, '_>, errors: &mut ErrorList) {
    let spec = at.get("spec");
    let (rules, default) = (spec.get("rules"), spec.get("defaultBackend"));
    if rules.is_empty() && !default.is_set() {
        spec.invalid_as(
            errors,
            rules.value.clone(),
            "either `defaultBackend` or `rules` must be specified",
        );
    }
    if default.is_set() {
        backend(&default, errors);
    }
    for rule in rules.items() {
        rule_host(&rule.get("host"), errors);
        let http = rule.get("http");
        if http.is_set() {
            http.get("paths").nonempty(errors);
            http.get("paths")
                .items()
                .for_each(|path| path_rules(&path, errors));
        }
    }
    for tls in spec.get("tls").items() {
        tls.get("hosts").items().for_each(|name| host(&name, errors));
        if !tls.get("secretName").is_empty() {
            dns_subdomain(&tls.get("secretName"), errors);
        }
    }
    if spec.get("ingressClassName").is_set() {
        dns_subdomain(&spec.get("ingressClassName"), errors);
    }
}

fn rule_host(at: &At<'_, '_>, errors: &mut ErrorList) {
    if at.is_empty() {
        return;
    }
    if parse_ip_sloppy(at.str()).is_some() {
        at.invalid(errors, "must be a DNS name, not an IP address");
    }
    host(at, errors);
}

fn host(at: &At<'_, '_>, errors: &mut ErrorList) {
    match at.str().contains('*') {
        true => at.invalid_each(errors, names::is_wildcard_dns1123_subdomain(at.str())),
        false => dns_subdomain(at, errors),
    }
}

fn path_rules(at: &At<'_, '_>, errors: &mut ErrorList) {
    let (kind, path) = (at.get("pathType"), at.get("path"));
    if !kind.is_set() {
        return kind.required(errors, "pathType must be specified");
    }
    let absolute = |errors: &mut ErrorList| {
        if !path.str().starts_with('/') {
            path.invalid_as(errors, path.str(), "must be an absolute path");
        }
    };
    match kind.str() {
        "Exact" | "Prefix" => {
            absolute(errors);
            for part in ["//", "/./", "/../", "%2f", "%2F"]
                .iter()
                .filter(|part| path.str().contains(**part))
            {
                path.invalid(errors, &format!("must not contain '{part}'"));
            }
            for end in ["/..", "/."].iter().filter(|end| path.str().ends_with(**end)) {
                path.invalid(errors, &format!("cannot end with '{end}'"));
            }
        }
        "ImplementationSpecific" if path.is_empty() => {}
        "ImplementationSpecific" => absolute(errors),
        _ => kind.not_supported(errors, &["Exact", "ImplementationSpecific", "Prefix"]),
    }
    backend(&at.get("backend"), errors);
}

fn backend(at: &At<'_, '_>, errors: &mut ErrorList) {
    let (resource, service) = (at.get("resource"), at.get("service"));
    match (resource.is_set(), service.is_set()) {
        (true, true) => at.invalid_as(errors, "", "cannot set both resource and service backends"),
        (true, false) => typed_local(&resource, errors),
        (false, false) => at.invalid_as(errors, "", "resource or service backend is required"),
        (false, true) => {
            let name = service.get("name");
            match name.is_empty() {
                true => name.required(errors, ""),
                false => name.invalid_each(errors, names::name_is_dns_label(name.str(), false)),
            }
            service_port(at, &service.get("port"), errors);
        }
    }
}

fn service_port(backend: &At<'_, '_>, at: &At<'_, '_>, errors: &mut ErrorList) {
    let (name, number) = (at.get("name"), at.get("number"));
    match (!name.is_empty(), number.int().unwrap_or(0) != 0) {
        (true, true) => backend.invalid_as(errors, "", "cannot set both port name & port number"),
        (true, false) => name.invalid_each(errors, names::is_port_name(name.str())),
        (false, true) => port_number(&number, errors),
        (false, false) => backend.required(errors, "port name or number is required"),
    }
}

fn status(at: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    let status = at.get("status");
    let balancer = status.get("loadBalancer");
    let before = old["status"]["loadBalancer"]["ingress"].as_array();
    let known: Vec<&str> = before
        .into_iter()
        .flatten()
        .filter_map(|point| point["ip"].as_str())
        .collect();
    for point in balancer.get("ingress").items() {
        if !point.get("ip").is_empty() {
            ip_legacy(&point.get("ip"), &known, errors);
        }
        let name = point.get("hostname");
        if !name.is_empty() {
            dns_subdomain(&name, errors);
            if parse_ip_sloppy(name.str()).is_some() {
                name.invalid(errors, "must be a DNS name, not an IP address");
            }
        }
    }
}

fn class(at: &At<'_, '_>, errors: &mut ErrorList) {
    let spec = at.get("spec");
    let controller = spec.get("controller");
    if controller.len() > CONTROLLER_BYTES_MAX {
        controller.too_long(errors, CONTROLLER_BYTES_MAX as i64);
    }
    domain_prefixed_path(&controller, errors);
    let parameters = spec.get("parameters");
    if !parameters.is_set() {
        return;
    }
    group_if_set(&parameters.get("apiGroup"), errors);
    segment(&parameters.get("kind"), errors);
    segment(&parameters.get("name"), errors);
    let (scope, namespace) = (parameters.get("scope"), parameters.get("namespace"));
    match scope.str() {
        _ if !scope.is_set() => scope.required(errors, ""),
        "Namespace" if !namespace.is_set() => {
            namespace.required(errors, "`parameters.scope` is set to 'Namespace'");
        }
        "Namespace" => namespace.invalid_each(errors, names::name_is_dns_label(namespace.str(), false)),
        "Cluster" if namespace.is_set() => {
            namespace.forbidden(errors, "`parameters.scope` is set to 'Cluster'");
        }
        "Cluster" => {}
        _ => scope.not_supported(errors, &["Cluster", "Namespace"]),
    }
}
