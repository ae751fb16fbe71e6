//! Security contexts of pods and containers.

use serde_json::Value;

use super::super::rules::{At, ErrorList, local_descending_path, user_or_group_id};
use super::spec::Scope;
use super::windows;

const PROFILE_TYPES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];
const SYSCTL_REGEX: &str = r"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
const SYSCTL_LENGTH_MAX: usize = 253;

/// `spec.securityContext`, with what of it stands in `spec` itself.
pub(super) fn validate_pod(spec: &At<'_, '_>, errors: &mut ErrorList) {
    let at = spec.get("securityContext");
    for field in ["fsGroup", "runAsUser", "runAsGroup"] {
        user_or_group_id(&at.get(field), errors);
    }
    for group in at.get("supplementalGroups").items() {
        user_or_group_id(&group, errors);
    }
    if spec.get("hostPID").bool() && spec.get("shareProcessNamespace").bool() {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        at.get("shareProcessNamespace").invalid_as(errors, true, detail);
    }
    sysctls(spec, &at.get("sysctls"), errors);
    at.get("fsGroupChangePolicy")
        .one_of_if_set(errors, &["Always", "OnRootMismatch"]);
    seccomp(&at.get("seccompProfile"), errors);
    windows::options(&at.get("windowsOptions"), errors);
    app_armor(&at.get("appArmorProfile"), errors);
    at.get("supplementalGroupsPolicy")
        .one_of_if_set(errors, &["Merge", "Strict"]);
    at.get("seLinuxChangePolicy")
        .one_of_if_set(errors, &["Recursive"]);
}

fn sysctls(spec: &At<'_, '_>, list: &At<'_, '_>, errors: &mut ErrorList) {
    let mut names: Vec<&str> = Vec::new();
    for sysctl in list.items() {
        let name = sysctl.get("name");
        if name.is_empty() {
            name.required(errors, "");
        } else if !is_sysctl_name(name.str()) {
            let detail =
                format!("must have at most {SYSCTL_LENGTH_MAX} characters and match regex {SYSCTL_REGEX}");
            name.invalid(errors, &detail);
        } else if names.contains(&name.str()) {
            name.duplicate(errors);
        }
        let dotted = name.str().replace('/', ".");
        let ipc = ["kernel.shm", "kernel.msg", "fs.mqueue."]
            .iter()
            .any(|prefix| dotted.starts_with(prefix));
        if spec.get("hostNetwork").bool() && dotted.starts_with("net.") {
            name.invalid(errors, "may not be specified when 'hostNetwork' is true");
        } else if spec.get("hostIPC").bool() && (ipc || dotted == "kernel.sem") {
            name.invalid(errors, "may not be specified when 'hostIPC' is true");
        }
        names.push(name.str());
    }
}

fn is_sysctl_name(name: &str) -> bool {
    let plain = |c: &u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let segment = |segment: &str| {
        let bytes = segment.as_bytes();
        bytes.first().is_some_and(plain)
            && bytes.last().is_some_and(plain)
            && bytes.iter().all(|c| plain(c) || matches!(c, b'-' | b'_'))
    };
    name.len() <= SYSCTL_LENGTH_MAX && name.split(['.', '/']).all(segment)
}

fn seccomp(at: &At<'_, '_>, errors: &mut ErrorList) {
    if !at.is_set() {
        return;
    }
    let (kind, profile) = (at.get("type"), at.get("localhostProfile"));
    match kind.str() {
        "" => kind.required(errors, "type is required when seccompProfile is set"),
        text if PROFILE_TYPES.contains(&text) => {}
        _ => kind.not_supported(errors, PROFILE_TYPES),
    }
    match (kind.str() == "Localhost", profile.is_set()) {
        (true, false) => profile.required(errors, "must be set when seccomp type is Localhost"),
        (true, true) => local_descending_path(&profile, errors),
        (false, true) => {
            let fields = [("Type", "type"), ("LocalhostProfile", "localhostProfile")];
            let shown = super::super::rules::go_struct(at.value, &fields);
            profile.invalid_raw(errors, &shown, "can only be set when seccomp type is Localhost");
        }
        (false, false) => {}
    }
}

fn app_armor(at: &At<'_, '_>, errors: &mut ErrorList) {
    const NEEDED: &str = "must be set when AppArmor type is Localhost";
    if !at.is_set() {
        return;
    }
    let (kind, profile) = (at.get("type"), at.get("localhostProfile"));
    match kind.str() {
        "Localhost" if !profile.is_set() => profile.required(errors, NEEDED),
        "Localhost" => {
            let trimmed = profile.str().trim();
            if trimmed != profile.str() {
                profile.invalid(errors, "must not be padded with whitespace");
            } else if trimmed.is_empty() {
                profile.required(errors, NEEDED);
            }
            if profile.len() > 4095 {
                profile.too_long(errors, 4095);
            }
        }
        "RuntimeDefault" | "Unconfined" => {
            if profile.is_set() {
                profile.invalid(errors, "can only be set when AppArmor type is Localhost");
            }
        }
        "" => kind.required(errors, "type is required when appArmorProfile is set"),
        _ => kind.not_supported(errors, PROFILE_TYPES),
    }
}

pub(super) fn validate_container(at: &At<'_, '_>, scope: &Scope<'_>, errors: &mut ErrorList) {
    if !at.is_set() {
        return;
    }
    user_or_group_id(&at.get("runAsUser"), errors);
    user_or_group_id(&at.get("runAsGroup"), errors);
    let mount = at.get("procMount");
    mount.one_of_if_set(errors, &["Default", "Unmasked"]);
    if mount.str() == "Unmasked" && scope.host_users {
        mount.invalid(errors, "`hostUsers` must be false to use `Unmasked`");
    }
    seccomp(&at.get("seccompProfile"), errors);
    if at.get("allowPrivilegeEscalation").value == &Value::Bool(false) {
        if at.get("privileged").bool() {
            at.invalid(
                errors,
                "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
            );
        }
        for capability in at.get("capabilities").get("add").items() {
            if capability.str() == "CAP_SYS_ADMIN" {
                let detail =
                    "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
                at.invalid(errors, detail);
            }
        }
    }
    windows::options(&at.get("windowsOptions"), errors);
    app_armor(&at.get("appArmorProfile"), errors);
}
