//! A pod's ground: directories, cgroup, volumes, sandbox.

use super::messages::Done;
use crate::context::Context;
use crate::machine::view::SandboxView;
use crate::spec::{dns, hosts, sandbox};
use crate::time;
use corten_runtime::cri::PodSandboxConfig;
use k8s_openapi::api::core::v1::Pod;
use std::sync::Arc;

pub(super) async fn prepare(cx: Arc<Context>, pod: Arc<Pod>, ips: Vec<String>) -> Done {
    let now = time::now(&cx.clock);
    Done::Prepared(cx.volumes.prepare(&pod, ips, &cx.facts, now, true).await)
}

/// The configuration that sandbox and containers share.
pub(super) fn config(cx: &Context, pod: &Pod, attempt: u32) -> Result<PodSandboxConfig, String> {
    let host = hosts::hostname(pod, &cx.cluster_domain)?;
    Ok(sandbox::config(
        pod,
        sandbox::Inputs {
            attempt,
            dns: dns::config(pod, &cx.host_dns, &cx.cluster_dns, &cx.cluster_domain),
            host: &host,
            logs: &cx.logs,
            cgroup_parent: cx.cgroups.of(pod),
        },
    ))
}

pub(super) async fn run(cx: Arc<Context>, pod: Arc<Pod>, attempt: u32) -> Done {
    Done::Sandbox(create(&cx, &pod, attempt).await)
}

async fn create(cx: &Arc<Context>, pod: &Arc<Pod>, attempt: u32) -> Result<SandboxView, String> {
    let config = config(cx, pod, attempt)?;
    let logs = config.log_directory.clone();
    let (for_blocking, owner) = (Arc::clone(cx), Arc::clone(pod));
    let made = tokio::task::spawn_blocking(move || {
        std::fs::create_dir_all(&logs).map_err(|e| format!("create pod log directory: {e}"))?;
        for_blocking.cgroups.ensure(&owner).map_err(|e| {
            let text = format!("unable to ensure pod container exists: {e}");
            let event = crate::machine::Event::warning("FailedCreatePodContainer", text.clone());
            for_blocking.record(&owner, event);
            text
        })
    });
    made.await.map_err(|e| e.to_string())??;
    let handler = ""; // RuntimeClass handlers: the embedded runtime has one.
    let id = cx
        .runtime
        .run_pod_sandbox(config, handler)
        .await
        .map_err(|e| e.rpc_text())?;
    let status = cx
        .runtime
        .pod_sandbox_status(&id, false)
        .await
        .map_err(|e| e.rpc_text())?;
    status
        .status
        .map(SandboxView::from)
        .ok_or_else(|| "pod sandbox status is nil".to_owned())
}

pub(super) async fn stop(cx: Arc<Context>, sandboxes: Vec<SandboxView>) -> Done {
    let mut stopped = Vec::new();
    let mut result = Ok(());
    for sandbox in sandboxes {
        match cx.runtime.stop_pod_sandbox(&sandbox.id).await {
            Err(e) if !e.is_not_found() => result = Err(e.rpc_text()),
            _ => stopped.push(SandboxView {
                ready: false,
                ..sandbox
            }),
        }
    }
    Done::Stopped(stopped, result)
}
