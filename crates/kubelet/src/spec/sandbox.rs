//! The sandbox of a pod.

use crate::pod::PodExt;
use crate::spec::hosts::Hostname;
use crate::spec::{labels, resources, security};
use corten_runtime::cri::{self, security_profile::ProfileType};
use k8s_openapi::api::core::v1::Pod;
use std::path::{Path, PathBuf};

/// Where the logs of a pod's containers are: `<root>/<namespace>_<name>_<uid>`.
pub fn log_directory(root: &Path, pod: &Pod) -> PathBuf {
    root.join(format!("{}_{}_{}", pod.namespace(), pod.name(), pod.uid()))
}

/// Where a container's logs are, relative to the pod's.
pub fn log_path(container: &str, restart_count: i32) -> String {
    format!("{container}/{restart_count}.log")
}

pub struct Inputs<'a> {
    pub attempt: u32,
    pub dns: cri::DnsConfig,
    pub host: &'a Hostname,
    pub logs: &'a Path,
    pub cgroup_parent: String,
}

pub fn config(pod: &Pod, inputs: Inputs<'_>) -> cri::PodSandboxConfig {
    let spec = pod.spec();
    let sc = spec.security_context.clone().unwrap_or_default();
    let all = pod.mains().iter().chain(pod.inits());
    let privileged = all.clone().any(|c| {
        c.security_context
            .as_ref()
            .and_then(|s| s.privileged)
            .unwrap_or(false)
    });
    let security = cri::LinuxSandboxSecurityContext {
        namespace_options: Some(security::namespaces(pod, None)),
        run_as_user: sc.run_as_user.map(|value| cri::Int64Value { value }),
        run_as_group: sc.run_as_group.map(|value| cri::Int64Value { value }),
        supplemental_groups: security::supplemental_groups(pod),
        supplemental_groups_policy: security::groups_policy(pod),
        privileged,
        seccomp: Some(cri::SecurityProfile {
            profile_type: ProfileType::RuntimeDefault.into(),
            localhost_ref: String::new(),
        }),
        ..Default::default()
    };
    // The kernel separates with dots; the API also takes slashes.
    let sysctls = sc
        .sysctls
        .iter()
        .flatten()
        .map(|s| (s.name.replace('/', "."), s.value.clone()))
        .collect();
    cri::PodSandboxConfig {
        metadata: Some(cri::PodSandboxMetadata {
            name: pod.name().into(),
            uid: pod.uid().into(),
            namespace: pod.namespace().into(),
            attempt: inputs.attempt,
        }),
        hostname: if pod.host_network() {
            String::new()
        } else {
            inputs.host.kernel.clone()
        },
        log_directory: log_directory(inputs.logs, pod).display().to_string(),
        dns_config: Some(inputs.dns),
        port_mappings: port_mappings(pod),
        labels: labels::sandbox_labels(pod),
        annotations: pod.metadata.annotations.clone().unwrap_or_default(),
        linux: Some(cri::LinuxPodSandboxConfig {
            cgroup_parent: inputs.cgroup_parent,
            security_context: Some(security),
            sysctls,
            overhead: None,
            resources: Some(resources::pod_cgroup(pod)),
        }),
        windows: None,
    }
}

fn port_mappings(pod: &Pod) -> Vec<cri::PortMapping> {
    let sidecars = pod.inits().iter().filter(|c| crate::pod::is_sidecar(c));
    let ports = pod
        .mains()
        .iter()
        .chain(sidecars)
        .flat_map(|c| c.ports.iter().flatten());
    ports
        .map(|p| cri::PortMapping {
            protocol: match p.protocol.as_deref() {
                Some("UDP") => cri::Protocol::Udp.into(),
                Some("SCTP") => cri::Protocol::Sctp.into(),
                _ => cri::Protocol::Tcp.into(),
            },
            container_port: p.container_port,
            host_port: p.host_port.unwrap_or(0),
            host_ip: p.host_ip.clone().unwrap_or_default(),
        })
        .collect()
}
