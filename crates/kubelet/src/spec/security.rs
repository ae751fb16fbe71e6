//! Security contexts: the pod's and the container's merged, in the runtime's terms.

use crate::pod::PodExt;
use corten_runtime::cri::{self, NamespaceMode, security_profile::ProfileType};
use k8s_openapi::api::core::v1::{
    AppArmorProfile, Capabilities, Container, Pod, PodSecurityContext, SeccompProfile, SecurityContext,
};
use std::path::Path;

const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// The user an image wants to run as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageUser {
    Uid(i64),
    Name(String),
}

impl From<&cri::Image> for ImageUser {
    fn from(image: &cri::Image) -> Self {
        match &image.uid {
            Some(uid) => Self::Uid(uid.value),
            None if image.username.is_empty() => Self::Uid(0),
            None => Self::Name(image.username.clone()),
        }
    }
}

fn pod_context(pod: &Pod) -> Option<&PodSecurityContext> {
    pod.spec().security_context.as_ref()
}

/// A container's context with the pod's filling its gaps.
pub fn effective(pod: &Pod, c: &Container) -> SecurityContext {
    let mut out = c.security_context.clone().unwrap_or_default();
    if let Some(p) = pod_context(pod) {
        out.run_as_user = out.run_as_user.or(p.run_as_user);
        out.run_as_group = out.run_as_group.or(p.run_as_group);
        out.run_as_non_root = out.run_as_non_root.or(p.run_as_non_root);
        out.se_linux_options = out.se_linux_options.or_else(|| p.se_linux_options.clone());
        out.seccomp_profile = out.seccomp_profile.or_else(|| p.seccomp_profile.clone());
        out.app_armor_profile = out.app_armor_profile.or_else(|| p.app_armor_profile.clone());
    }
    out
}

/// Refuses a container that would run as root against its will (upstream's `verifyRunAsNonRoot`).
///
/// # Errors
/// Upstream's message, which becomes the container's `CreateContainerConfigError`.
pub fn verify_non_root(pod: &Pod, c: &Container, user: &ImageUser) -> Result<(), String> {
    let sc = effective(pod, c);
    if sc.run_as_non_root != Some(true) {
        return Ok(());
    }
    let who = format!("(pod: \"{}\", container: {})", pod.desc(), c.name);
    match (sc.run_as_user, user) {
        (Some(0), _) => Err(format!("container's runAsUser breaks non-root policy {who}")),
        (Some(_), _) => Ok(()),
        (None, ImageUser::Name(name)) => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root {who}"
        )),
        (None, ImageUser::Uid(0)) => Err(format!(
            "container has runAsNonRoot and image will run as root {who}"
        )),
        (None, ImageUser::Uid(uid)) if !(0..=i64::from(i32::MAX)).contains(uid) => Err(format!(
            "container has runAsNonRoot and image has an invalid user id ({uid}). (Must be 1-({})): must be between 0 and {}, inclusive {who}",
            i32::MAX,
            i32::MAX
        )),
        (None, ImageUser::Uid(_)) => Ok(()),
    }
}

fn profile(kind: ProfileType, local: Option<String>) -> cri::SecurityProfile {
    cri::SecurityProfile {
        profile_type: kind.into(),
        localhost_ref: local.unwrap_or_default(),
    }
}

/// Seccomp profiles of type Localhost are files under `root`.
fn seccomp(p: Option<&SeccompProfile>, root: &Path) -> Result<cri::SecurityProfile, String> {
    Ok(
        match p.map(|p| (p.type_.as_str(), p.localhost_profile.as_deref())) {
            Some(("RuntimeDefault", _)) => profile(ProfileType::RuntimeDefault, None),
            Some(("Localhost", Some(file))) if !file.is_empty() => profile(
                ProfileType::Localhost,
                Some(root.join(file).display().to_string()),
            ),
            Some(("Localhost", _)) => {
                return Err("localhostProfile must be set if seccompProfile type is Localhost.".into());
            }
            _ => profile(ProfileType::Unconfined, None),
        },
    )
}

fn apparmor(p: &AppArmorProfile) -> cri::SecurityProfile {
    match p.type_.as_str() {
        "RuntimeDefault" => profile(ProfileType::RuntimeDefault, None),
        "Localhost" => profile(ProfileType::Localhost, p.localhost_profile.clone()),
        _ => profile(ProfileType::Unconfined, None),
    }
}

fn capabilities(c: &Capabilities) -> cri::Capability {
    cri::Capability {
        add_capabilities: c.add.clone().unwrap_or_default(),
        drop_capabilities: c.drop.clone().unwrap_or_default(),
        add_ambient_capabilities: Vec::new(),
    }
}

