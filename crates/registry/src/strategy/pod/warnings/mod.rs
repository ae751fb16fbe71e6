//! Warnings about pods and templates of pods (`pkg/api/pod/warnings.go`), in upstream's order.
//!
//! Upstream passes the old pod along and looks at it nowhere, so these take the new one alone.

mod app_armor;
mod containers;
mod ports;
mod scheduling;
#[cfg(test)]
mod tests;
mod volumes;

use std::collections::HashSet;

use corten_meta::{names, object};
use serde_json::Value;

use super::super::rules::{At, ip_warnings, quantity_of, show};
pub(in crate::strategy) use volumes::{claim_spec, plugin};

type Warnings = Vec<String>;

const SECCOMP: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_DETAIL: &str = "non-functional in v1.27+; use the \"seccompProfile\" field instead";
/// `(annotation, what to say of it)`.
const ANNOTATIONS: [(&str, &str); 3] = [
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    (
        "security.alpha.kubernetes.io/sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
    (
        "security.alpha.kubernetes.io/unsafe-sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
];
/// Resources counted in bytes.
const IN_BYTES: [&str; 2] = ["memory", "ephemeral-storage"];

/// A pod when it is created; its updates are silent.
pub(super) fn of_pod(pod: &Value) -> Warnings {
    let root = At::root(pod);
    let what = "this is used in the Pod's hostname, which can result in surprising behavior";
    let mut warnings: Warnings = name(pod, what).into_iter().collect();
    warnings.extend(of(&root, false));
    warnings
}

/// Addresses in a pod's status.
pub(super) fn of_status(pod: &Value) -> Warnings {
    let root = At::root(pod);
    let status = root.get("status");
    let mut warnings = Warnings::new();
    for field in ["podIPs", "hostIPs"] {
        for item in status.get(field).items() {
            warnings.extend(ip_warnings(&item.get("ip")));
        }
    }
    warnings
}

/// A template at its place in the workload.
pub(in crate::strategy) fn of_template(template: &At<'_, '_>) -> Warnings {
    of(template, true)
}

/// The template of an object that has it at `spec.template`.
pub(in crate::strategy) fn of_workload(workload: &Value) -> Warnings {
    of_template(&At::root(workload).get("spec").get("template"))
}

/// The same, where the workload's name becomes part of names of pods.
pub(in crate::strategy) fn of_named_workload(workload: &Value) -> Warnings {
    let name = name_of_pods(workload);
    name.into_iter().chain(of_workload(workload)).collect()
}

/// The template after an update. A template counts as new when the generation has risen.
pub(in crate::strategy) fn of_changed_workload(workload: &Value, old: &Value) -> Warnings {
    match is_changed(workload, old) {
        true => of_workload(workload),
        false => Warnings::new(),
    }
}

pub(in crate::strategy) fn is_changed(new: &Value, old: &Value) -> bool {
    object::generation(new) != object::generation(old)
}

/// A name that becomes part of names of pods.
pub(in crate::strategy) fn name_of_pods(workload: &Value) -> Option<String> {
    let what = "this is used in Pod names and hostnames, which can result in surprising behavior";
    name(workload, what)
}

fn name(named: &Value, what: &str) -> Option<String> {
    let messages = names::is_dns1123_label(object::name(named));
    let list = messages.join(" ");
    (!messages.is_empty()).then(|| format!("metadata.name: {what}; a DNS label is recommended: [{list}]"))
}

/// `warningsForPodSpecAndMeta`.
fn of(pod: &At<'_, '_>, is_template: bool) -> Warnings {
    let metadata = pod.get("metadata");
    let (annotations, spec) = (metadata.get("annotations"), pod.get("spec"));
    let mut warnings = scheduling::nodes(&spec);
    for (key, message) in ANNOTATIONS {
        warnings.extend(annotation(&annotations, key, message));
    }
    warnings.extend(volumes::plugins(&spec));
    warnings.extend(volumes::overlaps(&spec));
    warnings.extend(repetitions(&spec));
    for resource in IN_BYTES {
        warnings.extend(fractional(&spec.get("overhead"), resource));
    }
    if spec.value["securityContext"]["seccompProfile"].is_null() {
        warnings.extend(annotation(&annotations, SECCOMP, SECCOMP_DETAIL));
    }
    super::containers::each(&spec, &mut |container| {
        warnings.extend(containers::seccomp(container, &annotations));
        if is_template {
            warnings.extend(app_armor::of_container(container, &annotations, &spec));
        }
        warnings.extend(containers::resources(container));
        warnings.extend(containers::env(container));
    });
    warnings.extend(ports::of(&spec));
    let grace = spec.get("terminationGracePeriodSeconds");
    // Of a pod, upstream reads a negative period as 1 already.
    if is_template && grace.int().is_some_and(|seconds| seconds < 0) {
        let detail = "must be >= 0; negative values are invalid and will be treated as 1";
        warnings.push(format!("{}: {detail}", grace.path()));
    }
    warnings.extend(scheduling::pods(&spec));
    warnings.extend(addresses(&spec));
    warnings
}

/// What is said of an annotation that is there.
pub(in crate::strategy) fn annotation(annotations: &At<'_, '_>, key: &str, message: &str) -> Option<String> {
    let noted = annotations.key(key);
    noted.is_set().then(|| format!("{}: {message}", noted.path()))
}

fn repetitions(spec: &At<'_, '_>) -> Warnings {
    let (aliases, secrets) = (spec.get("hostAliases"), spec.get("imagePullSecrets"));
    let mut warnings = repeated(&aliases, "ip");
    warnings.extend(repeated(&secrets, "name"));
    for secret in secrets.items() {
        let name = secret.get("name");
        if name.is_empty() {
            warnings.push(format!("{}: invalid empty name \"\"", name.path()));
        }
    }
    warnings
}

fn repeated(list: &At<'_, '_>, field: &str) -> Warnings {
    let mut seen = HashSet::new();
    let mut warnings = Warnings::new();
    for item in list.items() {
        let key = item.get(field);
        if !seen.insert(key.str()) {
            let quoted = corten_meta::quote(key.str());
            warnings.push(format!("{}: duplicate {field} {quoted}", key.path()));
        }
    }
    warnings
}

/// An amount of `resource` that is no whole number.
fn fractional(list: &At<'_, '_>, resource: &str) -> Option<String> {
    let amount = list.key(resource);
    let is_whole = quantity_of(amount.value).milli_value() % 1000 == 0;
    (!is_whole).then(|| {
        let shown = corten_meta::quote(&show(amount.value));
        format!(
            "{}: fractional byte value {shown} is invalid, must be an integer",
            amount.path()
        )
    })
}

fn addresses(spec: &At<'_, '_>) -> Warnings {
    let mut warnings = Warnings::new();
    for server in spec.get("dnsConfig").get("nameservers").items() {
        warnings.extend(ip_warnings(&server));
    }
    for alias in spec.get("hostAliases").items() {
        warnings.extend(ip_warnings(&alias.get("ip")));
    }
    warnings
}
