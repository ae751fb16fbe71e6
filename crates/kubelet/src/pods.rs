//! The pods of this node: one watch, one worker each; what the runtime has without a pod is removed.

use crate::admission::{self, Refusal};
use crate::context::Context;
use crate::machine::Event;
use crate::machine::view::PodView;
use crate::pod::PodExt;
use crate::worker::{self, Handle, Snapshot};
use corten_client::watch::{self, Delta, Source};
use corten_runtime::cri;
use k8s_openapi::api::core::v1::Pod;
use parking_lot::{Mutex, RwLock};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Containers of pods nobody knows get this long (upstream's `SyncTerminatingRuntimePod`).
const ORPHAN_GRACE: Duration = Duration::from_secs(2);

/// Workers by pod uid. Bounded by what the scheduler binds here (`max_pods`), and pods that are ending.
pub struct Pods {
    cx: Arc<Context>,
    stop: CancellationToken,
    workers: RwLock<HashMap<String, Handle>>,
    /// What the runtime had at start and no pod has claimed yet.
    found: Mutex<HashMap<String, PodView>>,
}

impl Pods {
    pub fn new(cx: Arc<Context>, found: HashMap<String, PodView>, stop: CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            cx,
            stop,
            workers: RwLock::default(),
            found: Mutex::new(found),
        })
    }

    /// Follows the API until `stop`.
    pub async fn run(self: Arc<Self>) {
        let source = Source {
            path: "/api/v1/pods".into(),
            query: format!("fieldSelector=spec.nodeName%3D{}", self.cx.node_name),
            accept: "application/json",
        };
        let mut listed: Option<HashSet<String>> = None;
        let client = self.cx.caller.client().clone();
        let stop = self.stop.clone();
        watch::run(client, source, stop, |delta| match delta {
            Delta::Restart => listed = Some(HashSet::new()),
            Delta::Apply(pod) => {
                if let Some(listed) = &mut listed {
                    listed.insert(Pod::uid(&pod).to_owned());
                }
                self.apply(pod);
            }
            Delta::Delete(pod) => self.delete(pod),
            Delta::Synced(_) => {
                if let Some(listed) = listed.take() {
                    self.synced(&listed);
                }
            }
            Delta::Progress(_) => {}
        })
        .await;
    }

    /// Sends an event of the runtime to its pod.
    pub fn event(&self, uid: &str, event: cri::ContainerEventResponse) {
        if let Some(handle) = self.workers.read().get(uid) {
            handle.event(event);
        }
    }

    /// Events may have been lost: every pod reads the runtime again.
    pub fn relist(&self) {
        self.workers.read().values().for_each(Handle::relist);
    }

    pub fn snapshots(&self) -> Vec<Snapshot> {
        self.workers
            .read()
            .values()
            .filter(|h| !h.is_done())
            .map(Handle::snapshot)
            .collect()
    }

    /// The pod of that name; of several (one still ending), the newest.
    pub fn find(&self, namespace: &str, name: &str) -> Option<Snapshot> {
        let mut found: Vec<Snapshot> = self.snapshots();
        found.retain(|s| s.pod.namespace() == namespace && s.pod.name() == name);
        found
            .into_iter()
            .max_by_key(|s| s.pod.metadata.creation_timestamp.clone())
    }

    /// The way to the worker of the pod of that name; of several, the newest.
    pub fn handle(&self, namespace: &str, name: &str) -> Option<Handle> {
        let workers = self.workers.read();
        let named = workers.values().filter(|h| {
            let s = h.snapshot();
            !h.is_done() && s.pod.namespace() == namespace && s.pod.name() == name
        });
        named
            .max_by_key(|h| h.snapshot().pod.metadata.creation_timestamp.clone())
            .cloned()
    }

    pub fn evict(&self, uid: &str, reason: &str, message: &str) {
        if let Some(handle) = self.workers.read().get(uid) {
            handle.evict(reason, message);
        }
    }

    fn apply(&self, pod: Pod) {
        if pod.spec().node_name.as_deref() != Some(&self.cx.node_name) {
            return;
        }
        let pod = Arc::new(pod);
        let uid = pod.uid().to_owned();
        let mut workers = self.workers.write();
        workers.retain(|_, h| !h.is_done());
        if let Some(handle) = workers.get(&uid) {
            handle.update(pod);
            return;
        }
        let view = self.found.lock().remove(&uid).unwrap_or_default();
        let rejected = self.admit(&pod, &view, &workers);
        let handle = worker::spawn(Arc::clone(&self.cx), pod, view, rejected, self.stop.clone());
        workers.insert(uid, handle);
    }

    /// Asks only about pods that no kubelet has seen yet: what was let in stays in.
    fn admit(&self, pod: &Arc<Pod>, view: &PodView, workers: &HashMap<String, Handle>) -> Option<Refusal> {
        let seen = pod.status.as_ref().is_some_and(|s| s.start_time.is_some());
        if seen || !view.sandboxes.is_empty() || pod.is_deleting() {
            return None;
        }
        let others: Vec<Arc<Pod>> = workers.values().filter_map(Handle::active).collect();
        let others = others.iter().map(AsRef::as_ref);
        let refusal = admission::check(pod, others, &self.cx.allocatable).err()?;
        let event = Event::warning("", refusal.1.clone());
        self.cx.record_as(pod, &refusal.0, event);
        Some(refusal)
    }

    fn delete(&self, pod: Pod) {
        let pod = Arc::new(pod);
        if let Some(handle) = self.workers.read().get(pod.uid()) {
            handle.update(pod);
            handle.removed();
        }
    }

    /// Everything the API has for this node has been told.
    fn synced(self: &Arc<Self>, listed: &HashSet<String>) {
        for (uid, handle) in self.workers.read().iter() {
            if !listed.contains(uid) {
                handle.removed();
            }
        }
        let orphans = std::mem::take(&mut *self.found.lock());
        let workers: HashSet<String> = self.workers.read().keys().cloned().collect();
        let mut uids: HashSet<String> = self.cx.volumes.known_pods().into_iter().collect();
        uids.extend(orphans.keys().cloned());
        for uid in uids.into_iter().filter(|u| !workers.contains(u)) {
            let view = orphans.get(&uid).cloned().unwrap_or_default();
            let cx = Arc::clone(&self.cx);
            tokio::spawn(async move { remove_orphan(&cx, &uid, view).await });
        }
    }
}

