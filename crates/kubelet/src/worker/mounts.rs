//! What a container finds mounted: its volumes, `/etc/hosts`, and the file for its last words.

use super::pulls::ImageVolumes;
use crate::context::Context;
use crate::env::{Env, expand};
use crate::pod::PodExt;
use crate::spec::hosts;
use crate::volumes::{payload, sub_path};
use corten_runtime::cri::{self, MountPropagation};
use k8s_openapi::api::core::v1::{Container, Pod, Volume, VolumeMount};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const ETC_HOSTS: &str = "/etc/hosts";

/// The mounts of one container. Blocking: a few small files.
///
/// # Errors
/// Upstream's message; becomes `CreateContainerConfigError`.
pub(super) fn build(
    cx: &Context,
    pod: &Pod,
    c: &Container,
    env: &Env,
    images: &ImageVolumes,
    ips: &[String],
    restart_count: i32,
) -> Result<Vec<cri::Mount>, String> {
    let mut out = Vec::new();
    for (i, m) in c.volume_mounts.iter().flatten().enumerate() {
        out.push(volume(cx, pod, c, env, images, i, m)?);
    }
    let mounted = out.iter().any(|m| m.container_path == ETC_HOSTS);
    if !mounted && (pod.host_network() || !ips.is_empty()) {
        let path = etc_hosts(cx, pod, ips)?;
        out.push(plain(ETC_HOSTS, &path));
    }
    if let Some(path) = c.termination_message_path.as_deref().filter(|p| !p.is_empty()) {
        let dir = cx.volumes.pod_dir(pod.uid()).join("containers").join(&c.name);
        let file = termination_file(&dir, restart_count).map_err(|e| e.to_string())?;
        out.push(plain(path, &file));
    }
    Ok(out)
}

fn plain(container: &str, host: &Path) -> cri::Mount {
    cri::Mount {
        container_path: container.to_owned(),
        host_path: host.display().to_string(),
        ..Default::default()
    }
}

fn volume(
    cx: &Context,
    pod: &Pod,
    c: &Container,
    env: &Env,
    images: &ImageVolumes,
    index: usize,
    m: &VolumeMount,
) -> Result<cri::Mount, String> {
    let missing = || {
        format!(
            "cannot find volume \"{}\" to mount into container \"{}\"",
            m.name, c.name
        )
    };
    let v: &Volume = pod
        .spec()
        .volumes
        .iter()
        .flatten()
        .find(|v| v.name == m.name)
        .ok_or_else(missing)?;
    let sub = sub_path_of(m, env)?;
    let read_only = m.read_only.unwrap_or(false);
    let mut mount = cri::Mount {
        container_path: absolute(&m.mount_path),
        readonly: read_only || payload::is_api_backed(v) || v.image.is_some(),
        propagation: propagation(m)?.into(),
        recursive_read_only: read_only
            && matches!(m.recursive_read_only.as_deref(), Some("Enabled" | "IfPossible")),
        ..Default::default()
    };
    if v.image.is_some() {
        mount.image = Some(images.get(&v.name).cloned().ok_or_else(missing)?);
        mount.image_sub_path = sub.unwrap_or_default();
        return Ok(mount);
    }
    let path = cx.volumes.path(pod.uid(), v).ok_or_else(missing)?;
    mount.host_path = match sub {
        None => path.display().to_string(),
        Some(sub) => {
            let target = cx
                .volumes
                .pod_dir(pod.uid())
                .join("volume-subpaths")
                .join(&m.name)
                .join(&c.name);
            let target = target.join(index.to_string());
            bind(&path, &sub, &target).map_err(|error| {
                // No detail for the user: it could tell of the node's file system.
                tracing::warn!(pod = pod.desc(), container = c.name, volume = m.name, %error, "subPath not prepared");
                format!("failed to prepare subPath for volumeMount \"{}\" of container \"{}\"", m.name, c.name)
            })?;
            target.display().to_string()
        }
    };
    Ok(mount)
}

fn bind(volume: &Path, sub: &str, target: &Path) -> io::Result<()> {
    if !volume.exists() {
        fs::create_dir_all(volume)?;
    }
    sub_path::bind(volume, sub, target)
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    }
}

fn sub_path_of(m: &VolumeMount, env: &Env) -> Result<Option<String>, String> {
    let mut sub = m.sub_path.clone().unwrap_or_default();
    if let Some(expr) = m.sub_path_expr.as_deref().filter(|e| !e.is_empty()) {
        let missing = std::cell::RefCell::new(std::collections::BTreeSet::new());
        sub = expand::expand(expr, |name| {
            let value = env.get(name).filter(|v| !v.is_empty());
            if value.is_none() {
                missing.borrow_mut().insert(name.to_owned());
            }
            value
        });
        let missing = missing.into_inner();
        if !missing.is_empty() {
            let names: Vec<String> = missing.into_iter().collect();
            return Err(format!("missing value for {}", names.join(", ")));
        }
    }
    sub_path::validate(&sub)?;
    Ok(Some(sub).filter(|s| !s.is_empty()))
}

fn propagation(m: &VolumeMount) -> Result<MountPropagation, String> {
    match m.mount_propagation.as_deref() {
        None | Some("None") => Ok(MountPropagation::PropagationPrivate),
        Some("HostToContainer") => Ok(MountPropagation::PropagationHostToContainer),
        Some("Bidirectional") => Ok(MountPropagation::PropagationBidirectional),
        Some(other) => Err(format!("invalid MountPropagation mode: \"{other}\"")),
    }
}

fn etc_hosts(cx: &Context, pod: &Pod, ips: &[String]) -> Result<PathBuf, String> {
    let aliases = pod.spec().host_aliases.as_deref().unwrap_or_default();
    let text = if pod.host_network() {
        hosts::of_node(
            &fs::read_to_string(ETC_HOSTS).map_err(|e| e.to_string())?,
            aliases,
        )
    } else {
        hosts::managed(ips, &hosts::hostname(pod, &cx.cluster_domain)?, aliases)
    };
    let path = cx.volumes.pod_dir(pod.uid()).join("etc-hosts");
    write(&path, text.as_bytes(), 0o644).map_err(|e| e.to_string())?;
    Ok(path)
}

fn termination_file(dir: &Path, restart_count: i32) -> io::Result<PathBuf> {
    fs::create_dir_all(dir)?;
    let path = dir.join(format!("{restart_count:08x}"));
    write(&path, b"", 0o666)?;
    Ok(path)
}

fn write(path: &Path, data: &[u8], mode: u32) -> io::Result<()> {
    fs::write(path, data)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}
