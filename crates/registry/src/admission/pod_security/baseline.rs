//! What no pod may do that is not privileged.

use std::collections::BTreeSet;

use serde_json::Value;

use super::checks::{Pod, Violation, named, quoted, security, setters, violation};

const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
/// In the order in which they came to be allowed.
const SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];
const APP_ARMOR_PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_PREFIX: &str = "container.seccomp.security.alpha.kubernetes.io/";

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn sorted<'a>(values: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    values.collect::<BTreeSet<_>>().into_iter().collect()
}

/// A profile that is there and not of an allowed type.
fn is_bad_profile(profile: &Value) -> bool {
    !profile.is_null() && !["RuntimeDefault", "Localhost"].contains(&text(&profile["type"]))
}

pub(super) fn app_armor(pod: Pod<'_>) -> Option<Violation> {
    const FIELD: &str = "appArmorProfile";
    let of_pod = pod.security(FIELD);
    let containers = pod.names(|container| is_bad_profile(security(container, FIELD)));
    let profiles =
        std::iter::once(of_pod).chain(pod.containers().map(|container| security(container, FIELD)));
    let types = profiles
        .filter(|profile| is_bad_profile(profile))
        .map(|profile| text(&profile["type"]));
    let mut values: Vec<String> = sorted(types).into_iter().map(str::to_owned).collect();
    let allowed = |value: &str| matches!(value, "" | "runtime/default") || value.starts_with("localhost/");
    let annotations: BTreeSet<String> = pod.metadata["annotations"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, value)| key.starts_with(APP_ARMOR_PREFIX) && !allowed(text(value)))
        .map(|(key, value)| format!("{key}={}", corten_meta::quote(text(value))))
        .collect();
    let mut who: Vec<String> = setters(is_bad_profile(of_pod), &containers).into_iter().collect();
    if !annotations.is_empty() {
        who.push(
            if annotations.len() == 1 {
                "annotation"
            } else {
                "annotations"
            }
            .to_owned(),
        );
        values.extend(annotations);
    }
    if who.is_empty() {
        return None;
    }
    let reason = match values.len() {
        1 => "forbidden AppArmor profile",
        _ => "forbidden AppArmor profiles",
    };
    let (who, values) = (who.join(" and "), quoted(&values));
    violation(
        reason,
        format!("{who} must not set AppArmor profile type to {values}"),
    )
}

pub(super) fn capabilities(pod: Pod<'_>) -> Option<Violation> {
    let added = |container| {
        items(&security(container, "capabilities")["add"])
            .map(text)
            .filter(|capability| !CAPABILITIES.contains(capability))
    };
    let containers = pod.names(|container| added(container).next().is_some());
    if containers.is_empty() {
        return None;
    }
    let capabilities = quoted(&sorted(pod.containers().flat_map(added)));
    let who = named("container", &containers);
    let detail = format!("{who} must not include {capabilities} in securityContext.capabilities.add");
    violation("non-default capabilities", detail)
}

pub(super) fn host_namespaces(pod: Pod<'_>) -> Option<Violation> {
    let shared: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .into_iter()
        .filter(|field| pod.spec[*field] == true)
        .map(|field| format!("{field}=true"))
        .collect();
    if shared.is_empty() {
        return None;
    }
    violation("host namespaces", shared.join(", "))
}

pub(super) fn host_path(pod: Pod<'_>) -> Option<Violation> {
    let volumes: Vec<&str> = items(&pod.spec["volumes"])
        .filter(|volume| !volume["hostPath"].is_null())
        .map(|volume| text(&volume["name"]))
        .collect();
    if volumes.is_empty() {
        return None;
    }
    violation("hostPath volumes", named("volume", &volumes))
}

pub(super) fn host_ports(pod: Pod<'_>) -> Option<Violation> {
    let ports = |container: &Value| -> Vec<String> {
        items(&container["ports"])
            .filter_map(|port| port["hostPort"].as_i64())
            .filter(|port| *port != 0)
            .map(|port| port.to_string())
            .collect()
    };
    let containers = pod.names(|container| !ports(container).is_empty());
    if containers.is_empty() {
        return None;
    }
    let all: BTreeSet<String> = pod.containers().flat_map(ports).collect();
    let detail = format!(
        "{} {} {} {}",
        named("container", &containers),
        if containers.len() == 1 { "uses" } else { "use" },
        if all.len() == 1 { "hostPort" } else { "hostPorts" },
        all.into_iter().collect::<Vec<_>>().join(", "),
    );
    violation("hostPort", detail)
}

pub(super) fn probe_hosts(pod: Pod<'_>) -> Option<Violation> {
    fn hosts(container: &Value) -> impl Iterator<Item = &str> {
        let lifecycle = &container["lifecycle"];
        [
            &container["livenessProbe"],
            &container["readinessProbe"],
            &container["startupProbe"],
            &lifecycle["postStart"],
            &lifecycle["preStop"],
        ]
        .into_iter()
        .flat_map(|handler| [&handler["httpGet"]["host"], &handler["tcpSocket"]["host"]])
        .map(text)
        .filter(|host| !host.is_empty())
    }
    let containers = sorted(
        pod.names(|container| hosts(container).next().is_some())
            .into_iter(),
    );
    if containers.is_empty() {
        return None;
    }
    let hosts = sorted(pod.containers().flat_map(hosts));
    let detail = format!(
        "{} {} {} {}",
        named("container", &containers),
        if containers.len() == 1 { "uses" } else { "use" },
        if hosts.len() == 1 {
            "probe or lifecycle host"
        } else {
            "probe or lifecycle hosts"
        },
        quoted(&hosts),
    );
    violation("probe or lifecycle host", detail)
}

