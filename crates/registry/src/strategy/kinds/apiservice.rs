//! APIServices.

use corten_meta::field::Error;
use corten_meta::names;
use serde_json::{Value, json};

use super::super::StrategyContext;
use super::super::rules::{At, ErrorList};
use super::{PLAIN, Rules};

pub(super) const RULES: Rules = Rules {
    name: names::is_path_segment,
    prepare,
    body,
    status: |at, _, errors| {
        let status = at.get("status");
        for condition in status.get("conditions").items() {
            let (status, known) = (condition.get("status"), ["True", "False", "Unknown"]);
            if !known.contains(&status.str()) {
                status.not_supported(errors, &known);
            }
        }
    },
    unconditional_update: false,
    kube_finalizers: false,
    ..PLAIN
};

/// What the server serves itself is there at once.
fn prepare(ctx: &StrategyContext<'_>, service: &mut Value) {
    if service["spec"]["service"].is_null() {
        service["status"] = json!({"conditions": [{
            "type": "Available",
            "status": "True",
            "lastTransitionTime": ctx.write.now_text(),
            "reason": "Local",
            "message": "Local APIServices are always available",
        }]});
    }
}

fn body(at: &At<'_, '_>, errors: &mut ErrorList) {
    let (metadata, spec) = (at.get("metadata"), at.get("spec"));
    let (group, version) = (spec.get("group"), spec.get("version"));
    let wanted = format!("{}.{}", version.str(), group.str());
    for name in [metadata.get("generateName"), metadata.get("name")] {
        // A name that is no path segment is told only that.
        let segment = names::is_path_segment(name.str(), false).is_empty();
        if !name.is_empty() && segment && name.str() != wanted {
            let detail = format!(
                "must be `spec.version+\".\"+spec.group`: {}",
                corten_meta::quote(&wanted)
            );
            errors.push(Error::invalid(&name.path(), name.str(), detail));
        }
    }
    if !group.is_empty() {
        group.invalid_each(errors, names::is_dns1123_subdomain(group.str()));
    } else if version.str() != "v1" {
        group.required(
            errors,
            "only v1 may have an empty group and it better be legacy kube",
        );
    }
    for message in names::is_dns1035_label(version.str()) {
        version.invalid_as(errors, version.str(), &message);
    }
    for (field, most) in [("groupPriorityMinimum", 20000), ("versionPriority", 1000)] {
        let number = spec.get(field).int().unwrap_or(0);
        if !(1..=most).contains(&number) {
            let detail = format!("must be positive and less than {most}");
            spec.get(field).invalid_as(errors, number, &detail);
        }
    }
    backend(&spec, errors);
}

fn backend(spec: &At<'_, '_>, errors: &mut ErrorList) {
    let (bundle, insecure) = (spec.get("caBundle"), spec.get("insecureSkipTLSVerify"));
    let service = spec.get("service");
    if !service.is_set() {
        if !bundle.is_empty() {
            let bytes = bundle.str().trim_end_matches('=').len() * 3 / 4;
            bundle.invalid_as(
                errors,
                format!("{bytes} bytes"),
                "local APIServices may not have a caBundle",
            );
        }
        if insecure.bool() {
            insecure.invalid(errors, "local APIServices may not have insecureSkipTLSVerify");
        }
        return;
    }
    service.get("namespace").nonempty(errors);
    service.get("name").nonempty(errors);
    let port = service.get("port").int().unwrap_or(0);
    let messages = names::is_port_number(port);
    if !messages.is_empty() {
        service.get("port").invalid_as(
            errors,
            port,
            &format!("port is not valid: {}", messages.join(", ")),
        );
    }
    if insecure.bool() && !bundle.is_empty() {
        insecure.invalid(errors, "may not be true if caBundle is present");
    }
}
