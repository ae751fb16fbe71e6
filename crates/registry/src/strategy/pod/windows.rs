//! What only Windows pods have, and what they cannot have.

use corten_meta::names;
use serde_json::Value;

use super::super::rules::{At, ErrorList};
use super::containers;

const CREDENTIAL_KIB: usize = 64;
const FORBIDDEN: &str = "cannot be set for a windows pod";

pub(super) fn options(at: &At<'_, '_>, errors: &mut ErrorList) {
    let name = at.get("gmsaCredentialSpecName");
    if name.is_set() {
        name.invalid_each(errors, names::is_dns1123_subdomain(name.str()));
    }
    let credential = at.get("gmsaCredentialSpec");
    if credential.is_set() && credential.is_empty() {
        credential.invalid(errors, "gmsaCredentialSpec cannot be an empty string");
    } else if credential.len() > CREDENTIAL_KIB * 1024 {
        credential.invalid(
            errors,
            &format!("gmsaCredentialSpec size must be under {CREDENTIAL_KIB} KiB"),
        );
    }
    let user = at.get("runAsUserName");
    if user.is_set() {
        user_name(&user, errors);
    }
}

fn user_name(at: &At<'_, '_>, errors: &mut ErrorList) {
    let text = at.str();
    let problem = match text {
        "" => Some("runAsUserName cannot be an empty string"),
        text if text.chars().any(char::is_control) => Some("runAsUserName cannot contain control characters"),
        text if text.matches('\\').count() > 1 => {
            Some("runAsUserName cannot contain more than one backslash")
        }
        _ => None,
    };
    if let Some(problem) = problem {
        return at.invalid(errors, problem);
    }
    let (domain, user) = text
        .split_once('\\')
        .map_or((None, text), |(domain, user)| (Some(domain), user));
    if domain.is_some_and(|domain| domain.len() >= 256) {
        at.invalid(
            errors,
            "runAsUserName's Domain length must be under 256 characters",
        );
    }
    if domain.is_some_and(|domain| !is_net_bios(domain) && !is_dns(domain)) {
        at.invalid(
            errors,
            "runAsUserName's Domain doesn't match the NetBios nor the DNS format",
        );
    }
    if user.is_empty() {
        at.invalid(errors, "runAsUserName's User cannot be empty");
    } else if user.len() > 104 {
        at.invalid(
            errors,
            "runAsUserName's User length must not be longer than 104 characters",
        );
    }
    if !user.is_empty() && user.chars().all(|c| matches!(c, '.' | ' ')) {
        at.invalid(
            errors,
            "runAsUserName's User cannot contain only periods or spaces",
        );
    }
    if user.contains([
        '"', '/', '\\', ':', ';', '|', '=', ',', '+', '*', '?', '<', '>', '@', '[', ']',
    ]) {
        let detail = r#"runAsUserName's User cannot contain the following characters: "/\:;|=,+*?<>@[]"#;
        at.invalid(errors, detail);
    }
}

fn is_net_bios(domain: &str) -> bool {
    let length = domain.chars().count();
    (1..=15).contains(&length)
        && !domain.starts_with('.')
        && !domain.contains(['\\', '/', ':', '*', '?', '"', '<', '>', '|'])
}

fn is_dns(domain: &str) -> bool {
    domain
        .split('.')
        .all(|label| names::is_dns1123_label(&label.to_lowercase()).is_empty())
}

pub(super) fn host_process(spec: &At<'_, '_>, errors: &mut ErrorList) {
    let of = |at: &At<'_, '_>| {
        at.get("securityContext")
            .get("windowsOptions")
            .get("hostProcess")
            .value
            .as_bool()
    };
    let pod = of(spec);
    let (mut all, mut host) = (0, 0);
    containers::each(spec, &mut |container| {
        all += 1;
        let own = of(container);
        host += i32::from(own.or(pod) == Some(true));
        if let Some((pod, own)) = pod.zip(own).filter(|(pod, own)| pod != own) {
            let detail = format!("pod hostProcess value must be identical if both are specified, was {pod}");
            let context = container.get("securityContext");
            let options = context.get("windowsOptions");
            options.get("hostProcess").invalid_as(errors, own, &detail);
        }
    });
    if host == 0 {
        return;
    }
    if host != all {
        let detail =
            "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        spec.invalid_as(errors, "", detail);
    }
    if !spec.get("hostNetwork").bool() {
        let detail = "hostNetwork must be true if pod contains any hostProcess containers";
        spec.get("hostNetwork").invalid_as(errors, false, detail);
    }
}

pub(super) fn validate_linux(spec: &At<'_, '_>, errors: &mut ErrorList) {
    let check = |at: &At<'_, '_>, errors: &mut ErrorList| {
        let context = at.get("securityContext");
        let options = context.get("windowsOptions");
        if options.is_set() {
            options.forbidden(errors, "windows options cannot be set for a linux pod");
        }
    };
    check(spec, errors);
    containers::each(spec, &mut |container| check(container, errors));
}

/// Fields of a pod that Windows does not know: in its security context, and (`""`) in the spec itself.
const POD_FIELDS: &[(&str, &str)] = &[
    ("securityContext", "appArmorProfile"),
    ("securityContext", "seLinuxOptions"),
    ("", "hostUsers"),
    ("", "hostPID"),
    ("", "hostIPC"),
    ("securityContext", "seccompProfile"),
    ("securityContext", "fsGroup"),
    ("securityContext", "fsGroupChangePolicy"),
    ("securityContext", "sysctls"),
    ("", "shareProcessNamespace"),
    ("securityContext", "runAsUser"),
    ("securityContext", "runAsGroup"),
    ("securityContext", "supplementalGroups"),
    ("securityContext", "supplementalGroupsPolicy"),
    ("securityContext", "seLinuxChangePolicy"),
];
const CONTAINER_FIELDS: &[&str] = &[
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
];

pub(super) fn validate_windows(spec: &At<'_, '_>, errors: &mut ErrorList) {
    let context = spec.get("securityContext");
    for (parent, field) in POD_FIELDS {
        let at = if parent.is_empty() {
            spec.get(field)
        } else {
            context.get(field)
        };
        let unset = matches!(*field, "hostPID" | "hostIPC") && at.value == &Value::Bool(false);
        if at.is_set() && !unset {
            at.forbidden(errors, FORBIDDEN);
        }
    }
    containers::each(spec, &mut |container| {
        let context = container.get("securityContext");
        for field in CONTAINER_FIELDS {
            if context.get(field).is_set() {
                context.get(field).forbidden(errors, FORBIDDEN);
            }
        }
    });
}