pub(super) fn privileged(pod: Pod<'_>) -> Option<Violation> {
    let containers = pod.names(|container| security(container, "privileged") == true);
    if containers.is_empty() {
        return None;
    }
    let who = named("container", &containers);
    violation(
        "privileged",
        format!("{who} must not set securityContext.privileged=true"),
    )
}

pub(super) fn proc_mount(pod: Pod<'_>) -> Option<Violation> {
    let given = |container| {
        let mount = security(container, "procMount").as_str();
        mount.filter(|mount| *mount != "Default")
    };
    let containers = pod.names(|container| given(container).is_some());
    if containers.is_empty() {
        return None;
    }
    let (who, mounts) = (
        named("container", &containers),
        quoted(&sorted(pod.containers().filter_map(given))),
    );
    violation(
        "procMount",
        format!("{who} must not set securityContext.procMount to {mounts}"),
    )
}

pub(super) fn se_linux(pod: Pod<'_>) -> Option<Violation> {
    se_linux_options(pod, &["", "container_t", "container_init_t", "container_kvm_t"])
}

pub(super) fn se_linux_31(pod: Pod<'_>) -> Option<Violation> {
    let allowed = [
        "",
        "container_t",
        "container_init_t",
        "container_kvm_t",
        "container_engine_t",
    ];
    se_linux_options(pod, &allowed)
}

fn se_linux_options(pod: Pod<'_>, allowed: &[&str]) -> Option<Violation> {
    const FIELD: &str = "seLinuxOptions";
    let bad_type = |options: &&Value| !allowed.contains(&text(&options["type"]));
    let sets = |options: &&Value, field: &str| !text(&options[field]).is_empty();
    let is_bad = |options: &Value| bad_type(&options) || sets(&options, "user") || sets(&options, "role");
    let containers = pod.names(|container| is_bad(security(container, FIELD)));
    let who = setters(is_bad(pod.security(FIELD)), &containers)?;
    let all = || std::iter::once(pod.security(FIELD)).chain(pod.containers().map(|c| security(c, FIELD)));
    let types = sorted(all().filter(bad_type).map(|options| text(&options["type"])));
    let mut problems = Vec::new();
    if !types.is_empty() {
        problems.push(named("type", &types));
    }
    for field in ["user", "role"] {
        if all().any(|options| sets(&options, field)) {
            problems.push(format!("{field} may not be set"));
        }
    }
    let detail = format!(
        "{who} set forbidden securityContext.seLinuxOptions: {}",
        problems.join("; ")
    );
    violation("seLinuxOptions", detail)
}

pub(super) fn seccomp_annotations(pod: Pod<'_>) -> Option<Violation> {
    let allowed = |value: &str| {
        matches!(value, "runtime/default" | "docker/default") || value.starts_with("localhost/")
    };
    let keys = std::iter::once(SECCOMP_POD.to_owned()).chain(
        pod.containers()
            .map(|container| format!("{SECCOMP_PREFIX}{}", text(&container["name"]))),
    );
    let forbidden: BTreeSet<String> = keys
        .filter_map(|key| {
            let value = pod.metadata["annotations"].get(&key).map(text)?;
            (!allowed(value)).then(|| format!("{key}={}", corten_meta::quote(value)))
        })
        .collect();
    if forbidden.is_empty() {
        return None;
    }
    let what = if forbidden.len() == 1 {
        "annotation"
    } else {
        "annotations"
    };
    let list = forbidden.into_iter().collect::<Vec<_>>().join(", ");
    violation("seccompProfile", format!("forbidden {what} {list}"))
}

pub(super) fn seccomp(pod: Pod<'_>) -> Option<Violation> {
    const FIELD: &str = "seccompProfile";
    let containers = pod.names(|container| is_bad_profile(security(container, FIELD)));
    let who = setters(is_bad_profile(pod.security(FIELD)), &containers)?;
    let all = std::iter::once(pod.security(FIELD)).chain(pod.containers().map(|c| security(c, FIELD)));
    let types = all
        .filter(|profile| is_bad_profile(profile))
        .map(|profile| text(&profile["type"]));
    let types = quoted(&sorted(types));
    let detail = format!("{who} must not set securityContext.seccompProfile.type to {types}");
    violation("seccompProfile", detail)
}

/// The first `allowed` of [`SYSCTLS`] may be set.
pub(super) fn sysctls(pod: Pod<'_>, allowed: usize) -> Option<Violation> {
    let forbidden: Vec<&str> = items(pod.security("sysctls"))
        .map(|sysctl| text(&sysctl["name"]))
        .filter(|name| !SYSCTLS[..allowed].contains(name))
        .collect();
    if forbidden.is_empty() {
        return None;
    }
    violation("forbidden sysctls", forbidden.join(", "))
}

pub(super) fn host_process(pod: Pod<'_>) -> Option<Violation> {
    let is_host = |options: &Value| options["hostProcess"] == true;
    let containers = pod.names(|container| is_host(security(container, "windowsOptions")));
    let who = setters(is_host(pod.security("windowsOptions")), &containers)?;
    let detail = format!("{who} must not set securityContext.windowsOptions.hostProcess=true");
    violation("hostProcess", detail)
}
