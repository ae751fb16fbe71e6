//! The container of a pod.

use crate::env::{Env, expand};
use crate::machine::NodeFacts;
use crate::spec::{labels, resources, sandbox, security};
use corten_runtime::cri;
use k8s_openapi::api::core::v1::{Container, Pod};
use std::path::Path;

pub struct Inputs<'a> {
    pub restart_count: i32,
    pub image_ref: String,
    pub env: &'a Env,
    pub mounts: Vec<cri::Mount>,
    pub user: security::ImageUser,
    /// The container whose processes an ephemeral container sees.
    pub target: Option<&'a str>,
    pub node: &'a NodeFacts,
    pub seccomp_root: &'a Path,
}

/// # Errors
/// What cannot be configured; becomes the container's `CreateContainerConfigError`.
pub fn config(pod: &Pod, c: &Container, inputs: Inputs<'_>) -> Result<cri::ContainerConfig, String> {
    security::verify_non_root(pod, c, &inputs.user)?;
    let words = |list: &Option<Vec<String>>| -> Vec<String> {
        list.iter()
            .flatten()
            .map(|w| expand::expand(w, |name| inputs.env.get(name)))
            .collect()
    };
    let context = security::container(pod, c, &inputs.user, inputs.target, inputs.seccomp_root)?;
    Ok(cri::ContainerConfig {
        metadata: Some(cri::ContainerMetadata {
            name: c.name.clone(),
            attempt: u32::try_from(inputs.restart_count).unwrap_or(0),
        }),
        image: Some(cri::ImageSpec {
            image: inputs.image_ref,
            user_specified_image: c.image.clone().unwrap_or_default(),
            ..Default::default()
        }),
        command: words(&c.command),
        args: words(&c.args),
        working_dir: c.working_dir.clone().unwrap_or_default(),
        envs: inputs
            .env
            .iter()
            .map(|(k, v)| cri::KeyValue {
                key: k.to_owned(),
                value: v.as_bytes().to_vec(),
            })
            .collect(),
        mounts: inputs.mounts,
        labels: labels::container_labels(pod, c),
        annotations: labels::container_annotations(pod, c, inputs.restart_count),
        log_path: sandbox::log_path(&c.name, inputs.restart_count),
        stdin: c.stdin.unwrap_or(false),
        stdin_once: c.stdin_once.unwrap_or(false),
        tty: c.tty.unwrap_or(false),
        linux: Some(cri::LinuxContainerConfig {
            resources: Some(resources::linux(pod, c, inputs.node)),
            security_context: Some(context),
        }),
        stop_signal: stop_signal(c),
        ..Default::default()
    })
}

fn stop_signal(c: &Container) -> i32 {
    let name = c.lifecycle.as_ref().and_then(|l| l.stop_signal.as_deref());
    let name = name.map(|n| n.replace('+', "PLUS").replace('-', "MINUS"));
    name.and_then(|n| cri::Signal::from_str_name(&n))
        .map_or(0, Into::into)
}
