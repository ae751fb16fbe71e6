//! The checks of the standards and since when they hold (`pod-security-admission/policy`).

use serde_json::Value;

use super::policy::{Level, Standard};
use super::{baseline, restricted};

/// What is checked: a pod, or a template of pods.
#[derive(Clone, Copy)]
pub(super) struct Pod<'a> {
    pub metadata: &'a Value,
    pub spec: &'a Value,
}

impl<'a> Pod<'a> {
    /// Init containers, containers and ephemeral ones.
    pub(super) fn containers(self) -> impl Iterator<Item = &'a Value> {
        ["initContainers", "containers", "ephemeralContainers"]
            .into_iter()
            .flat_map(move |kind| self.spec[kind].as_array().into_iter().flatten())
    }

    /// Names of the containers that have a property.
    pub(super) fn names(self, has: impl Fn(&'a Value) -> bool) -> Vec<&'a str> {
        let found = self.containers().filter(|container| has(container));
        found
            .map(|container| container["name"].as_str().unwrap_or_default())
            .collect()
    }

    pub(super) fn is_windows(self) -> bool {
        self.spec["os"]["name"] == "windows"
    }

    /// In a user namespace of its own root is not the host's.
    pub(super) fn has_own_users(self) -> bool {
        self.spec["hostUsers"] == false
    }

    pub(super) fn security(self, field: &str) -> &'a Value {
        &self.spec["securityContext"][field]
    }
}

/// Of a container.
pub(super) fn security<'a>(container: &'a Value, field: &str) -> &'a Value {
    &container["securityContext"][field]
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub reason: &'static str,
    pub detail: String,
}

pub(super) fn violation(reason: &'static str, detail: String) -> Option<Violation> {
    Some(Violation { reason, detail })
}

/// `container "a"`, `containers "a", "b"`.
pub(super) fn named(what: &str, names: &[&str]) -> String {
    format!(
        "{what}{} {}",
        if names.len() == 1 { "" } else { "s" },
        quoted(names)
    )
}

pub(super) fn quoted(names: &[impl AsRef<str>]) -> String {
    let names: Vec<String> = names
        .iter()
        .map(|name| format!("\"{}\"", name.as_ref()))
        .collect();
    names.join(", ")
}

/// `pod and container "a"`: who set something, the pod itself and containers.
pub(super) fn setters(pod: bool, containers: &[&str]) -> Option<String> {
    let pod = pod.then(|| "pod".to_owned());
    let containers = (!containers.is_empty()).then(|| named("container", containers));
    let all: Vec<String> = pod.into_iter().chain(containers).collect();
    (!all.is_empty()).then(|| all.join(" and "))
}

type Run = fn(Pod<'_>) -> Option<Violation>;

struct Check {
    level: Level,
    /// Since which minor version, oldest first.
    versions: &'static [(u32, Run)],
    /// The one of the baseline that a restricted one takes the place of.
    replaces: Option<&'static str>,
    id: &'static str,
}

const fn base(id: &'static str, versions: &'static [(u32, Run)]) -> Check {
    Check {
        level: Level::Baseline,
        versions,
        replaces: None,
        id,
    }
}

const fn strict(versions: &'static [(u32, Run)], replaces: Option<&'static str>) -> Check {
    Check {
        level: Level::Restricted,
        versions,
        replaces,
        id: "",
    }
}

/// In the order of messages.
static CHECKS: [Check; 19] = [
    base("appArmorProfile", &[(0, baseline::app_armor)]),
    base("capabilities", &[(0, baseline::capabilities)]),
    base("hostNamespaces", &[(0, baseline::host_namespaces)]),
    base("hostPath", &[(0, baseline::host_path)]),
    base("hostPorts", &[(0, baseline::host_ports)]),
    base("probes", &[(34, baseline::probe_hosts)]),
    base("privileged", &[(0, baseline::privileged)]),
    base(
        "procMount",
        &[
            (0, baseline::proc_mount),
            (35, |pod| {
                baseline::proc_mount(pod).filter(|_| !pod.has_own_users())
            }),
        ],
    ),
    base("seLinux", &[(0, baseline::se_linux), (31, baseline::se_linux_31)]),
    base(
        "seccomp",
        &[(0, baseline::seccomp_annotations), (19, baseline::seccomp)],
    ),
    base(
        "sysctls",
        &[
            (0, |pod| baseline::sysctls(pod, 5)),
            (27, |pod| baseline::sysctls(pod, 6)),
            (29, |pod| baseline::sysctls(pod, 10)),
            (32, |pod| baseline::sysctls(pod, 12)),
        ],
    ),
    base("hostProcess", &[(0, baseline::host_process)]),
    strict(
        &[
            (8, restricted::privilege_escalation),
            (25, |pod| {
                restricted::privilege_escalation(pod).filter(|_| !pod.is_windows())
            }),
        ],
        None,
    ),
    strict(
        &[
            (22, restricted::capabilities),
            (25, |pod| {
                restricted::capabilities(pod).filter(|_| !pod.is_windows())
            }),
        ],
        Some("capabilities"),
    ),
    strict(&[(35, baseline::proc_mount)], Some("procMount")),
    strict(&[(0, restricted::volumes)], Some("hostPath")),
    strict(
        &[
            (0, restricted::non_root),
            (35, |pod| {
                restricted::non_root(pod).filter(|_| !pod.has_own_users())
            }),
        ],
        None,
    ),
    strict(
        &[
            (23, restricted::user),
            (35, |pod| restricted::user(pod).filter(|_| !pod.has_own_users())),
        ],
        None,
    ),
    strict(
        &[
            (19, restricted::seccomp),
            (25, |pod| restricted::seccomp(pod).filter(|_| !pod.is_windows())),
        ],
        Some("seccomp"),
    ),
];

/// What a pod does that a standard does not allow.
pub(super) fn violations(pod: Pod<'_>, standard: Standard) -> Vec<Violation> {
    if standard.level == Level::Privileged {
        return Vec::new();
    }
    let minor = standard.minor();
    let current = |check: &Check| check.versions.iter().rev().find(|(since, _)| *since <= minor);
    let applies = |check: &&Check| check.level <= standard.level && current(check).is_some();
    let replaced: Vec<&str> = CHECKS
        .iter()
        .filter(applies)
        .filter_map(|check| check.replaces)
        .collect();
    CHECKS
        .iter()
        .filter(applies)
        .filter(|check| !replaced.contains(&check.id))
        .filter_map(|check| current(check)?.1(pod))
        .collect()
}

pub(super) fn reasons(violations: &[Violation]) -> String {
    let reasons: Vec<&str> = violations.iter().map(|violation| violation.reason).collect();
    reasons.join(", ")
}

pub(super) fn details(violations: &[Violation]) -> String {
    let all: Vec<String> = violations
        .iter()
        .map(|violation| match violation.detail.as_str() {
            "" => violation.reason.to_owned(),
            detail => format!("{} ({detail})", violation.reason),
        })
        .collect();
    all.join(", ")
}
