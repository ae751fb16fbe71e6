//! The claim that was made for a pod's extended resources (`validatePodExtendedResourceClaimStatus`).

use corten_meta::names;
use serde_json::Value;

use super::super::super::rules::{At, ErrorList, dns_label};

pub(super) fn claim(at: &At<'_, '_>, spec: &Value, errors: &mut ErrorList) {
    if !at.is_set() {
        return;
    }
    let mappings = at.get("requestMappings");
    if mappings.is_empty() {
        mappings.required(errors, "at least one request mapping is required");
    }
    let mut seen: Vec<[&str; 3]> = Vec::new();
    for mapping in mappings.items() {
        let fields = ["containerName", "resourceName", "requestName"];
        asked(&mapping, spec, errors);
        let request = mapping.get("requestName");
        // Upstream names the field so, without the mapping.
        dns_label(&at.get("requestName").with(&request.str().into()), errors);
        let key = fields.map(|field| mapping.get(field).str());
        if seen.contains(&key) {
            for (field, text) in fields.iter().zip(key) {
                mapping.get(field).duplicate_as(errors, text);
            }
        }
        seen.push(key);
    }
    let name = at.get("resourceClaimName");
    match name.is_empty() {
        true => name.required(errors, ""),
        false => name.invalid_each(errors, names::name_is_dns_subdomain(name.str(), false)),
    }
}

/// A container of the pod asks for the resource.
fn asked(mapping: &At<'_, '_>, spec: &Value, errors: &mut ErrorList) {
    let (container, resource) = (mapping.get("containerName"), mapping.get("resourceName"));
    let lists = ["containers", "initContainers"].into_iter();
    let mut containers = lists.filter_map(|list| spec[list].as_array()).flatten();
    let known = containers.find(|known| known["name"].as_str() == Some(container.str()));
    match known {
        None => {
            let detail =
                "must match the name of an entry in spec.initContainers.name or spec.containers.name";
            container.invalid_as(errors, container.str(), detail);
        }
        Some(known) if known["resources"]["requests"].get(resource.str()).is_none() => {
            let detail = "must match the extended resource name of an entry in spec.initContainers.resources.requests or \
                          spec.containers.resources.requests";
            resource.invalid_as(errors, resource.str(), detail);
        }
        Some(_) => {}
    }
}
