//! Lifecycle hooks: what runs inside or against a container right after its start and right before its stop.

use crate::probes::http::Get;
use corten_runtime::cri::RuntimeService;
use corten_stdx::SharedClock;
use k8s_openapi::api::core::v1::{Container, LifecycleHandler};
use std::time::Duration;

const AGENT: &str = "kube-lifecycle/1.36";
/// Upstream's client gives up on a silent server only with the grace period; ours also after this.
const MAX_HTTP: Duration = Duration::from_secs(3600);

/// Runs one hook to its end. Cancelled by dropping.
///
/// # Errors
/// What went wrong, for the log and (post-start) the container's status.
pub async fn run(
    runtime: &dyn RuntimeService,
    clock: &SharedClock,
    id: &str,
    c: &Container,
    hook: &LifecycleHandler,
    pod_ip: &str,
) -> Result<(), String> {
    if let Some(exec) = &hook.exec {
        let command = exec.command.clone().unwrap_or_default();
        let shown = command.join(" ");
        let done = runtime
            .exec_sync(id, command, Duration::ZERO)
            .await
            .map_err(|e| e.rpc_text())?;
        if done.exit_code == 0 {
            return Ok(());
        }
        let (out, err) = (
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr),
        );
        return Err(format!(
            "Exec lifecycle hook ([{shown}]) for Container \"{}\" failed - error: command '{shown}' exited with {}: {err}, message: \"{out}{err}\"",
            c.name, done.exit_code
        ));
    }
    if let Some(get) = &hook.http_get {
        let get = Get::new(get, c, pod_ip, AGENT)?;
        return get.run(MAX_HTTP).await.map(drop);
    }
    if let Some(sleep) = &hook.sleep {
        clock
            .sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0)))
            .await;
        return Ok(());
    }
    Err(format!("Invalid handler: {hook:?}"))
}