/// Which of the node's namespaces the pod uses. `target`: the container whose PID namespace an ephemeral container
/// joins.
pub fn namespaces(pod: &Pod, target: Option<&str>) -> cri::NamespaceOption {
    let spec = pod.spec();
    let node_or_pod = |host: Option<bool>| {
        if host.unwrap_or(false) {
            NamespaceMode::Node
        } else {
            NamespaceMode::Pod
        }
    };
    let mut pid = match (spec.host_pid, spec.share_process_namespace) {
        (Some(true), _) => NamespaceMode::Node,
        (_, Some(true)) => NamespaceMode::Pod,
        _ => NamespaceMode::Container,
    };
    if target.is_some() && pid == NamespaceMode::Container {
        pid = NamespaceMode::Target;
    }
    cri::NamespaceOption {
        network: node_or_pod(spec.host_network).into(),
        pid: pid.into(),
        ipc: node_or_pod(spec.host_ipc).into(),
        target_id: if pid == NamespaceMode::Target {
            target.unwrap_or_default().into()
        } else {
            String::new()
        },
        ..Default::default()
    }
}

/// Groups that come with the pod: fsGroup and its supplemental groups.
pub fn supplemental_groups(pod: &Pod) -> Vec<i64> {
    let Some(p) = pod_context(pod) else {
        return Vec::new();
    };
    p.fs_group
        .into_iter()
        .chain(p.supplemental_groups.iter().flatten().copied())
        .collect()
}

/// Whether the pod says anything about the user and groups of a container. Only then does its status repeat what the
/// runtime made of it (KEP-3619): most pods leave it to the image, as do runtimes that know nothing of the policy.
pub fn states_identity(pod: &Pod, c: &Container) -> bool {
    let sc = effective(pod, c);
    let policy = pod_context(pod).is_some_and(|p| p.supplemental_groups_policy.is_some());
    policy || sc.run_as_user.is_some() || sc.run_as_group.is_some() || !supplemental_groups(pod).is_empty()
}

pub fn groups_policy(pod: &Pod) -> i32 {
    let strict = pod_context(pod).and_then(|p| p.supplemental_groups_policy.as_deref()) == Some("Strict");
    let policy = if strict {
        cri::SupplementalGroupsPolicy::Strict
    } else {
        cri::SupplementalGroupsPolicy::Merge
    };
    policy.into()
}

/// The runtime's security context of one container.
///
/// # Errors
/// When a profile is incomplete.
pub fn container(
    pod: &Pod,
    c: &Container,
    user: &ImageUser,
    target: Option<&str>,
    seccomp_root: &Path,
) -> Result<cri::LinuxContainerSecurityContext, String> {
    let sc = effective(pod, c);
    let privileged = sc.privileged.unwrap_or(false);
    let unmasked = sc.proc_mount.as_deref() == Some("Unmasked");
    let paths = |list: &[&str]| {
        if unmasked {
            Vec::new()
        } else {
            list.iter().map(|p| (*p).to_owned()).collect()
        }
    };
    let mut out = cri::LinuxContainerSecurityContext {
        capabilities: sc.capabilities.as_ref().map(capabilities),
        privileged,
        namespace_options: Some(namespaces(pod, target)),
        run_as_user: sc.run_as_user.map(|value| cri::Int64Value { value }),
        run_as_group: sc.run_as_group.map(|value| cri::Int64Value { value }),
        readonly_rootfs: sc.read_only_root_filesystem.unwrap_or(false),
        supplemental_groups: supplemental_groups(pod),
        supplemental_groups_policy: groups_policy(pod),
        // allowPrivilegeEscalation: unset means allowed; privileged containers and CAP_SYS_ADMIN imply it.
        no_new_privs: sc.allow_privilege_escalation == Some(false) && !privileged,
        masked_paths: paths(&MASKED),
        readonly_paths: paths(&READ_ONLY),
        seccomp: Some(seccomp(sc.seccomp_profile.as_ref(), seccomp_root)?),
        apparmor: sc.app_armor_profile.as_ref().map(apparmor),
        ..Default::default()
    };
    if out.run_as_user.is_none() {
        match user {
            ImageUser::Uid(value) => out.run_as_user = Some(cri::Int64Value { value: *value }),
            ImageUser::Name(name) => out.run_as_username.clone_from(name),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::PodSpec;

    #[test]
    fn the_container_goes_above_the_pod() {
        let pod = Pod {
            spec: Some(PodSpec {
                security_context: Some(PodSecurityContext {
                    run_as_user: Some(1),
                    run_as_non_root: Some(true),
                    fs_group: Some(7),
                    supplemental_groups: Some(vec![8]),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        };
        let mut c = Container {
            name: "web".into(),
            ..Container::default()
        };
        assert!(
            verify_non_root(&pod, &c, &ImageUser::Uid(0)).is_ok(),
            "runAsUser of the pod is not root"
        );
        c.security_context = Some(SecurityContext {
            run_as_user: Some(0),
            ..Default::default()
        });
        let err = verify_non_root(&pod, &c, &ImageUser::Uid(5)).unwrap_err();
        assert!(
            err.starts_with("container's runAsUser breaks non-root policy"),
            "{err}"
        );
        let sc = container(&pod, &c, &ImageUser::Uid(5), None, Path::new("/s")).unwrap();
        assert_eq!(sc.supplemental_groups, [7, 8]);
        assert_eq!(sc.run_as_user.map(|u| u.value), Some(0));
    }
}
