//! The runtime's news: one stream of events for the node, and the one listing at start (or after the stream broke).

use crate::machine::view::{PodView, SandboxView};
use crate::spec::labels::POD_UID;
use corten_runtime::cri::{self, ContainerEventResponse, RuntimeService};
use corten_stdx::Backoff;
use futures::StreamExt;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Everything the runtime has, by pod uid.
///
/// # Errors
/// When the runtime does not answer.
pub async fn read_all(runtime: &dyn RuntimeService) -> cri::Result<HashMap<String, PodView>> {
    read(runtime, BTreeMap::new()).await
}

/// What the runtime has of one pod.
///
/// # Errors
/// When the runtime does not answer.
pub async fn read_pod(runtime: &dyn RuntimeService, uid: &str) -> cri::Result<PodView> {
    let labels = BTreeMap::from([(POD_UID.to_owned(), uid.to_owned())]);
    Ok(read(runtime, labels).await?.remove(uid).unwrap_or_default())
}

async fn read(
    runtime: &dyn RuntimeService,
    labels: BTreeMap<String, String>,
) -> cri::Result<HashMap<String, PodView>> {
    let mut out: HashMap<String, PodView> = HashMap::new();
    let sandboxes = cri::PodSandboxFilter {
        label_selector: labels.clone(),
        ..Default::default()
    };
    for s in runtime.list_pod_sandbox(Some(sandboxes)).await? {
        let Some(uid) = s.labels.get(POD_UID) else {
            continue;
        };
        let status = match runtime.pod_sandbox_status(&s.id, false).await {
            Ok(answer) => answer.status,
            Err(e) if e.is_not_found() => continue,
            Err(e) => return Err(e),
        };
        if let Some(status) = status {
            out.entry(uid.clone())
                .or_default()
                .upsert_sandbox(SandboxView::from(status));
        }
    }
    let containers = cri::ContainerFilter {
        label_selector: labels,
        ..Default::default()
    };
    for c in runtime.list_containers(Some(containers)).await? {
        let Some(uid) = c.labels.get(POD_UID) else {
            continue;
        };
        let status = match runtime.container_status(&c.id, false).await {
            Ok(answer) => answer.status,
            Err(e) if e.is_not_found() => continue,
            Err(e) => return Err(e),
        };
        if let Some(status) = status {
            out.entry(uid.clone()).or_default().upsert(status.into());
        }
    }
    Ok(out)
}

/// The pod an event is about.
fn pod_of(event: &ContainerEventResponse) -> Option<&str> {
    let sandbox = event
        .pod_sandbox_status
        .as_ref()
        .and_then(|s| s.labels.get(POD_UID));
    let container = || {
        event
            .containers_statuses
            .iter()
            .find_map(|c| c.labels.get(POD_UID))
    };
    sandbox.or_else(container).map(String::as_str)
}

/// Hands every event to `tell` and calls `broken` whenever events may have been lost, until `stop`.
pub async fn follow(
    runtime: &dyn RuntimeService,
    stop: &CancellationToken,
    tell: impl Fn(&str, ContainerEventResponse),
    broken: impl Fn(),
) {
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(10));
    loop {
        match runtime.container_events().await {
            Ok(mut events) => {
                backoff.reset();
                // Between the listing at start and now, things may have happened.
                broken();
                loop {
                    let event = tokio::select! {
                        () = stop.cancelled() => return,
                        event = events.next() => event,
                    };
                    let Some(event) = event else { break };
                    if let Some(uid) = pod_of(&event).map(str::to_owned) {
                        tell(&uid, event);
                    }
                }
            }
            Err(error) => tracing::warn!(
                error = error.rpc_text(),
                "no events from the runtime; trying again"
            ),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(backoff.next_delay()) => {}
        }
    }
}