/// A pod that went from the API while no kubelet ran.
async fn remove_orphan(cx: &Context, uid: &str, view: PodView) {
    tracing::info!(
        uid,
        containers = view.containers.len(),
        "removing what is left of a pod that is gone"
    );
    for c in view.running() {
        if let Err(error) = cx.runtime.stop_container(&c.id, ORPHAN_GRACE).await {
            tracing::warn!(
                uid,
                id = c.id,
                error = error.rpc_text(),
                "orphaned container not stopped"
            );
        }
    }
    for s in &view.sandboxes {
        let stopped = cx.runtime.stop_pod_sandbox(&s.id).await;
        let removed = cx.runtime.remove_pod_sandbox(&s.id).await;
        if let Err(error) = stopped.and(removed) {
            tracing::warn!(
                uid,
                id = s.id,
                error = error.rpc_text(),
                "orphaned sandbox not removed"
            );
        }
    }
    if let Err(error) = cx.volumes.purge(uid).await {
        tracing::warn!(uid, %error, "orphaned pod directory not removed");
    }
    remove_logs(cx, uid);
}

/// Log directories end in the pod's uid.
fn remove_logs(cx: &Context, uid: &str) {
    let suffix = format!("_{uid}");
    let entries = std::fs::read_dir(&cx.logs).into_iter().flatten().flatten();
    for entry in entries.filter(|e| e.file_name().to_string_lossy().ends_with(&suffix)) {
        if let Err(error) = std::fs::remove_dir_all(entry.path()) {
            tracing::warn!(path = %entry.path().display(), %error, "orphaned logs not removed");
        }
    }
}
