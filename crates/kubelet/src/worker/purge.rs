//! What is left to do when a pod has ended: give back, delete in the API, forget.

use super::messages::Done;
use crate::context::Context;
use crate::machine::view::PodView;
use crate::pod::PodExt;
use crate::spec::sandbox::log_directory;
use corten_client::object::path;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use std::sync::Arc;

/// Volumes and cgroup.
pub(super) async fn clean(cx: Arc<Context>, pod: Arc<Pod>) -> Done {
    let result = async {
        cx.volumes.clean(pod.uid()).await.map_err(|e| e.to_string())?;
        let shared = Arc::clone(&cx);
        let owner = Arc::clone(&pod);
        tokio::task::spawn_blocking(move || shared.cgroups.remove(&owner))
            .await
            .map_err(|e| e.to_string())?
    };
    Done::Cleaned(result.await)
}

/// Everything: sandboxes with their containers, logs, directories.
pub(super) async fn purge(cx: Arc<Context>, pod: Arc<Pod>, view: PodView) -> Done {
    Done::Purged(remove(&cx, &pod, &view).await)
}

async fn remove(cx: &Arc<Context>, pod: &Arc<Pod>, view: &PodView) -> Result<(), String> {
    for sandbox in &view.sandboxes {
        match cx.runtime.remove_pod_sandbox(&sandbox.id).await {
            Err(e) if !e.is_not_found() => return Err(e.rpc_text()),
            _ => {}
        }
    }
    for c in &view.containers {
        match cx.runtime.remove_container(&c.id).await {
            Err(e) if !e.is_not_found() => return Err(e.rpc_text()),
            _ => {}
        }
    }
    cx.images.forget(pod.uid());
    cx.volumes.purge(pod.uid()).await.map_err(|e| e.to_string())?;
    let logs = log_directory(&cx.logs, pod);
    match tokio::fs::remove_dir_all(&logs).await {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e.to_string()),
        _ => Ok(()),
    }
}

/// The kubelet's word that the pod is no more: only then does the object go.
pub(super) async fn delete_object(cx: Arc<Context>, pod: Arc<Pod>) -> Done {
    let target = path::<Pod>(pod.namespace(), pod.name(), "");
    let options = json!({
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "gracePeriodSeconds": 0,
        "preconditions": {"uid": pod.uid()},
    });
    Done::Deleted(match cx.caller.delete(&target, &options).await {
        Err(e) if !e.is_not_found() && !e.is_conflict() => Err(e.to_string()),
        _ => Ok(()),
    })
}

/// One container of the past, with its log and what rotation put aside of it.
pub(super) async fn container(cx: Arc<Context>, id: String, log: String) -> Done {
    let error = cx
        .runtime
        .remove_container(&id)
        .await
        .err()
        .filter(|e| !e.is_not_found());
    if error.is_none() && !log.is_empty() {
        let path = std::path::PathBuf::from(log);
        // Logs without a container: nothing depends on them being gone.
        let _ = tokio::task::spawn_blocking(move || remove_logs(&path)).await;
    }
    Done::Removed {
        id,
        error: error.map(|e| e.rpc_text()),
    }
}

fn remove_logs(path: &std::path::Path) {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return;
    };
    let name = name.to_string_lossy().into_owned();
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in entries.filter(|e| e.file_name().to_string_lossy().starts_with(&name)) {
        if let Err(error) = std::fs::remove_file(entry.path()) {
            tracing::warn!(path = %entry.path().display(), %error, "old log not removed");
        }
    }
}

/// A sandbox of the past, with what was in it.
pub(super) async fn sandbox(cx: Arc<Context>, id: String) -> Done {
    let error = cx
        .runtime
        .remove_pod_sandbox(&id)
        .await
        .err()
        .filter(|e| !e.is_not_found());
    Done::Removed {
        id,
        error: error.map(|e| e.rpc_text()),
    }
}
